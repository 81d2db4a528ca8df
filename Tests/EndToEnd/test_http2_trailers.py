"""Trailers of HTTP/2 clients (RFC 9113 8.1): in both directions, whatever else is going on."""

import random

import pytest

import h2peer
import h2raw
import http1
from h2raw import block, data, headers, request
from http_backends import Gate, HTTPBackend
from http_fronts import HTTP2, STREAMED, Severed, dial, proxy
from harness import wait_until

SUM = [("X-Sum", "abc")]
PASSED = [("x-sum", "abc")]


def noise(count, seed=1):
    return random.Random(seed).randbytes(count)


# Requests

@pytest.mark.parametrize("content", [b"", b"x", noise(300_000)])
def test_trailers_follow_content_of_any_size(content):
    with HTTPBackend() as backend, proxy(backend) as running, dial(HTTP2, running) as front:
        for _ in range(3):
            exchange = front.request(method="POST", body=STREAMED)
            exchange.send(content)
            exchange.finish(SUM)
            assert (exchange.wait_head(), exchange.read_all()) == (200, content)
            assert backend.requests[-1].framing == http1.CHUNKED
            assert backend.requests[-1].trailers == PASSED
        # What had trailers is as good as any other.
        assert len(backend.connections) == 1


def test_trailers_behind_a_length_are_dropped():
    with HTTPBackend() as backend, proxy(backend) as running, dial(HTTP2, running) as front:
        for count in 0, 7:
            exchange = front.request(method="POST", body=STREAMED, length=count)
            exchange.send(b"content"[:count])
            exchange.finish(SUM)
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"content"[:count])
            assert (backend.requests[-1].framing, backend.requests[-1].trailers) == (count, [])
        assert len(backend.connections) == 1


def test_a_whole_request_in_one_write_has_its_trailers():
    """They wait with it until there is a backend to take them; many at once, each with its own."""
    sums = {}

    def serve(exchange):
        body = exchange.read_body()
        sums[exchange.path] = exchange.request.trailers
        exchange.answer(body)

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        with h2raw.connect(running.address) as c:
            c.start()
            streams = range(1, 80, 2)
            c.send(*(request(n, ends=False, path=f"/{n}", method="POST") for n in streams),
                   *(data(n, b"content") for n in streams),
                   *(headers(n, block(("x-sum", str(n)))) for n in streams))
            c.wait(lambda: c.ended.issuperset(streams), "all answers", 10)
            assert {c.bodies[n] for n in streams} == {b"content"}
        assert sums == {f"/{n}": [("x-sum", str(n))] for n in streams}


def test_trailers_that_come_while_the_backend_reads_nothing_wait_behind_the_content():
    content, gate = noise(60_000), Gate()

    def serve(exchange):
        gate.wait()
        exchange.answer(exchange.read_body())

    with gate, HTTPBackend(serve) as backend, proxy(backend) as running, \
            dial(HTTP2, running) as front:
        exchange = front.request(method="POST", body=STREAMED)
        exchange.send(content)
        exchange.finish(SUM)
        front.peer.ping()
        gate.open()
        assert (exchange.wait_head(), exchange.read_all()) == (200, content)
        assert backend.requests[-1].trailers == PASSED


@pytest.mark.parametrize("trailers, code", [
    ([("x", "y")] * 101, "ENHANCE_YOUR_CALM"), ([("x", "y" * 9000)], "ENHANCE_YOUR_CALM"),
    ([(":path", "/")], "PROTOCOL_ERROR"), ([("transfer-encoding", "chunked")], "PROTOCOL_ERROR"),
    ([("content-length", "9")], "PROTOCOL_ERROR")])
def test_trailers_that_are_refused_leave_the_backend_with_half_a_request(trailers, code):
    """And not with a whole one without them."""
    broken = []

    def serve(exchange):
        assert exchange.body.piece() == b"content"
        broken.append(exchange.wait_gone())
        exchange.closes = True

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        with h2raw.connect(running.address) as c:
            c.start()
            c.send(request(ends=False, method="POST"), data(1, b"content"))
            backend.wait_request()
            c.send(headers(1, block(*trailers)))
            c.wait(lambda: 1 in c.resets, "RST_STREAM")
            assert h2raw.code_name(c.resets[1]) == code
            wait_until(lambda: broken, 5, "the end of the backend's connection")
        assert broken[0] in ("closed", "reset")
        assert len(backend.requests) == 1


