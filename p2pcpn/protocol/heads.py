"""The head of a settlement log: the record that tells readers how long the log is, and where it lies.

It stands in the DHT under the grantor's own key; published when it changed, at most once a second, and finally with
``done``. A node that grants several lots of a job, or granted it in earlier epochs, has one such key for all of those
logs: each head names the others, or the last one published would hide them.
"""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Publish
from p2pcpn.protocol.settlement import LogWriter
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.codec import Codec
from p2pcpn.wire.pages import LogHead

CONTACT: Codec[Contact] = Codec(Contact, 64, "contact")
# So many of 8 packed contacts as the record names; a reader asks the stewards for the rest.
HOLDERS_NAMED = 8
# And of the node's other logs of the job: 6 to 11 bytes each, beside holders of 44 at most.
OTHERS_NAMED = 16


class Head:
    """The head of one log. ``logs`` are all that this node writes, or wrote, of the job: by epoch, their segments."""

    __slots__ = ("at", "logs", "_job", "_epoch", "_retention_s", "_not_before", "_said")

    def __init__(self, job: bytes, epoch: int, retention_s: float, logs: dict[int, int] | None = None) -> None:
        self.logs: dict[int, int] = {} if logs is None else logs
        self.at: float | None = None  # when it is published next
        self._job = job
        self._epoch = epoch
        self._retention_s = retention_s
        self._not_before = float("-inf")
        self._said: tuple[int, int, bool] | None = None

    def changed(self, now: float) -> None:
        """It is to be published, as soon as a second has passed since the last time."""
        if self.at is None:
            self.at = max(now, self._not_before)

    def due(self, now: float) -> bool:
        """Whether it is published now."""
        return self.at is not None and now >= self.at

    def publish(
        self, log: LogWriter, replicated: int, total: int | None, done: bool, holders: list[Contact], now: float
    ) -> list[Effect]:
        """The head as it is now, unless that was said already or the log is empty."""
        self.at = None
        said = (log.number, replicated, done)
        if said == self._said or log.number == 0:
            return []
        self._said = said
        self._not_before = now + limits.LOG_HEAD_WAIT_S
        named = [CONTACT.encode(contact) for contact in holders[:HOLDERS_NAMED]]
        self.logs[self._epoch] = log.number
        others = sorted((each for each in self.logs.items() if each[0] != self._epoch and each[1]), reverse=True)
        head = LogHead(
            self._epoch, log.number, log.last, log.settled, total, done, named, others[:OTHERS_NAMED]
        )  # fmt: skip
        return [Publish(self._job, pages.LOG_HEAD.encode(head), self._retention_s)]
