"""The main job: messages through the gateway between clients and servers nobody here wrote."""

import asyncio
import contextlib
import hashlib
import os
import random
import threading

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import connect
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws

import frames
from frames import BINARY, CONTINUATION, PING, PONG, TEXT
from harness import AsyncBackend, MiddleBox, RawBackend, echo, gateway, raw_echo, record

SIZES = [0, 1, 7, 125, 126, 127, 4095, 65_535, 65_536, 65_537, 262_144, 1_000_003]


def run_wsproto_server(wire):
    """An echo server made of wsproto, on a raw connection whose head was read already."""
    connection = WSConnection(ConnectionType.SERVER)
    connection.receive_data(wire.head + b"\r\n\r\n" + wire.buffer)
    while True:
        for event in connection.events():
            reply = b""
            if isinstance(event, ws.Request):
                reply = connection.send(ws.AcceptConnection())
            elif isinstance(event, (ws.TextMessage, ws.BytesMessage)):
                reply = connection.send(type(event)(
                    data=event.data, message_finished=event.message_finished))
            elif isinstance(event, ws.Ping):
                reply = connection.send(event.response())
            elif isinstance(event, ws.CloseConnection):
                wire.send(connection.send(event.response()))
                return
            wire.send(reply)
        connection.receive_data(wire.sock.recv(1 << 16) or None)


class WsprotoClient:
    """A blocking client made of wsproto."""

    def __init__(self, address):
        self.sock = frames.connect(address)
        self.connection = WSConnection(ConnectionType.CLIENT)
        self.sock.sendall(self.connection.send(ws.Request(host="gateway.example", target="/")))
        assert isinstance(self.next_event(), ws.AcceptConnection)

    def next_event(self):
        while True:
            for event in self.connection.events():
                return event
            self.connection.receive_data(self.sock.recv(1 << 16) or None)

    def send(self, event):
        self.sock.sendall(self.connection.send(event))

    def receive_message(self):
        data = None
        while True:
            event = self.next_event()
            if isinstance(event, ws.Ping):
                self.send(event.response())
            elif isinstance(event, (ws.TextMessage, ws.BytesMessage)):
                data = event.data if data is None else data + event.data
                if event.message_finished:
                    return data
            else:
                raise AssertionError(event)


def test_messages_of_all_sizes_between_websockets_client_and_server():
    with AsyncBackend(echo) as backend, gateway([backend.port]) as running:
        with connect(running.url(), max_size=None, compression=None) as client:
            for size in SIZES:
                data = os.urandom(size)
                client.send(data)
                assert client.recv(timeout=10) == data
            client.send("gr\u00fc\u00df \U0001f980" * 1000)
            assert client.recv(timeout=10) == "gr\u00fc\u00df \U0001f980" * 1000
        assert client.close_code == 1000


def test_a_message_of_16_mib_passes_and_one_byte_more_is_too_big():
    data = os.urandom(16 << 20)
    with AsyncBackend(echo) as backend, gateway([backend.port]) as running:
        with connect(running.url(), max_size=None, compression=None) as client:
            client.send(data)
            assert hashlib.sha256(client.recv(timeout=30)).digest() == hashlib.sha256(data).digest()
        with contextlib.suppress(Exception), \
                connect(running.url(), max_size=None, compression=None) as client:
            client.send(data + b"!")
            client.recv(timeout=10)
        assert client.close_code == 1009


def test_wsproto_client_with_websockets_server():
    with AsyncBackend(echo) as backend, gateway([backend.port]) as running:
        client = WsprotoClient(running.address)
        for size in SIZES:
            data = os.urandom(size)
            client.send(ws.BytesMessage(data=data))
            assert client.receive_message() == data
        client.send(ws.CloseConnection(code=1000, reason="done"))
        event = client.next_event()
        assert isinstance(event, ws.CloseConnection) and event.code == 1000


def test_websockets_client_with_wsproto_server():
    with RawBackend(run_wsproto_server) as backend, gateway([backend.port]) as running:
        with connect(running.url(), max_size=None, compression=None) as client:
            for size in SIZES:
                data = os.urandom(size)
                client.send(data)
                assert client.recv(timeout=10) == data
        assert client.close_code == 1000


@pytest.mark.parametrize("side", ["client", "backend"])
def test_segments_of_one_byte(side):
    with AsyncBackend(echo) as backend, contextlib.ExitStack() as stack:
        target = backend.port
        if side == "backend":
            box = stack.enter_context(MiddleBox(("127.0.0.1", backend.port), piece=1))
            target = box.port
        running = stack.enter_context(gateway([target]))
        address = running.address
        if side == "client":
            address = stack.enter_context(MiddleBox(running.address, piece=1)).address
        with connect(f"ws://{address[0]}:{address[1]}/", compression=None) as client:
            for size in [0, 1, 125, 126, 3000]:
                data = os.urandom(size)
                client.send(data)
                assert client.recv(timeout=20) == data
            client.send("text, too")
            assert client.recv(timeout=10) == "text, too"
        assert client.close_code == 1000


