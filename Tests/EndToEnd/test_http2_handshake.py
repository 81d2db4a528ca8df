"""The opening handshake over HTTP/2 (RFC 8441): what is let through, what is refused and how, and
what an HTTP/1.1 backend is asked."""

import socket
import threading
import time

import pytest
from websockets.sync.client import connect as connect_http1

import frames
import h2peer
from certificates import Authority, client_context, pair
from h2peer import NO_ERROR, PROTOCOL_ERROR
from harness import (AsyncBackend, RawBackend, answer_upgrade, echo, free_port, gateway, raw_echo,
                     record, route, wait_until)

PLAIN = {"protocols": ["h2"]}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def echoing():
    routes = [route(host="gateway.example", path="/"),
              route(host="listed.example", origins={"allow": ["https://app.example"]}),
              route(host="off.example", websocket={"mode": "off"})]
    with RawBackend(raw_echo) as backend, \
            gateway([backend.port], routes, listener=PLAIN) as running:
        yield backend, running


@pytest.fixture
def peer(echoing):
    with h2peer.connect(echoing[1].address) as opened:
        yield opened


def test_settings_offer_extended_connect_and_say_the_limits(peer):
    settings = peer.wait_ready()
    assert settings.enable_connect_protocol == 1
    assert settings.max_concurrent_streams == 100
    assert settings.initial_window_size in (65_535, 65_536)
    assert settings.max_frame_size == 16_384
    assert settings.max_header_list_size == 32_768
    peer.run_until(lambda: peer.h2.outbound_flow_control_window >= 1 << 20, what="1 MiB of window")


def test_success_is_200_without_key_or_accept_and_nothing_of_http1(peer):
    stream = peer.ask()
    assert stream.status == 200
    for name in ("sec-websocket-accept", "sec-websocket-key", "upgrade", "connection",
                 "transfer-encoding", "content-length"):
        assert stream.field(name) is None
    assert not stream.is_over


