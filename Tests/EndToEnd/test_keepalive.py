"""The gateway's own pings: what they keep alive, what they give up, and what nobody else sees."""

import os
import threading
import time

import pytest
from websockets.sync.client import connect

import frames
from frames import BINARY, CLOSE, PING, PONG, TEXT
from harness import (AsyncBackend, MiddleBox, RawBackend, answer_upgrade, echo, gateway, record,
                     route, wait_until)

OFF = {"interval": "off", "upstream_interval": "off"}


def keepalive(**keys):
    return [route(websocket={"keepalive": keys})]


@pytest.mark.timeout(260)
def test_a_silent_bridge_stays_up_on_both_legs_through_boxes_that_cut_after_silence():
    silence = 180 if os.environ.get("BASCULE_LONG") else 8
    routes = keepalive(interval="1s", timeout="4s", upstream_interval="1s", upstream_timeout="4s")
    with AsyncBackend(echo) as backend, \
            MiddleBox(("127.0.0.1", backend.port), cut_after=3) as back, \
            gateway([back.port], routes) as running, \
            MiddleBox(running.address, cut_after=3) as front:
        with connect(f"ws://127.0.0.1:{front.port}/", ping_interval=None) as client:
            time.sleep(silence)
            client.send("still there")
            assert client.recv(timeout=5) == "still there"
        assert (front.cuts, back.cuts) == (0, 0)


def test_the_boxes_do_cut_without_keepalive():
    """The control of the test above."""
    with AsyncBackend(echo) as backend, gateway([backend.port], keepalive(**OFF)) as running, \
            MiddleBox(running.address, cut_after=1) as front:
        with connect(f"ws://127.0.0.1:{front.port}/", ping_interval=None) as client:
            with pytest.raises(Exception):
                client.recv(timeout=5)
        assert front.cuts > 0


def test_a_black_holed_client_is_given_up_and_the_backend_told_1001():
    routes = keepalive(interval="500ms", timeout="2s", upstream_interval="off")
    with RawBackend(record) as backend, gateway([backend.port], routes) as running, \
            MiddleBox(running.address) as box:
        client = frames.open_websocket(box.address)
        client.send_frame(TEXT, b"alive")
        wire = backend.wait_wire()
        wait_until(lambda: wire.received, what="the first message")
        box.black_hole.set()
        begun = time.monotonic()
        wait_until(lambda: b"\x88" in wire.received[11:], 6, "a Close at the backend")
        took = time.monotonic() - begun
        assert 1.5 < took < 2 * 1.1 + 0.6, took
        data = wire.received[11:]
        assert frames.apply_mask(data[6:8], data[2:6]) == b"\x03\xe9"
        wait_until(lambda: [e for e in running.events if e.get("event") == "close"], 8, "the log")
        line = [e for e in running.events if e.get("event") == "close"][0]
        assert line["closed_by"] == "gateway" or line["closed_by"] == "client", line
        client.close()


def test_a_black_holed_backend_is_given_up_and_the_client_told_1014():
    routes = keepalive(interval="off", upstream_interval="500ms", upstream_timeout="2s")
    with RawBackend(record) as backend, MiddleBox(("127.0.0.1", backend.port)) as box, \
            gateway([box.port], routes) as running:
        with frames.open_websocket(running.address) as client:
            box.black_hole.set()
            assert client.read_until(CLOSE).close_code == 1014


