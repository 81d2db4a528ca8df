"""Ends of streams: END_STREAM as half-close, RST_STREAM as abortive close, and that nothing is left
behind when streams go."""

import os
import random
import threading

import pytest

import frames
import h2peer
from frames import BINARY, CLOSE, TEXT
from h2ends import assert_close, boundary, bridged, client_frame, received
from h2peer import CANCEL, NO_ERROR, PROTOCOL_ERROR
from harness import answer_upgrade, raw_echo, record, route, wait_until


# Both sides close

def test_close_codes_and_reasons_pass_both_ways_and_both_sides_end_without_reset():
    with bridged(raw_echo) as (running, backend, peer):
        client = peer.open_websocket(path="/a")
        client.send_close(4000, b"enough")
        got = client.read_frame()
        assert (got.close_code, got.payload[2:]) == (4000, b"enough")
        client.stream.wait_over()
        # RFC 8441 5: an orderly end is END_STREAM.
        assert client.stream.ended and client.stream.reset_code in (None, NO_ERROR)
        client.close()
        line = running.wait_event(event="close", closed_by="client")
        assert (line["client_code"], line["client_reason"]) == (4000, "enough")
        assert line["backend_code"] == 4000
        assert peer.ping() < 1 and not peer.goaways


def test_a_close_and_end_stream_at_once_still_get_the_backends_close():
    """Half-close: our side has ended, the other side's last frames arrive."""
    def last_words(wire):
        answer_upgrade(wire)
        wire.read_until(CLOSE)
        wire.send_frame(TEXT, b"last words" * 1000)
        wire.send_close(1000)

    with bridged(last_words) as (running, _, peer):
        client = peer.open_websocket()
        client.send_close(1000)
        client.finish()
        assert client.read_frame().payload == b"last words" * 1000
        assert client.read_frame().close_code == 1000
        assert client.stream.wait_over() is None
        assert running.wait_event(event="close")["client_code"] == 1000


def test_end_stream_without_close_is_1001_to_the_backend_and_the_stream_ends():
    with bridged(record, timeouts={"close": "1s"}) as (running, backend, peer):
        client = peer.open_websocket()
        client.send(client_frame(b"last words"))
        client.finish()
        sent = client_frame(b"last words")
        data = received(backend.wait_wire(), len(sent) + 8)
        assert data.startswith(sent)
        assert_close(data[len(sent):], 1001)
        client.stream.wait_over()
        assert running.wait_event(event="close")["client_code"] == 1006
        assert peer.ping() < 1


def test_end_stream_inside_a_frame_resets_the_backend():
    with bridged(record) as (_, backend, peer):
        client = peer.open_websocket()
        whole = client_frame(os.urandom(1000), BINARY)
        client.send(whole[:500])
        client.finish()
        wire = backend.wait_wire()
        wait_until(lambda: getattr(wire, "ended", None), what="the end")
        assert wire.ended == "reset" and wire.received == whole[:500]


def test_a_tunnel_passes_each_half_close_on():
    def answer(wire):
        answer_upgrade(wire)
        wire.all, _ = wire.read_to_end()
        wire.send(b"and this is the answer")

    with bridged(answer, [route(websocket={"mode": "tunnel"})]) as (_, backend, peer):
        client = peer.open_websocket()
        client.send(b"bytes of any kind")
        client.finish()
        assert client.read_to_end() == (b"and this is the answer", False)
        assert backend.wait_wire().all == b"bytes of any kind"
        assert client.stream.ended and client.stream.reset_code is None


@pytest.mark.parametrize("at_once", [True, False])
def test_a_handshake_that_has_ended_already_leaves_no_bridge_behind(at_once):
    """It can be refused or be a client that has vanished, but nobody may be kept waiting for it."""
    with bridged(record, timeouts={"close": "500ms"}) as (running, backend, peer):
        stream = peer.extended_connect(end=at_once)
        if not at_once:
            peer.h2.end_stream(stream.number)
            peer.flush()
        stream.wait_over()
        wait_until(lambda: all(getattr(wire, "ended", None) for wire in backend.wires),
                   what="the backend's end")
        assert peer.ping() < 1


def test_a_refusal_reaches_a_client_that_has_ended_its_side_meanwhile():
    def refuse(wire):
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 200000\r\n\r\n")
        wire.go = threading.Event()
        wire.go.wait(10)
        wire.send(b"x" * 200_000)

    with bridged(refuse) as (_, backend, peer):
        stream = peer.ask()
        assert stream.status == 403
        stream.finish()
        peer.ping()
        backend.wait_wire().go.set()
        assert len(frames.Wire(stream, masks=True).read_to_end()[0]) == 200_000
        assert stream.ended


