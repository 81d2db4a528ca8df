"""Which endpoints are asked at all: checks over HTTP and by a real WebSocket, endpoints taken out for what
they answered, names that resolve to other addresses, and requests that wait for room."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time

import pytest

import frames
import harness
from harness import RawBackend, answer_upgrade, configuration, free_port, gateway, run_gateway, wait_until
from http_backends import Gate, HTTPBackend
from http_fronts import HTTP1, dial, proxy

FAST = {"interval": "100ms", "timeout": "300ms", "rise": 2, "fall": 2}


class Application(HTTPBackend):
    """Answers `status` to pages; WebSockets work unless `upgrades` is false. It says its name."""

    def __init__(self, name="a", **keywords):
        self.name, self.status, self.upgrades, self.checked_closes = name, 200, True, []
        self.holds = None
        super().__init__(self.serve_one, **keywords)

    def serve_one(self, exchange):
        is_check = exchange.request.field("user-agent") == "bascule-health"
        if exchange.request.has_token("upgrade", "websocket"):
            exchange.closes = True
            if not self.upgrades:
                return exchange.answer(b"no", 400)
            return self.web_socket(exchange, is_check)
        if self.holds and not is_check:
            self.holds.wait()
        exchange.answer(self.name.encode(), self.status, [("X-Backend", self.name)])

    def web_socket(self, exchange, is_check):
        accept = frames.accept_value(exchange.request.field("sec-websocket-key").encode())
        wire = frames.Wire(exchange.wire.sock, masks=False)
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"X-Backend: " + self.name.encode() +
                  b"\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        with contextlib.suppress(frames.Ended):
            got = wire.read_until(frames.CLOSE)
            if is_check:
                self.checked_closes.append((got.close_code, got.mask is not None))
            wire.send_frame(frames.CLOSE, frames.close_payload(1000))


def get(running, path="/"):
    with dial(HTTP1, running) as front:
        answer = front.request(path)
        status = answer.wait_head()
        answer.read_all()
        return status, answer.field("x-backend")


def finish(answer):
    """The status of an answer that has come whole."""
    status = answer.wait_head()
    answer.read_all()
    return status


def handshake(running):
    request, _ = frames.upgrade_request()
    return frames.ask(running.address, request)


# Checks

def test_a_page_that_fails_takes_its_endpoint_out_and_brings_it_back():
    with Application() as backend:
        backend.status = 503
        with proxy(backend, upstream={"health": {**FAST, "path": "/healthz?deep"}}) as running:
            running.wait_event(message="endpoint taken out", reason="health checks failed",
                               detail="status 503")
            begun = time.monotonic()
            assert get(running)[0] == 503
            assert time.monotonic() - begun < 1, "a client waited for what was known to be down"
            assert {r.target for r in backend.requests} == {"/healthz?deep"}, "a client got through"
            backend.status = 200
            running.wait_event(message="endpoint is back", reason="health checks passed")
            assert get(running) == (200, "a")


def test_a_status_that_is_expected_is_good():
    with Application() as backend:
        backend.status = 404
        with proxy(backend, upstream={"health": {**FAST, "expect": "404"}}) as running:
            wait_until(lambda: len(backend.requests) > 3)
            assert get(running) == (404, "a")
            assert not running.log_contains("endpoint taken out")


def test_a_server_whose_pages_work_but_not_its_websockets_is_taken_out_by_the_websocket_check():
    with Application("a") as lame, Application("b") as sound:
        lame.upgrades = False
        with proxy(lame, sound, upstream={"health": {**FAST, "websocket": True}}) as running:
            running.wait_event(message="endpoint taken out", endpoint=f"127.0.0.1:{lame.port}",
                               detail="status 400, not 101")
            for _ in range(6):
                with handshake(running) as wire:
                    assert (wire.status, wire.field("X-Backend")) == (101, "b")
            assert get(running) == (200, "b")
            lame.upgrades = True
            running.wait_event(message="endpoint is back", endpoint=f"127.0.0.1:{lame.port}")
            wait_until(lambda: lame.checked_closes)
        assert set(lame.checked_closes) == {(1000, True)}, "a check ends as a client does"


def test_an_accept_that_is_wrong_is_no_websocket():
    def serve(wire):
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Accept: " + frames.accept_value(b"another key") + b"\r\n\r\n")
    with RawBackend(serve) as backend, \
            gateway([backend.port], upstream={"health": {**FAST, "websocket": True}}) as running:
        running.wait_event(message="endpoint taken out")


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "one byte at a time"])
def test_a_server_that_does_not_answer_in_time_is_taken_out(silent):
    stop = threading.Event()

    def serve(wire):
        with contextlib.suppress(OSError):
            while not stop.wait(0.02):
                if not silent:
                    wire.send(b"H")
    with RawBackend(serve) as backend, \
            gateway([backend.port], upstream={"health": FAST}) as running:
        event = running.wait_event(message="endpoint taken out")
        stop.set()
        assert not silent or event["detail"] == "timed out"
        before = running.descriptors()
        wait_until(lambda: len(backend.wires) > 5)
        assert running.descriptors() <= before + 2


def test_a_port_that_nobody_listens_on_is_known_before_a_client_comes():
    with gateway([free_port()], upstream={"health": FAST}) as running:
        running.wait_event(message="endpoint taken out", reason="health checks failed")
        with dial(HTTP1, running) as front:
            assert finish(front.request()) == 503
        running.wait_event(fault="no_endpoint", detail="down")


def test_one_worker_checks_for_all():
    with Application() as backend:
        port = free_port()
        text = configuration(port, [f"127.0.0.1:{backend.port}"],
                             upstream={"health": {**FAST, "interval": "500ms"}})
        with run_gateway(text.replace("workers: 1", "workers: 4"), [port]) as running:
            backend.wait_request(3)
            assert len(backend.connections) <= 4
            backend.status = 500
            running.wait_event(message="endpoint taken out")
            for _ in range(8):
                assert get(running)[0] == 503


# Endpoints judged by what they answer

def test_five_bad_answers_in_a_row_take_an_endpoint_out_while_there_is_another():
    with Application("a") as bad, Application("b") as good:
        bad.status = 500
        with proxy(bad, good) as running:
            statuses = [get(running)[0] for _ in range(30)]
            assert statuses.count(500) == 5, statuses
            assert statuses[10:] == [200] * 20
            running.wait_event(message="endpoint taken out", reason="bad answers",
                               endpoint=f"127.0.0.1:{bad.port}")


def test_answers_that_are_good_in_between_take_nobody_out():
    with Application("a") as moody, Application("b") as good:
        with proxy(moody, good) as running:
            for index in range(40):
                moody.status = 200 if index % 8 == 0 else 500
                get(running)
            assert not running.log_contains("endpoint taken out")


def test_the_last_endpoint_stays_whatever_it_answers():
    with Application() as bad:
        bad.status = 500
        with proxy(bad) as running:
            assert [get(running)[0] for _ in range(20)] == [500] * 20
            assert not running.log_contains("endpoint taken out")


def closing(name, code):
    """A backend that accepts and closes at once; without a code it just goes."""
    def serve(wire):
        answer_upgrade(wire, f"X-Backend: {name}\r\n".encode())
        if code is None:
            return wire.close()
        wire.send_frame(frames.CLOSE, frames.close_payload(code) if code != 1005 else b"")
        with contextlib.suppress(frames.Ended):
            wire.read_to_end()
    return serve


def last_to_the_end(running):
    with handshake(running) as wire:
        with contextlib.suppress(frames.Ended):
            wire.read_until(frames.CLOSE)
        return wire.field("X-Backend")


@pytest.mark.parametrize("code", [1011, None], ids=["1011", "gone without a Close"])
def test_websockets_given_up_early_take_an_endpoint_out(code):
    with RawBackend(closing("a", code)) as bad, RawBackend(closing("b", 1000)) as good:
        with gateway([bad.port, good.port]) as running:
            names = [last_to_the_end(running) for _ in range(30)]
            running.wait_event(message="endpoint taken out", reason="bad answers")
            assert 5 <= names.count("a") <= 6 and names[-10:] == ["b"] * 10


@pytest.mark.parametrize("code", [1000, 1001, 1005])
def test_a_normal_close_ejects_nobody(code):
    with RawBackend(closing("a", code)) as a, RawBackend(closing("b", code)) as b:
        with gateway([a.port, b.port]) as running:
            names = [last_to_the_end(running) for _ in range(30)]
            assert names.count("a") == names.count("b") == 15
            assert not running.log_contains("endpoint taken out")


# Room

def limited(backend, most=1):
    return {"address": f"127.0.0.1:{backend.port}", "max_connections": most}


@contextlib.contextmanager
def full_gateway(backend, workers=1, timeouts=None, **upstream):
    port = free_port()
    text = configuration(port, [limited(backend)], upstream=upstream, timeouts=timeouts or {})
    with run_gateway(text.replace("workers: 1", f"workers: {workers}"), [port]) as running:
        yield running


@pytest.mark.parametrize("workers", [1, 3])
def test_requests_wait_for_room_and_are_served_in_turn(workers):
    gate = Gate()
    with Application() as backend, full_gateway(backend, workers) as running, gate:
        backend.holds = gate
        fronts = [dial(HTTP1, running) for _ in range(6)]
        waiting = [front.request(f"/{index}") for index, front in enumerate(fronts)]
        backend.wait_request()
        gate.open()
        assert [finish(answer) for answer in waiting] == [200] * 6
        assert sorted(r.target for r in backend.requests) == [f"/{i}" for i in range(6)]
        for front in fronts:
            front.close()


def test_who_waits_too_long_gets_503():
    gate = Gate()
    with Application() as backend, \
            full_gateway(backend, timeouts={"queue": "200ms"}) as running, gate:
        backend.holds = gate
        with dial(HTTP1, running) as first, dial(HTTP1, running) as second:
            held = first.request()
            backend.wait_request()
            assert finish(second.request()) == 503
            running.wait_event(fault="no_endpoint", detail="queue-timeout")
            gate.open()
            assert finish(held) == 200
            assert finish(second.request()) == 200, "the connection of a 503 goes on"


def test_a_queue_of_none_refuses_at_once():
    gate = Gate()
    with Application() as backend, full_gateway(backend, queue=0) as running, gate:
        backend.holds = gate
        with dial(HTTP1, running) as first, dial(HTTP1, running) as second:
            held = first.request()
            backend.wait_request()
            assert finish(second.request()) == 503
            running.wait_event(fault="no_endpoint", detail="full")
            gate.open()
            assert finish(held) == 200


def test_a_client_that_leaves_the_queue_is_not_served():
    gate = Gate()
    with Application() as backend, full_gateway(backend) as running, gate:
        backend.holds = gate
        with dial(HTTP1, running) as first:
            held = first.request("/held")
            backend.wait_request()
            leaver = dial(HTTP1, running)
            leaver.request("/left")
            leaver.reset()
            running.wait_event(path="/left", fault="client_vanished")
            gate.open()
            assert finish(held) == 200
        assert get(running, "/next")[0] == 200
        assert [r.target for r in backend.requests] == ["/held", "/next"]


# Names

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare")
    or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0,
    reason="needs a mount namespace of its own")


@contextlib.contextmanager
def gateway_with_hosts(tmp_path, monkeypatch, upstream, **sections):
    """A gateway that sees another /etc/hosts, which the test writes."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n127.0.0.1 app.test\n")
    script = tmp_path / "bascule"
    script.write_text(f"#!/bin/sh\nexec unshare -m sh -c 'mount --bind {hosts} /etc/hosts && "
                      f"exec {harness.BINARY} \"$@\"' bascule \"$@\"\n")
    script.chmod(0o755)
    monkeypatch.setattr(harness, "BINARY", str(script))
    port = free_port()
    text = configuration(port, upstream.pop("endpoints"), upstream=upstream, **sections)
    with run_gateway(text, [port]) as running:
        yield running, hosts


