"""The outlet of a session: small writes go straight into the socket where nothing stands in line before them.

uvloop writes what a transport is given at the end of the loop's turn, after some bookkeeping for each piece. Somebody
waits for a lease or a result of a few hundred bytes; it is joined and handed to the system at once. What the system
does not take, and whatever is large, goes through the transport, which also finds out when the connection is gone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Final

# Joining so much takes a microsecond; larger pieces are not worth the copy.
_AT_ONCE_BYTES: Final = 16 << 10


class Outlet:
    """Writes to one transport, in order. Never raises: that the connection is lost the transport tells its protocol."""

    __slots__ = ("_descriptor", "_transport")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        socket = transport.get_extra_info("socket")
        self._descriptor: int = -1 if socket is None else socket.fileno()

    def write(self, chunks: Sequence[bytes], size_bytes: int) -> None:
        """Send ``chunks``, ``size_bytes`` in all. The transport is not closing."""
        left = chunks
        if size_bytes <= _AT_ONCE_BYTES and self._descriptor >= 0 and not self._transport.get_write_buffer_size():
            data = b"".join(chunks)
            try:
                sent = os.write(self._descriptor, data)
            except OSError:  # nothing fits just now, or the connection is gone: the transport sees to either
                sent = 0
            if sent == size_bytes:
                return
            left = [data[sent:]]
        try:
            self._transport.writelines(left)
        except RuntimeError:
            return  # uvloop's word for a connection that broke in this turn: connection_lost follows
