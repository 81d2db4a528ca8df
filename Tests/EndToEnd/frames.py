"""WebSocket at the level of bytes, for peers that must be able to break every rule."""

import base64
import hashlib
import os
import socket
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_value(key):
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def apply_mask(payload, key):
    if not payload:
        return payload
    stretched = (key * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(
        len(payload), "big")


def frame(opcode, payload=b"", fin=True, rsv=0, mask=None, length_bytes=None, length=None):
    """The bytes of one frame. `mask` is a 4-byte key or None; `length_bytes` (0, 2, 8) forces a
    length encoding and `length` a length that is not the payload's."""
    count = len(payload) if length is None else length
    if length_bytes is None:
        length_bytes = 0 if count < 126 else 2 if count < 65536 else 8
    bit = 0x80 if mask is not None else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if length_bytes == 0:
        head += bytes([bit | count])
    elif length_bytes == 2:
        head += bytes([bit | 126]) + struct.pack("!H", count)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", count)
    if mask is not None:
        head += mask
        payload = apply_mask(payload, mask)
    return head + payload


def close_payload(code, reason=b""):
    return struct.pack("!H", code) + reason


class Frame:
    def __init__(self, opcode, payload, fin, rsv, mask):
        self.opcode, self.payload, self.fin, self.rsv, self.mask = opcode, payload, fin, rsv, mask

    @property
    def close_code(self):
        return struct.unpack("!H", self.payload[:2])[0] if len(self.payload) >= 2 else None

    def __repr__(self):
        return f"Frame({self.opcode}, {self.payload[:40]!r}, fin={self.fin}, rsv={self.rsv})"


class Ended(Exception):
    """The peer closed (`reset` false) or reset (`reset` true) the connection."""

    def __init__(self, reset):
        super().__init__("reset" if reset else "closed")
        self.reset = reset


class Wire:
    """One connection, read byte-exactly. The socket's timeout bounds every call."""

    def __init__(self, sock, masks):
        self.sock, self.masks, self.buffer = sock, masks, b""
        #: every byte received behind the head
        self.received = b""
        self.head = b""
        #: "closed" or "reset" once a recorder has seen the end
        self.ended = None

    def fill(self):
        try:
            more = self.sock.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            raise Ended(True) from None
        if not more:
            raise Ended(False)
        self.buffer += more
        return more

    def read(self, count):
        while len(self.buffer) < count:
            self.fill()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        self.head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return self.head

    @property
    def status(self):
        return int(self.head.split(b" ", 2)[1])

    def field(self, name):
        """The value of a field of the head, None when it is absent."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.lower().encode():
                return value.strip().decode("latin-1")
        return None

    def fields(self, name):
        wanted = name.lower().encode()
        return [line.partition(b":")[2].strip().decode("latin-1")
                for line in self.head.split(b"\r\n")[1:]
                if line.partition(b":")[0].strip().lower() == wanted]

    def read_frame(self):
        first, second = self.read(2)
        count = second & 127
        if count == 126:
            count, = struct.unpack("!H", self.read(2))
        elif count == 127:
            count, = struct.unpack("!Q", self.read(8))
        mask = self.read(4) if second & 128 else None
        payload = self.read(count)
        if mask:
            payload = apply_mask(payload, mask)
        return Frame(first & 15, payload, bool(first & 128), first >> 4 & 7, mask)

    def read_until(self, opcode):
        """The next frame of that opcode; others are skipped."""
        while True:
            got = self.read_frame()
            if got.opcode == opcode:
                return got

    def read_to_end(self):
        """Everything up to the end of the connection; whether it was a reset."""
        try:
            while True:
                self.fill()
        except Ended as end:
            return self.buffer, end.reset

    def send_frame(self, opcode, payload=b"", **keywords):
        if self.masks:
            keywords.setdefault("mask", os.urandom(4))
        self.send(frame(opcode, payload, **keywords))

    def send(self, data):
        self.sock.sendall(data)

    def send_close(self, code=1000, reason=b""):
        self.send_frame(CLOSE, close_payload(code, reason))

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def upgrade_request(host="gateway.example", path="/", fields=(), key=None, method="GET",
                    version="HTTP/1.1", drop=()):
    """A handshake request; `fields` are added, the fields named in `drop` left out."""
    key = key or base64.b64encode(os.urandom(16)).decode()
    standard = [("Host", host), ("Upgrade", "websocket"), ("Connection", "Upgrade"),
                ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", "13")]
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in standard if name not in drop]
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), key


def connect(address, timeout=10):
    """A plain socket to (host, port) or a unix path."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(address)
        return sock
    sock = socket.create_connection(address, timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def ask(address, data, timeout=10):
    """Sends `data` and reads a response head."""
    wire = Wire(connect(address, timeout), masks=True)
    wire.send(data)
    wire.read_head()
    return wire


def open_websocket(address, timeout=10, sock=None, **keywords):
    """A raw client whose handshake has succeeded."""
    request, key = upgrade_request(**keywords)
    wire = Wire(sock or connect(address, timeout), masks=True)
    wire.send(request)
    wire.read_head()
    assert wire.status == 101, wire.head
    assert wire.field("Sec-WebSocket-Accept") == accept_value(key.encode()).decode()
    return wire
