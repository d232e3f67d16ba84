"""Others' logs: what another grantor's log settles of tasks that are granted here counts once its receipts were opened.

Who keeps a log goes by its headers, for it need not have the job's key. Whoever grants has it, and a header that names
tasks which are open here would end them for everybody: so these receipts are looked at as if their workers had come.
Where nothing is open here of what a log settles, as of any other lot, nothing is opened.
"""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.protocol.granted import Granted
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.ledger import SETTLED
from p2pcpn.protocol.spans import Span, clipped
from p2pcpn.wire import pages
from p2pcpn.wire.messages import Results
from p2pcpn.wire.statements import LogHeader

Name = tuple[bytes, bytes, int, int, bytes]  # of a segment: job, grantor, epoch, number, and the digest of its body


class OthersLogs:
    """See the module. ``granted`` is what this node grants."""

    def __init__(self, granted: Granted) -> None:
        self._granted = granted
        self._proved: dict[Name, None] = {}  # segments on their way to our disk whose receipts open

    def appended(self, said: LogHeader, body: bytes) -> None:
        """A segment came, whose body is what its header says. Raises :class:`PeerError` where it settles tasks that
        are open here by receipts that settle nothing."""
        grantor = next((each for each in self._granting(said) if _is_open(each, said.spans)), None)
        if grantor is None:
            return
        for entry in pages.LOG_BODY.decode(body):
            _check(grantor, entry)
        self._proved[_name(said)] = None
        if len(self._proved) > limits.LOG_AHEAD_MAX:
            del self._proved[next(iter(self._proved))]

    def on_disk(self, said: LogHeader) -> list[tuple[Grantor, list[Span]]]:
        """A segment is on our disk: what that settles, for each who grants the job here."""
        proved = _name(said) in self._proved
        self._proved.pop(_name(said), None)
        found = [(grantor, clipped(said.spans, grantor.ledger.total)) for grantor in self._granting(said)]
        return [(grantor, spans) for grantor, spans in found if spans and (proved or not _is_open(grantor, spans))]

    def _granting(self, said: LogHeader) -> list[Grantor]:
        """Those who grant the job here, where the log is not their own."""
        here = [grantor for grantor in self._granted.of(said.job) if grantor.granting]
        return [grantor for grantor in here if (said.grantor, said.epoch) != (grantor.contact.id, grantor.epoch)]


def _is_open(grantor: Grantor, spans: list[Span]) -> bool:
    """Whether any of ``spans`` is to be run here."""
    states = grantor.ledger.states
    return any(min(states[first : first + count], default=SETTLED) < SETTLED for first, count in spans)


def _check(grantor: Grantor, entry: pages.Entry) -> None:
    """Raises :class:`PeerError` where a receipt settles nothing: to say which blobs it names it is opened."""
    grantor.blobs_of(Results(entry.receipt, entry.page, False))


def _name(said: LogHeader) -> Name:
    return said.job, said.grantor, said.epoch, said.number, said.body
