"""SIGUSR2: another process takes over, and nobody is refused in between."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

import frames
import h2peer
import harness
from admin import CHANGE, ask
from certificates import Authority, client_context
from harness import RawBackend, configuration, free_port, raw_echo, route, run_gateway, wait_until
from upgrades import Arrivals, Lineage, respond, upgrade

LONG = bool(os.environ.get("BASCULE_LONG"))


@pytest.fixture(scope="module")
def backend():
    with RawBackend(raw_echo) as backend:
        yield backend


def is_alive(wire, text=b"still there"):
    wire.send_frame(frames.TEXT, text)
    return wire.read_until(frames.TEXT).payload == text


# Under load

@pytest.mark.timeout(150)
def test_new_connections_are_served_through_two_upgrades_with_other_numbers_of_workers(backend):
    rate, length = (1000, 30) if LONG else (300, 9)
    ports = [free_port(), free_port()]

    def text(version, workers, listeners):
        whole = configuration(
            listeners[0], [f"127.0.0.1:{backend.port}"], [route(), respond("/v", version)])
        more = "".join(f"  - bind: 127.0.0.1:{port}\n" for port in listeners[1:])
        return whole.replace("upstreams:", f"{more}upstreams:").replace("workers: 1", f"workers: {workers}")

    with Lineage(text("one", 2, ports), ports) as line:
        held = frames.open_websocket(line.address)
        arrivals = Arrivals(line.address, rate, length)
        for version, workers in (("two", 1), ("three", 2)):
            time.sleep(length / 3)
            upgrade(line, text(version, workers, ports))
            assert line.get("/v") == (200, version)
        arrivals.finish()
        assert arrivals.failures == [] and arrivals.done >= 0.9 * rate * length
        assert {b"one", b"two", b"three"} <= arrivals.answers
        assert held.read_until(frames.CLOSE).close_code == 1012
        wait_until(lambda: line.living() == [line.newest], 10, "the end of the old processes")
        for port in ports:
            frames.open_websocket(("127.0.0.1", port)).close()
    print(f"{arrivals.done} connections, the slowest took {arrivals.slowest:.3f} s")


@pytest.mark.timeout(60)
def test_connections_that_are_kept_see_no_failure(backend):
    """A request that is on its way when the process is replaced is answered, with Connection: close."""
    from test_reload import Load
    text = configuration(free_port(), [f"127.0.0.1:{backend.port}"], [respond("/page", "page")])
    port = int(text.split("127.0.0.1:")[1].split('"')[0])
    with Lineage(text, [port]) as line:
        loads = [Load(line.address, 100) for _ in range(3)]
        for _ in range(3):
            time.sleep(0.3)
            upgrade(line)
        time.sleep(0.3)
        assert sum(load.stop() for load in loads) > 100


# The sockets of the old process

def test_sockets_of_the_old_process_go_on_until_they_are_told(backend):
    """They are many, so that each has its turn."""
    with Lineage(configuration(port := free_port(), [f"127.0.0.1:{backend.port}"],
                               timeouts={"drain": "4s"}), [port]) as line:
        first = line.newest
        held = [frames.open_websocket(line.address) for _ in range(80)]
        upgrade(line)
        assert len(line.living()) == 2
        fresh = frames.open_websocket(line.address)
        for wire in held:
            wire.send_frame(frames.TEXT, b"still there")
        found = [wire.read_frame() for wire in held]
        # Some had been told before they were asked.
        assert sum(got.opcode == frames.TEXT for got in found) > 20
        for wire, got in zip(held, found):
            close = got if got.opcode == frames.CLOSE else wire.read_until(frames.CLOSE)
            assert close.close_code == 1012
            wire.send_close(1012)
        wait_until(lambda: first not in line.living(), 8, "the end of the old process")
        assert is_alive(fresh)
        fresh.close()
    closed = [e for e in line.events if e.get("event") == "close"]
    assert sum(e.get("why") == "superseded" for e in closed) == 80


def test_first_and_next_requests_are_answered_by_the_old_process_as_well(backend):
    with Lineage(configuration(port := free_port(), [f"127.0.0.1:{backend.port}"],
                               [route(), respond("/v", "one")]), [port]) as line:
        silent, used, socket_to_be = (frames.connect(line.address) for _ in range(3))
        ask = b"GET /v HTTP/1.1\r\nHost: a\r\n\r\n"
        used.sendall(ask)
        assert b"200 OK" in used.recv(4096)
        # All three have been accepted, and the first and the last have not said anything.
        upgrade(line)
        for sock in (silent, used):
            sock.sendall(ask)
            answer = sock.recv(4096)
            assert b"200 OK" in answer and b"connection: close" in answer.lower()
            sock.close()
        socket_to_be.sendall(frames.upgrade_request()[0])
        assert b"101" in socket_to_be.recv(4096)
        socket_to_be.close()


def test_http2_is_served_to_its_last_stream(backend, tmp_path):
    """Also on connections whose TLS, or whose first request, comes after the upgrade."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    secure = {"protocols": ["h2"], "tls": {"certificates": [
        {"certificate": str(certificate), "key": str(key)}]}}
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"],
                         [route(), respond("/v", "one")], secure)
    context = client_context(authority, ["h2"])
    with Lineage(text, [port]) as line:
        opened = lambda: h2peer.connect(line.address, context, "127.0.0.1")
        late, fresh, used = frames.connect(line.address), opened(), opened()
        fresh.wait_ready()
        wire = used.open_websocket(host="127.0.0.1")
        upgrade(line)
        assert wire.read_until(frames.CLOSE).close_code == 1012
        assert [last for last, _ in used.goaways] == [(1 << 31) - 1, 1]
        late = context.wrap_socket(late, server_hostname="127.0.0.1")
        assert late.selected_alpn_protocol() == "h2"
        for peer in (fresh, h2peer.Peer(late)):
            assert peer.get("/v", host="127.0.0.1").wait_head() == 200
            assert peer.wait_closed()[-1] == (1, 0)


