"""Dividing: the owner's word by which a job's stewards grant what its submitter has not leased, each its lot of it."""

from __future__ import annotations

from p2pcpn.identity.keys import KEY_BYTES, Keypair
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.lots import DIVIDED_EPOCH
from p2pcpn.wire.statements import Handover, Signed, signed


def division(owner: Keypair, grantor: Grantor) -> Signed:
    """The word on a job that is granted here: what lies behind the last task that was ever leased is its stewards'."""
    return signed(Handover(grantor.job, DIVIDED_EPOCH, bytes(KEY_BYTES), grantor.border), owner)
