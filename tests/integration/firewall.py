"""A home router's filter, in user space: frames go between the interfaces ``lan`` and ``wan`` of this namespace.

What comes from ``wan`` over UDP or TCP passes where somebody in ``lan`` spoke to just that address and port, from just
that port, before; everything else from there is dropped in silence. Ends when its standard input does.
"""

from __future__ import annotations

import array
import fcntl
import select
import socket
import struct
import sys

IPV4, TCP, UDP = 0x0800, 6, 17


def interface(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.setblocking(False)
    sock.bind((name, 0))
    return sock


def flow(frame: bytes) -> tuple[int, bytes, bytes, bytes, bytes] | None:
    """(protocol, source host, source port, target host, target port), if it has ports."""
    if struct.unpack_from("!H", frame, 12)[0] != IPV4 or frame[23] not in (TCP, UDP):
        return None
    ports = 14 + (frame[14] & 15) * 4
    return frame[23], frame[26:30], frame[ports : ports + 2], frame[30:34], frame[ports + 2 : ports + 4]


def main() -> None:
    lan, wan = interface("lan"), interface("wan")
    known: set[tuple[int, bytes, bytes, bytes, bytes]] = set()
    print("ready", flush=True)
    while True:
        ready = select.select([lan, wan, sys.stdin], [], [])[0]
        if sys.stdin in ready:
            return
        for sock in (each for each in (lan, wan) if each in ready):
            frame, where = sock.recvfrom(65600)
            if where[2] == socket.PACKET_OUTGOING:
                continue
            said = flow(frame)
            if sock is lan:
                if said is not None:
                    known.add(said)
                wan.send(frame)
            elif said is None or (said[0], said[3], said[4], said[1], said[2]) in known:
                lan.send(frame)


def finish_checksums() -> None:
    """Frames must carry whole checksums, and be no larger than the link takes, to be sent on by hand."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            if name != "lo":
                off = array.array("B", struct.pack("II", 0x17, 0))  # ETHTOOL_STXCSUM
                request = struct.pack("16sP", name.encode(), off.buffer_info()[0])
                fcntl.ioctl(sock, 0x8946, request)  # SIOCETHTOOL


if __name__ == "__main__":
    finish_checksums()
    if sys.argv[1:] != ["checksums"]:
        main()
