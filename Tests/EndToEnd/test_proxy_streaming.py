"""Nothing waits in the gateway: bytes leave in the turn in which they came, a side that stops taking
stops the other side, and one that goes away takes the other with it."""

import contextlib
import queue
import random
import socket
import threading
import time

import pytest
from h2.exceptions import ProtocolError

from attacks import assert_idle
from http_backends import Gate, HTTPBackend
from http_fronts import BOTH, HTTP1, HTTP2, STREAMED, dial, proxy
from harness import settled, wait_until

EVENTS = 1000


# At once

@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("framing", ["chunked", "to the end"])
def test_an_event_leaves_at_once(way, framing):
    """The next event is written only when the client has confirmed the last one: any buffer on the
    way would stop them all."""
    confirmed = queue.Queue()

    def serve(exchange):
        fields = [("Content-Type", "text/event-stream")]
        exchange.begin_chunked(fields=fields) if framing == "chunked" else exchange.head(200, fields)
        for number in range(EVENTS):
            event = b"data: %d\n\n" % number
            exchange.chunk(event) if framing == "chunked" else exchange.send(event)
            assert confirmed.get(timeout=5) == number
        exchange.finish() if framing == "chunked" else None
        exchange.closes = framing != "chunked"

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request("/events")
        for number in range(EVENTS):
            event = b"data: %d\n\n" % number
            assert exchange.read(len(event)) == event
            confirmed.put(number)
        assert exchange.read_all() == b""


@pytest.mark.parametrize("way", BOTH)
def test_events_wait_for_a_confirmation_that_comes_as_a_request(way):
    """As above, with the confirmation through the gateway as well: over HTTP/2 on the connection of the
    events, over HTTP/1.1 on a second one."""
    confirmed = queue.Queue()

    def serve(exchange):
        if exchange.request.method == "POST":
            confirmed.put(int(exchange.read_body()))
            return exchange.answer(b"")
        exchange.begin_chunked(fields=[("Content-Type", "text/event-stream")])
        for number in range(EVENTS):
            exchange.chunk(b"data: %d\n\n" % number)
            assert confirmed.get(timeout=5) == number
        return exchange.finish()

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        with dial(way, running) as front, dial(way, running) as second:
            events = front.request("/events")
            for number in range(EVENTS):
                event = b"data: %d\n\n" % number
                assert events.read(len(event)) == event
                confirmation = (front if way == HTTP2 else second).request(
                    "/confirm", "POST", body=b"%d" % number)
                assert (confirmation.wait_head(), confirmation.read_all()) == (200, b"")
            assert events.read_all() == b""


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("length", [None, 300 * 10])
def test_a_piece_of_a_request_leaves_at_once(way, length):
    arrived = queue.Queue()

    def serve(exchange):
        while piece := exchange.body.piece():
            arrived.put(piece)
        exchange.answer(b"all")

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request(method="POST", body=STREAMED, length=length)
        for number in range(300):
            piece, got = b"%010d" % number, b""
            exchange.send(piece)
            while len(got) < len(piece):
                got += arrived.get(timeout=5)
            assert got == piece
        exchange.finish()
        assert (exchange.wait_head(), exchange.read_all()) == (200, b"all")


@pytest.mark.parametrize("way", BOTH)
def test_a_head_leaves_before_its_body(way):
    with HTTPBackend(lambda e: serve(e)) as backend, Gate() as gate:
        def serve(exchange):
            exchange.head(200, [("Content-Length", 4)])
            gate.wait()
            exchange.send(b"body")

        with proxy(backend) as running, dial(way, running) as front:
            exchange = front.request()
            assert exchange.wait_head() == 200
            gate.open()
            assert exchange.read_all() == b"body"


