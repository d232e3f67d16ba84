"""A driver: the process in which one system lives, with its submitter, apart from all others.

It obeys JSON lines on a socket and answers each with one: ``{"ok": {…}}`` or ``{"error": "text"}``. When the socket
ends, be it in the middle of an order, or on SIGINT and SIGTERM, it stops its system and ends.

::

    {"op": "start"}                                       start the system
    {"op": "load", "name": "deliver", "count": 1000}      a measurement of loads.py
    {"op": "swarm", "name": "ready", "peers": 8}          one of swarms.py, or of records.py, without a system
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from p2pcpn.bench import crowds, hauls, records, silence, swarms
from p2pcpn.bench.loads import Loads
from p2pcpn.bench.systems import make
from p2pcpn.bench.systems.system import System

WITHOUT_SYSTEM: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "ready": swarms.ready,
    "idle": swarms.idle,
    "records": records.measure,
    "blob": hauls.measure,
    "crowd": crowds.measure,
    "silence": silence.measure,
}


class Driver:
    """Obeys for one system, until :meth:`close`."""

    def __init__(self, system: System | None, interrupt: Callable[[], None] | None = None) -> None:
        self._interrupt = interrupt or (lambda: os.kill(os.getpid(), signal.SIGINT))
        self._busy = False
        self._system = system
        self._loads = Loads(system) if system is not None else None
        self._started = False

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order; what goes wrong is an answer."""
        words = dict(order)
        op, name = words.pop("op"), words.pop("name", "")
        try:
            if op == "start":
                return {"ok": self._start()}
            if op == "load":
                assert self._loads is not None, "a driver of loads has a system"
                return {"ok": getattr(self._loads, name)(**words)}
            return {"ok": WITHOUT_SYSTEM[name](**words)}
        except Exception as error:
            traceback.print_exc()  # into the driver's log
            return {"error": f"{type(error).__name__}: {error}"}

    def _start(self) -> dict[str, Any]:
        assert self._system is not None, "there is something to start"
        begun = time.perf_counter()
        self._started = True  # half of a system has to be stopped, too
        self._system.start()
        return {"start_s": time.perf_counter() - begun}

    def close(self) -> None:
        """Stop the system."""
        if self._system is not None and self._started:
            self._started = False
            self._system.stop()

    def serve(self, control: socket.socket) -> None:
        """Answer orders until the other side hangs up. If it does in the middle of one, that is interrupted."""
        orders: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(control.dup(), orders), daemon=True).start()
        while (line := orders.get()) is not None:
            self._busy = True
            try:
                answer = json.dumps(self.obey(json.loads(line))).encode()
            finally:
                self._busy = False
            control.sendall(answer + b"\n")

    def _read(self, control: socket.socket, orders: queue.SimpleQueue[bytes | None]) -> None:
        with control, control.makefile("rb") as lines:
            try:
                for line in lines:
                    orders.put(line)
            except OSError:
                pass  # it hung up without a word
        if self._busy:  # an idle swarm would otherwise idle on for ten minutes
            self._interrupt()
        orders.put(None)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str]) -> None:
    """``driver.py DESCRIPTOR [SYSTEM]``: drive one system until told to end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    descriptor, names = int(arguments[0]), arguments[1:]
    with socket.socket(fileno=descriptor) as control:
        driver = Driver(make(names[0]) if names else None)
        try:
            driver.serve(control)
        except (KeyboardInterrupt, ConnectionError):
            pass  # the end, in other words
        finally:
            # Once more would leave processes behind.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            driver.close()


if __name__ == "__main__":
    main(sys.argv[1:])
