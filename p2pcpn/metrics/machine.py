"""The machine a peer runs on: what it has, and how much of it is free now.

:func:`describe` is asked once, at start; a :class:`Sampler` is asked every few seconds. What cannot be read is not
claimed: an accelerator without a readable memory is none, a battery that nobody reports is ``None``.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from p2pcpn.wire.statements import Accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Steps of what is advertised: a tenth of the load, a sixteenth of the memory. Finer steps change with every breath.
LOAD_STEPS = 10
MEMORY_STEPS = 16
# Two readings closer than this (seconds of all cores together) measure the clock's ticks, not the load.
_SPAN_MIN_S = 0.1
_ACCELERATORS_MAX = 4  # what an advert has room for
_WORD_CHARS_MAX = 32


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change while a peer runs. The words are those of :class:`p2pcpn.wire.statements.Advert`."""

    cores: int
    memory_bytes: int
    python: str  # "3.11"
    implementation: str  # "cpython"
    platform: str  # "linux-x86_64"
    accelerators: tuple[Accelerator, ...]
    group: int  # the same for all peers of this machine; 63 bits


@dataclass(frozen=True, slots=True)
class Sample:
    """What changes. ``load``: the share of all cores that processes other than ours use."""

    load: float
    memory_bytes: int
    memory_free_bytes: int
    on_battery: bool | None  # None: no battery that can be read


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor seconds since boot: of all cores, of them busy, and of them used by our own processes."""

    total_s: float
    busy_s: float
    own_s: float


def describe(root: Path = Path("/"), run: Callable[[Sequence[str]], str] | None = None) -> Machine:
    """Find out what this machine has. May take some seconds where a graphics driver is slow to answer: call it in a
    thread.

    ``root`` is where ``/proc``, ``/sys`` and ``/etc`` are; ``run`` gives the output of a command, or ``""``.
    """
    major, minor, _ = platform.python_version_tuple()
    word = f"{platform.system() or 'unknown'}-{platform.machine() or 'unknown'}".lower()
    return Machine(
        cores=cores(root),
        memory_bytes=memory(root)[0],
        python=f"{major}.{minor}",
        implementation=platform.python_implementation().lower()[:_WORD_CHARS_MAX],
        platform=word[:_WORD_CHARS_MAX],
        accelerators=accelerators(root, run or _output),
        group=group(root),
    )


def cores(root: Path = Path("/")) -> int:
    """Cores this process may use: its affinity, and in a container the quota (cgroup v2 ``cpu.max``), rounded up."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _text(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period) > 0:
        usable = min(usable, math.ceil(int(quota) / int(period)))
    return max(1, usable)


def memory(root: Path = Path("/")) -> tuple[int, int]:
    """(bytes in all, bytes free): the machine's, or the container's where that has less (cgroup v2 ``memory.max``)."""
    machine = psutil.virtual_memory()
    total, free = machine.total, machine.available
    limit = _text(root / "sys/fs/cgroup/memory.max")
    if limit.isdigit() and int(limit) < total:
        total = int(limit)
        used = _text(root / "sys/fs/cgroup/memory.current")
        free = min(free, max(0, total - int(used))) if used.isdigit() else min(free, total)
    return total, free


def group(root: Path = Path("/"), address: Callable[[], int] = uuid.getnode) -> int:
    """The machine group: 63 bits that peers of one machine share and that do not tell which machine it is.

    The kernel's boot id first: containers share it, and they die together; the machine id (equal in cloned images,
    different in containers) and the network card's address where there is none.
    """
    for path in ("proc/sys/kernel/random/boot_id", "etc/machine-id", "var/lib/dbus/machine-id"):
        name = _text(root / path).encode()
        if len(name) >= 32:
            break
    else:
        name = address().to_bytes(8, "big")
    return int.from_bytes(blake2b(name, digest_size=8, person=b"p2pcpn machine").digest(), "big") >> 1


