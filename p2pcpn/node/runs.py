"""Runs: between the worker machine's effects and the runtime's processes.

Turns :class:`Run` into the runtime's :class:`Batch` (bringing blobs and the project's modules), and what the processes
report into the machine's events. Nothing is decided and nothing is unpickled here.

A batch whose blobs are still on their way to the disk waits for them, and large ones are opened in a thread, one at a
time: sessions and timers do not wait for 200 MB.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from p2pcpn.errors import PeerError, StoreError, UsageError
from p2pcpn.node import scratch
from p2pcpn.node.shelf import Shelf
from p2pcpn.protocol.effects import CutRun, Effect, Run, StopRun
from p2pcpn.protocol.receipts import Value, sealed
from p2pcpn.protocol.worker import Worker
from p2pcpn.runtime.function import Batch, Died, Event, FunctionRuntime, GroupKey, Unstarted
from p2pcpn.runtime.function.messages import Finished, State
from p2pcpn.runtime.function.sharing import Name, SharedFile, filled_by
from p2pcpn.wire.codec import Buffer
from p2pcpn.wire.sealing import TAG_BYTES, unseal, unseal_into
from p2pcpn.wire.statements import BlobRef

T = TypeVar("T")

# Opening so much takes a millisecond or two.
OPENED_AT_ONCE_BYTES: Final = 4 << 20
# How long a blob that has arrived may take to the disk, and how often its progress is asked for.
WRITTEN_WAIT_S: Final = 10.0
WRITTEN_WAITS: Final = 6
# Hashing and sealing so much takes five milliseconds.
SEALED_AT_ONCE_BYTES: Final = 8 << 20


class _Missing(PeerError):
    def __init__(self, digest: bytes) -> None:
        super().__init__(f"the blob {digest.hex()[:8]} is not here")
        self.digest = digest


class _Unusable(PeerError):
    def __init__(self, digest: bytes, why: PeerError) -> None:
        super().__init__(f"the blob {digest.hex()[:8]}: {why}")
        self.digest = digest


@dataclass(slots=True)
class _Preparing:
    """A batch that waits for its blobs. ``dropped`` is what was dropped of it meanwhile; while ``opening``, it runs."""

    effect: Run
    dropped: set[int]
    opening: bool = False

    def cut(self) -> int:
        """Have it end where it is: how many of its tasks are left."""
        if not self.opening:
            return 0
        effect = self.effect
        self.effect = replace(
            effect,
            arguments=effect.arguments[:1],
            numbers=None if effect.numbers is None else effect.numbers[:1],
            parts=None if effect.parts is None else effect.parts[:1],
            states=None if effect.states is None else effect.states[:1],
        )
        self.dropped.intersection_update((0,))
        return 1

    def wants(self, ref: BlobRef) -> bool:
        """Whether a task that is left has this part."""
        return any(ref in refs for refs in self.effect.parts or ())


class Runs:
    """Performs :class:`Run`, :class:`StopRun` and :class:`CutRun`; ``perform`` takes the effects that follow.

    ``spawn`` runs a coroutine for as long as the node lives.
    """

    def __init__(
        self,
        worker: Worker,
        shelf: Shelf,
        perform: Callable[[list[Effect]], None],
        now: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._worker = worker
        self._shelf = shelf
        self._perform = perform
        self._now = now
        self._spawn = spawn
        self._preparing: dict[int, _Preparing] = {}  # batches that wait for their blobs
        self._opening = asyncio.Lock()
        self._sealing: dict[int, deque[Event]] = {}  # batches with a large result, and what is to be told after it
        self.runtime: FunctionRuntime | None = None
        self._asked: Counter[bytes] = Counter()  # blobs that others were asked for
        self._answered = asyncio.Event()

    def asked(self, digests: Sequence[bytes]) -> None:
        """Others are asked for these blobs: batches that need one wait for it."""
        self._asked.update(digests)

    def answered(self, digests: Sequence[bytes]) -> None:
        """They have come, or whoever was asked has none."""
        self._asked -= Counter(digests)
        self._answered.set()

    def running(self) -> dict[int, int]:
        """What each worker process is at. A batch whose parts are being opened is at its first task.

        Were it taken back as one that has not started, the next peer would open them anew, and so on for ever.
        """
        if self.runtime is None:
            return {}
        return {**{batch: 0 for batch, each in self._preparing.items() if each.opening}, **self.runtime.running()}

    def start(self, effect: Run) -> None:
        """Hand a batch to the runtime; what is missing for it is reported as a refusal."""
        assert self.runtime is not None, "a peer without slots is leased nothing"
        if effect.parts is not None and self._unopened(effect):
            self._prepare(effect, None, set())
        else:
            self._start(effect, set())

    def _start(self, effect: Run, dropped: set[int]) -> None:
        assert self.runtime is not None
        held: list[SharedFile] = []
        try:
            group = self._group(effect)
            parts = None if effect.parts is None else self._parts(group, effect.parts, held)
            batch = Batch(
                effect.batch,
                [self._bytes(function) for function in effect.functions],
                None if effect.numbers is None else list(effect.numbers),
                [self._bytes(arguments) for arguments in effect.arguments],
                effect.digest_key,
                effect.render,
                parts,
                None if effect.states is None else list(effect.states),
            )
            self.runtime.submit(group, batch)
            if dropped:
                self.runtime.cancel(effect.batch, dropped)
        except (PeerError, StoreError, UsageError) as error:
            if isinstance(error, _Missing) and (self._shelf.arriving(error.digest) or error.digest in self._asked):
                self._prepare(effect, error.digest, dropped)
            else:
                self._refuse(effect, error)
        finally:
            self.runtime.files.release(held)

    def _refuse(self, effect: Run, error: PeerError | StoreError | UsageError) -> None:
        """Why a batch, or those of its tasks that take a certain blob, cannot run."""
        positions: frozenset[int] | None = None
        if isinstance(error, StoreError):
            code = "broken"
        else:
            code = "unreachable" if isinstance(error, _Missing) else "unusable"
        if isinstance(error, _Missing | _Unusable):
            positions = _who_takes(effect, error.digest) or None
        self._perform(self._worker.refused(effect.batch, code, str(error), self._now(), positions))

    # --- blobs that take time ----------------------------------------------------------------------------------------

    def _unopened(self, effect: Run) -> dict[Name, BlobRef]:
        """The large parts of a batch that no file holds yet."""
        assert self.runtime is not None and effect.parts is not None
        bundle = None if effect.code is None else effect.code.digest
        found: dict[Name, BlobRef] = {}
        for ref in (ref for refs in effect.parts for ref in refs if isinstance(ref, BlobRef)):
            name = (effect.owner, bundle, ref.digest, ref.key)
            if ref.size_bytes > OPENED_AT_ONCE_BYTES and name not in self.runtime.files:
                found[name] = ref
        return found

    def _prepare(self, effect: Run, lacking: bytes | None, dropped: set[int]) -> None:
        preparing = self._preparing[effect.batch] = _Preparing(effect, dropped)
        self._spawn(self._prepared(preparing, lacking))

    async def _prepared(self, preparing: _Preparing, lacking: bytes | None) -> None:
        """Start a batch once the blob ``lacking`` is on disk and its large parts are open."""
        assert self.runtime is not None
        effect = preparing.effect
        held: list[SharedFile] = []
        try:
            if lacking is not None:
                await self._written(lacking)
            if effect.parts is not None:
                async with self._opening:
                    for name, ref in self._unopened(effect).items():
                        await self._written(ref.digest)
                        if self._preparing.get(effect.batch) is not preparing:
                            return  # somebody else runs it
                        if not preparing.wants(ref):
                            continue
                        preparing.opening = True
                        work = partial(_opened, self._shelf.reading(ref.digest), ref)
                        descriptor, size_bytes = await asyncio.get_running_loop().run_in_executor(None, work)
                        made = self.runtime.files.add(name, descriptor, size_bytes)
                        if made is not None:
                            self.runtime.files.use((made,))
                            held.append(made)
        except (PeerError, StoreError) as error:
            if self._preparing.pop(effect.batch, None) is not None:
                self._refuse(preparing.effect, error)
        else:
            if self._preparing.pop(effect.batch, None) is not None:
                self._start(preparing.effect, preparing.dropped)
        finally:
            self.runtime.files.release(held)

    async def _written(self, digest: bytes) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + WRITTEN_WAITS * WRITTEN_WAIT_S
        for _ in range(WRITTEN_WAITS):
            if await self._shelf.here(digest, WRITTEN_WAIT_S):
                return
            if digest not in self._asked and not self._shelf.arriving(digest):
                break
            while digest in self._asked and not self._shelf.arriving(digest) and loop.time() < end:
                self._answered.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._answered.wait(), WRITTEN_WAIT_S)
        raise _Missing(digest)

    # --- blobs at hand -----------------------------------------------------------------------------------------------

    def _group(self, effect: Run) -> GroupKey:
        if effect.code is None:
            return GroupKey(effect.owner, None)
        assert self.runtime is not None
        digest = effect.code.digest
        if not self.runtime.has_bundle(digest):
            sealed = self._sealed(effect.code)
            self.runtime.set_bundle(digest, _usable(digest, lambda: unseal(effect.code_key, 0, sealed)))
        return GroupKey(effect.owner, digest)

    def _sealed(self, ref: BlobRef) -> Buffer:
        sealed = self._shelf.get(ref.digest)
        if sealed is None:
            raise _Missing(ref.digest)
        return sealed

    def _bytes(self, value: bytes | BlobRef) -> bytes:
        if not isinstance(value, BlobRef):
            return value
        sealed = self._sealed(value)
        return _usable(value.digest, lambda: unseal(value.key, 0, sealed))

    def _parts(
        self, group: GroupKey, parts: tuple[tuple[BlobRef | bytes, ...], ...], held: list[SharedFile]
    ) -> list[tuple[SharedFile | bytes, ...]]:
        """Each task's buffers, opened once for all tasks that share them. Files come to be ``held``: without that, room
        for a batch's later ones would be made by dropping its first."""
        assert self.runtime is not None
        opened: dict[BlobRef, SharedFile | bytes] = {}
        for ref in (ref for refs in parts for ref in refs if isinstance(ref, BlobRef)):
            part = opened.get(ref)
            if part is None:
                part = opened[ref] = self._part(group, ref)
                if isinstance(part, SharedFile):
                    self.runtime.files.use((part,))
                    held.append(part)
            elif isinstance(part, SharedFile):
                part.repeated = True
        return [tuple(opened[ref] if isinstance(ref, BlobRef) else ref for ref in refs) for refs in parts]

    def _part(self, group: GroupKey, ref: BlobRef) -> SharedFile | bytes:
        assert self.runtime is not None
        name = (group.owner, group.bundle, ref.digest, ref.key)
        found = self.runtime.files.find(name)
        if found is not None:
            return found
        try:
            sealed = self._sealed(ref)
            made = self.runtime.files.make_by(
                name, len(sealed) - TAG_BYTES, lambda out: unseal_into(ref.key, 0, sealed, out)
            )
            if made is not None:
                return made
            with scratch.opened(ref.key, sealed) as data:
                return self.runtime.files.make(name, data) or bytes(data)
        except _Missing:
            raise
        except PeerError as error:
            raise _Unusable(ref.digest, error) from error

    # --- what becomes of it ------------------------------------------------------------------------------------------

    def stop(self, effect: StopRun) -> None:
        """Drop what has not started; with ``kill`` end the process that runs the batch."""
        assert self.runtime is not None
        if effect.batch in self._preparing:
            self._preparing[effect.batch].dropped.update(effect.positions)
            return
        self.runtime.cancel(effect.batch, effect.positions)
        if effect.kill and self.runtime.running().get(effect.batch) in effect.positions:
            self.runtime.kill(effect.batch)

    def cut(self, effect: CutRun) -> None:
        """End a batch behind the task that runs, and tell the machine where it ends now."""
        assert self.runtime is not None
        preparing = self._preparing.get(effect.batch)
        count = self.runtime.cut(effect.batch) if preparing is None else preparing.cut()
        if not count:
            self._preparing.pop(effect.batch, None)
        if count is not None:
            self._perform(self._worker.cut(effect.batch, count, self._now()))

    def event(self, event: Event) -> None:
        """What a worker process reported."""
        behind = self._sealing.get(event.batch_id)
        if behind is not None:
            behind.append(event)
        elif isinstance(event, Finished) and len(event.values[-1]) > SEALED_AT_ONCE_BYTES:
            self._seal_beside(event)
        else:
            self._tell(event, event.values if isinstance(event, Finished) else ())

    def _tell(self, event: Event, values: Sequence[Value]) -> None:
        now = self._now()
        if isinstance(event, Finished):
            effects = self._worker.ran(
                event.batch_id, event.first, event.outcomes, values, event.digests, sum(event.ran_s), now,
                event.renderings,
            )  # fmt: skip
        elif isinstance(event, Died):
            effects = self._worker.died(event.batch_id, event.position, event.signal, event.exit_code, now)
        elif isinstance(event, State):
            effects = self._worker.checkpoint(event.batch_id, event.position, event.data)
        elif isinstance(event, Unstarted):
            how = f"exit code {event.exit_code}" if event.signal is None else f"signal {event.signal}"
            why = f"its worker processes do not start ({how})"
            effects = self._worker.refused(event.batch_id, "broken", why, now)
        else:
            effects = self._worker.printed(event.batch_id, event.position, event.stream, event.text)
        self._perform(effects)

    def _seal_beside(self, event: Finished) -> None:
        batch = self._worker.turns.batches.get(event.batch_id)
        if batch is not None:
            self._sealing[event.batch_id] = deque()
            self._spawn(self._sealed_beside(event, batch.lease.digest_key))

    async def _sealed_beside(self, event: Finished, digest_key: bytes) -> None:
        """Tell of a large result once it is closed, and of what its batch reported meanwhile."""
        work = partial(_sealed_values, digest_key, event.values)
        values = await asyncio.get_running_loop().run_in_executor(None, work)
        behind = self._sealing.pop(event.batch_id)
        self._tell(event, values)
        for later in behind:
            self.event(later)


