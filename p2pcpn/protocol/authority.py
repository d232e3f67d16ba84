"""Authority over a job: who may grant it, and in which epoch. Shared by workers, stewards and readers.

Epoch 0 belongs to the grantor named in the spec. In a job that stewards may take over (``hybrid``) the epochs after it
go round: one for each steward in the order of the spec, then one that is the owner's. So anybody who has the spec can
tell whose an epoch is. The owner's signed handover makes whomever it names the grantor of the epoch it names. An older
epoch stays authorised after a newer one began: what it settled counts.

A ``distributed`` job is granted by its stewards alone, each its lots, and each lot has epochs of its own (``lots``):
there a newer epoch supersedes those of its own lot and no other. So it is with the lots of a ``hybrid`` job, which
begin behind all epochs of its stem: they are the stewards' by the spec, as any epoch that a steward may begin; from
which task on they are granted is the owner's word, a handover that divides the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import node_id
from p2pcpn.protocol.lots import DIVIDED_EPOCH, RANGE_TASKS, Lots
from p2pcpn.protocol.spans import Span, disjoint, total
from p2pcpn.wire.sealing import job_id
from p2pcpn.wire.statements import Handover, Signed, Spec, Steward, opened

DISTRIBUTED = "distributed"
# Of these jobs stewards become grantors by themselves, in their order.
TAKEN_OVER = ("hybrid", DISTRIBUTED)
# A log segment settles fewer tasks than 4 MiB have digests of 16 bytes.
LOG_TASKS_MAX = limits.LOG_SEGMENT_BYTES_MAX // 16


@dataclass(slots=True)
class Tenure:
    """Who grants one lot of a job, as far as is known: the newest epoch, and the node key of its grantor."""

    lot: int
    epoch: int
    grantor: bytes


class Authority:
    """The signed spec of a job, checked; who grants it now, as far as is known; and the owner's handovers.

    ``tenures`` holds one for each lot, of a job that is not divided (yet), too; ``division`` is the owner's word on it.
    """

    __slots__ = (
        "_handovers", "division", "handover", "job", "lots", "owner", "signed_handover", "signed_spec", "spec",
        "tenures",
    )  # fmt: skip

    def __init__(self, spec: Signed) -> None:
        """Raises :class:`PeerError` unless ``spec`` is a spec of sane size and its signature is right."""
        if len(spec.body) > limits.SPEC_BYTES_MAX:
            raise PeerError(f"a spec of {len(spec.body)} bytes, at most {limits.SPEC_BYTES_MAX} are allowed")
        self.spec = opened(spec, Spec)
        self.signed_spec = spec
        self.owner = spec.key
        self.job = job_id(spec.key, spec.body)
        self.signed_handover: Signed | None = None
        self.handover: Handover | None = None
        self._handovers: dict[tuple[int, bytes], Signed] = {}
        self.division: Signed | None = None
        stewards = self.spec.stewards if self.is_taken_over else []
        self.lots = Lots(self.job, len(stewards), stem=not self.is_distributed)
        keys = [*([] if self.is_distributed else [self.spec.grantor]), *(steward.key for steward in stewards)]
        self.tenures = [Tenure(lot, self.lots.first_epoch(lot), key) for lot, key in enumerate(keys)]

    # --- who grants now ----------------------------------------------------------------------------------------------

    @property
    def _newest(self) -> Tenure:
        return max(self.tenures, key=lambda tenure: tenure.epoch) if self.is_distributed else self.tenures[0]

    @property
    def epoch(self) -> int:
        """The newest epoch of all; of a job with a stem that of the stem."""
        return self._newest.epoch

    @property
    def grantor(self) -> bytes:
        """The node key of who grants in that epoch."""
        return self._newest.grantor

    @property
    def granted(self) -> list[Tenure]:
        """The lots that somebody grants: of a job that is not divided its stem alone."""
        return self.tenures if self.lots.split else self.tenures[:1]

    def tenure(self, epoch: int) -> Tenure:
        """Who grants now what was granted in ``epoch``."""
        return self.tenures[self.lots.of_epoch(epoch)]

    def is_past(self, epoch: int) -> bool:
        """Whether a newer epoch than ``epoch`` has begun of what is granted in it."""
        return epoch < self.tenure(epoch).epoch

    def presides(self, key: bytes, epoch: int) -> bool:
        """Whether ``epoch`` is the newest, as far as is known, and is granted by the node with ``key``."""
        newest = self.tenure(epoch)
        return (newest.epoch, newest.grantor) == (epoch, key)

    def held_by(self, key: bytes) -> list[Tenure]:
        """What the node with ``key`` grants, as far as is known."""
        return [tenure for tenure in self.granted if tenure.grantor == key]

    def hand_over(self, statement: Signed) -> None:
        """Take note of a handover; an older one changes nothing but whom we believe about its own epoch.

        Of two that name the same epoch, that of the smaller node key counts wherever both are known.

        One that divides the job says from which task on its lots are granted. Raises :class:`PeerError` unless the
        owner signed it.
        """
        if len(statement.body) > limits.HANDOVER_BYTES_MAX:
            raise PeerError("a handover is too long")
        said = opened(statement, Handover)
        if statement.key != self.owner or said.job != self.job or said.epoch < 1:
            raise PeerError("a handover is not the owner's, or of another job")
        if self.is_distributed:
            raise PeerError("a distributed job is its stewards', and is handed over to nobody")
        if said.first is not None:
            self._divide(statement, said.epoch, said.first)
            return
        if said.epoch > limits.TAKEOVER_EPOCH_MAX:
            raise PeerError("a handover is of an epoch that is a steward's lot's")
        key, newest = (said.epoch, said.grantor), (self.epoch, self.grantor)
        handed = newest in self._handovers
        if key not in self._handovers and len(self._handovers) >= limits.EPOCHS_MAX:
            del self._handovers[next(iter(self._handovers))]
        self._handovers[key] = statement
        known = self.handover
        if known is None or (said.epoch, known.grantor) >= (known.epoch, said.grantor):
            self.handover, self.signed_handover = said, statement
        if said.epoch > self.epoch or (said.epoch == self.epoch and (said.grantor <= self.grantor or not handed)):
            self.tenures[0].epoch, self.tenures[0].grantor = said.epoch, said.grantor

    def _divide(self, statement: Signed, epoch: int, first: int) -> None:
        if not self.is_taken_over or epoch != DIVIDED_EPOCH or first % RANGE_TASKS:
            raise PeerError("a job is divided that cannot be, or not so")
        if self.lots.first not in (None, first):
            raise PeerError("an owner divides a job twice")
        self.lots.divide(first)
        self.division = self.division or statement

    def take_over(self, key: bytes, epoch: int) -> bool:
        """Take note that the node with ``key`` grants in ``epoch``; whether that is news.

        Raises :class:`PeerError` where the epoch is not that node's.
        """
        if not self.grants(key, epoch):
            raise PeerError("a peer says that it grants a job in an epoch that is not its own")
        newest = self.tenure(epoch)
        if epoch <= newest.epoch:
            return False
        newest.epoch, newest.grantor = epoch, key
        return True

    @property
    def handovers(self) -> list[Signed]:
        """The owner's handovers that are remembered, as they came; last the one that divides the job."""
        return [*self._handovers.values(), *([] if self.division is None else [self.division])]

    # --- whose an epoch is -------------------------------------------------------------------------------------------

    @property
    def is_taken_over(self) -> bool:
        """Whether stewards become grantors of this job by themselves."""
        return bool(self.spec.stewards) and self.spec.orchestration in TAKEN_OVER

    @property
    def is_distributed(self) -> bool:
        """Whether stewards grant from the beginning, each its lots."""
        return bool(self.spec.stewards) and self.spec.orchestration == DISTRIBUTED

    @property
    def is_split(self) -> bool:
        """Whether stewards grant lots of it now, as far as is known: it is distributed, or was divided."""
        return self.lots.split

    @property
    def _round(self) -> int:
        """How many epochs of the stem there are before the same node's turn comes again: stewards', and the owner's."""
        return len(self.spec.stewards) + 1

    def _step(self, lot: int) -> tuple[int, int]:
        """From one epoch of a lot to its next, and to the next of the same node."""
        stewards = len(self.spec.stewards)
        return (1, self._round) if self.lots.is_stem(lot) else (stewards, stewards * stewards)

    def steward_of(self, epoch: int) -> Steward | None:
        """The steward whose ``epoch`` is; none where it is nobody's but the owner's to give."""
        base = 0 if self.is_distributed or epoch < DIVIDED_EPOCH else limits.TAKEOVER_EPOCH_MAX
        if not self.is_taken_over or not 0 < epoch - base <= limits.TAKEOVER_EPOCH_MAX:
            return None
        stewards = self.spec.stewards
        if self.is_distributed or base:
            turn, lot = divmod(epoch - base - 1, len(stewards))
            return stewards[(lot + turn) % len(stewards)]
        return None if epoch % self._round == 0 else stewards[epoch % self._round - 1]

    def successors(self, lot: int = 0) -> list[tuple[int, Steward]]:
        """The stewards with their next epochs, in the order in which their turns come after the newest epoch of a
        lot."""
        newest, (step, turn) = self.tenures[lot].epoch, self._step(lot)
        following = ((epoch, self.steward_of(epoch)) for epoch in range(newest + step, newest + turn + 1, step))
        return [(epoch, steward) for epoch, steward in following if steward is not None]

    @property
    def owners_epoch(self) -> int:
        """The next epoch that no steward may take by itself: the owner hands it over to whom it likes."""
        return (self.epoch // self._round + 1) * self._round

    def grants(self, key: bytes, epoch: int) -> bool:
        """Whether the node with ``key`` may grant in ``epoch``."""
        if epoch == 0:
            return key == self.spec.grantor and not self.is_distributed
        steward = self.steward_of(epoch)
        return (steward is not None and steward.key == key) or (epoch, key) in self._handovers

    def handed(self, key: bytes, epoch: int) -> bool:
        """Whether the owner gave ``epoch`` to the node with ``key``, which anybody can prove."""
        return (epoch, key) in self._handovers

    def is_first(self, epoch: int) -> bool:
        """Whether ``epoch`` is that in which a lot is granted from the beginning, by whom the spec says."""
        return epoch > 0 and self.lots.is_first(epoch)

    def far(self, epoch: int) -> bool:
        """Whether ``epoch`` is further from the newest than can have gone by unheard."""
        tenure = self.tenure(epoch)
        return epoch > tenure.epoch + limits.ROUNDS_AHEAD_MAX * self._step(tenure.lot)[1]

    def require_near(self, epoch: int) -> None:
        """Raises :class:`PeerError` for an epoch that is :meth:`far`: it would use up all those before it."""
        if self.far(epoch):
            raise PeerError("a peer says that it grants a job in an epoch that cannot have come yet")

    def key_of(self, node: bytes, epoch: int) -> bytes | None:
        """The key of the node with that id, where it may grant in ``epoch``."""
        keys = [self.spec.grantor, *(key for _, key in self._handovers)]
        keys += [steward.key for steward in self.spec.stewards]
        return next((key for key in keys if node_id(key) == node and self.grants(key, epoch)), None)

    def takes_part(self, key: bytes) -> bool:
        """Whether the node with ``key`` is the first grantor, a steward, or was handed the job by its owner: it may
        introduce the job to others."""
        if key == self.spec.grantor or any(steward.key == key for steward in self.spec.stewards):
            return True
        return any(named == key for _, named in self._handovers)

    def require_own(self, epoch: int, spans: Sequence[Span], tasks_max: int = LOG_TASKS_MAX) -> None:
        """Raises :class:`PeerError` unless all of ``spans`` may be settled, or given up, in ``epoch``.

        Of a lot these are at most ``tasks_max`` tasks, each named once: a look costs a hash for each range, and a peer
        may say any number.
        """
        lots = self.lots
        if lots.is_stem(lots.of_epoch(epoch)):
            return
        if total(spans) > tasks_max or not disjoint(spans):
            raise PeerError("a grantor speaks of tasks twice, or of more than can be in its lot")
        if not all(lots.holds(epoch, first, count) for first, count in spans):
            raise PeerError("a grantor speaks of tasks that are not in its lot")

    def writes(self, node: bytes, epoch: int, spans: Sequence[Span]) -> bool:
        """Whether the node with that id may have settled ``spans`` in ``epoch``."""
        try:
            self.require_own(epoch, spans)
        except PeerError:
            return False
        return self.key_of(node, epoch) is not None

    def require_owner(self, statement: Signed) -> None:
        """Raises :class:`PeerError` unless ``statement`` is signed by the job's owner."""
        if statement.key != self.owner:
            raise PeerError("a statement about a job is not signed by its owner")
