"""Runs: between the worker machine's effects and the runtime's processes.

Turns :class:`Run` into the runtime's :class:`Batch` (bringing blobs and the project's modules), and what the processes
report into the machine's events. Nothing is decided and nothing is unpickled here.
"""

from __future__ import annotations

from collections.abc import Callable

from p2pcpn.errors import PeerError, StoreError, UsageError
from p2pcpn.node.shelf import Shelf
from p2pcpn.protocol.effects import Effect, Run, StopRun
from p2pcpn.protocol.worker import Worker
from p2pcpn.runtime.function import Batch, Died, Event, FunctionRuntime, GroupKey
from p2pcpn.runtime.function.messages import Finished
from p2pcpn.wire.sealing import unseal
from p2pcpn.wire.statements import BlobRef


class Runs:
    """Performs :class:`Run` and :class:`StopRun`; ``perform`` takes the effects that follow."""

    def __init__(
        self, worker: Worker, shelf: Shelf, perform: Callable[[list[Effect]], None], now: Callable[[], float]
    ) -> None:
        self._worker = worker
        self._shelf = shelf
        self._perform = perform
        self._now = now
        self.runtime: FunctionRuntime | None = None

    def running(self) -> dict[int, int]:
        """What each worker process is at."""
        return {} if self.runtime is None else self.runtime.running()

    def start(self, effect: Run) -> None:
        """Hand a batch to the runtime; what is missing for it is reported as a refusal."""
        assert self.runtime is not None, "a peer without slots is leased nothing"
        try:
            group = self._group(effect)
            batch = Batch(
                effect.batch,
                [self._bytes(function) for function in effect.functions],
                None if effect.numbers is None else list(effect.numbers),
                [self._bytes(arguments) for arguments in effect.arguments],
                effect.digest_key,
                effect.render,
            )
            self.runtime.submit(group, batch)
        except (PeerError, StoreError, UsageError) as error:
            self._perform(self._worker.refused(effect.batch, str(error), self._now()))

    def _group(self, effect: Run) -> GroupKey:
        if effect.code is None:
            return GroupKey(effect.owner, None)
        assert self.runtime is not None
        digest = effect.code.digest
        if not self.runtime.has_bundle(digest):
            self.runtime.set_bundle(digest, unseal(effect.code_key, 0, self._sealed(effect.code)))
        return GroupKey(effect.owner, digest)

    def _sealed(self, ref: BlobRef) -> bytes:
        sealed = self._shelf.get(ref.digest)
        if sealed is None:
            raise PeerError(f"the blob {ref.digest.hex()[:8]} is not here")
        return sealed

    def _bytes(self, value: bytes | BlobRef) -> bytes:
        return unseal(value.key, 0, self._sealed(value)) if isinstance(value, BlobRef) else value

    def stop(self, effect: StopRun) -> None:
        """Drop what has not started; with ``kill`` end the process that runs the batch."""
        assert self.runtime is not None
        self.runtime.cancel(effect.batch, effect.positions)
        if effect.kill and self.runtime.running().get(effect.batch) in effect.positions:
            self.runtime.kill(effect.batch)

    def event(self, event: Event) -> None:
        """What a worker process reported."""
        now = self._now()
        if isinstance(event, Finished):
            effects = self._worker.ran(
                event.batch_id,
                event.first,
                event.outcomes,
                event.values,
                event.digests,
                sum(event.ran_s),
                now,
                event.renderings,
            )
        elif isinstance(event, Died):
            effects = self._worker.died(event.batch_id, event.position, event.signal, event.exit_code, now)
        else:
            effects = self._worker.printed(event.batch_id, event.position, event.stream, event.text)
        self._perform(effects)
