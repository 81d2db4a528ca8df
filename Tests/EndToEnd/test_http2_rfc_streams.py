"""RFC 9113 sections 5.1 and 5.3: the states of a stream, its number, how many there are, priority.
Every type of frame in every state."""

import pytest

from h2raw import (MOST, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, block, continuation, data,
                   frame, headers, priority, push_promise, request, request_fields, rst_stream,
                   settings, websocket, window_update)
from h2table import MISSED, STATES, TOLERATED, WAYS, Row, goaway, judge, reset

TRAILERS = block(("x-trailer", "1"))
EMPTY_CLIENT_FRAME = bytes([0x82, 0x80, 1, 2, 3, 4])

# What a frame may be in a state, by type. A frame that no section allows anywhere is in `NEVER`.
SENT = {
    "DATA": lambda stream: data(stream, EMPTY_CLIENT_FRAME),
    "HEADERS": lambda stream: headers(stream, TRAILERS),
    "PRIORITY": lambda stream: priority(stream),
    "RST_STREAM": lambda stream: rst_stream(stream),
    "WINDOW_UPDATE": lambda stream: window_update(stream, 1),
    "unknown type": lambda stream: frame(0x4B, 0xFF, stream, b"whatever"),
}
NEVER = {
    "PUSH_PROMISE": lambda stream: push_promise(stream, 2, block(*request_fields())),
    "CONTINUATION": lambda stream: continuation(stream, TRAILERS),
    "SETTINGS": lambda stream: settings(stream=stream),
    "PING": lambda stream: frame(6, 0, stream, bytes(8)),
    "GOAWAY": lambda stream: frame(7, 0, stream, bytes(8)),
}
FINE = dict.fromkeys(SENT, TOLERATED)
# "a or b": a stream error may be made a connection error (5.4.1). On a stream that the client has
# reset itself RFC 9113 5.1 allows STREAM_CLOSED and does not ask for it; RFC 7540 did.
MATRIX = {
    "idle": FINE | {"DATA": goaway(PROTOCOL_ERROR), "RST_STREAM": goaway(PROTOCOL_ERROR),
                    "HEADERS": reset(PROTOCOL_ERROR), "WINDOW_UPDATE": goaway(PROTOCOL_ERROR)},
    # RFC 9113 8.5: on a connected stream only DATA and the management of the stream.
    "open": FINE | {"HEADERS": reset(PROTOCOL_ERROR)},
    "half-closed (local)": FINE,
    "half-closed (remote)": FINE | {"DATA": goaway(STREAM_CLOSED) | reset(STREAM_CLOSED),
                                    "HEADERS": goaway(STREAM_CLOSED) | reset(STREAM_CLOSED)},
    "closed": FINE | {"DATA": goaway(STREAM_CLOSED), "HEADERS": goaway(STREAM_CLOSED)},
    "reset by the client": FINE | {"DATA": goaway(STREAM_CLOSED) | reset(STREAM_CLOSED),
                                   "HEADERS": goaway(STREAM_CLOSED) | reset(STREAM_CLOSED)},
    "reset by us": FINE,
}
#: Cases of the outside suite that cells of the matrix stand for.
CASES = {
    ("idle", "DATA"): ("http2/5.1/1",), ("idle", "RST_STREAM"): ("http2/5.1/2", "http2/6.4/2"),
    ("idle", "WINDOW_UPDATE"): ("http2/5.1/3",), ("idle", "CONTINUATION"): ("http2/5.1/4",),
    ("idle", "PRIORITY"): ("generic/2/1", "generic/3.3/1"),
    ("half-closed (remote)", "DATA"): ("http2/5.1/5", "http2/6.1/2"),
    ("half-closed (remote)", "HEADERS"): ("http2/5.1/6",),
    ("half-closed (remote)", "CONTINUATION"): ("http2/5.1/7", "http2/6.10/4"),
    ("half-closed (remote)", "WINDOW_UPDATE"): ("generic/2/2",),
    ("half-closed (remote)", "PRIORITY"): ("generic/2/3",),
    ("half-closed (remote)", "RST_STREAM"): ("generic/2/4",),
    ("reset by the client", "DATA"): ("http2/5.1/8",),
    ("reset by the client", "HEADERS"): ("http2/5.1/9",),
    ("reset by the client", "CONTINUATION"): ("http2/5.1/10",),
    ("closed", "DATA"): ("http2/5.1/11",), ("closed", "HEADERS"): ("http2/5.1/12",),
    ("closed", "CONTINUATION"): ("http2/5.1/13",), ("closed", "PRIORITY"): ("generic/2/5",),
    ("open", "RST_STREAM"): ("generic/3.4/1",), ("open", "WINDOW_UPDATE"): ("generic/3.9/2",),
    ("open", "SETTINGS"): ("http2/6.5/2",), ("open", "PING"): ("http2/6.7/3",),
    ("open", "GOAWAY"): ("http2/6.8/1",),
}


