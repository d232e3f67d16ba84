"""What a peer or an owner says over its signature: the statements of the protocol and the envelope that signs them.

A :class:`Signed` holds a statement's kind, its exact bytes, the key and the Ed25519 signature over
``b"p2pcpn/1 statement" + kind + body``. The bytes that were signed are the bytes that are kept and passed on: nobody
re-encodes another's words. Who may say what is decided in ``protocol/``; here a signature is right or it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, verify
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.codec import U16, U32, U48, U63, Codec, Digest, Id, Key, Seconds, Share, Signature, is_canonical

DOMAIN = b"p2pcpn/1 statement"

ShortText = Annotated[str, Meta(max_length=limits.REASON_CHARS_MAX)]
# Words and names are printable ASCII, a byte a character: that is what lets an advert fit a record's value.
_ASCII = r"\A[ -~]*\Z"
Word = Annotated[str, Meta(max_length=32, pattern=_ASCII)]
ShortWord = Annotated[str, Meta(max_length=16, pattern=_ASCII)]
PackageName = Annotated[str, Meta(max_length=limits.REQUIREMENT_CHARS_MAX, pattern=_ASCII)]
# Bounded on both sides, which keeps NaN and infinity out of what others sort by.
Milliseconds = Annotated[float, Meta(ge=0.0, le=1e7)]
Priority = Annotated[int, Meta(ge=-limits.PRIORITY_MAX, le=limits.PRIORITY_MAX)]
Stated = Annotated[bytes, Meta(min_length=16, max_length=16)]  # the digest of a result
Latitude = Annotated[float, Meta(ge=-90.0, le=90.0)]
Longitude = Annotated[float, Meta(ge=-180.0, le=180.0)]


class Statement(msgspec.Struct, array_like=True, frozen=True):
    """Base of everything that is signed. ``kind`` is the number that stands in :class:`Signed`."""

    kind: ClassVar[int]


class Accelerator(msgspec.Struct, array_like=True, frozen=True):
    """Devices of one sort: ``kind`` such as ``"cuda"``, how many, and the memory of each."""

    kind: ShortWord
    count: U16
    memory_bytes: U63


class Advert(Statement, frozen=True):
    """A peer's signed capacity. ``version`` grows with every change; it is void ``ttl_s`` after it was heard.

    The largest is 746 bytes: it is gossiped, and it is the value of a record, which takes 768.
    """

    kind: ClassVar[int] = 1
    contact: Contact
    boot: U48
    version: U63
    ttl_s: Seconds
    roles: U16  # bit set, see Role
    cores: U16
    slots: U16  # runs this peer does at a time
    slots_free: U16
    memory_bytes: U63
    memory_free_bytes: U63
    load: Share  # share of all cores that processes other than ours use
    python: ShortWord  # "3.11"
    implementation: ShortWord  # "cpython"
    platform: Word  # "linux-x86_64"
    runtimes: Annotated[list[ShortWord], Meta(max_length=4)]
    packages: Annotated[list[PackageName], Meta(max_length=8)]  # the notable ones
    accelerators: Annotated[list[Accelerator], Meta(max_length=4)]
    tags: Annotated[list[Word], Meta(max_length=4)]
    position: tuple[Latitude, Longitude] | None  # degrees, when the owner gave it
    rtt_ms: Milliseconds  # median round trip to the neighbourhood; 0 when nothing is measured
    machine: U63  # machine group: peers of one machine share it


class Role:
    """The bits of ``Advert.roles``. A client peer has none.

    Two are no roles: ``HIDDEN``, strangers cannot reach the peer; ``DRAINING``, it is about to leave.
    """

    COMPUTE = 1
    STORAGE = 2
    RELAY = 4
    HIDDEN = 8
    DRAINING = 16

    NAMES: ClassVar[dict[str, int]] = {"compute": COMPUTE, "storage": STORAGE, "relay": RELAY}

    @classmethod
    def names(cls, roles: int) -> list[str]:
        """The words for a bit set."""
        return [name for name, bit in cls.NAMES.items() if roles & bit]


class Offer(Statement, frozen=True):
    """Gossiped by a grantor: there is work to be had in ``job``. ``number`` grows with each offer of an epoch."""

    kind: ClassVar[int] = 2
    job: Id
    owner: Key
    epoch: U32
    grantor: Contact
    number: U32
    runtime: ShortWord
    python: ShortWord
    requires: Annotated[list[PackageName], Meta(max_length=limits.REQUIREMENTS_MAX)]
    memory_bytes: U63
    waiting: U63  # tasks not leased
    slots_wanted: U32
    ttl_s: Seconds
    priority: Priority = 0  # among the owner's own jobs
    lot: U16 = 0  # of a distributed job
    slots_filled: U32 = 0  # by those who take part already


class Claim(Statement, frozen=True):
    """A peer takes part in ``job``: up to ``slots`` runs at a time."""

    kind: ClassVar[int] = 3
    job: Id
    epoch: U32
    grantor: Id
    number: U32  # of the offer it answers
    contact: Contact
    boot: U48
    slots: U16
    load: Share
    rtt_ms: Milliseconds


class Lease(Statement, frozen=True):
    """The right to run ``spans``, for 30 s from when the grantor last heard of it (renewed by progress).

    The last of them may go beyond the tasks there are: the right to those that come next, each once it is named.
    """

    kind: ClassVar[int] = 4
    job: Id
    epoch: U32
    token: U63
    worker: Id
    spans: Annotated[list[tuple[U63, U32]], Meta(min_length=1, max_length=limits.BATCH_TASKS_MAX)]  # (first, count)


class Receipt(Statement, frozen=True):
    """A worker states the outcome of runs under a lease: one receipt a batch of results."""

    kind: ClassVar[int] = 5
    job: Id
    epoch: U32
    grantor: Id
    token: U63
    part: U32  # results of one lease come in parts
    spans: Annotated[list[tuple[U63, U32]], Meta(min_length=1, max_length=limits.BATCH_TASKS_MAX)]
    outcomes: Annotated[bytes, Meta(max_length=limits.BATCH_TASKS_MAX)]  # one Outcome a task, in the order of spans
    digests: Annotated[bytes, Meta(max_length=limits.BATCH_TASKS_MAX * 16)]  # 16 bytes a task
    page: Digest  # of the encrypted result page; zero where there is none
    ran_s: Seconds  # time spent in the tasks, all runs together
    proof: Annotated[bytes, Meta(max_length=32)]  # that the worker holds the swarm key; empty in an open swarm
    # (task, input, digest): the result of task input, which it took, had that digest.
    inputs: Annotated[list[tuple[U63, U63, Stated]], Meta(max_length=limits.LEASE_INPUTS_MAX)] = []


class Outcome:
    """How a run ended. ``DIED`` carries signal or exit code in the result page."""

    OK = 0
    RAISED = 1
    DIED = 2


class LogHeader(Statement, frozen=True):
    """Heads one segment of a grantor's settlement log; ``body`` is the digest of the settlements and their receipts."""

    kind: ClassVar[int] = 6
    job: Id
    epoch: U32
    grantor: Id
    number: U32
    previous: Digest
    body: Digest
    settled: U63  # indices settled by this log, this segment included
    spans: Annotated[list[tuple[U63, U32]], Meta(max_length=limits.SEGMENT_TASKS_MAX)]
    # Sealed blobs that its results name: a holder has these too before it says that it has the segment.
    blobs: Annotated[list[Digest], Meta(max_length=limits.SEGMENT_TASKS_MAX)] = []


