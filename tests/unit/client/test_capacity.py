"""Every peer that is there is listed, clients are not, and listening ends."""

from __future__ import annotations

from p2pcpn.client.capacity import adverts, heard
from p2pcpn.client.connection import Meeting, joined, run
from p2pcpn.client.swarm import Swarm


def test_every_peer_is_listed_with_what_it_can_do(pair: Swarm, where: Meeting, env: dict[str, str]) -> None:
    found = run(adverts(where, env, 5.0))
    assert {peer["id"] for peer in found} == {peer.id for peer in pair.peers}
    for peer in found:
        assert peer["slots"] == 1 and peer["roles"] == ["compute", "storage"] and peer["runtimes"] == ["function"]
        assert peer["rtt_ms"] is None or peer["rtt_ms"] >= 0  # a loop's clock may stand still meanwhile


def test_clients_that_are_there_as_well_are_not_listed(pair: Swarm, where: Meeting, env: dict[str, str]) -> None:
    async def look() -> int:
        async with joined(where, env) as other:
            await heard(other, 1.0)
            return len(await adverts(where, env, 1.0))

    assert run(look()) == 2


def test_listening_ends_when_its_time_is_over(where: Meeting, env: dict[str, str]) -> None:
    async def look() -> None:
        async with joined(where, env) as overlay:
            await heard(overlay, 0.0)

    run(look())
