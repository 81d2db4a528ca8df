"""Asking an HTTP service before a request or a WebSocket is passed on (`authorize`): what the
service is told, what its verdicts do, and that nothing of a request goes anywhere before one."""

import contextlib
import http.server
import ssl
import threading
import time

import pytest

import frames
from authorization import (TOKEN, USER, allow, asking, assert_echoes, by_token, serve, succeeded,
                           websocket)
from certificates import Authority
from http_backends import Gate, HTTPBackend
from http_fronts import BOTH, HTTP1, HTTP2, STREAMED, dial, get, proxy
from harness import route


# What the service is told

@pytest.mark.parametrize("way", BOTH)
def test_the_service_sees_the_question_and_not_the_request(way):
    with asking() as (running, backend, service):
        fields = TOKEN + [("Cookie", "a=b"), ("X-Other", "no"), ("X-Forwarded-Uri", "/lie"),
                          ("X-Forwarded-For", "192.0.2.1"), ("X-Request-Id", "lie")]
        with dial(way, running) as front:
            exchange = front.request("/a%20b?c=d", "PUT", fields, body=b"body")
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"body")
        asked = service.requests[0]
        assert (asked.method, asked.target) == ("GET", "/verify?for=chat")
        assert asked.field("host") == f"127.0.0.1:{service.port}"
        told = {"method": "PUT", "uri": "/a%20b?c=d", "proto": "http", "host": "gateway.example",
                "for": "127.0.0.1"}
        assert {name: asked.field(f"x-forwarded-{name}") for name in told} == told
        assert asked.field("x-real-ip") == "127.0.0.1"
        assert asked.field("x-request-id") == backend.requests[0].field("x-request-id") != "lie"
        assert asked.field("authorization") == "Bearer right" and asked.field("cookie") == "a=b"
        for name in ("x-other", "content-length", "transfer-encoding", "expect", "connection"):
            assert asked.field(name) is None, name


@pytest.mark.parametrize("way", BOTH)
def test_a_websocket_is_asked_about_like_a_get(way):
    with asking() as (running, backend, service):
        with websocket(way, running, TOKEN, "/chat?x=1") as answer:
            assert answer.status == succeeded(way)
            assert_echoes(answer.ws)
        asked = service.requests[0]
        assert asked.field("x-forwarded-method") == "GET"
        assert asked.field("x-forwarded-uri") == "/chat?x=1"
        for name in ("upgrade", "connection", "sec-websocket-key", "sec-websocket-version"):
            assert asked.field(name) is None, name
        assert len(service.requests) == len(backend.requests) == 1


def test_what_a_trusted_proxy_says_counts():
    trusted = {"trusted_proxies": ["127.0.0.0/8"]}
    with asking(sections=trusted) as (running, _, service):
        get(HTTP1, running, fields=TOKEN + [
            ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "a.example"), ("X-Forwarded-Method", "LIE")])
        asked = service.requests[0]
        assert asked.field("x-real-ip") == "192.0.2.1"
        assert asked.field("x-forwarded-for") == "192.0.2.1, 127.0.0.1"
        assert asked.field("x-forwarded-proto") == "https"
        assert asked.field("x-forwarded-host") == "a.example"
        assert asked.field("x-forwarded-method") == "GET"


def test_a_field_that_the_client_nominates_is_told_to_nobody():
    with asking() as (running, _, service):
        fields = [*TOKEN, ("Connection", "Authorization, X-User")]
        assert get(HTTP1, running, fields=fields)[0] == 401
        assert service.requests[0].field("authorization") is None


def test_only_the_listed_fields_are_told():
    with asking(headers=["X-Token"], service=allow) as (running, _, service):
        get(HTTP1, running, fields=[*TOKEN, ("X-Token", "t"), ("Cookie", "a=b")])
        asked = service.requests[0]
        assert asked.field("x-token") == "t"
        assert asked.field("authorization") is None and asked.field("cookie") is None


# Let through

