"""WebSockets over HTTP/2 (RFC 8441): messages between `h2` + `wsproto` and backends that speak
HTTP/1.1 only, flow control that is backpressure, and streams that do not disturb each other."""

import hashlib
import os
import random
import threading
import time

import pytest
from wsproto import ConnectionType
from wsproto import events as ws
from wsproto.connection import Connection
from wsproto.extensions import PerMessageDeflate

import frames
import h2peer
from certificates import Authority, client_context, pair
from frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from harness import (AsyncBackend, RawBackend, answer_upgrade, echo, gateway, raw_echo, record,
                     route, wait_until)

SIZES = [0, 1, 7, 125, 126, 127, 4095, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 1_000_003]
PLAIN = {"protocols": ["h2"]}


class WsprotoStream:
    """A WebSocket client made of wsproto on a stream."""

    def __init__(self, peer, extensions=(), **keywords):
        offer = [("sec-websocket-extensions", f"{e.name}; {e.offer()}") for e in extensions]
        self.stream = peer.ask(fields=offer, **keywords)
        assert self.stream.status == 200, self.stream
        answer = self.stream.field("sec-websocket-extensions") or ""
        for extension in extensions:
            if answer.startswith(extension.name):
                extension.finalize(answer)
        self.connection = Connection(
            ConnectionType.CLIENT, [e for e in extensions if e.enabled()])

    def send(self, event):
        self.stream.sendall(self.connection.send(event))

    def next_event(self):
        while True:
            for event in self.connection.events():
                if not isinstance(event, ws.Ping):
                    return event
                self.send(event.response())
            self.connection.receive_data(self.stream.recv(1 << 16) or None)

    def receive_message(self):
        parts = []
        while True:
            event = self.next_event()
            assert isinstance(event, (ws.TextMessage, ws.BytesMessage)), event
            parts.append(event.data)
            if event.message_finished:
                return type(event.data)().join(parts)

    def close(self):
        """The closing handshake, and the gateway's END_STREAM behind it."""
        self.send(ws.CloseConnection(code=1000, reason="done"))
        event = self.next_event()
        assert isinstance(event, ws.CloseConnection) and event.code == 1000, event
        self.stream.wait_over()
        assert self.stream.ended, self.stream
        self.stream.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["plain", "tls"])
def front(request, authority):
    """(listener, keywords of `h2peer.connect`): prior knowledge, and TLS with ALPN."""
    if request.param == "plain":
        return PLAIN, {}
    listener = {"protocols": ["h2", "http/1.1"],
                "tls": {"certificates": [pair(authority.issue("gateway.example"))]}}
    return listener, {"context": client_context(authority, ["h2", "http/1.1"]),
                      "name": "gateway.example"}


def test_messages_of_all_sizes_between_wsproto_and_websockets(front):
    listener, how = front
    with AsyncBackend(echo) as backend, gateway([backend.port], listener=listener) as running, \
            h2peer.connect(running.address, **how) as peer:
        client = WsprotoStream(peer)
        for size in SIZES:
            data = os.urandom(size)
            client.send(ws.BytesMessage(data=data))
            assert client.receive_message() == data
        client.send(ws.TextMessage(data="gr\u00fc\u00df \U0001f980" * 1000))
        assert client.receive_message() == "gr\u00fc\u00df \U0001f980" * 1000
        client.close()


def test_a_message_of_16_mib(front):
    listener, how = front
    data = os.urandom(16 << 20)
    with AsyncBackend(echo) as backend, gateway([backend.port], listener=listener) as running, \
            h2peer.connect(running.address, timeout=25, **how) as peer:
        client = WsprotoStream(peer)
        client.send(ws.BytesMessage(data=data))
        back = client.receive_message()
        assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()
        client.close()


def test_a_message_of_one_byte_more_than_16_mib_is_1009_at_its_first_frame():
    with RawBackend(record) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        client = peer.open_websocket()
        client.send(frames.frame(BINARY, b"", mask=b"wxyz", length=(16 << 20) + 1))
        assert client.read_frame().close_code == 1009


def test_data_frames_of_one_byte(front):
    listener, how = front
    with AsyncBackend(echo) as backend, gateway([backend.port], listener=listener) as running, \
            h2peer.connect(running.address, **how) as peer:
        client = WsprotoStream(peer)
        client.stream.piece = 1
        for size in [0, 1, 125, 126, 3000]:
            data = os.urandom(size)
            client.send(ws.BytesMessage(data=data))
            assert client.receive_message() == data
        client.close()


