"""Requests that two readers could read in two ways: what is sent, the status it gets, and which
requests a backend sees of it. Over HTTP/1.1 as text with placeholders:

    {T} the target · {H} a Host line · {X} a hidden request · {L} its length, {M} one less

A `Refused` row is answered once, with its status, and the connection closed; what stands behind it is
served to nobody. An `Allowed` row is what an attacker may well send, and what has to arrive exactly."""

import dataclasses

import h2raw
from h2raw import continuation, data, headers

HOST = b"Host: gateway.example\r\n"


@dataclasses.dataclass(frozen=True)
class Refused:
    """`begins`: a backend may see the beginning of it, never the end."""

    name: str
    status: int
    text: str
    begins: bool = False


@dataclasses.dataclass(frozen=True)
class Allowed:
    """`sees`: (method, body) of each request that arrives; `status`: of one more answer behind them,
    which ends the connection."""

    name: str
    sees: tuple
    text: str
    status: int | None = None


def hidden(number):
    return b"GET /hidden/%d HTTP/1.1\r\n%s\r\n" % (number, HOST)


def fill(text, number):
    inside = hidden(number)
    out = text.encode("latin-1")
    for key, value in [(b"{T}", b"/%d" % number), (b"{H}", HOST), (b"{L}", b"%d" % len(inside)),
                       (b"{M}", b"%d" % (len(inside) - 1)), (b"{HEX}", b"%x" % len(inside)),
                       (b"{X}", inside)]:
        out = out.replace(key, value)
    return out


def post(fields, rest="0\r\n\r\n{X}"):
    return "POST {T} HTTP/1.1\r\n{H}" + fields + "\r\n" + rest


CODINGS = {  # S2
    "chunked twice in a list": ("chunked, chunked", 400), "leading comma": (",chunked", 400),
    "trailing comma": ("chunked,", 400), "vertical tab": ("\x0bchunked", 400),
    "form feed": ("chunked\x0c", 400), "NUL": ("chunked\0", 400), "quoted": ('"chunked"', 400),
    "parameter": ("chunked;q=1", 400), "empty": ("", 400), "bare LF": ("\nchunked", 400),
    "bare CR": ("chunked\rX: y", 400), "latin-1 blank": ("chunked\xa0", 400),
    "not last": ("chunked, gzip", 400), "two words": ("x chunked", 400),
    "fold": ("x\r\n chunked", 400), "xchunked": ("xchunked", 501), "chunkedx": ("chunkedx", 501),
    "identity": ("identity", 501), "gzip, chunked": ("gzip, chunked", 501), "cow": ("cow", 501)}
LENGTHS = ["+5", "-0", "-1", "0x5", "1_0", "5 5", "5, 5", "5,6", "", "5.0", "1e1", "\x0b5",
           "99999999999999999999", "18446744073709551621", "5;", "٥".encode().decode("latin-1")]  # S4
FIELD_LINES = {  # S5
    "space before colon": "Transfer-Encoding : chunked\r\n", "no colon": "Transfer-Encoding\r\n",
    "empty name": ": chunked\r\n", "fold": "X: a\r\n Transfer-Encoding: chunked\r\n",
    "folded first": " Transfer-Encoding: chunked\r\n", "bare LF": "X: a\nTransfer-Encoding: chunked\r\n",
    "bare CR": "X: a\rTransfer-Encoding: chunked\r\n", "NUL in a value": "X: a\0b\r\n",
    "NUL in a name": "X\0: a\r\n", "tab before colon": "X\t: a\r\n", "space in a name": "X Y: a\r\n",
    "latin-1 in a name": "X\xe9: a\r\n", "DEL in a name": "X\x7f: a\r\n",
    "CR CR LF": "X: a\r\r\nTransfer-Encoding: chunked\r\n", "escape": "X: \x1b[31m\r\n",
    "LF LF": "X: a\n\n{X}"}
