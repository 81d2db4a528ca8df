"""A chat as a legacy backend has it: every connection is in the memory of this process, what one says
all hear, and nobody pings anybody. Behind a gateway that keeps connections up it need not."""

import asyncio
import signal

from websockets.asyncio.server import broadcast, serve

people = set()


async def attend(connection):
    people.add(connection)
    try:
        async for message in connection:
            broadcast(people, message)
    finally:
        people.remove(connection)


async def main():
    stop = asyncio.get_running_loop().create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.cancel)
    # No pings of its own, and every page may connect: both are the gateway's business.
    async with serve(attend, "0.0.0.0", 3000, ping_interval=None):
        try:
            await stop
        except asyncio.CancelledError:
            pass


if __name__ == "__main__":
    asyncio.run(main())
