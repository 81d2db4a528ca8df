"""Which of several endpoints a client gets: by weight, by load, by a hash, by its cookie, and when one
is down. Always seen from outside, with backends that say who they are."""

import contextlib
import http.cookies

import pytest

import frames
import h2peer
from certificates import Authority, client_context, pair
from harness import (RawBackend, answer_upgrade, configuration, free_port, route, run_gateway,
                     wait_until)

SECRET = "a secret for the tests alone"


def named(name):
    """A backend that says its name and then holds the connection until the client closes."""
    def serve(wire):
        answer_upgrade(wire, f"X-Backend: {name}\r\n".encode())
        with contextlib.suppress(frames.Ended):
            wire.read_until(frames.CLOSE)
            wire.send_frame(frames.CLOSE, frames.close_payload(1000))
    return serve


def refusing(name):
    """A backend that wants no WebSocket."""
    def serve(wire):
        wire.send(f"HTTP/1.1 403 Forbidden\r\nX-Backend: {name}\r\nContent-Length: 0\r\n\r\n".encode())
    return serve


@contextlib.contextmanager
def balanced(endpoints, workers=2, listener=None, sections=None, **upstream):
    port = free_port()
    endpoints = [f"127.0.0.1:{e}" if isinstance(e, int) else e for e in endpoints]
    listener = {"protocols": ["h2", "http/1.1"], **(listener or {})}
    text = configuration(port, endpoints, [route()], listener=listener, upstream=upstream,
                         **(sections or {}))
    with run_gateway(text.replace("workers: 1", f"workers: {workers}"), [port]) as running:
        yield running


@pytest.fixture(scope="module")
def backends():
    with RawBackend(named("a")) as a, RawBackend(named("b")) as b:
        yield a, b


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


def ask(running, *fields):
    """The answer to a handshake over HTTP/1.1, on a connection of its own."""
    request, _ = frames.upgrade_request(fields=fields)
    return frames.ask(running.address, request)


def close(wire):
    """A closing handshake, after which the gateway has nothing left of the bridge."""
    wire.send_close()
    with contextlib.suppress(frames.Ended):
        wire.read_to_end()
    wire.close()


def who(running, *fields):
    """The name of the backend that a new WebSocket over HTTP/1.1 gets."""
    with ask(running, *fields) as wire:
        assert wire.status == 101, wire.head
        return wire.field("X-Backend")


def who_http2(running, *fields, context=None):
    """The same over HTTP/2: the name, and the Set-Cookie of the answer."""
    fields = [(name.lower(), value) for name, value in fields]
    with h2peer.connect(running.address, context, "gateway.example" if context else None) as peer:
        stream = peer.ask(fields=fields, scheme="https" if context else "http")
        assert stream.status == 200, stream.head
        return stream.field("x-backend"), stream.field("set-cookie")


def crumb(set_cookie):
    """What a browser sends back for a Set-Cookie."""
    return ("Cookie", set_cookie.split(";")[0])


def weighted(backend, weight=1, most=None):
    return {"address": f"127.0.0.1:{backend.port}", "weight": weight,
            "max_connections": most or "off"}


# Ways to choose

def test_in_turn_every_worker_gives_each_its_weight(backends):
    a, b = backends
    with balanced([weighted(a, 3), weighted(b, 1)], workers=1) as running:
        names = [who(running) for _ in range(16)]
    assert names.count("a") == 12 and names.count("b") == 4
    assert "bb" not in "".join(names)


def test_two_workers_in_turn_spread_evenly(backends):
    with balanced([b.port for b in backends]) as running:
        names = [who(running) for _ in range(40)]
    assert 18 <= names.count("a") <= 22


