"""Authority over a job: who may grant it, and in which epoch. Shared by workers, stewards and readers.

Epoch 0 belongs to the grantor named in the spec; a later epoch to the steward that the owner's handover names. An older
epoch stays authorised after a newer one began: what it settled counts.
"""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.wire.sealing import job_id
from p2pcpn.wire.statements import Handover, Signed, Spec, opened


class Authority:
    """The signed spec of a job, checked; its newest handover where there is one; and who else ever was made grantor."""

    __slots__ = ("_grantors", "handover", "job", "owner", "signed_handover", "signed_spec", "spec")

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
        self._grantors: dict[tuple[int, bytes], None] = {(0, self.spec.grantor): None}

    def hand_over(self, statement: Signed) -> None:
        """Take note of a handover; an older one changes nothing but whom we believe about its own epoch.

        Raises :class:`PeerError` unless the owner signed it, for a steward of the job.
        """
        said = opened(statement, Handover)
        if statement.key != self.owner or said.job != self.job or said.epoch < 1:
            raise PeerError("a handover is not the owner's, or of another job")
        if said.grantor not in {steward.key for steward in self.spec.stewards}:
            raise PeerError("a handover names a peer that is no steward of the job")
        key = (said.epoch, said.grantor)
        if key not in self._grantors:
            if len(self._grantors) > limits.EPOCHS_MAX:  # the first grantor stays: most of a job is its work
                del self._grantors[list(self._grantors)[1]]
            self._grantors[key] = None
        if self.handover is None or said.epoch >= self.handover.epoch:
            self.handover, self.signed_handover = said, statement

    @property
    def epoch(self) -> int:
        """The newest epoch."""
        return 0 if self.handover is None else self.handover.epoch

    @property
    def grantor(self) -> bytes:
        """The node key of the newest epoch's grantor."""
        return self.spec.grantor if self.handover is None else self.handover.grantor

    def grants(self, key: bytes, epoch: int) -> bool:
        """Whether the node with ``key`` may grant in ``epoch``."""
        return (epoch, key) in self._grantors

    def takes_part(self, key: bytes) -> bool:
        """Whether the node with ``key`` is the first grantor or a steward: it may introduce the job to others."""
        return key == self.spec.grantor or any(steward.key == key for steward in self.spec.stewards)

    def require_owner(self, statement: Signed) -> None:
        """Raises :class:`PeerError` unless ``statement`` is signed by the job's owner."""
        if statement.key != self.owner:
            raise PeerError("a statement about a job is not signed by its owner")
