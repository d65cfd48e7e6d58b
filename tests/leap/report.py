#!/usr/bin/env python3
"""Prints what a client's clock did around the leap second: report.py CLOCK TRUTH MIDNIGHT KIND utc|--smear."""

import json
import sys


def read(path):
    for line in open(path):
        host, shown, what, value = line.split()
        yield float(host), float(shown), what, float(value)


def main():
    clock, truth, midnight, kind, mode = sys.argv[1:]
    midnight = float(midnight)
    ahead = json.load(open(truth))["offset"]  # of the made-up time, from the host's clock
    shift = -1.0 if kind == "insert" else 1.0
    happens = midnight if kind == "insert" else midnight - 1
    length = 86400.0 - shift

    if mode == "--smear":  # what was served then
        count = lambda host: host + base
        first = midnight - 43200
        # `ahead` was measured on the smeared scale: undo that once, near enough for milliseconds
        rate = shift / length
        base = None
    lines = list(read(clock))
    begin = lines[0][0]
    if mode == "--smear":
        offset_then = shift * ((begin + ahead - first) / length)
        base = ahead - offset_then

        def true_time(host):
            at = host + base
            return at + shift * min(1.0, max(0.0, (at - first) / length))
    else:

        def true_time(host):
            at = host + ahead
            return at + shift if at >= happens else at

    before, around, after, done = None, 0.0, None, []
    ends = None
    for host, shown, what, value in lines:
        at = host + (base if mode == "--smear" else ahead) - happens
        error = shown - true_time(host)
        if what == "shows":
            if at < -15:
                before = error
            elif at > 0.5:
                after = error
            # the second itself is in question by a quarter of one
            if abs(at) > 0.5 and at > -15:
                if abs(error) > abs(around):
                    around = error
                if abs(error) > 0.1:
                    ends = at
        elif what not in ("loop", "start") and at > -15 or what.startswith("leap") or what.startswith("told"):
            done.append(f"{what} {value:+.3f} at {at:+.1f} s")
    if before is None or after is None:
        print("no measurement")
        sys.exit(1)
    wrong = f", wrong by more than 100 ms until {ends:+.1f} s" if ends else ""
    print(f"before {before*1e3:+.2f} ms, worst {around*1e3:+.2f} ms, at the end {after*1e3:+.2f} ms{wrong}; " + "; ".join(done))


main()
