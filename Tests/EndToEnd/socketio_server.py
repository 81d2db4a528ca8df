"""One of several Socket.IO servers that share rooms through Redis: python-socketio under aiohttp, run as
a process of its own by the tests: socketio_server.py NAME PORT REDIS_URL. It says when it is ready."""

import asyncio
import sys

import socketio
from aiohttp import web

#: Short, so that polls are answered and sent anew many times in a test.
PING_INTERVAL = 4


async def main(name, port, redis):
    server = socketio.AsyncServer(
        async_mode="aiohttp", client_manager=socketio.AsyncRedisManager(redis),
        ping_interval=PING_INTERVAL, ping_timeout=20)

    @server.event
    async def who(sid):
        return name

    @server.event
    async def join(sid, room):
        await server.enter_room(sid, room)

    @server.event
    async def say(sid, room, number):
        await server.emit("said", (room, number), room=room)
        return number

    application = web.Application()
    server.attach(application)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
