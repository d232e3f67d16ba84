"""Deadlines: when each machine of a peer is due, asked of those alone that something touched since they said it.

A peer has sixteen machines, and most of what happens to it touches three of them. Asking all of them after everything
that happened took a third of a peer's processor time. Whoever speaks to a machine marks it as touched, or all of them
where it does not know which; whoever is not marked has the deadline that it had. Most of what is heard puts a deadline
off and can bring none nearer (an answer came, a pair spoke again): such a machine is asked only once it would be the
first that is due. ``stale`` compares all that with asking everybody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from p2pcpn.protocol.effects import Effect, Heard
from p2pcpn.wire import datagrams as d
from p2pcpn.wire import messages as m
from p2pcpn.wire import statements as st

if TYPE_CHECKING:
    from p2pcpn.protocol.peer import Peer

Deadline = Callable[[], float | None]
Expire = Callable[[float], list[Effect]]

# Machines by bit, in the order in which they do what is due.
(
    PAIRS, DHT, PUBLISHING, MEMBERSHIP, GOSSIP, REUNION, NEIGHBOURHOOD, REACHABILITY, REQUESTS, OFFERS, WORKER, HEARING,
    JOBS, ANNOUNCEMENT, PRESIDING, AFTERCARE,
) = (1 << number for number in range(16))  # fmt: skip
ALL = (1 << 16) - 1
# What a datagram may change beside pairs and neighbours, by its type; any other may change everything. A ping
# puts off our own to whoever sent it, and its answer what waits for it.
BY_DHT = DHT | REUNION
BY_DATAGRAM: dict[type, int] = {
    **dict.fromkeys((d.Find, d.Nodes, d.Get, d.Value, d.Put, d.Stored), BY_DHT),
    **dict.fromkeys((d.GetProviders, d.Providers, d.PutProviders, d.GetContent, d.Content, d.PutContent), BY_DHT),
    **dict.fromkeys((d.Ping, d.Ack, d.PingRequest, d.Leave), MEMBERSHIP),
    **dict.fromkeys((d.Gossip, d.RumorDigest, d.RumorPull, d.Compound), GOSSIP),  # and what the message within may
    d.ClaimRequest: JOBS | PRESIDING,
    d.ClaimReply: OFFERS | WORKER,
}
# What our program asks of the DHT; and what follows from a commit: it was decided before.
BY_PROGRAM = DHT | PUBLISHING
BY_COMMIT = 0
# What an advert of somebody who can be reached may change, and what a word of who lives.
BY_RUMOR: dict[type, int] = {
    st.Advert: GOSSIP | NEIGHBOURHOOD,
    st.MemberState: PAIRS | DHT | MEMBERSHIP | GOSSIP | NEIGHBOURHOOD,
}
# A pair that is made may become a neighbour, gets a place in the table, and saw our address.
BY_PAIR = PAIRS | DHT | MEMBERSHIP | NEIGHBOURHOOD | REACHABILITY
# What is said of tasks over a session, a report of a worker process, and what our program does to a job.
BY_JOB = OFFERS | WORKER | HEARING | JOBS | PRESIDING | AFTERCARE
BY_MESSAGE: dict[type, int] = dict.fromkeys((m.Grant, m.Further, m.Extend, m.Results, m.Settled, m.Append), BY_JOB)


class Deadlines:
    """The ``machines`` in the order of their bits, as (deadline, expire). ``touched`` holds the bits of those that may
    be due at another time than they said, ``later`` of those that may be due later than that and no sooner."""

    __slots__ = ("_asks", "_due_s", "_earliest_s", "_expires", "_first", "later", "touched")

    def __init__(self, machines: Sequence[tuple[Deadline, Expire]]) -> None:
        self.touched = (1 << len(machines)) - 1
        self._asks = [deadline for deadline, _ in machines]
        self._expires = [expire for _, expire in machines]
        self._due_s = [math.inf] * len(machines)
        self._earliest_s = math.inf
        self._first = 0  # the bit of the one that is due first
        self.later = 0

    def earliest(self) -> float | None:
        """When the first of all machines is due."""
        while self.touched or self.later & self._first:
            due_s, asks, earliest_s = self._due_s, self._asks, self._earliest_s
            asked = self.touched or self._first
            changed = bool(asked & self._first)
            for number in _numbers(asked):
                said = asks[number]()
                at = math.inf if said is None else said
                due_s[number] = at
                changed = changed or at <= earliest_s
            self.touched = 0
            self.later &= ~asked
            if changed:  # otherwise the one that was first still is: most events are of others
                self._earliest_s = min(due_s)
                self._first = 1 << due_s.index(self._earliest_s)
        return None if self._earliest_s == math.inf else self._earliest_s

    def received(self, effects: list[Effect]) -> list[Effect]:
        """What became of bytes from a peer, passed on. Where it is what a pair said, the pair is forgotten later."""
        said = effects[0] if len(effects) == 1 else None
        if isinstance(said, Heard) and type(said.value) in BY_DATAGRAM:
            self.later |= PAIRS
        else:
            self.touched |= PAIRS
        return effects

    def heard(self, message: d.Datagram) -> int:
        """Mark what ``message`` may change; returns the bits."""
        kind = type(message)
        bits = BY_DATAGRAM.get(kind, ALL)
        if kind is d.Ack or kind is d.Ping:
            self.later |= bits
        else:
            self.touched |= bits
        return bits

    def expire(self, now: float, always: int) -> list[Effect]:
        """What is due at ``now``, and whatever the machines of the bits ``always`` do beside that."""
        self.touched |= self._due(now) & self.later
        self.earliest()
        effects: list[Effect] = []
        due = always | self._due(now)
        self.touched |= due | BY_JOB if due & BY_JOB else due  # they speak to each other: what is proved is kept
        for number in _numbers(due):
            effects += self._expires[number](now)
        return effects

    def _due(self, now: float) -> int:
        """The bits of those that said to be due by ``now``."""
        if self._earliest_s > now:
            return 0
        return sum([1 << number for number, due_s in enumerate(self._due_s) if due_s <= now])

    def stale(self) -> list[int]:
        """Numbers of machines that would say now what they did not say when they were asked last: there are none."""
        self.earliest()
        said, later, self.touched = list(self._due_s), self.later, (1 << len(self._asks)) - 1
        self.earliest()
        put_off = [later >> number & 1 and due_s > said[number] for number, due_s in enumerate(self._due_s)]
        return [number for number, due_s in enumerate(self._due_s) if due_s != said[number] and not put_off[number]]


@cache
def _numbers(bits: int) -> tuple[int, ...]:
    return tuple(number for number in range(bits.bit_length()) if bits >> number & 1)


def machines(peer: Peer) -> Sequence[tuple[Deadline, Expire]]:
    """The machines of ``peer`` that are due at some time, in the order of their bits."""
    return (
        (peer.pairs.deadline, peer.pairs.expire),
        (peer.dht.deadline, lambda now: peer.dht.expire(now, peer.wall())),
        (peer.publishing.deadline, peer.publishing.expire),
        (peer.membership.deadline, peer.membership.expire),
        (peer.gossip.deadline, peer.gossip.expire),
        (peer.reunion.deadline, peer.reunion.expire),
        (peer.neighbourhood.deadline, peer.neighbourhood.expire),
        (peer.reachability.deadline, peer.reachability.expire),
        (peer.requests.deadline, lambda now: peer.explaining.told(peer.requests.expire(now))),
        (peer.offers.deadline, peer.offers.expire),
        (peer.worker.deadline, peer.worker.expire),
        (peer.hearing.deadline, peer.hearing.prove),
        (peer.jobs.deadline, peer.jobs.expire),
        (peer.announcement.deadline, peer.announced),
        (peer.presiding.deadline, peer.presiding.expire),
        (peer.aftercare.deadline, peer.aftercare.expire),
    )


def anyway(peer: Peer) -> int:
    """The bits of those that look around whenever something is due: gossip, which may have found somebody to tell;
    whoever works for jobs; and those that have lost everybody, which must see that.

    Jobs that are idle do not count: they lie here for as long as there is a session with who grants them, so after an
    hour nearly every peer has some."""
    bits = GOSSIP
    if len(peer.jobs.granted) or peer.worker.busy:
        bits |= JOBS | WORKER | OFFERS | DHT | MEMBERSHIP
    if not len(peer.neighbourhood) or not len(peer.dht.table):
        bits |= MEMBERSHIP | DHT
    return bits
