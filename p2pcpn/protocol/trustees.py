"""Trustees: the stewards of one job as its grantor sees them: what each was sent, and whether it has it on disk.

Whatever is sent carries a request number and is remembered until its answer comes; on a new session it is said again,
for requests are idempotent. A steward that refuses, dies, or stays silent for too long is lost and comes back no
more: a copy with a hole is none. (The settlement log may go to it again, from its beginning: see ``custody``.)
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.effects import Effect, Tell, TellBlob, Turn
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Message

# Digests of blobs a steward was sent, 100 bytes each. What is forgotten is sent again.
BLOBS_REMEMBERED = limits.SEGMENT_TASKS_MAX


@dataclass(slots=True)
class Trustee:
    """One steward. ``introduced`` and nothing ``unanswered``: it holds everything, durably."""

    contact: Contact
    introduced: bool = False
    lost: bool = False
    lacks: bool = False  # blobs that went to others alone: without them it holds the job, but could not run it
    unanswered: dict[int, Effect] = field(default_factory=dict)
    blobs: OrderedDict[bytes, None] = field(default_factory=OrderedDict)


class Trustees:
    """See the module. ``request()`` numbers what is sent."""

    __slots__ = ("all", "_request", "_owed")

    def __init__(self, contacts: list[Contact], request: Callable[[], int]) -> None:
        self.all = {NodeId(contact.id): Trustee(contact) for contact in contacts}
        self._request = request
        self._owed: Counter[bytes] = Counter()  # blobs of which copies are not acknowledged, and how many

    @property
    def live(self) -> dict[NodeId, Trustee]:
        """Those that are not lost, in the order of the spec."""
        return {node: trustee for node, trustee in self.all.items() if not trustee.lost}

    def get(self, node: NodeId) -> Trustee | None:
        """The steward, unless it is lost or none."""
        trustee = self.all.get(node)
        return None if trustee is None or trustee.lost else trustee

    def tell(self, make: Callable[[int], Message], *, awaited: bool = False) -> list[Effect]:
        """Say something to every steward that is not lost; at once, where it is ``awaited``."""
        effects: list[Effect] = []
        for trustee in self.live.values():
            request = self._request()
            effects.append(self._expect(trustee, request, Tell(trustee.contact, make(request), awaited)))
        return effects

    def mention(self, message: Message) -> list[Effect]:
        """Say something to every steward that is not lost, that none of them answers."""
        return [Tell(trustee.contact, message) for trustee in self.live.values()]

    def send_blobs(self, digests: list[bytes], copies: int, job: bytes, retention_s: float) -> list[Effect]:
        """Blobs to the first ``copies`` stewards, behind what others wait for: enough to survive, no bulk to all."""
        effects: list[Effect] = []
        if not digests:
            return effects
        for trustee in list(self.live.values())[copies:]:
            trustee.lacks = True
        for trustee in list(self.live.values())[:copies]:
            for digest in digests:
                if digest in trustee.blobs:
                    continue
                trustee.blobs[digest] = None
                if len(trustee.blobs) > BLOBS_REMEMBERED:
                    trustee.blobs.popitem(last=False)
                request = self._request()
                copy = TellBlob(trustee.contact, request, digest, job, retention_s, Turn.LATER)
                effects.append(self._expect(trustee, request, copy))
        return effects

    def _expect(self, trustee: Trustee, request: int, effect: Effect) -> Effect:
        trustee.unanswered[request] = effect
        if isinstance(effect, TellBlob):
            self._owed[effect.digest] += 1
        return effect

    def _settle(self, effect: Effect) -> None:
        if isinstance(effect, TellBlob):
            self._owed[effect.digest] -= 1
            if not self._owed[effect.digest]:
                del self._owed[effect.digest]

    def owed(self, digest: bytes) -> bool:
        """Whether a copy of that blob is on its way to a steward."""
        return digest in self._owed

    def answered(self, node: NodeId, request: int) -> bool:
        """A steward has on disk what was sent as ``request``; false where nothing was."""
        trustee = self.all.get(node)
        if trustee is None or request not in trustee.unanswered:
            return False
        self._settle(trustee.unanswered.pop(request))
        return True

    def lose(self, node: NodeId) -> None:
        """A steward is lost."""
        trustee = self.all.get(node)
        if trustee is not None:
            trustee.lost = True
            for effect in trustee.unanswered.values():
                self._settle(effect)
            trustee.unanswered.clear()
            trustee.blobs.clear()

    def whole(self) -> int:
        """How many stewards hold the spec, every segment and every blob, durably."""
        return sum(1 for t in self.live.values() if t.introduced and not t.lacks and not t.unanswered)
