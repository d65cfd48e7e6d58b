"""The network between the clients under test and their upstreams: delays packets, and shifts the upstreams' time.

    relay.py PLAN LOG

Each direction of each path has a shortest delay and, on top, a queue of exponentially distributed length. Packets
may overtake each other. To LOG goes a line an exchange: what it really took, by kernel stamps.
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


class Path:
    """The way to one upstream and back."""

    def __init__(self, plan, truth, seed):
        self.plan = plan
        self.truth = truth
        self.random = random.Random(seed)
        self.listener = ntp.stamped_socket()
        self.listener.bind((plan["address"], plan["port"]))

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
        self.asked = {}  # socket to the upstream: (path, client, stamp of the request)
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
        udp.send(packet)
        self.asked[udp] = (path, client, stamp)
        self.later(time.time_ns(), round(ANSWER_WITHIN * 1e9), lambda: self.forget(udp))

    def forget(self, udp):
        self.asked.pop(udp, None)
        udp.close()

    def answer(self, udp, packet, stamp):
        path, client, asked = self.asked.pop(udp)
        # What the kernel did before our stamp belongs to the way back: count from the upstream's own.
        left = ntp.from_ntp(ntp.PACKET.unpack_from(packet)[10])
        self.later(left, path.delay("back"), lambda: self.deliver(path, packet, client, asked))

    def deliver(self, path, packet, client, asked):
        fields = list(ntp.PACKET.unpack_from(packet))
        received, transmitted = ntp.from_ntp(fields[9]), ntp.from_ntp(fields[10])
        for field in (7, 9, 10):  # reference, receive, transmit
            fields[field] = path.truth.translate(fields[field])
        path.listener.sendto(ntp.PACKET.pack(*fields) + packet[ntp.PACKET.size :], client)
        now = time.time_ns()
        out, back = (received - asked) / 1e9, (now - transmitted) / 1e9
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
