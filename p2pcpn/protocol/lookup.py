"""A lookup: disjoint paths towards a target, each with a shortlist of its own, until all of them have converged.

::

              asked            answered
    HEARD ───────────▶ WAITING ─────────▶ QUERIED
      ▲                   │ late, failed
      └───────────────────┴─────────────▶ UNREACHABLE
       another address is known

The start is dealt out to ``paths`` paths (S/Kademlia, 4.4). No peer is asked twice, so none speaks to two paths, and
what it names counts in its own alone: whoever lies spoils one path. A path has converged when the nearest it heard
of have answered, to whichever path: its share of ``k``. The lookup ends when all paths have, and the nearest ``k`` of
all together have answered; each did so under its proven id, so that a lie can hide a peer and never invent one. To
hide one it takes a lie on every path.

No time is spent on the silent. Each path asks a few at a time. A late peer is still waited for, but the next is asked
beside it (a hedged query) and one more at a time from then on; a peer late for the second time holds up nobody, nor one
that is late at all and that only one peer named. Once a value is known, being late once is enough, and fewer of the
nearest matter. Who was silent lately is asked and never waited for; who is dead only where nobody else answers at
all.

Two limits keep one hand from filling a shortlist. Of one network group only a few are asked, as long as others can
be. And who names peers has credit: when too many of those it named are silent, the rest of them is passed over unless
somebody else names them, too.
"""

from __future__ import annotations

import enum
from bisect import insort
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.replies import believed
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact

# Addresses tried of a peer on the word of one path: a wrong one must not hide it.
ADDRESSES_PER_PATH_MAX = 2
# Of those that a peer names so many more may be silent than twice as many as answer.
CREDIT = 3


class State(enum.IntEnum):
    """What a lookup knows of one peer."""

    HEARD = 0
    WAITING = 1
    QUERIED = 2
    UNREACHABLE = 3


HEARD, WAITING, QUERIED, UNREACHABLE = State


@dataclass(slots=True, eq=False)
class _Peer:
    contact: Contact
    gap: int
    group: Hashable
    addresses: list[Contact]  # all that were named, those that failed included
    named: list[int]  # the path of each time it was named
    sources: list[_Source]
    state: State = HEARD
    late: int = 0
    blamed: bool = False  # its silence was held against its sources


@dataclass(slots=True, eq=False)
class _Source:
    """Who names peers: how many of them spoke, and how many let a timeout pass."""

    spoke: int = 0
    silent: int = 0


_Order = list[tuple[int, _Peer]]  # by distance, which no two share


@dataclass(slots=True)
class _Path:
    order: _Order = field(default_factory=list)
    at_a_time: int = limits.ALPHA
    waiting: int = 0  # asked by this path, and not late yet
    silent: int = 0  # asked by this path, and late


