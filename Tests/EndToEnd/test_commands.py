"""The command line: what it prints, what it refuses, and how it says where a mistake is."""

import re
import signal
import socket
import subprocess

import pytest

import frames
import harness
from harness import BINARY, configuration, free_port, run_gateway, wait_listening, wait_until


def run(*arguments, text=None, tmp_path=None, environment=None):
    import os
    if text is not None:
        path = tmp_path / "bascule.yaml"
        path.write_text(text)
        arguments = [*arguments, "--config", str(path)]
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=20,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})})


def test_version_names_the_libraries():
    done = run("--version")
    assert done.returncode == 0
    assert "bascule" in done.stdout and "OpenSSL" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["check", "--help"],
                                       ["demo", "--help"], ["echo", "--help"],
                                       ["reference", "--help"], ["health", "--help"],
                                       ["reload", "--help"], ["drain", "--help"],
                                       ["top", "--help"]])
def test_help(arguments):
    done = run(*arguments)
    assert done.returncode == 0 and "bascule" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    flags = {"run": ["--config"], "check": ["--config", "--running"], "demo": ["--http", "--https"],
             "echo": ["--port"], "reference": ["--schema"], "health": ["--config", "--admin"],
             "reload": ["--config", "--admin"], "top": ["--config", "--admin"],
             "drain": ["--percent", "--config", "--admin"]}
    for flag in flags.get(arguments[0], []):
        assert re.search(rf"^{flag} [A-Z ]* +\w", done.stdout, re.M), f"{flag} is not explained"


@pytest.mark.parametrize("arguments", [["rnu"], ["run", "--confg", "x"], ["run", "--config"],
                                       ["check", "--runing"], ["reference", "--shema"], ["run", "--running"],
                                       ["demo", "--http", "18099", "--https", "18099"],
                                       ["echo", "--port", "no"], ["echo", "--port", "70000"]])
def test_an_unknown_word_is_one_line_and_exit_64(arguments):
    done = run(*arguments)
    assert done.returncode == 64
    assert len((done.stdout + done.stderr).strip().splitlines()) <= 2


def test_reference_is_a_configuration_that_is_explained():
    done = run("reference")
    assert done.returncode == 0
    for word in ["listeners", "upstreams", "routes", "keepalive", "max_message", "#"]:
        assert word in done.stdout


GOOD = configuration(1, ["127.0.0.1:2"])


@pytest.mark.parametrize("change, wanted", [
    (("routes:", "ruotes:"), "routes"),
    (("workers: 1", "workers: many"), "many"),
    (("workers: 1", "workers: 1\nworkers: 2"), "workers"),
    (('"upstream": "backend"', '"upstream": "nowhere"'), "nowhere"),
    (('"drain": "2s"', '"drain": "2 parsecs"'), "2 parsecs"),
    (("127.0.0.1:2", "127.0.0.1:99999"), "99999"),
    (("workers: 1", "workers: ${UNSET_VARIABLE}"), "UNSET_VARIABLE"),
    (("workers: 1", "workers: [1"), ""),
    (("workers: 1", "\tworkers: 1"), ""),
])
def test_check_says_where(tmp_path, change, wanted):
    assert change[0] in GOOD
    done = run("check", text=GOOD.replace(*change), tmp_path=tmp_path)
    output = done.stdout + done.stderr
    assert done.returncode == 78, output
    assert re.search(r"bascule\.yaml:\d+:\d+: error: ", output), output
    assert wanted in output


def test_check_reports_every_mistake(tmp_path):
    text = GOOD.replace("workers: 1", "workers: many").replace('"drain"', '"drian"') \
        .replace('"upstream": "backend"', '"upstream": "nowhere"')
    done = run("check", text=text, tmp_path=tmp_path)
    assert len(re.findall(r": error: ", done.stdout + done.stderr)) >= 3


def mistakes(done):
    """(line, message) of each, in the order printed."""
    assert done.returncode == 78, done.stdout + done.stderr
    found = re.findall(r"bascule\.yaml:(\d+):\d+: error: (.*)", done.stderr)
    return [(int(line), message) for line, message in found]


def certificate(directory, name):
    files = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def listeners(*entries):
    lines = [f"  - {entry}" for entry in entries]
    return "\n".join(["listeners:", *lines, "upstreams: {a: {endpoints: ['127.0.0.1:2']}}",
                      "routes: [{upstream: a}]", ""])


def tls(port, *pairs):
    pairs = ", ".join(f"{{certificate: '{pair[0]}', key: '{pair[1]}'}}" for pair in pairs)
    return f"{{bind: '127.0.0.1:{port}', tls: {{certificates: [{pairs}]}}}}"


