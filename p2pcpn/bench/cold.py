"""A program that begins, makes an executor of five workers, gets one result and ends; each time a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from p2pcpn.bench.stage import DriverFailed, environment

WORKERS: Final = 5
WAIT_S: Final = 60.0
# What a user's program does first is import; nothing of ours is imported before.
_CODE: Final = """
import json, sys, time
begun = time.perf_counter()
from {module} import {cls}
if __name__ == "__main__":
    executor = {cls}({workers})
    made = time.perf_counter()
    executor.submit(pow, 2, 10).result()
    first = time.perf_counter()
    executor.shutdown()
    ended = time.perf_counter()
    print(json.dumps(dict(made_s=made - begun, first_s=first - begun, shutdown_s=ended - first)))
"""
EXECUTORS: Final[Mapping[str, tuple[str, str]]] = {
    "p2pcpn": ("p2pcpn", "Executor"),
    "pool": ("concurrent.futures", "ProcessPoolExecutor"),
}


def in_fresh_interpreter(system: str) -> dict[str, Any]:
    """Seconds from before the import until the executor is made and until its first result, and of its shutdown.

    ``whole_s`` is the life of the process. Raises :class:`DriverFailed`.
    """
    module, cls = EXECUTORS[system]
    code = _CODE.format(module=module, cls=cls, workers=WORKERS)
    begun = time.perf_counter()
    try:
        ran = subprocess.run(
            [sys.executable, "-P", "-c", code], env=environment(os.environ), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=WAIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DriverFailed(f"a program with {system} did not end within {WAIT_S:g} s") from None
    whole_s = time.perf_counter() - begun
    if ran.returncode:
        raise DriverFailed(f"a program with {system} ended with {ran.returncode}: {ran.stderr[-400:]}")
    found: dict[str, Any] = json.loads(ran.stdout)
    return found | {"whole_s": whole_s}
