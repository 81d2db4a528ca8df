"""Attacks by number, size and slowness, and on limits and sockets (see attacks.py)."""

import contextlib
import random
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

import frames
from attacks import assert_idle, assert_log_is_json, attacked, processor_seconds, quick
from frames import BINARY, PING, PONG, TEXT
from harness import (RawBackend, answer_upgrade, configuration, free_port, raw_echo,
                     record, route, run_gateway, wait_until)


@pytest.mark.parametrize("mode", ["bridge", "tunnel"])
def test_a_backend_that_floods_a_slow_reader_is_held_back(mode):
    def flood(wire):
        answer_upgrade(wire)
        chunk = frames.frame(BINARY, b"\0" * 60_000) * 20
        wire.sock.settimeout(1)
        wire.sent = 0
        with contextlib.suppress(OSError):
            while True:
                wire.sent += wire.sock.send(chunk)

    routes = [route(path="/bystander"), route(websocket={"mode": mode})]
    with attacked(flood, routes=routes, **quick(write_stall="3s")) as (running, backend):
        clients = []
        for _ in range(20):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(5)
            sock.connect(running.address)
            clients.append(frames.open_websocket(None, sock=sock))
        time.sleep(1)
        assert running.memory_kib() < 40 * 1024
        assert_idle(running)
        for client in clients[:10]:
            client.reset()
        wait_until(lambda: running.descriptors() < 20, 8, "the stalled ones dropped")
        for client in clients[10:]:
            client.close()


def test_a_storm_of_resets_is_over_in_two_seconds():
    with attacked(raw_echo, grows_kib=24 * 1024) as (running, backend):
        before = running.descriptors()
        clients = [frames.open_websocket(running.address) for _ in range(800)]
        heads = [frames.connect(running.address) for _ in range(800)]
        for sock in heads:
            sock.send(b"GET / HT")
        wait_until(lambda: running.descriptors() >= before + 2400)
        running.process.send_signal(signal.SIGSTOP)
        for wire in clients + [frames.Wire(sock, True) for sock in heads]:
            wire.reset()
        running.process.send_signal(signal.SIGCONT)
        wait_until(lambda: running.descriptors() <= before, 2, "descriptors given back")


def test_running_out_of_descriptors_neither_spins_nor_ends_the_process(tmp_path):
    """Descriptors are taken away while it runs, so that its own reckoning does not hold."""
    with attacked(raw_echo) as (running, _):
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (40, 40))
        socks = [frames.connect(running.address) for _ in range(100)]
        request, _ = frames.upgrade_request()
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.send(request)
        time.sleep(0.5)
        used = processor_seconds(running)
        time.sleep(1)
        assert processor_seconds(running) - used < 0.1
        assert len([e for e in running.events if e.get("event") == "accept_failed"]) < 10
        for sock in socks:
            frames.Wire(sock, True).reset()
        time.sleep(0.5)
        with frames.open_websocket(running.address) as client:
            client.send_frame(TEXT, b"again")
            assert client.read_frame().payload == b"again"


