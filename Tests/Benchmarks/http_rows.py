"""The HTTP rows: h2load sends requests through a proxy to an nginx with fixed answers.

A sample is a fixed number of requests, as many as the warm-up says fit the time, so that every
request that costs the proxy anything is counted. A status other than 200, an error, or one byte of
a body more or less makes the sample void.
"""

import csv
import os
import pathlib
import re
import statistics
import subprocess

WARM_UP_REQUESTS = 4_000
REQUESTS_MAX = 1_000_000
TICKS = os.sysconf("SC_CLK_TCK")
# As a browser sends them, so that the proxies parse what they would parse in service.
FIELDS = [
    "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36",
    "accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    "accept-encoding: gzip, deflate, br",
    "accept-language: en",
    "cookie: session=0123456789abcdef0123456789abcdef",
]


class Work:
    """What one row asks for: options of h2load, a path, the bytes of an answer's body."""

    def __init__(self, options, path, answer, tls=False, upload=0):
        self.options, self.path, self.answer = options.split(), path, answer
        self.tls, self.upload = tls, upload


ROWS = {
    "http-1k": Work("--h1 -c 100", "/1k", 1024),
    "http-64k": Work("--h1 -c 100", "/64k", 65_536),
    "http-post-64k": Work("--h1 -c 100", "/upload", 5, upload=65_536),
    "http2-1k": Work("-c 4 -m 25", "/1k", 1024, tls=True),
}


def prepare(directory):
    """The bodies that go down and up."""
    for name, count in (("1k", 1024), ("64k", 65_536)):
        (directory / name).write_bytes(b"x" * count)


def cpu_seconds(pids):
    """User and system time of the processes."""
    ticks = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def percentile(values, fraction):
    return values[min(len(values) - 1, int(len(values) * fraction))]


def send(work, port, requests, directory, core):
    """Sends `requests`; what h2load says of them."""
    log = directory / "h2load.tsv"
    log.unlink(missing_ok=True)
    command = ["taskset", "-c", core, "h2load", "-n", str(requests), *work.options,
               f"--log-file={log}"]
    if work.upload:
        command += ["-d", str(directory / "64k")]
    for field in FIELDS:
        command += ["-H", field]
    scheme = "https" if work.tls else "http"
    done = subprocess.run([*command, f"{scheme}://127.0.0.1:{port}{work.path}"],
                          capture_output=True, text=True, timeout=180)
    with open(log) as rows:
        lines = list(csv.reader(rows, delimiter="\t"))
    return done.stdout, lines


def fault(output, lines, requests, work):
    """What is wrong with a run; empty when every request was answered as it should."""
    if len(lines) != requests:
        return f"{len(lines)} of {requests} requests in the log"
    strange = {line[1] for line in lines} - {"200"}
    if strange:
        return f"status {', '.join(sorted(strange))}"
    if f"{requests} succeeded, 0 failed, 0 errored, 0 timeout" not in output:
        found = re.search(r"requests: .*", output)
        return found.group(0) if found else "no summary"
    data = re.search(r"\((\d+)\) data", output)
    if not data or int(data.group(1)) != requests * work.answer:
        return "bodies of another length"
    return ""


def duration(lines):
    """Seconds from the first request to the last answer; the log has microseconds."""
    return (max(int(line[0]) + int(line[2]) for line in lines)
            - min(int(line[0]) for line in lines)) / 1e6


def measure(name, port, watched, seconds, directory, core):
    """One sample of a row, as bascule-load prints its own."""
    work = ROWS[name]
    output, lines = send(work, port, WARM_UP_REQUESTS, directory, core)
    problem = fault(output, lines, WARM_UP_REQUESTS, work)
    if problem:
        return {"failures": 1, "first_failure": f"warm-up: {problem}"}
    requests = min(REQUESTS_MAX, max(WARM_UP_REQUESTS, round(
        WARM_UP_REQUESTS / duration(lines) * seconds)))
    before = cpu_seconds(watched)
    output, lines = send(work, port, requests, directory, core)
    used = cpu_seconds(watched) - before
    problem = fault(output, lines, requests, work)
    if problem:
        return {"failures": 1, "first_failure": problem}
    took = duration(lines)
    times = sorted(int(line[2]) for line in lines)
    return {
        "mode": "http", "completed": requests, "failures": 0, "first_failure": "",
        "per_second": round(requests / took, 1), "p50_us": statistics.median(times),
        "p99_us": percentile(times, 0.99), "cpu_share": round(used / took, 3),
        "cpu_us_each": round(used * 1e6 / requests, 3)}
