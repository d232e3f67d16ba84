"""Reading logs: whom a reader asks for the next segment of each grantor's log, and whose word on its length counts.

A log is as long as those say who show what they say, and its own grantor: who says that there is a segment and does not
show it, or shows another, is not believed, or one steward could keep every reader waiting for what never was. Whoever
said or showed most recently is asked first; who says nothing for ``LATE_S`` is not waited for, the next is asked beside
it; who says nothing for ``WAIT_S`` is left alone for a while.

What was written may be lost with everybody who had it: a grantor and the one holder that its head counted on. So a log
whose next segment nobody has shown for ``LOST_S``, while others answer that they lack it, ends there for this reader.
It is asked for all the same as long as the reader reads, and goes on where somebody comes back with it.

A log may be longer than anybody said: its grantor died before its head named the last segments, and who has them does
not know the job, so that it is asked for segments only. Each such holder is asked for one more than are known.

::

    begin ──> asked ──the segment──> the next one, asked of whoever showed this
                │ late: the next peer is asked, too
                │ not there, another, silent: the next peer
                └ nobody is left: in vain, until somebody is found or begin() is called again
                    └ for LOST_S, others lack it: lost

    all that is known was read ──> holders that never said how many they have are asked for one more, once
                └ late: not waited for; the next one
                └ a newer log becomes known: once again
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import LogData
from p2pcpn.wire.pages import Entry
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import LogHeader

# A dial and a segment of 4 MiB over a line of 100 Mbit/s take as long: who needs longer may get it asked of another.
LATE_S = 0.5
WAIT_S = 3.0
SILENT_S = 5.0
# As long as a lease outlives a silent peer: what is not shown for longer has been given to others to run.
LOST_S = 30.0
REFUSED_MAX = 64
Name = tuple[bytes, int]  # the grantor's node id, the epoch


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question: that segment of that log, of one peer."""

    to: Contact
    log: Name
    number: int


@dataclass(slots=True)
class Log:
    """How far one grantor's log has been read, and who is asked for its next segment."""

    grantor: bytes  # node id
    epoch: int
    read: int = 0
    last: bytes = NOTHING
    said: dict[NodeId, int] = field(default_factory=dict)  # how many segments there are, by who says so
    holders: dict[NodeId, Contact] = field(default_factory=dict)
    refused: str = ""  # why the next segment is not right, where nobody shows it otherwise or says that it is not there
    asked: set[NodeId] = field(default_factory=set)  # for the next segment, since the round began
    probed: set[NodeId] = field(default_factory=set)  # asked for the next segment, and none was shown
    waiting: dict[NodeId, tuple[Wanted, float]] = field(default_factory=dict)  # whose answer, since when
    late_at: float | None = None  # when another is asked beside those who have not answered
    lacked: bool = False  # somebody does not have the segment
    wrong: str = ""
    vain_since: float | None = None  # since when every round for the next segment was in vain, though it is said to be
    lost: bool = False  # for so long that whoever has it is taken for gone

    @property
    def known(self) -> int:
        """How many segments are said to exist, by those who show what they say."""
        return max(self.read, *self.said.values(), 0)

    @property
    def pending(self) -> bool:
        """Whether somebody may still answer for the next segment."""
        return any(wanted.number == self.read for wanted, _ in self.waiting.values())

    def tell(self, node: NodeId, count: int) -> None:
        """``node`` says that there are so many segments."""
        self.said[node] = max(count, self.said.get(node, 0))

    def start(self) -> None:
        """Whoever was asked in vain may be asked again."""
        self.asked = {node for node, (wanted, _) in self.waiting.items() if wanted.number == self.read}
        self.late_at, self.lacked, self.wrong = None, False, ""

    def fruitless(self, now: float) -> None:
        """A round for the next segment ended, and nobody has shown it."""
        # Who spoke of it does not have it: it never was. Or nobody answers, and it is we who are cut off.
        if self.read >= self.known or not self.lacked:
            self.vain_since, self.lost = None, False
        elif self.vain_since is None:
            self.vain_since = now
        else:
            self.lost = now >= self.vain_since + LOST_S

    def grew(self, last: bytes) -> None:
        """The next segment was read: ``last`` is the digest of its header."""
        self.read, self.last, self.refused = self.read + 1, last, ""
        self.vain_since, self.lost = None, False
        self.start()


