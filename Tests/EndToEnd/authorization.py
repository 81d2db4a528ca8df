"""A gateway whose routes ask a service (`authorize`), with that service and a backend behind it."""

import contextlib

import frames
import h2peer
from http_backends import HTTPBackend
from http_fronts import HTTP1, proxy
from harness import answer_upgrade, route

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
    """The head of the answer to a handshake; its `ws` is a raw WebSocket, when it has succeeded."""
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
