"""The neighbourhood: the at most 32 peers that this one probes and gossips with.

Half are those with the lowest round trips, because work is claimed by whoever is near; a quarter those nearest by
id, whom the DHT needs; the rest stand by chance and stay, because clusters that knew only their own would fall
apart. Who is in it keeps its place unless another is clearly nearer (by a fifth), so that probes and rumors have a
steady graph. Who comes and goes every few seconds loses its place for a while, longer each time (as routes do that
flap, RFC 2439): a graph is not steady around it, and each of its deaths is news to a hundred peers.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.wire.addresses import Contact

# A newcomer's round trip must be below this share of a neighbour's to take its place.
CLEARLY_NEARER = 0.8
# So many suspicions within FLAP_S are bad luck. With the next ones a peer has no place for HOLD_S, twice that, ...
FLAPS_FORGIVEN = 2
FLAP_S = 600.0
HOLD_S = 15.0
HOLD_S_MAX = 300.0
# Where so few are left everybody is needed, steady or not.
NEEDED = limits.FANOUT
# Of fewer candidates most may be neighbours already.
FEW = 4 * limits.NEIGHBOURHOOD_MAX

# So few who came or went since the last choice make no other graph; then it is chosen less often, down to this.
STEADY_CHANGES = 2
RARER_MAX_S = 480.0


@dataclass(slots=True)
class _Flaps:
    """How often a peer was suspected lately, and until when it has no place."""

    count: int
    last_s: float
    until_s: float


class Neighbourhood:
    """The neighbours of the peer ``own``, chosen from everyone it heard, or heard of, lately."""

    def __init__(self, own: bytes, roundtrips: RoundTrips, rng: random.Random) -> None:
        self._own = own
        self._aim = int.from_bytes(own, "big")
        self._roundtrips = roundtrips
        self._rng = rng
        # And whether it was heard itself; the longest unheard first. A plain dict: all of it is walked at each choice.
        self._candidates: dict[bytes, tuple[Contact, bool]] = {}
        self._by_id: list[tuple[int, bytes]] = []  # the candidates by distance: sorting them took most of a choice
        self._chosen: dict[bytes, Contact] = {}
        self.changes = 0  # how often there were others in it
        self._by_chance: list[bytes] = []
        self._unproved: dict[bytes, None] = {}  # neighbours that nobody here heard since they took their place
        self._due_s: float | None = None
        self._wait_s = limits.NEIGHBOURHOOD_S
        self._flaps: OrderedDict[bytes, _Flaps] = OrderedDict()

    def __len__(self) -> int:
        return len(self._chosen)

    def __contains__(self, node: bytes) -> bool:
        return node in self._chosen

    @property
    def known(self) -> int:
        """How many peers it may choose from."""
        return len(self._candidates)

    def contacts(self) -> list[Contact]:
        """The neighbours, in a steady order."""
        return list(self._chosen.values())

    @property
    def chosen(self) -> Mapping[bytes, Contact]:
        """The neighbours by id, in that order: nobody's to keep, for it changes as they do."""
        return self._chosen

    def get(self, node: bytes) -> Contact | None:
        """The neighbour with the id ``node``."""
        return self._chosen.get(node)

    def unproved(self) -> Contact | None:
        """A neighbour that was not heard since it took its place, each once: it may be dead for long."""
        while self._unproved:
            contact = self._chosen.get(self._unproved.popitem()[0])
            if contact is not None:
                return contact
        return None

    def sample(self, count: int, without: Iterable[bytes] = ()) -> list[Contact]:
        """At most ``count`` neighbours by chance, none of the ids ``without``."""
        absent = list(without)
        eligible = [contact for node, contact in self._chosen.items() if node not in absent]
        return self._rng.sample(eligible, min(count, len(eligible)))

    def near(self, node: bytes, count: int) -> list[Contact]:
        """The ``count`` neighbours nearest to ``node`` by id, itself excepted."""
        aim = int.from_bytes(node, "big")
        gaps = [(int.from_bytes(it, "big") ^ aim, it) for it in self._chosen if it != node]
        return [self._chosen[it] for _, it in nsmallest(count, gaps)]

    def heard(self, contact: Contact, now: float, direct: bool = True) -> None:
        """``contact`` spoke; not ``direct``: another passed on its signed word. A new one may become a neighbour."""
        if contact.id == self._own:
            return
        if direct:
            self._unproved.pop(contact.id, None)
        known = self._candidates.get(contact.id)
        if known is not None and ((known[1] and not direct) or known[0] is contact or known[0] == contact):
            if direct and not (known[1] and contact.id in self._chosen):  # a neighbour is not dropped anyway
                del self._candidates[contact.id]
                self._candidates[contact.id] = known if known[1] else (contact, True)
            return
        if not contact.usable or self._is_held_off(contact.id, now):
            return
        if self._candidates.pop(contact.id, None) is None:
            insort(self._by_id, self._place(contact.id))
        self._candidates[contact.id] = (contact, direct)
        if contact.id in self._chosen or len(self._chosen) < limits.NEIGHBOURHOOD_MAX:
            if not direct:
                self._unproved[contact.id] = None
            self.changes += contact.id not in self._chosen
            self._chosen[contact.id] = contact
        if self._due_s is None:
            self._due_s = now + limits.NEIGHBOURHOOD_S
        if len(self._candidates) > limits.NEIGHBOUR_CANDIDATES_MAX:
            while (node := next(iter(self._candidates))) in self._chosen:  # where it stands there counts for nothing
                self._candidates[node] = self._candidates.pop(node)
            self._drop(node)

    def gone(self, node: bytes) -> None:
        """``node`` is dead or has left; another takes its place at once where one is known."""
        if node in self._candidates:
            self._drop(node)
        if self._chosen.pop(node, None) is not None:
            self.changes += 1
            if len(self._candidates) > len(self._chosen):
                self._choose()

    def flapped(self, node: bytes, now: float) -> bool:
        """``node`` is about to be suspected; whether that was once too often, and it has lost its place."""
        flaps = self._flaps.pop(node, None)
        if flaps is None or now - flaps.last_s > FLAP_S:
            flaps = _Flaps(0, now, now)
        flaps.count, flaps.last_s = flaps.count + 1, now
        self._flaps[node] = flaps
        if len(self._flaps) > limits.NEIGHBOUR_CANDIDATES_MAX:
            self._flaps.popitem(last=False)
        beyond = flaps.count - FLAPS_FORGIVEN
        if beyond <= 0 or len(self._chosen) <= NEEDED:
            return False
        flaps.until_s = now + min(HOLD_S_MAX, HOLD_S * 2.0 ** min(beyond - 1, 10))
        self.gone(node)
        return True

    def _place(self, node: bytes) -> tuple[int, bytes]:
        return int.from_bytes(node, "big") ^ self._aim, node

    def _drop(self, node: bytes) -> None:
        del self._candidates[node]
        del self._by_id[bisect_left(self._by_id, self._place(node))]

    def _is_held_off(self, node: bytes, now: float) -> bool:
        flaps = self._flaps.get(node)
        return flaps is not None and now < flaps.until_s and len(self._chosen) >= NEEDED

    def deadline(self) -> float | None:
        """When the neighbours are chosen anew."""
        return self._due_s

    def expire(self, now: float) -> list[Effect]:
        """Choose anew, when it is time."""
        if self._due_s is not None and now >= self._due_s:
            before = set(self._chosen)
            self._choose()
            # Where the same ones are chosen again, or nearly so, that is done more rarely.
            changed = len(before.symmetric_difference(self._chosen)) > STEADY_CHANGES
            self._wait_s = limits.NEIGHBOURHOOD_S if changed else min(RARER_MAX_S, 2 * self._wait_s)
            self._due_s = now + self._wait_s if self._candidates else None
        return []

    def _choose(self) -> None:
        self.changes += 1
        before = self._chosen
        measured = [
            (rtt_s * CLEARLY_NEARER if node in before else rtt_s, node)
            for rtt_s, node in self._roundtrips.measured(self._candidates)
        ]
        chosen = [node for _, node in nsmallest(limits.NEIGHBOURS_BY_RTT, measured)]
        taken = set(chosen)
        nearest = list(islice((node for _, node in self._by_id if node not in taken), limits.NEIGHBOURS_BY_ID))
        chosen += nearest
        taken.update(nearest)
        self._by_chance = [node for node in self._by_chance if node in self._candidates and node not in taken]
        places = limits.NEIGHBOURHOOD_MAX - len(chosen)
        if places > len(self._by_chance):
            taken.update(self._by_chance)
            self._by_chance += self._others(taken, places - len(self._by_chance))
        del self._by_chance[places:]
        self._chosen = {node: self._candidates[node][0] for node in chosen + self._by_chance}
        self._unproved = {node: None for node in self._chosen if node in self._unproved or node not in before}
        for node in before:  # while they were neighbours their place in the order did not follow what they said
            if node not in self._chosen and (known := self._candidates.pop(node, None)) is not None:
                self._candidates[node] = known

    def _others(self, taken: set[bytes], count: int) -> list[bytes]:
        """At most ``count`` candidates by chance, none of those ``taken``, which all are candidates."""
        count = min(count, len(self._by_id) - len(taken))
        if len(self._by_id) < FEW:
            return self._rng.sample([node for _, node in self._by_id if node not in taken], count)
        others: dict[bytes, None] = {}
        while len(others) < count:  # of many most are not taken: to walk them all took half of a choice
            node = self._by_id[self._rng.randrange(len(self._by_id))][1]
            if node not in taken:
                others[node] = None
        return list(others)
