"""From records to tables in Markdown: medians, their spread, and ratios."""

import pathlib
import platform
import statistics
import sys

import needs
import servers

POLICIES = ("all off", "census", "access", "limit", "all on", "all on, tracked")
DOCUMENT = "packaging/doc/benchmark.md"
BEGIN, END = "<!-- tests/bench/network/run --document: begin -->", "<!-- tests/bench/network/run --document: end -->"
# Ratios are against it, in a mode where it can be, or in the one that is measured in the same turns.
PEER = "chronyd"
PEER_MODE = {"two-by-cpu": "two"}


def machine(named):
    """The first record: where this was measured, and what."""
    cpus = [line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "mode": "machine",
        "cpu": cpus[0].partition(": ")[2] if cpus else platform.machine(),
        "cpus": len(cpus),
        "kernel": platform.release(),
        "versions": {word.partition("=")[0]: servers.named(word).version() for word in named},
        "command": " ".join(sys.argv[1:]),
    }


def progress(record):
    if record["mode"] == "machine":
        return f"run: {record}"
    faults = {name: record[name] for name in ("lost", "malformed", "strange", "unsynchronized", "mixed_up", "late") if record[name]}
    if record["mode"] == "interleaved":
        faults["basic"] = record["good"] - record["interleaved"]
    good = max(record["good"], 1)
    parts = f"{record['server_ns'] / good:.0f} + {record['receive_ns'] / good:.0f}"
    return (f"run: {record['mode']} {record['round'] + 1}.{record['turn'] + 1} {record['server']} {record['family']}: "
            f"{cpu(record):.0f} ns a response ({parts}), {rate(record):.0f}/s {faults or ''}")


def cpu(record):
    """Nanoseconds of CPU a response."""
    return (record["server_ns"] + record["receive_ns"]) / max(record["good"], 1)


def rate(record):
    """Good responses a second."""
    return record["good"] / record["seconds"]


def thousands(record):
    return rate(record) / 1000


def answered(record):
    """Percent of the requests that were answered."""
    return 100 * record["good"] / max(record["asked"], 1)


def microseconds(name, part):
    return lambda record: record[name][part] / 1000


# Mode, family, words, what is told, digits, and whether less is better.
ROWS = (
    ("cost", "IPv4", "CPU time per response, bursts of 32, IPv4, ns", cpu, 0, True),
    ("cost", "IPv6", "CPU time per response, bursts of 32, IPv6, ns", cpu, 0, True),
    ("single", "IPv4", "CPU time per response, one request at a time, ns", cpu, 0, True),
    ("interleaved", "IPv4", "CPU time per response, all clients in interleaved mode, ns", cpu, 0, True),
    ("two", "IPv4", "two workers on two CPUs, 1000 responses/s", thousands, 0, False),
    ("two-by-cpu", "IPv4", "… steered by CPU, pinned", thousands, 0, False),
    ("latency", "IPv4", "at {rate}/s: offset error p50, µs", microseconds("offset", "p50"), 1, True),
    ("latency", "IPv4", "… p99", microseconds("offset", "p99"), 1, True),
    ("latency", "IPv4", "… round trip p50, µs", microseconds("round_trip", "p50"), 1, True),
    ("latency", "IPv4", "… p99", microseconds("round_trip", "p99"), 1, True),
    ("overload", "IPv4", "at {rate}/s: answered, %", answered, 0, False),
    ("overload", "IPv4", "… offset error p50, µs", microseconds("offset", "p50"), 0, True),
    ("overload", "IPv4", "… round trip p50, µs", microseconds("round_trip", "p50"), 0, True),
)


def tables(records):
    """All of it in Markdown."""
    named = [record for record in records if record["mode"] == "machine"]
    names = list(dict.fromkeys(name for record in named for name in record["versions"]))
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    lines += [line for line in (row(records, names, *what) for what in ROWS) if line]
    return "\n".join(([] if len(lines) == 2 else lines + [""]) + policies(records) + inline(records) + fast(records) + reloads(records) + profiles(records) + [words(records, named)])


def row(records, names, mode, family, title, value, digits, less):
    """One measure of all servers; None if nobody was measured in it."""
    there = {name: by_turn(records, mode, family, name, value) for name in names}
    if not any(there.values()):
        return None
    peer = by_turn(records, PEER_MODE.get(mode, mode), family, PEER, value)
    cells = [cell(there[name], digits, {} if name == PEER else peer, less) for name in names]
    rates = [record["rate"] for record in records if record["mode"] == mode and "rate" in record]
    return f"| {title.format(rate=format(int(rates[0]), ',') if rates else '')} | " + " | ".join(cells) + " |"


def by_turn(records, mode, family, name, value):
    """What was measured of a server, by the turn in which it was."""
    return {turn_of(record): value(record) for record in records
            if (record["mode"], record.get("family"), record.get("server")) == (mode, family, name)}


def turn_of(record):
    """`file` is there if the records come from files."""
    return record.get("file"), record["round"], record["turn"]


def cell(values, digits, peer, less):
    """Median, spread, and how many times better than the peer."""
    if not values:
        return "–"
    middle = statistics.median(values.values())
    text = f"{middle:.{digits}f} ({min(values.values()):.{digits}f}–{max(values.values()):.{digits}f})"
    better = ratio(peer, values) if less else ratio(values, peer)
    return f"{text} **×{better:.2f}**" if better else text


def ratio(over, under):
    """The median of the ratios of two servers turn by turn, in which they are measured within seconds of each other: the
    machine has speeds of its own, which last longer. None without a turn that has both."""
    ratios = [over[turn] / under[turn] for turn in over.keys() & under.keys() if under[turn]]
    return statistics.median(ratios) if ratios else None