class Record(Statement, frozen=True):
    """A signed, versioned DHT item: key = BLAKE2b-160(owner key, salt). After BEP 44."""

    kind: ClassVar[int] = 7
    salt: Annotated[bytes, Meta(max_length=limits.SALT_BYTES_MAX)]
    seq: U63
    created_s: Seconds  # wall clock of the signer, tolerated within limits.CLOCK_TOLERANCE_S
    retention_s: Seconds
    value: Annotated[bytes, Meta(max_length=limits.RECORD_VALUE_BYTES_MAX)]


class Steward(msgspec.Struct, array_like=True, frozen=True):
    """A peer named in a job to keep its state. ``key`` is its node key, ``wrapped`` the job key for it (or empty)."""

    key: Key
    contact: Contact
    wrapped: Annotated[bytes, Meta(max_length=96)]


class BlobRef(msgspec.Struct, array_like=True, frozen=True):
    """Names a sealed blob: digest (BLAKE3-256) and size of its ciphertext, and the key that opens it.

    A ref that stands where others may read it (a spec) has an empty key: it follows from the job key then.
    """

    digest: Digest
    size_bytes: U63
    key: Annotated[bytes, Meta(max_length=32)]


class Spec(Statement, frozen=True):
    """What a job is. ``job id = BLAKE2b-160(owner key, body of the spec)``; the body holds the nonce."""

    kind: ClassVar[int] = 8
    nonce: Annotated[bytes, Meta(min_length=16, max_length=16)]
    name: ShortText
    created_s: Seconds
    runtime: ShortWord
    python: ShortWord
    code: BlobRef | None  # the project's modules
    requires: Annotated[list[PackageName], Meta(max_length=limits.REQUIREMENTS_MAX)]
    memory_bytes: U63
    replicas: U16
    quorum: tuple[U16, U16]
    max_workers: U32  # 0: no bound
    orchestration: Word
    routing: Word
    privacy: Word
    retention_s: Seconds
    retries: U16
    grantor: Key  # node key of the first grantor, epoch 0
    stewards: Annotated[list[Steward], Meta(max_length=limits.STEWARDS_MAX)]
    wrapped: Annotated[bytes, Meta(max_length=96)]  # the job key for the owner
    swarm_proof: Annotated[bytes, Meta(max_length=32)]  # that the owner holds the swarm key; empty in an open swarm
    output: bool  # whether workers capture and send what tasks print
    render: bool = False  # whether workers send a short text of each result, for those who do not unpickle
    priority: Priority = 0  # among the owner's own jobs: never before another owner's
    deadline_s: Seconds = 0.0  # from its creation on; 0: none
    ttl_s: Seconds = 0.0  # how long it stays open without a new task; 0: until it is closed
    hedge: bool = True  # whether the slowest tasks at the tail may run twice at a time


