"""The adapter passes what a client and a server say, and how they end, unchanged."""

import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "EndToEnd"))
import frames  # noqa: E402
from harness import RawBackend, free_port, gateway, raw_echo, record, wait_listening, wait_until  # noqa: E402


@contextlib.contextmanager
def adapted(serve, *options):
    """(address of the adapter, backend) with a gateway between them."""
    port = free_port()
    with RawBackend(serve) as backend, \
            gateway([backend.port], listener={"protocols": ["h2"]}) as running:
        process = subprocess.Popen([sys.executable, str(HERE / "h2_adapter.py"), str(port),
                                    str(running.ports[0]), *options], stderr=subprocess.DEVNULL)
        try:
            wait_listening(process, [("127.0.0.1", port)], [])
            yield ("127.0.0.1", port), backend
        finally:
            process.kill()
            process.wait()


def test_bytes_pass_unchanged_over_more_connections_than_one_session_holds():
    with adapted(raw_echo, "--streams", "3") as (address, _):
        clients = [frames.open_websocket(address) for _ in range(7)]
        for size in [0, 1, 126, 70_000, 1 << 20]:
            for client in clients:
                data = os.urandom(size)
                client.send_frame(frames.BINARY, data)
                assert client.read_frame().payload == data
        for client in clients:
            client.send_close(4000, b"done")
            assert client.read_frame().close_code == 4000
            assert client.read_to_end() == (b"", False)


def test_a_refusal_passes():
    with adapted(raw_echo) as (address, _):
        request, _ = frames.upgrade_request(fields=[("Origin", "https://evil.example")])
        assert frames.ask(address, request).status == 403


@pytest.mark.parametrize("way, sent, end", [
    ("close", b"\x81\x80wxyz", "closed"), ("reset", b"\x81\x80wxyz", "closed"),
    ("close", b"\x81\x85wxyz", "reset"), ("reset", b"\x81\x85wxyz", "reset")])
def test_ends_pass(way, sent, end):
    """Between frames the gateway says 1001, inside one it resets the backend."""
    with adapted(record) as (address, backend):
        client = frames.open_websocket(address)
        client.send(sent)
        wire = backend.wait_wire()
        wait_until(lambda: getattr(wire, "received", b"") == sent)
        getattr(client, way)()
        if end == "reset":
            wait_until(lambda: wire.ended == "reset", what="the reset")
        else:
            wait_until(lambda: wire.received[len(sent):][:1] == b"\x88", what="a Close")
