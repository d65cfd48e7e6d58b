"""Reloads under a load: how many requests are lost while the fast path comes, goes and changes."""

import contextlib
import pathlib
import signal
import tempfile
import threading
import time

import needs
import rig
import servers

# Requests a second, and how many leave together.
RATE, BURST = 500_000, 16
# How long the load of one reload lasts, in seconds, and after which part of it the reload is asked for.
LASTS, AFTER = 0.3, 0.2
# How long a reload may take, in seconds.
PATIENCE = 10
RELOADS = 100
POLICIES = servers.access() + servers.LIMIT


def settings(mode, policies=""):
    """The part of a configuration that changes: `mode` is that of the fast path, or None."""
    return policies + (servers.attached(mode) if mode else "[fast-path]\ninterfaces = []\n")


# Each change once, in a circle: what the table calls it, and what is set then.
CHANGES = (
    ("policies on, native", settings("native", POLICIES)),
    ("native to generic", settings("generic", POLICIES)),
    ("policies off, generic", settings("generic", servers.OFF)),
    ("detached", settings(None, servers.OFF)),
    ("policies on, detached", settings(None, POLICIES)),
    ("attached, generic", settings("generic", POLICIES)),
    ("detached", settings(None, POLICIES)),
    ("attached, native", settings("native", POLICIES)),
    ("policies off, native", settings("native", servers.OFF)),
    ("census on, native", settings("native")),
)


def reloads(run):
    """Beside each reload, the same load without one."""
    rig.at_least_two_cpus()
    for word in run.fronts():
        with contextlib.ExitStack() as stack:
            _reloads(run, stack, word)


def _reloads(run, stack, word):
    directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=rig.WORK, dir=needs.OUT)))
    rig.make_clients(stack)
    # What is sent is received on the same CPU, before more is sent: no queue of the virtual cable can overflow.
    layout = rig.Layout(rig.cpus()[:1], rig.cpus()[1:2], server_priority=None, receive_cpus=rig.cpus()[1:2])
    lane = rig.Lane(stack, 0, layout)
    start = servers.NTPFRONT_CONFIG + settings("native")
    server = servers.ntpfront(word.partition("=")[0], servers.binary_of(word), start)
    counted, beside, log = server.start(lane, directory, 1)
    stack.callback(rig.end, counted + beside)
    lane.wait_until_it_answers(counted, log, [()])
    text = servers.NTPFRONT_CONFIG.replace("@WORKERS@", "1").replace("@STEERING@", "")
    rate = run.arguments.rate or RATE

    def load():
        full = lane.full_queues()
        told = lane.load("-r", rate, "-W", 0.05, "-t", LASTS, "-c", run.arguments.clients, pids=[], burst=BURST)
        return {**told, "full": lane.full_queues() - full}

    for number in range(RELOADS):
        change, more = CHANGES[number % len(CHANGES)]
        about = {"mode": "reloads", "server": server.name, "family": "IPv4", "rate": rate, "round": 0, "turn": number, "change": change}
        run.keep({**about, "reload": False, **load()})
        servers.write(directory / "ntpfront.toml", (text + more).replace("@INTERFACE@", lane.inside))
        timer = threading.Timer(AFTER, counted[0].send_signal, [signal.SIGHUP])
        before = said(log)
        timer.start()
        told = load()
        timer.join()
        wait_for_reload(log, before)
        run.keep({**about, "reload": True, **told})


def said(log):
    """How often the server said that it reloaded."""
    return pathlib.Path(log).read_text(encoding="utf-8").count("reloaded: ")


def wait_for_reload(log, before):
    until = time.monotonic() + PATIENCE
    while said(log) == before:
        if time.monotonic() > until:
            raise rig.Failure(f"no reload within {PATIENCE} s; the server said:\n{pathlib.Path(log).read_text()[-2000:]}")
        time.sleep(0.01)
