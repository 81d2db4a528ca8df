"""The opening handshake on both sides, and everything that can be wrong with it."""

import time

import pytest

import frames
from frames import upgrade_request
from harness import (RawBackend, answer_upgrade, free_port, gateway, raw_echo, record, route,
                     wait_until)


@pytest.fixture(scope="module")
def echoing():
    with RawBackend(raw_echo) as backend, gateway([backend.port]) as running:
        yield backend, running


def answer_plain(wire):
    wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    wire.read_to_end()


def status_of(running, data):
    with frames.ask(running.address, data) as wire:
        return wire


def test_another_version_is_answered_426_by_the_gateway(echoing):
    backend, running = echoing
    before = len(backend.wires)
    request, _ = upgrade_request(drop=["Sec-WebSocket-Version"],
                                 fields=[("Sec-WebSocket-Version", "8")])
    wire = status_of(running, request)
    assert wire.status == 426
    assert wire.field("Sec-WebSocket-Version") == "13"
    assert wire.field("Upgrade").lower() == "websocket"
    assert len(backend.wires) == before


@pytest.mark.parametrize("keywords", [
    {"method": "POST"},
    {"key": "tooshort"}, {"key": "AAAAAAAAAAAAAAAAAAAAAAA="}, {"key": "!!!!!!!!!!!!!!!!!!!!!!=="},
    {"drop": ["Sec-WebSocket-Key"]},
    {"fields": [("Content-Length", "5")]}, {"fields": [("Transfer-Encoding", "chunked")]},
    {"fields": [("Host", "second.example")]}, {"drop": ["Host"]},
    {"fields": [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]},
    {"path": "/a/../b"}, {"path": "/%2e%2e/b"}, {"path": "/a%00b"}, {"path": "/a\\b"},
    {"path": "/#fragment"},
    {"host": "user@gateway.example"}, {"host": "gateway.example."}, {"host": "a,b"},
    {"fields": [(" Leading", "space")]}, {"fields": [("Space ", "before colon")]},
    {"fields": [("X", "bare\rreturn")]}, {"fields": [("X", "nul\0")]},
])
def test_a_broken_handshake_is_answered_400_and_closed(echoing, keywords):
    backend, running = echoing
    before = len(backend.wires)
    request, _ = upgrade_request(**keywords)
    with frames.ask(running.address, request) as wire:
        assert wire.status == 400
        wire.read_to_end()
    assert len(backend.wires) == before


@pytest.mark.parametrize("request_bytes, status", [
    (b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", 405),
    (b"TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n", 405),
    (b"GET / HTTP/2.0\r\nHost: a.example\r\n\r\n", 505),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a.example\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: a.example\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a.example\r\nX: " + b"y" * 33_000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\nHost: a.example\n\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n", 400),
])
def test_requests_that_are_not_let_through(echoing, request_bytes, status):
    backend, running = echoing
    before = len(backend.wires)
    assert status_of(running, request_bytes).status == status
    assert len(backend.wires) == before


def test_http2_where_it_is_not_spoken_is_named_in_the_log_and_in_the_answer(echoing):
    with frames.ask(echoing[1].address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") as wire:
        assert b"protocols: [h2, http/1.1]" in wire.read_to_end()[0]
    echoing[1].wait_event(status=400, fault="http2_not_enabled", detail="http2-not-enabled")


@pytest.mark.parametrize("keywords", [
    {"drop": ["Connection"]}, {"version": "HTTP/1.0"},
    {"drop": ["Upgrade"], "fields": [("Upgrade", "h2c")]}])
def test_without_both_upgrade_tokens_it_is_a_plain_request(keywords):
    request, _ = upgrade_request(**keywords)
    with RawBackend(answer_plain) as backend, gateway([backend.port]) as running:
        assert status_of(running, request).status == 204
        asked = backend.wait_wire()
        assert asked.field("Upgrade") is None
        assert "upgrade" not in (asked.field("Connection") or "").lower()


def test_no_route_is_404():
    routes = [route(host="known.example", path="/ws")]
    with RawBackend(raw_echo) as backend, gateway([backend.port], routes) as running:
        for host, path, status in [("known.example", "/ws", 101), ("known.example", "/ws/a", 101),
                                   ("KNOWN.example", "/ws?q", 101), ("known.example", "/wsx", 404),
                                   ("other.example", "/ws", 404)]:
            request, _ = upgrade_request(host=host, path=path)
            assert status_of(running, request).status == status, (host, path)


def test_with_mode_off_an_upgrade_is_forwarded_as_a_plain_request():
    routes = [route(websocket={"mode": "off"})]
    with RawBackend(answer_plain) as backend, gateway([backend.port], routes) as running:
        assert status_of(running, upgrade_request()[0]).status == 204
        asked = backend.wait_wire()
        assert asked.field("Upgrade") is None
        assert "upgrade" not in (asked.field("Connection") or "").lower()


def respond(data):
    def serve(wire):
        wire.send(data)
        wire.sock.settimeout(2)
        wire.read_to_end()
    return serve


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
])
def test_another_final_answer_is_relayed_with_its_body(answer):
    with RawBackend(respond(answer)) as backend, gateway([backend.port]) as running:
        with frames.ask(running.address, upgrade_request()[0]) as wire:
            assert wire.status == int(answer[9:12])
            assert wire.field("Location") == ("/login" if b"302" in answer else None)
            assert wire.field("Connection").lower() == "close"
            assert wire.field("Upgrade") is None
            body, reset = wire.read_to_end()
            assert b"hello" in body and not reset


