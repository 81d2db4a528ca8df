#!/usr/bin/env python3
"""An echo backend that checks nothing: it answers upgrades, sends every frame back as it came and
writes each connection's bytes to a file, so that what got past the gateway can be judged.

Usage: careless_backend.py PORT DIRECTORY
"""

import itertools
import pathlib
import socket
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "EndToEnd"))
import frames  # noqa: E402
from harness import answer_upgrade  # noqa: E402


def serve(sock, path):
    wire = frames.Wire(sock, masks=False)
    with open(path, "wb") as record:
        try:
            wire.read_head()
            answer_upgrade(wire)
            record.write(wire.buffer)
            original = wire.fill

            def fill():
                more = original()
                record.write(more)
                record.flush()
                return more
            wire.fill = fill
            while True:
                got = wire.read_frame()
                opcode = frames.PONG if got.opcode == frames.PING else got.opcode
                if got.opcode != frames.PONG:
                    wire.send_frame(opcode, got.payload, fin=got.fin, rsv=got.rsv)
                if got.opcode == frames.CLOSE:
                    return
        except (OSError, frames.Ended):
            pass
        finally:
            sock.close()


def main():
    port, directory = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        for number in itertools.count(1):
            sock, _ = listener.accept()
            sock.settimeout(60)
            threading.Thread(target=serve, args=(sock, directory / f"{number:05}.bytes"),
                             daemon=True).start()


if __name__ == "__main__":
    main()
