"""Greeting: how two peers become a pair, in four datagrams under the swarm's key.

::

    A                                                      B
    | hello, unsigned, padded ---------------------------> |  keeps nothing, verifies nothing
    | <------------------------------------ retry(cookie)  |
    | hello(cookie), signed -----------------------------> |  cookie, identity, puzzle, allowance, signature: B has A
    | <------------------------ welcome(observed), signed  |
    | A has B                                              |
    | <----------- traffic under the pair's key ---------> |

* Whoever does not echo a cookie costs a few digests and gets no more bytes than it sent. Who does, costs one
  verification, within an allowance (:mod:`p2pcpn.protocol.rates`).
* A hello is signed for one recipient and one cookie, a welcome for one hello; each has its place in the sequence of its
  sender (:mod:`p2pcpn.protocol.pair_table`). The same hello again gets the same welcome again. Both ends may greet at
  once: the first signed greeting that arrives makes the pair, and what waited behind the other is said too.
* A hello is sent up to :data:`p2pcpn.limits.HELLO_TRIES` times, the pauses doubling, and as often again once there is a
  cookie. Messages wait behind it, the oldest dropped first; in the end they come back in a :class:`PairFailed`.
* A retry with an empty cookie is a *reset*: the peer does not know the pair that the datagram with that sequence came
  under. It ends nothing, for in an open swarm anybody can say so: we say hello beside the pair, now and then.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

import msgspec

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import SIGNATURE_BYTES, Keypair, node_id, puzzle_bits, verify
from p2pcpn.protocol.effects import SendBytes
from p2pcpn.protocol.hellos import Cookies, common_version, hello_words, swarm_binding, welcome_words
from p2pcpn.protocol.pair_table import Pair, PairTable
from p2pcpn.protocol.rates import Allowance
from p2pcpn.wire.addresses import Address, Contact, contact, unpack_host
from p2pcpn.wire.datagrams import CODEC, Datagram, Hello, Retry, Unsupported, Welcome
from p2pcpn.wire.envelope import GREETING, NOBODY, VERSION, Header, Mac, seal, unseal

GREETINGS = (Hello, Retry, Welcome, Unsupported)
# A reset must name one of the last so many datagrams to that peer: it answers what was sent a round trip ago.
_RESET_WINDOW = 64


@dataclass(frozen=True, slots=True)
class PairMade:
    """The peer this names as sender is a pair now: for the first time, in a newer boot, or at another address."""

    boot: int
    roles: int


@dataclass(frozen=True, slots=True)
class PairFailed:
    """No pair could be made with the peer this names as sender, because of ``why``; ``messages`` were not said."""

    why: str
    messages: tuple[Datagram, ...]


class Refused(Exception):
    """A datagram or message that goes no further; ``reason`` is the word it is counted under."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Profile:
    """What this peer says of itself, and what it asks of others, in its greetings."""

    keypair: Keypair
    boot: int
    swarm_key: bytes
    puzzle: int
    difficulty: int
    versions: tuple[int, int]


@dataclass(slots=True)
class PendingHello:
    """A hello of ours that waits for its answer."""

    to: Contact
    address: Address
    nonce: int
    recipient: bytes  # whom the signed hello names
    data: bytes = b""
    due: float = 0.0
    tries: int = 0
    cookie: bytes = b""
    signature: bytes = b""
    signatures: int = 0  # made and checked for this hello
    queue: deque[Datagram] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Greeted:
    """What came of a greeting: bytes to send, the pair that is made, what waited for it, or the hello that failed."""

    send: tuple[SendBytes, ...] = ()
    pair: Pair | None = None
    news: bool = False
    messages: tuple[Datagram, ...] = ()
    failed: tuple[Contact, PairFailed] | None = None
    dropped: bool = False  # the greeting goes no further, and was counted


