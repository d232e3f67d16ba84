"""What a peer is made of: its keys, its place, its owner's rules."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.admission import Rules
from p2pcpn.wire.addresses import Address, Contact


@dataclass(frozen=True, slots=True)
class Setup:
    """What a peer is made of."""

    keypair: Keypair
    boot: int
    contact: Contact
    rules: Rules
    slots: int
    roles: int
    network_group: Callable[[Address], Hashable]
    puzzle: int = 0
    difficulty: int = 0
    watching: bool = False  # whether strangers reach it is found out, by the word of others
