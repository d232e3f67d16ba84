"""The world: virtual time, network, disks and hosts, all from one seed. Driver two, beside ``node/``.

A world is deterministic: the same seed and the same calls give the same trace, whatever ``PYTHONHASHSEED`` is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import networkx

from p2pcpn import limits
from p2pcpn.identity.keys import SharedWork, sharing_work
from p2pcpn.protocol import history
from p2pcpn.protocol.setup import Pulse
from p2pcpn.sim.checker import Checker, Violation
from p2pcpn.sim.clock import Clock
from p2pcpn.sim.dice import Dice
from p2pcpn.sim.host import Host
from p2pcpn.sim.network import Network, sites
from p2pcpn.sim.sessions import Sessions
from p2pcpn.sim.trace import Trace
from p2pcpn.wire.addresses import Address
from p2pcpn.wire.statements import Checks, Role, sharing

PEER_ROLES = Role.COMPUTE | Role.STORAGE
SLOTS_MAX = 4
REAL = Pulse()
# A rumor reaches a thousand peers within a second, and a put its holders: by then nothing else was said so often.
CHECKS_SHARED = 1 << 16


class World:
    """See the module. ``peers`` is how many the network is laid out for; more may join.

    Each of them has ``record_copies`` of a record kept and the ``pulse``, real peers' by default.

    One pair in ``exchanging`` agrees on its secret as real ones do (see :class:`SharedWork`).

    Where it is ``noted`` all of them note what they do, in the order of virtual time: some 200 bytes an event.

    ``graph`` is the network's, by default one of many sites. ``ran(host, owner, index, began)`` is called, where it is
    set, whenever a task has run.
    """

    def __init__(
        self,
        seed: int,
        peers: int,
        graph: networkx.Graph | None = None,
        *,
        record_copies: int = limits.RECORD_COPIES,
        pulse: Pulse = REAL,
        noted: bool = True,
        exchanging: int = 1,
    ) -> None:
        self.record_copies = record_copies
        self.pulse = pulse
        self._checks = Checks(CHECKS_SHARED)
        self._work = SharedWork(exchanging)
        self.dice = Dice(seed)
        self.clock = Clock()
        self.trace = Trace()
        self.network = Network(self.clock, sites(peers, self.dice) if graph is None else graph)
        self.sessions = Sessions(self.clock, self.network)
        self.checker = Checker()
        self.history: list[history.Line] | None = [] if noted else None
        self._fates = 0
        self.ran: Callable[[Host, bytes, int, float], None] | None = None
        self.swarm_key = self.dice.bytes("swarm key")
        self.hosts: list[Host] = []
        self.at: dict[Address, Host] = {}
        self.seeds: list[Address] = []  # the well-known peers
        self._dying: dict[int, None] = {}
        self.died: dict[int, None] = {}  # tasks whose worker process was killed

    def host(self, name: str, *, slots: int | None = None, roles: int = PEER_ROLES, rate: float | None = None) -> Host:
        """A new computer, off still. ``slots`` by chance where none are given.

        With a ``rate`` it has a clock of its own, which may drift and stand still.
        """
        if slots is None:
            slots = self.dice.stream("slots", name).randint(1, SLOTS_MAX)
        host = Host(self, len(self.hosts) + 1, name, slots=slots, roles=roles, rate=rate)
        self.hosts.append(host)
        self.at[host.address] = host
        return host

    def fate(self, kind: str, hosts: Iterable[Host] = ()) -> None:
        """What befalls the world stands in the history beside what peers note."""
        if self.history is not None:
            self._fates += 1
            event = history.Fault(kind, tuple(host.id.hex() for host in hosts))
            self.history.append(history.Line("fate/1", self._fates, self.clock.now, event))

    def end(self) -> None:
        """Nobody starts again: who is down now is gone for good, and so is its disk."""
        gone = [host for host in self.hosts if host.peer is None]
        if gone:
            self.fate("gone", gone)

    @property
    def alive(self) -> list[Host]:
        """The hosts whose peer runs, in order."""
        return [host for host in self.hosts if host.peer is not None]

    def start(self, host: Host) -> None:
        """Start the peer of ``host``; it knows the well-known addresses."""
        host.start(self.seeds)

    def run(self, until: float, reached: Callable[[], bool] | None = None) -> bool:
        """Let the world go on to ``until``, or until ``reached()``; whether it was reached.

        Raises :class:`Violation`, also for whatever a machine raises: nothing may escape from one.
        """
        try:
            with sharing(self._checks), sharing_work(self._work):
                return self.clock.run(until, reached)
        except Violation:
            raise
        except Exception as error:
            raise Violation(f"a machine raised {type(error).__name__}: {error}") from error

    def kill_process_of(self, index: int) -> None:
        """The next worker process that runs task ``index`` dies of it: once, whoever asks for it again."""
        if index not in self.died:
            self._dying[index] = None

    def dies(self, index: int) -> bool:
        """Whether the worker process dies now that has run task ``index``."""
        if index not in self._dying:
            return False
        del self._dying[index]
        self.died[index] = None
        return True
