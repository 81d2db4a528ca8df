"""Requests and responses of every framing pass whole, and are framed anew: nothing of how one side
frames a message is left on the other."""

import random

import pytest

import http1
from http_backends import HTTPBackend, echo
from http_fronts import BOTH, HTTP1, HTTP2, STREAMED, dial, get, proxy
from harness import route, wait_until


def noise(count, seed=1):
    return random.Random(seed).randbytes(count)


def pieces_of(data, seed=1, most=4096):
    chance, at = random.Random(seed), 0
    while at < len(data):
        count = chance.randrange(1, most)
        yield data[at:at + count]
        at += count


@pytest.fixture(scope="module")
def echoing():
    with HTTPBackend() as backend, proxy(backend) as running:
        yield running, backend


# Bodies of requests

@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("count", [0, 1, 17, 65_536, 1_000_000])
def test_a_body_with_its_length_arrives_with_its_length(echoing, way, count):
    running, backend = echoing
    content = noise(count)
    status, answer = get(way, running, method="POST", body=content)
    assert (status, answer) == (200, content)
    assert backend.requests[-1].framing == count
    assert backend.requests[-1].all("transfer-encoding") == []


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("count, most", [(0, 2), (1, 2), (300, 2), (300_000, 5000)])
def test_a_body_of_unknown_length_arrives_chunked(echoing, way, count, most):
    running, backend = echoing
    content = noise(count)
    with dial(way, running) as front:
        exchange = front.request(method="POST", body=STREAMED)
        for piece in pieces_of(content, most=most):
            exchange.send(piece)
        exchange.finish()
        assert exchange.wait_head() == 200
        assert exchange.read_all() == content
    # An HTTP/2 request whose end is known before it is sent on may have a length.
    assert backend.requests[-1].framing in {http1.CHUNKED, len(content) if way == HTTP2 else None}
    assert backend.requests[-1].body == content


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "PROPFIND"])
def test_a_request_without_a_body_arrives_without_one(echoing, way, method):
    running, backend = echoing
    assert get(way, running, method=method) == (200, b"")
    request = backend.requests[-1]
    assert (request.method, request.framing, request.version) == (method, 0, "HTTP/1.1")
    assert request.all("transfer-encoding") == request.all("content-length") == []


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE"])
def test_methods_that_seldom_have_a_body_may_have_one(echoing, way, method):
    running, backend = echoing
    assert get(way, running, method=method, body=b"GET /hidden HTTP/1.1\r\n\r\n")[0] == 200
    assert backend.requests[-1].method == method
    assert backend.requests[-1].body == b"GET /hidden HTTP/1.1\r\n\r\n"


def test_chunk_extensions_are_dropped_and_chunks_may_come_byte_by_byte(echoing):
    running, backend = echoing
    with dial(HTTP1, running) as front:
        exchange = front.request(method="POST", body=STREAMED)
        data = (http1.chunk(b"one", b";a=b") + b"0003;x=\"y\"\r\ntwo\r\n" + http1.chunk(b"three")
                + http1.last_chunk())
        for at in range(len(data)):
            front.wire.send(data[at:at + 1])
        assert exchange.wait_head() == 200
        assert exchange.read_all() == b"onetwothree"


def test_data_of_single_bytes_over_http2(echoing):
    running, _ = echoing
    with dial(HTTP2, running) as front:
        for length in (500, None):
            exchange = front.request(method="POST", body=STREAMED, length=length)
            exchange.stream.piece = 1
            exchange.send(noise(500))
            exchange.finish()
            assert exchange.wait_head() == 200
            assert exchange.read_all() == noise(500)


def test_padding_of_data_goes_nowhere(echoing):
    running, _ = echoing
    with dial(HTTP2, running) as front:
        exchange = front.request(method="POST", body=STREAMED, length=300)
        for _ in range(3):
            exchange.stream.send_padded(b"x" * 100, 200)
        exchange.finish()
        assert exchange.wait_head() == 200
        assert exchange.read_all() == b"x" * 300


# Bodies of responses

def answers(exchange):
    """/HOW/COUNT: a response of COUNT bytes, framed as HOW says."""
    how, count = exchange.path.strip("/").split("/")
    content = noise(int(count))
    if how == "length":
        return exchange.answer(content)
    if how == "chunked":
        exchange.begin_chunked()
        for piece in pieces_of(content):
            exchange.chunk(piece)
        return exchange.finish()
    exchange.closes = True
    version = "HTTP/1.0" if how == "old" else "HTTP/1.1"
    exchange.head(version=version)
    exchange.send(content)


