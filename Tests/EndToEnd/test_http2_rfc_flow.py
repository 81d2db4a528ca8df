"""RFC 9113 sections 5.2, 6.5.3, 6.7 and 6.9: what takes more than one step to see: windows, and
answers to SETTINGS and PING."""

import pytest

from frames import BINARY, frame
from h2raw import (FLOW_CONTROL_ERROR, INITIAL_WINDOW_SIZE, PREFACE, data, ping, request, settings,
                   websocket, window_update)
from h2table import WAYS, open_stream

#: The cases of the outside suite that the tests of this file stand for.
CASES = ("http2/3.5/1", "http2/6.5.3/1", "http2/6.5.3/2", "http2/6.7/1", "generic/3.7/1",
         "http2/6.9.1/1", "http2/6.9.2/1", "http2/6.9.2/2")


@pytest.fixture(params=WAYS)
def c(front, request):
    with front.connect(request.param) as connection:
        yield connection


def body_of(c, count):
    """Waits for that much of stream 1's body, and that no more comes."""
    c.wait(lambda: len(c.bodies.get(1, b"")) >= count, f"{count} bytes of the body")
    c.settle()
    assert len(c.bodies.get(1, b"")) == count


def test_the_servers_first_frame_is_settings(c):
    c.send(PREFACE, settings())
    c.wait(lambda: c.kinds, "a frame")
    assert c.kinds[0] == (4, 0)


def test_settings_are_acknowledged_each(c):
    c.start()
    before = c.acks
    c.send(settings((INITIAL_WINDOW_SIZE, 10)), settings(), settings((0xF0, 3)))
    c.wait(lambda: c.acks == before + 3, "three ACKs")


def test_a_ping_is_answered_with_its_payload(c):
    c.start()
    c.send(ping(b"\0\1\2\xff\xfeabc"))
    c.wait(lambda: c.pongs == [b"\0\1\2\xff\xfeabc"], "the PONG")


def test_a_body_keeps_to_a_window_of_one_byte(c):
    c.start((INITIAL_WINDOW_SIZE, 1))
    c.send(request(1))
    body_of(c, 1)
    c.send(window_update(1, 2))
    body_of(c, 3)


def test_of_two_values_in_one_settings_frame_the_last_counts(c):
    c.start((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1))
    c.send(request(1))
    body_of(c, 1)


def test_a_change_of_the_initial_window_moves_open_streams(c):
    c.start((INITIAL_WINDOW_SIZE, 0))
    c.send(request(1))
    c.wait(lambda: c.status(1), "the head")
    body_of(c, 0)
    c.send(settings((INITIAL_WINDOW_SIZE, 1)))
    body_of(c, 1)


def test_a_window_can_be_negative(c):
    c.start((INITIAL_WINDOW_SIZE, 3))
    c.send(request(1))
    body_of(c, 3)
    c.send(settings((INITIAL_WINDOW_SIZE, 2)))
    body_of(c, 3)
    c.send(window_update(1, 2))
    body_of(c, 4)


def test_a_window_stops_one_stream_and_no_other(c):
    c.start((INITIAL_WINDOW_SIZE, 0))
    c.send(request(1), request(3), window_update(3, 1000))
    c.wait(lambda: 3 in c.ended, "the end of the stream with a window")
    assert 1 not in c.ended and c.bodies.get(1, b"") == b""


def test_zero_bytes_go_out_without_a_window(c):
    """A HEAD has no body that a window could hold."""
    c.start((INITIAL_WINDOW_SIZE, 0))
    c.send(request(1, method="HEAD"))
    c.wait(lambda: 1 in c.ended, "the end of the response")


def test_data_beyond_our_stream_window_is_an_error(c):
    c.start()
    held = websocket(1, path="/held")
    c.send(held, *[data(1, bytes(16_384))] * 5)
    c.reaches(lambda: c.closed or 1 in c.resets)
    code = c.error if c.error is not None else c.resets.get(1)
    assert code == FLOW_CONTROL_ERROR, c.describe()


def test_data_on_a_held_stream_gets_no_new_stream_window(c):
    c.start()
    c.send(websocket(1, path="/held"), *[data(1, bytes(16_000))] * 4)
    c.settle()
    assert c.windows.get(1, 0) == 0 and c.error is None and 1 not in c.resets


def test_padding_counts_in_the_windows_and_comes_back(c):
    """More padding than any window holds: it has to be given back, on the stream as well."""
    open_stream(c)
    c.send(data(1, frame(BINARY, b"", mask=b"mask", length_bytes=8, length=60_000)))
    for _ in range(20):
        c.send(*[data(1, b"x", pad=255)] * 20)
        c.settle()
    assert c.error is None and 1 not in c.resets, c.describe()


def test_the_connections_window_comes_back_for_streams_that_are_gone(front):
    """DATA that nobody takes (refused requests, streams we have reset) must not use it up."""
    with front.connect() as c:
        c.start()
        first = 65_535 + c.windows.get(0, 0)
        for number in range(40):
            stream = 1 + 2 * number
            c.send(request(stream, ends=False, method="POST"),
                   *[data(stream, bytes(16_000))] * 3, data(stream, b"", True))
            c.settle()
            assert c.error is None, c.describe()
        returned = 65_535 + c.windows.get(0, 0) - first
        assert returned >= 40 * 48_000 - first
