"""RFC 9113 section 8 and RFC 8441: requests that are malformed, and WebSocket handshakes."""

import pytest

import frames
from h2raw import (ENHANCE_YOUR_CALM, MAX_CONCURRENT_STREAMS, NO_ERROR, PREFACE,
                   PROTOCOL_ERROR, STREAM_CLOSED, block, continuation, data, headers, literal, request,
                   request_fields, rst_stream, settings, websocket, window_update)
from h2table import MISSED, TOLERATED, WAYS, Answered, Row, goaway, judge, reset
from harness import wait_until

BAD = reset(PROTOCOL_ERROR)
#: What behaviour.md leaves open: refused by the library as a stream error, or by us with a 400.
REFUSED = BAD | Answered(400)
POST = block(*request_fields(method="POST"))


def row(section, name, send, expect=BAD, cases=(), **keywords):
    return Row(section, name, send, expect, **keywords,
               cases=(cases,) if isinstance(cases, str) else cases)


def get(*extra, **keywords):
    return request(1, extra=extra, **keywords)


def post(*parts, length=None, ends=False):
    extra = [("content-length", length)] if length is not None else []
    return headers(1, block(*request_fields(method="POST", extra=extra)), ends) + b"".join(parts)


def twice(name, value):
    """A request with one of its pseudo-fields given again."""
    return headers(1, block((name, value)) + block(*request_fields()))


def in_parts(fields):
    """A request whose block needs CONTINUATION."""
    parts = [fields[at:at + 16_384] for at in range(0, len(fields), 16_384)]
    return headers(1, parts[0], complete=False) + b"".join(
        continuation(1, part, part is parts[-1]) for part in parts[1:])


