"""What routes do beside passing a request on: redirects, fixed responses and rewritten paths; which
Host and Forwarded backends see; the limit of bodies; and PROXY headers in both directions."""

import contextlib
import json
import socket
import ssl
import struct
import time

import pytest

import frames
import h2peer
from certificates import Authority, client_context, pair
from harness import RawBackend, free_port, gateway, raw_echo, route, run_gateway

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TRUSTED = {"trusted_proxies": ["127.0.0.0/8"]}
PROXIED = {"proxy_protocol": "accept", "protocols": ["h2", "http/1.1"]}
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 4660 443\r\n"
BLOCK = SIGNATURE + bytes([0x21, 0x11, 0, 15]) + bytes([192, 0, 2, 7, 198, 51, 100, 1]) \
    + struct.pack("!HH", 4660, 443) + b"\x04\0\0"
SIX = b"PROXY TCP6 2001:db8::7 ::1 4660 443\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


def action(**keys):
    """A route without an upstream."""
    return json.dumps(keys)


def get(address, path="/", host="gateway.example", method="GET", fields=""):
    wire = frames.ask(
        address, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode())
    wire.body = b"" if method == "HEAD" else wire.read(int(wire.field("Content-Length") or 0))
    return wire


# Answers of our own

ROUTES = [
    action(path="/plain", redirect="https"), action(path="/port", redirect="https:8443"),
    action(path="/moved", redirect={"to": "https://www.example.com/new?a=b", "status": 301}),
    action(path="/here", redirect="/there#x"),
    action(path="= /alive", respond={"body": "alive\n"}),
    action(path="/none", respond={"status": 204}),
    action(path="/later", respond={"status": 503, "body": "<p>later", "content_type": "text/html"},
           headers={"response": {"set": {"Retry-After": "60"}, "remove": ["Cache-Control"]}}),
    route(path="/plain/but/this"), route(path="/small", limits={"request_body": "16"})]


def echo_or_204(wire):
    if wire.field("Upgrade"):
        return raw_echo(wire)
    wire.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    wire.read_to_end()


@pytest.fixture(scope="module")
def answering():
    with RawBackend(echo_or_204) as backend, gateway(
            [backend.port], ROUTES, listener={"protocols": ["h2", "http/1.1"]},
            **TRUSTED) as running:
        yield backend, running


ANSWERS = [
    ("/plain/a?b=%20c", 308, "https://gateway.example/plain/a?b=%20c"),
    ("/plain", 308, "https://gateway.example/plain"),
    ("/port/", 308, "https://gateway.example:8443/port/"),
    ("/moved/x", 301, "https://www.example.com/new?a=b"), ("/here", 302, "/there#x"),
    ("/alive", 200, None), ("/none/x", 204, None), ("/later", 503, None)]


@pytest.mark.parametrize("path,status,location", ANSWERS)
def test_routes_answer_alike_over_both_protocols(answering, path, status, location):
    backend, running = answering
    wire = get(running.address, path, host="gateway.example:8080")
    assert (wire.status, wire.field("Location")) == (status, location)
    # An upgrade is answered like any other request.
    request, _ = frames.upgrade_request(path=path, host="gateway.example:8080")
    asked = frames.ask(running.address, request)
    assert (asked.status, asked.field("Location")) == (status, location)
    assert asked.field("Upgrade") is None
    with h2peer.connect(running.address) as peer:
        for stream in (peer.get(path, host="gateway.example:8080"),
                       peer.extended_connect(path=path, host="gateway.example:8080")):
            assert stream.wait_head() == status
            assert stream.field("location") == location
            stream.wait_over()
            assert stream.body() == wire.body
    assert not backend.wires, "the backend was reached"


def test_a_fixed_response_has_its_fields_and_the_connection_goes_on(answering):
    _, running = answering
    with get(running.address, "/later") as wire:
        assert wire.body == b"<p>later" and wire.field("Content-Type") == "text/html"
        assert wire.field("Retry-After") == "60" and wire.field("Cache-Control") is None
        wire.send(b"HEAD /alive HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n")
        wire.read_head()
        assert wire.status == 200 and wire.field("Content-Length") == "6"
        wire.read_head()
        assert wire.status == 204 and wire.field("Content-Length") is None
    assert running.wait_event(event="http", path="/later", status=503)["route"] == "*/later"


def test_a_redirect_to_https_is_for_those_who_came_without(answering):
    _, running = answering
    secure = "X-Forwarded-Proto: https\r\n"
    assert get(running.address, "/plain/x", fields=secure).status == 404
    wire = get(running.address, "/plain/x", fields="X-Forwarded-Host: b.example\r\n")
    assert wire.field("Location") == "https://b.example/plain/x"


def test_a_request_without_a_host_cannot_be_sent_to_https(answering):
    _, running = answering
    assert frames.ask(running.address, b"GET /plain HTTP/1.0\r\n\r\n").status == 400


