"""A swarm that computes: peers that find each other, claim work and keep its results, with no coordinator.

::

    from p2pcpn import Executor

    with Executor() as executor:
        print(executor.submit(pow, 2, 10).result())

Names are loaded when they are first used, so that ``import p2pcpn`` costs nothing, in a worker process above all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcpn.client.executor import Executor
    from p2pcpn.client.inputs import ResultOf
    from p2pcpn.client.job import Job, Result
    from p2pcpn.client.node import Node
    from p2pcpn.client.swarm import Swarm
    from p2pcpn.config import Config
    from p2pcpn.errors import (
        DiskFull,
        JobCancelled,
        JobError,
        P2pcpnError,
        PeerError,
        RemoteTraceback,
        ResultRefused,
        StoreError,
        TaskDeclined,
        TaskError,
        Unreachable,
        UsageError,
        WorkerDied,
    )
    from p2pcpn.runtime.function.checkpoints import checkpoint, restored

__version__ = "0.1.0"

__all__ = [
    "Executor",
    "Swarm",
    "Node",
    "Config",
    "Job",
    "Result",
    "ResultOf",
    "checkpoint",
    "restored",
    "P2pcpnError",
    "UsageError",
    "PeerError",
    "Unreachable",
    "StoreError",
    "DiskFull",
    "JobError",
    "TaskError",
    "RemoteTraceback",
    "WorkerDied",
    "TaskDeclined",
    "ResultRefused",
    "JobCancelled",
    "__version__",
]

_HOME = {
    "Executor": "p2pcpn.client.executor",
    "Swarm": "p2pcpn.client.swarm",
    "Node": "p2pcpn.client.node",
    "Config": "p2pcpn.config",
    "Job": "p2pcpn.client.job",
    "Result": "p2pcpn.client.job",
    "ResultOf": "p2pcpn.client.inputs",
    "checkpoint": "p2pcpn.runtime.function.checkpoints",
    "restored": "p2pcpn.runtime.function.checkpoints",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module it lives in, and keep it. Raises ``AttributeError`` for any other name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME.get(name, "p2pcpn.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
