"""What is measured, and on which CPUs. Every mode yields records (dictionaries), one a measurement."""

import contextlib
import pathlib
import random
import signal
import statistics
import subprocess
import tempfile

import needs
import reloads
import rig
import servers

IPV4, IPV6 = (), ("-6",)
FAMILIES = {"IPv4": IPV4, "IPv6": IPV6}
# How long a load lasts, in seconds, before it is measured.
WARM = 0.1
# `latency` measures so much longer at a time: 4 ms in which the machine does something else are a hundredth of 0.4 s, and
# would be what its p99 tells.
LONGER = 2.5
# In `overload`, requests a second, and in `inline`.
FLOOD = 500_000
INLINE = 50_000


class Run:
    """All measurements of a mode. In each round the servers are started anew; in each turn of it everybody is measured once,
    in a new order, so that what the machine does for some seconds does not hit one alone."""

    def __init__(self, arguments, named, keep):
        self.arguments, self.named, self.keep = arguments, named, keep

    def go(self, contestants, layout, workers, *measures):
        """Calls each of `measures` with (lane, pids) for each server, turn and round; it returns a dictionary.
        `contestants` are pairs of a mode's name and a server."""
        with contextlib.ExitStack() as stack:
            directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=rig.WORK, dir=needs.OUT)))
            rig.make_clients(stack)
            lanes = [(*who, rig.Lane(stack, number, layout)) for number, who in enumerate(contestants)]
            for number in range(self.arguments.rounds):
                self._round(number, lanes, directory, workers, measures)

    def _round(self, number, lanes, directory, workers, measures):
        """They are started together, as that takes seconds; who isn't asked does nothing."""
        with contextlib.ExitStack() as stack:
            started = []
            for mode, server, lane in lanes:
                where = directory / lane.namespace
                counted, beside, log = server.start(lane, where, workers)
                stack.callback(rig.end, counted + beside)
                started.append((mode, server, lane, counted, log))
            for _, _, lane, counted, log in started:
                lane.wait_until_it_answers(counted, log, FAMILIES.values())
            for turn in range(self.arguments.turns):
                for measure in measures:
                    self._turn({"round": number, "turn": turn}, started, measure)

    def _turn(self, when, started, measure):
        for mode, server, lane, counted, _ in random.sample(started, len(started)):
            told = measure(lane, [process.pid for process in counted])
            self.keep({"mode": mode, "server": server.name, **when, **told})

    def timing(self, times=1):
        return ("-W", WARM, "-t", self.arguments.seconds * times, "-c", self.arguments.clients)

    def in_bursts(self, lane, pids, *flag):
        burst = self.arguments.burst
        return lane.load("-w", burst, *flag, *self.timing(), pids=pids, burst=burst)

    def standard(self, mode):
        return [(mode, servers.named(word)) for word in self.named]

    def fronts(self):
        """The words of each ntpfront."""
        return [word for word in self.named if "=" in word or word == "ntpfront"]


def one_cpu():
    return rig.Layout(rig.cpus()[-1:], rig.cpus()[-1:])


def apart(**priorities):
    """The clients on one CPU, the server on another."""
    rig.at_least_two_cpus()
    return rig.Layout(rig.cpus()[1:2], rig.cpus()[:1], **priorities)


# As an interrupt does, receiving comes before the server.
INTERRUPTED = {"server_priority": 30, "receive_priority": 31}
# As under a flood, when a thread takes over from interrupts (ksoftirqd), and the card takes its time: they share.
SHARED = {"server_priority": None, "receive_priority": None, "moderation": 50_000}


def both():
    rig.at_least_two_cpus()
    return rig.Layout(rig.cpus()[:2], rig.cpus()[:2])


def cost(run):
    def measure(family, flag):
        return lambda lane, pids: {"family": family, **run.in_bursts(lane, pids, *flag)}

    run.go(run.standard("cost"), one_cpu(), 1, *(measure(*family) for family in FAMILIES.items()))


def single(run):
    def measure(lane, pids):
        return {"family": "IPv4", **lane.load("-w", 1, *run.timing(), pids=pids)}

    run.go(run.standard("single"), one_cpu(), 1, measure)


def interleaved(run):
    """All clients in interleaved mode, as many as both servers remember."""

    def measure(lane, pids):
        timing = ("-W", 2 * WARM, "-t", run.arguments.seconds, "-c", min(run.arguments.clients, 4096))
        return {"family": "IPv4", **lane.load("-I", "-w", run.arguments.burst, *timing, pids=pids, burst=run.arguments.burst)}

    contestants = [("interleaved", servers.with_interleaved(word)) for word in run.named if servers.has_interleaved(word)]
    if contestants:
        run.go(contestants, one_cpu(), 1, measure)


