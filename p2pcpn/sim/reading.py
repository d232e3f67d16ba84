"""Reading a job back: what a reader finds that asks through any peer, as ``client/reader.py`` does for real.

The owner's record names the stewards; where there is none, or none of them answers, those are asked who provide the job
or live near it; they, and the heads of the logs, say how long each grantor's log is and who holds it; each segment is
checked against its grantor's signature and the chain. What was read goes into the history of the peer that was asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import node_id
from p2pcpn.protocol import history
from p2pcpn.protocol.canonical import Canon, Stated, stated
from p2pcpn.protocol.custody import CONTACT
from p2pcpn.protocol.effects import Tell
from p2pcpn.protocol.gathering import ProvidersDone
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.operations import GetDone
from p2pcpn.protocol.settlement import NOTHING, check_segment
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.host import Host
from p2pcpn.sim.world import World
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.pages import LogHead, spans_of
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Receipt, Spec, read

TICKET = 2000
# A holder that is silent for so long is passed over, and one that could not help is asked again.
AGAIN_S = 3.0
READERS = 3
NEAR_MAX = 16
STEP_S = 0.25
READ_WAIT_S = 60.0


@dataclass(slots=True)
class Log:
    """One grantor's log: how many segments there are said to be, how many were read, and who holds it."""

    known: int = 0
    read: int = 0
    last: bytes = NOTHING
    holders: dict[bytes, Contact] = field(default_factory=dict)
    turn: int = 0
    vain: int = 0  # how often it was asked for since a segment came


