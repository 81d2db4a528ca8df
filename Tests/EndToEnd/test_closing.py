"""Ends of bridges: who closed, what the other side is told, and that nothing is left behind."""

import os
import signal
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import frames
from frames import BINARY, CLOSE, TEXT, close_payload
from harness import (AsyncBackend, RawBackend, answer_upgrade, echo, gateway, raw_echo, record,
                     route, wait_until)


def test_code_and_reason_of_the_backend_reach_the_client():
    async def leave(connection):
        await connection.close(4321, "gone f\u00fcr now")

    with AsyncBackend(leave) as backend, gateway([backend.port]) as running:
        with connect(running.url()) as client:
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=5)
            assert (client.close_code, client.close_reason) == (4321, "gone f\u00fcr now")


def test_code_and_reason_of_the_client_reach_the_backend():
    seen = []

    async def wait(connection):
        await connection.wait_closed()
        seen.append((connection.close_code, connection.close_reason))

    with AsyncBackend(wait) as backend, gateway([backend.port]) as running:
        with connect(running.url()) as client:
            client.close(4000, "enough")
        wait_until(lambda: seen, what="the backend's end")
        assert seen == [(4000, "enough")]
        line = running.wait_event(event="close", closed_by="client")
        assert line["client_code"] == 4000 and line["client_reason"] == "enough"


def test_the_log_has_an_open_and_a_close_line():
    with RawBackend(raw_echo) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address, path="/chat",
                                   fields=[("Origin", "http://gateway.example")]) as client:
            opened = running.wait_event(event="open")
            assert opened["path"] == "/chat" and opened["origin"] == "http://gateway.example"
            for _ in range(3):
                client.send_frame(TEXT, b"12345")
                client.read_frame()
            client.send_close(1000)
            client.read_until(CLOSE)
        closed = running.wait_event(event="close")
        assert closed["id"] == opened["id"]
        assert closed["client_messages"] == 3 and closed["backend_messages"] == 3


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_client_that_vanishes_at_a_frame_boundary_is_told_to_the_backend_as_1001(way):
    with RawBackend(record) as backend, gateway([backend.port]) as running:
        client = frames.open_websocket(running.address)
        sent = frames.frame(TEXT, b"last words", mask=b"wxyz")
        client.send(sent)
        wire = backend.wait_wire()
        wait_until(lambda: wire.received == sent)
        getattr(client, way)()
        wait_until(lambda: len(wire.received) > len(sent), what="a Close")
        close = wire.received[len(sent):]
        assert close[0] == 0x88 and frames.apply_mask(close[6:8], close[2:6]) == b"\x03\xe9"


def test_a_client_that_vanishes_mid_frame_resets_the_backend():
    with RawBackend(record) as backend, gateway([backend.port]) as running:
        client = frames.open_websocket(running.address)
        whole = frames.frame(BINARY, os.urandom(1000), mask=b"wxyz")
        client.send(whole[:500])
        wire = backend.wait_wire()
        wait_until(lambda: wire.received == whole[:500])
        client.close()
        wait_until(lambda: wire.ended, what="the end")
        assert wire.ended == "reset" and wire.received == whole[:500]


def test_a_backend_that_dies_at_a_frame_boundary_is_1014_to_the_client():
    def die(wire):
        answer_upgrade(wire)
        wire.send_frame(TEXT, b"last words")
        wire.read_frame()

    with RawBackend(die) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address) as client:
            assert client.read_frame().payload == b"last words"
            client.send_frame(TEXT, b"die")
            assert client.read_frame().close_code == 1014


def test_a_backend_that_dies_mid_message_resets_the_client():
    def die(wire):
        answer_upgrade(wire)
        wire.send(frames.frame(BINARY, b"x" * 1000)[:600])
        wire.read_frame()

    with RawBackend(die) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address) as client:
            while len(client.buffer) < 600:
                client.fill()
            client.send_frame(TEXT, b"die")
            data, reset = client.read_to_end()
            assert reset and len(data) == 600


def test_a_backend_that_dies_between_fragments_is_1014_to_the_client():
    def die(wire):
        answer_upgrade(wire)
        wire.send_frame(TEXT, b"first part", fin=False)
        wire.read_frame()

    with RawBackend(die) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address) as client:
            assert client.read_frame().payload == b"first part"
            client.send_frame(TEXT, b"die")
            assert client.read_frame().close_code == 1014


def test_a_close_that_is_never_answered_is_cut_after_the_close_timeout():
    with RawBackend(record) as backend, \
            gateway([backend.port], timeouts={"close": "1s"}) as running:
        with frames.open_websocket(running.address) as client:
            client.send_close(1000)
            begun = time.monotonic()
            client.read_to_end()
            assert 0.5 < time.monotonic() - begun < 3
        wire = backend.wait_wire()
        wait_until(lambda: wire.ended, what="the backend's end")


