"""The frame of the tables of HTTP/2 requirements: what a row is, the states a stream can be in, and
the judge. A row sends bytes that its section forbids (or allows) and says what has to come back."""

import contextlib
import dataclasses
import json
import ssl
import subprocess

import h2raw
from h2raw import CANCEL, INITIAL_WINDOW_SIZE, NO_ERROR, code_name, request, rst_stream, websocket
from harness import RawBackend, free_port, raw_echo, route, run_gateway


class Expectation:
    """`problem(connection, stream)` is None when what came back is right."""

    def __or__(self, other):
        return Either(self, other)


class ConnectionFault(Expectation):
    """GOAWAY with the code, then the end of the connection (RFC 9113 5.4.1)."""

    def __init__(self, code):
        self.code = code

    def problem(self, c, stream):
        right = c.error == self.code and c.closed
        return None if right else self

    def __repr__(self):
        return f"GOAWAY({code_name(self.code)})"


class StreamFault(Expectation):
    """RST_STREAM with the code; the connection goes on (RFC 9113 5.4.2)."""

    def __init__(self, code):
        self.code = code

    def problem(self, c, stream):
        right = c.resets.get(stream) == self.code and c.error is None and not c.closed
        return None if right else self

    def __repr__(self):
        return f"RST_STREAM({code_name(self.code)})"


class Answered(Expectation):
    """A response with the status, and no error. A request body nobody reads may be stopped with
    RST_STREAM(NO_ERROR) behind it (RFC 9113 8.1)."""

    def __init__(self, status):
        self.status = status

    def problem(self, c, stream):
        right = (c.status(stream) == self.status and c.error is None and not c.closed
                 and c.resets.get(stream, NO_ERROR) == NO_ERROR)
        return None if right else self

    def __repr__(self):
        return f"status {self.status}"


class Tolerated(Expectation):
    """Nothing happens to the connection, nor to the stream."""

    def problem(self, c, stream):
        right = c.error is None and not c.closed and c.resets.get(stream, NO_ERROR) == NO_ERROR
        return None if right else self

    def __repr__(self):
        return "tolerated"


class Closed(Expectation):
    """The connection ends; with or without a GOAWAY."""

    def problem(self, c, stream):
        return None if c.closed else self

    def __repr__(self):
        return "closed"


class Either(Expectation):
    """Where the RFC leaves the choice to the implementation."""

    def __init__(self, *choices):
        self.choices = choices

    def problem(self, c, stream):
        return None if any(x.problem(c, stream) is None for x in self.choices) else self

    def __repr__(self):
        return " or ".join(map(repr, self.choices))


def goaway(code):
    return ConnectionFault(code)


def reset(code):
    return StreamFault(code)


TOLERATED, CLOSED = Tolerated(), Closed()
#: What a plain GET of "/" gets: there is no route for it.
MISSED = Answered(404)


@dataclasses.dataclass
class Row:
    """`send`: bytes, or a function of the stream's id that gives them. `state`: what the stream is
    in before. `stream`: the one the answer is about. `cases`: the cases of the outside suite that
    this row stands for, as section/number. `why`: what the RFC leaves open. `early`: sent byte by
    byte, the answer (which needs the head only) may be out before the offence is."""

    section: str
    name: str
    send: object
    expect: Expectation
    state: str = "idle"
    stream: int = 1
    cases: tuple = ()
    why: str = ""
    early: bool = False

    def __str__(self):
        return f"{self.section} {self.state}: {self.name}"


def open_stream(c):
    """Open: a WebSocket whose 200 has come."""
    c.start()
    c.send(websocket(1))
    c.wait(lambda: c.status(1) == 200, "the 200 of a WebSocket")


def half_closed_local(c):
    """The server has sent END_STREAM, the client has not: a request that is answered early."""
    c.start()
    c.send(request(1, ends=False, method="POST"))
    c.wait(lambda: 1 in c.ended, "the end of a response")


