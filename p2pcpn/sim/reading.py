"""Reading a job back: what a reader finds that asks through any peer, as ``client/reader.py`` does for real.

The owner's record names the stewards; where there is none, or none of them answers, those are asked who provide the job
or live near it; they, and the heads of the logs, say how long each grantor's log is and who holds it; each segment is
checked against its grantor's signature and the chain. What was read goes into the history of the peer that was asked.
"""

from __future__ import annotations

import math

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId, node_id
from p2pcpn.protocol import history
from p2pcpn.protocol.canonical import Canon, Stated, stated
from p2pcpn.protocol.custody import CONTACT
from p2pcpn.protocol.effects import Tell
from p2pcpn.protocol.gathering import ProvidersDone
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.log_reading import LogReading, Wanted
from p2pcpn.protocol.operations import GetDone
from p2pcpn.protocol.settlement import check_segment
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.host import Host
from p2pcpn.sim.world import World
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.pages import Entry, LogHead, spans_of
from p2pcpn.wire.statements import LogHeader, Receipt, Spec, read

TICKET = 2000
# A holder that is silent for so long is passed over, and one that could not help is asked again.
AGAIN_S = 3.0
READERS = 3
NEAR_MAX = 16
STEP_S = 0.25
READ_WAIT_S = 60.0


