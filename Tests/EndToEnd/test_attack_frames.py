"""Attacks on the bridge: frames that break the rules, and ends at the wrong time (see attacks.py)."""

import contextlib
import random
import socket
import time

import pytest

import frames
from attacks import assert_idle, attacked, quick
from frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from harness import answer_upgrade, record, route, wait_until


KEEPALIVE = {"interval": "500ms", "timeout": "60s", "upstream_interval": "500ms",
             "upstream_timeout": "60s"}


def test_a_frame_that_is_never_finished_does_not_keep_the_clock_busy():
    with attacked(record) as (running, _), \
            attacked(record, routes=[route(websocket={"keepalive": KEEPALIVE})]) as (pinged, _):
        for gate in (running, pinged):
            stuck = frames.open_websocket(gate.address)
            stuck.send(frames.frame(BINARY, b"x" * 500, mask=b"mask")[:100])
            time.sleep(1.2)
            assert_idle(gate, 1)
            stuck.reset()


SENT_FRAMES = (TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG)


def strict_frames(data, masked):
    """The opcodes of `data` read by RFC 6455; fails on anything that must not be forwarded. What
    stands at the end may be cut."""
    position, fragmented, opcodes = 0, False, []
    while len(data) - position >= 2:
        first, second = data[position], data[position + 1]
        opcode, fin, length = first & 15, first & 128, second & 127
        assert first & 0x70 == 0 and opcode in SENT_FRAMES and bool(second & 128) == masked
        start = position + 2
        if opcode >= 8:
            assert fin and length <= 125
        elif opcode == CONTINUATION:
            assert fragmented
        else:
            assert not fragmented
        size = {126: 2, 127: 8}.get(length, 0)
        if len(data) < start + size + (4 if masked else 0):
            break
        if size:
            length = int.from_bytes(data[start:start + size], "big")
            assert length >= (126 if size == 2 else 1 << 16) and length < 1 << 63
        start += size
        mask, start = (data[start:start + 4], start + 4) if masked else (b"", start)
        payload = data[start:start + length]
        if opcode == CLOSE:
            assert len(payload) == length and length != 1
        if len(payload) < length:
            break
        if opcode < 8:
            fragmented = not fin
        opcodes.append(opcode)
        position = start + length
        if opcode == CLOSE:
            assert position == len(data), "something follows a Close"
    return opcodes


def some_frames(chance, masked):
    """A valid stream of frames, of which one or two bytes may then be changed."""
    stream = b""
    for _ in range(chance.randrange(1, 8)):
        mask = chance.randbytes(4) if masked else None
        size = chance.choice([0, 1, 5, 125, 126, 127, 300, 65535, 65536])
        kind = chance.randrange(5)
        if kind == 0:
            stream += frames.frame(PING, chance.randbytes(min(size, 125)), mask=mask)
        elif kind == 1:
            stream += frames.frame(PONG, chance.randbytes(min(size, 125)), mask=mask)
        elif kind == 2:
            stream += frames.frame(BINARY, chance.randbytes(size), mask=mask, fin=False)
            stream += frames.frame(PING, b"between", mask=mask)
            stream += frames.frame(CONTINUATION, chance.randbytes(3), mask=mask)
        else:
            stream += frames.frame(TEXT, b"t" * size, mask=mask)
    stream = bytearray(stream)
    for _ in range(chance.randrange(3)):
        place = chance.randrange(min(len(stream), chance.choice([4, 40, 1 << 20])))
        stream[place] = chance.randrange(256)
    if chance.randrange(4) == 0:
        stream += frames.frame(CLOSE, chance.choice([b"", b"x", b"\x03\xe8", b"\x03\xed", b"\x03\xe8\xff",
                                                     b"\x0f\xa0why"]), mask=b"mask" if masked else None)
        stream += chance.randbytes(chance.randrange(20))
    return bytes(stream)


def send_in_pieces(wire, stream, chance):
    size = chance.choice([1 << 20, 1 << 20, 4096, 7])
    if size == 7 and len(stream) > 3000:
        size = 1000
    for start in range(0, len(stream), size):
        wire.send(stream[start:start + size])


