"""What an executor runs on: a client peer in a loop of its own thread, and the embedded swarm where it has one.

Its methods may be called from any thread but the loop's own. It knows nothing of the executor, so that an executor
which the program dropped can be collected while this ends what it had begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from p2pcpn.client.loops import LoopThread
from p2pcpn.client.options import Options
from p2pcpn.client.project import project
from p2pcpn.client.submission import Submission
from p2pcpn.client.swarm import Swarm
from p2pcpn.config import Config
from p2pcpn.errors import JobError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.leftovers import sweep
from p2pcpn.node.overlay import Overlay

OPEN_WAIT_S = 15.0
CLOSE_WAIT_S = 2.0
REPLICATION_WAIT_S = 2.0
TIDY_AFTER_S = 1.0
# At the interpreter's end: how often it is looked whether there is still anything to wait for, and for how long a loop
# may not answer, or a job without any peer may wait for one.
LOOK_S = 0.5
PATIENCE_S = 10.0
# What a call into the loop raises when the loop hangs, has stopped, or stops meanwhile.
GONE = (TimeoutError, RuntimeError, CancelledError)


class Engine:
    """See the module. :meth:`stop` must be called; it may be called twice."""

    def __init__(self, config: Config, owner: Keypair, swarm: Swarm | None, gather: int) -> None:
        self.swarm = swarm
        self._owner = owner
        self._gather = gather
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._stopped = False
        self._jobs: weakref.WeakSet[Submission] = weakref.WeakSet()
        self._ended: JobError | None = None
        self.overlay = Overlay(config)
        self._loops = LoopThread()
        try:
            self._loops.call(self._start(), OPEN_WAIT_S)
        except BaseException:
            self.stop(polite=False)
            raise

    @classmethod
    def of(cls, swarm: Swarm, gather: int) -> Engine:
        """An engine that owns ``swarm``, all of whose ``gather`` peers keep jobs: it ends with the engine."""
        try:
            config = client_config(swarm.bootstrap, swarm.key, (), "local", swarm.history)
            engine = cls(config, Keypair(os.urandom(32)), swarm, gather)
            swarm.programs.add(engine)
            return engine
        except BaseException:
            swarm.close()
            raise

    async def _start(self) -> None:
        await self.overlay.start()
        await self.overlay.wait_known(OPEN_WAIT_S - 1.0)
        self.overlay.spawn(self._tidy())

    async def _tidy(self) -> None:
        """Clear away what killed programs left, once our own first results are there."""
        await asyncio.sleep(TIDY_AFTER_S)
        await self.overlay.loop.run_in_executor(None, sweep)

    def meet(self, addresses: Sequence[str]) -> None:
        """Peers listen here by now: they can be asked when all are gone that we know. Waits for nothing."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.overlay.loop.call_soon_threadsafe(lambda: self.overlay.spawn(self.overlay.meet(addresses)))

    # --- the job ---------------------------------------------------------------------------------------------------

    def open(self, options: Options, function: Any) -> Submission:
        """Open a job whose first call is of ``function``. Raises :class:`Unreachable`, and ``RuntimeError`` after
        :meth:`end`."""
        if self._ended is not None:
            raise RuntimeError(f"cannot schedule new futures: {self._ended}")
        opening = Submission.open(
            self.overlay, self._owner, options, project(function), gather=self._gather, wait_s=OPEN_WAIT_S
        )
        submission = self._loops.call(opening, OPEN_WAIT_S + 5.0)
        self._jobs.add(submission)
        if self._ended is not None:  # meanwhile
            self.end(self._ended)
        return submission

    def end(self, error: JobError) -> None:
        """Its peers are gone for good: what is open fails with ``error``, and no more is taken. From any thread."""
        self._ended = error
        for submission in list(self._jobs):
            with contextlib.suppress(*GONE):  # what the loop left open, whoever waits for it ends
                if self.is_here:
                    submission.end(error)
                else:
                    self._loops.call(_end(submission, error), CLOSE_WAIT_S)

    def wait(self, submission: Submission, *, at_exit: bool = False) -> None:
        """Wait until every task has ended. What cannot end any more fails.

        ``at_exit``: the program wants to end, so a job that no peer can go on with is given up.
        """
        hopeless_s = 0.0
        while not submission.wait_over(LOOK_S):
            if not self.alive:
                submission.abandon(JobError("the event loop of this executor has ended"))
            elif at_exit:
                hopeless_s = hopeless_s + LOOK_S if self._hopeless(submission) else 0.0
                if hopeless_s >= PATIENCE_S:
                    why = "; ".join(submission.stalled.values()) or "no peer answers"
                    sys.stderr.write(f"p2pcpn: {len(submission.unfinished())} tasks are given up: {why}\n")
                    submission.abandon(JobError(f"given up at the interpreter's end: {why}"))

    def _hopeless(self, submission: Submission) -> bool:
        if not self.answers() or not len(self.overlay.sessions):
            return True
        return bool(submission.stalled) and not submission.runs

    def finish(self, submission: Submission) -> None:
        """All tasks have ended: close the job; where the swarm goes on, give replication a moment."""
        try:
            self._loops.call(self._finish(submission), REPLICATION_WAIT_S + CLOSE_WAIT_S)
        except GONE:
            pass  # what was delivered is delivered; replication was tried as long as it may take
        submission.echo.flush()

    async def _finish(self, submission: Submission) -> None:
        await submission.close()
        if self.swarm is None:  # an embedded swarm takes its results with it
            await submission.replicated(REPLICATION_WAIT_S)
        submission.forget()

    def cancel(self, submission: Submission) -> None:
        """End the job now: what runs is stopped."""
        try:
            self._loops.call(submission.cancel_job(), CLOSE_WAIT_S)
        except GONE:
            submission.abandon(JobError("the event loop of this executor has ended"))

    # --- the end ---------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the loop runs (or hangs), in this very process."""
        return not self._stopped and os.getpid() == self._pid

    @property
    def is_here(self) -> bool:
        """Whether this is the loop's own thread, which cannot wait for itself."""
        try:
            return asyncio.get_running_loop() is self.overlay.loop
        except RuntimeError:
            return False

    def answers(self) -> bool:
        """Whether the loop takes a call within a second."""
        try:
            self._loops.call(asyncio.sleep(0), 1.0)
        except GONE:
            return False
        return True

    def stop(self, *, polite: bool = True) -> None:
        """Leave the swarm and end what was started here. In a fork of the process that did: nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._stopped:
                return
            try:
                self._loops.call(self.overlay.close(polite=polite), CLOSE_WAIT_S)
            except GONE:
                pass
            self._stopped = True
            self._loops.stop()
            if self.swarm is not None:
                self.swarm.close()


async def _end(submission: Submission, error: JobError) -> None:
    submission.end(error)


def client_config(
    bootstrap: Sequence[str], swarm_key: str | bytes | None, trust: Sequence[str], profile: str,
    history: str | Path | None = None,
) -> Config:  # fmt: skip
    """The settings of a peer without roles."""
    return Config(
        bootstrap=bootstrap, swarm_key=swarm_key, roles=(), profile=profile, durable=False, trust=tuple(trust),
        history=history,
    )  # fmt: skip
