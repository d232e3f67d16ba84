"""No process outlives its parent: the system calls that make it so, each with what it leaves open.

Three nets, because each has a hole. The zygote sees its socket to the peer close and kills every worker's process group
(hole: the zygote itself is killed). The kernel kills a worker when the zygote dies (``PR_SET_PDEATHSIG``; hole: Linux
only, and not inherited by what the worker starts). A watching thread does the same elsewhere (hole: code that never
releases the interpreter lock). What a task started and detached comes back to the zygote, which is a subreaper, to be
killed.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_WATCH_S: Final = 0.5
# Of glibc: sizes from which memory is fetched and given back piece by piece, and how much of the rest is kept.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_PIECE_BYTES: Final = 32 << 20  # where glibc's own guess ends, too
_KEPT_BYTES: Final = 16 << 20


def _prctl(option: int, value: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        zero = ctypes.c_ulong(0)
        return bool(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), zero, zero, zero) == 0)
    except (OSError, AttributeError):
        return False


def adopt_orphans() -> bool:
    """From now on, what a dead worker leaves running becomes our child. True where the system can (Linux)."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int, *, exit_now: Callable[[int], object] = os._exit) -> None:
    """By a worker, right after the fork: die when process ``parent`` does, whatever this process is doing then."""
    if not _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL):
        threading.Thread(target=_watch, args=(parent, exit_now), name="p2pcpn-parent-watch", daemon=True).start()
    if os.getppid() != parent:  # it died between the fork and the line above
        exit_now(1)


def _watch(parent: int, exit_now: Callable[[int], object]) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    exit_now(1)


def kill_group(leader: int) -> None:
    """SIGKILL for a process and everything in its process group; what is gone already is no error."""
    for kill in (os.killpg, os.kill):
        try:
            kill(leader, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def children() -> list[int]:
    """Our child processes, ascending, as far as the system tells (Linux): zombies and adopted orphans included."""
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
    except OSError:
        return []
    return sorted(int(word) for word in text.split())


def limit_memory(bytes_max: int | None) -> None:
    """Bound what this process may allocate, so that a greedy task gets a MemoryError and not the whole machine.

    ``RLIMIT_DATA`` counts writable private memory (Linux); ``RLIMIT_AS`` would also count what a library only maps.
    """
    if bytes_max is not None:
        kind = resource.RLIMIT_DATA if sys.platform.startswith("linux") else resource.RLIMIT_AS
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            bytes_max = min(bytes_max, hard)
        resource.setrlimit(kind, (bytes_max, bytes_max))


def keep_memory() -> None:
    """Memory that one task frees stays with this process for the next one, up to 16 MiB, where the C library is glibc.

    Left to itself it goes back to the system and is fetched anew for each large argument and result: 280 pages for
    1 MiB there and back, a third of all that a worker's processor time went into.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _PIECE_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def no_core_dumps() -> None:
    """A task that crashes leaves no core file in the owner's folders."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