class LogReading:
    """See the module. ``check`` opens a segment, or raises :class:`PeerError`; ``near()`` lists storage peers near the
    job, which keep the log of a grantor that was cut off and know nothing of the job; ``me`` is asked nothing.

    ``keepers`` are the peers that keep the job, as far as the driver knows; ``refused`` says what was not accepted.
    """

    def __init__(
        self,
        check: Callable[[LogData], tuple[LogHeader, list[Entry]]],
        near: Callable[[], list[Contact]],
        me: NodeId | None = None,
    ) -> None:
        self.logs: dict[Name, Log] = {}
        self.keepers: dict[NodeId, Contact] = {}
        self.refused: list[str] = []
        # Where each grantor is reached, by who says so; and how often that was in vain.
        self._grantors: dict[NodeId, dict[NodeId, tuple[Contact, int]]] = {}
        self._check = check
        self._near = near
        self._me = me
        self._late: set[NodeId] = set()  # asked last, until they answer something
        self._silent: dict[NodeId, float] = {}  # until when they are not asked

    # --- what there is to read ---------------------------------------------------------------------------------------

    def log(self, grantor: bytes, epoch: int) -> Log:
        """The log of one grantor, known from now on."""
        name = (bytes(grantor), epoch)
        if name not in self.logs:
            # Who grants now was taken over from: what its forerunners wrote last may have reached others meanwhile.
            for log in self.logs.values():
                if log.epoch < epoch:
                    log.probed.clear()
            self.logs[name] = Log(*name)
        return self.logs[name]

    def shown(self, holder: Contact, logs: Iterable[tuple[bytes, int, int]]) -> None:
        """``holder`` says which logs it keeps, each as (grantor, epoch, segments)."""
        node = NodeId(holder.id)
        for grantor, epoch, count in logs:
            log = self.log(grantor, epoch)
            log.tell(node, count)
            log.holders[node] = holder

    def headed(self, grantor: NodeId, logs: Iterable[tuple[int, int]], holders: list[Contact]) -> None:
        """The head of a grantor's logs says how long they are, each as (epoch, segments), and who holds them."""
        for epoch, count in logs:
            log = self.log(grantor, epoch)
            log.tell(grantor, count)
            for contact in holders:
                log.holders.setdefault(NodeId(contact.id), contact)

    def granted(self, grantor: Contact, by: NodeId) -> None:
        """``by`` says where a grantor is reached: it may be the last who has what it wrote."""
        node = NodeId(grantor.id)
        words = self._grantors.setdefault(node, {})
        known, in_vain = words.get(by, (grantor, 0))
        words[by] = grantor, 0 if by == node and known != grantor else in_vain

    def _where(self, grantor: NodeId) -> Contact | None:
        """Where to look for a grantor: where whoever says so was wrong least often, and it knows best itself."""
        words = self._grantors.get(grantor, {})
        by = min(words, key=lambda node: (words[node][1], node != grantor), default=None)
        return None if by is None else words[by][0]

    @property
    def over(self) -> bool:
        """Whether every log was read to its end, or to where the rest of it is lost."""
        return all(log.lost or self._is_read(log) for log in self.logs.values())

    def _is_read(self, log: Log) -> bool:
        return log.read >= log.known and not log.pending and self._unheard(log) is None

    @property
    def bereft(self) -> bool:
        """Whether the rest of some log is lost, as far as is known here."""
        return any(log.lost for log in self.logs.values())

    @property
    def pending(self) -> bool:
        """Whether an answer may still bring a segment on."""
        return any(log.pending for log in self.logs.values())

    # --- asking ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A new round: whoever was asked in vain may have the segment by now."""
        for log in self.logs.values():
            log.start()

    def next(self, now: float) -> list[Wanted]:
        """Whom to ask now, at most one more for each log."""
        found: list[Wanted] = []
        for name, log in self.logs.items():
            # A round goes on to its end, though whoever spoke of the segment does not have it: others may.
            is_ended = log.read >= log.known and not log.asked
            if log.late_at is not None:
                if now < log.late_at:
                    continue
                late = [node for node, (wanted, _) in log.waiting.items() if wanted.number == log.read]
                self._late.update(late)
                for node in late if is_ended else ():  # nobody said that there is more: nobody is waited for
                    del log.waiting[node]
            contact = self._unheard(log) if is_ended else self._candidate(log, now)
            if contact is None:
                log.late_at = None
                if not is_ended and not log.pending:
                    log.refused = "" if log.lacked else log.wrong or log.refused
                    log.fruitless(now)
                continue
            node = NodeId(contact.id)
            wanted = Wanted(contact, name, log.read)
            (log.probed if is_ended else log.asked).add(node)
            log.waiting[node] = (wanted, now)
            log.late_at = now + LATE_S
            if node in log.holders:
                log.holders[node] = log.holders.pop(node)  # asked last from now on, unless it shows the segment
            found.append(wanted)
        return found

    def in_vain(self, now: float) -> bool:
        """Whether nobody who is known is left to be asked for the next segment of some log."""
        return any(
            log.read < log.known and log.asked and not log.pending and self._candidate(log, now) is None
            for log in self.logs.values()
        )

    def _unheard(self, log: Log) -> Contact | None:
        """A holder that may have more than is known: it never said how much it has, and was not asked for more."""
        for node, contact in log.holders.items():
            if node in log.said or node in log.probed or node in log.waiting or node in self._late or node == self._me:
                continue
            return contact
        return None

    def _candidate(self, log: Log, now: float) -> Contact | None:
        free = (
            (node, contact)
            for node, contact in self._who_may_have(log, now)
            if node != self._me
            and node not in log.asked
            and node not in log.waiting
            and now >= self._silent.get(node, 0.0)
        )
        late: Contact | None = None
        for node, contact in free:
            if node not in self._late:
                return contact
            late = late or contact
        return late

    def _who_may_have(self, log: Log, now: float) -> Iterator[tuple[NodeId, Contact]]:
        """Whom to ask for a segment, in turn."""
        yield from log.holders.items()
        # Who took a copy over after its grantor had named the holders is known by the job alone.
        yield from ((node, contact) for node, contact in self.keepers.items() if node not in log.holders)
        grantor = NodeId(log.grantor)
        is_known = grantor in log.holders or grantor in self.keepers
        contact = None if is_known else self._where(grantor)
        if contact is not None:  # hearsay: where it does not help, others are asked
            yield grantor, contact
        if not is_known or grantor in self._late or now < self._silent.get(grantor, 0.0):
            # It wrote while it was cut off, perhaps, and those who heard of it there keep the log, and not the job.
            for near in self._near():
                node = NodeId(near.id)
                if node not in log.holders and node not in self.keepers:
                    yield node, near

    # --- answers -----------------------------------------------------------------------------------------------------

    def answered(self, wanted: Wanted, data: LogData | None) -> list[Entry]:
        """A peer shows a segment, or says that it has none: the settlements in it, where it is the next of its log."""
        log, node = self._heard(wanted)
        if wanted.number != log.read:  # another was faster
            if data is not None:
                log.probed.discard(node)
            return []
        log.late_at = None
        if data is not None:
            try:
                entries = self.take(wanted.log, data)
            except PeerError as error:
                log.wrong = str(error)
                self.refuse(error)
            else:
                log.holders = {node: wanted.to, **log.holders}
                log.probed.discard(node)
                return entries
        else:
            log.lacked = True
        log.probed.add(node)
        if node != log.grantor:  # what it has just written may not lie anywhere yet
            log.said.pop(node, None)
        return []

    def unreachable(self, wanted: Wanted, now: float) -> None:
        """A peer does not answer."""
        log, node = self._heard(wanted)
        self._silent[node] = now + SILENT_S
        self._late.add(node)
        words = self._grantors.get(node, {})  # it may have moved, or who said so lies; others may know
        for by, (contact, in_vain) in words.items():
            if contact == wanted.to:
                words[by] = contact, in_vain + 1
        if wanted.number == log.read:
            log.late_at = None

    def leave(self) -> None:
        """No answer is awaited any more; that none came is held against nobody."""
        for log in self.logs.values():
            log.probed -= log.waiting.keys()
            log.waiting.clear()
            log.late_at = None

    def take(self, name: Name, data: LogData) -> list[Entry]:
        """The next segment of a log, wherever it comes from. Raises :class:`PeerError` where it is another."""
        log = self.logs[name]
        header, entries = self._check(data)
        said = (bytes(header.grantor), header.epoch, header.number, header.previous)
        if said != (*name, log.read, log.last):
            raise PeerError("a log segment is not the next of its chain")
        log.grew(digest(data.header.body))
        return entries

    def refuse(self, error: Exception) -> None:
        """Something that was read is not accepted."""
        if len(self.refused) < REFUSED_MAX:
            self.refused.append(str(error))

    def _heard(self, wanted: Wanted) -> tuple[Log, NodeId]:
        log, node = self.logs[wanted.log], NodeId(wanted.to.id)
        log.waiting.pop(node, None)
        self._late.discard(node)
        self._silent.pop(node, None)
        return log, node

    def deadline(self) -> float | None:
        """When :meth:`expire` is due, and :meth:`next` has somebody more to ask."""
        times = [since + WAIT_S for log in self.logs.values() for _, since in log.waiting.values()]
        times += [log.late_at for log in self.logs.values() if log.late_at is not None]
        return min(times, default=None)

    def expire(self, now: float) -> None:
        """Who has said nothing for too long is not waited for any more."""
        waiting = [each for log in self.logs.values() for each in log.waiting.values()]
        for wanted, since in waiting:
            if now >= since + WAIT_S:
                self.unreachable(wanted, now)
