"""The command line: what it prints, what it refuses, and how it says where a mistake is."""

import re
import subprocess

import pytest

import frames
from harness import BINARY, configuration, free_port, run_gateway, wait_listening


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
                                       ["demo", "--help"], ["echo", "--help"]])
def test_help(arguments):
    done = run(*arguments)
    assert done.returncode == 0 and "bascule" in done.stdout


@pytest.mark.parametrize("arguments", [["rnu"], ["run", "--confg", "x"], ["run", "--config"],
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


def test_check_accepts_a_good_file(tmp_path):
    text = configuration(free_port(), ["127.0.0.1:2"])
    done = run("check", text=text, tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


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