class Reading:
    """One reader of ``job`` through ``host``. :meth:`step` is called now and then until it is :attr:`over`."""

    def __init__(self, host: Host, owner: bytes, job: bytes) -> None:
        self.host = host
        self.job = job
        self._canon: Canon[Stated] = Canon()
        self._life = host.boot
        self._key = record_key(owner, job)
        self._stewards: dict[bytes, Contact] = {}
        self._unnamed = False  # the owner's record was looked for, and there is none
        self._answered: set[bytes] = set()
        self._logs: dict[tuple[bytes, int], Log] = {}
        self._asked: dict[int, tuple[bytes, int]] = {}  # request -> the log it reads
        self._heads: dict[bytes, bytes | None] = {}  # by key of a record: the grantor's, until it was found
        self._again_at = 0.0
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
        """Whether a steward answered, all heads were looked up, and every log known of was read to its end."""
        if not self._answered or any(grantor is not None for grantor in self._heads.values()):
            return False
        return all(log.read >= log.known for log in self._logs.values())

    def step(self) -> None:
        """Ask whatever was not answered, the next holder where one was silent."""
        if self.host.peer is None or self.host.boot != self._life or self.host.clock.now < self._again_at:
            return
        self._again_at = self.host.clock.now + AGAIN_S
        for key in [self._key, *(key for key, grantor in self._heads.items() if grantor is not None)]:
            self.host.follow(self.host.peer.dht.get(key, TICKET, self.host.clock.now, self.host.wall()))
        for contact in list(self._stewards.values()):
            if contact.id == self.host.id:
                self._own()
            elif contact.id not in self._answered:
                self._tell(contact, m.Ask(self._request(), self.job))
        if (self._stewards or self._unnamed) and not self._answered:
            self._find_successors()
        self._asked.clear()
        for name in self._logs:
            self._more(name)

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

    def _more(self, name: tuple[bytes, int]) -> None:
        """Ask for the next segment of a log."""
        log = self._logs[name]
        holders = [contact for contact in log.holders.values() if contact.id != self.host.id]
        others = [contact for node, contact in self._stewards.items() if node not in log.holders]
        others = [contact for contact in others if contact.id != self.host.id]
        if log.read >= log.known:
            return
        asked = [holders[log.turn % len(holders)]] if holders else []
        if others and log.vain >= len(holders):
            # Who took a copy over after its grantor had named the holders is known by the job alone.
            asked.append(others[log.vain % len(others)])
        if log.vain == len(holders) + len(others):
            # A grantor that was cut off had others keep its log, who know nothing of the job: they lie near it.
            self._find_successors()
        log.turn, log.vain = log.turn + 1, log.vain + 1
        for to in asked:
            request = self._request()
            self._asked[request] = name
            self._tell(to, m.ReadLog(request, self.job, name[0], name[1], log.read))

    def _find_successors(self) -> None:
        """Those who keep the job in the place of stewards that are gone lie near it, and provide it."""
        peer, now = self.host.peer, self.host.clock.now
        assert peer is not None
        for listed in peer.directory.storage_near(self.job, now)[:NEAR_MAX]:
            self._stewards.setdefault(listed.advert.contact.id, listed.advert.contact)
        self.host.follow(peer.publishing.find(self.job, TICKET, now))

    # --- hearing -----------------------------------------------------------------------------------------------------

    def _event(self, event: object) -> None:
        if isinstance(event, ProvidersDone) and event.ticket == TICKET:
            for record in event.records:
                self._stewards.setdefault(record.contact.id, record.contact)
        if not isinstance(event, GetDone) or event.ticket != TICKET:
            return
        if event.key == self._key and event.record is None:
            self._unnamed = True  # an owner that dies as soon as it has opened a job leaves none
        if event.key == self._key and event.record is not None:
            for packed in pages.JOB_POINTER.decode(event.record.value).stewards:
                contact = CONTACT.decode(packed)
                self._stewards[contact.id] = contact
                self._again_at = 0.0
        grantor = self._heads.get(event.key)
        if grantor is not None:
            self._heads[event.key] = None
            if event.record is not None:
                head: LogHead = pages.LOG_HEAD.decode(event.record.value)
                for packed in head.holders:
                    logs = [(head.epoch, head.segments), *head.others]
                    self._known(CONTACT.decode(packed), [(grantor, epoch, count) for epoch, count in logs])

    def _hear(self, source: Host, message: m.Message) -> None:
        if isinstance(message, m.JobState):
            self._answered.add(bytes(source.id))
            self._known(source.contact, message.logs)
            spec = read(message.spec, Spec)
            for key in (spec.grantor, *(steward.key for steward in spec.stewards)):
                self._heads.setdefault(record_key(key, self.job), node_id(key))
        elif isinstance(message, m.LogData):
            name = self._asked.pop(message.request, None)
            if name is not None and self._take(name, message):
                log = self._logs[name]
                log.holders = {source.contact.id: source.contact, **log.holders}
                log.turn = log.vain = 0  # who showed one is asked for the next
                # Not at once: what is heard here is still being dealt with there.
                self.host.clock.after(0.0, partial(self._next, name))

    def _next(self, name: tuple[bytes, int]) -> None:
        if self.host.peer is not None and self.host.boot == self._life:
            self._more(name)

    def _known(self, holder: Contact, logs: Iterable[tuple[bytes, int, int]]) -> None:
        for grantor, epoch, count in logs:
            log = self._logs.setdefault((bytes(grantor), epoch), Log())
            log.known = max(log.known, count)
            log.holders[holder.id] = holder
            self._again_at = 0.0

    def _own(self) -> None:
        """The peer that is asked keeps the job itself, perhaps: what lies on its disk."""
        assert self.host.peer is not None
        rows = list(self.host.disk.scan("logs", (self.job,)))
        if rows or self.job in self.host.peer.steward.jobs:
            self._answered.add(bytes(self.host.id))
        for (_, grantor, epoch, number), (header, body) in rows:
            name = (bytes(grantor), epoch)
            log = self._logs.setdefault(name, Log())
            log.known = max(log.known, number + 1)
            if number == log.read:
                self._take(name, m.LogData(0, pages.SIGNED.decode(header), body))

    def _take(self, name: tuple[bytes, int], data: m.LogData) -> bool:
        """A segment, checked; whether it is the next of its log."""
        log = self._logs[name]
        try:
            said, entries = check_segment(data.header, data.body, self.job, lambda key, epoch: True)
        except PeerError:
            return False
        if (said.grantor, said.epoch, said.number, said.previous) != (*name, log.read, log.last):
            return False
        log.read, log.last = log.read + 1, digest(data.header.body)
        for entry in entries:
            for each in stated(said.epoch, read(entry.receipt, Receipt), entry.spans):
                self._canon.add(each)
        return True


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
