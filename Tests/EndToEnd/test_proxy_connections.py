"""What becomes of connections: kept, pipelined, closed with a word, and left to read a refusal; and the
fields that belong to one connection only."""

import re
import socket
import time

import pytest

import frames
import h2peer
import http1
from http_backends import Gate, HTTPBackend
from http_fronts import BOTH, HOST, HTTP1, HTTP2, STREAMED, dial, get, proxy
from harness import RawBackend, free_port, route, wait_until


def by_path(exchange):
    """The path comes back; /slow is slower than what is asked after it."""
    exchange.read_body()
    if exchange.path.startswith("/slow"):
        time.sleep(0.2)
    exchange.answer(exchange.path.encode())


# Keeping and closing

def test_one_connection_carries_many_requests():
    with HTTPBackend(by_path) as backend, proxy(backend) as running:
        with dial(HTTP1, running) as front:
            for number in range(50):
                body = b"x" * number if number % 3 else None
                exchange = front.request(f"/{number}", "POST" if body else "GET", body=body)
                assert exchange.wait_head() == 200
                assert exchange.field("connection") in (None, "keep-alive")
                assert exchange.read_all() == b"/%d" % number


def test_pipelined_requests_are_answered_in_their_order():
    with HTTPBackend(by_path) as backend, proxy(backend) as running:
        with dial(HTTP1, running) as front:
            whole, paths = b"", []
            for number in range(20):
                path = f"/slow/{number}" if number in (0, 7) else f"/{number}"
                paths.append(path)
                fields = [("Host", HOST)]
                if number % 3 == 1:
                    whole += http1.lines(f"POST {path} HTTP/1.1", [*fields, ("Content-Length", 5)])
                    whole += b"hello"
                elif number % 3 == 2:
                    fields.append(("Transfer-Encoding", "chunked"))
                    whole += http1.lines(f"POST {path} HTTP/1.1", fields)
                    whole += http1.chunk(b"hel") + http1.chunk(b"lo") + http1.last_chunk()
                else:
                    whole += http1.lines(f"GET {path} HTTP/1.1", fields)
            front.wire.send(whole)
            for path in paths:
                head = front.wire.read_response()
                assert head.status == 200
                assert http1.Body(front.wire, head.framing_for("GET")).all() == path.encode()
        assert [request.target for request in backend.requests] == paths
        assert all(r.body == b"hello" for r in backend.requests if r.method == "POST")


@pytest.mark.parametrize("version, field", [("HTTP/1.1", "close"), ("HTTP/1.1", "Close, X-Hop"),
                                            ("HTTP/1.0", None)])
def test_a_client_that_wants_it_gets_the_end_of_the_connection_behind_the_answer(version, field):
    with HTTPBackend(by_path) as backend, proxy(backend) as running:
        with dial(HTTP1, running) as front:
            fields = [("Connection", field)] if field else []
            exchange = front.request("/last", version=version, fields=fields)
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"/last")
            assert version == "HTTP/1.0" or exchange.head.has_token("connection", "close")
            front.wait_closed()


def test_nothing_is_served_behind_a_request_that_closes():
    with HTTPBackend(by_path) as backend, proxy(backend) as running:
        with dial(HTTP1, running) as front:
            exchange = front.request("/last", fields=[("Connection", "close")])
            front.wire.send(http1.lines("GET /behind HTTP/1.1", [("Host", HOST)]))
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"/last")
            front.wait_closed()
        assert [request.target for request in backend.requests] == ["/last"]


def test_a_backend_that_closes_does_not_close_the_client():
    def serve(exchange):
        exchange.closes = True
        exchange.answer(b"done", fields=[("Connection", "close")])

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(HTTP1, running) as front:
        for _ in range(3):
            exchange = front.request()
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"done")
            assert not exchange.head.has_token("connection", "close")
        assert len(backend.connections) == 3


@pytest.mark.parametrize("way", BOTH)
def test_a_connection_between_requests_is_closed_after_keep_alive(way):
    with HTTPBackend() as backend, proxy(backend, timeouts={"keep_alive": "300ms"}) as running:
        with dial(way, running) as front:
            exchange = front.request()
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"")
            front.wait_closed(3)


@pytest.mark.parametrize("way", BOTH)
def test_a_drain_lets_a_response_end(way):
    """An answer under way is finished; the connection is told that it was the last."""
    with HTTPBackend(lambda e: serve(e)) as backend, Gate() as gate:
        def serve(exchange):
            exchange.begin_chunked()
            exchange.chunk(b"first")
            gate.wait()
            exchange.chunk(b"last")
            exchange.finish()

        with proxy(backend, timeouts={"drain": "5s"}) as running, dial(way, running) as front:
            exchange = front.request()
            assert exchange.read(5) == b"first"
            running.process.terminate()
            wait_until(lambda: not accepts(running.address), what="the end of the listener")
            gate.open()
            assert exchange.read_all() == b"last"
            front.wait_closed()
            front.close()
            assert running.process.wait(timeout=4) == 0
            running.process.poll = lambda: None  # its end is no surprise