@pytest.mark.parametrize("seed", range(2))
def test_garbage_on_a_tls_listener(seed, tmp_path):
    chance = random.Random(seed)
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost",
                    "-days", "2"], check=True, capture_output=True)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with RawBackend(raw_echo) as backend:
        port = free_port()
        tls = {"tls": {"certificates": [{"certificate": str(certificate), "key": str(key)}]}}
        text = configuration(port, [f"127.0.0.1:{backend.port}"], listener=tls,
                             **quick(tls_handshake="500ms", request_head="500ms", close="300ms"))
        with run_gateway(text, [port]) as running:
            sock = context.wrap_socket(frames.connect(running.address), server_hostname="localhost")
            bystander = frames.open_websocket(None, sock=sock)
            before = running.descriptors()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            with contextlib.suppress(ssl.SSLWantReadError):
                context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
            hello = outgoing.read()
            for number in range(150):
                data = bytearray(hello)
                for _ in range(chance.randrange(4)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                data = bytes(data[:chance.randrange(len(data) + 1)]) + chance.randbytes(
                    chance.randrange(200))
                with contextlib.suppress(OSError):
                    peer = frames.connect(running.address)
                    peer.sendall(data)
                    if number % 3:
                        frames.Wire(peer, True).reset()
                    else:
                        peer.close()
            # Established, then garbage instead of a record, or a cut without close_notify.
            for number in range(30):
                raw = frames.connect(running.address)
                inner = context.wrap_socket(raw.dup(), server_hostname="localhost")
                wire = frames.open_websocket(None, sock=inner)
                wire.send_frame(TEXT, b"half")
                with contextlib.suppress(OSError):
                    raw.sendall(chance.randbytes(100))
                    frames.Wire(raw, True).reset() if number % 2 else raw.shutdown(socket.SHUT_WR)
                raw.close()
                inner.close()
            bystander.send_frame(TEXT, b"still here")
            assert bystander.read_until(TEXT).payload == b"still here"
            wait_until(lambda: running.descriptors() <= before, 8, "descriptors given back")
            assert_idle(running)
            assert_log_is_json(running)
            bystander.close()




def test_the_limit_per_address_is_kept_and_given_back():
    with attacked(raw_echo, limits={"per_address": 10}) as (running, _):
        for _ in range(3):
            socks = [frames.connect(running.address) for _ in range(30)]
            time.sleep(0.2)
            assert sum(1 for sock in socks if not has_ended(sock)) == 9
            for sock in socks:
                frames.Wire(sock, True).reset()
            time.sleep(0.2)
        told = [e for e in running.events if e.get("limit") == "limits.per_address"]
        assert len(told) == 1 and told[0]["client"].startswith("127.0.0.1:")


def has_ended(sock):
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_handshakes_in_flight_are_limited_and_an_answered_one_is_not_in_flight():
    never = threading.Event()

    def serve(wire):
        if b"/silent" in wire.head:
            never.wait(10)
        else:
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            never.wait(10)

    with attacked(serve, limits={"handshakes": 5}) as (running, backend):
        def ask(path):
            return frames.ask(running.address, frames.upgrade_request(path=path)[0])

        streams = [ask("/stream") for _ in range(8)]
        assert [wire.status for wire in streams] == [200] * 8
        silent = [frames.connect(running.address) for _ in range(5)]
        for sock in silent:
            sock.send(frames.upgrade_request(path="/silent")[0])
        wait_until(lambda: len(backend.wires) == 14, what="handshakes")
        assert ask("/stream").status == 503
        for sock in silent:
            frames.Wire(sock, True).reset()
        time.sleep(0.2)
        streams.append(ask("/stream"))
        assert streams[-1].status == 200
        for wire in streams:
            wire.close()
        never.set()


def test_a_client_that_floods_a_stuck_backend_is_held_back():
    hold = threading.Event()

    def stuck(wire):
        answer_upgrade(wire)
        hold.wait(10)

    with attacked(stuck, **quick(write_stall="2s", close="500ms")) as (running, _):
        client = frames.open_websocket(running.address)
        client.sock.settimeout(1)
        message = frames.frame(BINARY, bytes(100_000), mask=b"\0\0\0\0") * 10
        with pytest.raises(OSError):
            for _ in range(200):
                client.send(message)
        assert running.memory_kib() < 24 * 1024
        assert_idle(running)
        client.sock.settimeout(5)
        assert client.read_to_end()
        hold.set()
        client.close()


@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("cut", [1, 3, 6, 500])
def test_a_backend_that_dies_inside_a_frame(way, cut):
    frame = frames.frame(BINARY, b"x" * 1000)

    def dies(wire):
        answer_upgrade(wire)
        wire.send(frame[:cut])
        time.sleep(0.1)
        getattr(wire, way)()

    with attacked(dies) as (running, _):
        with frames.open_websocket(running.address) as client:
            received, reset = client.read_to_end()
            if cut <= 3:
                assert received == b"\x88\x02\x03\xf6" and not reset
            else:
                assert reset and frame.startswith(received)


def test_the_shortest_keepalive_does_not_hurt_a_slow_but_living_reader():
    def flood(wire):
        answer_upgrade(wire)
        for _ in range(120):
            wire.send(frames.frame(BINARY, b"\0" * 60_000))
        wire.send(frames.frame(TEXT, b"done"))
        raw = wire.read_until(TEXT)
        wire.send_frame(TEXT, raw.payload)
        time.sleep(0.2)

    keepalive = {"interval": "20ms", "timeout": "3s", "upstream_interval": "off"}
    routes = [route(path="/bystander"), route(websocket={"keepalive": keepalive})]
    with attacked(flood, routes=routes) as (running, _):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(5)
        sock.connect(running.address)
        client = frames.open_websocket(None, sock=sock)
        count = 0
        while True:
            got = client.read_frame()
            if got.opcode == PING:
                client.send_frame(PONG, got.payload)
            elif got.opcode == TEXT:
                break
            else:
                count += 1
                time.sleep(0.03)
        assert count == 120
        client.send_frame(TEXT, b"alive")
        assert client.read_until(TEXT).payload == b"alive"
        client.close()


def test_unix_sockets_on_both_sides_survive_abrupt_ends(tmp_path):
    front, back = str(tmp_path / "front.sock"), str(tmp_path / "back.sock")
    with RawBackend(raw_echo, family=socket.AF_UNIX, address=back):
        text = configuration(0, [f"unix:{back}"], listener={"bind": f"unix:{front}"})
        with run_gateway(text, [], addresses=[front]) as running:
            bystander = frames.open_websocket(front)
            before = running.descriptors()
            request, _ = frames.upgrade_request()
            stream = request + frames.frame(TEXT, b"x" * 300, mask=b"mask")
            for end in range(0, len(stream), 7):
                sock = frames.connect(front)
                sock.sendall(stream[:end])
                sock.close()
            flood = frames.open_websocket(front)
            flood.sock.settimeout(0.5)
            with contextlib.suppress(OSError):
                for _ in range(100):
                    flood.send(frames.frame(BINARY, bytes(60_000), mask=b"mask"))
            flood.close()
            # The backend was held back for the client: it must be read again to answer its Close.
            wait_until(lambda: running.descriptors() <= before, 2, "descriptors given back")
            bystander.send_frame(TEXT, b"still here")
            assert bystander.read_until(TEXT).payload == b"still here"
            assert_idle(running)


def test_a_tunnel_passes_half_closes_and_breaks_what_broke():
    def serve(wire):
        answer_upgrade(wire)
        if b"/half" in wire.head:
            received, _ = wire.read_to_end()
            wire.send(b"<" + received + b">")
        elif b"/reset" in wire.head:
            wire.send(b"some")
            time.sleep(0.1)
            wire.reset()
        else:
            raw_echo(wire)

    routes = [route(path="/bystander"), route(websocket={"mode": "tunnel"})]
    with attacked(serve, routes=routes) as (running, _):
        with frames.open_websocket(running.address, path="/half") as client:
            client.send(b"\xff anything " * 50_000)
            client.sock.shutdown(socket.SHUT_WR)
            received, reset = client.read_to_end()
            assert received == b"<" + b"\xff anything " * 50_000 + b">" and not reset
        with frames.open_websocket(running.address, path="/reset") as client:
            assert client.read_to_end() == (b"some", True)
