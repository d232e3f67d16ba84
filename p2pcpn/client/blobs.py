"""Blobs: files of any size that the swarm keeps: put, brought back, and listed.

``await node.put_blob("file")`` gives a name; whoever has the name can read the blob, from any peer, until its retention
ends. Peers that keep it see neither its bytes nor its file's name.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from p2pcpn import limits
from p2pcpn.client.getting import get_blob, read_blob, stream_blob
from p2pcpn.client.putting import NOTES, REPLICAS, Note, OnProgress, Placed, note_context, put_blob
from p2pcpn.errors import PeerError, Unreachable
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol.deposits import precedence
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.chunks import note_key
from p2pcpn.wire.manifests import BlobName, parse_name
from p2pcpn.wire.sealing import unseal
from p2pcpn.wire.statements import Deposit, Signed, opened

__all__ = [
    "REPLICAS", "Listing", "OnProgress", "Owned", "Placed", "get_blob", "listing", "own_blobs", "parse_name",
    "put_blob", "read_blob", "stream_blob",
]  # fmt: skip

LIST_WAIT_S: Final = 3.0
# Peers that are asked for what they keep of an owner, so many at a time: each is a session.
LISTED_PEERS_MAX: Final = limits.SESSIONS_MAX // 2
LISTED_AT_ONCE: Final = 64
PAGES_MAX: Final = limits.DEPOSITS_PER_OWNER_MAX // limits.COMPARED_MAX


@dataclass(frozen=True, slots=True)
class Owned:
    """A blob of ours as peers keep it. ``replicas`` is how many answer for the section that fewest keep (0: one is
    lost); ``name`` is empty where the note beside it does not open.
    """

    name: str
    file: str
    size_bytes: int
    replicas: int
    wanted: int
    created_s: float
    expires_s: float


@dataclass(frozen=True, slots=True)
class Listing:
    """An owner's blobs, newest first, as far as is known: ``silent`` peers that keep blobs did not answer, ``unasked``
    ones are known beside those that were asked."""

    blobs: list[Owned]
    asked: int
    silent: int
    unasked: int


async def own_blobs(overlay: Overlay, owner: Keypair) -> list[Owned]:
    """The owner's blobs that peers of the swarm keep, newest first."""
    return (await listing(overlay, owner)).blobs


async def listing(overlay: Overlay, owner: Keypair) -> Listing:
    """The owner's blobs, and how many of the peers that keep blobs have said what they have."""
    peers = overlay.hauler.storage_near(owner.public)
    asked, gate = peers[:LISTED_PEERS_MAX], asyncio.Semaphore(LISTED_AT_ONCE)

    async def ask(peer: Contact) -> dict[bytes, Signed] | None:
        async with gate:
            return await _of_peer(overlay, owner, peer)

    answers = await asyncio.gather(*map(ask, asked))
    found = _owned(owner, [kept for kept in answers if kept is not None])
    return Listing(found, len(asked), answers.count(None), len(peers) - len(asked))


def _owned(owner: Keypair, answers: list[dict[bytes, Signed]]) -> list[Owned]:
    """What peers said that they keep, put together."""
    newest: dict[bytes, Deposit] = {}
    roots: dict[bytes, Signed] = {}
    counts: dict[bytes, int] = {}
    for kept in answers:
        for name, envelope in kept.items():
            deposit = opened(envelope, Deposit)
            counts[name] = counts.get(name, 0) + 1
            known = newest.get(name)
            if known is None or precedence(deposit) > precedence(known):
                newest[name] = deposit
                if deposit.is_root:
                    roots[name] = envelope
    found = []
    for name in roots:
        root = newest[name]
        sections = [counts[each] for each, deposit in newest.items() if deposit.blob == root.blob]
        whole = len(sections) == (root.parts + 1 if root.parts else 1)
        note = _note(owner, root)
        found.append(
            Owned(
                "" if note is None else str(BlobName(name, note.key)), "" if note is None else note.file,
                root.size_bytes, min(sections) if whole else 0, root.replicas, root.created_s,
                root.created_s + root.retention_s,
            )
        )  # fmt: skip
    return sorted(found, key=lambda each: (-each.created_s, each.name))


async def _of_peer(overlay: Overlay, owner: Keypair, peer: Contact) -> dict[bytes, Signed] | None:
    """What one peer keeps of the owner, as far as it says so; none where it does not answer at all."""
    found: dict[bytes, Signed] = {}
    after = b""
    try:
        for _ in range(PAGES_MAX):
            answer = await overlay.request(peer, partial(_question, owner.public, after), LIST_WAIT_S)
            if not isinstance(answer, m.Deposits):
                break
            for envelope in answer.deposits:
                if envelope.key == owner.public:
                    after = opened(envelope, Deposit).name
                    found[after] = envelope
            if not answer.more or not answer.deposits:
                break
    except PeerError:
        pass  # who says what cannot be is asked no more
    except Unreachable:
        return found or None
    return found


def _question(owner: bytes, after: bytes, number: int) -> m.ListDeposits:
    return m.ListDeposits(number, owner, after)


def _note(owner: Keypair, deposit: Deposit) -> Note | None:
    try:
        key = note_key(owner, note_context(deposit.name, deposit.created_s))
        return NOTES.decode(unseal(key, 0, deposit.note))
    except PeerError:
        return None
