"""The head of a settlement log: the record that tells readers how long the log is, and where it lies.

It stands in the DHT under the grantor's own key; published when it changed, at most once a second, and finally with
``done``.
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


class Head:
    """The head of one log."""

    __slots__ = ("at", "_job", "_epoch", "_retention_s", "_not_before", "_said")

    def __init__(self, job: bytes, epoch: int, retention_s: float) -> None:
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
        head = LogHead(self._epoch, log.number, log.last, log.settled, total, done, named)
        return [Publish(self._job, pages.LOG_HEAD.encode(head), self._retention_s)]
