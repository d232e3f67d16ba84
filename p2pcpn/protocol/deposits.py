"""Deposits: which sections of blobs this peer keeps, for whom and until when; what it takes, and what has to go.

A deposit is taken when its owner's signature is right, its owner may (a member of our keyed swarm, or trusted), and it
fits the owner's share and the whole. What must go goes in this order: what has expired; then, where more is kept than
may be, what expires first of the owner that has most. What is pinned stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.admission import Rules, trusts
from p2pcpn.wire.manifests import Manifest, read_manifest
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.statements import Deposit, Signed, opened, read

# What a section takes beside its chunks: two files and their folder's share.
ENTRY_BYTES = 8 << 10


class Refused(Exception):
    """A deposit is not taken: an :class:`~p2pcpn.wire.messages.AnswerCode` and words for its owner."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def precedence(deposit: Deposit) -> tuple[float, float]:
    """Of an owner's deposits of one section that with the greatest counts: the one that ends last, then the newest.

    Whoever puts a file again for a week did not ask for what he put for a year to be gone.
    """
    return deposit.created_s + deposit.retention_s, deposit.created_s


@dataclass(slots=True)
class Kept:
    """One section that is kept, or on its way. ``here`` are its chunks while some are missing."""

    signed: Signed
    deposit: Deposit
    manifest: Manifest
    manifest_bytes: bytes
    whole: bool = False
    pinned: bool = False
    here: set[int] = field(default_factory=set)
    sources: set[bytes] = field(default_factory=set)  # peers that are bringing it
    touched_s: float = 0.0
    error: str = ""  # what the disk said of a chunk

    @property
    def owner(self) -> bytes:
        """Whose it is."""
        return self.signed.key

    @property
    def disk_bytes(self) -> int:
        """What it takes, all its chunks counted."""
        return self.manifest.sealed_bytes + ENTRY_BYTES

    @property
    def expires_s(self) -> float:
        """The wall-clock second at which its retention ends."""
        return self.deposit.created_s + self.deposit.retention_s

    def replicas(self, wall: float) -> int:
        """How many peers are to keep it: once it has expired it is pinned here, and nobody else's to keep."""
        return self.deposit.replicas if wall < self.expires_s else 1

    @property
    def provided_s(self) -> float:
        """For how long this peer says in the DHT that it keeps it."""
        return limits.RETENTION_S_MAX if self.pinned else self.deposit.retention_s

    def is_wanted_without(self, owner: bytes, wall: float) -> bool:
        """Whether somebody else than ``owner`` wants it kept: what a peer keeps for itself alone ends with it."""
        return self.owner != owner and wall < self.expires_s

    def bits(self) -> bytes:
        """A bit for each chunk that is here; empty where all are."""
        if self.whole:
            return b""
        found = bytearray(-(-self.manifest.count // 8))
        for index in self.here:
            found[index // 8] |= 1 << index % 8
        return bytes(found)


class Ledger:
    """What is kept, at most ``quota_bytes`` (``None``: no bound) of ``DEPOSITS_MAX`` sections.

    ``disk_bytes`` bounds them together with what ``beside()`` says that others take.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        storing: bool,
        quota_bytes: int | None,
        disk_bytes: int | None = None,
        beside: Callable[[], int] = lambda: 0,
    ) -> None:
        self.kept: dict[bytes, Kept] = {}
        self.storing = storing
        self.quota_bytes = quota_bytes
        self.disk_bytes = disk_bytes
        self.beside = beside
        self.total_bytes = 0
        self._rules = rules
        self._bytes: Counter[bytes] = Counter()  # by owner, like the next
        self._counts: Counter[bytes] = Counter()

    @property
    def owner_quota_bytes(self) -> int | None:
        """What one owner may have here."""
        return None if self.quota_bytes is None else int(self.quota_bytes * limits.DEPOSIT_OWNER_SHARE)

    @property
    def room_bytes(self) -> int | None:
        """What all sections may take now."""
        bounds = [] if self.quota_bytes is None else [self.quota_bytes]
        if self.disk_bytes is not None:
            bounds.append(max(0, self.disk_bytes - self.beside()))
        return min(bounds, default=None)

    def used_bytes(self, owner: bytes) -> int:
        """What an owner has here."""
        return self._bytes[owner]

    def offered(
        self, signed: Signed, manifest_bytes: bytes, source: bytes, now: float, wall: float
    ) -> tuple[Kept, list[bytes]]:
        """A deposit is to be kept, brought by ``source``: where it stands, and which others have to go for it.

        Raises :class:`Refused` where it is not taken, :class:`PeerError` where it cannot be right.
        """
        deposit = read(signed, Deposit)
        known = self.kept.get(deposit.name)
        if known is not None and known.signed == signed:
            self._sources(known, source)
            known.touched_s = now
            return known, []
        self._check(signed, deposit, wall)
        manifest = read_manifest(deposit.name, manifest_bytes)
        if known is not None:
            return self._again(known, signed, deposit, source, now), []
        room = self._room(signed.key, manifest.sealed_bytes + ENTRY_BYTES, wall)
        kept = Kept(signed, deposit, manifest, manifest_bytes, touched_s=now)
        self._sources(kept, source)
        self.add(kept)
        return kept, room

    def _again(self, known: Kept, signed: Signed, deposit: Deposit, source: bytes, now: float) -> Kept:
        """The same section under another deposit: its owner's that is kept longest counts, of two owners the first."""
        if signed.key != known.owner:
            raise Refused(AnswerCode.REFUSED, "keeps that for another owner already")
        if precedence(deposit) > precedence(known.deposit):
            known.signed, known.deposit = signed, deposit
        self._sources(known, source)
        known.touched_s = now
        return known

    def _check(self, signed: Signed, deposit: Deposit, wall: float) -> None:
        if not self.storing:
            raise Refused(AnswerCode.REFUSED, "keeps nothing for others")
        if deposit.created_s > wall + limits.CLOCK_TOLERANCE_S:
            raise PeerError("a deposit comes from the future")
        if deposit.retention_s > limits.RETENTION_S_MAX:
            raise PeerError("a deposit is to be kept for too long")
        if deposit.created_s + deposit.retention_s <= wall:
            raise Refused(AnswerCode.REFUSED, "that deposit has expired")
        if not trusts(self._rules, signed.key, deposit.proof):
            raise Refused(AnswerCode.REFUSED, "does not trust the blob's owner; its owner can: p2pcpn key trust KEY")
        opened(signed, Deposit)

    def _sources(self, kept: Kept, source: bytes) -> None:
        if kept.whole or source in kept.sources:
            return
        of_source = sum(source in other.sources for other in self.kept.values() if not other.whole)
        if of_source >= limits.DEPOSITS_UNFINISHED_PER_SOURCE_MAX:
            raise Refused(AnswerCode.FULL, "waits for too many sections from there already")
        kept.sources.add(source)

    def _room(self, owner: bytes, more_bytes: int, wall: float) -> list[bytes]:
        """What has to go so that ``more_bytes`` of ``owner`` fit."""
        unfinished = sum(not kept.whole for kept in self.kept.values())
        if unfinished >= limits.DEPOSITS_UNFINISHED_MAX:
            raise Refused(AnswerCode.FULL, "waits for too many sections already")
        gone = self.expired(wall)
        freed, mine = self._sums(gone, owner)
        share = self.owner_quota_bytes
        of_owner = self._counts[owner] - sum(self.kept[name].owner == owner for name in gone)
        if of_owner >= limits.DEPOSITS_PER_OWNER_MAX or len(self.kept) - len(gone) >= limits.DEPOSITS_MAX:
            raise Refused(AnswerCode.FULL, "keeps as many sections as it may")
        if share is not None and self._bytes[owner] - mine + more_bytes > share:
            raise Refused(AnswerCode.FULL, f"gives one owner {share >> 20} MiB, and no more")
        room = self.room_bytes
        if room is not None and self.total_bytes - freed + more_bytes > room:
            raise Refused(AnswerCode.FULL, f"gives {room >> 20} MiB to blobs, and they are taken")
        return gone

    def _sums(self, names: list[bytes], owner: bytes) -> tuple[int, int]:
        freed = sum(self.kept[name].disk_bytes for name in names)
        return freed, sum(self.kept[name].disk_bytes for name in names if self.kept[name].owner == owner)

    # --- what has to go ----------------------------------------------------------------------------------------------

    def expired(self, wall: float) -> list[bytes]:
        """What has expired and is not pinned."""
        return sorted(name for name, kept in self.kept.items() if kept.expires_s <= wall and not kept.pinned)

    def stale(self, now: float) -> list[bytes]:
        """Unfinished sections of which nothing came for :data:`limits.LEASE_S` × 120: whoever brought them is gone."""
        before_s = now - UNFINISHED_S
        return sorted(
            name
            for name, kept in self.kept.items()
            if not kept.whole and not kept.pinned and kept.touched_s <= before_s
        )

    def surplus(self, wall: float) -> list[bytes]:
        """What has to go because more is kept than may be (the quota was made smaller), expired ones first."""
        gone, room = self.expired(wall), self.room_bytes
        if room is None:
            return gone
        left = self.total_bytes - self._sums(gone, b"")[0]
        by_owner = Counter(self._bytes)
        for name in gone:
            by_owner[self.kept[name].owner] -= self.kept[name].disk_bytes
        first = sorted(
            (name for name, kept in self.kept.items() if not kept.pinned),
            key=lambda name: (self.kept[name].expires_s, name),
        )
        of: dict[bytes, list[bytes]] = {}
        for name in reversed(first):
            if name not in gone:
                of.setdefault(self.kept[name].owner, []).append(name)
        while left > room and of:
            owner = max(of, key=lambda each: (by_owner[each], each))
            name = of[owner].pop()
            gone.append(name)
            left -= self.kept[name].disk_bytes
            by_owner[owner] -= self.kept[name].disk_bytes
            if not of[owner]:
                del of[owner]
        return gone

    # --- changes -----------------------------------------------------------------------------------------------------

    def add(self, kept: Kept) -> None:
        """A section is kept from now on."""
        assert kept.deposit.name not in self.kept, "a section is added once"
        self.kept[kept.deposit.name] = kept
        self.total_bytes += kept.disk_bytes
        self._bytes[kept.owner] += kept.disk_bytes
        self._counts[kept.owner] += 1

    def came(self, name: bytes, index: int, now: float) -> None:
        """A chunk is on disk."""
        kept = self.kept[name]
        kept.here.add(index)
        kept.touched_s = now

    def completed(self, name: bytes) -> None:
        """All chunks are here and durable."""
        kept = self.kept[name]
        kept.whole = True
        kept.here.clear()
        kept.sources.clear()

    def damaged(self, name: bytes, wrong: Iterable[int], now: float) -> None:
        """Chunks of a whole section are not what they were: it is unfinished again."""
        kept = self.kept[name]
        kept.whole = False
        kept.here = set(range(kept.manifest.count)).difference(wrong)
        kept.touched_s = now

    def drop(self, name: bytes) -> None:
        """A section is kept no longer."""
        kept = self.kept.pop(name, None)
        if kept is None:
            return
        self.total_bytes -= kept.disk_bytes
        for counts, count in ((self._bytes, kept.disk_bytes), (self._counts, 1)):
            counts[kept.owner] -= count
            if not counts[kept.owner]:
                del counts[kept.owner]

    def gone(self, source: bytes) -> None:
        """That peer brings nothing any more; what it brought stays for a while, in case it comes back."""
        for kept in self.kept.values():
            kept.sources.discard(source)

    def of_owner(self, owner: bytes, after: bytes, count: int) -> tuple[list[Signed], bool]:
        """Deposits of an owner that are whole, by name from behind ``after``; and are there more?"""
        names = sorted(n for n, kept in self.kept.items() if kept.whole and kept.owner == owner and n > after)
        return [self.kept[name].signed for name in names[:count]], len(names) > count


# Whoever comes back within an hour goes on where it was.
UNFINISHED_S = 120 * limits.LEASE_S
