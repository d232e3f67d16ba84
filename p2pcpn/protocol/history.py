"""A history: what befell jobs, as each process noted it, in its own order. JSON lines on disk, judged by a verdict.

A *process* is one life of one peer, named ``node id/boot number``. The order of events within a process is certain;
between processes nothing is compared but what they say: their clocks differ, and ``at_s`` is for whoever reads along.
After Jepsen's histories (Kingsbury); what is noted is what machines did, never what a log says of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from p2pcpn.errors import PeerError
from p2pcpn.protocol.spans import Span
from p2pcpn.wire.sealing import RESULT_DIGEST_BYTES

# In a history a digest of a result is so many hexadecimal digits.
DIGEST_CHARS = 2 * RESULT_DIGEST_BYTES


class Event(msgspec.Struct, frozen=True, tag_field="what", tag=str.lower):
    """Base of everything that is noted. Ids and digests are hexadecimal; ``spans`` are (first index, count)."""


class Began(Event, frozen=True):
    """A life of a peer begins."""


class Opened(Event, frozen=True):
    """A grantor of ``job`` in ``epoch`` begins here: of one of its ``lots``, or of its stem, or of all there is."""

    job: str
    epoch: int
    lots: int = 1


class Said(Event, frozen=True):
    """A segment: the job has tasks up to ``total`` now."""

    job: str
    total: int


class Closed(Event, frozen=True):
    """The owner adds no more: ``total`` tasks are all."""

    job: str
    total: int


class Cancelled(Event, frozen=True):
    """The owner ends the job."""

    job: str


class Offered(Event, frozen=True):
    """The grantor calls for peers."""

    job: str
    epoch: int
    number: int


class Claimed(Event, frozen=True):
    """A peer claims; ``verdict`` is the grantor's answer."""

    job: str
    epoch: int
    worker: str
    verdict: int


class Leased(Event, frozen=True):
    """``spans`` are leased to ``worker`` until ``until_s`` of this process's clock, unless renewed.

    A ``copy`` is of tasks that another lease owes, too: the slow tail is hedged.
    """

    job: str
    epoch: int
    token: int
    worker: str
    spans: tuple[Span, ...]
    until_s: float = 0.0
    copy: bool = False


class Foresaw(Event, frozen=True):
    """A lease gives its worker ``spans``, too, which do not exist yet: nothing of them is owed."""

    job: str
    epoch: int
    token: int
    spans: tuple[Span, ...]


class Furthered(Event, frozen=True):
    """``spans``, which a lease gave before they existed, are owed under it until ``until_s``, unless renewed."""

    job: str
    epoch: int
    token: int
    spans: tuple[Span, ...]
    until_s: float = 0.0


class Renewed(Event, frozen=True):
    """A worker spoke of its lease, which ends later now."""

    job: str
    epoch: int
    token: int
    until_s: float


class Ended(Event, frozen=True):
    """``spans`` are owed under that lease no more: settled, returned, lost, relieved, cancelled or beaten by a copy."""

    job: str
    epoch: int
    token: int
    spans: tuple[Span, ...]
    why: str


class Made(Event, frozen=True):
    """This worker states results in a receipt."""

    job: str
    epoch: int
    grantor: str
    token: int
    part: int
    spans: tuple[Span, ...]
    digests: str


class Accepted(Event, frozen=True):
    """The grantor settles ``spans`` by a receipt of ``worker``."""

    job: str
    epoch: int
    token: int
    part: int
    worker: str
    spans: tuple[Span, ...]
    digests: str


class Inherited(Event, frozen=True):
    """A receipt under a lease of an earlier epoch settled ``spans`` here; one digest an index, in their order."""

    job: str
    epoch: int
    of_epoch: int
    of_grantor: str
    token: int
    part: int
    worker: str
    spans: tuple[Span, ...]
    digests: str


class Late(Event, frozen=True):
    """A receipt settles nothing: somebody else's came first."""

    job: str
    epoch: int
    token: int
    part: int
    worker: str


class Signed(Event, frozen=True):
    """The grantor signs a segment of its log: the settlements ``spans``, in their order.

    ``inputs`` are (task, input, digest) of each result that one of those tasks took.
    """

    job: str
    epoch: int
    number: int
    name: str
    spans: tuple[Span, ...]
    digests: str
    inputs: tuple[tuple[int, int, str], ...] = ()


class Kept(Event, frozen=True):
    """A segment of ``grantor``'s log is on this peer's disk."""

    job: str
    epoch: int
    grantor: str
    number: int
    name: str


class Failed(Event, frozen=True):
    """The grantor gives tasks up, and says why."""

    job: str
    spans: tuple[Span, ...]
    why: str


class Dropped(Event, frozen=True):
    """Tasks are cancelled."""

    job: str
    epoch: int
    spans: tuple[Span, ...]


class Delivered(Event, frozen=True):
    """Futures of the program in this process are resolved."""

    job: str
    spans: tuple[Span, ...]
    digests: str


class Saw(Event, frozen=True):
    """A reader that asked through this peer, after all faults, saw these canonical results, each from its epoch."""

    job: str
    spans: tuple[Span, ...]
    epochs: tuple[int, ...]
    digests: str


class Fault(Event, frozen=True):
    """Whoever plays fate did something: ``kind`` is killed, gone, wiped, paused, woken, cut, healed or another word."""

    kind: str
    peers: tuple[str, ...] = ()
    text: str = ""


Events = (
    Began | Opened | Said | Closed | Cancelled | Offered | Claimed | Leased | Foresaw | Furthered | Renewed | Ended
    | Made | Accepted | Inherited | Late | Signed | Kept | Failed | Dropped | Delivered | Saw | Fault
)  # fmt: skip


class Line(msgspec.Struct, frozen=True):
    """One line of a history: the ``number``-th event of ``process``, ``at_s`` on its clock."""

    process: str
    number: int
    at_s: float
    event: Events

    @property
    def node(self) -> str:
        """The peer whose life the process is."""
        return self.process.partition("/")[0]

    @property
    def boot(self) -> int:
        """Which of its lives."""
        return int(self.process.partition("/")[2] or 0)


_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Line).decode


def packed(line: Line) -> bytes:
    """A line as it is written, its end included."""
    return _ENCODE(line) + b"\n"


def lines_of(data: bytes) -> list[Line]:
    """The lines of a file. A last one that was cut off when its writer died is none.

    Raises :class:`PeerError` for anything else that is no history.
    """
    found: list[Line] = []
    rows = data.split(b"\n")
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        try:
            line = _DECODE(row)
            line.boot  # noqa: B018
        except (msgspec.DecodeError, ValueError) as error:
            if number == len(rows):
                break
            raise PeerError(f"line {number} is none of a history: {error}") from error
        found.append(line)
    return found


def indices(spans: Iterable[Span]) -> Iterator[int]:
    """Every index of the spans, in their order."""
    for first, count in spans:
        yield from range(first, first + count)


def columns(spans: Sequence[Span], digests: str) -> Iterator[tuple[int, str]]:
    """(index, digest) of each index in ``spans``; empty digests where none are stated."""
    for at, index in enumerate(indices(spans)):
        yield index, digests[at * DIGEST_CHARS : (at + 1) * DIGEST_CHARS]
