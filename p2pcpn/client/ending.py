"""Ending a job that runs elsewhere: the owner's signed cancel, brought to the stewards."""

from __future__ import annotations

import asyncio
import time

from p2pcpn.client.reader import Reader
from p2pcpn.errors import Unreachable
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Answer, AnswerCode, Finish
from p2pcpn.wire.statements import Cancel, Signed, signed


async def cancel_kept(reader: Reader) -> int:
    """Cancel a job that was found; returns how many stewards have it on disk. Raises :class:`Unreachable` for none."""
    return await told(reader, signed(Cancel(reader.job, time.time()), reader.owner))


async def told(reader: Reader, statement: Signed) -> int:
    """Bring the owner's word on a job to its stewards, who pass it on to whoever grants.

    Returns how many have it on disk. Raises :class:`Unreachable` for none.
    """

    async def tell(contact: Contact) -> bool:
        try:
            answer = await reader.overlay.request(contact, lambda r: Finish(r, statement))
        except Unreachable:
            return False
        return isinstance(answer, Answer) and answer.code == AnswerCode.DONE

    assert reader.authority is not None, "find() comes first"
    count = sum(await asyncio.gather(*(tell(s.contact) for s in reader.authority.spec.stewards)))
    if not count:
        raise Unreachable("no steward of the job answered; it goes on as before")
    return count