@pytest.mark.parametrize("count,is_refused", [(16, False), (17, True), (10 ** 18, True)])
def test_a_body_over_the_limit_is_refused_before_it_is_sent(answering, count, is_refused):
    _, running = answering
    head = f"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: {count}\r\n\r\n".encode()
    wire = frames.ask(running.address, head)
    assert wire.status == (413 if is_refused else 204)
    if is_refused:
        assert wire.field("Connection") == "close"
        running.wait_event(event="http", status=413, fault="body_too_large")


# What the backend is asked

@pytest.mark.parametrize("path,expected", [
    ("/chat", "/v2"), ("/chat/", "/v2/"), ("/chat/a%20b;c/?d=/chat", "/v2/a%20b;c/?d=/chat"),
    ("/chat?", "/v2?"), ("/only/x", "/x"), ("/only", "/"), ("/other", "/v3/other")])
@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_the_path_is_rewritten(rewriting, path, expected, protocol):
    backend, running = rewriting
    before = len(backend.wires)
    if protocol == "h2":
        with h2peer.connect(running.address) as peer:
            assert peer.ask(path=path).status == 200
    else:
        frames.open_websocket(running.address, path=path).close()
    head = backend.wait_wire(before).head
    assert head.startswith(f"GET {expected} HTTP/1.1\r\n".encode()), head


@pytest.fixture(scope="module")
def rewriting():
    routes = [route(path="/chat", rewrite={"strip_prefix": "/chat", "add_prefix": "/v2"}),
              route(path="/only", rewrite={"strip_prefix": "/only"}),
              route(path="/", rewrite={"add_prefix": "/v3/"})]
    with RawBackend(raw_echo) as backend, gateway(
            [backend.port], routes, listener={"protocols": ["h2", "http/1.1"]}) as running:
        yield backend, running


@pytest.mark.parametrize("path", ["/chat//admin", "/only//", "//x"])
def test_a_path_that_would_become_another_is_refused(rewriting, path):
    backend, running = rewriting
    before = len(backend.wires)
    request, _ = frames.upgrade_request(path=path)
    assert frames.ask(running.address, request).status == 400
    assert len(backend.wires) == before


@pytest.mark.parametrize("choice,expected", [
    ("preserve", "a.example:81"), ("b.example", "b.example"), ("endpoint", None)])
def test_the_host_is_what_the_upstream_says(choice, expected):
    with RawBackend(raw_echo) as backend, RawBackend(raw_echo) as other, \
            gateway([backend.port, other.port], upstream={"host": choice}) as running:
        for each in (backend, other):
            frames.open_websocket(running.address, host="a.example:81").close()
            wire = each.wait_wire()
            assert wire.fields("Host") == [expected or f"127.0.0.1:{each.port}"]
            assert wire.field("X-Forwarded-Host") == "a.example:81"


def test_the_next_endpoint_gets_its_own_host():
    dead = free_port()
    with RawBackend(raw_echo) as backend, \
            gateway([dead, backend.port], upstream={"host": "endpoint"}) as running:
        for index in range(2):
            frames.open_websocket(running.address).close()
            assert backend.wait_wire(index).fields("Host") == [f"127.0.0.1:{backend.port}"]


def test_forwarded_says_who_came_and_how():
    with RawBackend(raw_echo) as backend, gateway(
            [backend.port], upstream={"forwarded": True}, trusted_proxies=["127.0.0.2"]) as running:
        lies = [("Forwarded", "for=1.2.3.4")]
        frames.open_websocket(running.address, host="a.example:81", fields=lies).close()
        assert backend.wait_wire().fields("Forwarded") == [
            'for=127.0.0.1;host="a.example:81";proto=http']


# PROXY headers of clients

@contextlib.contextmanager
def proxied(backend, listener=None, **sections):
    sections = {**TRUSTED, **sections}
    with gateway([backend.port], listener={**PROXIED, **(listener or {})}, **sections) as running:
        yield running


