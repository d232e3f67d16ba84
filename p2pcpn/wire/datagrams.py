"""The control plane's messages: what one datagram's body may say.

Requests carry a ``nonce`` that their replies echo. The body is a MessagePack array whose first element is the tag.
Every message's largest instance fits :data:`p2pcpn.limits.BODY_BYTES_MAX`; a test packs each.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Union

import msgspec
from msgspec import Meta

from p2pcpn import limits
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.codec import U16, U63, Codec, Id, Key, Seconds, Signature
from p2pcpn.wire.statements import Signed

Contacts = Annotated[list[Contact], Meta(max_length=limits.CONTACTS_MAX)]
Rumors = Annotated[list[Signed], Meta(max_length=limits.RUMORS_PER_DATAGRAM_MAX)]
Hops = Annotated[list[Annotated[int, Meta(ge=0, le=255)]], Meta(max_length=limits.RUMORS_PER_DATAGRAM_MAX)]


# 1,128 bytes of body less 981 for the largest record and its framing: 147, and a contact over IPv6 takes 44.
CONTACTS_WITH_RECORD_MAX = 3


class Hello(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """I want to be your pair. The first one carries no cookie and proves nothing; the second is signed.

    ``signature`` is over the words of ``protocol/hellos.py``; ``pad`` makes the request no smaller
    than any reply to it.
    """

    nonce: U63
    versions: tuple[U16, U16]
    key: Key
    puzzle: U63
    port: U16
    roles: U16
    cookie: Annotated[bytes, Meta(max_length=32)]
    signature: Annotated[bytes, Meta(max_length=64)]
    pad: Annotated[bytes, Meta(max_length=256)]


class Retry(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """Echo this cookie and sign: a stateless answer to a hello, or to a datagram of a pair we no longer know."""

    nonce: U63
    cookie: Annotated[bytes, Meta(max_length=32)]


class Welcome(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """You are my pair from now on, at this version; ``observed`` is where I see you."""

    nonce: U63
    version: U16
    key: Key
    puzzle: U63
    roles: U16
    observed: Contact
    signature: Signature


class Unsupported(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """No version in common: mine are these."""

    nonce: U63
    versions: tuple[U16, U16]


class Ping(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """Are you there? (SWIM probe.)"""

    nonce: U63
    incarnation: U63


class Ack(msgspec.Struct, array_like=True, frozen=True, tag=6):
    """I am, or (for a :class:`PingRequest`) ``target`` is."""

    nonce: U63
    incarnation: U63


class PingRequest(msgspec.Struct, array_like=True, frozen=True, tag=7):
    """Probe ``target`` for me: I hear nothing from it."""

    nonce: U63
    target: Contact


class Find(msgspec.Struct, array_like=True, frozen=True, tag=8):
    """Which peers do you know nearest to ``target``?"""

    nonce: U63
    target: Id


class Nodes(msgspec.Struct, array_like=True, frozen=True, tag=9):
    """The nearest I know, nearest first."""

    nonce: U63
    contacts: Contacts


class Get(msgspec.Struct, array_like=True, frozen=True, tag=10):
    """The record under ``key``, and who is nearer to it: at most ``named_max`` peers, none where the asker knows all.

    ``seq`` is the version the asker holds plus one, or 0.
    """

    nonce: U63
    key: Id
    seq: U63
    named_max: U16 = limits.CONTACTS_MAX


class Value(msgspec.Struct, array_like=True, frozen=True, tag=11):
    """The answer to :class:`Get`: a record, if there is one, whose signature the asker checks, and nearer peers.

    Beside the largest record there is room for ``CONTACTS_WITH_RECORD_MAX`` contacts; without one for all twenty.
    """

    nonce: U63
    record: Signed | None
    contacts: Contacts


class Put(msgspec.Struct, array_like=True, frozen=True, tag=12):
    """Keep this record. ``cas`` is the ``seq`` it must replace, or none."""

    nonce: U63
    record: Signed
    cas: U63 | None


class Stored(msgspec.Struct, array_like=True, frozen=True, tag=13):
    """The answer to :class:`Put`; ``seq`` is the version now held."""

    nonce: U63
    code: U16  # see StoreCode
    seq: U63


class StoreCode:
    """Answers to :class:`Put`."""

    KEPT = 0
    OLDER = 1  # a higher seq (or the same with another value) is held
    CAS = 2  # the held seq is not the one named
    FULL = 3  # a quota is reached
    REFUSED = 4  # not a storage peer, or expired, or from the future


class Gossip(msgspec.Struct, array_like=True, frozen=True, tag=14):
    """Signed rumors; ``hops`` counts how far each may still go."""

    rumors: Rumors
    hops: Hops


class RumorDigest(msgspec.Struct, array_like=True, frozen=True, tag=15):
    """Push-pull: the ids (8 bytes each, concatenated) of rumors I hold. ``reply`` asks for yours.

    Without ``adverts`` these are left out, here and in the reply.
    """

    ids: Annotated[bytes, Meta(max_length=limits.RUMOR_DIGESTS_MAX * 8)]
    reply: bool
    adverts: bool = True


class RumorPull(msgspec.Struct, array_like=True, frozen=True, tag=16):
    """Send me the rumors with these ids."""

    ids: Annotated[bytes, Meta(max_length=limits.RUMOR_DIGESTS_MAX * 8)]


class ClaimRequest(msgspec.Struct, array_like=True, frozen=True, tag=17):
    """A signed claim, to the grantor."""

    nonce: U63
    claim: Signed


class ClaimReply(msgspec.Struct, array_like=True, frozen=True, tag=18):
    """The grantor's answer. 0 taken, 1 standby, 2 not wanted, 3 the job is unknown or over."""

    nonce: U63
    verdict: Annotated[int, Meta(ge=0, le=3)]


