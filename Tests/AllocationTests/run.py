#!/usr/bin/env python3
"""Counts the allocations of the release binary while frames flow through a warm bridge.

    Tests/AllocationTests/run.py [--bascule .build/release/bascule] [--show N]

Plain: 0 per 1,000 relayed frames. TLS: 0 outside libssl and libcrypto. Prints the figures and exits
with 1 when one of them is higher. --show N prints where the first N unexpected ones came from.
Needs cc, openssl and Python's standard library; loopback only.
"""
import argparse, base64, hashlib, json, mmap, os, pathlib, socket, ssl, struct, subprocess
import sys, tempfile, threading

HERE = pathlib.Path(__file__).resolve().parent
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def read_exactly(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def read_head(stream):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read_exactly(stream, 1)
    return head


def read_frame(stream):
    """One frame: first octet and payload (unmasked)."""
    first, second = read_exactly(stream, 2)
    count = second & 0x7F
    if count == 126:
        (count,) = struct.unpack(">H", read_exactly(stream, 2))
    elif count == 127:
        (count,) = struct.unpack(">Q", read_exactly(stream, 8))
    key = read_exactly(stream, 4) if second & 0x80 else None
    payload = read_exactly(stream, count)
    if key:
        pad = (key * (count // 4 + 1))[:count]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(count, "big")
    return first, payload


def frame(first, payload, key=None):
    mask = 0x80 if key else 0
    if len(payload) < 126:
        head = bytes([first, mask | len(payload)])
    elif len(payload) < 65536:
        head = bytes([first, mask | 126]) + struct.pack(">H", len(payload))
    else:
        head = bytes([first, mask | 127]) + struct.pack(">Q", len(payload))
    # A key of zeroes changes nothing, and saves the time.
    return head + (b"\0\0\0\0" if key else b"") + payload


def echo_backend(listener):
    """Serves for ever, one thread per connection."""

    def serve(stream):
        try:
            head = read_head(stream).decode("latin-1")
            key = next(line.split(": ", 1)[1] for line in head.split("\r\n")
                       if line.lower().startswith("sec-websocket-key:"))
            accept = base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest())
            stream.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                           b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            while True:
                first, payload = read_frame(stream)
                stream.sendall(frame(first, payload))
                if first == 0x88:
                    return
        except (EOFError, OSError):
            pass
        finally:
            stream.close()

    while True:
        stream, _ = listener.accept()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(stream,), daemon=True).start()


def connect(port, tls):
    stream = socket.create_connection(("127.0.0.2" if tls else "127.0.0.1", port), timeout=20)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        stream = context.wrap_socket(stream)
    stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                   b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                   b"Sec-WebSocket-Version: 13\r\n\r\n")
    head = read_head(stream)
    assert head.startswith(b"HTTP/1.1 101"), head
    return stream


def exchange(stream, frames, size):
    """Sends `frames` frames of `size` octets, each answered; so twice as many are relayed."""
    message = frame(0x82, b"x" * size, key=True)
    for _ in range(frames):
        stream.sendall(message)
        first, payload = read_frame(stream)
        assert first == 0x82 and len(payload) == size


class Counters:
    def __init__(self, path):
        path.write_bytes(bytes(4096))
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 4096)

    def read(self):
        return struct.unpack("QQ", self.map[:16])

    def show(self, count):
        self.map[16:24] = struct.pack("Q", count)


def listening(process, count):
    """The ports the gateway says it listens on, in the order of the configuration."""
    ports = []
    while len(ports) < count:
        line = process.stderr.readline()
        if not line:
            raise SystemExit("the gateway has ended")
        if not line.startswith(b"{"):
            sys.stderr.buffer.write(line)
        if b'"listening"' in line:
            ports.append(int(json.loads(line)["address"].rsplit(":", 1)[1]))
    return ports


def pass_on(stream):
    for line in stream:
        if not line.startswith(b"{"):
            sys.stderr.buffer.write(line)
            sys.stderr.flush()


def prepare(directory, backend_port):
    subprocess.run(["cc", "-O2", "-fPIC", "-shared", "-o", directory / "count.so",
                    HERE / "count.c", "-ldl"], check=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", directory / "key.pem", "-out",
                    directory / "certificate.pem", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    (directory / "key.pem").chmod(0o600)
    (directory / "bascule.yaml").write_text(f"""
workers: 1
listeners:
  - bind: 127.0.0.1:0
  - bind: 127.0.0.2:0
    tls:
      certificates:
        - certificate: {directory}/certificate.pem
          key: {directory}/key.pem
upstreams:
  echo:
    endpoints: ["127.0.0.1:{backend_port}"]
routes:
  - upstream: echo
""")


def measure(counters, port, tls, size, frames, show):
    """Allocations while `2 * frames` frames are relayed: (ours, OpenSSL's)."""
    stream = connect(port, tls)
    exchange(stream, 200, size)
    counters.show(show)
    before = counters.read()
    exchange(stream, frames, size)
    after = counters.read()
    counters.show(0)
    stream.close()
    return after[0] - before[0], after[1] - before[1]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--bascule", default=str(HERE.parent.parent / ".build/release/bascule"))
    arguments.add_argument("--show", type=int, default=0)
    options = arguments.parse_args()
    backend = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=echo_backend, args=(backend,), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="bascule-allocations-") as name:
        directory = pathlib.Path(name)
        prepare(directory, backend.getsockname()[1])
        counters = Counters(directory / "counters")
        gateway = subprocess.Popen(
            [options.bascule, "run", "--config", directory / "bascule.yaml"],
            env={**os.environ, "LD_PRELOAD": str(directory / "count.so"),
                 "BASCULE_ALLOCATIONS": str(directory / "counters")},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            plain, tls = listening(gateway, 2)
            threading.Thread(target=pass_on, args=(gateway.stderr,), daemon=True).start()
            failed = check(counters, plain, tls, options.show)
        finally:
            gateway.kill()
            gateway.wait()
    sys.exit(1 if failed else 0)


def check(counters, plain, tls, show):
    # Opening a bridge allocates; a counter that stays at zero then counts nothing.
    connect(plain, False).close()
    if counters.read()[0] == 0:
        print("the counter does not count")
        return True
    failed = False
    frames = 2000
    print(f"{'':16}{'ours':>8}{'OpenSSL':>10}   per 1,000 relayed frames")
    for name, port, is_tls in (("plain", plain, False), ("tls", tls, True)):
        for size in (64, 2000, 16384):
            ours, openssl = measure(counters, port, is_tls, size, frames, show)
            print(f"{name + ', ' + str(size):16}{ours / frames * 500:8.1f}{openssl / frames * 500:10.1f}")
            failed = failed or ours > 0
    return failed


main()
