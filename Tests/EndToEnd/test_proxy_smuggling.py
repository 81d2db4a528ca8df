"""No request reaches a backend but the ones that were sent (smuggling.py has the rows): each alone, and
ten thousand mixed over connections that are used again."""

import collections
import contextlib
import random
import threading

import pytest

import frames
import h2raw
import http1
import smuggling
from h2raw import PROTOCOL_ERROR
from http_backends import HTTPBackend
from http_fronts import proxy
from smuggling import ALLOWED, MALFORMED, REFUSED, ROWS2, fill, seen


#: what the gateway writes itself: no other spelling of it may pass (S11)
OURS = {"transfer-encoding", "content-length", "host", "connection", "x-forwarded-for", "via"}


class Recorder(HTTPBackend):
    """Keeps every request that arrived whole, and says in the answer which one it answers."""

    def __init__(self):
        self.whole = []
        super().__init__(self.record)

    def record(self, exchange):
        content = exchange.read_body()
        request = exchange.request
        assert request.field("transfer-encoding") in (None, "chunked")
        for name, _ in request.fields:
            assert "_" not in name, name
            assert name == name.replace(".", "-") or name.replace(".", "-") not in OURS, name
        self.whole.append((request.method, request.target, content))
        mark = f"{request.method} {request.target}".encode()
        if request.method == "HEAD":
            exchange.head(200, [("Content-Length", len(mark)), ("X-Mark", mark.decode())])
        else:
            exchange.answer(mark, fields=[("X-Mark", mark.decode())])


class Front:
    """A client of either protocol that goes through the rows and checks each answer."""

    def __init__(self, address, chance):
        self.address, self.chance = address, chance
        self.wire, self.peer, self.streams = None, None, 0
        #: what the backend has to see, and the targets it may see the beginning of
        self.expected, self.begun = [], set()

    # HTTP/1.1

    def send(self, data):
        """In one write, or in two."""
        at = self.chance.randrange(len(data)) if self.chance.random() < 0.3 else 0
        for part in (data[:at], data[at:]):
            if part:
                with contextlib.suppress(OSError):  # it may have been refused by its beginning
                    self.wire.send(part)

    def open(self):
        if self.wire is None:
            self.wire = http1.Wire(frames.connect(self.address, 10))

    def response(self, method):
        head = self.wire.read_response()
        while head.status == 100:
            head = self.wire.read_response()
        return head, http1.Body(self.wire, head.framing_for(method)).all()

    def refusal(self, status):
        """The answer, and then the end of the connection."""
        head, _ = self.response("GET")
        assert head.status == status, head.raw
        assert head.has_token("connection", "close"), head.raw
        rest, _ = self.wire.read_to_end()
        assert rest == b"", rest
        self.wire.close()
        self.wire = None

    def refused(self, row, number):
        self.open()
        if row.begins:
            self.begun.add(f"/{number}")
        self.send(fill(row.text, number))
        self.refusal(row.status)

    def allowed(self, row, number):
        self.open()
        wanted = seen(row, number)
        self.expected += wanted
        self.send(fill(row.text, number))
        for method, target, _ in wanted:
            head, _ = self.response(method)
            assert (head.status, head.field("x-mark")) == (200, f"{method} {target}")
        if row.status:
            self.refusal(row.status)

    # HTTP/2

    def stream(self, row, number):
        # A connection carries as many faults as the budget for resets allows.
        if self.peer is None or self.streams >= 40:
            self.close_peer()
            self.peer = h2raw.connect(self.address, seconds=10).start()
        stream = 2 * self.streams + 1
        self.streams += 1
        if row.begins:
            self.begun.add(f"/{number}")
        if row.sees is not None:
            self.expected += seen(row, number)
        peer = self.peer
        peer.send(row.frames(stream, number))
        peer.wait(lambda: stream in peer.ended or stream in peer.resets or peer.closed, row.name)
        assert peer.error is None and not peer.closed, peer.describe()
        self.judge(row, stream, number)

    def judge(self, row, stream, number):
        status, code = self.peer.status(stream), self.peer.resets.get(stream)
        if row.status == MALFORMED:
            assert code == PROTOCOL_ERROR or status == 400, self.peer.describe()
        else:
            assert status == row.status, self.peer.describe()
        if row.sees is not None:
            mark = f"{row.sees[0][0]} /{number}".encode()
            assert self.peer.field("x-mark", stream) == mark

    def close_peer(self):
        if self.peer:
            self.peer.close()
        self.peer, self.streams = None, 0

    def close(self):
        self.close_peer()
        if self.wire:
            self.wire.close()


