"""What the process has given up, read from /proc: root, capabilities, new rights, dumps; and what it
refuses: keys that others can read, root by name."""

import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile

import pytest

import frames
from certificates import Authority, pair
from frames import TEXT
from harness import (BINARY, RawBackend, configuration, free_port, raw_echo, run_gateway, settled,
                     wait_until)

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
SOMEBODY = 54321
#: CAP_NET_BIND_SERVICE, the only one that may be kept.
LOW_PORTS = 1 << 10


def status(running):
    text = pathlib.Path(f"/proc/{running.process.pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def core_limit(running):
    """Soft and hard, as proc(5) has them: everybody may read that."""
    text = pathlib.Path(f"/proc/{running.process.pid}/limits").read_text()
    return tuple(re.search(r"^Max core file size +(\S+) +(\S+)", text, re.M).groups())


def is_hidden(running):
    """The files of a process that hides its memory are root's, whoever it is (proc(5))."""
    return os.stat(f"/proc/{running.process.pid}/mem").st_uid == 0


def assert_hardened(running):
    said = status(running)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(said[name], 16) & ~LOW_PORTS == 0, (name, said[name])
    assert said["NoNewPrivs"] == "1" and said["Umask"] == "0077"
    assert core_limit(running) == ("0", "0")
    assert is_hidden(running)
    assert os.readlink(f"/proc/{running.process.pid}/cwd") == "/"


@contextlib.contextmanager
def somebody(user, directory, text, **popen):
    """The gateway as `user` from its start. Its own copy of the program, for ours may lie where nobody
    else can go."""
    program = directory / "bascule"
    shutil.copy(BINARY, program)
    (directory / "bascule.yaml").write_text(text)
    for path in (directory, program, directory / "bascule.yaml"):
        path.chmod(0o755)
    yield [str(program), "run", "--config", str(directory / "bascule.yaml")], {"user": user, **popen}


@pytest.fixture
def open_directory():
    """One that other users can go to, unlike tmp_path."""
    with tempfile.TemporaryDirectory(prefix="bascule-e2e-") as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="module")
def backend():
    with RawBackend(raw_echo) as running:
        yield running


def assert_echoes(running):
    with frames.open_websocket(running.address) as client:
        client.send_frame(TEXT, b"hello")
        assert client.read_frame().payload == b"hello"


@AS_ROOT
def test_root_without_a_user_keeps_nothing_of_it_but_the_number(backend):
    port = free_port()
    with run_gateway(configuration(port, [f"127.0.0.1:{backend.port}"]), [port]) as running:
        assert_hardened(running)
        assert int(status(running)["CapBnd"], 16) & ~LOW_PORTS == 0
        assert_echoes(running)
        wait_until(lambda: running.log_contains("running as root"), what="the warning")


@AS_ROOT
@pytest.mark.parametrize("user, group", [("nobody", None), (str(SOMEBODY), None),
                                         (f"{SOMEBODY}:{SOMEBODY + 1}", SOMEBODY + 1)])
def test_root_becomes_the_user(user, group, backend, open_directory):
    port, path = free_port(), open_directory / "front.sock"
    text = configuration(port, [f"127.0.0.1:{backend.port}"], user=user)
    text = text.replace("upstreams:", f"  - {{bind: 'unix:{path}'}}\nupstreams:")
    with run_gateway(text, [port]) as running:
        said = status(running)
        number = SOMEBODY if user[0].isdigit() else 65534
        assert said["Uid"].split() == [str(number)] * 4
        assert said["Gid"].split() == [str(group or number)] * 4
        assert said["Groups"].strip() == ""
        assert_hardened(running)
        for task in pathlib.Path(f"/proc/{running.process.pid}/task").iterdir():
            lines = (task / "status").read_text()
            assert re.search(rf"^Uid:\t{number}\t{number}\t{number}\t{number}$", lines, re.M)
            assert int(re.search(r"^CapEff:\t(.*)$", lines, re.M)[1], 16) & ~LOW_PORTS == 0
        assert path.stat().st_uid == number
        assert_echoes(running)
        assert not running.log_contains("running as root")