class Explain(msgspec.Struct, array_like=True, frozen=True, tag=19):
    """Why do you run, or not run, this job?"""

    nonce: U63
    job: Id


class Explanation(msgspec.Struct, array_like=True, frozen=True, tag=20):
    """A signed :class:`~p2pcpn.wire.statements.Reason`."""

    nonce: U63
    reason: Signed


class Leave(msgspec.Struct, array_like=True, frozen=True, tag=21):
    """I am leaving the swarm: forget me."""

    incarnation: U63


Entries = Annotated[list[Signed], Meta(max_length=limits.PROVIDERS_PER_DATAGRAM_MAX)]


class GetProviders(msgspec.Struct, array_like=True, frozen=True, tag=22):
    """Who provides what ``key`` stands for? ``skip`` as many as were told before; or who is nearer to the key."""

    nonce: U63
    key: Id
    skip: U16


class Providers(msgspec.Struct, array_like=True, frozen=True, tag=23):
    """The answer to :class:`GetProviders`: signed provider records, the newest of each network group first.

    ``left`` more are held. Contacts come with the first page only, at most ``CONTACTS_WITH_PROVIDERS_MAX`` beside
    entries; without any there are all twenty.
    """

    nonce: U63
    entries: Entries
    left: U16
    contacts: Contacts


class PutProviders(msgspec.Struct, array_like=True, frozen=True, tag=24):
    """Keep these provider records, all of one key; :class:`Stored` says ``KEPT`` when all are, else why one is not."""

    nonce: U63
    entries: Annotated[list[Signed], Meta(min_length=1, max_length=limits.PROVIDERS_PER_DATAGRAM_MAX)]


class GetContent(msgspec.Struct, array_like=True, frozen=True, tag=25):
    """The content whose hash is ``key``; or who is nearer to it."""

    nonce: U63
    key: Id


class Content(msgspec.Struct, array_like=True, frozen=True, tag=26):
    """The answer to :class:`GetContent`: the content, which proves itself, and nearer peers."""

    nonce: U63
    content: Annotated[bytes, Meta(max_length=limits.CONTENT_BYTES_MAX)] | None
    contacts: Contacts


class PutContent(msgspec.Struct, array_like=True, frozen=True, tag=27):
    """Keep ``content`` under its hash for so long; its sender pays for it, for nobody signs it."""

    nonce: U63
    content: Annotated[bytes, Meta(min_length=1, max_length=limits.CONTENT_BYTES_MAX)]
    retention_s: Seconds


class DialBack(msgspec.Struct, array_like=True, frozen=True, tag=28):
    """Can you reach me as a stranger? Knock and connect, at the address that I ask from."""

    nonce: U63


class Knock(msgspec.Struct, array_like=True, frozen=True, tag=29):
    """Said to who asked to be dialled back, from another port than any that it knows."""

    nonce: U63


class DialedBack(msgspec.Struct, array_like=True, frozen=True, tag=30):
    """The answer to :class:`DialBack`: whether a connection came about (0 not tried, 1 yes, 2 no)."""

    BUSY: ClassVar[int] = 0
    REACHED: ClassVar[int] = 1
    MISSED: ClassVar[int] = 2

    nonce: U63
    code: Annotated[int, Meta(ge=0, le=2)]


class Compound(msgspec.Struct, array_like=True, frozen=True, tag=31):
    """A message and, as in a :class:`Gossip`, rumors that ride along: one datagram says both."""

    message: Ping | Ack | RumorDigest
    rumors: Rumors
    hops: Hops


Datagram = Union[
    Hello, Retry, Welcome, Unsupported, Ping, Ack, PingRequest, Find, Nodes, Get, Value, Put, Stored,
    Gossip, RumorDigest, RumorPull, ClaimRequest, ClaimReply, Explain, Explanation, Leave, GetProviders,
    Providers, PutProviders, GetContent, Content, PutContent, DialBack, Knock, DialedBack, Compound,
]  # fmt: skip
CODEC: Codec[Datagram] = Codec(Datagram, limits.BODY_BYTES_MAX, "datagram")
REPLIES = (Ack, Nodes, Value, Stored, ClaimReply, Explanation, Providers, Content, DialedBack)