class Segment(Statement, frozen=True):
    """A signed run of tasks, chained to the one before. ``pages`` are (tasks, digest of the sealed page)."""

    kind: ClassVar[int] = 9
    job: Id
    number: U32
    first: U63
    previous: Digest
    pages: Annotated[list[tuple[U16, Digest]], Meta(min_length=1, max_length=limits.PAGES_PER_SEGMENT_MAX)]
    requires: Annotated[list[PackageName], Meta(max_length=limits.REQUIREMENTS_MAX)]
    blobs: Annotated[list[Digest], Meta(max_length=limits.SEGMENT_TASKS_MAX)]  # sealed blobs the tasks name

    @property
    def count(self) -> int:
        pages = self.pages
        return pages[0][0] if len(pages) == 1 else sum(tasks for tasks, _ in pages)


class Close(Statement, frozen=True):
    """The owner states the total: no further segment belongs to the job."""

    kind: ClassVar[int] = 10
    job: Id
    total: U63
    last: Digest


class Cancel(Statement, frozen=True):
    """The owner ends a job: unstarted tasks are dropped, running ones stopped."""

    kind: ClassVar[int] = 11
    job: Id
    at_s: Seconds


class Handover(Statement, frozen=True):
    """The owner makes ``grantor`` (a steward of the job, or any node) the grantor of ``epoch``.

    With ``first`` it divides a job: from that task on its stewards grant it, in lots, whose epochs begin at ``epoch``;
    ``grantor`` is nobody then.
    """

    kind: ClassVar[int] = 12
    job: Id
    epoch: U32
    grantor: Key
    first: U32 | None = None


class Reason(Statement, frozen=True):
    """A peer's signed answer to ``explain``: why it takes part in a job or does not."""

    kind: ClassVar[int] = 13
    job: Id
    nonce: U63
    code: Word  # "claimed", "declined", "busy", "waiting", "failing", "unseen"
    text: ShortText


