"""Plain HTTP in bulk and out of bounds: large heads, peers that stall or scatter, TLS on both sides,
thousands of streams; and what the log says of it."""

import asyncio
import contextlib
import random
import socket
import ssl
import threading
import time

import pytest

import certificates
import frames
import h2peer
import h2raw
import http1
from attacks import assert_idle, assert_log_is_json
from http_backends import Gate, HTTPBackend
from http_fronts import BOTH, HTTP1, HTTP2, STREAMED, Front1, Front2, Severed, dial, get, proxy
from harness import RawBackend, wait_until

PIECE = b"x" * 65_536


# Heads

@pytest.mark.parametrize("way", BOTH)
def test_large_heads_pass_both_ways(way):
    """More than one frame of HTTP/2, more than one read of most programs."""
    fields = [(f"X-Field-{n}", chr(97 + n) * 1000) for n in range(26)]

    with HTTPBackend(lambda e: e.answer(b"x", fields=fields)) as backend, proxy(backend) as running:
        with dial(way, running) as front:
            for _ in range(3):
                exchange = front.request(fields=fields)
                assert (exchange.wait_head(), exchange.read_all()) == (200, b"x")
                for key, value in fields:
                    assert exchange.field(key) == value
                    assert backend.requests[-1].field(key) == value


@pytest.mark.parametrize("way", BOTH)
def test_a_head_over_the_limit_is_refused_before_a_backend_is_asked(way):
    with HTTPBackend() as backend, proxy(backend) as running:
        for fields in ([(f"X-{n}", "a" * 1000) for n in range(40)], [("X", "a")] * 120):
            with dial(way, running) as front:
                assert front.request(fields=fields).wait_head() == 431
        assert backend.connections == []


# Peers that stall

@pytest.mark.parametrize("way", BOTH)
def test_a_client_that_takes_nothing_is_dropped_after_write_stall(way):
    def serve(exchange):
        with contextlib.suppress(OSError):
            exchange.answer(PIECE * 400)

    with HTTPBackend(serve) as backend:
        with proxy(backend, timeouts={"write_stall": "500ms"}) as running:
            narrow = {"receive_buffer": 65_536} if way == HTTP1 else {}
            with dial(way, running, **narrow) as front:
                exchange = front.request()
                assert exchange.wait_head() == 200
                backend.wait_ended(0, 8)
                with pytest.raises(Severed):
                    while exchange.read_some():
                        pass


@pytest.mark.parametrize("way", BOTH)
def test_a_backend_that_takes_nothing_is_dropped_after_write_stall(way):
    with HTTPBackend(lambda e: gate.wait(20)) as backend, Gate() as gate:
        with proxy(backend, timeouts={"write_stall": "500ms"}) as running, dial(way, running) as front:
            exchange = front.request(method="POST", body=STREAMED)
            sender = threading.Thread(target=send_until_refused, args=(exchange,), daemon=True)
            sender.start()
            sender.join(timeout=8)
            assert not sender.is_alive(), "the client may send for ever"
            gate.open()


def send_until_refused(exchange):
    """More than any buffers take, until an answer or the end."""
    with contextlib.suppress(ConnectionError, h2peer.Lost):
        for _ in range(2000):
            exchange.send(PIECE)
        return
    with contextlib.suppress(ConnectionError, Severed, frames.Ended):
        assert exchange.wait_head() in (408, 502, 503, 504)


