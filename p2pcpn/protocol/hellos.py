"""What the greetings of two peers are signed over, the key they lead to, and the cookie that comes before both.

The signed words of a hello (big endian, no separators: every field has a fixed length or its length ahead of it)::

    "p2pcpn/1 hello" | swarm 32 | sender 20 | recipient 20 | boot u48 | sequence u64 | nonce u64 | lowest version u16 |
    highest version u16 | key 32 | puzzle u64 | port u16 | roles u16 | length of the cookie u8 | cookie

and of the welcome that answers it::

    "p2pcpn/1 welcome" | swarm 32 | sender 20 | recipient 20 | boot u48 | sequence u64 | nonce u64 | version u16 |
    key 32 | puzzle u64 | roles u16 | length of the observed host u8 | observed host | observed port u16 |
    signature of the hello 64

``swarm`` is a keyed digest of nothing under the swarm's key, so a signature of one swarm is worth nothing in another.
The pair's key is BLAKE2b-256, keyed by the swarm's key, over the X25519 secret of both identity keys and both ends'
id and boot: a datagram of an earlier boot of either end has another key, and cannot be replayed into this one.
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair, pair_secret
from p2pcpn.wire.addresses import Address, pack_host
from p2pcpn.wire.datagrams import Hello, Welcome
from p2pcpn.wire.envelope import Header

COOKIE_BYTES = 16
_VOID_SLOTS = 4096


def swarm_binding(swarm_key: bytes) -> bytes:
    """Names a swarm in signatures without telling its key."""
    return blake2b(key=swarm_key, digest_size=32, person=b"p2pcpn swarm").digest()


def _ends(header: Header, nonce: int) -> bytes:
    return b"".join(
        (
            header.sender,
            header.recipient,
            header.boot.to_bytes(6, "big"),
            header.sequence.to_bytes(8, "big"),
            nonce.to_bytes(8, "big"),
        )
    )


def hello_words(swarm: bytes, header: Header, hello: Hello) -> bytes:
    """What the sender of ``hello`` signs."""
    low, high = hello.versions
    return b"".join(
        (
            b"p2pcpn/1 hello",
            swarm,
            _ends(header, hello.nonce),
            low.to_bytes(2, "big"),
            high.to_bytes(2, "big"),
            hello.key,
            hello.puzzle.to_bytes(8, "big"),
            hello.port.to_bytes(2, "big"),
            hello.roles.to_bytes(2, "big"),
            bytes((len(hello.cookie),)),
            hello.cookie,
        )
    )


def welcome_words(swarm: bytes, header: Header, welcome: Welcome, hello_signature: bytes) -> bytes:
    """What the sender of ``welcome`` signs, in answer to the hello with that signature."""
    return b"".join(
        (
            b"p2pcpn/1 welcome",
            swarm,
            _ends(header, welcome.nonce),
            welcome.version.to_bytes(2, "big"),
            welcome.key,
            welcome.puzzle.to_bytes(8, "big"),
            welcome.roles.to_bytes(2, "big"),
            bytes((len(welcome.observed.host),)),
            welcome.observed.host,
            welcome.observed.port.to_bytes(2, "big"),
            hello_signature,
        )
    )


def pair_key(keypair: Keypair, boot: int, public: bytes, peer: bytes, peer_boot: int, swarm_key: bytes) -> bytes:
    """The key of the pair of ``keypair`` at ``boot`` and ``peer``, key ``public``, at ``peer_boot``: one for both ends.

    Raises :class:`PeerError` for keys that are no point of the curve or of small order.
    """
    secret = pair_secret(keypair, public)
    low, high = sorted((node + at.to_bytes(6, "big") for node, at in ((keypair.id, boot), (peer, peer_boot))))
    return blake2b(secret + low + high, key=swarm_key, digest_size=32, person=b"p2pcpn pair").digest()


def common_version(ours: tuple[int, int], theirs: tuple[int, int]) -> int | None:
    """The highest version within both spans, lowest and highest included; ``None`` where there is none."""
    highest = min(ours[1], theirs[1])
    return highest if highest >= max(ours[0], theirs[0]) else None


class Cookies:
    """Proofs that somebody receives at an address, made and checked without remembering anybody.

    A cookie is a keyed digest of the address, the id that asked, and the minute; it is good for that minute and the
    next. It also holds a count that :meth:`void` raises, so that a cookie does not outlive the pair it made: the
    hello that carried it cannot be replayed into a table that has forgotten the pair's sequence. 4,096 counts serve
    all ids; ids that share one only say hello once more.
    """

    __slots__ = ("_secret", "_voided")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._voided: dict[int, int] = {}  # by slot, those that were ever raised

    def _cookie(self, address: Address, sender: bytes, minute: int) -> bytes:
        voided = self._voided.get(_slot(sender), 0)
        words = b"%d %d %d " % (minute, voided, address[1]) + sender + pack_host(address[0])
        return blake2b(words, key=self._secret, digest_size=COOKIE_BYTES, person=b"p2pcpn cookie").digest()

    def make(self, address: Address, sender: bytes, now: float) -> bytes:
        """The cookie for ``sender`` at ``address``."""
        return self._cookie(address, sender, int(now // limits.COOKIE_S))

    def valid(self, cookie: bytes, address: Address, sender: bytes, now: float) -> bool:
        """Whether ``cookie`` was made here for ``sender`` at ``address`` within the last 60 to 120 s and not voided."""
        minute = int(now // limits.COOKIE_S)
        return any(compare_digest(cookie, self._cookie(address, sender, made)) for made in (minute, minute - 1))

    def void(self, sender: bytes) -> None:
        """No cookie made for ``sender`` so far is good any more."""
        slot = _slot(sender)
        self._voided[slot] = self._voided.get(slot, 0) + 1


def _slot(sender: bytes) -> int:
    return int.from_bytes(sender[:2], "big") % _VOID_SLOTS