class Lookup:
    """One iterative lookup of ``target`` by ``own``, which is never asked itself.

    The ``k`` nearest peers of each path must have answered. ``is_dead(contact)`` and ``is_silent(contact)`` tell who
    failed or was late lately, ``group(contact)`` what may be under one hand. With a ``patience`` of 1 nobody late holds
    it up.
    """

    def __init__(
        self,
        own: bytes,
        target: bytes,
        start: Sequence[Contact],
        *,
        k: int = limits.BUCKET_PEERS,
        paths: int = limits.LOOKUP_PATHS,
        is_dead: Callable[[Contact], bool] = lambda contact: False,
        is_silent: Callable[[Contact], bool] = lambda contact: False,
        group: Callable[[Contact], Hashable] = lambda contact: contact.id,
        patience: int = 2,
    ) -> None:
        self.target = target
        self.impatient = False  # set where a value is known: only its nearest holders matter, and no late one
        self.liars: list[Contact] = []  # whose replies no honest peer gives
        self._own = own
        self._k = k
        self._is_dead = is_dead
        self._is_silent = is_silent
        self._group = group
        self._patience = patience
        self._peers: dict[bytes, _Peer] = {}
        self._order: _Order = []
        self._paths = [_Path() for _ in range(max(1, min(paths, len(start))))]
        self._asked_by: dict[Contact, int] = {}
        self._groups: dict[Hashable, int] = {}
        self._all_of_a_group = False
        self._doubted: list[tuple[int, Contact]] = []
        self._answers = 0
        ourselves = _Source()
        for number, contact in enumerate(start):
            if contact.id != own and contact.usable:
                self._hear(number % len(self._paths), contact, ourselves)

    def __len__(self) -> int:
        return len(self._peers)

    # --- what is asked, and what comes of it ------------------------------------------------------------------------

    def queries(self) -> list[Contact]:
        """Whom to ask now; they count as asked."""
        asked: list[Contact] = []
        while True:
            turns = [self._asks_of(number) for number in range(len(self._paths))]
            while turns:  # one each in turn, so that no path has first choice of all
                for turn in list(turns):
                    contact = next(turn, None)
                    if contact is None:
                        turns.remove(turn)
                    else:
                        asked.append(contact)
            asked += self._asks_of_all()
            if asked or not self._relax():
                return asked

    def answered(self, asked: Contact, contacts: Sequence[Contact]) -> None:
        """``asked`` answered and named ``contacts``. A reply that cannot be honest makes it unreachable."""
        peer = self._peers.get(asked.id)
        if peer is None or peer.state is QUERIED or asked not in self._asked_by:
            return
        try:
            named = believed(asked, self.target, contacts, self._own)
        except PeerError:
            self.liars.append(asked)
            self._turn(peer, UNREACHABLE)
            return
        self._turn(peer, QUERIED)  # before its contact changes: it is the one that was asked last
        peer.contact = asked
        self._answers += 1
        for source in peer.sources:
            source.spoke += 1
            source.silent -= peer.blamed
        path, source = self._asked_by[asked], _Source()
        for contact in named:
            self._hear(path, contact, source)

    def late(self, asked: Contact) -> None:
        """``asked`` let a timeout pass: one more is asked beside it, or it is at another address."""
        peer = self._peers.get(asked.id)
        if peer is None or peer.state is not WAITING or peer.contact != asked:
            return
        path = self._paths[self._asked_by[asked]]
        path.at_a_time = min(limits.ALPHA_MAX, path.at_a_time + 1)
        if not self._try_elsewhere(peer):
            self._blame(peer)
            self._turn(peer, WAITING, peer.late + 1)

    def failed(self, asked: Contact) -> None:
        """``asked`` answered no try."""
        peer = self._peers.get(asked.id)
        if peer is None or peer.state is not WAITING or peer.contact != asked:
            return
        if not self._try_elsewhere(peer):
            self._blame(peer)
            self._turn(peer, UNREACHABLE)

    # --- what came of it all ----------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether every path has converged: its nearest answered, failed, or are so late that nobody waits for them."""
        if self._is_held_up(self._order, self._places):
            return False
        # Where nobody answers it may be we who are slow: being late once is enough only while others are in time.
        few = self._answers < min(self._k, limits.READ_PEERS)
        if few and any(peer.state is WAITING and peer.late < 2 for peer in self._peers.values()):
            return False
        share = self._share
        if any(self._is_held_up(path.order, share) for path in self._paths):
            return False
        return not self._may_relax()

    def nearest(self, count: int) -> list[Contact]:
        """The nearest ``count`` peers that answered, nearest first; of one network group more than a few only where
        there are no others."""
        found: list[_Peer] = []
        surplus: list[_Peer] = []
        groups: dict[Hashable, int] = {}
        for peer in sorted((peer for peer in self._peers.values() if peer.state is QUERIED), key=lambda peer: peer.gap):
            groups[peer.group] = groups.get(peer.group, 0) + 1
            (found if groups[peer.group] <= limits.GROUP_PEERS_IN_LOOKUP_MAX else surplus).append(peer)
        found = found[:count]
        found += surplus[: count - len(found)]
        return [peer.contact for peer in sorted(found, key=lambda peer: peer.gap)]

    def states(self) -> dict[State, int]:
        """How many peers are in each state."""
        return {state: sum(peer.state is state for peer in self._peers.values()) for state in State}

    # --- paths ------------------------------------------------------------------------------------------------------

    @property
    def _places(self) -> int:
        return min(self._k, limits.READ_PEERS) if self.impatient else self._k

    @property
    def _share(self) -> int:
        return -(-self._places // len(self._paths))

    def _is_awaited(self, peer: _Peer) -> bool:
        """Whether ``peer`` is worth waiting for: not late yet, or late once where more than one named it."""
        return peer.late == 0 or (peer.late < self._patience and not self.impatient and len(peer.sources) > 1)

    def _is_held_up(self, order: _Order, places: int) -> bool:
        """Whether one of those in ``order`` who have to answer is waited for, or is to be asked yet."""
        for _, peer in order:
            state = peer.state
            if state is QUERIED:
                places -= 1
                if not places:
                    return False
            elif state is UNREACHABLE or (state is HEARD and self._is_passed_over(peer)):
                continue
            elif self._is_awaited(peer):
                return True
            # Who is late takes no place away: the window goes on to who may yet answer.
        return False

    def _to_ask(self, order: _Order, places: int) -> list[_Peer]:
        """Who has to answer of those in ``order`` and was not asked yet, nearest first, and the late among them."""
        found: list[_Peer] = []
        for _, peer in order:
            state = peer.state
            if state is not QUERIED:
                if state is UNREACHABLE or (state is HEARD and self._is_passed_over(peer)):
                    continue
                if state is HEARD:
                    found.append(peer)
                if peer.late and not self._is_awaited(peer):
                    continue
            places -= 1
            if not places:
                break
        return found

    def _is_passed_over(self, peer: _Peer) -> bool:
        if not self._all_of_a_group and self._groups.get(peer.group, 0) >= limits.GROUP_PEERS_IN_LOOKUP_MAX:
            return True
        for source in peer.sources:  # noqa: SIM110 (most often the first has credit; a generator doubles the time)
            if source.silent <= CREDIT + 2 * source.spoke:  # it has credit
                return False
        return True

    def _asks_of(self, number: int) -> Iterator[Contact]:
        """Ask the nearest of a path, one at each step, as long as it may ask more at a time."""
        path = self._paths[number]
        if path.waiting >= self._at_a_time(path):
            return
        for peer in self._to_ask(path.order, self._share):
            if self._ask(peer, number):
                yield peer.contact
            if path.waiting >= self._at_a_time(path):
                return

    def _asks_of_all(self) -> Iterator[Contact]:
        """Ask the nearest of all, each on a path that heard of it; for each that is late one more than in its place."""
        if all(path.waiting >= self._at_a_time(path) for path in self._paths):
            return
        late = sum(path.silent for path in self._paths)
        for peer in self._to_ask(self._order, self._places + late):
            if peer.state is HEARD and any(self._ask(peer, number) for number in peer.named):
                yield peer.contact

    def _ask(self, peer: _Peer, number: int) -> bool:
        """Whether ``peer`` is asked now, on this path."""
        path = self._paths[number]
        if peer.state is not HEARD or self._is_passed_over(peer) or path.waiting >= self._at_a_time(path):
            return False
        if peer.late and path.silent >= limits.ALPHA_MAX:
            return False
        self._asked_by[peer.contact] = number
        self._turn(peer, WAITING)
        return True

    def _at_a_time(self, path: _Path) -> int:
        # All holders of a known value have to answer: one timeout for all of them, not one after the other.
        return limits.READ_PEERS if self.impatient else path.at_a_time

    def _may_relax(self) -> bool:
        if self._doubted and not self._answers:
            return True
        return (
            not self._all_of_a_group
            and self._answers < self._k
            and any(
                peer.state is HEARD and self._groups.get(peer.group, 0) >= limits.GROUP_PEERS_IN_LOOKUP_MAX
                for peer in self._peers.values()
            )
        )

    def _relax(self) -> bool:
        """When nobody is waited for and too few answered: ask the rest of a group, and at last the dead."""
        for order in (self._order, *(path.order for path in self._paths)):
            if self._is_held_up(order, self._places):
                return False
        if not self._may_relax():
            return False
        self._all_of_a_group = True
        if not self._answers:
            doubted, self._doubted = self._doubted, []
            for number, contact in doubted:
                self._hear(number, contact, _Source(), dead=True)
        return True

    # --- peers ------------------------------------------------------------------------------------------------------

    def _hear(self, number: int, contact: Contact, source: _Source, dead: bool = False) -> None:
        path, peer = self._paths[number], self._peers.get(contact.id)
        if peer is None:
            if not dead and self._is_dead(contact):
                if len(self._doubted) < limits.LOOKUP_PEERS_MAX:
                    self._doubted.append((number, contact))
                return
            gap = distance(self.target, contact.id)
            peer = self._peers[contact.id] = _Peer(contact, gap, self._group(contact), [contact], [], [])
            peer.late = 2 if not dead and self._is_silent(contact) else 0
            insort(self._order, (gap, peer))
        peer.sources.append(source)
        if peer.named.count(number) >= ADDRESSES_PER_PATH_MAX:
            return
        peer.named.append(number)
        if contact not in peer.addresses:
            peer.addresses.append(contact)
            if peer.state is UNREACHABLE or (peer.state is WAITING and peer.late):
                self._try_elsewhere(peer)
        if peer.named.count(number) == 1:
            insort(path.order, (peer.gap, peer))
            if len(path.order) > limits.LOOKUP_PEERS_MAX // len(self._paths):
                _, farthest = path.order.pop()
                self._forget(number, farthest)

    def _forget(self, number: int, peer: _Peer) -> None:
        peer.named = [path for path in peer.named if path != number]
        if not peer.named and peer.state is HEARD:
            del self._peers[peer.contact.id]
            self._order.remove((peer.gap, peer))

    def _try_elsewhere(self, peer: _Peer) -> bool:
        """Whether another address of ``peer`` was named, at which it is heard anew."""
        untried = peer.addresses.index(peer.contact) + 1
        if untried >= len(peer.addresses):
            return False
        self._turn(peer, HEARD)
        peer.contact = peer.addresses[untried]
        return True

    def _blame(self, peer: _Peer) -> None:
        if not peer.blamed:
            peer.blamed = True
            for source in peer.sources:
                source.silent += 1

    def _turn(self, peer: _Peer, state: State, late: int | None = None) -> None:
        """Change what is known of ``peer``, and what is counted of it: by the path that asks, and in its group."""
        self._count(peer, -1)
        peer.state = state
        peer.late = late if late is not None else 0 if state is HEARD else peer.late
        self._count(peer, 1)

    def _count(self, peer: _Peer, by: int) -> None:
        if peer.state is WAITING:
            path = self._paths[self._asked_by[peer.contact]]
            if peer.late:
                path.silent += by
            else:
                path.waiting += by
        if peer.state is QUERIED or (peer.state is WAITING and peer.late < 2):
            self._groups[peer.group] = self._groups.get(peer.group, 0) + by
