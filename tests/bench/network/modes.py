"""What is measured, and on which CPUs. Every mode yields records (dictionaries), one a measurement."""

import contextlib
import pathlib
import random
import signal
import statistics
import subprocess
import tempfile

import needs
import rig
import servers

IPV4, IPV6 = (), ("-6",)
FAMILIES = {"IPv4": IPV4, "IPv6": IPV6}
# In `overload`, requests a second.
FLOOD = 500_000


class Run:
    """All measurements of a mode: rounds in which the servers, started anew, take turns in a new order."""

    def __init__(self, arguments, named, keep):
        self.arguments, self.named, self.keep = arguments, named, keep

    def go(self, mode, layout, contestants, measure, workers=1):
        """Calls `measure(lane, pids)` for each server and round; it yields dictionaries."""
        with contextlib.ExitStack() as stack:
            directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=rig.WORK, dir=needs.OUT)))
            rig.make_clients(stack)
            lanes = {server: rig.Lane(stack, number, layout) for number, server in enumerate(contestants)}
            for number in range(self.arguments.rounds):
                self._round(mode, number, lanes, directory, measure, workers)

    def _round(self, mode, number, lanes, directory, measure, workers):
        """They are started together, as that takes seconds; who isn't asked does nothing."""
        with contextlib.ExitStack() as stack:
            started = {}
            for server, lane in lanes.items():
                where = directory / lane.namespace
                counted, beside, log = server.start(lane, where, workers)
                stack.callback(rig.end, counted + beside)
                started[server] = (lane, counted, log)
            for lane, counted, log in started.values():
                lane.wait_until_it_answers(counted, log, FAMILIES.values())
            order = list(started)
            random.shuffle(order)
            for server in order:
                lane, counted, _ = started[server]
                for told in measure(lane, [process.pid for process in counted]):
                    self.keep({"mode": mode, "server": server.name, "round": number, **told})

    def timing(self):
        return ("-W", 0.2, "-t", self.arguments.seconds, "-c", self.arguments.clients)

    def in_bursts(self, lane, pids, *flag):
        burst = self.arguments.burst
        return lane.load("-w", burst, *flag, *self.timing(), pids=pids, burst=burst)

    def standard(self):
        return [servers.named(word) for word in self.named]


def one_cpu():
    return rig.Layout(rig.cpus()[-1:], rig.cpus()[-1:])


def apart(**priorities):
    """The clients on one CPU, the server on another."""
    at_least_two()
    return rig.Layout(rig.cpus()[1:2], rig.cpus()[:1], **priorities)


def at_least_two():
    if len(rig.cpus()) < 2:
        raise rig.Failure("two, latency and overload take two CPUs")


# As an interrupt does, receiving comes before the server.
INTERRUPTED = {"server_priority": 30, "receive_priority": 31}
# As under a flood, when a thread takes over from interrupts (ksoftirqd), and the card takes its time: they share.
SHARED = {"server_priority": None, "receive_priority": None, "moderation": 50_000}


def both():
    at_least_two()
    return rig.Layout(rig.cpus()[:2], rig.cpus()[:2])


def cost(run):
    def measure(lane, pids):
        for family, flag in FAMILIES.items():
            yield {"family": family, **run.in_bursts(lane, pids, *flag)}

    run.go("cost", one_cpu(), run.standard(), measure)


def single(run):
    def measure(lane, pids):
        yield {"family": "IPv4", **lane.load("-w", 1, *run.timing(), pids=pids)}

    run.go("single", one_cpu(), run.standard(), measure)


def two(run):
    def measure(lane, pids):
        yield {"family": "IPv4", **lane.load("-w", 64, *run.timing(), pids=pids, burst=32)}

    run.go("two", both(), run.standard(), measure, workers=2)


def latency(run):
    rate = run.arguments.rate or half_of_what_chronyd_bears(run)

    def measure(lane, pids):
        yield {"family": "IPv4", "rate": rate, **lane.load("-r", rate, *run.timing(), pids=pids)}

    run.go("latency", apart(**INTERRUPTED), run.standard(), measure)


def half_of_what_chronyd_bears(run):
    """Half of the responses a second in a closed loop, in the same layout; to a round number."""
    rates = []

    def measure(lane, pids):
        told = lane.load("-w", 64, *run.timing(), pids=pids)
        rates.append(told["good"] / told["seconds"])
        return ()

    run.go("", apart(**INTERRUPTED), [servers.named("chronyd")], measure)
    return round(statistics.median(rates) / 2, -3)


def overload(run):
    rate = run.arguments.rate or FLOOD

    def measure(lane, pids):
        yield {"family": "IPv4", "rate": rate, **lane.load("-r", rate, *run.timing(), pids=pids, burst=16)}

    run.go("overload", apart(**SHARED), run.standard(), measure)


def policies(run):
    def measure(lane, pids):
        yield {"family": "IPv4", **run.in_bursts(lane, pids)}

    fronts = [word for word in run.named if "=" in word or word == "ntpfront"]
    if fronts:
        run.go("policies", one_cpu(), servers.with_policies(fronts[0]), measure)


def profile(run):
    def measure(lane, pids):
        with Sampler(pids) as sampler:
            told = run.in_bursts(lane, pids)
        yield {"family": "IPv4", **told, "shares": sampler.shares()}

    run.go("profile", one_cpu(), run.standard(), measure)


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


MODES = {mode.__name__: mode for mode in (cost, single, two, latency, overload, policies, profile)}
STANDARD = [name for name in MODES if name != "profile"]