def accelerators(root: Path, run: Callable[[Sequence[str]], str]) -> tuple[Accelerator, ...]:
    """Devices whose memory can be read: NVIDIA's by ``nvidia-smi``, AMD's in sysfs. Equal ones are counted together."""
    query = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
    found = [("cuda", int(line) << 20) for line in run(query).split() if line.isdigit()]
    for path in sorted((root / "sys/class/drm").glob("card*/device/mem_info_vram_total")):
        size = _text(path)
        if size.isdigit():
            found.append(("amdgpu", int(size)))
    counts = sorted(Counter(found).items())
    return tuple(Accelerator(kind, count, size) for (kind, size), count in counts[:_ACCELERATORS_MAX])


def on_battery() -> bool | None:
    """Whether the machine runs on its battery; ``None`` where it has none or does not say."""
    try:
        battery = psutil.sensors_battery()
    except (
        AttributeError,
        OSError,
        RuntimeError,
        ValueError,
    ):  # not on this platform, or a driver that reports nonsense
        return None
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


class Sampler:
    """Samples the load between two calls. ``roots`` are the processes whose trees are ours (this one where none are
    given).

    The peers of a local swarm name the program that started them: then none of them takes another's work for a
    stranger's.
    """

    def __init__(
        self,
        roots: Sequence[int] = (),
        *,
        read: Callable[[Sequence[int]], Reading] | None = None,
        root: Path = Path("/"),
        battery: Callable[[], bool | None] = on_battery,
    ) -> None:
        self._roots = tuple(roots) or (os.getpid(),)
        self._read = read or read_processors
        self._root = root
        self._battery = battery
        self._last = self._read(self._roots)
        self._load = 0.0

    def sample(self) -> Sample:
        """What is free now, and the load since the call before (since the sampler was made, at the first)."""
        now = self._read(self._roots)
        span_s = now.total_s - self._last.total_s
        if span_s >= _SPAN_MIN_S:
            # Our own falls when a tree loses a child to another parent: then it counts as nothing, not as less.
            others_s = (now.busy_s - self._last.busy_s) - max(0.0, now.own_s - self._last.own_s)
            self._load = min(1.0, max(0.0, others_s / span_s))
            self._last = now
        total, free = memory(self._root)
        return Sample(self._load, total, free, self._battery())


def read_processors(roots: Sequence[int]) -> Reading:
    """Processor time since boot, and that of the process trees under ``roots``.

    A process's time includes that of its children that ended and were waited for, so nothing is lost when a worker
    ends.
    """
    times = psutil.cpu_times()
    # Linux counts a guest's time within user and nice as well.
    total_s = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    own: dict[int, float] = {}
    for pid in roots:
        try:
            process = psutil.Process(pid)
            for member in (process, *process.children(recursive=True)):
                if member.pid not in own:
                    own[member.pid] = _spent_s(member)
        except psutil.Error:
            continue
    return Reading(total_s, total_s - times.idle - getattr(times, "iowait", 0.0), sum(own.values()))


def coarse(sample: Sample, before: Sample | None = None) -> Sample:
    """The sample in steps wide enough to be told to others only when they matter.

    A value that has moved less than a step from ``before`` (coarse itself) stays: one that hovers at an edge does not
    flap between two steps.
    """
    step_bytes = max(1, sample.memory_bytes // MEMORY_STEPS)
    load = round(sample.load * LOAD_STEPS) / LOAD_STEPS
    free = sample.memory_free_bytes // step_bytes * step_bytes
    if before is not None and before.memory_bytes == sample.memory_bytes:
        if abs(sample.load - before.load) * LOAD_STEPS < 1:
            load = before.load
        # It was rounded down, so it stands for the step above it; half a step more is allowed on either side.
        if -step_bytes / 2 <= sample.memory_free_bytes - before.memory_free_bytes < step_bytes * 1.5:
            free = before.memory_free_bytes
    return replace(sample, load=load, memory_free_bytes=free)


def _spent_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:  # it has just ended
        return 0.0
    return float(
        times.user + times.system + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _output(command: Sequence[str]) -> str:
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        ran = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=5.0, check=False)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return ran.stdout if ran.returncode == 0 else ""
