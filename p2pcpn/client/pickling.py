"""Pickles of what a program submits: functions once, arguments always, in the submitting thread.

Plain ``pickle`` is tried first, for it is ten times quicker; whatever refers to ``__main__`` (which no worker has) or resists
goes through ``cloudpickle``, by value. A function is pickled once a job: what it closes over is as it was then.
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from p2pcpn.client.bundle import Bundle
from p2pcpn.client.requirements import needed_packages

FUNCTIONS_KEPT = 256
_MAIN = b"__main__"


def dumps(value: object) -> bytes:
    """``value`` so that a worker can load it. Raises whatever the value raises when it cannot be pickled."""
    try:
        data = pickle.dumps(value, protocol=5)
        if _MAIN not in data:
            return data
    except Exception:  # cloudpickle can do more; its own error is the one that tells why not
        pass
    import cloudpickle

    result: bytes = cloudpickle.dumps(value, protocol=5)
    return result


class Functions:
    """The functions of one job: number, pickle and needed packages of each. Safe from several threads."""

    def __init__(self, bundle: Bundle | None) -> None:
        self._bundle = bundle
        self._known: OrderedDict[int, tuple[Callable[..., Any], int]] = OrderedDict()
        self._numbers: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self.pickles: list[bytes] = []
        self.needs: list[tuple[str, ...]] = []

    def number(self, function: Callable[..., Any]) -> int:
        """The number of ``function`` in this job; it is pickled where it is new."""
        known = self._known.get(id(function))
        if known is not None and known[0] is function:
            return known[1]
        import cloudpickle

        data: bytes = cloudpickle.dumps(function, protocol=5)
        with self._lock:
            number = self._numbers.get(data)
            if number is None:
                number = self._numbers[data] = len(self.pickles)
                self.pickles.append(data)
                self.needs.append(needed_packages(data, function, bundle=self._bundle))
            # Held so that the id stays its own; the oldest are let go.
            self._known[id(function)] = (function, number)
            if len(self._known) > FUNCTIONS_KEPT:
                self._known.popitem(last=False)
        return number