def test_requests_piled_up_behind_a_slow_one_are_not_kept():
    """The client is not read further than its connection may hold, and all are answered in the end."""
    count = 1_000_000
    requests = http1.lines("GET /more HTTP/1.1", [("Host", "gateway.example")]) * 100
    sent = [0]

    def serve(exchange):
        if exchange.path == "/slow":
            gate.wait(20)
        exchange.answer(b"")

    def send():
        with contextlib.suppress(OSError):
            for _ in range(count // 100):
                front.wire.send(requests)
                sent[0] += len(requests)

    with HTTPBackend(serve) as backend, Gate() as gate, proxy(backend) as running:
        with dial(HTTP1, running) as front:
            memory = running.memory_kib()
            slow = front.request("/slow")
            backend.wait_request()
            # The client's kernel takes a few megabytes, and its sender stands still.
            front.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            last = -1
            while last != sent[0]:
                last = sent[0]
                time.sleep(0.3)
            assert sent[0] < 16 << 20 < count // 100 * len(requests)
            assert running.memory_kib() - memory < 2048
            assert_idle(running)
            gate.open()
            assert slow.wait_head() == 200
            for _ in range(1000):
                assert front.wire.read_response().status == 200
            # Each answer makes room for one request, not for one read.
            assert running.memory_kib() - memory < 2048
            front.reset()
            sender.join(timeout=10)


def test_a_hundred_stalled_downloads_hold_no_more_than_their_bounds():
    """Each holds what one read had and the client did not take: 64 KiB and a little."""
    with HTTPBackend(lambda e: serve(e)) as backend:
        def serve(exchange):
            exchange.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            with contextlib.suppress(OSError):
                exchange.answer(PIECE * 40)

        with proxy(backend) as running, dial(HTTP2, running) as front:
            memory = running.memory_kib()
            exchanges = [front.request(f"/{n}") for n in range(100)]
            for exchange in exchanges:
                assert exchange.wait_head() == 200
            front.peer.run_for(0.5)
            assert running.memory_kib() - memory < 100 * 128
            assert_idle(running)
            for exchange in exchanges:
                assert len(exchange.read_all()) == 40 * len(PIECE)


def test_a_body_that_stops_coming_over_http2_gets_408():
    with HTTPBackend() as backend, proxy(backend, timeouts={"request_body": "300ms"}) as running:
        with dial(HTTP2, running) as front:
            exchange = front.request(method="POST", body=STREAMED, length=100)
            exchange.send(b"x" * 50)
            assert exchange.wait_head() == 408
            exchange.stream.wait_reset()
            assert front.request().wait_head() == 200


def test_a_slow_body_that_does_come_is_no_silence():
    with HTTPBackend() as backend, proxy(backend, timeouts={"request_body": "400ms"}) as running:
        for way in BOTH:
            with dial(way, running) as front:
                exchange = front.request(method="POST", body=STREAMED)
                for _ in range(6):
                    exchange.send(b"x")
                    time.sleep(0.15)
                exchange.finish()
                assert exchange.read_all() == b"x" * 6


# Scattered bytes

@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_response_in_single_bytes_arrives(framing):
    whole = http1.lines("HTTP/1.1 200 OK", [("Content-Length", 20)]) + b"y" * 20
    if framing == "chunked":
        whole = (http1.lines("HTTP/1.1 200 OK", [("Transfer-Encoding", "chunked")])
                 + http1.chunk(b"y" * 17) + http1.chunk(b"yyy") + http1.last_chunk([("X-Sum", "1")]))

    def serve(exchange):
        for at in range(len(whole)):
            exchange.send(whole[at:at + 1])

    with HTTPBackend(serve) as backend, proxy(backend) as running:
        for way in BOTH * 2:
            assert get(way, running) == (200, b"y" * 20)
        assert len(backend.connections) == 1


@pytest.mark.parametrize("seed", range(4))
def test_mutated_responses_poison_nobody(seed):
    """Each answer is damaged somewhere; the client gets it, a 502, or a part that is seen to be one;
    and what others get on the same pool is theirs."""
    chance = random.Random(seed)
    odd = b"\0\t\r\n \x0b\x7f\x80\xff:;,=/0123456789abcdefHTP"

    def damaged(path):
        text = bytearray(http1.lines("HTTP/1.1 200 OK", [("X-Path", path), ("Transfer-Encoding",
                         "chunked")]) + http1.chunk(path.encode()) + http1.last_chunk([("A", "b")]))
        for _ in range(chance.randrange(1, 4)):
            place, change = chance.randrange(len(text)), chance.randrange(3)
            if change == 0:
                text[place] = chance.choice(odd)
            elif change == 1:
                text.insert(place, chance.choice(odd))
            else:
                del text[place:place + chance.randrange(1, 12)]
        return bytes(text)

    def serve(exchange):
        if exchange.path.startswith("/damaged"):
            exchange.send(damaged(exchange.path))
            exchange.closes = chance.random() < 0.5
        else:
            exchange.answer(exchange.path.encode())

    with HTTPBackend(serve) as backend:
        with proxy(backend, timeouts={"response": "300ms", "response_idle": "300ms"}) as running:
            for number in range(80):
                with contextlib.suppress(Severed), dial(BOTH[number % 2], running, timeout=5) as front:
                    exchange = front.request(f"/damaged/{number}")
                    assert 200 <= exchange.wait_head() <= 599
                    exchange.read_all()
                path = f"/well/{number}"
                assert get(BOTH[number // 2 % 2], running, path) == (200, path.encode())
            assert_idle(running)


# Resets

def test_requests_that_are_reset_at_once_are_never_dialled():
    with HTTPBackend() as backend, proxy(backend) as running:
        with h2raw.connect(running.address).start() as peer:
            peer.send(b"".join(h2raw.request(n, path=f"/{n}") + h2raw.rst_stream(n)
                               for n in range(1, 101, 2)))
            assert peer.settle() and peer.error is None, peer.describe()
        assert backend.connections == []
        assert get(HTTP2, running)[0] == 200


def test_requests_that_are_reset_later_leave_nothing_behind():
    with HTTPBackend(lambda e: gate.wait(20)) as backend, Gate() as gate, proxy(backend) as running:
        with dial(HTTP2, running) as front:
            front.peer.wait_ready()
            before = running.descriptors()
            exchanges = [front.request(f"/{n}") for n in range(100)]
            backend.wait_request(100)
            for exchange in exchanges:
                exchange.abort()
            front.peer.ping()
            wait_until(lambda: running.descriptors() <= before, what="descriptors given back")
            assert_idle(running)


# TLS

@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    authority = certificates.Authority(directory)
    issued = authority.issue("localhost", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued)
    listener = {"tls": {"certificates": [certificates.pair(issued)]}}
    upstream = {"tls": {"server_name": "localhost", "ca": str(authority.certificate)}}
    with HTTPBackend(tls=context) as backend:
        with proxy(backend, listener=listener, upstream=upstream) as running:
            yield running, backend, authority


@pytest.mark.parametrize("way", BOTH)
def test_plain_http_over_tls_on_both_sides(secured, way):
    running, backend, authority = secured
    context = certificates.client_context(authority, ["h2" if way == HTTP2 else "http/1.1"])
    before = len(backend.connections)
    content = random.Random(1).randbytes(1_000_000)
    for _ in range(3):
        if way == HTTP2:
            front = Front2(running.address, 10, context=context, name="localhost")
        else:
            front = Front1(running.address, 10, context=context)
        with front:
            # The host has to be one of the certificate's.
            exchange = front.request("/upload", "POST", body=content, host="localhost")
            assert exchange.read_all() == content
            assert backend.requests[-1].field("x-forwarded-proto") == "https"
            streamed = front.request("/stream", "POST", body=STREAMED, host="localhost")
            streamed.send(b"hello")
            streamed.finish()
            assert streamed.read_all() == b"hello"
    # The handshake with the backend was made once.
    assert len(backend.connections) - before <= 1


# Many

class Broadcaster:
    """An event-stream backend on an asyncio loop: thousands of connections, one event to all at a
    time."""

    def __init__(self):
        self.loop, self.ready = asyncio.new_event_loop(), threading.Event()
        self.writers = []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.main())

    async def main(self):
        self.done = asyncio.Event()
        server = await asyncio.start_server(self.attend, "127.0.0.1", 0, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.done.wait()
        server.close()

    async def attend(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(http1.lines("HTTP/1.1 200 OK", [("Content-Type", "text/event-stream"),
                                                         ("Transfer-Encoding", "chunked")]))
            self.writers.append(writer)
            await reader.read()

    def send(self, data):
        def write():
            for writer in self.writers:
                writer.write(data)
        self.loop.call_soon_threadsafe(write)

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join(timeout=10)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("way, connections", [(HTTP1, 2000), (HTTP2, 20)])
def test_two_thousand_event_streams_at_once(way, connections):
    with Broadcaster() as backend, proxy(backend) as running:
        fronts = [dial(way, running, timeout=30) for _ in range(connections)]
        exchanges = [front.request(f"/{n}") for front in fronts for n in range(2000 // connections)]
        for exchange in exchanges:
            assert exchange.wait_head() == 200
        # It sends the head before it takes note of a reader.
        wait_until(lambda: len(backend.writers) == 2000, what="2,000 readers")
        assert_idle(running)
        for number in range(5):
            event = b"data: %d\n\n" % number
            backend.send(http1.chunk(event))
            for exchange in exchanges:
                assert exchange.read(len(event)) == event
        backend.send(http1.last_chunk())
        for exchange in exchanges:
            assert exchange.read_all() == b""
        for front in fronts:
            front.close()


# The log

@pytest.mark.parametrize("way", BOTH)
def test_every_exchange_writes_one_line(way):
    with HTTPBackend(lambda e: e.answer(b"x" * 1234, 201)) as backend, proxy(backend) as running:
        with dial(way, running) as front:
            for number in range(3):
                exchange = front.request(f"/logged/{number}", "POST", body=b"y" * 100)
                assert exchange.wait_head() == 201
                exchange.read_all()
        for number in range(3):
            line = running.wait_event(event="http", path=f"/logged/{number}")
            assert (line["status"], line["method"], line["client"]) == (201, "POST", "127.0.0.1")
            assert str(backend.port) in line["endpoint"]
        lines = [event for event in running.events if event.get("event") == "http"]
        assert len(lines) == 3
        assert_log_is_json(running)


def test_a_severed_response_is_logged_as_such():
    def serve(wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    with RawBackend(serve) as backend, proxy(backend) as running, dial(HTTP1, running) as front:
        assert front.request("/severed").wait_severed() == b"half"
        line = running.wait_event(event="http", path="/severed")
        assert line["status"] == 200 and line.get("fault"), line
