"""Departing: a peer on this machine is asked to finish, hand on what it keeps, and leave; and watched until it has."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from p2pcpn.errors import P2pcpnError, Unreachable
from p2pcpn.node.control import ask, control_path, is_answered
from p2pcpn.node.draining import DRAIN_S

POLL_S: Final = 0.1
# How long a peer whose socket is closed may take to end: node/daemon.py's bound, and some more.
END_S: Final = 10.0


class Stays(P2pcpnError):
    """A peer that was to drain stays: it is the last to have something, or was told to."""


Watch = Callable[[Mapping[str, Any]], None]


def control_of(data_dir: str | Path) -> Path:
    """Where the peer on that data directory is asked."""
    return control_path(Path(data_dir))


def listens(control: Path) -> bool:
    """Whether a peer is to be asked there."""
    return is_answered(control)


def drain(
    control: Path, timeout_s: float = DRAIN_S, watch: Watch = lambda words: None, *, careful: bool = False
) -> dict[str, int]:
    """Let the peer behind ``control`` leave, and return when its process is gone: what it left undone, by kind.

    ``careful``: it stays where it would be the last to have something, or its tasks do not end in time.
    ``watch`` is told several times a second how far it is. Raises :class:`Unreachable` where no peer answers, and
    :class:`P2pcpnError` where somebody has it stay after all.
    """
    pid = ask(control, "status")["pid"]
    process = _opened(pid)
    try:
        words = ask(control, "drain", drain_s=timeout_s, careful=careful)
        while words:
            watch(words)
            if words["state"] == "staying":
                raise Stays("it stays after all: it is the last to have something, or was told to stay")
            time.sleep(POLL_S)
            try:
                found = ask(control, "draining")
            except Unreachable:
                break
            words = found
        if process is not None:
            select.select([process], [], [], END_S)  # readable once the process has ended
    finally:
        if process is not None:
            os.close(process)
    behind: dict[str, int] = words.get("behind", {})
    return behind


def stay(control: Path) -> bool:
    """Take it back; false where nothing was begun, or it is too late."""
    return bool(ask(control, "stay")["stays"])


def _opened(pid: int) -> int | None:
    """A handle of the process that has just answered, where the system has such (Linux): its number may be given out
    again."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def left_behind(behind: Mapping[str, int]) -> str:
    """One line on what could not be finished or handed on; empty where everything was."""
    kept = [
        _number(behind[what], word) for what, word in (("jobs", "job"), ("sections", "blob section")) if what in behind
    ]
    words = []
    if "tasks" in behind:
        words.append(f"{_number(behind['tasks'], 'task')} stopped, to run elsewhere")
    if "results" in behind:
        words.append(f"{_number(behind['results'], 'batch', 'es')} of results that no other peer keeps yet")
    if kept:
        words.append(f"not enough other storage peers for {' and '.join(kept)}")
    return "; ".join(words)


def _number(count: int, word: str, plural: str = "s") -> str:
    return f"{count} {word}{'' if count == 1 else plural}"
