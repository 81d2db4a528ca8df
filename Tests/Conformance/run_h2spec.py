#!/usr/bin/env python3
"""Runs h2spec, a strict suite of RFC 9113 and RFC 7541 cases, against the gateway.

Usage: run_h2spec.py [plain] [tls]     (default: both)

BASCULE_H2SPEC names the h2spec program. Prints the cases that fail. Status 0: none does, 1: some do,
77: the suite is not there.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "EndToEnd"))
from h2table import run_front  # noqa: E402


def run(suite, port, secure):
    """(cases, failures) of one run, whose output is shown when a case fails."""
    command = [suite, "--strict", "--host", "127.0.0.1", "--port", str(port), "--timeout", "3"]
    command += ["--tls", "--insecure"] if secure else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    found = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    if not found:
        print(done.stdout, done.stderr)
        return 0, 1
    cases, _, skipped, failed = map(int, found.groups())
    if failed or skipped:
        print(done.stdout[done.stdout.find("Failures:"):])
    return cases, failed + skipped


def main():
    suite = os.environ.get("BASCULE_H2SPEC")
    if not suite or not pathlib.Path(suite).is_file():
        print("h2spec is not there: BASCULE_H2SPEC has to name the program")
        return 77
    wanted = sys.argv[1:] or ["plain", "tls"]
    failures = 0
    with tempfile.TemporaryDirectory() as directory, run_front(pathlib.Path(directory)) as front:
        for index, way in enumerate(["plain", "tls"]):
            if way in wanted:
                cases, failed = run(suite, front.running.ports[index], way == "tls")
                print(f"{way}: {cases} cases, {failed} failed")
                failures += failed
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
