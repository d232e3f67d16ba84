"""The bulk plane's messages: what two peers say over a session.

A session is authenticated and encrypted (``wire/noise.py``): only what must be shown to others later is signed again.
``request`` numbers are chosen by the asker and echoed by the answer; 0 where nobody asked.
"""

from __future__ import annotations

from typing import Annotated, Union

import msgspec
from msgspec import Meta

from p2pcpn import limits
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.codec import U16, U32, U63, Codec, Digest, Id, Key, Seconds
from p2pcpn.wire.rings import OfferRing as OfferRing
from p2pcpn.wire.rings import RingGone as RingGone
from p2pcpn.wire.rings import RingHanded as RingHanded
from p2pcpn.wire.rings import RingPlace as RingPlace
from p2pcpn.wire.rings import RingTaken as RingTaken
from p2pcpn.wire.statements import BlobRef, ShortText, Signed, Stated

Indices = Annotated[list[U63], Meta(max_length=limits.BATCH_TASKS_MAX)]
Spans = Annotated[list[tuple[U63, U32]], Meta(max_length=limits.BATCH_TASKS_MAX)]
Part = Annotated[bytes, Meta(max_length=limits.BLOB_PART_BYTES)]
State = Annotated[bytes, Meta(max_length=limits.CHECKPOINT_BYTES_MAX + 16)]
SaltedState = Annotated[bytes, Meta(max_length=limits.CHECKPOINT_BYTES_MAX + 32)]
# The bytes of a blob are not copied out of the message that brought them.
BlobPart = Annotated[memoryview, Meta(max_length=limits.BLOB_PART_BYTES)]
# A Delivery is decoded as a whole: the most its receipts may state is a quarter of a million runs of tasks.
SETTLEMENTS_MAX = 64
SealedPage = Annotated[bytes, Meta(max_length=limits.MESSAGE_BYTES_MAX)]


class Introduce(msgspec.Struct, array_like=True, frozen=True, tag=1):
    """The signed spec of a job: to its stewards (``keep``) and, before the first lease, to its workers.

    ``handover`` where the sender grants by the owner's word and is neither the first grantor nor a steward.
    """

    request: U63
    spec: Signed
    keep: bool
    age_s: Seconds = 0.0  # of the job, by the sender's clock
    handover: Signed | None = None