def test_empty_and_padded_data_frames_carry_the_same_stream():
    with RawBackend(raw_echo) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        client = peer.open_websocket()
        window = client.stream.window()
        for padding in (0, 1, 100, 255):
            whole = frames.frame(TEXT, b"padded", mask=b"wxyz")
            client.stream.send_padded(b"", 0)
            client.stream.send_padded(whole[:5], padding)
            client.stream.send_padded(whole[5:], padding)
            assert client.read_frame().payload == b"padded"
        # Padding is flow controlled like data, and its credit comes back like data's.
        peer.run_until(lambda: client.stream.window() >= window - 32_768, what="credit for padding")


def test_segments_of_one_byte_from_the_backend_arrive_unchanged():
    def drip(wire):
        answer_upgrade(wire)
        for byte in frames.frame(BINARY, bytes(range(256))) + frames.frame(TEXT, b"end"):
            wire.send(bytes([byte]))
        wire.read_frame()

    with RawBackend(drip) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        client = peer.open_websocket()
        assert client.read_frame().payload == bytes(range(256))
        assert client.read_frame().payload == b"end"


def test_fragmented_message_with_control_frames_between():
    with RawBackend(raw_echo) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        client = peer.open_websocket()
        client.send_frame(TEXT, b"one ", fin=False)
        client.send_frame(PING, b"between")
        client.send_frame(CONTINUATION, b"", fin=False)
        client.send_frame(PONG, b"unasked")
        client.send_frame(CONTINUATION, b"two", fin=True)
        got = [client.read_frame() for _ in range(4)]
    assert [(f.opcode, f.payload, f.fin) for f in got] == [
        (TEXT, b"one ", False), (PONG, b"between", True), (CONTINUATION, b"", False),
        (CONTINUATION, b"two", True)]
    assert all(f.mask is None for f in got)


def test_frames_pass_byte_for_byte_both_ways():
    with RawBackend(record) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        client = peer.open_websocket()
        wire = backend.wait_wire()
        sent = b"".join([
            frames.frame(PING, b"p1", mask=b"\x01\x02\x03\x04"),
            frames.frame(PONG, b"", mask=b"\xff\x00\xff\x00"),
            frames.frame(BINARY, os.urandom(70_000), mask=b"abcd")])
        client.send(sent)
        back = frames.frame(PING, b"from the backend") + frames.frame(BINARY, os.urandom(30_000))
        wire.send(back)
        while len(client.buffer) < len(back):
            client.fill()
        assert client.buffer == back
        wait_until(lambda: len(wire.received) >= len(sent))
        assert wire.received == sent


def test_random_fragments_and_data_frames_arrive_unchanged():
    generator = random.Random(20_261_122)
    with RawBackend(raw_echo) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        clients = [peer.open_websocket() for _ in range(5)]
        for _ in range(60):
            client = generator.choice(clients)
            data = generator.randbytes(int(2 ** generator.uniform(0, 15)))
            middle = generator.randrange(len(data) + 1)
            client.stream.piece = generator.choice([0, 0, 13, 1400, 9000])
            client.send_frame(BINARY, data[:middle], fin=False)
            client.send_frame(CONTINUATION, data[middle:])
            assert client.read_frame().payload + client.read_frame().payload == data


def test_permessage_deflate_passes_through():
    async def once(connection):
        async for message in connection:
            await connection.send(message)

    with AsyncBackend(once, compression="deflate") as backend, \
            gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        client = WsprotoStream(peer, extensions=[PerMessageDeflate()])
        assert client.stream.field("sec-websocket-extensions").startswith("permessage-deflate")
        for data in ["again and again " * 5000, "short"]:
            client.send(ws.TextMessage(data=data))
            assert client.receive_message() == data
        assert sum(f.length for f in peer.seen if f.type == h2peer.DATA) < 5000
        client.close()


def by_path(**serves):
    """A backend that does something else for each first segment of the path."""
    def serve(wire):
        serves[wire.head.split(b" ")[1].decode().split("/")[1]](wire)
    return serve


def flood(wire):
    """Sends until the gateway takes no more for 1 s, then notes how much, and goes on slowly."""
    answer_upgrade(wire)
    wire.sent, wire.paused = 0, False
    chunk = frames.frame(BINARY, b"x" * 65_526)
    wire.sock.settimeout(1)
    try:
        while wire.sent < 64 << 20:
            wire.sent += wire.sock.send(chunk)
    except TimeoutError:
        wire.paused = True
    wire.sock.settimeout(60)
    wire.read_to_end()


