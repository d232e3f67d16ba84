"""Pairs: everything between a datagram's bytes and a verified (sender, message), and back.

Two peers that talk are a pair (:mod:`p2pcpn.protocol.pair_table`): each knows the other's key, boot and address, and
both share a MAC key. How they become one is :mod:`p2pcpn.protocol.greeting`; here is what they say then. Every
datagram is MACed under the pair's key, for one recipient, and its sequence is accepted once.

Traffic alone moves no pair to another address, for anybody can send a datagram again from elsewhere: the newest
datagram of a pair from another address, or a caller who names another one, only sends a hello there. Traffic of a
pair that we do not know is answered by a reset, which is never larger than what came.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from hashlib import blake2b

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.effects import Effect, Heard, SendAside, SendBytes
from p2pcpn.protocol.greeting import GREETINGS, Greeted, Greeter, PairFailed, PairMade, Profile, Refused
from p2pcpn.protocol.hellos import Cookies
from p2pcpn.protocol.pair_table import Pair, PairTable
from p2pcpn.protocol.rates import Bucket, group_of
from p2pcpn.wire.addresses import Address, Contact, contact
from p2pcpn.wire.datagrams import CODEC, Datagram, Retry
from p2pcpn.wire.envelope import (
    NOBODY,
    OPEN_SWARM_KEY,
    TRAFFIC,
    VERSION,
    Header,
    head_of,
    header_of,
    seal_behind,
    unseal,
)
from p2pcpn.wire.statements import Role

__all__ = ("Pairs", "PairFailed", "PairMade")


class Pairs:
    """The pairs of one peer and all that is said to them.

    ``boot`` must be greater than at any earlier start of this identity. ``rng`` makes nonces and cookies: a real peer
    gives ``random.SystemRandom()``. ``swarm_key`` is 32 bytes, or ``None`` in an open swarm. ``difficulty`` is the
    number of puzzle bits asked of others, ``puzzle`` the nonce that solves ours.
    """

    def __init__(
        self,
        keypair: Keypair,
        boot: int,
        rng: random.Random,
        *,
        swarm_key: bytes | None = None,
        roles: int = 0,
        port: int = 0,
        puzzle: int = 0,
        difficulty: int = 0,
        versions: tuple[int, int] = (VERSION, VERSION),
        network_group: Callable[[Address], Hashable] = group_of,
    ) -> None:
        self.id = keypair.id
        self.boot = boot
        key = swarm_key or OPEN_SWARM_KEY
        self._counts: Counter[str] = Counter()
        # Keyed by our seed: whoever has seen enough nonces to know the generator's state still cannot bake cookies.
        cookies = Cookies(blake2b(rng.randbytes(32), key=keypair.seed, digest_size=32).digest())
        self.table = PairTable(keypair, boot, key, cookies, self._counts)
        self._pairs = self.table.pairs
        profile = Profile(keypair, boot, key, puzzle, difficulty, versions)
        self._greeter = Greeter(profile, rng, self.table, cookies, network_group, self._counts)
        self._resets = Bucket(limits.RESETS_PER_S, limits.RESETS_PER_S)
        self.said: Callable[[Datagram, int], None] | None = None  # told of whatever is said to pairs, and its bytes
        self.present(roles, port)

    def present(self, roles: int, port: int) -> None:
        """State these roles and this listening port in every greeting from now on."""
        self._greeter.roles, self._greeter.port = roles, port

    # --- What others ask -------------------------------------------------------------------------------------------

    @property
    def observed(self) -> Address | None:
        """Our address as most of the last peers that welcomed us see it, or ``None`` before the first."""
        return self._greeter.observed

    def established(self, peer: bytes) -> bool:
        """Whether ``peer`` is a pair of ours."""
        return peer in self._pairs

    def key_of(self, peer: bytes) -> bytes | None:
        """The public key of a pair."""
        pair = self._pairs.get(peer)
        return pair.public if pair else None

    def roles_of(self, peer: bytes) -> int | None:
        """The roles that a pair stated when it greeted last."""
        pair = self._pairs.get(peer)
        return pair.roles if pair else None

    def translated(self, peer: bytes) -> bool:
        """Whether a NAT stands before a pair: it is seen at another port than it says it listens on."""
        pair = self._pairs.get(peer)
        return pair is not None and pair.port not in (None, pair.contact.port)

    def routable(self, peer: bytes) -> bool:
        """Whether others can reach a pair and may look for something there: it has a role, does not say that strangers
        fail to reach it, and is not seen to stand behind a NAT.

        Who does answers those it spoke to lately; to anybody else who is told of it, it is a dead end.
        """
        roles = self.roles_of(peer) or 0
        return bool(roles) and not roles & Role.HIDDEN and not self.translated(peer)

    def restated(self, peer: bytes, boot: int, roles: int) -> None:
        """A pair, in this boot, states other roles than when it greeted."""
        pair = self._pairs.get(peer)
        if pair is not None and pair.boot == boot:
            pair.roles = roles

    def forget(self, peer: bytes) -> None:
        """End the pair with ``peer``: the next word to it or from it takes a greeting."""
        self.table.forget(peer)

    def statistics(self) -> dict[str, int]:
        """What is held now, and counts since the start: sent, heard, and each drop by its reason.

        Whatever :meth:`receive` was given is counted once: in ``heard``, ``greeted``, or one ``dropped_…``.
        """
        held = {"pairs": len(self._pairs), "hellos": len(self._greeter.hellos)}
        return {**held, **dict(sorted(self._counts.items()))}

    # --- The machine -----------------------------------------------------------------------------------------------

    def send(self, to: Contact, message: Datagram, now: float) -> list[Effect]:
        """Say ``message`` to ``to``, once they are a pair. ``to.id`` zero: to whoever listens at the address.

        A pair is sent to at its proven address, whichever ``to`` names. Yields :class:`SendBytes`, and where nothing
        can be said ``Heard(PairFailed(...), to)``.
        """
        if (said := self.say(to, message)) is not None:
            return [said]
        pair = self._pairs.get(to.id)
        if pair is not None:
            return [self._sealed(pair, message), *self._greeter.ask(pair, to, now)]
        try:
            if to.id == self.id:
                raise Refused("that is this peer itself")
            if not to.usable:
                raise Refused("nobody can be sent to there")
            return [*self._greeter.wait(to, message, now)]
        except Refused as refused:
            self._counts["refused"] += 1
            return [Heard(PairFailed(refused.reason, (message,)), to)]

    def say(self, to: Contact, message: Datagram) -> SendBytes | None:
        """``message`` to the pair ``to``, which changes nothing that is due; ``None`` where it takes :meth:`send`."""
        pair = self._pairs.get(to.id)
        if pair is None or to.port != pair.contact.port or to.host != pair.contact.host:
            return None
        return self._sealed(pair, message)

    def aside(self, to: Contact, message: Datagram) -> list[Effect]:
        """Say ``message`` to a pair from a port that it does not know. To anybody else: nothing."""
        pair = self._pairs.get(to.id)
        if pair is None:
            return []
        said = self._sealed(pair, message)
        return [SendAside(said.data, said.address)]

    def receive(self, data: bytes, address: Address, now: float) -> list[Effect]:
        """One datagram as it came from ``address`` (numeric host, port). Whatever it holds, nothing is raised.

        Yields ``Heard(message, contact)`` with the proven contact of its sender, ``Heard(PairMade, contact)``,
        ``Heard(PairFailed, contact)`` and :class:`SendBytes`.
        """
        try:
            header = header_of(data)
            if header.sender == self.id:
                raise Refused("ours")
            if header.kind == TRAFFIC and header.recipient == self.id:
                return self._traffic(header, data, address, now)
            if header.kind == TRAFFIC or header.recipient not in (self.id, NOBODY):
                raise Refused("recipient")
            greeted = self._greeter.receive(header, data, address, now)
            self._counts["greeted"] += not greeted.dropped
            return self._perform((greeted,))
        except Refused as refused:
            self._counts[f"dropped_{refused.reason}"] += 1
        except PeerError:
            self._counts["dropped_malformed"] += 1
        return []

    def deadline(self) -> float | None:
        """When :meth:`expire` is due next."""
        greeted, forgotten = self._greeter.deadline(), self.table.deadline()
        if greeted is None or forgotten is None:
            return forgotten if greeted is None else greeted
        return min(greeted, forgotten)

    def expire(self, now: float) -> list[Effect]:
        """Send unanswered hellos again, give up the last ones, forget silent pairs."""
        self.table.expire(now)
        return self._perform(self._greeter.expire(now))

    def _perform(self, found: Iterable[Greeted]) -> list[Effect]:
        effects: list[Effect] = []
        for greeted in found:
            effects += greeted.send
            pair = greeted.pair
            if pair is not None:
                if greeted.news:
                    effects.append(Heard(PairMade(pair.boot, pair.roles), pair.contact))
                effects += [self._sealed(pair, message) for message in greeted.messages]
            if greeted.failed is not None:
                to, failed = greeted.failed
                effects.append(Heard(failed, to))
        return effects

    def _sealed(self, pair: Pair, message: Datagram) -> SendBytes:
        if not pair.head:
            pair.head = head_of(Header(pair.version, TRAFFIC, self.id, pair.contact.id, self.boot, 0))
        sequence = pair.sequence
        pair.sequence = sequence + 1
        self._counts["sent"] += 1
        data = seal_behind(pair.head, sequence, CODEC.encode(message), pair.mac)
        if self.said is not None:
            self.said(message, len(data))
        return SendBytes(data, pair.address)

    def _traffic(self, header: Header, data: bytes, address: Address, now: float) -> list[Effect]:
        pair = self._pairs.get(header.sender)
        if pair is None or header.boot > pair.boot:
            return self._unknown(header, len(data), address, now)
        if header.boot < pair.boot:
            raise Refused("boot")
        if header.version != pair.version:
            raise Refused("version")
        try:
            body = unseal(data, pair.mac)
        except PeerError:
            raise Refused("mac") from None
        newest = header.sequence > pair.window.newest
        if not pair.window.accept(header.sequence):
            raise Refused("replayed")
        message = CODEC.decode(body)
        if isinstance(message, GREETINGS):
            raise Refused("misplaced")
        self.table.heard(pair, address, now)
        self._counts["heard"] += 1
        effects: list[Effect] = [Heard(message, pair.contact)]
        if newest and address != pair.address:
            effects += self._greeter.ask(pair, contact(header.sender, address), now)
        return effects

    def _unknown(self, header: Header, size: int, address: Address, now: float) -> list[Effect]:
        self._counts["dropped_unknown"] += 1
        if not self._resets.take(now):
            return []
        try:
            return self._perform((self._greeter.answer(Retry(header.sequence, b""), header.sender, size, address),))
        except Refused:
            return []  # it is so short that even this answer would be larger
