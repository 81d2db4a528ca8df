"""RFC 7541: header blocks that cannot be decoded, and those that look odd and can."""

import hpack
import pytest

from h2raw import (COMPRESSION_ERROR, HEADER_TABLE_SIZE, PREFACE, block, continuation, headers,
                   indexed, integer, literal, request, request_fields, settings, table_size, text)
from h2table import MISSED, WAYS, Answered, Row, goaway, judge

BLOCK = block(*request_fields())
BROKEN = goaway(COMPRESSION_ERROR)


def behind(more, first=b""):
    """A request whose block has `more` at its end."""
    return headers(1, first + BLOCK + more)


def row(section, name, send, expect=BROKEN, cases=(), **keywords):
    return Row("7541 " + section, name, send, expect, **keywords,
               cases=(cases,) if isinstance(cases, str) else cases)


def padded(huffman_bytes):
    """x: a Huffman string of these bytes, whatever they are."""
    return b"\x00\x01x" + bytes([0x80 | len(huffman_bytes)]) + huffman_bytes


# "a" is 00011 in the Huffman code; 1 bits fill the byte.
HUFFMAN = [
    row("5.2", "Huffman padding of 7 bits at most", behind(padded(b"\x1f")), MISSED),
    row("5.2", "Huffman padding of more than 7 bits", behind(padded(b"\x1f\xff")),
        cases="hpack/5.2/1"),
    row("5.2", "a whole byte of Huffman padding and nothing else", behind(padded(b"\xff"))),
    row("5.2", "Huffman padding of zeros", behind(padded(b"\x18")), cases="hpack/5.2/2"),
    row("5.2", "the EOS symbol", behind(padded(b"\x1f\xff\xff\xff\xff")),
        cases="hpack/5.2/3"),
    row("5.2", "EOS alone", behind(padded(b"\xff\xff\xff\xfc"))),
    row("5.2", "a Huffman name that is broken", behind(b"\x00\x81\xff\x01v")),
]
INDICES = [
    row("2.3.3", "an index behind both tables", behind(indexed(70)), cases="hpack/2.3.3/1"),
    row("2.3.3", "the first index behind the static table, nothing being in the dynamic one",
        behind(indexed(62))),
    row("2.3.3", "a name index behind both tables", behind(literal(70, "v", 0x40, 6)),
        cases="hpack/2.3.3/2"),
    row("2.3.3", "an index of 2^31", behind(indexed(1 << 31))),
    row("2.3.3", "an index of 2^32 + 2", behind(integer((1 << 32) + 2, 7, 0x80))),
    row("6.1", "index 0", behind(b"\x80"), cases="hpack/6.1/1"),
    row("2.3.3", "an entry that the table had to give up",
        headers(1, BLOCK + literal("x-one", "1", 0x40, 6)) + headers(3, table_size(0) + BLOCK)
        + headers(5, BLOCK + indexed(62)), stream=5),
    row("4.4", "an entry greater than the table empties it",
        headers(1, BLOCK + literal("x-one", "1", 0x40, 6))
        + headers(3, BLOCK + literal("x-two", "v" * 4_080, 0x40, 6))
        + headers(5, BLOCK + indexed(62)), stream=5),
]
INTEGERS = [
    row("5.1", "an integer of ten bytes", behind(b"\xff" + b"\xff" * 9 + b"\x01")),
    row("5.1", "an integer that never ends in its block", behind(b"\xff" + b"\x80" * 20)),
    row("5.1", "an integer of many zero bytes", behind(b"\x00" + b"\x7f" + b"\x80" * 30 + b"\x00")),
    row("5.1", "a string length of 2^32 - 1", behind(b"\x00\x01x" + integer((1 << 32) - 1, 7))),
    row("5.1", "a string length of 2^63", behind(b"\x00\x01x" + integer(1 << 63, 7))),
    row("5.1", "a length written in two bytes more than it needs",
        behind(b"\x00\x01x" + b"\x7f\x81\x80\x00" + b"v" * 128), MISSED | BROKEN,
        why="a limit on the bytes of an integer is the implementation's (7.4)"),
    row("5.2", "a string longer than its block", behind(b"\x00\x01x\x05abc"),
        cases="http2/4.3/1"),
    row("5.2", "a block that ends behind a name", behind(b"\x00\x01x")),
    row("5.2", "a block that ends behind a length", behind(b"\x00\x05")),
    row("5.2", "a block that ends in a CONTINUATION's string",
        headers(1, BLOCK, complete=False) + continuation(1, b"\x00\x05x-a")),
]
SIZES = [
    row("6.3", "two updates at the beginning", behind(b"", table_size(0) + table_size(4_096)),
        MISSED, cases=("generic/5/14", "generic/5/15")),
    row("6.3", "an update greater than our SETTINGS_HEADER_TABLE_SIZE",
        behind(b"", table_size(4_097)), cases="hpack/6.3/1"),
    row("6.3", "an update of 2^31", behind(b"", table_size(1 << 31))),
    row("4.2", "an update behind a field", behind(table_size(0)), cases="hpack/4.2/1"),
    row("4.2", "an update between two fields", behind(table_size(100) + literal("x", "y"))),
    row("4.2", "an update in the second frame of a block, behind a field",
        headers(1, BLOCK, complete=False) + continuation(1, table_size(0))),
]
NAME = "user-agent"
LITERALS = [
    row("6", f"{kind}, {'new name' if new else 'indexed name'}{', Huffman' * huffman}",
        behind(literal(NAME if new else 58, "test", first, bits, huffman)), MISSED,
        cases=f"generic/5/{number}")
    for number, kind, first, bits, new, huffman in [
        (2, "with indexing", 0x40, 6, False, False), (3, "with indexing", 0x40, 6, False, True),
        (4, "with indexing", 0x40, 6, True, False), (5, "with indexing", 0x40, 6, True, True),
        (6, "without indexing", 0, 4, False, False), (7, "without indexing", 0, 4, False, True),
        (8, "without indexing", 0, 4, True, False), (9, "without indexing", 0, 4, True, True),
        (10, "never indexed", 0x10, 4, False, False), (11, "never indexed", 0x10, 4, False, True),
        (12, "never indexed", 0x10, 4, True, False), (13, "never indexed", 0x10, 4, True, True)]
]
OTHERS = [
    row("6.1", "indexed fields", headers(1, bytes([0x82, 0x86, 0x84])
                                         + literal(1, "gateway.example")), MISSED,
        cases="generic/5/1"),
    row("6.2.1", "a field from the dynamic table in the next block",
        headers(1, BLOCK + literal("x-one", "1", 0x40, 6)) + headers(3, BLOCK + indexed(62)),
        MISSED, stream=3),
    row("4.3", "a table of 0 entries", behind(literal("x", "y", 0x40, 6), table_size(0)), MISSED),
    row("5.2", "an empty string in Huffman code", behind(b"\x00\x01x\x80"), MISSED),
    row("5.2", "a string of 8,000 bytes in Huffman code",
        behind(b"\x00\x01x" + text("a" * 8_000, True)), MISSED | Answered(431)),
]
ROWS = [*HUFFMAN, *INDICES, *INTEGERS, *SIZES, *LITERALS, *OTHERS]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_block(front, row, way):
    judge(front, row, way)


@pytest.mark.parametrize("way", WAYS)
def test_the_response_keeps_to_the_table_size_the_client_allows(front, way):
    """RFC 7541 4.2: 0 entries from here on, and the change is told in the next block."""
    with front.connect(way) as c:
        c.start()
        c.send(request(1))
        c.wait(lambda: c.status(1), "the first response")
        c.send(settings((HEADER_TABLE_SIZE, 0)))
        c.settle()
        c.decoder = hpack.Decoder()
        c.decoder.max_allowed_table_size = 0
        for stream in (3, 5):
            c.send(request(stream))
            c.wait(lambda: c.status(stream), "a response without the table")


def test_the_first_response_keeps_to_a_table_size_told_with_the_preface(front):
    with front.connect() as c:
        c.decoder.max_allowed_table_size = 0
        c.send(PREFACE, settings((HEADER_TABLE_SIZE, 0)), request(1))
        c.wait(lambda: c.status(1), "a response")
