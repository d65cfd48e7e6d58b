"""The servers: how each is configured and started, and which of its processes count."""

import pathlib
import random
import subprocess

import needs
import rig

# An ntpfront as it comes, with its usual fences (seccomp, Landlock) and the census: it mirrors a chronyd on its host.
NTPFRONT_CONFIG = """\
[[listener]]
address = "0.0.0.0:123"
workers = @WORKERS@
@STEERING@

[[listener]]
address = "[::]:123"
workers = @WORKERS@
@STEERING@

[[upstream]]
address = "127.0.0.1:11123"

[control]
socket = ""
"""
# What stands for @STEERING@: nothing, or this.
BY_CPU = 'steering = "cpu"\npin = true'
UPSTREAM_CONFIG = """\
local stratum 2
port 11123
bindaddress 127.0.0.1
allow 127.0.0.1
cmdport 0
bindcmdaddress /
pidfile @PIDFILE@
"""
CHRONYD_CONFIG = """\
local stratum 2
allow
cmdport 0
bindcmdaddress /
pidfile @PIDFILE@
"""
# Without an upstream it tells a time only as stratum 1. Its [::] takes IPv4's port, too, so for IPv6 it listens at the one
# address.
NTPD_RS_CONFIG = """\
[observability]
log-level = "warn"
[synchronization]
local-stratum = 1
[[server]]
listen = "0.0.0.0:123"
[[server]]
listen = "[@IPV6@]:123"
""".replace("@IPV6@", rig.ADDRESSES[1].partition("/")[0])
# No daemon may set the host's clock.
NO_CLOCK = ["setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-sys_time", "--no-new-privs"]
# With its filter of system calls, as Debian's package starts it (/etc/default/chrony): ours has one, too.
CHRONYD = [needs.PEERS / "chronyd", "-x", "-d", "-F", "1", "-u", "root", "-f"]


class Server:
    """One that is measured. `write(directory, workers, interface)` gives the commands that start it. `by_cpu` is the
    same server with its workers steered by CPU and pinned, if it can do that."""

    def __init__(self, name, write, follows=False, version=(), by_cpu=None):
        self.name, self._write, self._follows, self._version = name, write, follows, version
        self.by_cpu = by_cpu

    def version(self):
        """What it says of itself, on one line."""
        if not self._version:
            return f"tests/bench/network/baseline/{self.name}.c"
        done = subprocess.run([str(word) for word in self._version], capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).splitlines()[0]

    def start(self, lane, directory, workers):
        """Starts it in `lane`; returns what counts, what doesn't, and the file with what they say."""
        directory.mkdir(parents=True, exist_ok=True)
        beside = []
        if self._follows:
            config = write(directory / "upstream.conf", UPSTREAM_CONFIG)
            beside.append(lane.start([*CHRONYD, config], directory / "upstream.log", rig.cpus()[:1]))
        log = directory / "log"
        commands = self._write(directory, workers, lane.inside)
        counted = [lane.start_measured(command, log) for command in commands]
        return counted, beside, log


def ntpfront(name, binary, text):
    """Steered by CPU if the configuration has a place to say so."""
    by_cpu = ntpfront(name, binary, text.replace("@STEERING@", BY_CPU)) if "@STEERING@" in text else None
    text = text.replace("@STEERING@", "")

    def commands(directory, workers, interface):
        filled = text.replace("@WORKERS@", str(workers)).replace("@INTERFACE@", interface)
        return [[binary, "-c", write(directory / "ntpfront.toml", filled)]]

    return Server(name, commands, follows=True, version=[binary, "--version"], by_cpu=by_cpu)


def chronyd(directory, workers, _interface):
    """It has one thread; several share the port (SO_REUSEPORT)."""
    configs = (write(directory / f"chronyd-{number}.conf", CHRONYD_CONFIG) for number in range(workers))
    return [[*CHRONYD, config] for config in configs]


def ntpd_rs(directory, _workers, _interface):
    return [[*NO_CLOCK, needs.NTPD_RS, "-c", write(directory / "ntpd-rs.toml", NTPD_RS_CONFIG)]]


def baseline(name, *options):
    def commands(_directory, workers, _interface):
        return [[needs.OUT / name, workers, *options]]

    return commands


def built():
    return needs.TARGET / "release" / "ntpfront"


STANDARD = {
    "ntpfront": lambda: ntpfront("ntpfront", built(), NTPFRONT_CONFIG),
    "chronyd": lambda: Server("chronyd", chronyd, version=[CHRONYD[0], "--version"]),
    "ntpd-rs": lambda: Server("ntpd-rs", ntpd_rs, version=[needs.NTPD_RS, "--version"]),
    "plain": lambda: Server("plain", baseline("plain")),
    "batched": lambda: Server("batched", baseline("batched"), by_cpu=Server("batched", baseline("batched", "cpu"))),
}


