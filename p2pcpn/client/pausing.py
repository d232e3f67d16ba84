"""Pausing a job that runs elsewhere, and letting it go on: the owner's signed word, brought to the stewards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from p2pcpn.client.ending import told
from p2pcpn.client.reader import Reader
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.wire.statements import Pause, Signed, read, signed

if TYPE_CHECKING:
    from p2pcpn.client.submission import Submission


def pause_statement(job: bytes, owner: Keypair, known: int, *, paused: bool) -> Signed:
    """The owner's newest word on whether ``job`` pauses: newer than number ``known``, and than what another machine of
    the owner said of which nobody has told us."""
    return signed(Pause(job, max(known + 1, int(time.time() * 1000)), paused), owner)


def paused_by(owner: Keypair, grantor: Grantor, *, paused: bool) -> Signed:
    """The owner's newest word to a grantor of its own node."""
    known = 0 if grantor.pause is None else read(grantor.pause, Pause).number
    return pause_statement(grantor.job, owner, known, paused=paused)


def pause_here(submission: Submission, *, paused: bool) -> None:
    """Have a job of this program wait, or go on: what runs may end, and nothing else begins while it waits."""
    overlay, owner = submission.overlay, submission.owner
    now = overlay.loop.time()
    overlay.follow(
        overlay.peer.with_grantor(submission.job, lambda g: g.pause_job(paused_by(owner, g, paused=paused), now), now)
    )


async def pause_kept(reader: Reader, *, paused: bool) -> int:
    """Pause a job that was found, or let it go on; returns how many stewards have it on disk.

    Raises :class:`~p2pcpn.errors.Unreachable` for none.
    """
    return await told(reader, pause_statement(reader.job, reader.owner, reader.pause_number, paused=paused))
