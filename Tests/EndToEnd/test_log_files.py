"""The access log as a file: rotation, reloads, a full disk, successors, and what root leaves behind."""

import collections
import contextlib
import json
import os
import pathlib
import pwd
import resource
import signal
import socket
import stat
import subprocess
import threading

import pytest

import frames
from admin import administered, samples
from harness import (BINARY, configuration, free_port, gateway, run_gateway, settled,
                     wait_until)
from test_hardening import AS_ROOT, open_directory  # noqa: F401, a fixture
from test_reload import REFUSED, reload
from upgrades import Lineage, respond, upgrade

REOPENED, NOT_REOPENED = "log file reopened", "log file not reopened: lines go where they went"
ROUTES = [respond("/", "hello")]


def request(address, path):
    with socket.create_connection(address, 5) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := sock.recv(65536):
            answer += more
    assert answer.startswith(b"HTTP/1.1 200"), answer


def lines_of(path):
    """The objects in a log file. Every line is whole."""
    text = pathlib.Path(path).read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def paths_in(*files):
    return [line["path"] for file in files for line in lines_of(file) if "path" in line]


def wait_path(file, path):
    wait_until(lambda: file.exists() and path in file.read_text(), what=f"{path} in {file}")


def messages(running, *wanted):
    return [e for e in running.events if e.get("message") in wanted]


def reopen(running, wanted=REOPENED, pid=None):
    before = len(messages(running, REOPENED, NOT_REOPENED))
    os.kill(pid or running.process.pid, signal.SIGUSR1)
    wait_until(lambda: len(messages(running, REOPENED, NOT_REOPENED)) > before, what="its line")
    last = messages(running, REOPENED, NOT_REOPENED)[-1]
    assert last["message"] == wanted, last
    return last


@contextlib.contextmanager
def logging(path, **keywords):
    with gateway([1], ROUTES, log={"access": str(path)}, **keywords) as running:
        yield running


