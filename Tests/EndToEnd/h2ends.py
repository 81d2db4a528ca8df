"""What the tests of ends over HTTP/2 share: a gateway with one connection to it, and what a backend
that records has received."""

import contextlib

import frames
import h2peer
from frames import TEXT
from harness import RawBackend, gateway, wait_until

PLAIN = {"protocols": ["h2"]}


@contextlib.contextmanager
def bridged(serve, routes=None, **keywords):
    """(gateway, backend, peer) with one connection and no stream yet."""
    with RawBackend(serve) as backend, \
            gateway([backend.port], routes, listener=PLAIN, **keywords) as running, \
            h2peer.connect(running.address) as peer:
        yield running, backend, peer


def client_frame(payload, opcode=TEXT):
    return frames.frame(opcode, payload, mask=b"wxyz")


def assert_close(data, code):
    """`data` is one masked Close frame with that code."""
    assert data[:1] == b"\x88", data
    assert frames.apply_mask(data[6:8], data[2:6]) == code.to_bytes(2, "big")
    assert len(data) == 6 + (data[1] & 127), "more than one Close"


def received(wire, count):
    wait_until(lambda: len(getattr(wire, "received", b"")) >= count, what=f"{count} bytes")
    return wire.received


def boundary(client, wire):
    """Sends a whole frame; the count of its bytes, when the backend has them."""
    client.send(client_frame(b"whole"))
    received(wire, len(client_frame(b"whole")))
    return len(client_frame(b"whole"))
