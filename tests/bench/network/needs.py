"""What the benchmark needs, and how it gets that on Debian."""

import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
# Our own programs and raw results.
OUT = TARGET / "bench-network"
PEERS = TARGET / "peers"
NTPD_RS = PEERS / "ntpd-rs" / "bin" / "ntp-daemon"

# What shows that a package is there, and the package.
PACKAGES = {
    "clang": "clang",
    "make": "make",
    "ip": "iproute2",
    "ethtool": "ethtool",
    "perf": "linux-perf",
    "chrt": "util-linux",
    "setpriv": "util-linux",
    "/usr/include/bpf/libbpf.h": "libbpf-dev",
}


class Missing(Exception):
    """Something can't be had; the message says what, and what to do."""


def get(named):
    """Gets and builds all that measuring the servers in `named` takes."""
    packages = sorted({package for sign, package in PACKAGES.items() if not is_there(sign)})
    if packages:
        tell("installing", *packages)
        install(packages)
    OUT.mkdir(parents=True, exist_ok=True)
    PEERS.mkdir(parents=True, exist_ok=True)
    quietly("make", "-C", HERE, f"OUT={OUT}")
    # It is also the upstream of every ntpfront.
    if not (PEERS / "chronyd").exists():
        tell("getting chronyd")
        quietly(ROOT / "tests" / "get-peer", "chronyd", PEERS)
    if "ntpd-rs" in named and not NTPD_RS.exists():
        tell("building ntpd-rs from crates.io (minutes)")
        quietly("cargo", "install", "ntpd", "--locked", "--root", NTPD_RS.parent.parent)
    if "ntpfront" in named:
        tell("building ntpfront")
        quietly("cargo", "build", "--release", "--locked", "--bin", "ntpfront", "--manifest-path", ROOT / "Cargo.toml")


def is_there(sign):
    return os.path.exists(sign) if sign.startswith("/") else shutil.which(sign) is not None


def install(packages):
    command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "install", "--no-install-recommends"]
    try:
        quietly(*command, *packages)
    except Missing:
        quietly("apt-get", "-q", "update")
        quietly(*command, *packages)


def quietly(*command):
    """Runs a command and says nothing unless it fails."""
    words = [str(word) for word in command]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise Missing(f"this failed: {' '.join(words)}\n{done.stdout}{done.stderr}")


def tell(*words):
    print("run:", *words, flush=True)
