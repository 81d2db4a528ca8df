"""Frames that break RFC 6455, from either side: the offender is told why, and the offending frame
never reaches the other side, which checks nothing here. What was legal before it has passed."""

import os

import pytest

import frames
from frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload
from harness import RawBackend, answer_upgrade, gateway, record, route, wait_until

PROLOGUE = (TEXT, b"legal before")

# name: (frames to send, code the offender gets). A frame is (opcode, payload, keywords).
RESERVED_OPCODES = {
    f"reserved opcode {opcode}": ([(opcode, b"x", {})], 1002)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)}
RESERVED_BITS = {
    f"reserved bits {bits} on opcode {opcode}": ([(opcode, b"", {"rsv": bits})], 1002)
    for bits in (1, 2, 3, 4, 5, 6, 7) for opcode in (TEXT, PING, CLOSE)}
BAD_CLOSE_CODES = {
    f"close code {code}": ([(CLOSE, close_payload(code), {})], 1002)
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)}
STRUCTURE = {
    "a ping of 126 bytes": ([(PING, b"p" * 126, {})], 1002),
    "a pong of 65,536 bytes": ([(PONG, b"p" * 65_536, {})], 1002),
    "a close of 126 bytes": ([(CLOSE, close_payload(1000, b"r" * 124), {})], 1002),
    "a fragmented ping": ([(PING, b"p", {"fin": False})], 1002),
    "a fragmented close": ([(CLOSE, close_payload(1000), {"fin": False})], 1002),
    "a continuation of nothing": ([(CONTINUATION, b"x", {})], 1002),
    "an unfinished continuation of nothing": ([(CONTINUATION, b"x", {"fin": False})], 1002),
    "a continuation after a whole message": (
        [(TEXT, b"whole", {}), (CONTINUATION, b"x", {})], 1002),
    "a new message inside a fragmented one": (
        [(TEXT, b"half", {"fin": False}), (BINARY, b"x", {})], 1002),
    "a new message after a ping inside a fragmented one": (
        [(TEXT, b"half", {"fin": False}), (PING, b"", {}), (TEXT, b"x", {})], 1002),
    "a 16-bit length that fits 7": ([(BINARY, b"x" * 125, {"length_bytes": 2})], 1002),
    "a 64-bit length that fits 16": ([(BINARY, b"x" * 65_535, {"length_bytes": 8})], 1002),
    "a 64-bit length that fits 7": ([(BINARY, b"", {"length_bytes": 8})], 1002),
    "a length with the highest bit": ([(BINARY, b"x", {"length_bytes": 8, "length": 1 << 63})], 1002),
    "the greatest length": ([(BINARY, b"x", {"length_bytes": 8, "length": 2 ** 64 - 1})], 1002),
    "a ping with a 16-bit length": ([(PING, b"x", {"length_bytes": 2})], 1002),
    "a close of one byte": ([(CLOSE, b"\x03", {})], 1002),
    "a close reason that is not UTF-8": ([(CLOSE, close_payload(1000, b"\xce\xba\xff"), {})], 1007),
    "a close reason cut inside a character": (
        [(CLOSE, close_payload(1000, b"\xf0\x9f\xa6"), {})], 1007),
    "a frame over the limit": ([(BINARY, b"", {"length": (1 << 20) + 1})], 1009),
    "fragments over the limit": (
        [(BINARY, b"x" * 600_000, {"fin": False}), (CONTINUATION, b"x" * 600_000, {})], 1009),
}
OFFENCES = {**RESERVED_OPCODES, **RESERVED_BITS, **BAD_CLOSE_CODES, **STRUCTURE}
GOOD_CLOSE_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000,
                    3999, 4000, 4999]
# Offenders here do not answer the gateway's Close: they are cut after this.
SOON = {"close": "250ms"}
LIMITED = [route(websocket={"max_message": "1MiB"})]


@pytest.fixture(scope="module")
def bridge():
    """One gateway in front of a backend that records and checks nothing."""
    with RawBackend(record) as backend, gateway([backend.port], LIMITED, timeouts=SOON) as running:
        yield backend, running


@pytest.fixture(scope="module")
def reverse_bridge():
    """One gateway whose backend says what the test puts into `script`, then records."""
    script = {}

    def offend(wire):
        answer_upgrade(wire)
        wire.send(script["bytes"])
        wire.received, wire.ended = wire.buffer, None
        try:
            while True:
                wire.received += wire.fill()
        except frames.Ended as end:
            wire.ended = "reset" if end.reset else "closed"

    with RawBackend(offend) as backend, gateway([backend.port], LIMITED, timeouts=SOON) as running:
        yield backend, running, script


def encode(parts, masked):
    """All of `parts` as bytes, and the bytes of those before the last one."""
    encoded = [frames.frame(opcode, payload, mask=os.urandom(4) if masked else None, **keywords)
               for opcode, payload, keywords in parts]
    return b"".join(encoded), b"".join(encoded[:-1])


def open_pair(backend, running):
    before = len(backend.wires)
    client = frames.open_websocket(running.address)
    return client, backend.wait_wire(before)


def ended(wire):
    wait_until(lambda: getattr(wire, "ended", None), 8, "the end of the backend's connection")
    return wire.ended


def injected_close(data):
    """The code of the one Close frame that `data` is, masked or not; None for other bytes."""
    if len(data) < 2 or data[0] != 0x88:
        return None
    count, masked = data[1] & 127, data[1] & 128
    start = 6 if masked else 2
    payload = data[start:start + count]
    if len(payload) != count or len(data) != start + count:
        return None
    if masked:
        payload = frames.apply_mask(payload, data[2:6])
    return int.from_bytes(payload[:2], "big")