@needs_namespaces
@pytest.mark.timeout(90)
def test_least_connections_stays_right_when_a_name_gets_another_address(tmp_path, monkeypatch):
    def holding(name):
        def serve(wire):
            answer_upgrade(wire, f"X-Backend: {name}\r\n".encode())
            with contextlib.suppress(frames.Ended):
                while (got := wire.read_frame()).opcode != frames.CLOSE:
                    if got.opcode == frames.PING:
                        wire.send_frame(frames.PONG, got.payload)
        return serve

    with RawBackend(holding("one")) as one:
        with RawBackend(holding("two"), address=("127.0.0.2", one.port)):
            upstream = {"endpoints": [f"app.test:{one.port}"], "balance": "least_connections"}
            with gateway_with_hosts(tmp_path, monkeypatch, upstream) as (running, hosts):
                wires = [handshake(running) for _ in range(6)]
                assert [w.field("X-Backend") for w in wires] == ["one"] * 6
                hosts.write_text("127.0.0.1 app.test\n127.0.0.2 app.test\n")
                event = running.wait_event(seconds=15, message="endpoints have changed")
                assert event["added"] == f"127.0.0.2:{one.port}" and event["removed"] == ""
                wires += [handshake(running) for _ in range(6)]
                assert [w.field("X-Backend") for w in wires[6:]] == ["two"] * 6
                # A lookup that fails changes nothing; an address that is gone keeps what it has.
                hosts.write_text("127.0.0.1 localhost\n")
                running.wait_event(seconds=15, message="cannot resolve a name", name="app.test")
                hosts.write_text("127.0.0.2 app.test\n")
                event = running.wait_event(seconds=25, removed=f"127.0.0.1:{one.port}")
                wires += [handshake(running) for _ in range(3)]
                assert [w.field("X-Backend") for w in wires[12:]] == ["two"] * 3
                wires[0].send_frame(frames.PING, b"still there")
                assert wires[0].read_until(frames.PONG).payload == b"still there"
                for wire in wires:
                    wire.close()


