"""The judge of what reached a backend finds every offence the end-to-end tests send, and only those."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "EndToEnd"))
import frames  # noqa: E402
from frames import CLOSE, CONTINUATION, PING, TEXT  # noqa: E402
from judge import offence  # noqa: E402
from test_frames import GOOD_CLOSE_CODES, OFFENCES, encode  # noqa: E402


# A message over the gateway's limit is no offence against the RFC.
@pytest.mark.parametrize("name", [name for name in OFFENCES if OFFENCES[name][1] != 1009])
def test_offences_are_found(name):
    data, legal = encode([(TEXT, b"before", {}), *OFFENCES[name][0]], masked=True)
    assert offence(legal) is None
    assert offence(data) is not None


def test_legal_streams_pass():
    mask = {"mask": b"wxyz"}
    fragmented = b"".join([
        frames.frame(TEXT, b"a", fin=False, **mask), frames.frame(PING, b"p", **mask),
        frames.frame(CONTINUATION, b"b", **mask), frames.frame(TEXT, b"c" * 70_000, **mask)])
    assert offence(fragmented) is None
    for code in GOOD_CLOSE_CODES:
        close = frames.frame(CLOSE, frames.close_payload(code, b"bye"), **mask)
        assert offence(fragmented + close) is None
        assert offence(fragmented + close + b"\x81\x80") is not None
    assert offence(frames.frame(TEXT, b"naked")) is not None