# What does not succeed

def path_copy(directory, name="bascule"):
    program = pathlib.Path(directory) / name
    shutil.copy(harness.BINARY, program)
    return program


@pytest.mark.parametrize("broken", ["missing", "no program", "not executable", "ends", "killed"])
def test_a_new_program_that_does_not_run_leaves_the_old_one(backend, tmp_path, broken):
    program = path_copy(tmp_path)
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"])
    with Lineage(text, [port], program=program) as line:
        held = frames.open_websocket(line.address)
        good = path_copy(tmp_path, "good")
        program.unlink()
        if broken == "no program":
            program.write_text("this is no program")
            program.chmod(0o755)
        elif broken == "not executable":
            program.write_text("#!/bin/sh\n")
            program.chmod(0o644)
        elif broken in ("ends", "killed"):
            program.write_text("#!/bin/sh\n" + ("exit 3\n" if broken == "ends" else "kill -9 $$\n"))
            program.chmod(0o755)
        failure = upgrade(line, succeeds=False)
        reason = {"missing": "not found", "no program": "error 8", "not executable": "permission denied",
                  "ends": "it ended with status 3", "killed": "signal 9 ended it"}[broken]
        assert reason in failure["reason"]
        assert is_alive(held)
        good.rename(program)
        upgrade(line)
        assert held.read_until(frames.CLOSE).close_code == 1012


def test_a_new_configuration_with_mistakes_leaves_the_old_process(backend):
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"], [respond("/v", "one")])
    with Lineage(text, [port]) as line:
        for mistake in (text.replace("routes:", "rotes:"),
                        text.replace("upstreams:", "  - {bind: '203.0.113.9:1'}\nupstreams:")):
            failure = upgrade(line, mistake, succeeds=False)
            assert "mistakes in its configuration" in failure["reason"]
            assert line.get("/v") == (200, "one")
        assert line.log_contains("bascule.yaml:", "error:", "did you mean")
        assert line.log_contains("bascule.yaml:", "cannot listen on 203.0.113.9:1")
        upgrade(line, text.replace('"one"', '"two"'))
        assert line.get("/v") == (200, "two")