@pytest.fixture(scope="module")
def answering():
    with HTTPBackend(answers) as backend, proxy(backend) as running:
        yield running


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("how", ["length", "chunked", "close", "old"])
@pytest.mark.parametrize("count", [0, 1, 65_536, 1_000_000])
def test_a_response_arrives_whole(answering, way, how, count):
    with dial(way, answering) as front:
        exchange = front.request(f"/{how}/{count}")
        assert exchange.wait_head() == 200
        assert exchange.read_all() == noise(count)
        if how == "length":
            assert exchange.field("content-length") == str(count)
        if way == HTTP1:
            # A body whose end is the connection's could be cut and nobody would know.
            assert how == "length" or exchange.content.framing == http1.CHUNKED
        # The connection goes on, whatever the backend's does.
        assert front.request("/length/3").wait_head() == 200


@pytest.mark.parametrize("how", ["length", "chunked", "close", "old"])
def test_a_client_of_http_1_0_gets_no_chunks(answering, how):
    with dial(HTTP1, answering) as front:
        exchange = front.request(f"/{how}/100000", version="HTTP/1.0")
        assert exchange.wait_head() == 200
        assert exchange.fields("transfer-encoding") == []
        assert exchange.content.framing == (100_000 if how == "length" else http1.TO_END)
        assert exchange.read_all() == noise(100_000)
        front.wait_closed()


BODYLESS = [
    ("HEAD", 200, [("Content-Length", "1234")]), ("HEAD", 200, []),
    ("HEAD", 200, [("Transfer-Encoding", "chunked")]), ("HEAD", 404, [("Content-Length", "9")]),
    ("GET", 204, []), ("GET", 304, []), ("GET", 304, [("Content-Length", "1234")]),
    ("HEAD", 304, [("Content-Length", "0")]), ("GET", 205, [("Content-Length", "0")])]


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("method, status, fields", BODYLESS)
def test_a_response_without_a_body_ends_with_its_head(way, method, status, fields):
    with HTTPBackend(lambda e: e.head(status, fields)) as backend, proxy(backend) as running:
        with dial(way, running) as front:
            for _ in range(3):
                exchange = front.request(method=method)
                assert exchange.wait_head() == status
                assert exchange.read_all() == b""
                if "Content-Length" in dict(fields):
                    # What a GET would have got (RFC 9110 8.6).
                    assert exchange.field("content-length") == dict(fields)["Content-Length"]
        assert len(backend.connections) == 1


@pytest.mark.parametrize("way", BOTH)
def test_a_redirect_and_an_error_page_pass_as_they_are(way):
    def serve(exchange):
        exchange.answer(b"gone", 410, [("Location", "/there?x=1"), ("Set-Cookie", "a=1"),
                                       ("Set-Cookie", "b=2; Path=/"), ("X-Empty", "")])

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request()
        assert (exchange.wait_head(), exchange.read_all()) == (410, b"gone")
        assert exchange.field("location") == "/there?x=1"
        assert exchange.fields("set-cookie") == ["a=1", "b=2; Path=/"]
        assert exchange.field("x-empty") == ""


# Trailers

@pytest.mark.parametrize("way", BOTH)
def test_trailers_of_a_response_pass(way):
    def serve(exchange):
        exchange.begin_chunked(fields=[("Trailer", "X-Sum")])
        exchange.chunk(b"content")
        exchange.finish([("X-Sum", "abc"), ("Server-Timing", "a;dur=1")])

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        for _ in range(2):
            exchange = front.request(fields=[("TE", "trailers")])
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"content")
            assert exchange.trailers == [("x-sum", "abc"), ("server-timing", "a;dur=1")]


@pytest.mark.parametrize("way", BOTH)
def test_trailers_of_a_request_pass(way):
    with HTTPBackend() as backend, proxy(backend) as running, dial(way, running) as front:
        for _ in range(2):
            exchange = front.request(method="POST", body=STREAMED)
            exchange.send(b"content")
            exchange.finish([("X-Sum", "abc")])
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"content")
            assert backend.requests[-1].trailers == [("x-sum", "abc")]


FORBIDDEN = [("Host", "evil"), ("Authorization", "Basic x"),
             ("Cookie", "a=b"), ("Content-Encoding", "gzip")]


@pytest.mark.parametrize("way", BOTH)
def test_trailers_that_frame_route_or_authenticate_are_dropped_from_requests(way):
    with HTTPBackend() as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request(method="POST", body=STREAMED)
        exchange.send(b"content")
        # Over HTTP/2 these are errors of the stream.
        framing = [("Content-Length", "9"), ("Transfer-Encoding", "chunked")] if way == HTTP1 else []
        exchange.finish([*FORBIDDEN, *framing, ("X-Sum", "abc")])
        assert (exchange.wait_head(), exchange.read_all()) == (200, b"content")
        assert backend.requests[-1].trailers == [("x-sum", "abc")]