class Reading:
    """One reader of ``job`` through ``host``. :meth:`step` is called now and then until it is :attr:`over`."""

    def __init__(self, host: Host, owner: bytes, job: bytes) -> None:
        self.host = host
        self.job = job
        self.log: list[tuple[int, Entry]] = []  # all that was read, and of which epoch
        self._canon: Canon[Stated] = Canon()
        self._life = host.boot
        self._key = record_key(owner, job)
        self._logs = LogReading(self._check, self._near, host.id)
        self._stewards = self._logs.keepers
        self._unnamed = False  # the owner's record was looked for, and there is none
        self._answered: set[bytes] = set()
        self._awaited: dict[bytes, float] = {}  # until when an answer is waited for, of keepers that were asked
        self._asked: dict[int, Wanted] = {}  # by request
        self._heads: dict[bytes, bytes | None] = {}  # by key of a record: the grantor's, until it was found
        self._again_at = 0.0
        self._sought_at = -AGAIN_S
        host.listeners.append(self._event)
        host.hearers.append(self._hear)

    @property
    def results(self) -> dict[int, tuple[int, bytes]]:
        """Of each task the epoch and the digest of the result that counts, as far as was read."""
        self._canon.settle()
        return {index: (each.epoch, each.digest) for index, each in self._canon.results.items()}

    @property
    def stale(self) -> list[int]:
        """Tasks whose result was made of one that lost, and that were not run again."""
        self._canon.settle()
        return sorted(self._canon.stale)

    @property
    def conflicts(self) -> int:
        """How many settlements state another result than one of the same task that was read before."""
        return self._canon.conflicts

    @property
    def over(self) -> bool:
        """Whether a steward answered and none may answer still, all heads were looked up, and every log known of was
        read to its end."""
        if not self._answered or any(grantor is not None for grantor in self._heads.values()):
            return False
        # The first to answer may lack what the others have: a grantor that died brought it to some of them.
        now = self.host.clock.now
        if any(node not in self._answered and now < self._awaited.get(node, math.inf) for node in self._stewards):
            return False
        return self._logs.over

    def step(self) -> None:
        """Ask whatever was not answered, the next holder where one was silent."""
        host, now = self.host, self.host.clock.now
        if host.peer is None or host.boot != self._life:
            return
        self._logs.expire(now)
        if now >= self._again_at:
            self._again_at = now + AGAIN_S
            for key in [self._key, *(key for key, grantor in self._heads.items() if grantor is not None)]:
                host.follow(host.peer.dht.get(key, TICKET, now, host.wall()))
            for contact in list(self._stewards.values()):
                if contact.id == host.id:
                    self._own()
                    self._awaited[contact.id] = now
                elif contact.id not in self._answered:
                    self._awaited.setdefault(contact.id, now + AGAIN_S)
                    self._tell(contact, m.Ask(self._request(), self.job))
            if (self._stewards or self._unnamed) and not self._answered:
                self._find_successors()
            # A round goes on to its end, as the real reader's does: only then it is known that all lack a segment.
            if not self._logs.pending:
                self._logs.begin()
        self._more()

    def own(self) -> None:
        """Read what lies on the own disk, too: the log of whoever granted here may lie nowhere else yet."""
        self._own()
        self._answered.discard(bytes(self.host.id))  # what others keep is wanted all the same

    def end(self) -> None:
        """Note what was seen, and listen no more."""
        self.close()
        host = self.host
        results = self.results
        found = sorted(results)
        if host.chronicle is not None:
            epochs = tuple(results[index][0] for index in found)
            digests = b"".join(results[index][1] for index in found).hex()
            host.chronicle.note(history.Saw(self.job.hex(), tuple(spans_of(found)), epochs, digests))

    def close(self) -> None:
        """Listen no more."""
        self.host.listeners.remove(self._event)
        self.host.hearers.remove(self._hear)

    # --- asking ------------------------------------------------------------------------------------------------------

    def _request(self) -> int:
        assert self.host.peer is not None
        return self.host.peer.next_request()

    def _tell(self, to: Contact, message: m.Message) -> None:
        self.host.follow([Tell(to, message)])

    def _more(self) -> None:
        """Ask for the next segments of the logs."""
        if self.host.peer is None or self.host.boot != self._life:
            return
        now = self.host.clock.now
        for wanted in self._logs.next(now):
            request = self._request()
            self._asked[request] = wanted
            self._tell(wanted.to, m.ReadLog(request, self.job, *wanted.log, wanted.number))
        if self._logs.in_vain(now) and now >= self._sought_at + AGAIN_S:
            # A grantor that was cut off had others keep its log, who know nothing of the job: they lie near it.
            self._sought_at = now
            self._find_successors()

    def _find_successors(self) -> None:
        """Those who keep the job in the place of stewards that are gone lie near it, and provide it."""
        peer, now = self.host.peer, self.host.clock.now
        assert peer is not None
        for contact in self._near():
            self._stewards.setdefault(NodeId(contact.id), contact)
        self.host.follow(peer.publishing.find(self.job, TICKET, now))

    def _near(self) -> list[Contact]:
        assert self.host.peer is not None
        listed = self.host.peer.directory.storage_near(self.job, self.host.clock.now)
        return [each.advert.contact for each in listed[:NEAR_MAX]]

    # --- hearing -----------------------------------------------------------------------------------------------------

    def _event(self, event: object) -> None:
        if isinstance(event, ProvidersDone) and event.ticket == TICKET:
            for record in event.records:
                self._stewards.setdefault(NodeId(record.contact.id), record.contact)
        if not isinstance(event, GetDone) or event.ticket != TICKET:
            return
        if event.key == self._key and event.record is None:
            self._unnamed = True  # an owner that dies as soon as it has opened a job leaves none
        if event.key == self._key and event.record is not None:
            for packed in pages.JOB_POINTER.decode(event.record.value).stewards:
                contact = CONTACT.decode(packed)
                self._stewards[NodeId(contact.id)] = contact
                self._again_at = 0.0
        grantor = self._heads.get(event.key)
        if grantor is not None:
            self._heads[event.key] = None
            if event.record is not None:
                head: LogHead = pages.LOG_HEAD.decode(event.record.value)
                holders = [CONTACT.decode(packed) for packed in head.holders]
                self._logs.headed(NodeId(grantor), [(head.epoch, head.segments), *head.others], holders)
                self._again_at = 0.0

    def _hear(self, source: Host, message: m.Message) -> None:
        if isinstance(message, m.JobState):
            self._answered.add(bytes(source.id))
            self._logs.shown(source.contact, message.logs)
            self._again_at = 0.0 if message.logs else self._again_at
            for said in filter(None, (message.mandate, *message.mandates)):
                self._logs.granted(said.grantor, source.id)
                if said.grantor.id == self.host.id:
                    self._own()
            spec = read(message.spec, Spec)
            for steward in spec.stewards:
                if NodeId(steward.contact.id) not in self._stewards:
                    self._stewards[NodeId(steward.contact.id)] = steward.contact
                    self._again_at = 0.0
            for key in (spec.grantor, *(steward.key for steward in spec.stewards)):
                self._heads.setdefault(record_key(key, self.job), node_id(key))
        elif isinstance(message, m.LogData | m.Answer):
            wanted = self._asked.pop(message.request, None)
            if wanted is None:
                self._awaited[source.id] = 0.0  # it knows nothing of the job
            else:
                data = message if isinstance(message, m.LogData) else None
                self._count(wanted.log[1], self._logs.answered(wanted, data))
                # Not at once: what is heard here is still being dealt with there.
                self.host.clock.after(0.0, self._more)

    def _own(self) -> None:
        """The peer that is asked keeps the job itself, perhaps: what lies on its disk."""
        assert self.host.peer is not None
        rows = list(self.host.disk.scan("logs", (self.job,)))
        if rows or self.job in self.host.peer.steward.jobs:
            self._answered.add(bytes(self.host.id))
        for (_, grantor, epoch, number), (header, body) in rows:
            name = (bytes(grantor), epoch)
            self._logs.shown(self.host.contact, [(*name, number + 1)])
            if number == self._logs.logs[name].read:
                try:
                    self._count(epoch, self._logs.take(name, m.LogData(0, pages.SIGNED.decode(header), body)))
                except PeerError as error:
                    self._logs.refuse(error)

    def _check(self, data: m.LogData) -> tuple[LogHeader, list[Entry]]:
        return check_segment(data.header, data.body, self.job, lambda key, epoch: True)

    def _count(self, epoch: int, entries: list[Entry]) -> None:
        for entry in entries:
            self.log.append((epoch, entry))
            for each in stated(epoch, read(entry.receipt, Receipt), entry.spans):
                self._canon.add(each)


def reads_whole(host: Host, owner: bytes, job: bytes, tasks: int, within_s: float) -> bool:
    """Whether a reader that asks through ``host`` finds ``tasks`` results in so much virtual time."""
    world = host.world
    reading = Reading(host, owner, job)
    end = world.clock.now + within_s
    while not (reading.over and len(reading.results) == tasks) and world.clock.now < end:
        reading.step()
        world.run(world.clock.now + STEP_S)
    reading.close()
    return len(reading.results) >= tasks


def read_back(world: World, name: str, owner: bytes, job: bytes) -> None:
    """Read a job through some peers. Raises :class:`Violation` where one does not come to an end."""
    askers = world.dice.stream("readers", name).sample(world.alive, min(READERS, len(world.alive)))
    readers = [Reading(host, owner, job) for host in askers]
    end = world.clock.now + READ_WAIT_S
    while not all(reader.over for reader in readers):
        if world.clock.now >= end:
            raise Violation(f"a reader cannot read the job {name} to its end within {READ_WAIT_S:g} s")
        for reader in readers:
            reader.step()
        world.run(world.clock.now + STEP_S)
    for reader in readers:
        reader.end()
