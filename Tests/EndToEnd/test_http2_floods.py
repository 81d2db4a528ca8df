"""HTTP/2 peers that cost more than they pay (see attacks.py for what holds after each). A flood of
twice its budget ends in GOAWAY(ENHANCE_YOUR_CALM); half of the budget passes."""

import contextlib
import dataclasses
import threading
import time

import pytest

import frames
import h2raw
from attacks import LOCAL, attacked, processor_seconds, quick
from frames import TEXT
from h2raw import (ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, MOST, NO_ERROR,
                   PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, block, continuation, data, frame,
                   headers, indexed, literal, ping, priority, request, request_fields, rst_stream,
                   settings, websocket, window_update)
from harness import answer_upgrade, raw_echo, set_linger_reset, wait_until

PROTOCOLS = {"protocols": ["h2", "http/1.1"]}
FIELDS = block(*request_fields())


def serve(wire):
    path = wire.head.split(b" ")[1]
    if path.startswith(b"/held"):
        wire.read_to_end()
    elif path.startswith(b"/flood"):
        answer_upgrade(wire)
        chunk = frames.frame(frames.BINARY, bytes(60_000)) * 10
        with contextlib.suppress(OSError):
            while True:
                wire.send(chunk)
    else:
        raw_echo(wire)


@contextlib.contextmanager
def under_attack(grows_kib=8 * 1024, **timeouts):
    """A gateway that speaks HTTP/2 and a bystander that goes on echoing."""
    with attacked(serve, grows_kib, listener=PROTOCOLS, routes=LOCAL,
                  **quick(**timeouts)) as (running, backend):
        with echoing(running) as round_trips:
            yield running, backend
        assert round_trips and max(round_trips) < 4, f"a round trip of {max(round_trips):.2f} s"


@contextlib.contextmanager
def echoing(running):
    """Echoes on a connection of its own the whole time; yields the list of round trips."""
    round_trips, stop = [], threading.Event()

    def echo():
        with frames.open_websocket(running.address, path="/bystander") as wire:
            while not stop.is_set():
                start = time.monotonic()
                wire.send_frame(TEXT, b"tick")
                assert wire.read_until(TEXT).payload == b"tick"
                round_trips.append(time.monotonic() - start)
                stop.wait(0.02)

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    try:
        wait_until(lambda: round_trips, what="the first echo")
        yield round_trips
    finally:
        stop.set()
        thread.join(5)


def odd(number):
    return 1 + 2 * number


@dataclasses.dataclass
class Flood:
    """`unit(n)`: the bytes of the n-th offence; `budget`: how many may come at once."""

    name: str
    budget: int
    unit: object
    begin: object = b""
    codes: tuple = (ENHANCE_YOUR_CALM,)

    def __str__(self):
        return self.name


def bad(*extra, **keywords):
    return lambda n: request(odd(n), extra=extra, **keywords)


