"""HTTP/1.1 backends in threads. They read strictly, remember every request and on which connection it
came, and answer as a test tells them."""

import contextlib
import threading

import frames
import http1
from harness import RawBackend, wait_until


class Exchange:
    """The backend's side of one request."""

    def __init__(self, connection, request):
        self.connection, self.wire, self.request = connection, connection.wire, request
        self.body = http1.Body(self.wire, request.framing)
        #: whether the connection ends behind this exchange
        self.closes = request.has_token("connection", "close")
        self.is_answered = False

    @property
    def path(self):
        return self.request.target

    def read_body(self):
        self.request.body = self.body.all()
        self.request.trailers = self.body.trailers
        return self.request.body

    def send(self, data):
        self.wire.send(data)

    def head(self, status=200, fields=(), version="HTTP/1.1"):
        if status >= 200:
            self.is_answered = True
        self.send(http1.lines(f"{version} {status} Reason", fields))

    def answer(self, content=b"", status=200, fields=()):
        """A response with Content-Length, in one write."""
        self.is_answered = True
        fields = [("Content-Length", len(content)), *fields]
        self.send(http1.lines(f"HTTP/1.1 {status} Reason", fields) + content)

    def begin_chunked(self, status=200, fields=()):
        self.head(status, [("Transfer-Encoding", "chunked"), *fields])

    def chunk(self, data):
        self.send(http1.chunk(data))

    def finish(self, trailers=()):
        self.send(http1.last_chunk(trailers))

    def wait_gone(self, seconds=5):
        """Waits for the other side to end the connection; "closed" or "reset"."""
        self.wire.sock.settimeout(seconds)
        try:
            while True:
                self.wire.fill()
        except frames.Ended as end:
            self.connection.ended = "reset" if end.reset else "closed"
        except OSError as error:
            self.connection.ended = None if isinstance(error, TimeoutError) else "reset"
        return self.connection.ended


class Connection:
    """One connection of the gateway to the backend."""

    def __init__(self, wire):
        self.wire, self.requests = wire, []
        #: how the other side has ended it: "closed" or "reset"
        self.ended = None
        #: this side has closed it
        self.is_closed = threading.Event()


def echo(exchange):
    """Answers with the request's body."""
    exchange.answer(exchange.read_body())


class HTTPBackend(RawBackend):
    """`serve(exchange)` runs for each request; what it leaves unread of a body is read behind it. A
    request that is no HTTP/1.1 is in `errors`, and the test fails."""

    def __init__(self, serve=echo, **keywords):
        self.connections, self.requests = [], []
        super().__init__(serve, **keywords)

    def attend(self, sock):
        sock.settimeout(30)
        if self.tls:
            sock = self.tls.wrap_socket(sock, server_side=True)
        connection = Connection(http1.Wire(sock))
        self.wires.append(connection.wire)
        self.connections.append(connection)
        try:
            while self.take(connection):
                pass
        except frames.Ended as end:
            connection.ended = "reset" if end.reset else "closed"
        except TimeoutError:
            pass
        except OSError:
            connection.ended = connection.ended or "reset"
        except Exception as error:  # shown when the test ends
            self.errors.append(error)
        finally:
            with contextlib.suppress(OSError):
                sock.close()
            connection.is_closed.set()

    def take(self, connection):
        exchange = Exchange(connection, connection.wire.read_request())
        connection.requests.append(exchange.request)
        self.requests.append(exchange.request)
        self.serve(exchange)
        if exchange.closes:
            return False
        exchange.body.all()
        return True

    def wait_request(self, count=1, seconds=5):
        wait_until(lambda: len(self.requests) >= count, seconds, f"request {count} at the backend")
        return self.requests[count - 1]

    def wait_ended(self, index=0, seconds=5):
        """How the gateway ended its connection number `index`."""
        wait_until(lambda: len(self.connections) > index and self.connections[index].ended, seconds,
                   f"the end of connection {index}")
        return self.connections[index].ended


class Gate:
    """Lets a backend wait for the test, and the test for a backend; never for longer than 10 s."""

    def __init__(self):
        self.event = threading.Event()

    def open(self):
        self.event.set()

    def wait(self, seconds=10):
        assert self.event.wait(seconds), "nobody opened the gate"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open()
