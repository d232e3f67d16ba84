"""Making a peer: what the owner set is what the machine goes by, and what was on disk is had again."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.config import Config
from p2pcpn.identity.keys import Keypair
from p2pcpn.metrics import machine as machines
from p2pcpn.node.making import make_peer, restore, roles_of, rules_of, slots_of
from p2pcpn.protocol.effects import Commit, Write
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.peer import Peer
from p2pcpn.store.database import Database
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import LogHeader, Record, Role, signed
from tests.unit.protocol.leased import GRANTOR, GRANTOR_AT, OWNER, STEWARDS, Made, settling

ME = STEWARDS[0]
SWARM_KEY = b"\7" * 32
LOCAL = ("127.0.0.1", 4000)


def made(address: tuple[str, int] = LOCAL, **settings: Any) -> Peer:
    settings = {"profile": "local", "cpus": 3, "seed": 1} | settings
    return make_peer(Config(**settings), ME, SWARM_KEY, 5, address, 100.0)


@pytest.mark.parametrize(
    ("roles", "bits"),
    [((), 0), (("storage",), Role.STORAGE), (("relay", "compute"), Role.COMPUTE | Role.RELAY)],
)
def test_roles_become_bits(roles: tuple[str, ...], bits: int) -> None:
    assert roles_of(Config(roles=roles)) == bits
    peer = made(roles=roles)
    assert (peer.storing, peer.computing) == (bool(bits & Role.STORAGE), bool(bits & Role.COMPUTE))


def test_a_peer_runs_as_many_tasks_as_it_was_told_or_one_a_core() -> None:
    assert slots_of(Config(cpus=7)) == made(cpus=7).setup.slots == 7
    assert slots_of(Config()) == machines.cores()


def test_the_rules_are_what_the_owner_allows() -> None:
    key = Keypair(b"\2" * 32).public
    rules = rules_of(Config(memory_bytes=123, trust=[key.hex()], accept=["function"]), SWARM_KEY)
    assert rules.memory_bytes == 123
    assert rules.trusted == {key}
    assert rules.runtimes == ("function",)
    assert rules.swarm_key == SWARM_KEY
    assert rules.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert rules.missing(("pytest", "no-such-package")) == ("no-such-package",)
    assert rules_of(Config(), SWARM_KEY).memory_bytes == machines.memory()[0]


def test_a_peer_is_where_it_listens_and_has_its_boot_number() -> None:
    peer = made()
    assert peer.id == ME.id
    assert (peer.contact.id, peer.contact.address) == (ME.id, LOCAL)
    assert peer.setup.boot == 5
    assert made(("0.0.0.0", 4001)).contact.address == ("127.0.0.1", 4001)
    elsewhere = made(("0.0.0.0", 4001), profile="public").contact.address
    assert elsewhere[0] != "0.0.0.0"


def test_peers_of_one_machine_are_told_apart_by_port_and_others_by_network() -> None:
    one, two = ("203.12.2.7", 1), ("203.12.2.8", 2)
    local, public = made().setup.network_group, made(profile="public").setup.network_group
    assert local(one) != local(two)
    assert public(one) == public(two)


def test_a_seed_makes_the_dice_repeatable() -> None:
    throws = [[made(seed=seed).rng.random() for _ in range(2)] for seed in (1, 1, 2, None, None)]
    assert throws[0] == throws[1]
    assert len({tuple(each) for each in throws}) == 4


def test_records_jobs_and_results_are_had_again_after_a_restart(tmp_path: Path) -> None:
    job = Made()
    job.segment(2)
    record = signed(Record(b"salt", 1, time.time(), 3600.0, b"value"), OWNER)
    database = Database(tmp_path / "node.db", durable=False)
    try:
        before = made()
        for message in (m.Introduce(1, job.spec, True), m.Extend(2, job.segments[0], job.sealed[0], True)):
            begun = before.steward.introduced if isinstance(message, m.Introduce) else before.steward.extended
            for effect in begun(GRANTOR_AT, message):  # type: ignore[arg-type]
                assert isinstance(effect, Commit)
                database.commit(effect.writes)
        key = record_key(OWNER.public, b"salt")
        row = (OWNER.public, 1, time.time() + 3600.0, pages.SIGNED.encode(record))
        database.commit([Write("records", (key,), row)])
        body, other = settling(Made(2).job, [(0, 1)]), Made(2).job
        header = signed(LogHeader(other, 0, GRANTOR.id, 0, bytes(32), digest(body), 1, [(0, 1)]), GRANTOR)
        for effect in before.steward.appended(GRANTOR_AT, m.Append(3, header, body)):
            assert isinstance(effect, Commit)
            database.commit(effect.writes)
        database.drop_expired(0.0)  # waits for what was queued before
        after = made()
        restore(after, database, 100.0)
    finally:
        database.close()
    assert list(after.steward.jobs) == [job.job]
    assert after.steward.jobs[job.job].tasks == 2
    assert after.knows_job(job.job)
    assert after.steward.foreign.jobs() == [other] and after.steward.quota.of(GRANTOR.id) > len(body)
    assert after.dht.records.get(key, time.time()) == record
