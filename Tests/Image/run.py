#!/usr/bin/env python3
"""Builds the container image and shows what docker/README.md says of it: its size, its user, that it
starts read-only and without a right as process 1, serves a real client, is healthy by its own
HEALTHCHECK, and ends politely. Too long for every change.

    Tests/Image/run.py                     with docker
    Tests/Image/run.py --build COMMAND --export COMMAND

--build makes the image {image} from {file} in {context}; --export writes the files of {image} to its
standard output, as tar does. The sandbox is made here, of namespaces, so that it is the same with every
engine. Needs root and unshare.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))
import frames  # noqa: E402
from frames import CLOSE, TEXT  # noqa: E402
from harness import RawBackend, raw_echo, wait_until  # noqa: E402

IMAGE = "bascule:test"
FILE = ROOT / "docker/Dockerfile"
LIMIT = 40_000_000
#: What is not of the image.
TAR = "tar -C / --exclude=./proc --exclude=./sys --exclude=./dev -cf - ."


def instructions():
    """Of the last stage: {WORD: rest}, and the base it is made from."""
    text = re.sub(r"\\\n", " ", FILE.read_text())
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.M))
    lines = [line.split(None, 1) for line in text.splitlines()
             if line.strip() and not line.startswith("#")]
    start = max(index for index, (word, _) in enumerate(lines) if word == "FROM")
    base = re.sub(r"\$\{(\w+)\}", lambda name: arguments[name[1]], lines[start][1])
    return dict(lines[start:]), base


def command(template, **values):
    return [word.format(**values) for word in shlex.split(template)]


def export(template, image, directory):
    """The files of an image: {path: size}."""
    directory.mkdir()
    with subprocess.Popen(command(template, image=image), stdout=subprocess.PIPE) as engine:
        subprocess.run(["tar", "-C", directory, "-xf", "-"], stdin=engine.stdout, check=True)
    for name in ("proc", "sys", "dev"):
        (directory / name).mkdir(exist_ok=True)
    return {path.relative_to(directory): path.lstat().st_size for path in directory.rglob("*")
            if path.is_file() and not path.is_symlink()}


def bring_loopback_up():
    """In the network namespace of our own (netdevice(7))."""
    with socket.socket() as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 1 | 0x40))


class Sandbox:
    """The image's files as a container has them: read-only, as its user, without capabilities."""

    def __init__(self, root, user):
        self.root, (self.uid, self.gid) = root, user.split(":")

    def command(self, words):
        drop = ["setpriv", "--reuid", self.uid, "--regid", self.gid, "--clear-groups",
                "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        script = (f"mount --bind {self.root} {self.root} && mount --bind /dev {self.root}/dev && "
                  f"mount -t proc proc {self.root}/proc && "
                  f"mount -o remount,bind,ro {self.root} && exec chroot {self.root} \"$@\"")
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh",
                *drop, *words]

    def run(self, words):
        return subprocess.run(self.command(words), capture_output=True, text=True, timeout=30)

    def start(self, words):
        """(what is around it, its own process id here)"""
        process = subprocess.Popen(self.command(words), stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        number = wait_until(lambda: children.read_text().split(), what="a process")[0]
        wait_until(lambda: pathlib.Path(f"/proc/{number}/comm").read_text() == "bascule\n", 10,
                   what="the gateway")
        return process, int(number)


def check_rights(number, user):
    status = dict(line.split(":\t", 1)
                  for line in pathlib.Path(f"/proc/{number}/status").read_text().splitlines()
                  if ":\t" in line)
    uid, gid = user.split(":")
    assert status["Uid"].split() == [uid] * 4 and status["Gid"].split() == [gid] * 4, status
    assert all(int(status[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert status["NoNewPrivs"] == "1" and status["NSpid"].split()[-1] == "1", status
    mounts = pathlib.Path(f"/proc/{number}/mountinfo").read_text().splitlines()
    root = [line.split() for line in mounts if line.split()[4] == "/"][-1]
    assert "ro" in root[5].split(","), root
    print(f"process 1 of user {user}, no capability, nothing to write to")


def check_service():
    page = urllib.request.urlopen("http://127.0.0.1:8080/", timeout=5).read().decode()
    assert "Bascule is running" in page, page
    client = frames.open_websocket(("127.0.0.1", 8080), path="/ws")
    client.send_frame(TEXT, b"hello")
    assert client.read_frame().payload == b"hello"
    print("its page is there, and a WebSocket goes to the backend and back")
    return client


def check_health(sandbox, words, healthy):
    done = sandbox.run(words)
    assert (done.returncode == 0) == healthy, done
    print(f"{' '.join(words)}: {done.returncode} {(done.stdout + done.stderr).strip()}")


def inside(options):
    """In namespaces of our own."""
    bring_loopback_up()
    stage, _ = instructions()
    sandbox = Sandbox(pathlib.Path(options.root), stage["USER"])
    health = json.loads(stage["HEALTHCHECK"].split("CMD", 1)[1])
    assert stage["STOPSIGNAL"] == "SIGTERM"
    with RawBackend(raw_echo, address=("127.0.0.1", 3000)):
        check_health(sandbox, health, healthy=False)
        began = time.monotonic()
        process, number = sandbox.start(json.loads(stage["ENTRYPOINT"]) + json.loads(stage["CMD"]))
        try:
            def listens():
                with contextlib.suppress(OSError):
                    frames.connect(("127.0.0.1", 8080), 1).close()
                    return True
            wait_until(listens, 10, "the gateway to listen")
            print(f"listens after {time.monotonic() - began:.2f} s")
            check_rights(number, stage["USER"])
            client = check_service()
            check_health(sandbox, health, healthy=True)
            os.kill(number, signal.SIGTERM)
            assert client.read_until(CLOSE).close_code == 1001
            client.send_frame(CLOSE, b"\x03\xe9")
            assert process.wait(10) == 0
            print("SIGTERM: its client got Close 1001, and it ended with 0")
        finally:
            process.kill()
            print(process.stdout.read())


def main(options):
    if options.root:
        return inside(options)
    _, base = instructions()
    print(f"building {IMAGE}", flush=True)
    subprocess.run(command(options.build, image=IMAGE, file=str(FILE), context=str(ROOT)),
                   check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="bascule-image-") as name:
        files = export(options.export, IMAGE, pathlib.Path(name) / "image")
        below = export(options.export, base, pathlib.Path(name) / "base")
        more = sum(size for path, size in files.items() if below.get(path) != size)
        print(f"{sum(files.values()) / 1e6:.1f} MB, {more / 1e6:.1f} MB of it not of {base}")
        assert more <= LIMIT
        libraries = {path.name for path in (pathlib.Path(name) / "image").rglob("libswift*")}
        assert not libraries, libraries
        subprocess.run(["unshare", "--mount", "--net", sys.executable, __file__, "--root",
                        f"{name}/image"], check=True)
    print("all is as it should be")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="docker build -q -f {file} -t {image} {context}")
    parser.add_argument("--export", default="docker run --rm --user 0 --entrypoint '' {image} " + TAR)
    parser.add_argument("--root", help=argparse.SUPPRESS)
    main(parser.parse_args())
