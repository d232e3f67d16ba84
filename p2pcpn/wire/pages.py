"""Pages: many tasks, or many results, as columns in one sealed piece of bytes.

A page of tasks names the functions once and lists a pickled ``(args, kwargs)`` a task. A page of results lists a value
a task. What is larger than ``limits.INLINE_BYTES_MAX`` stands as a :class:`BlobRef`. Large buffers stand beside the
pickle they belong to (its out-of-band buffers, PEP 574): each is a blob of its own, named once a page, so that tasks
which share an array share its blob. Nothing here is ever unpickled: these are bytes for a worker process or for the
submitting program.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.wire.codec import U16, U32, U63, Codec
from p2pcpn.wire.messages import Mandate
from p2pcpn.wire.statements import BlobRef, ShortText, Signed

Inline = bytes | BlobRef
# The position of a task in its page, and which of the page's blobs are its buffers, in the order of its pickle.
Parts = tuple[U16, Annotated[list[U16], Meta(min_length=1, max_length=limits.TASK_PARTS_MAX)]]


class TaskPage(msgspec.Struct, array_like=True, frozen=True):
    """The tasks of a page. ``numbers`` say which function each calls; none when all call the first.

    ``parts`` name, by ascending position, the tasks whose pickles have buffers; ``blobs`` are those buffers. Numbers
    behind the blobs name ``inputs``: tasks before the one that names them, whose results are buffers of it.
    """

    functions: Annotated[list[Inline], Meta(min_length=1, max_length=limits.PAGE_TASKS_MAX)]
    numbers: Annotated[list[U16], Meta(max_length=limits.PAGE_TASKS_MAX)] | None
    arguments: Annotated[list[Inline], Meta(min_length=1, max_length=limits.PAGE_TASKS_MAX)]
    blobs: Annotated[list[BlobRef], Meta(max_length=limits.PAGE_BLOBS_MAX)] = []
    parts: Annotated[list[Parts], Meta(max_length=limits.PAGE_TASKS_MAX)] = []
    inputs: Annotated[list[U63], Meta(max_length=limits.PAGE_INPUTS_MAX)] = []


class Print(msgspec.Struct, array_like=True, frozen=True):
    """What the task at ``index`` printed on ``stream`` (1 stdout, 2 stderr)."""

    index: U63
    stream: U16
    data: bytes


class ResultPage(msgspec.Struct, array_like=True, frozen=True):
    """The results of a batch, in the order of the receipt's spans, and what the tasks printed."""

    values: Annotated[list[Inline], Meta(max_length=limits.BATCH_TASKS_MAX)]
    output: Annotated[list[Print], Meta(max_length=limits.BATCH_TASKS_MAX)]
    renderings: Annotated[list[ShortText], Meta(max_length=limits.BATCH_TASKS_MAX)] = []  # short texts, where asked for


class Death(msgspec.Struct, array_like=True, frozen=True):
    """The value of a run whose worker process died: by a signal or with an exit code."""

    signal: int | None
    exit_code: int | None


