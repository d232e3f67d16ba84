"""Who lives: SWIM over the neighbourhood, with the refinements of Lifeguard (Das 2002; Dadgar 2017).

::

            no answer, direct or through helpers      the same, until the suspicion has lasted
    ALIVE ────────────────────────────────────▶ SUSPECTED ─────────────────────────────▶ DEAD
      ▲                                            │                                       │
      └──────── it speaks, or refutes ─────────────┴────────────── it speaks ──────────────┘

At most one neighbour is pinged each period, and where all is well none that pinged us in its round
(:mod:`p2pcpn.protocol.rounds`); when it is late, three others are asked to ping it. Nobody dies of another's word: a
rumor that a neighbour is suspected or dead makes this peer probe it itself, and shortens the suspicion once it has
begun. Who hears that it is suspected raises its incarnation and says that it lives. When nobody at all was heard during
a probe, the helpers included, it is we who are cut off, or late ourselves: then nobody is suspected and timeouts grow
(Lifeguard), until the silence has lasted so long that we may as well be the only one left. Who was late itself (a busy
machine, a laptop that slept for an hour) does not count that time: nobody had a chance to answer in it.

A peer whose neighbours have all been well for minutes probes more rarely, down to a quarter of its pace; the first
doubt of a neighbour, its own or one that it hears of, and any lease that is out, bring it back to full pace. Helpers
are many (three) where a peer comes upon silence by itself, and one where others have asked theirs already.

``check`` is the urgent probe, for a peer that holds leases and whose session broke: directly and through two helpers at
once, with a verdict within a second.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair, node_id
from p2pcpn.protocol.effects import Effect, Heard, Send, Spread
from p2pcpn.protocol.neighbourhood import Neighbourhood
from p2pcpn.protocol.rates import Bucket
from p2pcpn.protocol.requests import Answered, Failed, Late, Requests
from p2pcpn.protocol.rounds import Rounds
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import Ack, Datagram, Leave, Ping, PingRequest
from p2pcpn.wire.statements import MemberState, Signed

ALIVE, SUSPECTED, DEAD = 0, 1, 2
PROBE_S_MIN = 1.0
PROBE_S_MAX = 5.0
CHECK_HELPERS = 2
# Others' helpers, or our own a second ago, have asked already.
HELPERS_AGAIN = 1
# Who asks because of a rumor waits up to so many times as long: three have spoken when the others are about to.
SPREAD_MAX = 4.0
# The pause between probes is this share of the time for which nobody was doubted: full pace for 20 s, the slowest after
# 80 s. A silent peer is then found by one of its 32 watchers after 20 s in the mean instead of 5: nothing is at stake.
CALM_SHARE = 1 / 4
CALM_RARER_MAX = 4.0
# Where so many are known a word about a member goes to neighbours alone: strangers seldom watch the same.
MEMBERS_NEAR = 256
# A check repeats its ping at least this often, however slow the peer was.
CHECK_TIMEOUT_S = 0.2
# Lifeguard: a suspicion lasts alpha * log10(n) periods of a second, three times that while nobody else confirms it.
SUSPICION_S = 2.0
SUSPICION_FACTOR = 3.0
ROUNDING_S = 1e-3
# Where it goes to neighbours alone so many of them are told of a death who are nearest to the dead by id: they are the
# likeliest to watch it, and repair what it held. Who was told says so as well, to fewer others.
WATCHERS = 8
ROUNDS_LESS = 2
# A suspected peer is pinged so often in the shortest time that a suspicion lasts; then it is looked whether that was
# enough. A helper is asked in the last round alone: three were asked before. As many in each second found no more.
DOUBT_PINGS = 2
CONFIRMATIONS = 3
HEALTH_MAX = 3
# When nobody was heard for so long, being cut off and being alone are the same.
CUT_OFF_S = 30.0
REFUTE_S = 1.0
# Called so much later than we asked to be, we did not run: a busy loop is late by tenths of a second.
LATE_S = 1.0
INCARNATION_MAX = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Alive:
    """``peer`` lives, which was in doubt."""

    peer: Contact


@dataclass(frozen=True, slots=True)
class Suspected:
    """``peer`` answers nobody we asked; it has some seconds to refute that."""

    peer: Contact


@dataclass(frozen=True, slots=True)
class Dead:
    """``peer`` is dead; it is no neighbour any more."""

    peer: Contact


@dataclass(frozen=True, slots=True)
class Left:
    """``peer`` said that it leaves."""

    peer: Contact


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a ``check``."""

    peer: Contact
    alive: bool