class MemberState(Statement, frozen=True):
    """A SWIM rumor: ``member`` is alive (0), suspected (1) or dead (2) at ``incarnation``, says the signer."""

    kind: ClassVar[int] = 14
    member: Contact
    boot: U48
    incarnation: U63
    state: Annotated[int, Meta(ge=0, le=2)]


class ProviderRecord(Statement, frozen=True):
    """A peer provides what ``key`` stands for, and is found at ``contact``: one entry a peer under a key many share.

    The higher ``seq`` wins. A contact with port 0 takes it back. Signed by the node key of ``contact``.
    """

    kind: ClassVar[int] = 15
    key: Id
    seq: U63
    created_s: Seconds  # as in Record
    retention_s: Seconds
    contact: Contact
    value: Annotated[bytes, Meta(max_length=limits.PROVIDER_VALUE_BYTES_MAX)] = b""  # for those who agree on its sense


class Deposit(Statement, frozen=True):
    """The owner wants the section that the manifest ``name`` names kept on ``replicas`` peers until the retention ends.

    The blob has ``parts`` sections and a list of them, or one section (0), which ``is_root`` then.
    """

    kind: ClassVar[int] = 16
    name: Digest
    blob: Id  # what all sections of one blob share
    is_root: bool  # whether the blob's name names this manifest
    parts: U32
    size_bytes: U63  # of the whole blob
    created_s: Seconds
    retention_s: Seconds
    replicas: Annotated[int, Meta(ge=1, le=limits.REPLICAS_MAX)]
    note: Annotated[bytes, Meta(max_length=limits.DEPOSIT_NOTE_BYTES_MAX)]  # the blob's key and file, for the owner
    proof: Annotated[bytes, Meta(max_length=32)]  # that the owner holds the swarm key; empty in an open swarm


class Pause(Statement, frozen=True):
    """The owner has a job wait, or go on: nothing is leased while it is ``paused``. Of several the highest ``number``
    counts, and none below it ever again."""

    kind: ClassVar[int] = 17
    job: Id
    number: U63
    paused: bool


KINDS: dict[int, type[Statement]] = {
    cls.kind: cls
    for cls in (
        Advert, Offer, Claim, Lease, Receipt, LogHeader, Record, Spec, Segment, Close, Cancel, Handover, Reason,
        MemberState, ProviderRecord, Deposit, Pause,
    )
}  # fmt: skip
# Only the kinds that travel in datagrams are held to a datagram's size; the others are held to a message's.
_SMALL = (Offer, Claim, Record, Reason, MemberState, ProviderRecord)
_CODECS: dict[int, Codec[Any]] = {
    number: Codec(cls, limits.RUMOR_BYTES_MAX if cls in _SMALL else limits.MESSAGE_BYTES_MAX, cls.__name__)
    for number, cls in KINDS.items()
} | {Advert.kind: Codec(Advert, limits.RECORD_VALUE_BYTES_MAX, "Advert")}

S = TypeVar("S", bound=Statement)
_OWNERS_WORDS: dict[int, type[Close] | type[Cancel] | type[Pause]] = {
    Close.kind: Close, Cancel.kind: Cancel, Pause.kind: Pause,
}  # fmt: skip


class Signed(msgspec.Struct, array_like=True, frozen=True):
    """A statement's bytes under a key and its signature. Unverified until :func:`opened` returned its statement."""

    kind: U16
    body: Annotated[bytes, Meta(max_length=limits.MESSAGE_BYTES_MAX)]
    key: Key
    signature: Signature


def _message(kind: int, body: bytes) -> bytes:
    return DOMAIN + kind.to_bytes(2, "big") + body


def signed(statement: Statement, keypair: Keypair) -> Signed:
    """``statement`` signed by ``keypair``."""
    body = _CODECS[statement.kind].encode(statement)
    return Signed(statement.kind, body, keypair.public, keypair.sign(_message(statement.kind, body)))


# The envelope that was read last, and what is in it: a message is looked into before somebody checks what it says.
_newest: tuple[Signed, Statement] | None = None