def judge(recorder, fronts):
    """The backend saw what it had to, nothing else, and nothing hidden even in part."""
    expected = collections.Counter(row for front in fronts for row in front.expected)
    begun = set().union(*(front.begun for front in fronts))
    assert collections.Counter(recorder.whole) == expected
    whole = {target for _, target, _ in recorder.whole}
    for request in list(recorder.requests):
        assert "hidden" not in request.target
        assert request.target in whole or request.target in begun, request.raw
    assert recorder.errors == []


@pytest.fixture(scope="module")
def recorded():
    with Recorder() as recorder, proxy(recorder) as running:
        yield recorder, running


@contextlib.contextmanager
def one(recorded):
    """A client; behind it what the backend saw is judged, after a request of somebody else."""
    recorder, running = recorded
    recorder.whole.clear()
    recorder.requests.clear()
    recorder.errors.clear()
    front = Front(running.address, random.Random(1))
    yield front
    front.close_peer()
    front.allowed(ALLOWED[0], 77)
    front.close()
    judge(recorder, [front])


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_an_ambiguous_request_is_refused_with_its_status_and_the_connection_closed(recorded, row):
    with one(recorded) as front:
        front.refused(row, 1)


@pytest.mark.parametrize("row", ALLOWED, ids=lambda row: row.name)
def test_an_odd_request_arrives_exactly(recorded, row):
    with one(recorded) as front:
        front.allowed(row, 1)


@pytest.mark.parametrize("row", ROWS2, ids=lambda row: row.name)
def test_an_http2_request_arrives_exactly_or_is_an_error_of_its_stream(recorded, row):
    with one(recorded) as front:
        front.stream(row, 1)


@pytest.mark.parametrize("row", [row for row in REFUSED if not row.begins][::9],
                         ids=lambda row: row.name)
def test_a_refused_request_behind_another_is_refused_in_its_turn(recorded, row):
    """Pipelined behind one that is still under way."""
    with one(recorded) as front:
        front.open()
        front.expected.append(("GET", "/1", b""))
        front.wire.send(fill(ALLOWED[0].text, 1) + fill(row.text, 2))
        head, _ = front.response("GET")
        assert (head.status, head.field("x-mark")) == (200, "GET /1")
        front.refusal(row.status)


def test_the_preface_of_http2_is_no_request_where_http1_alone_is_spoken():
    with Recorder() as recorder, proxy(recorder, listener={"protocols": ["http/1.1"]}) as running:
        with one((recorder, running)) as front:
            front.refused(smuggling.PREFACE, 1)


def test_data_before_the_answer_to_a_websocket_goes_nowhere(recorded):
    """D8: the backend refuses the handshake; what the client sent ahead must not follow it."""
    recorder, running = recorded
    with one(recorded) as front:
        with h2raw.connect(running.address).start() as peer:
            peer.send(h2raw.websocket(1, path="/5"), h2raw.data(1, smuggling.hidden(5)))
            peer.wait(lambda: peer.status(1), "an answer")
            assert peer.status(1) == 200 and peer.field("x-mark") == b"GET /5"
            peer.wait(lambda: 1 in peer.resets, "the end of the stream")
        front.expected.append(("GET", "/5", b""))


@pytest.mark.parametrize("framing", ["Content-Length: 50", "Transfer-Encoding: chunked"])
def test_a_handshake_with_a_body_is_refused(recorded, framing):
    """W2: the body would follow the handshake to the backend."""
    with one(recorded) as front:
        front.open()
        name, value = framing.split(": ")
        request, _ = frames.upgrade_request(path="/3", fields=[(name, value)])
        front.wire.send(request + smuggling.hidden(3))
        front.refusal(400)


def mixed(front, seed, first, count):
    """`count` rows by chance, each with a number of its own."""
    chance = random.Random(seed)
    for number in range(first, first + count):
        kind = chance.choice([front.refused, front.allowed, front.stream])
        rows = {front.refused: REFUSED, front.allowed: ALLOWED, front.stream: ROWS2}[kind]
        row = chance.choice(rows)
        try:
            kind(row, number)
        except Exception as error:
            error.add_note(f"seed {seed}, number {number}, row {row.name!r}")
            raise


@pytest.mark.timeout(240)
def test_ten_thousand_mixed_attempts_hide_nothing():
    problems = []

    def attempt(front, seed):
        try:
            mixed(front, seed, 1 + seed * 2500, 2500)
        except Exception as error:
            problems.append((error, getattr(error, "__notes__", None)))

    with Recorder() as recorder, proxy(recorder) as running:
        fronts = [Front(running.address, random.Random(100 + n)) for n in range(4)]
        threads = [threading.Thread(target=attempt, args=(front, seed), daemon=True)
                   for seed, front in enumerate(fronts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=200)
        for front in fronts:
            front.close()
        assert problems == []
        assert not any(thread.is_alive() for thread in threads)
        judge(recorder, fronts)
        # Connections were used again, or nothing was shown.
        assert len(recorder.whole) > 4 * len(recorder.connections)