@pytest.mark.parametrize("kind", ["plain", "websocket"])
@pytest.mark.parametrize("way", BOTH)
def test_the_backend_gets_the_copied_fields_and_never_the_clients(way, kind):
    lies = [*TOKEN, ("X-User", "root"), ("x-role", "root"), ("X_User", "root"), ("X.User", "root"),
            ("X-Secret", "own")]
    if way == HTTP1:
        lies.append(("Connection", "X-User" if kind == "plain" else "Upgrade, X-User"))
    with asking() as (running, backend, _):
        if kind == "plain":
            assert get(way, running, fields=lies) == (200, b"fine")
        else:
            with websocket(way, running, lies) as answer:
                assert answer.status == succeeded(way)
        got = backend.wait_request()
        assert got.all("x-user") == ["ann"] and got.all("x-role") == ["one", "two"]
        assert got.all("x_user") == got.all("x.user") == [] and got.all("x-secret") == ["own"]


@pytest.mark.parametrize("way", BOTH)
def test_a_field_that_the_service_leaves_out_is_left_out(way):
    with asking(lambda exchange: exchange.answer(b"")) as (running, backend, _):
        assert get(way, running, fields=[("X-User", "root")])[0] == 200
        assert backend.requests[0].all("x-user") == []


def test_trailers_bring_no_copied_field():
    with asking() as (running, backend, _), dial(HTTP1, running) as front:
        exchange = front.request("/", "POST", TOKEN, body=STREAMED)
        exchange.send(b"x")
        exchange.finish([("X-User", "root")])
        assert exchange.read_all() == b"x"
        assert backend.requests[0].trailers == []


@pytest.mark.parametrize("way", BOTH)
def test_one_connection_to_the_service_and_one_to_the_backend_serve_many(way):
    with asking() as (running, backend, service):
        with dial(way, running) as front:
            for number in range(5):
                body = b"x" * number
                exchange = front.request("/", "POST", TOKEN, body=body)
                assert exchange.read_all() == (body or b"fine")
        assert len(service.requests) == len(backend.requests) == 5
        assert len(service.connections) == len(backend.connections) == 1


def test_a_service_that_ends_its_connections_without_a_word_is_asked_on_new_ones():
    def ending(exchange):
        exchange.closes = True
        allow(exchange)

    with asking(ending) as (running, backend, service):
        for _ in range(10):
            assert get(HTTP1, running) == (200, b"fine")
        assert len(service.requests) == len(service.connections) == 10


class Handler(http.server.BaseHTTPRequestHandler):
    """As people write them, with the server of Python's library."""

    def do_GET(self):
        is_known = self.headers["Authorization"] == TOKEN[0][1]
        self.send_response(200 if is_known else 403)
        self.send_header("X-User", "ann")
        self.end_headers()
        self.wfile.write(b"known" if is_known else b"unknown")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("way", BOTH)
def test_with_the_server_of_pythons_library(way):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with asking(url=f"http://127.0.0.1:{server.server_port}") as (running, backend, _):
                assert get(way, running, fields=TOKEN) == (200, b"fine")
                assert backend.requests[0].all("x-user") == ["ann"]
                assert get(way, running) == (403, b"unknown")
        finally:
            server.shutdown()


def test_an_answer_with_a_body_that_is_late_ends_its_connection_and_nothing_else():
    def late(exchange):
        exchange.head(200, [("Content-Length", "5"), *USER])
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            exchange.send(b"later")

    with asking(late) as (running, backend, service):
        for _ in range(3):
            assert get(HTTP1, running) == (200, b"fine")
        assert len(service.connections) == 3


def test_over_tls(tmp_path):
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost", "127.0.0.1"))
    with HTTPBackend(serve) as backend, HTTPBackend(by_token, tls=context) as service:
        url = f"https://127.0.0.1:{service.port}/"
        trusting = {"url": url, "ca": str(authority.certificate)}
        with proxy(backend, routes=[route(authorize=trusting)]) as running:
            assert get(HTTP1, running, fields=TOKEN) == (200, b"fine")
            assert get(HTTP1, running)[0] == 401
            assert len(backend.requests) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_certificate_that_nobody_vouches_for_gives_no_verdict(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path).issue("localhost", "127.0.0.1"))
    with HTTPBackend(serve) as backend, HTTPBackend(allow, tls=context) as service:
        url = f"https://127.0.0.1:{service.port}/"
        with proxy(backend, routes=[route(authorize={"url": url})]) as running:
            assert get(HTTP1, running)[0] == 503
            line = running.wait_event(event="http", status=503)
            assert line["detail"] == "backend_tls_failed"
            assert not backend.connections and not service.requests


