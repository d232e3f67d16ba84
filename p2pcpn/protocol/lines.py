"""Lines: which sessions are open, and what waits for one that is being dialled.

Machines :class:`Tell` a contact; this one knows whether there is a session, asks the driver for one where there is none, and
keeps the order of what is said. Of two sessions made at once (both ends dialled) the driver keeps one.
"""

from __future__ import annotations

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.effects import Dial, Effect, Tell, TellBlob, TellLog, Transmit, TransmitBlob, TransmitLog
from p2pcpn.wire.addresses import Contact

# What may wait for a session that is being dialled, in messages. A dial takes at most a few seconds.
WAITING_MAX = 65_536


class Lines:
    """Routes :class:`Tell` and its kin to open sessions."""

    def __init__(self) -> None:
        self.open: dict[NodeId, Contact] = {}
        self.keys: dict[NodeId, bytes] = {}
        self._waiting: dict[NodeId, list[Effect]] = {}
        self.dropped = 0

    def tell(self, effect: Tell | TellBlob | TellLog) -> list[Effect]:
        """What the driver must do so that ``effect`` is said."""
        node = NodeId(effect.to.id)
        said = _transmit(node, effect)
        if node in self.open:
            return [said]
        waiting = self._waiting.get(node)
        if waiting is None:
            self._waiting[node] = [said]
            return [Dial(effect.to)]
        if len(waiting) >= WAITING_MAX:
            self.dropped += 1
        else:
            waiting.append(said)
        return []

    def opened(self, contact: Contact, key: bytes) -> list[Effect]:
        """A session is there, dialled by us or by them: what waited for it is said."""
        node = NodeId(contact.id)
        self.open[node] = contact
        self.keys[node] = key
        return self._waiting.pop(node, [])

    def closed(self, peer: NodeId) -> None:
        """The session is gone."""
        self.open.pop(peer, None)
        self.keys.pop(peer, None)

    def failed(self, peer: NodeId) -> None:
        """The dial failed: what waited is dropped; its machines are told that the session is closed."""
        self.dropped += len(self._waiting.pop(peer, []))


def _transmit(node: NodeId, effect: Tell | TellBlob | TellLog) -> Effect:
    if isinstance(effect, Tell):
        return Transmit(node, effect.message)
    if isinstance(effect, TellBlob):
        return TransmitBlob(node, effect.request, effect.digest, effect.job, effect.retention_s)
    return TransmitLog(node, effect.request, effect.job, effect.epoch, effect.number)
