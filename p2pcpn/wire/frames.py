"""Frames: messages of a session to encrypted bytes and back.

::

    header (4 bytes, big-endian):  kind (2 bits) | length of the ciphertext (30 bits)
    ciphertext:                    AES-256-GCM of the content, the header as associated data

    kind 0  WHOLE   the content is one message, or the last part of one
    kind 1  PART    the content is a part of a message; more follows
    kind 2  MANY    the content is a MessagePack array of byte strings: several whole messages

Each direction has its key and counts its frames from 0 (the nonce, 64 bits), so a frame that is lost, repeated, moved
or altered does not open. MANY is there for speed: sealing costs 0.6 us a frame, a message within a frame 0.04 us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.wire.codec import Buffer, Codec
from p2pcpn.wire.noise import TAG_BYTES, cipher_nonce

WHOLE: Final = 0
PART: Final = 1
MANY: Final = 2
HEADER_BYTES: Final = 4
_LENGTH_MASK: Final = (1 << 30) - 1

_MANY: Codec[list[bytes]] = Codec(list[bytes], limits.FRAME_BYTES_MAX, "frame")
# A byte string's MessagePack header takes at most 5 bytes, so does the array's.
_ITEM_BYTES: Final = 5


class FrameWriter:
    """Seals messages, in the order they are given, under one direction's key."""

    __slots__ = ("_cipher", "frames", "messages")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.frames = 0
        self.messages = 0

    def write(self, messages: Sequence[bytes]) -> list[bytes]:
        """The bytes to send for ``messages``: small neighbours share a frame, a large one is split into several.

        A message above :data:`limits.MESSAGE_BYTES_MAX` is our mistake and fails an assertion.
        """
        chunks: list[bytes] = []
        batch: list[bytes] = []
        batch_bytes = 0
        for message in messages:
            size = len(message) + _ITEM_BYTES
            if batch and batch_bytes + size > limits.FRAME_BATCH_BYTES:
                self._seal_batch(batch, chunks)
                batch, batch_bytes = [], 0
            if size > limits.FRAME_BATCH_BYTES:
                self._seal_large(message, chunks)
            else:
                batch.append(message)
                batch_bytes += size
        if batch:
            self._seal_batch(batch, chunks)
        self.messages += len(messages)
        return chunks

    def _seal_batch(self, batch: list[bytes], chunks: list[bytes]) -> None:
        if len(batch) == 1:
            self._seal(WHOLE, batch[0], chunks)
        else:
            self._seal(MANY, _MANY.encode(batch), chunks)

    def _seal_large(self, message: bytes, chunks: list[bytes]) -> None:
        size = len(message)
        assert size <= limits.MESSAGE_BYTES_MAX, f"a message of {size} bytes, at most {limits.MESSAGE_BYTES_MAX}"
        step = limits.FRAME_PART_BYTES
        if size <= step:
            self._seal(WHOLE, message, chunks)
            return
        view = memoryview(message)
        last = (size - 1) // step * step
        for start in range(0, last, step):
            self._seal(PART, view[start : start + step], chunks)
        self._seal(WHOLE, view[last:], chunks)

    def _seal(self, kind: int, content: bytes | memoryview, chunks: list[bytes]) -> None:
        header = (kind << 30 | len(content) + TAG_BYTES).to_bytes(HEADER_BYTES, "big")
        chunks.append(header)
        chunks.append(self._cipher.encrypt(cipher_nonce(self.frames), content, header))
        self.frames += 1


class FrameReader:
    """Opens one direction's frames. Any bytes give messages or :class:`PeerError`; after an error it is spent.

    It holds at most one incomplete frame and one incomplete message: ``pending`` bytes, never more than
    ``MESSAGE_BYTES_MAX`` and a frame together.
    """

    __slots__ = ("_buffer", "_cipher", "_need", "_parts", "_parts_bytes", "frames", "messages")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._buffer = bytearray()
        self._need = HEADER_BYTES  # bytes the buffer must hold before looking at it again is worth it
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self.frames = 0
        self.messages = 0

    @property
    def pending(self) -> int:
        """Bytes received that no message was made of yet."""
        return len(self._buffer) + self._parts_bytes

    def forget(self) -> None:
        """Let go of what is incomplete: nothing more will be fed."""
        self._buffer = bytearray()
        self._parts = []
        self._parts_bytes = 0

    def feed(self, data: Buffer) -> list[bytes]:
        """The messages that ``data`` completes, in order. ``data`` may be overwritten afterwards."""
        messages: list[bytes] = []
        with memoryview(data) as view:
            at = self._complete(view, messages) if self._buffer else 0
            if at < len(view):  # frames are opened where they arrived; what is left is copied
                with view[at:] if at else view as rest:
                    used = self._open_frames(rest, messages)
                    if used < len(rest):
                        self._buffer += rest[used:]
        self.messages += len(messages)
        return messages

    def _complete(self, view: memoryview, messages: list[bytes]) -> int:
        """Complete the frame that is in the buffer, and open it; how many bytes of ``view`` that took."""
        at = 0
        while len(self._buffer) < self._need:
            end = at + self._need - len(self._buffer)
            self._buffer += view[at:end]
            at = min(end, len(view))
            if len(self._buffer) < self._need:
                return at
            with memoryview(self._buffer) as held:  # of a header that became whole it sets what is needed
                opened = self._open_frames(held, messages)
            if opened:
                self._buffer.clear()
                break
        return at

    def _open_frames(self, view: memoryview, messages: list[bytes]) -> int:
        """Open every whole frame in ``view``; how many bytes they took."""
        offset = 0
        available = len(view)
        while available - offset >= HEADER_BYTES:
            header = bytes(view[offset : offset + HEADER_BYTES])
            word = int.from_bytes(header, "big")
            length = word & _LENGTH_MASK
            if not TAG_BYTES <= length <= limits.FRAME_BYTES_MAX + TAG_BYTES:
                raise PeerError(f"a frame of {length} bytes was announced")
            end = offset + HEADER_BYTES + length
            if end > available:
                self._need = end - offset
                return offset
            try:
                with view[offset + HEADER_BYTES : end] as sealed:
                    content = self._cipher.decrypt(cipher_nonce(self.frames), sealed, header)
            except InvalidTag:
                raise PeerError("a frame does not open") from None
            self.frames += 1
            self._take(word >> 30, content, messages)
            offset = end
        self._need = HEADER_BYTES
        return offset

    def _take(self, kind: int, content: bytes, messages: list[bytes]) -> None:
        if kind == MANY and not self._parts:
            inner = _MANY.decode(content)
            if not inner:
                raise PeerError("a frame holds no message")
            messages.extend(inner)
        elif kind in (WHOLE, PART):
            self._parts_bytes += len(content)
            if self._parts_bytes > limits.MESSAGE_BYTES_MAX:
                raise PeerError(f"a message above {limits.MESSAGE_BYTES_MAX} bytes")
            if kind == PART:
                # Tiny parts would cost us fifty bytes each to remember; nobody has a reason to send them.
                if len(content) < limits.FRAME_PART_BYTES_MIN:
                    raise PeerError(f"a part of {len(content)} bytes, at least {limits.FRAME_PART_BYTES_MIN} are due")
                self._parts.append(content)
                return
            if self._parts:
                self._parts.append(content)
                content = b"".join(self._parts)
                self._parts = []
            self._parts_bytes = 0
            messages.append(content)
        else:
            raise PeerError(f"a frame of kind {kind} where none may be")