# Refused

SMUGGLED = (b"GET /smuggled HTTP/1.1\r\nHost: gateway.example\r\n"
            b"Authorization: Bearer right\r\n\r\n")


@pytest.mark.parametrize("way", BOTH)
def test_a_401_reaches_the_client_as_it_is_and_nothing_the_backend(way):
    with asking() as (running, backend, _):
        with dial(way, running) as front:
            for _ in range(3):
                exchange = front.request("/")
                assert exchange.wait_head() == 401
                assert exchange.field("www-authenticate") == 'Bearer realm="chat"'
                assert exchange.read_all() == b"who are you?\n"
            exchange = front.request("/", fields=TOKEN)
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"fine")
        with websocket(way, running) as answer:
            assert answer.status == 401
            assert answer.field("www-authenticate") == 'Bearer realm="chat"'
        assert len(backend.requests) == 1
        line = running.wait_event(event="http", status=401)
        assert line["detail"] == "authorization"


@pytest.mark.parametrize("way", BOTH)
def test_a_302_leads_to_the_login(way):
    with asking() as (running, backend, _), dial(way, running) as front:
        exchange = front.request("/page")
        assert exchange.wait_head() == 302
        assert exchange.field("location") == "https://login.example/?to=page"
        assert exchange.field("set-cookie") == "state=1; HttpOnly"
        assert not backend.connections


@pytest.mark.parametrize("way", BOTH)
def test_head_gets_no_body_and_the_next_answer_is_right(way):
    with asking() as (running, backend, _), dial(way, running) as front:
        for _ in range(2):
            exchange = front.request("/", "HEAD")
            assert (exchange.wait_head(), exchange.read_all()) == (401, b"")
            assert exchange.field("content-length") == "13"
        exchange = front.request("/", fields=TOKEN)
        assert (exchange.wait_head(), exchange.read_all()) == (200, b"fine")


def test_a_body_that_comes_late_and_is_not_wanted_spoils_no_other_question():
    def late(exchange):
        if exchange.request.field("x-forwarded-method") != "HEAD":
            return by_token(exchange)
        exchange.closes = True
        exchange.head(403, [("Content-Length", "5")])
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            exchange.send(b"never")

    with asking(late) as (running, _, _), dial(HTTP1, running) as front:
        for _ in range(3):
            exchange = front.request("/", "HEAD")
            assert (exchange.wait_head(), exchange.read_all()) == (403, b"")
            exchange = front.request("/", fields=TOKEN)
            assert (exchange.wait_head(), exchange.read_all()) == (200, b"fine")


@pytest.mark.parametrize("way", BOTH)
def test_hints_of_the_service_are_not_the_clients(way):
    def hint(exchange):
        exchange.head(103, [("Link", "</style.css>; rel=preload")])
        by_token(exchange)

    with asking(hint) as (running, _, _), dial(way, running) as front:
        for fields, status in ((TOKEN, 200), ([], 401)):
            exchange = front.request("/", fields=fields)
            assert exchange.wait_head() == status and exchange.interim == []
            exchange.read_all()


def test_a_refused_body_is_not_read_as_a_request():
    with asking() as (running, backend, service), dial(HTTP1, running) as front:
        exchange = front.request("/", "POST", body=SMUGGLED)
        assert exchange.wait_head() == 401
        assert exchange.head.has_token("connection", "close")
        exchange.read_all()
        front.wait_closed()
        assert not backend.connections and len(service.requests) == 1


@pytest.mark.parametrize("way", BOTH)
def test_the_rest_of_a_refused_body_is_not_asked_for(way):
    with asking() as (running, backend, _), dial(way, running) as front:
        exchange = front.request("/", "POST", body=STREAMED, length=1 << 20)
        exchange.send(b"x" * 30_000)
        assert (exchange.wait_head(), exchange.read_all()) == (401, b"who are you?\n")
        assert not backend.connections


