"""Repair: when a holder dies its keys get another; when a peer joins it gets its own; what became surplus is dropped.

Nobody coordinates. Each holder looks at the keys it holds when somebody near to it died or joined, a few at a time:

- **died** among the nearest of a key: each holder that finds out gives it to whom the table names in its place, and to
  nobody else. They find out one after another, within minutes: where each looked the nearest up and put it to all of
  them a death cost ten times as much. Who refuses, or is not known, is replaced by such a turn.
- **joined** among the nearest of a key: of those who hold it the nearest hands it to the newcomer, and only to it, at
  a bounded rate.
- **surplus**: a holder that finds enough nearer peers of enough networks to hold its key, and finds the same ten
  minutes later, drops it. One peer's many ids in one network make nobody drop anything.

Who was there before us is no newcomer: for half a minute after the start nobody is.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.protocol.rates import Bucket
from p2pcpn.protocol.storage import Storage
from p2pcpn.protocol.table import RoutingTable, distance
from p2pcpn.wire.addresses import Contact

# Who is heard within this time of our own start was there before us.
SETTLING_S = 30.0
# Peers that a leaving one may try for each key.
HEIRS = 4


@dataclass(frozen=True, slots=True)
class Given:
    """Why somebody is put what is held under ``key``: it stands among the nearest of it now."""

    key: bytes


class Repair:
    """The keys that ``storage`` of the peer ``own`` has to pass on, by what ``table`` knows of the peers near to them.

    ``is_refuser(node)``: it stores nothing, so it is nobody's holder. Of each key there are to be ``storage.copies``.
    """

    def __init__(
        self,
        own: bytes,
        table: RoutingTable,
        storage: Storage,
        rng: random.Random,
        now: float,
        is_refuser: Callable[[bytes], bool],
        group: Callable[[Contact], Hashable],
    ) -> None:
        self._own = own
        self._table = table
        self._storage = storage
        self._copies = storage.copies
        self._rng = rng
        self._is_refuser = is_refuser
        self._group = group
        self._settled_s = now + SETTLING_S
        self._dead: dict[bytes, None] = {}
        self._new: dict[bytes, None] = {}
        self._scanned: tuple[list[bytes], list[bytes]] = ([], [])  # who died, who joined: of the scan under way
        self._keys: deque[bytes] = deque()
        self._due_s: float | None = None
        self._moves: deque[tuple[bytes, Contact]] = deque()
        self._rate = Bucket(limits.MOVES_PER_S, limits.MOVES_PER_S)
        self._move_due_s: float | None = None
        self._outside: dict[bytes, float] = {}

    def died(self, node: bytes, now: float) -> None:
        """``node`` was in the table, and is dead or has left."""
        self._new.pop(node, None)
        self._note(self._dead, node, now)

    def joined(self, node: bytes, now: float) -> None:
        """``node`` is new in the table."""
        self._dead.pop(node, None)
        if now >= self._settled_s:
            self._note(self._new, node, now)

    def deadline(self) -> float | None:
        """When there is something to look at, or to move."""
        if self._due_s is None or self._move_due_s is None:
            return self._move_due_s if self._due_s is None else self._due_s
        return min(self._due_s, self._move_due_s)

    def expire(self, now: float) -> list[tuple[bytes, Contact]]:
        """Look at some keys. Returns what is to be handed over now: keys, and to whom."""
        if self._due_s is not None and now >= self._due_s:
            self._look(now)
        moves: list[tuple[bytes, Contact]] = []
        if self._move_due_s is not None and now >= self._move_due_s:
            while self._moves and self._rate.take(now):
                moves.append(self._moves.popleft())
            self._move_due_s = now + 1.0 / limits.MOVES_PER_S if self._moves else None
        return moves

    def is_surplus(self, key: bytes, holders: Sequence[Contact], now: float) -> bool:
        """``holders``, nearer to ``key`` than we are, hold it as well: whether our copy is to be dropped by now."""
        networks = {self._group(contact) for contact in holders}
        if len(holders) < self._copies or len(networks) < min(self._copies, limits.RECORD_COPIES_MIN):
            self._outside.pop(key, None)
            return False
        since_s = self._outside.setdefault(key, now)
        if now - since_s < limits.SURPLUS_S:
            if len(self._outside) > limits.RECORDS_MAX:
                del self._outside[next(iter(self._outside))]
            return False
        del self._outside[key]
        return True

    def watches(self, key: bytes) -> bool:
        """Whether our copy of ``key`` is to be dropped, should nearer peers still hold it ten minutes later."""
        return key in self._outside

    def is_needed(self, key: bytes) -> None:
        """We are among the nearest of ``key`` (again)."""
        self._outside.pop(key, None)

    def heirs(self) -> list[tuple[bytes, list[Contact]]]:
        """Who may hold each of our keys when we leave, the best last: the farthest of its nearest, who is likely to
        lack it, then those behind."""
        found = []
        for key in self._storage.held():
            nearest = self._nearest(key, self._copies + HEIRS - 1)
            if nearest:
                found.append((key, nearest[self._copies - 1 :][::-1] or nearest[-1:]))
        return found

    def statistics(self) -> dict[str, int]:
        """Keys to be looked at, to be moved, and held beside enough nearer holders."""
        return {"repairing": len(self._keys), "moving": len(self._moves), "surplus": len(self._outside)}

    def _note(self, nodes: dict[bytes, None], node: bytes, now: float) -> None:
        if not self._storage or not self._is_close(node):
            return
        nodes[node] = None
        if len(nodes) > limits.REPAIR_NEAR_PEERS:
            del nodes[next(iter(nodes))]
        if self._due_s is None:
            self._due_s = now + limits.REPAIR_WAIT_S

    def _is_close(self, node: bytes) -> bool:
        """Whether ``node`` may hold a key that we hold: two who are near to a key are near to each other."""
        return self._table.nearer(node) < limits.REPAIR_NEAR_PEERS

    def _nearest(self, key: bytes, count: int) -> list[Contact]:
        nearest = self._table.nearest(key, limits.BUCKET_PEERS)
        return [contact for contact in nearest if not self._is_refuser(contact.id)][:count]

    def _look(self, now: float) -> None:
        if not self._keys:
            self._scanned = (list(self._dead), list(self._new))
            self._dead, self._new = {}, {}
            self._keys.extend(self._storage.held())
        for _ in range(min(limits.REPAIR_KEYS, len(self._keys))):
            self._look_at(self._keys.popleft(), now)
        if self._keys:
            self._due_s = now + limits.REPAIR_STEP_S
        else:
            self._due_s = now + limits.REPAIR_WAIT_S if self._dead or self._new else None

    def _look_at(self, key: bytes, now: float) -> None:
        dead, new = self._scanned
        nearest = self._nearest(key, self._copies)
        own = distance(self._own, key)
        if dead:
            self._replace(key, nearest, now)
        newcomers = [contact for contact in nearest if contact.id in new]
        if not newcomers:
            return
        others = [contact for contact in nearest if contact.id not in new]
        if not others or own < distance(others[0].id, key):
            for contact in newcomers:
                self._move(key, contact, now)
        elif len(nearest) == self._copies and own > distance(nearest[-1].id, key):
            self._storage.hasten(key, now + limits.SURPLUS_S * self._rng.uniform(1.0, 1.2))

    def _replace(self, key: bytes, nearest: list[Contact], now: float) -> None:
        """Give ``key`` to those of the ``nearest`` others who have the place of a dead one."""
        dead, new = self._scanned
        own = distance(self._own, key)
        rank = sum(distance(contact.id, key) < own for contact in nearest)
        if len(nearest) < self._copies:  # perhaps there are some whom we do not know
            self._storage.hasten(key, now + (rank + self._rng.random()) * limits.REPAIR_RANK_S)
            return
        holders = [*nearest[:rank], None, *nearest[rank:]][: self._copies]  # we are among them, or too far away
        last = own if holders[-1] is None else distance(holders[-1].id, key)
        gone = sum(distance(node, key) < last for node in dead)
        for heir in holders[max(0, self._copies - gone) :]:
            if heir is not None and heir.id not in new:
                self._move(key, heir, now)

    def _move(self, key: bytes, contact: Contact, now: float) -> None:
        if len(self._moves) < limits.MOVES_MAX:
            self._moves.append((key, contact))
        if self._move_due_s is None:
            self._move_due_s = now
