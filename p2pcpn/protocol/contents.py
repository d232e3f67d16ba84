"""Contents: small items that nobody signs and nobody can change, because their key is their hash (BEP 44, immutable).

No owner pays for a content, so whoever sends it does: each sender has a share, and each network group. It lives for as
long as its putter asked, a week at most, and longer when it is put again.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Write
from p2pcpn.protocol.holding import OURS, Judged, KeyedHolding, Row, answer, one_less
from p2pcpn.protocol.items import ContentItem, content_key
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.datagrams import PutContent, StoreCode


@dataclass(slots=True)
class _Held:
    content: bytes
    expires_s: float
    sender: bytes
    group: Hashable


class Contents(KeyedHolding[_Held]):
    """The contents this peer holds for others, at most ``limits.CONTENTS_MAX``."""

    def __init__(self, rng: random.Random, *, storage: bool = True) -> None:
        super().__init__(rng, storage=storage)
        self._senders: dict[bytes, int] = {}
        self._groups: dict[Hashable, int] = {}

    def get(self, key: bytes, wall: float) -> bytes | None:
        """The content under ``key``, if it is held and has not expired."""
        held = self._live(key, wall)
        return held.content if held is not None else None

    def item(self, key: bytes, wall: float) -> ContentItem | None:
        held = self._live(key, wall)
        return ContentItem(held.content, held.expires_s) if held is not None else None

    def put(self, sender: Contact, group: Hashable, message: PutContent, now: float, wall: float) -> list[Effect]:
        """Answer ``message``: ``Stored(KEPT)`` is said after the content is durable, any refusal at once."""
        judged = self.keep(message.content, message.retention_s, sender.id, group, now, wall)
        return answer(sender, message.nonce, judged)

    def keep(
        self, content: bytes, retention_s: float, sender: bytes, group: Hashable, now: float, wall: float
    ) -> Judged:
        """Hold ``content`` for ``retention_s``, at the expense of ``sender``, or longer where it is held already."""
        if not self.storage or not content or not 0 < retention_s <= limits.CONTENT_RETENTION_S_MAX:
            return StoreCode.REFUSED, 0, ()
        key = content_key(content)
        held = self._held.get(key)
        if held is not None:
            held.expires_s = max(held.expires_s, wall + retention_s)
        elif self._is_full(sender, group):
            return StoreCode.FULL, 0, ()
        else:
            held = self._hold(key, _Held(content, wall + retention_s, sender, group), now)
        self.put_off(key, now)
        return StoreCode.KEPT, 0, (Write("records", (key,), (b"", 0, held.expires_s, content)),)

    def restore(self, rows: Iterable[Row], now: float, wall: float) -> int:
        """Hold again what this peer's disk held; who sent it is not known any more. Returns how many came."""
        before = len(self._held)
        for key, _, _, expires_s, content in rows:
            fits = key not in self._held and len(self._held) < limits.CONTENTS_MAX
            if fits and expires_s > wall and content_key(content) == key:
                self._hold(key, _Held(content, expires_s, b"", OURS), now)
                self._restored(key, now)
        return len(self._held) - before

    def drop(self, key: bytes) -> tuple[Write, ...]:
        held = self._held.pop(key)
        self._turns.drop(key)
        one_less(self._senders, held.sender)
        one_less(self._groups, held.group)
        return (Write("records", (key,), None),)

    def statistics(self) -> dict[str, int]:
        """How many contents are held."""
        return {"contents": len(self._held)}

    def _is_full(self, sender: bytes, group: Hashable) -> bool:
        return len(self._held) >= limits.CONTENTS_MAX or (
            group != OURS
            and (
                self._senders.get(sender, 0) >= limits.CONTENTS_PER_SENDER_MAX
                or self._groups.get(group, 0) >= limits.CONTENTS_PER_GROUP_MAX
            )
        )

    def _hold(self, key: bytes, held: _Held, now: float) -> _Held:
        self._held[key] = held
        self._senders[held.sender] = self._senders.get(held.sender, 0) + 1
        self._groups[held.group] = self._groups.get(held.group, 0) + 1
        self._began(now)
        return held
