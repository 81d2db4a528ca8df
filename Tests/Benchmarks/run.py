#!/usr/bin/env python3
"""Measures the gateway against nginx, HAProxy and nghttpx, round by round on one machine.

The proxy runs alone on one core, the load generator with its echo backend on another. The figure of
a row is the proxy's CPU time per message (or per connection opened and closed), or its memory per
idle WebSocket. Only ratios within one run mean anything: machines drift.

  Tests/Benchmarks/run.py [--only plain-64,tls-open] [--proxies bascule,nginx] [--rounds 5]
                          [--seconds 4] [--cores LOAD,PROXY] [--name NAME]

Needs release builds of the products bascule and bascule-load, and h2load for the HTTP rows. Writes results/NAME.md and .json.
"""

import argparse
import json
import os
import pathlib
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import http_rows

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# row: (arguments of bascule-load, the field that is the figure, its unit). Those of http_rows.py are
# driven by h2load.
CPU = ("cpu_us_each", "µs of CPU")
MEMORY = ("kib_each", "KiB")
ROWS = {
    "plain-64": ("message --connections 100 --size 64", *CPU),
    "plain-16k": ("message --connections 100 --size 16384", *CPU),
    "plain-1m": ("message --connections 4 --size 1048576", *CPU),
    "plain-mix": ("message --connections 1000 --size 512 --in-flight 2", *CPU),
    "plain-open": ("open --connections 20", *CPU),
    "plain-idle": ("idle --connections 4000 --size 64", *MEMORY),
    "tls-64": ("message --tls --connections 100 --size 64", *CPU),
    "tls-16k": ("message --tls --connections 100 --size 16384", *CPU),
    "tls-open": ("open --tls --connections 20", *CPU),
    "tls-idle": ("idle --tls --connections 3000 --size 64", *MEMORY),
    "h2-64": ("message --tls --connections 10 --http2 10 --size 64", *CPU),
    "h2-16k": ("message --tls --connections 10 --http2 10 --size 16384", *CPU),
    "h2-idle": ("idle --tls --connections 40 --http2 100 --size 64", *MEMORY),
    **{row: ("", *CPU) for row in http_rows.ROWS},
}


def free_ports(count):
    """Ports nobody listens on, below the range the kernel gives to clients."""
    found = []
    for port in range(18000 + os.getpid() % 8000, 32000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise SystemExit("no free ports")


class Proxy:
    """One of the contenders: its template, its command, how its version is asked for."""

    def __init__(self, name, template, command, version, streams=True, environment=None):
        self.name, self.template, self.command, self.version_command = name, template, command, version
        self.environment = environment or {}
        # It takes WebSockets over HTTP/2 (RFC 8441).
        self.streams = streams

    def takes(self, row):
        return self.streams or not row.startswith("h2-")

    def version(self):
        done = subprocess.run(self.version_command, capture_output=True, text=True, timeout=20)
        return ((done.stdout + done.stderr).strip().splitlines() or ["unknown"])[0]

    def configure(self, directory, values):
        text = (HERE / "peers" / self.template).read_text()
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        (directory / self.template).write_text(text)

    def start(self, directory, core):
        path = str(directory / self.template)
        command = [part.replace("@CONFIG@", path) for part in self.command]
        log = open(directory / f"{self.name}.log", "w")
        return subprocess.Popen(
            ["taskset", "-c", core, *command], stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **self.environment})


def image_environment():
    """What the image sets, as operators run it."""
    lines = (ROOT / "docker/Dockerfile").read_text().splitlines()
    return dict(line.split(" ", 1)[1].split("=", 1) for line in lines if line.startswith("ENV "))


def contenders(directory):
    binary = str(ROOT / ".build/release/bascule")
    return {
        "bascule": Proxy("bascule", "bascule.yaml", [binary, "run", "--config", "@CONFIG@"],
                         [binary, "--version"], environment=image_environment()),
        "nginx": Proxy("nginx", "nginx.conf",
                       ["nginx", "-p", str(directory), "-c", "@CONFIG@"], ["nginx", "-v"],
                       streams=False),
        "haproxy": Proxy("haproxy", "haproxy.cfg", ["haproxy", "-db", "-f", "@CONFIG@"],
                         ["haproxy", "-v"]),
        "nghttpx": Proxy("nghttpx", "nghttpx.conf", ["nghttpx", "--conf=@CONFIG@"],
                         ["nghttpx", "--version"]),
    }