RESETS, MADE = 200, 100
FLOODS = [
    # H1, Rapid Reset, with and without work behind it.
    Flood("requests reset at once", RESETS, lambda n: request(odd(n)) + rst_stream(odd(n))),
    Flood("WebSockets reset at once", RESETS, lambda n: websocket(odd(n)) + rst_stream(odd(n))),
    Flood("unfinished bodies reset", RESETS, lambda n: request(odd(n), ends=False, method="POST")
          + rst_stream(odd(n), NO_ERROR)),
    # H2, MadeYouReset: it is we who reset.
    Flood("field names in capitals", MADE, bad(("Capital", "x"))),
    Flood("heads without a path", MADE, bad(without=[":path"])),
    Flood("fields of a connection", MADE, bad(("connection", "close"))),
    Flood("content-length that lies", MADE, bad(("content-length", "5"))),
    Flood("windows over 2^31 - 1", MADE, lambda n: websocket(odd(n), path="/held")
          + window_update(odd(n), MOST)),
    Flood("DATA beyond the window", MADE, lambda n: websocket(odd(n), path="/held")
          + data(odd(n), bytes(16_384)) * 5, codes=(ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR)),
    Flood("streams beyond the limit", MADE + 100, lambda n: websocket(odd(n), path="/held"),
          codes=(ENHANCE_YOUR_CALM, PROTOCOL_ERROR, REFUSED_STREAM)),
    Flood("HEADERS on a stream that is half-closed", MADE, lambda n: request(odd(n)) * 2,
          codes=(ENHANCE_YOUR_CALM, STREAM_CLOSED)),
    Flood("DATA on a stream that is half-closed", MADE,
          lambda n: request(odd(n)) + data(odd(n), b"x"), codes=(ENHANCE_YOUR_CALM, STREAM_CLOSED)),
    Flood("increments of 0", MADE, lambda n: websocket(odd(n), path="/held")
          + window_update(odd(n), 0), codes=(ENHANCE_YOUR_CALM, PROTOCOL_ERROR)),
    Flood("PRIORITY of 6 bytes", MADE, lambda n: frame(2, 0, odd(n), bytes(6)),
          codes=(ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR)),
    Flood("PRIORITY on itself", 500, lambda n: priority(1, 1),
          codes=(ENHANCE_YOUR_CALM, PROTOCOL_ERROR)),
    # H5, the set of 2019.
    Flood("PING", 200, lambda n: ping()),
    Flood("answers to no PING", 200, lambda n: ping(flags=1)),
    Flood("SETTINGS", 50, lambda n: settings()),
    Flood("SETTINGS that change something", 50, lambda n: settings((4, n), (1, n))),
    Flood("PRIORITY", 500, lambda n: priority(odd(n % 1000), 0)),
    Flood("WINDOW_UPDATE", 1000, lambda n: window_update(0, 1)),
    Flood("WINDOW_UPDATE of a stream", 1000, lambda n: window_update(1, 1),
          websocket(1, path="/held")),
    Flood("empty DATA", 100, lambda n: data(1, b""), websocket(1, path="/held")),
    Flood("DATA of padding alone", 100, lambda n: data(1, b"", pad=0), websocket(1, path="/held")),
    Flood("unknown frames", 500, lambda n: frame(0x4B, 0, 0, b"x")),
]


