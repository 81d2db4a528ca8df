"""HTTP/2 peers that mean harm, several things at a time: what must hold after each is in attacks.py,
and single floods are in test_http2_floods.py."""

import signal

import frames
import h2raw
from h2ends import PLAIN
from h2raw import (INITIAL_WINDOW_SIZE, MOST, REFUSED_STREAM, block, headers, request, request_fields,
                   websocket, window_update)
from harness import RawBackend, gateway, raw_echo

BOTH = {"protocols": ["h2", "http/1.1"]}


def test_a_bridge_that_came_behind_the_goaway_of_an_idle_connection_is_told_of_the_drain():
    """RFC 9113 6.8: what the client sent before it knew is served, on a connection without a future."""
    timeouts = {"keep_alive": "300ms", "drain": "10s"}
    with RawBackend(raw_echo) as backend, \
            gateway([backend.port], listener=PLAIN, timeouts=timeouts) as running:
        with h2raw.connect(running.address).start() as c:
            c.wait(lambda: c.goaways, "the first GOAWAY")
            c.send(websocket(1))
            c.wait(lambda: len(c.goaways) == 2 and c.status(1) == 200, "the last GOAWAY")
            running.process.send_signal(signal.SIGTERM)
            c.wait(lambda: c.bodies.get(1), "a Close")
            assert c.bodies[1] == frames.frame(frames.CLOSE, frames.close_payload(1001))
        assert running.process.wait(5) == 0
        # The harness would otherwise say that it ended by itself.
        running.process.poll = lambda: None


def test_streams_take_no_places_of_clients():
    """Answers behind a window of 0 keep their streams, as many as there may be connections."""
    with RawBackend(raw_echo) as backend, \
            gateway([backend.port], listener=BOTH, limits={"connections": 40}) as running:
        hogs = [h2raw.connect(running.address).start((INITIAL_WINDOW_SIZE, 0)) for _ in range(3)]
        for hog in hogs:
            hog.send(*[request(1 + 2 * index) for index in range(100)])
            assert hog.settle()
        assert sum(len(hog.heads) for hog in hogs) == 40
        assert set(hogs[2].resets.values()) == {REFUSED_STREAM}
        wires = [frames.open_websocket(running.address) for _ in range(20)]
        for hog in hogs:
            hog.close()
        for wire in wires:
            wire.send_frame(frames.TEXT, b"still here")
            assert wire.read_frame().payload == b"still here"
            wire.close()
        with h2raw.connect(running.address).start() as c:
            c.send(websocket(1))
            c.wait(lambda: c.status(1) == 200, "a place that is free again")


def test_requests_by_the_ten_thousand_leave_no_timers_behind():
    """Each stream has a deadline of a minute; it must not outlive its stream by as much."""
    fields = block(*request_fields())

    def ask(c, stream, batches):
        for _ in range(batches):
            last = stream + 2 * 89
            c.send(*[headers(s, fields) for s in range(stream, last + 2, 2)])
            c.wait(lambda: last in c.ended, "the answers")
            stream = last + 2
            for kept in (c.heads, c.bodies, c.ended, c.kinds):
                kept.clear()
        return stream

    with RawBackend(raw_echo) as backend, \
            gateway([backend.port], listener=BOTH, log={"access": "off"}) as running, \
            h2raw.connect(running.address, seconds=10).start() as c:
        c.send(window_update(0, MOST - 65_535))
        stream = ask(c, 1, 50)
        before = running.memory_kib()
        ask(c, stream, 800)
        assert running.memory_kib() - before < 1_000
