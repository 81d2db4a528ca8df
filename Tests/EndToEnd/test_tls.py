"""TLS towards clients and towards backends, with certificates from OpenSSL's command line."""

import contextlib
import json
import ssl
import subprocess
import time

import pytest
from websockets.sync.client import connect

import frames
from certificates import Authority, client_context, pair
from frames import upgrade_request
from harness import AsyncBackend, RawBackend, echo, free_port, raw_echo, route, run_gateway


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def tls_gateway(certificates, endpoints, upstream=None, **tls):
    port = free_port()
    addresses = [f"127.0.0.1:{e}" if isinstance(e, int) else e for e in endpoints]
    text = "\n".join([
        "workers: 1", "listeners:",
        "  - " + json.dumps({"bind": f"127.0.0.1:{port}",
                             "tls": {"certificates": [pair(c) for c in certificates], **tls}}),
        "upstreams:", "  backend: " + json.dumps({"endpoints": addresses, **(upstream or {})}),
        "routes:", "  - " + route(), "timeouts: {drain: 2s, tls_handshake: 1s}", ""])
    with run_gateway(text, [port]) as running:
        yield running


def connect_tls(running, context, name):
    return context.wrap_socket(frames.connect(running.address), server_hostname=name)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_verified_client_over_each_version(authority, version):
    context = client_context(authority, minimum_version=version, maximum_version=version)
    with AsyncBackend(echo) as backend, \
            tls_gateway([authority.issue("one.example", "127.0.0.1")], [backend.port]) as running:
        with connect(running.url(scheme="wss"), ssl=context, max_size=None,
                     compression=None) as client:
            for size in [0, 1, 125, 16_384, 65_536, 1 << 20]:
                client.send(b"x" * size)
                assert client.recv(timeout=10) == b"x" * size
        assert client.close_code == 1000
        word = {ssl.TLSVersion.TLSv1_2: "1.2", ssl.TLSVersion.TLSv1_3: "1.3"}[version]
        running.wait_event(event="close", protocol="http/1.1", tls=word)


def test_the_certificate_follows_the_name(authority):
    certificates = [authority.issue("one.example"), authority.issue("two.example", "*.three.example")]
    with RawBackend(raw_echo) as backend, tls_gateway(certificates, [backend.port]) as running:
        for name in ["one.example", "two.example", "a.three.example"]:
            with connect_tls(running, client_context(authority), name) as sock:
                names = {value for _, value in sock.getpeercert()["subjectAltName"]}
                assert name in names or "*.three.example" in names
        for name in ["b.a.three.example", "three.example", "unknown.example"]:
            with pytest.raises(ssl.SSLCertVerificationError):
                connect_tls(running, client_context(authority), name)


def test_old_versions_are_refused(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with RawBackend(raw_echo) as backend, \
            tls_gateway([authority.issue("one.example")], [backend.port]) as running:
        with pytest.raises((ssl.SSLError, OSError)):
            connect_tls(running, context, "one.example")


@pytest.mark.parametrize("offered, chosen", [(["http/1.1"], "http/1.1"), ([], None)])
def test_alpn(authority, offered, chosen):
    context = client_context(authority)
    if offered:
        context.set_alpn_protocols(offered)
    with RawBackend(raw_echo) as backend, \
            tls_gateway([authority.issue("one.example")], [backend.port]) as running:
        with connect_tls(running, context, "one.example") as sock:
            assert sock.selected_alpn_protocol() == chosen


def test_plain_http_on_the_tls_port_and_silence_end_soon(authority):
    with RawBackend(raw_echo) as backend, \
            tls_gateway([authority.issue("one.example")], [backend.port]) as running:
        wire = frames.Wire(frames.connect(running.address), masks=True)
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wire.read_to_end()
        running.wait_event(message="TLS with a client failed", reason="plain HTTP on a TLS port")
        begun = time.monotonic()
        frames.Wire(frames.connect(running.address), masks=True).read_to_end()
        assert 0.8 < time.monotonic() - begun < 3, "tls_handshake is 1 s here"


def test_the_backend_learns_that_the_client_used_tls(authority):
    with RawBackend(raw_echo) as backend, \
            tls_gateway([authority.issue("one.example")], [backend.port]) as running:
        sock = connect_tls(running, client_context(authority), "one.example")
        fields = [("Origin", "https://one.example")]
        with frames.open_websocket(None, sock=sock, host="one.example", fields=fields) as client:
            client.send_frame(frames.TEXT, b"x" * 40_000)
            assert len(client.read_frame().payload) == 40_000
        assert backend.wait_wire().field("X-Forwarded-Proto") == "https"


def server_context(issued):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued)
    return context


@pytest.mark.parametrize("names, trusted, settings, status", [
    (["backend.example"], True, {"server_name": "backend.example"}, 101),
    (["127.0.0.1"], True, {}, 101),
    (["other.example"], True, {"server_name": "backend.example"}, 503),
    (["backend.example"], False, {"server_name": "backend.example"}, 503),
    (["other.example"], False, {"server_name": "backend.example", "verify": False}, 101),
])
def test_a_backend_over_tls_is_verified(authority, tmp_path, names, trusted, settings, status):
    issuer = authority if trusted else Authority(tmp_path, "stranger")
    with RawBackend(raw_echo, tls=server_context(issuer.issue(*names))) as backend, \
            tls_gateway([authority.issue("one.example")], [backend.port],
                        upstream={"tls": {"ca": str(authority.certificate), **settings}}) as running:
        sock = connect_tls(running, client_context(authority), "one.example")
        with frames.Wire(sock, masks=True) as client:
            client.send(upgrade_request(host="one.example")[0])
            client.read_head()
            # Which of the two a refused certificate gets is the fault table's business.
            assert client.status == status or {client.status, status} == {502, 503}
            if client.status == 101:
                data = bytes(200_000)
                client.send_frame(frames.BINARY, data)
                assert client.read_frame().payload == data


def test_openssl_agrees_that_renegotiation_and_compression_are_off(authority):
    with RawBackend(raw_echo) as backend, \
            tls_gateway([authority.issue("one.example")], [backend.port]) as running:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{running.ports[0]}", "-tls1_2",
             "-servername", "one.example"], input=b"R\n", capture_output=True, timeout=15)
        text = (done.stdout + done.stderr).decode(errors="replace")
        assert "Compression: NONE" in text
        assert "no renegotiation" in text or "error" in text
