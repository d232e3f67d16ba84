"""Transfer: whom to ask for which chunk next, until all chunks of a section are here.

Chunks are asked for in their order, each of the holder that will likely send it first: the one with room in its window,
the least late of those. A holder's window grows with every chunk it sends and halves when it is late, so a quick holder
gives more and a slow one is not waited for. A chunk that is late is asked for once more, of another (hedged); when
nothing is left to ask for, holders that idle are asked for what the slowest owes. A holder that sends wrong bytes is
asked for nothing more. Times follow each holder's own (RFC 6298).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.wire.addresses import Contact

# 16 chunks of 256 KiB are 4 MiB: what a path of 100 ms carries at 40 MB/s, from each holder.
WINDOW_MIN, WINDOW_START, WINDOW_MAX = 2, 4, 16
# Before the first chunk came nothing is known of a holder.
LATE_S, LATE_S_MIN = 2.0, 0.25
# A chunk has at most two askers at a time, and a holder that sends nothing for so long is given up.
HEDGES = 2
SILENT_S = 10.0
# Addresses in one line for people.
NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask ``holder`` for chunk ``index``."""

    holder: Contact
    index: int


@dataclass(slots=True)
class _Holder:
    contact: Contact
    has: frozenset[int] | None  # None: all
    window: float = WINDOW_START
    asked: dict[int, float] = field(default_factory=dict)  # chunk: when
    lacks: set[int] = field(default_factory=set)
    srtt_s: float = 0.0
    rttvar_s: float = 0.0
    heard_s: float = 0.0
    late: int = 0

    def has_chunk(self, index: int) -> bool:
        return (self.has is None or index in self.has) and index not in self.lacks

    @property
    def late_s(self) -> float:
        """When what was asked for is late."""
        return max(LATE_S_MIN, self.srtt_s + 4 * self.rttvar_s) if self.srtt_s else LATE_S

    def came(self, index: int, now: float) -> None:
        self.heard_s = now
        asked_s = self.asked.pop(index, None)
        if asked_s is None:
            return
        took_s = now - asked_s
        if not self.srtt_s:
            self.srtt_s, self.rttvar_s = max(took_s, 1e-6), took_s / 2
        else:
            self.rttvar_s += (abs(took_s - self.srtt_s) - self.rttvar_s) / 4
            self.srtt_s += (took_s - self.srtt_s) / 8
        self.window = min(WINDOW_MAX, self.window + 1)


