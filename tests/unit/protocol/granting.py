"""A grantor on a table: an owner who adds tasks, workers who answer leases, and every effect in a list.

Keys, seals and signatures are real; sessions, disks and clocks are the test's own. ``Table.act`` runs one call of the
grantor and files its effects under whom they are for.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events, history
from p2pcpn.protocol.breakers import Breakers
from p2pcpn.protocol.custody import Custody
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.leased_pages import named
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.pages import Death, Print, ResultPage, TaskPage
from p2pcpn.wire.sealing import JobKeys, digest, job_id, result_digest, seal, swarm_proof
from p2pcpn.wire.statements import (
    BlobRef,
    Cancel,
    Claim,
    Close,
    Lease,
    Offer,
    Outcome,
    Receipt,
    Segment,
    Signed,
    Spec,
    Steward,
    opened,
    signed,
)  # fmt: skip

T = TypeVar("T")
SWARM_KEY = bytes([7]) * 32


def keypair(number: int) -> Keypair:
    """The keypair of a number: the same in every run."""
    return Keypair(number.to_bytes(32, "big"))


def at(key: Keypair, port: int) -> Contact:
    """A contact on loopback."""
    return contact(key.id, ("127.0.0.1", port))


OWNER = keypair(1)
ME = keypair(2)
JOB_KEY = bytes([9]) * 32
KEYS = JobKeys(JOB_KEY)


def spec(**changes: Any) -> Signed:
    """A signed spec."""
    fields: dict[str, Any] = {
        "nonce": bytes(16), "name": "job", "created_s": 1.0, "runtime": "function", "python": "3.11", "code": None,
        "requires": [], "memory_bytes": 0, "replicas": 2, "quorum": (1, 1), "max_workers": 0,
        "orchestration": "hybrid", "routing": "nearest_idle", "privacy": "stewards", "retention_s": 3600.0,
        "retries": 2, "grantor": ME.public, "stewards": [], "wrapped": b"", "swarm_proof": b"", "output": False,
    }  # fmt: skip
    return signed(Spec(**{**fields, **changes}), OWNER)


def steward(number: int) -> tuple[Keypair, Steward]:
    """A steward as the spec names it."""
    key = keypair(number)
    return key, Steward(key.public, at(key, 5000 + number), b"")


class NoDelay(random.Random):
    """Dice that always fall so that nothing waits: what failed runs again at once."""

    def random(self) -> float:
        return 0.0


@dataclass
class Worker:
    """A peer that takes leases; ``grants`` are those it was sent, in order."""

    table: Table
    key: Keypair
    contact: Contact
    said: list[m.Message] = field(default_factory=list)
    boot: int = 1
    slots: int = 2
    rtt_ms: float = 1.0
    parts: dict[int, int] = field(default_factory=dict)

    @property
    def node(self) -> NodeId:
        return self.key.id

    def claim(self, *, slots: int | None = None, epoch: int | None = None) -> int:
        """Claim the job; the verdict."""
        table = self.table
        claim = Claim(
            table.job, table.grantor.epoch if epoch is None else epoch, ME.id, 1, self.contact, self.boot,
            self.slots if slots is None else slots, 0.0, self.rtt_ms,
        )  # fmt: skip
        verdict, effects = table.grantor.claimed(claim, self.key.public, table.now)
        table.file(effects)
        return verdict

    def of(self, kind: type[T]) -> list[T]:
        """What it was told, of one kind, with what a lease brought along."""
        along = [getattr(message, "extend", None) for message in self.said]
        told = [each for pair in zip(along, self.said, strict=True) for each in pair]
        return [message for message in told if isinstance(message, kind)]

    @property
    def grants(self) -> list[tuple[m.Grant | m.Further, Lease]]:
        """What it was leased, with the tasks that were named to it: not those that a lease gives ahead."""
        found: list[tuple[m.Grant | m.Further, Lease]] = []
        for message in self.said:
            if isinstance(message, m.Grant):
                lease = opened(message.lease, Lease)
            elif isinstance(message, m.Further):
                lease = next(lease for _, lease in found if lease.token == message.token)
            else:
                continue
            found.append((message, msgspec.structs.replace(lease, spans=named(message.slices))))
        return found

    @property
    def last(self) -> Lease:
        """The lease it was granted last."""
        return self.grants[-1][1]

    @property
    def indices(self) -> list[int]:
        """All indices it was ever leased."""
        return [index for _, lease in self.grants for index in pages.cut(lease.spans)]

    def message(
        self,
        lease: Lease,
        *,
        spans: list[tuple[int, int]] | None = None,
        outcome: int = Outcome.OK,
        value: Callable[[int], bytes | BlobRef] | None = None,
        last: bool = False,
        ran_s: float = 0.001,
        signer: Keypair | None = None,
        output: list[Print] | None = None,
        **changes: Any,
    ) -> m.Results:
        """A receipt for ``spans`` of a lease (all of it by default), and its page."""
        spans = list(lease.spans) if spans is None else spans
        part = self.parts.get(lease.token, 0)
        self.parts[lease.token] = part + 1
        indices = pages.cut(spans)
        if outcome == Outcome.DIED and value is None:
            value = lambda index: pages.DEATH.encode(Death(9, None))  # noqa: E731
        values = [value(index) if value else b"value %d" % index for index in indices]
        sealed = seal(
            KEYS.results(lease.epoch, ME.id, lease.token), part, pages.RESULTS.encode(ResultPage(values, output or []))
        )
        stated = b"".join(result_digest(KEYS.digests, v if isinstance(v, bytes) else v.digest) for v in values)
        fields: dict[str, Any] = {
            "job": lease.job, "epoch": lease.epoch, "grantor": ME.id, "token": lease.token, "part": part,
            "spans": spans, "outcomes": bytes([outcome]) * len(indices), "digests": stated, "page": digest(sealed),
            "ran_s": ran_s,
            "proof": swarm_proof(SWARM_KEY, self.key.public),
        }  # fmt: skip
        said = signed(Receipt(**{**fields, **changes}), signer or self.key)
        return m.Results(said, sealed, last, signed(lease, ME))

    def bring(self, message: m.Results) -> list[fx.Effect]:
        """Give a message of results to the grantor."""
        return self.table.act(lambda grantor, now: grantor.results(self.contact, message, now))

    def run(self, lease: Lease | None = None, **how: Any) -> list[fx.Effect]:
        """Run a lease (the last one by default) and bring the results."""
        return self.bring(self.message(lease or self.last, **how))

    def give_back(self, lease: Lease, code: str, spans: list[tuple[int, int]] | None = None) -> list[fx.Effect]:
        """Return tasks of a lease unrun."""
        back = m.Return(lease.job, lease.token, lease.spans if spans is None else spans, code, f"says {code}")
        return self.table.act(lambda grantor, now: grantor.returned(self.contact, back, now))


class Table:
    """One grantor, its custody, and whoever is told something."""

    def __init__(
        self,
        *,
        storing: bool = True,
        candidates: list[Contact] | None = None,
        trusted: Callable[[bytes, bytes], bool] | None = None,
        granting: bool = True,
        epoch: int = 0,
        dice: random.Random | None = None,
        **options: Any,
    ) -> None:
        self.now = 100.0
        self.dice = dice or NoDelay()
        self.breakers = Breakers()
        self.spec = spec(**options)
        self.job = job_id(OWNER.public, self.spec.body)
        self.candidates = candidates or []
        self.workers: dict[bytes, Worker] = {}
        self.told: dict[bytes, list[m.Message]] = {}
        self.events: list[object] = []
        self.effects: list[fx.Effect] = []
        self._request = 0
        self._number = 0
        self._first = 0
        self._previous = bytes(32)
        self.noted: list[history.Line] = []
        self.disk: bool | None = True  # takes what is written, refuses it, or says nothing yet
        self.custody = Custody(
            job=self.job, spec=self.spec, me=ME.id, epoch=epoch, storing=storing,
            candidates=lambda: list(self.candidates),
            request=self._next,
        )  # fmt: skip
        self.grantor = Grantor(
            job=self.job, spec=self.spec, keys=KEYS, epoch=epoch, me=ME, contact=at(ME, 4000),
            trusted=trusted or (lambda key, proof: proof == swarm_proof(SWARM_KEY, key)),
            grants=lambda key, epoch: key == ME.public,
            rank=lambda contact, rtt_ms: (rtt_ms / 1000, bytes(contact.id)), custody=self.custody,
            breakers=self.breakers, rng=self.dice,
            now=self.now,
            granting=granting, note=self._note,
        )  # fmt: skip
        self.file(self.custody.open())

    def _next(self) -> int:
        self._request += 1
        return self._request

    def _note(self, event: history.Event) -> None:
        self.noted.append(history.Line(f"{ME.id.hex()}/1", len(self.noted) + 1, self.now, event))  # type: ignore[arg-type]

    # --- who takes part ---

    def worker(self, number: int, *, slots: int = 2, rtt_ms: float | None = None, claims: bool = True) -> Worker:
        """A worker with the keypair of ``number``, nearer the smaller it is; it claims at once."""
        key = keypair(number)
        found = Worker(
            self, key, at(key, 5000 + number), slots=slots, rtt_ms=float(number) if rtt_ms is None else rtt_ms
        )
        self.workers[key.id] = found
        if claims:
            found.claim()
        return found

    # --- what the owner does ---

    def segment(self, *counts: int, blobs: list[list[bytes]] | None = None) -> tuple[Signed, list[bytes]]:
        """The next signed segment, with pages of so many tasks, and the sealed pages."""
        first, sealed = self._first, []
        for count in counts:
            page = pages.TASKS.encode(TaskPage([b"function"], None, [b"argument"] * count))
            sealed.append(seal(KEYS.page(first), 0, page))
            first += count
        named = sorted({name for names in blobs or [] for name in names})
        said = Segment(
            self.job, self._number, self._first, self._previous,
            [(count, digest(page)) for count, page in zip(counts, sealed, strict=True)], [], named,
        )  # fmt: skip
        self._number, self._first = self._number + 1, first
        segment = signed(said, OWNER)
        self._previous = digest(segment.body)
        return segment, sealed

    def extend(self, *counts: int, blobs: list[list[bytes]] | None = None) -> list[fx.Effect]:
        """Add a segment with pages of so many tasks."""
        segment, sealed = self.segment(*counts, blobs=blobs)
        names = blobs or [[] for _ in counts]
        return self.act(lambda grantor, now: grantor.extend(segment, sealed, names, now))

    def close(self) -> list[fx.Effect]:
        """No more tasks."""
        statement = signed(Close(self.job, self._first, self._previous), OWNER)
        return self.act(lambda grantor, now: grantor.close(statement, self._first, now))

    def cancel_job(self) -> list[fx.Effect]:
        """The owner ends the job."""
        return self.act(lambda grantor, now: grantor.cancel_job(signed(Cancel(self.job, 1.0), OWNER), now))

    # --- what happens ---

    def act(self, call: Callable[[Grantor, float], list[fx.Effect]]) -> list[fx.Effect]:
        """Run one call of the grantor and file its effects."""
        return self.file(call(self.grantor, self.now))

    def file(self, effects: list[fx.Effect]) -> list[fx.Effect]:
        """Every effect to whom it is for."""
        self.effects += effects
        written: list[fx.OnDisk] = []
        for effect in effects:
            if isinstance(effect, fx.Commit) and self.disk is not None:
                written += [
                    each for each in (effect.then if self.disk else effect.otherwise) if isinstance(each, fx.OnDisk)
                ]
            elif isinstance(effect, fx.Tell):
                self.told.setdefault(effect.to.id, []).append(effect.message)
                if effect.to.id in self.workers:
                    self.workers[effect.to.id].said.append(effect.message)
            elif isinstance(effect, fx.Notify):
                self.events.append(effect.event)
                if isinstance(effect.event, events.GaveUp):
                    said = effect.event
                    self._note(history.Failed(said.job.hex(), tuple(pages.spans_of(said.indices)), said.text))
        for news in written:
            self.file(self.grantor.logged(news.header, news.ok, self.now))
        return effects

    def pass_time(self, seconds: float) -> list[fx.Effect]:
        """Let time pass, every deadline met on its way."""
        until, effects = self.now + seconds, []
        while (due := self.grantor.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            done = self.grantor.expire(self.now)
            following = self.grantor.deadline()
            assert following is None or following > self.now, "a deadline that passed is due again"
            effects += self.file(done)
        self.now = until
        return effects

    def session_opened(self, peer: NodeId) -> list[fx.Effect]:
        """A session with a peer."""
        return self.act(lambda grantor, now: grantor.session_opened(peer, now))

    def session_closed(self, peer: NodeId) -> list[fx.Effect]:
        """The session with a peer is lost."""
        return self.act(lambda grantor, now: grantor.session_closed(peer, now))

    def peer_alive(self, peer: NodeId) -> list[fx.Effect]:
        """A probe found a peer alive."""
        return self.act(lambda grantor, now: grantor.peer_alive(peer, now))

    def peer_dead(self, peer: NodeId) -> list[fx.Effect]:
        """Probes found a peer dead."""
        return self.act(lambda grantor, now: grantor.peer_dead(peer, now))

    def answer(self, peer: NodeId, request: int, code: int = m.AnswerCode.DONE) -> list[fx.Effect]:
        """A steward or holder answers."""
        return self.act(lambda grantor, now: grantor.answered(peer, m.Answer(request, code, ""), now))

    # --- what was said ---

    def seen(self, kind: type[T]) -> list[T]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def delivered(self) -> list[int]:
        """The indices that were delivered, in order."""
        return [index for event in self.seen(events.Delivered) for index in event.indices]

    @property
    def offers(self) -> list[tuple[Offer, int]]:
        """The offers that were spread, and how far."""
        return [
            (e.statement, e.hops) for e in self.effects if isinstance(e, fx.Spread) and isinstance(e.statement, Offer)
        ]
