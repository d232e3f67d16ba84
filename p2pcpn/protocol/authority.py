"""Authority over a job: who may grant it, and in which epoch. Shared by workers, stewards and readers.

Epoch 0 belongs to the grantor named in the spec; a later epoch to the steward that the owner's handover names.
"""

from __future__ import annotations

from p2pcpn.errors import PeerError
from p2pcpn.wire.sealing import job_id
from p2pcpn.wire.statements import Handover, Signed, Spec, opened


class Authority:
    """The signed spec of a job, checked, and its handover where there is one."""

    __slots__ = ("handover", "job", "owner", "signed_handover", "signed_spec", "spec")

    def __init__(self, spec: Signed) -> None:
        """Raises :class:`PeerError` unless ``spec`` is a spec and its signature is right."""
        self.spec = opened(spec, Spec)
        self.signed_spec = spec
        self.owner = spec.key
        self.job = job_id(spec.key, spec.body)
        self.signed_handover: Signed | None = None
        self.handover: Handover | None = None

    def hand_over(self, statement: Signed) -> None:
        """Take note of a handover. Raises :class:`PeerError` unless the owner signed it, for a steward of the job."""
        said = opened(statement, Handover)
        if statement.key != self.owner or said.job != self.job or said.epoch < 1:
            raise PeerError("a handover is not the owner's, or of another job")
        if said.grantor not in {steward.key for steward in self.spec.stewards}:
            raise PeerError("a handover names a peer that is no steward of the job")
        if self.handover is not None and said.epoch < self.handover.epoch:
            raise PeerError("a handover is older than the one known")
        self.handover, self.signed_handover = said, statement

    def grants(self, key: bytes, epoch: int) -> bool:
        """Whether the node with ``key`` may grant in ``epoch``."""
        if epoch == 0:
            return key == self.spec.grantor
        return self.handover is not None and self.handover.epoch == epoch and self.handover.grantor == key

    def require_owner(self, statement: Signed) -> None:
        """Raises :class:`PeerError` unless ``statement`` is signed by the job's owner."""
        if statement.key != self.owner:
            raise PeerError("a statement about a job is not signed by its owner")
