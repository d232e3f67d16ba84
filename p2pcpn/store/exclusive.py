"""One process at a time: a lock file that the system releases when its holder dies, however it dies.

Two peers on one data directory would share a key and a boot number, and each would drop the other's datagrams as
replays.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from p2pcpn.errors import StoreError


class Exclusive:
    """Holds ``path`` locked (``flock``) from now on. Raises :class:`StoreError` naming the process that holds it
    already.

    Where the system has no ``flock`` (Windows), sqlite's own locks have to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror or error}") from error
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip()
                os.close(self._file)
                raise StoreError(
                    f"{path.parent}: in use by another peer (process {holder or 'unknown'}); name another folder with "
                    "--data"
                ) from error
        try:
            os.ftruncate(self._file, 0)
            os.write(self._file, b"%d\n" % os.getpid())
        except OSError:
            pass  # a full disk: the lock holds all the same, only its holder is not named

    def release(self) -> None:
        """Let others have it. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