@dataclass(frozen=True, slots=True)
class _Relay:
    """A ping for somebody else."""

    asker: Contact
    nonce: int


@dataclass(slots=True)
class _Doubt:
    """A suspicion under way."""

    contact: Contact
    since_s: float
    accusers: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Probe:
    contact: Contact
    since_s: float
    due_s: float
    urgent: bool
    helpers: int = limits.PROBE_HELPERS
    helped: bool = False
    heard: bool = False  # it spoke meanwhile, of something else


class Membership:
    """Watches the neighbours of the peer ``me``; each second while leases are out (``hold_leases``).

    ``heard`` is told of every datagram a peer sends over its pair; ``receive`` takes SWIM's own, ``rumor`` what gossip
    delivers. Says ``Heard`` of :class:`Alive`, :class:`Suspected`, :class:`Dead`, :class:`Left` and :class:`Verdict`.
    """

    def __init__(
        self,
        me: Keypair,
        boot: int,
        contact: Contact,
        neighbourhood: Neighbourhood,
        roundtrips: RoundTrips,
        rng: random.Random,
        now: float,
        idle_s: float = limits.PROBE_IDLE_S,
    ) -> None:
        self._idle_s = self._pause_s = idle_s
        self.contact = contact
        self.leases_out = False
        self.incarnation = 0
        self._own = me.id
        self._boot = boot
        self._neighbourhood = neighbourhood
        self._roundtrips = roundtrips
        self._rng = rng
        self._requests = Requests(roundtrips, rng)
        self._probes: dict[bytes, _Probe] = {}
        self._doubts: dict[bytes, _Doubt] = {}
        self._versions: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # (boot, incarnation) last said
        self._graves: OrderedDict[bytes, None] = OrderedDict()
        # What was said last of a member, as (boot, incarnation, state), and who said it.
        self._words: OrderedDict[bytes, tuple[tuple[int, int, int], list[bytes]]] = OrderedDict()
        self._relays = 0
        self._rumored = Bucket(limits.RUMORED_PROBES_PER_S, limits.RUMORED_PROBES_PER_S)
        self._changes = -1  # of the neighbourhood, when its turns were last looked at
        self.rounds = Rounds(rng, CALM_RARER_MAX * idle_s, now)
        self._heard_s = now
        self._refuted_s = -math.inf
        self._doubted_s = now  # when a neighbour was doubted last
        self._health = 0  # Lifeguard's local health: 0 is well
        self._slept_s = 0.0
        self._watching = False  # there was somebody to probe since we looked last

    def statistics(self) -> dict[str, int]:
        """Counts of probes and suspicions under way, the dead remembered, and our own health (0 is well)."""
        return {
            "probes": len(self._probes),
            "suspected": len(self._doubts),
            "dead": len(self._graves),
            "health": self._health,
            "slept_s": int(self._slept_s),
        }

    # --- verbs -------------------------------------------------------------------------------------------------

    def heard(self, sender: Contact, now: float) -> list[Effect]:
        """``sender`` sent a datagram of any kind: it lives, whatever was suspected."""
        self._heard_s = now
        effects: list[Effect] = []
        probe = self._probes.get(sender.id)
        if probe is not None:
            probe.heard = True  # the probe goes on: its answer measures the round trip
        if self._doubts.pop(sender.id, None) is not None or sender.id in self._graves:
            self._graves.pop(sender.id, None)
            effects.append(Heard(Alive(sender), sender))
        return effects

    def receive(self, sender: Contact, message: Datagram, now: float) -> list[Effect]:
        """Answer a ping, help another to ping, take an answer, or a goodbye."""
        if isinstance(message, Leave):
            return self._leaves(sender)
        effects = self.heard(sender, now)
        if isinstance(message, Ack):
            return effects + self._settle(self._requests.receive(sender, message, now), now)
        if isinstance(message, Ping):
            self._note(sender.id, None, message.incarnation)
            self.rounds.met(sender.id, now)
            return [Send(sender, Ack(message.nonce, self.incarnation)), *effects]
        if isinstance(message, PingRequest):
            return effects + self._relay(sender, message, now)
        return effects

    def rumor(self, signed: Signed, statement: MemberState, now: float) -> list[Effect]:
        """Gossip brings a word about a member; its signature is right."""
        member = statement.member
        own_word = node_id(signed.key) == member.id
        if member.id == self._own:
            return self._refute(statement, now) if not own_word else []
        if own_word:
            return self._own_word(statement, now)
        neighbour = self._neighbourhood.get(member.id)
        if statement.state == ALIVE or neighbour is None:
            return []
        # A version that the member never had it cannot refute: whoever names one is not to keep the others silent.
        if (statement.boot, statement.incarnation) <= self._versions.get(member.id, (0, 0)):
            self._note_word(member.id, (statement.boot, statement.incarnation, statement.state), node_id(signed.key))
        doubt = self._doubts.get(member.id)
        if doubt is not None and node_id(signed.key) not in doubt.accusers and len(doubt.accusers) < CONFIRMATIONS:
            doubt.accusers.append(node_id(signed.key))
        helpers = 0  # whoever found it dead had its helpers asked: we only look for ourselves
        if statement.state == SUSPECTED:
            helpers = HELPERS_AGAIN
            self._wake(now)
            self._alarm(now)
        return self._probe(neighbour, now, helpers=helpers) if self._rumored.take(now) else []

    def hold_leases(self, out: bool, now: float) -> None:
        """Leases are ``out`` from now on, or none is any more."""
        self._wake(now)
        self.leases_out = out
        self.rounds.hurry(self._interval_s, now)

    def check(self, peer: Contact, now: float) -> list[Effect]:
        """Find out within a second whether ``peer`` lives: ``Heard(Verdict)`` follows, and ``Heard(Dead)`` if not."""
        return self._probe(peer, now, urgent=True)

    def leave(self, now: float) -> list[Effect]:
        """Say goodbye to the neighbours and, through gossip, to theirs."""
        goodbye = MemberState(self.contact, self._boot, self.incarnation, DEAD)
        sends: list[Effect] = [Send(contact, Leave(self.incarnation)) for contact in self._neighbourhood.contacts()]
        return [*sends, Spread(goodbye, self._hops)]

    def deadline(self) -> float | None:
        """When the next probe begins, or one ends, or a request is late."""
        times = [probe.due_s for probe in self._probes.values()]
        if len(self._neighbourhood):
            times.append(self.rounds.deadline(self._interval_s))
        if (due_s := self._requests.deadline()) is not None:
            times.append(due_s)
        return min(times, default=None)

    def expire(self, now: float) -> list[Effect]:
        """Repeat pings, judge probes whose time is over, begin the next."""
        self._wake(now)
        self._watching = len(self._neighbourhood) > 0
        effects = self._settle(self._requests.expire(now), now)
        for probe in [probe for probe in self._probes.values() if probe.due_s <= now]:
            effects += self._unanswered(probe, now)
        if now >= self.rounds.deadline(self._interval_s):
            self._pause_s = self._idle_s * min(
                CALM_RARER_MAX, max(1.0, (now - self._doubted_s) * CALM_SHARE / self._idle_s)
            )
            peer = self._next(now)
            if peer is not None:
                effects += self._probe(peer, now)
        return effects

    def _wake(self, now: float) -> None:
        """Where we did not run for a while nothing that we waited for had that time. Known before the pace changes."""
        due_s = self.deadline()
        if due_s is None or now - due_s <= LATE_S or not self._watching:
            return
        late_s, self._watching = now - due_s, False  # once
        self._slept_s += late_s
        self._health = min(HEALTH_MAX, self._health + 1)
        self._heard_s = min(now, self._heard_s + late_s)
        for probe in self._probes.values():
            probe.since_s += late_s
            probe.due_s += late_s
        for doubt in self._doubts.values():
            doubt.since_s += late_s

    @property
    def _interval_s(self) -> float:
        return limits.PROBE_BUSY_S if self.leases_out else self._pause_s

    @property
    def _hops(self) -> int:
        """How far a word about a member goes. Only who watches it can use it, and those are found two hops away where
        the swarm is not much larger than that; in a larger one hardly one of a hundred strangers there is among them.
        """
        return limits.MEMBER_HOPS if self._neighbourhood.known < MEMBERS_NEAR else 1

    def _alarm(self, now: float) -> None:
        """A neighbour is in doubt: where one is silent others may be."""
        self._doubted_s, self._pause_s = now, self._idle_s
        self.rounds.hurry(self._interval_s, now)

    # --- probes ------------------------------------------------------------------------------------------------

    def _next(self, now: float) -> Contact | None:
        """Whose turn it is; those that took a place by hearsay come first, once: the word of their death may have gone
        by while they had none."""
        neighbours, changes = self._neighbourhood.chosen, self._neighbourhood.changes
        turn = self.rounds.turn(neighbours, self._interval_s, now, the_same=changes == self._changes)
        self._changes = changes
        unproved = self._neighbourhood.unproved()
        return unproved if unproved is not None or turn is None else neighbours[turn]

    def _probe(
        self, peer: Contact, now: float, urgent: bool = False, helpers: int = limits.PROBE_HELPERS
    ) -> list[Effect]:
        probe = self._probes.get(peer.id)
        if probe is not None:
            if not urgent or probe.urgent:
                return []
            self._stop(probe)  # its questions may be spent, and one helper asked long ago: a check asks its own
        if len(self._probes) >= limits.PROBES_MAX:
            return [Heard(Verdict(peer, False), peer)] if urgent else []
        self.rounds.asked(peer.id, now)
        timeout_s = self._roundtrips.timeout_s(peer.id)
        if urgent:
            timeout_s, lasts_s = min(timeout_s, CHECK_TIMEOUT_S), limits.CHECK_S
        elif peer.id in self._doubts:  # its timeout was doubled again and again: ask at a steady pace instead
            lasts_s = self._shortest_s
            timeout_s = lasts_s / DOUBT_PINGS
            helpers = HELPERS_AGAIN if self._lasted(self._doubts[peer.id], now + lasts_s) else 0
        else:
            lasts_s = min(PROBE_S_MAX, max(PROBE_S_MIN, 4 * timeout_s)) * (1 + self._health)
            if helpers == HELPERS_AGAIN:  # all who heard the rumor ask now: the first to have a verdict speak for them
                lasts_s *= self._rng.uniform(1.0, SPREAD_MAX)
        probe = self._probes[peer.id] = _Probe(peer, now, now + lasts_s, urgent, helpers)
        effects = self._requests.ask(
            peer, lambda nonce: Ping(nonce, self.incarnation), probe.contact.id, now, timeout_s=timeout_s
        )
        effects = self._settle(effects, now)
        return effects + (self._ask_helpers(probe, CHECK_HELPERS, now) if urgent else [])

    def _ask_helpers(self, probe: _Probe, count: int, now: float) -> list[Effect]:
        if probe.helped:
            return []
        probe.helped = True
        effects: list[Effect] = []
        helpers = self._neighbourhood.sample(count, (probe.contact.id,))
        for helper in helpers:
            timeout_s = max(limits.RTO_INITIAL_S, 2 * self._roundtrips.timeout_s(helper.id))
            effects += self._requests.ask(
                helper,
                lambda nonce: PingRequest(nonce, probe.contact),
                probe.contact.id,
                now,
                tries=2 if 1 < len(helpers) < limits.PROBE_HELPERS else 1,  # three stand for each other
                timeout_s=min(timeout_s, limits.CHECK_S / 2) if probe.urgent else timeout_s,
            )
            # A helper that hears nothing says nothing; its own answer shows that we are not the ones cut off.
            effects += self._requests.ask(helper, lambda nonce: Ping(nonce, self.incarnation), None, now, tries=2)
        return self._settle(effects, now)

    def _settle(self, outcomes: list[Effect], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for effect in outcomes:
            outcome = effect.value if isinstance(effect, Heard) else None
            if not isinstance(outcome, Answered | Late | Failed):
                effects.append(effect)
            elif isinstance(outcome.purpose, _Relay):
                effects += self._relayed(outcome.purpose, outcome)
            elif isinstance(outcome.purpose, bytes) and (probe := self._probes.get(outcome.purpose)) is not None:
                if isinstance(outcome, Answered):
                    effects += self._answered(probe, outcome)
                elif outcome.asked.id == probe.contact.id and not probe.heard:
                    effects += self._ask_helpers(probe, probe.helpers, now)
        return effects

    def _answered(self, probe: _Probe, outcome: Answered) -> list[Effect]:
        assert isinstance(outcome.reply, Ack)
        self._note(probe.contact.id, None, outcome.reply.incarnation)
        self._end(probe)
        effects: list[Effect] = []
        if self._doubts.pop(probe.contact.id, None) is not None:
            effects.append(Heard(Alive(probe.contact), probe.contact))
        if probe.urgent:
            effects.append(Heard(Verdict(probe.contact, True), probe.contact))
        return effects

    def _end(self, probe: _Probe) -> None:
        self._stop(probe)
        self._health = max(0, self._health - 1)

    def _stop(self, probe: _Probe) -> None:
        del self._probes[probe.contact.id]
        self._requests.cancel(probe.contact.id)

    def _unanswered(self, probe: _Probe, now: float) -> list[Effect]:
        if probe.heard and not probe.urgent:  # a check wants an answer to its own question
            self._end(probe)
            return []
        self._stop(probe)
        others = any(contact.id != probe.contact.id for contact in self._neighbourhood.contacts())
        cut_off = others and self._heard_s < probe.since_s and now - self._heard_s < CUT_OFF_S
        doubt = None if probe.urgent else self._doubts.get(probe.contact.id)
        if doubt is not None and not probe.helpers and (cut_off or not self._lasted(doubt, now)):
            return self._probe(probe.contact, now)  # it is not over; the last round finds out about ourselves
        if cut_off:
            self._health = min(HEALTH_MAX, self._health + 1)
        if probe.urgent:
            verdict: list[Effect] = [Heard(Verdict(probe.contact, False), probe.contact)]
            return verdict if cut_off else verdict + self._die(probe.contact, now)
        if cut_off:
            if doubt is not None:  # nor, perhaps, before: the time in which we heard nobody does not count
                doubt.since_s = now
            return self._probe(probe.contact, now) if doubt is not None else []
        if doubt is None:
            return self._die(probe.contact, now) if self._is_told_dead(probe) else self._suspect(probe.contact, now)
        if self._lasted(doubt, now):
            return self._die(probe.contact, now)
        return self._probe(probe.contact, now)

    # --- suspicion ---------------------------------------------------------------------------------------------

    def _suspect(self, peer: Contact, now: float) -> list[Effect]:
        if peer.id not in self._neighbourhood:
            return []
        if self._neighbourhood.flapped(peer.id, now):
            return []  # it comes and goes: no words about it, and no place here, until it stays
        self._doubts[peer.id] = _Doubt(peer, now)
        self._alarm(now)
        return [Heard(Suspected(peer), peer), *self._word(peer, SUSPECTED), *self._probe(peer, now)]

    @property
    def _shortest_s(self) -> float:
        """How long a suspicion lasts that enough others confirm: a round of asking once more."""
        return SUSPICION_S * max(1.0, math.log10(max(1, len(self._neighbourhood)))) * (1 + self._health)

    def _lasted(self, doubt: _Doubt, at_s: float) -> bool:
        """Whether it will be over at ``at_s``, give or take the last digit of so many rounds."""
        return at_s - doubt.since_s >= self._suspicion_s(doubt) - ROUNDING_S

    def _suspicion_s(self, doubt: _Doubt) -> float:
        """How long a suspicion lasts: shorter the more others confirm it (Lifeguard, section IV-B)."""
        count, shortest_s = len(self._neighbourhood), self._shortest_s
        expected = min(CONFIRMATIONS, count - 2)
        if expected < 1:
            return shortest_s
        confirmed = math.log(len(doubt.accusers) + 1) / math.log(expected + 1)
        longest_s = SUSPICION_FACTOR * shortest_s
        return max(shortest_s, longest_s - (longest_s - shortest_s) * confirmed)

    def _die(self, peer: Contact, now: float) -> list[Effect]:
        self._alarm(now)
        self._bury(peer.id)
        return [Heard(Dead(peer), peer), *self._word(peer, DEAD)]

    def _bury(self, node: bytes) -> None:
        self._doubts.pop(node, None)
        self._neighbourhood.gone(node)
        self._watching = self._watching and len(self._neighbourhood) > 0  # nothing is due then, however late
        self._graves[node] = None
        if len(self._graves) > limits.BUDGETS_MAX:
            self._graves.popitem(last=False)

    def _is_told_dead(self, probe: _Probe) -> bool:
        """Whether another found that peer dead, in the life and incarnation that we know of it, before we did."""
        said, _ = self._words.get(probe.contact.id, ((0, 0, 0), []))
        return said >= (*self._versions.get(probe.contact.id, (0, 0)), DEAD)

    def _word(self, peer: Contact, state: int) -> list[Effect]:
        """Say it, unless as many as shorten a suspicion do already: each death would be told by all who knew it.

        A death ends no suspicion of others: that one tells of it is enough, and worth more than doubts.
        """
        if state == SUSPECTED and self._hops == 1:
            return []  # neither the suspect nor three who share the suspicion are among a few neighbours' neighbours
        boot, incarnation = self._versions.get(peer.id, (0, 0))
        said, who = self._words.get(peer.id, ((0, 0, 0), []))
        known = said >= (boot, incarnation, state) and len(who) >= (CONFIRMATIONS if said[2] == SUSPECTED else 1)
        word, hops = MemberState(peer, boot, incarnation, state), self._hops
        if hops > 1:
            return [] if known else [Spread(word, hops)]
        near = self._neighbourhood.near(peer.id, WATCHERS + len(who))
        to = [contact for contact in near if contact.id not in who][:WATCHERS]
        return [Spread(word, hops, tuple(to), ROUNDS_LESS if known else 0)]

    def _note_word(self, node: bytes, said: tuple[int, int, int], signer: bytes) -> None:
        known, who = self._words.pop(node, (said, []))
        if said > known:
            known, who = said, []
        if said == known and signer not in who and len(who) < CONFIRMATIONS:
            who.append(signer)
        self._words[node] = (known, who)
        if len(self._words) > limits.NEIGHBOUR_CANDIDATES_MAX:
            self._words.popitem(last=False)

    # --- what others say ---------------------------------------------------------------------------------------

    def _note(self, node: bytes, boot: int | None, incarnation: int) -> None:
        known = self._versions.pop(node, (0, 0))
        version = (known[0] if boot is None else boot, min(incarnation, INCARNATION_MAX))
        self._versions[node] = max(known, version)
        if len(self._versions) > limits.NEIGHBOUR_CANDIDATES_MAX:
            self._versions.popitem(last=False)

    def _refute(self, statement: MemberState, now: float) -> list[Effect]:
        """Somebody suspects us. Nobody can have seen a higher incarnation of ours than we said: who names one lies."""
        lies = statement.boot > self._boot or statement.incarnation > self.incarnation
        if statement.state == ALIVE or lies or now - self._refuted_s < REFUTE_S:
            return []
        self._refuted_s = now
        self.incarnation = min(self.incarnation + 1, INCARNATION_MAX)
        return [Spread(MemberState(self.contact, self._boot, self.incarnation, ALIVE), self._hops + 1)]

    def _own_word(self, statement: MemberState, now: float) -> list[Effect]:
        member = statement.member
        known = self._versions.get(member.id, (0, 0))
        version = (statement.boot, statement.incarnation)
        if version < known:
            return []
        self._note(member.id, statement.boot, statement.incarnation)
        if statement.state == ALIVE:
            if version > known and self._doubts.pop(member.id, None) is not None:
                return [Heard(Alive(member), member)]
            if version > known and member.id in self._graves and self._rumored.take(now):
                return self._probe(member, now)  # perhaps it was never dead: its answer brings it back
            return []
        if member.id not in self._neighbourhood:
            return []
        # A goodbye of an earlier life, kept and told again, must not end this one: without its boot we ask.
        return self._leaves(member) if known[0] == statement.boot else self._probe(member, now)

    def _leaves(self, peer: Contact) -> list[Effect]:
        probe = self._probes.get(peer.id)
        effects: list[Effect] = []
        if probe is not None:
            self._end(probe)
            if probe.urgent:
                effects.append(Heard(Verdict(peer, False), peer))
        self._bury(peer.id)
        return [*effects, Heard(Left(peer), peer)]

    # --- pings for others --------------------------------------------------------------------------------------

    def _relay(self, asker: Contact, message: PingRequest, now: float) -> list[Effect]:
        target = message.target
        if target.id == self._own:
            return [Send(asker, Ack(message.nonce, self.incarnation))]
        if target.id == asker.id or not target.usable or self._relays >= limits.PROBE_RELAYS_MAX:
            return []
        self._relays += 1
        outcomes = self._requests.ask(
            target, lambda nonce: Ping(nonce, self.incarnation), _Relay(asker, message.nonce), now, tries=2
        )
        return self._settle(outcomes, now)

    def _relayed(self, relay: _Relay, outcome: Answered | Late | Failed) -> list[Effect]:
        if isinstance(outcome, Late):
            return []
        self._relays -= 1
        if isinstance(outcome, Failed):
            return []
        assert isinstance(outcome.reply, Ack)
        return [Send(relay.asker, Ack(relay.nonce, outcome.reply.incarnation))]
