"""Reading a job from any peer, by its id and the owner's key.

The owner's record in the DHT names the stewards; they show the signed spec and how long each grantor's log is; the
heads of the logs (records under the grantors' keys) name the holders. Every log segment is checked against its
grantor's signature and the chain, every result against a receipt that the trust rule accepts. Of an index settled
twice, one is the canonical result, for every reader alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import msgspec

from p2pcpn.client.together import Together
from p2pcpn.errors import JobError, PeerError, ResultRefused, Unreachable
from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol import history
from p2pcpn.protocol.admission import trusts
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.canonical import Canon
from p2pcpn.protocol.custody import CONTACT
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.log_reading import WAIT_S, Log, LogReading, Wanted
from p2pcpn.protocol.settlement import check_segment, open_receipt
from p2pcpn.protocol.vouching import Vouching
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Ask, JobState, LogData, ReadLog
from p2pcpn.wire.pages import Entry, LogHead, Print, spans_of
from p2pcpn.wire.sealing import JobKeys, unseal, unwrap
from p2pcpn.wire.statements import BlobRef, Cancel, Close, Handover, LogHeader, Pause, opened

POLL_S = 0.1
POLL_S_MAX = 1.0
ASK_WAIT_S = 3.0
NEAR_MAX = 16
HEADS_EVERY = 8
# How long good results are awaited from other holders once some were refused.
REFUSED_WAIT_S = 2.0
# How long the last segment of a log may take after its grantor says that all tasks have ended.
GIVEN_UP_WAIT_S = 1.0
# How long after that its grantor may take to see that a task took a result which lost, and to have it run again.
STALE_WAIT_S = 10.0
# What is settled in the last moment before a deadline is in the log soon after it.
OVERDUE_S = 2.0


@dataclass(frozen=True, slots=True)
class Stored:
    """One settled result as it is stored: a value nobody has unpickled yet."""

    index: int
    outcome: int
    value: bytes | BlobRef
    rendering: str
    output: tuple[Print, ...]
    worker: bytes  # node key of the worker
    epoch: int
    digest: bytes
    inputs: tuple[tuple[int, bytes], ...] = ()  # tasks whose results it took, and the digests of those


def _epochs(authority: Authority) -> list[int]:
    """The newest epoch of all that is granted, as far as is known."""
    return [tenure.epoch for tenure in authority.granted]


class Reader:
    """Reads one job. ``state`` is the newest :class:`JobState` seen.

    What counts of several settlements of a task :mod:`p2pcpn.protocol.canonical` says.
    """

    def __init__(self, overlay: Overlay, owner: Keypair, job: bytes) -> None:
        self.overlay = overlay
        self.owner = owner
        self.job = job
        self.authority: Authority | None = None
        self._together: Together | None = None  # of a job that is granted in lots
        self._vouching: Vouching | None = None
        self._distant: dict[int, bytes] = {}  # epochs that are far from any known: by whom they would be granted
        self._grantor = b""  # who said of itself what ``state`` says, where it says that the job is granted
        self.keys: JobKeys | None = None
        self.state: JobState | None = None
        self.total: int | None = None
        self.cancelled = False
        self.paused = False
        self.pause_number = 0  # of the owner's newest word on it
        self._canon: Canon[Stored] = Canon()
        self.results = self._canon.results
        self.stale = self._canon.stale  # made of results that are not the canonical ones
        self._refused_last = ""  # of results: they are not shown otherwise by anybody else
        self._refreshes = 0
        self._epochs: list[int] = []  # that were the newest when the heads of the logs were last looked at
        self._reading = LogReading(self._check, lambda: self._near())
        self._stewards = self._reading.keepers

    # --- finding -----------------------------------------------------------------------------------------------------

    async def find(self, wait_s: float = 10.0) -> None:
        """Find the job. Raises :class:`JobError` when no peer that answers knows it, or it is another owner's."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while True:
            await self._find_stewards()
            await self.refresh()
            if self.authority is not None:
                return
            if loop.time() >= end:
                raise JobError(
                    f"no peer that answers keeps job {self.job.hex()[:8]} of owner {self.owner.public.hex()[:8]}; "
                    "check the id and --key, or the job's retention has ended"
                )
            await asyncio.sleep(POLL_S)

    async def _find_stewards(self) -> None:
        found = await self.overlay.get_record(record_key(self.owner.public, self.job))
        if found.record is not None:
            try:
                pointer = pages.JOB_POINTER.decode(found.record.value)
                for packed in pointer.stewards:
                    contact = CONTACT.decode(packed)
                    self._stewards[NodeId(contact.id)] = contact
            except PeerError:
                pass  # an unreadable pointer is no pointer
        if not self._stewards:
            self._stewards.update((NodeId(contact.id), contact) for contact in self._near())

    def _near(self) -> list[Contact]:
        listed = self.overlay.peer.directory.storage_near(self.job, self.overlay.loop.time())
        return [each.advert.contact for each in listed[:NEAR_MAX]]

    async def _find_successors(self) -> None:
        """Those who keep the job in the place of stewards that left: they lie near it, and provide it."""
        provided = await self.overlay.find_providers(self.job)
        contacts = {c.id: c for c in [*self._near(), *(record.contact for record in provided.records)]}
        fresh = [contact for node, contact in contacts.items() if NodeId(node) not in self._stewards]
        for contact, answer in zip(fresh, await asyncio.gather(*map(self._ask, fresh)), strict=True):
            if answer is not None:
                self._learn(contact, answer)
                if self.authority is not None:
                    self._stewards[NodeId(contact.id)] = contact

    async def refresh(self) -> None:
        """Ask the stewards again, and look at the heads of the logs in the DHT."""
        asked: set[NodeId] = set()
        count = 0
        # Whoever answers shows the spec, which may name stewards that were not known: they may have more of the logs.
        while fresh := [contact for node, contact in self._stewards.items() if node not in asked]:
            asked.update(NodeId(contact.id) for contact in fresh)
            for contact, answer in zip(fresh, await asyncio.gather(*map(self._ask, fresh)), strict=True):
                if answer is not None:
                    self._learn(contact, answer)
                    count += 1
                elif self._vouching is not None:
                    self._vouching.silent(NodeId(contact.id))
        self._reach()
        if not count:
            await self._find_successors()
        # The stewards' word on how long the logs are is checked by the logs' chains. The heads in the DHT name holders
        # beyond them, and cost a lookup that a job without a head makes long: only when the stewards do not suffice,
        # or somebody else grants than before. Who granted until then may have died before others heard of its last.
        epochs = [] if self.authority is None else _epochs(self.authority)
        if count < min(2, len(asked)) or epochs != self._epochs or self._refreshes % HEADS_EVERY == 1:
            self._epochs = epochs
            await self._heads()
        self._refreshes += 1

    async def _ask(self, contact: Contact) -> JobState | None:
        try:
            answer = await self.overlay.request(contact, lambda r: Ask(r, self.job), ASK_WAIT_S)
        except Unreachable:
            return None
        return answer if isinstance(answer, JobState) else None

    def _learn(self, contact: Contact, state: JobState) -> None:
        try:
            if self.authority is None:
                authority = Authority(state.spec)
                if authority.job != self.job or authority.owner != self.owner.public:
                    return
                self.authority, self._epochs = authority, _epochs(authority)
                self.keys = JobKeys(unwrap(self.owner, self.owner.public, authority.spec.nonce, authority.spec.wrapped))
                for steward in authority.spec.stewards:
                    self._stewards.setdefault(NodeId(steward.contact.id), steward.contact)
            self._vouching = self._vouching or Vouching(self.authority)
            for handover in state.handovers:
                self.authority.hand_over(handover)
            for mandate in filter(None, (state.mandate, *state.mandates)):
                if self.authority.key_of(mandate.grantor.id, mandate.epoch) is not None:
                    self._reading.granted(mandate.grantor, NodeId(contact.id))
            if self.authority.is_split:
                self._together = self._together or Together(self.authority, self._vouching)
                state = self._together.take(contact, state)
            else:
                self._name(NodeId(contact.id), state)
            if state.close is not None:
                self.authority.require_owner(state.close)
                closed = opened(state.close, Close)
                self.total = closed.total if closed.job == self.job else self.total
            if state.cancel is not None:
                self.authority.require_owner(state.cancel)
                self.cancelled = self.cancelled or opened(state.cancel, Cancel).job == self.job
            if state.pause is not None:
                self.authority.require_owner(state.pause)
                said = opened(state.pause, Pause)
                if said.job == self.job and said.number > self.pause_number:
                    self.pause_number, self.paused = said.number, said.paused
        except PeerError:
            return  # a steward that shows what is not signed is not listened to
        if self._together is not None:
            self.state = state
        else:
            self._weigh(contact, state)
        authority = self.authority
        self._reading.shown(contact, [log for log in state.logs if authority.key_of(log[0], log[1]) is not None])

    def _name(self, node: NodeId, state: JobState) -> None:
        """The epoch that a peer names: hearsay, but whose an epoch is the spec tells."""
        authority, vouching, said = self.authority, self._vouching, state.mandate
        assert authority is not None and vouching is not None
        key = None if said is None else authority.key_of(said.grantor.id, said.epoch)
        vouching.names(node, [] if said is None or key is None else [said.epoch], state.logs)
        if said is None or key is None:
            return
        if authority.far(said.epoch):
            self._distant[said.epoch] = key
        else:
            authority.take_over(key, said.epoch)

    def _reach(self) -> None:
        """After many rounds the newest epoch is far from any that the spec or the owner names: two have to know it."""
        for epoch, key in self._distant.items():
            if self.authority is not None and self._vouching is not None and self._vouching.known(epoch):
                self.authority.take_over(key, epoch)
        self._distant.clear()

    def _weigh(self, contact: Contact, state: JobState) -> None:
        """How far a job is only its grantor knows, and that it is its grantor others must have heard."""
        authority, vouching = self.authority, self._vouching
        assert authority is not None and vouching is not None
        grantor = node_id(authority.grantor)
        is_believed = vouching.believes(grantor, authority.epoch)
        if state.granting and (contact.id != grantor or not is_believed):
            state = msgspec.structs.replace(state, granting=False)
        known = self.state
        if known is not None and known.granting and self._grantor == grantor and not is_believed:
            known = None  # it was believed while nobody else had answered
        if known is None or state.granting or not known.granting:
            self.state, self._grantor = state, grantor

    def _writers(self) -> list[bytes]:
        """The node keys of everybody who may have written a log of this job."""
        authority = self.authority
        assert authority is not None
        keys = [authority.spec.grantor, *(opened(handover, Handover).grantor for handover in authority.handovers)]
        if authority.is_taken_over and (authority.epoch or authority.is_split):
            keys += [steward.key for steward in authority.spec.stewards]
        return list(dict.fromkeys(keys))

    async def _heads(self) -> None:
        """The records of the logs' heads: holders beyond the stewards, and segments these have not got yet."""
        if self.authority is None:
            return
        writers = self._writers()
        lookups = await asyncio.gather(*(self.overlay.get_record(record_key(key, self.job)) for key in writers))
        for key, found in zip(writers, lookups, strict=True):
            if found.record is None:
                continue
            try:
                head: LogHead = pages.LOG_HEAD.decode(found.record.value)
                holders = [CONTACT.decode(packed) for packed in head.holders]
                logs = [
                    log for log in [(head.epoch, head.segments), *head.others] if self.authority.grants(key, log[0])
                ]
                self._reading.headed(node_id(key), logs, holders)
            except PeerError:
                continue

    # --- reading -----------------------------------------------------------------------------------------------------

    async def read(self) -> list[Stored]:
        """Read what the logs hold beyond what was read; returns the new results."""
        reading, loop = self._reading, self.overlay.loop
        reading.begin()
        asked: set[asyncio.Task[None]] = set()
        try:
            while True:
                reading.expire(loop.time())
                asked.update(loop.create_task(self._ask_for(wanted)) for wanted in reading.next(loop.time()))
                due_s = reading.deadline()
                if not reading.pending or due_s is None:
                    break
                wait_s = max(0.0, due_s - loop.time())
                done, asked = await asyncio.wait(asked, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:  # nobody waits for what came from another meanwhile
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            reading.leave()
        return [self.results[index] for index in self._canon.settle()]

    async def _ask_for(self, wanted: Wanted) -> None:
        (grantor, epoch), now = wanted.log, self.overlay.loop.time
        try:
            data = await self.overlay.request(
                wanted.to, lambda r: ReadLog(r, self.job, grantor, epoch, wanted.number), WAIT_S
            )
        except Unreachable:
            self._reading.unreachable(wanted, now())
            return
        for stored in self._open(self._reading.answered(wanted, data if isinstance(data, LogData) else None), epoch):
            self._canon.add(stored)

    def _check(self, data: LogData) -> tuple[LogHeader, list[Entry]]:
        assert self.authority is not None
        header, entries = check_segment(data.header, data.body, self.job, self.authority.grants)
        self.authority.require_own(header.epoch, header.spans)
        return header, entries

    def take(self, log: Iterable[tuple[int, Entry]]) -> None:
        """Settlements from a log on this disk, of the epochs that stand beside them: it may lie nowhere else yet."""
        for epoch, entry in log:
            for stored in self._open([entry], epoch):
                self._canon.add(stored)

    def _open(self, entries: list[Entry], epoch: int) -> list[Stored]:
        assert self.keys is not None
        rules = self.overlay.peer.setup.rules
        found: list[Stored] = []
        for entry in entries:
            try:
                checked = open_receipt(
                    entry.receipt, entry.page, self.keys, self.job, lambda key, proof: trusts(rules, key, proof)
                )
            except (PeerError, ResultRefused) as error:
                self._reading.refuse(error)
                self._refused_last = str(error)
                continue
            prints: dict[int, list[Print]] = {}
            for line in checked.page.output:
                prints.setdefault(line.index, []).append(line)
            renderings = checked.page.renderings
            taken: dict[int, list[tuple[int, bytes]]] = {}
            for task, each, stated in checked.receipt.inputs:
                taken.setdefault(task, []).append((each, stated))
            for at, index in enumerate(checked.indices):
                if entry.spans is not None and not any(first <= index < first + count for first, count in entry.spans):
                    continue
                stored = Stored(
                    index, checked.receipt.outcomes[at], checked.values[at],
                    renderings[at] if at < len(renderings) else "", tuple(prints.get(index, ())), checked.worker,
                    epoch, checked.receipt.digests[at * 16 : at * 16 + 16], tuple(taken.get(index, ())),
                )  # fmt: skip
                found.append(stored)
        return found

    @property
    def refused(self) -> list[str]:
        """What was not accepted, and why."""
        return self._reading.refused

    @property
    def stewards(self) -> list[Contact]:
        """Who keeps the job, as far as is known."""
        return list(self._stewards.values())

    @property
    def conflicts(self) -> int:
        """How many settlements state another result than one of the same task that was read before."""
        return self._canon.conflicts

    @property
    def logs(self) -> list[Log]:
        """The grantors' logs that are known, and who holds them."""
        return list(self._reading.logs.values())

    @property
    def bereft(self) -> bool:
        """Whether some settlements are lost with all peers that had them, as far as is known here."""
        return self._reading.bereft

    @property
    def complete(self) -> bool:
        """Whether every task of the closed job has a result."""
        return self.total is not None and len(self.results) >= self.total and not self.missing()

    def missing(self) -> list[int]:
        """The tasks of the closed job that have no result (yet)."""
        total = self.total or 0
        if len(self.results) >= total and all(index < total for index in self.results):
            return []
        return [index for index in range(total) if index not in self.results]

    @property
    def overdue(self) -> bool:
        """Whether the job's deadline ended it: by its grantor's word, and where none answers by this clock.

        A clock needs room for a task that just ended in time, and for another clock: by it alone a job that its grantor
        had ended was said to be given up for two seconds more.
        """
        if self.authority is None or not self.authority.spec.deadline_s:
            return False
        spec, state = self.authority.spec, self.state
        if state is not None and state.granting and not (state.waiting or state.running):
            return state.overdue
        return time.time() > spec.created_s + spec.deadline_s + OVERDUE_S

    @property
    def over(self) -> bool:
        """Whether nothing more will come: complete, cancelled, its deadline is over, or its grantor says that all tasks
        have ended, and what has no result was given up."""
        if self.complete or self.cancelled or (self.overdue and self.total is not None):
            return True
        here = self.overlay.peer.grantors.get(self.job)
        if (
            here is not None and here.granting and here.finished
        ):  # resumed by this very node, which has given up the rest
            return here.log.empty and self._reading.over
        state = self.state
        if self.total is None or state is None or not state.granting or state.waiting or state.running:
            return False
        return state.settled >= self.total and self._reading.over

    async def follow(self, wait_s: float | None) -> AsyncIterator[list[Stored]]:
        """New results as they are settled, each index once, until the job is :attr:`over`.

        Raises ``TimeoutError`` after ``wait_s`` seconds and :class:`ResultRefused` when results were refused and no
        good ones come.
        """
        loop = asyncio.get_running_loop()
        end = None if wait_s is None else loop.time() + wait_s
        pause = POLL_S
        told: set[int] = set()
        quiet_since = loop.time()
        over_since: float | None = None
        while True:
            fresh = [stored for stored in await self.read() if stored.index not in told]
            if fresh:
                told.update(stored.index for stored in fresh)
                yield fresh
                pause, quiet_since = POLL_S, loop.time()
            now = loop.time()
            # What was settled last is counted before it is in the log.
            patience_s = STALE_WAIT_S if self.stale else GIVEN_UP_WAIT_S
            over_since = (now if over_since is None else over_since) if self.over and not fresh else None
            if self.complete or self.cancelled or (over_since is not None and now - over_since >= patience_s):
                self._note()
                return
            if end is not None and now >= end:
                raise TimeoutError
            refused = self._refused_last or next((log.refused for log in self.logs if log.refused), "")
            if refused and now - quiet_since >= REFUSED_WAIT_S:
                raise ResultRefused(refused)
            await asyncio.sleep(pause if end is None else min(pause, max(end - now, 0.01)))
            pause = min(pause * 1.5, POLL_S_MAX)
            await self.refresh()

    def _note(self) -> None:
        """Where a history is kept: what is canonical, as it was read here when nothing more was to come."""
        if self.overlay.chronicle is None or self.cancelled:
            return
        seen = sorted(self.results)
        epochs = tuple(self.results[index].epoch for index in seen)
        digests = b"".join(self.results[index].digest for index in seen)
        self.overlay.chronicle.note(history.Saw(self.job.hex(), tuple(spans_of(seen)), epochs, digests.hex()))

    async def value(self, stored: Stored) -> bytes:
        """The bytes of a result, fetched where they are a blob. Raises :class:`PeerError` when nobody has it."""
        if isinstance(stored.value, bytes):
            return stored.value
        holders = list(self._stewards.values())
        for log in self._reading.logs.values():
            holders += [contact for node, contact in log.holders.items() if node not in self._stewards]
        listed = self.overlay.peer.directory.get(node_id(stored.worker))
        if listed is not None:
            holders.append(listed.advert.contact)
        ref = stored.value
        return unseal(ref.key, 0, await self.overlay.library.fetch_blob(ref.digest, holders, ref.size_bytes))