def backend_server(directory):
    """The backend of the HTTP rows."""
    return Proxy("backend", "backend.conf",
                 ["nginx", "-p", str(directory), "-c", "@CONFIG@"], ["nginx", "-v"])


def family(pid):
    """The process and all its descendants."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def wait_listening(process, port, log):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(0.1)
                return
        time.sleep(0.02)
    raise RuntimeError(f"{log.name}: it does not listen:\n{log.read_text()[-2000:]}")


def stop(process):
    """Ends what start() started, with its children (the group it made for itself), and waits until
    all of them are gone: one that lingers would hold the port of the next."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 3
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.01)
        except ProcessLookupError:
            return
    raise RuntimeError(f"process group {process.pid} does not end")


def measure(proxy, row, directory, ports, options):
    load_core, proxy_core = options.cores.split(",")
    process = proxy.start(directory, proxy_core)
    try:
        target = ports[1] if is_secure(row) else ports[0]
        wait_listening(process, target, directory / f"{proxy.name}.log")
        if row in http_rows.ROWS:
            return drive_http(row, target, family(process.pid), directory, ports[2], options)
        return drive(row, target, family(process.pid), ports[2], options)
    finally:
        ended = process.poll()
        stop(process)
        if ended is not None:
            raise RuntimeError(f"{proxy.name} ended by itself, status {ended}")


def is_secure(row):
    return http_rows.ROWS[row].tls if row in http_rows.ROWS else "--tls" in ROWS[row][0]


def drive(row, target, watched, backend, options):
    """bascule-load with its echo backend."""
    command = [
        "taskset", "-c", options.cores.split(",")[0], str(ROOT / ".build/release/bascule-load"),
        *ROWS[row][0].split(),
        "--target", f"127.0.0.1:{target}", "--backend", f"127.0.0.1:{backend}",
        "--seconds", str(1 if row.endswith("idle") else options.seconds),
        "--warm-up", str(1), "--watch", ",".join(map(str, watched))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    lines = done.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise RuntimeError(f"bascule-load: {done.stdout}{done.stderr}")
    return json.loads(lines[-1])


def drive_http(row, target, watched, directory, backend, options):
    """h2load, with an nginx as the backend."""
    core = options.cores.split(",")[0]
    process = backend_server(directory).start(directory, core)
    try:
        wait_listening(process, backend, directory / "backend.log")
        return http_rows.measure(row, target, watched, options.seconds, directory, core)
    finally:
        stop(process)


def make_certificate(directory):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "30", "-subj", "/CN=bench.example", "-addext", "subjectAltName=DNS:bench.example",
         "-keyout", str(directory / "key.pem"), "-out", str(directory / "certificate.pem")],
        check=True, capture_output=True)
    os.chmod(directory / "key.pem", 0o600)
    bundle = (directory / "certificate.pem").read_text() + (directory / "key.pem").read_text()
    (directory / "bundle.pem").write_text(bundle)
    os.chmod(directory / "bundle.pem", 0o600)


def machine():
    with open("/proc/cpuinfo") as text:
        models = [line.split(":")[1].strip() for line in text if line.startswith("model name")]
    return {"cpu": models[0] if models else platform.machine(), "cores": os.cpu_count(),
            "kernel": platform.release(), "date": time.strftime("%Y-%m-%d")}


def summarise(samples, row):
    """Median, least and greatest of the figure; of the rates and latencies the medians."""
    field = ROWS[row][1]
    good = [sample for sample in samples if not sample["failures"] and field in sample]
    summary = {"runs": len(samples), "failed": len(samples) - len(good), "samples": samples}
    if good:
        figures = [sample[field] for sample in good]
        summary |= {"median": statistics.median(figures), "min": min(figures), "max": max(figures)}
        for name in ("per_second", "p50_us", "p99_us", "cpu_share"):
            values = [sample[name] for sample in good if name in sample]
            if values:
                summary[name] = statistics.median(values)
    return summary


