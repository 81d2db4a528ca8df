#!/usr/bin/env python3
"""Runs the Autobahn suite through the gateway and holds the verdicts against the expected ones.

Usage: run_autobahn.py [--accept] [--http2] [RUN...]     (default: all runs; --http2: http2, http2-tls)

README.md says what it needs. --accept writes the verdicts found into autobahn.expected.json, where a
reason has to be added by hand for each. Status 0: as expected, 1: not, 77: the suite is not there.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "EndToEnd"))
from harness import BINARY, configuration, free_port, run_gateway, wait_listening  # noqa: E402
from judge import offence  # noqa: E402

EXPECTED = HERE / "autobahn.expected.json"
CORE = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*"
RUNS = {"plain": CORE, "tls": CORE, "http2": CORE, "http2-tls": CORE, "deflate": "12.*,13.*",
        "gateway-alone": "3.*,4.*,5.*,7.3.*,7.7.*,7.9.*"}
HTTP2_RUNS = ["http2", "http2-tls"]


@contextlib.contextmanager
def process(*command, port):
    """A backend, from the moment it listens to the end of the `with`."""
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_listening(running, [("127.0.0.1", port)], [])
        yield
    finally:
        running.terminate()
        running.wait(timeout=10)


def backend_command(run, port, directory):
    if run == "deflate":
        return [sys.executable, str(HERE / "deflate_backend.py"), str(port)]
    if run == "gateway-alone":
        return [sys.executable, str(HERE / "careless_backend.py"), str(port), str(directory)]
    return [BINARY, "echo", "--port", str(port)]


def certificate(directory):
    paths = {"certificate": str(directory / "certificate.pem"), "key": str(directory / "key.pem")}
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", paths["key"], "-out", paths["certificate"]], check=True, capture_output=True)
    os.chmod(paths["key"], 0o600)
    return {"tls": {"certificates": [paths]}}


def listener_keys(run, directory):
    """What the run asks of the listener, beside its address."""
    keys = certificate(directory) if run.endswith("tls") else {}
    return {**keys, "protocols": ["h2"]} if run in HTTP2_RUNS else keys


@contextlib.contextmanager
def address(run, front):
    """The URL the suite connects to: the gateway, or the adapter to HTTP/2 in front of it."""
    if run not in HTTP2_RUNS:
        yield f"{'wss' if run == 'tls' else 'ws'}://127.0.0.1:{front}"
        return
    port = free_port()
    options = ["--tls"] if run == "http2-tls" else []
    with process(sys.executable, str(HERE / "h2_adapter.py"), str(port), str(front), *options,
                 port=port):
        yield f"ws://127.0.0.1:{port}"


def run_suite(suite, venv, url, run, output):
    """{case: {"verdict": …, "close": …}} as the suite reports them."""
    command = [sys.executable, str(suite / "run-client.py"), str(venv), url, f"bascule-{run}",
               "-c", RUNS[run], "-o", str(output), "--strict-close", "--retries", "1", "-q"]
    done = subprocess.run(command, timeout=1800, stdout=subprocess.PIPE, text=True)
    print("\n".join(done.stdout.strip().splitlines()[-6:]), flush=True)
    verdicts = {}
    # A repeated case is judged by its last repetition.
    for index in [output / "index.json", *sorted(output.glob("retry*/index.json"))]:
        if index.exists():
            for agent in json.loads(index.read_text()).values():
                verdicts.update({case: {"verdict": entry["behavior"],
                                        "close": entry["behaviorClose"]}
                                 for case, entry in agent.items()})
    return verdicts


def unusual(verdicts):
    return {case: entry for case, entry in sorted(verdicts.items(), key=lambda item: [
        int(part) for part in item[0].split(".")])
        if (entry["verdict"], entry["close"]) != ("OK", "OK")}


def compare(run, found, expected):
    """Every difference between the verdicts found and those expected, as text."""
    plain = {case: {"verdict": entry["verdict"], "close": entry["close"]}
             for case, entry in expected.items()}
    lines = []
    for case in sorted(set(found) | set(plain)):
        got, want = found.get(case), plain.get(case)
        if got != want:
            ok = {"verdict": "OK", "close": "OK"}
            lines.append(f"{run} {case}: {want or ok} expected, {got or ok} found")
    return lines


def perform(run, suite, venv, reports):
    """Runs one of RUNS; the verdicts and a list of illegal frames that reached the backend."""
    with tempfile.TemporaryDirectory(prefix="bascule-autobahn-") as name:
        directory = pathlib.Path(name)
        front, back = free_port(), free_port()
        text = configuration(
            front, [f"127.0.0.1:{back}"], listener=listener_keys(run, directory))
        with process(*backend_command(run, back, directory), port=back), \
                run_gateway(text, [front]), address(run, front) as url:
            verdicts = run_suite(suite, venv, url, run, reports / run)
        leaks = [f"{run}: {offence(path.read_bytes())} reached the backend ({path.name})"
                 for path in sorted(directory.glob("*.bytes")) if offence(path.read_bytes())]
    return verdicts, leaks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="*", choices=[*RUNS, []], metavar="RUN")
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--http2", action="store_true")
    parser.add_argument("--reports", type=pathlib.Path, default=HERE.parent.parent / ".build/autobahn")
    options = parser.parse_args()
    suite = pathlib.Path(os.environ.get("BASCULE_AUTOBAHN", ""))
    venv = pathlib.Path(os.environ.get("BASCULE_AUTOBAHN_VENV", suite / "venv"))
    if not os.environ.get("BASCULE_AUTOBAHN") or not (suite / "run-client.py").exists():
        print("BASCULE_AUTOBAHN names no directory with run-client.py; Tests/Conformance/README.md "
              "says what it is. Nothing was run.")
        return 77
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    problems = []
    for run in options.runs or (HTTP2_RUNS if options.http2 else RUNS):
        verdicts, leaks = perform(run, suite, venv, options.reports)
        found = unusual(verdicts)
        if not verdicts:
            problems.append(f"{run}: no verdicts")
        if options.accept:
            before = expected.get(run, {})
            expected[run] = {case: {**entry, "reason": before.get(case, {}).get("reason", "")}
                             for case, entry in found.items()}
        problems += leaks + compare(run, found, expected.get(run, {}))
    if options.accept:
        EXPECTED.write_text(json.dumps(expected, indent=1) + "\n")
    print("\n".join(problems) or "all verdicts as expected")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
