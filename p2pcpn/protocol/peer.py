"""One peer: all machines together, and the paths between them.

``node/`` (real sockets, disks, processes) and ``sim/`` (virtual ones) drive this object and perform the effects it
returns. Nothing here waits, reads a clock or throws dice: ``now`` (monotonic), ``wall()`` and ``rng`` are given.

::

    datagram_received ──> pairs ──> dht · membership · gossip · offers · grantors
    message_received  ──> worker (leases) · steward (keeps) · grantors (results)
    ran / died / …    ──> worker
    Tell ──> lines ──> Dial / Transmit        Send ──> pairs ──> SendBytes        Spread ──> gossip ──> Send
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import deadlines as due
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.admission import OPEN_SWARM
from p2pcpn.protocol.aftercare import Aftercare
from p2pcpn.protocol.announcement import ADVERT_SALT, Announcement, Said
from p2pcpn.protocol.deadlines import ALL, Deadlines, anyway, machines
from p2pcpn.protocol.dht import Dht, DhtMessage
from p2pcpn.protocol.dial_backs import DialBacks
from p2pcpn.protocol.directory import Directory, Listed
from p2pcpn.protocol.explaining import Explaining
from p2pcpn.protocol.gossip import Gossip, Rumor
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.hearing import Hearing
from p2pcpn.protocol.jobs import Jobs
from p2pcpn.protocol.lines import Lines
from p2pcpn.protocol.membership import Alive, Dead, Left, Membership, Suspected, Verdict
from p2pcpn.protocol.neighbourhood import Neighbourhood
from p2pcpn.protocol.offers import Capacity, Offers
from p2pcpn.protocol.pairs import PairFailed, PairMade, Pairs
from p2pcpn.protocol.presence import Presence
from p2pcpn.protocol.presiding import Presiding, Segments
from p2pcpn.protocol.publishing import PUBLISHED_S_MIN, Publishing
from p2pcpn.protocol.reachability import Reachability, Reached
from p2pcpn.protocol.requests import Requests
from p2pcpn.protocol.reunion import Reunion
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.protocol.setup import Setup
from p2pcpn.protocol.spans import Span
from p2pcpn.protocol.steward import Steward
from p2pcpn.protocol.table import distance
from p2pcpn.protocol.worker import Worker
from p2pcpn.wire import datagrams as d
from p2pcpn.wire import messages as m
from p2pcpn.wire import statements as st
from p2pcpn.wire.addresses import Address, Contact
from p2pcpn.wire.pages import Entry
from p2pcpn.wire.statements import signed

RTT_UNKNOWN_S = 0.005
# Effects between the machines of one peer; all others are the driver's.
ROUTED = frozenset({
    fx.Tell, fx.TellBlob, fx.TellLog, fx.TellSegment, fx.Send, fx.Heard, fx.Spread, fx.Probe, fx.Publish, fx.Provide,
    fx.Withdraw, fx.OnDisk, fx.Saved,
})  # fmt: skip
NEWS = frozenset({PairMade, PairFailed, Rumor, Verdict, Dead, Left, Reached, Alive, Suspected})
# Members that send what cannot be right lose their session after this many such messages.
BAD_MESSAGES_MAX = 64


class Peer:
    """See the module. ``running()`` tells what each worker process is at; ``wall()`` is the wall clock."""

    def __init__(
        self,
        setup: Setup,
        *,
        rng: random.Random,
        now: float,
        wall: Callable[[], float],
        running: Callable[[], dict[int, int]] = dict,
    ) -> None:
        me = setup.keypair
        self.setup = setup
        self.id = me.id
        self.me = me
        self.contact = setup.contact
        self.rng = rng
        self.wall = wall
        self.roles = setup.roles
        self.storing = bool(setup.roles & st.Role.STORAGE)
        self.computing = bool(setup.roles & st.Role.COMPUTE)
        self.pairs = Pairs(
            me, setup.boot, rng, swarm_key=setup.rules.swarm_key, roles=setup.roles, port=setup.contact.port,
            puzzle=setup.puzzle, difficulty=setup.difficulty, network_group=setup.network_group,
        )  # fmt: skip
        self.lines = Lines()
        trips = self.roundtrips = RoundTrips()
        self.dht = Dht(self.id, rng, setup.network_group, trips, now, storage=self.storing, copies=setup.record_copies)
        hood = self.neighbourhood = Neighbourhood(self.id, trips, rng)
        self.membership = Membership(me, setup.boot, self.contact, hood, trips, rng, now, setup.pulse.probe_s)
        self.directory = Directory(setup.group_of, lambda node: self.pairs.key_of(node) is not None)
        self.gossip = Gossip(hood, rng, now, setup.pulse.compare_s, self.directory.repeats)
        self.reunion = Reunion(self.dht, hood, trips, rng, now)
        self.requests = Requests(self.roundtrips, rng)
        self.worker = Worker(me=me, rules=setup.rules, slots=setup.slots, running=running, boot=setup.boot)
        self.offers = Offers(
            me=me, contact=lambda: self.contact, boot=setup.boot, rules=setup.rules, capacity=self._capacity,
            rtt_s=self.rtt_s, rng=rng, sated=self.worker.sated,
        )  # fmt: skip
        self.steward = Steward(me, self.storing, wall, self.counts, setup.trusts, setup.group_of, setup.belongs)
        self.jobs = Jobs(
            me=me, contact=lambda: self.contact, rules=setup.rules, storing=self.storing, request=self.next_request,
            rank=self._rank, near=self.stewards_near, rng=rng, now=now, age_s=self.steward.age_s, note=setup.note,
        )  # fmt: skip
        self.grantors = self.jobs.grantors
        self.announcement = Announcement(
            setup, self.contact, slots_free=self._slots_free, rtt_s=self.roundtrips.median_s,
            known=lambda: max(len(self.directory), hood.known),
        )  # fmt: skip
        self.reachability = Reachability(
            self.contact, setup.network_group, self.dht.table.contacts, lambda: self.pairs.observed, rng, now,
            watching=setup.watching and bool(setup.roles),
        )  # fmt: skip
        self.dial_backs = DialBacks(self.pairs.aside)
        self.presence = Presence(self)
        self.explaining = Explaining(me, self.requests, self.worker.failing, self.offers.explain)
        self.counters: Counter[str] = Counter()
        self._bad: Counter[NodeId] = Counter()
        self.presiding = Presiding(
            me=me, contact=lambda: self.contact, jobs=self.jobs, steward=self.steward, worker=self.worker,
            prove=lambda now: self.hearing.prove(now, early=True), refused=self._refused, request=self.next_request,
        )  # fmt: skip
        self.hearing = Hearing(self.worker, self.steward, self.presiding.extended, self._refused, self.counters)
        self._request = 0
        self.aftercare = Aftercare(
            contact=lambda: self.contact, steward=self.steward, request=self.next_request, pulse=setup.pulse, rng=rng,
            near=lambda job, now: [listed.advert.contact for listed in self.stewards_near(job, now)],
            group=lambda contact: setup.network_group(contact.address), now=now,
        )  # fmt: skip
        self.publishing = Publishing(me, lambda: self.contact, self.dht, wall, rng)
        self.deadlines = Deadlines(machines(self))

    # --- what comes in ----------------------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, address: Address, now: float) -> list[fx.Effect]:
        """Bytes from the UDP socket."""
        return self._perform(self.deadlines.received(self.pairs.receive(data, address, now)), now)

    def session_opened(self, contact: Contact, key: bytes, now: float) -> list[fx.Effect]:
        """A session is there, whoever dialled it."""
        node = NodeId(contact.id)
        effects = self.lines.opened(contact, key)
        effects += self.worker.session_opened(node, now)
        effects += self.jobs.each(lambda grantor: grantor.session_opened(node, now))
        return self.perform(effects, now)

    def session_closed(self, peer: NodeId, now: float) -> list[fx.Effect]:
        """A session ended, or could not be made."""
        self.lines.closed(peer)
        self.lines.failed(peer)
        self._bad.pop(peer, None)
        self.worker.session_closed(peer, now)
        self.offers.session_closed(peer)
        effects = self.jobs.each(lambda grantor: grantor.session_closed(peer, now))
        effects += self.presiding.session_closed(peer) + self.aftercare.session_closed(peer, now)
        return self.perform(effects, now)

    def message_received(self, peer: NodeId, message: m.Message, now: float) -> list[fx.Effect]:
        """A message over a session. What cannot be right is counted; too much of it ends the session."""
        contact, key = self.lines.open.get(peer), self.lines.keys.get(peer)
        if contact is None or key is None:
            return []
        return self.perform(self._message(contact, key, message, now), now, due.BY_MESSAGE.get(type(message), ALL))

    def _message(self, contact: Contact, key: bytes, message: m.Message, now: float) -> list[fx.Effect]:
        try:
            return self._dispatch(contact, key, message, now)
        except PeerError as error:
            return self._refused(NodeId(contact.id), message, error)

    def _refused(self, node: NodeId, message: m.Message, error: PeerError) -> list[fx.Effect]:
        """A message that cannot be right is counted; too many of them end the session."""
        self.counters[f"refused {type(message).__name__}"] += 1
        self._bad[node] += 1
        if self._bad[node] == BAD_MESSAGES_MAX:
            return [fx.Hangup(node, str(error)[: limits.REASON_CHARS_MAX])]
        return []

    def _dispatch(self, contact: Contact, key: bytes, message: m.Message, now: float) -> list[fx.Effect]:
        match message:
            case m.Results():
                return self.presiding.results(contact, message, now)
            case m.Grant() | m.Further() | m.Extend():
                effects = self.hearing.heard(contact, key, message, now)
                for job, why in self.worker.declines:
                    self.offers.decline(job, why)
                self.worker.declines.clear()
                return effects
            case m.Progress() | m.Return() | m.Output() | m.Checkpoint():
                return self.presiding.under(contact, key, message, now)
            case m.Answer():
                effects = self.jobs.each(lambda g: g.answered(NodeId(contact.id), message, now))
                effects += self.presiding.gaps.answered(contact, message, now)
                return effects + self.aftercare.answered(contact, message, now)
            case m.Recount():
                return self.aftercare.recounted_to(contact, message)
            case m.Recounted():
                effects = self.presiding.gaps.recounted(contact, message, now)
                return effects + self.aftercare.recounted(contact, message, now)
            case m.LogData():
                return self.aftercare.shown(contact, message, now)
            case m.JobState():
                return self.aftercare.bequest.told(contact, message, now)
            case m.Inputs():
                self.worker.given(key, message)
                return []
            case m.Introduce():
                effects = self.worker.introduced(contact, key, message.spec, now, message.age_s, message.handover)
                return effects + (self.presiding.introduced(contact, message, now) if message.keep else [])
            case m.Settled():
                return self.worker.settled(contact, message)
            case m.Revoke():
                return [*self.presiding.revoked(key, message, now), *self.worker.revoked(contact, message, now)]
            case m.Recall():
                return self.worker.recalled(contact, message, now)
            case m.Resume():
                return self.worker.resumed(contact, key, message)
            case m.Finish():
                return self.presiding.finished(contact, message, now)
            case m.Take():
                return self.presiding.take(contact, key, message, now)
            case m.Mandate():
                return self.presiding.mandate(contact, key, message, now)
            case m.Entrust():
                return self.presiding.entrusted(contact, message, now)
            case m.Orphan():
                return self.presiding.inherited(contact, message, now)
            case m.Delivery() | m.GivenUp() | m.Standing():
                return self.presiding.told(key, message, now)
            case m.Append():
                return self.presiding.appended(contact, message, now)
            case m.States():
                return self.steward.left(key, message)
            case m.Ask():
                return self.presiding.asked(contact, message, now)
            case m.ListJobs():
                return self.steward.listed(contact, message)
            case _:
                self.counters[f"unexpected {type(message).__name__}"] += 1
                return []

    # --- datagrams --------------------------------------------------------------------------------------------------

    def _datagram(self, sender: Contact, message: d.Datagram, now: float) -> list[fx.Effect]:
        bits = self.deadlines.heard(message)
        if bits == due.BY_DHT:
            said = cast(DhtMessage, message)
            effects = self.dht.receive(sender, said, now, self.wall(), routable=self.pairs.routable(sender.id))
            return effects + self.reunion.receive(sender, message, now)
        if bits == due.MEMBERSHIP:
            return self.membership.receive(sender, message, now)
        if bits == due.GOSSIP:
            effects = self.gossip.receive(sender, message, now)  # what rides is known here before there is an answer
            return effects + self._datagram(sender, message.message, now) if type(message) is d.Compound else effects
        match message:
            case d.ClaimRequest():
                return self.jobs.claimed(sender, message, now)
            case d.ClaimReply():
                # Nobody can dial who is hidden: it opens the session over which it is to be leased tasks.
                dial = self.reachability.hidden and message.verdict == 0 and sender.id not in self.lines.open
                return self.offers.replied(sender, message, now) + ([fx.Dial(sender)] if dial else [])
            case d.DialBack():
                return self.dial_backs.asked(sender, message, now)
            case d.Knock() | d.DialedBack():
                return self.reachability.receive(sender, message, now)
            case d.Explain():
                return self.explaining.answer(sender, message)
            case d.Explanation():
                return self.explaining.told(self.requests.receive(sender, message, now))
            case _:
                self.counters[f"unexpected {type(message).__name__}"] += 1
                return []

    # --- what the program asks --------------------------------------------------------------------------------------

    def open_job(
        self, spec: st.Signed, job: bytes, job_key: bytes, now: float, *, granting: bool, peers_max: int = 0
    ) -> list[fx.Effect]:
        """Begin a job of which this node is the first grantor (or, not ``granting``, only the submitter)."""
        return self.perform(self.presiding.open(spec, job, job_key, now, granting, peers_max), now)

    def adopt(
        self,
        job: bytes,
        segments: Segments,
        settled: list[Span],
        now: float,
        inherited: Sequence[m.Results] = (),
        states: Sequence[m.LeftState] = (),
    ) -> list[fx.Effect]:
        """Become the grantor of a job that is kept here, read from disk; see :meth:`Presiding.adopt`."""
        return self.perform(self.presiding.adopt(job, segments, settled, list(inherited), now, states), now)

    def restored(self, now: float) -> list[fx.Effect]:
        """All that was kept over a restart is back: what was granted here goes on."""
        return self.perform(self.presiding.succession.restored(now), now)

    def reviewed(self, job: bytes, stale: Sequence[int], now: float) -> list[fx.Effect]:
        """What :class:`Review` read."""
        return self.perform(self.presiding.reviewed(job, stale, now), now)

    def inputs_loaded(
        self, job: bytes, indices: tuple[int, ...], log: list[tuple[int, Entry]], now: float
    ) -> list[fx.Effect]:
        """What :class:`LoadInputs` read."""
        granting = self.jobs.granted.of(job)
        return self.perform([e for grantor in granting for e in grantor.loaded(indices, log, now)], now)

    def next_request(self) -> int:
        """A request number that no other request of this peer has."""
        self._request += 1
        return self._request

    def with_grantor(self, job: bytes, act: Callable[[Grantor], list[fx.Effect]], now: float) -> list[fx.Effect]:
        """Let the program do something to a job that is granted here: extend, close, cancel."""
        grantor = self.grantors.get(job)
        return self.perform(act(grantor), now, due.BY_JOB) if grantor is not None else []

    def knows_job(self, job: bytes) -> bool:
        """Whether this peer works for the job, keeps it or grants it: only then blobs of it are taken."""
        return job in self.worker.works or job in self.steward.jobs or job in self.grantors

    def counts(self, job: bytes) -> tuple[int, int, int] | None:
        """(waiting, leased, settled) of a job that is granted here."""
        return self.jobs.granted.counts(job)

    def put_record(
        self, salt: bytes, value: bytes, retention_s: float, keypair: Keypair, ticket: int, now: float
    ) -> list[fx.Effect]:
        """Put a record under ``keypair`` and ``salt``, one version above the last this peer wrote; then ``PutDone``."""
        return self.perform(self.publishing.put_record(salt, value, retention_s, keypair, ticket, now), now)

    def advertise(self, advert: st.Advert, now: float, *, changed: bool) -> list[fx.Effect]:
        """This peer's capacity: gossiped when a coarse value ``changed``, at most every 10 s, and before it lapses."""
        return self.perform(self.advertised(self.announcement.sampled(advert, now, changed=changed)), now)

    def announced(self, now: float) -> list[fx.Effect]:
        """Our next advert, when it is due."""
        return self.advertised(self.announcement.expire(now))

    def advertised(self, said: Said | None) -> list[fx.Effect]:
        """A new version of our advert goes into the directory, the gossip and (with a role) the DHT."""
        if said is None:
            return []
        self.directory.heard(said.advert, said.signed, said.now)
        spread = self.gossip.spread(said.signed, said.now, hurried=not said.repeats)
        if not self.setup.roles or not said.published_s:
            return spread
        return [*spread, fx.Publish(ADVERT_SALT, said.signed.body, said.published_s)]

    def explain(self, job: bytes, ticket: int, now: float) -> tuple[int, list[fx.Effect]]:
        """Ask up to 32 peers why they run or do not run ``job``: (how many, effects).

        ``Notify(Explained)`` follows for each.
        """
        contacts = (self.neighbourhood.contacts() or self.dht.table.contacts())[: limits.NEIGHBOURHOOD_MAX]
        return len(contacts), self.perform(self.explaining.ask(contacts, job, ticket, now), now)

    def leave(self, now: float) -> list[fx.Effect]:
        """Give back leases, hand over what is held of the DHT, say goodbye; then ``Notify(HandedOver)``."""
        goodbye = self.membership.leave(now)
        return self.perform([*self.presence.leave(now), *self.dht.hand_over(now, self.wall(), goodbye)], now)

    # --- routing of effects -----------------------------------------------------------------------------------------

    def perform(self, effects: Iterable[fx.Effect], now: float, touched: int = ALL) -> list[fx.Effect]:
        """Turn machines' effects into what a driver can do: bytes, sessions, disk, processes, events.

        Whatever they come from may have touched every machine; or only those in ``touched``.
        """
        self.deadlines.touched |= touched
        return self._perform(effects, now)

    def _perform(self, effects: Iterable[fx.Effect], now: float) -> list[fx.Effect]:
        done: list[fx.Effect] = []
        pending = [*effects]
        pending.reverse()  # the next is at the end
        while pending:
            effect = pending.pop()
            if type(effect) is fx.Send and (said := self._said(effect.to, effect.message)) is not None:
                done.append(said)
            elif type(effect) in ROUTED:
                pending += self._follow(effect, now)[::-1]
            else:
                done.append(effect)
        if fx.Notify in map(type, done):  # perhaps grantors report something
            done += [follows for tell in self.presiding.relayed(done, now) for follows in self._follow(tell, now)]
            self.deadlines.touched |= due.PRESIDING
        return done

    def _said(self, to: Contact, message: d.Datagram) -> fx.SendBytes | None:
        """What says ``message`` to a pair, and to a member what rides; ``None`` where it takes more than that."""
        rides = self.gossip.riding and self.pairs.roles_of(to.id)
        return self.pairs.say(to, self.gossip.riding.load(to, message) if rides else message)

    def _follow(self, effect: fx.Effect, now: float) -> list[fx.Effect]:
        """What an effect becomes within this peer. What is said and heard comes first: most effects are."""
        if isinstance(effect, fx.Send):
            if effect.to.id == self.id:
                return self._safely(self.contact, effect.message, now)
            self.deadlines.touched |= due.PAIRS
            return self.pairs.send(effect.to, effect.message, now)
        if isinstance(effect, fx.Heard):
            return self._news(effect, now) if type(effect.value) in NEWS else self._heard(effect, now)
        if isinstance(effect, fx.Tell | fx.TellBlob | fx.TellLog | fx.TellSegment) and effect.to.id != self.id:
            return self.lines.tell(effect)
        self.deadlines.touched = ALL
        match effect:
            case fx.Tell():  # a grantor on this very node leases to its own slots: no session is needed
                return self._message(self.contact, self.me.public, effect.message, now)
            case fx.TellBlob() | fx.TellLog() | fx.TellSegment():
                return []
            case fx.Spread():
                own = effect.statement
                heard = self.offers.heard(own, now) if isinstance(own, st.Offer) and self.computing else []
                return self.gossip.spread(signed(own, self.me), now, effect.hops, effect.to, effect.rounds_less) + heard
            case fx.OnDisk():
                return self.presiding.on_disk(effect, now)
            case fx.Saved():
                self.steward.saved(effect)
                return []
            case fx.Probe():
                return self.membership.check(effect.peer, now)
            case fx.Provide() | fx.Publish() if effect.retention_s < PUBLISHED_S_MIN:
                return []  # over before anybody reads it
            case fx.Provide():
                if self.publishing.full and not self.publishing.provides(effect.name):
                    self.counters["not provided"] += 1  # it is found by its place near the name all the same
                    return []
                return self.publishing.provide(effect.name, now, retention_s=effect.retention_s)
            case fx.Withdraw():
                return self.publishing.withdraw(effect.name, now)
            case fx.Publish(salt=salt, value=value, retention_s=kept_s):
                return self.publishing.put_record(salt, value, kept_s, self.me, 0, now, again=True)
        raise AssertionError(f"{type(effect).__name__} is for the driver")

    def _safely(self, sender: Contact, message: d.Datagram, now: float) -> list[fx.Effect]:
        try:
            return self._datagram(sender, message, now)
        except PeerError:
            self.counters[f"refused {type(message).__name__}"] += 1
            return []

    def _heard(self, effect: fx.Heard, now: float) -> list[fx.Effect]:
        """A datagram of a pair."""
        sender = effect.sender
        if self._is_member(sender):
            if not len(self.neighbourhood) or self.neighbourhood.deadline() is None:
                self.deadlines.touched |= due.NEIGHBOURHOOD | due.MEMBERSHIP
            self.neighbourhood.heard(sender, now)
        return self.membership.heard(sender, now) + self._safely(sender, cast(d.Datagram, effect.value), now)

    def _news(self, effect: fx.Heard, now: float) -> list[fx.Effect]:
        """What one of the machines found out."""
        value, sender = effect.value, effect.sender
        if isinstance(value, Rumor):
            self.deadlines.touched |= due.BY_RUMOR.get(type(value.statement), ALL)
            return self._rumor(value.statement, value.signed, sender, now)
        self.deadlines.touched |= due.BY_PAIR if isinstance(value, PairMade) else ALL
        if isinstance(value, PairMade):
            return self._pair_made(sender, now)
        if isinstance(value, PairFailed):
            return self.dht.failed(sender, now)
        if isinstance(value, Verdict):
            return self._alive(value.peer, now) if value.alive else self._gone(value.peer, now)
        if isinstance(value, (Dead, Left)):
            return self._gone(value.peer, now)
        if isinstance(value, Reached):
            return self.presence.reached(value.hidden, now)
        return self._back(value.peer, now) if isinstance(value, Alive) else []

    def _alive(self, peer: Contact, now: float) -> list[fx.Effect]:
        """A peer whose session was lost lives: its grantors go on over a new one."""
        return self.jobs.each(lambda grantor: grantor.peer_alive(NodeId(peer.id), now))

    def _back(self, peer: Contact, now: float) -> list[fx.Effect]:
        """A peer that was held to be dead lives: what it said of itself counts again."""
        self.directory.back(self.gossip.back(self.pairs.key_of(peer.id) or b""), now)
        return self.dht.heard(peer, now) if self.pairs.routable(peer.id) else []

    def _gone(self, peer: Contact, now: float) -> list[fx.Effect]:
        """A peer is dead or has left: nothing is planned with it any more."""
        node = NodeId(peer.id)
        self.reunion.lost(peer, now)
        self.neighbourhood.gone(node)
        self.gossip.gone(self.directory.gone(node))
        self.aftercare.dead(node, now)
        lost = self.dht.failed(peer, now, certain=True) + self.jobs.peer_dead(node, now)
        return lost + self.presiding.dead(node, now)

    def _pair_made(self, peer: Contact, now: float) -> list[fx.Effect]:
        """Greet a new pair: it gets our advert at once, and each tells the other the rumors it lacks.

        A member that is no neighbour gets neither: lookups make a peer that joins meet hundreds, who hold the same
        rumors. A client gets our advert; those it gossips with it compares with, and a thousand may claim its job.
        """
        effects: list[fx.Effect] = []
        self.reachability.greeted(now)
        if member := self._is_member(peer):
            self.neighbourhood.heard(peer, now)
            effects += self.dht.heard(peer, now) if self.pairs.routable(peer.id) else []
        if peer.id not in self.neighbourhood if self._is_member(peer) else self.offers.claims_at(peer.id):
            return effects  # where others came to claim it hears of us by their rumors
        if self.announcement.signed is not None:
            effects.append(fx.Send(peer, d.Gossip([self.announcement.signed], [0])))
        return effects + self.gossip.pull(peer, now) if member else effects

    def _is_member(self, peer: Contact) -> bool:
        """Whether a peer has a role. Clients have none: they come, submit and go, and nobody routes by them."""
        return peer.id == self.id or self.pairs.roles_of(peer.id) != 0

    def _rumor(self, statement: st.Statement, envelope: st.Signed, sender: Contact, now: float) -> list[fx.Effect]:
        """A rumor that is new here, its signature and origin checked by gossip."""
        if isinstance(statement, st.MemberState):
            return self.membership.rumor(envelope, statement, now)
        if isinstance(statement, st.Advert):
            if self.directory.heard(statement, envelope, now):
                return [*self._restated(statement, now), fx.Notify(events.Advertised(statement))]
        elif isinstance(statement, st.Offer):
            effects = self.presiding.offered(statement, envelope.key, now)
            return effects + (self.offers.heard(statement, now) if self.computing else [])
        return []

    def _restated(self, advert: st.Advert, now: float) -> list[fx.Effect]:
        """A peer's newest word on its roles. Who is hidden now is looked for no more."""
        peer, hidden = advert.contact, bool(advert.roles & st.Role.HIDDEN)
        self.pairs.restated(peer.id, advert.boot, advert.roles)
        self.deadlines.touched |= due.DHT if hidden else 0 if len(self.neighbourhood) else due.MEMBERSHIP
        if advert.roles and not hidden:
            self.neighbourhood.heard(peer, now, direct=False)
        return self.dht.failed(peer, now, certain=True) if hidden and peer.id in self.dht.table else []

    # --- small facts ------------------------------------------------------------------------------------------------

    def _capacity(self) -> Capacity:
        worker, slots = self.worker, self.setup.slots
        full = worker.running >= worker.turns.slots  # though there may be more slots, none is there yet
        return Capacity(slots, slots if full else worker.running, worker.queued, self.announcement.load)

    def _slots_free(self) -> int:
        return 0 if self.offers.leaving else max(self.worker.turns.slots - self.worker.running, 0)

    def works_with(self, node: NodeId) -> bool:
        """Whether leases, results or copies are under way between that peer and this one."""
        if any(
            work.busy and any(grantor.id == node for grantor in work.grantors) for work in self.worker.works.values()
        ):
            return True
        return any(node in g.participants or node in g.custody.copies.holders for g in self.jobs.granted.all())

    def rtt_s(self, node: bytes) -> float:
        """The measured round trip to a peer; to ourselves none."""
        if node == self.id:
            return 0.0
        return self.roundtrips.srtt_s(node) or RTT_UNKNOWN_S

    def _rank(self, contact: Contact, rtt_ms: float) -> tuple[float, bytes]:
        """Nearest first (to the quarter of a millisecond; a stranger is as far as others), ties by xor distance."""
        rtt_s = self.roundtrips.usual_s(contact.id, RTT_UNKNOWN_S) if contact.id != self.id else 0.0
        return (round(rtt_s * 4000) / 4000, distance(contact.id, self.id).to_bytes(20, "big"))

    def stewards_near(self, target: bytes, now: float) -> list[Listed]:
        """Storage peers that may be trusted with a job's state, best first; never this node itself."""
        rules = self.setup.rules
        keyed = rules.swarm_key != OPEN_SWARM
        return [
            listed for listed in self.directory.storage_near(target, now)
            if listed.advert.contact.id != self.id and (keyed or listed.signed.key in rules.trusted)
            and not self.pairs.translated(listed.advert.contact.id)
        ]  # fmt: skip

    # --- time -------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is due next."""
        return self.deadlines.earliest()

    def expire(self, now: float) -> list[fx.Effect]:
        """Do whatever is due."""
        if (leases_out := self.jobs.leases_out) != self.membership.leases_out:
            self.membership.hold_leases(leases_out, now)
            self.deadlines.touched |= due.MEMBERSHIP
        effects = self.deadlines.expire(now, anyway(self))
        if self.deadlines.touched & due.PUBLISHING:  # it speaks to the DHT
            self.deadlines.touched |= due.DHT
        return self._perform(effects, now)
