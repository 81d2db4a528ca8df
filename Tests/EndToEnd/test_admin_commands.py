"""The commands that talk to a running gateway: health, reload, drain and top."""

import os
import pathlib
import pty
import re
import signal
import subprocess
import tempfile
import termios
import time

import pytest
from websockets.sync.client import connect

import frames
import harness
from admin import TOKEN, administered, command
from harness import AsyncBackend, configuration, echo, free_port


def test_health_is_quick_and_quiet():
    with AsyncBackend(echo) as backend, administered([backend.port], {"token": TOKEN}) as (
            running, port):
        config = f"{running.directory}/bascule.yaml"
        for words in (("--config", config), ("--admin", f"127.0.0.1:{port}")):
            done = command("health", *words)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        nobody = command("health", "--admin", f"127.0.0.1:{free_port()}")
        assert nobody.returncode == 1 and nobody.stderr.count("\n") == 1
        running.process.send_signal(signal.SIGSTOP)
        try:
            frozen = command("health", "--config", config)
        finally:
            running.process.send_signal(signal.SIGCONT)
        assert frozen.returncode == 1 and "timed out" in frozen.stderr


def test_health_without_an_admin_section_says_so():
    with tempfile.TemporaryDirectory() as name:
        path = f"{name}/bascule.yaml"
        pathlib.Path(path).write_text(configuration(free_port(), ["127.0.0.1:1"]))
        done = command("health", "--config", path)
        assert done.returncode == 1 and "no admin section" in done.stderr
        assert command("health", "--config", path + "x").returncode == 1
    assert command("health", "--config", "a", "--admin", "127.0.0.1:1").returncode == 64
    assert command("drain", "--percent", "0").returncode == 64


@pytest.mark.parametrize("name", ["health", "reload", "drain", "top"])
def test_an_address_that_is_none_is_a_wrong_command_line(name):
    done = command(name, "--admin", "nonsense")
    assert done.returncode == 64
    assert done.stderr == 'bascule: --admin needs HOST:PORT or unix:/PATH, not "nonsense"\n'


def test_commands_that_change_use_the_token():
    with AsyncBackend(echo) as backend, administered([backend.port], {"token": TOKEN}) as (
            running, port):
        config = f"{running.directory}/bascule.yaml"
        address = f"127.0.0.1:{port}"
        assert "BASCULE_ADMIN_TOKEN" in command("drain", "--admin", address).stderr
        done = command("reload", "--config", config)
        assert (done.returncode, done.stdout) == (0, "The configuration has been reloaded.\n")
        text = pathlib.Path(config).read_text()
        pathlib.Path(config).write_text(text + "unknown: 1\n")
        done = command("reload", "--config", config)
        assert done.returncode == 1 and 'unknown key "unknown"' in done.stderr
        pathlib.Path(config).write_text(text)
        done = command("drain", "--percent", "10", "--config", config)
        assert done.returncode == 0, done.stderr
        # It answers no Close, so that the gateway is still there when the test ends.
        with frames.open_websocket(running.address) as wire:
            done = command("drain", "--admin", address,
                           env={**os.environ, "BASCULE_ADMIN_TOKEN": TOKEN})
            assert (done.returncode, done.stdout) == (0, "draining\n")
            assert wire.read_until(frames.CLOSE).close_code == 1001


def test_top_tells_once_where_there_is_no_terminal():
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        with connect(running.url("/")):
            done = command("top", "--config", f"{running.directory}/bascule.yaml")
        assert done.returncode == 0, done.stderr
        assert "1 bridged" in done.stdout and "ROUTE" in done.stdout
        assert re.search(rf"backend 127\.0\.0\.1:{backend.port} +up +1 ", done.stdout)
        assert "\x1b" not in done.stdout


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_top_on_a_terminal_ends_with_a_key_and_leaves_it_as_it_was(key):
    with AsyncBackend(echo) as backend, administered([backend.port]) as (running, port):
        main, side = pty.openpty()
        before = termios.tcgetattr(side)
        process = subprocess.Popen([harness.BINARY, "top", "--admin", f"127.0.0.1:{port}"],
                                   stdin=side, stdout=side, stderr=side)
        try:
            shown = b""
            deadline = time.monotonic() + 10
            while shown.count(b"ENDPOINT") < 2 and time.monotonic() < deadline:
                shown += os.read(main, 1 << 16)
            os.write(main, key)
            assert process.wait(5) == 0
        finally:
            process.kill()
        assert shown.count(b"ENDPOINT") >= 2
        assert termios.tcgetattr(side) == before
        os.close(main)
        os.close(side)
