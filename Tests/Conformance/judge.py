"""Whether the bytes a backend received are legal frames of a client (RFC 6455 5), as far as the
gateway has to guarantee it. Written apart from the gateway's scanner, on purpose."""

CONTROL = (8, 9, 10)


def offence(data):
    """What is wrong with `data`, a client's bytes behind the handshake; None when nothing is. The
    last frame may be incomplete: a connection can end anywhere."""
    position, fragmented, closed = 0, False, False
    while len(data) - position >= 2:
        first, second = data[position], data[position + 1]
        opcode, final = first & 15, first & 128
        if closed:
            return "bytes behind a Close"
        if first & 0x70:
            return f"reserved bits in frame {first:02x}"
        if opcode not in (0, 1, 2, *CONTROL):
            return f"reserved opcode {opcode}"
        if not second & 128:
            return "an unmasked frame"
        length, header = second & 127, 2
        if opcode in CONTROL and (length > 125 or not final):
            return "a fragmented or long control frame"
        for mark, width, least in ((126, 2, 126), (127, 8, 65536)):
            if second & 127 == mark:
                if len(data) - position < 2 + width:
                    return None
                length = int.from_bytes(data[position + 2:position + 2 + width], "big")
                header += width
                if length < least or length >> 63:
                    return f"length {length} in {width} bytes"
        if opcode == 0 and not fragmented:
            return "a continuation of nothing"
        if opcode in (1, 2) and fragmented:
            return "a new message inside a fragmented one"
        if opcode not in CONTROL:
            fragmented = not final
        if len(data) - position < header + 4 + length:
            return "half a control frame" if opcode in CONTROL else None
        if opcode == 8:
            closed = True
            mask = data[position + header:position + header + 4]
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(
                data[position + header + 4:position + header + 4 + length]))
            wrong = close_offence(payload)
            if wrong:
                return wrong
        position += header + 4 + length
    return None


def close_offence(payload):
    if not payload:
        return None
    if len(payload) == 1:
        return "a Close of one byte"
    code = int.from_bytes(payload[:2], "big")
    if code < 1000 or 1004 <= code <= 1006 or 1015 <= code <= 2999:
        return f"close code {code}"
    try:
        payload[2:].decode("utf-8")
    except UnicodeDecodeError:
        return "a Close reason that is not UTF-8"
    return None
