"""Services that give no verdict on a request (`on_failure`), verdicts that are kept (`cache`), and
what happens while one is awaited: clients that leave, limits, a drain."""

import contextlib
import pathlib
import socket
import threading
import time

import pytest

import frames
import h2peer
from admin import samples
from authorization import (TOKEN, USER, allow, asking, assert_echoes, by_token, serve, succeeded,
                           websocket)
from http_backends import Gate, HTTPBackend
from http_fronts import BOTH, HTTP1, HTTP2, STREAMED, dial, get, proxy
from harness import free_port, route, wait_until


# No verdict

def crash(exchange):
    exchange.closes = True
    exchange.send(b"HTTP/1.1 200 OK\r\nX-User: an")


FAILURES = {
    "error": lambda exchange: exchange.answer(b"oops", 500, USER),
    "unavailable": lambda exchange: exchange.answer(b"", 503, USER),
    "broken": lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\nX-User : ann\r\n\r\n"),
    "garbage": lambda exchange: exchange.send(b"hello\r\n\r\n"),
    "crash": crash,
    "101": lambda exchange: exchange.head(101, [("Upgrade", "x"), ("Connection", "upgrade")]),
    "slow": lambda exchange: time.sleep(1),
    "endless": lambda exchange: [exchange.head(102) or time.sleep(0.1) for _ in range(6)],
}


def careful(kind):
    """Fails in that way; the gateway may have closed by then."""
    def serve_it(exchange):
        exchange.closes = True
        with contextlib.suppress(OSError):
            FAILURES[kind](exchange)
    return serve_it


@pytest.mark.parametrize("on_failure", ["refuse", "allow"])
@pytest.mark.parametrize("kind", FAILURES)
def test_a_failing_service(kind, on_failure):
    with asking(careful(kind), timeout="400ms", on_failure=on_failure) as (running, backend, _):
        for way in BOTH:
            status, body = get(way, running, fields=[("X-User", "root")], method="POST", body=b"b")
            with websocket(way, running, [("X-User", "root")]) as answer:
                if on_failure == "allow":
                    assert (status, body) == (200, b"b")
                    assert answer.status == succeeded(way)
                    assert_echoes(answer.ws)
                else:
                    assert status == answer.status == 503
        assert len(backend.requests) == (4 if on_failure == "allow" else 0)
        assert all(request.all("x-user") == [] for request in backend.requests)
        if on_failure == "refuse":
            assert running.wait_event(event="http", status=503)["fault"] == "authorization_failed"
        running.wait_event(message="an authorization service gave no verdict")


@pytest.mark.parametrize("kind", ["unavailable", "crash"])
@pytest.mark.parametrize("on_failure, result", [("refuse", "backend_failed"), ("allow", "accepted")])
def test_a_handshake_without_a_verdict_counts_once(kind, on_failure, result):
    admin = free_port()
    sections = {"admin": {"bind": f"127.0.0.1:{admin}"}}
    with asking(careful(kind), on_failure=on_failure, sections=sections) as (running, _, _):
        with websocket(HTTP1, running) as answer:
            assert answer.status == (101 if on_failure == "allow" else 503)
        found = samples(admin)
        handshakes = {key: value for key, value in found.items()
                      if key.startswith("bascule_handshakes_total") and value}
        assert handshakes == {f'bascule_handshakes_total{{result="{result}"}}': 1}


@pytest.mark.parametrize("on_failure", ["refuse", "allow"])
def test_a_service_that_is_down(on_failure):
    url = f"http://127.0.0.1:{free_port()}/"
    with asking(url=url, on_failure=on_failure) as (running, backend, _):
        for way in BOTH:
            for _ in range(4):
                status, _ = get(way, running)
                with websocket(way, running) as answer:
                    if on_failure == "allow":
                        assert (status, answer.status) == (200, succeeded(way))
                    else:
                        assert status == answer.status == 503
        assert (len(backend.requests) == 16) == (on_failure == "allow")


def test_the_timeout_counts_from_the_beginning_of_the_question():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        with contextlib.ExitStack() as stack:
            for _ in range(4):  # the queue is full: nobody is let in
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(deaf.getsockname())
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
            with asking(url=url, timeout="300ms") as (running, _, _):
                begun = time.monotonic()
                assert get(HTTP1, running)[0] == 503
                assert 0.25 < time.monotonic() - begun < 1.5


def test_a_name_that_does_not_resolve_is_told_at_the_start():
    with pytest.raises(AssertionError, match="cannot resolve nobody.invalid"):
        with asking(url="http://nobody.invalid/"):
            pass


# Verdicts that are kept

CACHE = {"cache": {"by": "header Authorization", "for": "500ms"}}


@pytest.mark.parametrize("way", BOTH)
def test_a_verdict_is_kept_for_its_token_and_its_time(way):
    with asking(**CACHE) as (running, backend, service):
        def ask():
            assert get(way, running, fields=[*TOKEN, ("X-User", "root")])[0] == 200
            with websocket(way, running, TOKEN) as answer:
                assert answer.status == succeeded(way)

        ask()
        ask()
        assert len(service.requests) == 1
        assert all(request.all("x-user") == ["ann"] for request in backend.requests)
        time.sleep(0.6)
        ask()
        assert len(service.requests) == 2 and len(backend.requests) == 6


