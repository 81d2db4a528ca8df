#!/usr/bin/env python3
"""A conforming echo backend that negotiates permessage-deflate: deflate_backend.py PORT"""

import asyncio
import os
import sys

# Cases send one message in up to 65,536 frames; the default limit is lower.
os.environ.setdefault("WEBSOCKETS_MAX_FRAGMENTS", "1000000")

from websockets.asyncio.server import serve  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402


async def echo(connection):
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass


async def main(port):
    async with serve(echo, "127.0.0.1", port, max_size=None, compression="deflate",
                     ping_interval=None):
        await asyncio.get_running_loop().create_future()


asyncio.run(main(int(sys.argv[1])))