def cell(summary):
    if not summary["runs"]:
        return "–"
    if "median" not in summary:
        return "failed"
    digits = 1 if summary["median"] < 100 else 0
    text = "{:.{d}f} ({:.{d}f}–{:.{d}f})".format(
        summary["median"], summary["min"], summary["max"], d=digits)
    return text + (f", {summary['failed']} failed" if summary["failed"] else "")


def markdown(report):
    proxies = list(report["versions"])
    about = report["machine"]
    lines = [
        "# The gateway against its peers", "",
        f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, {about['date']}. "
        f"{report['rounds']} interleaved rounds of {report['seconds']} s; median (least–greatest). "
        "One worker each, pinned; load and echo backend on another core.", ""]
    lines += [f"- {name}: {version}" for name, version in report["versions"].items()]
    lines += ["", "| Row | Unit | " + " | ".join(proxies) + " | bascule / best peer |",
              "|---|---|" + "---|" * (len(proxies) + 1)]
    for row, by_proxy in report["rows"].items():
        cells = [cell(by_proxy[name]) for name in proxies]
        peers = [by_proxy[n]["median"] for n in proxies if n != "bascule" and "median" in by_proxy[n]]
        ours = by_proxy.get("bascule", {}).get("median")
        ratio = f"{ours / min(peers):.2f}" if ours is not None and peers else "–"
        lines.append(f"| {row} | {ROWS[row][2]} | " + " | ".join(cells) + f" | {ratio} |")
    lines += ["", "Messages (or openings) per second, and p50 / p99 latency in µs, at full load:", "",
              "| Row | " + " | ".join(proxies) + " |", "|---|" + "---|" * len(proxies)]
    for row, by_proxy in report["rows"].items():
        if ROWS[row][1] != CPU[0]:
            continue
        cells = ["{:.0f}, {:.0f} / {:.0f}".format(
            by_proxy[n]["per_second"], by_proxy[n]["p50_us"], by_proxy[n]["p99_us"])
            if "median" in by_proxy[n] else "–" for n in proxies]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS), help="rows, comma-separated")
    parser.add_argument("--proxies", default="bascule,nginx,haproxy,nghttpx")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--cores", default="0,1", help="core of the load generator, core of the proxy")
    parser.add_argument("--name", default="latest", help="name of the files in results/")
    options = parser.parse_args()
    unknown = [row for row in options.only.split(",") if row not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return options


def main():
    options = arguments()
    rows = options.only.split(",")
    with tempfile.TemporaryDirectory(prefix="bascule-bench-") as name:
        directory = pathlib.Path(name)
        make_certificate(directory)
        everyone = contenders(directory)
        proxies = [everyone[proxy] for proxy in options.proxies.split(",")]
        ports = free_ports(3)
        values = {"DIR": directory, "PLAIN": ports[0], "SECURE": ports[1], "BACKEND": ports[2]}
        http_rows.prepare(directory)
        for proxy in [*proxies, backend_server(directory)]:
            proxy.configure(directory, values)
        samples = {row: {proxy.name: [] for proxy in proxies} for row in rows}
        for turn in range(options.rounds):
            for row in rows:
                # A different one begins each round, so that nobody always follows the same peer.
                order = proxies[turn % len(proxies):] + proxies[:turn % len(proxies)]
                for proxy in order:
                    if not proxy.takes(row):
                        continue
                    sample = measure(proxy, row, directory, ports, options)
                    samples[row][proxy.name].append(sample)
                    figure = sample.get(ROWS[row][1])
                    print(f"round {turn + 1} {row:10} {proxy.name:8} {figure} "
                          f"{sample['first_failure']}", flush=True)
        versions = {proxy.name: proxy.version() for proxy in proxies}
    report = {
        "machine": machine(), "versions": versions, "rounds": options.rounds,
        "seconds": options.seconds,
        "rows": {row: {proxy: summarise(runs, row) for proxy, runs in by_proxy.items()}
                 for row, by_proxy in samples.items()}}
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{options.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    (results / f"{options.name}.md").write_text(markdown(report))
    print(markdown(report))
    failed = any(s["failed"] for by_proxy in report["rows"].values() for s in by_proxy.values())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
