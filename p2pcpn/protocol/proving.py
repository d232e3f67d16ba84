"""Proving: segments that the owner's own node said are believed at once and proved soon, many by one signature.

The spec that the owner signed names the node that grants first: it is the owner's own, signs segments with the owner's
key, and its session proves its identity. So a worker may run what it says before it has looked at the owner's
signature. That is looked at some milliseconds later, when nobody waits for this peer, and, since segments name the
digest of the one before, once for all that came meanwhile. Segments from anybody else are checked before all.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pcpn.errors import PeerError
from p2pcpn.protocol.effects import Commit, Effect, Tell
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Answer, AnswerCode, Extend
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Segment, opened, read, vouch

# What is believed waits so long, and no more than that in memory: 4 MiB of pages, 3 ms of signatures at worst.
PUT_OFF_S = 0.02
PUT_OFF_BYTES_MAX = 4 << 20
PUT_OFF_MAX = 64

Said = tuple[Contact, Extend]


class Proving:
    """Segments in the order they came, until they are due."""

    def __init__(self) -> None:
        self._said: list[Said] = []
        self._bytes = 0
        self._until: float | None = None

    def put_off(self, sender: Contact, message: Extend, now: float) -> None:
        """A segment that was believed."""
        self._said.append((sender, message))
        self._bytes += len(message.segment.body) + sum(map(len, message.pages))
        if self.full:
            self._until = now
        elif self._until is None:
            self._until = now + PUT_OFF_S

    @property
    def full(self) -> bool:
        """Whether no more may be put off."""
        return self._bytes > PUT_OFF_BYTES_MAX or len(self._said) >= PUT_OFF_MAX

    def deadline(self) -> float | None:
        """When :meth:`due` has something."""
        return self._until

    def due(self, now: float) -> tuple[list[Said], list[tuple[Contact, Extend, PeerError]]]:
        """What was put off long enough: the owner's, in order, and what is not, each with the reason."""
        if self._until is None or now < self._until:
            return [], []
        said, self._said = self._said, []
        self._bytes, self._until = 0, None
        return proved(said)


def proved(said: Sequence[Said]) -> tuple[list[Said], list[tuple[Contact, Extend, PeerError]]]:
    """Tell the owner's segments from others. The last of a chain is checked; it speaks for those before it."""
    right: list[Said] = []
    wrong: list[tuple[Contact, Extend, PeerError]] = []
    spoken_for: dict[tuple[bytes, bytes], bytes] = {}  # job and owner -> the digest that the next segment names
    for sender, message in reversed(said):
        envelope = message.segment
        try:
            segment = read(envelope, Segment)
            chain = (segment.job, envelope.key)
            if spoken_for.get(chain) == digest(envelope.body):
                vouch(envelope)
            else:
                opened(envelope, Segment)
        except PeerError as error:
            wrong.append((sender, message, error))
            continue
        spoken_for[chain] = segment.previous
        right.append((sender, message))
    return right[::-1], wrong[::-1]


def together(effects: Sequence[Effect]) -> list[Effect]:
    """Commits in a row whose peer is told that they are done: as one, with one answer to all."""
    found: list[Effect] = []
    for effect in effects:
        last = _answers(found[-1]) if found else None
        this = _answers(effect)
        if last is None or this is None or last[0] != this[0]:
            found.append(effect)
            continue
        before = found[-1]
        assert isinstance(before, Commit) and isinstance(effect, Commit)
        to, requests = this[0], [*last[1], *this[1]]
        found[-1] = Commit(
            (*before.writes, *effect.writes), (_answer(to, requests, before.then),),
            (_answer(to, requests, before.otherwise),),
        )  # fmt: skip
    return found


def _answers(effect: Effect) -> tuple[Contact, list[int]] | None:
    """Whom a commit tells that it is done, and which requests that answers; none for any other effect."""
    if not isinstance(effect, Commit) or len(effect.then) != 1 or len(effect.otherwise) != 1:
        return None
    then = effect.then[0]
    if isinstance(then, Tell) and isinstance(then.message, Answer) and then.message.code == AnswerCode.DONE:
        return then.to, [then.message.request, *then.message.also]
    return None


def _answer(to: Contact, requests: list[int], of: Sequence[Effect]) -> Tell:
    said = of[0]
    assert isinstance(said, Tell) and isinstance(said.message, Answer)
    return Tell(to, Answer(requests[0], said.message.code, said.message.text, requests[1:]))