def speed(client, data, rounds):
    begun = time.monotonic()
    for _ in range(rounds):
        client.send_frame(BINARY, data)
        assert len(client.read_frame().payload) == len(data)
    return rounds * len(data) / (time.monotonic() - begun)


@pytest.mark.timeout(90)
def test_99_streams_that_never_read_do_not_slow_the_last_one(front):
    listener, how = front
    data = os.urandom(40_000)
    with RawBackend(by_path(flood=flood, echo=raw_echo)) as backend, \
            gateway([backend.port], listener=listener) as running, \
            h2peer.connect(running.address, timeout=20, **how) as peer, \
            h2peer.connect(running.address, timeout=20, **how) as alone:
        last, control = (each.open_websocket(path="/echo") for each in (peer, alone))
        speed(last, data, 20)
        speed(control, data, 20)
        base = running.memory_kib()
        stalled = [peer.open_websocket(path="/flood") for _ in range(99)]
        flooding = [wire for wire in backend.wires if b"/flood" in wire.head]
        assert len(flooding) == 99

        def all_paused():
            peer.turn(0.05)
            return all(getattr(wire, "paused", False) for wire in flooding)
        wait_until(all_paused, 20, "every flood to be paused")
        assert running.memory_kib() - base < 99 * 400
        # Measured in turns with a stream that has its connection for itself: the machine may be busy.
        pairs = [(speed(last, data, 50), speed(control, data, 50)) for _ in range(4)]
        assert max(busy / quiet for busy, quiet in pairs) > 0.5, pairs
        assert all(len(s.stream.buffer) <= 65_535 for s in stalled)
        # A stalled stream is whole when it is read at last.
        assert stalled[50].read_frame().payload == b"x" * 65_526
        assert stalled[50].read_frame().payload == b"x" * 65_526


def test_a_client_that_does_not_read_stops_exactly_its_own_backend():
    with RawBackend(by_path(flood=flood, echo=raw_echo)) as backend, \
            gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address, stream_window=0) as peer:
        stalled, other = peer.open_websocket(path="/flood"), peer.open_websocket(path="/echo")
        peer.give_credit(1 << 20, other.stream.number)
        wire = backend.wait_wire()
        wait_until(lambda: peer.turn(0.05) or getattr(wire, "paused", False), 10, "a pause")
        # What the system's socket buffers hold is counted too.
        assert wire.sent < 16 << 20
        assert not stalled.stream.buffer
        other.send_frame(TEXT, b"unharmed")
        assert other.read_frame().payload == b"unharmed"
        # Credit of one byte at a time moves one byte at a time.
        for count in range(1, 20):
            peer.give_credit(1, stalled.stream.number)
            peer.run_until(lambda: len(stalled.stream.buffer) == count, what="one more byte")
        peer.give_credit(200_000, stalled.stream.number)
        assert stalled.read_frame().payload == b"x" * 65_526


@pytest.mark.parametrize("window", [1, 7, 1000])
def test_a_tiny_stream_window_delivers_everything(window):
    with RawBackend(raw_echo) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address, stream_window=window) as peer:
        client = peer.open_websocket()
        data = os.urandom(300 * window)
        client.send_frame(BINARY, data)
        assert client.read_frame().payload == data
        assert max(f.length for f in peer.seen if f.type == h2peer.DATA) <= window


def test_the_connection_window_is_shared_and_obeyed():
    """65,535 bytes for the whole connection and none given back: not one byte more comes."""
    with RawBackend(by_path(flood=flood)) as backend, \
            gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address, connection_window=65_535) as peer:
        give, peer.h2.increment_flow_control_window = peer.h2.increment_flow_control_window, \
            lambda *_: None
        clients = [peer.open_websocket(path="/flood") for _ in range(3)]
        peer.run_until(lambda: sum(len(c.stream.buffer) for c in clients) == 65_535, what="all of it")
        peer.run_for(0.5)
        assert sum(len(c.stream.buffer) for c in clients) == 65_535
        peer.h2.increment_flow_control_window = give
        peer.h2.increment_flow_control_window(1 << 20)
        for client in clients:
            assert len(client.read_frame().payload) == 65_526


