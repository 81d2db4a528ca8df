"""What the admin listener tells of connections, page by page, and how it ends one."""

import contextlib
import re
import socket

import pytest
from websockets.sync.client import connect

import frames
import harness
from admin import CHANGE, administered, ask, listed, wait_sample
from harness import (AsyncBackend, RawBackend, configuration, echo, free_port, run_gateway,
                     wait_until)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_socket_is_on_exactly_one_page(workers):
    count = 500
    with RawBackend(harness.record) as backend, contextlib.ExitStack() as stack:
        port = free_port()
        text = configuration(free_port(), [f"127.0.0.1:{backend.port}"],
                             admin={"bind": f"127.0.0.1:{port}"})
        text = text.replace("workers: 1", f"workers: {workers}")
        front = int(re.search(r"127\.0\.0\.1:(\d+)", text).group(1))
        running = stack.enter_context(run_gateway(text, [front]))
        for number in range(count):
            stack.enter_context(frames.open_websocket(running.address, path=f"/{number}"))
        wait_sample(port, "bascule_bridges_open", count)
        seen, after, pages = [], "", 0
        while after is not None:
            page = listed(port, "?limit=64" + (f"&after={after}" if after else ""))
            assert len(page["connections"]) <= 64
            seen += page["connections"]
            after, pages = page["next"], pages + 1
        assert sorted(int(one["path"][1:]) for one in seen) == list(range(count))
        assert len({one["id"] for one in seen}) == count and pages == 8
        assert len(listed(port)["connections"]) == 100
        assert len(listed(port, "?limit=1000")["connections"]) == count


def test_what_is_told_of_a_connection_and_filters():
    routes = [harness.route(path="/a"), harness.route(path="/b")]
    with AsyncBackend(echo) as backend, administered([backend.port], routes=routes,
                                                     log={"access": "off"}) as (running, port):
        with connect(running.url("/a/x?secret=1")) as client, connect(running.url("/b")):
            client.send("hello")
            client.recv()
            (one,) = listed(port, "?route=*/a")["connections"]
            assert (one["client"], one["protocol"], one["path"]) == ("127.0.0.1", "http/1.1", "/a/x")
            assert (one["route"], one["phase"]) == ("*/a", "bridge")
            assert one["endpoint"] == f"127.0.0.1:{backend.port}"
            assert (one["client_messages"], one["client_bytes"]) == (1, 5)
            assert (one["backend_messages"], one["backend_bytes"]) == (1, 5)
            assert one["age_ms"] < 60_000
            endpoint = one["endpoint"]
            for query, count in [
                    ("", 2), ("?client=127.0.0.1", 2), ("?client=127.0.0.2", 0), ("?client=1", 0),
                    (f"?endpoint={endpoint}", 2), ("?endpoint=x", 0), ("?route=%2a%2Fb", 1),
                    (f"?route=*/b&client=127.0.0.1&endpoint={endpoint}", 1)]:
                assert len(listed(port, query)["connections"]) == count, query


@pytest.mark.parametrize("query", [
    "?limit=0", "?limit=1001", "?limit=x", "?after=x", "?after=1", "?after=-1.0", "?x=1",
    "?limit=1&limit=2", "?route", "?route=%zz", "?after=99999999999999999999.0"])
def test_a_query_that_means_nothing_is_refused(query):
    with AsyncBackend(echo) as backend, administered([backend.port]) as (_, port):
        assert ask(port, "/connections" + query).status == 400


def test_a_page_behind_the_end_is_empty():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (_, port):
        for after in ("9.0", "0.999999999"):
            assert listed(port, f"?after={after}") == {"connections": [], "next": None}


@pytest.mark.parametrize("code", [None, 1001, 1012, 4000])
def test_one_socket_is_ended_with_a_code(code):
    with RawBackend(harness.raw_echo) as backend, administered([backend.port]) as (running, port):
        with frames.open_websocket(running.address, path="/it") as wire, \
                frames.open_websocket(running.address, path="/other"):
            found = listed(port)["connections"]
            (one,) = [entry for entry in found if entry["path"] == "/it"]
            query = f"?code={code}" if code else ""
            answer = ask(port, f"/connections/{one['id']}{query}", "DELETE", fields=CHANGE)
            assert answer.status == 202
            assert wire.read_until(frames.CLOSE).close_code == (code or 1001)
            wire.send_frame(frames.CLOSE, frames.close_payload(code or 1001))
            event = running.wait_event(event="close", id=one["id"])
            assert (event["closed_by"], event["why"]) == ("gateway", "operator_close")
            assert running.log_contains("asked through the admin listener", "DELETE")
            assert [entry["path"] for entry in listed(port)["connections"]] == ["/other"]
            again = ask(port, f"/connections/{one['id']}", "DELETE", fields=CHANGE)
            assert again.status == 404


def test_the_end_waits_for_the_frame_under_way():
    with RawBackend(harness.record) as backend, administered([backend.port]) as (running, port):
        with frames.open_websocket(running.address) as wire:
            served = backend.wait_wire()
            message = frames.frame(frames.TEXT, b"0123456789")
            served.send(message[:7])
            wait_until(lambda: listed(port)["connections"][0]["backend_bytes"] == 5)
            identity = listed(port)["connections"][0]["id"]
            ask(port, f"/connections/{identity}?code=4000", "DELETE", fields=CHANGE)
            served.send(message[7:])
            assert wire.read_until(frames.TEXT).payload == b"0123456789"
            assert wire.read_until(frames.CLOSE).close_code == 4000


def test_what_cannot_be_ended():
    with RawBackend(lambda wire: wire.sock.recv(1)) as backend:
        with administered([backend.port]) as (running, port):
            for path in ("/connections/x", "/connections/" + "0" * 21, "/connections/00000000-ff"):
                assert ask(port, path, "DELETE", fields=CHANGE).status == 404
            for code in (999, 1004, 1005, 1006, 1015, 2000, 5000, "x"):
                path = f"/connections/00000000-000000000001?code={code}"
                assert ask(port, path, "DELETE", fields=CHANGE).status == 400
            with frames.connect(running.address) as sock:
                sock.sendall(b"GET /page HTTP/1.1\r\nHost: a.example\r\n\r\n")
                (one,) = wait_until(lambda: listed(port)["connections"])
                assert one["phase"] in ("connecting", "awaiting")
                path = f"/connections/{one['id']}"
                assert ask(port, path, "DELETE", fields=CHANGE).status == 409


def test_requests_behind_a_list_wait_their_turn():
    with RawBackend(harness.record) as backend, administered([backend.port]) as (running, port):
        with frames.open_websocket(running.address), \
                socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(b"GET /connections HTTP/1.1\r\nHost: localhost\r\n\r\n"
                         b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            data = b""
            while more := sock.recv(1 << 16):
                data += more
        assert data.count(b"HTTP/1.1 200") == 2
        assert data.index(b'"connections"') < data.index(b"ok\n")


@pytest.mark.parametrize("after", ["0.9223372036854775807", "0.4294967296", "0." + "9" * 30,
                                   "9223372036854775807.0", "0.2147483647", "1.-1", "-1.0", "0", ""])
def test_a_page_that_cannot_be_is_no_end_of_the_process(after):
    with AsyncBackend(echo) as backend, administered([backend.port]) as (_, port):
        assert ask(port, f"/connections?after={after}").status in (200, 400)
        assert ask(port, "/connections").status == 200
