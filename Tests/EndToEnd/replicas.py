"""Three gateways that share a configuration and nothing else, behind a balancer of TCP connections, each a
host of its own; three backends that say their names; and many clients, which come back when they are cut."""

import asyncio
import contextlib
import http.client
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile

import pytest
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

import networks
from harness import AsyncBackend, run_gateway, wait_until

BACKENDS = {f"10.77.0.{11 + number}": f"backend {number}" for number in range(3)}
REPLICAS = [f"10.77.0.{21 + number}" for number in range(3)]
BALANCER, CLIENTS = "10.77.0.2", "10.77.0.3"
PORT, ADMIN_PORT = 8080, 9900


def configuration(drain):
    """One file for all replicas: each has a loopback of its own for its admin listener."""
    return json.dumps({
        "workers": 1, "listeners": [{"bind": f"0.0.0.0:{PORT}"}],
        "admin": {"bind": f"127.0.0.1:{ADMIN_PORT}"},
        "upstreams": {"chat": {
            "endpoints": [f"{address}:{PORT}" for address in BACKENDS],
            "balance": "least_connections",
            "sticky": {"cookie": "BASCULE_CHAT", "secret": "the same secret in every replica"}}},
        "routes": [{"upstream": "chat"}], "timeouts": {"drain": f"{drain}s"}})


# A check that fails twice takes a replica out; until then who is refused by it is sent to another.
BALANCER_TEXT = f"""
defaults
  mode tcp
  timeout connect 1s
  timeout client 1m
  timeout server 1m
  option redispatch 1
listen gateways
  bind {BALANCER}:{PORT}
  balance roundrobin
  default-server check inter 1s fall 2 rise 1
""" + "".join(f"  server replica{index} {address}:{PORT}\n" for index, address in enumerate(REPLICAS))


def backend(address, name):
    """Answers requests with its name, and each message with its name, who brought it, and the message."""
    def answer(connection, request):
        if "Upgrade" not in request.headers:
            return connection.respond(200, name)

    async def serve(connection):
        replica = connection.remote_address[0]
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(json.dumps([name, replica, message]))

    return AsyncBackend(serve, host=address, port=PORT, process_request=answer)


