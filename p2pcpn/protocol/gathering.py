"""Gathering: a lookup of the providers of a key, from the pages of several holders, none of which is believed alone.

What holders name is remembered unchecked, of each provider one version a holder. At the end those that most holders
named come first, of each network group its best before any second, and signatures are checked in that order until as
many are right as were wanted: a holder that invents providers has them behind all that others know, and one that
invents versions costs a check for each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol.operations import Ask, Finding
from p2pcpn.protocol.providers import read_provider
from p2pcpn.protocol.requests import Reply, Request
from p2pcpn.wire.addresses import Address, Contact
from p2pcpn.wire.datagrams import GetProviders, Providers
from p2pcpn.wire.statements import ProviderRecord, Signed, opened


@dataclass(frozen=True, slots=True)
class ProvidersDone:
    """``records`` are valid, newest version each, and say where; those that most holders named come first.

    ``holders`` answered with some. Whoever took its record back is not among them.
    """

    ticket: int
    key: bytes
    records: tuple[ProviderRecord, ...]
    holders: int


@dataclass(slots=True)
class _Heard:
    signed: Signed
    record: ProviderRecord
    holders: set[bytes] = field(default_factory=set)


class Gathering(Finding):
    """See the module. ``wanted`` providers are enough; ``held`` are those that this peer holds for others."""

    def __init__(
        self,
        key: bytes,
        held: list[Signed],
        wanted: int,
        wall: float,
        ticket: int,
        network_group: Callable[[Address], Hashable],
    ) -> None:
        super().__init__(key, ticket)
        self._wanted = wanted
        self._network_group = network_group
        self._heard: dict[tuple[bytes, bytes, bytes], _Heard] = {}  # by signer, body and signature
        self._named: dict[bytes, set[bytes]] = {}  # by holder: the signers it has named
        self._told: dict[bytes, int] = {}  # by holder: how many entries it has told
        self._pages: dict[bytes, Contact] = {}  # who is asked for a further page
        self._more: list[Contact] = []  # who is to be asked for one
        self._hear(bytes(20), held, wall)

    def asks(self) -> list[Ask]:
        asks = super().asks()
        for contact in self._more:
            self._pages[contact.id] = contact
            asks.append((contact, self._page_after(self._told[contact.id])))
        self._more = []
        return asks

    def answered(self, asked: Contact, reply: Reply, wall: float) -> None:
        """Hear the entries of ``reply``, and ask for more where some are left and too few are known."""
        if not isinstance(reply, Providers):
            return
        is_first = self._pages.pop(asked.id, None) is None
        told = self._told[asked.id] = self._told.get(asked.id, 0) + len(reply.entries)
        self._hear(asked.id, reply.entries, wall)
        if is_first:
            self.lookup.answered(asked, reply.contacts)
        if reply.entries:
            self.lookup.impatient = True
        enough = len({signer for signer, _, _ in self._heard}) >= self._wanted
        if reply.entries and reply.left and told < limits.PROVIDERS_PER_KEY_MAX and not enough:
            self._more.append(asked)

    def late(self, asked: Contact) -> None:
        if asked.id not in self._pages:
            super().late(asked)

    def failed(self, asked: Contact) -> None:
        if self._pages.pop(asked.id, None) is None:
            super().failed(asked)

    @property
    def done(self) -> bool:
        return self.lookup.done and not self._pages and not self._more

    def result(self) -> ProvidersDone:
        """What came of it, for whoever asked."""
        assert self.ticket is not None
        records, holders = self.providers()
        return ProvidersDone(self.ticket, self.target, records, holders)

    def providers(self) -> tuple[tuple[ProviderRecord, ...], int]:
        """The providers found, and how many holders named any."""
        newest: dict[bytes, list[_Heard]] = {}
        for (signer, _, _), heard in self._heard.items():
            newest.setdefault(signer, []).append(heard)
        for versions in newest.values():
            versions.sort(key=lambda heard: (-heard.record.seq, -len(heard.holders), heard.signed.signature))
        order: list[tuple[int, int, float, bytes]] = []
        ranks: dict[Hashable, int] = {}
        best = [
            (-max(len(heard.holders) for heard in versions), -versions[0].record.created_s, signer)
            for signer, versions in newest.items()
        ]
        for named, age, signer in sorted(best):
            contact = newest[signer][0].record.contact
            group = self._network_group(contact.address) if contact.usable else None
            order.append((ranks.get(group, 0), named, age, signer))
            ranks[group] = ranks.get(group, 0) + 1
        found: list[ProviderRecord] = []
        checks = limits.PROVIDERS_CHECKED_MAX
        for _, _, _, signer in sorted(order):
            for heard in newest[signer]:
                if len(found) == self._wanted or not checks:
                    break
                checks -= 1
                try:
                    opened(heard.signed, ProviderRecord)
                except PeerError:
                    continue
                if heard.record.contact.usable:
                    found.append(heard.record)
                break
        return tuple(found), len({node for heard in self._heard.values() for node in heard.holders})

    def _hear(self, holder: bytes, entries: list[Signed], wall: float) -> None:
        named = self._named.setdefault(holder, set())
        for signed in entries:
            if signed.key in named:
                continue  # an honest holder holds one: many would use up all checks
            name = (signed.key, signed.body, signed.signature)
            heard = self._heard.get(name)
            if heard is None:
                if len(self._heard) >= limits.PROVIDERS_HEARD_MAX:
                    return
                try:
                    record = read_provider(signed, wall)
                except PeerError:
                    continue
                if record.key != self.target:
                    continue
                heard = self._heard[name] = _Heard(signed, record)
            named.add(signed.key)
            heard.holders.add(holder)

    def _page_after(self, skip: int) -> Callable[[int], Request]:
        return lambda nonce: GetProviders(nonce, self.target, skip)

    def _query(self, nonce: int) -> Request:
        return GetProviders(nonce, self.target, 0)
