"""What a peer and its worker say to each other: columns of tasks one way, columns of results the other.

Each message is a MessagePack array behind its length (4 bytes, little endian). One message carries a whole batch, or
all results that were ready: at 50,000 tasks/s the price of a message is paid per batch, never per task. What a worker
says is validated like anything foreign: user code shares its process and may write to its socket.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from p2pcpn.errors import PeerError
from p2pcpn.limits import TASK_RESULT_BYTES_MAX

# Outcomes of a task, one byte each in `Finished.outcomes`.
OK: Final = 0
RAISED: Final = 1
DROPPED: Final = 2

STDOUT: Final = 1
STDERR: Final = 2

# A frame holds at most one result of the largest size beside results of FLUSH_BYTES in all; 16 MiB is ample for the
# rest.
FRAME_BYTES_MAX: Final = TASK_RESULT_BYTES_MAX + (16 << 20)
_LENGTH: Final = struct.Struct("<I")

# What a worker counts, and how long it says that something took (a number of seconds: not NaN, not below nothing).
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Seconds = Annotated[float, Meta(ge=0.0, le=1e12)]


class Run(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """To a worker: run this batch. ``loads`` are functions it does not have yet, by the number to keep them under."""

    dispatch: int
    batch_id: int
    bundle: str | None
    forget: bool
    loads: list[tuple[int, bytes]]
    functions: list[int]
    function_numbers: list[int] | None
    arguments: list[bytes]
    digest_key: bytes
    render: bool
    dropped: list[int] = []  # positions that were cancelled before the batch was sent
    # The buffers beside each task's pickle: numbers of shared files, or bytes where there was no room for one.
    parts: list[list[int | bytes]] | None = None
    states: list[bytes | None] | None = None  # what earlier runs of the tasks left
    # Shared files in slabs that the worker has: (file, slab, size). What lay there before is forgotten.
    again: list[tuple[int, int, int]] = []


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """To a worker: do not start these positions of a batch that it has."""

    batch_id: int
    positions: list[int]


class Share(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """To a worker: shared files by number and size, whose descriptors come with its first byte; and which may go.

    ``slabs``, where there are any, are those that the files lie in, or 0; ``forget_slabs``, which may go.
    """

    numbers: list[int]
    sizes: list[int]
    forget: list[int]
    slabs: list[int] = []
    forget_slabs: list[int] = []


class Lend(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """To a worker: memory to put large results into (``landing.py``), whose descriptor comes with its first byte."""


class Finished(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """From a worker: positions ``first`` .. ``first + len(values) - 1`` of a batch are over, in columns.

    ``outcomes`` has a byte a task: ``OK`` (the value is the pickled result), ``RAISED`` (the value is a
    :class:`~p2pcpn.runtime.function.failures.Failure`), ``DROPPED`` (cancelled before it started; the value is empty).
    ``digests`` has 16 bytes a task: BLAKE2b of the value under the batch's ``digest_key``; zeros for a value above
    ``limits.INLINE_BYTES_MAX``, for it becomes a blob whose digest stands for it. ``renderings`` is empty or has a
    short text a task. ``placed`` are the values that were put into lent memory, empty here; ``until`` counts what was
    put. ``given`` are slabs whose memory itself some task was given.
    """

    batch_id: Count
    first: Count
    outcomes: bytes
    values: list[bytes]
    digests: bytes
    ran_s: list[Seconds]
    renderings: list[str]
    placed: list[tuple[Count, Count, Count]] = []
    until: Count = 0
    given: list[Count] = []


class Output(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """From a worker: a task printed ``text`` (UTF-8, where the task wrote text) to ``stream`` 1 or 2."""

    batch_id: Count
    position: Count
    stream: Count
    text: bytes


class Skipped(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """From a worker: the peer had taken this dispatch back, and nothing of it was started here."""

    dispatch: Count


class State(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """From a worker: a running task left ``data`` (a pickle) for the next run of it."""

    batch_id: Count
    position: Count
    data: bytes


ToWorker: TypeAlias = Run | Cancel | Share | Lend
FromWorker: TypeAlias = Finished | Output | Skipped | State

_encoder = msgspec.msgpack.Encoder()
_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
_from_worker: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


def frame(message: ToWorker | FromWorker) -> bytearray:
    """The bytes of one message, its length in front."""
    data = bytearray(4)
    _encoder.encode_into(message, data, 4)
    _LENGTH.pack_into(data, 0, len(data) - 4)
    return data


class Frames:
    """Cuts a stream of bytes into messages. One instance reads one direction of one socket."""

    __slots__ = ("_buffer", "_decode", "_wanted")

    def __init__(self, *, from_worker: bool) -> None:
        self._decode: Any = (_from_worker if from_worker else _to_worker).decode
        self._buffer = bytearray()
        self._wanted = 4

    def feed(self, chunk: bytes | memoryview) -> list[Any]:
        """The messages that ``chunk`` completes. Raises :class:`PeerError` for anything that is not a message.

        ``chunk`` may be overwritten afterwards.
        """
        buffer = self._buffer
        data: bytes | bytearray | memoryview = chunk
        if buffer:
            buffer += chunk
            if len(buffer) < self._wanted:
                return []
            data = buffer
        messages = []
        offset, size = 0, len(data)
        with memoryview(data) as view:
            while size - offset >= 4:
                (length,) = _LENGTH.unpack_from(view, offset)
                if length > FRAME_BYTES_MAX:
                    raise PeerError(f"a frame of {length} bytes, at most {FRAME_BYTES_MAX} are allowed")
                if size - offset - 4 < length:
                    break
                try:
                    messages.append(self._decode(view[offset + 4 : offset + 4 + length]))
                except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                    raise PeerError(f"not a message: {error}") from None
                offset += 4 + length
        if data is buffer:
            del buffer[:offset]
        else:
            buffer += data[offset:]
        self._wanted = 4 if len(buffer) < 4 else 4 + _LENGTH.unpack_from(buffer)[0]
        return messages
