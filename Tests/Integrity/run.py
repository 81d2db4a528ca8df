#!/usr/bin/env python3
"""Runs the integrity test against the gateway: one worker, its own Pings every 10 ms.

  Tests/Integrity/run.py                 # 1,000 sockets, 1,000,000 messages, a minute or two
  Tests/Integrity/run.py --short [--tls] # 100 sockets, 20,000 messages, seconds
  Tests/Integrity/run.py --http2 0.5     # half of the sockets are HTTP/2 streams

Needs release builds of the products bascule and bascule-integrity. What the ends of the sockets say
must agree with what the gateway has counted. The last line is "N passed, N failed".
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILT = ROOT / ".build/release"

# The shortest interval that a configuration may have is the hook that forces the gateway's Pings.
CONFIGURATION = """
workers: 1
listeners:
  - bind: 127.0.0.1:0
    protocols: [h2, http/1.1]
@TLS@
upstreams:
  ends: {endpoints: ["@BACKEND@"]}
routes:
  - path: /
    upstream: ends
    websocket:
      keepalive: {interval: @MS@ms, timeout: 10m, upstream_interval: @MS@ms, upstream_timeout: 10m}
timeouts: {write_stall: 10m, close: 2m, connect: 1m, upgrade: 1m, request_head: 1m}
log: {level: info, access: off}
"""

TLS = """    tls:
      certificates: [{certificate: certificate.pem, key: key.pem}]"""

# What the gateway may count in a run that went well; everything else is a fault of somebody.
EXPECTED = {
    "connections_accepted", "connections_closed", "tls12_handshakes", "tls12_resumptions",
    "tls13_handshakes", "tls13_resumptions", "requests",
    "handshakes_accepted", "connect_attempts", "bridges_opened", "bridges_closed",
    "client_text_messages", "client_text_bytes", "client_binary_messages", "client_binary_bytes",
    "backend_text_messages", "backend_text_bytes", "backend_binary_messages",
    "backend_binary_bytes", "client_pings", "client_pongs", "client_closes", "backend_pings",
    "backend_pongs", "backend_closes", "pings_sent",
    "pongs_swallowed", "pauses", "closes_by_client", "closes_by_backend", "log_lines_written",
    "http2_connections", "http2_streams"}


SUMS = {"client_messages", "client_bytes", "backend_messages", "backend_bytes"}


class Gateway:
    """The gateway in a directory of its own; `stop` returns what it has counted."""

    def __init__(self, directory, backend, options):
        if options.tls:
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                 "/CN=integrity.example", "-keyout", "key.pem", "-out", "certificate.pem"],
                check=True, capture_output=True, cwd=directory)
            os.chmod(directory / "key.pem", 0o600)
        values = {"TLS": TLS if options.tls else "", "BACKEND": backend,
                  "MS": str(options.interval)}
        text = CONFIGURATION
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        (directory / "bascule.yaml").write_text(text)
        self.process = subprocess.Popen(
            [options.gateway, "run", "--config", "bascule.yaml"], cwd=directory,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # A gateway that says nothing is stopped, which ends the wait.
        patience = threading.Timer(20, self.process.kill)
        patience.start()
        self.address = self.wait_for("listening")["address"]
        patience.cancel()
        # Nothing is said from here to the stop, but a full pipe must not be what is tested.
        self.lines = []
        self.reader = threading.Thread(target=self.collect, daemon=True)
        self.reader.start()

    def wait_for(self, event):
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            fields = json.loads(line)
            if fields.get("message") == event:
                return fields
        raise RuntimeError("the gateway did not start:\n" + "".join(seen))

    def collect(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.reader.join(timeout=5)
        events = [json.loads(line) for line in self.lines if line.startswith("{")]
        counts = next((event for event in events if event.get("message") == "stopped"), {})
        return status, {key: value for key, value in counts.items() if isinstance(value, int)}


def disagreements(ends, gateway, options):
    """What the ends and the gateway do not agree on, one line each."""
    for side in ("client", "backend"):
        for what in ("messages", "bytes"):
            gateway[f"{side}_{what}"] = sum(
                gateway.pop(f"{side}_{opcode}_{what}", 0) for opcode in ("text", "binary"))
    pairs = [(name, name) for name in SUMS]
    pairs += [("gateway_pings", "pings_sent"), ("gateway_pongs", "pongs_swallowed"),
              ("sockets", "bridges_opened"), ("sockets", "bridges_closed"),
              ("http2_connections", "http2_connections"), ("streams", "http2_streams")]
    for end, theirs in pairs:
        if ends[end] != gateway.get(theirs, 0):
            yield f"{end} {ends[end]}, but the gateway has {theirs} {gateway.get(theirs, 0)}"
    closes = gateway.get("closes_by_client", 0) + gateway.get("closes_by_backend", 0)
    if closes != ends["sockets"]:
        yield f"{ends['sockets']} sockets, but {closes} closed by their ends"
    if ends["gateway_pings"] < options.pings:
        yield f"{ends['gateway_pings']} Pings of the gateway, wanted {options.pings}"
    for name in sorted(set(gateway) - EXPECTED - SUMS):
        yield f"the gateway has counted {name}: {gateway[name]}"


def run(options, directory):
    arguments = ["--sockets", options.sockets, "--messages", options.messages, "--seconds",
                 options.seconds]
    arguments += ["--seed", options.seed] if options.seed is not None else []
    arguments += ["--tls"] if options.tls else []
    arguments += ["--http2", options.http2] if options.http2 else []
    tool = subprocess.Popen(
        [options.tool, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True)
    gateway = None
    try:
        gateway = Gateway(directory, tool.stdout.readline().strip(), options)
        output, _ = tool.communicate(gateway.address + "\n", timeout=options.seconds + 30)
    finally:
        if tool.poll() is None:
            tool.kill()
            tool.wait()
        status, counts = gateway.stop() if gateway else (None, {})
    return tool.returncode, output.splitlines(), status, counts


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help="the form for every change")
    parser.add_argument("--sockets", type=int)
    parser.add_argument("--messages", type=int)
    parser.add_argument("--pings", type=int, help="Pings the gateway must have sent, at least")
    parser.add_argument("--interval", type=int, default=10, help="of its Pings, in ms")
    parser.add_argument("--seconds", type=int, help="give up after so long")
    parser.add_argument("--seed", type=int, help="of a run that is to be repeated")
    parser.add_argument("--tls", action="store_true", help="between the clients and the gateway")
    parser.add_argument("--http2", type=float, default=0, metavar="FRACTION",
                        help="of the sockets that are HTTP/2 streams, 0 to 1")
    parser.add_argument("--gateway", default=str(BUILT / "bascule"), help="the program to test")
    parser.add_argument("--tool", default=str(BUILT / "bascule-integrity"))
    parsed = parser.parse_args()
    form = (100, 20_000, 100, 25) if parsed.short else (1_000, 1_000_000, 100_000, 900)
    for name, value in zip(("sockets", "messages", "pings", "seconds"), form):
        if getattr(parsed, name) is None:
            setattr(parsed, name, value)
    return parsed


def main():
    parsed = options()
    with tempfile.TemporaryDirectory(prefix="bascule-integrity-") as name:
        exit_status, lines, gateway_status, counts = run(parsed, pathlib.Path(name))
    for line in lines[:-2]:
        print(line)
    ends = json.loads(lines[-2])
    print("ends:   ", json.dumps(ends))
    print("gateway:", json.dumps(counts))
    problems = list(disagreements(ends, counts, parsed))
    if gateway_status != 0:
        problems.append(f"the gateway ended with {gateway_status}")
    for problem in problems:
        print("disagreement:", problem)
    passed, failed = (int(word) for word in lines[-1].replace(",", "").split()[::2])
    print(f"{passed} passed, {failed + len(problems)} failed")
    return 0 if exit_status == 0 and not problems else 1


if __name__ == "__main__":
    sys.exit(main())
