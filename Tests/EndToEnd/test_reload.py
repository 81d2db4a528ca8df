"""Reloads: what they change, what they leave alone, and what they refuse."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import threading
import time

import pytest

import frames
import harness
from admin import CHANGE, administered, ask
from certificates import Authority, client_context
from harness import (AsyncBackend, RawBackend, answer_upgrade, configuration, echo, free_port,
                     gateway, raw_echo, route, run_gateway, wait_until)
from http_backends import HTTPBackend
from http_fronts import HTTP1, dial

RELOADED, REFUSED = "configuration reloaded", "configuration not reloaded: the running one stays"


def path_of(running):
    return pathlib.Path(running.directory) / "bascule.yaml"


def outcomes(running):
    return [e["message"] for e in running.events if e.get("message") in (RELOADED, REFUSED)]


def reload(running, text=None, wanted=RELOADED):
    """Sends SIGHUP, with another configuration if there is one, and waits for what comes of it."""
    before = len(outcomes(running))
    if text is not None:
        path_of(running).write_text(text)
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(outcomes(running)) > before, 10, "the end of a reload")
    assert outcomes(running)[before:] == [wanted], "\n".join(running.lines[-5:])


def respond(path, body):
    return json.dumps({"path": path, "respond": {"body": body}})


def get(port, path="/"):
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), 5)) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := sock.recv(65536):
            answer += more
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2].decode()


def is_alive(wire, text=b"still there"):
    wire.send_frame(frames.TEXT, text)
    return wire.read_until(frames.TEXT).payload == text


@pytest.fixture(scope="module")
def backend():
    with RawBackend(raw_echo) as backend:
        yield backend


# What changes and what does not

def test_a_new_route_serves_and_open_sockets_do_not_notice(backend):
    port = free_port()
    endpoints = [f"127.0.0.1:{backend.port}"]
    with run_gateway(configuration(port, endpoints), [port]) as running:
        wire = frames.open_websocket(running.address)
        for number in range(5):
            text = configuration(port, endpoints, [route(), respond("/new", f"version {number}")])
            reload(running, text)
            assert get(port, "/new") == (200, f"version {number}")
            assert is_alive(wire)
        reload(running, configuration(port, endpoints, [respond("/", "no sockets here")]))
        assert is_alive(wire), "a socket whose route is gone stays, unless it is told otherwise"
        wire.close()


def test_a_mistake_keeps_the_running_configuration_and_says_where_it_is(backend):
    port = free_port()
    good = configuration(port, [f"127.0.0.1:{backend.port}"], [respond("/", "one")])
    with run_gateway(good, [port]) as running:
        for text, complaint in [
                (good.replace("routes:", "rotes:"), 'unknown key "rotes"; did you mean "routes"?'),
                (good + "timeouts: {connect: 5}\n", "timeouts"),
                ("", "this file is empty"),
                (good.replace("listeners:\n", "listeners:\n  - {bind: '127.0.0.1:"
                              f"{port + 1 if port < 65535 else port - 1}', tls: {{certificates: "
                              "[{certificate: none.pem, key: none.key}]}}\n"), "none.pem")]:
            reload(running, text, REFUSED)
            assert get(port) == (200, "one")
            assert running.log_contains("error", "bascule.yaml:", complaint.replace('"', '\\"'))
        path_of(running).unlink()
        reload(running, None, REFUSED)
        reload(running, good.replace('"one"', '"two"'))
        assert get(port) == (200, "two")
    stopped = next(e for e in running.events if e.get("message") == "stopped")
    assert (stopped["reload_ok"], stopped["reload_failed"]) == (1, 5)


@pytest.mark.parametrize("on_change", ["keep", "close"])
@pytest.mark.parametrize("change", ["changed", "removed", "upstream"])
def test_sockets_of_a_changed_or_removed_route_follow_on_change(backend, on_change, change):
    port = free_port()
    endpoints = [f"127.0.0.1:{backend.port}"]
    touched = {"path": "/touched", "upstream": "other", "websocket": {"on_change": on_change}}

    def text(touched, weight=1):
        routes = [route(websocket={"on_change": "close"})] + ([json.dumps(touched)] if touched else [])
        whole = configuration(port, endpoints, routes)
        other = json.dumps({"endpoints": [{"address": endpoints[0], "weight": weight}]})
        return whole.replace("routes:", f"  other: {other}\nroutes:\n# a line more moves what is below")

    with run_gateway(text(touched), [port]) as running:
        untouched = frames.open_websocket(running.address)
        wire = frames.open_websocket(running.address, path="/touched")
        reload(running, text(touched))
        assert is_alive(wire), "the same configuration changes nothing"
        if change == "changed":
            touched["timeouts"] = {"response": "7s"}
        reload(running, text(None if change == "removed" else touched, 2 if change == "upstream" else 1))
        if on_change == "close":
            assert wire.read_until(frames.CLOSE).close_code == 1001
            wire.send_close(1001)
            running.wait_event(event="close", path="/touched", why="route_changed")
        else:
            assert is_alive(wire)
        assert is_alive(untouched)
        untouched.close()
        wire.close()


def test_listeners_come_and_go_and_their_sockets_stay(backend):
    first, second = free_port(), free_port()
    endpoints = [f"127.0.0.1:{backend.port}"]
    with run_gateway(configuration(first, endpoints), [first]) as running:
        old = frames.open_websocket(("127.0.0.1", first))
        both = configuration(first, endpoints).replace(
            "upstreams:", f"  - bind: 127.0.0.1:{second}\nupstreams:")
        reload(running, both)
        new = frames.open_websocket(("127.0.0.1", second))
        reload(running, configuration(second, endpoints))
        with pytest.raises(ConnectionRefusedError):
            frames.connect(("127.0.0.1", first))
        assert is_alive(old) and is_alive(new)
        frames.open_websocket(("127.0.0.1", second)).close()
        taken = socket.create_server(("127.0.0.1", first))
        reload(running, both, REFUSED)
        assert running.log_contains("error", "in use", str(first))
        taken.close()
        reload(running, both)
        frames.open_websocket(("127.0.0.1", first)).close()
        old.close()
        new.close()


def test_what_only_a_start_can_change_is_said(backend):
    with gateway([backend.port]) as running:
        reload(running, path_of(running).read_text().replace("workers: 1", "workers: 2"))
        assert running.log_contains("workers has changed", "next start")


def test_what_waits_for_a_start_is_told_to_whoever_reloads_and_asks(backend):
    with administered([backend.port]) as (running, port):
        path, ask_again = path_of(running), {"method": "POST", "fields": CHANGE}
        text = path.read_text()
        path.write_text(text.replace("workers: 1", "workers: 2"))
        assert ask(port, "/reload", **ask_again).text == \
            "The configuration has been reloaded. With the next start: workers.\n"
        assert ask(port, "/config").text.startswith(
            "# Changed, and in effect with the next start: workers\n")
        path.write_text(text)
        assert ask(port, "/reload", **ask_again).text == "The configuration has been reloaded.\n"
        assert not ask(port, "/config").text.startswith("#")


def test_limits_of_answers_hold_for_connections_to_backends_that_wait():
    def serve(exchange):
        exchange.read_body()
        exchange.head(200, [("X-Long", "x" * 12_000), ("Content-Length", 0)])

    def text(limit):
        return configuration(port, [f"127.0.0.1:{backend.port}"], limits={"response_head": limit})
    port = free_port()
    with HTTPBackend(serve) as backend, run_gateway(text("32KiB"), [port]) as running:
        assert get(port)[0] == 200
        reload(running, text("8KiB"))
        assert get(port)[0] == 502
        reload(running, text("32KiB"))
        assert [get(port)[0] for _ in range(2)] == [200, 200]
        reload(running, text("8KiB"))
        assert get(port)[0] == 502
        # The one that had waited each time, and one after each answer that was refused.
        assert len(backend.connections) == 2


def test_counts_of_connections_survive_a_reload():
    def holding(name):
        def serve(wire):
            answer_upgrade(wire, f"X-Backend: {name}\r\n".encode())
            with contextlib.suppress(frames.Ended):
                wire.read_until(frames.CLOSE)
        return serve
    with RawBackend(holding("a")) as a, RawBackend(holding("b")) as b:
        port = free_port()

        def text(weight):
            endpoints = [{"address": f"127.0.0.1:{a.port}", "weight": weight}]
            if weight > 1:
                endpoints.append({"address": f"127.0.0.1:{b.port}", "weight": weight})
            return configuration(port, endpoints, upstream={"balance": "least_connections"})

        def opened(count):
            made = [frames.open_websocket(("127.0.0.1", port)) for _ in range(count)]
            wires.extend(made)
            return [wire.field("X-Backend") for wire in made]

        with run_gateway(text(1), [port]) as running:
            wires = []
            assert opened(5) == ["a"] * 5
            reload(running, text(3))
            assert opened(5) == ["b"] * 5, "the new one catches up"
            for wire in wires:
                wire.close()


# Certificates

def served_certificate(port, authority):
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        with client_context(authority).wrap_socket(sock, server_hostname="gateway.example") as tls:
            return tls.getpeercert(binary_form=True)


def test_certificates_are_read_again_and_a_pair_that_does_not_fit_is_refused(backend, tmp_path):
    authority = Authority(tmp_path)
    first = authority.issue("gateway.example", "first.example")
    first = [pathlib.Path(name).rename(tmp_path / f"first{number}") for number, name in
             enumerate(first)]
    second = authority.issue("gateway.example", "second.example")
    shown = tmp_path / "shown.pem", tmp_path / "shown.key"

    def show(certificate, key):
        for source, target in zip((certificate, key), shown):
            target.write_bytes(pathlib.Path(source).read_bytes())
            target.chmod(0o600)

    show(*first)
    port = free_port()
    text = configuration(port, [f"127.0.0.1:{backend.port}"], listener={
        "tls": {"certificates": [{"certificate": str(shown[0]), "key": str(shown[1])}]}})
    with run_gateway(text, [port]) as running:
        old = served_certificate(port, authority)
        held = frames.open_websocket(running.address, sock=client_context(authority).wrap_socket(
            frames.connect(running.address), server_hostname="gateway.example"))
        show(first[0], second[1])
        reload(running, None, REFUSED)
        assert served_certificate(port, authority) == old
        show(*second)
        reload(running)
        assert served_certificate(port, authority) != old
        assert is_alive(held)
        held.close()


def test_watched_files_reload_by_themselves_also_when_a_link_is_swapped(backend, tmp_path):
    port = free_port()
    endpoints = [f"127.0.0.1:{backend.port}"]
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "bascule.yaml").write_text(
            "watch: true\n" + configuration(port, endpoints, [respond("/", version)]))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "bascule.yaml").symlink_to("..data/bascule.yaml")
    with run_gateway("", [port], arguments=["run", "--config", str(tmp_path / "bascule.yaml")]) as running:
        assert get(port) == (200, "one")
        (tmp_path / "..next").symlink_to("two")
        os.replace(tmp_path / "..next", tmp_path / "..data")
        running.wait_event(10, message=RELOADED)
        assert get(port) == (200, "two")


# Under load

class Load(threading.Thread):
    """Requests at a steady pace on connections that are kept, until it is stopped."""

    def __init__(self, address, per_second):
        super().__init__(daemon=True)
        self.address, self.pause = address, 1 / per_second
        self.done, self.failures, self.stopping = 0, [], threading.Event()
        self.start()

    def run(self):
        import http.client
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        while not self.stopping.is_set():
            begun = time.monotonic()
            try:
                connection.request("GET", "/page")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(answer.status)
            except Exception as error:
                self.failures.append(repr(error))
                connection.close()
            self.done += 1
            self.stopping.wait(max(0, self.pause - (time.monotonic() - begun)))
        connection.close()

    def stop(self):
        self.stopping.set()
        self.join(10)
        assert not self.failures, self.failures[:5]
        return self.done


@pytest.mark.timeout(120)
def test_a_hundred_reloads_of_which_every_fifth_is_broken_cut_nothing_and_fail_nothing():
    import asyncio
    from websockets.asyncio.client import connect

    async def sockets(address, count, until):
        opened = [await connect(f"ws://{address[0]}:{address[1]}/ws", ping_interval=None)
                  for _ in range(count)]
        ready.set()
        await asyncio.to_thread(until.wait, 100)
        for number, one in enumerate(opened):
            await one.send(str(number))
            assert await asyncio.wait_for(one.recv(), 10) == str(number)
        for one in opened:
            await one.close()

    with AsyncBackend(echo) as sockets_backend, HTTPBackend() as pages:
        port = free_port()

        def text(number):
            routes = [route(path="/ws"), route("pages", path="/page"), respond("/v", str(number))]
            return configuration(port, [f"127.0.0.1:{sockets_backend.port}"], routes).replace(
                "routes:", f"  pages: {{endpoints: ['127.0.0.1:{pages.port}']}}\nroutes:")

        with run_gateway(text(0).replace("workers: 1", "workers: 2"), [port]) as running:
            ready, until, failed = threading.Event(), threading.Event(), []

            def hold():
                try:
                    asyncio.run(sockets(running.address, 500, until))
                except Exception as error:
                    failed.append(repr(error))

            holder = threading.Thread(target=hold, daemon=True)
            holder.start()
            assert ready.wait(30)
            loads = [Load(running.address, 100) for _ in range(3)]
            for number in range(1, 101):
                if number % 5 == 0:
                    reload(running, text(number).replace("upstream", "upstraem", 1), REFUSED)
                else:
                    reload(running, text(number).replace("workers: 1", "workers: 2"))
                    assert get(port, "/v") == (200, str(number))
            assert sum(load.stop() for load in loads) > 100
            for _ in range(1000):
                running.process.send_signal(signal.SIGHUP)
            reload_count = len(outcomes(running))
            path_of(running).write_text(text("end").replace("workers: 1", "workers: 2"))
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: get(port, "/v") == (200, "end"), 10)
            assert reload_count >= 100
            until.set()
            holder.join(60)
            assert not failed, failed
        stopped = next(e for e in running.events if e.get("message") == "stopped")
        # The storm of signals found the broken file of reload 100, or the last one.
        assert outcomes(running)[:100].count(REFUSED) == 20
        assert stopped["bridges_opened"] == stopped["bridges_closed"] == 500
        assert "drain_closes" not in stopped


@pytest.mark.timeout(120)
def test_memory_does_not_grow_with_reloads(backend):
    with gateway([backend.port]) as running:
        for _ in range(100):
            reload(running)
        before = running.memory_kib()
        for _ in range(300 if not os.environ.get("BASCULE_LONG") else 900):
            reload(running)
        grown = running.memory_kib() - before
        print(f"\n{grown} KiB more than the {before} KiB of reload 100")
        assert grown <= 1024


# Going evenly

@pytest.mark.timeout(90)
def test_a_drain_tells_many_sockets_evenly_over_its_time():
    count, seconds = (2000, 20) if os.environ.get("BASCULE_LONG") else (600, 6)
    import asyncio
    from websockets.asyncio.client import connect

    async def run(running):
        opened = []
        for _ in range(count):
            opened.append(await connect(running.url(), ping_interval=None, close_timeout=2))
        times, codes = [], []

        async def wait_for(one):
            await one.wait_closed()
            times.append(time.monotonic())
            codes.append(one.close_code)

        waits = [asyncio.create_task(wait_for(one)) for one in opened]
        begun = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*waits), seconds + 10)
        return [t - begun for t in times], codes

    with AsyncBackend(echo) as backend, gateway(
            [backend.port], timeouts={"drain": f"{seconds}s"}, may_end=True) as running:
        times, codes = asyncio.run(run(running))
        assert codes == [1001] * count
        assert running.process.wait(5) == 0
        # The last tenth of the time is for those who were told last.
        even = count / (seconds * 0.9)
        closes = [sum(second <= t < second + 1 for t in times) for second in range(int(seconds * 0.9))]
        print(f"\n{min(closes)} to {max(closes)} each second, {even:.0f} are even")
        assert all(0.8 * even <= count <= 1.2 * even for count in closes), closes


# Tickets and certificates of clients

def resumed(port, context, session=None):
    """Whether a connection resumed `session`, and the session it has after an answer."""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        with context.wrap_socket(sock, server_hostname="gateway.example", session=session) as tls:
            tls.sendall(b"GET /t HTTP/1.1\r\nHost: gateway.example\r\n\r\n")
            assert tls.recv(4096).startswith(b"HTTP/1.1 200")
            return tls.session_reused, tls.session


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tickets_survive_a_reload_and_a_change_of_what_is_asked_of_clients_does_not(
        backend, tmp_path, version):
    import ssl
    authority = Authority(tmp_path)
    issued = authority.issue("gateway.example")
    number = ssl.TLSVersion.TLSv1_2 if version == "1.2" else ssl.TLSVersion.TLSv1_3
    context = client_context(authority, maximum_version=number)
    port = free_port()

    def text(**tls):
        certificates = [{"certificate": issued[0], "key": issued[1]}]
        return configuration(port, [f"127.0.0.1:{backend.port}"], [respond("/t", "x")],
                             listener={"tls": {"certificates": certificates, **tls}})

    with run_gateway(text(), [port]) as running:
        reused, session = resumed(port, context)
        assert not reused
        reload(running)
        reused, session = resumed(port, context, session)
        assert reused
        reload(running, text(client_auth="optional", client_ca=str(authority.certificate)))
        reused, _ = resumed(port, context, session)
        assert not reused, "that ticket was for a listener that asks for nothing"


def test_clients_are_asked_for_certificates_where_the_listener_says_so(backend, tmp_path):
    import ssl
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    issued = authority.issue("gateway.example")
    port = free_port()

    def text(mode):
        return configuration(port, [f"127.0.0.1:{backend.port}"], [respond("/t", "x")], listener={
            "tls": {"certificates": [{"certificate": issued[0], "key": issued[1]}],
                    "client_auth": mode, "client_ca": str(authority.certificate)}})

    def outcome(issued_to_client):
        context = client_context(authority)
        if issued_to_client:
            context.load_cert_chain(*issued_to_client)
        try:
            return resumed(port, context)[0] is False
        except (ssl.SSLError, ConnectionError):
            return False

    own, foreign = authority.issue("client.example"), stranger.issue("client.example")
    with run_gateway(text("required"), [port]) as running:
        assert [outcome(own), outcome(foreign), outcome(None)] == [True, False, False]
        reload(running, text("optional"))
        assert [outcome(own), outcome(foreign), outcome(None)] == [True, False, True]