def matrix_rows():
    for state in [s for s in STATES if s != "connected"]:
        for kind, send in SENT.items():
            yield Row("5.1", kind, send, MATRIX[state][kind], state,
                      cases=CASES.get((state, kind), ()))
        for kind, send in NEVER.items():
            yield Row("5.1", kind, send, goaway(PROTOCOL_ERROR), state,
                      cases=CASES.get((state, kind), ()))


def exhausting(stream):
    """Requests up to our limit that nothing answers, and one more."""
    held = [websocket(s, path="/held") for s in range(1, 200, 2)]
    return b"".join([*held, websocket(stream, path="/held")])


ROWS = [
    *matrix_rows(),
    Row("5.1", "frames of every kind race with our RST_STREAM",
        lambda s: b"".join([data(s, b"x"), window_update(s, 5), priority(s), data(s, b"y", pad=9),
                            headers(s, TRAILERS), window_update(s, 5), rst_stream(s)]),
        TOLERATED, "reset by us"),
    Row("5.1", "header compression goes on for a block on a stream we have reset",
        headers(1, b"\x40\x05x-new\x01v") + headers(3, block(*request_fields()) + b"\xbe"),
        MISSED, "reset by us", 3),
    Row("5.1", "trailers with END_STREAM behind an early answer",
        lambda s: headers(s, TRAILERS), TOLERATED, "half-closed (local)"),
    Row("5.1.1", "an even stream number", request(2), goaway(PROTOCOL_ERROR),
        cases=("http2/5.1.1/1",)),
    Row("5.1.1", "stream 0", request(0), goaway(PROTOCOL_ERROR)),
    Row("5.1.1", "a number below one that was used, never opened itself",
        request(5) + request(3), goaway(PROTOCOL_ERROR) | goaway(STREAM_CLOSED),
        cases=("http2/5.1.1/2",),
        why="a new stream closes the idle ones below it, so both readings are right"),
    Row("5.1.1", "a number that skips", request(1) + request(101), MISSED, stream=101),
    Row("5.1.1", "the greatest number", request(MOST), MISSED, stream=MOST),
    Row("5.1.1", "DATA on a stream that a later one has closed unused",
        request(5) + data(3, b"x"), goaway(STREAM_CLOSED) | goaway(PROTOCOL_ERROR)),
    Row("5.1.2", "one stream more than SETTINGS_MAX_CONCURRENT_STREAMS", exhausting(201),
        reset(REFUSED_STREAM), stream=201, cases=("http2/5.1.2/1",),
        why="PROTOCOL_ERROR is allowed as well; REFUSED_STREAM lets the client try again"),
    Row("5.1.2", "a stream that has ended makes room",
        lambda s: exhausting(201) + rst_stream(7) + request(203), MISSED, stream=203),
    Row("5.3.1", "HEADERS depends on its own stream",
        headers(1, block(*request_fields()), depends=(1, 15, 0)),
        goaway(PROTOCOL_ERROR) | reset(PROTOCOL_ERROR) | MISSED,
        cases=("http2/5.3.1/1",), why="RFC 9113 5.3.2 takes priority away; RFC 7540 wants the error"),
    Row("5.3.1", "PRIORITY depends on its own stream", priority(1, 1),
        goaway(PROTOCOL_ERROR) | reset(PROTOCOL_ERROR) | TOLERATED, cases=("http2/5.3.1/2",),
        why="as above"),
    Row("5.3.2", "HEADERS with priority fields",
        headers(1, block(*request_fields()), depends=(0, 255, 1)), MISSED,
        cases=("generic/3.2/3",)),
    *[Row("5.3.2", name, priority(1, *fields) + request(1), MISSED, cases=(case,))
      for name, fields, case in [
          ("weight 256", (0, 255), "generic/3.3/2"), ("a dependency", (3, 15), "generic/3.3/3"),
          ("exclusive", (3, 15, 1), "generic/3.3/4")]],
    Row("5.3.2", "PRIORITY for an idle stream, then a lower one is opened",
        priority(5) + request(3), MISSED, stream=3, cases=("generic/3.3/5",)),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_state(front, row, way):
    judge(front, row, way)
