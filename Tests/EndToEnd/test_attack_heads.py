"""Attacks before the bridge: requests, handshakes and answers that mean harm (see attacks.py)."""

import contextlib
import os
import random
import socket
import threading
import time

import pytest

import frames
from attacks import LOCAL, attacked, quick
from frames import CLOSE, TEXT
from harness import free_port, gateway, raw_echo, record, wait_until


def test_requests_whose_answers_are_never_read_do_not_fill_the_memory():
    with attacked(routes=LOCAL, **quick(write_stall="2s")) as (running, _):
        before = running.memory_kib()
        sock = frames.connect(running.address)
        sock.settimeout(0.5)
        requests = b"GET /local HTTP/1.1\r\nHost: a.example\r\n\r\n" * 4000
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
    with attacked(routes=LOCAL) as (running, _):
        sock = frames.connect(running.address)
        count = 12_000
        requests = b"GET /local HTTP/1.1\r\nHost: a.example\r\n\r\n" * (count - 1)
        requests += b"GET /local HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
        threading.Thread(target=sock.sendall, args=(requests,), daemon=True).start()
        time.sleep(0.5)
        answers, reset = frames.Wire(sock, masks=True).read_to_end()
        assert not reset
        assert answers.count(b"HTTP/1.1 200 ") == count
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




HEAD_STATUSES = {101, 204, 400, 403, 404, 405, 408, 414, 426, 431, 501, 505}
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
            method, target, version = lines[0].split(b" ")
            assert target.startswith(b"/") and version == b"HTTP/1.1"
            assert not set(wire.head.replace(b"\r\n", b"")) & set(b"\r\n\0\x0b\x0c\x1b\x7f")
            assert all(line.count(b":") and not line.startswith((b" ", b"\t")) for line in lines[1:])
            assert len(wire.fields("Host")) == 1
            if wire.field("Upgrade"):
                assert method == b"GET" and len(wire.fields("Sec-WebSocket-Key")) == 1


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
