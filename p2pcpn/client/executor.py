"""``Executor``: a ``concurrent.futures.Executor`` whose workers are peers.

Without ``bootstrap`` it brings a keyed swarm of its own along, like a process pool; with it, it joins a running swarm as a
client peer (no roles) and submits one open-ended job there.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor as FuturesExecutor
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from p2pcpn.client.submission import Options, Submission
from p2pcpn.config import Config
from p2pcpn.errors import UsageError
from p2pcpn.identity.keys import Keypair

if TYPE_CHECKING:
    from p2pcpn.client.loops import LoopThread
    from p2pcpn.client.swarm import Swarm
    from p2pcpn.node.overlay import Overlay

T = TypeVar("T")

# An embedded swarm has two peers: so that a result lies on two, and so that one may die.
EMBEDDED_PEERS = 2
OPEN_WAIT_S = 15.0
SHUTDOWN_REPLICATION_S = 2.0
_live: weakref.WeakSet[Executor] = weakref.WeakSet()


class Executor(FuturesExecutor):
    """Runs calls on the peers of a swarm; the whole contract of :class:`concurrent.futures.Executor` holds.

    ``Executor(max_workers=5)``: an embedded keyed swarm on this machine with five slots in all (default: one a core).
    ``Executor(bootstrap=["host:port"], swarm_key="…")``: the peers of a running swarm; ``max_workers`` then bounds how
    many of the job's tasks run at a time. ``key`` is the owner's key file, by default the one of this user.
    ``replicas`` results are kept on so many peers, for :attr:`job_id` to be fetched later. ``output=False`` neither
    captures nor shows what tasks print. A function is pickled once: what it closes over is as it was then.

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
        name: str = "",
        trust: Iterable[str] = (),
        _gather: int = 0,
        _profile: str | None = None,
    ) -> None:
        self._options = Options(
            name=name, runtime=runtime, orchestration=orchestration, routing=routing, privacy=privacy, replicas=replicas,
            quorum=quorum, max_workers=max_workers, requires=tuple(requires), output=output,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._shut = False
        self._submission: Submission | None = None
        self._opening: Future[Submission] | None = None
        self._gather = _gather
        self._swarm: Swarm | None = None
        self._loops: LoopThread
        self._overlay: Overlay
        self._pid = os.getpid()
        if bootstrap is None:
            if swarm_key is not None:
                raise UsageError("swarm_key belongs to a running swarm; name its bootstrap=[...] too")
            self._embed(max_workers)
        else:
            addresses = [bootstrap] if isinstance(bootstrap, str) else list(bootstrap)
            if not addresses:
                raise UsageError("bootstrap is empty; name at least one HOST:PORT, or leave it out")
            local = all(address.startswith(("127.", "localhost:", "[::1]")) for address in addresses)
            self._join(addresses, swarm_key, key, tuple(trust), _profile or ("local" if local else "public"))
        _live.add(self)

    # --- start -------------------------------------------------------------------------------------------------------

    def _embed(self, max_workers: int | None) -> None:
        from p2pcpn.client.swarm import Swarm

        slots = max_workers or _cores()
        count = min(EMBEDDED_PEERS, slots)
        shares = [slots // count + (1 if i < slots % count else 0) for i in range(count)]
        self._swarm = Swarm(peers=count, cpus_per_peer=shares)
        self._gather = count
        try:
            self._join(self._swarm.bootstrap, self._swarm.key, Keypair(os.urandom(32)), (), "local")
        except BaseException:
            self._swarm.close()
            raise

    def _join(
        self, bootstrap: list[str], swarm_key: str | bytes | None, key: str | Path | Keypair | None,
        trust: tuple[str, ...], profile: str,
    ) -> None:  # fmt: skip
        from p2pcpn.client.loops import LoopThread
        from p2pcpn.client.owner import owner_key
        from p2pcpn.node.overlay import Overlay

        self._owner = key if isinstance(key, Keypair) else owner_key(key)
        config = Config(
            bootstrap=bootstrap, swarm_key=swarm_key, roles=(), profile=profile, durable=False, trust=trust,
            listen="" if profile == "local" else "0.0.0.0:0",
        )  # fmt: skip
        self._overlay = Overlay(config)
        self._loops = LoopThread()
        try:
            self._loops.call(self._start(), OPEN_WAIT_S)
        except BaseException:
            self._loops.call(self._overlay.close(polite=False), 2.0)
            self._loops.stop()
            raise

    async def _start(self) -> None:
        await self._overlay.start()
        await self._overlay.wait_known(OPEN_WAIT_S - 1.0)

    def _job(self) -> Submission:
        """The executor's job, opened at the first call: by then the program's modules are imported."""
        found = self._submission
        if found is not None:
            return found
        with self._lock:
            if self._shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._submission is None:
                from p2pcpn.client.project import project

                opening = Submission.open(
                    self._overlay, self._owner, self._options, project(), gather=self._gather, wait_s=OPEN_WAIT_S
                )
                self._submission = self._loops.call(opening, OPEN_WAIT_S + 5.0)
            return self._submission

    # --- the contract ------------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Schedule ``fn(*args, **kwargs)`` on a peer. Raises ``RuntimeError`` after :meth:`shutdown`."""
        if self._shut or _exiting:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if os.getpid() != self._pid:
            raise RuntimeError("an Executor does not survive os.fork(); make one in the child")
        return self._job().submit(fn, args, kwargs)

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """``map(fn, *iterables)`` over the peers, results in order; see :meth:`concurrent.futures.Executor.map`."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        chunks = _chunks(zip(*iterables, strict=False), chunksize)
        results = super().map(partial(_run_chunk, fn), chunks, timeout=timeout)
        return itertools.chain.from_iterable(results)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Free the peers. See :meth:`concurrent.futures.Executor.shutdown`; may be called again."""
        with self._lock:
            first, self._shut = not self._shut, True
        submission = self._submission
        if submission is not None:
            submission.refuse_more()
            if cancel_futures:
                for future in submission.unfinished():
                    future.cancel()
        if first:
            if wait:
                self._finish()
            else:
                threading.Thread(target=self._finish, name="p2pcpn-shutdown", daemon=True).start()
        elif wait and submission is not None:
            _wait_all(submission)

    def _finish(self) -> None:
        submission = self._submission
        if submission is not None:
            _wait_all(submission)
            try:
                self._loops.call(self._close_job(submission), SHUTDOWN_REPLICATION_S + 2.0)
            except (TimeoutError, RuntimeError):
                pass  # what was delivered is delivered; replication was tried as long as it may take
        self._stop()

    async def _close_job(self, submission: Submission) -> None:
        await submission.close()
        if self._swarm is None:  # an embedded swarm takes its results with it
            await submission.replicated(SHUTDOWN_REPLICATION_S)
        submission.forget()

    def _stop(self) -> None:
        try:
            self._loops.call(self._overlay.close(), 2.0)
        except (TimeoutError, RuntimeError):
            pass
        self._loops.stop()
        if self._swarm is not None:
            self._swarm.close()

    # --- beyond the contract -----------------------------------------------------------------------------------------

    @property
    def job_id(self) -> str | None:
        """The id under which this executor's results can be fetched; ``None`` before the first call."""
        return None if self._submission is None else self._submission.id

    @property
    def swarm(self) -> Swarm | None:
        """The embedded swarm, where there is one."""
        return self._swarm

    def watch(self, watcher: Callable[[Any], None]) -> None:
        """Call ``watcher``, in the event loop's thread, with each event of this executor's own peer: for windows."""
        self._overlay.watchers.append(watcher)

    def statistics(self) -> dict[str, Any]:
        """What the executor's own peer counted, and which peer brought how many results."""
        by_peer = {} if self._submission is None else self._submission.by_peer
        return {**self._overlay.statistics(), "results": {peer.hex(): count for peer, count in by_peer.items()}}


def _wait_all(submission: Submission) -> None:
    futures = submission.unfinished()
    while futures:
        wait(futures)
        futures = submission.unfinished()


def _chunks(items: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def _run_chunk(fn: Callable[..., T], chunk: list[tuple[Any, ...]]) -> list[T]:
    return [fn(*arguments) for arguments in chunk]


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_exiting = False


def _at_exit() -> None:
    """The interpreter ends: what was submitted is still done, as with the standard library's pools."""
    global _exiting
    _exiting = True
    for executor in list(_live):
        if executor._pid == os.getpid():
            executor.shutdown(wait=True)


# The standard library's pools use the private hook that runs before other threads are joined; ours are daemons, and
# atexit runs while they still do.
atexit.register(_at_exit)