# The backend goes

def test_a_backend_that_dies_at_a_frame_boundary_is_1014_then_end_stream():
    def die(wire):
        answer_upgrade(wire)
        wire.send_frame(TEXT, b"last words")
        wire.read_frame()

    with bridged(die) as (running, _, peer):
        client = peer.open_websocket()
        assert client.read_frame().payload == b"last words"
        client.send_frame(TEXT, b"die")
        assert client.read_frame().close_code == 1014
        client.send_close(1014)
        client.stream.wait_over()
        assert client.stream.ended
        assert running.wait_event(event="close")["why"] == "backend_vanished"


def test_a_backend_that_dies_mid_frame_is_rst_stream_cancel():
    def die(wire):
        answer_upgrade(wire)
        wire.send(frames.frame(BINARY, b"x" * 1000)[:600])
        wire.read_frame()

    with bridged(die) as (_, _, peer):
        client = peer.open_websocket()
        while len(client.buffer) < 600:
            client.fill()
        client.send_frame(TEXT, b"die")
        data, reset = client.read_to_end()
        assert reset and len(data) == 600
        assert client.stream.reset_code == CANCEL and not client.stream.ended
        peer.open_websocket()


def test_what_a_backend_sent_before_it_died_arrives_in_front_of_the_reset():
    """More than a stream window of it: RST_STREAM waits for nothing, but a Close must not overtake."""
    def die(wire):
        answer_upgrade(wire)
        for _ in range(10):
            wire.send_frame(BINARY, b"y" * 30_000)

    with bridged(die) as (_, _, peer):
        client = peer.open_websocket()
        for _ in range(10):
            assert client.read_frame().payload == b"y" * 30_000
        assert client.read_frame().close_code == 1014


# The client resets

def test_a_client_that_resets_at_a_frame_boundary_is_told_to_the_backend_as_1001():
    with bridged(record, timeouts={"close": "500ms"}) as (running, backend, peer):
        client = peer.open_websocket()
        wire = backend.wait_wire()
        start = boundary(client, wire)
        client.reset()
        assert_close(received(wire, start + 8)[start:], 1001)
        assert running.wait_event(event="close")["why"] == "client_vanished"
        assert peer.ping() < 1 and not peer.goaways


def test_a_client_that_resets_inside_a_frame_resets_the_backend():
    with bridged(record) as (_, backend, peer):
        client = peer.open_websocket()
        whole = client_frame(os.urandom(1000), BINARY)
        client.send(whole[:500])
        wire = backend.wait_wire()
        received(wire, 500)
        client.reset()
        wait_until(lambda: wire.ended, what="the end")
        assert wire.ended == "reset" and wire.received == whole[:500]


def silent(wire):
    wire.ended = "reset" if wire.read_to_end()[1] else "closed"


def test_a_reset_before_the_answer_ends_the_backends_connection():
    with bridged(silent) as (_, backend, peer):
        stream = peer.extended_connect()
        wire = backend.wait_wire()
        stream.reset()
        wait_until(lambda: getattr(wire, "ended", None), what="the backend's end")


def test_a_request_that_is_reset_in_the_same_segment_never_reaches_the_backend():
    with bridged(silent) as (running, backend, peer):
        peer.wait_ready()
        wait_until(lambda: running.log_contains("listening"))
        before = running.descriptors()
        for _ in range(100):
            number = peer.h2.get_next_available_stream_id()
            peer.h2.send_headers(number, h2peer.websocket_fields())
            peer.h2.send_data(number, client_frame(b"early"))
            peer.h2.reset_stream(number, CANCEL)
            peer.flush()
        peer.ping()
        assert not backend.wires and running.descriptors() <= before
        # Without the reset it does.
        peer.extended_connect()
        wait_until(lambda: backend.wires, what="a request at the backend")


