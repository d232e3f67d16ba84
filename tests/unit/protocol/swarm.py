"""Whole peers in one memory: their datagrams, sessions, disks and worker processes, all in virtual time.

A :class:`Member` performs what its :class:`Peer` asks. A datagram and a message take a millisecond, a session is an
ordered queue that both ends hold, a task takes ``takes_s`` and gives its argument back with two words before it.
Every deadline is met when it is due, and a machine that stays due fails the test.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.peer import Peer
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.protocol.setup import Setup
from p2pcpn.sim.clock import Clock
from p2pcpn.sim.disk import Disk
from p2pcpn.sim.restoring import job_state, log_answer, log_message, orphans, segment_message
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Address, contact
from p2pcpn.wire.sealing import digest, result_digest, wrap
from p2pcpn.wire.statements import Advert, Role, Steward
from tests.unit.protocol.leased import OWNER, PYTHON, Made, keypair, rules

T = TypeVar("T")
WAY_S = 0.001
# What is due may make something else due at once (our own offer, which we claim without a wait); not over and over.
AT_ONCE_MAX = 3
BOTH = Role.COMPUTE | Role.STORAGE


class Line:
    """One session; its ends hold the same one."""


class Member:
    """One peer and the computer it runs on."""

    def __init__(
        self, swarm: Swarm, number: int, *, slots: int, roles: int, rules: Rules, watching: bool = False
    ) -> None:
        self.swarm = swarm
        self.number = number
        self.key = keypair(100 + number)
        self.id: NodeId = self.key.id
        self.address: Address = (f"192.0.2.{number}", 4000)
        self.contact = contact(self.id, self.address)
        self.alive = True
        self.firewall: set[Address] | None = None  # whom it spoke to, where nobody else gets through
        self.lines: dict[NodeId, Line] = {}
        self.disk = Disk(swarm.clock, random.Random(number))
        self.blobs: dict[bytes, bytes] = {}
        self.takes_s: float | None = 0.01  # for a task; None: it never ends
        self.batches: dict[int, fx.Run] = {}
        self.said: list[tuple[NodeId, m.Message]] = []
        self.events: list[object] = []
        self.hung_up: list[fx.Hangup] = []
        self.performed: list[fx.Effect] = []
        self.rings = 0
        self._rings_at = float("inf")
        self._rung = (-1.0, 0)  # the last ring's time, and how many there were at it
        setup = Setup(
            keypair=self.key, boot=1, contact=self.contact, rules=rules, slots=slots, roles=roles,
            network_group=lambda address: address[0], watching=watching,
        )  # fmt: skip
        self.peer = Peer(
            setup, rng=random.Random(1000 + number), now=swarm.now, wall=swarm.wall,
            running=lambda: dict.fromkeys(self.batches, 0),
        )  # fmt: skip

    def advert(self, **changes: Any) -> Advert:
        """What it has to give."""
        fields: dict[str, Any] = {
            "contact": self.contact, "boot": 1, "version": 0, "ttl_s": 0.0, "roles": 0, "cores": 4, "slots": 0,
            "slots_free": 0, "memory_bytes": 1 << 33, "memory_free_bytes": 1 << 32, "load": 0.0, "python": PYTHON,
            "implementation": "cpython", "platform": "linux-x86_64", "runtimes": ["function"], "packages": [],
            "accelerators": [], "tags": [], "position": None, "rtt_ms": 0.0, "machine": self.number,
        }  # fmt: skip
        return Advert(**{**fields, **changes})

    def start(self, *seeds: Member) -> Member:
        """Advertise, and join by ``seeds``, of which only the addresses are known."""
        now = self.swarm.now
        effects = self.peer.advertise(self.advert(), now, changed=True)
        if seeds:
            known = [contact(ANYBODY, seed.address) for seed in seeds]
            effects += self.peer.perform(self.peer.dht.bootstrap(known, now), now)
        self.do(effects)
        return self

    def seen(self, kind: type[T]) -> list[T]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def told(self, kind: type[T]) -> list[T]:
        """The messages of one kind that came over sessions."""
        return [message for _, message in self.said if isinstance(message, kind)]

    # --- performing -------------------------------------------------------------------------------------------------

    def follow(self, effects: list[fx.Effect]) -> None:
        """What follows from something that a machine was told directly."""
        if self.alive:
            self.do(self.peer.perform(effects, self.swarm.now))

    def do(self, effects: list[fx.Effect]) -> None:
        """Perform what the peer returned, then set its timer."""
        for effect in effects:
            self.performed.append(effect)
            self._perform(effect)
        self._arm()

    def _perform(self, effect: fx.Effect) -> None:
        swarm = self.swarm
        match effect:
            case fx.SendBytes():
                if self.firewall is not None:
                    self.firewall.add(effect.address)
                swarm.clock.after(WAY_S, partial(swarm.datagram, self.address, effect.address, effect.data))
            case fx.SendAside():
                aside = (self.address[0], 50000)
                swarm.clock.after(WAY_S, partial(swarm.datagram, aside, effect.address, effect.data))
            case fx.Connect():
                reached = swarm.member(effect.to.id).firewall is None
                ended = partial(self.peer.dial_backs.connected, effect.to, effect.nonce, reached)
                swarm.clock.after(2 * WAY_S if reached else limits.DIAL_BACK_S, lambda: self.follow(ended()))
            case fx.Dial():
                swarm.clock.after(WAY_S, partial(swarm.connect, self, effect.to))
            case fx.Transmit():
                swarm.say(self, effect.peer, effect.message)
            case fx.TransmitLog():
                row = self.disk.get("logs", (effect.job, effect.grantor, effect.epoch, effect.number))
                assert row is not None, "a log segment is on disk before it is sent again"
                swarm.say(self, effect.peer, log_message(effect.request, row))
            case fx.TransmitSegment():
                row = self.disk.get("segments", (effect.job, effect.number))
                assert row is not None, "a segment is on disk before it is brought to others"
                swarm.say(self, effect.peer, segment_message(effect.request, row))
            case fx.Hangup():
                self.hung_up.append(effect)
                swarm.hang_up(self, effect.peer)
            case fx.Commit():
                self.disk.commit(effect.writes, lambda ok: self.follow(list(effect.then if ok else effect.otherwise)))
            case fx.Gather():
                here = all(name in self.blobs for name in effect.blobs)
                self.follow(list(effect.then if here else effect.otherwise))
            case fx.KeepBlob():
                self.blobs[effect.digest] = effect.data
            case fx.Load():
                authority = self.peer.presiding.authority(effect.job)
                if authority is not None:
                    self.do(self.peer.adopt(effect.job, *job_state(self.disk, authority), swarm.now))
            case fx.TellOrphans():
                found = orphans(self.disk, effect.job)
                said = [m.Orphan(each.receipt, each.page, effect.request, each.lease) for each in found]
                self.follow([fx.Tell(effect.to, orphan) for orphan in said])
            case fx.Run():
                self.batches[effect.batch] = effect
                if self.takes_s is not None:
                    swarm.clock.after(self.takes_s * len(effect.arguments), partial(self.ran, effect.batch))
            case fx.StopRun() if effect.kill and effect.batch in self.batches:
                del self.batches[effect.batch]
                self.follow(self.peer.worker.died(effect.batch, effect.positions[0], 9, None, swarm.now))
            case fx.Notify():
                self.events.append(effect.event)

    def ran(self, number: int) -> None:
        """All tasks of a batch end."""
        run = self.batches.pop(number, None)
        if run is None or not self.alive:
            return
        values = [b"result of " + bytes(argument) for argument in run.arguments]
        digests = b"".join(result_digest(run.digest_key, value) for value in values)
        worker, took_s = self.peer.worker, (self.takes_s or 0.0) * len(values)
        self.follow(worker.ran(number, 0, bytes(len(values)), values, digests, took_s, self.swarm.now))

    # --- time -------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        due = self.peer.deadline()
        if due is not None and due < self._rings_at:
            self._rings_at = due
            self.swarm.clock.at(due, partial(self._ring, due))

    def _ring(self, due: float) -> None:
        if not self.alive or due != self._rings_at:
            return
        self._rings_at = float("inf")
        now, deadline = self.swarm.now, self.peer.deadline()
        if deadline is not None and deadline <= now:
            self.rings += 1
            self._rung = (now, self._rung[1] + 1 if self._rung[0] == now else 1)
            assert self._rung[1] <= AT_ONCE_MAX, "a deadline that was met is due again and again"
            self.do(self.peer.expire(now))
        else:
            self._arm()


class Swarm:
    """Members, and what is under way between them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.members: list[Member] = []

    @property
    def now(self) -> float:
        return self.clock.now

    def wall(self) -> float:
        """The wall clock of all of them."""
        return self.clock.wall()

    def add(self, *, slots: int = 2, roles: int = BOTH, rules: Rules | None = None, watching: bool = False) -> Member:
        """One more, not started yet."""
        number = len(self.members) + 1
        member = Member(self, number, slots=slots, roles=roles, rules=rules or _RULES, watching=watching)
        self.members.append(member)
        return member

    def grown(self, count: int, **options: Any) -> list[Member]:
        """So many members that know each other: the first is everybody's seed."""
        members = [self.add(**options) for _ in range(count)]
        for member in members:
            member.start(*self.members[:1] if member is not self.members[0] else [])
        everybody = {member.id for member in members}
        assert self.run(10, lambda: all(self.knows(member) >= everybody - {member.id} for member in members))
        return members

    def knows(self, member: Member) -> set[NodeId]:
        """Whose adverts it heard."""
        return {NodeId(found.id) for found in member.peer.directory.contacts(self.now)} - {member.id}

    def run(self, seconds: float, reached: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass; whether ``reached()`` came true (the time ends then)."""
        return self.clock.run(self.now + seconds, reached)

    def datagram(self, source: Address, address: Address, data: bytes) -> None:
        """A datagram arrives, where somebody is there and lets it in."""
        for member in self.members:
            open_ = member.firewall is None or source in member.firewall
            if member.alive and member.address == address and open_:
                member.do(member.peer.datagram_received(data, source, self.now))

    def kill(self, member: Member) -> None:
        """Its process is gone; who had a session with it sees that end."""
        member.alive = False
        for node in list(member.lines):
            self.hang_up(member, node)

    # --- sessions ---------------------------------------------------------------------------------------------------

    def member(self, node: bytes) -> Member:
        """The member with that id."""
        return next(member for member in self.members if member.id == node)

    def connect(self, one: Member, to: Any) -> None:
        """Make a session, or tell ``one`` that it cannot be made."""
        if not one.alive:
            return
        other = self.member(to.id)
        if not other.alive or (other.firewall is not None and other.id not in one.lines):
            one.do(one.peer.session_closed(other.id, self.now))
        elif other.id not in one.lines:
            one.lines[other.id] = other.lines[one.id] = Line()
            other.do(other.peer.session_opened(one.contact, one.key.public, self.now))
            one.do(one.peer.session_opened(other.contact, other.key.public, self.now))

    def say(self, one: Member, node: bytes, message: m.Message) -> None:
        """Put a message on the session between the two, if there is one."""
        line = one.lines.get(NodeId(node))
        if line is not None:
            self.clock.after(WAY_S, partial(self._arrive, line, one, self.member(node), m.CODEC.encode(message)))

    def _arrive(self, line: Line, source: Member, target: Member, data: bytes) -> None:
        if target.alive and target.lines.get(source.id) is line:
            message = m.CODEC.decode(data)
            target.said.append((source.id, message))
            if isinstance(message, m.ReadLog):
                self._show(target, source, message)
                return
            if isinstance(message, m.ReadSegment):
                row = target.disk.get("segments", (message.job, message.number))
                unknown = m.Answer(message.request, m.AnswerCode.UNKNOWN, "has no such segment")
                answer = unknown if row is None else segment_message(message.request, row, keep=False)
                self.say(target, source.id, answer)
                return
            target.do(target.peer.message_received(source.id, message, self.now))

    def _show(self, one: Member, to: Member, message: m.ReadLog) -> None:
        row = one.disk.get("logs", (message.job, message.grantor, message.epoch, message.number))
        unknown = m.Answer(message.request, m.AnswerCode.UNKNOWN, "has no such log segment")
        self.say(one, to.id, unknown if row is None else log_answer(message.request, row))

    def hang_up(self, one: Member, node: bytes) -> None:
        """The session ends at both ends."""
        other = self.member(node)
        for end, gone in ((one, other), (other, one)):
            if end.lines.pop(gone.id, None) is not None and end.alive:
                end.do(end.peer.session_closed(gone.id, self.now))


_RULES = rules()


class Job:
    """A job that ``member`` opens: made by its owner, with ``stewards`` to keep it."""

    def __init__(
        self, member: Member, *, stewards: tuple[Member, ...] = (), granting: bool = True, number: int = 1,
        peers_max: int = 0, **options: Any,
    ) -> None:  # fmt: skip
        self.member = member
        nonce = number.to_bytes(16, "big")
        self.job_key = digest(nonce)
        kept = [
            Steward(steward.key.public, steward.contact, wrap(OWNER, steward.key.public, nonce, self.job_key))
            for steward in stewards
        ]
        self.made = Made(number, grantor=member.key, stewards=kept, **options)
        self.job = self.made.job
        now = member.swarm.now
        opened = member.peer.open_job(
            self.made.spec, self.job, self.job_key, now, granting=granting, peers_max=peers_max
        )
        member.do(opened)

    @property
    def grantor(self) -> Any:
        """Its grantor, where it was opened."""
        return self.member.peer.grantors[self.job]

    def extend(self, *counts: int, **options: Any) -> Job:
        """One more segment, of pages of so many tasks."""
        said, now = self.made.segment(*counts, **options), self.member.swarm.now
        blobs: list[list[bytes]] = [[] for _ in said.pages]
        self.act(lambda grantor: grantor.extend(said.segment, said.pages, blobs, now))
        return self

    @staticmethod
    def argument(index: int) -> bytes:
        """What task ``index`` is given."""
        return pickle.dumps(index)

    def act(self, what: Callable[[Any], list[fx.Effect]]) -> None:
        """Something that the program does to the job."""
        self.member.do(self.member.peer.with_grantor(self.job, what, self.member.swarm.now))