@pytest.mark.parametrize("way", BOTH)
def test_a_conversation_both_ways_in_one_exchange(way):
    """The response begins before the request has ended, and they take turns."""
    def serve(exchange):
        exchange.begin_chunked()
        while piece := exchange.body.piece():
            exchange.chunk(piece.upper())
        exchange.finish()

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request(method="POST", body=STREAMED)
        for number in range(100):
            word = b"word %03d" % number
            exchange.send(word)
            assert exchange.read(len(word)) == word.upper()
        exchange.finish()
        assert exchange.read_all() == b""


@pytest.mark.parametrize("way", BOTH)
def test_a_long_poll_is_answered_when_there_is_something(way):
    with HTTPBackend(lambda e: serve(e)) as backend, Gate() as gate:
        def serve(exchange):
            gate.wait()
            exchange.answer(b"news")

        limits = {"keep_alive": "300ms", "upgrade": "300ms", "request_head": "300ms"}
        with proxy(backend, timeouts=limits) as running, dial(way, running) as front:
            exchange = front.request("/poll")
            backend.wait_request()
            threading.Timer(1.0, gate.open).start()
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"news")


def test_a_hundred_requests_at_once_on_one_http2_connection():
    """Each is answered only when all of them have arrived."""
    together = threading.Barrier(100)

    def serve(exchange):
        content = exchange.read_body()
        together.wait(timeout=10)
        exchange.answer(exchange.path.encode() + content)

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(HTTP2, running) as front:
        for _ in range(2):
            exchanges = [front.request(f"/{number}", "POST", body=b"+%d" % number)
                         for number in range(100)]
            for number, exchange in enumerate(exchanges):
                assert exchange.wait_head() == 200
                assert exchange.read_all() == b"/%d+%d" % (number, number)
        # The second hundred used most connections of the first.
        assert len(backend.connections) < 150


@pytest.mark.parametrize("way", BOTH)
def test_a_response_that_falls_silent_is_given_up_after_response_idle(way):
    def serve(exchange):
        exchange.begin_chunked()
        exchange.chunk(b"first")
        exchange.wait_gone()
        exchange.closes = True

    with HTTPBackend(serve) as backend:
        with proxy(backend, timeouts={"response_idle": "300ms"}) as running:
            with dial(way, running) as front:
                assert front.request().wait_severed() == b"first"
            assert backend.wait_ended() in ("closed", "reset")


# Backpressure

PIECE = b"x" * 65_536


def small_buffers(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)


@pytest.mark.parametrize("way", BOTH)
def test_a_slow_reader_throttles_its_backend(way):
    """Within 2 s the backend cannot write any more; the gateway holds nearly nothing of it; and all of
    it arrives when the client reads on."""
    count, written = 600, [0]

    def serve(exchange):
        small_buffers(exchange.wire.sock)
        exchange.head(200, [("Content-Length", count * len(PIECE))])
        for _ in range(count):
            exchange.send(PIECE)
            written[0] += len(PIECE)

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        narrow = {"receive_buffer": 65_536} if way == HTTP1 else {}
        with dial(way, running, **narrow) as front:
            memory = running.memory_kib()
            exchange = front.request()
            assert exchange.wait_head() == 200
            begun = time.monotonic()
            stopped_at = settled(lambda: written[0])
            assert time.monotonic() - begun < 2
            # What the kernel's buffers of two connections take, and a window of HTTP/2.
            assert stopped_at < 16 << 20
            assert_idle(running)
            assert running.memory_kib() - memory < 2048
            assert sum(len(piece) for piece in iter(exchange.read_some, b"")) == count * len(PIECE)


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("length", [None, 600 * len(PIECE)])
def test_a_slow_backend_throttles_its_client(way, length):
    count, sent, taken = 600, [0], [0]

    with HTTPBackend(lambda e: serve(e)) as backend, Gate() as gate:
        def serve(exchange):
            small_buffers(exchange.wire.sock)
            gate.wait(20)
            while piece := exchange.body.piece():
                taken[0] += len(piece)
            exchange.answer(b"%d" % taken[0])

        with proxy(backend) as running, dial(way, running, timeout=20) as front:
            memory = running.memory_kib()
            exchange = front.request(method="POST", body=STREAMED, length=length)

            def send():
                for _ in range(count):
                    exchange.send(PIECE)
                    sent[0] += len(PIECE)
                exchange.finish()

            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            begun = time.monotonic()
            stopped_at = settled(lambda: sent[0])
            assert time.monotonic() - begun < 3
            # Over HTTP/2 a window, what the gateway holds, and what its kernel took for the backend.
            assert stopped_at < 16 << 20
            assert_idle(running)
            assert running.memory_kib() - memory < 2048
            gate.open()
            sender.join(timeout=20)
            assert not sender.is_alive()
            assert exchange.wait_head() == 200
            assert exchange.read_all() == b"%d" % (count * len(PIECE))


