"""The report of one simulated run: what happened, whether all that must hold held, and the hash that names the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2pcpn.protocol.verdict import Verdict
    from p2pcpn.sim.tables import TableSwarm
    from p2pcpn.sim.world import World


@dataclass(slots=True)
class Report:
    """``verdict`` is ``"ok"``, or what was violated. Times are virtual seconds."""

    scenario: str
    peers: int
    seed: int
    verdict: str = "ok"
    trace_hash: str = ""
    events: int = 0
    virtual_s: float = 0.0
    tasks: int = 0
    delivered: int = 0
    lost_tasks: int = 0
    datagrams_sent: int = 0
    datagrams_lost: int = 0
    messages: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    checks: int = 0
    figures: dict[str, float] = field(default_factory=dict)  # what a scenario measured, by words that name the unit
    history: dict[str, int] = field(default_factory=dict)  # what all peers noted came to, see protocol/verdict.py
    options: str = ""  # what else was asked of it, as the command says it

    @classmethod
    def of(
        cls, world: World | TableSwarm, scenario: str, peers: int, seed: int, verdict: str, checks: int, **rest: Any
    ) -> Report:
        """What every run of ``world`` has to say, and the ``rest`` that this one has."""
        return cls(
            scenario, peers, seed, verdict, world.trace.hash, world.clock.events, world.clock.now,
            datagrams_sent=world.network.sent, datagrams_lost=world.network.lost, messages=dict(world.trace.counts),
            checks=checks, **rest,
        )  # fmt: skip

    def judged(self, found: Verdict) -> None:
        """Take in the verdict over the history of the run; a broken promise there breaks the run."""
        self.history = {
            "events": found.events, "settled": found.settled, "failed": found.failed, "reruns": found.reruns,
            "late": found.late, "copies": found.copies, "readers": found.readers, "conflicts": found.conflicts,
            "violations": found.broken,
        }  # fmt: skip
        if not found.ok:
            self.verdict = str(found) if self.verdict == "ok" else f"{self.verdict}; {found}"

    @property
    def command(self) -> str:
        """What plays this run again."""
        return f"p2pcpn sim {self.scenario} --peers {self.peers} --seed {self.seed}{self.options}"

    @property
    def ok(self) -> bool:
        """Whether everything held, and no task was lost."""
        return self.verdict == "ok" and not self.lost_tasks

    def to_json(self) -> dict[str, object]:
        """One JSON object."""
        return {
            "scenario": self.scenario,
            "peers": self.peers,
            "seed": self.seed,
            "verdict": self.verdict,
            "trace_hash": self.trace_hash,
            "events": self.events,
            "virtual_s": round(self.virtual_s, 3),
            "tasks": self.tasks,
            "delivered": self.delivered,
            "lost_tasks": self.lost_tasks,
            "datagrams_sent": self.datagrams_sent,
            "datagrams_lost": self.datagrams_lost,
            "messages": dict(sorted(self.messages.items())),
            "faults": dict(sorted(self.faults.items())),
            "checks": self.checks,
            "figures": self.figures,
            "history": self.history,
        }
