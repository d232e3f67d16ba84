"""Publishing: what this peer says of its own in the DHT: records under a key of its program, and what it provides.

Versions follow the wall clock, in milliseconds, and never stand still: so they grow over restarts, too. No version of
a record ends before the one that it replaces, which anybody could bring back then. What is provided is signed anew
each hour, for three: others forget within three hours that a peer which died provided anything. Nothing here outlives
the process; who keeps blobs on disk says so again when it starts.

The API of provider records, for whoever keeps or seeks what is large (``name`` is a blob's digest or a job's id):

- ``peer.publishing.provide(name, now, ...)``: from now on others find this peer under ``name``, until ``withdraw`` or
  the end of the retention. ``Notify(PutDone)`` follows where a ticket was given.
- ``peer.publishing.withdraw(name, now)``: not any more.
- ``peer.publishing.find(name, ticket, now, wanted=16)``: ``Notify(ProvidersDone)`` follows, with the valid
  ``ProviderRecord`` of each: ``contact`` says where, ``value`` (64 bytes) whatever the two sides agree on.
- Their effects are followed with ``peer.perform(effects, now)``. ``Overlay.provide``, ``withdraw`` and
  ``find_providers`` are the same, to be awaited.

Those found need not have what they say: a hostile peer provides anything. What is got from them is checked by its hash.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.errors import UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.dht import Dht
from p2pcpn.protocol.effects import Effect
from p2pcpn.protocol.items import provider_key
from p2pcpn.protocol.timetable import Timetable
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.statements import ProviderRecord, Record, signed, vouch

# A provider that is withdrawn says so for as long as an older word of it may be about.
NOWHERE = 0
# What the peer's own machines say and ends sooner is told nobody: a lookup takes as long, and clocks differ by more.
PUBLISHED_S_MIN = 1.0


@dataclass(slots=True)
class _Provided:
    until_s: float  # wall clock
    value: bytes


class Publishing:
    """See the module. ``contact()`` is where this peer is found; ``wall()`` the wall clock."""

    def __init__(
        self, me: Keypair, contact: Callable[[], Contact], dht: Dht, wall: Callable[[], float], rng: random.Random
    ) -> None:
        self._me = me
        self._contact = contact
        self._dht = dht
        self._wall = wall
        self._rng = rng
        self._said: OrderedDict[bytes, tuple[int, float]] = OrderedDict()  # by name: the last version, and its end
        self._provided: dict[bytes, _Provided] = {}
        self._turns = Timetable()

    def __len__(self) -> int:
        return len(self._provided)

    @property
    def full(self) -> bool:
        """Whether nothing else can be provided."""
        return len(self._provided) >= limits.PROVIDED_MAX

    def provides(self, name: bytes) -> bool:
        """Whether ``name`` is provided here."""
        return name in self._provided

    def put_record(
        self,
        salt: bytes,
        value: bytes,
        retention_s: float,
        keypair: Keypair,
        ticket: int,
        now: float,
        copies: int | None = None,
        *,
        again: bool = False,
    ) -> list[Effect]:
        """Put a record under ``keypair`` and ``salt``, one version above the last of this peer; then ``PutDone``.

        ``again``: to those who kept the last version, without a lookup, where enough did within the hour.
        It is kept for ``retention_s``, and no shorter than the last version is.
        Fewer ``copies`` than usual come sooner; within the hour there are as many as of others.
        """
        wall = self._wall()
        name = keypair.public + salt
        _, before_s = self._said.get(name, (0, 0.0))
        retention_s = min(max(retention_s, before_s - wall), limits.RECORD_RETENTION_S_MAX)
        record = Record(salt, self._next(name, wall, retention_s), wall, retention_s, value)
        said = signed(record, keypair)
        vouch(said)
        return self._dht.put(said, ticket, now, wall, copies, again=again)

    def provide(
        self,
        name: bytes,
        now: float,
        *,
        retention_s: float = limits.RETENTION_S,
        value: bytes = b"",
        ticket: int | None = None,
    ) -> list[Effect]:
        """Say that this peer provides ``name`` for ``retention_s``, now and each hour.

        Raises :class:`UsageError` where too much is provided already, or ``value`` is too long.
        """
        if name not in self._provided and self.full:
            raise UsageError(f"this peer provides {limits.PROVIDED_MAX} things already")
        if len(value) > limits.PROVIDER_VALUE_BYTES_MAX:
            raise UsageError(f"a provider's value has {len(value)} bytes; at most {limits.PROVIDER_VALUE_BYTES_MAX}")
        wall = self._wall()
        self._provided[name] = _Provided(wall + retention_s, value)
        return self._say(name, ticket, now, wall)

    def withdraw(self, name: bytes, now: float) -> list[Effect]:
        """Say that this peer does not provide ``name`` any more."""
        if self._provided.pop(name, None) is None:
            return []
        self._turns.drop(name)
        here = self._contact()
        return self._put(
            name, Contact(here.id, here.host, NOWHERE), limits.PROVIDER_RETENTION_S, b"", None, now, self._wall()
        )

    def find(self, name: bytes, ticket: int, now: float, wanted: int = limits.PROVIDERS_WANTED) -> list[Effect]:
        """Look up who provides ``name``; ``Notify(ProvidersDone)`` follows."""
        return self._dht.get_providers(provider_key(name), ticket, now, self._wall(), wanted)

    def deadline(self) -> float | None:
        """When something is to be said again."""
        return self._turns.deadline()

    def expire(self, now: float) -> list[Effect]:
        """Say again what is still provided."""
        effects: list[Effect] = []
        wall = self._wall()
        while (name := self._turns.take(now)) is not None:
            if self._provided[name].until_s > wall:
                effects += self._say(name, None, now, wall)
            else:
                del self._provided[name]
        return effects

    def _say(self, name: bytes, ticket: int | None, now: float, wall: float) -> list[Effect]:
        provided = self._provided[name]
        self._turns.set(name, now + limits.REFRESH_S * self._rng.uniform(0.8, 1.2))
        retention_s = min(limits.PROVIDER_RETENTION_S, provided.until_s - wall)
        return self._put(name, self._contact(), retention_s, provided.value, ticket, now, wall)

    def _put(
        self,
        name: bytes,
        where: Contact,
        retention_s: float,
        value: bytes,
        ticket: int | None,
        now: float,
        wall: float,
    ) -> list[Effect]:
        key = provider_key(name)
        record = ProviderRecord(key, self._next(key, wall, retention_s), wall, retention_s, where, value)
        said = signed(record, self._me)
        vouch(said)
        return self._dht.provide(said, ticket, now, wall)

    def _next(self, name: bytes, wall: float, retention_s: float) -> int:
        """The next version of what is published under ``name``."""
        before, _ = self._said.pop(name, (0, 0.0))
        seq = max(int(wall * 1000), before + 1)
        self._said[name] = (seq, wall + retention_s)
        if len(self._said) > limits.PUBLISHED_RECORDS_MAX + limits.PROVIDED_MAX:
            self._said.popitem(last=False)  # put so long ago that the clock has gone on
        return seq
