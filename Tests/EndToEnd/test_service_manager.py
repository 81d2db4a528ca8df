"""What systemd passes and wants to hear: sockets (sd_listen_fds) and messages (sd_notify)."""

import contextlib
import ctypes
import fcntl
import os
import pathlib
import signal
import socket
import threading
import time

import pytest

import frames
from harness import RawBackend, configuration, free_port, raw_echo, wait_until
from upgrades import Lineage, upgrade


@pytest.fixture(scope="module")
def backend():
    with RawBackend(raw_echo) as backend:
        yield backend


class Activated(Lineage):
    """Started as systemd does: with descriptors from 3 on, and LISTEN_PID set to its own process id."""

    def __init__(self, text, ports, sockets, names="", **keywords):
        def pass_sockets():
            # Above all numbers that they get.
            moved = [fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, 100) for sock in sockets]
            for number, descriptor in enumerate(moved):
                os.dup2(descriptor, 3 + number)
        script = f'export LISTEN_PID=$$ LISTEN_FDS={len(sockets)} LISTEN_FDNAMES={names}; exec "$0" "$@"'
        super().__init__(text, ports, preexec_fn=pass_sockets, close_fds=False,
                         before=["/bin/sh", "-c", script], **keywords)


# Sockets

def listening(family=socket.AF_INET, address=("127.0.0.1", 0)):
    sock = socket.socket(family)
    sock.bind(address)
    sock.listen(128)
    return sock