# (keywords of the request, status, fields the response must have)
REFUSED = {
    "another protocol": ({"protocol": "connect-udp"}, 501, {}),
    "version 8": ({"version": "8"}, 400, {"sec-websocket-version": "13"}),
    "an empty version": ({"version": ""}, 400, {"sec-websocket-version": "13"}),
    "no route": ({"host": "unknown.example"}, 404, {}),
    "mode off": ({"host": "off.example"}, 501, {}),
    "a foreign origin": ({"fields": [("origin", "https://evil.example")]}, 403, {}),
    "an origin that is not listed":
        ({"host": "listed.example", "fields": [("origin", "https://evil.example")]}, 403, {}),
    "a missing origin where they are listed": ({"host": "listed.example"}, 403, {}),
    "two origins": ({"fields": [("origin", "http://gateway.example")] * 2}, 403, {}),
    "a host that is another authority": ({"fields": [("host", "other.example")]}, 400, {}),
    "dot segments": ({"path": "/a/../b"}, 400, {}),
    "encoded dot segments": ({"path": "/%2e%2e/b"}, 400, {}),
    "a fragment": ({"path": "/#fragment"}, 400, {}),
    "user information": ({"host": "user@gateway.example"}, 400, {}),
    "a trailing dot": ({"host": "gateway.example."}, 400, {}),
    "101 fields": ({"fields": [("x", "y")] * 101}, 431, {}),
    "101 crumbs of cookies": ({"fields": [("cookie", "a=b")] * 101}, 431, {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_a_whole_response_and_the_connection_stays(echoing, peer, name):
    keywords, status, fields = REFUSED[name]
    before = len(echoing[0].wires)
    stream = peer.extended_connect(checked=False, **keywords)
    assert stream.wait_head() == status
    for key, value in fields.items():
        assert stream.field(key) == value
    length = stream.field("content-length")
    assert len(stream.body()) == int(length or 0)
    # Our side is open: the gateway does not want the rest, which is no error (RFC 9113 8.1).
    assert stream.wait_reset() == NO_ERROR
    assert len(echoing[0].wires) == before, "the backend was reached"
    good = peer.open_websocket()
    good.send_frame(frames.TEXT, b"same connection")
    assert good.read_frame().payload == b"same connection"
    assert not peer.goaways


def test_the_listed_origin_is_accepted(peer):
    peer.open_websocket(host="listed.example", fields=[("origin", "https://app.example")])


@pytest.mark.parametrize("origin, status", [
    ("http://gateway.example", 200), ("https://gateway.example", 403)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_same_origin_goes_by_our_transport_and_not_by_the_scheme_sent(
        peer, origin, status, scheme):
    assert peer.ask(scheme=scheme, fields=[("origin", origin)]).status == status


def test_a_missing_version_is_accepted_and_the_backend_is_asked_for_13(echoing, peer):
    peer.open_websocket(version=None, path="/versionless")
    wire = next(w for w in echoing[0].wires if b"/versionless" in w.head)
    assert wire.fields("Sec-WebSocket-Version") == ["13"]


MALFORMED = {
    "two protocols": h2peer.websocket_fields(fields=[(":protocol", "websocket")]),
    "protocol with GET": [(":method", "GET"), *h2peer.websocket_fields()[1:]],
    "no path": h2peer.websocket_fields(path=None),
    "no scheme": h2peer.websocket_fields(scheme=None),
    "two authorities": h2peer.websocket_fields(fields=[(":authority", "gateway.example")]),
    "a pseudo-field behind a field": [*h2peer.websocket_fields(fields=[("x", "y")]),
                                      (":method", "CONNECT")],
    "an upper-case name": h2peer.websocket_fields(fields=[("X-Upper", "y")]),
    "upgrade": h2peer.websocket_fields(fields=[("upgrade", "websocket")]),
    "connection": h2peer.websocket_fields(fields=[("connection", "upgrade")]),
    "transfer-encoding": h2peer.websocket_fields(fields=[("transfer-encoding", "chunked")]),
    "te": h2peer.websocket_fields(fields=[("te", "gzip")]),
    "a line feed in a value": h2peer.websocket_fields(fields=[("x", "a\nb")]),
    "a carriage return in a value": h2peer.websocket_fields(fields=[("x", "a\rb")]),
    "a zero in a value": h2peer.websocket_fields(fields=[("x", "a\0b")]),
    "a colon in a name": h2peer.websocket_fields(fields=[("x:y", "z")]),
    "an empty name": h2peer.websocket_fields(fields=[("", "z")]),
    "an unknown pseudo-field": [(":path", "/"), *h2peer.websocket_fields(path=None),
                                (":other", "x")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_400_or_a_stream_error(echoing, peer, name):
    before = len(echoing[0].wires)
    stream = peer.request(MALFORMED[name], checked=False)
    peer.run_until(lambda: stream.head or stream.is_over, what="an answer")
    if stream.head:
        assert stream.status == 400
    else:
        assert stream.reset_code == PROTOCOL_ERROR
    assert len(echoing[0].wires) == before, "the backend was reached"
    peer.open_websocket()
    assert not peer.goaways


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_connect_and_trace_are_405_with_allow(peer, method):
    fields = [(":method", method), (":authority", "gateway.example")]
    if method == "TRACE":
        fields += [(":scheme", "http"), (":path", "/")]
    stream = peer.request(fields)
    assert stream.wait_head() == 405
    assert stream.field("allow")


def test_an_authority_that_the_certificate_does_not_cover_is_421(authority):
    listener = {"protocols": ["h2", "http/1.1"], "tls": {
        "certificates": [pair(authority.issue("gateway.example", "*.wild.example"))]}}
    with RawBackend(raw_echo) as backend, gateway([backend.port], listener=listener) as running:
        context = client_context(authority, ["h2"])
        with h2peer.connect(running.address, context=context, name="gateway.example") as peer:
            for host, status in [("gateway.example", 200), ("GATEWAY.example:8443", 200),
                                 ("a.wild.example", 200), ("other.example", 421),
                                 ("wild.example", 421), ("a.b.wild.example", 421)]:
                assert peer.ask(scheme="https", host=host).status == status, host


def test_alpn_chooses_by_the_listeners_order_and_http1_is_served_on_the_same_port(authority):
    listener = {"protocols": ["h2", "http/1.1"],
                "tls": {"certificates": [pair(authority.issue("gateway.example", "127.0.0.1"))]}}
    with AsyncBackend(echo) as backend, gateway([backend.port], listener=listener) as running:
        for offered, chosen in [(["http/1.1", "h2"], "h2"), (["h2"], "h2"),
                                (["http/1.1"], "http/1.1"), (None, None)]:
            context = client_context(authority, offered or ())
            with context.wrap_socket(frames.connect(running.address),
                                     server_hostname="gateway.example") as sock:
                assert sock.selected_alpn_protocol() == chosen
        with connect_http1(running.url(scheme="wss"), ssl=client_context(authority)) as client:
            client.send("over HTTP/1.1")
            assert client.recv(timeout=5) == "over HTTP/1.1"


def test_prior_knowledge_and_http1_share_a_plain_port():
    both = {"protocols": ["h2", "http/1.1"]}
    with AsyncBackend(echo) as backend, gateway([backend.port], listener=both) as running:
        with h2peer.connect(running.address) as peer, connect_http1(running.url()) as old:
            new = peer.open_websocket()
            new.send_frame(frames.TEXT, b"over HTTP/2")
            assert new.read_frame().payload == b"over HTTP/2"
            old.send("over HTTP/1.1")
            assert old.recv(timeout=5) == "over HTTP/1.1"


def test_a_preface_in_segments_of_one_byte_is_prior_knowledge_too():
    both = {"protocols": ["h2", "http/1.1"]}
    with RawBackend(raw_echo) as backend, gateway([backend.port], listener=both) as running:
        sock = frames.connect(running.address)
        sent = bytearray()
        relay, far = socket.socketpair()
        with relay, far, h2peer.Peer(far) as peer:
            sent += relay.recv(1 << 16)
            for byte in sent:
                sock.sendall(bytes([byte]))
            threading.Thread(target=pump, args=(sock, relay), daemon=True).start()
            threading.Thread(target=pump, args=(relay, sock), daemon=True).start()
            peer.open_websocket()
        sock.close()


def pump(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass


def test_what_the_backend_is_asked():
    with RawBackend(record) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        peer.open_websocket(host="Gateway.Example:8080", path="/a/b?c=%7E", fields=[
            ("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https"), ("x_real_ip", "x"),
            ("cookie", "a=b"), ("cookie", "c=d"), ("via", "2 other"), ("cookie", "e=f"),
            ("sec-websocket-protocol", "one, two"), ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ("http2-settings", "AAMAAABk")])
        wire = backend.wait_wire()
        assert wire.head.startswith(b"GET /a/b?c=%7E HTTP/1.1\r\n")
        assert [host.lower() for host in wire.fields("Host")] == ["gateway.example:8080"]
        assert wire.fields("Upgrade") == ["websocket"]
        assert wire.fields("Connection") == ["Upgrade"]
        assert wire.fields("X-Forwarded-For") == ["127.0.0.1"]
        assert wire.fields("X-Forwarded-Proto") == ["http"]
        assert wire.fields("X-Real-IP") == ["127.0.0.1"]
        assert wire.field("X_Real_IP") is None
        assert wire.field("HTTP2-Settings") is None
        assert wire.fields("Cookie") == ["a=b; c=d; e=f"]
        assert ", ".join(wire.fields("Via")) == "2 other, 2 bascule"
        assert wire.field("X-Request-Id")
        assert wire.fields("Sec-WebSocket-Protocol") == ["one, two"]
        assert wire.fields("Sec-WebSocket-Version") == ["13"]
        assert len(wire.fields("Sec-WebSocket-Key")) == 1
        assert wire.field("Sec-WebSocket-Key") != "AAAAAAAAAAAAAAAAAAAAAA=="
        assert not any(line.startswith(b":") for line in wire.head.split(b"\r\n"))
        for name in (b"Sec-WebSocket-Key:", b"Host:", b"Upgrade:", b"Connection:"):
            assert name in wire.head


def test_over_tls_the_backend_is_told_https_whatever_the_scheme(authority):
    listener = {"protocols": ["h2"], "tls": {
        "certificates": [pair(authority.issue("gateway.example"))]}}
    with RawBackend(record) as backend, gateway([backend.port], listener=listener) as running:
        context = client_context(authority, ["h2"])
        with h2peer.connect(running.address, context=context, name="gateway.example") as peer:
            peer.open_websocket(scheme="http", fields=[("origin", "https://gateway.example")])
            assert backend.wait_wire().fields("X-Forwarded-Proto") == ["https"]


def test_the_subprotocol_chosen_by_the_backend_reaches_the_client():
    with RawBackend(lambda wire: answer_upgrade(wire, b"Sec-WebSocket-Protocol: two\r\n")) as backend, \
            gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        stream = peer.ask(fields=[("sec-websocket-protocol", "one, two")])
        assert (stream.status, stream.field("sec-websocket-protocol")) == (200, "two")
        assert peer.ask(fields=[("sec-websocket-protocol", "one")]).status == 502


def test_only_offers_of_permessage_deflate_go_through():
    with RawBackend(record) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        peer.open_websocket(fields=[
            ("sec-websocket-extensions", "x-other, permessage-deflate; client_max_window_bits")])
        offered = backend.wait_wire().field("Sec-WebSocket-Extensions")
        assert offered.startswith("permessage-deflate") and "x-other" not in offered


def test_the_log_says_h2():
    with RawBackend(raw_echo) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        peer.open_websocket(path="/chat", fields=[("origin", "http://gateway.example")])
        opened = running.wait_event(event="open")
        assert opened["protocol"] == "h2", opened
        assert opened["path"] == "/chat" and opened["host"] == "gateway.example"
        assert opened["origin"] == "http://gateway.example"


# Before the answer

def test_data_before_the_200_is_held_and_passes_afterwards():
    """Nothing a client sends goes anywhere before the backend's answer was validated, its credit
    is not extended meanwhile, and the other streams do not notice."""
    early = b"".join(frames.frame(frames.TEXT, b"%05d" % n * 20, mask=b"wxyz") for n in range(500))
    assert 50_000 < len(early) < 65_535

    def serve(wire):
        if b"/other" in wire.head:
            return raw_echo(wire)
        wire.go = threading.Event()
        wire.go.wait(10)
        wire.sock.setblocking(False)
        try:
            wire.early = wire.buffer + wire.sock.recv(1)
        except BlockingIOError:
            wire.early = wire.buffer
        wire.sock.settimeout(10)
        record(wire)

    with RawBackend(serve) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        stream = peer.extended_connect()
        window = stream.window()
        stream.sendall(early)
        wire = backend.wait_wire()
        other = peer.open_websocket(path="/other")
        other.send_frame(frames.TEXT, b"meanwhile")
        assert other.read_frame().payload == b"meanwhile"
        peer.ping()
        assert stream.window() == window - len(early)
        wire.go.set()
        assert stream.wait_head() == 200
        wait_until(lambda: len(getattr(wire, "received", b"")) >= len(early), what="the held bytes")
        assert wire.early == b"" and wire.received == early
        peer.run_until(lambda: stream.window() == window, what="the credit")


def test_data_before_a_refusal_is_dropped_and_the_stream_reset_without_error():
    def refuse(wire):
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\nX-Why: no\r\n"
                  b"Connection: X-Why\r\nSet-Cookie: a=b\r\n\r\nnever")
        wire.rest, _ = wire.read_to_end()

    with RawBackend(refuse) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        stream = peer.extended_connect()
        stream.sendall(frames.frame(frames.TEXT, b"early", mask=b"wxyz"))
        assert stream.wait_head() == 403
        assert stream.field("set-cookie") == "a=b"
        assert stream.field("connection") is None and stream.field("x-why") is None
        assert stream.body() == b"never"
        assert stream.wait_reset() == NO_ERROR
        wire = backend.wait_wire()
        wait_until(lambda: hasattr(wire, "rest"), what="the backend's end")
        assert wire.rest == b"", "something was written upstream"


@pytest.mark.parametrize("answer, body", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", b""),
    (b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
    (b"HTTP/1.1 500 Oops\r\n\r\nuntil the end", b"until the end"),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000, b"x" * 200_000),
    (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", b"no"),
])
def test_another_final_answer_is_relayed_with_its_body(answer, body):
    def serve(wire):
        wire.send(answer)
        if b"until the end" not in answer:
            wire.read_to_end()

    with RawBackend(serve) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address, stream_window=1 << 20) as peer:
        stream = peer.ask()
        assert stream.status == int(answer.rsplit(b"HTTP/1.1 ", 1)[1][:3])
        assert stream.field("location") == ("/login" if b"302" in answer else None)
        assert stream.field("transfer-encoding") is None
        assert stream.body() == body
        assert stream.wait_reset() == NO_ERROR
        assert peer.ping() < 1


BROKEN = {
    "wrong accept": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
    "not HTTP": b"220 mail.example ESMTP\r\n\r\n",
    "both lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_502(name):
    with RawBackend(lambda wire: wire.send(BROKEN[name])) as backend, \
            gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        stream = peer.ask()
        assert stream.status == 502
        assert stream.wait_reset() == NO_ERROR


def test_a_relayed_body_that_breaks_off_is_no_whole_response():
    def serve(wire):
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nnot all")

    with RawBackend(serve) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        stream = peer.ask()
        assert stream.status == 403
        assert stream.wait_over() not in (None, NO_ERROR) and not stream.ended


def test_a_silent_backend_is_504_and_nobody_listening_is_503_at_once():
    with RawBackend(lambda wire: wire.read_to_end()) as backend, \
            gateway([backend.port], listener=PLAIN, timeouts={"upgrade": "1s"}) as running, \
            h2peer.connect(running.address) as peer:
        begun = time.monotonic()
        assert peer.ask().status == 504
        assert 0.8 < time.monotonic() - begun < 3
    with gateway([free_port()], listener=PLAIN) as running, h2peer.connect(running.address) as peer:
        begun = time.monotonic()
        assert peer.ask().status == 503
        assert time.monotonic() - begun < 1
