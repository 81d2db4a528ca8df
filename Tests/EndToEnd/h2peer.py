"""A blocking HTTP/2 client on top of Python's `h2`, which nobody here wrote. A stream looks like a
socket, so that `frames.Wire` speaks WebSocket over it as over TCP. One thread; every call has a
deadline. Connection credit is given back on receipt, stream credit only as a test reads."""

import collections
import select
import ssl
import time

import frames
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2 import events as h2events
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes
from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame, WindowUpdateFrame

# RFC 9113 7.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM = 4, 5, 6, 7
CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = 8, 9, 10, 11

# RFC 9113 6.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = range(9)

ALL_STREAMS = (1 << 31) - 1

#: What was on the wire: type, flags, stream and payload length of a frame, in order.
Seen = collections.namedtuple("Seen", "type flags stream length")


class Lost(Exception):
    """The TCP connection ended while something was waited for."""


class Stream:
    """One stream, with the methods of a socket that `frames.Wire` uses."""

    def __init__(self, peer, number):
        self.peer, self.number, self.timeout = peer, number, peer.timeout
        self.head, self.trailers = None, None
        #: the fields of each 1xx
        self.interim = []
        self.buffer = bytearray()
        #: the peer's END_STREAM was seen; the code of its RST_STREAM, None without one
        self.ended, self.reset_code = False, None
        #: bytes of a DATA frame of ours at most; 0: as many as the peer takes
        self.piece = 0
        #: whether reading gives stream credit back
        self.gives_credit = True
        self.reset_by_us = False

    @property
    def status(self):
        return int(self.field(":status"))

    def field(self, name):
        return next((value for key, value in self.head or [] if key == name), None)

    @property
    def is_over(self):
        return self.ended or self.reset_code is not None

    def wait_head(self):
        """Waits for the response head; its status."""
        self.peer.run_until(lambda: self.head is not None or self.is_over, self.timeout, "a head")
        assert self.head is not None, f"no head: {self!r}"
        return self.status

    def wait_over(self, seconds=None):
        """Waits for END_STREAM or RST_STREAM; the code of the latter, None for the former."""
        self.peer.run_until(lambda: self.is_over, seconds or self.timeout, "the end of the stream")
        return self.reset_code

    def wait_reset(self, seconds=None):
        """Waits for RST_STREAM, before or behind END_STREAM; its code."""
        self.peer.run_until(lambda: self.reset_code is not None, seconds or self.timeout,
                            "RST_STREAM")
        return self.reset_code

    def body(self):
        """Everything up to END_STREAM."""
        self.peer.run_until(lambda: self.is_over, self.timeout, "the end of the body")
        assert self.ended, f"no END_STREAM: {self!r}"
        return bytes(self.buffer)

    # What a socket does.

    def settimeout(self, seconds):
        self.timeout = seconds

    def recv(self, count):
        self.peer.run_until(lambda: self.buffer or self.is_over, self.timeout, "data")
        if not self.buffer:
            if self.ended:
                return b""
            raise ConnectionResetError(f"RST_STREAM {self.reset_code}")
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        if self.gives_credit:
            self.peer.give_credit(len(taken), self.number)
        return taken

    def sendall(self, data):
        """Sends as the windows allow, in DATA frames of `piece` bytes where that is set."""
        view, position = memoryview(data), 0
        while position < len(view):
            self.peer.run_until(lambda: self.is_over or self.window() > 0, self.timeout, "window")
            if self.reset_code is not None:
                raise ConnectionResetError(f"RST_STREAM {self.reset_code}")
            if self.window() <= 0:
                raise ConnectionAbortedError("answered, and no window any more")
            count = min(self.window(), self.peer.h2.max_outbound_frame_size,
                        self.piece or len(view), len(view) - position)
            self.peer.h2.send_data(self.number, bytes(view[position:position + count]))
            position += count
            self.peer.flush()

    def send_padded(self, data, padding):
        self.peer.h2.send_data(self.number, data, pad_length=padding)
        self.peer.flush()

    def window(self):
        """What may be sent now."""
        return self.peer.h2.local_flow_control_window(self.number)

    def finish(self, trailers=()):
        """END_STREAM on the trailers, or on an empty DATA frame."""
        if trailers:
            self.peer.h2.send_headers(self.number, trailers, end_stream=True)
        else:
            self.peer.h2.end_stream(self.number)
        self.peer.flush()

    def reset(self, code=CANCEL):
        self.reset_by_us = True
        self.peer.h2.reset_stream(self.number, code)
        self.peer.flush()

    def close(self):
        """As closing a socket: abortive unless the peer has ended its side, and quiet."""
        if self.reset_code is None and not self.reset_by_us and not self.peer.is_closed:
            try:
                self.finish() if self.ended else self.reset()
            except (StreamClosedError, OSError):
                pass

    def __repr__(self):
        return (f"Stream({self.number}, head={self.head}, buffer={bytes(self.buffer[:60])!r}, "
                f"ended={self.ended}, reset={self.reset_code})")


