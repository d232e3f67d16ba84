"""Proof: whether a blob's file still holds what its name says, and where it goes when it does not.

A file that was on the disk before this start may have lost bytes to a power cut, a bad sector or a curious hand. It is
read once and hashed, at 1 to 5 GB a second; one that is damaged is moved to ``damaged/`` and is here no more, so that
nobody is offered it and repair brings a whole one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from blake3 import blake3

from p2pcpn import limits

log = logging.getLogger(__name__)

BLOCK_BYTES: Final = 1 << 20


def is_whole(path: Path, digest: bytes) -> bool:
    """Whether the file holds the blob ``digest``. Raises ``OSError``; a sector that cannot be read is one."""
    hasher = blake3()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            hasher.update(block)
    return hasher.digest() == digest


def put_aside(path: Path, directory: Path) -> None:
    """Move a damaged file to ``directory``, where the newest few stay for the owner to look at. Raises ``OSError``."""
    directory.mkdir(mode=0o700, exist_ok=True)
    kept = sorted(directory.iterdir(), key=lambda each: (each.stat().st_mtime_ns, each.name))
    for old in kept[: max(0, len(kept) + 1 - limits.CORRUPT_COPIES_MAX)]:
        old.unlink(missing_ok=True)
    path.replace(directory / (path.parent.name + path.name))
    log.warning(
        "%s is damaged: its bytes are not those of its name; moved to %s, other peers' copies make up for it; check"
        " that disk",
        path, directory,
    )  # fmt: skip
