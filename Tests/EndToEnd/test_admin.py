"""The admin listener: health, metrics, the configuration, and who may ask."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile

import pytest
from websockets.sync.client import connect

import frames
import harness
from admin import CHANGE, TOKEN, administered, ask, command, samples, wait_sample
from harness import AsyncBackend, RawBackend, configuration, echo, free_port, gateway, wait_until


# Endpoints


def test_health_readiness_and_what_is_not_there():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (_, port):
        health = ask(port, "/healthz")
        assert (health.status, health.text) == (200, "ok\n")
        assert ask(port, "/healthz", "HEAD").body == b""
        assert ask(port, "/readyz").status == 200
        assert ask(port, "/nothing").status == 404
        wrong = ask(port, "/healthz", "POST", fields=CHANGE)
        assert (wrong.status, wrong.fields["allow"]) == (405, "GET")
        assert ask(port, "/connections/x", "GET").status == 405
        for answer in (health, wrong):
            assert answer.fields["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.fields["content-security-policy"]
            assert answer.fields["cache-control"] == "no-store"


@pytest.mark.parametrize("requires", [True, False])
def test_it_is_not_ready_while_a_route_has_no_endpoint(requires):
    admin = {"ready_requires_endpoints": requires}
    health = {"path": "/", "interval": "100ms", "timeout": "100ms", "fall": 1}
    with administered([free_port()], admin, upstream={"health": health}) as (running, port):
        running.wait_event(message="endpoint taken out")
        assert ask(port, "/readyz").status == (503 if requires else 200)
        assert ask(port, "/healthz").status == 200
        states = {key: value for key, value in samples(port).items() if "endpoint_state" in key}
        assert sorted(states.values()) == [0, 0, 1]
        assert next(key for key, value in states.items() if value).endswith('state="down"}')


def test_while_it_drains_it_is_healthy_and_not_ready():
    with RawBackend(harness.record) as backend:
        drain = {"drain": "3s"}
        with administered([backend.port], timeouts=drain) as (running, port):
            with frames.open_websocket(running.address) as wire:
                answer = ask(port, "/drain", "POST", fields=CHANGE)
                assert answer.status == 202
                wait_until(lambda: ask(port, "/readyz").status == 503, what="not ready")
                assert ask(port, "/healthz").status == 200
                assert samples(port)["bascule_draining"] == 1
                # A second one is no second SIGTERM, which would stop at once.
                assert ask(port, "/drain", "POST", fields=CHANGE).status == 202
                assert wire.read_until(frames.CLOSE).close_code == 1001
                # It does not answer, so that the gateway is still there when the test ends.
                assert running.process.poll() is None


def test_a_reload_answers_when_it_is_done_and_with_every_mistake():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        path = pathlib.Path(running.directory) / "bascule.yaml"
        good = path.read_text()
        assert ask(port, "/reload", "POST", fields=CHANGE).status == 200
        path.write_text(good.replace("routes:", "rotes:"))
        answer = ask(port, "/reload", "POST", fields=CHANGE)
        assert answer.status == 422 and b'did you mean "routes"?' in answer.body, answer.body
        path.write_text(good)
        assert ask(port, "/reload", "POST", fields=CHANGE).status == 200
        counts = ask(port, "/metrics").body.decode()
        assert "bascule_reload_ok_total 2" in counts and "bascule_reload_failed_total 1" in counts


def test_a_part_of_the_sockets_is_told_to_go():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        wires = [frames.open_websocket(running.address) for _ in range(20)]
        assert ask(port, "/drain?percent=200", "POST", fields=CHANGE).status == 400
        assert ask(port, "/drain?percent=10", "POST", fields=CHANGE).status == 202
        harness.wait_until(lambda: b"bascule_drain_closes_total 2" in ask(port, "/metrics").body)
        frames.open_websocket(running.address).close()
        for wire in wires:
            wire.close()


def test_the_configuration_is_shown_without_its_secrets():
    secrets = ["sticky-secret-of-some-length", TOKEN, "Basic c2VjcmV0"]
    route = harness.route(headers={"request": {"set": {
        "Authorization": secrets[2], "X-Tenant": "shown"}}})
    with AsyncBackend(echo) as backend, administered(
            [backend.port], {"token": TOKEN}, routes=[route],
            upstream={"sticky": {"cookie": "C", "secret": secrets[0]}}) as (_, port):
        answer = ask(port, "/config", token=TOKEN)
        assert answer.status == 200 and answer.fields["content-type"].startswith("text/plain")
        assert "X-Tenant: shown" in answer.text and answer.text.count("(hidden)") == 3
        assert not any(secret in answer.text for secret in secrets)


def test_a_reload_keeps_counts_and_is_counted():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        path = pathlib.Path(running.directory) / "bascule.yaml"
        text = path.read_text()
        with connect(running.url("/a")) as client:
            path.write_text(text + "trusted_proxies: [10.9.8.7]\n")
            running.process.send_signal(signal.SIGHUP)
            wait_sample(port, "bascule_reload_ok_total", 1)
            found = samples(port)
            assert found['bascule_route_websockets_open{route="*/"}'] == 1
            assert found['bascule_route_requests_total{route="*/"}'] == 1
            wait_until(lambda: "10.9.8.7" in ask(port, "/config").text)
            client.send("x")
            assert client.recv() == "x"
        path.write_text(text + "nonsense: 1\n")
        running.process.send_signal(signal.SIGHUP)
        wait_sample(port, "bascule_reload_failed_total", 1)
        wait_sample(port, 'bascule_route_websockets_open{route="*/"}', 0)


# Metrics


def test_metrics_count_what_passes():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        with connect(running.url("/ws")) as client:
            client.send("text")
            client.recv()
            client.send(b"binary")
            client.recv()
            client.ping().wait(5)
            found = samples(port)
            for side in ("client", "backend"):
                start = f'{{direction="from_{side}",opcode='
                assert found[f'bascule_messages_total{start}"text"}}'] == 1
                assert found[f'bascule_messages_total{start}"binary"}}'] == 1
                assert found[f'bascule_message_bytes_total{start}"text"}}'] == 4
                assert found[f'bascule_message_bytes_total{start}"binary"}}'] == 6
            assert found['bascule_control_frames_total{direction="from_client",opcode="ping"}'] == 1
            assert found['bascule_control_frames_total{direction="from_backend",opcode="pong"}'] == 1
            assert found["bascule_bridges_open"] == 1
            assert found["bascule_client_connections"] == 1
            assert found["bascule_backend_connections"] == 1
            assert found['bascule_route_websockets_open{route="*/"}'] == 1
            endpoint = f'{{upstream="backend",endpoint="127.0.0.1:{backend.port}"}}'
            assert found[f"bascule_endpoint_in_use{endpoint}"] == 1
            client.close(4321)
        key = 'bascule_closes_total{side="client",code="4xxx",closed_by="client"}'
        wait_sample(port, key, 1)
        found = samples(port)
        assert found["bascule_bridge_duration_seconds_count"] == 1
        assert found["bascule_request_duration_seconds_count"] == 0
        assert found['bascule_handshakes_total{result="accepted"}'] == 1
        assert found["bascule_bridges_open"] == 0
        assert found["bascule_backend_connections"] == 0
        assert found["bascule_process_resident_memory_bytes"] > 1 << 20


def test_round_trips_are_measured():
    keepalive = {"interval": "1s", "timeout": "2s", "upstream_interval": "1s",
                 "upstream_timeout": "2s"}
    routes = [harness.route(websocket={"keepalive": keepalive})]
    with AsyncBackend(echo) as backend, administered([backend.port], routes=routes) as (running, port):
        with connect(running.url("/ws"), ping_interval=None):
            for peer in ("client", "backend"):
                name = f'bascule_ping_round_trip_seconds_count{{peer="{peer}"}}'
                wait_until(lambda: samples(port)[name] >= 1, what=name)


def promtool():
    own = harness.ROOT / ".build/tools/promtool"
    return str(own) if own.exists() else shutil.which("promtool")


def test_open_descriptors_are_counted():
    with RawBackend(harness.record) as backend, administered([backend.port]) as (running, port):
        wires = [frames.open_websocket(running.address) for _ in range(20)]
        # The question for it has one too.
        wait_until(lambda: samples(port)["bascule_process_open_fds"] == running.descriptors() + 1,
                   what="the same number")
        assert running.descriptors() > 40
        for wire in wires:
            wire.close()


@pytest.mark.skipif(promtool() is None, reason="promtool is not installed")
def test_promtool_has_no_complaint():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        with connect(running.url("/ws")) as client:
            client.send("x")
            client.recv()
        text = ask(port, "/metrics").text
    done = subprocess.run([promtool(), "check", "metrics"], input=text, text=True,
                          capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_dashboard_asks_for_metrics_that_exist():
    text = (harness.ROOT / "conf/grafana/bascule.json").read_text()
    wanted = set()
    for panel in json.loads(text)["panels"]:
        for target in panel.get("targets", []):
            wanted |= set(re.findall(r"bascule_\w+", target["expr"]))
    assert len(wanted) > 20
    with AsyncBackend(echo) as backend, administered([backend.port]) as (_, port):
        names = {key.partition("{")[0] for key in samples(port)}
    assert wanted - names == set()


def test_clients_add_no_series():
    """10,000 hosts, paths and origins, and every kind of close code."""
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        before = set(samples(port))
        with frames.connect(running.address) as sock:
            sock.settimeout(30)
            reader = sock.makefile("rb")
            for batch in range(100):
                numbers = range(batch * 100, batch * 100 + 100)
                sock.sendall(b"".join(
                    b"GET /p%d HTTP/1.1\r\nHost: h%d.example\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                    b"Origin: https://o%d.example\r\nUser-Agent: u%d\r\n\r\n" % (n, n, n, n)
                    for n in numbers))
                for _ in numbers:
                    assert reader.readline().split()[1] == b"403"
                    length = 0
                    while (line := reader.readline()) != b"\r\n":
                        name, _, value = line.partition(b":")
                        length = int(value) if name == b"Content-Length" else length
                    reader.read(length)
        for code in range(4000, 4040):
            with connect(running.url("/")) as client:
                client.close(code)
        wait_sample(port, "bascule_bridges_open", 0)
        found = samples(port)
        assert set(found) == before
        assert found['bascule_handshakes_total{result="origin_refused"}'] == 10_000
        assert found['bascule_closes_total{side="client",code="4xxx",closed_by="client"}'] == 40


# Protection


def test_the_host_must_be_the_listeners_own():
    admin = {"hosts": ["Gateway.Internal"]}
    with AsyncBackend(echo) as backend, administered([backend.port], admin) as (_, port):
        for host in ("localhost", f"localhost:{port}", f"127.0.0.1:{port}", "127.0.0.1",
                     "gateway.internal", "GATEWAY.internal:80", "[::1]"):
            assert ask(port, "/metrics", host=host).status == 200, host
        # A name of a stranger that resolves to this machine.
        for host in ("evil.example", f"evil.example:{port}", "10.0.0.1", "localhost.evil.example",
                     "x.gateway.internal"):
            for target in ("/metrics", "/healthz", "/connections", "/nothing"):
                assert ask(port, target, host=host).status == 403, host
        assert ask(port, "/drain", "POST", host="evil.example", fields=CHANGE).status == 403


def test_pages_of_other_origins_get_nothing():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        own = f"localhost:{port}"
        assert ask(port, "/config", host=own, fields={"Origin": f"http://{own}"}).status == 200
        for origin in ("http://evil.example", "null", f"https://{own}", "http://localhost",
                       f"http://127.0.0.1:{port}", "nonsense", ""):
            for target, method in (("/config", "GET"), ("/drain", "POST")):
                answer = ask(port, target, method, host=own, fields={"Origin": origin, **CHANGE})
                assert answer.status == 403, origin
        assert running.process.poll() is None


def test_changes_need_a_field_that_pages_cannot_send_unasked():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        for target, method in (("/drain", "POST"), ("/reload", "POST"),
                               ("/connections/00000000-000000000001", "DELETE")):
            assert ask(port, target, method).status == 403
            assert ask(port, target, "GET", fields=CHANGE).status == 405
        # What a browser asks before such a field.
        preflight = ask(port, "/drain", "OPTIONS", fields={
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-bascule"})
        assert preflight.status == 405
        assert not any(name.startswith("access-control") for name in preflight.fields)
        assert running.process.poll() is None


def test_the_token():
    with AsyncBackend(echo) as backend, administered([backend.port], {"token": TOKEN}) as (_, port):
        for target in ("/healthz", "/readyz"):
            assert ask(port, target).status == 200
        for target in ("/metrics", "/config", "/connections", "/nothing"):
            refused = ask(port, target)
            assert (refused.status, refused.fields["www-authenticate"]) == (401, "Bearer")
            for wrong in (TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "x" * len(TOKEN)):
                assert ask(port, target, token=wrong).status == 401
        assert ask(port, "/metrics", token=TOKEN).status == 200
        assert ask(port, "/metrics", fields={"Authorization": f"bearer {TOKEN}"}).status == 200
        assert ask(port, "/metrics", fields={"Authorization": f"Basic {TOKEN}"}).status == 401
        assert ask(port, "/drain", "POST", fields=CHANGE).status == 401


def check(text):
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name) / "bascule.yaml"
        path.write_text(text)
        return subprocess.run([harness.BINARY, "check", "--config", str(path)], text=True,
                              capture_output=True, timeout=30)


@pytest.mark.parametrize("bind, is_local", [
    ("127.0.0.1:0", True), ("127.8.9.1:0", True), ("localhost:0", True), ("0.0.0.0:0", False),
    ("[::]:0", False)])
def test_beyond_this_machine_it_needs_a_token(bind, is_local):
    for token in (None, TOKEN):
        admin = {"bind": bind, **({"token": token} if token else {})}
        done = check(configuration(free_port(), ["127.0.0.1:1"], admin=admin))
        assert done.returncode == (0 if is_local or token else 78), done.stderr
        assert is_local or token or "add a token here" in done.stderr


def test_a_unix_socket_is_its_owners():
    with tempfile.TemporaryDirectory() as name, AsyncBackend(echo) as backend:
        path = f"{name}/admin.sock"
        with gateway([backend.port], admin={"bind": f"unix:{path}"}) as running:
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            assert ask(path, "/healthz").status == 200
            assert ask(path, "/healthz", host="evil.example").status == 403
            assert command("health", "--admin", f"unix:{path}").returncode == 0
            assert running.wait_event(message="listening", service="admin")
        assert not os.path.exists(path)


def test_more_clients_than_it_takes_do_not_keep_the_gateway_from_its_own():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        held = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(100)]
        with connect(running.url("/")) as client:
            client.send("x")
            assert client.recv() == "x"
        for sock in held:
            sock.close()
        wait_until(lambda: ask(port, "/healthz").status == 200)
