"""Participants: the peers that claimed a job, which of them are taken, and how many slots that makes.

::

    claimed ──> standby ──nearest first──> taken ──session lost──> in doubt ──alive──> dialled ──session──> taken
                   ^── rests: silent, or not to be dialled ──┤        └──dead──> forgotten
                   └── its slots are due to another ─────────┘

Slots are counted as they change, and it is noted who would be leased more: whether more peers are wanted, and who gets
what waits, is asked after every batch of results.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.pace import Pace
from p2pcpn.wire.addresses import Contact

# Digests of blobs a peer was sent, 100 bytes each: as many as a segment can name. What is forgotten is sent again.
BLOBS_REMEMBERED = limits.SEGMENT_TASKS_MAX
# What one peer may claim: it gets that many tasks before it has shown anything.
SLOTS_MAX = 1024
NOT_CROWDED = float("-inf")
# A task that its peer was given for so long and that it did not tell of as started waits there behind others' tasks.
UNSTARTED_S = 0.15
# Who has said nothing of the job yet had to be dialled for it, perhaps: that takes so many round trips.
# To ask those for what they had just been leased brought nothing back, twice for each peer of a job (*simulated*).
DIAL_ROUNDTRIPS = 2.0


@dataclass(slots=True)
class Participant:
    """A peer that claimed: what it holds, how fast it is, and what it was sent already."""

    contact: Contact
    key: bytes
    boot: int
    claimed_slots: int
    rank: tuple[float, bytes]
    slots: int = 0  # of claimed_slots, how many are ours to fill; 0 while it stands by
    taken: bool = False
    ready: bool = False  # introduced over a live session (or one that is being made): may be leased to
    in_doubt: bool = False  # its session is lost and nobody knows yet whether it lives
    redialled: bool = False  # it lives; a session was asked for since it last spoke
    heard: bool = False  # it has spoken about this job over a session
    rest_until: float = float("-inf")  # it is not taken before
    shut_until: float = float("-inf")  # it failed too often: its circuit breaker lets it have nothing before
    hear_until: float = float("-inf")  # by then it has brought what it ran for an earlier grantor
    failed_dials: int = 0  # in a row
    held: int = 0
    completed: int = 0
    pace: Pace = field(default_factory=lambda: Pace(0))
    started: dict[int, float] = field(default_factory=dict)  # tasks that it said have run for a while: when
    crowded_until: float = NOT_CROWDED  # it gave back what it had slots for: they run others' tasks
    asked_until: float = float("-inf")  # it was asked for tasks back, and may still answer
    tokens: dict[int, None] = field(default_factory=dict)
    # Stands for one session, by identity: what was sent in an earlier one, or to an earlier claim, may not be there.
    session: object = field(default_factory=object)
    forgot: bool = False  # it said that it lacks what a steward should have
    missing: int = 0  # leases in a row that it returned because it lacked something
    leaving: bool = False  # it ends what it runs, and is given nothing more
    blobs: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    node: NodeId = field(init=False)

    def __post_init__(self) -> None:
        self.node = NodeId(self.contact.id)

    def spoke(self) -> None:
        """It said something about this job: it lives and its session works."""
        self.heard = self.ready = True
        self.in_doubt = self.redialled = False
        self.rest_until, self.failed_dials = float("-inf"), 0

    def unstarted(self, now: float) -> int:
        """How many of its tasks do not run, as far as it has had time to say that they do."""
        return self.held - len(self.started) if self.pace.silent_s(now) >= UNSTARTED_S + self.dialled_s else 0

    def reached(self, now: float) -> None:
        """A session with it is there. Where it was dialled for what it holds that is on its way only now; and it may be
        nearer than was guessed."""
        if not self.heard and self.held:
            self.pace.rtt_s = min(self.pace.rtt_s, (now - self.pace.heard_at) / DIAL_ROUNDTRIPS)
            self.pace.heard_at = now

    @property
    def dialled_s(self) -> float:
        """How much longer it takes until it can have said something, where it was dialled for this job."""
        return 0.0 if self.heard else DIAL_ROUNDTRIPS * self.pace.rtt_s

    def slots_ours(self, now: float) -> int:
        """How many of its slots run what it was leased here, or could: none is free where some of that waits."""
        if self.crowded_until > now:
            return 0
        return min(len(self.started), self.slots) if self.unstarted(now) else self.slots

    def lacks_blob(self, digest: bytes) -> bool:
        """Whether it was not sent that blob in this session; notes that it is now."""
        if digest in self.blobs:
            self.blobs.move_to_end(digest)
            return False
        self.blobs[digest] = None
        if len(self.blobs) > BLOBS_REMEMBERED:
            self.blobs.popitem(last=False)
        return True

    def session_lost(self) -> None:
        """What it was sent may not have arrived, and if it restarted it remembers none of it."""
        self.session = object()
        self.blobs.clear()
        self.ready = False


class Participants:
    """See the module. ``slots_max`` bounds the slots that are taken at a time; 0: no bound. Where claims are not
    ``ranked`` who came first is taken first."""

    __slots__ = ("peers", "slots", "slots_idle", "crowded", "_hungry", "_ranked", "_slots_max", "_standby")

    def __init__(self, slots_max: int, *, ranked: bool = True) -> None:
        self.peers: dict[NodeId, Participant] = {}
        self.slots = 0  # of taken peers
        self.slots_idle = 0  # of taken peers, those beyond what they hold; none of a crowded one
        self.crowded: dict[NodeId, None] = {}
        self._hungry: dict[NodeId, Participant] = {}  # with slots, and not sated
        self._ranked = ranked
        self._slots_max = slots_max
        self._standby: dict[NodeId, None] = {}

    def add(self, peer: Participant) -> None:
        """A peer claimed; it stands by."""
        peer.pace.rtt_s = peer.rank[0]
        self.peers[peer.node] = peer
        self._standby[peer.node] = None

    def remove(self, node: NodeId) -> Participant | None:
        """Forget a peer that holds nothing any more; it may claim again."""
        peer = self.peers.pop(node, None)
        if peer is not None:
            self.crowded.pop(node, None)
            self._set_slots(peer, 0)
            self._standby.pop(node, None)
        return peer

    def ran(self, peer: Participant, count: int, ran_s: float, now: float) -> None:
        """``count`` tasks took ``peer`` so long together."""
        peer.pace.ran(count, ran_s, now)
        self._weigh(peer)

    def hold(self, peer: Participant, count: int) -> None:
        """``peer`` holds ``count`` more tasks (fewer, where negative)."""
        self._count(peer, -1)
        peer.held += count
        assert peer.held >= 0
        self._count(peer, 1)
        self._weigh(peer)

    def _weigh(self, peer: Participant) -> None:
        if peer.slots and not peer.pace.sated(peer.held):
            self._hungry[peer.node] = peer
        else:
            self._hungry.pop(peer.node, None)

    def _count(self, peer: Participant, sign: int) -> None:
        if peer.held < peer.slots and peer.crowded_until == NOT_CROWDED:
            self.slots_idle += sign * (peer.slots - peer.held)

    def crowd(self, peer: Participant, until: float = NOT_CROWDED) -> None:
        """Until then, or until it brings results, the slots of ``peer`` are not counted on. By default: no longer.

        For ever: it let a lease end, and gets no other before it speaks.
        """
        if until != peer.crowded_until:
            self._count(peer, -1)
            peer.crowded_until = until
            self._count(peer, 1)
            if until == NOT_CROWDED:
                del self.crowded[peer.node]
            else:
                self.crowded[peer.node] = None

    def uncrowd(self, now: float) -> None:
        """Who was crowded for long may be so no more.

        Who let a lease end and holds nothing else now, for that was cancelled, keeps no slots until it speaks.
        """
        for peer in [self.peers[node] for node in self.crowded]:
            if peer.crowded_until <= now:
                self.crowd(peer)
            elif peer.crowded_until == math.inf and not peer.held:
                self.crowd(peer)
                self.rest(peer, math.inf)

    def wanted(self, waiting: int) -> int:
        """How many slots more could be used while ``waiting`` tasks wait."""
        more = waiting - self.slots_idle
        return min(more, self._slots_max - self.slots) if self._slots_max else more

    @property
    def seats(self) -> int:
        """How many more peers can take part: each has a session, of which a node has so many."""
        return limits.SESSIONS_MAX - len(self.peers)

    @property
    def unused(self) -> bool:
        """Whether anybody may have a slot to spare, by what is known."""
        return bool(self.slots_idle or self.crowded or self._standby)

    def slots_standing_by(self, now: float) -> int:
        """How many slots peers have claimed that stand by and may be taken, within ``slots_max``."""
        slots = sum(peer.claimed_slots for peer in self._rested(now))
        return min(slots, self._slots_max - self.slots) if self._slots_max else slots

    def ready(self) -> list[Participant]:
        """Who may be leased to now: not the crowded, the least loaded first, the nearest of those."""
        return least_loaded(self.peers.values())

    def hungry(self) -> list[Participant]:
        """Those of them who hold less than they should: all others would be leased nothing."""
        return least_loaded(self._hungry.values())

    def idles(self, peer: Participant) -> bool:
        """Whether it has slots to spare, by what is known."""
        return peer.held < peer.slots and peer.node not in self.crowded

    def taken(self) -> list[NodeId]:
        """Who is taken."""
        return [node for node, peer in self.peers.items() if peer.taken]

    def rest(self, peer: Participant, until: float) -> None:
        """A taken peer that holds nothing stands by again and is not taken before ``until``, or before it speaks."""
        peer.rest_until = until
        if peer.taken:
            self._release(peer)

    def shut(self, peer: Participant, until: float) -> None:
        """Until then its slots are not counted on, and where it holds nothing they are others'."""
        peer.shut_until = until
        if not peer.taken or peer.crowded_until == math.inf:
            return
        opened = until == float("-inf")
        self.crowd(peer, NOT_CROWDED if opened or not peer.held else until)
        if not opened and not peer.held:
            self._release(peer)

    def retire(self, peer: Participant) -> None:
        """It leaves: what it still runs is its own to end, and none of its slots counts any more."""
        self._standby.pop(peer.node, None)
        self.crowd(peer)
        peer.leaving, peer.taken = True, False
        self._set_slots(peer, 0)

    def returns(self, peer: Participant) -> None:
        """It stays after all, and stands by."""
        peer.leaving = False
        self._standby[peer.node] = None

    def promote(self, waiting: int, stuck: list[frozenset[NodeId]], now: float) -> list[Participant]:
        """Take standing-by peers, nearest first, while more slots are wanted; returns the newly taken.

        ``stuck``: for tasks that wait and that no taken peer may have, who must not have them.
        """
        if self._slots_max:
            self._grow(waiting)
        promoted: list[Participant] = []
        if self._standby and self.wanted(waiting) > 0:
            for peer in self._in_order(self._rested(now)):
                if self.wanted(waiting) <= 0:
                    break
                self._take(peer)
                promoted.append(peer)
        for barred in stuck:
            if all(peer.node in barred for peer in promoted):
                promoted += self._unstick(barred, now)
        return promoted

    def _in_order(self, peers: list[Participant]) -> list[Participant]:
        """Whom to take first; ``peers`` as they came."""
        return sorted(peers, key=lambda peer: peer.rank) if self._ranked else peers

    def _rested(self, now: float) -> list[Participant]:
        peers = map(self.peers.__getitem__, self._standby)
        return [peer for peer in peers if peer.rest_until <= now and peer.shut_until <= now]

    def _grow(self, waiting: int) -> None:
        """Peers that were taken with fewer slots than they claimed come before new ones."""
        if self.wanted(waiting) <= 0:
            return
        cut = [peer for peer in self.peers.values() if peer.taken and peer.slots < peer.claimed_slots]
        for peer in self._in_order(cut):
            self._set_slots(peer, min(peer.claimed_slots, peer.slots + self._slots_max - self.slots))

    def _unstick(self, barred: frozenset[NodeId], now: float) -> list[Participant]:
        """Take the nearest standing-by peer that is not barred; where no slot is free, an idle one makes room."""
        able = [peer for peer in self._rested(now) if peer.node not in barred]
        if not able:
            return []
        if self._slots_max and self.slots >= self._slots_max:
            idle = [peer for peer in self.peers.values() if peer.taken and not peer.held and peer.node in barred]
            if not idle:
                return []
            self._release(max(idle, key=lambda peer: peer.rank))
        chosen = min(able, key=lambda peer: peer.rank)
        self._take(chosen)
        return [chosen]

    def _take(self, peer: Participant) -> None:
        del self._standby[peer.node]
        peer.taken = True
        free = self._slots_max - self.slots if self._slots_max else peer.claimed_slots
        self._set_slots(peer, min(peer.claimed_slots, free))

    def _release(self, peer: Participant) -> None:
        self._set_slots(peer, 0)
        peer.taken = peer.ready = False
        self._standby[peer.node] = None

    def _set_slots(self, peer: Participant, slots: int) -> None:
        self._count(peer, -1)
        self.slots += slots - peer.slots
        peer.slots = peer.pace.slots = slots
        self._count(peer, 1)
        self._weigh(peer)


def least_loaded(peers: Iterable[Participant]) -> list[Participant]:
    """Those of ``peers`` that may be leased to now, the least loaded first, the nearest of those."""
    found = [peer for peer in peers if peer.taken and peer.ready and peer.crowded_until < math.inf]
    found.sort(key=lambda peer: (peer.crowded_until, peer.held / peer.slots, peer.rank))
    return found
