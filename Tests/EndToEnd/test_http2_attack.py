"""HTTP/2 peers that mean harm, several things at a time: what must hold after each is in attacks.py,
and single floods are in test_http2_floods.py."""

import contextlib
import os
import random
import signal
import time

import pytest

import frames
import h2raw
from attacks import LOCAL, attacked, quick
from h2ends import PLAIN, client_frame
from h2raw import (HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MOST, PREFACE, REFUSED_STREAM, block,
                   data, frame, goaway, headers, ping, request, request_fields,
                   rst_stream, settings, websocket, window_update)
from harness import RawBackend, answer_upgrade, gateway, raw_echo, set_linger_reset

BOTH = {"protocols": ["h2", "http/1.1"]}


def test_a_bridge_that_came_behind_the_goaway_of_an_idle_connection_is_told_of_the_drain():
    """RFC 9113 6.8: what the client sent before it knew is served, on a connection without a future."""
    timeouts = {"keep_alive": "300ms", "drain": "10s"}
    with RawBackend(raw_echo) as backend, \
            gateway([backend.port], listener=PLAIN, timeouts=timeouts) as running:
        with h2raw.connect(running.address).start() as c:
            c.wait(lambda: c.goaways, "the first GOAWAY")
            c.send(websocket(1))
            c.wait(lambda: len(c.goaways) == 2 and c.status(1) == 200, "the last GOAWAY")
            running.process.send_signal(signal.SIGTERM)
            c.wait(lambda: c.bodies.get(1), "a Close")
            assert c.bodies[1] == frames.frame(frames.CLOSE, frames.close_payload(1001))
        assert running.process.wait(5) == 0
        # The harness would otherwise say that it ended by itself.
        running.process.poll = lambda: None


def test_streams_take_no_places_of_clients():
    """Answers behind a window of 0 keep their streams, as many as there may be connections."""
    with RawBackend(raw_echo) as backend, \
            gateway([backend.port], LOCAL, listener=BOTH, limits={"connections": 40}) as running:
        hogs = [h2raw.connect(running.address).start((INITIAL_WINDOW_SIZE, 0)) for _ in range(3)]
        for hog in hogs:
            hog.send(*[request(1 + 2 * index, path="/local") for index in range(100)])
            assert hog.settle()
        assert sum(len(hog.heads) for hog in hogs) == 40
        assert set(hogs[2].resets.values()) == {REFUSED_STREAM}
        wires = [frames.open_websocket(running.address) for _ in range(20)]
        for hog in hogs:
            hog.close()
        for wire in wires:
            wire.send_frame(frames.TEXT, b"still here")
            assert wire.read_frame().payload == b"still here"
            wire.close()
        with h2raw.connect(running.address).start() as c:
            c.send(websocket(1))
            c.wait(lambda: c.status(1) == 200, "a place that is free again")


def test_requests_by_the_ten_thousand_leave_no_timers_behind():
    """Each stream has a deadline of a minute; it must not outlive its stream by as much."""
    fields = block(*request_fields(path="/local"))

    def ask(c, stream, batches):
        for _ in range(batches):
            last = stream + 2 * 89
            c.send(*[headers(s, fields) for s in range(stream, last + 2, 2)])
            c.wait(lambda: last in c.ended, "the answers")
            stream = last + 2
            for kept in (c.heads, c.bodies, c.ended, c.kinds):
                kept.clear()
        return stream

    with RawBackend(raw_echo) as backend, \
            gateway([backend.port], LOCAL, listener=BOTH, log={"access": "off"}) as running, \
            h2raw.connect(running.address, seconds=10).start() as c:
        c.send(window_update(0, MOST - 65_535))
        stream = ask(c, 1, 50)
        before = running.memory_kib()
        ask(c, stream, 800)
        assert running.memory_kib() - before < 1_000


def misbehave(wire):
    """A backend that does what its path says."""
    path = wire.head.split(b" ")[1]
    if path == b"/garbage":
        wire.send(os.urandom(3_000))
    elif path == b"/endless":
        wire.send(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            wire.send(b"1000\r\n" + bytes(4_096) + b"\r\n")
    elif path == b"/interim":
        wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20)
    elif path in (b"/flood", b"/masked"):
        answer_upgrade(wire)
        mask = b"wxyz" if path == b"/masked" else None
        for _ in range(20):
            wire.send(frames.frame(frames.BINARY, bytes(60_000), mask=mask))
    elif path == b"/dies":
        answer_upgrade(wire)
        return wire.send(frames.frame(frames.BINARY, bytes(3_000))[:2_000])
    elif path == b"/echo":
        return raw_echo(wire)
    wire.read_to_end()


