"""Driver two: the same machines in a virtual world, under a virtual clock, with faults and a checker.

``run(name, peers=..., seed=...)`` simulates a scenario and returns a :class:`Report`; ``names()`` lists them.
"""

from p2pcpn.sim.report import Report
from p2pcpn.sim.scenarios import names, run

__all__ = ["Report", "names", "run"]
