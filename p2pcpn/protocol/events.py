"""What the machines report to the program above: plain values inside :class:`~p2pcpn.protocol.effects.Notify`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcpn.wire.addresses import Contact
    from p2pcpn.wire.pages import Entry, Print
    from p2pcpn.wire.statements import Advert, BlobRef


@dataclass(frozen=True, slots=True)
class Delivered:
    """Results of a job, settled by its grantor here; columns in the order of ``indices``."""

    job: bytes
    indices: list[int]
    outcomes: bytes
    values: list[bytes | BlobRef]
    worker: bytes
    output: list[Print]
    renderings: list[str] = field(default_factory=list)  # as many as values, or none
    digests: bytes = b""  # as their receipts state them, 16 bytes each
    entry: Entry | None = None  # what settles them, as it stands in the log


@dataclass(frozen=True, slots=True)
class Started:
    """These tasks run now."""

    job: bytes
    indices: list[int]


@dataclass(frozen=True, slots=True)
class Printed:
    """A running task printed ``data`` on ``stream`` (1 stdout, 2 stderr); the same comes again with its result."""

    job: bytes
    index: int
    stream: int
    data: bytes
    worker: bytes


@dataclass(frozen=True, slots=True)
class GaveUp:
    """These tasks end without a receipt: their retry budget is spent, or (``died``) whoever ran them died of it."""

    job: bytes
    indices: list[int]
    text: str
    died: bool = False
    signal: int | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The owner has ended the job, from here or from elsewhere."""

    job: bytes


@dataclass(frozen=True, slots=True)
class Paused:
    """The owner has the job wait, or go on."""

    job: bytes
    paused: bool


@dataclass(frozen=True, slots=True)
class Lapsed:
    """Nobody closed the job, and no task was added for its time to live: it takes no more."""

    job: bytes


@dataclass(frozen=True, slots=True)
class Stalled:
    """Tasks wait and nobody may run them; ``reasons`` are peers' words."""

    job: bytes
    reasons: tuple[tuple[bytes, str], ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """How many stewards hold the spec and all segments, durably."""

    job: bytes
    tasks: int
    whole: int
    stewards: int


@dataclass(frozen=True, slots=True)
class Replicated:
    """How many settled tasks lie on ``copies`` holders; ``wanted`` is the job's replica count."""

    job: bytes
    settled: int
    replicated: int
    copies: int
    wanted: int
    done: bool


@dataclass(frozen=True, slots=True)
class Outgrown:
    """This node has enough of granting the job alone: its owner may divide it."""

    job: bytes


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer epoch of the job has begun elsewhere: nothing is granted here any more."""

    job: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class Mandated:
    """The grantor of ``epoch``, another than this node, said how far it is: ``open`` tasks have not ended."""

    job: bytes
    epoch: int
    grantor: Contact
    segments: int
    open: int


@dataclass(frozen=True, slots=True)
class Advertised:
    """A peer's capacity was heard, new or changed."""

    advert: Advert


@dataclass(frozen=True, slots=True)
class Exposed:
    """Strangers reach this peer again, or (``hidden``) do not; whether it is ``storing`` for others from now on."""

    hidden: bool
    storing: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """A peer's signed words on a job (or its silence), for the question ``ticket``."""

    ticket: int
    peer: Contact
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Bequeathed:
    """What this peer keeps of jobs is with others, as far as anybody takes it."""