def test_one_upgrade_at_a_time(backend, tmp_path):
    """The program waits before it starts, as one does whose names take long to resolve."""
    program = path_copy(tmp_path)
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"])
    with Lineage(text, [port], program=program) as line:
        real = path_copy(tmp_path, "real")
        program.unlink()
        program.write_text(f'#!/bin/sh\nsleep 1\nexec {real} "$@"\n')
        program.chmod(0o755)
        os.kill(line.newest, signal.SIGUSR2)
        line.wait_event(message="starting a successor")
        for number, word in ((signal.SIGUSR2, "starting already"), (signal.SIGHUP, "a successor is starting")):
            for _ in range(50):
                os.kill(line.newest, number)
            wait_until(lambda: line.log_contains("signal ignored", word), what=word)
        frames.open_websocket(line.address).close()
        line.wait_event(message="a successor serves: draining")
        line.adopt()
        frames.open_websocket(line.address).close()
        assert sum(e.get("message") == "starting a successor" for e in line.events) == 1


def test_a_reload_that_is_asked_for_while_a_successor_starts_is_answered(backend, tmp_path):
    program = path_copy(tmp_path)
    port, admin = free_port(), free_port()
    text = configuration(port, [f"127.0.0.1:{backend.port}"], admin={"bind": f"127.0.0.1:{admin}"})
    with Lineage(text, [port, admin], program=program) as line:
        program.unlink()
        program.write_text("#!/bin/sh\nexec sleep 20\n")
        program.chmod(0o755)
        os.kill(line.newest, signal.SIGUSR2)
        line.wait_event(message="starting a successor")
        answer = ask(admin, "/reload", "POST", fields=CHANGE)
        assert answer.status == 422 and "a successor is starting" in answer.text


def test_a_process_that_is_told_to_end_takes_its_successor_with_it(backend, tmp_path):
    program = path_copy(tmp_path)
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"])
    with Lineage(text, [port], program=program) as line:
        program.unlink()
        program.write_text("#!/bin/sh\nexec sleep 20\n")
        program.chmod(0o755)
        os.kill(line.newest, signal.SIGUSR2)
        child = line.wait_event(message="starting a successor")["process"]
        os.kill(line.newest, signal.SIGTERM)
        wait_until(lambda: line.living() == [], 5, "the end")
        wait_until(lambda: not pathlib.Path(f"/proc/{child}/exe").exists(), 5, "the end of the other")


