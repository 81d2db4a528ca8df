"""Applications that come with transports of their own: SignalR's sequence (negotiate, then WebSockets,
Server-Sent Events or long polling) as its protocol pages have it, and a real Socket.IO."""

import asyncio
import contextlib
import os
import threading

import pytest

import frames
from frames import TEXT
from http_backends import HTTPBackend
from http_fronts import BOTH, HTTP1, dial, proxy
from signalr_hub import END, HELLO, Hub, call, message, negotiate, post


@pytest.mark.parametrize("way", BOTH)
def test_signalr_over_websockets(way):
    with HTTPBackend(Hub(1)) as backend, proxy(backend) as running, dial(way, running) as front:
        path = negotiate(front)
        socket = (frames.open_websocket(running.address, path=path) if way == HTTP1
                  else front.peer.open_websocket(path=path))
        socket.send_frame(TEXT, HELLO.encode())
        assert socket.read_until(TEXT).payload == b"{}" + END.encode()
        for number in range(100):
            socket.send_frame(TEXT, message(number).encode())
            assert socket.read_until(TEXT).payload.decode() == message(number)
        socket.send_close(1000)
        assert socket.read_until(frames.CLOSE).close_code == 1000


@pytest.mark.parametrize("way", BOTH)
def test_signalr_over_server_sent_events(way):
    with HTTPBackend(Hub(1)) as backend, proxy(backend) as running, dial(way, running) as front:
        path = negotiate(front)
        stream = front.request(path, fields=[("Accept", "text/event-stream")])
        assert stream.wait_head() == 200
        assert stream.field("content-type") == "text/event-stream"
        assert stream.read(5) == b":\r\n\r\n"
        post(way, running, path, HELLO)
        for text in ["{}", *map(message, range(100))]:
            wanted = f"data: {text}{END}\r\n\r\n".encode()
            if text != "{}":
                post(way, running, path, text + END)
            assert stream.read(len(wanted)) == wanted
        with dial(way, running) as other:
            assert call(other, path, "DELETE") == (202, "")
        assert stream.read_all() == b""


@pytest.mark.timeout(150)
@pytest.mark.parametrize("way", BOTH)
def test_signalr_over_long_polling(way):
    """With BASCULE_LONG=1 one poll is silent for the 90 s that SignalR lets it be."""
    silent = 90 if os.environ.get("BASCULE_LONG") else 1.5
    with HTTPBackend(Hub(silent)) as backend, proxy(backend) as running:
        with dial(way, running, timeout=silent + 10) as front:
            path = negotiate(front)
            assert call(front, path) == (200, "")
            post(way, running, path, HELLO)
            assert call(front, path) == (200, "{}" + END)
            for number in range(50):
                timer = threading.Timer(0.01, post, [way, running, path, message(number) + END])
                timer.start()
                assert call(front, path) == (200, message(number) + END)
                timer.join()
            assert call(front, path) == (200, "")  # nothing came
            with dial(way, running) as other:
                assert call(other, path, "DELETE") == (202, "")
            assert call(front, path) == (204, "")


@pytest.mark.parametrize("way", BOTH)
def test_a_token_of_nobody_is_answered_by_the_application(way):
    with HTTPBackend(Hub(1)) as backend, proxy(backend) as running, dial(way, running) as front:
        assert call(front, "/chat?id=wrong") == (404, "No Connection with that ID")
        assert call(front, "/chat?id=wrong", "POST", b"x")[0] == 404


# Socket.IO

class SocketIOServer:
    """python-socketio under aiohttp on a loop of its own thread: rooms, and an echo with
    acknowledgement."""

    def __init__(self):
        self.loop, self.ready = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.main())

    async def main(self):
        import socketio
        from aiohttp import web
        server = socketio.AsyncServer(async_mode="aiohttp", ping_interval=2)
        self.done = asyncio.Event()

        @server.event
        async def join(sid, room):
            await server.enter_room(sid, room)
            return room

        @server.event
        async def say(sid, room, text):
            await server.emit("said", text, room=room)

        @server.event
        async def echo(sid, data):
            return data

        application = web.Application()
        server.attach(application)
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.done.wait()
        await server.shutdown()
        await runner.cleanup()

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.done.set)
        self.thread.join(timeout=10)


async def leave(client):
    # The library waits for a poll that is under way to time out, which is its own business.
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(client.disconnect(), 0.5)
    if client.eio.http:
        await client.eio.http.close()


async def converse(url, transports, clients):
    """Clients in two rooms, each says one thing to its room; what each has heard."""
    import socketio
    everyone, heard = [], [[] for _ in range(clients)]
    for number in range(clients):
        client = socketio.AsyncClient(reconnection=False)
        client.on("said", heard[number].append)
        await client.connect(url, transports=transports, wait_timeout=10)
        assert await client.call("join", f"room {number % 2}", timeout=10) == f"room {number % 2}"
        everyone.append(client)
    for number, client in enumerate(everyone):
        await client.emit("say", (f"room {number % 2}", f"from {number}"))
        binary = os.urandom(20_000)
        assert await client.call("echo", binary, timeout=10) == binary
    for _ in range(200):
        if all(len(words) >= clients // 2 for words in heard):
            break
        await asyncio.sleep(0.05)
    found = {client.transport() for client in everyone}
    await asyncio.gather(*(leave(client) for client in everyone))
    return heard, found


@pytest.mark.parametrize("transports, last", [
    (["polling"], "polling"), (["websocket"], "websocket"), (["polling", "websocket"], "websocket")])
def test_socket_io_rooms_over_every_transport(transports, last):
    """With both, engine.io begins with polling and changes to WebSocket under way."""
    pytest.importorskip("socketio")
    clients = 6
    with SocketIOServer() as backend, proxy(backend) as running:
        url = f"http://127.0.0.1:{running.ports[0]}"
        heard, found = asyncio.run(asyncio.wait_for(converse(url, transports, clients), 25))
        assert found == {last}
        for number, words in enumerate(heard):
            assert sorted(words) == [f"from {n}" for n in range(clients) if n % 2 == number % 2]
