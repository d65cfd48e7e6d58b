"""NTP packets as far as the accuracy test needs them, and the shifted time that its upstreams tell."""

import math
import socket
import struct

PACKET = struct.Struct("!BBbbIIIQQQQ")
UNIX = 2_208_988_800  # 1970-01-01 in seconds since 1900
# Not in the socket module.
SO_TIMESTAMPNS = 35
SO_TIMESTAMPING = 37
SOF_TIMESTAMPING_TX_SOFTWARE = 1 << 1
SOF_TIMESTAMPING_SOFTWARE = 1 << 4
MSG_ERRQUEUE = 0x2000
STAMP = struct.Struct("qq")


def to_ntp(nanos):
    """Unix nanoseconds as a timestamp of 64 bits."""
    return ((nanos << 32) // 1_000_000_000 + (UNIX << 32)) % (1 << 64)


def from_ntp(timestamp):
    """The same in return, to the nanosecond."""
    return ((timestamp - (UNIX << 32)) * 1_000_000_000 + (1 << 31)) >> 32


def stamped_socket(is_sender=False):
    """A UDP socket whose packets carry the kernel's receive time, and if `is_sender`, its transmit time as well."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    udp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    if is_sender:
        udp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE)
    return udp


def sent(udp):
    """The kernel's stamp of the packet that was just sent over the loopback, as `receive` gives it."""
    return receive(udp, MSG_ERRQUEUE)[1]


def receive(udp, flags=0):
    """A packet, the kernel's stamp of CLOCK_REALTIME in nanoseconds, and who sent it."""
    data, ancillary, _, sender = udp.recvmsg(1024, 256, flags)
    for _, kind, value in ancillary:
        if kind in (SO_TIMESTAMPNS, SO_TIMESTAMPING):
            seconds, nanos = STAMP.unpack(value[: STAMP.size])
            return data, seconds * 1_000_000_000 + nanos, sender
    raise OSError("a packet without the kernel's stamp")


class Truth:
    """The true time of one network: the host's CLOCK_REALTIME, shifted, drifting, and (a little) wandering."""

    def __init__(self, plan):
        self.epoch = plan["epoch"]  # nanoseconds
        self.offset = plan["offset"]  # seconds
        self.ppm = plan["ppm"]
        self.wander_ppm = plan["wander_ppm"]
        self.wander_period = plan["wander_period"]  # seconds

    def shift(self, nanos):
        """By how many seconds the truth is ahead of CLOCK_REALTIME when that is `nanos`."""
        elapsed = (nanos - self.epoch) / 1e9
        turn = 2 * math.pi / self.wander_period
        wander = self.wander_ppm * (1 - math.cos(turn * elapsed)) / turn
        return self.offset + 1e-6 * (self.ppm * elapsed + wander)

    def at(self, nanos):
        """The true time, in nanoseconds, when CLOCK_REALTIME is `nanos`."""
        return nanos + round(self.shift(nanos) * 1e9)

    def translate(self, timestamp):
        """An upstream's timestamp, which is one of CLOCK_REALTIME, as the truth."""
        if timestamp == 0:
            return 0
        shift = round(self.shift(from_ntp(timestamp)) * (1 << 32))
        return (timestamp + shift) % (1 << 64)
