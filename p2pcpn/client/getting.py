"""Getting a blob: its sections from whoever keeps them, several at once, each chunk verified before it is kept.

A get that was cut goes on where it was: what lies in ``FILE.part`` counts as far as sealing it again gives the chunk
that the manifest names; nothing else is noted anywhere.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from p2pcpn import limits
from p2pcpn.client.files import READ_BYTES, read_at, spooling, write_at
from p2pcpn.errors import PeerError, StoreError, UsageError
from p2pcpn.node.lane import Lane
from p2pcpn.node.overlay import Overlay
from p2pcpn.wire import manifests
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.chunks import ChunkSeal
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.manifests import CONTENT, BlobName, Manifest
from p2pcpn.wire.messages import Holding
from p2pcpn.wire.sealing import digest

PART_SUFFIX: Final = ".part"

# Told (bytes done, bytes in all) now and then.
OnProgress = Callable[[int, int], None]


async def get_blob(
    overlay: Overlay, name: str | BlobName, path: str | os.PathLike[str], *, on_progress: OnProgress | None = None
) -> int:
    """Bring a blob into the file ``path``; its size. It is in ``path`` once it is whole, in ``path.part`` before.

    Raises :class:`UsageError` for what is no name or no place for a file, :class:`PeerError` where no peer that answers
    has all of it.
    """
    name = name if isinstance(name, BlobName) else manifests.parse_name(name)
    target = _target(Path(path))
    partial = target.with_name(target.name + PART_SUFFIX)
    try:
        file = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError as error:
        raise UsageError(f"{target}: there is no folder {target.parent}") from error
    except OSError as error:
        raise UsageError(f"{partial}: {error.strerror or error}") from error
    if not _is_ours(file, partial):
        os.close(file)
        raise UsageError(f"{partial} is written to by another get")
    try:
        async with _Getting(overlay, name, on_progress) as getting:
            size = await getting.into(file)
        os.ftruncate(file, size)
        await asyncio.to_thread(_finish, file, partial, target)
    except OSError as error:
        raise StoreError(f"{partial}: {error.strerror or error}") from error
    finally:
        if os.fstat(file).st_size == 0:  # nothing came: nothing is left
            partial.unlink(missing_ok=True)
        os.close(file)
    return size


def _is_ours(file: int, path: Path) -> bool:
    """Whether nobody else brings a blob into ``file``, which is at ``path``: they would spoil each other's."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file), os.stat(path))  # or another get ended in between
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        return True  # a file system without locks


def _finish(file: int, partial: Path, target: Path) -> None:
    """Its bytes are on disk before its name says that they are all there."""
    os.fsync(file)
    os.replace(partial, target)
    if os.name == "posix":
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _target(path: Path) -> Path:
    """The plain file that ``path`` is, or is going to be. It is replaced in the end: a device must not be."""
    try:
        if path.is_symlink():
            path = Path(os.path.realpath(path))
        there = path.exists()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    if path.is_dir():
        raise UsageError(f"{path} is a directory; name a file in it")
    if there and not path.is_file():
        raise UsageError(f"{path} is no plain file; have the blob on standard output (-) and redirect that")
    return path


async def read_blob(overlay: Overlay, name: str | BlobName, *, bytes_max: int | None = None) -> bytes:
    """A blob's bytes, for those that are small enough to be held. Raises like :func:`get_blob`."""
    name = name if isinstance(name, BlobName) else manifests.parse_name(name)
    with tempfile.TemporaryFile("w+b", buffering=0) as file:
        async with _Getting(overlay, name, None) as getting:
            with spooling():
                size = await getting.into(file.fileno(), bytes_max)
        return read_at(file.fileno(), 0, size)


async def stream_blob(
    overlay: Overlay, name: str | BlobName, write: Callable[[bytes], Any], *, on_progress: OnProgress | None = None
) -> int:
    """Hand a blob to ``write`` (blocking) in its order, piece by piece; its size. Raises like :func:`get_blob`."""
    name = name if isinstance(name, BlobName) else manifests.parse_name(name)
    async with _Getting(overlay, name, on_progress) as getting:
        return await getting.through(write)


@dataclass(slots=True)
class _Found:
    """A section that was found: what it is, and who has it."""

    name: bytes
    manifest: Manifest
    holders: list[tuple[Contact, Holding]] = field(default_factory=list)


