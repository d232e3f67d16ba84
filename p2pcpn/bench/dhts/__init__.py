"""Hash tables under test: sixteen peers of one kind, behind two verbs, store and get.

Each is a thing of its own: p2pcpn signs and versions records and checks them, ``kademlia`` and hivemind trust
whatever they hear. The load is hivemind's own benchmark.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from p2pcpn.bench.dhts.table import Table
from p2pcpn.errors import UsageError

# name -> (where its class is, the package it needs)
TABLES: Final[dict[str, tuple[str, str]]] = {
    "p2pcpn": ("p2pcpn.bench.dhts.programs:ProgramsTable", "p2pcpn"),
    "kademlia": ("p2pcpn.bench.dhts.kademlia:KademliaTable", "kademlia"),
    "hivemind": ("p2pcpn.bench.dhts.hivemind:HivemindTable", "hivemind"),
}


def make(name: str) -> Table:
    """A table by its name, not started. Raises :class:`UsageError` for a name nobody has."""
    if name not in TABLES:
        raise UsageError(f"there is no hash table {name!r} to measure; there are {', '.join(TABLES)}")
    module, _, cls = TABLES[name][0].partition(":")
    found: Table = getattr(import_module(module), cls)()
    return found