def test_a_reset_in_every_state_leaves_nothing_behind():
    def serve(wire):
        path = wire.head.split(b" ")[1]
        if path == b"/silent":
            return silent(wire)
        if path == b"/refusing":
            wire.send(b"HTTP/1.1 403 No\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000)
            return wire.read_to_end()
        if path == b"/flood":
            answer_upgrade(wire)
            for _ in range(100):
                wire.send_frame(BINARY, b"x" * 65_000)
        return raw_echo(wire)

    def at_once(peer):
        peer.extended_connect().reset()

    def with_held_data(peer):
        stream = peer.extended_connect(path="/silent")
        stream.sendall(client_frame(b"held"))
        stream.reset()

    def after_end_stream(peer):
        stream = peer.extended_connect(path="/silent")
        stream.finish()
        stream.reset()

    def during_a_relayed_response(peer):
        stream = peer.ask(path="/refusing")
        assert stream.status == 403
        stream.reset()

    def with_unread_data(peer):
        client = peer.open_websocket(path="/flood")
        peer.run_until(lambda: len(client.stream.buffer) == 65_535, what="a full window")
        client.reset()

    def open_bridge(peer):
        peer.open_websocket().reset()

    def inside_a_frame(peer):
        client = peer.open_websocket()
        client.send(client_frame(b"half")[:5])
        client.reset()

    def after_our_close(peer):
        client = peer.open_websocket()
        client.send_close(1000)
        client.reset()

    def after_both_closes(peer):
        client = peer.open_websocket()
        client.send_close(1000)
        client.read_until(CLOSE)
        client.stream.close()

    def half_closed(peer):
        client = peer.open_websocket()
        client.finish()
        client.reset()

    def twice(peer):
        client = peer.open_websocket()
        client.reset()
        peer.send_raw(h2peer.reset_frame(client.stream.number))

    states = [at_once, with_held_data, after_end_stream, during_a_relayed_response,
              with_unread_data, open_bridge, inside_a_frame, after_our_close, after_both_closes,
              half_closed, twice]
    with bridged(serve, timeouts={"close": "500ms"}) as (running, _, peer):
        first = peer.open_websocket()
        first.send_frame(TEXT, b"warm")
        first.read_frame()
        # What the log's threads have opened belongs to the baseline.
        running.wait_event(event="open")
        wait_until(lambda: running.log_contains("listening"))
        before = running.descriptors()
        for _ in range(3):
            for state in states:
                state(peer)
                assert peer.ping() < 2, state.__name__
                first.send_frame(TEXT, state.__name__.encode())
                assert first.read_frame().payload == state.__name__.encode()
        wait_until(lambda: running.descriptors() <= before, 8, "freed descriptors")
        assert not peer.goaways


def end_somehow(client, generator):
    """One of the ways in which clients leave streams."""
    way = generator.choice(["inside a frame", "reset", "finish", "close"])
    if way == "inside a frame":
        client.send(client_frame(b"never whole")[:generator.randrange(1, 17)])
    if way == "close":
        client.send_close(1000)
        assert client.read_frame().close_code == 1000
    client.finish() if way == "finish" else client.close()


def test_random_lives_of_many_streams_leave_nothing_behind():
    """What is echoed is right whatever the neighbours do; in the end all descriptors are back."""
    generator = random.Random(20_261_123)
    with bridged(raw_echo, timeouts={"close": "500ms"}) as (running, _, peer):
        end_somehow(peer.open_websocket(), generator)
        running.wait_event(event="close")
        peer.ping()
        before, clients = running.descriptors(), []
        for _ in range(600):
            if len(clients) < 5 or len(clients) < 30 and generator.random() < 0.3:
                clients.append(peer.open_websocket())
            client = generator.choice(clients)
            if generator.random() < 0.2:
                clients.remove(client)
                end_somehow(client, generator)
                continue
            client.stream.piece = generator.choice([0, 0, 1, 100])
            data = generator.randbytes(generator.choice([0, 1, 125, 126, 3000]))
            client.send_frame(BINARY, data)
            assert client.read_frame().payload == data
        for client in clients:
            end_somehow(client, generator)
        wait_until(lambda: running.descriptors() <= before, 8, "freed descriptors")
        assert not peer.goaways


def test_a_reset_of_a_stream_that_was_never_opened_is_a_connection_error():
    """RFC 9113 5.1, idle."""
    with bridged(raw_echo) as (_, _, peer):
        peer.open_websocket()
        peer.send_raw(h2peer.reset_frame(99))
        assert peer.wait_closed()[-1][1] == PROTOCOL_ERROR


def test_a_stream_without_progress_is_dropped_and_its_neighbour_stays():
    def flood(wire):
        answer_upgrade(wire)
        while b"/flood" in wire.head:
            wire.send_frame(BINARY, b"x" * 65_536)
        while True:
            wire.send_frame(TEXT, wire.read_frame().payload)

    routes = [route(websocket={"keepalive": {"interval": "off", "upstream_interval": "off"}})]
    with bridged(flood, routes, timeouts={"write_stall": "1s"}) as (running, _, peer):
        stalled, lively = peer.open_websocket(path="/flood"), peer.open_websocket(path="/echo")
        for _ in range(40):
            lively.send_frame(TEXT, b"tick")
            assert lively.read_frame().payload == b"tick"
            peer.run_for(0.05)
        assert stalled.stream.reset_code == CANCEL
        line = running.wait_event(event="close", path="/flood")
        assert "stall" in line["why"]
        assert not lively.stream.is_over