def test_the_demo_and_process_1_cannot_be_replaced(backend, tmp_path):
    with run_gateway("", [port := free_port()], arguments=["echo", "--port", str(port)]) as running:
        running.process.send_signal(signal.SIGUSR2)
        assert "cannot be replaced" in running.wait_event(message="signal ignored")["note"]
    config = tmp_path / "bascule.yaml"
    config.write_text(configuration(port := free_port(), [f"127.0.0.1:{backend.port}"]))
    new_space = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*new_space, "true"], capture_output=True).returncode:
        pytest.skip("no new process namespace here")
    process = subprocess.Popen([*new_space, harness.BINARY, "run", "--config", str(config)],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    running = harness.Gateway(process, [port], str(tmp_path))
    try:
        harness.wait_listening(process, [running.address], running.lines)
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        os.kill(int(children.read_text().split()[0]), signal.SIGUSR2)
        note = running.wait_event(message="signal ignored")["note"]
        assert "process 1" in note and "another container" in note
        frames.open_websocket(running.address).close()
    finally:
        process.kill()
        process.wait()


# Which program, and which sockets

@pytest.mark.parametrize("called", ["link", "relative", "path"])
def test_the_program_is_the_one_that_lies_where_the_old_one_did(backend, tmp_path, called):
    """As a package manager or a link to the current version leaves it."""
    (tmp_path / "v1").mkdir()
    (tmp_path / "v2").mkdir()
    first, second = path_copy(tmp_path / "v1"), path_copy(tmp_path / "v2")
    (tmp_path / "current").symlink_to("v1")
    name = {"link": str(tmp_path / "current" / "bascule"), "relative": "current/bascule", "path": "bascule"}[called]
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"])
    environment = {**os.environ, "PATH": f"{tmp_path / 'current'}:{os.environ['PATH']}"}
    with Lineage(text, [port], program=name, cwd=tmp_path, env=environment,
                 executable=str(first)) as line:
        assert os.readlink(f"/proc/{line.newest}/exe") == str(first)
        (tmp_path / "current").unlink()
        (tmp_path / "current").symlink_to("v2")
        first.unlink()
        upgrade(line)
        assert os.readlink(f"/proc/{line.newest}/exe") == str(second)


def is_open(path):
    try:
        frames.connect(path).close()
    except OSError:
        return False
    return True


def test_a_unix_listener_keeps_its_path_and_one_that_is_gone_loses_it(backend, tmp_path):
    paths = [str(tmp_path / "one.sock"), str(tmp_path / "two.sock")]

    def text(*binds):
        whole = configuration(port, [f"127.0.0.1:{backend.port}"]).replace("workers: 1", "workers: 2")
        return whole.replace("upstreams:", "".join(f"  - bind: unix:{path}\n" for path in binds) + "upstreams:")

    port = free_port()
    with Lineage(text(*paths), [port]) as line:
        first = line.newest
        # They are opened behind the port that has been waited for.
        wait_until(lambda: is_open(paths[0]))
        held = frames.open_websocket(paths[0])
        upgrade(line, text(paths[0]))
        assert held.read_until(frames.CLOSE).close_code == 1012
        held.close()
        wait_until(lambda: first not in line.living(), 10, "the end of the old process")
        for _ in range(10):
            frames.open_websocket(paths[0]).close()
        assert not os.path.exists(paths[1])
    assert not os.path.exists(paths[0]), "the last one takes its path away"


def test_listeners_come_and_go_with_an_upgrade_and_free_ports_stay(backend):
    gone, kept, new = free_port(), free_port(), free_port()

    def text(*binds):
        return configuration(binds[0], [f"127.0.0.1:{backend.port}"]).replace(
            "upstreams:", "".join(f"  - bind: 127.0.0.1:{port}\n" for port in binds[1:]) + "upstreams:")

    with Lineage(text(kept, gone, 0), [kept, gone]) as line:
        def addresses(count):
            told = lambda: [e["address"] for e in line.events if e.get("message") == "listening"]
            return wait_until(lambda: len(told()) == count and told(), what="addresses in the log")

        before = addresses(3)[-1]
        upgrade(line, text(kept, new, 0))
        assert addresses(6)[-1] == before
        wait_until(lambda: line.log_contains("no listener any more", str(gone)), what="a line")
        for port in (kept, new, int(before.rsplit(":")[1])):
            frames.open_websocket(("127.0.0.1", port)).close()
        wait_until(lambda: refuses(gone), what="a port that is closed")


def refuses(port):
    try:
        frames.connect(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True


def test_nothing_else_is_passed_on(backend):
    """The successor has no more descriptors than its predecessor had."""
    text = configuration(port := free_port(), [f"127.0.0.1:{backend.port}"])
    inherited, other = os.pipe()
    os.set_inheritable(inherited, True)
    with Lineage(text, [port], pass_fds=[inherited]) as line:
        def kinds():
            folder, found = f"/proc/{line.newest}/fd", []
            for fd in os.listdir(folder):
                # What has just been closed is listed, and gone.
                with contextlib.suppress(FileNotFoundError):
                    found.append(os.readlink(f"{folder}/{fd}").split(":")[0])
            return sorted(found)

        frames.open_websocket(line.address).close()
        idle = lambda: (found := kinds()).count("socket") == 1 and found
        before = wait_until(idle, what="the listener alone")
        assert "pipe" in before
        held = [frames.open_websocket(line.address) for _ in range(20)]
        upgrade(line)
        frames.open_websocket(line.address).close()
        after = wait_until(idle, what="the listener alone")
        before.remove("pipe")
        assert after == before, "without the one that nobody has closed on exec"
        for wire in held:
            wire.close()
    os.close(inherited)
    os.close(other)
