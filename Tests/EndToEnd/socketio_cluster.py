"""Three Socket.IO servers with one Redis, and many clients that keep book of what happens to them."""

import asyncio
import collections
import contextlib
import itertools
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

import aiohttp
import pytest
import redis
import socketio

from harness import free_port, wait_until

SERVER = pathlib.Path(__file__).with_name("socketio_server.py")
WAYS = [["polling"], ["websocket"], ["polling", "websocket"]]


class Cluster:
    """The processes. `ports` has the port of each server by its name."""

    def __init__(self, names, redis_port):
        self.ports, self.processes = {name: free_port() for name in names}, {}
        self.redis_port = redis_port
        self.database = redis.Redis(port=redis_port)

    def start(self, name):
        command = [sys.executable, str(SERVER), name, str(self.ports[name]),
                   f"redis://127.0.0.1:{self.redis_port}/0"]
        self.processes[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def wait_ready(self, name):
        assert self.processes[name].stdout.readline() == "ready\n", f"{name} did not start"

    def kill(self, name):
        """SIGKILL: its connections end without a word."""
        self.processes[name].kill()
        self.processes[name].wait()
        self.processes[name].stdout.close()

    def listeners(self):
        """Servers that hear what is said in the rooms: each subscribes behind its first client."""
        return self.database.pubsub_numsub("socketio")[0][1]


@contextlib.contextmanager
def run_redis():
    """A Redis that keeps nothing; its port."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bascule-redis-") as directory:
        process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "",
             "--appendonly", "no", "--dir", directory],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers():
            with contextlib.suppress(redis.exceptions.ConnectionError):
                return redis.Redis(port=port).ping()
        try:
            wait_until(answers, 10, "Redis")
            yield port
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def run_cluster(names):
    with run_redis() as port:
        cluster = Cluster(names, port)
        try:
            for name in names:
                cluster.start(name)
            for name in names:
                cluster.wait_ready(name)
            yield cluster
        finally:
            for name in cluster.processes:
                cluster.kill(name)


class Member:
    """A client that stays in one room, whatever happens. It keeps its cookies, as a browser does."""

    def __init__(self, crowd, number):
        self.crowd, self.number = crowd, number
        self.room, self.transports = None, WAYS[number % len(WAYS)]
        #: what it has heard, and how often its session ended
        self.heard, self.losses = [], 0
        self.session, self.server, self.joined = None, None, asyncio.Event()

    async def open(self):
        self.session = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), trace_configs=[self.crowd.trace],
            connector=aiohttp.TCPConnector(ssl=self.crowd.context or True))
        self.client = socketio.AsyncClient(
            http_session=self.session, reconnection_delay=0.3, reconnection_delay_max=1,
            randomization_factor=0.3)
        self.client.on("connect", self.connected)
        self.client.on("disconnect", self.disconnected)
        self.client.on("said", self.said)
        await self.client.connect(self.crowd.url, transports=self.transports, wait_timeout=10)
        await asyncio.wait_for(self.joined.wait(), 15)

    def connected(self):
        # Not awaited here: the answer is read by whoever calls this.
        self.joining = asyncio.ensure_future(self.join())

    async def join(self):
        sid = self.client.eio.sid
        with contextlib.suppress(socketio.exceptions.SocketIOError):
            server = await self.client.call("who", timeout=15)
            self.room = self.room or self.crowd.next_room(server)
            await self.client.call("join", self.room, timeout=15)
            self.crowd.servers[sid] = self.server = server
            self.joined.set()

    def disconnected(self, *_):
        if not self.crowd.is_leaving:
            self.losses += 1
            self.joined.clear()

    def said(self, room, number):
        assert room == self.room
        self.heard.append(number)
        self.crowd.news.set()


class Crowd:
    """All clients. `answers` is every answer they got, as (sid or None, status or error)."""

    def __init__(self, url, count, rooms, context=None):
        self.url, self.rooms, self.context = url, rooms, context
        self.answers, self.servers = [], {}
        self.news, self.is_leaving = asyncio.Event(), False
        self.trace = aiohttp.TraceConfig()
        self.trace.on_request_end.append(self.note_answer)
        self.trace.on_request_exception.append(self.note_failure)
        self.members = [Member(self, number) for number in range(count)]
        self.numbers, self.places = itertools.count(), collections.Counter()

    async def note_answer(self, _session, _context, parameters):
        self.note(parameters.url, parameters.response.status)

    async def note_failure(self, _session, _context, parameters):
        self.note(parameters.url, repr(parameters.exception))

    def note(self, url, outcome):
        if not self.is_leaving:
            query = urllib.parse.parse_qs(str(url.query_string))
            self.answers.append((query.get("sid", [None])[0], outcome))

    def refused(self, but=None):
        """What was not answered as it should be, without the sessions of the server `but`."""
        return [(sid, outcome) for sid, outcome in self.answers if outcome not in (200, 101)
                and (sid is None or self.servers.get(sid) != but)]

    async def open(self, members):
        """Not all at once: the machine is small, and this is no test of that."""
        gate = asyncio.Semaphore(25)

        async def enter(member):
            async with gate:
                await member.open()
        await asyncio.gather(*map(enter, members))

    def next_room(self, server):
        """In turn for each server, so that all rooms are everywhere."""
        self.places[server] += 1
        return f"room {self.places[server] % self.rooms}"

    def at(self, *servers):
        return [member for member in self.members if member.server in servers]

    def listeners(self, room, members):
        return [member for member in members if member.room == room]

    async def say(self, speaker, members):
        """`speaker` says something, and each of `members` in its room hears it; its number."""
        number = next(self.numbers)
        assert await speaker.client.call("say", (speaker.room, number), timeout=10) == number
        audience = self.listeners(speaker.room, members)
        await self.wait(lambda: all(number in member.heard[-50:] for member in audience),
                        f"everybody in {speaker.room} to hear {number} of {speaker.number}")
        return number

    async def talk(self, speaker, members, until):
        """Says one thing after the other; what it has said."""
        spoken = []
        while not until.is_set():
            spoken.append(await self.say(speaker, members))
        return spoken

    async def wait(self, condition, what, seconds=10):
        """Until something has been heard that makes it true."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            self.news.clear()
            left = deadline - asyncio.get_running_loop().time()
            assert left > 0, f"waited {seconds} s for {what}"
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.news.wait(), min(left, 0.5))

    async def leave(self):
        """Ends the clients' tasks first, or they would come back."""
        self.is_leaving = True
        for _ in range(3):
            # Some take a cancellation for an answer and go on.
            if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=2)
        for member in self.members:
            if member.session:
                await member.session.close()