def policies(records):
    values = {name: by_turn(records, "policies", "IPv4", name, cpu) for name in POLICIES}
    if not any(values.values()):
        return []
    lines = ["| policies of ntpfront | CPU time per response, ns | more |", "| --- | --- | --- |"]
    for name, those in values.items():
        dearer = 100 * (ratio(those, values["all off"]) - 1)
        lines.append(f"| {name} | {cell(those, 0, {}, True)} | {dearer:+.1f} % |")
    return lines + [""]


def inline(records):
    """The error that is the server's own."""
    there = [record for record in records if record["mode"] == "inline"]
    if not there:
        return []
    rates = format(int(there[0]["rate"]), ",")
    lines = [f"| nothing to wait for, {rates}/s | offset error p50, µs | p99 | heard after it says that it left, p50 |", "| --- | --- | --- | --- |"]
    for name in dict.fromkeys(record["server"] for record in there):
        cells = [cell(by_turn(there, "inline", "IPv4", name, microseconds(*what)), 2, {}, True)
                 for what in (("offset", "p50"), ("offset", "p99"), ("return", "p50"))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines + [""]


def reloads(records):
    """What is lost in reloads, by what they change, beside the same load without them."""
    there = [record for record in records if record["mode"] == "reloads"]
    if not there:
        return []
    rates = format(int(there[0]["rate"]), ",")
    lines = [f"| reloads at {rates}/s | reloads | requests | wrong | lost | … at full sockets | without a reload: lost | … at full sockets |",
             "| --- |" + " --- |" * 7]
    for change in [*dict.fromkeys(record["change"] for record in there), "all"]:
        those = [record for record in there if change in (record["change"], "all")]
        during, before = ([record for record in those if record["reload"] == is_one] for is_one in (True, False))
        counts = [len(during), total("asked", during), sum(map(wrong, during)), total("lost", during), total("full", during),
                  total("lost", before), total("full", before)]
        lines.append(f"| {change} | {' | '.join(format(count, ',') for count in counts)} |")
    return lines + [""]


def total(name, records):
    return sum(record[name] for record in records)


def wrong(record):
    return sum(record.get(name, 0) for name in ("malformed", "strange", "unsynchronized", "mixed_up"))


def fast(records):
    """The fast path beside a program that only swaps addresses, a plain loop on sockets, and chronyd."""
    there = [record for record in records if record["mode"] == "fast"]
    names = list(dict.fromkeys(record["server"] for record in sorted(there, key=lambda record: -cpu(record))))
    lines = []
    for family in ("IPv4", "IPv6") if names else ():
        values = {name: by_turn(records, "fast", family, name, cpu) for name in names}
        lines += [f"| fast path, {family} | CPU time per response, ns | of swap | of plain | of chronyd |", "| --- | --- | --- | --- | --- |"]
        for name in names:
            less = (f"1/{ratio(values[peer], values[name]):.1f}" for peer in ("plain", "chronyd"))
            swaps = f"{ratio(values[name], values['swap']):.2f}"
            lines.append(f"| {name} | {cell(values[name], 0, {}, True)} | {swaps} | {' | '.join(less)} |")
        lines.append("")
    return lines


def profiles(records):
    """Where the time goes: by program, and the functions that take most."""
    lines = []
    for name in dict.fromkeys(record["server"] for record in records if record["mode"] == "profile"):
        there = [record["shares"] for record in records if record["mode"] == "profile" and record["server"] == name]
        by_program, by_function = {}, {}
        for share, program, function in (entry for shares in there for entry in shares):
            by_program[program] = by_program.get(program, 0) + share / len(there)
            by_function[program, function] = by_function.get((program, function), 0) + share / len(there)
        lines += [f"| {name}: % of its threads' time | where |", "| --- | --- |"]
        lines += [f"| **{share:.1f}** | {program} |" for program, share in most(by_program, 6)]
        lines += [f"| {share:.1f} | {program} {function} |" for (program, function), share in most(by_function, 40)] + [""]
    return lines


def most(shares, count):
    return sorted(shares.items(), key=lambda item: -item[1])[:count]


def words(records, named):
    """What has to be known to read the tables."""
    told = [record for record in records if "good" in record]
    turns = most_turns(told)
    starts = {(file, number) for file, number, _ in turns}
    versions = {name: version.partition(" (+")[0] for record in named for name, version in record["versions"].items()}
    lost = sum(record["lost"] for record in told if record["mode"] != "overload")
    bad = sum(map(wrong, told))
    good = sum(record["good"] for record in told)
    return (f"Medians of {len(turns)} turns after {len(starts)} starts (least–most); **×**: how many times better than {PEER}, "
            f"the median of the ratios turn by turn. "
            f"{named[0]['cpus']} CPUs of {named[0]['cpu']}, Linux {named[0]['kernel']}; "
            f"{'; '.join(f'{name}: {version}' for name, version in versions.items())}. "
            f"Of {good:,} replies {bad} were wrong; outside of the flood {lost} requests had none.")


def most_turns(records):
    """The turns of the mode that has most of them."""
    turns = {}
    for record in records:
        turns.setdefault(record["mode"], set()).add(turn_of(record))
    return max(turns.values(), key=len, default=set())


def write_document(text):
    path = needs.ROOT / DOCUMENT
    document = path.read_text(encoding="utf-8")
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"run: {DOCUMENT} has not both of {BEGIN} and {END}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
