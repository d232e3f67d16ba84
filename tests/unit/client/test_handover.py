"""The first steward that says yes becomes the grantor; without one it is said why."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcpn.client.handover import handed_over
from p2pcpn.errors import Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.messages import Answer, AnswerCode, Take
from p2pcpn.wire.statements import Handover, Steward, opened

OWNER = Keypair(b"\1" * 32)
STEWARDS = [
    Steward(Keypair(bytes([i]) * 32).public, contact(bytes([i]) * 20, ("127.0.0.1", i)), b"") for i in (1, 2, 3)
]
YES, NO = Answer(1, AnswerCode.DONE, ""), Answer(1, AnswerCode.REFUSED, "is full")


class Peers:
    """Answers for the stewards, in turn."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Take] = []

    async def request(self, _: Any, ask: Any, wait_s: float) -> Any:
        self.asked.append(ask(1))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.asyncio
async def test_the_first_that_says_yes_takes_it_in_an_epoch_of_its_own() -> None:
    peers: Any = Peers(Unreachable("silence"), NO, YES)
    steward, take = await handed_over(peers, OWNER, b"j" * 20, STEWARDS, 1.0)
    said = opened(take, Handover)
    assert steward is STEWARDS[2] and (said.epoch, said.grantor) == (3, steward.key) and take.key == OWNER.public
    assert len(peers.asked) == 3


@pytest.mark.asyncio
async def test_without_any_the_reasons_are_told() -> None:
    peers: Any = Peers(Unreachable("silence"), NO, object())
    with pytest.raises(Unreachable, match="silence; is full; an unexpected answer"):
        await handed_over(peers, OWNER, b"j" * 20, STEWARDS, 1.0)
