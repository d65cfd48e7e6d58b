"""Compares the time that each client under test serves with the truth, every second.

    probe.py PLAN LOG SECONDS

It asks over the loopback of their own namespace, three times in a row, and believes the quickest answer. Until a
server has answered usably for the first time, it is asked every 20 ms.
"""

import json
import os
import select
import sys
import time

import ntp

EAGER = 0.02
TRIES = 3


def ask(address, truth):
    """One question: (delay, error, half root delay + root dispersion, leap, stratum), or None."""
    udp = ntp.stamped_socket(is_sender=True)
    with udp:
        udp.connect(tuple(address))
        nonce = int.from_bytes(os.urandom(8), "big")
        try:
            udp.send(ntp.PACKET.pack(0x23, 0, 0, 0, 0, 0, 0, 0, 0, 0, nonce))
            sent = ntp.sent(udp)
            if not select.select([udp], [], [], 0.5)[0]:
                return None
            packet, arrived, _ = ntp.receive(udp)
        except OSError:
            return None  # nobody listens there yet
    fields = ntp.PACKET.unpack_from(packet)
    if fields[8] != nonce:
        return None
    first, stratum, root_delay, dispersion = fields[0], fields[1], fields[4] / 65536, fields[5] / 65536
    received, transmitted = ntp.from_ntp(fields[9]), ntp.from_ntp(fields[10])
    out, back = received - truth.at(sent), transmitted - truth.at(arrived)
    delay = (arrived - sent) - (transmitted - received)
    return delay / 1e9, (out + back) / 2e9, root_delay / 2 + dispersion, first >> 6, stratum


def is_usable(answer):
    return answer is not None and answer[3] != 3 and 1 <= answer[4] <= 15


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    seconds = float(sys.argv[3])
    truth = ntp.Truth(plan["truth"])
    servers = {name: tuple(address) for name, address in plan["servers"].items()}
    seen = set()
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    # The clients are started when this line is read.
    print("ready", flush=True)
    start = time.time_ns()
    turn = 0
    with open(sys.argv[2], "w", encoding="utf-8") as log:
        print("unix_ns,server,error,bound,leap,stratum,delay", file=log)
        while (time.time_ns() - start) / 1e9 < seconds:
            every_second = turn % round(1 / EAGER) == 0
            for name, address in servers.items():
                if name in seen and not every_second:
                    continue
                answers = [ask(address, truth) for _ in range(TRIES if name in seen else 1)]
                good = [answer for answer in answers if is_usable(answer)]
                if not good and name not in seen:
                    continue
                seen.add(name)
                if not good:
                    print(f"{time.time_ns()},{name},,,3,0,", file=log, flush=True)
                    continue
                delay, error, bound, leap, stratum = min(good)
                line = f"{time.time_ns()},{name},{error:.9f},{bound:.9f},{leap},{stratum},{delay:.9f}"
                print(line, file=log, flush=True)
            turn += 1
            pause = (start - time.time_ns()) / 1e9 + turn * EAGER
            time.sleep(max(0.0, pause))


if __name__ == "__main__":
    main()