class Greeter:
    """Says hello and answers it. ``roles`` and ``port`` are what this peer states of itself from now on."""

    def __init__(
        self,
        profile: Profile,
        rng: random.Random,
        table: PairTable,
        cookies: Cookies,
        network_group: Callable[[Address], Hashable],
        counts: Counter[str],
    ) -> None:
        self.roles = 0
        self.port = 0
        self.hellos: dict[tuple[bytes, Address], PendingHello] = {}
        self._me = profile
        self._id = profile.keypair.id
        self._rng = rng
        self._table = table
        self._cookies = cookies
        self._network_group = network_group
        self._counts = counts
        self._mac = Mac(profile.swarm_key)
        self._swarm = swarm_binding(profile.swarm_key)
        self._allowance = Allowance(limits.HELLOS_PER_S, limits.HELLOS_PER_GROUP_PER_S)
        self._by_nonce: dict[int, PendingHello] = {}
        self._due: list[tuple[float, int]] = []  # heap of (due, nonce); entries of hellos that moved on are skipped
        self._observed: OrderedDict[bytes, Address] = OrderedDict()

    @property
    def observed(self) -> Address | None:
        """Our address as most of the last peers that welcomed us see it; ties go to the least address."""
        votes = Counter(self._observed.values())
        return min(votes, key=lambda address: (-votes[address], address), default=None)

    # --- Hellos of ours --------------------------------------------------------------------------------------------

    def wait(self, to: Contact, message: Datagram, now: float) -> list[SendBytes]:
        """Let ``message`` wait for a pair with ``to``, and say hello unless that was done. Raises :class:`Refused`."""
        hello = self.hellos.get((to.id, to.address))
        sent: list[SendBytes] = []
        if hello is None:
            if len(self.hellos) >= limits.HELLOS_MAX:
                raise Refused("too many peers are being greeted")
            hello = self._hello_to(to)
            sent.append(self._transmit(hello, now))
        if len(hello.queue) == limits.PAIR_QUEUE_MAX:
            hello.queue.popleft()
            self._counts["unsaid"] += 1
        hello.queue.append(message)
        return sent

    def ask(self, pair: Pair, to: Contact, now: float) -> list[SendBytes]:
        """Say hello beside the pair: whether it is at ``to``, or still knows us; seldom, and nobody waits for it."""
        if now < pair.asked_at + limits.ADDRESS_PROVEN_S or not to.usable or len(self.hellos) >= limits.HELLOS_MAX:
            return []
        if (to != pair.contact and self._table.proven(pair, now)) or (to.id, to.address) in self.hellos:
            return []
        pair.asked_at = now
        self._counts["asked"] += 1
        return [self._transmit(self._hello_to(to), now)]

    def _hello_to(self, to: Contact) -> PendingHello:
        nonce = self._rng.getrandbits(63)
        while nonce in self._by_nonce:
            nonce = self._rng.getrandbits(63)
        hello = PendingHello(to, to.address, nonce, to.id)
        self._write(hello, 0)
        self.hellos[to.id, hello.address] = self._by_nonce[nonce] = hello
        return hello

    def _write(self, hello: PendingHello, sequence: int) -> None:
        """Make the bytes of ``hello``, signed once there is a cookie."""
        me = self._me
        header = Header(VERSION, GREETING, self._id, hello.recipient, me.boot, sequence)
        said = Hello(
            hello.nonce, me.versions, me.keypair.public, me.puzzle, self.port, self.roles, hello.cookie, b"", b""
        )
        if hello.cookie:
            hello.signature = me.keypair.sign(hello_words(self._swarm, header, said))
            said = msgspec.structs.replace(said, signature=hello.signature)
        pad = bytes(max(0, limits.HELLO_BODY_BYTES - len(CODEC.encode(said))))
        hello.data = seal(header, CODEC.encode(msgspec.structs.replace(said, pad=pad)), self._mac)

    def _transmit(self, hello: PendingHello, now: float) -> SendBytes:
        hello.due = now + limits.HELLO_WAIT_S * 2**hello.tries
        hello.tries += 1
        heapq.heappush(self._due, (hello.due, hello.nonce))
        self._counts["sent_hellos"] += 1
        return SendBytes(hello.data, hello.address)

    def _over(self, hello: PendingHello) -> None:
        del self.hellos[hello.to.id, hello.address]
        del self._by_nonce[hello.nonce]

    def _fail(self, hello: PendingHello, why: str) -> Greeted:
        self._over(hello)
        self._counts["failed_hellos"] += 1
        # A hello that nobody waits behind was asked beside a pair, and the pair stays as it is.
        return Greeted(failed=(hello.to, PairFailed(why, tuple(hello.queue)))) if hello.queue else Greeted()

    def deadline(self) -> float | None:
        """When the next hello is due again."""
        while self._due:
            due, nonce = self._due[0]
            hello = self._by_nonce.get(nonce)
            if hello is not None and hello.due == due:
                return due
            heapq.heappop(self._due)
        return None

    def expire(self, now: float) -> list[Greeted]:
        """Send unanswered hellos again, give up the last ones."""
        found = []
        while (due := self.deadline()) is not None and due <= now:
            hello = self._by_nonce[heapq.heappop(self._due)[1]]
            if hello.tries < limits.HELLO_TRIES:
                found.append(Greeted((self._transmit(hello, now),)))
            else:
                found.append(self._fail(hello, "nobody answered"))
        return found

    # --- What comes ------------------------------------------------------------------------------------------------

    def receive(self, header: Header, data: bytes, address: Address, now: float) -> Greeted:
        """A datagram of kind ``GREETING``. Raises :class:`Refused`, or :class:`PeerError` for malformed ones."""
        try:
            body = unseal(data, self._mac)
        except PeerError:
            raise Refused("swarm") from None
        if header.version != VERSION:
            return self._no_common_version(0, header, len(data), address)
        message = CODEC.decode(body)
        if isinstance(message, Hello):
            return self._hello(header, message, len(data), address, now)
        if isinstance(message, Retry):
            return self._retry(header, message, now)
        if isinstance(message, Welcome):
            return self._welcome(header, message, now)
        if isinstance(message, Unsupported):
            return self._unsupported(header, message)
        raise Refused("misplaced")

    def _no_common_version(self, nonce: int, header: Header, size: int, address: Address) -> Greeted:
        answer = self.answer(Unsupported(nonce, self._me.versions), header.sender, size, address)
        self._counts["dropped_version"] += 1
        return replace(answer, dropped=True)

    def answer(self, message: Datagram, to: bytes, request_bytes: int, address: Address) -> Greeted:
        """An unsigned greeting, never larger than what it answers."""
        header = Header(VERSION, GREETING, self._id, to, self._me.boot, 0)
        data = seal(header, CODEC.encode(message), self._mac)
        if len(data) > request_bytes:
            raise Refused("short")
        self._counts[f"sent_{type(message).__name__.lower()}"] += 1
        return Greeted((SendBytes(data, address),))

    def _hello(self, header: Header, hello: Hello, size: int, address: Address, now: float) -> Greeted:
        version = common_version(self._me.versions, hello.versions)
        if version is None:
            return self._no_common_version(hello.nonce, header, size, address)
        if not hello.cookie or not self._cookies.valid(hello.cookie, address, header.sender, now):
            cookie = self._cookies.make(address, header.sender, now)
            return self.answer(Retry(hello.nonce, cookie), header.sender, size, address)
        if size < limits.ENVELOPE_BYTES + limits.HELLO_BODY_BYTES:
            raise Refused("short")
        pair = self._table.pairs.get(header.sender)
        if pair is not None and header.boot <= pair.boot:
            if header.boot < pair.boot:
                raise Refused("boot")
            if pair.welcome and hello.signature == pair.hello_signature:
                self._counts["sent_welcome"] += 1
                return Greeted((SendBytes(pair.welcome, address),))
            if header.sequence <= pair.greeted:
                raise Refused("replayed")
        self._check_hello(header, hello, address, now)
        to = contact(header.sender, address)
        news = self._table.establish(header, hello.key, to, version, hello.roles, now)
        pair = self._table.pairs[header.sender]
        pair.port = hello.port
        pair.hello_signature = hello.signature
        pair.welcome = self._welcome_bytes(pair, hello, to)
        self._counts["sent_welcome"] += 1
        return Greeted((SendBytes(pair.welcome, address),), pair, news, self._waited_for(pair))

    def _check_hello(self, header: Header, hello: Hello, address: Address, now: float) -> None:
        """The dear checks, the cheap ones of them first."""
        if header.recipient != self._id:
            raise Refused("recipient")
        if node_id(hello.key) != header.sender:
            raise Refused("identity")
        if puzzle_bits(hello.key, hello.puzzle) < self._me.difficulty:
            raise Refused("puzzle")
        if len(hello.signature) != SIGNATURE_BYTES:
            raise Refused("signature")
        if not self._allowance.take(self._network_group(address), now):
            raise Refused("allowance")
        if not verify(hello.key, hello_words(self._swarm, header, hello), hello.signature):
            raise Refused("signature")

    def _welcome_bytes(self, pair: Pair, hello: Hello, seen: Contact) -> bytes:
        me = self._me
        sequence = self._table.signed_sequence(seen.id)
        header = Header(VERSION, GREETING, self._id, seen.id, me.boot, sequence)
        said = Welcome(hello.nonce, pair.version, me.keypair.public, me.puzzle, self.roles, seen, bytes(64))
        signature = me.keypair.sign(welcome_words(self._swarm, header, said, hello.signature))
        return seal(header, CODEC.encode(msgspec.structs.replace(said, signature=signature)), self._mac)

    def _retry(self, header: Header, retry: Retry, now: float) -> Greeted:
        hello = self._by_nonce.get(retry.nonce)
        if hello is None:
            return self._reset(header, retry, now)
        if hello.to.id not in (NOBODY, header.sender):
            raise Refused("identity")
        if not retry.cookie or retry.cookie == hello.cookie:
            raise Refused("replayed")
        self._spend(hello)
        hello.recipient = header.sender
        hello.cookie = retry.cookie
        hello.tries = 0
        self._write(hello, self._table.signed_sequence(header.sender))
        return Greeted((self._transmit(hello, now),))

    def _spend(self, hello: PendingHello) -> None:
        if hello.signatures >= limits.HELLO_SIGNATURES_MAX:
            raise Refused("allowance")
        hello.signatures += 1

    def _reset(self, header: Header, retry: Retry, now: float) -> Greeted:
        pair = self._table.pairs.get(header.sender)
        if pair is None or retry.cookie or not 0 < pair.sequence - retry.nonce <= _RESET_WINDOW:
            raise Refused("unasked")
        self._counts["heard_resets"] += 1
        return Greeted(tuple(self.ask(pair, pair.contact, now)))

    def _welcome(self, header: Header, welcome: Welcome, now: float) -> Greeted:
        hello = self._by_nonce.get(welcome.nonce)
        if hello is None or not hello.signature:
            raise Refused("unasked")
        if header.sender != hello.recipient or node_id(welcome.key) != header.sender or header.recipient != self._id:
            raise Refused("identity")
        if not self._me.versions[0] <= welcome.version <= self._me.versions[1]:
            raise Refused("version")
        pair = self._table.pairs.get(header.sender)
        if pair is not None and header.boot < pair.boot:
            raise Refused("boot")
        if puzzle_bits(welcome.key, welcome.puzzle) < self._me.difficulty:
            raise Refused("puzzle")
        self._spend(hello)
        if not verify(welcome.key, welcome_words(self._swarm, header, welcome, hello.signature), welcome.signature):
            raise Refused("signature")
        to = contact(header.sender, hello.address)
        news = self._table.establish(header, welcome.key, to, welcome.version, welcome.roles, now)
        pair = self._table.pairs[header.sender]
        self._over(hello)
        self._see(header.sender, welcome.observed)
        return Greeted((), pair, news, (*hello.queue, *self._waited_for(pair)))

    def _see(self, observer: bytes, seen: Contact) -> None:
        if not seen.usable:
            return
        self._observed[observer] = (unpack_host(seen.host), seen.port)
        self._observed.move_to_end(observer)
        if len(self._observed) > limits.OBSERVERS_MAX:
            self._observed.popitem(last=False)

    def _unsupported(self, header: Header, heard: Unsupported) -> Greeted:
        hello = self._by_nonce.get(heard.nonce)
        if hello is None or hello.to.id not in (NOBODY, header.sender):
            raise Refused("unasked")
        ours, theirs = self._me.versions, heard.versions
        if common_version(ours, theirs) is not None:
            raise Refused("version")
        return self._fail(hello, f"it speaks versions {theirs[0]} to {theirs[1]}, this peer {ours[0]} to {ours[1]}")

    def _waited_for(self, pair: Pair) -> tuple[Datagram, ...]:
        """What waits behind hellos to this peer, wherever they went; the hellos are over."""
        hellos = [hello for hello in self.hellos.values() if hello.to.id == pair.contact.id]
        for hello in hellos:
            self._over(hello)
        return tuple(message for hello in hellos for message in hello.queue)
