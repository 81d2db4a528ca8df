"""HTTP/2 at the level of bytes, for clients that must be able to break every rule: frames and
header blocks are made by hand, and what comes back is kept as it came."""

import contextlib
import socket
import struct
import time

import hpack
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
 CONTINUATION) = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED,
 FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM,
 INADEQUATE_SECURITY, HTTP_1_1_REQUIRED) = range(14)
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
         "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
         "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]
(HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE,
 MAX_HEADER_LIST_SIZE) = range(1, 7)
ENABLE_CONNECT_PROTOCOL = 8
MOST = (1 << 31) - 1


def code_name(code):
    return CODES[code] if code is not None and code < len(CODES) else str(code)


# Frames. Each function gives the bytes of one.

def frame(kind, flags=0, stream=0, payload=b"", length=None, reserved=0):
    """`length`: what the header says, when that is not the payload's."""
    count = len(payload) if length is None else length
    return struct.pack("!BHBBI", count >> 16, count & 0xFFFF, kind, flags,
                       reserved << 31 | stream) + payload


def data(stream, payload=b"", ends=False, pad=None):
    """`pad`: the number of padding bytes, None for a frame without the PADDED flag."""
    if pad is not None:
        payload = bytes([pad]) + payload + bytes(pad)
    flags = (END_STREAM if ends else 0) | (PADDED if pad is not None else 0)
    return frame(DATA, flags, stream, payload)


def headers(stream, block, ends=True, complete=True, depends=None, pad=None):
    """`depends`: (stream, weight - 1, exclusive) for the priority fields."""
    flags = (END_STREAM if ends else 0) | (END_HEADERS if complete else 0)
    if depends is not None:
        on, weight, exclusive = depends
        block = struct.pack("!IB", exclusive << 31 | on, weight) + block
        flags |= WITH_PRIORITY
    if pad is not None:
        block = bytes([pad]) + block + bytes(pad)
        flags |= PADDED
    return frame(HEADERS, flags, stream, block)


def continuation(stream, block=b"", complete=True):
    return frame(CONTINUATION, END_HEADERS if complete else 0, stream, block)


def priority(stream, on=0, weight=15, exclusive=0):
    return frame(PRIORITY, 0, stream, struct.pack("!IB", exclusive << 31 | on, weight))


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack("!I", code))


def settings(*pairs, flags=0, stream=0):
    return frame(SETTINGS, flags, stream, b"".join(struct.pack("!HI", *pair) for pair in pairs))


def push_promise(stream, promised=2, block=b""):
    return frame(PUSH_PROMISE, END_HEADERS, stream, struct.pack("!I", promised) + block)


def ping(payload=b"any 8 by", flags=0, stream=0):
    return frame(PING, flags, stream, payload)


def goaway(last=0, code=NO_ERROR, debug=b"", stream=0):
    return frame(GOAWAY, 0, stream, struct.pack("!II", last, code) + debug)


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack("!I", increment))


# Header blocks. Nothing here touches the dynamic table unless it says so.

