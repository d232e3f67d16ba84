"""Who is in a swarm and what each can do: the adverts that a peer hears when it joins, as plain rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from p2pcpn.client.connection import Meeting, joined
from p2pcpn.node.control import described
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol.grantor import Grantor

LOOK_S: Final = 0.05
QUIET_S: Final = 0.3


async def adverts(where: Meeting, env: Mapping[str, str], wait_s: float) -> list[dict[str, Any]]:
    """The adverts heard within ``wait_s``, by node id; sooner when nothing new has come for ``QUIET_S``.

    Raises :class:`~p2pcpn.errors.Unreachable` where no peer answers.
    """
    async with joined(where, env) as overlay:
        await heard(overlay, wait_s)
        now = overlay.loop.time()
        rows = []
        for listed in overlay.peer.directory.listed(now):
            node = listed.advert.contact.id
            if node == overlay.id or not listed.advert.roles:  # clients come and go
                continue
            srtt_s = overlay.peer.roundtrips.srtt_s(node)
            rows.append(described(listed, now) | {"rtt_ms": None if srtt_s is None else round(srtt_s * 1000, 3)})
        return rows


async def heard(overlay: Overlay, wait_s: float) -> None:
    """Wait until no further peer is heard of for ``QUIET_S``, or ``wait_s`` is over."""
    loop = overlay.loop
    end = loop.time() + wait_s
    count, since = -1, loop.time()
    while loop.time() < end:
        known = len(overlay.peer.directory)
        if known != count:
            count, since = known, loop.time()
        elif loop.time() - since >= QUIET_S:
            return
        await asyncio.sleep(LOOK_S)


def slots_of(overlay: Overlay, grantor: Grantor | None) -> int:
    """How many slots work for a job that is granted here; where others grant, too, as many as peers say they have."""
    if grantor is None or (grantor.granting and grantor.division is None):
        return 0 if grantor is None else grantor.book.participants.slots
    return sum(listed.advert.slots for listed in overlay.peer.directory.listed(overlay.loop.time()))
