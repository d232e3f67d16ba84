"""Witnesses: what a peer does becomes events of a history. They watch and decide nothing; without one nothing is noted.

A :class:`Witness` is given to one grantor and told of its leases and settlements; a :class:`Chronicle` sees every
effect that a peer returns, on its way to the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events, history
from p2pcpn.protocol.spans import Span, covers, joined
from p2pcpn.wire import pages
from p2pcpn.wire.pages import cut, spans_of
from p2pcpn.wire.sealing import RESULT_DIGEST_BYTES, digest
from p2pcpn.wire.statements import LogHeader, Receipt, Signed, read

Note = Callable[[history.Event], None]


class Witness:
    """Tells what the grantor of ``job`` in ``epoch`` does."""

    __slots__ = ("_epoch", "_job", "_note")

    def __init__(self, note: Note, job: bytes, epoch: int, lots: int = 1) -> None:
        self._note = note
        self._job = job.hex()
        self._epoch = epoch
        note(history.Opened(self._job, epoch, lots))

    def said(self, total: int) -> None:
        """The job has so many tasks now."""
        self._note(history.Said(self._job, total))

    def closed(self, total: int) -> None:
        """The owner adds no more."""
        self._note(history.Closed(self._job, total))

    def cancelled(self) -> None:
        """The owner ends the job."""
        self._note(history.Cancelled(self._job))

    def offered(self, number: int) -> None:
        """An offer is made."""
        self._note(history.Offered(self._job, self._epoch, number))

    def claimed(self, worker: bytes, verdict: int) -> None:
        """A claim is answered."""
        self._note(history.Claimed(self._job, self._epoch, worker.hex(), verdict))

    def leased(self, token: int, worker: bytes, spans: Sequence[Span], until: float, *, copy: bool = False) -> None:
        """A lease is granted; a ``copy`` of what another one owes."""
        self._note(history.Leased(self._job, self._epoch, token, worker.hex(), tuple(spans), until, copy))

    def foresaw(self, token: int, spans: Sequence[Span]) -> None:
        """A lease gives tasks that do not exist yet."""
        self._note(history.Foresaw(self._job, self._epoch, token, tuple(spans)))

    def furthered(self, token: int, spans: Sequence[Span], until: float) -> None:
        """Tasks that a lease gave before they existed are there, and owed under it."""
        self._note(history.Furthered(self._job, self._epoch, token, tuple(spans), until))

    def renewed(self, token: int, until: float) -> None:
        """A lease ends later."""
        self._note(history.Renewed(self._job, self._epoch, token, until))

    def ended(self, token: int, spans: Sequence[Span], why: str) -> None:
        """``spans`` are owed under the lease no more."""
        self._note(history.Ended(self._job, self._epoch, token, tuple(spans), why))

    def dropped(self, spans: Sequence[Span]) -> None:
        """Tasks are cancelled."""
        self._note(history.Dropped(self._job, self._epoch, tuple(spans)))

    def accepted(self, said: Receipt, worker: bytes, settled: Sequence[Span]) -> None:
        """A receipt settles ``settled``, or nothing."""
        if not settled:
            self._note(history.Late(self._job, self._epoch, said.token, said.part, worker.hex()))
            return
        digests = _digests(said, settled)
        self._note(
            history.Accepted(self._job, self._epoch, said.token, said.part, worker.hex(), tuple(settled), digests)
        )

    def inherited(self, said: Receipt, worker: bytes, settled: Sequence[Span]) -> None:
        """A receipt of an earlier epoch settles ``settled``."""
        digests = _digests(said, settled)
        self._note(
            history.Inherited(
                self._job, self._epoch, said.epoch, said.grantor.hex(), said.token, said.part, worker.hex(),
                tuple(settled), digests,
            )
        )  # fmt: skip

    def signed(self, number: int, header: Signed, body: bytes) -> None:
        """A log segment is signed."""
        spans: list[Span] = []
        digests = ""
        inputs: list[tuple[int, int, str]] = []
        for entry in pages.LOG_BODY.decode(body):
            said = read(entry.receipt, Receipt)
            settled = said.spans if entry.spans is None else entry.spans
            spans += settled
            digests += _digests(said, settled)
            held = joined(settled)
            inputs += [(task, taken, d.hex()) for task, taken, d in said.inputs if covers(held, [(task, 1)])]
        name = digest(header.body).hex()
        self._note(history.Signed(self._job, self._epoch, number, name, tuple(spans), digests, tuple(inputs)))


def _digests(said: Receipt, settled: Sequence[Span]) -> str:
    """The digests that a receipt states, of those of its tasks that it settles."""
    if list(settled) == list(said.spans):
        return said.digests.hex()
    size = RESULT_DIGEST_BYTES
    stated = {index: said.digests[at * size : (at + 1) * size] for at, index in enumerate(cut(said.spans))}
    return b"".join(stated[index] for index in cut(list(settled))).hex()


NOTED = frozenset({fx.Commit, fx.Notify})


class Chronicle:
    """One life of a peer, noted: ``write`` takes each line. ``me`` is its node key, ``clock()`` its monotonic clock."""

    def __init__(
        self, node: bytes, boot: int, me: bytes, clock: Callable[[], float], write: Callable[[history.Line], None]
    ) -> None:
        self.process = f"{node.hex()}/{boot}"
        self._me = me
        self._clock = clock
        self._write = write
        self._number = 0
        self.note(history.Began())

    def note(self, event: history.Event) -> None:
        """One thing happened."""
        self._number += 1
        self._write(history.Line(self.process, self._number, self._clock(), event))  # type: ignore[arg-type]

    def delivered(self, event: events.Delivered) -> None:
        """A program takes these results: its futures are resolved."""
        self.note(history.Delivered(event.job.hex(), tuple(spans_of(event.indices)), event.digests.hex()))

    def attend(self, effects: Sequence[fx.Effect]) -> Sequence[fx.Effect]:
        """Note what effects say, before they are performed; returns those to perform.

        What is on disk only when a commit is over is noted then: the commit brings word of it.
        """
        for effect in effects:
            if type(effect) in NOTED:
                break
        else:
            return effects
        found: list[fx.Effect] = []
        for effect in effects:
            if isinstance(effect, fx.Notify):
                if isinstance(effect.event, history.Event):
                    self.note(effect.event)
                    continue
                if isinstance(effect.event, events.GaveUp):
                    said = effect.event
                    self.note(history.Failed(said.job.hex(), tuple(spans_of(said.indices)), said.text))
            elif isinstance(effect, fx.Commit):
                effect = self._committed(effect)
            found.append(effect)
        return found

    def _committed(self, commit: fx.Commit) -> fx.Commit:
        kept: list[fx.Effect] = []
        for write in commit.writes:
            if write.value is None:
                continue
            if write.table == "journal":
                self._made(write)
            elif write.table == "logs":
                header = pages.SIGNED.decode(write.value[0])  # type: ignore[arg-type]
                said = read(header, LogHeader)
                name = digest(header.body).hex()
                kept.append(fx.Notify(history.Kept(said.job.hex(), said.epoch, said.grantor.hex(), said.number, name)))
        return replace(commit, then=(*kept, *commit.then)) if kept else commit

    def _made(self, write: fx.Write) -> None:
        """A row of the journal: a receipt of ours, or one that was brought to us as a steward."""
        assert write.value is not None
        receipt = pages.SIGNED.decode(write.value[2])  # type: ignore[arg-type]
        if receipt.key != self._me:
            return
        said = read(receipt, Receipt)
        self.note(
            history.Made(
                said.job.hex(), said.epoch, said.grantor.hex(), said.token, said.part, tuple(said.spans),
                said.digests.hex(),
            )
        )  # fmt: skip