@pytest.mark.parametrize("way", BOTH)
def test_trailers_that_frame_or_set_cookies_are_dropped_from_responses(way):
    def serve(exchange):
        exchange.begin_chunked()
        exchange.chunk(b"content")
        exchange.finish([("Content-Length", "3"), ("Transfer-Encoding", "chunked"),
                         ("Set-Cookie", "a=b"), ("X-Sum", "abc")])

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request()
        assert (exchange.wait_head(), exchange.read_all()) == (200, b"content")
        assert exchange.trailers == [("x-sum", "abc")]


@pytest.mark.parametrize("way", BOTH)
def test_what_a_route_sets_or_removes_does_not_come_back_as_a_trailer(way):
    def serve(exchange):
        exchange.read_body()
        exchange.begin_chunked()
        exchange.chunk(b"content")
        exchange.finish([("X-Debug", "1"), ("X-Sum", "abc"), ("x-robots-tag", "all")])

    edits = {"request": {"set": {"X-Tenant": "ours"}, "remove": ["X-Admin"]},
             "response": {"set": {"X-Robots-Tag": "none"}, "remove": ["X-Debug"]}}
    with HTTPBackend(serve) as backend, proxy(backend, routes=[route(headers=edits)]) as running, \
            dial(way, running) as front:
        exchange = front.request(method="POST", body=STREAMED)
        exchange.send(b"content")
        exchange.finish([("X-Tenant", "theirs"), ("X-Sum", "abc"), ("x-admin", "1")])
        assert (exchange.wait_head(), exchange.read_all()) == (200, b"content")
        assert backend.requests[-1].trailers == exchange.trailers == [("x-sum", "abc")]


# Interim responses

@pytest.mark.parametrize("way", BOTH)
def test_100_continue_comes_from_the_gateway_once_the_route_is_known(way):
    """The backend says nothing until it has the body, and the client sends it only when asked to."""
    with HTTPBackend() as backend, proxy(backend) as running, dial(way, running) as front:
        for _ in range(3):
            exchange = front.request(method="POST", body=STREAMED, length=5,
                                     fields=[("Expect", "100-continue")])
            assert exchange.wait_interim() == 100
            exchange.send(b"hello")
            exchange.finish()
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"hello")
            assert [status for status, _ in exchange.interim] == [100]


@pytest.mark.parametrize("way", BOTH)
def test_a_backend_that_says_100_too_is_not_heard_twice(way):
    def serve(exchange):
        exchange.head(100)
        echo(exchange)

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request(method="POST", body=STREAMED, length=5,
                                 fields=[("Expect", "100-continue")])
        assert exchange.wait_interim() == 100
        exchange.send(b"hello")
        exchange.finish()
        assert (exchange.wait_head(), exchange.read_all()) == (200, b"hello")
        assert [status for status, _ in exchange.interim] == [100]


@pytest.mark.parametrize("way", BOTH)
def test_there_is_no_100_for_what_has_no_route(way):
    with HTTPBackend() as backend, proxy(backend, routes=[route(path="/known")]) as running:
        with dial(way, running) as front:
            exchange = front.request("/other", method="POST", body=STREAMED, length=5,
                                     fields=[("Expect", "100-continue")])
            assert exchange.wait_head() == 404
            assert exchange.interim == []
        assert backend.connections == []


@pytest.mark.parametrize("way", BOTH)
def test_another_expectation_is_refused(way):
    with HTTPBackend() as backend, proxy(backend) as running:
        status, _ = get(way, running, method="POST", body=b"x", fields=[("Expect", "200-ok")])
        assert status == 417
        assert backend.requests == []


@pytest.mark.parametrize("way", BOTH)
def test_early_hints_pass_before_the_answer(way):
    def serve(exchange):
        exchange.head(103, [("Link", "</a.css>; rel=preload"), ("Connection", "X-Hop"),
                            ("X-Hop", "1")])
        exchange.head(103, [("Link", "</b.js>; rel=preload")])
        wait_until(lambda: seen, what="the hints at the client")
        exchange.answer(b"page")

    seen = []
    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request()
        assert [exchange.wait_interim(), exchange.wait_interim()] == [103, 103]
        seen.append(True)
        assert (exchange.wait_head(), exchange.read_all()) == (200, b"page")
        names = [[(k.lower(), v) for k, v in getattr(head, "fields", head)]
                 for _, head in exchange.interim]
        assert ("link", "</a.css>; rel=preload") in names[0]
        assert ("link", "</b.js>; rel=preload") in names[1]
        assert all(name not in ("x-hop", "connection") for name, _ in names[0])


def test_a_client_of_http_1_0_gets_no_interim_response():
    def serve(exchange):
        exchange.head(103, [("Link", "</a.css>; rel=preload")])
        exchange.answer(b"page")

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        with dial(HTTP1, running) as front:
            exchange = front.request(version="HTTP/1.0")
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"page")
            assert exchange.interim == []
        assert backend.errors == []