CHUNKS = {  # S6
    "bare LF behind the size": "5\nhello\r\n0\r\n\r\n", "0x": "0x5\r\nhello\r\n0\r\n\r\n",
    "plus": "+5\r\nhello\r\n0\r\n\r\n", "underscore": "0_5\r\nhello\r\n0\r\n\r\n",
    "leading blank": " 5\r\nhello\r\n0\r\n\r\n", "trailing blank": "5 \r\nhello\r\n0\r\n\r\n",
    "17 digits": "00000000000000005\r\nhello\r\n0\r\n\r\n",
    "overflow": "10000000000000005\r\nhello\r\n0\r\n\r\n", "minus": "-5\r\nhello\r\n0\r\n\r\n",
    "empty size": "\r\nhello\r\n0\r\n\r\n", "only an extension": ";a=b\r\nhello\r\n0\r\n\r\n",
    "no CRLF behind the data": "5\r\nhello0\r\n\r\n{X}", "data too long": "5\r\nhello!\r\n0\r\n\r\n",
    "LF behind the data": "5\r\nhello\n0\r\n\r\n", "CR behind the data": "5\r\nhello\rX0\r\n\r\n",
    "LF in an extension": "5;a\nb\r\nhello\r\n0\r\n\r\n", "NUL in an extension": "5;a\0\r\nhello\r\n0\r\n\r\n",
    "bare CR in an extension": "5;\ra\r\nhello\r\n0\r\n\r\n",
    "an extension of 300 bytes": "5;" + "a" * 300 + "\r\nhello\r\n0\r\n\r\n",
    "extensions of 20 KiB": "".join("1;" + "a" * 200 + "\r\nx\r\n" for _ in range(100)) + "0\r\n\r\n",
    "a trailer without colon": "0\r\nnonsense\r\n\r\n", "a folded trailer": "0\r\nA: b\r\n c\r\n\r\n",
    "bare LF in a trailer": "0\r\nA: b\nC: d\r\n\r\n", "LF LF behind the last": "0\n\n{X}",
    "blank in the last": "0 \r\n\r\n{X}"}
LINES = {  # S7
    "two spaces": ("GET  {T} HTTP/1.1", 400), "tab": ("GET\t{T} HTTP/1.1", 400),
    "CR": ("GET {T}\rX HTTP/1.1", 400), "version 1.32": ("GET {T} HTTP/1.32", 400),
    "HTTP/2.0": ("GET {T} HTTP/2.0", 505), "HTTP/0.9": ("GET {T} HTTP/0.9", 400),
    "http/1.1": ("GET {T} http/1.1", 400), "lower case": ("get {T} HTTP/1.1", 400),
    "fragment": ("GET {T}#x HTTP/1.1", 400), "space in target": ("GET {T} x HTTP/1.1", 400),
    "no version": ("GET {T}", 400), "asterisk": ("GET * HTTP/1.1", 400),
    "no path": ("GET x HTTP/1.1", 400), "other authority": ("GET http://evil.example{T} HTTP/1.1", 400),
    "other scheme": ("GET ftp://gateway.example{T} HTTP/1.1", 400), "empty": ("GET  HTTP/1.1", 400),
    "CONNECT": ("CONNECT gateway.example:80 HTTP/1.1", 405), "TRACE": ("TRACE {T} HTTP/1.1", 405),
    "two versions": ("GET {T} HTTP/1.1 HTTP/1.1", 400), "NUL": ("GET {T}\0 HTTP/1.1", 400),
    "latin-1": ("GET {T}\xe9 HTTP/1.1", 400)}
HOSTS = {  # S8
    "missing": "", "twice": "{H}{H}", "two different": "{H}Host: evil.example\r\n", "empty": "Host:\r\n",
    "userinfo": "Host: a@gateway.example\r\n", "path": "Host: gateway.example/x\r\n",
    "comma": "Host: gateway.example, evil.example\r\n", "port of letters": "Host: gateway.example:http\r\n",
    "port 65536": "Host: gateway.example:65536\r\n", "space": "Host: gateway.example evil\r\n",
    "trailing dot": "Host: gateway.example.\r\n", "fold": "Host:\r\n gateway.example\r\n"}
PATHS = ["/%2e%2e{T}", "/a/..;a{T}", "/../{T}", "/.{T}/..", "{T}%00", "{T}%2fx", "{T}%5cx", "{T}\\x",
         "{T}%c0%af", "{T}%0d%0aX:y", "{T}%", "{T}%zz"]  # S10