# Pages of the gateway's own

def test_the_page_of_an_error_names_the_request_as_the_log_does():
    with gateway([free_port()]) as running, dial(HTTP1, running) as front:
        answer = front.request("/lost")
        assert answer.wait_head() == 503
        page = answer.read_all().decode()
        event = running.wait_event(path="/lost", status=503)
        assert f"Request: {event['request_id']}\n" in page


# What was wrong once

def test_a_client_that_closes_gives_its_place_in_the_queue_back():
    gate = Gate()
    with Application() as backend, full_gateway(backend, queue=2) as running, gate:
        backend.holds = gate
        with dial(HTTP1, running) as first:
            held = first.request("/held")
            backend.wait_request()
            for number in range(2):
                leaver = dial(HTTP1, running)
                leaver.request(f"/left/{number}")
                leaver.close()
                running.wait_event(path=f"/left/{number}", fault="client_vanished")
            with dial(HTTP1, running) as patient:
                waiting = patient.request("/patient")
                gate.open()
                assert (finish(held), finish(waiting)) == (200, 200)
        assert [r.target for r in backend.requests] == ["/held", "/patient"]


def test_a_slow_upload_is_no_fault_of_its_endpoint():
    with Application("a") as a, Application("b") as b:
        with proxy(a, b, timeouts={"response": "300ms", "request_body": "2s"}) as running:
            for _ in range(6):
                with dial(HTTP1, running) as front:
                    upload = front.request("/", "POST", body="streamed", length=6)
                    for _ in range(6):
                        upload.send(b"x")
                        time.sleep(0.1)  # longer in all than `response`, never as long as `request_body`
                    assert finish(upload) == 200
            assert not running.log_contains("endpoint taken out")
            assert not running.log_contains("backend_silent")


