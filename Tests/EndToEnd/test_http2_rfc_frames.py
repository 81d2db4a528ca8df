"""RFC 9113 sections 3.4, 4, 5.4, 5.5, 6 and 7: the preface, and every frame by itself."""

import pytest

from h2raw import (ACK, DATA, ENABLE_CONNECT_PROTOCOL, ENABLE_PUSH,
                   FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADER_TABLE_SIZE, HEADERS,
                   INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE,
                   MAX_HEADER_LIST_SIZE, MOST, PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR,
                   RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block,
                   continuation, data, frame, goaway as goaway_frame, headers, ping, priority,
                   push_promise, request, request_fields, rst_stream, settings, window_update)
from h2table import CLOSED, MISSED, TOLERATED, WAYS, Row, goaway, judge, reset

BLOCK = block(*request_fields())
POST = block(*request_fields(method="POST"))
START = PREFACE + settings()


def filled(count):
    """Fields that take exactly this many bytes of a header block, no one of them large."""
    part = block(("x-filler", "v" * 4_000))
    rest = count - (count // len(part) - 1) * len(part)
    value = next(n for n in range(rest) if len(block(("x-filler", "v" * n))) == rest)
    return part * (count // len(part) - 1) + block(("x-filler", "v" * value))


def row(section, name, send, expect, state="idle", cases=(), **keywords):
    cases = (cases,) if isinstance(cases, str) else cases
    return Row(section, name, send, expect, state, cases=cases, **keywords)


PREFACES = [
    row("3.4", "the preface, then a request", START + request(1), MISSED, "connected",
        ("generic/1/1", "generic/4/1")),
    row("3.4", "frames before our SETTINGS have come back", START + settings() + ping()
        + request(1), MISSED, "connected"),
    *[row("3.4", f"a preface that is wrong in byte {at}",
          PREFACE[:at] + b"x" + PREFACE[at + 1:] + settings() + request(1), CLOSED, "connected",
          "http2/3.5/2" if at == 0 else ()) for at in (0, 3, 4, 14, 16, 18, 22, 23)],
    *[row("3.4", f"{name} instead of SETTINGS behind the preface", PREFACE + first,
          goaway(PROTOCOL_ERROR), "connected")
      for name, first in [("HEADERS", request(1)), ("PING", ping()), ("DATA", data(1)),
                          ("SETTINGS with ACK", settings(flags=ACK)),
                          ("an unknown frame", frame(0x4B)), ("PRIORITY", priority(1)),
                          ("WINDOW_UPDATE", window_update(0, 1))]],
]
FORMAT = [
    row("4.1", "an unknown type", frame(0x16, 0, 0, bytes(8)), TOLERATED, cases="http2/4.1/1"),
    row("5.5", "an unknown type on an idle stream", frame(0xFE, 0xFF, 9, bytes(8)), TOLERATED,
        cases="http2/5.5/1"),
    row("4.1", "undefined flags", ping(flags=0xFE), TOLERATED, cases="http2/4.1/2"),
    row("4.1", "the reserved bit", frame(PING, 0, 0, bytes(8), reserved=1), TOLERATED,
        cases="http2/4.1/3"),
    row("4.1", "the reserved bit in HEADERS", frame(HEADERS, 5, 1, BLOCK, reserved=1), MISSED),
    row("4.2", "DATA of 16,384 bytes", headers(1, POST, ends=False) + data(1, bytes(16_384), True),
        MISSED, cases="http2/4.2/1"),
    row("4.2", "HEADERS of 16,384 bytes",
        headers(1, BLOCK + filled(16_384 - len(BLOCK))), MISSED),
    row("4.2", "DATA of 16,385 bytes", headers(1, POST, ends=False) + data(1, bytes(16_385), True),
        goaway(FRAME_SIZE_ERROR) | reset(FRAME_SIZE_ERROR), cases="http2/4.2/2"),
    row("4.2", "HEADERS of 16,385 bytes", headers(1, BLOCK + bytes(16_385)),
        goaway(FRAME_SIZE_ERROR), cases="http2/4.2/3"),
    row("4.2", "an unknown frame of 16,385 bytes", frame(0x4B, 0, 0, bytes(16_385)),
        goaway(FRAME_SIZE_ERROR), why="every type is bound by SETTINGS_MAX_FRAME_SIZE"),
    row("4.2", "SETTINGS of 16,386 bytes", frame(SETTINGS, 0, 0, bytes(16_386)),
        goaway(FRAME_SIZE_ERROR)),
    row("4.2", "a length of 2^24 - 1", frame(DATA, 0, 1, b"", length=(1 << 24) - 1),
        goaway(FRAME_SIZE_ERROR) | goaway(PROTOCOL_ERROR)),
    row("5.4.1", "a broken PING gets GOAWAY and the end", frame(PING, 0, 0, bytes(6)),
        goaway(FRAME_SIZE_ERROR), cases=("http2/5.4.1/1", "http2/5.4.1/2")),
]
BLOCKS = [
    row("4.3", f"{name} inside a header block", headers(1, BLOCK, complete=False) + inside
        + continuation(1), goaway(PROTOCOL_ERROR), cases=cases)
    for name, inside, cases in [
        ("PRIORITY", priority(1), ("http2/4.3/2", "http2/6.2/1")),
        ("HEADERS of another stream", request(3), ("http2/4.3/3", "http2/6.2/2")),
        ("HEADERS of the same stream", headers(1, b""), ()),
        ("DATA", data(1, b"x"), "http2/6.10/2"), ("PING", ping(), ()),
        ("SETTINGS", settings(), ()), ("WINDOW_UPDATE", window_update(0, 1), ()),
        ("RST_STREAM", rst_stream(1), ()), ("GOAWAY", goaway_frame(), ()),
        ("an unknown frame", frame(0x4B, 0, 1), "http2/5.5/2"),
        ("CONTINUATION of another stream", continuation(3), ())]
]
CONTINUATIONS = [
    row("6.10", "two CONTINUATIONs", headers(1, BLOCK[:7], complete=False)
        + continuation(1, BLOCK[7:20], False) + continuation(1, BLOCK[20:]), MISSED,
        cases=("http2/6.10/1", "generic/3.10/1", "generic/3.10/2")),
    row("6.10", "an empty HEADERS, then the block in CONTINUATION",
        headers(1, b"", complete=False) + continuation(1, BLOCK), MISSED),
    row("6.10", "a field cut between frames at its length byte",
        headers(1, BLOCK + b"\x00\x05", complete=False) + continuation(1, b"x-abc\x01v"), MISSED),
    row("6.10", "stream 0", headers(1, BLOCK, complete=False) + continuation(0),
        goaway(PROTOCOL_ERROR), cases="http2/6.10/3"),
    row("6.10", "behind a complete block on an open stream",
        headers(1, POST, ends=False) + continuation(1, b""), goaway(PROTOCOL_ERROR)),
    row("6.10", "behind a complete CONTINUATION", headers(1, BLOCK, complete=False)
        + continuation(1) + continuation(1), goaway(PROTOCOL_ERROR), cases="http2/6.10/5"),
    row("6.10", "behind DATA", headers(1, POST, ends=False) + data(1, b"x") + continuation(1),
        goaway(PROTOCOL_ERROR), cases="http2/6.10/6"),
]
DATAS = [
    row("6.1", "on stream 0", data(0, b"x"), goaway(PROTOCOL_ERROR), cases="http2/6.1/1"),
    row("6.1", "a body of one frame", headers(1, POST, ends=False) + data(1, b"test", True), MISSED,
        cases=("generic/3.1/1", "generic/4/3")),
    row("6.1", "a body of three frames", headers(1, POST, ends=False) + data(1, b"a")
        + data(1, b"b") + data(1, b"c", True), MISSED, cases="generic/3.1/2"),
    row("6.1", "padding", headers(1, POST, ends=False) + data(1, b"test", True, pad=255), MISSED,
        cases="generic/3.1/3"),
    row("6.1", "nothing but padding", headers(1, POST, ends=False) + data(1, b"", True, pad=10),
        MISSED),
    row("6.1", "padding as long as the frame", lambda s: frame(DATA, PADDED, s, b"\x05test"),
        goaway(PROTOCOL_ERROR), "open", "http2/6.1/3"),
    row("6.1", "padding longer than the frame", lambda s: frame(DATA, PADDED, s, b"\xfftest"),
        goaway(PROTOCOL_ERROR), "open"),
    row("6.1", "PADDED without a pad length", lambda s: frame(DATA, PADDED, s),
        goaway(FRAME_SIZE_ERROR) | goaway(PROTOCOL_ERROR), "open"),
    row("6.1", "padding that is not zero", lambda s: frame(DATA, PADDED, s, b"\x02\x07\x07"),
        TOLERATED | goaway(PROTOCOL_ERROR), "open", why="a receiver MAY refuse it"),
]
HEADS = [
    row("6.2", "on stream 0", headers(0, BLOCK), goaway(PROTOCOL_ERROR), cases="http2/6.2/3"),
    row("6.2", "padding", headers(1, BLOCK, pad=255), MISSED, cases="generic/3.2/2"),
    row("6.2", "padding and priority", headers(1, BLOCK, pad=3, depends=(0, 15, 0)), MISSED),
    row("6.2", "padding longer than the frame", frame(HEADERS, 13, 1, b"\xff" + BLOCK),
        goaway(PROTOCOL_ERROR), cases="http2/6.2/4"),
    row("6.2", "PADDED without a pad length", frame(HEADERS, 13, 1),
        goaway(FRAME_SIZE_ERROR) | goaway(PROTOCOL_ERROR)),
    row("6.2", "priority fields cut short", frame(HEADERS, 5 | WITH_PRIORITY, 1, b"\0\0\0"),
        goaway(FRAME_SIZE_ERROR) | goaway(PROTOCOL_ERROR)),
    row("6.2", "padding that leaves no room for the priority fields",
        frame(HEADERS, 13 | WITH_PRIORITY, 1, b"\x04" + bytes(8)),
        goaway(FRAME_SIZE_ERROR) | goaway(PROTOCOL_ERROR)),
]
PRIORITIES = [
    row("6.3", "on stream 0", frame(PRIORITY, 0, 0, bytes(5)), goaway(PROTOCOL_ERROR),
        cases="http2/6.3/1"),
    *[row("6.3", f"of {count} bytes", frame(PRIORITY, 0, 1, bytes(count)),
          reset(FRAME_SIZE_ERROR) | goaway(FRAME_SIZE_ERROR),
          cases="http2/6.3/2" if count == 4 else (), why="a stream error may end the connection")
      for count in (0, 4, 6)],
]
RESETS = [
    row("6.4", "on stream 0", rst_stream(0), goaway(PROTOCOL_ERROR), cases="http2/6.4/1"),
    *[row("6.4", f"of {count} bytes", lambda s, n=count: frame(RST_STREAM, 0, s, bytes(n)),
          goaway(FRAME_SIZE_ERROR), "open", "http2/6.4/3" if count == 3 else ())
      for count in (0, 3, 5)],
    row("7", "RST_STREAM with an unknown code", lambda s: rst_stream(s, 0xFF), TOLERATED, "open",
        "http2/7/2"),
    row("7", "GOAWAY with an unknown code", goaway_frame(0, 0xFF), TOLERATED | CLOSED,
        cases="http2/7/1"),
]
SETTING = [
    row("6.5", "SETTINGS", settings((HEADER_TABLE_SIZE, 100), (MAX_CONCURRENT_STREAMS, 7),
                                    (MAX_HEADER_LIST_SIZE, 9)), TOLERATED, cases="generic/3.5/1"),
    row("6.5", "ACK with a payload", settings((1, 1), flags=ACK), goaway(FRAME_SIZE_ERROR),
        cases="http2/6.5/1"),
    *[row("6.5", f"of {count} bytes", frame(SETTINGS, 0, 0, bytes(count)),
          goaway(FRAME_SIZE_ERROR), cases="http2/6.5/3" if count == 3 else ())
      for count in (1, 3, 5, 7, 11)],
    row("6.5.2", "ENABLE_PUSH 2", settings((ENABLE_PUSH, 2)), goaway(PROTOCOL_ERROR),
        cases="http2/6.5.2/1"),
    row("6.5.2", "INITIAL_WINDOW_SIZE 2^31", settings((INITIAL_WINDOW_SIZE, 1 << 31)),
        goaway(FLOW_CONTROL_ERROR), cases=("http2/6.5.2/2", "http2/6.9.2/3")),
    *[row("6.5.2", f"MAX_FRAME_SIZE {size}", settings((MAX_FRAME_SIZE, size)),
          goaway(PROTOCOL_ERROR), cases=case) for size, case in
      [(16_383, "http2/6.5.2/3"), (0, ()), (1 << 24, "http2/6.5.2/4"), (MOST, ())]],
    row("6.5.2", "MAX_FRAME_SIZE 2^24 - 1", settings((MAX_FRAME_SIZE, (1 << 24) - 1)), TOLERATED),
    row("6.5.2", "an unknown setting", settings((0xFF, 1), (0, 5)), TOLERATED,
        cases="http2/6.5.2/5"),
    row("8441 3", "ENABLE_CONNECT_PROTOCOL 2", settings((ENABLE_CONNECT_PROTOCOL, 2)),
        goaway(PROTOCOL_ERROR)),
    row("8441 3", "ENABLE_CONNECT_PROTOCOL of a client", settings((ENABLE_CONNECT_PROTOCOL, 1)),
        TOLERATED),
    row("6.5.3", "an ACK nobody asked for", settings(flags=ACK) * 3,
        TOLERATED | goaway(PROTOCOL_ERROR), why="the RFC says nothing"),
]
OTHERS = [
    row("8.4", "PUSH_PROMISE on stream 0", push_promise(0, 2, BLOCK), goaway(PROTOCOL_ERROR)),
    row("8.4", "PUSH_PROMISE on an open stream", lambda s: push_promise(s, 2, BLOCK),
        goaway(PROTOCOL_ERROR), "open", "http2/8.2/1"),
    *[row("6.7", f"PING of {count} bytes", frame(PING, 0, 0, bytes(count)),
          goaway(FRAME_SIZE_ERROR), cases="http2/6.7/4" if count == 6 else ())
      for count in (0, 6, 7, 9)],
    row("6.7", "a PING ACK nobody asked for", ping(b"unwanted", flags=ACK), TOLERATED,
        cases="http2/6.7/2"),
    row("6.8", "GOAWAY of 7 bytes", frame(GOAWAY, 0, 0, bytes(7)), goaway(FRAME_SIZE_ERROR)),
    row("6.8", "streams that are open go on behind a GOAWAY of the client",
        goaway_frame() + data(1, b"", pad=1), TOLERATED, "open"),
    row("6.8", "GOAWAY whose last stream rises", goaway_frame(0) + goaway_frame(2),
        TOLERATED | CLOSED | goaway(PROTOCOL_ERROR), why="MUST NOT be sent; no error is named",
        cases="generic/3.8/1"),
    *[row("6.9", f"WINDOW_UPDATE of {count} bytes", frame(WINDOW_UPDATE, 0, 0, bytes(count)),
          goaway(FRAME_SIZE_ERROR), cases="http2/6.9/3" if count == 3 else ())
      for count in (0, 3, 5)],
    row("6.9", "an increment of 0 for the connection", window_update(0, 0), goaway(PROTOCOL_ERROR),
        cases="http2/6.9/1"),
    row("6.9", "an increment of 0 for a stream", lambda s: window_update(s, 0),
        reset(PROTOCOL_ERROR) | goaway(PROTOCOL_ERROR), "open", "http2/6.9/2",
        why="a stream error may end the connection"),
    row("6.9", "the reserved bit of the increment", window_update(0, 1 << 31 | 1), TOLERATED,
        cases="generic/3.9/1"),
    row("6.9.1", "the connection's window over 2^31 - 1", window_update(0, MOST) * 2,
        goaway(FLOW_CONTROL_ERROR), cases="http2/6.9.1/2"),
    row("6.9.1", "a stream's window over 2^31 - 1", lambda s: window_update(s, MOST) * 2,
        reset(FLOW_CONTROL_ERROR), "open", "http2/6.9.1/3"),
    row("6.9.2", "INITIAL_WINDOW_SIZE that lifts a stream's window over 2^31 - 1",
        lambda s: window_update(s, 1000) + settings((INITIAL_WINDOW_SIZE, MOST)),
        goaway(FLOW_CONTROL_ERROR) | reset(FLOW_CONTROL_ERROR), "open"),
]
ROWS = [*PREFACES, *FORMAT, *BLOCKS, *CONTINUATIONS, *DATAS, *HEADS, *PRIORITIES, *RESETS, *SETTING,
        *OTHERS]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_frame(front, row, way):
    judge(front, row, way)


