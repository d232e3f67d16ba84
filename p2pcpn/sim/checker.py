"""The checker: what must hold after every event, and what must come true once the faults are over.

It watches a peer from outside, by what it says, hears and reports, and looks into the grantor's book where only that
shows whether its counts are right. Safety fails with a :class:`Violation` at the event that broke it; liveness is
asked for by the scenario when the network is whole again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2pcpn import limits
from p2pcpn.protocol import events
from p2pcpn.protocol.ledger import LEASED, WAITING
from p2pcpn.protocol.spans import Span, covers
from p2pcpn.sim.runtime import Deed, value_of
from p2pcpn.wire import messages as m
from p2pcpn.wire.pages import cut
from p2pcpn.wire.sealing import unseal
from p2pcpn.wire.statements import BlobRef, Lease, Outcome, Receipt, read

if TYPE_CHECKING:
    from p2pcpn.protocol.grantor import Grantor
    from p2pcpn.sim.host import Host
    from p2pcpn.sim.program import Program

# After so many events one host's memory is measured, the hosts in turn: all of them each time would be most of a run.
SWEEP_EVENTS = 64
# A book of so many leases is walked after each event; of more each event has so many walked for it, so the book is
# walked once in as many events as that takes: four hundred leases cost a millisecond, and more than the peer's event.
LEASES_EACH_EVENT = 256
LEASES_AN_EVENT = 16
# Of a column of states the bytes of tasks that have ended, all bits of them; of those that others grant it may not be
# known yet.
_ENDED = bytes(0xFF if 4 <= state <= 6 else 0 for state in range(256))


class Violation(AssertionError):
    """Something that must never happen has happened, or something that must happen has not."""


@dataclass(slots=True)
class Watched:
    """What the checker remembers of one grantor's job: its own account, beside the grantor's."""

    states: bytes = b""
    unseen: int = 0  # events since its leases were walked
    newest: dict[int, int] = field(default_factory=dict)  # index -> the last token that was sent out for it


class Checker:
    """See the module. Called by hosts at each input, effect and event."""

    def __init__(self) -> None:
        self.programs: dict[bytes, Program] = {}
        self.checks = 0
        self._watched: dict[int, dict[bytes, Watched]] = {}  # by host: its grantors
        self._seen: dict[bytes, set[int]] = {}  # by job: delivered to its program
        self._hearing: tuple[bytes, int] | None = None  # (job, token) of the results being heard
        self._owed: list[Span] = []  # what that token owed before
        self._fenced: list[list[Span]] = []  # what each newer one owed before: theirs to settle, unless it did, too

    # --- what hosts tell --------------------------------------------------------------------------------------------

    def opened(self, program: Program) -> None:
        """A program has a job, whose right values are known."""
        self.programs[program.job] = program
        self._seen[program.job] = set()

    def grants(self, host: Host, job: bytes) -> None:
        """From now on ``host`` grants ``job``."""
        self._watched.setdefault(host.number, {})[job] = Watched()

    def died(self, host: Host) -> None:
        """What it granted is gone with its memory."""
        self._watched.pop(host.number, None)

    def says(self, host: Host, message: m.Message) -> None:
        """``host`` puts a message on a session."""
        if isinstance(message, m.Grant | m.Further) and host.number in self._watched:
            said = read(message.lease, Lease) if isinstance(message, m.Grant) else message
            watched = self._watched[host.number].get(said.job)
            if watched is not None:
                for part in message.slices:
                    for index in range(part.first + part.low, part.first + part.high):
                        watched.newest[index] = max(said.token, watched.newest.get(index, 0))

    def hears(self, host: Host, message: m.Message) -> None:
        """``host`` is about to hear a message."""
        if isinstance(message, m.Results) and host.number in self._watched:
            receipt = read(message.receipt, Receipt)
            self._hearing = (receipt.job, receipt.token)
            self._owed, self._fenced = [], []
            grantor = None if host.peer is None else host.peer.grantors.get(receipt.job)
            watched = self._watched[host.number].get(receipt.job)
            if grantor is not None and watched is not None:
                lease = grantor.leases.get(receipt.token)
                self._owed = [] if lease is None else lease.open
                self._fenced = self._under_newer(grantor, watched, receipt)

    @staticmethod
    def _under_newer(grantor: Grantor, watched: Watched, receipt: Receipt) -> list[list[Span]]:
        """What each newer lease that lives owes; nothing where the receipt speaks of none that was ever leased anew."""
        token = receipt.token
        if all(watched.newest.get(index, token) <= token for index in cut(list(receipt.spans))):
            return []
        return [lease.open for newer, lease in grantor.leases.items() if newer > token]

    def notified(self, host: Host, event: object) -> None:
        """``host`` reports an event to its program."""
        if isinstance(event, events.Delivered):
            program = self.programs.get(event.job)
            if program is not None and program.host is host:
                self._delivered(host, program, event)

    def _delivered(self, host: Host, program: Program, event: events.Delivered) -> None:
        seen = self._seen[event.job]
        for index, outcome, value in zip(event.indices, event.outcomes, event.values, strict=True):
            if index in seen:
                raise Violation(f"task {index} was delivered twice")
            seen.add(index)
            self._right(host, program, index, outcome, value)
            if self._hearing is not None and self._hearing[0] == event.job:
                token, this = self._hearing[1], [(index, 1)]
                if any(covers(owed, this) for owed in self._fenced) and not covers(self._owed, this):
                    raise Violation(f"task {index} was settled under token {token}, which a newer lease had fenced")

    def arrived(self, program: Program, index: int, value: BlobRef) -> None:
        """A large result that was delivered before it was here is here."""
        self._right(program.host, program, index, Outcome.OK, value)

    @staticmethod
    def _right(host: Host, program: Program, index: int, outcome: int, value: bytes | BlobRef) -> None:
        deed = program.deeds[index]
        wanted = {"raises": Outcome.RAISED, "poison": Outcome.DIED}.get(deed.how, Outcome.OK)
        if outcome != wanted:
            raise Violation(f"task {index}, which {deed.how}, was delivered with outcome {outcome}")
        if outcome == Outcome.DIED:
            return
        if isinstance(value, BlobRef):
            sealed = None if host.shelf is None else host.shelf.blobs.get(value.digest)
            if sealed is None:
                return  # the program asks for it
            value = unseal(value.key, 0, sealed)
        if deed.how in (Deed.VARIES, Deed.MADE):
            return  # what counts of those is for the judge to say
        if value != value_of(program.arguments[index]):
            raise Violation(f"task {index} was delivered with a wrong value")

    # --- after each event -------------------------------------------------------------------------------------------

    def after(self, host: Host) -> None:
        """Check the host that just did something."""
        self._hearing = None
        self.checks += 1
        watched = self._watched.get(host.number)
        if watched and host.peer is not None:
            for job, account in watched.items():
                grantor = host.peer.grantors.get(job)
                if grantor is not None:
                    self._book(grantor, account)
        if not self.checks % SWEEP_EVENTS:
            hosts = host.world.hosts
            self.bounded(hosts[self.checks // SWEEP_EVENTS % len(hosts)])

    @staticmethod
    def _book(grantor: Grantor, account: Watched) -> None:
        """The grantor's counts agree with its states and leases, and what ended stays ended."""
        ledger = grantor.ledger
        states = bytes(ledger.states)
        if states != account.states:
            ended = account.states.translate(_ENDED)
            changed = int.from_bytes(states, "little") ^ int.from_bytes(account.states, "little")
            if open_again := changed & int.from_bytes(ended, "little"):
                index = ((open_again & -open_again).bit_length() - 1) // 8
                raise Violation(f"task {index} had ended and is open again")
            account.states = states
        if (ledger.waiting, ledger.leased) != (states.count(WAITING), states.count(LEASED)):
            raise Violation(
                f"the ledger counts {ledger.waiting} waiting and {ledger.leased} leased tasks; "
                f"there are {states.count(WAITING)} and {states.count(LEASED)}"
            )
        account.unseen += 1
        many = len(grantor.leases)
        if many <= LEASES_EACH_EVENT or account.unseen * LEASES_AN_EVENT >= many:
            account.unseen = 0
            Checker._leased(grantor, states)

    @staticmethod
    def _leased(grantor: Grantor, states: bytes) -> None:
        """What is leased is owed under one live lease, what is doubled under two, of two peers; nothing else is."""
        leases, doubled = grantor.leases, grantor.book.doubled
        spans = sorted((first, count, token) for token, lease in leases.items() for first, count in lease.open)
        end = twice = 0
        for first, count, token in spans:
            for index in range(first, min(first + count, end)):
                twice += 1
                older, younger = doubled.get(index, (0, 0))
                if token not in (older, younger) or leases[older].peer == leases[younger].peer:
                    raise Violation(f"task {index} is owed under two live leases, one of them {token}, and is no hedge")
            end = max(end, first + count)
            if states.count(LEASED, first, first + count) != count:
                raise Violation(
                    f"a task of {first} to {first + count - 1} is owed under lease {token} and is not leased"
                )
        owed = sum(count for _, count, _ in spans) - twice
        if twice != len(doubled):
            raise Violation(f"{len(doubled)} tasks are doubled, and {twice} owed twice")
        if owed != grantor.ledger.leased:
            raise Violation(f"{grantor.ledger.leased} tasks are leased, and {owed} owed under live leases")

    @staticmethod
    def bounded(host: Host) -> None:
        """No memory of a peer is above its bound."""
        peer = host.peer
        if peer is None:
            return
        gossip, dht, pairs = peer.gossip.statistics(), peer.dht.statistics(), peer.pairs.statistics()
        held = {
            "pairs": (pairs["pairs"], limits.PAIRS_MAX),
            "hellos": (pairs["hellos"], limits.HELLOS_MAX),
            "neighbours": (len(peer.neighbourhood), limits.NEIGHBOURHOOD_MAX),
            "rumors": (gossip["held"], limits.RUMORS_MAX),
            "rumors seen": (gossip["seen"], limits.RUMORS_SEEN_MAX),
            "DHT requests": (dht["requests"], limits.REQUESTS_MAX),
            "probes": (peer.membership.statistics()["probes"], limits.PROBES_MAX),
            "adverts": (len(peer.directory), limits.ADVERTS_MAX),
            "offers": (len(peer.offers.interests), limits.OFFERS_MAX),
            "jobs": (len(peer.worker.works), limits.JOBS_PER_PEER_MAX),
            "round trips": (len(peer.roundtrips), limits.ROUNDTRIPS_MAX),
            "running batches": (peer.worker.running, max(host.slots, 0)),
        }
        for what, (count, most) in held.items():
            if count > most:
                raise Violation(f"{host.name} holds {count} {what}, at most {most} are allowed")
