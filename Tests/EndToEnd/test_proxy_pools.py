"""Connections to backends are used again when, and only when, nothing of an exchange is left on them."""

import socket
import threading
import time

import pytest

import frames
import http1
from http_backends import Gate, HTTPBackend
from http_fronts import BOTH, HTTP1, STREAMED, dial, get, proxy
from harness import answer_upgrade, wait_until


def name(exchange):
    exchange.read_body()
    exchange.answer(exchange.path.encode())


# Use and bounds

@pytest.mark.parametrize("way", BOTH)
def test_one_after_the_other_needs_one_connection(way):
    with HTTPBackend(name) as backend, proxy(backend) as running:
        for number in range(10):
            with dial(way, running) as front:
                for part in range(5):
                    exchange = front.request(f"/{number}/{part}", "POST", body=b"x" * part)
                    assert exchange.read_all() == b"/%d/%d" % (number, part)
        assert len(backend.connections) == 1
        assert len(backend.requests) == 50


def test_both_protocols_share_the_pool():
    with HTTPBackend(name) as backend, proxy(backend) as running:
        for way in BOTH * 3:
            assert get(way, running)[0] == 200
        assert len(backend.connections) == 1


@pytest.mark.parametrize("kind", ["length", "chunked", "empty", "204", "304", "HEAD", "404"])
def test_every_response_that_ended_leaves_the_connection_usable(kind):
    def serve(exchange):
        if kind == "length":
            exchange.answer(b"x" * 100_000)
        elif kind == "chunked":
            exchange.begin_chunked()
            exchange.chunk(b"x" * 100_000)
            exchange.finish([("X-Sum", "1")])
        elif kind == "HEAD":
            exchange.head(200, [("Content-Length", 10)])
        elif kind in ("204", "304"):
            exchange.head(int(kind))
        else:
            exchange.answer(b"", 404 if kind == "404" else 200)

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        for _ in range(5):
            get(HTTP1, running, method="HEAD" if kind == "HEAD" else "GET")
        assert len(backend.connections) == 1


@pytest.mark.parametrize("way", BOTH)
def test_requests_at_the_same_time_open_more_and_these_are_used_again(way):
    together = threading.Barrier(10)

    def serve(exchange):
        if exchange.path == "/together":
            together.wait(timeout=10)
        exchange.answer(b"fine")

    def client():
        found.append(get(way, running, "/together"))

    found = []
    with HTTPBackend(serve) as backend, proxy(backend) as running:
        for _ in range(2):
            threads = [threading.Thread(target=client, daemon=True) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=15)
        assert found == [(200, b"fine")] * 20
        assert len(backend.connections) == 10
        for _ in range(20):
            assert get(way, running)[0] == 200
        assert len(backend.connections) == 10


def test_a_backend_of_http_1_0_is_asked_once_per_connection():
    def serve(exchange):
        exchange.head(200, [("Content-Length", 2)], version="HTTP/1.0")
        exchange.send(b"ok")
        exchange.wait_gone(2)
        exchange.closes = True

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        for _ in range(3):
            assert get(HTTP1, running) == (200, b"ok")
        assert [len(c.requests) for c in backend.connections] == [1, 1, 1]


@pytest.mark.parametrize("way", BOTH)
def test_an_idle_connection_is_closed_after_its_time(way):
    with HTTPBackend(name) as backend:
        with proxy(backend, timeouts={"upstream_keep_alive": "300ms"}) as running:
            with dial(way, running) as front:
                begun = time.monotonic()
                assert front.request().read_all() == b"/"
                assert backend.wait_ended(0) == "closed"
                assert 0.25 < time.monotonic() - begun < 2
                # Nobody's request was under way.
                assert front.request().read_all() == b"/"
        assert len(backend.connections) == 2


# What must not be used again

def surplus(exchange):
    exchange.is_answered = True
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                  b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")


def surplus_later(exchange):
    exchange.answer(b"ok")
    # The client has its answer by now, and the connection is in the pool.
    wait_until(lambda: exchange.path in SEEN, what="the answer at the client")
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")


