"""The ceiling of memory (X3). Each step of it, by a ceiling that a reload moves to just above what
the gateway uses; and once for real, with clients that do not read."""

import contextlib
import json
import socket
import subprocess
import time

import frames
import h2peer
from frames import BINARY, PING, PONG, TEXT
from harness import (BINARY as PROGRAM, RawBackend, answer_upgrade, configuration, free_port, raw_echo, route,
                     run_gateway, wait_until)

MIB = 1 << 20
REFUSED_STREAM = 7
LOCAL = [json.dumps({"path": "/local", "respond": {"status": 200, "body": "ok\n"}}), route()]


def resident(running):
    return int(next(line.split()[1] for line in open(f"/proc/{running.process.pid}/status")
                    if line.startswith("VmRSS:"))) * 1024


class Moved:
    """A gateway whose ceiling can be moved."""

    def __init__(self, running, text):
        self.running, self.text = running, text

    def ceiling(self, share=None):
        """Such that what is used is `share` of it; without one there is none."""
        limit = "off" if share is None else int(resident(self.running) / share)
        path = f"{self.running.directory}/bascule.yaml"
        with open(path, "w") as file:
            file.write(self.text + f"limits: {{memory: {limit}}}\n")
        self.running.process.send_signal(1)

    def count(self, message):
        return sum(event.get("message", "").startswith(message) for event in self.running.events)

    def wait(self, message, count=1):
        wait_until(lambda: self.count(message) >= count, 8, f"{message}, {count} times")


@contextlib.contextmanager
def moved():
    with RawBackend(raw_echo) as backend:
        port = free_port()
        text = configuration(port, [f"127.0.0.1:{backend.port}"], LOCAL,
                             listener={"protocols": ["h2", "http/1.1"]})
        with run_gateway(text, [port]) as running:
            yield Moved(running, text)


def ask(sock, path="/local"):
    """The head of the answer."""
    sock.settimeout(5)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: gateway.example\r\n\r\n".encode())
    return sock.recv(4096)


def assert_closed(sock):
    sock.settimeout(5)
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass


def test_the_steps_of_the_ceiling():
    with moved() as gateway:
        running = gateway.running
        bridge = frames.open_websocket(running.address)
        idle, asking = frames.connect(running.address), frames.connect(running.address)
        assert ask(idle).startswith(b"HTTP/1.1 200") and ask(asking).startswith(b"HTTP/1.1 200")
        streams = h2peer.connect(running.address)
        with streams, h2peer.connect(running.address) as carrier:
            socket2 = carrier.open_websocket()
            gateway.ceiling(0.92)
            gateway.wait("memory is short")

            # HTTP/1.1: new clients get 503, whatever they ask for; old ones are served, but for a
            # WebSocket.
            for request in (b"GET /local HTTP/1.1\r\nHost: a.example\r\n\r\n",
                            frames.upgrade_request()[0]):
                sock = frames.connect(running.address)
                sock.settimeout(5)
                sock.sendall(request)
                head = sock.recv(4096)
                assert head.startswith(b"HTTP/1.1 503 ") and b"Retry-After: " in head
                assert b"Connection: close" in head
                assert_closed(sock)
            assert ask(idle).startswith(b"HTTP/1.1 200")
            assert asking.send(frames.upgrade_request()[0]) and \
                asking.recv(4096).startswith(b"HTTP/1.1 503 ")

            # HTTP/2: the same, with REFUSED_STREAM.
            old = streams.get(path="/local")
            assert old.wait_head() == 200
            refused = streams.extended_connect()
            assert refused.wait_reset() == REFUSED_STREAM
            with h2peer.connect(running.address) as new:
                assert new.get(path="/local").wait_reset() == REFUSED_STREAM

            # Idle connections go, WebSockets stay.
            gateway.ceiling(0.98)
            gateway.wait("memory is very short")
            assert_closed(idle)
            streams.wait_closed()
            bridge.send_frame(TEXT, b"still here")
            assert bridge.read_frame().payload == b"still here"
            socket2.send_frame(TEXT, b"and so am I")
            assert socket2.read_frame().payload == b"and so am I"

            gateway.ceiling(0.5)
            gateway.wait("memory suffices again")
            with frames.open_websocket(running.address) as client:
                client.send_frame(PING, b"")
                client.read_until(PONG)
        bridge.close()
    stopped = running.wait_event(message="stopped")
    assert stopped["memory_refusals"] >= 5 and stopped["memory_closes"] >= 2


def test_no_ceiling_after_off():
    with moved() as gateway:
        gateway.ceiling(0.99)
        gateway.wait("memory is very short")
        gateway.ceiling()
        gateway.wait("memory suffices again")
        assert ask(frames.connect(gateway.running.address)).startswith(b"HTTP/1.1 200")


def test_clients_that_do_not_read_are_not_joined_by_more():
    """What is buffered for them fills the memory. It comes back when they leave."""
    def flood(wire):
        answer_upgrade(wire)
        with contextlib.suppress(OSError):
            while True:
                wire.sock.sendall(frames.frame(BINARY, b"\0" * 60_000) * 4)

    with RawBackend(flood) as backend:
        port = free_port()
        text = configuration(port, [f"127.0.0.1:{backend.port}"], LOCAL,
                             timeouts={"write_stall": "60s"})
        with run_gateway(text, [port]) as running:
            limit = resident(running) + 12 * MIB
            with open(f"{running.directory}/bascule.yaml", "w") as file:
                file.write(text + f"limits: {{memory: {limit}}}\n")
            running.process.send_signal(1)
            running.wait_event(message="configuration reloaded")
            clients, refused = [], 0
            deadline = time.monotonic() + 20
            while not refused and time.monotonic() < deadline:
                sock = socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.settimeout(5)
                sock.connect(running.address)
                sock.sendall(frames.upgrade_request()[0])
                refused += sock.recv(12).endswith(b"503")
                clients.append(sock)
                time.sleep(0.02)
            assert refused, f"{len(clients)} clients and {resident(running) / limit:.0%} of the ceiling"
            assert resident(running) < 1.2 * limit
            for sock in clients:
                sock.close()
            running.wait_event(20, message="memory suffices again")
            assert ask(frames.connect(running.address)).startswith(b"HTTP/1.1 200")


def test_a_ceiling_has_to_be_a_size(tmp_path):
    for value, words in (("much", "is not a size"), ("1KiB", "out of range"), ("auto", None),
                         ("off", None), ("64MiB", None)):
        path = tmp_path / "bascule.yaml"
        path.write_text(configuration(free_port(), ["127.0.0.1:9"], limits={"memory": value}))
        done = subprocess.run([PROGRAM, "check", "--config", str(path)], capture_output=True,
                              text=True)
        assert done.returncode == (78 if words else 0)
        assert not words or words in done.stderr