@pytest.mark.parametrize("seed", range(2))
def test_mutated_frames_of_a_client_never_reach_the_backend_broken(seed):
    chance = random.Random(seed)
    with attacked(record, **quick(close="300ms")) as (running, backend):
        for number in range(15):
            client = frames.open_websocket(running.address, timeout=5)
            wire = backend.wait_wire(number + 1)
            with contextlib.suppress(OSError):
                send_in_pieces(client, some_frames(chance, masked=True), chance)
                end = chance.randrange(3)
                if end == 0:
                    client.reset()
                elif end == 1:
                    client.sock.shutdown(socket.SHUT_WR)
                    client.read_to_end()
                client.close()
            wait_until(lambda: getattr(wire, "ended", None), 8, "the end of the backend's connection")
            strict_frames(wire.received, masked=True)


@pytest.mark.parametrize("seed", range(2))
def test_mutated_frames_of_a_backend_never_reach_the_client_broken(seed):
    chance = random.Random(seed + 100)

    def attack(wire):
        answer_upgrade(wire)
        send_in_pieces(wire, some_frames(chance, masked=False), chance)
        end = chance.randrange(3)
        if end == 0:
            return wire.reset()
        if end == 1:
            wire.sock.shutdown(socket.SHUT_WR)
        wire.sock.settimeout(0.05)
        with contextlib.suppress(OSError):
            wire.read_to_end()

    with attacked(attack, **quick(close="300ms")) as (running, backend):
        for _ in range(15):
            with frames.open_websocket(running.address, timeout=8) as client:
                received, _ = client.read_to_end()
                strict_frames(received, masked=False)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("bad, code", [
    (b"\x82\xff" + b"\xff" * 8, 1002),
    (b"\x82\xff\x80" + b"\0" * 7, 1002),
    (b"\x82\xff\x7f" + b"\xff" * 7, 1009),
    (b"\x82\xff" + b"\0\0\0\0\1\0\0\1", 1009),
    (b"\x82\xff" + b"\0\0\0\0\0\0\xff\xff", 1002),
    (b"\x82\xfe\0\x7d", 1002),
    (b"\xc2\x81", 1002), (b"\xa2\x81", 1002), (b"\x92\x81", 1002),
    (b"\x83\x81", 1002), (b"\x8b\x81", 1002), (b"\x8f\xff" + b"\xff" * 8, 1002),
    (b"\x80\x81", 1002), (b"\x00\x81", 1002), (b"\x09\x81", 1002), (b"\x89\xfe\0\x7e", 1002),
    (b"\x88\x81mask\0", 1002), (b"\x88\x82\0\0\0\0\x03\xed", 1002), (b"\x88\x82\0\0\0\0\0\0", 1002),
    (b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007),
    (b"\x01\x80mask\x81\x80mask", 1002),
])
def test_a_frame_that_breaks_the_rules_is_answered_and_goes_no_further(bad, code, masked):
    if not masked:
        bad = unmasked(bad)

    def attack(wire):
        answer_upgrade(wire)
        wire.received, wire.ended = b"", None
        if not masked:
            wire.send(frames.frame(TEXT, b"good") + bad)
        try:
            while True:
                wire.received += wire.fill()
        except frames.Ended:
            wire.ended = True

    with attacked(attack, **quick(close="1s")) as (running, backend):
        client = frames.open_websocket(running.address)
        if masked:
            client.send_frame(TEXT, b"good", mask=b"\0\0\0\0")
            client.send(bad)
        received, _ = client.read_to_end()
        wire = backend.wait_wire(1)
        wait_until(lambda: getattr(wire, "ended", None), what="the end of the backend's connection")
        first = b"\x01\x80mask" if bad[:2] == b"\x01\x80" else b"\x01\0" if bad[:2] == b"\1\0" else b""
        if masked:
            assert received == b"\x88\x02" + code.to_bytes(2, "big")
            sent, close = wire.received[:10 + len(first)], wire.received[10 + len(first):]
            assert sent == b"\x81\x84\0\0\0\0good" + first
            assert frames.apply_mask(close[6:], close[2:6]) == b"\x03\xe9" and len(close) == 8
        else:
            assert received == b"\x81\x04good" + first + b"\x88\x02" + (1014).to_bytes(2, "big")
            close = wire.received
            assert frames.apply_mask(close[6:], close[2:6]) == code.to_bytes(2, "big")
            assert len(close) == 8