SHAPES = [
    row("8.1", "GET", get(), MISSED, "generic/3.2/1"),
    row("8.1", "HEAD has no body", get(method="HEAD"), MISSED, "generic/4/2"),
    row("8.1", "OPTIONS", get(method="OPTIONS"), MISSED),
    row("8.1", "a body and trailers", post(data(1, b"x"), headers(1, block(("x-end", "1")))),
        MISSED, "generic/4/4"),
    row("8.1", "trailers without END_STREAM",
        post(data(1, b"x"), headers(1, block(("x-end", "1")), ends=False)), BAD | MISSED,
        "http2/8.1/1", why="an answer that was early has reset the stream already"),
    row("8.1", "a second request head on the stream", post(headers(1, POST)), BAD | MISSED,
        "http2/8.1.2.1/3", why="as above"),
    row("8.1", "DATA behind the trailers", lambda s: websocket(s) + headers(s, block(("x", "y")))
        + data(s, b"x"), BAD | goaway(STREAM_CLOSED),
        why="nothing but DATA belongs on a CONNECT stream (8.5)"),
]
NAMES = [
    *[row("8.2.1", f"a name with {what}", get((name, "v")), BAD, cases)
      for what, name, cases in [
          ("a capital", "X-Test", "http2/8.1.2/1"), ("a capital at its end", "tesT", ()),
          ("a space", "x test", ()), ("NUL", "x\0test", ()), ("CR", "x\rtest", ()),
          ("LF", "x\ntest", ()), ("CRLF and a field", "x: 1\r\nhost", ()), ("a colon", "x:test", ()),
          ("DEL", "x\x7f", ()), ("a byte over 127", "x\xe4", ()), ("HTAB", "x\t", ()),
          ("a bracket", "x[", ()), ("a quote", 'x"', ()), ("a comma", "x,y", ())]],
    row("8.2.1", "an empty name", get(("", "v")), BAD),
    *[row("8.2.1", f"a value with {what}", get(("x-test", value)), BAD)
      for what, value in [("NUL", "a\0b"), ("CR", "a\rb"), ("LF", "a\nb"),
                          ("CRLF and a field", "a\r\nx: y"), ("LF at its end", "a\n"),
                          ("a space in front", " a"), ("a space behind", "a "),
                          ("HTAB in front", "\ta"), ("HTAB behind", "a\t")]],
    row("8.2.1", "a value with a control character", get(("x-test", "a\x01b")), BAD | Answered(400),
        why="RFC 9110 5.5 lets a recipient refuse it or put a space there"),
    row("8.2.1", "a value with DEL", get(("x-test", "a\x7fb")), BAD | Answered(400), why="as above"),
    row("8.2.1", "an empty value", get(("x-test", "")), MISSED),
    row("8.2.1", "a value with HTAB inside", get(("x-test", "a\tb")), MISSED),
    row("8.2.1", "a value with bytes over 127", get(("x-test", "a\xe4\xff")), MISSED),
    *[row("8.2.2", f"{name}", get((name, value)), BAD, cases)
      for name, value, cases in [
          ("connection", "keep-alive", "http2/8.1.2.2/1"), ("keep-alive", "1", ()),
          ("proxy-connection", "x", ()), ("transfer-encoding", "chunked", ()),
          ("upgrade", "h2c", ()), ("te", "trailers, deflate", "http2/8.1.2.2/2"), ("te", "gzip", ())]],
    row("8.2.2", "te: trailers", get(("te", "trailers")), MISSED),
    row("8.2.2", "http2-settings is but a field", get(("http2-settings", "AAMAAABk")), MISSED),
    row("8.2.3", "cookie crumbs", get(("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")), MISSED),
    row("8.2.1", "100 fields", get(*[("x", "y")] * 100), MISSED),
    row("8.2.1", "101 fields", get(*[("x", "y")] * 101), Answered(431)),
    row("8.2.3", "101 cookie crumbs", get(*[("cookie", "a")] * 101), Answered(431)),
    row("8.2.1", "a header list of more than 32 KiB in less", in_parts(block(*request_fields(
        extra=[("x", "v" * 345)] * 90))), Answered(431)),
    row("8.2.1", "a block of more than 32 KiB", in_parts(block(*request_fields(
        extra=[("x", "v" * 4_000)] * 9))), goaway(ENHANCE_YOUR_CALM)),
]
PSEUDO = [
    row("8.3", "an unknown pseudo-field", get((":unknown", "x")), BAD),
    row("8.3", "an unknown pseudo-field in front", twice(":unknown", "x"), BAD, "http2/8.1.2.1/1"),
    row("8.3", "one of a response", twice(":status", "200"), BAD, "http2/8.1.2.1/2"),
    row("8.3", "one behind a field", headers(1, block(("x", "y"), *request_fields())), BAD,
        "http2/8.1.2.1/4"),
    row("8.3", "the name ':'", twice(":", "x"), BAD),
    row("8.3", "a capital in a pseudo-field", headers(1, block((":Method", "GET"),
                                                             *request_fields(without=[":method"])))),
    *[row("8.3.1", f"no {name}", get(without=[name]), BAD, cases)
      for name, cases in [(":method", "http2/8.1.2.3/2"), (":scheme", "http2/8.1.2.3/3"),
                          (":path", "http2/8.1.2.3/4")]],
    *[row("8.3.1", f"{name} twice", twice(name, value), BAD, cases)
      for name, value, cases in [
          (":method", "GET", "http2/8.1.2.3/5"), (":scheme", "http", "http2/8.1.2.3/6"),
          (":path", "/", "http2/8.1.2.3/7"), (":authority", "gateway.example", ())]],
    row("8.3.1", "an empty :path", get(path=""), BAD, "http2/8.1.2.3/1"),
    row("8.3.1", "an empty :method", get(method=""), REFUSED),
    row("8.3.1", "an empty :scheme", get(scheme=""), REFUSED),
    row("8.3.1", "an empty :authority", get(authority=""), REFUSED),
    *[row("8.3.1", f":path with {what}", get(path=path), REFUSED)
      for what, path in [("no slash", "index"), ("a space", "/a b"), ("CR", "/a\rb"),
                         ("CRLF and a field", "/ HTTP/1.1\r\nhost: x"), ("NUL", "/\0"),
                         ("a fragment", "/#x"), ("a byte over 127", "/\xe4"),
                         ("an absolute target", "http://gateway.example/"),
                         ("dot segments", "/../x"), ("an encoded slash", "/%2f"),
                         ("a backslash", "/\\"), ("a star", "*")]],
    *[row("8.3.1", f":scheme {scheme!r}", get(scheme=scheme), REFUSED)
      for scheme in ("http://x/?", "ht tp", "1http", "http\r\n", "http:")],
    *[row("8.3.1", f":method {method!r}", get(method=method), REFUSED)
      for method in ("GE T", "GET\r\n", "GET /x HTTP/1.1", "G(T", "\0")],
    *[row("8.3.1", f":authority {name!r}", get(authority=name), REFUSED)
      for name in ("user@gateway.example", "a b", "gateway.example/x", "a,b", "gateway.example:x",
                   "gateway.example:99999", "a\r\nx: y", "[::1", "gateway.example.")],
    row("8.3.1", ":method get", get(method="get"), MISSED | Answered(400),
        why="methods are case-sensitive: unknown, or refused as over HTTP/1.1"),
    row("8.3.1", "host and no :authority", get(("host", "gateway.example"), without=[":authority"]),
        MISSED),
    row("8.3.1", "neither host nor :authority", get(without=[":authority"]), REFUSED),
    row("8.3.1", "host is the same", get(("host", "gateway.example")), MISSED),
    row("8.3.1", "host differs", get(("host", "other.example")), Answered(400)),
    row("8.3.1", "host twice", get(("host", "gateway.example"), ("host", "gateway.example")),
        REFUSED),
    row("8.3.1", "TRACE", get(method="TRACE"), Answered(405)),
    row("8.1", "a pseudo-field in the trailers",
        post(headers(1, block((":path", "/")))), BAD | MISSED, why="an early answer"),
]
LENGTHS = [
    row("8.1.1", "content-length on a head with END_STREAM", post(length="5", ends=True)),
    row("8.1.1", "content-length above the DATA", post(data(1, b"test", True), length="5"), BAD,
        "http2/8.1.2.6/1", early=True),
    row("8.1.1", "content-length below the DATA of two frames",
        post(data(1, b"test"), data(1, b"test", True), length="4"), BAD, "http2/8.1.2.6/2",
        early=True),
    row("8.1.1", "content-length with END_STREAM on the trailers",
        post(headers(1, block(("x", "y"))), length="5"), early=True),
    *[row("8.1.1", f"content-length {value!r}", post(data(1, b"test", True), length=value), REFUSED)
      for value in ("+4", "-1", "4, 4", "0x4", "", "4 4", "9" * 20)],
    row("8.1.1", "content-length twice", headers(1, block(*request_fields(method="POST", extra=[
        ("content-length", "4"), ("content-length", "4")])), False) + data(1, b"test", True),
        REFUSED),
    row("8.1.1", "content-length that fits", post(data(1, b"test", True), length="4"), MISSED),
]
UPGRADED = Answered(200)
WEBSOCKETS = [
    row("8441 4", "a WebSocket", websocket(1), UPGRADED),
    row("8441 4", "without sec-websocket-version", websocket(1, version=False), UPGRADED),
    row("8441 4", "another sec-websocket-version",
        websocket(1, version=False, extra=[("sec-websocket-version", "8")]), Answered(400)),
    row("8441 3", "in one flight with the preface, before our SETTINGS", PREFACE + settings()
        + websocket(1), UPGRADED, state="connected", why="the client takes a chance"),
    row("8441 4", "no :scheme", websocket(1, without=[":scheme"])),
    row("8441 4", "no :path", websocket(1, without=[":path"])),
    row("8441 4", "no :authority", websocket(1, without=[":authority"]), REFUSED),
    row("8441 4", "another :protocol", websocket(1, protocol="connect-udp"), Answered(501)),
    row("8441 4", "an empty :protocol", websocket(1, protocol=""), REFUSED | Answered(501)),
    row("8441 4", "two :protocols", headers(1, block(
        (":method", "CONNECT"), (":protocol", "websocket"), (":protocol", "websocket"),
        (":scheme", "http"), (":path", "/echo"), (":authority", "gateway.example")), False)),
    row("8441 4", ":protocol on a GET", twice(":protocol", "websocket"), REFUSED),
    row("8.5", "plain CONNECT", headers(1, block((":method", "CONNECT"),
                                                 (":authority", "gateway.example:443")), False),
        Answered(405)),
    row("8.5", "plain CONNECT with a :path", websocket(1, protocol=None)),
    row("8441 4", "connection: upgrade on it", websocket(1, extra=[("connection", "upgrade")])),
    row("8441 4", "a path without a route", websocket(1, path="/nowhere"), MISSED),
    row("8441 5", "a backend that refuses", websocket(1, path="/refuse"), Answered(403)),
    row("8441 5", "DATA before the 200 is held", websocket(1, path="/held") + data(1, b"early"),
        TOLERATED),
    row("8.1", "frames behind a request that is refused race with its end",
        websocket(1, path="/nowhere") + data(1, b"x") + window_update(1, 9) + data(1, b"y", True)
        + rst_stream(1), TOLERATED),
]
ROWS = [*SHAPES, *NAMES, *PSEUDO, *LENGTHS, *WEBSOCKETS]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_message(front, row, way):
    judge(front, row, way)


