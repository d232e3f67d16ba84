"""Coalescing: what the grantor of a lot tells whoever submitted the job, at once while it is little, else together.

A program that calls and waits for the result is told of it without delay. Where hundreds of tasks end each second a
message for each of them, from every lot, is most of what the submitter hears: then what comes within ``WINDOW_S`` is
told as one. That a task has begun nobody waits for: that is always told so, and not at all of what has ended since.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Tell
from p2pcpn.protocol.spans import Span
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import SETTLEMENTS_MAX, Delivery, Progress, Settlement
from p2pcpn.wire.pages import cut

WINDOW_S = 0.05
# So many results within a window are told one by one: 160 a second, more than any program gets that waits for each.
CALM = 8
# Together they are told while they are small.
TOGETHER_BYTES = 1 << 20


@dataclass(slots=True)
class Untold:
    """What waits to be told of what one epoch grants. Since ``opened_s`` so many results were ``told`` or wait."""

    to: Contact
    opened_s: float
    told: int = 0
    results: list[Settlement] = field(default_factory=list)
    size_bytes: int = 0
    spans: int = 0
    started: dict[int, None] = field(default_factory=dict)


Key = tuple[bytes, int]  # job, epoch


class Coalescing:
    """See the module. Bounded by the epochs that a node grants or granted: of those of which nothing waits the one
    that was silent for longest goes first; where something waits of each, it is told at once before it goes."""

    def __init__(self) -> None:
        self._untold: OrderedDict[Key, Untold] = OrderedDict()  # the one that was silent for longest first
        self._waiting: OrderedDict[Key, float] = OrderedDict()  # when it is told

    def settled(self, to: Contact, key: Key, said: Settlement, indices: list[Span], now: float) -> list[Effect]:
        """A receipt settled ``indices``."""
        effects = self._make_room(key, now)
        untold = self._of_epoch(to, key, now)
        if untold.started:
            for index in cut(indices):
                untold.started.pop(index, None)
        size_bytes = len(said.page) + len(said.receipt.body)
        if untold.results and (
            untold.size_bytes + size_bytes > TOGETHER_BYTES
            or untold.spans + len(indices) > limits.BATCH_TASKS_MAX
            or len(untold.results) == SETTLEMENTS_MAX
        ):
            effects += self._say(key, untold, now)
        untold.told += 1
        if untold.told <= CALM and not untold.results:
            return [*effects, Tell(to, Delivery(*key, [said]))]
        untold.results.append(said)
        untold.size_bytes += size_bytes
        untold.spans += len(indices)
        self._waiting.setdefault(key, untold.opened_s + WINDOW_S)
        return effects

    def started(self, to: Contact, key: Key, indices: list[int], now: float) -> list[Effect]:
        """These tasks run."""
        effects = self._make_room(key, now)
        untold = self._of_epoch(to, key, now)
        untold.started.update(dict.fromkeys(indices))
        self._waiting.setdefault(key, now + WINDOW_S)
        return effects + (self._say(key, untold, now) if len(untold.started) >= limits.BATCH_TASKS_MAX // 2 else [])

    def _make_room(self, key: Key, now: float) -> list[Effect]:
        """Let one epoch go, where all there may be are known and ``key`` is none of them."""
        if key in self._untold or len(self._untold) < limits.FORMER_GRANTORS_MAX:
            return []
        oldest = next((each for each in self._untold if each not in self._waiting), next(iter(self._untold)))
        untold = self._untold.pop(oldest)
        return self._say(oldest, untold, now)

    def _of_epoch(self, to: Contact, key: Key, now: float) -> Untold:
        untold = self._untold.setdefault(key, Untold(to, now))
        self._untold.move_to_end(key)
        untold.to = to
        if now >= untold.opened_s + WINDOW_S and not untold.results:
            untold.opened_s, untold.told = now, 0
        return untold

    def _say(self, key: Key, untold: Untold, now: float) -> list[Effect]:
        self._waiting.pop(key, None)
        effects: list[Effect] = []
        started, results = list(untold.started), untold.results
        for at in range(0, len(started), limits.BATCH_TASKS_MAX):
            effects.append(Tell(untold.to, Progress(key[0], 0, started[at : at + limits.BATCH_TASKS_MAX])))
        if results:
            effects.append(Tell(untold.to, Delivery(*key, results)))
            # Where as many came again, what comes next waits, too.
            untold.opened_s, untold.told = now, min(CALM, len(results))
        untold.started, untold.results, untold.size_bytes, untold.spans = {}, [], 0, 0
        return effects

    def of(self, job: bytes, now: float) -> list[Effect]:
        """All that waits of ``job``, for something else is about to be told of it."""
        keys = [key for key in self._waiting if key[0] == job]
        return [effect for key in keys for effect in self._say(key, self._untold[key], now)]

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        return min(self._waiting.values(), default=None)

    def expire(self, now: float) -> list[Effect]:
        """Tell what has waited."""
        keys = [key for key, at in self._waiting.items() if at <= now]
        return [effect for key in keys for effect in self._say(key, self._untold[key], now)]