def test_bytes_behind_a_refused_upgrade_reach_nobody():
    with Gate() as gate, asking(lambda e: (gate.wait(), by_token(e))) as (
            running, backend, service):
        wire = frames.Wire(frames.connect(running.address), masks=True)
        wire.send(frames.upgrade_request()[0] + SMUGGLED)
        service.wait_request()
        wire.send(SMUGGLED)
        time.sleep(0.1)
        gate.open()
        wire.read_head()
        assert wire.status == 401
        assert wire.read(13) == b"who are you?\n"
        assert wire.read_to_end() == (b"", False)
        wire.close()
        assert not backend.connections and len(service.requests) == 1


def test_frames_behind_an_upgrade_wait_for_the_verdict():
    with Gate() as gate, asking(lambda e: (gate.wait(), allow(e))) as (running, backend, service):
        wire = frames.Wire(frames.connect(running.address), masks=True)
        wire.send(frames.upgrade_request()[0] + frames.frame(frames.TEXT, b"early", mask=b"abcd"))
        service.wait_request()
        time.sleep(0.1)
        assert not backend.connections
        gate.open()
        wire.read_head()
        assert wire.status == 101 and wire.read_frame().payload == b"early"
        wire.close()


# Not before the verdict

@pytest.mark.parametrize("way", BOTH)
def test_the_body_waits_for_the_verdict(way):
    with Gate() as gate, asking(lambda e: (gate.wait(), allow(e))) as (running, backend, service):
        with dial(way, running) as front:
            exchange = front.request("/", "POST", body=STREAMED, length=200_000)
            exchange.send(b"x" * 50_000)
            service.wait_request()
            time.sleep(0.1)
            assert not backend.connections and not service.connections[0].wire.buffer
            gate.open()
            exchange.send(b"x" * 150_000)
            exchange.finish()
            assert exchange.read_all() == b"x" * 200_000


def test_a_stream_gets_no_credit_before_the_verdict():
    with Gate() as gate, asking(lambda e: (gate.wait(), allow(e))) as (running, _, service):
        with dial(HTTP2, running) as front:
            exchange = front.request("/", "POST", body=STREAMED)
            exchange.send(b"x" * 60_000)
            service.wait_request()
            front.peer.ping()
            assert exchange.stream.window() <= 65_536 - 60_000
            gate.open()
            exchange.send(b"x" * 60_000)
            exchange.finish()
            assert exchange.read_all() == b"x" * 120_000


@pytest.mark.parametrize("way", BOTH)
def test_100_continue_comes_with_the_verdict(way):
    expect = [("Expect", "100-continue")]
    with asking() as (running, _, _), dial(way, running) as front:
        exchange = front.request("/", "POST", TOKEN + expect, body=STREAMED, length=4)
        assert exchange.wait_interim() == 100
        exchange.send(b"body")
        exchange.finish()
        assert exchange.read_all() == b"body"
        exchange = front.request("/", "POST", expect, body=STREAMED, length=4)
        assert exchange.wait_head() == 401
        assert [status for status, _ in exchange.interim] == []


def test_pipelined_requests_are_asked_about_one_after_the_other():
    with asking() as (running, backend, service), dial(HTTP1, running) as front:
        exchanges = [front.request(f"/{n}", fields=TOKEN if n % 2 else []) for n in range(6)]
        assert [(e.wait_head(), e.read_all())[0] for e in exchanges] == [401, 200] * 3
        assert [r.target for r in backend.requests] == ["/1", "/3", "/5"]
        assert len(service.requests) == 6


def test_the_origin_and_the_limit_of_bodies_come_first():
    with asking(allow, sections={"limits": {"request_body": 10}}) as (running, _, service):
        with websocket(HTTP1, running, [("Origin", "https://evil.example")]) as answer:
            assert answer.status == 403
        assert get(HTTP1, running, method="POST", body=b"x" * 11)[0] == 413
        assert not service.connections