def test_fragmented_message_with_control_frames_between():
    with RawBackend(raw_echo) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address) as client:
            client.send_frame(TEXT, b"one ", fin=False)
            client.send_frame(PING, b"between")
            client.send_frame(CONTINUATION, b"", fin=False)
            client.send_frame(CONTINUATION, b"two ", fin=False)
            client.send_frame(PONG, b"unasked")
            client.send_frame(CONTINUATION, b"three", fin=True)
            got = [client.read_frame() for _ in range(5)]
    assert [(f.opcode, f.payload, f.fin) for f in got] == [
        (TEXT, b"one ", False), (PONG, b"between", True), (CONTINUATION, b"", False),
        (CONTINUATION, b"two ", False), (CONTINUATION, b"three", True)]
    assert all(f.mask is None for f in got)


def test_foreign_pings_and_pongs_pass_byte_for_byte_both_ways():
    with RawBackend(record) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address) as client:
            wire = backend.wait_wire()
            sent = b"".join([
                frames.frame(PING, b"p1", mask=b"\x01\x02\x03\x04"),
                frames.frame(PONG, b"", mask=b"\xff\x00\xff\x00"),
                frames.frame(PING, os.urandom(125), mask=b"\x00\x00\x00\x00"),
                frames.frame(BINARY, os.urandom(70_000), mask=b"abcd")])
            client.send(sent)
            back = frames.frame(PING, b"from the backend") + frames.frame(PONG, b"12345678")
            wire.send(back)
            while len(client.buffer) < len(back):
                client.fill()
            assert client.buffer == back
            from harness import wait_until
            wait_until(lambda: len(wire.received) >= len(sent))
            assert wire.received == sent


def test_random_fragments_and_segments_arrive_unchanged():
    """Hashed messages from one seed, cut anywhere, echoed by a raw backend."""
    generator = random.Random(20_261_121)
    with RawBackend(raw_echo) as backend, gateway([backend.port]) as running:
        with frames.open_websocket(running.address, timeout=20) as client:
            stream, wanted = b"", []
            for _ in range(300):
                data = generator.randbytes(int(2 ** generator.uniform(0, 14)))
                wanted.append(data)
                cuts = sorted(generator.choices(range(len(data) + 1), k=generator.randrange(4)))
                parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)])]
                for index, part in enumerate(parts):
                    stream += frames.frame(
                        BINARY if index == 0 else CONTINUATION, part,
                        fin=index == len(parts) - 1, mask=generator.randbytes(4))

            def send():
                position = 0
                while position < len(stream):
                    size = generator.choice([1, 2, 13, 1400, 9000, 70_000])
                    client.send(stream[position:position + size])
                    position += size

            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            for data in wanted:
                got = b""
                while True:
                    part = client.read_frame()
                    got += part.payload
                    if part.fin:
                        break
                assert got == data
            sender.join(timeout=5)


@pytest.mark.timeout(120)
def test_2000_connections_at_once():
    async def one(url, gate):
        async with connect_async(url, compression=None, open_timeout=60, ping_interval=None,
                                 max_size=None) as client:
            gate.append(1)
            while len(gate) < 2000:
                await asyncio.sleep(0.2)
            for _ in range(3):
                data = os.urandom(100)
                await client.send(data)
                assert await asyncio.wait_for(client.recv(), 60) == data

    async def all_of_them(url):
        gate = []
        limit = asyncio.Semaphore(200)

        async def opened():
            # At most 200 in their handshake; all 2,000 are open before the first message goes.
            await limit.acquire()
            asyncio.get_running_loop().call_later(0.3, limit.release)
            await one(url, gate)
        await asyncio.gather(*(opened() for _ in range(2000)))

    with AsyncBackend(echo) as backend, gateway([backend.port]) as running:
        asyncio.run(asyncio.wait_for(all_of_them(running.url()), 110))


def test_subprotocol_and_request_fields_reach_both_sides():
    async def answer(connection):
        await connection.send(f"{connection.subprotocol} {connection.request.headers['X-Tenant']}")

    with AsyncBackend(answer, subprotocols=["chat.v2"]) as backend, \
            gateway([backend.port]) as running:
        with connect(running.url(), subprotocols=["chat.v1", "chat.v2"], compression=None,
                     additional_headers={"X-Tenant": "blue"}) as client:
            assert client.subprotocol == "chat.v2"
            assert client.recv(timeout=5) == "chat.v2 blue"


@pytest.mark.parametrize("mode", ["passthrough", "off"])
def test_permessage_deflate_by_mode(mode):
    import json
    routes = [json.dumps({"path": "/", "upstream": "backend", "websocket": {"compression": mode}})]
    with AsyncBackend(echo, compression="deflate") as backend, \
            gateway([backend.port], routes) as running:
        with connect(running.url(), max_size=None) as client:
            negotiated = [extension.name for extension in client.protocol.extensions]
            assert negotiated == (["permessage-deflate"] if mode == "passthrough" else [])
            for text in ["", "a" * 100_000, "compress me " * 50]:
                client.send(text)
                assert client.recv(timeout=5) == text


def test_a_tunnel_passes_bytes_unread():
    import json
    routes = [json.dumps({"path": "/", "upstream": "backend", "websocket": {"mode": "tunnel"}})]
    with RawBackend(record) as backend, gateway([backend.port], routes) as running:
        with frames.open_websocket(running.address) as client:
            wire = backend.wait_wire()
            nonsense = b"\xff\x00 no frame at all" * 1000
            client.send(nonsense)
            wire.send(nonsense)
            while len(client.buffer) < len(nonsense):
                client.fill()
            assert client.buffer == nonsense
            from harness import wait_until
            wait_until(lambda: len(wire.received) >= len(nonsense))
            assert wire.received == nonsense