class Fetching:
    """The chunks ``0 … count`` of one section, without those ``had`` already. See the module.

    ``ask(now)`` says what to ask for; tell it what became of that by ``came``, ``lacks``, ``lost`` and ``bad``.
    """

    def __init__(self, count: int, had: Iterable[int] = ()) -> None:
        self._wanted = set(range(count)) - set(had)
        self._fresh = sorted(self._wanted, reverse=True)  # not asked for yet; the lowest last
        self._askers: dict[int, list[bytes]] = {}
        self._holders: dict[bytes, _Holder] = {}
        self._given_up: set[bytes] = set()
        self.hedged = 0
        self.wrong = 0

    @property
    def done(self) -> bool:
        """Whether every chunk is here."""
        return not self._wanted

    @property
    def left(self) -> int:
        """How many chunks are missing."""
        return len(self._wanted)

    @property
    def holders(self) -> list[Contact]:
        """Who is asked."""
        return [holder.contact for holder in self._holders.values()]

    @property
    def stuck(self) -> bool:
        """Whether a chunk is missing that nobody who is asked has."""
        holders = self._holders.values()
        return any(not any(holder.has_chunk(index) for holder in holders) for index in self._wanted)

    def knows(self, node: bytes) -> bool:
        """Whether a peer is asked, or was and is given up."""
        return node in self._holders or node in self._given_up

    # --- holders -----------------------------------------------------------------------------------------------------

    def add(self, contact: Contact, has: frozenset[int] | None, now: float) -> None:
        """A peer has the section, or the chunks ``has`` of it."""
        if contact.id in self._given_up or len(self._holders) >= limits.HOLDERS_MAX:
            return
        known = self._holders.get(contact.id)
        if known is not None:
            known.has = has
        else:
            self._holders[contact.id] = _Holder(contact, has, heard_s=now)

    def lost(self, node: bytes) -> None:
        """A peer is gone or answers no more: what it owes is asked of others. It may be added again."""
        holder = self._holders.pop(node, None)
        for index in [] if holder is None else list(holder.asked):
            self._not_asked(index, node)

    # --- what comes --------------------------------------------------------------------------------------------------

    def came(self, node: bytes, index: int, now: float) -> bool:
        """A peer sent a chunk; whether it is still wanted (to be verified, and then to be ``kept``, or ``bad``)."""
        holder = self._holders.get(node)
        if holder is not None:
            holder.came(index, now)
        askers = self._askers.get(index, [])
        if node in askers:
            askers.remove(node)  # whoever else owes it may have been answered for while this one was verified
        return index in self._wanted

    def kept(self, index: int) -> None:
        """A chunk was right, and is here."""
        self._wanted.discard(index)
        for node in self._askers.pop(index, ()):
            holder = self._holders.get(node)
            if holder is not None:
                holder.asked.pop(index, None)

    def bad(self, node: bytes, index: int) -> None:
        """A chunk was wrong: its sender is asked for nothing more."""
        self.wrong += 1
        self.lost(node)
        self._given_up.add(node)
        self._not_asked(index, node)

    def lacks(self, node: bytes, index: int) -> None:
        """A peer has no such chunk."""
        holder = self._holders.get(node)
        if holder is not None:
            holder.asked.pop(index, None)
            holder.lacks.add(index)
        self._not_asked(index, node)

    def _not_asked(self, index: int, node: bytes) -> None:
        askers = self._askers.get(index, [])
        if node in askers:
            askers.remove(node)
        if not askers:
            self._askers.pop(index, None)
            if index in self._wanted and index not in self._fresh:
                self._fresh.append(index)  # it was asked for early, so it is needed first

    # --- what to ask -------------------------------------------------------------------------------------------------

    def ask(self, now: float, room: int = 1 << 30) -> list[Ask]:
        """Which chunks to ask for at this time, and of whom: at most ``room`` chunks."""
        asks: list[Ask] = []
        while len(asks) < room:
            ready = [holder for holder in self._holders.values() if len(holder.asked) < int(holder.window)]
            ready.sort(key=lambda holder: (len(holder.asked) * (holder.srtt_s or LATE_S_MIN), holder.contact.id))
            found = self._next(ready, now)
            if found is None:
                return asks
            asks.append(found)
        return asks

    def _next(self, ready: list[_Holder], now: float) -> Ask | None:
        for at in range(len(self._fresh) - 1, max(-1, len(self._fresh) - 1 - limits.MANIFEST_CHUNKS_MAX), -1):
            index = self._fresh[at]
            if index not in self._wanted:
                continue
            for holder in ready:
                if holder.has_chunk(index):
                    del self._fresh[at]
                    return self._asked(holder, index, now)
            if not ready:
                return None
        return self._hedge(ready, now)

    def _hedge(self, ready: list[_Holder], now: float) -> Ask | None:
        """What is late, or, where nothing else is left, what is owed the longest."""
        owed = sorted(
            (asked_s, index, holder)
            for holder in self._holders.values()
            for index, asked_s in holder.asked.items()
            if index in self._wanted and len(self._askers.get(index, ())) < HEDGES
        ) if ready else []  # fmt: skip
        for asked_s, index, owing in owed:
            for holder in ready:
                if holder is owing or not holder.has_chunk(index) or index in holder.asked:
                    continue
                waited_s = now - asked_s
                late = waited_s >= owing.late_s
                if late or (not self._fresh and holder.srtt_s and waited_s >= 2 * holder.srtt_s):
                    self.hedged += 1
                    if late:
                        owing.window = max(WINDOW_MIN, owing.window / 2)
                    return self._asked(holder, index, now)
        return None

    def _asked(self, holder: _Holder, index: int, now: float) -> Ask:
        if not holder.asked:
            holder.heard_s = now
        holder.asked[index] = now
        self._askers.setdefault(index, []).append(holder.contact.id)
        return Ask(holder.contact, index)

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire`, or another :meth:`ask`, may have something to do."""
        times = [holder.heard_s + SILENT_S for holder in self._holders.values() if holder.asked]
        if len(self._holders) > 1:
            times += [
                asked_s + holder.late_s
                for holder in self._holders.values()
                for index, asked_s in holder.asked.items()
                if len(self._askers.get(index, ())) < HEDGES
            ]
        return min(times, default=None)

    def expire(self, now: float) -> list[Contact]:
        """Holders that were silent for too long; they are asked for nothing more."""
        silent = [
            holder.contact for holder in self._holders.values() if holder.asked and holder.heard_s + SILENT_S <= now
        ]
        for contact in silent:
            self.lost(contact.id)
        return silent


@dataclass(slots=True)
class _Delivery:
    contact: Contact
    done: bool = False


class Placing:
    """To whom one section goes: ``replicas`` of ``candidates`` (best first), the next where one fails.

    ``begin()`` names whom to bring it to now; ``kept`` and ``failed`` say what became of it.
    """

    def __init__(self, candidates: Iterable[Contact], replicas: int, holders: Iterable[Contact] = ()) -> None:
        self.replicas = replicas
        self._left = list(candidates)
        self._under_way: dict[bytes, _Delivery] = {}
        self._tried: set[bytes] = set()
        for contact in holders:
            self._under_way[contact.id] = _Delivery(contact, done=True)
            self._tried.add(contact.id)
        self.refusals: list[str] = []
        self.unanswered: list[Contact] = []

    @property
    def holders(self) -> list[Contact]:
        """Who has it."""
        return [each.contact for each in self._under_way.values() if each.done]

    @property
    def done(self) -> bool:
        """Whether nothing is left to be tried or waited for."""
        waiting = any(not each.done for each in self._under_way.values())
        return not waiting and (len(self._under_way) >= self.replicas or not self._fresh)

    @property
    def _fresh(self) -> list[Contact]:
        return [contact for contact in self._left if contact.id not in self._tried]

    def begin(self) -> list[Contact]:
        """Whom to bring it to now."""
        chosen = self._fresh[: max(0, self.replicas - len(self._under_way))]
        for contact in chosen:
            self._tried.add(contact.id)
            self._under_way[contact.id] = _Delivery(contact)
        return chosen

    def kept(self, node: bytes) -> None:
        """A peer has it, whole and durable."""
        self._under_way[node].done = True

    def failed(self, node: bytes, why: str) -> None:
        """A peer does not take it, and says why."""
        del self._under_way[node]
        self.refusals.append(f"peer {node.hex()[:8]}: {why}")

    def silent(self, node: bytes) -> None:
        """A peer does not answer, or is gone."""
        self.unanswered.append(self._under_way.pop(node).contact)

    def words(self) -> list[str]:
        """What went wrong, for people: each refusal once, and one line on all who do not answer."""
        said = list(dict.fromkeys(self.refusals))
        if self.unanswered:
            named = ", ".join(_spelt(each) for each in self.unanswered[:NAMED_MAX])
            more = len(self.unanswered) - NAMED_MAX
            said.append(f"no answer from {named}" + (f" and {more} more" if more > 0 else ""))
        return said


def _spelt(contact: Contact) -> str:
    host, port = contact.address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
