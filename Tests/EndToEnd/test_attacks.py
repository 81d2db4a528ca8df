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


# Heads and handshakes


HEAD_STATUSES = {101, 400, 403, 404, 405, 408, 414, 426, 431, 501, 505}
ODD_BYTES = b"\0\t\r\n \x0b\x0c\x1b\x7f\x80\xff:;,=/\\#?*%@_[]\"'HhG1"


@pytest.mark.parametrize("seed", range(2))
def test_mutated_heads_get_a_proper_answer_or_none(seed):
    chance = random.Random(seed)
    with attacked(record, **quick(close="300ms", request_head="300ms")) as (running, backend):
        for _ in range(60):
            request, _ = frames.upgrade_request(fields=[("Origin", "http://gateway.example")])
            request = bytearray(request)
            for _ in range(chance.randrange(1, 4)):
                place = chance.randrange(len(request))
                change = chance.randrange(3)
                if change == 0:
                    request[place] = chance.choice(ODD_BYTES)
                elif change == 1:
                    request.insert(place, chance.choice(ODD_BYTES))
                else:
                    del request[place:place + chance.randrange(1, 12)]
            with frames.Wire(frames.connect(running.address, 5), masks=True) as wire:
                with contextlib.suppress(OSError):
                    wire.send(bytes(request))
                    wire.sock.shutdown(socket.SHUT_WR)
                answer, _ = wire.read_to_end()
            if answer:
                assert answer.startswith(b"HTTP/1.1 ") and int(answer[9:12]) in HEAD_STATUSES
        time.sleep(0.5)
        for wire in list(backend.wires):
            lines = wire.head.split(b"\r\n")
            assert lines[0].startswith(b"GET /") and lines[0].endswith(b" HTTP/1.1")
            assert not set(wire.head.replace(b"\r\n", b"")) & set(b"\r\n\0\x0b\x0c\x1b\x7f")
            assert all(line.count(b":") and not line.startswith((b" ", b"\t")) for line in lines[1:])
            assert len(wire.fields("Sec-WebSocket-Key")) == len(wire.fields("Host")) == 1


@pytest.mark.parametrize("reset", [True, False])
def test_a_client_may_leave_at_every_byte(reset):
    with attacked(raw_echo, **quick(close="300ms")) as (running, _):
        request, _ = frames.upgrade_request()
        stream = request + frames.frame(TEXT, b"hello", mask=b"mask") + frames.frame(
            CLOSE, b"\x03\xe8", mask=b"mask")
        for end in range(0, len(stream) + 1):
            sock = frames.connect(running.address)
            sock.sendall(stream[:end])
            if end > len(request) and end % 2:
                sock.settimeout(5)
                sock.recv(1)
            frames.Wire(sock, True).reset() if reset else sock.close()


def test_bytes_behind_an_upgrade_wait_for_the_answer():
    ready, seen = threading.Event(), []

    def late(wire):
        wire.sock.settimeout(0.4)
        with contextlib.suppress(TimeoutError):
            wire.fill()
        seen.append(wire.buffer)
        ready.set()
        wire.sock.settimeout(5)
        record(wire)

    with attacked(late) as (running, _):
        request, _ = frames.upgrade_request()
        with frames.Wire(frames.connect(running.address), masks=True) as wire:
            wire.send(request + frames.frame(TEXT, b"early", mask=b"mask"))
            time.sleep(0.1)
            wire.send(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(300_000))
            wire.read_head()
            assert wire.status == 101 and ready.is_set() and seen == [b""]
            assert wire.read_until(CLOSE).close_code == 1002


def answers(*parts, pause=0.0):
    def serve(wire):
        for part in parts:
            wire.send(part)
            time.sleep(pause)
        wire.sock.settimeout(2)
        with contextlib.suppress(OSError):
            wire.read_to_end()
    return serve


def forged(status=b"101 Switching Protocols", accept=None, extra=b"", upgrade=b"websocket",
           connection=b"Upgrade", behind=b""):
    def serve(wire):
        value = accept or frames.accept_value(wire.field("Sec-WebSocket-Key").encode())
        wire.send(b"HTTP/1.1 " + status + b"\r\nUpgrade: " + upgrade + b"\r\nConnection: "
                  + connection + b"\r\nSec-WebSocket-Accept: " + value + b"\r\n" + extra
                  + b"\r\n" + behind)
        wire.sock.settimeout(2)
        with contextlib.suppress(OSError):
            wire.read_to_end()
    return serve


