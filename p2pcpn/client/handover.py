"""Handover: the owner makes a steward the grantor of a job, the first that says yes."""

from __future__ import annotations

from collections.abc import Sequence

from p2pcpn.errors import Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.wire.messages import Answer, AnswerCode, Take
from p2pcpn.wire.statements import Handover, Signed, Steward, signed


async def handed_over(
    overlay: Overlay, owner: Keypair, job: bytes, stewards: Sequence[Steward], wait_s: float
) -> tuple[Steward, Signed]:
    """Who took the job, and the owner's word for it. Raises :class:`Unreachable` when no steward did."""
    refusals: list[str] = []
    for epoch, steward in enumerate(stewards, start=1):
        take = signed(Handover(job, epoch, steward.key), owner)
        try:
            answer = await overlay.request(steward.contact, lambda request, take=take: Take(request, take), wait_s)  # type: ignore[misc]
        except Unreachable as error:
            refusals.append(str(error))
            continue
        if isinstance(answer, Answer) and answer.code == AnswerCode.DONE:
            return steward, take
        refusals.append(answer.text if isinstance(answer, Answer) else "an unexpected answer")
    raise Unreachable("no steward took the job over: " + "; ".join(refusals))