def accepts(address):
    try:
        frames.connect(address, 1).close()
        return True
    except OSError:
        return False


# Fields of one connection

HOP_BY_HOP = [("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"),
              ("X-Nominated", "1"), ("Upgrade", "h2c")]


def test_fields_of_the_clients_connection_stay_there():
    with HTTPBackend() as backend, proxy(backend) as running:
        fields = [("Connection", "keep-alive, X-Nominated, Upgrade, HTTP2-Settings"), *HOP_BY_HOP,
                  ("TE", "gzip"), ("HTTP2-Settings", "AAAA")]
        assert get(HTTP1, running, fields=fields)[0] == 200
        request = backend.requests[0]
        for name in ("keep-alive", "proxy-connection", "x-nominated", "upgrade", "http2-settings"):
            assert request.all(name) == [], name
        assert "gzip" not in request.all("te")
        assert not request.has_token("connection", "x-nominated")


@pytest.mark.parametrize("way", BOTH)
def test_fields_of_the_backends_connection_stay_there(way):
    def serve(exchange):
        exchange.answer(b"x", fields=[("Connection", "keep-alive, X-Nominated"), *HOP_BY_HOP])

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request()
        assert (exchange.wait_head(), exchange.read_all()) == (200, b"x")
        for name in ("keep-alive", "proxy-connection", "x-nominated", "upgrade"):
            assert exchange.fields(name) == [], name
        assert way == HTTP1 or exchange.fields("connection") == []


@pytest.mark.parametrize("nominated", ["Host", "Content-Length", "Transfer-Encoding", "Cookie",
                                       "X-Forwarded-For", "Via", "close"])
def test_a_nomination_cannot_take_away_what_we_or_the_framing_need(nominated):
    """`Connection: X-Forwarded-For` is how clients hide who they are (CVE-2022-31813)."""
    with HTTPBackend() as backend, proxy(backend) as running:
        fields = [("Connection", nominated), ("X-Forwarded-For", "192.0.2.9")]
        status, body = get(HTTP1, running, method="POST", body=b"hello", fields=fields)
        assert status in (200, 400)
        if status == 200:
            assert body == b"hello"
            assert backend.requests[0].field("host") == HOST
            assert backend.requests[0].field("x-forwarded-for") == "127.0.0.1"
            assert "bascule" in backend.requests[0].field("via")


@pytest.mark.parametrize("way", BOTH)
def test_what_the_backend_is_told_of_the_client(way):
    with HTTPBackend() as backend, proxy(backend) as running:
        fields = [("X-Forwarded-For", "192.0.2.9"), ("X-Forwarded-Proto", "https"),
                  ("X-Real-IP", "192.0.2.9"), ("X_Forwarded_For", "192.0.2.9"), ("X-Mine", "kept"),
                  ("X-Request-Id", "forged"), ("Via", "1.0 fred")]
        assert get(way, running, "/a//b?c=%7E", fields=fields)[0] == 200
        request = backend.requests[0]
        assert request.target == "/a//b?c=%7E"
        assert request.field("host") == HOST
        assert request.field("x-forwarded-for") == request.field("x-real-ip") == "127.0.0.1"
        assert request.field("x-forwarded-proto") == "http"
        assert request.field("x-forwarded-host") == HOST
        assert request.field("x-forwarded-port") == str(running.ports[0])
        assert request.field("x-mine") == "kept"
        assert request.all("x_forwarded_for") == []
        assert request.field("x-request-id") not in (None, "forged")
        version = "1.1" if way == HTTP1 else "2"
        via = ", ".join(request.all("via"))
        assert re.fullmatch(rf"1\.0 fred, {version} bascule", via), via


def test_cookie_crumbs_are_joined():
    with HTTPBackend() as backend, proxy(backend) as running:
        fields = [("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2"), ("cookie", "c=3")]
        assert get(HTTP2, running, fields=fields)[0] == 200
        assert backend.requests[0].field("cookie") == "a=1; b=2; c=3"


# Refusals of requests with bodies

@pytest.mark.parametrize("length", [None, 1 << 20])
def test_a_body_over_the_limit_gets_413_and_the_client_can_read_it(length):
    with HTTPBackend() as backend, proxy(backend, limits={"request_body": "16KiB"}) as running:
        with dial(HTTP1, running) as front:
            exchange = front.request(method="POST", body=STREAMED, length=length)
            for _ in range(8):
                exchange.send(b"x" * 8192)
            # No RST may overtake the answer while the client still sends (RFC 9112 9.6).
            assert exchange.wait_head() == 413
            exchange.read_all()
            assert exchange.head.has_token("connection", "close")
            front.wait_closed()
        # A request that cannot be finished is no request.
        assert all(request.body == b"" for request in backend.requests)
        if length:
            assert backend.requests == []


