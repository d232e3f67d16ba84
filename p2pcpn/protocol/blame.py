"""Blame: which failures count against a peer, so that its circuit breaker opens, and what follows for its slots.

Against the peer counts what only the peer can mend: its runtime does not start, it declines what it claimed to run, it
is lost with what it held (once, however much that was). Not what the job does: a task that raises has run to its end,
and shows that the runtime works; an input that nobody can use or have is the owner's; what is returned because others
were served first, or because the peer leaves, is no failure at all.

The death of a worker process may be either's doing. It counts against the peer until the task dies of it elsewhere,
too: then it is the task's (``acceptance`` ends it after three), and the first peer is excused. So a peer whose
processes always die is found although each task is tried there once, and a job full of crashing tasks closes nobody's
door.
"""

from __future__ import annotations

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.breakers import Breakers, Shut
from p2pcpn.protocol.ledger import Ledger
from p2pcpn.protocol.participants import Participant, Participants


class Blame:
    """See the module. One object a job; ``breakers`` are those of all jobs of this node."""

    __slots__ = ("_runtime", "_breakers", "_ledger", "_peers")

    def __init__(self, runtime: str, breakers: Breakers, ledger: Ledger, participants: Participants) -> None:
        self._runtime = runtime
        self._breakers = breakers
        self._ledger = ledger
        self._peers = participants

    def failed(self, node: NodeId, why: str, now: float) -> None:
        """A failure that is the peer's own. Where its breaker is open its slots are not counted on."""
        if self._breakers.failed(self._runtime, node, why, now):
            self._follow(node)

    def died(self, index: int, node: NodeId, why: str, now: float) -> None:
        """The process that ran a task died at ``node``, as the ledger knows by now."""
        others = [peer for peer in self._ledger.troubles[index].deaths if peer != node]
        if not others:
            self.failed(node, why, now)
        elif len(others) == 1:
            self._breakers.excused(self._runtime, others[0])
            self._follow(others[0])

    def succeeded(self, node: NodeId) -> None:
        """Tasks ran there to their ends, whatever these were."""
        if self._breakers.succeeded(self._runtime, node):
            self._follow(node)

    def _follow(self, node: NodeId) -> None:
        peer = self._peers.peers.get(node)
        if peer is not None:
            self._peers.shut(peer, self.until(node))

    def may_have(self, node: NodeId, now: float) -> int:
        """How many tasks may be leased to it now."""
        return self._breakers.may_have(self._runtime, node, now)

    def closed(self, node: NodeId) -> bool:
        """Whether nothing is held against it."""
        return self.until(node) == float("-inf")

    def leased(self, peer: Participant, now: float) -> None:
        """It was leased something; where that is a probe its other slots are not counted on."""
        self._breakers.probed(self._runtime, peer.node, now)
        if not self.closed(peer.node):
            self._follow(peer.node)

    def undecided(self, peer: Participant) -> None:
        """It holds nothing any more, whatever became of that."""
        self._breakers.undecided(self._runtime, peer.node)
        peer.shut_until = self.until(peer.node)

    def until(self, node: NodeId) -> float:
        """Before that it gets nothing."""
        return self._breakers.until(self._runtime, node)

    def shut(self) -> list[Shut]:
        """Who gets nothing, or a probe only, and why: of those who take part, by id."""
        return [each for each in self._breakers.shut(self._runtime) if each.peer in self._peers.peers]
