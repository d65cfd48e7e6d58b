"""Network namespaces, veth pairs, priorities and processes: what a measurement stands on. All of it goes when it ends."""

import json
import os
import pathlib
import shutil
import subprocess
import time

import needs

PREFIX = "ntpfront-bench-"
CLIENTS = f"{PREFIX}clients"
# Directories with the servers' files begin so.
WORK = "work-"
# The generator writes these into its frames.
SERVER_MAC, CLIENT_MAC = "02:6e:74:70:00:01", "02:6e:74:70:00:02"
ADDRESSES = ("10.0.0.1/30", "fd00:6e75::1/64")
# Where the clients are, and by which neighbor.
ROUTES = (("10.128.0.0/9", "10.0.0.2"), ("fd00:6e74::/32", "fd00:6e75::2"))
# The priority (SCHED_FIFO) of the clients' receiving; the generator has none.
CLIENT_PRIORITY = 20
# For all that works for the measurement without such a priority.
NICE = "-15"
START_LIMIT = 60
STOP_LIMIT = 5


class Failure(Exception):
    """A step of the measurement failed; the message says which, and why."""


class Layout:
    """Which CPUs whose work is on, each with a queue of the link, and the priorities (SCHED_FIFO, or None) of the server
    and of its interface's receiving, which is on the server's CPUs if no others are given; and for how long a receiver
    sleeps on once it has nothing, in nanoseconds. Without threads, what is sent is received in the sender's own call."""

    def __init__(self, server_cpus, client_cpus, server_priority=30, receive_priority=30, receive_cpus=None, moderation=0,
                 threaded=True):
        self.server_cpus, self.client_cpus = server_cpus, client_cpus
        self.server_priority, self.receive_priority = server_priority, receive_priority
        self.receive_cpus = receive_cpus or server_cpus
        self.moderation, self.threaded = moderation, threaded
        self.queues = len(server_cpus)


