"""What the log says of WebSockets that are told to go: one line for all workers, and few of them."""

import contextlib
import signal
import time

import frames
from admin import CHANGE, administered, ask, wait_sample
from frames import CLOSE
from harness import (RawBackend, configuration, free_port, gateway, raw_echo, record,
                     wait_until)
from upgrades import Lineage, upgrade

PART, PROGRESS, TOLD = ("telling a part of the WebSockets to go", "telling WebSockets to go",
                        "WebSockets have been told to go")
BEGIN, END, CUT = "draining", "drained", "drained, and WebSockets were cut off"


def lines(running, *messages):
    return [e for e in running.events if e.get("message") in messages]


@contextlib.contextmanager
def open_sockets(running, count):
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(frames.open_websocket(running.address)) for _ in range(count)]
        # A client has its 101 a moment before the gateway counts it.
        wait_until(lambda: sum(e.get("event") == "open" for e in running.events) == count,
                   what="a line for each")
        yield found


def answer_closes(sockets, count):
    """Answers the Close of so many of `sockets`, whichever comes first."""
    import selectors
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            selector.register(one.sock, selectors.EVENT_READ, one)
        deadline = time.monotonic() + 20
        while count > 0 and time.monotonic() < deadline:
            for key, _ in selector.select(1):
                selector.unregister(key.fileobj)
                close = key.data.read_until(CLOSE)
                key.data.send_frame(CLOSE, close.payload)
                count -= 1


def test_a_drain_of_many_tells_how_it_goes():
    with RawBackend(raw_echo) as backend, gateway(
            [backend.port], timeouts={"drain": "5s"}, may_end=True) as running, \
            open_sockets(running, 240) as sockets:
        running.process.send_signal(signal.SIGTERM)
        answer_closes(sockets, 240)
        assert running.process.wait(10) == 0
        wait_until(lambda: lines(running, "stopped"), what="the last line")
        begin, = lines(running, BEGIN)
        assert (begin["why"], begin["websockets"], begin["over_ms"]) == ("signal", 240, 5000)
        progress = lines(running, PROGRESS)
        # Nine tenths of the time are for telling, and none comes within a second of the one before.
        assert 3 <= len(progress) <= 4
        for line in progress:
            assert line["of"] == 240 and line["percent"] == line["told"] * 100 // 240
            assert 240 - line["told"] <= line["open"] <= 240
        assert all(a["percent"] + 10 <= b["percent"] for a, b in zip(progress, progress[1:]))
        end, = lines(running, END, CUT)
        assert end["message"] == END and end["level"] == "info" and end["cut_off"] == 0
        assert 4000 <= end["duration_ms"] <= 6500


def test_a_drain_of_a_few_has_two_lines_and_warns_of_those_that_are_cut_off():
    timeouts = {"drain": "1s", "close": "30s"}
    with RawBackend(record) as backend, gateway(
            [backend.port], timeouts=timeouts, may_end=True) as running, \
            open_sockets(running, 3):
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
        wait_until(lambda: lines(running, "stopped"), what="the last line")
        assert [e["message"] for e in lines(running, BEGIN, PROGRESS, TOLD, END, CUT)] == [BEGIN, CUT]
        end, = lines(running, CUT)
        assert end["level"] == "warn" and end["cut_off"] == 3 and 900 <= end["duration_ms"] <= 3000


def test_a_part_that_is_told_to_go_has_lines_of_its_own():
    with RawBackend(raw_echo) as backend, administered(
            [backend.port], timeouts={"drain": "4s"}) as (running, port), \
            open_sockets(running, 130) as sockets:
        assert ask(port, "/drain?percent=50", "POST", fields=CHANGE).status == 202
        answer_closes(sockets, 65)
        wait_until(lambda: lines(running, TOLD), 10, "the end of it")
        begin, = lines(running, PART)
        assert (begin["why"], begin["percent"], begin["websockets"], begin["over_ms"]) == \
            ("admin", 50, 65, 4000)
        assert 1 <= len(lines(running, PROGRESS)) <= 3
        end, = lines(running, TOLD)
        assert end["told"] == 65 and 65 <= end["open"] <= 130 and 3000 <= end["duration_ms"] <= 4500
        assert lines(running, BEGIN) == []
        assert ask(port, "/drain", "POST", fields=CHANGE).status == 202
        assert running.wait_event(message=BEGIN)["why"] == "admin"


def test_two_halves_are_all_while_the_first_is_under_way():
    with RawBackend(raw_echo) as backend, administered(
            [backend.port], timeouts={"drain": "2s"}) as (running, port), \
            open_sockets(running, 110) as sockets:
        for _ in range(2):
            assert ask(port, "/drain?percent=50", "POST", fields=CHANGE).status == 202
        answer_closes(sockets, 110)
        wait_sample(port, "bascule_bridges_open", 0)
        assert sum(line["told"] for line in lines(running, TOLD)) <= 110


def test_a_process_that_is_replaced_says_so():
    port = free_port()
    with RawBackend(record) as backend, Lineage(
            configuration(port, [f"127.0.0.1:{backend.port}"], timeouts={"drain": "1s"}),
            [port]) as line, open_sockets(line, 2):
        done = upgrade(line)
        assert (done["why"], done["websockets"], done["over_ms"]) == ("upgrade", 2, 1000)
        assert line.wait_event(message=CUT)["cut_off"] == 2