def test_refusals_requests_without_token_and_ambiguous_ones_are_not_kept():
    def serve_it(exchange):
        answer = 200 if exchange.request.all("authorization") != ["wrong"] else 401
        exchange.answer(b"", answer)

    with asking(serve_it, **CACHE) as (running, _, service):
        for number, fields in enumerate([[], [("Authorization", "wrong")], [("Authorization", "")],
                                         [TOKEN[0], ("Authorization", "other")],
                                         [*TOKEN, ("Connection", "authorization")]], start=1):
            for _ in range(2):
                get(HTTP1, running, fields=fields)
            assert len(service.requests) == 2 * number, fields


def test_a_verdict_is_kept_for_its_route_alone():
    keys = {"copy": ["X-User"], **CACHE}
    with HTTPBackend(serve) as backend, HTTPBackend(by_token) as service:
        url = f"http://127.0.0.1:{service.port}/"
        routes = [route(path=path, authorize={"url": url, **keys}) for path in ("/a", "/b")]
        with proxy(backend, routes=routes) as running:
            for path in ("/a", "/b", "/a/x", "/b/x"):
                assert get(HTTP1, running, path, fields=TOKEN)[0] == 200
            assert [r.field("x-forwarded-uri") for r in service.requests] == ["/a", "/b"]
            assert len(service.connections) == 1


def test_a_cookie_may_be_the_token():
    with asking(allow, cache={"by": "cookie session"}) as (running, _, service):
        for cookie, asked in [("a=b; session=1", 1), ("session=1; a=c", 1), ("session=2", 2),
                              ("session=1; session=2", 3), ("session=1; session=2", 4), ("a=b", 5)]:
            assert get(HTTP1, running, fields=[("Cookie", cookie)])[0] == 200
            assert len(service.requests) == asked, cookie


# In between

def sockets(running):
    """How many the gateway has open."""
    directory = pathlib.Path(f"/proc/{running.process.pid}/fd")
    count = 0
    for entry in directory.iterdir():
        with contextlib.suppress(OSError):
            count += str(entry.readlink()).startswith("socket:")
    return count


@pytest.mark.parametrize("kind", ["plain", "body", "websocket"])
@pytest.mark.parametrize("way", BOTH)
def test_a_client_that_leaves_in_between_leaves_nothing(way, kind):
    with Gate() as gate, asking(lambda e: (gate.wait(), allow(e))) as (running, backend, service):
        for number in range(1, 4):
            if kind == "websocket" and way == HTTP1:
                wire = frames.Wire(frames.connect(running.address), masks=True)
                wire.send(frames.upgrade_request()[0])
                service.wait_request(number)
                wire.reset()
            elif kind == "websocket":
                peer = h2peer.connect(running.address)
                stream = peer.extended_connect()
                service.wait_request(number)
                stream.reset()
                peer.ping()
                peer.close()
            else:
                front = dial(way, running)
                exchange = front.request("/", "POST" if kind == "body" else "GET",
                                         body=STREAMED if kind == "body" else None)
                service.wait_request(number)
                exchange.abort()
                if way == HTTP2:
                    front.peer.ping()
                    front.close()
        wait_until(lambda: sockets(running) == 1, what="only the listener left")
        gate.open()
        assert get(way, running)[0] == 200
        assert len(backend.requests) == 1
        running.wait_event(event="http", fault="client_vanished")


def test_a_client_that_ends_its_connection_while_a_plain_request_is_asked_about():
    with Gate() as gate, asking(lambda e: (gate.wait(), allow(e))) as (running, backend, service):
        front = dial(HTTP1, running)
        front.request("/")
        service.wait_request()
        front.close()
        running.wait_event(event="http", fault="client_vanished")
        gate.open()
        time.sleep(0.1)
        assert not backend.connections


@pytest.mark.parametrize("way", BOTH)
def test_handshakes_that_are_asked_about_count_as_in_flight_and_are_given_back(way):
    sections = {"limits": {"handshakes": 2}}
    with Gate() as gate, asking(lambda e: (gate.wait(), by_token(e)),
                                sections=sections) as (running, _, service):
        found = []

        def client(fields):
            with websocket(way, running, fields) as answer:
                found.append(answer.status)

        threads = [threading.Thread(target=client, args=(fields,)) for fields in ([], TOKEN)]
        for thread in threads:
            thread.start()
        service.wait_request(2)
        with websocket(way, running, TOKEN) as answer:
            assert answer.status == 503
        assert running.wait_event(event="http", status=503)["detail"] == "handshakes"
        gate.open()
        for thread in threads:
            thread.join(10)
        assert sorted(found) == sorted([401, succeeded(way)])
        for _ in range(4):
            for fields, status in (([], 401), (TOKEN, succeeded(way))):
                with websocket(way, running, fields) as answer:
                    assert answer.status == status


@pytest.mark.parametrize("way", BOTH)
def test_a_drain_lets_what_is_asked_about_end(way):
    with Gate() as gate, asking(lambda e: (gate.wait(), allow(e))) as (running, backend, service):
        with dial(way, running) as front:
            exchange = front.request("/", "POST", body=b"body")
            service.wait_request()
            running.process.terminate()
            running.wait_event(message="draining")
            gate.open()
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"body")
            assert running.process.wait(10) == 0
        assert len(backend.requests) == 1
        # The harness expects to end it itself.
        running.process.poll = lambda: None
