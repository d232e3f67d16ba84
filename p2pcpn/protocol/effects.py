"""What machines ask of their driver: effects, plain values that a test compares and a driver performs in order.

A machine never calls out. It returns a list of these; ``node/`` performs them on sockets, disks and processes, ``sim/`` on
a virtual network. An effect that must wait for the disk carries what follows it (:class:`Commit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcpn.identity.keys import NodeId
    from p2pcpn.wire.addresses import Address, Contact
    from p2pcpn.wire.datagrams import Datagram
    from p2pcpn.wire.messages import Message


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
class Dial(Effect):
    """Open a session to ``to``; answered by ``session_opened`` or ``dial_failed``."""

    to: Contact


@dataclass(frozen=True, slots=True)
class Tell(Effect):
    """Say ``message`` over the session with ``peer``; dropped when there is none (``session_closed`` was told)."""

    peer: NodeId
    message: Message


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
class Notify(Effect):
    """Tell the program above (``node/``, ``client/``): ``event`` is one of the values of ``protocol/events.py``."""

    event: object
