#!/usr/bin/env python3
"""Lets a WebSocket client that speaks HTTP/1.1 only use a server over HTTP/2 (RFC 8441): each of its
connections becomes a stream, and the bytes behind the handshake pass as they are, both ways. A FIN
is END_STREAM, a reset is RST_STREAM(CANCEL). Streams share few HTTP/2 connections.

Usage: h2_adapter.py PORT SERVER_PORT [--tls] [--streams N]

Both ports are on 127.0.0.1. --tls: the server is asked for h2 by ALPN, its certificate is not
checked. Built on Python's `h2`; nothing of the gateway is in here.
"""

import argparse
import asyncio
import contextlib
import pathlib
import socket
import ssl
import struct
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2 import events as h2events
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "EndToEnd"))
from frames import accept_value  # noqa: E402

CANCEL, WINDOW = 8, 1 << 20
# Fields of the HTTP/1.1 handshake that HTTP/2 has no use for.
DROPPED = {b"host", b"upgrade", b"connection", b"sec-websocket-key"}


class Stream:
    """What has come on one stream and waits for its TCP client."""

    def __init__(self):
        self.head, self.received = None, bytearray()
        #: END_STREAM of the server, of ours; RST_STREAM of either side
        self.ended = self.finished = self.reset = False
        self.changed = asyncio.Event()

    async def wait(self, condition):
        while not condition():
            self.changed.clear()
            await self.changed.wait()


