"""Gateways that replace each other, and clients that come all the time."""

import asyncio
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import frames
import harness
from harness import Gateway, wait_listening, wait_until

STARTED, FAILED, DONE = ("starting a successor", "no successor: this process goes on",
                         "a successor serves: draining")


def respond(path, body):
    return json.dumps({"path": path, "respond": {"body": body}})


class Lineage(Gateway):
    """A gateway, and those that took its place: they write to the same log. All are ended at the end."""

    def __init__(self, text, ports, program=None, environment=None, before=(), **keywords):
        self.directory_object = tempfile.TemporaryDirectory(prefix="bascule-e2e-")
        self.path = pathlib.Path(self.directory_object.name) / "bascule.yaml"
        self.path.write_text(text)
        keywords.setdefault("env", os.environ)
        keywords["env"] = {**keywords["env"], "NO_COLOR": "1", **(environment or {})}
        process = subprocess.Popen(
            [*before, str(program or harness.BINARY), "run", "--config", str(self.path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", **keywords)
        super().__init__(process, ports, self.directory_object.name)
        self.processes = [process.pid]

    @property
    def newest(self):
        return self.processes[-1]

    def living(self):
        self.process.poll()
        return [pid for pid in self.processes if pathlib.Path(f"/proc/{pid}/exe").exists()
                and not pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].startswith(" Z")]

    def adopt(self):
        """The process that was started last is the newest."""
        self.processes.append([e["process"] for e in self.events if e.get("message") == STARTED][-1])

    def get(self, path):
        sock = frames.connect(self.address)
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := sock.recv(65536):
            answer += more
        sock.close()
        return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2].decode()

    def __enter__(self):
        wait_listening(self.process, [("127.0.0.1", port) for port in self.ports], self.lines)
        return self

    def __exit__(self, *_):
        started = {e["process"] for e in self.events if e.get("message") == STARTED}
        self.processes += sorted(started - set(self.processes))
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            for pid in self.living():
                os.kill(pid, number)
            try:
                wait_until(lambda: self.living() == [], 4, "the end of all processes")
                break
            except AssertionError:
                if number == signal.SIGKILL:
                    raise
        self.process.wait()
        self.reader.join(timeout=2)
        self.directory_object.cleanup()


def count(line, *messages):
    return sum(e.get("message") in messages for e in line.events)


def upgrade(line, text=None, succeeds=True):
    """Sends SIGUSR2, with another configuration if there is one, and waits for what comes of it."""
    before = count(line, DONE, FAILED)
    if text is not None:
        line.path.write_text(text)
    os.kill(line.newest, signal.SIGUSR2)
    wait_until(lambda: count(line, DONE, FAILED) > before, 15, "the end of an upgrade")
    last = [e for e in line.events if e.get("message") in (DONE, FAILED)][-1]
    assert (last["message"] == DONE) == succeeds, "\n".join(line.lines[-10:])
    if succeeds:
        line.adopt()
    return last


class Arrivals:
    """New connections at a steady pace, in a process of their own: each asks for /v, and every tenth
    opens a WebSocket and says something on it."""

    def __init__(self, address, rate, seconds):
        import multiprocessing
        context = multiprocessing.get_context("spawn")
        self.inbox, outbox = context.Pipe()
        self.process = context.Process(target=run_arrivals, args=(address, rate, seconds, outbox))
        self.process.start()
        assert self.inbox.recv() == "ready"
        self.seconds = seconds

    def finish(self):
        assert self.inbox.poll(self.seconds + 60), "the clients do not come to an end"
        self.done, self.failures, self.answers, self.slowest = self.inbox.recv()
        self.process.join(10)


def run_arrivals(address, rate, seconds, outbox):
    asyncio.run(arrive(address, rate, seconds, outbox))


async def arrive(address, rate, seconds, outbox):
    failures, answers, slowest, done = [], set(), [0], [0]

    async def one(number):
        begun = time.monotonic()
        try:
            # Without room for one more client this would only queue here.
            async with asyncio.timeout(20):
                answers.add(await (visit_socket if number % 10 == 0 else visit_page)(address))
            done[0] += 1
        except Exception as error:
            failures.append((round(time.monotonic() - start, 3), number, repr(error)))
        slowest[0] = max(slowest[0], time.monotonic() - begun)

    outbox.send("ready")
    start, tasks = time.monotonic(), set()
    for number in range(rate * seconds):
        due = start + number / rate
        if (pause := due - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        task = asyncio.create_task(one(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    while tasks:
        await asyncio.wait(tasks)
    outbox.send((done[0], failures[:20], answers, slowest[0]))


async def visit_page(address):
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(b"GET /v HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:100]
        return answer.partition(b"\r\n\r\n")[2]
    finally:
        writer.close()


async def visit_socket(address):
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(frames.upgrade_request()[0])
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head[:100]
        writer.write(frames.frame(frames.TEXT, b"hello", mask=b"mask"))
        answer = await reader.readexactly(4)
        # Its process may have been replaced in the meantime, and says so.
        if answer != frames.frame(frames.CLOSE, frames.close_payload(1012)):
            answer += await reader.readexactly(3)
            assert answer == frames.frame(frames.TEXT, b"hello"), answer
        return b""
    finally:
        writer.close()