def test_least_connections_counts_the_open_bridges_of_all_workers_and_protocols(backends):
    with balanced([b.port for b in backends], balance="least_connections") as running, \
            h2peer.connect(running.address) as peer:
        wires = [ask(running) for _ in range(10)]
        names = [wire.field("X-Backend") for wire in wires]
        names += [peer.ask().field("x-backend") for _ in range(10)]
        assert names.count("a") == names.count("b") == 10
        gone = [wire for wire in wires if wire.field("X-Backend") == "a"]
        for wire in gone:
            close(wire)
        wait_until(lambda: len([e for e in running.events if e.get("event") == "close"])
                   == len(gone), what="close lines")
        more = [ask(running) for _ in range(len(gone))]
        assert [wire.field("X-Backend") for wire in more] == ["a"] * len(gone)
        for wire in wires + more:
            wire.close()


@pytest.mark.parametrize("balance", ["round_robin", "least_connections", "random_two", "hash"])
def test_a_full_endpoint_gets_no_more_and_a_full_upstream_is_503_at_once(backends, balance):
    a, b = backends
    with balanced([weighted(a, most=1), weighted(b, most=2)], balance=balance, queue=0) as running:
        wires = [ask(running) for _ in range(3)]
        assert sorted(wire.field("X-Backend") for wire in wires) == ["a", "b", "b"]
        with ask(running) as refused:
            assert refused.status == 503 and refused.field("Retry-After")
        assert running.wait_event(event="http", status=503, fault="no_endpoint",
                                  detail="full")
        full = next(wire for wire in wires if wire.field("X-Backend") == "a")
        close(full)
        running.wait_event(event="close")
        assert who(running) == "a"
        for wire in wires:
            wire.close()


def test_a_hash_keeps_clients_together_over_workers_protocols_and_gateways(backends):
    a, b = backends
    keys = {"balance": "hash", "hash": "header X-Room"}
    with balanced([a.port, b.port], **keys) as one, balanced([b.port, a.port], **keys) as other:
        rooms = {}
        for room in [f"room-{number}" for number in range(12)]:
            field = ("X-Room", room)
            names = {who(one, field), who(one, field), who(other, field), who_http2(one, field)[0]}
            assert len(names) == 1, room
            rooms[room] = names.pop()
        assert set(rooms.values()) == {"a", "b"}


# Down and back

def test_an_endpoint_that_refuses_is_taken_out_and_nobody_notices(backends):
    dead = free_port()
    with balanced([dead, backends[0].port], workers=1) as running:
        for _ in range(20):
            assert who(running) == "a"
        event = running.wait_event(message="endpoint taken out")
        assert event["endpoint"] == f"127.0.0.1:{dead}" and event["upstream"] == "backend"
    last = running.wait_event(message="stopped")
    assert last["connect_failures"] == 3 and last["endpoints_ejected"] == 1


def test_an_upstream_that_is_down_is_503_at_once_and_back_soon_after_it_is_back():
    port = free_port()
    with balanced([port]) as running:
        def answer():
            with ask(running) as wire:
                return wire.status
        assert [answer() for _ in range(5)] == [503] * 5
        running.wait_event(message="endpoint taken out")
        running.wait_event(event="http", fault="no_endpoint", detail="down")
        with RawBackend(named("late"), address=("127.0.0.1", port)):
            wait_until(lambda: answer() == 101, 5, "the first success")
            running.wait_event(message="endpoint is back", endpoint=f"127.0.0.1:{port}")
            assert [answer() for _ in range(5)] == [101] * 5


# The cookie

def sticky(**keys):
    return {"sticky": {"cookie": "BASCULE_CHAT", "secret": SECRET, **keys}}


def test_a_cookie_brings_a_client_back_on_every_worker_protocol_and_gateway(backends):
    a, b = backends
    with balanced([a.port, b.port], **sticky()) as one, \
            balanced([b.port, a.port], balance="random_two", **sticky()) as other:
        values = {}
        for _ in range(4):
            with ask(one) as first:
                values[first.field("X-Backend")] = first.field("Set-Cookie")
        assert set(values) == {"a", "b"} and len(set(values.values())) == 2
        for name, value in values.items():
            for running in (one, other):
                for _ in range(6):
                    with ask(running, crumb(value)) as again:
                        assert again.status == 101 and again.field("X-Backend") == name
                        assert again.fields("Set-Cookie") == []
                    assert who_http2(running, crumb(value)) == (name, None)
        name, value = who_http2(one)
        assert value == values[name]


