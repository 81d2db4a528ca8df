"""HTTP clients of both protocols with the same methods, so that one test asks both: `dial()` gives a
connection, `Connection.request()` an exchange on it."""

import contextlib
import socket

import frames
import h2peer
import harness
import http1

HTTP1, HTTP2 = "HTTP/1.1", "HTTP/2"
BOTH = [HTTP1, HTTP2]
HOST = "gateway.example"
#: a request body that the test sends itself, of unknown length or of one it names
STREAMED = "streamed"


def proxy(*backends, **keywords):
    """A gateway that speaks both protocols on its plain listener. Its connections to backends do not
    end by their own time: a connection that has to end must not be saved by that."""
    keywords["timeouts"] = {"upstream_keep_alive": "1m", **keywords.get("timeouts", {})}
    listener = {"protocols": ["h2", "http/1.1"], **keywords.pop("listener", {})}
    return harness.gateway([getattr(b, "port", b) for b in backends], listener=listener, **keywords)


def dial(way, running, timeout=10, **keywords):
    return (Front1 if way == HTTP1 else Front2)(running.address, timeout, **keywords)


class Severed(Exception):
    """The response broke off: the connection or the stream ended before the body did."""


class Front1:
    """An HTTP/1.1 connection. One exchange at a time, or pipelined: answers are read in order."""

    way = HTTP1

    def __init__(self, address, timeout, receive_buffer=None, context=None):
        sock = frames.connect(address, timeout)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if context:
            sock = context.wrap_socket(sock, server_hostname="localhost")
        self.wire = http1.Wire(sock)

    def request(self, path="/", method="GET", fields=(), body=None, length=None, host=HOST,
                version="HTTP/1.1"):
        """`body`: bytes, sent with their length; or STREAMED, chunked unless `length` is given."""
        fields = [("Host", host), *fields]
        is_chunked = body == STREAMED and length is None
        if is_chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        elif body is not None:
            fields.append(("Content-Length", len(body) if length is None else length))
        self.wire.send(http1.lines(f"{method} {path} {version}", fields)
                       + (b"" if body in (None, STREAMED) else body))
        return Exchange1(self.wire, method, is_chunked)

    def wait_closed(self, seconds=5):
        """The gateway ends the connection; nothing more has come."""
        self.wire.sock.settimeout(seconds)
        rest, _ = self.wire.read_to_end()
        assert rest == b"", rest[:200]

    def close(self):
        self.wire.close()

    def reset(self):
        self.wire.reset()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Exchange1:
    def __init__(self, wire, method, is_chunked):
        self.wire, self.method, self.is_chunked = wire, method, is_chunked
        self.head, self.content = None, None
        #: (status, head) of each 1xx
        self.interim = []

    def send(self, data):
        self.wire.send(http1.chunk(data) if self.is_chunked and data else data)

    def finish(self, trailers=()):
        if self.is_chunked:
            self.wire.send(http1.last_chunk(trailers))

    def wait_interim(self):
        """Waits for one 1xx; its status."""
        head = self.wire.read_response()
        assert head.status < 200, head.raw
        self.interim.append((head.status, head))
        return head.status

    def wait_head(self):
        while self.head is None:
            head = self.wire.read_response()
            if head.status < 200:
                self.interim.append((head.status, head))
            else:
                self.head = head
                self.content = http1.Body(self.wire, head.framing_for(self.method))
        return self.head.status

    def field(self, name):
        return self.head.field(name)

    def fields(self, name):
        return self.head.all(name)

    def read_some(self, most=1 << 20):
        """Content as it comes; b"" at the end."""
        self.wait_head()
        try:
            return self.content.piece(most)
        except frames.Ended as end:
            raise Severed(str(end)) from None

    def read(self, count):
        taken = b""
        while len(taken) < count:
            piece = self.read_some(count - len(taken))
            assert piece, f"{len(taken)} of {count} bytes"
            taken += piece
        return taken

    def read_all(self):
        pieces = []
        while piece := self.read_some():
            pieces.append(piece)
        return b"".join(pieces)

    @property
    def trailers(self):
        return self.content.trailers

    def wait_severed(self):
        """The response breaks off, and is not ended as if it were complete; what came of it."""
        assert self.wait_head() and self.content.framing != http1.TO_END, "the end would look right"
        return until_severed(self)

    def abort(self):
        """The client is gone."""
        self.wire.reset()


class Front2:
    """An HTTP/2 connection; any number of exchanges at once."""

    way = HTTP2

    def __init__(self, address, timeout, **keywords):
        self.peer = h2peer.connect(address, timeout=timeout, **keywords)

    def request(self, path="/", method="GET", fields=(), body=None, length=None, host=HOST):
        fields = [(name.lower(), str(value)) for name, value in fields]
        if body is not None and not (body == STREAMED and length is None):
            fields.append(("content-length", str(len(body) if length is None else length)))
        stream = self.peer.get(path, host, method, fields, end=body is None)
        exchange = Exchange2(stream)
        if body not in (None, STREAMED):
            if body:
                exchange.send(body)
            exchange.finish()
        return exchange

    def wait_closed(self, seconds=5):
        self.peer.wait_closed(seconds)

    def close(self):
        self.peer.close()

    def reset(self):
        self.peer.reset()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Exchange2:
    def __init__(self, stream):
        self.stream, self.peer = stream, stream.peer
        self.interim_waited = 0

    def send(self, data):
        self.stream.sendall(data)

    def finish(self, trailers=()):
        self.stream.finish([(name.lower(), str(value)) for name, value in trailers])

    @property
    def interim(self):
        return [(int(dict(fields)[":status"]), fields) for fields in self.stream.interim]

    def wait_interim(self):
        self.interim_waited += 1
        self.peer.run_until(lambda: len(self.stream.interim) >= self.interim_waited
                            or self.stream.head or self.stream.is_over, what="a 1xx")
        assert len(self.stream.interim) >= self.interim_waited, self.stream
        return self.interim[self.interim_waited - 1][0]

    def wait_head(self):
        stream = self.stream
        self.peer.run_until(lambda: stream.head or stream.is_over, stream.timeout, "a head")
        if not stream.head and stream.reset_code is not None:
            raise Severed(f"RST_STREAM {stream.reset_code} and no head")
        return stream.wait_head()

    def field(self, name):
        values = self.fields(name)
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    def fields(self, name):
        return [value for key, value in self.stream.head if key == name.lower()]

    def read_some(self, most=1 << 20):
        self.wait_head()
        try:
            return self.stream.recv(most)
        except ConnectionResetError as error:
            raise Severed(str(error)) from None

    read, read_all = Exchange1.read, Exchange1.read_all

    @property
    def trailers(self):
        return [(str(name), str(value)) for name, value in self.stream.trailers or []]

    def wait_severed(self):
        found = until_severed(self)
        assert self.stream.reset_code not in (None, h2peer.NO_ERROR), self.stream
        return found

    def abort(self):
        self.stream.reset()


def until_severed(exchange):
    pieces = []
    with contextlib.suppress(Severed):
        while piece := exchange.read_some():
            pieces.append(piece)
        raise AssertionError(f"the response ended properly: {b''.join(pieces)[-100:]!r}")
    return b"".join(pieces)


def get(way, running, path="/", **keywords):
    """(status, body) of one request on a connection of its own."""
    with dial(way, running) as front:
        exchange = front.request(path, **keywords)
        return exchange.wait_head(), exchange.read_all()
