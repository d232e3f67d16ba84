"""Leftovers: folders and sockets of programs that were killed, cleared away by the next one.

Whoever is killed cannot tidy up. Whether a folder is in use says the lock on the store within it, which the system
releases with its holder, never its age alone or a process id.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from p2pcpn.errors import StoreError
from p2pcpn.node.control import is_answered
from p2pcpn.store.exclusive import Exclusive

log = logging.getLogger("p2pcpn.node")

# A folder that was just made may not hold its lock yet.
FRESH_S: Final = 60.0
# One start clears away so many at most.
FOLDERS_MAX: Final = 64
SOCKETS_MAX: Final = 256
# A node without a data directory, and a swarm; not what ``swarm up`` leaves running, which outlives its program.
_NAMES: Final = ("p2pcpn-" + 16 * "[0-9a-f]", "p2pcpn-" + 8 * "[0-9a-z_]", "p2pcpn-swarm-*")
# A node locks its store, a swarm its folder beside those of its peers.
_LOCKS: Final = ("*.lock", "*/*.lock")


def sweep(root: Path | None = None, now: float | None = None) -> int:
    """Remove what killed programs of this user left in ``root`` (the system's temporary folder); returns how many.

    Blocks while it deletes. What cannot be looked at or removed stays.
    """
    if not hasattr(os, "getuid"):
        return 0
    where = Path(tempfile.gettempdir()) if root is None else root
    when = time.time() if now is None else now
    removed = 0
    for folder in _ours(where):
        try:
            if removed < FOLDERS_MAX and folder.stat().st_mtime < when - FRESH_S and _is_dead(folder):
                clear(folder)
                removed += not folder.exists()
        except OSError:
            continue  # somebody else removes it just now
    removed += _sockets(where / f"p2pcpn-{os.getuid()}", when)
    if removed:
        log.debug("cleared away %d leftovers of programs that were killed", removed)
    return removed


def clear(folder: Path) -> None:
    """Remove a folder, its locks last.

    Where that is cut short by a signal, or a thread still writes, a lock is left, and the next sweep finds the folder.
    """
    try:
        for entry in list(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.suffix != ".lock":
                entry.unlink(missing_ok=True)
        if all(entry.suffix == ".lock" for entry in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        log.debug("%s is left: %s", folder, error)


def _ours(where: Path) -> Iterator[Path]:
    """Folders that programs of this user made under our names, and no links to others."""
    for folder in sorted(folder for name in _NAMES for folder in where.glob(name)):
        try:
            found = folder.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            yield folder


def _is_dead(folder: Path) -> bool:
    """Whether the folder has locks, and nobody holds any."""
    locks = [lock for pattern in _LOCKS for lock in folder.glob(pattern)]
    return bool(locks) and all(_is_free(lock) for lock in locks)


def _is_free(lock: Path) -> bool:
    try:
        Exclusive(lock).release()
    except (StoreError, OSError):
        return False
    return True


def _sockets(directory: Path, now: float) -> int:
    """Control sockets at which nobody answers."""
    removed = 0
    try:
        found = sorted(directory.glob("*.sock"))[:SOCKETS_MAX]
    except OSError:
        return 0
    for path in found:
        try:
            if path.lstat().st_mtime < now - FRESH_S and stat.S_ISSOCK(path.lstat().st_mode) and not is_answered(path):
                path.unlink()
                removed += 1
        except OSError:
            continue
    return removed