@pytest.mark.parametrize("way", WAYS)
def test_the_servers_settings_come_first_and_say_what_is_bounded(front, way):
    with front.connect(way) as c:
        c.start()
        assert c.kinds[0] == (4, 0)
        assert c.settings[8] == 1, "SETTINGS_ENABLE_CONNECT_PROTOCOL"
        assert c.settings[MAX_CONCURRENT_STREAMS] == 100
        assert c.settings[6] == 32 * 1024, "SETTINGS_MAX_HEADER_LIST_SIZE"
        assert c.settings.get(4, 65_535) in (65_535, 65_536), "SETTINGS_INITIAL_WINDOW_SIZE"


def test_a_refused_body_is_stopped_behind_the_whole_response(front):
    with front.connect() as c:
        c.start()
        c.send(request(1, ends=False, method="POST"))
        c.wait(lambda: 1 in c.ended and 1 in c.resets, "the response and RST_STREAM")
        assert c.status(1) == 404
        assert c.resets[1] == NO_ERROR
        assert c.bodies[1]


def test_a_response_has_no_field_of_a_connection(front):
    with front.connect() as c:
        c.start()
        c.send(request(1))
        c.wait(lambda: 1 in c.ended, "the response")
        names = {name for name, _ in c.heads[1][0]}
        assert not names & {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
        assert all(name == name.lower() for name in names)
        assert c.field("content-length").decode() == str(len(c.bodies[1]))


def test_the_bytes_of_a_field_in_huffman_code_are_checked_as_well(front):
    with front.connect() as c:
        c.start()
        c.send(headers(1, block(*request_fields()) + literal("x-test", "a\r\nb", huffman=True)))
        c.wait(lambda: c.resets.get(1) == PROTOCOL_ERROR, "RST_STREAM(PROTOCOL_ERROR)")


@pytest.mark.parametrize("path", ["/held", "/refuse"])
def test_what_comes_before_the_200_reaches_no_backend(front, path):
    """CVE-2026-73548: it would be the beginning of another request there."""
    with front.connect() as c:
        c.start()
        count = len(front.backend.wires)
        c.send(websocket(1, path=path), data(1, b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"))
        wire = front.backend.wait_wire(count)
        if path == "/refuse":
            c.wait(lambda: 1 in c.ended and c.resets.get(1) == NO_ERROR, "the answer and the end")
            assert c.status(1) == 403 and c.bodies[1] == b"no\n"
            wait_until(lambda: getattr(wire, "rest", None) is not None, what="the backend's end")
        c.settle()
        assert wire.buffer == b""


def test_an_upgrade_to_h2c_is_not_taken_up(front):
    fields = [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"),
              ("HTTP2-Settings", "AAMAAABkAAQAAP__")]
    request_head, _ = frames.upgrade_request(
        drop=["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"], fields=fields)
    wire = frames.ask(front.running.address, request_head)
    assert wire.status == 404
    assert wire.field("Upgrade") is None
    wire.close()
