"""Loads the page many times while clients ask for the time: load.py LOAD PORT-OF-PAGE PORT-OF-TIME

It fails if a reply of NTP is lost, and if a page is neither 200 nor 503. Latencies are only reported.
"""

import collections
import concurrent.futures
import http.client
import json
import subprocess
import sys
import time

LOADS, AT_ONCE, RATE, QUIET, LONGEST = 10_000, 8, 20_000, 10, 300


def ask(load, ports):
    """Starts the load, once it sends."""
    targets = [word for address in ("127.0.0.1", "[::1]") for word in ("--target", f"{address}:{ports[1]}")]
    command = [load, *targets, "--rate", str(RATE), "--seconds", str(LONGEST)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process


def answer(process, words):
    """Ends the load, and says what it found; returns what does not hold."""
    report = json.loads(process.communicate("stop\n", timeout=60)[0].splitlines()[-1])
    latency = max((target["latency_us"] for target in report["targets"]), key=lambda one: one["p99"])
    print(
        f"{words}: {report['sent'] / report['seconds']:.0f} requests/s, {report['sent']} sent, {report['answered']} answered, "
        f"{report['lost']} lost, {report['wrong']} wrong; p50 {latency['p50']} us, p99 {latency['p99']} us, "
        f"p99.9 {latency['p999']} us, at most {latency['max']} us",
        flush=True,
    )
    faults = [f"{words}: {report[name]} {name}" for name in ("lost", "wrong", "duplicate", "unsynchronized") if report[name]]
    if report["own_drops"]:
        faults.append(f"{words}: the load itself dropped {report['own_drops']}: is the machine busy?")
    if report["sent"] < RATE * report["seconds"] / 2:
        faults.append(f"{words}: the load sends less than half of what it is to send: is the machine busy?")
    return faults


def fetch(ports):
    """Returns the outcome of a page, and the seconds that it took."""
    start = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=10)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        text = response.read()
        outcome = str(response.status)
        if response.status == 200 and not text.endswith(b"</html>"):
            outcome = "200, cut"
    except (OSError, http.client.HTTPException) as error:
        outcome = type(error).__name__
    finally:
        connection.close()
    return outcome, time.monotonic() - start, len(text) if outcome == "200" else 0


def main():
    load, ports = sys.argv[1], [int(port) for port in sys.argv[2:]]
    process = ask(load, ports)
    time.sleep(QUIET)
    faults = answer(process, "alone")
    process = ask(load, ports)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        loads = list(threads.map(lambda _: fetch(ports), range(LOADS)))
    took = time.monotonic() - start
    faults += answer(process, "with pages")
    outcomes = collections.Counter(outcome for outcome, _, _ in loads)
    times = sorted(seconds for _, seconds, _ in loads)
    print(
        f"pages: {LOADS / took:.0f}/s, {AT_ONCE} at once, {sum(size for _, _, size in loads) / 1e6:.0f} MB, "
        + ", ".join(f"{count} times {outcome}" for outcome, count in outcomes.items())
        + f"; p50 {times[LOADS // 2] * 1000:.1f} ms, p99 {times[LOADS * 99 // 100] * 1000:.1f} ms, at most {times[-1] * 1000:.0f} ms"
    )
    faults += [f"{count} pages: {outcome}" for outcome, count in outcomes.items() if outcome not in ("200", "503")]
    for fault in faults:
        print(f"tests/page/run: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
