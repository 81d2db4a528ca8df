"""Peers that mean harm. After each attack the gateway is the same process, a WebSocket that was open
before still echoes, descriptors and memory are back where they were, and the CPU is idle."""

import contextlib
import json
import os
import pathlib
import time

import frames
from frames import TEXT
from harness import RawBackend, gateway, raw_echo, route, wait_until

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
    """Neither computing nor waking up without need, as soon as what was under way has ended: one
    that spins does so in every window."""
    for _ in range(6):
        used, woken = processor_seconds(running), wakeups(running)
        time.sleep(seconds)
        used, woken = processor_seconds(running) - used, wakeups(running) - woken
        if used <= 0.1 * seconds + 0.02 and woken <= 40 * seconds:
            return
    raise AssertionError(f"not idle: {used:.2f} s of CPU, {woken} wake-ups in {seconds} s")


def assert_log_is_json(running):
    for line in list(running.lines):
        event = json.loads(line)
        assert isinstance(event, dict)


def settled_descriptors(running):
    """How many there are when all threads have begun: the last may still be opening its own."""
    looks = []

    def stays():
        looks.append(running.descriptors())
        return len(looks) >= 20 and len(set(looks[-20:])) == 1

    wait_until(stays, what="a number of descriptors that stays")
    return looks[-1]


@contextlib.contextmanager
def attacked(serve=raw_echo, grows_kib=8 * 1024, **keywords):
    """A gateway with a bystander; yields (gateway, backend) and then asserts that all is well.
    `serve` is for upgrades; a plain request that reaches the backend gets 204."""
    def bystander_first(wire):
        if not wire.field("Upgrade"):
            return wire.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        (raw_echo if b"/bystander" in wire.head.split(b"\r\n")[0] else serve)(wire)

    with RawBackend(bystander_first) as backend, gateway([backend.port], **keywords) as running:
        bystander = frames.open_websocket(running.address, path="/bystander")
        # Both log threads are at work: what they have opened belongs to the baseline.
        running.wait_event(event="open")
        wait_until(lambda: running.log_contains("listening"))
        descriptors, memory = settled_descriptors(running), running.memory_kib()
        yield running, backend
        bystander.send_frame(TEXT, b"still here")
        assert bystander.read_until(TEXT).payload == b"still here"
        wait_until(lambda: running.descriptors() <= descriptors, 8, "descriptors given back")
        assert_idle(running)
        assert running.memory_kib() - memory < grows_kib
        assert_log_is_json(running)
        bystander.close()


#: What the gateway answers by itself is under /local; the rest goes to the backend.
LOCAL = [route(), json.dumps({"path": "/local", "respond": {"status": 200, "body": "local"}})]


def quick(**timeouts):
    """Short timeouts, so that tests need not wait."""
    return {"timeouts": {"drain": "2s", **timeouts}}