def test_check_finds_mistakes_of_the_file_and_of_what_it_names_at_once(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = listeners(tls(0, ("absent.pem", "absent.key")),
                         f"{{bind: '127.0.0.1:{taken.getsockname()[1]}', backlog: many}}",
                         "{bind: nowhere}", "{bind: '127.0.0.1:0', tls: {}}") + "wrokers: 1\n"
        found = mistakes(run("check", text=text, tmp_path=tmp_path))
        assert found == mistakes(run("run", text=text, tmp_path=tmp_path))
    assert [line for line, _ in found] == [2, 2, 3, 3, 4, 5, 8]
    for word, (_, message) in zip(
            ["absent.pem", "absent.key", "address in use", "many", "nowhere", "certificates",
             "wrokers"], found):
        assert word in message


def test_a_mistake_that_two_listeners_share_is_told_once(tmp_path):
    text = listeners(tls(0, ("absent.pem", "absent.key")).replace("tls:", "tls: &shared"),
                     "{bind: '127.0.0.1:0', tls: *shared}")
    assert len(mistakes(run("check", text=text, tmp_path=tmp_path))) == 2


def test_a_name_that_does_not_resolve_is_told_beside_other_mistakes(tmp_path):
    text = listeners("{bind: '127.0.0.1:0', backlog: 0}").replace("127.0.0.1:2", "nowhere.invalid:2")
    found = mistakes(run("check", text=text, tmp_path=tmp_path))
    assert [line for line, _ in found] == [2, 3] and "nowhere.invalid" in found[1][1]


def test_check_while_the_gateway_runs(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = listeners(f"{{bind: '127.0.0.1:{taken.getsockname()[1]}'}}")
        [(_, message)] = mistakes(run("check", text=text, tmp_path=tmp_path))
        assert "address in use" in message and "--running" in message
        done = run("check", "--running", text=text, tmp_path=tmp_path)
        assert done.returncode == 0 and "ok (1 listener, 1 route, 1 upstream)" in done.stdout
        text = text.replace("'127.0.0.1:2'", "'127.0.0.1:2', '127.0.0.1:2'")
        assert "twice" in mistakes(run("check", "--running", text=text, tmp_path=tmp_path))[0][1]


def test_a_port_in_use_gives_no_advice_that_is_only_for_check(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = listeners(f"{{bind: '127.0.0.1:{taken.getsockname()[1]}'}}")
        [(_, message)] = mistakes(run("run", text=text, tmp_path=tmp_path))
    assert "address in use" in message and "--running" not in message


def test_every_certificate_that_does_not_fit_is_told_with_both_files(tmp_path):
    one, two = certificate(tmp_path, "one"), certificate(tmp_path, "two")
    (tmp_path / "empty.pem").write_text("nothing\n")
    text = listeners(tls(0, one, (one[0], two[1])), tls(0, two[::-1]), tls(0, (two[0], one[1])),
                     tls(0, (tmp_path / "empty.pem", one[1])), tls(0, (one[0], one[0])))
    found = mistakes(run("check", text=text, tmp_path=tmp_path))
    wanted = [(2, [one[0], two[1], "does not fit"]), (3, [two[1], two[0], "swap"]),
              (4, [two[0], one[1], "does not fit"]), (5, ["empty.pem", "no certificate"]),
              (6, [one[0], "no private key"])]
    assert [line for line, _ in found] == [line for line, _ in wanted]
    for (_, message), (_, words) in zip(found, wanted):
        assert all(str(word) in message for word in words), message


def test_check_accepts_a_good_file(tmp_path):
    text = listeners(tls(0, certificate(tmp_path, "one"), certificate(tmp_path, "two")),
                     "{bind: '127.0.0.1:0', protocols: [h2, http/1.1]}")
    done = run("check", text=text, tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok (2 listeners, 1 route, 1 upstream)" in done.stdout


def test_a_missing_key_is_told_where_the_key_is_named(tmp_path):
    pem, _ = certificate(tmp_path, "one")
    text = listeners(tls(0, (pem, "absent.key")))
    done = run("check", text=text, tmp_path=tmp_path)
    line, column = re.search(r"bascule\.yaml:(\d+):(\d+): error: cannot read .*absent\.key", done.stderr).groups()
    assert text.splitlines()[int(line) - 1][int(column) - 1:].startswith("'absent.key'")


def test_a_listener_for_http2_alone_draws_a_warning(tmp_path):
    text = listeners("{bind: '127.0.0.1:0', protocols: [h2]}")
    done = run("check", text=text, tmp_path=tmp_path)
    assert done.returncode == 0 and "warning: " in done.stderr and "HTTP/1.1" in done.stderr


def test_what_is_legal_and_not_meant_draws_warnings_that_a_start_logs(tmp_path):
    port = free_port()
    text = configuration(port, ["127.0.0.1:2"], routes=['{path: "/api/*", upstream: backend}'])
    text = text.replace("routes:", f"  idle: {{endpoints: ['localhost:{port}']}}\nroutes:")
    done = run("check", text=text, tmp_path=tmp_path)
    assert done.returncode == 0
    places = re.findall(r"bascule\.yaml:(\d+):(\d+): warning: (.*)", done.stderr)
    lines = text.splitlines()
    at = {lines[int(line) - 1][int(column) - 1:].split()[0]: told for line, column, told in places}
    assert list(at) == ["idle:", f"'localhost:{port}']}}", '"/api/*",']
    with run_gateway(text, [port]) as running:
        for word in ("no route", "in a circle", "write /api"):
            wait_until(lambda: running.log_contains('"warn"', "bascule.yaml:", word), what=word)


@pytest.mark.parametrize("limits", [{}, {"connections": "auto"}])
def test_connections_that_nobody_asked_for_are_lowered_without_a_warning(tmp_path, monkeypatch, limits):
    few = tmp_path / "few-descriptors"
    few.write_text(f'#!/bin/sh\nulimit -n 4096\nexec {BINARY} "$@"\n')
    few.chmod(0o755)
    monkeypatch.setattr(harness, "BINARY", str(few))
    port = free_port()
    with run_gateway(configuration(port, ["127.0.0.1:2"], limits=limits), [port]) as running:
        wait_until(lambda: running.log_contains('"info"', "limits.connections lowered to"))
        assert not running.log_contains('"warn"', "limits.connections")
    wanted = configuration(0, ["127.0.0.1:2"], limits={"connections": 65_536})
    path = tmp_path / "bascule.yaml"
    path.write_text(wanted)
    done = subprocess.run([few, "run", "--config", path], capture_output=True, text=True, timeout=20)
    assert done.returncode == 78 and "limits.connections: 65536 needs" in done.stderr


def test_a_taken_port_of_the_demo_says_which_flag_chooses_another():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("demo", "--http", "0", "--https", str(taken.getsockname()[1]))
    assert done.returncode == 78 and "try --https PORT" in done.stderr


def test_the_lines_of_a_life(tmp_path):
    """What is logged at the start, at a SIGHUP and at the end says each thing once."""
    ports = [free_port(), free_port()]
    text = listeners(tls(ports[0], certificate(tmp_path, "one")), f"{{bind: '127.0.0.1:{ports[1]}'}}")
    with run_gateway(text, ports) as running:
        running.process.send_signal(signal.SIGHUP)
        running.wait_event(message="configuration reloaded")
        listening = [e for e in running.events if e.get("message") == "listening"]
        assert [(e["tls"], e["protocols"]) for e in listening] == \
            [("on", "h2, http/1.1"), ("off", "http/1.1")]
    assert "note" not in running.wait_event(message="draining")
    assert not any(e.get("message") == "note" for e in running.events)


def test_the_demo_names_its_listeners():
    ports = [free_port(), free_port()]
    arguments = ["demo", "--http", str(ports[0]), "--https", str(ports[1])]
    with run_gateway("", ports, arguments=arguments) as running:
        running.wait_event(service="echo backend")
        listening = [e for e in running.events if e.get("message") == "listening"]
    assert [(e["protocols"], e.get("service")) for e in listening] == \
        [("http/1.1", None), ("h2, http/1.1", None), ("http/1.1", "echo backend")]


def test_check_takes_variables_with_defaults(tmp_path):
    text = configuration(free_port(), ["127.0.0.1:2"]).replace("workers: 1", "workers: ${N:-1}")
    assert run("check", text=text, tmp_path=tmp_path).returncode == 0
    assert run("check", text=text, tmp_path=tmp_path, environment={"N": "x"}).returncode == 78


@pytest.mark.parametrize("text", [
    "a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
    "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]\n",
    "x: " + "[" * 1000 + "]" * 1000 + "\n", "x: " + "y" * (2 << 20) + "\n", "\0\xff", "", "- a\n",
    "just a word\n"])
def test_hostile_files_are_refused_quickly(tmp_path, text):
    done = run("check", text=text, tmp_path=tmp_path)
    assert done.returncode == 78
    assert "Fatal error" not in done.stderr and "Stack" not in done.stderr


def test_a_missing_file_is_said_plainly(tmp_path):
    done = run("check", "--config", str(tmp_path / "absent.yaml"))
    assert done.returncode == 78 and "absent.yaml" in done.stdout + done.stderr


def test_the_echo_backend(tmp_path):
    port = free_port()
    process = subprocess.Popen([BINARY, "echo", "--port", str(port)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_listening(process, [("127.0.0.1", port)], [])
        text = configuration(free_port(), [f"127.0.0.1:{port}"])
        front = int(re.search(r"127\.0\.0\.1:(\d+)\"\}", text).group(1))
        with run_gateway(text, [front]) as running:
            with frames.open_websocket(running.address) as client:
                client.send_frame(frames.TEXT, b"mirror")
                while client.read_frame().payload != b"mirror":
                    pass
    finally:
        process.terminate()
        process.wait(timeout=5)