def integer(value, bits, first=0):
    """RFC 7541 5.1: `first` holds the pattern in front of the prefix of `bits` bits."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def text(value, huffman=False):
    raw = value if isinstance(value, bytes) else value.encode("latin-1")
    if huffman:
        raw = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(raw)
    return integer(len(raw), 7, 0x80 if huffman else 0) + raw


def literal(name, value, first=0x00, bits=4, huffman=False):
    """`first`, `bits`: 0x00, 4 without indexing; 0x10, 4 never indexed; 0x40, 6 with indexing.
    `name` may be an index."""
    if isinstance(name, int):
        return integer(name, bits, first) + text(value, huffman)
    return bytes([first]) + text(name, huffman) + text(value, huffman)


def indexed(number):
    return integer(number, 7, 0x80)


def table_size(size):
    return integer(size, 5, 0x20)


def block(*fields):
    return b"".join(literal(name, value) for name, value in fields)


def request_fields(path="/", method="GET", scheme="http", authority="gateway.example", extra=(),
                   without=()):
    pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
    return [pair for pair in pseudo if pair[0] not in without] + list(extra)


def request(stream=1, ends=True, extra=(), without=(), **pseudo):
    """The HEADERS frame of a plain request."""
    return headers(stream, block(*request_fields(extra=extra, without=without, **pseudo)), ends)


def connect_fields(path="/echo", extra=(), protocol="websocket", without=(), **pseudo):
    fields = request_fields(path, "CONNECT", without=without, **pseudo)
    if protocol is not None:
        fields.insert(1, (":protocol", protocol))
    return fields + list(extra)


def websocket(stream=1, ends=False, version=True, extra=(), **keywords):
    """The HEADERS frame of an extended CONNECT (RFC 8441)."""
    if version:
        extra = [("sec-websocket-version", "13"), *extra]
    return headers(stream, block(*connect_fields(extra=extra, **keywords)), ends)


class Connection:
    """One client connection. What the server has sent is in the properties; no call waits longer
    than `seconds`. `drip` sends every byte in a write of its own."""

    def __init__(self, sock, drip=False, seconds=3):
        self.sock, self.drip, self.seconds = sock, drip, seconds
        self.buffer = b""
        self.decoder = hpack.Decoder(max_header_list_size=1 << 20)
        #: GOAWAYs as (last stream, code); the code of RST_STREAM by stream; (id, value) pairs
        self.goaways, self.resets, self.settings = [], {}, {}
        #: by stream: lists of fields (one per HEADERS), DATA, and which have END_STREAM
        self.heads, self.bodies, self.ended = {}, {}, set()
        self.pongs, self.acks, self.windows, self.kinds = [], 0, {}, []
        self.closed = False
        self.fragments = None
        self.pings = 0

    def send(self, *parts):
        """Sends the parts; a connection that has ended in the meantime is no error."""
        joined = b"".join(parts)
        pieces = [joined[i:i + 1] for i in range(len(joined))] if self.drip else [joined]
        with contextlib.suppress(OSError):
            for piece in pieces:
                self.sock.sendall(piece)

    def start(self, *pairs):
        """The preface, our settings, and the server's."""
        self.send(PREFACE, settings(*pairs))
        self.wait(lambda: self.acks and self.settings, "SETTINGS and its ACK")
        self.send(settings(flags=ACK))
        return self

    def receive(self, deadline):
        """Takes what has come, waiting for it until the deadline; false when nothing came."""
        left = deadline - time.monotonic()
        if self.closed or left <= 0:
            return False
        self.sock.settimeout(left)
        try:
            more = self.sock.recv(1 << 16)
        except TimeoutError:
            return False
        except OSError:
            more = b""
        self.closed = not more
        self.buffer += more
        self.take()
        return True

    def take(self):
        if not self.kinds and self.buffer.startswith(b"HTTP/1."):
            return  # what was sent was not taken for HTTP/2
        while len(self.buffer) >= 9:
            high, low, kind, flags, stream = struct.unpack("!BHBBI", self.buffer[:9])
            count = high << 16 | low
            assert count <= 16_384, f"a frame of {count} bytes"
            if len(self.buffer) < 9 + count:
                return
            payload, self.buffer = self.buffer[9:9 + count], self.buffer[9 + count:]
            self.kinds.append((kind, stream))
            self.handle(kind, flags, stream & MOST, payload)

    def handle(self, kind, flags, stream, payload):
        if kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
        elif kind == HEADERS:
            self.fragments = payload
        elif kind == CONTINUATION:
            self.fragments += payload
        elif kind == RST_STREAM:
            self.resets.setdefault(stream, struct.unpack("!I", payload)[0])
        elif kind == SETTINGS:
            self.acks += flags & ACK
            self.settings.update(struct.iter_unpack("!HI", payload))
        elif kind == PING and flags & ACK:
            self.pongs.append(payload)
        elif kind == GOAWAY:
            self.goaways.append(struct.unpack("!II", payload[:8]))
        elif kind == WINDOW_UPDATE:
            self.windows[stream] = self.windows.get(stream, 0) + struct.unpack("!I", payload)[0]
        if kind in (HEADERS, CONTINUATION) and flags & END_HEADERS:
            fields = self.decoder.decode(self.fragments, raw=True)
            self.heads.setdefault(stream, []).append([tuple(field) for field in fields])
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self.ended.add(stream)

    def wait(self, condition, what, seconds=None):
        deadline = time.monotonic() + (seconds or self.seconds)
        while not condition():
            assert self.receive(deadline), f"{what} did not come: {self.describe()}"

    def reaches(self, condition, seconds=None):
        """Whether the condition comes true in time."""
        deadline = time.monotonic() + (seconds or self.seconds)
        while not condition():
            if not self.receive(deadline):
                return condition()
        return True

    def settle(self):
        """Until everything sent has been answered: the second of two PINGs comes back only when the
        frames that the first one may have overtaken are out. Or until the connection ends."""
        for _ in range(2):
            self.pings += 1
            payload = b"settle" + struct.pack("!H", self.pings)
            self.send(ping(payload))
            done = self.reaches(lambda: payload in self.pongs or self.error is not None)
            if self.error is not None or self.closed:
                return self.reaches(lambda: self.closed)
            if not done:
                return False
        return True

    @property
    def error(self):
        """The code of the GOAWAY that said there was an error, None when there was none."""
        return next((code for _, code in self.goaways if code != NO_ERROR), None)

    def status(self, stream=1):
        for fields in self.heads.get(stream, []):
            status = int(dict(fields)[b":status"])
            if status >= 200:
                return status
        return None

    def field(self, name, stream=1):
        return dict(self.heads[stream][0]).get(name.encode())

    def describe(self):
        found = [f"GOAWAY({code_name(code)}, last {last})" for last, code in self.goaways]
        found += [f"RST_STREAM({code_name(c)}) on {s}" for s, c in self.resets.items()]
        found += [f"status {self.status(s)} on {s}" for s in self.heads]
        found += [f"END_STREAM on {s}" for s in sorted(self.ended)]
        if len(found) > 20:
            found = [*found[:10], f"… {len(found) - 20} more", *found[-10:]]
        return ", ".join([*found, "closed" if self.closed else "open"])

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(address, tls=None, drip=False, seconds=3):
    """`tls`: an SSL context; h2 is asked for by ALPN."""
    sock = socket.create_connection(address, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        sock = tls.wrap_socket(sock, server_hostname="localhost")
        assert sock.selected_alpn_protocol() == "h2"
    return Connection(sock, drip, seconds)
