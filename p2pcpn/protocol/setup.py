"""What a peer is made of: its keys, its place, its owner's rules."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.admission import Rules, belongs, trusts
from p2pcpn.protocol.witness import Note
from p2pcpn.wire.addresses import Address, Contact

# A death is heard of at once within the neighbourhood, and with the next comparison elsewhere. One message to each of a
# hundred peers, with 20 to 50 bytes a job: 4,096 jobs with five keepers each are 2 KB/s.
KEEPERS_S = 600.0
# A machine that is started anew is back within two minutes.
REPLACE_S = 120.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """How often a peer speaks where nothing happens, in seconds: it probes a neighbour, compares rumors with one, says
    again what it is (which others forget after three times as long), compares with others who keep the same jobs; and
    how long those wait for a lost one before they replace it. The pace of real peers where nothing is said."""

    probe_s: float = limits.PROBE_IDLE_S
    compare_s: float = limits.PUSH_PULL_S
    advert_s: float = limits.ADVERT_AGAIN_S
    keepers_s: float = KEEPERS_S
    replace_s: float = REPLACE_S


# The peers of one machine's own swarm have no reboots to wait for.
LOCAL = Pulse(keepers_s=15.0, replace_s=3.0)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a peer is made of. ``record_copies``: so many peers keep what it puts, and what it holds.

    ``note`` takes what its grantors do, for a history.
    """

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
    record_copies: int = limits.RECORD_COPIES
    pulse: Pulse = Pulse()
    note: Note | None = None

    def group_of(self, peer: Contact) -> Hashable:
        """The network group of a peer."""
        return self.network_group(peer.address)

    def trusts(self, owner: bytes, proof: bytes) -> bool:
        """Whether an owner is one of ours, or proves to be a member."""
        return trusts(self.rules, owner, proof)

    def belongs(self, key: bytes) -> bool:
        """Whether a node that we have a session with is no stranger."""
        return belongs(self.rules, key)
