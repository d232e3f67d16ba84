"""Systems under test: each behind the same small interface, started and stopped by its own module.

A system whose package is not installed is absent; :func:`absent` names the command that installs it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Final

from p2pcpn.bench.systems.system import System
from p2pcpn.errors import UsageError

OURS: Final = "p2pcpn"
# name -> (where its class is, the package it needs, what its own people call it). In the order of the printed rows.
SYSTEMS: Final[dict[str, tuple[str, str, str]]] = {
    OURS: ("p2pcpn.bench.systems.swarm:SwarmSystem", "p2pcpn", "Swarm(peers=2), executor(replicas=2)"),
    "pool": ("p2pcpn.bench.systems.pool:PoolSystem", "concurrent.futures", "ProcessPoolExecutor(2)"),
    "loky": ("p2pcpn.bench.systems.loky:LokySystem", "loky", "loky.get_reusable_executor(2)"),
    "ray": ("p2pcpn.bench.systems.ray:RaySystem", "ray", "ray.init(num_cpus=2)"),
    "dask": ("p2pcpn.bench.systems.dask:DaskSystem", "distributed", "LocalCluster(n_workers=2, threads_per_worker=1)"),
    "parsl": ("p2pcpn.bench.systems.parsl:ParslSystem", "parsl", "HighThroughputExecutor, 2 workers"),
}
OTHERS: Final = tuple(name for name in SYSTEMS if name != OURS)
INSTALL: Final = "pip install 'p2pcpn[bench]'"


def make(name: str) -> System:
    """A system by its name, not started. Raises :class:`UsageError` for a name nobody has."""
    if name not in SYSTEMS:
        raise UsageError(f"there is no system {name!r} to measure; there are {', '.join(SYSTEMS)}")
    module, _, cls = SYSTEMS[name][0].partition(":")
    found: System = getattr(import_module(module), cls)()
    return found


def is_installed(package: str) -> bool:
    """Whether ``package`` can be imported, found without importing it."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def absent(name: str) -> str | None:
    """Why a system cannot be measured here, and the command that changes it; ``None`` where it can."""
    package = SYSTEMS[name][1]
    return None if is_installed(package) else f"{package} is not installed: {INSTALL}"