def half_closed_remote(c):
    """The client has sent END_STREAM; no window lets the server's body out."""
    c.start((INITIAL_WINDOW_SIZE, 0))
    c.send(request(1))
    c.wait(lambda: c.status(1), "a response head")


def closed(c):
    """Both sides have sent END_STREAM."""
    c.start()
    c.send(request(1))
    c.wait(lambda: 1 in c.ended, "the end of a response")


def reset_by_client(c):
    open_stream(c)
    c.send(rst_stream(1, CANCEL))
    c.settle()


def reset_by_server(c):
    """The server has sent RST_STREAM to an open stream, for a field name in capitals."""
    c.start()
    c.send(request(1, ends=False, extra=[("Capital", "x")]))
    c.wait(lambda: 1 in c.resets, "a RST_STREAM")
    c.resets.clear()


def started(c):
    c.start()


def nothing(_):
    """Not even the preface."""


STATES = {"idle": started, "open": open_stream, "half-closed (local)": half_closed_local,
          "half-closed (remote)": half_closed_remote, "closed": closed,
          "reset by the client": reset_by_client, "reset by us": reset_by_server,
          "connected": nothing}


def judge(front, row, way):
    """Runs a row over one of the ways to the gateway."""
    expect = row.expect | MISSED if row.early and way == "byte by byte" else row.expect
    with front.connect(way) as c:
        STATES[row.state](c)
        sent = row.send(row.stream) if callable(row.send) else row.send
        c.send(sent)
        if not c.settle() and not c.closed:
            raise AssertionError(f"no answer to a PING behind it: {c.describe()}")
        # What needs the backend may come after the PING.
        c.reaches(lambda: expect.problem(c, row.stream) is None, 1)
        problem = expect.problem(c, row.stream)
        assert problem is None, f"wanted {problem}, got {c.describe()}. {row.why}"


#: The ways every row is sent: at once, in single bytes, and under TLS.
WAYS = ["plain", "byte by byte", "TLS"]


class Front:
    """A gateway with a plain listener (prior knowledge) and one with TLS (ALPN)."""

    def __init__(self, running, backend, context):
        self.running, self.backend, self.context = running, backend, context

    def connect(self, way="plain", seconds=3):
        secure = way == "TLS"
        return h2raw.connect(("127.0.0.1", self.running.ports[1 if secure else 0]),
                             self.context if secure else None, way == "byte by byte", seconds)


def serve(wire):
    """The backend: /echo echoes, /held never answers, /refuse says 403."""
    path = wire.head.split(b" ")[1]
    if path.startswith(b"/held"):
        wire.read_to_end()
    elif path.startswith(b"/refuse"):
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n")
        wire.rest, _ = wire.read_to_end()
    else:
        raw_echo(wire)


def make_certificate(directory):
    certificate, key = directory / "h2.crt", directory / "h2.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost", "-days", "2",
         "-addext", "subjectAltName=DNS:localhost,DNS:gateway.example"],
        check=True, capture_output=True)
    key.chmod(0o600)
    return {"certificate": str(certificate), "key": str(key)}


@contextlib.contextmanager
def run_front(directory, protocols=("h2", "http/1.1")):
    """A gateway with both listeners in front of the backend."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with RawBackend(serve) as backend:
        ports = [free_port(), free_port()]
        binds = [{"bind": f"127.0.0.1:{port}", "protocols": list(protocols)} for port in ports]
        binds[1]["tls"] = {"certificates": [make_certificate(directory)]}
        words = ["echo", "held", "refuse"]
        lines = ["workers: 1", f"listeners: {json.dumps(binds)}",
                 f'upstreams: {{"backend": {{"endpoints": ["127.0.0.1:{backend.port}"]}}}}',
                 "routes:", *(f"  - {route(path='/' + word)}" for word in words),
                 'timeouts: {"drain": "1s"}']
        with run_gateway("\n".join(lines) + "\n", ports) as running:
            yield Front(running, backend, context)
