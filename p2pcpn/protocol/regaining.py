"""Regaining: an owner's node grants a job of his again: in which epoch, and what it has to read and to write first.

::

    reading ──> another machine of the owner's grants it: followed
       └──> writing ──on disk──> granting
               ├─ tasks take results: stopping ──half a second──> reading to the end ──> granting
               └─ the disk refuses: resting ──some seconds──> reading

The handover by which it grants is on its own disk before anybody hears of it. Stewards may hear of an epoch and go, and
those that are left know nothing of it: from what they show the same node would take the same epoch in a later life
again, and tokens, keys of leases and places in the log follow from epoch and node.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import Write
from p2pcpn.wire import pages
from p2pcpn.wire.statements import Handover, Signed, signed

# A grantor that was told to stop closes its log at once; then the log goes to its holders.
LAST_WORDS_S = 0.5
# A disk without room is asked again so often; meanwhile somebody else grants the job.
AGAIN_S = 5.0
KEPT_IN = "handovers"


class Stage(Enum):
    """How far it is."""

    READING = 0
    WRITING = 1
    STOPPING = 2
    READING_TO_END = 3
    RESTING = 4
    OVER = 5


@dataclass(frozen=True, slots=True)
class Read:
    """Take what others settled as delivered; then say :meth:`Regaining.read`. ``again``: it was read some time ago."""

    again: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
    """Write this to the disk; then say :meth:`Regaining.kept`."""

    write: Write


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell every steward of this handover, so that whoever grants stops and says its last words."""

    handover: Signed


@dataclass(frozen=True, slots=True)
class ReadToEnd:
    """Like :class:`Read`, our own log among the rest: it may lie nowhere else."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Grant it by the owner's handovers, the newest of which names this node."""

    words: tuple[Signed, ...]


@dataclass(frozen=True, slots=True)
class Follow:
    """Somebody else grants it: take what it settles as delivered."""


Step = Read | Keep | Stop | ReadToEnd | Grant | Follow


class Regaining:
    """See the module. ``authority`` learns of who grants while the job is read; ``kept`` is what is on this disk.

    ``since`` is the epoch in which another was heard to grant it; ``takes``: tasks take results, so that none may be
    settled behind our back; ``insists``: the owner wants it here, wherever he granted it. ``expires_s`` (wall clock) is
    when the job is kept no longer.
    """

    def __init__(
        self,
        authority: Authority,
        owner: Keypair,
        me: bytes,
        expires_s: float,
        *,
        kept: Signed | None = None,
        since: int = 0,
        takes: bool = False,
        insists: bool = False,
    ) -> None:
        self.stage = Stage.READING
        self.authority = authority
        self._owner = owner
        self._me = me
        self._expires_s = expires_s
        self._since = since
        self._takes = takes
        self._insists = insists
        self._handover: Signed | None = None
        self._until_s = 0.0
        if kept is not None:
            with suppress(PeerError):  # not the owner's: a damaged disk
                authority.hand_over(kept)

    # --- what is told ------------------------------------------------------------------------------------------------

    def begin(self) -> list[Step]:
        """The first step."""
        return [Read()]

    def read(self) -> list[Step]:
        """What was asked for is read."""
        if self.stage is Stage.READING_TO_END:
            return self._grant()
        if self.stage is not Stage.READING:
            return []
        if self.authority.is_split:
            return self._left()
        if not self._elsewhere or self._insists:
            return self._write()
        self.stage = Stage.OVER
        return [Follow()]

    def kept(self, now: float, *, ok: bool) -> list[Step]:
        """The handover is on our disk, or the disk refused it."""
        if self.stage is not Stage.WRITING or self._handover is None:
            return []
        if not ok:
            self.stage, self._until_s = Stage.RESTING, now + AGAIN_S
            return []
        before = self.authority.epoch
        self.authority.hand_over(self._handover)
        if before >= self.authority.epoch:  # somebody took a newer epoch meanwhile
            return self._write()
        if not self._takes:
            return self._grant()
        self.stage, self._until_s = Stage.STOPPING, now + LAST_WORDS_S
        return [Stop(self._handover)]

    # --- time --------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        return self._until_s if self.stage in (Stage.STOPPING, Stage.RESTING) else None

    def expire(self, now: float) -> list[Step]:
        """Whoever was told to stop has said its last words, or the disk may have room again."""
        due_s = self.deadline()
        if due_s is None or now < due_s:
            return []
        if self.stage is Stage.RESTING:
            self.stage = Stage.READING
            return [Read(again=True)]
        self.stage = Stage.READING_TO_END
        return [ReadToEnd()]

    # --- what follows ------------------------------------------------------------------------------------------------

    @property
    def _elsewhere(self) -> bool:
        """Whether the owner handed it to another node after whoever superseded us."""
        known, authority = self.authority.handover, self.authority
        return known is not None and known.epoch == authority.epoch >= self._since and known.grantor != self._me

    def _write(self) -> list[Step]:
        authority = self.authority
        self._handover = signed(Handover(authority.job, authority.owners_epoch, self._me), self._owner)
        self.stage = Stage.WRITING
        row = (self._expires_s, pages.SIGNED.encode(self._handover))
        return [Keep(Write(KEPT_IN, (authority.job,), row))]

    def _left(self) -> list[Step]:
        """The owner divided it meanwhile: its stewards grant it to the end, and tell us."""
        self.stage = Stage.OVER
        return []

    def _grant(self) -> list[Step]:
        if self.authority.is_split:
            return self._left()
        self.stage = Stage.OVER
        return [Grant(tuple(self.authority.handovers))]
