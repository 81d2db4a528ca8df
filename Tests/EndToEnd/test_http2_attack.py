"""HTTP/2 peers that mean harm, several things at a time: what must hold after each is in attacks.py,
and single floods are in test_http2_floods.py."""

import signal

import frames
import h2raw
from h2ends import PLAIN
from h2raw import INITIAL_WINDOW_SIZE, REFUSED_STREAM, request, websocket
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