def read(envelope: Signed, expected: type[S]) -> S:
    """The statement within, its signature *not* checked: for what this process verified before or said itself.

    Read again, it is the same object: nobody changes it.
    """
    global _newest
    if envelope.kind != expected.kind:
        raise PeerError(f"a {expected.__name__} was due; kind {envelope.kind} came")
    newest = _newest
    if newest is not None and newest[0] is envelope:
        return newest[1]  # type: ignore[return-value]
    if _checks is not None and (known := _checks.find(envelope)) is not None:
        return known  # type: ignore[return-value]
    statement: S = _CODECS[envelope.kind].decode(envelope.body)
    _newest = envelope, statement
    return statement


def owners_word(envelope: Signed) -> type[Close] | type[Cancel] | type[Pause]:
    """Which word of an owner on a job as a whole this is. Raises :class:`PeerError` for what is none."""
    found = _OWNERS_WORDS.get(envelope.kind)
    if found is None:
        raise PeerError(f"an owner's word on a job was due; kind {envelope.kind} came")
    return found


# Envelopes verified lately, which cannot change: a segment goes to the worker and to the steward of one peer.
_VERIFIED_MAX = 128
_verified: dict[int, Signed] = {}


def opened(envelope: Signed, expected: type[S]) -> S:
    """The statement within, its type, bounds and signature checked. Raises :class:`PeerError` otherwise."""
    statement = read(envelope, expected)
    if _verified.get(id(envelope)) is envelope or (_checks is not None and _checks.find(envelope) is statement):
        return statement
    # As we would write it, or by the judge where it has fields that we do not know.
    if _CODECS[envelope.kind].encode(statement) != envelope.body and not is_canonical(envelope.body):
        raise PeerError(f"that {expected.__name__} is not in canonical form")
    if not verify(envelope.key, _message(envelope.kind, envelope.body), envelope.signature):
        raise PeerError(f"the signature under that {expected.__name__} is wrong")
    vouch(envelope)
    if _checks is not None:
        _checks.add(envelope, statement)
    return statement


def shared(envelope: Signed) -> Signed:
    """``envelope``, or where peers share what they have checked the equal one that another of them holds."""
    return envelope if _checks is None else _checks.same(envelope)


class Checks:
    """What was found right lately, at most ``count`` statements, for many virtual peers that live in one process: each
    of them would check the same bytes under the same key and find the same. They share the values, too, which nobody
    changes: a thousand peers hold one advert. A real peer has none."""

    __slots__ = ("_count", "_found")

    def __init__(self, count: int) -> None:
        self._count = count
        self._found: dict[tuple[int, bytes, bytes], tuple[Signed, Statement]] = {}  # by kind, key and signature

    def find(self, envelope: Signed) -> Statement | None:
        """The statement in an envelope that is right, or ``None`` where that is not known."""
        found = self._found.get((envelope.kind, envelope.key, envelope.signature))
        return found[1] if found is not None and found[0].body == envelope.body else None

    def same(self, envelope: Signed) -> Signed:
        """The first of the envelopes equal to this one that were found right, or this one."""
        found = self._found.get((envelope.kind, envelope.key, envelope.signature))
        return found[0] if found is not None and found[0].body == envelope.body else envelope

    def add(self, envelope: Signed, statement: Statement) -> None:
        """``envelope``, which holds ``statement``, is right."""
        if len(self._found) >= self._count:
            del self._found[next(iter(self._found))]
        self._found[envelope.kind, envelope.key, envelope.signature] = envelope, statement


_checks: Checks | None = None


@contextmanager
def sharing(checks: Checks) -> Iterator[None]:
    """While it lasts all peers of this process share ``checks``."""
    global _checks
    before, _checks = _checks, checks
    try:
        yield
    finally:
        _checks = before


def vouch(envelope: Signed) -> None:
    """Remember that ``envelope`` is right: its signature was checked, or a statement that names its digest was."""
    if len(_verified) >= _VERIFIED_MAX:
        del _verified[next(iter(_verified))]
    _verified[id(envelope)] = envelope
