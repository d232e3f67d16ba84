"""Making a peer: settings, key, address and what was kept on disk become the machine that a node drives."""

from __future__ import annotations

import random
import time

from p2pcpn.config import Config
from p2pcpn.identity.dice import Dice
from p2pcpn.identity.keys import Keypair
from p2pcpn.metrics import machine as machines
from p2pcpn.metrics.packages import missing
from p2pcpn.node import restoring, surroundings
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.peer import Peer
from p2pcpn.protocol.setup import LOCAL, Pulse, Setup
from p2pcpn.protocol.witness import Note
from p2pcpn.store.database import Database
from p2pcpn.wire.addresses import Address, contact
from p2pcpn.wire.statements import Role


def roles_of(config: Config) -> int:
    """The roles as a bit set."""
    return sum(Role.NAMES[name] for name in config.roles)


def slots_of(config: Config) -> int:
    """Tasks at a time."""
    return config.cpus or machines.cores()


def rules_of(config: Config, swarm_key: bytes) -> Rules:
    """What the owner of the node allows."""
    return Rules(
        runtimes=tuple(config.accept), python=surroundings.python_version(),
        memory_bytes=config.memory_bytes or machines.memory()[0], swarm_key=swarm_key,
        trusted=frozenset(bytes.fromhex(key) for key in config.trust), missing=missing,
    )  # fmt: skip


def make_peer(
    config: Config,
    keypair: Keypair,
    swarm_key: bytes,
    boot: int,
    address: Address,
    now: float,
    note: Note | None = None,
) -> Peer:
    """A peer that listens at ``address`` and knows nothing yet; ``note`` takes what its grantors do."""
    local = config.profile == "local"
    own = surroundings.own_host(address[0], local=local)
    setup = Setup(
        keypair=keypair, boot=boot, contact=contact(keypair.id, (own, address[1])), rules=rules_of(config, swarm_key),
        slots=slots_of(config), roles=roles_of(config),
        network_group=surroundings.by_port if local else surroundings.by_prefix,
        watching=not local,  # on the loopback everybody reaches everybody
        note=note, pulse=LOCAL if local else Pulse(),
    )  # fmt: skip
    rng = Dice() if config.seed is None else random.Random(config.seed)
    return Peer(setup, rng=rng, now=now, wall=time.time)


def restore(peer: Peer, database: Database, now: float) -> None:
    """Give back to ``peer`` the records, jobs and unsettled results that it had before a restart."""
    held = restoring.restored(database)
    peer.dht.restore(held.records, now, time.time())
    for kept in held.jobs:
        peer.steward.restore(kept)
    for log in held.foreign:
        peer.steward.restore_foreign(log.job, log.grantor, log.expires_s, log.disk_bytes)
    peer.worker.restore(held.journal, now)
