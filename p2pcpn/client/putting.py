"""Putting a blob: a file of any size, sealed and cut into sections that peers of the swarm keep.

The file is never in memory: it is read once for its key, and once more, chunk by chunk, for its digests and on the way
to its holders. A put that was cut goes on where it was: the same file of the same owner gives the same chunks, and
peers say which they have.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from p2pcpn import limits
from p2pcpn.client.files import measured, read_at, readable
from p2pcpn.errors import Unreachable, UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol.transfer import Placing
from p2pcpn.wire import manifests
from p2pcpn.wire.chunks import ChunkSeal, blob_id, blob_key, note_key
from p2pcpn.wire.codec import Buffer, Codec
from p2pcpn.wire.manifests import CONTENT, LIST, BlobName, Manifest
from p2pcpn.wire.sealing import digest, seal, swarm_proof
from p2pcpn.wire.statements import Deposit, Signed, signed

REPLICAS: Final = 2
SECTION_CHUNKS: Final = limits.MANIFEST_CHUNKS_MAX
# A holder that is quicker than the others goes on with the next while they end theirs.
SECTIONS_AT_ONCE: Final = 2
# Sealed chunks that several holders are about to be sent: they are at nearly the same place.
SEALED_KEPT: Final = 24
# Four bytes each at most.
NOTE_CHARS_MAX: Final = 64
# Of what peers said in one line.
WORDS_MAX: Final = 3

# Told (bytes done, bytes in all) now and then.
OnProgress = Callable[[int, int], None]


class Note(msgspec.Struct, array_like=True, frozen=True):
    """What an owner notes for himself beside a blob."""

    key: bytes
    file: str


NOTES: Codec[Note] = Codec(Note, limits.DEPOSIT_NOTE_BYTES_MAX, "note")


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a put. ``replicas`` are those of the section that has fewest."""

    name: str
    size_bytes: int
    replicas: int
    wanted: int
    refusals: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether each section lies on as many peers as were wanted."""
        return self.replicas >= self.wanted


@dataclass(slots=True)
class _Section:
    """One section of a blob that is being put, and how its chunks are made."""

    manifest: Manifest
    data: bytes
    name: bytes
    chunk: Callable[[int], bytes]
    signed: Signed | None = None


async def put_blob(
    overlay: Overlay,
    owner: Keypair,
    source: str | os.PathLike[str] | Buffer | IO[bytes],
    *,
    replicas: int = REPLICAS,
    retention_s: float = limits.RETENTION_S,
    on_progress: OnProgress | None = None,
) -> Placed:
    """Have the bytes of ``source`` (a path, bytes, or a file to read to its end) kept by ``replicas`` peers.

    Raises :class:`UsageError` for what cannot be, :class:`Unreachable` when no peer takes them.
    """
    if not 1 <= replicas <= limits.REPLICAS_MAX:
        raise UsageError(f"a blob has 1 to {limits.REPLICAS_MAX} replicas, not {replicas}")
    if not 0 < retention_s <= limits.RETENTION_S_MAX:
        raise UsageError(f"a blob is kept for at most {limits.RETENTION_S_MAX // 86400} days")
    with readable(source) as file:
        size, content = await asyncio.to_thread(measured, file)
        putting = _Putting(overlay, owner, file, size, blob_key(owner, content, size), replicas, retention_s)
        putting.label = _label(source) if isinstance(source, (str, os.PathLike)) else ""
        putting.on_progress = on_progress
        return await putting.run()


def _label(path: str | os.PathLike[str]) -> str:
    """A file's name as text: what is no UTF-8 in it is a question mark."""
    return Path(os.fspath(path)).name.encode("utf-8", "replace").decode("utf-8")


