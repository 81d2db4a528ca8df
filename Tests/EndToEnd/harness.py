"""Starts gateways, backends and middle boxes for the tests. Everything is on loopback, on ports the
kernel picked, and is stopped when its `with` ends."""

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import frames

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = os.environ.get("BASCULE_BINARY", str(ROOT / ".build/release/bascule"))


def free_port(family=socket.AF_INET, host="127.0.0.1"):
    """A port that was free a moment ago."""
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds=5, what="condition"):
    """The first true value of `condition()`; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true in {seconds} s")


def settled(value, seconds=0.5, limit=10):
    """The value of `value()` once it has stood still for `seconds`."""
    last, since, deadline = value(), time.monotonic(), time.monotonic() + limit
    while time.monotonic() - since < seconds:
        time.sleep(0.02)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        assert time.monotonic() < deadline, f"still moving: {last}"
    return last


class Gateway:
    """A running gateway. `lines` is everything it has printed, `events` the JSON objects of it."""

    def __init__(self, process, ports, directory):
        self.process, self.ports, self.directory = process, ports, directory
        self.lines = []
        self.reader = threading.Thread(target=self.collect, daemon=True)
        self.reader.start()

    def collect(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def address(self):
        return ("127.0.0.1", self.ports[0])

    @property
    def events(self):
        found = []
        for line in list(self.lines):
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    found.append(event)
        return found

    def wait_event(self, seconds=5, **wanted):
        """The first log object in which every wanted field has the wanted value."""
        def find():
            return next((event for event in self.events
                         if all(event.get(key) == value for key, value in wanted.items())), None)
        try:
            return wait_until(find, seconds)
        except AssertionError:
            raise AssertionError(f"no log line with {wanted} in:\n" + "\n".join(self.lines)) from None

    def log_contains(self, *words):
        return any(all(word in line for word in words) for line in list(self.lines))

    def url(self, path="/", scheme="ws"):
        return f"{scheme}://127.0.0.1:{self.ports[0]}{path}"

    def memory_kib(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))

    def peak_kib(self):
        """The most memory that has been resident since `forget_peak()`."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM:"))

    def forget_peak(self):
        """The peak is what is resident now."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        """SIGTERM, and the exit status: 0 unless something is wrong."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = None
        self.reader.join(timeout=2)
        return status


def wait_listening(process, addresses, lines):
    deadline = time.monotonic() + 10
    for address in addresses:
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                time.sleep(0.1)
                raise AssertionError("the gateway does not listen:\n" + "\n".join(lines))
            with contextlib.suppress(OSError):
                frames.connect(address, 1).close()
                break
            time.sleep(0.01)


def route(upstream="backend", **keys):
    """One route as a YAML flow mapping, from JSON values (which YAML understands)."""
    return json.dumps({"path": "/", "upstream": upstream, **keys})


def configuration(port, endpoints, routes=None, listener=None, upstream=None, **sections):
    """A configuration with one listener and one upstream called `backend`. JSON is YAML."""
    lines = ["workers: 1", "listeners:",
             "  - " + json.dumps({"bind": f"127.0.0.1:{port}", **(listener or {})}),
             "upstreams:",
             "  backend: " + json.dumps({"endpoints": endpoints, **(upstream or {})}),
             "routes:"]
    lines += ["  - " + text for text in routes or [route()]]
    sections.setdefault("timeouts", {})
    sections["timeouts"].setdefault("drain", "2s")
    if os.geteuid():
        # Only root may look into a process that hides its memory, as many tests do.
        sections.setdefault("core_dumps", True)
    lines += [f"{name}: {json.dumps(value)}" for name, value in sections.items()]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def run_gateway(text, ports, addresses=None, arguments=None, check_exit=True, environment=None,
                may_end=False):
    """Runs the gateway on a configuration text until the `with` ends. `may_end`: the test stops it."""
    with tempfile.TemporaryDirectory(prefix="bascule-e2e-") as name:
        path = pathlib.Path(name) / "bascule.yaml"
        path.write_text(text)
        command = [BINARY, *(arguments or ["run", "--config", str(path)])]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
            env={**os.environ, "NO_COLOR": "1", **(environment or {})})
        running = Gateway(process, ports, name)
        try:
            wait_listening(process, addresses or [("127.0.0.1", p) for p in ports], running.lines)
            yield running
        finally:
            early = process.poll()
            status = running.stop()
        assert early is None or may_end, f"the gateway ended by itself ({early}):\n" + "\n".join(running.lines)
        if check_exit:
            assert status == 0, f"exit status {status}:\n" + "\n".join(running.lines[-20:])


