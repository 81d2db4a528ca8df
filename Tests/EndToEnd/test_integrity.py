"""The short form of the integrity test: everything that either side of a WebSocket sends arrives once,
in order and unchanged, with the gateway's own Pings between the frames. Tests/Integrity has the rest.
And what its full form has found."""

import os
import pathlib
import subprocess
import threading
import time

import pytest

import frames
from frames import BINARY, CLOSE, PING, PONG
from harness import BINARY as GATEWAY
from harness import RawBackend, answer_upgrade, gateway

RUN = pathlib.Path(__file__).resolve().parent.parent / "Integrity" / "run.py"


@pytest.mark.parametrize("http", [[], ["--http2", "0.5"]], ids=["http1", "half-http2"])
@pytest.mark.parametrize("transport", [[], ["--tls"]], ids=["plain", "tls"])
@pytest.mark.timeout(60)
def test_nothing_is_lost_changed_or_reordered(transport, http):
    done = subprocess.run(
        [str(RUN), "--short", "--gateway", os.path.abspath(GATEWAY), *transport, *http],
        capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "20000 passed, 0 failed"


def test_a_client_within_its_ping_rate_outlives_a_backend_that_does_not_read():
    pings = [b"%d" % number for number in range(20)]
    reading = threading.Event()

    def slow(wire):
        answer_upgrade(wire)
        reading.wait(20)
        while True:
            got = wire.read_frame()
            if got.opcode == PING:
                wire.send_frame(PONG, got.payload)
            if got.opcode == CLOSE:
                return wire.send_close()

    def speak(client):
        # Half the allowed rate. What lies between the Pings makes the gateway stop reading.
        for payload in pings:
            client.send_frame(BINARY, bytes(512 << 10))
            client.send_frame(PING, payload)
            time.sleep(0.2)

    limits = {"client_ping_burst": 2, "client_ping_rate": 10}
    with RawBackend(slow) as backend, gateway([backend.port], limits=limits) as running:
        with frames.open_websocket(running.address, timeout=20) as client:
            speaker = threading.Thread(target=speak, args=(client,), daemon=True)
            speaker.start()
            time.sleep(4)
            reading.set()
            answers = [client.read_frame() for _ in pings]
            assert [(got.opcode, got.payload) for got in answers] == [(PONG, p) for p in pings]
            speaker.join(timeout=5)
            client.send_close()
            assert client.read_until(CLOSE).close_code == 1000
