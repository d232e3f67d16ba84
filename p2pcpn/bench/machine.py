"""The machine on which figures were taken: cores, Python, the versions of all that was measured, how busy it was."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

PACKAGES = ("p2pcpn", "loky", "ray", "distributed", "parsl", "hivemind", "kademlia", "numpy", "uvloop", "msgspec")


def facts(packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """What does not change while it is measured."""
    return {
        "cores": os.cpu_count(), "usable_cores": len(psutil.Process().cpu_affinity()) if _affine() else os.cpu_count(),
        "cpu": _cpu(), "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(), "python": platform.python_version(),
        "implementation": platform.python_implementation(), "versions": versions(packages),
    }  # fmt: skip


def _affine() -> bool:
    return hasattr(psutil.Process, "cpu_affinity")


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def load() -> list[float]:
    """How many processes wanted a core: means of 1, 5 and 15 minutes."""
    return [round(mean, 2) for mean in os.getloadavg()]
