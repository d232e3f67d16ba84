"""What machines ask of their driver: effects, plain values that a test compares and a driver performs in order.

A machine never calls out. It returns a list of these; ``node/`` performs them on sockets, disks and processes, ``sim/``
on a virtual network. An effect that must wait for the disk carries what follows it (:class:`Commit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcpn.identity.keys import NodeId
    from p2pcpn.wire.addresses import Address, Contact
    from p2pcpn.wire.datagrams import Datagram
    from p2pcpn.wire.messages import Message
    from p2pcpn.wire.statements import BlobRef, LogHeader, Statement


class Effect:
    """Base of all effects."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Send(Effect):
    """Say ``message`` to the peer at ``to`` in one datagram; the pair is made first where there is none.

    ``to.id`` of twenty zero bytes: whoever listens there (a bootstrap whose id is not known yet).
    """

    to: Contact
    message: Datagram


@dataclass(frozen=True, slots=True)
class SendBytes(Effect):
    """Put these bytes on the UDP socket. Only ``pairs`` makes them, from :class:`Send`."""

    data: bytes
    address: Address


@dataclass(frozen=True, slots=True)
class SendAside(Effect):
    """Put these bytes on a UDP socket of their own, whose port nobody knows."""

    data: bytes
    address: Address


@dataclass(frozen=True, slots=True)
class Connect(Effect):
    """See within ``limits.DIAL_BACK_S`` whether ``to`` takes a TCP connection; then ``DialBacks.connected``."""

    to: Contact
    nonce: int


@dataclass(frozen=True, slots=True)
class Dial(Effect):
    """Open a session to ``to``; answered by ``session_opened`` or ``dial_failed``."""

    to: Contact


@dataclass(frozen=True, slots=True)
class Tell(Effect):
    """Say ``message`` to the peer at ``to`` over a session; one is dialled first where there is none. Order is kept."""

    to: Contact
    message: Message
    awaited: bool = False  # it leaves at once, of whatever kind it is


class Turn(Enum):
    """When a blob is sent: what somebody waits for goes before what is only a copy."""

    NOW = 0  # in order with what is told before and after
    LATER = 1  # a copy: when nothing else is to be sent, or after ``limits.LATER_S``
    HURRY = 2  # a copy that was told LATER is needed now; nothing, where it was sent already


@dataclass(frozen=True, slots=True)
class TellBlob(Effect):
    """Send the blob ``digest`` to ``to`` as :class:`PutBlob` parts, when its ``turn`` has come."""

    to: Contact
    request: int
    digest: bytes
    job: bytes
    retention_s: float
    turn: Turn = Turn.NOW


@dataclass(frozen=True, slots=True)
class TellLog(Effect):
    """Send a stored log segment to ``to`` as :class:`Append`: a holder died and another takes its place."""

    to: Contact
    request: int
    job: bytes
    grantor: bytes
    epoch: int
    number: int


@dataclass(frozen=True, slots=True)
class TellSegment(Effect):
    """Send a stored segment of tasks to ``to`` as :class:`Extend`, for it to keep."""

    to: Contact
    request: int
    job: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Transmit(Effect):
    """Put ``message`` on the open session with ``peer``. Only ``lines`` makes them, from :class:`Tell`.

    One that is not ``urgent`` may wait ``limits.PATIENCE_S`` for others to share its way with.
    """

    peer: NodeId
    message: Message
    urgent: bool = True


@dataclass(frozen=True, slots=True)
class TransmitBlob(Effect):
    """Put a blob on the open session with ``peer``. Only ``lines`` makes them, from :class:`TellBlob`."""

    peer: NodeId
    request: int
    digest: bytes
    job: bytes
    retention_s: float
    turn: Turn = Turn.NOW


@dataclass(frozen=True, slots=True)
class TransmitLog(Effect):
    """Put a stored log segment on the open session with ``peer``. Only ``lines`` makes them, from :class:`TellLog`."""

    peer: NodeId
    request: int
    job: bytes
    grantor: bytes
    epoch: int
    number: int


@dataclass(frozen=True, slots=True)
class TransmitSegment(Effect):
    """Put a stored segment on the open session with ``peer``. Only ``lines`` makes them, from :class:`TellSegment`."""

    peer: NodeId
    request: int
    job: bytes
    number: int


@dataclass(frozen=True, slots=True)
class KeepBlob(Effect):
    """Keep ``data`` under its ``digest``: in memory at once (later effects may name it), on disk soon."""

    digest: bytes
    data: bytes
    job: bytes
    retention_s: float