class Extend(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """A signed segment. ``pages`` are the sealed pages in order; empty bytes for pages that are not sent (yet)."""

    request: U63
    segment: Signed
    pages: Annotated[list[SealedPage], Meta(max_length=limits.PAGES_PER_SEGMENT_MAX)]
    keep: bool


class PageSlice(msgspec.Struct, array_like=True, frozen=True):
    """Tasks ``low`` to ``high`` (exclusive) of the sealed page that starts at index ``first``."""

    segment: U32
    first: U63  # index of the page's first task
    low: U16
    high: U16
    key: Key  # opens the page


class Grant(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """A signed lease and the keys to work under it. ``slices`` cover the lease's spans in order.

    Where they end within the last of those, the lease was granted ahead of the rest: tasks that :class:`Further` names
    when they are there.
    """

    lease: Signed
    slices: Annotated[list[PageSlice], Meta(min_length=1, max_length=limits.BATCH_TASKS_MAX)]
    result_key: Key
    digest_key: Key
    code_key: Key
    slots: U16  # runs of this job at a time on this peer
    extend: Extend | None = None  # a segment of its tasks, where the peer was not sent all pages before


class Progress(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """Renews the lease ``token``; ``started`` are the indices that run now."""

    job: Id
    token: U63
    started: Indices


class Results(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """A worker's receipt and the sealed page of results it speaks of. ``last``: the lease is spent.

    ``lease`` is the receipt's, as its grantor signed it: without it nobody takes a receipt of an older epoch.
    """

    receipt: Signed
    page: Annotated[bytes, Meta(max_length=limits.MESSAGE_BYTES_MAX)]
    last: bool
    lease: Signed | None = None


class Settled(msgspec.Struct, array_like=True, frozen=True, tag=6):
    """Receipts that are settled and stored: their journal may be dropped. Each is (epoch and token as one, part)."""

    job: Id
    parts: Annotated[list[tuple[U63, U32]], Meta(max_length=limits.BATCH_TASKS_MAX)]


class Return(msgspec.Struct, array_like=True, frozen=True, tag=7):
    """Leased tasks given back unrun; ``text``: why; ``code``: "declined", "missing", "late", "leaving", "recalled", and
    of what could not be run "broken" (nothing can, here), "unusable" (an input is here, and no good), "unreachable".
    """

    job: Id
    token: U63
    spans: Spans
    code: ShortText
    text: ShortText


class Revoke(msgspec.Struct, array_like=True, frozen=True, tag=8):
    """The grantor takes indices back: drop them where unstarted, stop them where ``stop``."""

    job: Id
    spans: Spans
    stop: bool


class Recall(msgspec.Struct, array_like=True, frozen=True, tag=25):
    """Others idle: give back up to ``count`` tasks of a job that have not started, by :class:`Return`."""

    job: Id
    count: Annotated[int, Meta(ge=1, le=limits.BATCH_TASKS_MAX)]


class Output(msgspec.Struct, array_like=True, frozen=True, tag=9):
    """What a running task printed: sealed under the lease's result key. ``stream`` 1 is stdout, 2 stderr."""

    job: Id
    token: U63
    number: U32  # counts the outputs of one token; the nonce of the seal
    sealed: Part


class Finish(msgspec.Struct, array_like=True, frozen=True, tag=10):
    """A signed :class:`Close`, :class:`Cancel` or :class:`Pause` of the owner."""

    request: U63
    statement: Signed


class Take(msgspec.Struct, array_like=True, frozen=True, tag=11):
    """Become the grantor of a job you keep: a signed :class:`Handover`."""

    request: U63
    handover: Signed


class Mandate(msgspec.Struct, array_like=True, frozen=True, tag=43):
    """``grantor`` grants a job in ``epoch``: said by itself every few seconds while tasks are open, and by others to
    one that believes it still does in an older epoch. Of the first ``tasks`` tasks ``open`` have not ended.

    Whose an epoch is the spec tells, or else the ``handover``; it is no statement, for its sender's session proves it.
    """

    request: U63
    job: Id
    epoch: U32
    grantor: Contact
    handover: Signed | None
    segments: U32  # of its log
    tasks: U63
    open: U63


class Append(msgspec.Struct, array_like=True, frozen=True, tag=12):
    """Keep this segment of a settlement log: header signed by the grantor, body with settlements and receipts."""

    request: U63
    header: Signed
    body: Annotated[bytes, Meta(max_length=limits.MESSAGE_BYTES_MAX)]


class Answer(msgspec.Struct, array_like=True, frozen=True, tag=13):
    """The end of a request: 0 done (for a store: durable on disk), else an :class:`AnswerCode` and words.

    ``also`` are requests that ended with it in the same way.
    """

    request: U63
    code: U16
    text: ShortText
    also: Annotated[list[U63], Meta(max_length=limits.ANSWERS_TOGETHER_MAX)] = []


class AnswerCode:
    """How a request ended."""

    DONE = 0
    UNKNOWN = 1
    REFUSED = 2
    FULL = 3
    FAILED = 4


class Ask(msgspec.Struct, array_like=True, frozen=True, tag=14):
    """What do you hold of ``job``? Log segments from ``log_from`` on of each grantor are wanted."""

    request: U63
    job: Id


class ShutOut(msgspec.Struct, array_like=True, frozen=True):
    """A peer that failed so often in a row at what it was leased that its grantor leases it nothing for ``left_s``."""

    peer: Id
    failures: U32
    left_s: Seconds
    text: ShortText  # what the last failure was


class JobState(msgspec.Struct, array_like=True, frozen=True, tag=15):
    """The answer to :class:`Ask`: signed statements, counts, and how long each log is; nothing that needs trust."""

    request: U63
    spec: Signed
    close: Signed | None
    cancel: Signed | None
    segments: U32
    tasks: U63
    logs: Annotated[
        list[tuple[Id, U32, U32]], Meta(max_length=limits.LOGS_PER_JOB_MAX)
    ]  # (grantor, epoch, log segments held)
    waiting: U63
    running: U63
    settled: U63
    granting: bool  # the answering peer is the grantor now
    pause: Signed | None = None  # the owner's newest word on whether it pauses
    # All handovers that are known, and who took the job over last by its own word.
    handovers: Annotated[list[Signed], Meta(max_length=limits.EPOCHS_MAX + 1)] = []
    mandate: Mandate | None = None
    overdue: bool = False  # the answering grantor ended what was open because the job's deadline had passed
    shut_out: Annotated[list[ShutOut], Meta(max_length=limits.SHUT_OUT_SHOWN_MAX)] = []
    mandates: Annotated[list[Mandate], Meta(max_length=limits.STEWARDS_MAX + 1)] = []  # of lots, and of their stem


class ReadLog(msgspec.Struct, array_like=True, frozen=True, tag=16):
    """Send one log segment."""

    request: U63
    job: Id
    grantor: Id
    epoch: U32
    number: U32


class LogData(msgspec.Struct, array_like=True, frozen=True, tag=17):
    """The answer to :class:`ReadLog`."""

    request: U63
    header: Signed
    body: Annotated[bytes, Meta(max_length=limits.MESSAGE_BYTES_MAX)]


class ReadSegment(msgspec.Struct, array_like=True, frozen=True, tag=18):
    """Send one segment of tasks with its pages; answered by :class:`Extend`."""

    request: U63
    job: Id
    number: U32


class PutBlob(msgspec.Struct, array_like=True, frozen=True, tag=19):
    """One part of a blob of ``size_bytes`` at ``offset``; parts come in order. ``job`` says whose it is."""

    request: U63
    digest: Digest
    job: Id
    size_bytes: U63
    offset: U63
    data: BlobPart
    retention_s: Seconds
    ring_at: U63 = 0  # where ``ring_bytes`` of it lie in the sender's ring, instead of in ``data``
    ring_bytes: U32 = 0


class GetBlob(msgspec.Struct, array_like=True, frozen=True, tag=20):
    """Send a blob from ``offset`` on: answered by :class:`BlobData` parts or an :class:`Answer`.

    ``patient``: it is to be kept, and what others wait for may go first.
    """

    request: U63
    digest: Digest
    offset: U63
    patient: bool = False


class BlobData(msgspec.Struct, array_like=True, frozen=True, tag=21):
    """One part of the answer to :class:`GetBlob`."""

    request: U63
    digest: Digest
    size_bytes: U63
    offset: U63
    data: BlobPart
    ring_at: U63 = 0  # as in :class:`PutBlob`
    ring_bytes: U32 = 0


class ListJobs(msgspec.Struct, array_like=True, frozen=True, tag=22):
    """Which jobs of ``owner`` do you keep?"""

    request: U63
    owner: Key


class Jobs(msgspec.Struct, array_like=True, frozen=True, tag=23):
    """The answer to :class:`ListJobs`."""

    request: U63
    jobs: Annotated[list[Id], Meta(max_length=limits.JOBS_PER_PEER_MAX)]


class Goodbye(msgspec.Struct, array_like=True, frozen=True, tag=24):
    """The session ends because of ``text``; nothing that is leased is lost by it."""

    text: ShortText


SealedChunk = Annotated[memoryview, Meta(max_length=limits.CHUNK_BYTES + limits.CHUNK_SEAL_BYTES)]
ManifestBytes = Annotated[bytes, Meta(max_length=limits.MANIFEST_BYTES_MAX)]
Names = Annotated[list[Digest], Meta(max_length=limits.COMPARED_MAX)]


class Keep(msgspec.Struct, array_like=True, frozen=True, tag=26):
    """Keep the section of a signed :class:`Deposit`: answered by :class:`Holding` (what you have of it), or a refusal.

    ``holders`` keep it too, as far as the sender knows.
    """

    request: U63
    deposit: Signed
    manifest: ManifestBytes
    holders: Annotated[list[Contact], Meta(max_length=limits.HOLDERS_MAX)]


class PutChunk(msgspec.Struct, array_like=True, frozen=True, tag=27):
    """One sealed chunk of a section that the receiver agreed to keep."""

    name: Digest
    index: U32
    data: SealedChunk


class Complete(msgspec.Struct, array_like=True, frozen=True, tag=28):
    """All chunks were sent: answered when the section is whole and durable, or with why it is not."""

    request: U63
    name: Digest


class Seek(msgspec.Struct, array_like=True, frozen=True, tag=29):
    """Do you keep this section? ``manifest``: and what does it name?"""

    request: U63
    name: Digest
    manifest: bool


class Holding(msgspec.Struct, array_like=True, frozen=True, tag=30):
    """The answer to :class:`Keep` and :class:`Seek`. ``have`` is a bit a chunk, the first the lowest of its byte."""

    request: U63
    whole: bool
    have: Annotated[bytes, Meta(max_length=limits.MANIFEST_CHUNKS_MAX // 8)]  # empty where all are here
    manifest: ManifestBytes  # empty where it was not asked for
    holders: Annotated[list[Contact], Meta(max_length=limits.HOLDERS_MAX)]


class GetChunk(msgspec.Struct, array_like=True, frozen=True, tag=31):
    """Send one sealed chunk: answered by :class:`ChunkData` or an :class:`Answer`."""

    request: U63
    name: Digest
    index: U32


class ChunkData(msgspec.Struct, array_like=True, frozen=True, tag=32):
    """The answer to :class:`GetChunk`."""

    request: U63
    data: SealedChunk


class Compare(msgspec.Struct, array_like=True, frozen=True, tag=33):
    """I keep these sections whole; which of them do you? Answered by :class:`Compared`."""

    request: U63
    names: Names


class Compared(msgspec.Struct, array_like=True, frozen=True, tag=34):
    """The answer to :class:`Compare`: a bit a section, as in :class:`Holding`."""

    request: U63
    have: Annotated[bytes, Meta(max_length=limits.COMPARED_MAX // 8)]


class ListDeposits(msgspec.Struct, array_like=True, frozen=True, tag=35):
    """Which sections of ``owner`` do you keep whole? In the order of their names, from behind ``after``."""

    request: U63
    owner: Key
    after: Annotated[bytes, Meta(max_length=32)]


class Deposits(msgspec.Struct, array_like=True, frozen=True, tag=36):
    """The answer to :class:`ListDeposits`; ``more``: there are others behind the last."""

    request: U63
    deposits: Annotated[list[Signed], Meta(max_length=limits.COMPARED_MAX)]
    more: bool


class Entrust(msgspec.Struct, array_like=True, frozen=True, tag=37):
    """Keep this job in the place of the sender, who leaves: its spec, and what the owner said of it since (close,
    cancel, pause, every handover). Its logs follow as :class:`Append`, tasks that are open as :class:`Extend`.
    """

    request: U63
    spec: Signed
    words: Annotated[list[Signed], Meta(max_length=limits.EPOCHS_MAX + 4)]
    age_s: Seconds  # of the job, by the sender's clock


class Input(msgspec.Struct, array_like=True, frozen=True):
    """The result of task ``index``, which others take: its value, or the blob that ``holders`` have, and the digest
    that its receipt states."""

    index: U63
    digest: Stated
    value: Annotated[bytes, Meta(max_length=limits.INLINE_BYTES_MAX)] | BlobRef
    holders: Annotated[list[Contact], Meta(max_length=limits.INPUT_HOLDERS_MAX)]


class Inputs(msgspec.Struct, array_like=True, frozen=True, tag=44):
    """What tasks take that are about to be leased under ``token``: sent ahead of the lease, in parts."""

    job: Id
    epoch: U32
    token: U63
    inputs: Annotated[list[Input], Meta(min_length=1, max_length=limits.INPUTS_AT_ONCE_MAX)]


class Checkpoint(msgspec.Struct, array_like=True, frozen=True, tag=45):
    """The state of a task that runs under the lease ``token``: sealed under the lease's result key, ``number`` the
    nonce. The newest counts.
    """

    job: Id
    token: U63
    index: U63
    number: U32
    sealed: State


class Resume(msgspec.Struct, array_like=True, frozen=True, tag=46):
    """What an earlier run of a task left, sealed for the lease ``token``, which is said behind it."""

    job: Id
    token: U63
    index: U63
    number: U63
    sealed: State


class LeftState(msgspec.Struct, array_like=True, frozen=True):
    """What task ``index`` left while it ran, sealed with the job's key; of two the greater ``number`` is the newer."""

    index: U63
    number: U63  # the epoch and a counter as one: the nonce
    sealed: SaltedState  # 16 bytes that the key is made with, then the seal


class States(msgspec.Struct, array_like=True, frozen=True, tag=47):
    """The grantor of ``epoch`` has its stewards keep what running tasks left, for whoever grants next. No answer."""

    job: Id
    epoch: U32
    states: Annotated[list[LeftState], Meta(min_length=1, max_length=limits.SAFEKEEP_STATES_MAX)]


class Recount(msgspec.Struct, array_like=True, frozen=True, tag=48):
    """I keep these jobs; what do you keep of them? Answered by :class:`Recounted`."""

    request: U63
    jobs: Annotated[list[Id], Meta(max_length=limits.RECOUNTED_MAX)]


class JobKept(msgspec.Struct, array_like=True, frozen=True):
    """What a peer has on disk of one job: so many words of its owner beside the spec, segments of tasks, and segments
    of each log, by (grantor, epoch)."""

    words: U32
    segments: U32
    logs: Annotated[list[tuple[Id, U32, U32]], Meta(max_length=limits.RECOUNTED_LOGS_MAX)]


class Recounted(msgspec.Struct, array_like=True, frozen=True, tag=49):
    """The answer to :class:`Recount`, job by job; nothing, where it is not kept."""

    request: U63
    kept: Annotated[list[JobKept | None], Meta(max_length=limits.RECOUNTED_MAX)]


class Orphan(msgspec.Struct, array_like=True, frozen=True, tag=50):
    """A result that its worker brought to a steward because nobody granted, passed on to whoever does.

    With a ``request`` by a steward that leaves, to a peer that is to keep it instead; that is answered. ``lease`` is
    the receipt's, as its grantor signed it.
    """

    receipt: Signed
    page: Annotated[bytes, Meta(max_length=limits.MESSAGE_BYTES_MAX)]
    request: U63 = 0
    lease: Signed | None = None


class Settlement(msgspec.Struct, array_like=True, frozen=True):
    """A receipt and its page, of which ``spans`` are settled: all that it states, where none are named."""

    receipt: Signed
    page: Annotated[bytes, Meta(max_length=limits.MESSAGE_BYTES_MAX)]
    spans: Spans | None


class Delivery(msgspec.Struct, array_like=True, frozen=True, tag=51):
    """What the grantor of a lot settled, told to the node that submitted the job. Receipts prove it, as in the log."""

    job: Id
    epoch: U32
    settled: Annotated[list[Settlement], Meta(min_length=1, max_length=SETTLEMENTS_MAX)]


class GivenUp(msgspec.Struct, array_like=True, frozen=True, tag=52):
    """The grantor of a lot gives tasks up: told to the node that submitted the job, and to the other grantors."""

    job: Id
    epoch: U32
    spans: Spans
    text: ShortText
    died: bool
    signal: Annotated[int, Meta(ge=0, lt=1 << 16)] | None
    exit_code: Annotated[int, Meta(ge=-(1 << 31), lt=1 << 31)] | None


class Standing(msgspec.Struct, array_like=True, frozen=True, tag=53):
    """How much of what the grantor of a lot settled lies on how many holders; ``done``: of all that it will settle."""

    job: Id
    epoch: U32
    settled: U63
    replicated: U63
    copies: U32
    done: bool


class Further(msgspec.Struct, array_like=True, frozen=True, tag=54):
    """More tasks under the lease ``token``, which was granted ahead of them: they are there now, and may be run.

    ``extend`` is their segment, where the peer was not sent it before.
    """

    job: Id
    epoch: U32
    token: U63
    slices: Annotated[list[PageSlice], Meta(min_length=1, max_length=limits.BATCH_TASKS_MAX)]
    extend: Extend | None = None


Message = Union[
    Introduce, Extend, Grant, Progress, Results, Settled, Return, Revoke, Output, Finish, Take, Append, Answer, Ask,
    JobState, ReadLog, LogData, ReadSegment, PutBlob, GetBlob, BlobData, ListJobs, Jobs, Goodbye, Recall,
    Keep, PutChunk, Complete, Seek, Holding, GetChunk, ChunkData, Compare, Compared, ListDeposits, Deposits,
    Entrust, OfferRing, RingPlace, RingHanded, RingTaken, RingGone, Mandate, Inputs, Checkpoint, Resume,
    States, Recount, Recounted, Orphan, Delivery, GivenUp, Standing,
    Further,
]  # fmt: skip
CODEC: Codec[Message] = Codec(Message, limits.MESSAGE_BYTES_MAX, "message")
