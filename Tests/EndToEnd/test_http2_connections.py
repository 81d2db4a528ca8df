"""Ends of HTTP/2 connections: GOAWAY, drain, idle time, too many streams, and peers that vanish."""

import os
import signal
import time

import pytest

import frames
import h2peer
from frames import BINARY, CLOSE, TEXT
from h2ends import assert_close, boundary, bridged, client_frame, received
from h2peer import ALL_STREAMS, NO_ERROR, REFUSED_STREAM
from harness import raw_echo, record, wait_until


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_connection_that_vanishes_is_1001_on_each_of_its_bridges(way):
    with bridged(record, timeouts={"close": "500ms"}) as (running, backend, peer):
        for number in range(20):
            client = peer.open_websocket()
            boundary(client, backend.wait_wire(number))
        start = len(client_frame(b"whole"))
        getattr(peer, way)()
        for wire in backend.wires:
            assert_close(received(wire, start + 8)[start:], 1001)
        wait_until(lambda: sum(e.get("event") == "close" for e in running.events) == 20)


def test_more_streams_than_announced_are_refused_and_a_freed_place_is_taken_again():
    with bridged(raw_echo) as (_, backend, peer):
        clients = [peer.open_websocket() for _ in range(100)]
        # `h2` keeps the rule by itself; it is told a number the gateway has never said.
        peer.h2.remote_settings[h2peer.SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        peer.h2.remote_settings.acknowledge()
        extra = peer.extended_connect()
        assert extra.wait_over() == REFUSED_STREAM and extra.head is None
        assert len(backend.wires) == 100
        clients[7].send_close(1000)
        clients[7].read_until(CLOSE)
        clients[7].stream.wait_over()
        clients[7].close()
        peer.ping()
        again = peer.open_websocket()
        again.send_frame(TEXT, b"in the freed place")
        assert again.read_frame().payload == b"in the freed place"


def test_a_thousand_streams_one_after_the_other_leave_nothing_behind():
    with bridged(raw_echo) as (running, _, peer):
        def one():
            client = peer.open_websocket()
            client.send_frame(TEXT, b"short")
            assert client.read_frame().payload == b"short"
            client.send_close(1000)
            assert client.read_frame().close_code == 1000
            client.stream.wait_over()
            client.close()
        for _ in range(200):
            one()
        descriptors, memory = running.descriptors(), running.memory_kib()
        for _ in range(800):
            one()
        wait_until(lambda: running.descriptors() <= descriptors, what="freed descriptors")
        assert running.memory_kib() - memory < 1024
        assert not peer.goaways


# GOAWAY and the end of connections

def test_sigterm_is_goaway_twice_then_1001_per_bridge_then_the_end():
    with bridged(record) as (running, backend, peer):
        clients = [peer.open_websocket() for _ in range(3)]
        for index in range(3):
            backend.wait_wire(index)
        running.process.send_signal(signal.SIGTERM)
        for client in clients:
            assert client.read_frame().close_code == 1001
        peer.run_until(lambda: len(peer.goaways) == 2, what="the second GOAWAY")
        assert peer.goaways == [(ALL_STREAMS, NO_ERROR), (clients[-1].stream.number, NO_ERROR)]
        kinds = [f.type for f in peer.seen]
        last_data = len(kinds) - kinds[::-1].index(h2peer.DATA)
        assert kinds.index(h2peer.GOAWAY) < last_data, "GOAWAY comes before the Closes"
        for client, wire in zip(clients, backend.wires):
            assert_close(received(wire, 8), 1001)
            wire.send_close(1001)
            client.send_close(1001)
        for client in clients:
            client.stream.wait_over()
            assert client.stream.ended
            client.close()
        peer.wait_closed()
        assert not peer.was_reset
        assert running.process.wait(timeout=4) == 0
        # The harness would otherwise say that it ended by itself.
        running.process.poll = lambda: None


def test_a_drain_waits_for_the_end_of_a_half_forwarded_frame():
    with bridged(record) as (running, backend, peer):
        client = peer.open_websocket()
        whole = client_frame(os.urandom(1000), BINARY)
        client.send(whole[:500])
        wire = backend.wait_wire()
        received(wire, 500)
        running.process.send_signal(signal.SIGTERM)
        assert client.read_frame().close_code == 1001
        client.send(whole[500:])
        data = received(wire, len(whole) + 8)
        assert data.startswith(whole)
        assert_close(data[len(whole):], 1001)
        peer.close()
        assert running.process.wait(timeout=5) == 0
        running.process.poll = lambda: None


def test_a_request_behind_the_first_goaway_is_answered_or_refused_and_never_lost():
    """RFC 9113 6.8: whoever has not seen the GOAWAY yet may open one more stream."""
    with bridged(record) as (running, _, peer):
        client = peer.open_websocket()
        running.process.send_signal(signal.SIGTERM)
        peer.run_until(lambda: peer.goaways, what="GOAWAY")
        late = peer.extended_connect()
        peer.run_until(lambda: late.head or late.is_over or late.number > peer.goaways[-1][0],
                       what="an answer, a refusal, or a GOAWAY that excludes it")
        assert late.reset_code in (None, REFUSED_STREAM)
        client.reset()
        peer.close()
        assert running.process.wait(timeout=5) == 0
        running.process.poll = lambda: None


def test_traffic_goes_on_between_goaway_and_the_end_of_a_message():
    with bridged(raw_echo) as (running, _, peer):
        client, idle = peer.open_websocket(), peer.open_websocket()
        whole = client_frame(os.urandom(60_000), BINARY)
        client.send(whole[:30_000])
        running.process.send_signal(signal.SIGTERM)
        assert idle.read_frame().close_code == 1001
        assert peer.goaways[0] == (ALL_STREAMS, NO_ERROR)
        client.send(whole[30_000:])
        seen = [client.read_frame() for _ in range(1)]
        assert seen[0].opcode in (BINARY, CLOSE)
        peer.close()
        assert running.process.wait(timeout=5) == 0
        running.process.poll = lambda: None


def test_a_goaway_of_the_client_lets_its_streams_finish():
    with bridged(raw_echo) as (_, _, peer):
        client = peer.open_websocket()
        peer.send_raw(h2peer.goaway_frame())
        client.send_frame(TEXT, b"still open")
        assert client.read_frame().payload == b"still open"
        client.send_close(1000)
        assert client.read_until(CLOSE).close_code == 1000
        client.stream.wait_over()
        client.close()
        peer.wait_closed(5)


def test_an_idle_connection_without_streams_ends_after_keep_alive():
    with bridged(raw_echo, timeouts={"keep_alive": "1s"}) as (_, _, peer):
        peer.wait_ready()
        begun = time.monotonic()
        assert peer.wait_closed(5)[-1][1] == NO_ERROR
        assert 0.8 < time.monotonic() - begun < 3


def test_a_stream_keeps_its_connection_and_the_idle_time_begins_at_its_end():
    with bridged(raw_echo, timeouts={"keep_alive": "1s"}) as (_, _, peer):
        client = peer.open_websocket()
        peer.run_for(2)
        client.send_frame(TEXT, b"still here")
        assert client.read_frame().payload == b"still here"
        client.send_close(1000)
        client.read_until(CLOSE)
        client.stream.wait_over()
        client.close()
        begun = time.monotonic()
        assert peer.wait_closed(5)[-1] == (client.stream.number, NO_ERROR)
        assert 0.8 < time.monotonic() - begun < 3


def test_http11_where_only_http2_is_spoken_ends_with_a_line_that_says_so():
    with bridged(raw_echo) as (running, _, _):
        wire = frames.Wire(frames.connect(running.address), masks=True)
        wire.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        wire.read_to_end()
        assert "add http/1.1" in running.wait_event(reason="h2-preface")["note"]


def test_a_connection_that_never_sends_its_preface_ends_soon():
    with bridged(raw_echo, timeouts={"request_head": "1s"}) as (running, _, _):
        begun = time.monotonic()
        wire = frames.Wire(frames.connect(running.address), masks=True)
        wire.send(b"PRI * HTTP/2.0\r\n")
        wire.read_to_end()
        assert 0.8 < time.monotonic() - begun < 3