@AS_ROOT
def test_what_a_reload_will_not_be_able_to_read_is_told_at_once(backend, open_directory):
    authority = Authority(open_directory)
    issued = authority.issue("localhost")
    port = free_port()
    text = configuration(port, [f"127.0.0.1:{backend.port}"], user=str(SOMEBODY),
                         listener={"tls": {"certificates": [pair(issued)]}})
    with run_gateway(text, [port]) as running:
        wait_until(lambda: running.log_contains("will not be able to read " + issued[1]))
        assert not running.log_contains("will not be able to read " + issued[0])
        running.process.send_signal(signal.SIGHUP)
        running.wait_event(message="configuration not reloaded: the running one stays")


@AS_ROOT
def test_low_ports_can_be_bound_after_root_is_gone(backend, open_directory):
    taken = [port for port in range(1000, 1023)]
    port, low = free_port(), taken[os.getpid() % len(taken)]
    directory = open_directory
    text = configuration(port, [f"127.0.0.1:{backend.port}"], user=str(SOMEBODY))
    path = directory / "bascule.yaml"
    path.write_text(text)
    arguments = ["run", "--config", str(path)]
    with run_gateway("", [port], arguments=arguments) as running:
        path.write_text(text.replace(
            "upstreams:", f"  - {{bind: '127.0.0.1:{low}'}}\nupstreams:"))
        running.process.send_signal(signal.SIGHUP)
        running.wait_event(message="configuration reloaded")
        frames.connect(("127.0.0.1", low)).close()


@AS_ROOT
def test_started_as_somebody_it_has_nothing_to_give_up(backend, open_directory):
    port = free_port()
    text = configuration(port, [f"127.0.0.1:{backend.port}"])
    with somebody(SOMEBODY, open_directory, text + "user: nobody\n") as (command, popen):
        if subprocess.run([command[0], "--version"], capture_output=True, **popen).returncode:
            pytest.skip("another user cannot run the toolchain's libraries here")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, group=SOMEBODY, extra_groups=[], **popen)
        try:
            lines = iter(process.stdout.readline, "")
            assert any("user has no effect" in line for line in lines)
            running = type("Running", (), {"process": process, "address": ("127.0.0.1", port)})
            assert_hardened(running)
            assert int(status(running)["CapEff"], 16) == 0
            assert_echoes(running)
        finally:
            process.terminate()
            assert process.wait(10) == 0


def test_core_dumps_have_to_be_asked_for(backend):
    port = free_port()
    text = configuration(port, [f"127.0.0.1:{backend.port}"], core_dumps=True)
    with run_gateway(text, [port]) as running:
        ours = resource.getrlimit(resource.RLIMIT_CORE)
        assert core_limit(running) == tuple(
            "unlimited" if limit == resource.RLIM_INFINITY else str(limit) for limit in ours)
        assert status(running)["NoNewPrivs"] == "1"
        wait_until(lambda: running.log_contains("core_dumps", "private keys"))
    if os.geteuid() == 0:
        text += f"user: {SOMEBODY}\n"
        with run_gateway(text, [port]) as running:
            assert not is_hidden(running)