class _Getting:
    """One get. See :func:`get_blob`."""

    def __init__(self, overlay: Overlay, name: BlobName, on_progress: OnProgress | None) -> None:
        self._overlay = overlay
        self._name = name
        self._on_progress = on_progress
        self._lane = Lane(overlay.loop)
        self._done_bytes = 0
        self._size = 0

    async def __aenter__(self) -> _Getting:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._lane.close()

    async def _sections(self) -> tuple[_Found | None, list[tuple[bytes, int]]]:
        """The blob's sections; the first one found already, where it is the only one."""
        root = await self._find(self._name.digest)
        if root.manifest.level == CONTENT:
            self._size = root.manifest.size_bytes
            return root, [(root.name, root.manifest.size_bytes)]
        if root.manifest.size_bytes > limits.BLOB_SECTIONS_MAX * 40:
            raise PeerError("the list of a blob's sections is too long")
        with tempfile.TemporaryFile("w+b", buffering=0) as file:
            with spooling():
                await self._bring(root, file.fileno(), 0)
            packed = read_at(file.fileno(), 0, root.manifest.size_bytes)
        sections = manifests.unpack_list(packed)
        self._size = sum(size for _, size in sections)
        self._done_bytes = 0
        return None, sections

    async def into(self, file: int, bytes_max: int | None = None) -> int:
        """All of it to its places in a file; the size."""
        first, sections = await self._sections()
        if bytes_max is not None and self._size > bytes_max:
            raise PeerError(f"the blob has {self._size} bytes, more than {bytes_max}")
        start = 0
        async for found in self._each(first, sections):
            await self._bring(found, file, start)
            start += found.manifest.size_bytes
        return start

    async def through(self, write: Callable[[bytes], Any]) -> int:
        """All of it to a writer, in order, through a temporary file of one section."""
        first, sections = await self._sections()
        total = 0
        with tempfile.TemporaryFile("w+b", buffering=0) as file:
            async for found in self._each(first, sections):
                os.ftruncate(file.fileno(), 0)
                with spooling():
                    await self._bring(found, file.fileno(), 0)
                size = found.manifest.size_bytes
                for at in range(0, size, READ_BYTES):
                    data = read_at(file.fileno(), at, min(READ_BYTES, size - at))
                    await asyncio.to_thread(write, data)
                total += size
        return total

    async def _each(self, first: _Found | None, sections: Sequence[tuple[bytes, int]]) -> AsyncIterator[_Found]:
        """Each section, found; the next is looked for while one is brought."""
        coming = asyncio.ensure_future(self._find(sections[0][0])) if first is None else None
        try:
            for part, (_, size) in enumerate(sections):
                found = first if coming is None else await coming
                assert found is not None, "a blob of one section was found, others are looked for"
                manifest = found.manifest
                if (manifest.level, manifest.part, manifest.size_bytes) != (CONTENT, part, size):
                    raise PeerError("a section is not the one that the blob's list names")
                coming = None
                if part + 1 < len(sections):
                    coming = asyncio.ensure_future(self._find(sections[part + 1][0]))
                yield found
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    async def _find(self, name: bytes) -> _Found:
        kept = self._overlay.depot.ledger.kept.get(name)
        if kept is not None and kept.whole:  # it is kept here
            return _Found(name, kept.manifest, [])
        found = await self._overlay.hauler.find(name)
        if found is None:
            raise PeerError(f"no peer that answers has the section {name.hex()[:8]}")
        manifest, holders = found
        return _Found(name, manifest, holders)

    async def _bring(self, found: _Found, file: int, start: int) -> None:
        """One section to its place in a file; what is there already stays."""
        manifest = found.manifest
        chunk_seal = ChunkSeal(self._name.key, manifest.level, manifest.part)

        def here() -> list[int]:
            had = []
            end = os.fstat(file).st_size
            for index in range(manifest.count):
                at, size = manifest.open_range(index)
                if start + at + size > end:
                    break
                if chunk_seal.is_chunk(manifest, index, os.pread(file, size, start + at)):
                    had.append(index)
            return had

        def take(index: int, sealed: Buffer) -> None:
            if digest(sealed) != manifest.chunk(index):
                raise PeerError("a chunk is not the one that its manifest names")
            try:
                data = chunk_seal.open(index, sealed)
            except PeerError:  # whoever sent it did right by the manifest
                raise UsageError("that name has the key of another blob; copy it again") from None
            write_at(file, memoryview(data), start + manifest.open_range(index)[0])

        def kept_here(had: list[int]) -> list[int]:
            """What this node itself keeps of it, for others or pinned."""
            depot = self._overlay.depot
            if found.name not in depot.ledger.kept:
                return had
            for index in sorted(set(range(manifest.count)).difference(had)):
                try:
                    take(index, depot.store.read(found.name, *manifest.sealed_range(index)))
                except (PeerError, StoreError):
                    continue  # not here, or damaged: from others, then
                had.append(index)
            return had

        had = await self._lane.run(lambda: kept_here(here()))
        for index in had:
            self._came(manifest, index)
        await self._overlay.hauler.bring(
            found.name, manifest, found.holders, had, take, self._lane,
            more=lambda: self._overlay.hauler.storage_near(found.name), kept=lambda index: self._came(manifest, index),
        )  # fmt: skip

    def _came(self, manifest: Manifest, index: int) -> None:
        self._done_bytes += manifest.open_range(index)[1]
        if self._on_progress is not None:
            self._on_progress(min(self._done_bytes, self._size), self._size)
