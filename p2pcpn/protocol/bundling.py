"""Bundling: what the grantor of a lot tells whoever submitted the job, at once while it is little, else together.

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
from p2pcpn.wire.messages import Delivery, Progress, Settlement
from p2pcpn.wire.pages import cut

WINDOW_S = 0.05
# So many results within a window are told one by one: 160 a second, more than any program gets that waits for each.
CALM = 8
# Together they are told while they are small.
BUNDLE_BYTES = 1 << 20


@dataclass(slots=True)
class Bundle:
    """What waits to be told of what one epoch grants, until ``due``; ``told`` results were in this window."""

    to: Contact
    opened_s: float
    told: int = 0
    results: list[Settlement] = field(default_factory=list)
    size_bytes: int = 0
    started: dict[int, None] = field(default_factory=dict)


Key = tuple[bytes, int]  # job, epoch


class Bundles:
    """See the module. Bounded by the lots that a node grants: of those that wait for nothing the oldest go first."""

    def __init__(self) -> None:
        self._bundles: OrderedDict[Key, Bundle] = OrderedDict()
        self._waiting: OrderedDict[Key, float] = OrderedDict()  # when it is told, the soonest first

    def settled(self, to: Contact, key: Key, said: Settlement, indices: list[Span], now: float) -> list[Effect]:
        """A receipt settled ``indices``."""
        bundle = self._bundle(to, key, now)
        if bundle.started:
            for index in cut(indices):
                bundle.started.pop(index, None)
        size_bytes = len(said.page) + len(said.receipt.body)
        effects: list[Effect] = []
        if bundle.results and (
            bundle.size_bytes + size_bytes > BUNDLE_BYTES or len(bundle.results) == limits.BATCH_TASKS_MAX
        ):
            effects = self._say(key, bundle, now)
        bundle.told += 1
        if bundle.told <= CALM and not bundle.results:
            return [*effects, Tell(to, Delivery(*key, [said]))]
        bundle.results.append(said)
        bundle.size_bytes += size_bytes
        self._waiting.setdefault(key, bundle.opened_s + WINDOW_S)
        return effects

    def started(self, to: Contact, key: Key, indices: list[int], now: float) -> list[Effect]:
        """These tasks run."""
        bundle = self._bundle(to, key, now)
        bundle.started.update(dict.fromkeys(indices))
        self._waiting.setdefault(key, now + WINDOW_S)
        return self._say(key, bundle, now) if len(bundle.started) >= limits.BATCH_TASKS_MAX // 2 else []

    def _bundle(self, to: Contact, key: Key, now: float) -> Bundle:
        bundle = self._bundles.get(key)
        if bundle is None:
            bundle = self._bundles[key] = Bundle(to, now)
            if len(self._bundles) > limits.FORMER_GRANTORS_MAX:
                idle = next((each for each in self._bundles if each != key and each not in self._waiting), None)
                if idle is not None:
                    del self._bundles[idle]
        self._bundles.move_to_end(key)
        bundle.to = to
        if now >= bundle.opened_s + WINDOW_S and not bundle.results:
            bundle.opened_s, bundle.told = now, 0
        return bundle

    def _say(self, key: Key, bundle: Bundle, now: float) -> list[Effect]:
        self._waiting.pop(key, None)
        effects: list[Effect] = []
        started, results = list(bundle.started), bundle.results
        for at in range(0, len(started), limits.BATCH_TASKS_MAX):
            effects.append(Tell(bundle.to, Progress(key[0], 0, started[at : at + limits.BATCH_TASKS_MAX])))
        if results:
            effects.append(Tell(bundle.to, Delivery(*key, results)))
            # Where as many came again, what comes next waits, too.
            bundle.opened_s, bundle.told = now, min(CALM, len(results))
        bundle.started, bundle.results, bundle.size_bytes = {}, [], 0
        return effects

    def of(self, job: bytes, now: float) -> list[Effect]:
        """All that waits of ``job``, for something else is about to be told of it."""
        keys = [key for key in self._waiting if key[0] == job]
        return [effect for key in keys for effect in self._say(key, self._bundles[key], now)]

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        return min(self._waiting.values(), default=None)

    def expire(self, now: float) -> list[Effect]:
        """Tell what has waited."""
        keys = [key for key, at in self._waiting.items() if at <= now]
        return [effect for key in keys for effect in self._say(key, self._bundles[key], now)]