def listening_ports(running):
    """Of the process, by the inodes of its sockets."""
    folder = pathlib.Path(f"/proc/{running.process.pid}/fd")
    settled(running.descriptors)
    links = [os.readlink(entry) for entry in folder.iterdir()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:")}
    ports = set()
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/{running.process.pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports, links


def test_there_are_only_the_descriptors_it_needs(backend):
    port = free_port()
    with open("/etc/passwd") as leaked:
        text = configuration(port, [f"127.0.0.1:{backend.port}"], core_dumps=True)
        with run_gateway(text, [port]) as running:
            ports, links = listening_ports(running)
            assert leaked.name not in links
    assert ports == {port}
    known = r"socket:.*|pipe:.*|/dev/null|anon_inode:\[(eventpoll|eventfd|signalfd)\]"
    assert [link for link in links if not re.fullmatch(known, link)] == []


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def check(text, directory):
    path = directory / "bascule.yaml"
    path.write_text(text)
    return {command: subprocess.run([BINARY, command, "--config", str(path)], capture_output=True,
                                    text=True, timeout=10)
            for command in ("check", "run")}


@pytest.mark.parametrize("mode, words", [(0o644, "lets everybody read it"),
                                         (0o604, "lets everybody read it"),
                                         (0o660, "lets others change it"),
                                         (0o602, "lets others change it")])
def test_a_key_that_others_can_read_or_change_is_refused(mode, words, authority, tmp_path):
    certificate, key = authority.issue(f"mode{mode}.example")
    os.chmod(key, mode)
    text = configuration(free_port(), ["127.0.0.1:9"],
                         listener={"tls": {"certificates": [pair((certificate, key))]}})
    for done in check(text, tmp_path).values():
        assert done.returncode == 78
        assert re.search(rf"bascule\.yaml:3:\d+: error: .*\({mode:o}\) {words}: chmod 640 {key}\n",
                         done.stderr), done.stderr


def test_a_key_for_the_group_is_fine_and_a_reload_looks_again(authority, backend):
    certificate, key = authority.issue("group.example")
    os.chmod(key, 0o640)
    port = free_port()
    text = configuration(port, [f"127.0.0.1:{backend.port}"],
                         listener={"tls": {"certificates": [pair((certificate, key))]}})
    with run_gateway(text, [port]) as running:
        os.chmod(key, 0o644)
        running.process.send_signal(signal.SIGHUP)
        running.wait_event(message="configuration not reloaded: the running one stays")
        wait_until(lambda: running.log_contains("lets everybody read it", key))
        os.chmod(key, 0o600)
        running.process.send_signal(signal.SIGHUP)
        running.wait_event(message="configuration reloaded")


@pytest.mark.parametrize("user, words", [
    ("root", "does not become root"), ("0", "does not become root"), ("0:10", "does not become root"),
    ("nobody-of-that-name", "no user nobody-of-that-name"), ("nobody:nobody-of-that-name", "no group"),
    ("a:b:c", "is not the name or number of a user"), ("", "is not the name or number")])
def test_a_user_that_there_is_not_is_refused(user, words, tmp_path):
    text = configuration(free_port(), ["127.0.0.1:9"], user=user)
    for done in check(text, tmp_path).values():
        assert done.returncode == 78 and words in done.stderr, done.stderr


def test_relative_paths_count_from_where_it_was_started(authority, backend, tmp_path):
    """Though the process has gone elsewhere."""
    certificate, key = authority.issue("localhost")
    for path, name in ((certificate, "c.pem"), (key, "k.pem")):
        shutil.copy(path, tmp_path / name)
    (tmp_path / "k.pem").chmod(0o600)
    port = free_port()
    listener = {"tls": {"certificates": [{"certificate": "../c.pem", "key": "../k.pem"}]}}
    inner = tmp_path / "conf"
    inner.mkdir()
    text = "include: [more/*.yaml]\n" + configuration(
        port, [f"127.0.0.1:{backend.port}"], listener=listener)
    (inner / "more").mkdir()
    (inner / "more" / "a.yaml").write_text("log: {level: info}\n")
    (inner / "b.yaml").write_text(text)
    process = subprocess.Popen([BINARY, "run", "--config", "conf/b.yaml"], cwd=tmp_path, text=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        lines = iter(process.stderr.readline, "")
        assert any('"listening"' in line for line in lines)
        (inner / "more" / "a.yaml").write_text("log: {level: nonsense}\n")
        process.send_signal(signal.SIGHUP)
        assert any(f"{inner}/more/a.yaml:1:14: error" in line for line in lines)
        (inner / "more" / "a.yaml").write_text("log: {level: debug}\n")
        process.send_signal(signal.SIGHUP)
        assert any("configuration reloaded" in line for line in lines)
        # A successor has the same arguments.
        process.send_signal(signal.SIGUSR2)
        started = next(line for line in lines if '"process":' in line)
        assert process.wait(10) == 0, list(lines)
        successor = json.loads(started)["process"]
        frames.connect(("127.0.0.1", port)).close()
        os.kill(successor, signal.SIGTERM)
        assert any('"message":"stopped"' in line for line in lines)
    finally:
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.skipif(not shutil.which("readelf"), reason="needs readelf")
def test_the_program_is_sealed():
    """Loaded anywhere, no stack that can be executed, tables that are read-only from the start."""
    said = subprocess.run(["readelf", "-hldW", BINARY], capture_output=True, text=True).stdout
    assert re.search(r"Type:\s+DYN", said)
    assert "GNU_RELRO" in said and "BIND_NOW" in said
    assert re.search(r"GNU_STACK .* RW ", said)
    names = subprocess.run(["readelf", "--dyn-syms", "-W", BINARY], capture_output=True, text=True)
    assert "__stack_chk_fail" in names.stdout