PATHS = ["/echo", "/echo", "/garbage", "/endless", "/interim", "/flood", "/masked", "/dies", "/held"]


def valid_session(chance):
    """The frames of a client with WebSockets, in order."""
    out, streams, number = [settings((INITIAL_WINDOW_SIZE, chance.choice([0, 100, MOST])))], [0], 1
    for _ in range(chance.randrange(5, 50)):
        stream, some = chance.choice(streams), chance.choice(streams[1:] or [1])
        way = chance.choice("oooddddddrwwstpug")
        if way == "o":
            streams.append(number)
            out.append(websocket(number, path=chance.choice(PATHS)))
            number += 2
        out += {"d": [data(some, client_frame(chance.randbytes(chance.choice([0, 9, 900]))))],
                "r": [rst_stream(some)], "w": [window_update(stream, chance.choice([1, 9_999]))],
                "s": [settings((INITIAL_WINDOW_SIZE, chance.choice([0, 1, 65_535])))],
                "t": [settings((HEADER_TABLE_SIZE, chance.choice([0, 1, 4_096])))],
                "p": [ping()], "u": [frame(0x10, 0, 0, b"\0\0\0\1u=1")],
                "g": [goaway()] if chance.random() < 0.2 else []}.get(way, [])
    return out


def mutated(chance, parts):
    """The session with flipped bits, cut, repeated, swapped or lost frames."""
    for _ in range(chance.randrange(4)):
        index, other = chance.randrange(len(parts)), chance.randrange(len(parts))
        part = bytearray(parts[index])
        way = chance.choice("fffcrsl")
        if way == "f" and part:
            part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
            parts[index] = bytes(part)
        elif way == "c":
            parts[index] = bytes(part[:chance.randrange(len(part) + 1)])
        elif way == "r":
            parts[index] = bytes(part) * chance.randrange(2, 20)
        elif way == "s":
            parts[index], parts[other] = parts[other], parts[index]
        elif way == "l":
            parts[index] = b""
    return PREFACE + b"".join(parts)


@pytest.mark.parametrize("seed", range(3))
def test_mutated_sessions_leave_nothing_behind(seed):
    with attacked(misbehave, listener=BOTH, **quick(close="300ms", request_head="1s")) as (running, _):
        for index in range(100):
            chance = random.Random(f"{seed}-{index}")
            raw, position = mutated(chance, valid_session(chance)), 0
            with h2raw.connect(running.address) as c, contextlib.suppress(OSError):
                while position < len(raw):
                    count = chance.choice([1, 9, 100, 4_000, 1 << 16])
                    c.sock.sendall(raw[position:position + count])
                    position += count
                if chance.random() < 0.5:
                    c.sock.settimeout(0.02)
                    c.sock.recv(1 << 16)
                if chance.random() < 0.5:
                    set_linger_reset(c.sock)


@pytest.mark.parametrize("seed", range(4))
def test_windows_that_shrink_and_grow_lose_no_byte_of_any_stream(seed):
    """Also below 0 (RFC 9113 6.9.2); each stream gets its own bytes back."""
    chance = random.Random(seed)
    with attacked(listener=BOTH) as (running, _), h2raw.connect(running.address).start() as c:
        streams = range(1, 17, 2)
        pieces = {s: [chance.randbytes(chance.choice([1, 900, 9_000])) for _ in range(5)]
                  for s in streams}
        wanted = {s: b"".join(frames.frame(frames.BINARY, p) for p in pieces[s]) for s in streams}
        for s in streams:
            c.send(websocket(s, path="/echo"),
                   *[data(s, client_frame(p, frames.BINARY)) for p in pieces[s]])
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and c.bodies != wanted:
            c.send(window_update(chance.choice(streams), chance.choice([1, 700])))
            if chance.random() < 0.1:
                c.send(settings((INITIAL_WINDOW_SIZE, chance.choice([0, 1, 5_000, 20_000]))))
            c.receive(time.monotonic() + 0.01)
        c.send(settings((INITIAL_WINDOW_SIZE, MOST // 2)), window_update(0, 1 << 24))
        assert c.reaches(lambda: sum(map(len, c.bodies.values())) == sum(map(len, wanted.values())))
        assert c.bodies == wanted and c.error is None