def _sealed_values(digest_key: bytes, values: Sequence[bytes]) -> list[Value]:
    """The values of a report, the large ones closed. In a thread."""
    return [sealed(digest_key, value) if len(value) > SEALED_AT_ONCE_BYTES else value for value in values]


def _opened(read: Callable[[], Buffer | None], ref: BlobRef) -> tuple[int | None, int]:
    """A file that holds what ``ref`` names, and its size. In a thread."""
    sealed = read()
    if sealed is None:
        raise _Missing(ref.digest)
    size_bytes = len(sealed) - TAG_BYTES
    filled = lambda: filled_by(size_bytes, lambda out: unseal_into(ref.key, 0, sealed, out))  # noqa: E731
    return _usable(ref.digest, filled), size_bytes


def _usable(digest: bytes, use: Callable[[], T]) -> T:
    """What ``use`` makes of a blob that is here."""
    try:
        return use()
    except PeerError as error:
        raise _Unusable(digest, error) from error


def _who_takes(run: Run, digest: bytes) -> frozenset[int] | None:
    """The positions of the tasks that take a blob; none where all do."""

    def is_it(value: bytes | BlobRef) -> bool:
        return isinstance(value, BlobRef) and value.digest == digest

    if run.code is not None and run.code.digest == digest:
        return None
    functions = {number for number, value in enumerate(run.functions) if is_it(value)}
    numbers = run.numbers or (0,) * len(run.arguments)
    parts = run.parts or ((),) * len(run.arguments)
    return frozenset(
        position
        for position, (number, value) in enumerate(zip(numbers, run.arguments, strict=False))
        if number in functions or is_it(value) or any(map(is_it, parts[position]))
    )