@pytest.mark.parametrize("name", OFFENCES)
def test_a_client_that_breaks_the_rules(bridge, name):
    parts, code = OFFENCES[name]
    client, wire = open_pair(*bridge)
    with client:
        data, legal = encode([(*PROLOGUE, {}), *parts], masked=True)
        client.send(data)
        assert client.read_until(CLOSE).close_code == code
        end, _ = client.read_to_end()
        assert frames.CLOSE not in [byte & 15 for byte in end[:1]], "a second Close"
    ended(wire)
    check_passed(wire.received, legal, code, {1001})


@pytest.mark.parametrize("name", OFFENCES)
def test_a_backend_that_breaks_the_rules(reverse_bridge, name):
    backend, running, script = reverse_bridge
    parts, code = OFFENCES[name]
    script["bytes"], legal = encode([(*PROLOGUE, {}), *parts], masked=False)
    client, wire = open_pair(backend, running)
    with client:
        end, _ = client.read_to_end()
    check_passed(end, legal, code, {1014})
    ended(wire)
    assert injected_close(wire.received) == code


def check_passed(received, legal, code, closes):
    """`received` is a prefix of the legal frames (all of them unless the fault came while a message
    too big was under way), then at most one Close of ours; nothing of the offending frame."""
    if received.startswith(legal):
        rest = received[len(legal):]
        assert rest == b"" or injected_close(rest) in closes, rest[:200]
    else:
        assert code == 1009 and legal.startswith(received), received[:200]


def test_an_unmasked_client_frame(bridge):
    client, wire = open_pair(*bridge)
    with client:
        client.send(frames.frame(TEXT, b"naked"))
        assert client.read_until(CLOSE).close_code == 1002
    ended(wire)
    assert b"naked" not in wire.received


def test_a_masked_backend_frame(reverse_bridge):
    backend, running, script = reverse_bridge
    script["bytes"] = frames.frame(TEXT, b"masked", mask=b"\0\0\0\0")
    client, wire = open_pair(backend, running)
    with client:
        assert client.read_frame().close_code == 1014
    ended(wire)
    assert injected_close(wire.received) == 1002


@pytest.mark.parametrize("code", GOOD_CLOSE_CODES)
def test_close_codes_that_may_be_sent_pass_with_their_reason(bridge, code):
    client, wire = open_pair(*bridge)
    with client:
        payload = close_payload(code, "adi\u00f3s".encode())
        sent = frames.frame(CLOSE, payload, mask=b"wxyz")
        client.send(sent)
        wait_until(lambda: len(wire.received) >= len(sent), what="the Close at the backend")
        assert wire.received == sent
        wire.send_frame(CLOSE, payload)
        assert client.read_frame().payload == payload


def test_an_empty_close_passes_empty(bridge):
    client, wire = open_pair(*bridge)
    with client:
        sent = frames.frame(CLOSE, b"", mask=b"wxyz")
        client.send(sent)
        wait_until(lambda: len(wire.received) >= len(sent), what="the Close at the backend")
        wire.send_frame(CLOSE)
        assert client.read_frame().payload == b""


def test_bytes_after_a_close_are_discarded(bridge):
    client, wire = open_pair(*bridge)
    with client:
        close = frames.frame(CLOSE, close_payload(1000), mask=b"wxyz")
        client.send(close + frames.frame(TEXT, b"too late", mask=b"wxyz") + b"\xff" * 1000)
        wait_until(lambda: len(wire.received) >= len(close), what="the Close at the backend")
        wire.send_frame(CLOSE, close_payload(1000))
        assert client.read_frame().close_code == 1000
    ended(wire)
    assert wire.received == close


@pytest.mark.parametrize("piece", [1, 2, 3])
def test_offending_frames_in_small_segments(bridge, piece):
    client, wire = open_pair(*bridge)
    with client:
        data, legal = encode([(*PROLOGUE, {}), (PING, b"fine", {}), (3, b"bad", {})], masked=True)
        for start in range(0, len(data), piece):
            client.send(data[start:start + piece])
            if client.sock.gettimeout() and start > len(legal) + 2:
                break
        assert client.read_until(CLOSE).close_code == 1002
    ended(wire)
    check_passed(wire.received, legal, 1002, {1001})


def test_text_that_is_not_utf8_passes_a_bridge(bridge):
    client, wire = open_pair(*bridge)
    with client:
        sent = frames.frame(TEXT, b"\xff\xfe", mask=b"wxyz")
        client.send(sent)
        wait_until(lambda: len(wire.received) >= len(sent))
        assert wire.received == sent


def test_a_flood_of_pings_is_refused_with_1008(bridge):
    client, wire = open_pair(*bridge)
    with client:
        client.send(b"".join(frames.frame(PING, b"", mask=b"wxyz") for _ in range(200)))
        assert client.read_until(CLOSE).close_code == 1008


def test_tiny_continuations_count_64_bytes_each(bridge):
    client, wire = open_pair(*bridge)
    with client:
        client.send_frame(BINARY, b"", fin=False)
        tiny = frames.frame(CONTINUATION, b"", fin=False, mask=b"wxyz")
        client.send(tiny * ((1 << 20) // 64 + 2))
        assert client.read_until(CLOSE).close_code == 1009
