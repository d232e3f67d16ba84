"""Lines: which sessions are open, and what waits for one that is being dialled.

Machines :class:`Tell` a contact; this one knows whether there is a session, asks the driver for one where there is
none, and keeps the order of what is said. Of two sessions made at once (both ends dialled) the driver keeps one. What
waits is bounded; once something had to be dropped, all that follows it is dropped too: a gap would be worse than an
end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.effects import (
    Dial,
    Effect,
    Tell,
    TellBlob,
    TellLog,
    TellSegment,
    Transmit,
    TransmitBlob,
    TransmitLog,
    TransmitSegment,
)  # fmt: skip
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import (
    Answer,
    Append,
    Checkpoint,
    Extend,
    Further,
    Mandate,
    Message,
    Output,
    Results,
    Resume,
    Settled,
    States,
)

# Copies for those who keep a job, and acknowledgements: nobody waits for them, and a write to a socket that wakes its
# reader costs more than ten messages. A lease or a result that leaves takes them along.
PATIENT = (Answer, Append, Checkpoint, Extend, Mandate, Settled, States)
# What a message costs beside its bulk.
MESSAGE_COST_BYTES = 512


@dataclass(slots=True)
class Waiting:
    """What is to be said once a session is there."""

    said: list[Effect] = field(default_factory=list)
    held_bytes: int = 0
    full: bool = False


class Lines:
    """Routes :class:`Tell` and its kin to open sessions."""

    def __init__(self) -> None:
        self.open: dict[NodeId, Contact] = {}
        self.keys: dict[NodeId, bytes] = {}
        self._waiting: dict[NodeId, Waiting] = {}
        self.dropped = 0

    def tell(self, effect: Tell | TellBlob | TellLog | TellSegment) -> list[Effect]:
        """What the driver must do so that ``effect`` is said."""
        node = NodeId(effect.to.id)
        said = _transmit(node, effect)
        if node in self.open:
            return [said]
        waiting = self._waiting.get(node)
        dial: list[Effect] = []
        if waiting is None:
            waiting = self._waiting[node] = Waiting()
            dial = [Dial(effect.to)]
        size_bytes = message_bytes(effect.message) if isinstance(effect, Tell) else MESSAGE_COST_BYTES
        if (
            waiting.full
            or len(waiting.said) >= limits.LINE_WAITING_MAX
            or waiting.held_bytes + size_bytes > limits.LINE_WAITING_BYTES_MAX
        ):
            waiting.full = True
            self.dropped += 1
        else:
            waiting.said.append(said)
            waiting.held_bytes += size_bytes
        return dial

    def opened(self, contact: Contact, key: bytes) -> list[Effect]:
        """A session is there, dialled by us or by them: what waited for it is said."""
        node = NodeId(contact.id)
        self.open[node] = contact
        self.keys[node] = key
        waiting = self._waiting.pop(node, None)
        return [] if waiting is None else waiting.said

    def closed(self, peer: NodeId) -> None:
        """The session is gone."""
        self.open.pop(peer, None)
        self.keys.pop(peer, None)

    @property
    def held_bytes(self) -> int:
        """What waits for sessions that are being dialled."""
        return sum(waiting.held_bytes for waiting in self._waiting.values())

    def failed(self, peer: NodeId) -> None:
        """The dial failed: what waited is dropped; its machines are told that the session is closed."""
        waiting = self._waiting.pop(peer, None)
        if waiting is not None:
            self.dropped += len(waiting.said)


def message_bytes(message: Message) -> int:
    """What a message costs in memory, to within its small fields."""
    match message:
        case Extend():
            bulk = len(message.segment.body) + sum(len(page) for page in message.pages)
        case Further():
            bulk = 0 if message.extend is None else message_bytes(message.extend)
        case Results():
            bulk = len(message.receipt.body) + len(message.page)
            bulk += 0 if message.lease is None else len(message.lease.body)
        case Append():
            bulk = len(message.header.body) + len(message.body)
        case Output() | Checkpoint() | Resume():
            bulk = len(message.sealed)
        case States():
            bulk = sum(len(state.sealed) for state in message.states)
        case _:
            bulk = 0
    return MESSAGE_COST_BYTES + bulk


def _transmit(node: NodeId, effect: Tell | TellBlob | TellLog | TellSegment) -> Effect:
    if isinstance(effect, Tell):
        return Transmit(node, effect.message, effect.awaited or not isinstance(effect.message, PATIENT))
    if isinstance(effect, TellBlob):
        return TransmitBlob(node, effect.request, effect.digest, effect.job, effect.retention_s, effect.turn)
    if isinstance(effect, TellSegment):
        return TransmitSegment(node, effect.request, effect.job, effect.number)
    return TransmitLog(node, effect.request, effect.job, effect.grantor, effect.epoch, effect.number)