def test_the_cookie_is_out_of_reach_of_scripts_and_says_nothing(backends):
    with balanced([b.port for b in backends], **sticky(same_site="strict")) as running:
        with ask(running) as wire:
            assert len(wire.fields("Set-Cookie")) == 1
            value = wire.field("Set-Cookie")
    morsel = http.cookies.SimpleCookie(value)["BASCULE_CHAT"]
    assert morsel["path"] == "/" and morsel["httponly"] and morsel["samesite"] == "Strict"
    assert not morsel["secure"] and not morsel["max-age"] and not morsel["domain"]
    assert len(morsel.value) == 22 and "127" not in morsel.value


def test_under_tls_the_cookie_is_secure(backends, authority):
    issued = authority.issue("gateway.example")
    listener = {"tls": {"certificates": [pair(issued)]}}
    with balanced([b.port for b in backends], listener=listener, **sticky()) as running:
        context = client_context(authority, protocols=["h2"])
        name, value = who_http2(running, context=context)
        assert value.endswith("; Secure")
        assert who_http2(running, crumb(value), context=context) == (name, None)


@pytest.mark.parametrize("cookie", ["BASCULE_CHAT=", "BASCULE_CHAT=AAAAAAAAAAAAAAAAAAAAAA",
                                    "bascule_chat=x", "other=1; BASCULE_CHAT=127.0.0.1:80"])
def test_a_wrong_cookie_is_replaced(backends, cookie):
    with balanced([b.port for b in backends], **sticky()) as running:
        with ask(running, ("Cookie", cookie)) as wire:
            assert wire.status == 101 and len(wire.fields("Set-Cookie")) == 1


def test_an_answer_that_is_no_websocket_has_the_cookie_as_well():
    with RawBackend(refusing("no")) as backend, balanced([backend.port], **sticky()) as running:
        with ask(running) as wire:
            assert wire.status == 403 and wire.field("X-Backend") == "no"
            assert len(wire.fields("Set-Cookie")) == 1
        with ask(running, crumb(wire.field("Set-Cookie"))) as again:
            assert again.status == 403 and again.fields("Set-Cookie") == []


@pytest.mark.parametrize("when_down", ["next", "refuse"])
def test_when_its_endpoint_is_gone_a_client_moves_on_or_is_refused(backends, when_down):
    with RawBackend(named("mortal")) as mortal, \
            balanced([mortal.port, backends[0].port], **sticky(when_down=when_down)) as running:
        def cookie():
            with ask(running) as wire:
                return wire.field("X-Backend") == "mortal" and wire.field("Set-Cookie")
        own = crumb(wait_until(cookie, what="a cookie for the one that goes"))
        mortal.__exit__()
        for _ in range(5):
            with ask(running, own) as wire:
                if when_down == "refuse":
                    assert wire.status == 503
                else:
                    assert wire.status == 101 and wire.field("X-Backend") == "a"
                    assert crumb(wire.field("Set-Cookie")) != own
        assert who(running) == "a"


def test_without_a_secret_cookies_are_good_for_one_process_and_the_log_says_so(backends):
    ports = [b.port for b in backends]
    keys = {"sticky": {"cookie": "S"}}
    with balanced(ports, **keys) as one, balanced(ports, **keys) as other:
        assert one.log_contains("upstream backend", "this process only")
        with ask(one) as first:
            own = crumb(first.field("Set-Cookie"))
            name = first.field("X-Backend")
        assert {who(one, own) for _ in range(8)} == {name}
        with ask(other, own) as foreign:
            assert len(foreign.fields("Set-Cookie")) == 1


def test_with_a_secret_the_log_says_nothing_of_it(backends):
    with balanced([b.port for b in backends], **sticky()) as running:
        assert not running.log_contains("this process only")
        who(running)
    assert not running.log_contains(SECRET)
