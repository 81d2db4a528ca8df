#!/usr/bin/env python3
"""Runs h2spec, a strict suite of RFC 9113 and RFC 7541 cases, against the gateway.

Usage: run_h2spec.py [plain] [tls]     (default: both)

BASCULE_H2SPEC names the h2spec program. Prints the cases that fail. Status 0: none does, 1: some do,
77: the suite is not there.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "EndToEnd"))
from h2table import run_front  # noqa: E402


#: Cases whose offence follows a request that the gateway answers and ends at once. They are met when
#: the offence arrives before that, which is a matter of chance: each is tried several times.
RACING = {"http2/6.1/3", "http2/6.9.1/3", "http2/8.1/1", "http2/8.1.2.1/3", "http2/8.1.2.6/1",
          "http2/8.1.2.6/2"}
TRIES = 20


def ask(suite, port, secure, *cases):
    """(cases run, names of those that failed, the suite's words about them)."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = [suite, *cases, "--strict", "--host", "127.0.0.1", "--port", str(port),
                   "--timeout", "3", "--junit-report", report.name]
        command += ["--tls", "--insecure"] if secure else []
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        failed, count, numbers = [], 0, {}
        # The report is no well-formed XML: what a case received is in it as it came.
        text = pathlib.Path(report.name).read_text(errors="replace")
        for case in text.split('<testcase package="')[1:]:
            section = case.split('"', 1)[0]
            numbers[section] = numbers.get(section, 0) + 1
            count += 1
            if any(word in case for word in ("<failure>", "<error>", "<skipped>")):
                failed.append(f"{section}/{numbers[section]}")
        return count, failed, done.stdout[done.stdout.find("Failures:"):]


def run(suite, port, secure):
    """(cases, failures) of one run, whose output is shown when a case fails."""
    count, failed, words = ask(suite, port, secure)
    lasting = [case for case in failed if case not in RACING or not any(
        not ask(suite, port, secure, case)[1] for _ in range(TRIES))]
    if lasting or count == 0:
        print(words)
    return count, len(lasting) + (count == 0)


def main():
    suite = os.environ.get("BASCULE_H2SPEC")
    if not suite or not pathlib.Path(suite).is_file():
        print("h2spec is not there: BASCULE_H2SPEC has to name the program")
        return 77
    wanted = sys.argv[1:] or ["plain", "tls"]
    failures = 0
    with tempfile.TemporaryDirectory() as directory, run_front(
            pathlib.Path(directory), ["h2"]) as front:
        for index, way in enumerate(["plain", "tls"]):
            if way in wanted:
                cases, failed = run(suite, front.running.ports[index], way == "tls")
                print(f"{way}: {cases} cases, {failed} failed")
                failures += failed
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
