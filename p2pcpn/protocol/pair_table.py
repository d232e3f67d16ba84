"""The pairs of one peer: whom we share a key with, at which proven address, and which sequence comes next.

Traffic and signed greetings of one boot share one growing sequence to each peer. A pair that is forgotten raises the
floor that every later pair starts from, and voids the cookies of its peer; so a pair that is made anew (same boots,
same key) starts above everything said in its former life, and a greeting of that life cannot be replayed.

An address is *proven* when a signed hello with a cookie came from it, or a welcome answered the hello sent to it. While
traffic still comes from a proven address it is given up for no other: whoever relays a pair's greetings from elsewhere
moves nothing. A newer boot replaces the pair and its address.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.hellos import Cookies, pair_key
from p2pcpn.protocol.replay import Window
from p2pcpn.wire.addresses import Address, Contact
from p2pcpn.wire.envelope import Header, Mac

# Those that are silent for too long are forgotten together, once in so long: a timer for each woke a peer each 20 s.
FORGOTTEN_EACH_S = 60.0


@dataclass(slots=True)
class Pair:
    """One peer we share a key with."""

    contact: Contact
    address: Address  # the contact's, unpacked
    public: bytes
    boot: int
    version: int
    roles: int
    mac: Mac
    window: Window
    sequence: int  # of the next datagram to it
    heard_at: float
    proven_at: float  # when it was heard last from its proven address
    greeted: int  # sequence of its newest signed greeting
    asked_at: float = float("-inf")  # when we last said hello to it beside the pair
    port: int | None = None  # where it says it listens; None until it said so in a hello
    hello_signature: bytes = b""
    head: bytes = b""  # of what is said to it, once something was
    welcome: bytes = b""  # our answer to that hello, until traffic shows that it arrived


class PairTable:
    """At most :data:`p2pcpn.limits.PAIRS_MAX` pairs; the least recently heard is forgotten first."""

    def __init__(self, keypair: Keypair, boot: int, swarm_key: bytes, cookies: Cookies, counts: Counter[str]) -> None:
        self.pairs: dict[bytes, Pair] = {}  # the least recently heard first
        self._keypair = keypair
        self._boot = boot
        self._swarm_key = swarm_key
        self._cookies = cookies
        self._counts = counts
        self._sequence = 0  # no pair made from now on starts below

    def signed_sequence(self, peer: bytes) -> int:
        """The sequence of a signed greeting: above everything that was said to ``peer``, below all that will be."""
        pair = self.pairs.get(peer)
        sequence = max(self._sequence, pair.sequence) if pair else self._sequence
        self._sequence = sequence + 1
        if pair:
            pair.sequence = sequence + 1
        return sequence

    def establish(self, header: Header, public: bytes, to: Contact, version: int, roles: int, now: float) -> bool:
        """Enter what a verified greeting said; whether the pair is new, in a newer boot, or at another address.

        Raises :class:`PeerError`, with nothing entered, for a key of small order.
        """
        peer = header.sender
        pair = self.pairs.get(peer)
        if pair is None or pair.boot != header.boot:
            key = pair_key(self._keypair, self._boot, public, peer, header.boot, self._swarm_key)
            sequence = max(self._sequence, pair.sequence) if pair else self._sequence
            self._newest(peer, Pair(
                to, to.address, public, header.boot, version, roles, Mac(key), Window(header.sequence), sequence,
                now, now, header.sequence,
            ))  # fmt: skip
            self._counts["made"] += 1
            if len(self.pairs) > limits.PAIRS_MAX:
                self._counts["forgotten_full"] += 1
                self.forget(next(iter(self.pairs)))
            return True
        moved = pair.contact != to and not self.proven(pair, now)
        if moved:
            pair.contact, pair.address = to, to.address
        if pair.contact == to:
            pair.proven_at = now
        pair.version, pair.roles, pair.heard_at, pair.head = version, roles, now, b""
        pair.greeted = max(pair.greeted, header.sequence)
        pair.window.accept(header.sequence)
        self._newest(peer, pair)
        return moved

    def _newest(self, peer: bytes, pair: Pair) -> None:
        """It is the one heard most recently. In a plain dict: an ordered one takes twice the memory and the time."""
        self.pairs.pop(peer, None)
        self.pairs[peer] = pair

    def proven(self, pair: Pair, now: float) -> bool:
        """Whether the pair's address was heard from so lately that no other is asked or taken for it."""
        return now < pair.proven_at + limits.ADDRESS_PROVEN_S

    def heard(self, pair: Pair, address: Address, now: float) -> None:
        """Authentic traffic came from ``address``."""
        pair.heard_at = now
        pair.welcome = b""
        if address == pair.address:
            pair.proven_at = now
        self._newest(pair.contact.id, pair)

    def forget(self, peer: bytes) -> None:
        """End the pair with ``peer``, if there is one."""
        pair = self.pairs.pop(peer, None)
        if pair is not None:
            self._sequence = max(self._sequence, pair.sequence)
            self._cookies.void(peer)

    def deadline(self) -> float | None:
        """When the pair silent for longest is due to be forgotten, with those that are silent almost as long."""
        oldest = next(iter(self.pairs.values()), None)
        return oldest.heard_at + limits.PAIR_SILENT_S + FORGOTTEN_EACH_S if oldest else None

    def expire(self, now: float) -> None:
        """Forget the pairs that were silent for :data:`p2pcpn.limits.PAIR_SILENT_S`."""
        if (due := self.deadline()) is None or now < due:
            return
        while (oldest := next(iter(self.pairs.values()), None)) and oldest.heard_at + limits.PAIR_SILENT_S <= now:
            self._counts["forgotten_silent"] += 1
            self.forget(oldest.contact.id)
