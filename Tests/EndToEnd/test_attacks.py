"""Peers that mean harm. After each attack the gateway is the same process, a WebSocket that was open
before still echoes, descriptors and memory are back where they were, and the CPU is idle."""

import contextlib
import json
import os
import pathlib
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
from frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload
from harness import (BINARY as PROGRAM, RawBackend, answer_upgrade, configuration, free_port,
                     gateway, raw_echo, record, route, run_gateway, wait_until)

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(running):
    fields = pathlib.Path(f"/proc/{running.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def wakeups(running):
    """How often any thread of the process has gone to sleep."""
    total = 0
    for task in pathlib.Path(f"/proc/{running.process.pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def assert_idle(running, seconds=0.5):
    """Neither computing nor waking up without need."""
    used, woken = processor_seconds(running), wakeups(running)
    time.sleep(seconds)
    assert processor_seconds(running) - used <= 0.1 * seconds + 0.02
    assert wakeups(running) - woken <= 40 * seconds


def assert_log_is_json(running):
    for line in list(running.lines):
        event = json.loads(line)
        assert isinstance(event, dict)


@contextlib.contextmanager
def attacked(serve=raw_echo, grows_kib=8 * 1024, **keywords):
    """A gateway with a bystander; yields (gateway, backend) and then asserts that all is well."""
    def bystander_first(wire):
        (raw_echo if b"/bystander" in wire.head.split(b"\r\n")[0] else serve)(wire)

    with RawBackend(bystander_first) as backend, gateway([backend.port], **keywords) as running:
        bystander = frames.open_websocket(running.address, path="/bystander")
        descriptors, memory = running.descriptors(), running.memory_kib()
        yield running, backend
        bystander.send_frame(TEXT, b"still here")
        assert bystander.read_until(TEXT).payload == b"still here"
        wait_until(lambda: running.descriptors() <= descriptors, 8, "descriptors given back")
        assert_idle(running)
        assert running.memory_kib() - memory < grows_kib
        assert_log_is_json(running)
        bystander.close()


def quick(**timeouts):
    """Short timeouts, so that tests need not wait."""
    return {"timeouts": {"drain": "2s", **timeouts}}


# Clients before the upgrade


def test_requests_whose_answers_are_never_read_do_not_fill_the_memory():
    with attacked(**quick(write_stall="2s")) as (running, _):
        before = running.memory_kib()
        sock = frames.connect(running.address)
        sock.settimeout(0.5)
        requests = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n" * 4000
        with contextlib.suppress(OSError):
            for _ in range(300):
                sock.send(requests)
        assert running.memory_kib() - before < 8 * 1024
        # Nobody reads: the write stall ends it.
        wait_until(lambda: sock.fileno() >= 0 and is_reset(sock), 6, "the end of the connection")
        sock.close()


def is_reset(sock):
    try:
        sock.send(b"x")
        return False
    except TimeoutError:
        return False
    except OSError:
        return True


def test_pipelined_requests_beyond_the_output_limit_are_all_answered():
    with attacked() as (running, _):
        sock = frames.connect(running.address)
        count = 12_000
        requests = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n" * (count - 1)
        requests += b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
        threading.Thread(target=sock.sendall, args=(requests,), daemon=True).start()
        time.sleep(0.5)
        answers, reset = frames.Wire(sock, masks=True).read_to_end()
        assert not reset
        assert answers.count(b"HTTP/1.1 426 ") == count
        sock.close()


def test_a_client_that_resets_while_the_backend_is_silent_is_let_go_at_once():
    never = threading.Event()
    with attacked(lambda wire: never.wait(20)) as (running, backend):
        before = running.descriptors()
        request, _ = frames.upgrade_request()
        clients = [frames.Wire(frames.connect(running.address), masks=True) for _ in range(50)]
        for client in clients:
            client.send(request)
        wait_until(lambda: len(backend.wires) == 51, what="the backends")
        for client in clients:
            client.reset()
        wait_until(lambda: running.descriptors() <= before, 2, "descriptors given back")
        never.set()


def test_what_follows_a_refused_upgrade_is_not_served():
    with gateway([free_port()]) as running:
        request, _ = frames.upgrade_request()
        wire = frames.Wire(frames.connect(running.address), masks=True)
        wire.send(request + b"GET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n")
        answer, _ = wire.read_to_end()
        assert answer.startswith(b"HTTP/1.1 503 ") and answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nConnection: close\r\n" in answer
        assert not running.log_contains("/hidden")


# Bridges


KEEPALIVE = {"interval": "500ms", "timeout": "60s", "upstream_interval": "500ms",
             "upstream_timeout": "60s"}


def test_a_frame_that_is_never_finished_does_not_keep_the_clock_busy():
    with attacked(record) as (running, _), \
            attacked(record, routes=[route(websocket={"keepalive": KEEPALIVE})]) as (pinged, _):
        for gate in (running, pinged):
            stuck = frames.open_websocket(gate.address)
            stuck.send(frames.frame(BINARY, b"x" * 500, mask=b"mask")[:100])
            time.sleep(1.2)
            assert_idle(gate, 1)
            stuck.reset()
