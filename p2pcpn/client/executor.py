"""``Executor``: a ``concurrent.futures.Executor`` whose workers are peers.

Without ``bootstrap`` it brings a keyed swarm of its own along, like a process pool; with it, it joins a running swarm
as a client peer (no roles) and submits one open-ended job there. What is slow to import is imported while the peers of
an embedded swarm start.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - it cannot be imported any more once the main thread has ended
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as FuturesExecutor
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from p2pcpn import limits
from p2pcpn.client.chunks import chunks, flattened, run_chunk
from p2pcpn.client.options import Options
from p2pcpn.errors import UsageError

if TYPE_CHECKING:
    from p2pcpn.client.engine import Engine
    from p2pcpn.client.scattering import Scattered
    from p2pcpn.client.submission import Submission
    from p2pcpn.client.swarm import Swarm
    from p2pcpn.identity.keys import Keypair

T = TypeVar("T")

# An embedded swarm has two peers: so that a result lies on two, and so that one may die.
EMBEDDED_PEERS = 2
_LOOPBACK = ("127.", "localhost:", "[::1]")
_live: weakref.WeakSet[Executor] = weakref.WeakSet()
# The threads that end what dropped executors had begun.
_ending: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
END_WAIT_S = 5.0
# This process: asking the system at each call costs as much as half of a call.
_here = os.getpid()


def _forked() -> None:
    global _here
    _here = os.getpid()


os.register_at_fork(after_in_child=_forked)


class Executor(FuturesExecutor):
    """Runs calls on the peers of a swarm; the whole contract of :class:`concurrent.futures.Executor` holds.

    ``Executor(max_workers=5)``: an embedded keyed swarm on this machine with five slots in all (default: one a core).
    ``Executor(bootstrap=["host:port"], swarm_key="…")``: the peers of a running swarm; ``max_workers`` then bounds how
    many of the job's tasks run at a time. ``key`` is the owner's key file, by default the one of this user.
    ``replicas`` results are kept on so many peers, for :attr:`job_id` to be fetched later. ``output=False`` neither
    captures nor shows what tasks print. ``hedge=False``: no task runs a second time while the first run lives; else the
    slowest may, on a slot that idles, and the result that comes first counts.

    While ``queue_bytes`` (of pickled arguments, and 320 a task) wait or run, :meth:`submit` makes its caller wait. A
    function is pickled once: what it closes over is as it was then.

    ``priority`` (-10 to 10) orders this owner's jobs and never counts against another's. ``deadline_s`` seconds after
    the first call whatever has not ended fails with :class:`JobError`. An executor may stay open for ever; with
    ``ttl_s`` its job is closed after so long without a new call, unless one waits for room or a map has items left, and
    further calls raise ``RuntimeError``.

    Futures of this executor may be arguments of further calls, also in lists, tuples and dicts that are arguments (at
    most 64 a call): such a call is held back until their results are there, which travel from peer to peer. Where one
    failed, the call fails with the same exception.

    A ``hybrid`` job in which ``divide_at`` peers take part is divided: what this program has not leased by then its
    stewards grant. ``None``: it never is; and none is that ``max_workers`` bounds. Each of the ``stewards`` (at most
    16) serves 512 peers at a time, so a job for more than 2,500 peers names more of them than five.

    ``history`` is a folder: what the executor's own peer does is noted there, for ``p2pcpn history check``.

    Left by ``KeyboardInterrupt``, also while it waits for what runs, a ``with`` block ends that; otherwise it waits, as
    the standard library does.
    Raises :class:`UsageError` for options that cannot be and :class:`Unreachable` when no peer answers.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        bootstrap: Iterable[str] | None = None,
        swarm_key: str | bytes | None = None,
        key: str | Path | Keypair | None = None,
        runtime: str = "function",
        orchestration: str = "hybrid",
        routing: str = "nearest_idle",
        privacy: str = "stewards",
        replicas: int = 2,
        quorum: int = 1,
        requires: Iterable[str] = (),
        output: bool = True,
        priority: int = 0,
        deadline_s: float | None = None,
        ttl_s: float | None = None,
        hedge: bool = True,
        divide_at: int | None = limits.GRANTOR_PEERS,
        stewards: int = limits.STEWARDS,
        queue_bytes: int = limits.QUEUE_BYTES,
        name: str = "",
        trust: Iterable[str] = (),
        history: str | Path | None = None,
    ) -> None:
        self._options = Options(
            name=name, runtime=runtime, orchestration=orchestration, routing=routing, privacy=privacy,
            replicas=replicas, quorum=quorum, max_workers=max_workers, output=output,
            queue_bytes=queue_bytes, priority=priority, deadline_s=deadline_s, ttl_s=ttl_s, hedge=hedge,
            divide_at=divide_at, stewards=stewards,
            requires=requires if isinstance(requires, str) else tuple(requires),  # type: ignore[arg-type]
        )  # fmt: skip
        self._lock = threading.Lock()
        self._shut = self._interrupted = False
        self._submission: Submission | None = None
        self._finishing: threading.Thread | None = None
        self._pid = os.getpid()
        if bootstrap is None:
            if swarm_key is not None:
                raise UsageError("swarm_key belongs to a running swarm; name its bootstrap=[...] too")
            self._engine = _embedded(max_workers, history)
        else:
            addresses = [bootstrap] if isinstance(bootstrap, str) else list(bootstrap)
            if not addresses:
                raise UsageError("bootstrap is empty; name at least one HOST:PORT, or leave it out")
            self._engine = _joined(addresses, swarm_key, key, tuple(trust), history)
        self._overlay = self._engine.overlay
        weakref.finalize(self, _dropped, self._engine, holder := _Holder()).atexit = False
        self._holder = holder
        _live.add(self)
        _register_at_exit()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is not None and issubclass(kind, KeyboardInterrupt):
                self._cancel_all()
            self.shutdown(wait=True)
        except KeyboardInterrupt:  # pressed while we wait, perhaps for the second time
            self._interrupted = True
            self._cancel_all()
            raise

    def _job(self, function: Callable[..., Any]) -> Submission:
        """The executor's job, opened at the first call: by then the program's modules are imported."""
        found = self._submission
        if found is not None:
            return found
        if self._engine.is_here:
            raise RuntimeError("the first call cannot be made from the executor's own thread")
        with self._lock:
            if self._shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._submission is None:
                self._submission = self._holder.submission = self._engine.open(self._options, function)
            return self._submission

    # --- the contract ----------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Schedule ``fn(*args, **kwargs)`` on a peer. Raises ``RuntimeError`` after :meth:`shutdown`."""
        self._check_open()
        return self._job(fn).submit(fn, args, kwargs, keep=self)

    def _check_open(self) -> None:
        if self._pid != _here:
            raise RuntimeError("an Executor does not survive os.fork(); make one in the child")
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if _exiting:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
    ) -> Iterator[T]:
        """``map(fn, *iterables)`` over the peers, results in order; see :meth:`concurrent.futures.Executor.map`.

        Items travel in chunks whose size follows how long they take; nothing else is different from one by one. A
        ``chunksize`` makes chunks of so many, which fail together. The call waits while ``queue_bytes`` of arguments
        wait or run; where as much came back and was not read, the rest is taken in as the results are.
        """
        if chunksize is None:
            self._check_open()
            end = None if timeout is None else timeout + time.monotonic()
            return self._job(fn).map(fn, iterables, end, keep=self)
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        some = chunks(zip(*iterables, strict=False), chunksize)
        return flattened(super().map(partial(run_chunk, fn), some, timeout=timeout))

    def scatter(self, value: T) -> Scattered[T]:
        """Place ``value`` ahead: what this returns stands for it as an argument of :meth:`submit` and :meth:`map`.

        It is pickled now and sent once to each peer that takes part, before tasks need it; a worker process loads it
        once and gives all its tasks the same object, which they must not change (its arrays are read-only). Returns
        when it lies on this machine's disk. Raises what pickling raises, :class:`UsageError` for a value that is too
        large, :class:`StoreError` where the disk has no room, and ``RuntimeError`` after :meth:`shutdown`.
        """
        self._check_open()
        return self._job(type(value)).scatter(value)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Free the peers. See :meth:`concurrent.futures.Executor.shutdown`; may be called again."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            first, self._shut = not self._shut, True
            submission = self._submission
            if submission is not None:
                submission.refuse_more()
            if first:
                work = partial(_finish, self._engine, submission)
                self._finishing = threading.Thread(target=work, name="p2pcpn-shutdown", daemon=True)
                self._finishing.start()
        if submission is not None and cancel_futures:
            submission.cancel_waiting()
        if wait and not self._engine.is_here:  # a callback of a future would wait for itself
            assert self._finishing is not None
            self._finishing.join()

    def _cancel_all(self) -> None:
        submission = self._submission
        if submission is not None and os.getpid() == self._pid and not self._engine.is_here:
            self._engine.cancel(submission)

    # --- beyond the contract ---------------------------------------------------------------------------------------

    @property
    def job_id(self) -> str | None:
        """The id under which this executor's results can be fetched; ``None`` before the first call."""
        return None if self._submission is None else self._submission.id

    @property
    def swarm(self) -> Swarm | None:
        """The embedded swarm, where there is one."""
        return self._engine.swarm

    def watch(self, watcher: Callable[[Any], None]) -> None:
        """Call ``watcher``, in the event loop's thread, with each event of this executor's own peer: for windows."""
        self._overlay.watchers.append(watcher)

    def statistics(self) -> dict[str, Any]:
        """What the executor's own peer counted, and which peer brought how many results."""
        by_peer = {} if self._submission is None else dict(self._submission.by_peer)
        return {**self._overlay.statistics(), "results": {peer.hex(): count for peer, count in by_peer.items()}}