class Site:
    """What runs. `gateways` are by their addresses. `on_down`: what the balancer does besides when it takes
    a replica out."""

    def __init__(self, network, drain, on_down):
        self.network, self.stack = network, contextlib.ExitStack()
        self.hosts = {address: network.plug(address) for address in [*REPLICAS, BALANCER, CLIENTS]}
        directory = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="bascule-replicas-"))
        self.directory = pathlib.Path(directory)
        self.file = self.directory / "bascule.yaml"
        self.file.write_text(configuration(drain))
        self.gateways, self.on_down = {}, on_down

    def start(self, address):
        with self.hosts[address].inside():
            self.gateways[address] = self.stack.enter_context(run_gateway(
                "", [], [(address, PORT)], ["run", "--config", str(self.file)], check_exit=False,
                may_end=True))

    def begin(self):
        with self.network.inside():
            for address, name in BACKENDS.items():
                self.stack.enter_context(backend(address, name))
        for address in REPLICAS:
            self.start(address)
        self.balance()

    def balance(self):
        file = self.directory / "haproxy.cfg"
        file.write_text(BALANCER_TEXT.replace("rise 1", f"rise 1 {self.on_down}"))
        with self.hosts[BALANCER].inside():
            process = subprocess.Popen(["haproxy", "-db", "-f", str(file)], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.stack.callback(process.wait)
            self.stack.callback(process.kill)

        def answers():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.ask(BALANCER, [None])
        wait_until(answers, 10, "the balancer")

    def ask(self, address, cookies):
        """The names of the backends that requests with these cookies reach, on one connection."""
        with self.hosts[CLIENTS].inside():
            asker = http.client.HTTPConnection(address, PORT, timeout=10)
            asker.connect()
        with contextlib.closing(asker):
            names = []
            for cookie in cookies:
                asker.request("GET", "/", headers={"Cookie": cookie} if cookie else {})
                names.append(asker.getresponse().read().decode())
            return names


@contextlib.contextmanager
def site(drain=5, on_down=""):
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    with networks.switch(BACKENDS) as network:
        running = Site(network, drain, on_down)
        with running.stack:
            running.begin()
            yield running


class Client:
    """Says something every second and hears it back. It keeps its cookie, as a browser does, and when it
    is cut it comes back as Socket.IO's clients do: after 1 s, then twice as long up to 5 s, each time
    half as much more or less."""

    def __init__(self, crowd, number):
        self.crowd, self.number, self.said = crowd, number, 0
        self.cookie = None
        #: the backend and the replica it is at; no replica while it is cut
        self.backend, self.replica = None, None
        #: every backend it was at
        self.backends = set()
        #: when it was cut and with what code, and when it had an answer again
        self.cuts, self.returns = [], []

    async def live(self):
        attempt = 0
        while not self.crowd.leaving.done():
            try:
                fields = Headers({"Cookie": self.cookie} if self.cookie else {})
                async with connect(f"ws://{BALANCER}:{PORT}/", additional_headers=fields,
                                   ping_interval=None, compression=None, open_timeout=5,
                                   close_timeout=2) as socket:
                    attempt = 0
                    await self.converse(socket)
            except (OSError, InvalidHandshake, InvalidMessage, EOFError):
                pass
            except ConnectionClosed:
                self.cut(socket.close_code)
            await asyncio.wait({self.crowd.leaving},
                               timeout=min(5, 2 ** attempt) * random.uniform(0.5, 1.5))
            attempt += 1

    async def converse(self, socket):
        for given in socket.response.headers.get_all("Set-Cookie"):
            self.cookie = given.split(";")[0]
        while not self.crowd.leaving.done():
            self.said += 1
            await socket.send(f"{self.number} {self.said}")
            name, replica, message = json.loads(await asyncio.wait_for(socket.recv(), 10))
            assert message == f"{self.number} {self.said}"
            self.heard(name, replica)
            await asyncio.wait({self.crowd.leaving}, timeout=1)

    def heard(self, name, replica):
        if self.replica is None:
            self.returns.append(self.crowd.now())
            self.crowd.news.set()
        self.backend, self.replica = name, replica
        self.backends.add(name)

    def cut(self, code):
        self.cuts.append((self.crowd.now(), code))
        self.replica = None
        self.crowd.news.set()


class Crowd:
    def __init__(self, count):
        self.now = asyncio.get_running_loop().time
        self.leaving = asyncio.get_running_loop().create_future()
        self.news = asyncio.Event()
        self.clients = [Client(self, number) for number in range(count)]
        self.tasks = []

    async def open(self):
        """A few at a time: the machine is small, and this is no test of that."""
        for client in self.clients:
            self.tasks.append(asyncio.create_task(client.live()))
            if client.number % 20 == 19:
                await self.wait(lambda: all(one.returns for one in self.clients[:client.number + 1]),
                                "everybody to be let in")

    async def wait(self, condition, what, seconds=20):
        deadline = self.now() + seconds
        while not condition():
            self.news.clear()
            left = deadline - self.now()
            assert left > 0, f"waited {seconds} s for {what}"
            # A client whose task has failed says nothing any more.
            for task in self.tasks:
                assert not task.done(), task.exception()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.news.wait(), min(left, 0.5))

    def at(self, *replicas):
        return [client for client in self.clients if client.replica in replicas]

    async def leave(self):
        """Everybody closes within a second."""
        self.leaving.set_result(None)
        await asyncio.wait(self.tasks, timeout=10)


@contextlib.asynccontextmanager
async def crowd(count):
    made = Crowd(count)
    try:
        await made.open()
        yield made
    finally:
        await made.leave()


def summary(seconds):
    return f"median {statistics.median(seconds):.1f} s, the last {max(seconds):.1f} s"