@pytest.mark.parametrize("flood", FLOODS, ids=str)
def test_half_of_a_flood_passes_and_twice_of_it_ends_the_connection(flood):
    with under_attack() as (running, backend):
        if flood.codes == (ENHANCE_YOUR_CALM,):  # otherwise a single one is an error
            with h2raw.connect(running.address) as c:
                c.start()
                c.send(flood.begin, *[flood.unit(n) for n in range(flood.budget // 2)])
                c.settle()
                assert c.error is None and not c.closed, c.describe()
        with h2raw.connect(running.address) as c:
            c.start()
            c.send(flood.begin, *[flood.unit(n) for n in range(2 * flood.budget)])
            assert c.reaches(lambda: c.closed, 5), c.describe()
            assert c.error in flood.codes, c.describe()


def test_many_small_floods_on_many_connections_leave_nothing_behind():
    with under_attack() as (running, backend):
        for _ in range(10):
            for flood in FLOODS:
                with h2raw.connect(running.address) as c:
                    c.send(h2raw.PREFACE, settings(), flood.begin,
                           *[flood.unit(n) for n in range(20)])


def test_a_reset_in_the_same_batch_reaches_no_backend():
    with under_attack() as (running, backend), h2raw.connect(running.address) as c:
        c.start()
        before = len(backend.wires)
        c.send(*[websocket(odd(n)) + rst_stream(odd(n)) for n in range(90)])
        c.settle()
        assert c.error is None
        assert len(backend.wires) - before <= 9


def test_a_place_is_free_again_only_when_the_work_behind_it_has_ended():
    """90 WebSockets reset, each after its 200: the backends' connections end as well."""
    with under_attack() as (running, backend), h2raw.connect(running.address) as c:
        c.start()
        before = running.descriptors()
        for first in range(0, 90, 30):
            streams = [odd(n) for n in range(first, first + 30)]
            c.send(*map(websocket, streams))
            c.wait(lambda: all(c.status(s) == 200 for s in streams), "30 WebSockets")
            c.send(*map(rst_stream, streams))
        wait_until(lambda: running.descriptors() <= before, 8, "the backends' descriptors")
        c.settle()
        assert c.error is None


# H3: the block that does not end.

@pytest.mark.parametrize("size", [0, 1, 100])
def test_more_continuations_than_allowed_end_the_connection(size):
    with under_attack() as (running, _), h2raw.connect(running.address) as c:
        c.start()
        piece = literal("x", "v" * (size - 5)) if size > 5 else b""
        c.send(headers(1, FIELDS, complete=False), continuation(1, piece, False) * 16)
        assert c.reaches(lambda: c.closed)
        assert c.error == ENHANCE_YOUR_CALM, c.describe()
        running.wait_event(level="warn", reason="h2-continuation-flood", limit="limits.http2_continuations")


@pytest.mark.parametrize("fields", [literal("x", "v" * 4_000) * 4, bytes([0x82]) * 16_000],
                         ids=["long values", "one byte each"])
def test_a_block_of_more_than_32_kib_ends_the_connection(fields):
    with under_attack() as (running, _), h2raw.connect(running.address) as c:
        c.start()
        c.send(headers(1, FIELDS, complete=False), continuation(1, fields, False) * 4)
        assert c.reaches(lambda: c.closed)
        assert c.error == ENHANCE_YOUR_CALM, c.describe()


def test_a_block_that_never_ends_is_bound_in_time():
    with under_attack(request_head="500ms") as (running, _):
        with h2raw.connect(running.address) as c:
            c.start()
            c.send(headers(1, FIELDS[:10], complete=False))
            assert c.reaches(lambda: c.closed, 4), c.describe()


def test_settings_of_many_entries_end_the_connection():
    with under_attack() as (running, _), h2raw.connect(running.address) as c:
        c.start()
        c.send(settings(*[(0xFF, n) for n in range(64)]))
        assert c.reaches(lambda: c.closed)
        assert c.error == ENHANCE_YOUR_CALM, c.describe()


# H4: the HTTP/2 bomb.

BOMBS = {
    "a long field by its index": (literal("x-bomb", "v" * 3_900, 0x40, 6), indexed(62) * 12_000),
    "a short field by its index": (literal("x", "", 0x40, 6), indexed(62) * 12_000),
    "cookie crumbs by their index": (literal("cookie", "a", 0x40, 6), indexed(62) * 12_000),
    "a static field": (b"", indexed(15) * 12_000),
    "empty cookies": (b"", literal(32, "") * 6_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_block_that_unpacks_to_a_thousand_times_its_size_is_refused_and_freed(name):
    first, bomb = BOMBS[name]
    with under_attack() as (running, backend):
        for _ in range(3):
            with h2raw.connect(running.address, seconds=10) as c:
                c.start((4, 0))
                before = running.memory_kib()
                for n in range(90):
                    c.send(headers(odd(n), FIELDS + first + bomb, ends=n % 2 == 0))
                c.wait(lambda: c.closed or all(c.status(odd(n)) for n in range(90)), "the answers")
                assert c.closed or {c.status(odd(n)) for n in range(90)} == {431}, c.describe()
                assert running.memory_kib() - before < 8 * 1024


def test_a_bomb_behind_a_window_of_0_is_not_kept_by_single_bytes():
    with under_attack(write_stall="1s") as (running, _):
        with h2raw.connect(running.address) as c:
            c.start((4, 0))
            c.send(*[headers(odd(n), FIELDS + indexed(15) * 12_000) for n in range(90)])
            c.settle()
            end = time.monotonic() + 4
            while time.monotonic() < end and not c.closed:
                c.send(*[window_update(odd(n), 1) for n in range(2)])
                c.reaches(lambda: c.closed, 0.2)
            gone = len(c.resets)
            assert c.closed or gone >= 88, c.describe()


def test_a_client_that_opens_its_windows_and_does_not_read_holds_nothing_back():
    with under_attack(write_stall="2s") as (running, backend):
        before = running.memory_kib()
        with h2raw.connect(running.address) as c:
            c.start((4, MOST))
            c.send(window_update(0, MOST - 65_535),
                   *[websocket(odd(n), path="/flood") for n in range(50)])
            wait_until(lambda: len(backend.wires) >= 50, 5, "50 backends")
            time.sleep(1)
            assert running.memory_kib() - before < 16 * 1024
            used = processor_seconds(running)
            time.sleep(0.5)
            assert processor_seconds(running) - used < 0.1


def test_pings_of_a_client_that_does_not_read_are_bound():
    with under_attack() as (running, _), h2raw.connect(running.address) as c:
        c.start()
        c.send(ping() * 20_000)
        assert c.reaches(lambda: c.closed, 5)


# H6: overhead.

def test_padding_out_of_proportion_ends_the_connection():
    with under_attack() as (running, _), h2raw.connect(running.address) as c:
        c.start()
        c.send(websocket(1))
        c.wait(lambda: c.status(1) == 200, "the 200")
        c.send(data(1, frames.frame(frames.BINARY, b"", mask=b"mask", length_bytes=8,
                                    length=1_000_000)))
        for _ in range(600):  # 32 MB; about 8 MB are allowed
            c.send(data(1, b"x", pad=255) * 200)
            if not c.settle() or c.closed:
                break
        assert c.error == ENHANCE_YOUR_CALM, c.describe()


# H7: slow, or silent.

SILENT = {"nothing": b"", "half a preface": h2raw.PREFACE[:10],
          "a preface without SETTINGS": h2raw.PREFACE}


@pytest.mark.parametrize("name", SILENT)
def test_a_client_that_does_not_begin_is_dropped(name):
    with under_attack(request_head="500ms") as (running, _):
        with h2raw.connect(running.address) as c:
            c.send(SILENT[name])
            assert c.reaches(lambda: c.closed, 3)


def test_a_preface_byte_by_byte_is_bound_in_time():
    with under_attack(request_head="1s") as (running, _), h2raw.connect(running.address) as c:
        start = time.monotonic()
        for byte in h2raw.PREFACE:
            c.send(bytes([byte]))
            if c.reaches(lambda: c.closed, 0.15):
                break
        assert c.closed and 0.8 < time.monotonic() - start < 2.5


def test_a_connection_without_streams_ends_with_goaway_after_the_keep_alive_time():
    with under_attack(keep_alive="500ms") as (running, _), h2raw.connect(running.address) as c:
        c.start()
        assert c.reaches(lambda: c.closed, 3)
        assert c.goaways and {code for _, code in c.goaways} == {NO_ERROR}


def test_pings_do_not_keep_a_connection_without_streams():
    with under_attack(keep_alive="500ms") as (running, _), h2raw.connect(running.address) as c:
        c.start()
        end = time.monotonic() + 3
        while time.monotonic() < end and not c.reaches(lambda: c.closed, 0.1):
            c.send(ping())
        assert c.closed


def test_connections_that_leave_with_open_streams_leave_nothing():
    with under_attack() as (running, backend):
        before = running.descriptors()
        for way in range(12):
            with h2raw.connect(running.address) as c:
                c.start()
                streams = [odd(n) for n in range(50)]
                c.send(*map(websocket, streams))
                if way % 3:
                    c.wait(lambda: all(c.status(s) == 200 for s in streams), "50 WebSockets")
                if way % 2:
                    c.send(h2raw.goaway(), *map(rst_stream, streams[::2]))
                if way % 4 == 0:
                    set_linger_reset(c.sock)
        wait_until(lambda: running.descriptors() <= before, 8, "descriptors given back")


# H8: nobody starves.

def test_one_connection_of_many_requests_does_not_starve_others():
    with under_attack() as (running, _):
        with h2raw.connect(running.address, seconds=10) as c:
            c.start()
            c.send(window_update(0, MOST - 65_535))
            stream, end = 1, time.monotonic() + 2
            while time.monotonic() < end:
                last = stream + 2 * 89
                c.send(*[request(s, path="/local") for s in range(stream, last + 2, 2)])
                c.wait(lambda: last in c.ended, "the answers")
                stream = last + 2
            assert c.error is None
