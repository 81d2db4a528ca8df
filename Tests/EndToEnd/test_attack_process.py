"""Attacks on the process: signals, dead logs and configurations that mean harm (see attacks.py)."""

import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import threading
import time

import pytest

import frames
from attacks import LOCAL, attacked, quick
from frames import BINARY, CLOSE, TEXT
from harness import (BINARY as PROGRAM, RawBackend, answer_upgrade, configuration, free_port,
                     gateway, raw_echo, route, wait_until)


def test_signals_by_the_hundred_change_nothing():
    with attacked(raw_echo) as (running, _):
        for _ in range(300):
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
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
        text = configuration(
            port, [f"127.0.0.1:{backend.port}"], LOCAL, timeouts={"drain": "1s"})
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
            line = b"GET /local/" + b"a" * 500 + b" HTTP/1.1\r\nHost: a.example\r\n\r\n"
            for _ in range(100):
                busy.sendall(line * 50)
                got = 0
                while got < 50:
                    got += busy.recv(1 << 20).count(b"HTTP/1.1 200")
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
