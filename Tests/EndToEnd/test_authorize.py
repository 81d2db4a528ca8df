"""Asking an HTTP service before a request or a WebSocket is passed on (`authorize`): what the service is
told, what its verdicts do, and that nothing of a request goes anywhere before one."""

import contextlib
import pathlib
import socket
import ssl
import threading
import time

import pytest

import frames
import h2peer
from certificates import Authority
from http_backends import Gate, HTTPBackend
from http_fronts import BOTH, HTTP1, HTTP2, STREAMED, dial, get, proxy
from harness import answer_upgrade, free_port, route, wait_until

USER = [("X-User", "ann"), ("X-Role", "one"), ("X-Role", "two"), ("X-Secret", "kept")]
TOKEN = [("Authorization", "Bearer right")]


def allow(exchange):
    """Lets everybody through."""
    exchange.answer(b"", 200, USER)


def by_token(exchange):
    """Lets through whoever has the token, in any case with 401 or a way to log in."""
    if exchange.request.field("authorization") == TOKEN[0][1]:
        return allow(exchange)
    if exchange.request.field("x-forwarded-uri").startswith("/page"):
        return exchange.answer(b"", 302, [("Location", "https://login.example/?to=page"),
                                          ("Set-Cookie", "state=1; HttpOnly")])
    exchange.answer(b"who are you?\n", 401, [("WWW-Authenticate", "Bearer realm=\"chat\""),
                                             ("Content-Type", "text/plain")])


def serve(exchange):
    """A backend of both kinds: WebSockets are echoed, requests answered with their body."""
    if not exchange.request.has_token("upgrade", "websocket"):
        return exchange.answer(exchange.read_body() or b"fine")
    exchange.closes = True
    answer_upgrade(exchange.wire)
    while True:
        got = exchange.wire.read_frame()
        exchange.wire.send_frame(got.opcode, got.payload)
        if got.opcode == frames.CLOSE:
            return None


@contextlib.contextmanager
def asking(service=by_token, routes=(), url=None, tls=None, sections=None, **authorize):
    """(gateway, backend, service): every route asks the service."""
    with HTTPBackend(serve) as backend, HTTPBackend(service, tls=tls) as server:
        keys = {"url": url or f"http://127.0.0.1:{server.port}/verify?for=chat",
                "copy": ["X-User", "x-role"], **authorize}
        with proxy(backend, routes=[*routes, route(authorize=keys)], **(sections or {})) as running:
            yield running, backend, server


@contextlib.contextmanager
def websocket(way, running, fields=(), path="/", expects=True):
    """The head of the answer to a handshake; `ws` of it is a raw WebSocket when it has succeeded."""
    if way == HTTP1:
        wire = frames.Wire(frames.connect(running.address), masks=True)
        wire.send(frames.upgrade_request(path=path, fields=fields)[0])
        wire.read_head()
        wire.ws = wire
        yield wire
        wire.close()
    else:
        with h2peer.connect(running.address) as peer:
            stream = peer.ask(path=path, fields=[(k.lower(), v) for k, v in fields])
            stream.ws = h2peer.WebSocket(stream)
            yield stream


def succeeded(way):
    return 101 if way == HTTP1 else 200


def assert_echoes(ws):
    ws.send_frame(frames.TEXT, b"hello")
    assert ws.read_until(frames.TEXT).payload == b"hello"


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


def test_a_refused_body_is_not_read_as_a_request():
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: gateway.example\r\nAuthorization: Bearer right\r\n\r\n"
    with asking() as (running, backend, service), dial(HTTP1, running) as front:
        exchange = front.request("/", "POST", body=smuggled)
        assert exchange.wait_head() == 401
        assert exchange.head.has_token("connection", "close")
        exchange.read_all()
        front.wait_closed()
        assert not backend.connections and len(service.requests) == 1


def test_bytes_behind_a_refused_upgrade_reach_nobody():
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: gateway.example\r\nAuthorization: Bearer right\r\n\r\n"
    with Gate() as gate, asking(lambda e: (gate.wait(), by_token(e))) as (running, backend, service):
        wire = frames.Wire(frames.connect(running.address), masks=True)
        wire.send(frames.upgrade_request()[0] + smuggled)
        service.wait_request()
        wire.send(smuggled)
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
    "101": lambda exchange: exchange.send(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
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