def surplus_behind_chunks(exchange):
    exchange.begin_chunked()
    exchange.chunk(b"ok")
    exchange.send(http1.last_chunk() + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")


def surplus_behind_304(exchange):
    exchange.send(b"HTTP/1.1 304 No\r\nContent-Length: 4\r\n\r\nevil")


def says_close(exchange):
    exchange.answer(b"ok", fields=[("Connection", "close")])


SEEN = set()
SPOILED = [surplus, surplus_later, surplus_behind_chunks, surplus_behind_304, says_close]


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("spoil", SPOILED)
def test_a_connection_with_something_left_on_it_serves_nobody_else(way, spoil):
    SEEN.clear()
    with HTTPBackend(spoil) as backend, proxy(backend) as running:
        for number in range(4):
            path = f"/{number}"
            status, content = get(way, running, path)
            assert (status, content) in [(200, b"ok"), (304, b"")]
            SEEN.add(path)
            backend.wait_ended(number)
        assert [len(c.requests) for c in backend.connections] == [1] * 4


@pytest.mark.parametrize("status", [101, 200, 403])
def test_a_connection_that_was_to_be_upgraded_is_not_used_again(status):
    def serve(exchange):
        if not exchange.request.has_token("upgrade", "websocket"):
            return exchange.answer(b"plain")
        if status != 101:
            return exchange.answer(b"no", status)
        exchange.wire.head = exchange.request.raw
        answer_upgrade(exchange.wire)
        exchange.wire.send_close(1000)
        exchange.closes = True

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        assert get(HTTP1, running) == (200, b"plain")
        for _ in range(2):
            request, _ = frames.upgrade_request(path="/socket")
            with frames.ask(running.address, request) as wire:
                assert wire.status == status
                wire.sock.settimeout(3)
                if status == 101:
                    assert wire.read_until(frames.CLOSE).close_code == 1000
                    wire.send_close(1000)
                wire.read_to_end()
        for _ in range(3):
            assert get(HTTP1, running) == (200, b"plain")
        upgraded = [c for c in backend.connections if any(r.target == "/socket" for r in c.requests)]
        assert len(upgraded) == 2
        # Nothing behind an upgrade; and nothing but upgrades on these connections.
        assert all(c.requests[-1].target == "/socket" for c in upgraded)


@pytest.mark.parametrize("way", BOTH)
def test_a_connection_whose_client_went_away_is_not_used_again(way):
    """Its answer would be the next one's."""
    with HTTPBackend(lambda e: serve(e)) as backend, Gate() as gate:
        def serve(exchange):
            if exchange.path == "/secret":
                gate.wait()
                exchange.answer(b"secret")
            else:
                exchange.answer(b"public")

        with proxy(backend) as running:
            front = dial(way, running)
            exchange = front.request("/secret")
            backend.wait_request()
            exchange.abort()
            front.close()
            with dial(way, running) as other:
                answer = other.request("/public")
                gate.open()
                assert answer.read_all() == b"public"
            assert len(backend.connections) == 2


@pytest.mark.parametrize("way", BOTH)
def test_a_request_that_was_not_sent_whole_spoils_its_connection(way):
    """A client that stops in the middle of its body: what comes next is not the rest of it."""
    with HTTPBackend() as backend, proxy(backend) as running:
        front = dial(way, running)
        exchange = front.request(method="POST", body=STREAMED, length=100)
        exchange.send(b"x" * 50)
        backend.wait_request()
        exchange.abort()
        for _ in range(3):
            assert get(way, running, method="POST", body=b"y" * 60) == (200, b"y" * 60)
        assert backend.wait_ended(0) in ("closed", "reset")
        assert len(backend.connections[0].requests) == 1
        front.close()


# Connections that turn out to be closed

class Fickle:
    """Answers the first request of the first connection, then closes as told: "idle" at once behind
    the answer, "asked" when a second request has come, "begun" with half an answer to it."""

    def __init__(self, how, every=False):
        self.how, self.every, self.first = how, every, None

    def __call__(self, exchange):
        self.first = self.first or exchange.connection
        is_spoiled = self.every or exchange.connection is self.first
        if len(exchange.connection.requests) == 1:
            exchange.read_body()
            exchange.answer(b"fine")
            exchange.closes = is_spoiled and self.how == "idle"
        elif not is_spoiled:
            name(exchange)
        else:
            exchange.read_body()
            if self.how == "begun":
                exchange.send(b"HTTP/1.1 200 OK\r\nContent-Le")
            exchange.closes = True


def prime(way, running, backend):
    assert get(way, running, "/first") == (200, b"fine")


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_idle_connection_that_was_closed_disturbs_nobody(way, method):
    with HTTPBackend(Fickle("idle", every=True)) as backend, proxy(backend) as running:
        for number in range(10):
            body = b"x" * 10 if method == "POST" else None
            assert get(way, running, f"/{number}", method=method, body=body) == (200, b"fine")
            assert backend.connections[number].is_closed.wait(5)
        # Each request was seen once.
        assert [r.target for r in backend.requests] == [f"/{n}" for n in range(10)]


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_an_idempotent_request_without_a_body_is_tried_once_more(way, method):
    with HTTPBackend(Fickle("asked")) as backend, proxy(backend) as running:
        prime(way, running, backend)
        status, content = get(way, running, "/second", method=method)
        assert status == 200
        assert content == (b"" if method == "HEAD" else b"fine")
        assert [r.target for r in backend.requests] == ["/first", "/second", "/second"]
        assert backend.requests[1].raw == backend.requests[2].raw


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("body", [None, b"hello"])
def test_a_post_that_was_sent_is_not_sent_again(way, body):
    with HTTPBackend(Fickle("asked")) as backend, proxy(backend) as running:
        prime(way, running, backend)
        assert get(way, running, "/pay", method="POST", body=body)[0] == 502
        assert [r.target for r in backend.requests] == ["/first", "/pay"]
        assert get(way, running, "/third")[0] == 200


@pytest.mark.parametrize("way", BOTH)
def test_nothing_is_tried_again_once_an_answer_has_begun(way):
    with HTTPBackend(Fickle("begun")) as backend, proxy(backend) as running:
        prime(way, running, backend)
        assert get(way, running, "/second")[0] == 502
        assert [r.target for r in backend.requests] == ["/first", "/second"]


@pytest.mark.parametrize("way", BOTH)
def test_nothing_is_tried_more_than_twice(way):
    """Two connections are in the pool, and both turn out to be closed."""
    together = threading.Barrier(2)

    def serve(exchange):
        if exchange.path == "/first":
            together.wait(timeout=10)
            return exchange.answer(b"fine")
        exchange.closes = True

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        threads = [threading.Thread(target=get, args=(way, running, "/first"), daemon=True)
                   for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=10)
        assert get(way, running, "/second")[0] == 502
        assert [r.target for r in backend.requests].count("/second") == 2


@pytest.mark.parametrize("way", BOTH)
def test_a_new_connection_that_is_closed_without_an_answer_is_not_tried_again(way):
    """The backend does not want this request; asking on would only spread the harm."""
    def serve(exchange):
        exchange.closes = True

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        assert get(way, running)[0] == 502
        assert len(backend.requests) == 1


@pytest.mark.parametrize("way", BOTH)
def test_the_next_endpoint_is_asked_when_one_does_not_listen(way):
    with HTTPBackend(name) as first, HTTPBackend(name) as second:
        with proxy(first, second) as running:
            for number in range(4):
                assert get(way, running, f"/{number}")[0] == 200
            assert first.requests and second.requests
            for connection in first.connections:
                # Closing alone would wait for the read that is under way in another thread.
                connection.wire.sock.shutdown(socket.SHUT_RDWR)
                assert connection.is_closed.wait(5)
            first.__exit__()
            for number in range(8):
                assert get(way, running, f"/{number}", method="POST", body=b"x")[0] == 200


# Races

@pytest.mark.parametrize("way", BOTH)
def test_answers_never_change_hands(way):
    """Many clients, a backend that closes now and then, and clients that leave: everybody gets what
    he asked for or an error, and nobody another's answer."""
    def serve(exchange):
        number = int(exchange.path[1:])
        content = exchange.path.encode() * (1 + number % 50)
        exchange.closes = number % 7 == 0
        # In one write: what comes when the next request is under way is that one's answer.
        more = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" if number % 11 == 0 else b""
        exchange.send(http1.lines("HTTP/1.1 200 OK", [("Content-Length", len(content))])
                      + content + more)

    def client(start):
        for number in range(start, start + 40):
            try:
                with dial(way, running, timeout=5) as front:
                    exchange = front.request(f"/{number}")
                    if number % 13 == 0:
                        exchange.abort()
                        continue
                    status, content = exchange.wait_head(), exchange.read_all()
                    wanted = b"/%d" % number * (1 + number % 50)
                    if status != 200 or content != wanted:
                        problems.append((number, status, content[:50]))
            except Exception as error:
                problems.append((number, error))
        done.append(start)

    problems, done = [], []
    with HTTPBackend(serve) as backend, proxy(backend) as running:
        threads = [threading.Thread(target=client, args=(n * 1000 + 1,), daemon=True)
                   for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
        assert problems == []
        assert len(done) == 10
