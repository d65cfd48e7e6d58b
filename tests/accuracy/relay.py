"""The network between the clients under test and their upstreams: delays packets, and shifts the upstreams' time.

    relay.py PLAN LOG

Each direction of each path has a shortest delay and, on top, a queue of exponentially distributed length. Packets
may overtake each other. To LOG goes a line an exchange: what it really took, by kernel stamps.

A question in interleaved mode names the receive timestamp of the last answer. The upstream knows that one as it was
before it was shifted. Its answer says when the answer before left, so what it took is counted from our stamp of it.
"""

import ctypes
import heapq
import itertools
import json
import os
import random
import select
import sys
import time

import ntp

ANSWER_WITHIN = 5.0
# Receive timestamps that are remembered of each path.
REMEMBERED = 1000


class Path:
    """The way to one upstream and back."""

    def __init__(self, plan, truth, seed):
        self.plan = plan
        self.truth = truth
        self.random = random.Random(seed)
        self.listener = ntp.stamped_socket()
        self.listener.bind((plan["address"], plan["port"]))
        self.received = {}  # receive timestamps as they were told: as the upstream made them

    def remember(self, told, made):
        """Notes a receive timestamp, and forgets the oldest one."""
        self.received[told] = made
        if len(self.received) > REMEMBERED:
            del self.received[next(iter(self.received))]

    def delay(self, direction):
        """Nanoseconds that the next packet in this direction takes."""
        shortest, queue = self.plan[direction]
        return round((shortest + self.random.expovariate(1.0 / queue)) * 1e9)


class Relay:
    def __init__(self, plan, log):
        truth = ntp.Truth(plan["truth"])
        self.log = log
        self.paths = {}
        for index, path in enumerate(plan["paths"]):
            made = Path(path, truth, f"{plan['seed']} path {index}")
            self.paths[made.listener] = made
        self.asked = {}  # socket to the upstream: (path, client, stamp of the request, its transmit timestamp)
        self.waiting = []  # (when by CLOCK_MONOTONIC, number, what to do)
        self.numbers = itertools.count()

    def later(self, stamp, delay, action):
        """Does it when `delay` nanoseconds have passed since the kernel's `stamp`."""
        left = delay - (time.time_ns() - stamp)
        heapq.heappush(self.waiting, (time.monotonic_ns() + left, next(self.numbers), action))

    def run(self):
        while True:
            while self.waiting and self.waiting[0][0] <= time.monotonic_ns():
                heapq.heappop(self.waiting)[2]()
            pause = None
            if self.waiting:
                pause = max(0.0, (self.waiting[0][0] - time.monotonic_ns()) / 1e9)
            for udp in select.select([*self.paths, *self.asked], [], [], pause)[0]:
                try:
                    packet, stamp, sender = ntp.receive(udp)
                except OSError:
                    continue  # the upstream's port was closed: as if lost
                if udp in self.paths:
                    self.request(self.paths[udp], packet, stamp, sender)
                else:
                    self.answer(udp, packet, stamp)

    def request(self, path, packet, stamp, client):
        self.later(stamp, path.delay("out"), lambda: self.forward(path, packet, stamp, client))

    def forward(self, path, packet, stamp, client):
        udp = ntp.stamped_socket()
        udp.connect(("127.0.0.1", path.plan["upstream_port"]))
        fields = list(ntp.PACKET.unpack_from(packet))
        fields[8] = path.received.get(fields[8], fields[8])  # origin
        udp.send(ntp.PACKET.pack(*fields) + packet[ntp.PACKET.size :])
        self.asked[udp] = (path, client, stamp, fields[10])
        self.later(time.time_ns(), round(ANSWER_WITHIN * 1e9), lambda: self.forget(udp))

    def forget(self, udp):
        self.asked.pop(udp, None)
        udp.close()

    def answer(self, udp, packet, stamp):
        path, client, asked, nonce = self.asked.pop(udp)
        fields = ntp.PACKET.unpack_from(packet)
        # What the kernel did before our stamp belongs to the way back: count from the upstream's own, if it is of this
        # answer: in basic mode the origin is the transmit timestamp of the question.
        is_basic = fields[8] == nonce
        left = ntp.from_ntp(fields[10]) if is_basic else stamp
        self.later(left, path.delay("back"), lambda: self.deliver(path, packet, client, asked, left))

    def deliver(self, path, packet, client, asked, left):
        fields = list(ntp.PACKET.unpack_from(packet))
        made, received = fields[9], ntp.from_ntp(fields[9])
        for field in (7, 9, 10):  # reference, receive, transmit
            fields[field] = path.truth.translate(fields[field])
        path.remember(fields[9], made)
        path.listener.sendto(ntp.PACKET.pack(*fields) + packet[ntp.PACKET.size :], client)
        now = time.time_ns()
        out, back = (received - asked) / 1e9, (now - left) / 1e9
        address = path.plan["address"]
        print(f"{now},{client[0]},{address},{out:.9f},{back:.9f}", file=self.log, flush=True)


def hurry():
    """Wakes up as exactly as the kernel can: both clients shall see the delays of the plan and no others."""
    ctypes.CDLL(None).prctl(29, 1, 0, 0, 0)  # PR_SET_TIMERSLACK: 1 ns in place of 50 us
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    hurry()
    with open(sys.argv[2], "w", encoding="utf-8") as log:
        print("unix_ns,client,upstream,out,back", file=log)
        Relay(plan, log).run()


if __name__ == "__main__":
    main()