def test_an_answer_that_does_not_come_is_missed_when_the_request_is_complete():
    with RawBackend(lambda wire: threading.Event().wait(3)) as silent, \
            gateway([silent.port], timeouts={"response": "300ms"}) as running:
        with dial(HTTP1, running) as front:
            upload = front.request("/", "POST", body="streamed", length=2)
            upload.send(b"x")
            silent.wait_wire()
            upload.send(b"y")
            assert finish(upload) == 504


def test_an_endpoint_that_was_down_is_asked_when_a_reload_removes_or_changes_the_checks():
    with Application() as backend:
        backend.status = 503
        port = free_port()

        def text(**health):
            upstream = {"health": {**FAST, **health}} if health else {}
            return configuration(port, [f"127.0.0.1:{backend.port}"], upstream=upstream)

        with run_gateway(text(path="/wrong"), [port]) as running:
            path = pathlib.Path(running.directory) / "bascule.yaml"
            for other in [text(), text(path="/other", interval="1h", expect="503")]:
                wait_until(lambda: get(running)[1] is None, 5, "the endpoint to be out")
                path.write_text(other)
                running.process.send_signal(signal.SIGHUP)
                wait_until(lambda: get(running)[1] == "a", 5, "an answer of the backend")
                path.write_text(text(path="/wrong"))
                running.process.send_signal(signal.SIGHUP)