@pytest.mark.parametrize("serve", [
    forged(accept=b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="), forged(upgrade=b"h2c"),
    forged(connection=b"keep-alive"), forged(extra=b"Sec-WebSocket-Protocol: odd\r\n"),
    forged(extra=b"Sec-WebSocket-Extensions: permessage-deflate\r\n"),
    forged(extra=b"Sec-WebSocket-Accept: again\r\n"), forged(extra=b"X: a\rb\r\n"),
    forged(extra=b" folded\r\n"), forged(extra=b"X : y\r\n"), forged(extra=b"X: \0\r\n"),
    forged(extra=b"X: " + b"y" * 70_000 + b"\r\n"), forged(extra=b"X: y\r\n" * 250),
    forged(status=b"1011 No"), forged(status=b"99 No"), forged(status=b"abc No"),
    answers(b"\x15\x03\x03\0\2\2\x28"), answers(b"SSH-2.0-OpenSSH\r\n\r\n"), answers(b"\0" * 5000),
    answers(b"HTTP/2 101 x\r\n\r\n"), answers(b"HTTP/1.1 101 x\n\n"),
    answers(b"HTTP/1.1 100 Continue\r\n\r\n" * 9), answers(b"HTTP/1.1 103 E\r\nLink: x\r\n\r\n" * 50),
    answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
])
def test_a_broken_answer_of_a_backend_is_a_502(serve):
    with attacked(serve) as (running, _):
        request, _ = frames.upgrade_request()
        with frames.Wire(frames.connect(running.address), masks=True) as wire:
            wire.send(request)
            answer, _ = wire.read_to_end()
            assert answer.startswith(b"HTTP/1.1 502 ") and answer.count(b"HTTP/1.") == 1


@pytest.mark.parametrize("serve, status, reset", [
    (answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), 200, True),
    (answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab"), 200, True),
    (answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), 200, True),
    (answers(b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\nsurplus"), 204, False),
    (answers(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nnosurplus"), 403, False),
    (answers(*[bytes([b]) for b in b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno"]), 404, False),
])
def test_a_final_answer_is_relayed_and_only_looks_whole_when_it_is(serve, status, reset):
    with attacked(serve) as (running, _):
        request, _ = frames.upgrade_request()
        with frames.Wire(frames.connect(running.address), masks=True) as wire:
            wire.send(request)
            answer, was_reset = wire.read_to_end()
            assert int(answer[9:12]) == status and was_reset == reset
            assert b"surplus" not in answer and answer.count(b"HTTP/1.") == 1


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


SENT_FRAMES = (TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG)


def strict_frames(data, masked):
    """The opcodes of `data` read by RFC 6455; fails on anything that must not be forwarded. What
    stands at the end may be cut."""
    position, fragmented, opcodes = 0, False, []
    while len(data) - position >= 2:
        first, second = data[position], data[position + 1]
        opcode, fin, length = first & 15, first & 128, second & 127
        assert first & 0x70 == 0 and opcode in SENT_FRAMES and bool(second & 128) == masked
        start = position + 2
        if opcode >= 8:
            assert fin and length <= 125
        elif opcode == CONTINUATION:
            assert fragmented
        else:
            assert not fragmented
        size = {126: 2, 127: 8}.get(length, 0)
        if len(data) < start + size + (4 if masked else 0):
            break
        if size:
            length = int.from_bytes(data[start:start + size], "big")
            assert length >= (126 if size == 2 else 1 << 16) and length < 1 << 63
        start += size
        mask, start = (data[start:start + 4], start + 4) if masked else (b"", start)
        payload = data[start:start + length]
        if opcode == CLOSE:
            assert len(payload) == length and length != 1
        if len(payload) < length:
            break
        if opcode < 8:
            fragmented = not fin
        opcodes.append(opcode)
        position = start + length
        if opcode == CLOSE:
            assert position == len(data), "something follows a Close"
    return opcodes


def some_frames(chance, masked):
    """A valid stream of frames, of which one or two bytes may then be changed."""
    stream = b""
    for _ in range(chance.randrange(1, 8)):
        mask = chance.randbytes(4) if masked else None
        size = chance.choice([0, 1, 5, 125, 126, 127, 300, 65535, 65536])
        kind = chance.randrange(5)
        if kind == 0:
            stream += frames.frame(PING, chance.randbytes(min(size, 125)), mask=mask)
        elif kind == 1:
            stream += frames.frame(PONG, chance.randbytes(min(size, 125)), mask=mask)
        elif kind == 2:
            stream += frames.frame(BINARY, chance.randbytes(size), mask=mask, fin=False)
            stream += frames.frame(PING, b"between", mask=mask)
            stream += frames.frame(CONTINUATION, chance.randbytes(3), mask=mask)
        else:
            stream += frames.frame(TEXT, b"t" * size, mask=mask)
    stream = bytearray(stream)
    for _ in range(chance.randrange(3)):
        place = chance.randrange(min(len(stream), chance.choice([4, 40, 1 << 20])))
        stream[place] = chance.randrange(256)
    if chance.randrange(4) == 0:
        stream += frames.frame(CLOSE, chance.choice([b"", b"x", b"\x03\xe8", b"\x03\xed", b"\x03\xe8\xff",
                                                     b"\x0f\xa0why"]), mask=b"mask" if masked else None)
        stream += chance.randbytes(chance.randrange(20))
    return bytes(stream)


def send_in_pieces(wire, stream, chance):
    size = chance.choice([1 << 20, 1 << 20, 4096, 7])
    if size == 7 and len(stream) > 3000:
        size = 1000
    for start in range(0, len(stream), size):
        wire.send(stream[start:start + size])


@pytest.mark.parametrize("seed", range(2))
def test_mutated_frames_of_a_client_never_reach_the_backend_broken(seed):
    chance = random.Random(seed)
    with attacked(record, **quick(close="300ms")) as (running, backend):
        for number in range(15):
            client = frames.open_websocket(running.address, timeout=5)
            wire = backend.wait_wire(number + 1)
            with contextlib.suppress(OSError):
                send_in_pieces(client, some_frames(chance, masked=True), chance)
                end = chance.randrange(3)
                if end == 0:
                    client.reset()
                elif end == 1:
                    client.sock.shutdown(socket.SHUT_WR)
                    client.read_to_end()
                client.close()
            wait_until(lambda: getattr(wire, "ended", None), 8, "the end of the backend's connection")
            strict_frames(wire.received, masked=True)


@pytest.mark.parametrize("seed", range(2))
def test_mutated_frames_of_a_backend_never_reach_the_client_broken(seed):
    chance = random.Random(seed + 100)

    def attack(wire):
        answer_upgrade(wire)
        send_in_pieces(wire, some_frames(chance, masked=False), chance)
        end = chance.randrange(3)
        if end == 0:
            return wire.reset()
        if end == 1:
            wire.sock.shutdown(socket.SHUT_WR)
        wire.sock.settimeout(0.05)
        with contextlib.suppress(OSError):
            wire.read_to_end()

    with attacked(attack, **quick(close="300ms")) as (running, backend):
        for _ in range(15):
            with frames.open_websocket(running.address, timeout=8) as client:
                received, _ = client.read_to_end()
                strict_frames(received, masked=False)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("bad, code", [
    (b"\x82\xff" + b"\xff" * 8, 1002),
    (b"\x82\xff\x80" + b"\0" * 7, 1002),
    (b"\x82\xff\x7f" + b"\xff" * 7, 1009),
    (b"\x82\xff" + b"\0\0\0\0\1\0\0\1", 1009),
    (b"\x82\xff" + b"\0\0\0\0\0\0\xff\xff", 1002),
    (b"\x82\xfe\0\x7d", 1002),
    (b"\xc2\x81", 1002), (b"\xa2\x81", 1002), (b"\x92\x81", 1002),
    (b"\x83\x81", 1002), (b"\x8b\x81", 1002), (b"\x8f\xff" + b"\xff" * 8, 1002),
    (b"\x80\x81", 1002), (b"\x00\x81", 1002), (b"\x09\x81", 1002), (b"\x89\xfe\0\x7e", 1002),
    (b"\x88\x81mask\0", 1002), (b"\x88\x82\0\0\0\0\x03\xed", 1002), (b"\x88\x82\0\0\0\0\0\0", 1002),
    (b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007),
    (b"\x01\x80mask\x81\x80mask", 1002),
])
def test_a_frame_that_breaks_the_rules_is_answered_and_goes_no_further(bad, code, masked):
    if not masked:
        bad = unmasked(bad)

    def attack(wire):
        answer_upgrade(wire)
        wire.received, wire.ended = b"", None
        if not masked:
            wire.send(frames.frame(TEXT, b"good") + bad)
        try:
            while True:
                wire.received += wire.fill()
        except frames.Ended:
            wire.ended = True

    with attacked(attack, **quick(close="1s")) as (running, backend):
        client = frames.open_websocket(running.address)
        if masked:
            client.send_frame(TEXT, b"good", mask=b"\0\0\0\0")
            client.send(bad)
        received, _ = client.read_to_end()
        wire = backend.wait_wire(1)
        wait_until(lambda: getattr(wire, "ended", None), what="the end of the backend's connection")
        first = b"\x01\x80mask" if bad[:2] == b"\x01\x80" else b"\x01\0" if bad[:2] == b"\1\0" else b""
        if masked:
            assert received == b"\x88\x02" + code.to_bytes(2, "big")
            sent, close = wire.received[:10 + len(first)], wire.received[10 + len(first):]
            assert sent == b"\x81\x84\0\0\0\0good" + first
            assert frames.apply_mask(close[6:], close[2:6]) == b"\x03\xe9" and len(close) == 8
        else:
            assert received == b"\x81\x04good" + first + b"\x88\x02" + (1014).to_bytes(2, "big")
            close = wire.received
            assert frames.apply_mask(close[6:], close[2:6]) == code.to_bytes(2, "big")
            assert len(close) == 8


def unmasked(stream):
    """The same offence as a backend would commit it."""
    return {b"\x88\x81mask\0": b"\x88\x01\0", b"\x88\x82\0\0\0\0\x03\xed": b"\x88\x02\x03\xed",
            b"\x88\x82\0\0\0\0\0\0": b"\x88\x02\0\0", b"\x88\x83\0\0\0\0\x03\xe8\xff": b"\x88\x03\x03\xe8\xff",
            b"\x01\x80mask\x81\x80mask": b"\x01\0\x81\0"}.get(
                stream, stream[:1] + bytes([stream[1] & 127]) + stream[2:])


def test_a_client_that_pings_without_end_is_closed_with_1008():
    with attacked(record) as (running, backend):
        client = frames.open_websocket(running.address)
        wire = backend.wait_wire(1)
        client.send(frames.frame(PING, b"p", mask=b"\0\0\0\0") * 500)
        assert client.read_until(CLOSE).close_code == 1008
        wait_until(lambda: b"\x88" in wire.received, what="a Close")
        assert strict_frames(wire.received, masked=True).count(PING) == 50
        client.close()


@pytest.mark.parametrize("size", [0, 1])
def test_a_message_of_endless_fragments_is_closed_with_1009(size):
    with attacked(record, routes=[route(websocket={"max_message": "64KiB"})]) as (running, backend):
        client = frames.open_websocket(running.address)
        wire = backend.wait_wire(1)
        piece = frames.frame(CONTINUATION, b"x" * size, fin=False, mask=b"\0\0\0\0")
        client.send(frames.frame(TEXT, b"", fin=False, mask=b"\0\0\0\0"))
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.send(piece * 50)
        assert client.read_until(CLOSE).close_code == 1009
        wait_until(lambda: getattr(wire, "ended", None), 8)
        assert strict_frames(wire.received, masked=True).count(CONTINUATION) <= 1024
        client.close()


# Many, slow and large


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


# Closing


def test_what_follows_a_close_is_dropped_and_there_is_no_second_one():
    with attacked(record, **quick(close="500ms")) as (running, backend):
        client = frames.open_websocket(running.address)
        wire = backend.wait_wire(1)
        client.send(frames.frame(CLOSE, b"\x03\xe8", mask=b"mask") * 2
                    + frames.frame(TEXT, b"after", mask=b"mask") + b"\xff" * 1000)
        wait_until(lambda: getattr(wire, "ended", None))
        assert wire.received == frames.frame(CLOSE, b"\x03\xe8", mask=b"mask")
        client.close()


@pytest.mark.parametrize("who", ["client", "backend"])
def test_silence_after_a_close_is_cut_in_time(who):
    def closes(wire):
        answer_upgrade(wire)
        if who == "backend":
            wire.send_close(4000)
        wire.sock.settimeout(10)
        with contextlib.suppress(OSError):
            wire.read_to_end()

    with attacked(closes, **quick(close="500ms")) as (running, _):
        client = frames.open_websocket(running.address)
        if who == "client":
            client.send_close(4000)
        before = time.monotonic()
        received, _ = client.read_to_end()
        assert 0.4 < time.monotonic() - before < 1.5
        strict_frames(received, masked=False)
        client.close()


def test_a_trickle_after_a_close_does_not_hold_the_connection():
    with attacked(record, **quick(close="500ms")) as (running, _):
        client = frames.open_websocket(running.address)
        client.send(b"\xff\xff")
        before = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - before < 5:
                client.send(b"x")
                time.sleep(0.02)
        assert time.monotonic() - before < 2


# The process


def test_signals_by_the_hundred_change_nothing():
    with attacked(raw_echo) as (running, _):
        for _ in range(300):
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
                running.process.send_signal(number)
        time.sleep(0.3)


@pytest.mark.parametrize("second", [False, True])
def test_a_drain_in_the_middle_of_everything(second):
    never = threading.Event()

    def serve(wire):
        kind = wire.head.split(b" ", 2)[1]
        if kind == b"/silent":
            never.wait(8)
        elif kind == b"/half":
            answer_upgrade(wire)
            wire.send(frames.frame(BINARY, b"x" * 1000)[:500])
            never.wait(8)
        elif kind == b"/final":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
            never.wait(8)
        else:
            raw_echo(wire)

    routes = [route(websocket={"mode": "tunnel"}, path="/tunnel"), route()]
    with RawBackend(serve) as backend, gateway([backend.port], routes,
                                               **quick(drain="1500ms", close="500ms")) as running:
        plain = [frames.open_websocket(running.address) for _ in range(5)]
        half = [frames.open_websocket(running.address, path="/half") for _ in range(3)]
        sends = [frames.open_websocket(running.address) for _ in range(3)]
        for client in sends:
            client.send(frames.frame(BINARY, b"x" * 1000, mask=b"mask")[:500])
        tunnels = [frames.open_websocket(running.address, path="/tunnel") for _ in range(3)]
        others = []
        for path in ("/silent", "/final"):
            sock = frames.connect(running.address)
            sock.send(frames.upgrade_request(path=path)[0])
            others.append(sock)
        others += [frames.connect(running.address) for _ in range(3)]
        others[-1].send(b"GET / HT")
        time.sleep(0.3)
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        if second:
            time.sleep(0.1)
            running.process.send_signal(signal.SIGTERM)
        for client in plain:
            assert client.read_until(CLOSE).close_code == 1001
        assert running.process.wait(timeout=4) == 0
        assert time.monotonic() - began < (0.6 if second else 2.5)
        never.set()
        # The harness wants a process that it can stop itself.
        running.process.poll = lambda: None
        for peer in plain + half + sends + tunnels + others:
            peer.close()


def run_with_streams(text, tmp_path, port, **keywords):
    path = tmp_path / "bascule.yaml"
    path.write_text(text)
    process = subprocess.Popen([PROGRAM, "run", "--config", str(path)], **keywords)
    def listens():
        with contextlib.suppress(OSError):
            frames.connect(("127.0.0.1", port), 1).close()
            return True
    wait_until(listens)
    return process


@pytest.mark.parametrize("streams", ["blocked", "closed", "missing", "gone"])
def test_logs_that_cannot_be_written_hold_nobody_up(streams, tmp_path):
    with RawBackend(raw_echo) as backend:
        port = free_port()
        text = configuration(port, [f"127.0.0.1:{backend.port}"], timeouts={"drain": "1s"})
        read, write = os.pipe()
        keywords = {"stdout": write, "stderr": write}
        if streams == "closed":
            os.close(read)
        if streams == "missing":
            keywords = {"preexec_fn": lambda: [os.close(fd) for fd in (0, 1, 2)]}
        if streams == "gone":
            full = os.open("/dev/full", os.O_WRONLY)
            keywords = {"stdout": full, "stderr": full}
        process = run_with_streams(text, tmp_path, port, **keywords)
        try:
            client = frames.open_websocket(("127.0.0.1", port))
            busy = frames.connect(("127.0.0.1", port))
            busy.settimeout(10)
            line = b"GET /" + b"a" * 500 + b" HTTP/1.1\r\nHost: a.example\r\n\r\n"
            for _ in range(100):
                busy.sendall(line * 50)
                got = 0
                while got < 50:
                    got += busy.recv(1 << 20).count(b"HTTP/1.1 426")
            client.send_frame(TEXT, b"still here")
            assert client.read_frame().payload == b"still here"
            ticks = lambda: sum(map(int, pathlib.Path(f"/proc/{process.pid}/stat").read_text()
                                    .rsplit(")", 1)[1].split()[11:13]))
            before = ticks()
            time.sleep(0.5)
            assert ticks() - before <= 5
            process.send_signal(signal.SIGTERM)
            assert client.read_until(CLOSE).close_code == 1001
            assert process.wait(timeout=5) == 0
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for descriptor in (read, write):
                with contextlib.suppress(OSError):
                    os.close(descriptor)


# Limits


def test_the_limit_per_address_is_kept_and_given_back():
    with attacked(raw_echo, limits={"per_address": 10}) as (running, _):
        for _ in range(3):
            socks = [frames.connect(running.address) for _ in range(30)]
            time.sleep(0.2)
            assert sum(1 for sock in socks if not has_ended(sock)) == 9
            for sock in socks:
                frames.Wire(sock, True).reset()
            time.sleep(0.2)


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


def hostile_configurations():
    start = "listeners: [{bind: '127.0.0.1:0'}]\n"
    yield "alias bomb", "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12))
    yield "deep", "listeners: " + "[" * 5000 + "]" * 5000
    yield "deep block", "".join(" " * i + f"k{i}:\n" for i in range(500))
    yield "large", start + "#" * (2 << 20)
    yield "many keys", "".join(f"key{i}: 1\n" for i in range(20_000))
    yield "self alias", "a: &a [*a]\n"
    yield "NUL", start + "upstreams: {\"a\\0b\": {endpoints: ['127.0.0.1:1']}}\n"
    yield "control bytes", "\x00\x01\x02\xff\xfe"
    yield "not UTF-8", "listeners: \udcff\udcfe"
    yield "tabs", "listeners:\n\t- bind: x\n"
    yield "numbers", "workers: 99999999999999999999999999\nlimits: {connections: -1, handshakes: 1e9}\n"
    yield "durations", start + "timeouts: {connect: 9223372036854775807h, drain: 99999999999999999999s}\n"
    yield "sizes", start + "limits: {request_head: 18446744073709551615GiB}\n"
    yield "include itself", "include: [bascule.yaml]\n" + start
    yield "include a device", "include: [/dev/zero]\n" + start
    yield "include everything", "include: [/*, /proc/self/*]\n" + start
    yield "key from a device", ("listeners: [{bind: '127.0.0.1:0', tls: {certificates: "
                                "[{certificate: /dev/zero, key: /dev/urandom}]}}]\n")
    yield "many documents", "---\na: 1\n---\nb: 2\n" * 1000
    yield "merge keys", "a: &a {<<: *a}\n"
    yield "long name", start + "upstreams: {" + "u" * 100_000 + ": {endpoints: ['x:1']}}\n"
    yield "long socket", "listeners: [{bind: 'unix:/" + "s" * 500 + "'}]\n"
    yield "environment", "workers: ${" * 1000 + "}" * 1000
    yield "empty", ""


@pytest.mark.parametrize("name, text", list(hostile_configurations()), ids=lambda value: value[:12])
@pytest.mark.parametrize("command", ["check", "run"])
def test_a_hostile_configuration_is_refused_in_words(command, name, text, tmp_path):
    path = tmp_path / "bascule.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    result = subprocess.run([PROGRAM, command, "--config", str(path)], capture_output=True,
                            timeout=10, preexec_fn=limit_memory)
    output = (result.stdout + result.stderr).decode("utf-8", "replace")
    assert result.returncode == 78, (result.returncode, output[-2000:])
    assert "error:" in output and "Fatal" not in output and len(output) < 8_000_000


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
