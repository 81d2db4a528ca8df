"""HTTP/1.1 messages on a socket, for either side: a reader that takes exactly what RFC 9112 allows and
reports everything else, and writers that send what they are told, right or wrong."""

import re

import frames

CHUNKED, TO_END = "chunked", "to the end"
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Broken(Exception):
    """The peer sent what is no HTTP/1.1."""


class Head:
    """A request or status line and its fields; names in lower case, in the order of the wire."""

    def __init__(self, raw):
        self.raw = raw
        line, *rest = raw.split(b"\r\n")
        self.line = line.decode("latin-1")
        self.fields = [parse_field(text) for text in rest]
        if re.search(rb"[\0\r\n]", line) or not line:
            raise Broken(f"line {line!r}")

    def all(self, name):
        return [value for key, value in self.fields if key == name.lower()]

    def field(self, name):
        """The only value of the field, None when it is absent."""
        values = self.all(name)
        if len(values) > 1:
            raise Broken(f"{name} twice: {self.raw!r}")
        return values[0] if values else None

    def has_token(self, name, token):
        words = ",".join(self.all(name)).lower().split(",")
        return token in [word.strip() for word in words]


class Request(Head):
    def __init__(self, raw):
        super().__init__(raw)
        parts = self.line.split(" ")
        if len(parts) != 3 or not re.fullmatch(r"HTTP/1\.[01]", parts[2]):
            raise Broken(f"request line {self.line!r}")
        self.method, self.target, self.version = parts
        self.body, self.trailers = b"", []

    @property
    def framing(self):
        return framing(self, 0)


class Response(Head):
    def __init__(self, raw):
        super().__init__(raw)
        found = re.fullmatch(r"(HTTP/1\.[01]) ([1-5]\d\d) .*", self.line)
        if not found:
            raise Broken(f"status line {self.line!r}")
        self.version, self.status = found[1], int(found[2])

    def framing_for(self, method):
        if method == "HEAD" or self.status in (204, 304) or self.status < 200:
            return 0
        return framing(self, TO_END)


def parse_field(text):
    name, colon, value = text.partition(b":")
    if not colon or not TOKEN.fullmatch(name) or re.search(rb"[\0\r\n]", value):
        raise Broken(f"field line {text!r}")
    return name.decode().lower(), value.strip(b" \t").decode("latin-1")


def framing(head, otherwise):
    """RFC 9112 6.3; a message that says two things is broken."""
    coding, length = head.field("transfer-encoding"), head.field("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise Broken(f"framing in {head.raw!r}")
        return CHUNKED
    if length is None:
        return otherwise
    if not re.fullmatch("[0-9]{1,19}", length):
        raise Broken(f"Content-Length {length!r}")
    return int(length)


class Body:
    """One body, read piece by piece as it comes."""

    def __init__(self, wire, framing):
        self.wire, self.framing, self.trailers = wire, framing, []
        self.left = framing if isinstance(framing, int) else 0
        self.is_complete = framing == 0

    def piece(self, most=1 << 20):
        """What has come, at least one byte; b"" at the end. `frames.Ended` when the connection ends
        before the body does."""
        if self.is_complete:
            return b""
        if self.framing == TO_END:
            return self.piece_to_end(most)
        if self.left == 0:
            self.begin_chunk()
            if self.is_complete:
                return b""
        if not self.wire.buffer:
            self.wire.fill()
        taken = self.wire.read(min(self.left, most, len(self.wire.buffer)))
        self.left -= len(taken)
        if self.left == 0:
            if self.framing != CHUNKED:
                self.is_complete = True
            elif self.wire.read(2) != b"\r\n":
                raise Broken("no CRLF behind a chunk")
        return taken

    def piece_to_end(self, most):
        try:
            if not self.wire.buffer:
                self.wire.fill()
        except frames.Ended as end:
            if end.reset:
                raise
            self.is_complete = True
            return b""
        return self.wire.read(min(most, len(self.wire.buffer)))

    def begin_chunk(self):
        line = self.wire.read_line()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", line):
            raise Broken(f"chunk line {line!r}")
        self.left = int(line, 16)
        if self.left == 0:
            while text := self.wire.read_line():
                self.trailers.append(parse_field(text))
            self.is_complete = True

    def all(self):
        pieces = []
        while piece := self.piece():
            pieces.append(piece)
        return b"".join(pieces)


class Wire(frames.Wire):
    """One connection."""

    def __init__(self, sock):
        super().__init__(sock, masks=False)

    def read_line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
            if len(self.buffer) > 1 << 20:
                raise Broken("an endless line")
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        if re.search(rb"[\r\n]", line):
            raise Broken(f"line {line!r}")
        return line

    def read_request(self):
        return Request(self.read_head())

    def read_response(self):
        return Response(self.read_head())


def lines(first, fields):
    """The bytes of a head."""
    text = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"{first}\r\n{text}\r\n".encode("latin-1")


def chunk(data, extension=b""):
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def last_chunk(trailers=()):
    return lines("0", trailers)
