"""The short form of the integrity test: everything that either side of a WebSocket sends arrives once,
in order and unchanged, with the gateway's own Pings between the frames. Tests/Integrity has the rest."""

import pathlib
import subprocess

import pytest

RUN = pathlib.Path(__file__).resolve().parent.parent / "Integrity" / "run.py"


@pytest.mark.parametrize("transport", [[], ["--tls"]], ids=["plain", "tls"])
def test_nothing_is_lost_changed_or_reordered(transport):
    done = subprocess.run(
        [str(RUN), "--short", *transport], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "20000 passed, 0 failed"
