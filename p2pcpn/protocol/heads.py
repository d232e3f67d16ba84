"""The head of a settlement log: the record that tells readers how long the log is, and where it lies.

It stands in the DHT under the grantor's own key; published when it changed, at most once a second, and finally with
``done``. It outlives the grantor, so it names no segment that lies on the grantor's disk alone: readers would wait for
it for ever. A node that grants several lots of a job, or granted it in earlier epochs, has one such key for all of
those logs: each head names the others, or the last one published would hide them.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.protocol.copies import Copies
from p2pcpn.protocol.effects import Effect, Publish
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.codec import Codec
from p2pcpn.wire.pages import LogHead

CONTACT: Codec[Contact] = Codec(Contact, 64, "contact")
# So many of 8 packed contacts as the record names; a reader asks the stewards for the rest.
HOLDERS_NAMED = 8
# And of the node's other logs of the job: 6 to 11 bytes each, beside holders of 44 at most.
OTHERS_NAMED = 16


@dataclass(slots=True)
class Length:
    """How long one log is: so many segments were ``written``, and so many of those readers find whoever dies."""

    written: int = 0
    found: int = 0


class Head:
    """The head of one log. ``logs``: by epoch how long those are that this node writes, or wrote, of the job."""

    __slots__ = ("at", "logs", "_job", "_epoch", "_retention_s", "_not_before", "_said")

    def __init__(self, job: bytes, epoch: int, retention_s: float, logs: dict[int, Length] | None = None) -> None:
        self.logs: dict[int, Length] = {} if logs is None else logs
        self.at: float | None = None  # when it is published next
        self._job = job
        self._epoch = epoch
        self._retention_s = retention_s
        self._not_before = float("-inf")
        self._said: tuple[int, int, bool] | None = None

    def follow(self, copies: Copies, now: float) -> None:
        """How long the log is, and how much of it readers find: what is new of that is to be published."""
        length = self.logs.setdefault(self._epoch, Length())
        if copies.find():
            self.changed(now)
        length.written, length.found = len(copies), copies.found

    def changed(self, now: float) -> None:
        """It is to be published, as soon as a second has passed since the last time."""
        if self.at is None:
            self.at = max(now, self._not_before)

    def due(self, now: float) -> bool:
        """Whether it is published now."""
        return self.at is not None and now >= self.at

    def publish(
        self, copies: Copies, replicated: int, total: int | None, done: bool, holders: list[Contact], now: float
    ) -> list[Effect]:
        """The head as it is now, unless that was said already or readers find nothing."""
        self.at = None
        said = (copies.found, replicated, done)
        if said == self._said or not copies.found:
            return []
        self._said = said
        self._not_before = now + limits.LOG_HEAD_WAIT_S
        named = [CONTACT.encode(contact) for contact in holders[:HOLDERS_NAMED]]
        others = sorted(
            ((epoch, log.found) for epoch, log in self.logs.items() if epoch != self._epoch and log.found), reverse=True
        )
        head = LogHead(
            self._epoch, copies.found, copies.last, copies.settled(copies.found), total, done, named,
            others[:OTHERS_NAMED],
        )  # fmt: skip
        return [Publish(self._job, pages.LOG_HEAD.encode(head), self._retention_s)]
