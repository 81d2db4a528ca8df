"""Kinds of sockets: unix paths and IPv6 on both sides, and what a start does to them."""

import json
import os
import socket
import stat
import subprocess

import pytest

import frames
from harness import (BINARY, RawBackend, configuration, free_port, gateway, raw_echo, route,
                     run_gateway)


def exchange(address):
    with frames.open_websocket(address) as client:
        client.send_frame(frames.TEXT, b"over any socket")
        assert client.read_frame().payload == b"over any socket"


def test_unix_sockets_on_both_sides(tmp_path):
    front, back = str(tmp_path / "front.sock"), str(tmp_path / "back.sock")
    with RawBackend(raw_echo, family=socket.AF_UNIX, address=back):
        text = "\n".join([
            "workers: 2", "listeners:", "  - " + json.dumps({"bind": f"unix:{front}"}),
            "upstreams:", "  backend: " + json.dumps({"endpoints": [f"unix:{back}"]}),
            "routes:", "  - " + route(), "timeouts: {drain: 2s}", ""])
        with run_gateway(text, [], addresses=[front]):
            for _ in range(10):
                exchange(front)
            assert stat.S_IMODE(os.stat(front).st_mode) & 0o007 == 0


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path):
    front = str(tmp_path / "front.sock")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(front)
    stale.close()
    with RawBackend(raw_echo) as backend:
        text = "\n".join([
            "workers: 1", "listeners:", "  - " + json.dumps({"bind": f"unix:{front}"}),
            "upstreams:", "  backend: " + json.dumps({"endpoints": [f"127.0.0.1:{backend.port}"]}),
            "routes:", "  - " + route(), "timeouts: {drain: 2s}", ""])
        with run_gateway(text, [], addresses=[front]) as running:
            exchange(front)
            second = tmp_path / "second.yaml"
            second.write_text(text)
            done = subprocess.run([BINARY, "run", "--config", str(second)], capture_output=True,
                                  text=True, timeout=10)
            assert done.returncode == 78, done.stdout + done.stderr
            exchange(front)
            assert running.process.poll() is None


def test_ipv6_on_both_sides():
    try:
        port = free_port(socket.AF_INET6, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with RawBackend(raw_echo, family=socket.AF_INET6, address=("::1", 0)) as backend:
        text = configuration(port, [f"[::1]:{backend.port}"], listener={"bind": f"[::1]:{port}"})
        with run_gateway(text, [port], addresses=[("::1", port)]):
            exchange(("::1", port))


def test_a_name_is_resolved_at_start():
    with RawBackend(raw_echo) as backend, gateway([f"localhost:{backend.port}"]) as running:
        exchange(running.address)


def test_a_port_in_use_is_an_error_with_exit_78(tmp_path):
    with RawBackend(raw_echo) as backend, gateway([backend.port]) as running:
        path = tmp_path / "bascule.yaml"
        path.write_text(configuration(running.ports[0], [f"127.0.0.1:{backend.port}"]))
        done = subprocess.run([BINARY, "run", "--config", str(path)], capture_output=True,
                              text=True, timeout=10)
        assert done.returncode == 78
        assert str(running.ports[0]) in done.stdout + done.stderr


def test_several_workers_share_a_port():
    with RawBackend(raw_echo) as backend:
        port = free_port()
        text = configuration(port, [f"127.0.0.1:{backend.port}"]).replace("workers: 1", "workers: 4")
        with run_gateway(text, [port]) as running:
            for _ in range(40):
                exchange(running.address)


def test_standard_streams_may_be_closed(tmp_path):
    with RawBackend(raw_echo) as backend:
        port = free_port()
        path = tmp_path / "bascule.yaml"
        path.write_text(configuration(port, [f"127.0.0.1:{backend.port}"]))
        process = subprocess.Popen(["sh", "-c", f"exec '{BINARY}' run --config '{path}' <&- >&- 2>&-"])
        try:
            from harness import wait_listening
            wait_listening(process, [("127.0.0.1", port)], [])
            exchange(("127.0.0.1", port))
        finally:
            process.terminate()
            assert process.wait(timeout=10) == 0