def test_a_stalled_stream_stalls_no_other():
    def serve(exchange):
        small_buffers(exchange.wire.sock)
        exchange.answer(PIECE * (100 if exchange.path == "/large" else 1))

    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(HTTP2, running) as front:
        stalled = [front.request("/large") for _ in range(20)]
        for exchange in stalled:
            assert exchange.wait_head() == 200
        for _ in range(50):
            exchange = front.request("/small")
            assert exchange.read_all() == PIECE
        for exchange in stalled:
            assert len(exchange.read_all()) == 100 * len(PIECE)


def test_a_stalled_upload_stalls_no_other():
    with HTTPBackend(lambda e: serve(e)) as backend, Gate() as gate:
        def serve(exchange):
            if exchange.path == "/slow":
                small_buffers(exchange.wire.sock)
                gate.wait(20)
            exchange.answer(b"%d" % len(exchange.read_body()))

        with proxy(backend) as running, dial(HTTP2, running) as front:
            slow = [front.request("/slow", "POST", body=STREAMED) for _ in range(8)]
            for exchange in slow:
                exchange.stream.sendall(b"x" * exchange.stream.window())
            for _ in range(20):
                quick = front.request("/quick", "POST", body=PIECE)
                assert quick.read_all() == b"65536"
            gate.open()
            for exchange in slow:
                exchange.finish()
                assert int(exchange.read_all()) >= 65_535


# Sides that go away

