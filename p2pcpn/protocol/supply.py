"""Supply: what a peer needs before it can run a lease, each thing once.

The spec and the project's code come with the introduction, signed segments, sealed pages and blobs ahead of the first
lease that needs them. Stewards are sent all of it anyway and need nothing again, unless they say that they lack it;
blobs that they are to keep come later, and sooner where a lease needs them.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId, node_id
from p2pcpn.protocol.custody import Custody
from p2pcpn.protocol.dependencies import Known
from p2pcpn.protocol.effects import Effect, Tell, TellBlob, Turn
from p2pcpn.protocol.participants import Participant
from p2pcpn.protocol.spans import Span
from p2pcpn.protocol.stock import Page, Stock
from p2pcpn.protocol.term import Term
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Extend, Input, Introduce, PageSlice, Take
from p2pcpn.wire.sealing import result_digest
from p2pcpn.wire.statements import BlobRef, Signed, Spec


class Supply:
    """The supply of one job's participants."""

    __slots__ = ("_job", "_signed_spec", "_spec", "_custody", "_stock", "_placed", "_term", "_digest_key")

    def __init__(
        self, job: bytes, signed_spec: Signed, spec: Spec, custody: Custody, stock: Stock, term: Term,
        digest_key: bytes,
    ) -> None:  # fmt: skip
        self._job = job
        self._signed_spec = signed_spec
        self._spec = spec
        self._custody = custody
        self._stock = stock
        self._term = term
        self._digest_key = digest_key
        self._placed: dict[bytes, None] = {}  # blobs that tasks will name, oldest first

    def introduce(self, peer: Participant) -> list[Effect]:
        """The spec, who grants, and the project's code."""
        effects: list[Effect] = []
        word = self._custody.word
        if not self._has_all(peer):
            handover = word.handover if isinstance(word, Take) else None
            effects.append(Tell(peer.contact, Introduce(0, self._signed_spec, False, self._term.age_s, handover)))
        if word is not None:
            effects.append(Tell(peer.contact, word))
        if self._spec.code is not None:
            effects += self._blob(peer, self._spec.code.digest)
        for digest in self._placed:
            effects += self._blob(peer, digest)
        return effects

    def place(self, digests: Sequence[bytes], peers: Sequence[Participant]) -> list[Effect]:
        """Blobs that tasks will name: sent to ``peers`` now, and to others when they are introduced."""
        for digest in digests:
            self._placed.pop(digest, None)
            self._placed[digest] = None
        while len(self._placed) > limits.PLACED_MAX:
            del self._placed[next(iter(self._placed))]
        return [effect for peer in peers for digest in digests for effect in self._blob(peer, digest)]

    def again(self, peer: Participant) -> list[Effect]:
        """It says that it lacks something: introduced again, and sent everything again with its next leases."""
        peer.forgot = True
        peer.session = object()
        peer.blobs.clear()
        return self.introduce(peer)

    def ahead_of(self, peer: Participant, spans: list[Span]) -> tuple[list[PageSlice], list[Effect]]:
        """The slices that cover ``spans``, and what the peer must be sent before them."""
        slices: list[PageSlice] = []
        effects: list[Effect] = []
        missing: dict[int, list[Page]] = {}
        has_all = self._has_all(peer)
        for page, low, high in self._stock.pieces(spans):
            slices.append(PageSlice(page.segment, page.first, low, high, page.key))
            if not has_all and page.sent.get(peer.node) is not peer.session:
                page.sent[peer.node] = peer.session
                missing.setdefault(page.segment, []).append(page)
            for digest in page.blobs:
                effects += self._blob(peer, digest)
        for number, lacking in missing.items():
            held = self._stock.segments[number]
            sealed = {page.first: page.sealed for page in lacking}
            data = [sealed.get(first, b"") for first in held.firsts]
            effects.append(Tell(peer.contact, Extend(0, held.signed, data, False)))
        return slices, effects

    def inputs(self, named: dict[int, Known], peers: dict[NodeId, Participant]) -> list[Input]:
        """What tasks take, as a peer is told of it; large results it has from whoever ran them, or keeps them."""
        found: list[Input] = []
        for index, known in named.items():
            holders: list[Contact] = []
            if isinstance(known.value, BlobRef):
                ran = peers.get(node_id(known.worker))
                holders = [] if ran is None else [ran.contact]
                holders += [contact for contact in self._custody.known_holders() if contact not in holders]
            value = known.value if isinstance(known.value, bytes) else known.value.digest
            stated = known.digest or result_digest(self._digest_key, value)
            found.append(Input(index, stated, known.value, holders[: limits.INPUT_HOLDERS_MAX]))
        return found

    def _has_all(self, peer: Participant) -> bool:
        return not peer.forgot and self._custody.keeps(peer.node)

    def _blob(self, peer: Participant, digest: bytes) -> list[Effect]:
        if not peer.lacks_blob(digest):
            return []
        told = not peer.forgot and self._custody.has_blob(peer.node, digest)  # as a steward: its copy is on its way
        turn = Turn.HURRY if told else Turn.NOW
        return [TellBlob(peer.contact, 0, digest, self._job, self._spec.retention_s, turn)]