REFUSED = [
    Refused("S1 length then coding", 400, post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")),
    Refused("S1 coding then length", 400,
            post("Transfer-Encoding: chunked\r\nContent-Length: {L}\r\n", "{HEX}\r\n{X}\r\n0\r\n\r\n")),
    Refused("S1 unknown coding and length", 400,
            post("Transfer-Encoding: cow\r\nContent-Length: 5\r\n", "hello{X}")),
    *[Refused(f"S2 {name}", status, post(f"Transfer-Encoding: {value}\r\n"))
      for name, (value, status) in CODINGS.items()],
    Refused("S2 two fields", 400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
    Refused("S2 identity and chunked", 400,
            post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n")),
    Refused("S3 coding in HTTP/1.0", 400,
            "POST {T} HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{X}"),
    *[Refused(f"S4 {value!r}", 400, post(f"Content-Length: {value}\r\n", "hello{X}"))
      for value in LENGTHS],
    Refused("S4 two lengths", 400, post("Content-Length: 0\r\nContent-Length: {L}\r\n", "{X}")),
    Refused("S4 the same twice", 400, post("Content-Length: {L}\r\nContent-Length: {L}\r\n", "{X}")),
    *[Refused(f"S5 {name}", 400, post(line)) for name, line in FIELD_LINES.items()],
    *[Refused(f"S6 {name}", 400, post("Transfer-Encoding: chunked\r\n", body + "{X}"), begins=True)
      for name, body in CHUNKS.items()],
    *[Refused(f"S7 {name}", status, line + "\r\n{H}\r\n{X}") for name, (line, status) in LINES.items()],
    *[Refused(f"S8 {name}", 400, "GET {T} HTTP/1.1\r\n" + lines + "\r\n{X}")
      for name, lines in HOSTS.items()],
    Refused("S9 unknown expectation", 417, post("Expect: 200-ok\r\nContent-Length: {L}\r\n", "{X}")),
    *[Refused(f"S10 {path}", 400, f"GET {path} HTTP/1.1\r\n{{H}}\r\n{{X}}") for path in PATHS],
]

#: where the listener speaks HTTP/1.1 alone
PREFACE = Refused("S7 the preface of HTTP/2", 400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{X}")

X = "{X}"
ALLOWED = [
    Allowed("plain", (("GET", ""),), "GET {T} HTTP/1.1\r\n{H}\r\n"),
    Allowed("HEAD", (("HEAD", ""),), "HEAD {T} HTTP/1.1\r\n{H}\r\n"),
    Allowed("a body with length", (("POST", X),), post("Content-Length: {L}\r\n", "{X}")),
    Allowed("a chunked body", (("POST", X),),
            post("Transfer-Encoding: chunked\r\n", "{HEX}\r\n{X}\r\n0\r\n\r\n")),
    Allowed("chunk syntax in a body", (("POST", "0\r\n\r\n" + X),),
            "POST {T} HTTP/1.1\r\n{H}Transfer-Encoding: ChUnKeD\r\n\r\n"
            "5;x=\"{X\"\r\n0\r\n\r\n\r\n{HEX}\r\n{X}\r\n0\r\n\r\n"),
    Allowed("S9 a GET with a body", (("GET", X),), "GET {T} HTTP/1.1\r\n{H}Content-Length: {L}\r\n\r\n{X}"),
    Allowed("S9 OPTIONS with chunks", (("OPTIONS", X),),
            "OPTIONS {T} HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n{HEX}\r\n{X}\r\n0\r\n\r\n"),
    Allowed("S9 a HEAD with a body", (("HEAD", X),),
            "HEAD {T} HTTP/1.1\r\n{H}Content-Length: {L}\r\n\r\n{X}"),
    Allowed("S9 expectation with its body at once", (("POST", X),),
            post("Expect: 100-continue\r\nContent-Length: {L}\r\n", "{X}")),
    Allowed("S9 expectation of nothing", (("GET", ""),),
            "GET {T} HTTP/1.1\r\n{H}Expect: 100-continue\r\n\r\n"),
    Allowed("S9 two in a row", (("POST", X), ("GET", "")),
            post("Content-Length: {L}\r\n", "{X}GET {T} HTTP/1.1\r\n{H}\r\n")),
    Allowed("S9 one byte more than the length", (("POST", "{X-1}"),),
            post("Content-Length: {M}\r\n", "{X}GET {T} HTTP/1.1\r\n{H}\r\n"), 400),
    Allowed("S2 coding with an underscore", (("POST", ""),), post("Transfer_Encoding: chunked\r\n"), 400),
    Allowed("S2 coding with a dot", (("POST", ""),), post("Transfer.Encoding: chunked\r\n"), 400),
    Allowed("S2 coding in TE", (("POST", ""),), post("TE: chunked\r\n"), 400),
    Allowed("S4 length with an underscore", (("POST", ""),), post("Content_Length: 5\r\n", "hello{X}"),
            400),
    Allowed("S6 trailers that frame", (("POST", "hello"),),
            post("Transfer-Encoding: chunked\r\n",
                 "5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: cow\r\nHost: evil\r\n\r\n")),
    Allowed("S7 one empty line in front", (("GET", ""),), "\r\nGET {T} HTTP/1.1\r\n{H}\r\n"),
    Allowed("S7 absolute form", (("GET", ""),), "GET http://gateway.example{T} HTTP/1.1\r\n{H}\r\n"),
    Allowed("D6 h2c", (("GET", ""),), "GET {T} HTTP/1.1\r\n{H}Connection: Upgrade, HTTP2-Settings\r\n"
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"),
    Allowed("D6 h2c in two fields", (("POST", X),),
            post("Connection: Upgrade\r\nConnection: HTTP2-Settings\r\nUpgrade: h2c\r\n"
                 "HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: {L}\r\n", "{X}")),
    Allowed("W8 upgrade without a token", (("GET", ""),),
            "GET {T} HTTP/1.1\r\n{H}Upgrade: websocket\r\n\r\n"),
]


def seen(row, number):
    """(method, target, body) of what an allowed row gives a backend."""
    found = []
    for method, body in row.sees:
        inside = hidden(number)
        text = body.encode().replace(b"{X-1}", inside[:-1]).replace(b"{X}", inside)
        found.append((method, "/%d" % number, text))
    return found


# HTTP/2: a function of stream and number that gives frames.

MALFORMED = "RST_STREAM(PROTOCOL_ERROR) or 400"


@dataclasses.dataclass(frozen=True)
class Row2:
    """`status`: of the answer, or MALFORMED. `sees`: (method, body) when it is allowed. `begins`: as
    above."""

    name: str
    status: int | str
    frames: object
    sees: tuple | None = None
    begins: bool = False


def head(*extra, ends=True, method="GET", drop=(), first=(), path=None, **pseudo):
    """HEADERS with fields added, `first` in front of the pseudo-fields, those in `drop` left out."""
    def make(stream, number):
        target = "/%d" % number if path is None else path.replace("{T}", "/%d" % number)
        fields = h2raw.request_fields(target, method, without=drop, **pseudo)
        filled = [(name, expand(value, number)) for name, value in [*first, *fields, *extra]]
        return headers(stream, h2raw.block(*filled), ends)
    return make


def expand(value, number):
    raw = value if isinstance(value, bytes) else value.encode("latin-1")
    inside = hidden(number)
    return raw.replace(b"{L}", b"%d" % len(inside)).replace(b"{X}", inside)


def body(*fields, pieces=(X,), trailers=None, method="POST"):
    """A request with DATA frames."""
    def make(stream, number):
        out = head(*fields, ends=False, method=method)(stream, number)
        for index, piece in enumerate(pieces):
            ends = trailers is None and index == len(pieces) - 1
            out += data(stream, expand(piece, number), ends)
        if trailers is not None:
            filled = [(name, expand(value, number)) for name, value in trailers]
            out += headers(stream, h2raw.block(*filled), True)
        return out
    return make


def in_pieces(stream, number):
    """A head over CONTINUATION frames of three bytes."""
    whole = h2raw.block(*h2raw.request_fields("/%d" % number), ("x-long", "a" * 10))
    parts = [whole[at:at + len(whole) // 6 + 1] for at in range(0, len(whole), len(whole) // 6 + 1)]
    out = headers(stream, parts[0], True, complete=False)
    for part in parts[1:]:
        out += continuation(stream, part, complete=part is parts[-1])
    return out


NAMES = ["X-Upper", "x y", "x\r\ny", "x\0", "", "x:y", "x\x7f", "\xe9", "x\ty", ":unknown"]  # D1
VALUES = ["a\r\n{X}", "a\nb", "a\rb", "a\0b", " a", "a ", "\ta", "a\t", "\r\n{X}"]  # D1
HOPS = [("connection", "close"), ("connection", "keep-alive"), ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"),
        ("te", "gzip"), ("te", "trailers, deflate")]  # D2
PSEUDO = {  # D3
    "method with a request": head(method="GET /hidden HTTP/1.1\r\n{X}"), "empty method": head(method=""),
    "method with a space": head(method="GET x"), "path with CRLF": head(path="{T} HTTP/1.1\r\n{X}"),
    "path with a space": head(path="{T} x"), "path without slash": head(path="x"),
    "empty path": head(path=""), "absolute path": head(path="http://evil.example/"),
    "path with a fragment": head(path="{T}#x"), "dot segments": head(path="/..{T}"),
    "encoded slash": head(path="{T}%2f"), "authority with CRLF": head(authority="a\r\n{X}"),
    "authority with a path": head(authority="gateway.example/x"), "empty authority": head(authority=""),
    "authority with userinfo": head(authority="a@gateway.example"),
    "two authorities": head(first=[(":authority", "gateway.example")]),
    "another host": head(("host", "evil.example")), "two paths": head(first=[(":path", "/x")]),
    "two methods": head(first=[(":method", "POST")]), "no method": head(drop=[":method"]),
    "no path": head(drop=[":path"]), "no scheme": head(drop=[":scheme"]),
    "scheme with slashes": head(scheme="http://evil.example/"), "scheme with CRLF": head(scheme="a\r\nb"),
    "pseudo behind fields": head(drop=[":path"], first=[("x", "y")]),
    "pseudo last": head(("x", "y"), (":path", "/x"), drop=[":path"]), "status": head((":status", "200"))}

ROWS2 = [
    *[Row2(f"D1 name {name!r}", MALFORMED, head((name, "a"))) for name in NAMES],
    *[Row2(f"D1 value {value!r}", MALFORMED, head(("x-field", value))) for value in VALUES],
    *[Row2(f"D2 {name}: {value}", MALFORMED, head((name, value))) for name, value in HOPS],
    *[Row2(f"D3 {name}", MALFORMED, frames) for name, frames in PSEUDO.items()],
    Row2("D4 length on a request that ends", MALFORMED, head(("content-length", "{L}"), method="POST")),
    Row2("D4 more data", MALFORMED, body(("content-length", "5"), pieces=("hello" + X,)), begins=True),
    Row2("D4 more data later", MALFORMED, body(("content-length", "5"), pieces=("hello", X)), begins=True),
    Row2("D4 less data", MALFORMED, body(("content-length", "999"), pieces=(X,)), begins=True),
    Row2("D4 no data", MALFORMED, body(("content-length", "{L}"), pieces=("",)), begins=True),
    Row2("D4 less data before trailers", MALFORMED,
         body(("content-length", "999"), pieces=(X,), trailers=[("x", "y")]), begins=True),
    *[Row2(f"D4 length {value!r}", MALFORMED, body(("content-length", value), pieces=("hello",)),
           begins=True) for value in ("+5", "5, 5", "0x5", "", "-1", "99999999999999999999")],
    Row2("D4 two lengths", MALFORMED,
         body(("content-length", "5"), ("content-length", "5"), pieces=("hello",)), begins=True),
    Row2("D4 pseudo in trailers", MALFORMED, body(pieces=(X,), trailers=[(":path", "/x")]), begins=True),
    Row2("D4 CRLF in trailers", MALFORMED, body(pieces=(X,), trailers=[("x", "y\r\n{X}")]), begins=True),
    Row2("D4 length in trailers", MALFORMED,
         body(pieces=(X,), trailers=[("content-length", "5")]), begins=True),
    Row2("D5 CRLF in a crumb", MALFORMED, head(("cookie", "a=1"), ("cookie", "b=2\r\n{X}"))),
    Row2("D7 unknown protocol", 501, head((":protocol", "connect-udp"), method="CONNECT", ends=False)),
    Row2("D7 plain CONNECT", 405, head(method="CONNECT", drop=[":path", ":scheme"], ends=False)),
    Row2("D7 protocol on a GET", MALFORMED, head((":protocol", "websocket"))),
    Row2("TRACE", 405, head(method="TRACE")),

    Row2("plain", 200, head(), (("GET", ""),)),
    Row2("HEAD", 200, head(method="HEAD"), (("HEAD", ""),)),
    Row2("a head in pieces", 200, in_pieces, (("GET", ""),)),
    Row2("a body", 200, body(), (("POST", X),)),
    Row2("a body with length", 200, body(("content-length", "{L}")), (("POST", X),)),
    Row2("a body in two", 200, body(pieces=(X, X)), (("POST", X + X),)),
    Row2("D4 chunk syntax in a body", 200, body(pieces=("0\r\n\r\n" + X,)), (("POST", "0\r\n\r\n" + X),)),
    Row2("D4 chunk syntax in pieces", 200, body(pieces=("5\r\n", "", "hello\r\n0\r\n\r\n", X)),
         (("POST", "5\r\nhello\r\n0\r\n\r\n" + X),)),
    Row2("a GET with a body", 200, body(method="GET"), (("GET", X),)),
    Row2("D4 trailers that route", 200,
         body(trailers=[("host", "evil.example"), ("cookie", "a=b"), ("authorization", "x")]),
         (("POST", X),)),
    Row2("D5 crumbs", 200, head(("cookie", "a=1"), ("cookie", "b=2")), (("GET", ""),)),
    Row2("S11 names with underscores", 200, head(("transfer_encoding", "chunked"), ("x_real_ip", "1")),
         (("GET", ""),)),
]