def _embedded(slots: int | None, history: str | Path | None = None) -> Engine:
    from p2pcpn.client.swarm import Swarm

    if slots is None:
        from p2pcpn.metrics.machine import cores

        slots = cores()
    count = min(EMBEDDED_PEERS, slots)
    shares = [slots // count + (1 if i < slots % count else 0) for i in range(count)]
    swarm = Swarm(peers=count, cpus_per_peer=shares, history=history)
    from p2pcpn.client.engine import Engine

    return Engine.of(swarm, count)


def _joined(
    addresses: list[str],
    swarm_key: str | bytes | None,
    key: str | Path | Keypair | None,
    trust: tuple[str, ...],
    history: str | Path | None = None,
) -> Engine:
    from p2pcpn.client.engine import Engine, client_config
    from p2pcpn.client.owner import owner_key
    from p2pcpn.identity.keys import Keypair

    profile = "local" if all(address.startswith(_LOOPBACK) for address in addresses) else "public"
    owner = key if isinstance(key, Keypair) else owner_key(key)
    return Engine(client_config(addresses, swarm_key, trust, profile, history), owner, None, 1)


class _Holder:
    """What is left of an executor that the program dropped: its job, once there is one."""

    submission: Submission | None = None


def _finish(engine: Engine, submission: Submission | None) -> None:
    if submission is not None:
        engine.wait(submission, at_exit=False)
        engine.finish(submission)
    engine.stop()


def _dropped(engine: Engine, holder: _Holder) -> None:
    """Nobody refers to the executor any more and no task is open. The collector is not kept waiting."""
    if engine.alive and not _exiting:
        thread = threading.Thread(target=_finish, args=(engine, holder.submission), name="p2pcpn-end", daemon=True)
        _ending.add(thread)
        thread.start()


_exiting = False
_registered = False


def _register_at_exit() -> None:
    """Last registered is called first: before the loops' own end, and that of the embedded swarms."""
    global _registered
    if not _registered:
        _registered = True
        atexit.register(_at_exit)


def _at_exit() -> None:
    """The interpreter ends: what was submitted is still done, as with the standard library's pools, unless the program
    was interrupted or nobody can do it any more."""
    global _exiting
    _exiting = True
    interrupted = isinstance(getattr(sys, "last_value", None), KeyboardInterrupt)
    for executor in list(_live):
        if executor._pid != os.getpid():
            continue
        submission = executor._submission
        if interrupted or executor._interrupted:
            executor._cancel_all()
        elif submission is not None:
            submission.refuse_more()
            executor._engine.wait(submission, at_exit=True)
        executor.shutdown(wait=True)
    for thread in list(_ending):
        thread.join(END_WAIT_S)