class Raised(msgspec.Struct, array_like=True, frozen=True):
    """The value of a run that raised: words for everybody, and a pickle for the submitting program alone."""

    type: str
    text: str
    traceback: str
    pickled: bytes | None


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One settlement: a receipt, its sealed page, and which of its spans are settled by it (all, when none)."""

    receipt: Signed
    page: bytes
    spans: Annotated[list[tuple[U63, U32]], Meta(max_length=limits.BATCH_TASKS_MAX)] | None


class LogHead(msgspec.Struct, array_like=True, frozen=True):
    """The record a grantor keeps in the DHT for a job: how long its log is, where it lies, and how far the job is.

    It names the segments, from the first on, that are known to lie on the disk of another peer than the grantor, or
    on its own where nobody else keeps the log: ``last`` and ``settled`` are of the last of those, too. ``others`` are
    its logs of other epochs, of other lots among them: one key of the DHT stands for all of them.
    """

    epoch: U63
    segments: U63
    last: bytes  # digest of the last header
    settled: U63
    total: U63 | None
    done: bool
    holders: Annotated[list[bytes], Meta(max_length=8)]  # packed contacts
    others: Annotated[list[tuple[U63, U63]], Meta(max_length=16)] = []  # (epoch, segments), the newest first


class Grants(msgspec.Struct, array_like=True, frozen=True):
    """What a steward keeps on disk of who grants a job: the owner's handovers, and the newest mandate it heard of each
    lot; ``mandate`` is that of a job without lots, as it was kept once."""

    handovers: Annotated[list[Signed], Meta(max_length=limits.EPOCHS_MAX + 1)]
    mandate: Mandate | None
    mandates: Annotated[list[Mandate], Meta(max_length=limits.STEWARDS_MAX + 1)] = []


class JobPointer(msgspec.Struct, array_like=True, frozen=True):
    """The record an owner keeps in the DHT for a job: who its stewards are."""

    spec: bytes  # digest of the signed spec
    stewards: Annotated[list[bytes], Meta(max_length=12)]  # packed contacts


TASKS: Codec[TaskPage] = Codec(TaskPage, 2 * limits.PAGE_BYTES_MAX, "page of tasks")
RESULTS: Codec[ResultPage] = Codec(ResultPage, limits.MESSAGE_BYTES_MAX, "page of results")
DEATH: Codec[Death] = Codec(Death, 64, "death")
RAISED: Codec[Raised] = Codec(Raised, limits.BLOB_BYTES_MAX, "exception")
LOG_BODY: Codec[list[Entry]] = Codec(list[Entry], limits.MESSAGE_BYTES_MAX, "settlements")
# At most so many runs of tasks are settled by one log segment: by as many entries, for each settles one.
LOG_SPANS_MAX = limits.SEGMENT_TASKS_MAX + limits.BATCH_TASKS_MAX
_ENTRIES: Codec[list[msgspec.Raw]] = Codec(
    Annotated[list[msgspec.Raw], Meta(max_length=LOG_SPANS_MAX)], limits.MESSAGE_BYTES_MAX, "settlements"
)
_ENTRY: Codec[Entry] = Codec(Entry, limits.MESSAGE_BYTES_MAX, "settlement")
LOG_HEAD: Codec[LogHead] = Codec(LogHead, limits.RECORD_VALUE_BYTES_MAX, "log head")
GRANTS: Codec[Grants] = Codec(Grants, (limits.EPOCHS_MAX + 1) * limits.SPEC_BYTES_MAX, "grantors of a job")
JOB_POINTER: Codec[JobPointer] = Codec(JobPointer, limits.RECORD_VALUE_BYTES_MAX, "job pointer")
SIGNED: Codec[Signed] = Codec(Signed, limits.MESSAGE_BYTES_MAX, "signed statement")
PRINT: Codec[Print] = Codec(Print, limits.BLOB_PART_BYTES, "output")
PAGES: Codec[list[bytes]] = Codec(list[bytes], limits.MESSAGE_BYTES_MAX, "pages")


def entries_of(body: bytes) -> Iterator[Entry]:
    """The settlements of a log segment, each read when it is asked for: whoever looks ends where there are too many.

    Raises :class:`PeerError`.
    """
    return (_ENTRY.decode(memoryview(raw)) for raw in _ENTRIES.decode(body))


def check_page(page: TaskPage, count: int) -> None:
    """Raises :class:`PeerError` where a page holds another number of tasks than ``count``, or names what it has not."""
    named = len(page.blobs) + len(page.inputs)
    whole = len(page.arguments) == count and all(
        position < count and max(numbers, default=named) < named for position, numbers in page.parts
    )
    if not whole:
        raise PeerError("a page of tasks names what it does not hold")


def needs_of(page: TaskPage, first: int) -> list[tuple[int, list[int]]]:
    """Which tasks of a page that begins at ``first`` take whose results, each named once."""
    if not page.inputs:
        return []
    blobs = len(page.blobs)
    return [
        (first + position, list(dict.fromkeys(page.inputs[number - blobs] for number in numbers if number >= blobs)))
        for position, numbers in page.parts
        if max(numbers) >= blobs
    ]


def cut(spans: list[tuple[int, int]]) -> list[int]:
    """The indices of spans, in order. Whoever got the spans from a peer bounds their counts first."""
    return [index for first, count in spans for index in range(first, first + count)]


def spans_of(indices: list[int]) -> list[tuple[int, int]]:
    """Indices, in their order, as runs of (first, count)."""
    spans: list[tuple[int, int]] = []
    if not indices:
        return spans
    first = following = indices[0]
    for index in indices:
        if index != following:
            spans.append((first, following - first))
            first = index
        following = index + 1
    spans.append((first, following - first))
    return spans


def death_text(signal: int | None, exit_code: int | None) -> str:
    """How a worker process died, in words."""
    if signal is not None:
        return f"the worker process was ended by signal {signal} while it ran this task"
    return f"the worker process exited with code {exit_code} while it ran this task"