def opened(running, header, pieces=1, **keywords):
    """A WebSocket behind a PROXY header, sent in one piece with its request or byte by byte."""
    request, _ = frames.upgrade_request(**keywords)
    data = header + request
    wire = frames.Wire(frames.connect(running.address), masks=True)
    for start in range(0, len(header), 1 if pieces > 1 else len(data)):
        wire.send(data[start:start + 1] if pieces > 1 else data)
        time.sleep(0.001 if pieces > 1 else 0)
    if pieces > 1:
        wire.send(request)
    wire.read_head()
    return wire


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("header,client", [
    (LINE, "192.0.2.7"), (BLOCK, "192.0.2.7"), (SIX, "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (SIGNATURE + b"\x20\0\0\0", "127.0.0.1")])
def test_the_client_is_whom_the_header_names(header, client, pieces):
    with RawBackend(raw_echo) as backend, proxied(backend) as running:
        with opened(running, header, pieces) as wire:
            assert wire.status == 101
            wire.send_frame(frames.TEXT, b"hello")
            assert wire.read_frame().payload == b"hello"
        assert backend.wait_wire().field("X-Real-IP") == client
        running.wait_event(event="open", client=client)


def test_who_is_announced_is_no_trusted_proxy():
    with RawBackend(raw_echo) as backend, proxied(backend) as running:
        lies = [("X-Forwarded-For", "1.2.3.4")]
        opened(running, LINE, fields=lies).close()
        assert backend.wait_wire().fields("X-Forwarded-For") == ["192.0.2.7"]


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_the_header_comes_before_tls(authority, protocol):
    issued = authority.issue("gateway.example")
    listener = {"tls": {"certificates": [pair(issued)]}}
    context = client_context(authority, [protocol])
    with RawBackend(raw_echo) as backend, proxied(backend, listener) as running:
        sock = frames.connect(running.address)
        sock.sendall(BLOCK)
        sock = context.wrap_socket(sock, server_hostname="gateway.example")
        if protocol == "h2":
            with h2peer.Peer(sock, timeout=10) as peer:
                assert peer.ask(scheme="https").status == 200
        else:
            frames.open_websocket(None, sock=sock).close()
        wire = backend.wait_wire()
        assert wire.field("X-Forwarded-For") == "192.0.2.7"
        assert wire.field("X-Forwarded-Proto") == "https"


def test_http2_without_tls_begins_behind_the_header():
    with RawBackend(raw_echo) as backend, proxied(backend, {"protocols": ["h2"]}) as running:
        sock = frames.connect(running.address)
        sock.sendall(LINE)
        with h2peer.Peer(sock, timeout=10) as peer:
            assert peer.ask().status == 200
        assert backend.wait_wire().field("X-Real-IP") == "192.0.2.7"


def is_cut(sock):
    sock.settimeout(5)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("data,reason", [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "no-proxy-header"),
    (LINE.replace(b"\r\n", b"\n"), "malformed-proxy-line"),
    (b"PROXY UNKNOWN " + b"x" * 120, "proxy-header-too-long"),
    (SIGNATURE + b"\x21\x11\xff\xff", "proxy-header-too-long"), (b"PROXY TCP4 1", "timed-out")])
def test_no_header_no_answer(data, reason):
    with RawBackend(raw_echo) as backend, \
            proxied(backend, timeouts={"request_head": "300ms"}) as running:
        with frames.connect(running.address) as sock:
            sock.sendall(data)
            assert is_cut(sock)
        event = running.wait_event(reason=reason)
        assert event["client"].startswith("127.0.0.1:")
        assert not backend.wires


def test_a_header_of_anybody_else_is_not_even_read():
    with RawBackend(raw_echo) as backend, \
            proxied(backend, trusted_proxies=["192.0.2.0/24"]) as running:
        with frames.connect(running.address) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(LINE)
            assert is_cut(sock)
        running.wait_event(reason="not-a-trusted-proxy")


# PROXY headers to backends

def read_behind_block(wire):
    """Where the block's first bytes were taken for a head, the request comes now."""
    assert wire.head == b""
    wire.read_head()
    wire.head = b"\r\n\r\n" + wire.head
    raw_echo(wire)


@pytest.mark.parametrize("announced", [False, True])
def test_the_backend_is_told_the_client_in_a_line(announced):
    with RawBackend(raw_echo) as backend:
        if announced:
            with gateway([backend.port], upstream={"proxy_protocol": "v1"}, listener=PROXIED,
                         **TRUSTED) as running:
                opened(running, LINE).close()
                source, port = "192.0.2.7", "4660"
        else:
            with gateway([backend.port], upstream={"proxy_protocol": "v1"}) as running:
                with frames.open_websocket(running.address) as wire:
                    source, port = wire.sock.getsockname()
        line = backend.wait_wire().head.split(b"\r\n")[0].decode().split(" ")
        assert line == ["PROXY", "TCP4", source, "127.0.0.1", str(port), str(running.ports[0])]


def test_the_backend_is_told_the_client_in_a_block():
    with RawBackend(read_behind_block) as backend, \
            gateway([backend.port], upstream={"proxy_protocol": "v2"}) as running:
        with frames.open_websocket(running.address) as wire:
            port = wire.sock.getsockname()[1]
            head = backend.wait_wire().head
        local = bytes([127, 0, 0, 1])
        expected = SIGNATURE + bytes([0x21, 0x11, 0, 12]) + local + local \
            + struct.pack("!HH", port, running.ports[0])
        assert head.startswith(expected + b"GET / HTTP/1.1\r\n")


def test_the_header_to_a_backend_comes_before_tls(authority):
    issued = authority.issue("backend.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued)
    upstream = {"proxy_protocol": "v1",
                "tls": {"server_name": "backend.example", "ca": str(authority.certificate)}}
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, gateway([listener.getsockname()[1]], upstream=upstream) as running:
        client = frames.Wire(frames.connect(running.address), masks=True)
        with client:
            client.send(frames.upgrade_request()[0])
            listener.settimeout(5)
            sock, _ = listener.accept()
            sock.settimeout(5)
            line = b""
            while not line.endswith(b"\n"):
                line += sock.recv(1)
            assert line.startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
            wire = frames.Wire(context.wrap_socket(sock, server_side=True), masks=False)
            with wire:
                assert wire.read_head().startswith(b"GET / HTTP/1.1\r\n")