def named(word):
    """The server that is meant by a word of the command line."""
    name, equals, rest = word.partition("=")
    if not equals:
        return STANDARD[word]()
    file = rest.partition(",")[2]
    text = pathlib.Path(file).read_text(encoding="utf-8") if file else NTPFRONT_CONFIG
    return ntpfront(name, binary_of(word), text)


def binary_of(word):
    """Which ntpfront is meant by it."""
    given = word.partition("=")[2].partition(",")[0]
    return pathlib.Path(given).resolve() if given else built()


def has_interleaved(word):
    """Whether the server of this word has interleaved mode (RFC 9769)."""
    return "=" in word or word in ("ntpfront", "chronyd")


def with_interleaved(word):
    """The same server, with room for all clients of `interleaved`."""
    if word != "chronyd":
        return ntpfront(word.partition("=")[0], binary_of(word), NTPFRONT_CONFIG + "[interleaved]\nclients = 16384\n")

    def commands(directory, workers, interface):
        return [[*command[:-1], write(command[-1], CHRONYD_CONFIG + "clientloglimit 100000000\n")]
                for command in chronyd(directory, workers, interface)]

    return Server("chronyd", commands, version=[CHRONYD[0], "--version"])


def write(path, text):
    path.write_text(text.replace("@PIDFILE@", str(path.with_suffix(".pid"))), encoding="utf-8")
    return path


def swap(program):
    """A program in the driver that only swaps addresses and ports, or `clock`, which reads a clock as well. It stays until
    the interface goes.
    """

    def commands(_directory, _workers, interface):
        attach = 'ip -force link set dev "$0" xdpdrv obj "$1" sec xdp && exec sleep 86400'
        return [["sh", "-c", attach, interface, needs.OUT / f"{program}.bpf.o"]]

    return commands


def natively(word):
    """An ntpfront with its fast path in the driver."""
    return ntpfront(f"{word.partition('=')[0]}: fast path", binary_of(word), NTPFRONT_CONFIG + attached("native"))


def attached(mode):
    """The keys of a fast path in this mode."""
    return f'[fast-path]\ninterfaces = ["@INTERFACE@"]\nmode = "{mode}"\n'


def fast_path(words):
    """The fast path of each ntpfront that is meant, and what it is compared with."""
    told = [STANDARD["chronyd"](), STANDARD["plain"](), *(
        Server(name, swap(program), version=["ip", "-V"]) for name, program in (("swap", "swap"), ("swap and a clock", "clock"))
    )]
    for word in words:
        name, binary = word.partition("=")[0], binary_of(word)
        for part, mode, text in (
            ("native, all off", "native", OFF),
            ("native", "native", ""),
            ("native, all on", "native", access() + LIMIT),
            ("generic", "generic", ""),
        ):
            told.append(ntpfront(f"{name}: {part}", binary, NTPFRONT_CONFIG + text + attached(mode)))
    return told


PREFIXES = 1000


def with_policies(word):
    """One ntpfront with its policies on and off: all off first, then each alone, then all."""
    binary = binary_of(word)
    parts = {
        "all off": OFF,
        "census": '[limit]\nmode = "off"\n',
        "access": OFF + access(),
        # As an operator would have it, but for the interval: nobody who asks here is limited.
        "limit": "[census]\nenabled = false\n" + LIMIT,
        "all on": access() + LIMIT,
        "all on, tracked": access() + LIMIT + '[clock]\nsource = "tracked"\n',
    }
    return [ntpfront(name, binary, NTPFRONT_CONFIG + part) for name, part in parts.items()]


# No policies.
OFF = '[census]\nenabled = false\n[limit]\nmode = "off"\n'
LIMIT = """\
[limit]
mode = "on"
interval = 0.001
burst = 1000
clients = 131072
"""


def access():
    """Denied prefixes of both families, none of which has a client of ours."""
    dice = random.Random(PREFIXES)
    prefixes = set()
    while len(prefixes) < PREFIXES // 2:
        prefixes.add(f"{dice.randrange(11, 224)}.{dice.randrange(256)}.{dice.randrange(256)}.0/24")
    while len(prefixes) < PREFIXES:
        prefixes.add(f"2001:{dice.randrange(65536):x}:{dice.randrange(65536):x}::/48")
    return f"[access]\ndeny = {sorted(prefixes)}\n".replace("'", '"')