BROKEN = {
    "wrong accept": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
    "no accept": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 b"Connection: Upgrade\r\n\r\n",
    "status line": b"HTTP/1.1 1010 What\r\n\r\n",
    "not HTTP": b"220 mail.example ESMTP\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "both lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "head too large": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 201 + b"\r\n",
    "interim answers without end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20,
    "nothing": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_502(name):
    def serve(wire):
        wire.send(BROKEN[name])

    with RawBackend(serve) as backend, gateway([backend.port]) as running:
        assert status_of(running, upgrade_request()[0]).status == 502


@pytest.mark.parametrize("extra", [
    b"Sec-WebSocket-Protocol: never-offered\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
    b"Sec-WebSocket-Extensions: x-other\r\n"])
def test_what_was_not_offered_may_not_be_chosen(extra):
    with RawBackend(lambda wire: answer_upgrade(wire, extra)) as backend, \
            gateway([backend.port]) as running:
        assert status_of(running, upgrade_request()[0]).status == 502


@pytest.mark.parametrize("upgrade, connection", [
    ("h2c", "Upgrade"), ("websocket", "close"), ("", "Upgrade")])
def test_a_101_for_something_else_is_502(upgrade, connection):
    def serve(wire):
        accept = frames.accept_value(wire.field("Sec-WebSocket-Key").encode()).decode()
        wire.send((f"HTTP/1.1 101 Switching\r\nUpgrade: {upgrade}\r\nConnection: {connection}\r\n"
                   f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())

    with RawBackend(serve) as backend, gateway([backend.port]) as running:
        assert status_of(running, upgrade_request()[0]).status == 502


def test_a_silent_backend_is_504_after_the_upgrade_timeout():
    def serve(wire):
        wire.read_to_end()

    with RawBackend(serve) as backend, \
            gateway([backend.port], timeouts={"upgrade": "1s"}) as running:
        begun = time.monotonic()
        assert status_of(running, upgrade_request()[0]).status == 504
        assert 0.8 < time.monotonic() - begun < 3
        wait_until(lambda: backend.wires[0].sock.fileno() == -1, 3, "the backend's end")


def test_nobody_listening_is_503_at_once_and_the_next_endpoint_is_tried():
    with gateway([free_port()]) as running:
        begun = time.monotonic()
        assert status_of(running, upgrade_request()[0]).status == 503
        assert time.monotonic() - begun < 1
    with RawBackend(raw_echo) as backend, gateway([free_port(), backend.port]) as running:
        for _ in range(4):
            frames.open_websocket(running.address).close()


def test_endpoints_take_turns():
    with RawBackend(record) as one, RawBackend(record) as two, \
            gateway([one.port, two.port]) as running:
        clients = [frames.open_websocket(running.address) for _ in range(6)]
        assert (len(one.wires), len(two.wires)) == (3, 3)
        for client in clients:
            client.close()


def test_bytes_before_the_101_wait_and_then_pass():
    """Nothing a client sends after its head goes anywhere before the answer was validated."""
    seen = {}

    def serve(wire):
        time.sleep(0.5)
        wire.sock.settimeout(0.2)
        try:
            wire.fill()
        except TimeoutError:
            pass
        seen["early"] = wire.buffer
        wire.sock.settimeout(10)
        answer_upgrade(wire)
        seen["frame"] = wire.read_frame()
        wire.send_frame(frames.TEXT, b"done")

    early = frames.frame(frames.TEXT, b"impatient", mask=b"wxyz")
    with RawBackend(serve) as backend, gateway([backend.port]) as running:
        with frames.ask(running.address, upgrade_request()[0] + early) as wire:
            assert wire.status == 101
            assert wire.read_frame().payload == b"done"
    assert seen["early"] == b"" and seen["frame"].payload == b"impatient"


def test_bytes_with_the_101_reach_the_client():
    def serve(wire):
        accept = frames.accept_value(wire.field("Sec-WebSocket-Key").encode())
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade"
                  b"\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
                  + frames.frame(frames.TEXT, b"at once"))
        wire.read_to_end()

    with RawBackend(serve) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address) as client:
            assert client.read_frame().payload == b"at once"


