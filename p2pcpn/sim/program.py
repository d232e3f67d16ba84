"""A program that submits: it opens a job, feeds it tasks for a while, closes it, and takes what is delivered.

What ``client/`` does for callables and futures is done here for :class:`Deed`: the spec with its stewards, sealed
pages, chained segments, the closing statement, and the record that points to the job.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol import events
from p2pcpn.protocol.authority import DISTRIBUTED
from p2pcpn.protocol.custody import CONTACT
from p2pcpn.protocol.deadlines import BY_JOB
from p2pcpn.protocol.effects import Effect, Gather, Notify
from p2pcpn.protocol.lots import DIVIDED_EPOCH
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.sim.catching_up import CatchingUp
from p2pcpn.sim.host import PYTHON, Host
from p2pcpn.sim.regaining import Regaining
from p2pcpn.sim.runtime import Deed, argument_of
from p2pcpn.wire import pages
from p2pcpn.wire.pages import JobPointer, TaskPage
from p2pcpn.wire.sealing import JobKeys, digest, job_id, seal, swarm_proof, wrap
from p2pcpn.wire.statements import BlobRef, Close, Handover, Segment, Signed, Spec, Steward, signed

if TYPE_CHECKING:
    from p2pcpn.protocol.grantor import Grantor

# Small pages, so that leases cross their borders.
PAGE_TASKS = 8
REPLICAS = 3
POINTER_TICKET = 1


@dataclass(frozen=True, slots=True)
class Arrived:
    """A large result is here that was not when it was delivered."""

    job: bytes
    index: int
    value: BlobRef


def _page(deeds: list[Deed], arguments: list[bytes]) -> TaskPage:
    """A page of tasks, with the results that they take."""
    named = sorted({index for deed in deeds for index in deed.takes})
    parts = [(at, [named.index(index) for index in deed.takes]) for at, deed in enumerate(deeds) if deed.takes]
    return TaskPage([b"deed"], None, list(arguments), parts=parts, inputs=named)


class Program:
    """One job on ``host``. ``ended`` holds the indices that came to an end, delivered or given up."""

    def __init__(
        self,
        host: Host,
        name: str,
        *,
        page_tasks: int = PAGE_TASKS,
        orchestration: str = "hybrid",
        hedge: bool = True,
        replicas: int = REPLICAS,
        peers_max: int = limits.GRANTOR_PEERS,
        stewards: int = limits.STEWARDS,
    ) -> None:
        self.host = host
        self.orchestration = orchestration
        self.name = name
        self._page_tasks = page_tasks
        self._hedge = hedge
        self._replicas = replicas
        self._peers_max = peers_max
        self._stewards = stewards
        world = host.world
        self.owner = Keypair(world.dice.bytes("owner", name))
        self.keys = JobKeys(world.dice.bytes("job key", name))
        self._nonce = world.dice.bytes("nonce", name)[:16]
        self.job = bytes(20)
        self.deeds: list[Deed] = []
        self.arguments: list[bytes] = []
        self.delivered: set[int] = set()
        self.given_up: set[int] = set()
        self.closed = False
        self.kept: events.Kept | None = None
        self.replicated: events.Replicated | None = None
        self._segments = 0
        self._last = NOTHING
        self._spec: Signed | None = None
        self._handovers: list[Signed] = []
        self._regaining: Regaining | None = None
        self._catching_up: CatchingUp | None = None
        self.divided_at: int | None = None  # from which task on its stewards grant it in lots

    @property
    def ended(self) -> int:
        """How many tasks have come to an end."""
        return len(self.delivered) + len(self.given_up)

    @property
    def done(self) -> bool:
        """Every task ended, and what was settled lies on enough holders."""
        return self.closed and self.ended == len(self.deeds) and self.replicated is not None and self.replicated.done

    @property
    def hedges(self) -> int:
        """How many second leases its tasks had."""
        grantor = None if self.host.peer is None else self.host.peer.grantors.get(self.job)
        return 0 if grantor is None else grantor.hedging.granted

    @property
    def was_taken_over(self) -> bool:
        """Whether a steward ever granted the job, so that its owner took it back."""
        return bool(self._handovers)

    @property
    def caught_up(self) -> int:
        """Results of a distributed job that nobody told it of, and that it read."""
        return 0 if self._catching_up is None else self._catching_up.read

    def stewards_known(self) -> int:
        """How many storage peers could be stewards now."""
        assert self.host.peer is not None
        return len(self.host.peer.stewards_near(job_id(self.owner.public, self._nonce), self.host.clock.now))

    def stewards_now(self) -> set[bytes]:
        """Who would be its stewards, were it opened now: the dead, too, that nobody here knows to be dead."""
        assert self.host.peer is not None
        near = self.host.peer.stewards_near(job_id(self.owner.public, self._nonce), self.host.clock.now)
        return {listed.advert.contact.id for listed in near[: self._stewards]}

    def open(self) -> None:
        """Choose the stewards, sign the spec, introduce the job, and put the record that points to it."""
        host, now = self.host, self.host.clock.now
        assert host.peer is not None
        near = host.peer.stewards_near(job_id(self.owner.public, self._nonce), now)[: self._stewards]
        stewards = [
            Steward(
                listed.signed.key,
                listed.advert.contact,
                wrap(self.owner, listed.signed.key, self._nonce, self.keys.job_key),
            )
            for listed in near
        ]
        spec = signed(
            Spec(
                nonce=self._nonce, name=self.name, created_s=host.wall(), runtime="function", python=PYTHON, code=None,
                requires=[], memory_bytes=0, replicas=self._replicas, quorum=(1, 1), max_workers=0,
                orchestration=self.orchestration, routing="nearest_idle", privacy="stewards",
                retention_s=limits.RETENTION_S, retries=10, grantor=host.keypair.public, stewards=stewards,
                wrapped=wrap(self.owner, self.owner.public, self._nonce, self.keys.job_key),
                swarm_proof=swarm_proof(host.world.swarm_key, self.owner.public), output=False,
                hedge=self._hedge,
            ),
            self.owner,
        )  # fmt: skip
        self.job = job_id(self.owner.public, spec.body)
        self._spec = spec
        host.listeners.append(self._event)
        host.world.checker.opened(self)
        grants = self.orchestration != DISTRIBUTED
        peers_max = self._peers_max if self.orchestration == "hybrid" else 0
        host.follow(host.peer.open_job(spec, self.job, self.keys.job_key, now, granting=grants, peers_max=peers_max))
        if grants:
            host.world.checker.grants(host, self.job)
        else:
            self._catching_up = CatchingUp(self)
        pointer = pages.JOB_POINTER.encode(JobPointer(digest(spec.body), [CONTACT.encode(s.contact) for s in stewards]))
        retention_s = limits.RETENTION_S
        host.follow(host.peer.put_record(self.job, pointer, retention_s, self.owner, POINTER_TICKET, now))

    def add(self, deeds: list[Deed]) -> None:
        """One more segment of tasks."""
        assert self.host.peer is not None and deeds and deeds[0].index == len(self.deeds)
        first = len(self.deeds)
        self.deeds += deeds
        arguments = [argument_of(deed) for deed in deeds]
        self.arguments += arguments
        sealed: list[bytes] = []
        listed: list[tuple[int, bytes]] = []
        for at in range(0, len(deeds), self._page_tasks):
            page = _page(deeds[at : at + self._page_tasks], arguments[at : at + self._page_tasks])
            data = seal(self.keys.page(first + at), 0, pages.TASKS.encode(page))
            sealed.append(data)
            listed.append((len(page.arguments), digest(data)))
        segment = signed(Segment(self.job, self._segments, first, self._last, listed, [], []), self.owner)
        self._segments += 1
        self._last = digest(segment.body)
        now = self.host.clock.now
        blobs: list[list[bytes]] = [[] for _ in sealed]

        needs = [(deed.index, deed.takes) for deed in deeds if deed.takes]
        self._act(lambda grantor: grantor.extend(segment, sealed, blobs, now, needs))

    def _act(self, act: Callable[[Grantor], list[Effect]]) -> None:
        assert self.host.peer is not None
        self.host.follow(self.host.peer.with_grantor(self.job, act, self.host.clock.now), BY_JOB)

    def close(self) -> None:
        """State the total."""
        statement = signed(Close(self.job, len(self.deeds), self._last), self.owner)
        total, now = len(self.deeds), self.host.clock.now
        self.closed = True
        self._act(lambda grantor: grantor.close(statement, total, now))

    def forget(self) -> None:
        """The program needs the job no more."""
        assert self.host.peer is not None
        self.host.follow(self.host.peer.presiding.forget(self.job))
        self.host.listeners.remove(self._event)

    def _event(self, event: object) -> None:
        if getattr(event, "job", None) != self.job:
            return
        if isinstance(event, events.Delivered):
            self._delivered(event)
        elif isinstance(event, Arrived):
            self.host.world.checker.arrived(self, event.index, event.value)
            self.delivered.add(event.index)
        elif isinstance(event, events.GaveUp):
            self.given_up.update(event.indices)
        elif isinstance(event, events.Superseded):
            # Not at once: what is heard here is still being dealt with there.
            self.host.clock.after(0.0, partial(self._regain, event.epoch))
        elif isinstance(event, events.Outgrown):
            self.host.clock.after(0.0, self._divide)
        elif isinstance(event, events.Kept):
            self.kept = event
        elif isinstance(event, events.Replicated):
            self.replicated = event

    def _divide(self) -> None:
        """The stewards grant what was not leased here."""
        peer = self.host.peer
        grantor = None if peer is None else peer.grantors.get(self.job)
        if peer is None or grantor is None or not grantor.granting or self.is_divided:
            return
        said = Handover(self.job, DIVIDED_EPOCH, bytes(32), grantor.border)
        self.divided_at = grantor.border
        self.host.follow(peer.presiding.divide(signed(said, self.owner)))
        self._catching_up = CatchingUp(self)

    @property
    def is_divided(self) -> bool:
        """Whether its owner divided it."""
        return self.divided_at is not None

    def _regain(self, epoch: int) -> None:
        assert self._spec is not None
        if self.is_divided:  # its stewards go on, and tell it
            return
        if self.host.peer is not None and (self._regaining is None or self._regaining.over):
            self._regaining = Regaining(self, self._spec, self._handovers, epoch)

    def _delivered(self, event: events.Delivered) -> None:
        """Take results; a large one that is not at hand (its worker restarted meanwhile) is asked for."""
        shelf = self.host.shelf
        assert shelf is not None and self.host.peer is not None
        if self.host.chronicle is not None:
            self.host.chronicle.delivered(event)
        for index, value in zip(event.indices, event.values, strict=True):
            if not isinstance(value, BlobRef) or value.digest in shelf.blobs:
                self.delivered.add(index)
                continue
            worker = self.host.peer.directory.get(event.worker)
            if worker is not None:
                arrived = Notify(Arrived(self.job, index, value))
                blob = (value.digest,)
                shelf.gather(Gather(worker.advert.contact, blob, self.job, limits.RETENTION_S, (arrived,), ()))

    def lost(self) -> list[int]:
        """Tasks that ended without an outcome that could be theirs, or have not ended.

        A task whose process was killed may be given up where nobody else is left to run it.
        """
        may_die = self.host.world.died
        return [
            deed.index
            for deed in self.deeds
            if deed.index not in self.delivered
            and not (deed.index in self.given_up and (deed.how == "poison" or deed.index in may_die))
        ]