def threads_of(pid):
    return {(task / "comm").read_text().strip(): int(task.name)
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_one_passed_socket_serves_all_workers_and_their_successors(backend, tmp_path, family):
    path = str(tmp_path / "passed.sock")
    sock = listening() if family == "tcp" else listening(socket.AF_UNIX, path)
    address = sock.getsockname()
    bind = f"127.0.0.1:{address[1]}" if family == "tcp" else f"unix:{path}"

    def text(workers):
        return configuration(other, [f"127.0.0.1:{backend.port}"]).replace(
            "upstreams:", f"  - bind: {bind}\nupstreams:").replace("workers: 1", f"workers: {workers}")

    other = free_port()
    before = frames.connect(address)  # waits in the queue
    with Activated(text(2), [other], [sock], names="bascule.socket") as line:
        assert line.wait_event(socket="inherited")["address"] == bind
        before.sendall(frames.upgrade_request()[0])
        assert b"101" in before.recv(4096)
        held = [frames.open_websocket(address) for _ in range(64)]
        for workers in (1, 2):
            upgrade(line, text(workers))
            held.append(frames.open_websocket(address))
        os.kill(line.newest, signal.SIGHUP)
        line.wait_event(message="configuration reloaded")
        held.append(frames.open_websocket(address))
        for wire in held:
            wire.close()
    # It is the manager's: connections wait for the next process.
    assert family == "tcp" or os.path.exists(path)
    frames.connect(address).close()
    sock.close()


def test_a_passed_socket_that_fits_no_listener_is_told_and_closed(backend):
    sock, datagrams = listening(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"])
    with Activated(text, [port], [sock, datagrams], names="a:b") as line:
        wait_until(lambda: line.log_contains("warn", "was passed to this process", str(sock.getsockname()[1])))
        address = sock.getsockname()
        sock.close()
        with pytest.raises(ConnectionRefusedError):
            frames.connect(address)


@pytest.mark.parametrize("variables", [
    {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": "x", "LISTEN_FDS": "x"},
    {"WATCHDOG_USEC": "x", "NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "@"},
    {"NOTIFY_SOCKET": "@" + "n" * 300, "WATCHDOG_USEC": "99999999999999999999"}])
def test_variables_that_mean_somebody_else_or_nothing_are_passed_over(backend, variables):
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"])
    with Lineage(text, [port], environment=variables) as line:
        frames.open_websocket(line.address).close()


# Messages

class Manager:
    """The socket of a service manager, and what has come to it."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        self.messages, self.times = [], []
        threading.Thread(target=self.collect, daemon=True).start()

    def collect(self):
        with contextlib.suppress(OSError):
            while data := self.socket.recv(4096):
                self.messages.append(dict(line.split("=", 1) for line in data.decode().split("\n")))
                self.times.append(time.monotonic())

    def wait(self, key, value="1", after=0, seconds=5):
        """The place behind the first message after so many that says this."""
        find = lambda: next((index + 1 for index, message in enumerate(self.messages[after:], after)
                             if message.get(key) == value), None)
        return wait_until(find, seconds, f"{key}={value} in {self.messages}")

    def beats(self):
        return [at for at, message in zip(self.times, self.messages) if "WATCHDOG" in message]


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_manager_is_told_of_start_reload_upgrade_and_end(backend, tmp_path, kind):
    name = str(tmp_path / "notify") if kind == "path" else f"@bascule-test-{os.getpid()}"
    manager = Manager(name)
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"])
    with Lineage(text, [port], environment={"NOTIFY_SOCKET": name}) as line:
        at = manager.wait("READY")
        assert "MAINPID" not in manager.messages[at - 1]
        clock = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        for content, status in ((text.replace("routes:", "rotes:"), "mistakes"), (text, "serving")):
            line.path.write_text(content)
            os.kill(line.newest, signal.SIGHUP)
            at = manager.wait("RELOADING", after=at)
            assert 0 <= int(manager.messages[at - 1]["MONOTONIC_USEC"]) - clock < 10_000_000
            at = manager.wait("READY", after=at)
            assert status in manager.messages[at - 1]["STATUS"]
        held = frames.open_websocket(line.address)
        first = line.newest
        upgrade(line)
        at = manager.wait("MAINPID", str(line.newest), after=at)
        assert manager.messages[at - 1]["READY"] == "1"
        # The old one has nothing to say any more, at its end either.
        held.close()
        wait_until(lambda: first not in line.living(), what="the end of the old process")
        assert len(manager.messages) == at
        os.kill(line.newest, signal.SIGTERM)
        manager.wait("STOPPING", after=at)
    manager.socket.close()


def test_signs_of_life_come_in_time_and_stop_when_a_worker_does(backend, tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"]).replace("workers: 1", "workers: 2")
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
    with Lineage(text, [port], environment=environment) as line:
        wait_until(lambda: len(manager.beats()) >= 5, 5, "signs of life")
        beats = manager.beats()
        assert all(0.25 <= b - a <= 0.6 for a, b in zip(beats, beats[1:]))
        first = line.newest
        held = frames.open_websocket(line.address)
        upgrade(line)
        stops = Tracer(threads_of(line.newest)["worker-1"])
        try:
            # The old process lives on, and does not speak for the new one.
            assert first in line.living()
            count = len(manager.beats())
            time.sleep(1.5)
            assert len(manager.beats()) <= count + 1
        finally:
            stops.end()
        count = len(manager.beats())
        wait_until(lambda: len(manager.beats()) > count + 1, 5, "signs of life")
        held.close()
    manager.socket.close()


def test_the_watchdog_of_another_process_is_not_ours(backend, tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"])
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    with Lineage(text, [port], environment=environment):
        manager.wait("READY")
        time.sleep(0.5)
        assert manager.beats() == []
    manager.socket.close()


class Tracer:
    """Stops one thread of another process, as a bug that never ends would."""

    ATTACH, DETACH = 16, 17

    def __init__(self, thread):
        self.thread, self.lib = thread, ctypes.CDLL(None, use_errno=True)
        if self.lib.ptrace(self.ATTACH, thread, None, None):
            pytest.skip(f"a thread cannot be stopped here: error {ctypes.get_errno()}")
        os.waitpid(thread, 0x40000000)  # __WALL

    def end(self):
        self.lib.ptrace(self.DETACH, self.thread, None, None)
