"""Dividing: a hybrid job that one submitter serves no longer alone is its stewards' from one task on, each its lot.

The grantor here says when (``protocol/dividing``), and goes on with what it leased. What becomes of the rest its
stewards tell, as of a distributed job, and what is lost on the way stands in the logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pcpn.client.catching_up import caught_up
from p2pcpn.client.options import Options
from p2pcpn.identity.keys import KEY_BYTES, Keypair
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.lots import DIVIDED_EPOCH
from p2pcpn.wire.statements import Handover, Signed, signed

if TYPE_CHECKING:
    from p2pcpn.client.submission import Submission


def peers_served(options: Options) -> int:
    """With how many peers a job is divided; zero: never. One whose slots are bounded its submitter serves alone."""
    divided = options.orchestration == "hybrid" and options.max_workers is None
    return (options.divide_at or 0) if divided else 0


def division(owner: Keypair, grantor: Grantor) -> Signed:
    """The word on a job that is granted here: what lies behind the last task that was ever leased is its stewards'."""
    return signed(Handover(grantor.job, DIVIDED_EPOCH, bytes(KEY_BYTES), grantor.border), owner)


def divide(submission: Submission) -> None:
    """The stewards grant from now on what was not leased here. Once; and not what another grants by now."""
    overlay = submission.overlay
    grantor = overlay.peer.grantors.get(submission.job)
    if grantor is None or grantor.division is not None or grantor.superseded:
        return
    submission.progress.everybody = True
    overlay.follow(overlay.peer.presiding.divide(division(submission.owner, grantor)))
    overlay.spawn(caught_up(submission))