@dataclass(frozen=True, slots=True)
class Gather(Effect):
    """Have ``blobs`` on our disk, asking ``sender`` for those that are not here; then perform ``then``.

    Where one cannot be had, perform ``otherwise``.
    """

    sender: Contact
    blobs: tuple[bytes, ...]
    job: bytes
    retention_s: float
    then: tuple[Effect, ...]
    otherwise: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Spread(Effect):
    """Sign ``statement`` with the node's key and gossip it, at most ``hops`` far: to the neighbours ``to`` first, where
    some are named, and to a few by chance in so many ``rounds`` less than usual."""

    statement: Statement
    hops: int
    to: tuple[Contact, ...] = ()
    rounds_less: int = 0


@dataclass(frozen=True, slots=True)
class Probe(Effect):
    """Find out within a second whether ``peer`` lives; answered by ``peer_alive`` or ``peer_dead``."""

    peer: Contact


@dataclass(frozen=True, slots=True)
class Publish(Effect):
    """Put ``value`` into the DHT as a record under the node's own key and ``salt``."""

    salt: bytes
    value: bytes
    retention_s: float


@dataclass(frozen=True, slots=True)
class Provide(Effect):
    """Be found in the DHT as somebody who has ``name``, for so long."""

    name: bytes
    retention_s: float


@dataclass(frozen=True, slots=True)
class Withdraw(Effect):
    """Be found no more as somebody who has ``name``."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Load(Effect):
    """Read the segments and logs of ``job`` from disk; answered by ``adopt``: this node becomes its grantor."""

    job: bytes


@dataclass(frozen=True, slots=True)
class Review(Effect):
    """Read from the logs of ``job`` on disk of which tasks no result counts; answered by ``reviewed``."""

    job: bytes


@dataclass(frozen=True, slots=True)
class LoadInputs(Effect):
    """Read from the logs of ``job`` on disk what settles ``indices``; answered by ``inputs_loaded``."""

    job: bytes
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TellOrphans(Effect):
    """Read the orphans of ``job`` from disk and say each to ``to`` as :class:`Orphan`: it grants the job now.

    With a ``request``, which numbers each: it keeps them from now on. What our own worker ran goes to a grantor only.
    """

    to: Contact
    job: bytes
    request: int = 0


@dataclass(frozen=True, slots=True)
class Run(Effect):
    """Run ``arguments`` in a worker process of ``group``; answered by ``ran`` and ``died`` with ``batch``.

    Functions and arguments are pickles nobody here has looked into; a :class:`BlobRef` stands for one that is stored.
    """

    batch: int
    owner: bytes
    code: BlobRef | None
    code_key: bytes
    functions: tuple[bytes | BlobRef, ...]
    numbers: tuple[int, ...] | None
    arguments: tuple[bytes | BlobRef, ...]
    digest_key: bytes
    output: bool
    render: bool = False
    parts: tuple[tuple[BlobRef | bytes, ...], ...] | None = (
        None  # stored blobs beside each task's arguments, if any has some
    )
    states: tuple[bytes | None, ...] | None = None  # what an earlier run of each task left, if of any


@dataclass(frozen=True, slots=True)
class StopRun(Effect):
    """Drop ``positions`` of ``batch`` where they have not started; with ``kill`` end the process that runs them."""

    batch: int
    positions: tuple[int, ...]
    kill: bool


@dataclass(frozen=True, slots=True)
class CutRun(Effect):
    """End ``batch`` behind the task that runs, or before its first; :meth:`Worker.cut` is told where it ends now."""

    batch: int


@dataclass(frozen=True, slots=True)
class Hangup(Effect):
    """Close the session with ``peer`` because of ``why``."""

    peer: NodeId
    why: str


@dataclass(frozen=True, slots=True)
class Heard(Effect):
    """Not for the driver: a machine hands ``value`` to the machine beside it (``peer.py`` routes it)."""

    value: object
    sender: Contact


@dataclass(frozen=True, slots=True)
class Write(Effect):
    """One write to the store; ``table`` names it, ``key`` and ``value`` are its columns. See ``store/schema``."""

    table: str
    key: tuple[bytes | int | str, ...]
    value: tuple[bytes | int | float | str | None, ...] | None  # None deletes


@dataclass(frozen=True, slots=True)
class Commit(Effect):
    """Make ``writes`` durable together, then perform ``then``. When the disk refuses, perform ``otherwise``."""

    writes: tuple[Write, ...]
    then: tuple[Effect, ...] = ()
    otherwise: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True)
class OnDisk(Effect):
    """Not for the driver: the log segment under ``header`` is on our disk, or not ``ok``: the disk refused it."""

    header: LogHeader
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Saved(Effect):
    """Not for the driver: the owner's words on ``job`` are on our disk, in a row with that digest."""

    job: bytes
    row: bytes


@dataclass(frozen=True, slots=True)
class Notify(Effect):
    """Tell the program above (``node/``, ``client/``): ``event`` is one of the values of ``protocol/events.py``."""

    event: object
