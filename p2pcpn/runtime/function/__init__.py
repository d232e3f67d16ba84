"""The ``function`` runtime: cloudpickled functions in warm native worker processes, one group per owner and project.

::

    peer (asyncio; loads no pickle)                runtime.FunctionRuntime: which batch runs in which worker
      │ control: fork, kill, remove                link.WorkerLink: the peer's end of one worker
      ├──────────────► zygote (one thread)         zygote.Zygote: forks workers in 2 ms, reaps and avenges them
      │                  │ fork                    launch: starts a zygote by exec or by an early fork
      │ batches, results ▼                         progress.Page: what runs now, readable after a SIGKILL
      └──────────────► worker                      worker.Worker: loads functions, runs tasks, reports columns

Only members of a keyed swarm and trusted keys get here: a worker is a process of the peer's user, not a sandbox.

What the peer's side needs is loaded when it is first used: a zygote imports this package too, and no event loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcpn.runtime.function.batches import Batch, Died, Event, GroupKey, Unstarted
    from p2pcpn.runtime.function.messages import DROPPED, OK, RAISED, STDERR, STDOUT, Finished, Output, State
    from p2pcpn.runtime.function.runtime import FunctionRuntime

__all__ = [
    "FunctionRuntime",
    "GroupKey",
    "Batch",
    "Event",
    "Finished",
    "Output",
    "State",
    "Died",
    "Unstarted",
    "OK",
    "RAISED",
    "DROPPED",
    "STDOUT",
    "STDERR",
]

_HOME = {
    "FunctionRuntime": "runtime",
    **dict.fromkeys(("GroupKey", "Batch", "Event", "Died", "Unstarted"), "batches"),
}


def __getattr__(name: str) -> object:
    """Load a public name from the module it lives in, and keep it. Raises ``AttributeError`` for any other name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOME.get(name, 'messages')}"), name)
    globals()[name] = value
    return value