class _Putting:
    """One put. See :func:`put_blob`."""

    def __init__(
        self, overlay: Overlay, owner: Keypair, file: int, size: int, key: bytes, replicas: int, retention_s: float
    ) -> None:
        self._overlay = overlay
        self._owner = owner
        self._file = file
        self._size = size
        self._key = key
        self._replicas = replicas
        self._retention_s = retention_s
        self._created_s = int(time.time())
        self._sent_bytes = 0
        self._fewest = replicas
        self._refusals: list[str] = []
        self.label = ""
        self.on_progress: OnProgress | None = None

    async def run(self) -> Placed:
        section_bytes = SECTION_CHUNKS * limits.CHUNK_BYTES
        count = max(1, -(-self._size // section_bytes))
        if count > limits.BLOB_SECTIONS_MAX:
            raise UsageError(f"a blob has at most {limits.BLOB_SECTIONS_MAX * section_bytes >> 40} TiB")
        entries: list[tuple[bytes, int]] = []
        travelling: deque[asyncio.Task[None]] = deque()
        try:
            for part in range(count):
                root = await asyncio.to_thread(self._section, part)  # hashed while others travel
                entries.append((root.name, root.manifest.size_bytes))
                if len(travelling) >= SECTIONS_AT_ONCE:
                    await travelling[0]
                    travelling.popleft()
                place = self._place(root, is_root=count == 1, parts=0 if count == 1 else count)
                travelling.append(asyncio.ensure_future(place))
            while travelling:
                await travelling[0]
                travelling.popleft()
        finally:
            for task in travelling:
                task.cancel()
            await asyncio.gather(*travelling, return_exceptions=True)
        if count > 1:
            listed = manifests.pack_list(entries)
            root = _cut(self._key, LIST, 0, len(listed), lambda start, size: listed[start : start + size])
            await self._place(root, is_root=True, parts=count)
        return Placed(
            str(BlobName(root.name, self._key)), self._size, self._fewest, self._replicas, tuple(self._refusals)
        )

    def _section(self, part: int) -> _Section:
        """In a thread: a section's manifest."""
        start = part * SECTION_CHUNKS * limits.CHUNK_BYTES
        size = min(SECTION_CHUNKS * limits.CHUNK_BYTES, self._size - start)
        return _cut(self._key, CONTENT, part, size, lambda at, length: read_at(self._file, start + at, length))

    def _deposit(self, section: _Section, *, is_root: bool, parts: int) -> Signed:
        note = b""
        if is_root:
            packed = NOTES.encode(Note(self._key, self.label[-NOTE_CHARS_MAX:]))
            note = seal(note_key(self._owner, note_context(section.name, self._created_s)), 0, packed)
        overlay = self._overlay
        return signed(
            Deposit(
                section.name, blob_id(self._key), is_root, parts, self._size,
                self._created_s, self._retention_s, self._replicas, note,
                swarm_proof(overlay.swarm_key, self._owner.public),
            ),
            self._owner,
        )  # fmt: skip

    async def _place(self, section: _Section, *, is_root: bool, parts: int) -> None:
        """Bring one section to its holders, and to others where those fail."""
        overlay = self._overlay
        deposit = self._deposit(section, is_root=is_root, parts=parts)
        placing = Placing(overlay.hauler.storage_near(section.name), self._replicas)
        await overlay.hauler.place(
            placing, deposit, section.data, section.manifest, section.name, section.chunk,
            sent=lambda index: self._sent(section.manifest.open_range(index)[1]),
        )  # fmt: skip
        self._refusals += [word for word in placing.words() if word not in self._refusals]
        self._fewest = min(self._fewest, len(placing.holders))
        if not placing.holders:
            words = "; ".join(placing.words()[:WORDS_MAX])
            raise Unreachable(f"no peer keeps it: {words or 'none here keeps blobs for others'}")

    def _sent(self, size_bytes: int) -> None:
        self._sent_bytes += size_bytes
        if self.on_progress is not None:
            self.on_progress(min(self._size, self._sent_bytes // self._replicas), self._size)


def _cut(key: bytes, level: int, part: int, size: int, read: Callable[[int, int], bytes]) -> _Section:
    """A section of ``size`` bytes that ``read(start, size)`` gives: its manifest, and how its chunks are made."""
    chunk_seal = ChunkSeal(key, level, part)
    count = manifests.chunk_count(size, limits.CHUNK_BYTES)
    recent: OrderedDict[int, bytes] = OrderedDict()

    def sealed(index: int) -> bytes:
        start = index * limits.CHUNK_BYTES
        return chunk_seal.seal(index, read(start, min(limits.CHUNK_BYTES, size - start)))

    def chunk(index: int) -> bytes:
        found = recent.pop(index, None)
        if found is None:
            found = sealed(index)
        recent[index] = found
        if len(recent) > SEALED_KEPT:
            recent.popitem(last=False)
        return found

    digests = b"".join(digest(sealed(index)) for index in range(count))
    manifest = Manifest(level, part, size, limits.CHUNK_BYTES, digests)
    data = manifests.CODEC.encode(manifest)
    return _Section(manifest, data, digest(data), chunk)


def note_context(name: bytes, created_s: float) -> bytes:
    """What an owner's note stands beside: its key closes one note."""
    return name + int(created_s).to_bytes(8, "big")