@pytest.mark.parametrize("length", [None, 1 << 20])
def test_a_body_over_the_limit_gets_413_over_http2_and_the_connection_goes_on(length):
    with HTTPBackend() as backend, proxy(backend, limits={"request_body": "16KiB"}) as running:
        with dial(HTTP2, running) as front:
            exchange = front.request(method="POST", body=STREAMED, length=length)
            exchange.send(b"x" * 20_000)
            assert exchange.wait_head() == 413
            assert exchange.stream.wait_reset() == h2peer.NO_ERROR
            assert exchange.stream.ended
            small = front.request(method="POST", body=b"x" * 16_384)
            assert (small.wait_head(), small.read_all()) == (200, b"x" * 16_384)
        assert len(backend.requests) <= 2 and backend.requests[-1].framing == 16_384


def test_a_refusal_is_read_by_a_client_that_sends_on():
    """404 for a body of 1 MiB that nobody wants: lingering close, no RST before the answer is read."""
    with HTTPBackend() as backend, proxy(backend, routes=[route(path="/known")]) as running:
        for _ in range(5):
            with dial(HTTP1, running) as front:
                exchange = front.request("/unknown", "POST", body=STREAMED, length=1 << 20)
                try:
                    for _ in range(64):
                        exchange.send(b"x" * 16_384)
                except OSError:
                    pass
                assert exchange.wait_head() == 404
                exchange.read_all()
        assert backend.connections == []


def test_a_body_that_stops_coming_gets_408():
    with HTTPBackend() as backend, proxy(backend, timeouts={"request_body": "300ms"}) as running:
        with dial(HTTP1, running) as front:
            exchange = front.request(method="POST", body=STREAMED, length=100)
            exchange.send(b"x" * 50)
            assert exchange.wait_head() == 408
            exchange.read_all()
            front.wait_closed()
        assert backend.wait_ended() in ("closed", "reset")


@pytest.mark.parametrize("way", BOTH)
def test_an_upgrade_on_a_route_without_websockets_is_plain_http(way):
    with HTTPBackend() as backend, proxy(backend, routes=[route(websocket={"mode": "off"})]) as running:
        if way == HTTP2:
            with dial(way, running) as front:
                assert front.peer.ask().status == 501
            return
        request, _ = frames.upgrade_request(path="/poll")
        assert frames.ask(running.address, request).status == 200
        assert backend.requests[0].target == "/poll"
        assert backend.requests[0].all("upgrade") == []
        assert not backend.requests[0].has_token("connection", "upgrade")


# Backends that fail

@pytest.mark.parametrize("way", BOTH)
def test_no_backend_is_503_with_retry_after(way):
    with proxy(free_port()) as running, dial(way, running) as front:
        for _ in range(2):
            exchange = front.request()
            assert exchange.wait_head() == 503
            assert exchange.field("retry-after")
            exchange.read_all()


@pytest.mark.parametrize("way", BOTH)
def test_a_silent_backend_is_504(way):
    def serve(exchange):
        exchange.wait_gone()
        exchange.closes = True

    with HTTPBackend(serve) as backend, proxy(backend, timeouts={"response": "300ms"}) as running:
        assert get(way, running)[0] == 504
        assert backend.wait_ended() in ("closed", "reset")


OK = b"HTTP/1.1 200 OK\r\n"
BROKEN_ANSWERS = {
    "nothing": b"", "half a head": OK + b"Content-", "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n", "four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 99": b"HTTP/1.1 099 OK\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "fold": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "space before colon": OK + b"Content-Length : 0\r\n\r\n",
    "NUL in a value": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "CR in a value": OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "signed length": OK + b"Content-Length: +5\r\n\r\nhello",
    "unknown coding": OK + b"Transfer-Encoding: gzip\r\n\r\nx",
    "chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "204 with chunks": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "a head of 70 KiB": OK + b"X: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "201 fields": OK + b"X: a\r\n" * 201 + b"Content-Length: 0\r\n\r\n",
    "interim for ever": b"HTTP/1.1 103 Hints\r\n\r\n" * 20 + OK + b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("name", BROKEN_ANSWERS)
def test_a_broken_answer_is_502_and_its_connection_is_not_used_again(way, name):
    def serve(wire):
        wire.send(BROKEN_ANSWERS[name])
        wire.sock.shutdown(socket.SHUT_WR)
        wire.read_to_end()

    with RawBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        for _ in range(2):
            exchange = front.request()
            assert exchange.wait_head() == 502
            assert b"evil" not in exchange.read_all()
        assert len(backend.wires) == 2


def test_descriptors_are_given_back():
    with HTTPBackend() as backend, proxy(backend) as running:
        get(HTTP1, running)
        before = running.descriptors()
        for way in BOTH:
            for _ in range(30):
                get(way, running, method="POST", body=b"hello")
        wait_until(lambda: running.descriptors() <= before + 1, what="descriptors given back")
