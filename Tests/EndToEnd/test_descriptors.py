"""Out of descriptors (C-10): the process was promised more than the system gives. Who is there stays,
who comes is turned away at once, and nothing spins."""

import contextlib
import itertools
import os
import resource
import socket
import threading
import time

import frames
from attacks import processor_seconds
from frames import PING, PONG, TEXT
from harness import RawBackend, gateway, raw_echo, settled, wait_until

LIMIT = 256
BRIDGES = 60


def turned_away(address, results):
    """Connects, and waits to be told."""
    began = time.monotonic()
    with contextlib.closing(socket.socket()) as sock:
        sock.settimeout(5)
        try:
            sock.connect(address)
            results.append((sock.recv(1), time.monotonic() - began))
        except ConnectionError:
            results.append((b"", time.monotonic() - began))
        except TimeoutError:
            results.append((None, 5))


def come(address, number, seconds, results):
    """Clients at an even pace."""
    began = time.monotonic()
    threads = []
    for index in range(number):
        thread = threading.Thread(target=turned_away, args=(address, results))
        thread.start()
        threads.append(thread)
        time.sleep(max(0, began + index * seconds / number - time.monotonic()))
    for thread in threads:
        thread.join()


def test_2000_attempts_without_a_descriptor():
    with RawBackend(raw_echo) as backend, gateway(
            [backend.port], timeouts={"request_head": "30s"}) as running:
        # Less than it has reckoned with: it may open so many files and no more.
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        bridges = [frames.open_websocket(running.address) for _ in range(BRIDGES)]
        idle = [frames.connect(running.address) for _ in range(LIMIT - running.descriptors())]
        wait_until(lambda: running.descriptors() == LIMIT, what="no descriptor left")
        results = []
        used, began = processor_seconds(running), time.monotonic()
        crowd = threading.Thread(target=come, args=(running.address, 2000, 5, results))
        crowd.start()
        answered = 0
        while crowd.is_alive():
            for bridge in bridges:
                bridge.send_frame(PING, b"there?")
            for bridge in bridges:
                assert bridge.read_until(PONG).payload == b"there?"
                answered += 1
            time.sleep(0.2)
        crowd.join()
        share = (processor_seconds(running) - used) / (time.monotonic() - began)
        print(f"{len(results)} turned away within "
              f"{max(seconds for _, seconds in results):.2f} s each, {share:.1%} of a core")
        assert len(results) == 2000 and answered >= 10 * BRIDGES
        assert all(data == b"" for data, _ in results), "clients were left without a word"
        assert max(seconds for _, seconds in results) < 1
        assert share <= 0.10, f"{share:.1%} of a core"
        lines = [e for e in running.events if e.get("message") == "cannot accept connections"]
        assert len(lines) == 1 and lines[0]["reason"] == "too many open files"
        # It recovers by itself, and soon.
        for sock in idle:
            sock.close()
        wait_until(lambda: running.descriptors() < LIMIT - 20, what="descriptors given back")
        began = time.monotonic()
        while True:
            with contextlib.suppress(OSError, frames.Ended):
                with frames.open_websocket(running.address) as client:
                    client.send_frame(TEXT, b"again")
                    assert client.read_frame().payload == b"again"
                    break
            assert time.monotonic() - began < 0.5
        for bridge in bridges:
            bridge.close()
    stopped = running.wait_event(message="stopped")
    assert stopped["connections_turned_away"] >= 2000


def test_a_backend_without_a_descriptor_is_503():
    with RawBackend(raw_echo) as backend, gateway([backend.port]) as running:
        clients = [frames.connect(running.address) for _ in range(3)]
        settled(running.descriptors)
        taken = set(os.listdir(f"/proc/{running.process.pid}/fd"))
        number = next(number for number in itertools.count() if str(number) not in taken)
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (number, number))
        request, _ = frames.upgrade_request()
        for client in clients:
            client.sendall(request)
            client.settimeout(5)
            assert client.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert not running.log_contains("endpoint taken out")
