"""What the probes of all runs saw, as a table.

    report.py DIR [WARM-UP]    again from the logs that `run --keep DIR` has left
"""

import csv
import json
import math
import pathlib
import statistics
import sys

SERVERS = ("chronyd", "basic", "ntpfront")


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


class Seen:
    """What one server served: the answers of one run, or of all."""

    def __init__(self, first=(), answers=(), lost=0, least=()):
        self.first = list(first)  # seconds to the first usable answer
        self.answers = list(answers)  # (seconds since the start, error, bound, what the probe does not know)
        self.lost = lost  # unusable or no answer, after the first usable one
        self.least = list(least)  # (seconds since the start, bound / what a majority allows)

    def __add__(self, other):
        return Seen(
            self.first + other.first,
            self.answers + other.answers,
            self.lost + other.lost,
            self.least + other.least,
        )

    def numbers(self, warm_up):
        errors = [abs(error) * 1e6 for after, error, *_ in self.answers if after >= warm_up]
        steady = [(abs(error), bound) for after, error, bound, _ in self.answers if after >= warm_up]
        least = [ratio for after, ratio in self.least if after >= warm_up]
        return {
            "first answer, s": max(self.first),
            "error median, us": statistics.median(errors),
            "error 95 %, us": percentile(errors, 0.95),
            "error max, us": max(errors),
            "error max from the first answer, us": max(abs(error) * 1e6 for _, error, *_ in self.answers),
            "interval median, +- us": statistics.median(bound for _, bound in steady) * 1e6,
            "interval / what a majority allows": statistics.median(least) if least else math.nan,
            "coverage, %": 100
            * sum(abs(error) <= bound + unknown for _, error, bound, unknown in self.answers)
            / len(self.answers),
            "seconds without an answer": self.lost,
        }


class Claims:
    """What the exchanges of one client allow: one that took `out` and `back` seconds measures a time that is ahead by
    half of their difference, and may be wrong by half of their sum. So seen from the truth it allows all from -`back` to
    +`out`, if nothing drifts and all is precise.
    """

    def __init__(self, directory, client):
        lines = []
        # (Only a relay knows what took how long.)
        if (directory / "exchanges.csv").exists():
            with open(directory / "exchanges.csv", encoding="utf-8", newline="") as file:
                lines = [line for line in csv.DictReader(file) if line["client"] == client]
        self.coming = sorted(
            (int(line["unix_ns"]), line["upstream"], float(line["out"]), float(line["back"])) for line in lines
        )
        self.best = {}  # by upstream: the exchange that took the shortest time

    def majority(self, now):
        """From where to where a majority of the upstreams allows the truth at `now`: by the quickest exchange with each
        until then. None before any.
        """
        while self.coming and self.coming[0][0] <= now:
            _, upstream, out, back = self.coming.pop(0)
            if upstream not in self.best or out + back < sum(self.best[upstream]):
                self.best[upstream] = (out, back)
        if not self.best:
            return None
        least = len(self.best) // 2 + 1
        edges = sorted((at, step) for out, back in self.best.values() for at, step in ((-back, -1), (out, 1)))
        depth, inside = 0, []
        for at, step in edges:
            depth -= min(step, 0)
            if depth >= least:
                inside.append(at)
            depth -= max(step, 0)
        return (inside[0], inside[-1]) if inside else None


def least_bound(error, interval):
    """The bound that covers the interval from a served time that is wrong by `error`."""
    return max(interval[1] - error, error - interval[0])


def read(directory):
    clients = json.loads((directory / "plan.json").read_text())["clients"]
    claims = {server: Claims(directory, clients[server]) for server in SERVERS}
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
            error, bound = float(line["error"]), float(line["bound"])
            one.answers.append((after, error, bound, max(0.0, float(line["delay"])) / 2))
            interval = claims[line["server"]].majority(int(line["unix_ns"]))
            if interval:
                one.least.append((after, bound / least_bound(error, interval)))
    return seen


def table(title, seen, warm_up):
    silent = [server for server in SERVERS if not any(after >= warm_up for after, *_ in seen[server].answers)]
    if silent:
        return [title, f"  never usable: {', '.join(silent)}"]
    theirs, basics, ours = (seen[server].numbers(warm_up) for server in SERVERS)
    lines = [title, f"  {'':36}{'chronyd':>12}{'ntpfront':>12}{'ratio':>9}{'basic':>12}{'ratio':>9}"]
    for name, their in theirs.items():
        our, basic = ours[name], basics[name]
        ratio = f"{our / their:9.2f}" if their else f"{'':9}"
        to_basic = f"{our / basic:9.2f}" if basic else ""
        lines.append(f"  {name:36}{their:12.2f}{our:12.2f}{ratio}{basic:12.2f}{to_basic}")
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