# Responses

def answering(content, trailers=SUM):
    def serve(exchange):
        exchange.read_body()
        exchange.begin_chunked(fields=[("Trailer", "X-Sum")])
        for start in range(0, len(content), 10_000):
            exchange.chunk(content[start:start + 10_000])
        exchange.finish(trailers)
    return serve


@pytest.mark.parametrize("window", [1_000, 65_535])
@pytest.mark.parametrize("count", [0, 1, 200_000])
def test_trailers_end_the_stream_behind_all_content(window, count):
    content = noise(count)
    with HTTPBackend(answering(content)) as backend, proxy(backend) as running, \
            h2peer.connect(running.address, stream_window=window) as peer:
        for _ in range(2):
            stream = peer.get()
            assert stream.wait_head() == 200
            found = b""
            while piece := stream.recv(1 << 20):
                found += piece
            assert (found, stream.trailers) == (content, PASSED)
            # On the trailers, and on nothing in front of them.
            frames = [f for f in peer.seen if f.stream == stream.number and f.type in (0, 1)]
            assert [f.type for f in frames if f.flags & 1] == [1] and frames[-1].flags & 1
        assert len(backend.connections) == 1


@pytest.mark.parametrize("trailers", [SUM, []])
def test_the_end_behind_content_that_fills_the_window_waits_for_a_slow_client(trailers):
    content, gate = noise(65_535), Gate()

    def serve(exchange):
        exchange.begin_chunked()
        exchange.chunk(content)
        gate.wait()
        exchange.finish(trailers)

    with gate, HTTPBackend(serve) as backend, proxy(backend) as running, \
            h2peer.connect(running.address) as peer:
        stream = peer.get()
        peer.run_until(lambda: len(stream.buffer) == 65_535, what="a full window")
        gate.open()
        # A second was all it had, and then the stream was reset.
        peer.run_for(1.5)
        assert (stream.ended, stream.reset_code) == (False, None)
        peer.give_credit(1, stream.number)
        peer.run_until(lambda: stream.ended, what="the end")
        assert (stream.trailers or []) == [(name.lower(), value) for name, value in trailers]


def test_a_response_that_breaks_off_in_its_trailers_is_reset():
    def serve(exchange):
        exchange.begin_chunked()
        exchange.chunk(b"content")
        exchange.send(b"0\r\nX-Sum: a")
        exchange.closes = True

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(HTTP2, running) as front:
        exchange = front.request()
        assert exchange.wait_severed() == b"content"
        assert exchange.trailers == []


def test_trailers_of_an_early_answer_come_before_the_request_is_done():
    def serve(exchange):
        exchange.begin_chunked()
        exchange.chunk(b"enough")
        exchange.finish(SUM)

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(HTTP2, running) as front:
        exchange = front.request(method="POST", body=STREAMED)
        exchange.send(b"content")
        assert (exchange.wait_head(), exchange.read_all()) == (200, b"enough")
        assert exchange.trailers == PASSED
        front.peer.run_until(lambda: exchange.stream.reset_code == h2peer.NO_ERROR, what="the reset")


def test_trailers_go_both_ways_while_both_sides_talk():
    """As gRPC does it."""
    def serve(exchange):
        exchange.begin_chunked()
        while piece := exchange.body.piece():
            exchange.chunk(piece)
        exchange.finish([("Grpc-Status", "0"), ("X-Seen", repr(exchange.body.trailers))])

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(HTTP2, running) as front:
        exchange = front.request(method="POST", body=STREAMED, fields=[("TE", "trailers")])
        for number in range(20):
            exchange.send(b"%d;" % number)
            assert exchange.read(len(b"%d;" % number)) == b"%d;" % number
        exchange.finish(SUM)
        assert exchange.read_all() == b""
        assert exchange.trailers == [("grpc-status", "0"), ("x-seen", repr(PASSED))]
