"""Ending a job that runs elsewhere: the owner's signed cancel, brought to the stewards."""

from __future__ import annotations

import asyncio
import time

from p2pcpn.client.reader import Reader
from p2pcpn.errors import Unreachable
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Answer, AnswerCode, Finish
from p2pcpn.wire.statements import Cancel, signed


async def cancel_kept(reader: Reader) -> int:
    """Cancel a job that was found; returns how many stewards have it on disk. Raises :class:`Unreachable` for none."""
    statement = signed(Cancel(reader.job, time.time()), reader.owner)

    async def tell(contact: Contact) -> bool:
        try:
            answer = await reader.overlay.request(contact, lambda r: Finish(r, statement))
        except Unreachable:
            return False
        return isinstance(answer, Answer) and answer.code == AnswerCode.DONE

    assert reader.authority is not None, "find() comes first"
    told = sum(await asyncio.gather(*(tell(s.contact) for s in reader.authority.spec.stewards)))
    if not told:
        raise Unreachable("no steward of the job answered; it was not cancelled")
    return told