def unmasked(stream):
    """The same offence as a backend would commit it."""
    return {b"\x88\x81mask\0": b"\x88\x01\0", b"\x88\x82\0\0\0\0\x03\xed": b"\x88\x02\x03\xed",
            b"\x88\x82\0\0\0\0\0\0": b"\x88\x02\0\0", b"\x88\x83\0\0\0\0\x03\xe8\xff": b"\x88\x03\x03\xe8\xff",
            b"\x01\x80mask\x81\x80mask": b"\x01\0\x81\0"}.get(
                stream, stream[:1] + bytes([stream[1] & 127]) + stream[2:])


def test_a_client_that_pings_without_end_is_closed_with_1008():
    with attacked(record) as (running, backend):
        client = frames.open_websocket(running.address)
        wire = backend.wait_wire(1)
        client.send(frames.frame(PING, b"p", mask=b"\0\0\0\0") * 500)
        assert client.read_until(CLOSE).close_code == 1008
        wait_until(lambda: b"\x88" in wire.received, what="a Close")
        assert strict_frames(wire.received, masked=True).count(PING) == 50
        client.close()


@pytest.mark.parametrize("size", [0, 1])
def test_a_message_of_endless_fragments_is_closed_with_1009(size):
    with attacked(record, routes=[route(websocket={"max_message": "64KiB"})]) as (running, backend):
        client = frames.open_websocket(running.address)
        wire = backend.wait_wire(1)
        piece = frames.frame(CONTINUATION, b"x" * size, fin=False, mask=b"\0\0\0\0")
        client.send(frames.frame(TEXT, b"", fin=False, mask=b"\0\0\0\0"))
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.send(piece * 50)
        assert client.read_until(CLOSE).close_code == 1009
        wait_until(lambda: getattr(wire, "ended", None), 8)
        assert strict_frames(wire.received, masked=True).count(CONTINUATION) <= 1024
        client.close()




def test_what_follows_a_close_is_dropped_and_there_is_no_second_one():
    with attacked(record, **quick(close="500ms")) as (running, backend):
        client = frames.open_websocket(running.address)
        wire = backend.wait_wire(1)
        client.send(frames.frame(CLOSE, b"\x03\xe8", mask=b"mask") * 2
                    + frames.frame(TEXT, b"after", mask=b"mask") + b"\xff" * 1000)
        wait_until(lambda: getattr(wire, "ended", None))
        assert wire.received == frames.frame(CLOSE, b"\x03\xe8", mask=b"mask")
        client.close()


@pytest.mark.parametrize("who", ["client", "backend"])
def test_silence_after_a_close_is_cut_in_time(who):
    def closes(wire):
        answer_upgrade(wire)
        if who == "backend":
            wire.send_close(4000)
        wire.sock.settimeout(10)
        with contextlib.suppress(OSError):
            wire.read_to_end()

    with attacked(closes, **quick(close="500ms")) as (running, _):
        client = frames.open_websocket(running.address)
        if who == "client":
            client.send_close(4000)
        before = time.monotonic()
        received, _ = client.read_to_end()
        assert 0.4 < time.monotonic() - before < 1.5
        strict_frames(received, masked=False)
        client.close()


def test_a_trickle_after_a_close_does_not_hold_the_connection():
    with attacked(record, **quick(close="500ms")) as (running, _):
        client = frames.open_websocket(running.address)
        client.send(b"\xff\xff")
        before = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - before < 5:
                client.send(b"x")
                time.sleep(0.02)
        assert time.monotonic() - before < 2