def test_pongs_to_the_gateways_pings_are_swallowed_and_all_others_pass():
    routes = keepalive(interval="300ms", timeout="5s", upstream_interval="300ms",
                       upstream_timeout="5s")

    def serve(wire):
        """Answers our pings as a server must, and keeps what else it sees."""
        answer_upgrade(wire)
        wire.seen, wire.pings = [], 0
        while True:
            got = wire.read_frame()
            if got.opcode == PING and len(got.payload) == 8:
                wire.pings += 1
                wire.send_frame(PONG, got.payload)
            else:
                wire.seen.append((got.opcode, got.payload))

    with RawBackend(serve) as backend, gateway([backend.port], routes) as running:
        with frames.open_websocket(running.address) as client:
            wire, pings, others = backend.wait_wire(), 0, []
            client.send_frame(PONG, b"foreign1")
            client.send_frame(PING, b"mine")
            end = time.monotonic() + 2.5
            client.sock.settimeout(0.2)
            while time.monotonic() < end:
                try:
                    got = client.read_frame()
                except TimeoutError:
                    continue
                if got.opcode == PING:
                    pings += 1
                    client.send_frame(PONG, got.payload)
                else:
                    others.append(got)
            assert pings >= 3 and wire.pings >= 3
            assert others == [], "a pong of the backend's to us reached the client"
            assert wire.seen == [(PONG, b"foreign1"), (PING, b"mine")]


def test_pings_wait_for_the_end_of_a_half_forwarded_frame():
    routes = keepalive(interval="off", upstream_interval="300ms", upstream_timeout="10s")
    with RawBackend(record) as backend, gateway([backend.port], routes) as running:
        with frames.open_websocket(running.address) as client:
            whole = frames.frame(BINARY, os.urandom(100_000), mask=b"wxyz")
            client.send(whole[:60_000])
            wire = backend.wait_wire()
            time.sleep(1.5)
            assert wire.received == whole[:60_000]
            client.send(whole[60_000:])
            wait_until(lambda: len(wire.received) > len(whole), what="the ping behind the frame")
            assert wire.received.startswith(whole)
            assert wire.received[len(whole)] == 0x89


def test_a_live_client_whose_ping_waits_behind_a_long_frame_is_not_given_up():
    """Reading the frame takes longer than the timeout; only what the kernel buffers (a few MiB, half
    a second at this rate) may lie between a Ping that has left and the client."""
    routes = [route(websocket={"max_message": "64MiB", "keepalive": {
        "interval": "300ms", "timeout": "1500ms", "upstream_interval": "off"}})]
    data = bytes(48 << 20)

    def serve(wire):
        answer_upgrade(wire)
        wire.send_frame(BINARY, data)
        wire.read_until(CLOSE)
        wire.send_close()

    with RawBackend(serve) as backend, gateway([backend.port], routes) as running:
        sock = frames.connect(running.address)
        with frames.open_websocket(None, sock=sock) as client:
            begun, left = time.monotonic(), len(data) + 10 - len(client.buffer)
            client.buffer = b""
            while left > 0:
                left -= len(client.sock.recv(min(left, 640_000)))
                time.sleep(max(0, begun + (len(data) - left) / 12e6 - time.monotonic()))
            assert time.monotonic() - begun > 3
            client.send_close()
            client.read_until(CLOSE)


def test_nothing_is_injected_when_traffic_flows_both_ways():
    routes = keepalive(interval="500ms", timeout="2s", upstream_interval="500ms",
                       upstream_timeout="2s")
    from harness import raw_echo
    with RawBackend(raw_echo) as backend, gateway([backend.port], routes) as running:
        with frames.open_websocket(running.address) as client:
            opcodes = set()
            for _ in range(30):
                client.send_frame(TEXT, b"tick")
                opcodes.add(client.read_frame().opcode)
                time.sleep(0.05)
            assert opcodes == {TEXT}


def test_a_stopped_client_process_is_given_up():
    """SIGSTOP: the kernel still acknowledges, the process does not answer."""
    import signal
    import subprocess
    import sys
    routes = keepalive(interval="500ms", timeout="2s", upstream_interval="off")
    with RawBackend(record) as backend, gateway([backend.port], routes) as running:
        code = ("import sys, time\nfrom websockets.sync.client import connect\n"
                f"c = connect({running.url()!r}, ping_interval=None)\nc.send('up')\ntime.sleep(60)")
        child = subprocess.Popen([sys.executable, "-c", code])
        try:
            wire = backend.wait_wire(seconds=10)
            wait_until(lambda: wire.received, what="the first message")
            child.send_signal(signal.SIGSTOP)
            wait_until(lambda: b"\x88" in wire.received[8:], 6, "a Close at the backend")
        finally:
            child.kill()
            child.wait()
