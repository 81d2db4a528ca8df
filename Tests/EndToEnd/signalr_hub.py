"""SignalR's sequence as its protocol pages have it, from both sides: negotiate, then WebSockets,
Server-Sent Events or long polling."""

import json
import queue
import secrets

import frames
from frames import TEXT
from harness import answer_upgrade
from http_fronts import dial

END = "\x1e"


class Hub:
    """What a SignalR server does for one hub that echoes: every message a client sends comes back on
    the transport it has chosen. Whoever says "leave" over a WebSocket gets its end. A connection that
    another hub has begun it does not know."""

    def __init__(self, poll_seconds):
        self.poll_seconds, self.sessions = poll_seconds, {}

    def __call__(self, exchange):
        path, _, query = exchange.path.partition("?")
        method = exchange.request.method
        if path == "/chat/negotiate":
            return self.negotiate(exchange)
        session = self.sessions.get(query.partition("id=")[2])
        if session is None:
            return exchange.answer(b"No Connection with that ID", 404)
        if method == "POST":
            self.take(session, exchange.read_body().decode())
            return exchange.answer(b"")
        if method == "DELETE":
            session.put(None)
            return exchange.answer(b"", 202)
        if exchange.request.has_token("upgrade", "websocket"):
            return self.web_socket(exchange)
        if exchange.request.field("accept") == "text/event-stream":
            return self.events(exchange, session)
        return self.poll(exchange, session)

    def negotiate(self, exchange):
        assert exchange.request.method == "POST" and exchange.read_body() == b""
        token = secrets.token_urlsafe(12)
        self.sessions[token] = queue.Queue()
        # Clients of the first version know no token; their connection's name is one.
        has_tokens = "negotiateVersion=1" in exchange.path
        version = ({"negotiateVersion": 1, "connectionId": "x", "connectionToken": token}
                   if has_tokens else {"negotiateVersion": 0, "connectionId": token})
        transports = [{"transport": name, "transferFormats": ["Text", "Binary"]}
                      for name in ("WebSockets", "ServerSentEvents", "LongPolling")]
        exchange.answer(json.dumps({**version, "availableTransports": transports}).encode(),
                        fields=[("Content-Type", "application/json")])

    @staticmethod
    def take(session, text):
        for message in text.split(END)[:-1]:
            session.put("{}" if "protocol" in json.loads(message) else message)

    def web_socket(self, exchange):
        exchange.wire.head, exchange.closes = exchange.request.raw, True
        answer_upgrade(exchange.wire)
        while True:
            got = exchange.wire.read_frame()
            if got.opcode == frames.CLOSE or b'"leave"' in got.payload:
                return exchange.wire.send_close(1000)
            reply = "{}" + END if b"protocol" in got.payload else got.payload.decode()
            exchange.wire.send_frame(TEXT, reply.encode())

    def events(self, exchange, session):
        exchange.begin_chunked(fields=[("Content-Type", "text/event-stream"),
                                       ("Cache-Control", "no-cache")])
        exchange.chunk(b":\r\n\r\n")
        while (message := session.get(timeout=20)) is not None:
            exchange.chunk(f"data: {message}{END}\r\n\r\n".encode())
        exchange.finish()

    def poll(self, exchange, session):
        if not hasattr(session, "was_polled"):
            session.was_polled = True  # the first poll only opens the transport
            return exchange.answer(b"")
        try:
            message = session.get(timeout=self.poll_seconds)
        except queue.Empty:
            return exchange.answer(b"")
        if message is None:
            return exchange.head(204)
        return exchange.answer((message + END).encode())


def call(front, path, method="GET", body=None, fields=()):
    exchange = front.request(path, method, body=body, fields=fields)
    return exchange.wait_head(), exchange.read_all().decode()


def negotiate(front, fields=()):
    status, text = call(front, "/chat/negotiate?negotiateVersion=1", "POST", b"", fields)
    assert status == 200
    return "/chat?id=" + json.loads(text)["connectionToken"]


HELLO = json.dumps({"protocol": "json", "version": 1}) + END


def message(number):
    return json.dumps({"type": 1, "target": "send", "arguments": [f"number {number}"]})


def post(way, running, path, text, fields=()):
    with dial(way, running) as front:
        assert call(front, path, "POST", text.encode(), fields) == (200, "")