@contextlib.contextmanager
def gateway(endpoints, routes=None, check_exit=True, may_end=False, **keywords):
    """The usual case: one plain listener in front of `endpoints` (ports or addresses)."""
    port = free_port()
    addresses = [f"127.0.0.1:{e}" if isinstance(e, int) else e for e in endpoints]
    text = configuration(port, addresses, routes, **keywords)
    with run_gateway(text, [port], check_exit=check_exit, may_end=may_end) as running:
        yield running


class RawBackend:
    """A TCP server in threads. For each connection `serve(wire)` runs after its request head was
    read into `wire.head`; every accepted connection is in `wires`."""

    def __init__(self, serve, family=socket.AF_INET, address=("127.0.0.1", 0), tls=None):
        self.serve, self.tls = serve, tls
        self.wires, self.errors = [], []
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(128)
        self.stopping = False
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def accept(self):
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.attend, args=(sock,), daemon=True).start()

    def attend(self, sock):
        sock.settimeout(30)
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            wire = frames.Wire(sock, masks=False)
            wire.read_head()
            self.wires.append(wire)
            self.serve(wire)
        except (OSError, frames.Ended):
            pass
        except Exception as error:  # shown by the test, which waits for something else
            self.errors.append(error)
        finally:
            with contextlib.suppress(OSError):
                sock.close()

    def wait_wire(self, index=0, seconds=5):
        wait_until(lambda: len(self.wires) > index, seconds, "a connection to the backend")
        return self.wires[index]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping = True
        # Wakes the accept, which closing alone does not.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for wire in self.wires:
            with contextlib.suppress(OSError):
                wire.close()
        assert not self.errors, self.errors


def answer_upgrade(wire, extra=b""):
    """Sends the 101 for the request in `wire.head`."""
    accept = frames.accept_value(wire.field("Sec-WebSocket-Key").encode())
    wire.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
              b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n" + extra + b"\r\n")


def raw_echo(wire):
    """Accepts the upgrade and echoes frames; checks nothing."""
    answer_upgrade(wire)
    while True:
        got = wire.read_frame()
        if got.opcode == frames.PING:
            wire.send_frame(frames.PONG, got.payload)
        elif got.opcode != frames.PONG:
            wire.send_frame(got.opcode, got.payload, fin=got.fin, rsv=got.rsv)
        if got.opcode == frames.CLOSE:
            return


def record(wire):
    """Accepts the upgrade and keeps every byte in `wire.received`; answers nothing."""
    answer_upgrade(wire)
    wire.received, wire.ended = wire.buffer, None
    try:
        while True:
            wire.received += wire.fill()
    except frames.Ended as end:
        wire.ended = "reset" if end.reset else "closed"


class AsyncBackend:
    """A `websockets` server on a loop of its own thread; `handler(connection)` is a coroutine."""

    def __init__(self, handler, **keywords):
        self.handler, self.keywords = handler, keywords
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.main())

    async def main(self):
        from websockets.asyncio.server import serve
        self.done = asyncio.Event()
        defaults = {"max_size": None, "ping_interval": None, "compression": None,
                    "close_timeout": 5}
        if not self.keywords.get("unix"):
            defaults |= {"host": "127.0.0.1", "port": 0}
        async with serve(self.handler, **{**defaults, **self.keywords}, backlog=4096) as server:
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.done.wait()

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join(timeout=15)


async def echo(connection):
    """The handler of an echo server."""
    from websockets.exceptions import ConnectionClosed
    with contextlib.suppress(ConnectionClosed):
        async for message in connection:
            await connection.send(message)


class MiddleBox:
    """A TCP relay that a test can make behave like a bad network: it forwards in small pieces, cuts
    connections after silence, or stops forwarding without a word (a black hole)."""

    def __init__(self, target, piece=1 << 16, cut_after=None):
        self.target, self.piece, self.cut_after = target, piece, cut_after
        self.black_hole = threading.Event()
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    @property
    def port(self):
        return self.listener.getsockname()[1]

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(sock,), daemon=True).start()

    def relay(self, left):
        try:
            right = frames.connect(self.target)
        except OSError:
            return left.close()
        left.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        last = [time.monotonic(), time.monotonic()]
        threads = [threading.Thread(target=self.pump, args=(a, b, last, index), daemon=True)
                   for index, (a, b) in enumerate([(left, right), (right, left)])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        left.close()
        right.close()

    def pump(self, source, sink, last, index):
        """Silence of `cut_after` seconds in EITHER direction cuts the connection."""
        source.settimeout(0.2)
        while True:
            try:
                data = source.recv(1 << 16)
            except TimeoutError:
                if self.cut_after and time.monotonic() - last[index] > self.cut_after:
                    self.cuts += 1
                    break
                continue
            except OSError:
                break
            if not data:
                break
            last[index] = time.monotonic()
            if self.black_hole.is_set():
                continue
            try:
                for start in range(0, len(data), self.piece):
                    sink.sendall(data[start:start + self.piece])
            except OSError:
                break
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def set_linger_reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