def test_the_server_side_closes_tcp_first():
    """RFC 6455 7.1.1: after both Close frames a client sees the end without closing itself."""
    with RawBackend(raw_echo) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address) as client:
            client.send_close(1000)
            assert client.read_frame().close_code == 1000
            _, reset = client.read_to_end()
            assert not reset


def test_sigterm_says_1001_to_both_sides_and_exits_0():
    with RawBackend(record) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address) as client:
            wire = backend.wait_wire()
            running.process.send_signal(signal.SIGTERM)
            got = client.read_frame()
            assert (got.opcode, got.close_code) == (CLOSE, 1001)
            client.send_close(1001)
            wait_until(lambda: wire.received, what="a Close")
            assert frames.apply_mask(wire.received[6:8], wire.received[2:6]) == b"\x03\xe9"
            wire.send_close(1001)
            with pytest.raises(OSError):
                frames.connect(running.address, 1)
            assert running.process.wait(timeout=4) == 0
        # The harness would otherwise say that it ended by itself.
        running.process.poll = lambda: None


def test_a_drain_waits_for_the_end_of_a_half_forwarded_frame():
    with RawBackend(record) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address) as client:
            wire = backend.wait_wire()
            whole = frames.frame(BINARY, os.urandom(1000), mask=b"wxyz")
            client.send(whole[:500])
            wait_until(lambda: len(wire.received) == 500)
            running.process.send_signal(signal.SIGTERM)
            assert client.read_frame().close_code == 1001
            client.send(whole[500:])
            wait_until(lambda: len(wire.received) > len(whole), what="a Close behind the frame")
            assert wire.received.startswith(whole) and wire.received[len(whole)] == 0x88
        assert running.process.wait(timeout=5) == 0
        running.process.poll = lambda: None


def test_a_second_sigterm_stops_at_once():
    with RawBackend(record) as backend, \
            gateway([backend.port], timeouts={"drain": "30s", "close": "30s"}) as running:
        with frames.open_websocket(running.address) as client:
            running.process.send_signal(signal.SIGTERM)
            client.read_until(CLOSE)
            begun = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(timeout=5)
            assert time.monotonic() - begun < 2
        running.process.poll = lambda: None
        running.stop = lambda: 0


def test_sighup_and_sigusr1_are_logged_and_ignored():
    with RawBackend(raw_echo) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address) as client:
            before = len(running.lines)
            for number in (signal.SIGHUP, signal.SIGUSR1):
                running.process.send_signal(number)
            wait_until(lambda: len(running.lines) >= before + 3, what="log lines")
            client.send_frame(TEXT, b"still here")
            assert client.read_frame().payload == b"still here"


def test_many_resets_at_once_leave_nothing_behind():
    with RawBackend(record) as backend, \
            gateway([backend.port], timeouts={"close": "500ms"}) as running:
        frames.open_websocket(running.address).close()
        wait_until(lambda: backend.wires and backend.wires[0].ended, what="the first end")
        before = running.descriptors()
        clients = [frames.open_websocket(running.address) for _ in range(200)]
        assert running.descriptors() >= before + 400
        for client in clients:
            client.reset()
        wait_until(lambda: running.descriptors() <= before, 10, "freed descriptors")


def test_a_client_that_does_not_read_pauses_the_backend_and_memory_stays_bounded():
    sent = [0]

    def flood(wire):
        answer_upgrade(wire)
        chunk = frames.frame(BINARY, b"x" * 65_536)
        wire.sock.settimeout(2)
        try:
            for _ in range(2000):
                wire.send(chunk)
                sent[0] += len(chunk)
        except TimeoutError:
            pass
        wire.sock.settimeout(30)
        wire.read_to_end()

    with RawBackend(flood) as backend, gateway([backend.port]) as running:
        base = running.memory_kib()
        with frames.open_websocket(running.address) as client:
            time.sleep(3)
            assert sent[0] < 64 << 20, "the backend was never paused"
            assert running.memory_kib() - base < 4096
            first = client.read_frame()
            assert len(first.payload) == 65_536


def test_a_writer_without_progress_is_dropped():
    def flood(wire):
        answer_upgrade(wire)
        chunk = frames.frame(BINARY, b"x" * 65_536)
        while True:
            wire.send(chunk)

    routes = [route(websocket={"keepalive": {"interval": "off", "upstream_interval": "off"}})]
    with RawBackend(flood) as backend, \
            gateway([backend.port], routes, timeouts={"write_stall": "1s"}) as running:
        with frames.open_websocket(running.address):
            line = running.wait_event(seconds=8, event="close")
            assert "stall" in line["why"]