class Session:
    """One HTTP/2 connection."""

    def __init__(self, secure):
        self.secure, self.streams, self.is_open = secure, {}, False
        self.h2 = H2Connection(H2Configuration(header_encoding=None))
        self.h2.local_settings = type(self.h2.local_settings)(client=True, initial_values={
            SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
        self.ready, self.window_opened = asyncio.Event(), asyncio.Event()

    async def open(self, port):
        context = None
        if self.secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost" if context else None)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW * 16)
        self.is_open = True
        self.flush()
        self.task = asyncio.create_task(self.serve())
        await asyncio.wait_for(self.ready.wait(), 10)

    def flush(self):
        data = self.h2.data_to_send()
        if data and self.is_open:
            self.writer.write(data)

    async def serve(self):
        try:
            while data := await self.reader.read(1 << 18):
                for event in self.h2.receive_data(data):
                    self.take(event)
                self.flush()
        except (OSError, ProtocolError) as error:
            print(f"session: {error!r}", file=sys.stderr)
        self.is_open = False
        self.writer.close()
        for stream in self.streams.values():
            stream.reset = True
            stream.changed.set()
        self.window_opened.set()

    def take(self, event):
        if isinstance(event, h2events.RemoteSettingsChanged):
            self.ready.set()
        if isinstance(event, (h2events.WindowUpdated, h2events.RemoteSettingsChanged)):
            self.window_opened.set()
        if isinstance(event, h2events.ConnectionTerminated):
            self.is_open = False
        if isinstance(event, h2events.DataReceived):
            self.h2.increment_flow_control_window(max(event.flow_controlled_length, 1))
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is None:
            return
        if isinstance(event, h2events.ResponseReceived):
            stream.head = event.headers
        elif isinstance(event, h2events.DataReceived):
            stream.received += event.data
        elif isinstance(event, h2events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2events.StreamReset):
            # Behind a whole response NO_ERROR says only that the rest of ours is not wanted.
            stream.finished = True
            stream.reset = not (stream.ended and event.error_code == 0)
            self.window_opened.set()
        else:
            return
        stream.changed.set()

    def request(self, fields):
        number = self.h2.get_next_available_stream_id()
        self.streams[number] = Stream()
        self.h2.send_headers(number, fields)
        self.flush()
        return number, self.streams[number]

    async def send(self, number, stream, data):
        """As the windows allow; False when the stream is gone."""
        position = 0
        while position < len(data):
            if stream.finished or stream.reset or not self.is_open:
                return False
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if room <= 0:
                self.window_opened.clear()
                await self.window_opened.wait()
                continue
            self.h2.send_data(number, data[position:position + room])
            position += room
            self.flush()
        await self.writer.drain()
        return True

    def quietly(self, call, *arguments):
        """A call on a stream that may be gone by now."""
        if self.is_open:
            with contextlib.suppress(ProtocolError, KeyError):
                call(*arguments)
            self.flush()


class Adapter:
    """The TCP server. At most `streams` at a time share a session."""

    def __init__(self, port, secure, streams):
        self.port, self.secure, self.most = port, secure, streams
        self.sessions, self.opening = [], asyncio.Lock()

    async def session(self):
        async with self.opening:
            self.sessions = [s for s in self.sessions if s.is_open]
            for session in self.sessions:
                if len(session.streams) < self.most:
                    return session
            session = Session(self.secure)
            await session.open(self.port)
            self.sessions.append(session)
            return session

    async def attend(self, reader, writer):
        session = number = None
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            session = await self.session()
            fields, key = translate(head, b"https" if self.secure else b"http")
            number, stream = session.request(fields)
            await asyncio.wait_for(stream.wait(lambda: stream.head or stream.reset), 30)
            if stream.reset:
                return abort(writer)
            status = dict(stream.head)[b":status"]
            writer.write(answer(status, stream.head, key))
            up = asyncio.create_task(upward(session, number, stream, reader))
            await downward(session, number, stream, writer)
            if stream.reset or status != b"200":
                up.cancel()
            await asyncio.wait({up}, timeout=30)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            print(f"connection: {error!r}", file=sys.stderr)
            abort(writer)
        finally:
            if number is not None:
                if not stream.reset and not (stream.ended and stream.finished):
                    session.quietly(session.h2.reset_stream, number, CANCEL)
                session.streams.pop(number, None)
            writer.close()


async def upward(session, number, stream, reader):
    """From the TCP client to the stream. A FIN becomes END_STREAM, a reset RST_STREAM(CANCEL)."""
    try:
        while data := await reader.read(1 << 16):
            if not await session.send(number, stream, data):
                return
        stream.finished = True
        session.quietly(session.h2.end_stream, number)
    except OSError:
        stream.reset = True
        stream.changed.set()
        session.quietly(session.h2.reset_stream, number, CANCEL)


async def downward(session, number, stream, writer):
    """From the stream to the TCP client; credit returns when the client has taken the bytes."""
    while True:
        await stream.wait(lambda: stream.received or stream.ended or stream.reset)
        if stream.received:
            data = bytes(stream.received)
            stream.received.clear()
            writer.write(data)
            await writer.drain()
            session.quietly(session.h2.increment_flow_control_window, len(data), number)
        elif stream.ended:
            return writer.write_eof()
        else:
            return abort(writer)


def translate(head, scheme):
    """(fields of the extended CONNECT, key) for an HTTP/1.1 handshake."""
    lines = head[:-4].split(b"\r\n")
    pairs = [(name.strip().lower(), value.strip())
             for name, _, value in (line.partition(b":") for line in lines[1:])]
    given = dict(pairs)
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", scheme),
              (b":authority", given[b"host"]), (b":path", lines[0].split(b" ")[1])]
    fields += [(name, value) for name, value in pairs if name not in DROPPED]
    return fields, given.get(b"sec-websocket-key", b"")


def answer(status, fields, key):
    """The HTTP/1.1 response head for the response of the stream."""
    if status == b"200":
        lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade",
                 b"Sec-WebSocket-Accept: " + accept_value(key)]
    else:
        lines = [b"HTTP/1.1 " + status + b" Other", b"Connection: close"]
    lines += [name + b": " + value for name, value in fields if not name.startswith(b":")]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def abort(writer):
    """Closes with a RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("server_port", type=int)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--streams", type=int, default=50)
    options = parser.parse_args()
    adapter = Adapter(options.server_port, options.tls, options.streams)
    server = await asyncio.start_server(adapter.attend, "127.0.0.1", options.port, limit=1 << 18)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
