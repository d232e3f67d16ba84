"""Noting: the history of one life of a node, in a file of its own, line by line as things happen.

Each line is one write to the system, so that a process that is killed leaves whole lines, and at most one that is cut.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from p2pcpn.errors import StoreError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.history import Line, packed
from p2pcpn.protocol.witness import Chronicle

log = logging.getLogger("p2pcpn.node")

SUFFIX = ".jsonl"


class HistoryFile:
    """See the module. Raises :class:`StoreError` where the folder cannot be made or written to."""

    def __init__(self, folder: Path, node: bytes, boot: int) -> None:
        self.path = folder / f"{node.hex()[:16]}-{boot}{SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            why = error.strerror or str(error)
            raise StoreError(f"a history cannot be written to {self.path}: {why}; name another folder") from error

    def write(self, line: Line) -> None:
        """One more line. A disk that refuses ends the history, and nothing else."""
        if self._fd < 0:
            return
        try:
            os.write(self._fd, packed(line))
        except OSError as error:
            log.warning("the history %s ends here: %s", self.path, error.strerror or error)
            self.close()

    def close(self) -> None:
        """Write no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def noted(folder: str | Path, keypair: Keypair, boot: int, clock: Callable[[], float]) -> tuple[Chronicle, HistoryFile]:
    """The chronicle of a node's life, and the file that it goes to."""
    file = HistoryFile(Path(folder), keypair.id, boot)
    return Chronicle(keypair.id, boot, keypair.public, clock, file.write), file