class Load:
    """Requests one after the other, each for a path of its own, until `stop`."""

    def __init__(self, address, name):
        self.address, self.name, self.count, self.ends = address, name, 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with socket.create_connection(self.address, 5) as sock:
            while not self.ends.is_set():
                sock.sendall(f"GET /{self.name}-{self.count} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                got = sock.recv(65536)
                assert got.startswith(b"HTTP/1.1 200"), got
                self.count += 1

    def stop(self):
        self.ends.set()
        self.thread.join(10)
        return [f"/{self.name}-{number}" for number in range(self.count)]


def test_access_lines_are_appended_to_a_file_and_nothing_else_is(tmp_path):
    file = tmp_path / "access.log"
    for number in range(2):
        with logging(file) as running:
            request(running.address, f"/{number}")
            wait_path(file, f'"/{number}"')
        assert not [e for e in running.events if "path" in e]
    assert paths_in(file) == ["/0", "/1"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_relative_path_counts_from_the_configuration():
    with logging("./access.log") as running:
        request(running.address, "/a")
        file = pathlib.Path(running.directory) / "access.log"
        wait_path(file, '"/a"')
        # The process has left its directory by now.
        file.rename(file.with_suffix(".1"))
        reopen(running)
        request(running.address, "/b")
        wait_path(file, '"/b"')


def test_rotation_loses_no_line_and_doubles_none(tmp_path):
    file = tmp_path / "access.log"
    with gateway([1], ROUTES, log={"access": str(file)}) as running:
        loads = [Load(running.address, name) for name in "abcd"]
        old = []
        for number in range(30):
            reached = loads[0].count + 20
            wait_until(lambda: loads[0].count >= reached, what="some requests")
            old.append(tmp_path / f"access.log.{number}")
            file.rename(old[-1])
            assert reopen(running)["path"] == str(file)
        sent = [path for load in loads for path in load.stop()]
    counts = collections.Counter(paths_in(file, *old))
    assert len(sent) > 30 * 20 and counts == collections.Counter(sent)
    # They are in the order of the files.
    assert sum(bool(paths_in(each)) for each in old) == 30


def test_a_file_that_cannot_be_opened_again_leaves_the_old_one(tmp_path):
    file, old = tmp_path / "access.log", tmp_path / "access.log.1"
    with logging(file) as running:
        file.rename(old)
        file.mkdir()
        line = reopen(running, NOT_REOPENED)
        assert (line["path"], line["reason"], line["level"]) == (str(file), "is a directory", "error")
        request(running.address, "/a")
        wait_path(old, '"/a"')
        file.rmdir()
        reopen(running)
        request(running.address, "/b")
        wait_path(file, '"/b"')
        before = settled(running.descriptors)
        for _ in range(20):
            reopen(running)
        wait_until(lambda: running.descriptors() == before, what="the old descriptors to be closed")
    assert paths_in(old) == ["/a"] and paths_in(file) == ["/b"]


def test_without_a_file_sigusr1_changes_nothing():
    with gateway([1], ROUTES) as running:
        running.process.send_signal(signal.SIGUSR1)
        assert "no log file" in running.wait_event(message="signal ignored")["note"]
        request(running.address, "/a")
        running.wait_event(path="/a")


def test_a_reload_changes_where_lines_go(tmp_path):
    files = [tmp_path / "one.log", tmp_path / "two.log"]
    port = free_port()

    def text(access):
        return configuration(port, ["127.0.0.1:1"], ROUTES, log={"access": str(access)})

    with run_gateway(text(files[0]), [port]) as running:
        request(running.address, "/a")
        wait_path(files[0], '"/a"')
        reload(running, text(files[1]))
        request(running.address, "/b")
        wait_path(files[1], '"/b"')
        for word in ("stdout", "stderr"):
            reload(running, text(word))
            request(running.address, f"/{word}")
            running.wait_event(path=f"/{word}")
        reload(running, text("off"))
        request(running.address, "/none")
        reload(running, text(files[0]))
        request(running.address, "/c")
        wait_path(files[0], '"/c"')
        reload(running, text(tmp_path / "nowhere/access.log"), REFUSED)
        assert running.log_contains("bascule.yaml:", ": error: cannot write to ", "does not exist")
        request(running.address, "/d")
        wait_path(files[0], '"/d"')
        # An upgrade finds it as it is.
        assert not running.log_contains("log.access")
    assert paths_in(files[0]) == ["/a", "/c", "/d"] and paths_in(files[1]) == ["/b"]
    assert [e["path"] for e in running.events if "path" in e and e.get("event")] == ["/stdout", "/stderr"]


def test_mistakes_are_told_with_their_place_and_no_file_is_left(tmp_path):
    (tmp_path / "link.log").symlink_to(tmp_path / "target.log")
    config = tmp_path / "bascule.yaml"
    for access, wanted in (
            (tmp_path, "is a directory"), (tmp_path / "none/access.log", "directory does not exist"),
            (tmp_path / "link.log", "symbolic link"), (tmp_path / "good.log", None),
            ("stdot", 'did you mean "stdout"?'), ("access", "or write a path")):
        config.write_text("\n".join([
            configuration(free_port(), ["127.0.0.1:1"], ROUTES).replace("workers: 1\n", ""),
            "log:", f"  access: {access}", "workers: 1", ""]))
        line = config.read_text().splitlines().index(f"  access: {access}") + 1
        for command in ("check", "run") if wanted else ("check",):
            done = subprocess.run([BINARY, command, "--config", str(config)], capture_output=True,
                                  text=True, timeout=20)
            if wanted is None:
                assert done.returncode == 0, done.stderr
                continue
            assert done.returncode == 78 and wanted in done.stderr, done.stderr
            assert done.stderr.startswith(f"{config}:{line}:11: error: "), done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"link.log", "bascule.yaml"}


def test_a_full_disk_costs_lines_that_are_counted_and_nothing_else(tmp_path):
    file = tmp_path / "access.log"
    with administered([1], routes=ROUTES, log={"access": str(file)}) as (running, port):
        pid = running.process.pid
        for number in range(10):
            request(running.address, f"/before-{number}")
        wait_path(file, '"/before-9"')
        # As much as a disk that has room for half a line.
        room = file.stat().st_size + 100
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        for number in range(50):
            request(running.address, f"/full-{number}")
        dropped = lambda: samples(port).get("bascule_log_lines_dropped_total", 0)
        wait_until(lambda: dropped() == 50, what="50 lines to be counted")
        line = running.wait_event(message="log lines dropped")
        assert line["log"] == "access" and line["level"] == "warn" and "large" in line["reason"]
        assert file.stat().st_size == room
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        for number in range(10):
            request(running.address, f"/after-{number}")
        wait_path(file, '"/after-9"')
        assert dropped() == 50
    lines = file.read_text().splitlines()
    broken = [index for index, line in enumerate(lines) if not line.endswith("}")]
    assert broken == [10] and len(lines[10]) == 100
    rest = [json.loads(line) for index, line in enumerate(lines) if index != 10]
    assert [e["path"] for e in rest if "path" in e] == \
        [f"/before-{n}" for n in range(10)] + [f"/after-{n}" for n in range(10)]
    assert [e["dropped"] for e in rest if e.get("message") == "log lines dropped"] == [50]


def test_a_device_that_is_always_full_is_left_by_a_reload(tmp_path):
    file, port, admin = tmp_path / "access.log", free_port(), free_port()

    def text(access):
        return configuration(port, ["127.0.0.1:1"], ROUTES, log={"access": str(access)},
                             admin={"bind": f"127.0.0.1:{admin}"})

    with run_gateway(text("/dev/full"), [port]) as running:
        for number in range(20):
            request(running.address, f"/{number}")
        wait_until(lambda: samples(admin).get("bascule_log_lines_dropped_total") == 20,
                   what="20 lines to be counted")
        assert running.wait_event(message="log lines dropped")["reason"] == "no space left on the device"
        reload(running, text(file))
        request(running.address, "/after")
        wait_path(file, '"/after"')
        assert paths_in(file) == ["/after"]


def test_a_successor_opens_the_file_by_itself(tmp_path):
    file, old, port = tmp_path / "access.log", tmp_path / "access.log.1", free_port()
    text = configuration(port, ["127.0.0.1:1"], ROUTES, log={"access": str(file)})
    with Lineage(text, [port]) as line:
        request(line.address, "/a")
        upgrade(line)
        request(line.address, "/b")
        wait_path(file, '"/b"')
        file.rename(old)
        reopen(line, pid=line.newest)
        request(line.address, "/c")
        wait_path(file, '"/c"')
        # One that cannot open it does not take over.
        upgrade(line, text.replace(str(file), str(tmp_path)), succeeds=False)
        assert line.log_contains("is a directory")
        request(line.address, "/d")
        wait_path(file, '"/d"')
    assert paths_in(old) == ["/a", "/b"] and paths_in(file) == ["/c", "/d"]


@AS_ROOT
@pytest.mark.parametrize("is_theirs", [True, False])
def test_what_root_makes_is_the_users(is_theirs, open_directory):
    account = pwd.getpwnam("nobody")
    logs = open_directory / "logs"
    logs.mkdir(mode=0o755)
    if is_theirs:
        os.chown(logs, account.pw_uid, account.pw_gid)
    file, old = logs / "access.log", logs / "access.log.1"
    with logging(file, user="nobody") as running:
        request(running.address, "/a")
        wait_path(file, '"/a"')
        assert (file.stat().st_uid, file.stat().st_gid) == (account.pw_uid, account.pw_gid)
        # The same file: that is theirs, wherever it lies.
        reopen(running)
        file.rename(old)
        line = reopen(running, REOPENED if is_theirs else NOT_REOPENED)
        assert is_theirs or line["reason"] == "permission denied"
        request(running.address, "/b")
        wait_path(file if is_theirs else old, '"/b"')
    if not is_theirs:
        file.write_text("")
        file.chmod(0o600)
        with logging(file, user="nobody") as running:
            wait_until(lambda: running.log_contains("SIGUSR1 will not be able to open", str(file)),
                       what="the warning")