def two(run):
    """Both ways in the same turns; who can't be steered by CPU is there once."""

    def measure(lane, pids):
        return {"family": "IPv4", **lane.load("-w", 64, *run.timing(), pids=pids, burst=32)}

    contestants = run.standard("two")
    contestants += [("two-by-cpu", server.by_cpu) for _, server in contestants if server.by_cpu]
    run.go(contestants, both(), 2, measure)


def latency(run):
    rate = run.arguments.rate or half_of_what_chronyd_bears(run)

    def measure(lane, pids):
        return {"family": "IPv4", "rate": rate, **lane.load("-r", rate, *run.timing(LONGER), pids=pids)}

    run.go(run.standard("latency"), apart(**INTERRUPTED), 1, measure)


def inline(run):
    """As `latency`, but a packet is received in the call that sends it: what is left is the error of the server itself."""
    rate = run.arguments.rate or INLINE

    def measure(lane, pids):
        return {"family": "IPv4", "rate": rate, **lane.load("-r", rate, *run.timing(LONGER), pids=pids)}

    contestants = run.standard("inline") + [("inline", servers.natively(word)) for word in run.fronts()]
    layout = rig.Layout(rig.cpus()[-1:], rig.cpus()[-1:], threaded=False)
    run.go(contestants, layout, 1, measure)


def half_of_what_chronyd_bears(run):
    """Half of the responses a second in a closed loop, in the same layout; to a round number."""
    rates = []

    def measure(lane, pids):
        return lane.load("-w", 64, *run.timing(), pids=pids)

    closed = Run(run.arguments, run.named, lambda told: rates.append(told["good"] / told["seconds"]))
    closed.go([("", servers.named("chronyd"))], apart(**INTERRUPTED), 1, measure)
    return round(statistics.median(rates) / 2, -3)


def overload(run):
    rate = run.arguments.rate or FLOOD

    def measure(lane, pids):
        return {"family": "IPv4", "rate": rate, **lane.load("-r", rate, *run.timing(), pids=pids, burst=16)}

    run.go(run.standard("overload"), apart(**SHARED), 1, measure)


def policies(run):
    def measure(lane, pids):
        return {"family": "IPv4", **run.in_bursts(lane, pids)}

    if fronts := run.fronts():
        run.go([("policies", server) for server in servers.with_policies(fronts[0])], one_cpu(), 1, measure)


def fast(run):
    """Everything the server's side costs: the driver's part is the same for all."""

    def measure(family, flag):
        return lambda lane, pids: {"family": family, **run.in_bursts(lane, pids, *flag)}

    if fronts := run.fronts():
        contestants = [("fast", server) for server in servers.fast_path(fronts)]
        run.go(contestants, one_cpu(), 1, *(measure(*family) for family in FAMILIES.items()))


def profile(run):
    def measure(lane, pids):
        with Sampler(pids) as sampler:
            told = run.in_bursts(lane, pids)
        return {"family": "IPv4", **told, "shares": sampler.shares()}

    run.go(run.standard("profile"), one_cpu(), 1, measure)


class Sampler:
    """Looks 5000 times a second where processes are, with perf, from another CPU if there is one."""

    def __init__(self, pids):
        self.pids, self.file = pids, needs.OUT / "perf.data"

    def __enter__(self):
        command = ["taskset", "-c", rig.cpus()[0], "perf", "record", "-q", "-e", "cpu-clock", "-F", 5000,
                   "-p", ",".join(map(str, self.pids)), "-o", self.file]
        self.perf = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.perf.send_signal(signal.SIGINT)
        self.perf.wait(rig.START_LIMIT)

    def shares(self):
        """Percent of the time by program and function, most first."""
        report = ("perf", "report", "--stdio", "-q", "--no-children", "--sort", "dso,symbol", "-t", ";", "-i", self.file)
        lines = [line.split(";") for line in rig.output(*report).splitlines() if line.count(";") >= 2]
        return [[float(share.strip(" %")), program.strip(), function.strip()[4:]] for share, program, function, *_ in lines]


MODES = {mode.__name__: mode for mode in (cost, single, interleaved, two, latency, inline, overload, policies, fast, reloads.reloads, profile)}
STANDARD = [name for name in MODES if name not in ("fast", "reloads", "profile")]