@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("when", ["waiting", "uploading", "downloading", "stalled"])
def test_a_client_that_goes_away_takes_its_backend_connection_with_it(way, when):
    with HTTPBackend(lambda e: serve(e)) as backend:
        def serve(exchange):
            if when == "downloading":
                exchange.begin_chunked()
                exchange.chunk(b"first")
            if when == "stalled":
                exchange.answer(PIECE * 600)
            exchange.closes = True
            exchange.wait_gone(10)

        with proxy(backend) as running, dial(way, running) as front:
            upload = {"method": "POST", "body": STREAMED, "length": 100}
            exchange = front.request(**(upload if when == "uploading" else {}))
            if when == "uploading":
                exchange.send(b"x" * 50)
            backend.wait_request()
            if when in ("downloading", "stalled"):
                assert exchange.wait_head() == 200
            begun = time.monotonic()
            exchange.abort()
            assert backend.wait_ended() in ("closed", "reset")
            assert time.monotonic() - begun < 2


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("how", ["length", "chunked", "chunk", "line"])
@pytest.mark.parametrize("resets", [False, True])
def test_a_backend_that_dies_in_the_middle_is_seen_to_have_died(way, how, resets):
    def serve(exchange):
        if how == "length":
            exchange.head(200, [("Content-Length", 10)])
            exchange.send(b"first")
        else:
            exchange.begin_chunked()
            exchange.send({"chunked": b"5\r\nfirst\r\n", "chunk": b"a\r\nfirst",
                           "line": b"5\r\nfirst\r\n0\r\n"}[how])
        wait_until(lambda: seen, what="the client to have the first bytes")
        exchange.wire.reset() if resets else None
        exchange.closes = True

    seen = []
    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request()
        assert exchange.read(5) == b"first"
        seen.append(True)
        assert exchange.wait_severed() == b""
        if way == HTTP2:
            # The connection and its other streams go on.
            other = front.request()
            assert other.wait_head() == 200
        assert backend.errors == []


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("bytes_behind", [b"zz\r\n", b"5 \r\nfirst", b"-1\r\n", b"\nx"])
def test_a_broken_chunk_of_a_response_severs_it(way, bytes_behind):
    def serve(exchange):
        exchange.begin_chunked()
        exchange.chunk(b"first")
        wait_until(lambda: seen, what="the client to have the first bytes")
        exchange.send(bytes_behind)
        exchange.wait_gone()
        exchange.closes = True

    seen = []
    with HTTPBackend(serve) as backend, proxy(backend) as running, dial(way, running) as front:
        exchange = front.request()
        assert exchange.read(5) == b"first"
        seen.append(True)
        assert exchange.wait_severed() in (b"first", b"")


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize("closes", [False, True])
def test_an_answer_before_the_request_has_ended_arrives(way, status, closes):
    """The client still sends; it gets the whole answer, and the backend's connection is not used
    again while a request on it is unfinished."""
    def serve(exchange):
        if exchange.request.method == "POST":
            exchange.answer(b"enough" * 1000, status)
            exchange.closes = closes
        else:
            exchange.answer(b"fine")

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        with dial(way, running) as front:
            exchange = front.request(method="POST", body=STREAMED, length=1 << 20)
            exchange.send(b"x" * 1000)
            assert exchange.wait_head() == status
            assert exchange.read_all() == b"enough" * 1000
            with dial(way, running) as other:
                assert other.request().read_all() == b"fine"
            assert len(backend.connections) == 2
            if way == HTTP2:
                with contextlib.suppress(OSError, ProtocolError):  # it may be closed by now
                    exchange.send(b"x" * 1000)
                    exchange.abort()
                assert front.request().read_all() == b"fine"


@pytest.mark.parametrize("way", BOTH)
def test_the_rest_of_a_body_nobody_reads_is_no_request(way):
    """The client sends what is left of its body behind the answer: it must not be taken for the next
    request, here or at the backend."""
    hidden = b"GET /hidden HTTP/1.1\r\nHost: gateway.example\r\n\r\n"

    def serve(exchange):
        if exchange.request.method == "POST":
            exchange.answer(b"enough")
            exchange.closes = True
        else:
            exchange.answer(b"fine")

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        with dial(way, running) as front:
            exchange = front.request(method="POST", body=STREAMED, length=2 * len(hidden))
            exchange.send(hidden)
            assert exchange.read_all() == b"enough"
            with contextlib.suppress(OSError, ProtocolError):  # it may be closed by now
                exchange.send(hidden)
                exchange.finish()
        with dial(way, running) as front:
            assert front.request("/after").read_all() == b"fine"
        assert [r.target for r in backend.requests] == ["/", "/after"]


@pytest.mark.parametrize("seed", range(3))
def test_many_exchanges_of_every_kind_at_once(seed):
    """100 clients of both protocols, bodies both ways of random size and pace: each gets its own."""
    def serve(exchange):
        exchange.begin_chunked()
        while piece := exchange.body.piece():
            exchange.chunk(piece)
        exchange.finish()

    def client(number):
        chance = random.Random(seed * 1000 + number)
        with dial(chance.choice(BOTH), running, timeout=20) as front:
            for _ in range(5):
                content = chance.randbytes(chance.choice([0, 1, 100, 5000, 40_000]))
                exchange = front.request(method="POST", body=STREAMED)
                for at in range(0, len(content), 3000):
                    exchange.send(content[at:at + 3000])
                exchange.finish()
                if exchange.read_all() != content:
                    problems.append(number)
                    return
        done.append(number)

    problems, done = [], []
    with HTTPBackend(serve) as backend, proxy(backend) as running:
        threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
        assert problems == [] and len(done) == 100
