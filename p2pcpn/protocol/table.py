"""The routing table: whom this peer knows, many near its own id and few far away (Kademlia, sections 2.2, 2.4 and 4.1).

Built on the buckets of the ``kademlia`` package. Its ``RoutingTable`` is not used, because it starts a coroutine when a
contact is added, and a bucket's clock is set by us after each of its own readings of ``time.monotonic``. What is ours:

- A contact enters when it was *heard*, never because another peer named it.
- A full bucket keeps who is in it. The newcomer waits in the replacement cache, and the least recently heard of the
  bucket is pinged; only its silence lets the newcomer in.
- At most 3 peers of one network group in the table and 2 in a bucket, replacements included, so that a network full
  of free keys owns no part of the table.
- Who failed is remembered for a while (:mod:`p2pcpn.protocol.dead`), and is not asked again because others name it.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass

from kademlia.node import Node
from kademlia.routing import KBucket

from p2pcpn import limits
from p2pcpn.protocol.dead import DeadPeers
from p2pcpn.wire.addresses import Address, Contact

ID_BITS = 160
# A peer heard within this time is not pinged to make room for another.
FRESH_S = 60.0
# Of a far bucket so many are asked in an hour: of twenty each within seven hours, as the six were that a lookup asked;
# and as many of them ask us, so that each speaks with us each three to four hours, while the pair lives.
ASKED_OF_FAR = 3
# Who was heard so lately is no nearer to the end of its bucket for being heard again.
AGAIN_S = 1.0
# When nobody was heard for this long, it is we who are cut off, and nobody is dropped for being silent.
OUTAGE_S = 15.0


def distance(one: bytes, other: bytes) -> int:
    """The XOR distance of two ids."""
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")


@dataclass(slots=True)
class _Entry:
    contact: Contact
    node: Node
    group: Hashable
    heard_s: float
    verifying: bool = False


class RoutingTable:
    """Contacts by distance from ``own``. ``network_group`` maps an address to what may be under one hand."""

    def __init__(
        self,
        own: bytes,
        network_group: Callable[[Address], Hashable],
        rng: random.Random,
        now: float,
        k: int = limits.BUCKET_PEERS,
    ) -> None:
        self._own = Node(own)
        self._network_group = network_group
        self._rng = rng
        self._k = k
        # In the order of ids; of each the lowest id, and how many bits its ids do not share.
        self._buckets: list[KBucket] = [self._bucket(0, (1 << ID_BITS) - 1, now)]
        self._lowest, self._bits = [0], [ID_BITS]
        self._entries: dict[bytes, _Entry] = {}  # those in buckets
        self._spare: dict[bytes, _Entry] = {}  # those in replacement caches
        self._groups: dict[Hashable, list[Contact]] = {}  # of each network those in buckets
        self.dead = DeadPeers()
        self._heard_s = now
        self._stalest_s: float | None = None  # when the stalest bucket was looked up; None where that may have changed

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, node: bytes) -> bool:
        return node in self._entries

    def listens_at(self, contact: Contact) -> bool:
        """Whether somebody in the table, of whichever id, has the address of ``contact``."""
        there = self._groups.get(self._network_group(contact.address), ())  # as nearly always: nobody of that network
        return any(it.port == contact.port and it.host == contact.host for it in there)

    def contacts(self) -> list[Contact]:
        """Everyone in the table, in the order of their ids' buckets, the most recently heard last in each."""
        return [self._entries[node.id].contact for bucket in self._buckets for node in bucket.get_nodes()]

    def statistics(self) -> dict[str, int]:
        """How many peers, replacements, buckets and dead there are."""
        return {
            "peers": len(self._entries),
            "replacements": len(self._spare),
            "buckets": len(self._buckets),
            "dead": len(self.dead),
        }

    # --- who is heard, and who is not --------------------------------------------------------------------------

    def heard_lately(self, contact: Contact, now: float) -> bool:
        """Whether nothing changes because ``contact`` spoke again: it did a moment ago, and nobody doubts it."""
        entry = self._entries.get(contact.id)
        if entry is None or now - entry.heard_s >= AGAIN_S or entry.verifying:
            return False
        if entry.contact != contact or self.dead.knows(contact):
            return False
        self._heard_s = now
        return True

    def heard(self, contact: Contact, now: float) -> Contact | None:
        """``contact`` spoke. Returns the peer to ping, when somebody must be shown to be gone to make room for it."""
        if contact.id == self._own.id:
            return None
        self._heard_s = now
        self.dead.heard(contact)
        entry = self._entries.get(contact.id)
        if entry is not None and entry.contact == contact:
            entry.heard_s, entry.verifying = now, False
            self._bucket_of(entry.node).add_node(entry.node)  # moves it to the end: most recently heard
            return None
        spare = self._spare.get(contact.id)
        if spare is not None and spare.contact == contact and now - spare.heard_s < FRESH_S:
            return None  # it waits for a place, and said so a moment ago
        if not contact.usable:
            return None
        if entry is not None:
            self._drop(entry)  # it moved; the new address must pass the group limits like anybody's
        self._forget_spare(contact.id)
        node = Node(contact.id, contact.host, contact.port)
        return self._admit(_Entry(contact, node, self._network_group(contact.address), now), now)

    def failed(self, contact: Contact, now: float) -> None:
        """``contact`` answered none of the tries of a request."""
        entry = self._entries.get(contact.id) or self._spare.get(contact.id)
        cut_off = now - self._heard_s > OUTAGE_S
        self.dead.failed(contact, now, cut_off=cut_off)
        if entry is not None and entry.contact == contact:
            entry.verifying = False
            if not cut_off:
                self.remove(contact.id)

    def remove(self, node: bytes) -> None:
        """``node`` is gone. The most recently heard replacement that the group limits allow takes its place."""
        self._forget_spare(node)
        entry = self._entries.get(node)
        if entry is None:
            return
        bucket = self._bucket_of(entry.node)
        self._drop(entry)
        spares: list[bytes] = list(bucket.replacement_nodes)
        for spare in reversed(spares):
            candidate = self._spare[spare]
            if self._fits(candidate, bucket):
                self._forget_spare(spare)
                self._keep(candidate, bucket)
                return

    # --- who is near -------------------------------------------------------------------------------------------

    def nearest(self, target: bytes, count: int, exclude: Collection[bytes] = ()) -> list[Contact]:
        """The ``count`` contacts nearest to ``target``, nearest first, without the ids in ``exclude``. Exact.

        A bucket is a subtree of ids, so all of its distances to any target lie before or behind all of another's: whole
        buckets are taken in order until there are enough.
        """
        aim = int.from_bytes(target, "big")
        found: list[Contact] = []
        for number in self._by_distance(aim):
            near = sorted([(known ^ aim, contact) for known, contact in self._buckets[number].contacts.items()])
            found += [contact for _, contact in near if contact.id not in exclude]  # no two are equally far
            if len(found) >= count:
                break
        return found[:count]

    def nearer(self, node: bytes) -> int:
        """How many contacts are nearer to our own id than ``node`` is, which need not be among them."""
        own, aim = self._own.long_id, int.from_bytes(node, "big")
        gap = own ^ aim
        count, its = 0, bisect_right(self._lowest, aim) - 1
        for number, bucket in enumerate(self._buckets):  # as in nearest: all of a bucket is nearer, or none, ...
            if number == its:  # ... but of the one it belongs to
                count += sum([known ^ own < gap for known in bucket.contacts])
            elif self._least_distance(number, own) < gap:
                count += len(bucket.contacts)
        return count

    # --- refreshing --------------------------------------------------------------------------------------------

    def looked_up(self, target: bytes, now: float) -> None:
        """A lookup of ``target`` ended: its bucket is fresh."""
        self._bucket_of(Node(target)).last_updated = now
        self._stalest_s = None

    def deadline(self) -> float:
        """When the stalest bucket is due for a lookup of a random id within it."""
        if self._stalest_s is None:  # a bucket that is cut in two leaves it as it is
            self._stalest_s = float(min([bucket.last_updated for bucket in self._buckets]))
        return self._stalest_s + limits.REFRESH_S

    def refresh(
        self, now: float, thinner_than: int = 0, near: int = limits.BUCKET_PEERS
    ) -> tuple[list[bytes], list[tuple[Contact, bytes]]]:
        """What keeps stale buckets, and those of fewer peers, alive; they count as fresh now.

        Ids to look up, one within each that is thin or holds one of the ``near`` peers nearest to us. Of any other
        those who were silent for longest, with an id within it that each may be asked for; where it is full only those
        who were silent for an hour.
        """
        targets: list[bytes] = []
        asked: list[tuple[Contact, bytes]] = []
        self._stalest_s = None
        nearer = 0
        for number in self._by_distance(self._own.long_id):
            bucket = self._buckets[number]
            is_near, nearer = nearer < near, nearer + len(bucket)
            if len(bucket) >= thinner_than and bucket.last_updated + limits.REFRESH_S > now:
                continue
            bucket.last_updated = now
            if is_near or len(bucket) < max(thinner_than, ASKED_OF_FAR):
                targets.append(self._random_id(bucket))
                continue
            oldest = [self._entries[node] for node in list(bucket.nodes)[:ASKED_OF_FAR]]
            asked += [
                (entry.contact, self._random_id(bucket))
                for entry in oldest
                if len(bucket) < self._k or entry.heard_s + limits.REFRESH_S <= now
            ]
        return targets, asked

    def has_room(self, contact: Contact) -> bool:
        """Whether that stranger's bucket has a free place."""
        if contact.id in self._entries or contact.id == self._own.id or not contact.usable:
            return False
        return len(self._bucket_of(Node(contact.id))) < self._k

    def _random_id(self, bucket: KBucket) -> bytes:
        return self._rng.randint(*bucket.range).to_bytes(ID_BITS // 8, "big")

    # --- buckets -----------------------------------------------------------------------------------------------

    def _bucket(self, lowest: int, highest: int, now: float) -> KBucket:
        bucket = KBucket(lowest, highest, self._k, 1)  # as many replacements as there are places
        bucket.last_updated = now
        # Who is in it, by number: a node of the package is three objects, and who is near is asked at every step.
        bucket.contacts = {}
        return bucket

    def _bucket_of(self, node: Node) -> KBucket:
        return self._buckets[bisect_right(self._lowest, node.long_id) - 1]

    def _by_distance(self, aim: int) -> list[int]:
        """The numbers of the buckets, the nearest to ``aim`` first."""
        # Buckets are cut only around our own id, so there are few: tens among ten thousand peers.
        return [number for _, number in sorted([(self._least_distance(it, aim), it) for it in range(len(self._bits))])]

    def _least_distance(self, number: int, aim: int) -> int:
        bits = self._bits[number]
        return (self._lowest[number] ^ aim) >> bits << bits

    def _admit(self, entry: _Entry, now: float) -> Contact | None:
        bucket = self._bucket_of(entry.node)
        if not self._fits(entry, bucket, full=True):
            return None
        while len(bucket) >= self._k and bucket.has_in_range(self._own) and bucket.range[0] < bucket.range[1]:
            self._split(bucket)
            bucket = self._bucket_of(entry.node)
        if len(bucket) < self._k:
            self._keep(entry, bucket)
            return None
        self._spare[entry.node.id] = entry
        before = set(bucket.replacement_nodes)
        bucket.add_node(entry.node)  # the bucket is full: it goes to the replacement cache
        for dropped in before.difference(bucket.replacement_nodes):
            del self._spare[dropped]
        oldest = self._entries[bucket.head().id]
        if oldest.verifying or now - oldest.heard_s < FRESH_S:
            return None
        oldest.verifying = True
        return oldest.contact

    def _split(self, bucket: KBucket) -> None:
        lowest, highest = bucket.range
        middle = (lowest + highest) // 2
        at = self._buckets.index(bucket)
        halves = [
            self._bucket(lowest, middle, bucket.last_updated),
            self._bucket(middle + 1, highest, bucket.last_updated),
        ]
        self._buckets[at : at + 1] = halves
        self._lowest.insert(at + 1, middle + 1)
        self._bits[at : at + 1] = [self._bits[at] - 1] * 2
        for node in bucket.get_nodes():
            half = self._bucket_of(node)
            half.add_node(node)
            half.contacts[node.long_id] = bucket.contacts[node.long_id]
        for node in bucket.replacement_nodes.values():
            half = self._bucket_of(node)
            if len(half) < self._k and self._fits(self._spare[node.id], half):
                self._keep(self._spare.pop(node.id), half)
            else:
                half.replacement_nodes[node.id] = node

    def _fits(self, entry: _Entry, bucket: KBucket, full: bool = False) -> bool:
        """Whether the group limits allow ``entry`` in ``bucket``; ``full``: replacements are counted as well."""
        known = len(self._groups.get(entry.group, ()))
        if known >= limits.GROUP_PEERS_IN_TABLE_MAX:
            return False
        same = sum(self._entries[node].group == entry.group for node in bucket.nodes) if known else 0
        if full:
            same += sum(self._spare[node].group == entry.group for node in bucket.replacement_nodes)
        return same < limits.GROUP_PEERS_IN_BUCKET_MAX

    def _keep(self, entry: _Entry, bucket: KBucket) -> None:
        bucket.add_node(entry.node)
        bucket.contacts[entry.node.long_id] = entry.contact
        self._entries[entry.node.id] = entry
        self._groups.setdefault(entry.group, []).append(entry.contact)

    def _drop(self, entry: _Entry) -> None:
        del self._entries[entry.node.id]
        bucket = self._bucket_of(entry.node)
        del bucket.nodes[entry.node.id], bucket.contacts[entry.node.long_id]
        self._groups[entry.group].remove(entry.contact)
        if not self._groups[entry.group]:
            del self._groups[entry.group]

    def _forget_spare(self, node: bytes) -> None:
        entry = self._spare.pop(node, None)
        if entry is not None:
            self._bucket_of(entry.node).replacement_nodes.pop(node, None)