def test_a_backend_that_does_not_read_stops_exactly_its_own_stream():
    """The client may send one stream window and what the socket buffers take; then its own credit
    ends, while another stream of the connection is served."""
    def deaf(wire):
        answer_upgrade(wire)
        wire.go = threading.Event()
        wire.go.wait(20)
        wire.got = len(wire.read_frame().payload)

    with RawBackend(by_path(deaf=deaf, echo=raw_echo)) as backend, \
            gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        stuck, other = peer.open_websocket(path="/deaf"), peer.open_websocket(path="/echo")
        base = running.memory_kib()
        data = os.urandom(14 << 20)
        whole = frames.frame(BINARY, data, mask=b"wxyz")
        stuck.stream.timeout, sent = 1.5, 0
        with pytest.raises(TimeoutError):
            while sent < len(whole):
                stuck.send(whole[sent:sent + 65_536])
                sent += 65_536
        assert sent < len(whole)
        assert running.memory_kib() - base < 2048
        other.send_frame(TEXT, b"unharmed")
        assert other.read_frame().payload == b"unharmed"
        assert peer.ping() < 1
        left = stuck.stream.window()
        backend.wait_wire().go.set()
        peer.run_until(lambda: stuck.stream.window() > left, what="credit again")


def test_streams_of_one_connection_have_backend_connections_of_their_own():
    with RawBackend(record) as one, RawBackend(record) as two, \
            gateway([one.port, two.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        clients = [peer.open_websocket(path=f"/{n}") for n in range(6)]
        assert (len(one.wires), len(two.wires)) == (3, 3)
        for number, client in enumerate(clients):
            client.send_frame(TEXT, str(number).encode())
        for wire in one.wires + two.wires:
            wait_until(lambda: len(getattr(wire, "received", b"")) == 7)
            number = wire.head.split(b" ")[1][1:]
            assert frames.apply_mask(wire.received[6:], wire.received[2:6]) == number


def test_ping_frames_of_the_connection_are_answered():
    with RawBackend(raw_echo) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        assert peer.ping(b"no strm!") < 1
        client = peer.open_websocket()
        for number in range(10):
            peer.ping(b"%08d" % number)
        client.send_frame(TEXT, b"and the stream lives")
        assert client.read_frame().payload == b"and the stream lives"


def test_the_gateways_own_pings_run_inside_each_stream_and_their_pongs_are_swallowed():
    routes = [route(websocket={"keepalive": {"interval": "300ms", "timeout": "5s",
                                             "upstream_interval": "300ms",
                                             "upstream_timeout": "5s"}})]

    def serve(wire):
        answer_upgrade(wire)
        wire.seen, wire.pings = [], 0
        while True:
            got = wire.read_frame()
            if got.opcode == PING:
                wire.pings += 1
                wire.send_frame(PONG, got.payload)
            else:
                wire.seen.append((got.opcode, got.payload))

    with RawBackend(serve) as backend, gateway([backend.port], routes, listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        clients = [peer.open_websocket() for _ in range(3)]
        for client in clients:
            client.send_frame(PONG, b"foreign1")
            for _ in range(3):
                got = client.read_frame()
                assert (got.opcode, len(got.payload)) == (PING, 8)
                client.send_frame(PONG, got.payload)
        wait_until(lambda: all(wire.pings >= 2 and wire.seen for wire in backend.wires), what="Pings and Pongs")
        assert [wire.seen for wire in backend.wires] == [[(PONG, b"foreign1")]] * 3


def test_a_stream_that_answers_no_pings_is_given_up_and_its_neighbour_stays():
    routes = [route(websocket={"keepalive": {"interval": "300ms", "timeout": "1s",
                                             "upstream_interval": "off"}})]
    with RawBackend(record) as backend, gateway([backend.port], routes, listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        silent, lively = peer.open_websocket(), peer.open_websocket()
        for _ in range(8):
            got = lively.read_until(PING)
            lively.send_frame(PONG, got.payload)
        assert silent.stream.is_over
        wait_until(lambda: backend.wires[0].received, what="a Close at the backend")
        close = backend.wires[0].received
        assert frames.apply_mask(close[6:8], close[2:6]) == b"\x03\xe9"
        assert not lively.stream.is_over and not backend.wires[1].received
        running.wait_event(event="close", why="client_timed_out")


def test_a_protocol_error_on_one_stream_ends_that_stream_only():
    with RawBackend(raw_echo) as backend, gateway([backend.port], listener=PLAIN) as running, \
            h2peer.connect(running.address) as peer:
        bad, good = peer.open_websocket(), peer.open_websocket()
        bad.send(frames.frame(TEXT, b"unmasked"))
        assert bad.read_until(CLOSE).close_code == 1002
        good.send_frame(TEXT, b"fine")
        assert good.read_frame().payload == b"fine"
        assert not peer.goaways