class Lane:
    """A server's namespace with its own link to the clients."""

    def __init__(self, stack, number, layout):
        self.layout = layout
        self.namespace = f"{PREFIX}{number}"
        self.inside, self.outside = f"nb{number}s", f"nb{number}c"
        stack.callback(remove, self.namespace)
        run("ip", "netns", "add", self.namespace)
        queues = ("numrxqueues", layout.queues, "numtxqueues", layout.queues)
        run("ip", "link", "add", self.inside, *queues, "netns", self.namespace, "address", SERVER_MAC, "type", "veth",
            "peer", "name", self.outside, *queues, "netns", CLIENTS, "address", CLIENT_MAC)
        self._address()
        for namespace, interface in ((self.namespace, self.inside), (CLIENTS, self.outside)):
            self._use_napi(namespace, interface)
        self.receivers = []
        if layout.threaded:
            self.receivers = napi_threads(self.inside, layout.queues)
            place(self.receivers, layout.receive_cpus, layout.receive_priority)
            place(napi_threads(self.outside, layout.queues), layout.client_cpus, CLIENT_PRIORITY)

    def _address(self):
        for namespace, interface in ((self.namespace, "lo"), (self.namespace, self.inside), (CLIENTS, self.outside)):
            inside(namespace, "sysctl", "-qw", f"net.ipv6.conf.{interface}.accept_dad=0")
            run("ip", "-n", namespace, "link", "set", interface, "up")
        for address in ADDRESSES:
            run("ip", "-n", self.namespace, "address", "add", address, "dev", self.inside)
        for route, by in ROUTES:
            run("ip", "-n", self.namespace, "neighbor", "add", by, "lladdr", CLIENT_MAC, "dev", self.inside, "nud", "permanent")
            run("ip", "-n", self.namespace, "route", "add", route, "via", by, "dev", self.inside)

    def _use_napi(self, namespace, interface):
        """Receiving in threads of its own, one a queue; each CPU sends on its own queue. Without TSO, or packets that a
        socket sends would be delivered by the sender itself."""
        inside(namespace, "ethtool", "-K", interface, "gro", "on", "tso", "off")
        device = f"/sys/class/net/{interface}"
        masks = "".join(
            f" && echo {1 << cpu:x} > {device}/queues/tx-{queue}/xps_cpus"
            for queue, cpu in enumerate(self.layout.server_cpus)
            if self.layout.queues > 1
        )
        moderation = f"echo {self.layout.moderation} > {device}/gro_flush_timeout && echo 1000 > {device}/napi_defer_hard_irqs"
        inside(namespace, "sh", "-c", f"{moderation} && echo {int(self.layout.threaded)} > {device}/threaded{masks}")

    def start_measured(self, command, log):
        """Starts what is measured, where and how the layout has it."""
        priority = self.layout.server_priority
        rank = ["chrt", "-f", str(priority)] if priority else ["nice", "-n", NICE]
        return self.start([*rank, *command], log, self.layout.server_cpus)

    def start(self, command, log, cpus):
        """Starts `command` in the lane, on `cpus`."""
        pin = ["taskset", "-c", ",".join(map(str, cpus))]
        with open(log, "wb") as output:
            return subprocess.Popen(["ip", "netns", "exec", self.namespace, *pin, *map(str, command)],
                                    stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def load(self, *arguments, pids=(), burst=1, cpus=None):
        """Has the generator ask; returns what it tells."""
        cpus = cpus or self.layout.client_cpus
        senders = ["-T", ",".join(map(str, cpus))]
        watched = ["-p", ",".join(map(str, [*pids, *self.receivers]))]
        command = ["ip", "netns", "exec", CLIENTS, "taskset", "-c", ",".join(map(str, cpus)), "nice", "-n", NICE,
                   needs.OUT / "generator", "-i", self.outside, "-b", burst, *senders, *watched, *arguments]
        told = json.loads(output(*command))
        told["server_ns"] = sum(told["cpu"][str(pid)] for pid in pids)
        told["receive_ns"] = sum(told["cpu"][pid] for pid in self.receivers)
        del told["cpu"]
        return told

    def full_queues(self):
        """How many packets the kernel has dropped in the server's namespace since it came to be: requests that found the
        queue of their socket full."""
        lines = [line.split() for line in output("ip", "netns", "exec", self.namespace, "cat", "/proc/net/snmp").splitlines()]
        names, values = (line for line in lines if line[0] == "Udp:")
        return int(values[names.index("RcvbufErrors")])

    def wait_until_it_answers(self, processes, log, families):
        """Until good replies come on all `families`, and no others."""
        until = time.monotonic() + START_LIMIT
        while time.monotonic() < until:
            if any(process.poll() is not None for process in processes):
                raise Failure(f"a server ended by itself; it said:\n{pathlib.Path(log).read_text()[-2000:]}")
            told = [self.load("-w", 1, "-W", 0.02, "-t", 0.05, *family) for family in families]
            if all(one["good"] and not one["unsynchronized"] for one in told):
                return
            time.sleep(0.1)
        raise Failure(f"a server gives no good answer within {START_LIMIT} s; it said:\n{pathlib.Path(log).read_text()[-2000:]}")


def at_least_two_cpus():
    if len(cpus()) < 2:
        raise Failure("two, latency, overload and reloads take two CPUs")


def make_clients(stack):
    stack.callback(remove, CLIENTS)
    run("ip", "netns", "add", CLIENTS)


def end(processes):
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def napi_threads(interface, queues):
    """The kernel's threads that receive for it, in the order of its queues.

    All of them exist once `threaded` is set. More of them are those of an earlier interface with this name: the kernel ends
    them some time after it removed the namespace."""
    until = time.monotonic() + STOP_LIMIT
    while len(found := threads_named(interface)) > queues and time.monotonic() < until:
        time.sleep(0.01)
    if len(found) != queues:
        hint = "does another interface have its name" if found else "is this kernel too old for threaded NAPI on veth (5.15)"
        raise Failure(f"{interface} has {len(found)} receiving threads for {queues} queues: {hint}?")
    # Threads are made for the last queue first, but the queues were numbered in their order.
    return [thread for _, thread in sorted(found)]


def threads_named(interface):
    """The number of the queue and the process ID of each thread that receives for an interface with this name."""
    found = []
    for name in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            word, _, number = name.read_text().strip().rpartition("-")
        except OSError:  # it ended meanwhile
            continue
        if word == f"napi/{interface}":
            found.append((int(number), name.parent.name))
    return found


def place(threads, cpus, priority):
    for number, thread in enumerate(threads):
        run("taskset", "-pc", cpus[number % len(cpus)], thread)
        if priority:
            run("chrt", "-f", "-p", priority, thread)
        else:
            run("renice", "-n", NICE, "-p", thread)


def remove_leftovers():
    """What a run left that was killed; the lock says that nobody uses it."""
    for line in output("ip", "netns", "list").splitlines():
        if line.startswith(PREFIX):
            remove(line.split()[0])
    for directory in needs.OUT.glob(f"{WORK}*"):
        shutil.rmtree(directory)


def remove(namespace):
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
    for pid in listed.split():
        subprocess.run(["kill", "-KILL", pid], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


def inside(namespace, *command):
    run("ip", "netns", "exec", namespace, *command)


def run(*command):
    output(*command)


def output(*command):
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"this failed: {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def cpus():
    return sorted(os.sched_getaffinity(0))
