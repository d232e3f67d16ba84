"""An event loop in a thread of its own, so that a program without one can call what is asynchronous.

Nothing here keeps an interpreter from ending: the loop's thread and those that run its blocking calls are daemons. The
standard library's thread pool is joined at exit, and a look-up of a host name in it may take half a minute.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Final, TypeVar

from p2pcpn.node.loop import new_loop

T = TypeVar("T")

THREADS_MAX: Final = 4
STOP_S: Final = 0.2
_running: weakref.WeakSet[LoopThread] = weakref.WeakSet()


class LoopThread:
    """Runs one event loop until :meth:`stop`, or the end of the interpreter."""

    def __init__(self, name: str = "p2pcpn-loop") -> None:
        self.loop = new_loop()
        self.loop.set_default_executor(DaemonThreads())
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        _running.add(self)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run ``coroutine`` in the loop and wait for what it returns or raises, ``timeout`` seconds at most.

        Raises ``TimeoutError`` (the coroutine is then cancelled), and ``RuntimeError`` when the loop has stopped, in a
        forked child, and in the loop's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("call() was made from the loop's own thread, which would wait for itself; await instead")
        if os.getpid() != self._pid:
            coroutine.close()
            raise RuntimeError("the event loop belongs to the process that started it; this is a fork of it")
        with self._lock:
            if self._stopped:
                coroutine.close()
                raise RuntimeError("the event loop has stopped")
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout)
        except FutureTimeout:
            if future.done():  # it raised a TimeoutError of its own
                raise
            future.cancel()
            raise TimeoutError(f"no answer within {timeout:g} s") from None
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel what runs, stop the loop and close it; waits ``STOP_S`` at most. May be called twice."""
        if os.getpid() != self._pid:  # in a fork of us the lock may be held for ever
            return
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
        _running.discard(self)
        self.loop.call_soon_threadsafe(self._wind_up)
        if threading.current_thread() is self._thread:
            return
        self._thread.join(STOP_S)
        if not self._thread.is_alive():
            self.loop.close()

    def _wind_up(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        # A cancelled task runs once more to clean up; then the loop ends, whatever is left.
        ending = self.loop.create_task(_ended(tasks))
        ending.add_done_callback(lambda _: self.loop.stop())


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=STOP_S / 2)
    await asyncio.get_running_loop().shutdown_asyncgens()


def _stop_all() -> None:
    for loops in list(_running):
        loops.stop()


atexit.register(_stop_all)


class DaemonThreads(ThreadPoolExecutor):
    """A thread pool for the loop's blocking calls that works until the very end, and is not waited for."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)  # for its type, which asyncio asks for; it starts no thread
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0
        self._over = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call ``fn`` in one of ``THREADS_MAX`` threads. Raises ``RuntimeError`` after :meth:`shutdown`."""
        if self._over:
            raise RuntimeError("these threads were shut down")
        future: Future[T] = Future()
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        if not self._idle.acquire(blocking=False) and self._started < THREADS_MAX:
            self._started += 1
            threading.Thread(target=self._work, name=f"p2pcpn-call-{self._started}", daemon=True).start()
        return future

    def _work(self) -> None:
        while True:
            try:
                item = self._calls.get_nowait()
            except queue.Empty:
                self._idle.release()
                item = self._calls.get()
            if item is None:
                return
            future, call = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
            del item, future, call  # an idle thread keeps nothing alive

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let each thread end when it has nothing left to do. Nobody is waited for."""
        self._over = True
        for _ in range(self._started):
            self._calls.put(None)
