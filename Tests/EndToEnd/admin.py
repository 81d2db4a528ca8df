"""Questions to the admin listener, and the commands that ask them."""

import contextlib
import json
import socket
import subprocess

import harness
from harness import free_port, gateway, wait_until

TOKEN = "a-token-of-some-length"
CHANGE = {"X-Bascule": "test"}


class Answer:
    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.fields = {name.lower(): value.strip() for name, value in
                       (line.split(":", 1) for line in lines[1:])}
        self.text = self.body.decode()

    def json(self):
        return json.loads(self.body)


def ask(address, target, method="GET", host="localhost", fields=None, token=None):
    """One request on a connection of its own. `address`: a port, or the path of a unix socket."""
    lines = [f"{method} {target} HTTP/1.1", "Connection: close"]
    lines += [f"Host: {host}"] if host is not None else []
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
    if isinstance(address, int):
        sock = socket.create_connection(("127.0.0.1", address), 10)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(address)
    with sock:
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        data = b""
        while more := sock.recv(1 << 16):
            data += more
    return Answer(data)


@contextlib.contextmanager
def administered(endpoints, admin=None, **keywords):
    """A gateway, and the port of its admin listener."""
    port = free_port()
    with gateway(endpoints, admin={"bind": f"127.0.0.1:{port}", **(admin or {})},
                 **keywords) as running:
        yield running, port


def samples(port):
    """The metrics: values by name and labels."""
    found = {}
    for line in ask(port, "/metrics").text.splitlines():
        if not line.startswith("#"):
            key, _, value = line.rpartition(" ")
            found[key] = float(value)
    return found


def wait_sample(port, key, value):
    wait_until(lambda: samples(port).get(key) == value, what=f"{key} {value}")


def listed(port, query="", **keywords):
    answer = ask(port, "/connections" + query, **keywords)
    assert answer.status == 200, answer.text
    return answer.json()


def command(*words, **keywords):
    return subprocess.run([harness.BINARY, *words], text=True, capture_output=True, timeout=20,
                          stdin=subprocess.DEVNULL, **keywords)
