"""What the probes of all runs saw, as a table.

    report.py DIR [WARM-UP]    again from the logs that `run --keep DIR` has left
"""

import csv
import json
import math
import pathlib
import statistics
import sys

SERVERS = ("chronyd", "ntpfront")


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


class Seen:
    """What one server served: the answers of one run, or of all."""

    def __init__(self, first=(), answers=(), lost=0):
        self.first = list(first)  # seconds to the first usable answer
        self.answers = list(answers)  # (seconds since the start, error, bound)
        self.lost = lost  # unusable or no answer, after the first usable one

    def __add__(self, other):
        return Seen(self.first + other.first, self.answers + other.answers, self.lost + other.lost)

    def numbers(self, warm_up):
        errors = [abs(error) * 1e6 for after, error, _ in self.answers if after >= warm_up]
        steady = [(abs(error), bound) for after, error, bound in self.answers if after >= warm_up]
        return {
            "first answer, s": max(self.first),
            "error median, us": statistics.median(errors),
            "error 95 %, us": percentile(errors, 0.95),
            "error max, us": max(errors),
            "error max from the first answer, us": max(abs(error) * 1e6 for _, error, _ in self.answers),
            "interval median, +- us": statistics.median(bound for _, bound in steady) * 1e6,
            "coverage, %": 100 * sum(abs(error) <= bound for _, error, bound in self.answers) / len(self.answers),
            "seconds without an answer": self.lost,
        }


def read(directory):
    started = int((directory / "started").read_text())
    seen = {server: Seen() for server in SERVERS}
    with open(directory / "probe.csv", encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            one = seen[line["server"]]
            if line["error"] == "":
                one.lost += 1
                continue
            after = (int(line["unix_ns"]) - started) / 1e9
            if not one.first:
                one.first.append(after)
            one.answers.append((after, float(line["error"]), float(line["bound"])))
    return seen


def table(title, seen, warm_up):
    silent = [server for server in SERVERS if not any(after >= warm_up for after, _, _ in seen[server].answers)]
    if silent:
        return [title, f"  never usable: {', '.join(silent)}"]
    theirs, ours = (seen[server].numbers(warm_up) for server in SERVERS)
    lines = [title, f"  {'':36}{'chronyd':>12}{'ntpfront':>12}{'ratio':>9}"]
    for name, their in theirs.items():
        our = ours[name]
        ratio = f"{our / their:9.2f}" if their else ""
        lines.append(f"  {name:36}{their:12.2f}{our:12.2f}{ratio}")
    return lines


def report(directories, warm_up):
    lines = []
    total = {server: Seen() for server in SERVERS}
    for directory in directories:
        plan = json.loads((directory / "plan.json").read_text())
        truth = plan["truth"]
        seen = read(directory)
        shift = f"{truth['offset']:+.3f} s {truth['ppm']:+.1f} ppm +- {truth['wander_ppm']:.2f} ppm"
        lines += table(f"{directory.name}: {plan['scene']}, truth {shift}", seen, warm_up)
        total = {server: total[server] + seen[server] for server in SERVERS}
    lines += table(f"all {len(directories)} runs; errors from {warm_up:g} s after the start", total, warm_up)
    return "\n".join(lines)


def main():
    warm_up = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    print(report(sorted(pathlib.Path(sys.argv[1]).glob("run-*")), warm_up))


if __name__ == "__main__":
    main()