def test_a_head_that_never_ends_is_408():
    with RawBackend(raw_echo) as backend, \
            gateway([backend.port], timeouts={"request_head": "1s"}) as running:
        begun = time.monotonic()
        wire = frames.Wire(frames.connect(running.address), masks=True)
        # One byte at a time: progress does not extend an absolute limit.
        for byte in b"GET / HTTP/1.1\r\n":
            wire.send(bytes([byte]))
            time.sleep(0.05)
        wire.read_head()
        assert wire.status == 408
        assert 0.8 < time.monotonic() - begun < 2.5


def test_a_request_in_segments_of_one_byte():
    with RawBackend(raw_echo) as backend, gateway([backend.port]) as running:
        request, _ = upgrade_request()
        wire = frames.Wire(frames.connect(running.address), masks=True)
        for byte in request:
            wire.send(bytes([byte]))
        wire.read_head()
        assert wire.status == 101


def test_what_the_backend_is_asked():
    with RawBackend(record) as backend, gateway([backend.port]) as running:
        request, key = upgrade_request(host="Gateway.Example:8080", path="/a/b?c=%7E", fields=[
            ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"), ("X_Real_IP", "x"),
            ("Keep-Alive", "timeout=5"), ("Cookie", "a=b"), ("X-Nominated", "drop me"),
            ("Connection", "X-Nominated, Host")])
        with frames.ask(running.address, request) as client:
            assert client.status == 101
        wire = backend.wait_wire()
        assert wire.head.startswith(b"GET /a/b?c=%7E HTTP/1.1\r\n")
        assert wire.fields("Host") == ["Gateway.Example:8080"] or \
            wire.fields("Host") == ["gateway.example:8080"]
        assert wire.fields("X-Forwarded-For") == ["127.0.0.1"]
        assert wire.fields("X-Forwarded-Proto") == ["http"]
        assert wire.fields("X-Real-IP") == ["127.0.0.1"]
        assert wire.field("X_Real_IP") is None
        assert wire.field("Keep-Alive") is None
        assert wire.field("X-Nominated") is None
        assert wire.field("Cookie") == "a=b"
        assert "1.1 bascule" in wire.field("Via")
        assert wire.field("X-Request-Id")
        assert wire.field("Sec-WebSocket-Key") != key
        for name in (b"Sec-WebSocket-Key:", b"Host:", b"Upgrade:", b"Connection:"):
            assert name in wire.head


def test_forwarded_fields_of_a_trusted_proxy_count():
    with RawBackend(record) as backend, \
            gateway([backend.port], trusted_proxies=["127.0.0.0/8"]) as running:
        request, _ = upgrade_request(fields=[
            ("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "public.example"), ("Origin", "https://public.example")])
        with frames.ask(running.address, request) as client:
            assert client.status == 101
        wire = backend.wait_wire()
        assert wire.field("X-Forwarded-For") == "203.0.113.7, 127.0.0.1"
        assert wire.field("X-Forwarded-Proto") == "https"
        assert wire.field("X-Real-IP") == "203.0.113.7"


def test_request_fields_set_and_removed_by_the_route():
    routes = [route(headers={"request": {"set": {"X-Tenant": "blue"}, "remove": ["Cookie"]},
                             "response": {"remove": ["Server"]}})]

    def serve(wire):
        answer_upgrade(wire, b"Server: legacy\r\nX-Other: stays\r\n")
        wire.read_to_end()

    with RawBackend(serve) as backend, gateway([backend.port], routes) as running:
        request, _ = upgrade_request(fields=[("Cookie", "a=b"), ("X-Tenant", "forged")])
        with frames.ask(running.address, request) as client:
            assert client.status == 101
            assert client.field("Server") is None
            assert client.field("X-Other") == "stays"
        assert backend.wait_wire().fields("X-Tenant") == ["blue"]
        assert backend.wait_wire().field("Cookie") is None
