"""Catching up: whoever submitted a distributed job reads its logs where nothing was told to it for a while.

Its stewards tell it at once what they settle. A steward that dies after it settled something, and before it told us,
has left it in its log; so has one that lost its session with us. What was given up meanwhile stands in no log: it is
taken as given up once all grantors say that nothing is left.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from p2pcpn.client.reader import Reader
from p2pcpn.client.resuming import deliver, values
from p2pcpn.errors import JobError, PeerError
from p2pcpn.protocol import events
from p2pcpn.wire.pages import spans_of

if TYPE_CHECKING:
    from p2pcpn.client.submission import Submission

log = logging.getLogger("p2pcpn.client")

# Tasks that take longer than this are asked after so often while they run: a question to each steward.
SILENT_S: Final = 2.0
SILENT_S_MAX: Final = 15.0
FIND_S: Final = 5.0


async def caught_up(submission: Submission) -> None:
    """Look after the results of one job for as long as its program does."""
    overlay, job = submission.overlay, submission.job
    reader = Reader(overlay, submission.owner, job)
    known, pause_s = -1, SILENT_S
    while job in overlay.listeners:
        await asyncio.sleep(pause_s)
        heard = submission.progress.delivered + submission.progress.failed
        if heard != known or not submission.unfinished():
            known, pause_s = heard, SILENT_S
            continue
        pause_s = min(2 * pause_s, SILENT_S_MAX)
        try:
            await _look(submission, reader)
        except (JobError, PeerError) as error:  # who keeps it cannot be reached now
            log.info("%s", error)


async def _look(submission: Submission, reader: Reader) -> None:
    overlay = submission.overlay
    if reader.authority is None:
        await reader.find(FIND_S)
    else:
        await reader.refresh()
    deliver(submission, await values(reader, await reader.read()))
    spans, now = spans_of(sorted(reader.results)), overlay.loop.time()
    overlay.follow(
        overlay.peer.with_grantor(submission.job, lambda grantor: grantor.settled_elsewhere(spans, now), now)
    )
    hear = overlay.listeners.get(submission.job)
    # A future that failed fails for good, so what only seems lost is waited for: whoever has it may be cut off.
    ended = reader.over and not reader.bereft
    if ended and not reader.complete and not reader.cancelled and hear is not None:
        hear(events.GaveUp(submission.job, reader.missing(), "its grantor gave it up, and says no more of it"))
