"""A job that runs elsewhere is cancelled by its owner's word on its stewards' disks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from p2pcpn.client.ending import cancel_kept
from p2pcpn.client.options import Options
from p2pcpn.client.reader import Reader
from p2pcpn.client.submission import Submission
from p2pcpn.errors import Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay

Peers = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\3" * 32)


@pytest.mark.asyncio
async def test_the_cancel_lies_on_the_stewards_that_answer_and_readers_see_it(
    peer: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    submission = await Submission.open(client, OWNER, Options(replicas=1), None, granting=False)
    submission.submit(pow, (2, 2), {})
    await submission.close()
    await submission.kept(10)
    reader = Reader(await peer(keeper), OWNER, submission.job)
    await reader.find()
    assert not reader.cancelled and await cancel_kept(reader) == 1
    await reader.refresh()
    assert reader.cancelled and [each async for each in reader.follow(5)] == [] and reader.missing() == [0]

    async def silent(*_: object, **__: object) -> object:
        raise Unreachable("silence")

    monkeypatch.setattr(reader.overlay, "request", silent)
    with pytest.raises(Unreachable, match="it goes on as before"):
        await cancel_kept(reader)