class WebSocket(frames.Wire):
    """`frames.Wire` on a stream."""

    def __init__(self, stream):
        super().__init__(stream, masks=True)
        self.stream = stream

    def finish(self):
        self.stream.finish()

    def reset(self, code=CANCEL):
        self.stream.reset(code)


class Peer:
    """One connection. `settings` are announced, `stream_window` among them."""

    def __init__(self, sock, settings=None, stream_window=65_535, connection_window=1 << 24,
                 timeout=10):
        self.sock, self.timeout = sock, timeout
        sock.setblocking(False)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="latin-1"))
        self.streams, self.seen, self.unparsed = {}, [], b""
        self.output = bytearray()
        #: (last stream, code) of every GOAWAY; payloads of PING acknowledgements
        self.goaways, self.pongs, self.pings_received = [], [], 0
        self.is_closed, self.was_reset, self.is_ready = False, False, False
        self.h2.local_settings = type(self.h2.local_settings)(client=True, initial_values={
            SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: stream_window,
            SettingCodes.MAX_HEADER_LIST_SIZE: 1 << 16, **(settings or {})})
        self.h2.initiate_connection()
        if connection_window > 65_535:
            self.h2.increment_flow_control_window(connection_window - 65_535)
        self.flush()

    # The wire

    def flush(self):
        self.output += self.h2.data_to_send()
        self.send_some()

    def send_some(self):
        moved = False
        while self.output:
            try:
                count = self.sock.send(bytes(self.output[:1 << 16]))
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                # What the peer has said before is still to be read.
                self.output.clear()
                break
            del self.output[:count]
            moved = True
        return moved

    def receive_some(self):
        try:
            data = self.sock.recv(1 << 18)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except (ConnectionResetError, BrokenPipeError):
            self.is_closed = self.was_reset = True
            return True
        except ssl.SSLError:
            data = b""
        if not data:
            self.is_closed = True
            return True
        self.unparsed += data
        while len(self.unparsed) >= 9:
            head, length = Frame.parse_frame_header(memoryview(self.unparsed)[:9])
            if len(self.unparsed) < 9 + length:
                break
            whole, self.unparsed = self.unparsed[:9 + length], self.unparsed[9 + length:]
            self.frame_received(whole)
        self.output += self.h2.data_to_send()
        return True

    def frame_received(self, whole):
        self.seen.append(Seen(whole[3], whole[4], int.from_bytes(whole[5:9], "big"), len(whole) - 9))
        if whole[3] == GOAWAY:
            # `h2` takes every GOAWAY for the end of all streams; RFC 9113 6.8 does not.
            last, code = (int.from_bytes(whole[at:at + 4], "big") for at in (9, 13))
            self.goaways.append((last, code))
            return
        stream = self.streams.get(int.from_bytes(whole[5:9], "big"))
        if whole[3] == RST_STREAM and stream and stream.ended:
            # Behind END_STREAM both ways `h2` has forgotten the stream and would complain.
            stream.reset_code = int.from_bytes(whole[9:13], "big")
            if stream.number not in self.h2.streams:
                return
        for event in self.h2.receive_data(whole):
            self.take(event)

    def take(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2events.ResponseReceived):
            stream.head = [(str(key), str(value)) for key, value in event.headers]
        elif isinstance(event, h2events.InformationalResponseReceived):
            stream.interim.append([(str(key), str(value)) for key, value in event.headers])
        elif isinstance(event, h2events.TrailersReceived):
            stream.trailers = event.headers
        elif isinstance(event, h2events.DataReceived):
            stream.buffer += event.data
            if event.flow_controlled_length:
                self.h2.increment_flow_control_window(event.flow_controlled_length)
        elif isinstance(event, h2events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2events.StreamReset):
            stream.reset_code = int(event.error_code)
        elif isinstance(event, h2events.RemoteSettingsChanged):
            self.is_ready = True
        elif isinstance(event, h2events.PingReceived):
            self.pings_received += 1
        elif isinstance(event, h2events.PingAckReceived):
            self.pongs.append(event.ping_data)

    def give_credit(self, count, number):
        try:
            self.h2.increment_flow_control_window(count, number)
        except (KeyError, StreamClosedError):
            return
        self.flush()

    def turn(self, seconds):
        """Sends and receives what is possible; waits at most `seconds` for something to be."""
        moved = self.send_some() | (not self.is_closed and self.receive_some())
        if not moved and not self.is_closed:
            # Not select(), which takes no descriptor beyond 1,023.
            waiting = select.poll()
            waiting.register(self.sock, select.POLLIN | (select.POLLOUT if self.output else 0))
            waiting.poll(seconds * 1000)

    def run_until(self, condition, seconds=None, what="condition"):
        """Serves the connection until `condition()` is true. TimeoutError when it is not in time,
        Lost when the connection has ended before."""
        deadline = time.monotonic() + (self.timeout if seconds is None else seconds)
        self.output += self.h2.data_to_send()
        while not condition():
            left = deadline - time.monotonic()
            if self.is_closed:
                raise Lost(f"{what}: the connection has ended, GOAWAY {self.goaways}")
            if left <= 0:
                raise TimeoutError(what)
            self.turn(min(left, 0.5))
        self.flush()

    def run_for(self, seconds):
        """Serves the connection for a time."""
        deadline = time.monotonic() + seconds
        while not self.is_closed and time.monotonic() < deadline:
            self.turn(min(0.05, max(0, deadline - time.monotonic())))

    def wait_closed(self, seconds=None):
        """Waits for the end of the TCP connection; the GOAWAYs seen."""
        try:
            self.run_until(lambda: False, seconds)
        except Lost:
            return self.goaways
        raise AssertionError("unreachable")

    # Requests

    def wait_ready(self):
        """Waits for the peer's SETTINGS."""
        self.run_until(lambda: self.is_ready, what="SETTINGS")
        return self.h2.remote_settings

    def request(self, fields, end=False, checked=True):
        """Opens a stream with exactly these fields; `checked` false sends what is not allowed."""
        self.wait_ready()
        self.h2.config.validate_outbound_headers = checked
        self.h2.config.normalize_outbound_headers = checked
        number = self.h2.get_next_available_stream_id()
        stream = self.streams[number] = Stream(self, number)
        self.h2.send_headers(number, fields, end_stream=end)
        self.flush()
        return stream

    def get(self, path="/", host="gateway.example", method="GET", fields=(), end=True,
            scheme="http"):
        return self.request([(":method", method), (":scheme", scheme), (":authority", host),
                             (":path", path), *fields], end)

    def extended_connect(self, end=False, checked=True, **keywords):
        """A stream on which a WebSocket is asked for; waits for nothing but SETTINGS."""
        assert self.wait_ready().enable_connect_protocol == 1
        return self.request(websocket_fields(**keywords), end, checked)

    def open_websocket(self, **keywords):
        """A WebSocket whose handshake has succeeded."""
        stream = self.extended_connect(**keywords)
        assert stream.wait_head() == 200, stream
        return WebSocket(stream)

    def ask(self, **keywords):
        """A WebSocket handshake, up to the response head."""
        stream = self.extended_connect(**keywords)
        stream.wait_head()
        return stream

    def ping(self, payload=b"12345678"):
        """The time until a PING has come back."""
        begun = time.monotonic()
        self.h2.ping(payload)
        self.run_until(lambda: payload in self.pongs, what="PING acknowledgement")
        return time.monotonic() - begun

    def send_raw(self, frame):
        """Sends a frame behind the back of `h2`."""
        self.output += self.h2.data_to_send() + frame.serialize()
        self.send_some()

    def close(self):
        self.sock.close()
        self.is_closed = True

    def reset(self):
        """Closes with a RST."""
        frames.Wire(self.sock, masks=True).reset()
        self.is_closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def websocket_fields(path="/", host="gateway.example", protocol="websocket", scheme="http",
                     version="13", fields=()):
    """The fields of an extended CONNECT (RFC 8441 4, 5); None leaves one out."""
    standard = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", scheme),
                (":path", path), (":authority", host), ("sec-websocket-version", version)]
    return [(name, value) for name, value in standard if value is not None] + list(fields)


def connect(address, context=None, name=None, timeout=10, **keywords):
    """A peer over TCP with prior knowledge, or over TLS where ALPN has to choose h2."""
    sock = frames.connect(address, timeout)
    if context:
        sock = context.wrap_socket(sock, server_hostname=name)
        assert sock.selected_alpn_protocol() == "h2", sock.selected_alpn_protocol()
    return Peer(sock, timeout=timeout, **keywords)


def reset_frame(number, code=CANCEL):
    return RstStreamFrame(number, error_code=code)


def goaway_frame(last=0, code=NO_ERROR):
    return GoAwayFrame(0, last_stream_id=last, error_code=code)


def credit_frame(number, count):
    return WindowUpdateFrame(number, window_increment=count)


def ping_frame(payload):
    return PingFrame(0, opaque_data=payload)
