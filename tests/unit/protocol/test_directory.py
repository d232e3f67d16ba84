"""The directory: whose advert counts, for how long, and which storage peers are near."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.directory import TTL_S_MAX, Directory
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.statements import Advert, Role, Signed
from tests.unit.protocol.leased import at, keypair


def advert(key: Keypair, **changes: Any) -> tuple[Advert, Signed]:
    """An advert and its envelope, whose signature nobody here looks at."""
    fields: dict[str, Any] = {
        "contact": at(key, 4000), "boot": 1, "version": 1, "ttl_s": 900.0, "roles": Role.COMPUTE | Role.STORAGE,
        "cores": 4, "slots": 4, "slots_free": 4, "memory_bytes": 1 << 33, "memory_free_bytes": 1 << 32, "load": 0.0,
        "python": "3.11", "implementation": "cpython", "platform": "linux-x86_64", "runtimes": ["function"],
        "packages": [], "accelerators": [], "tags": [], "position": None, "rtt_ms": 0.0, "machine": 1,
    }  # fmt: skip
    return Advert(**{**fields, **changes}), Signed(Advert.kind, b"", key.public, bytes(64))


ONE, TWO, THREE = (keypair(number) for number in (1, 2, 3))


def listed(directory: Directory, now: float) -> list[bytes]:
    """The ids of the adverts that count."""
    return [found.advert.contact.id for found in directory.listed(now)]


def test_an_advert_counts_until_its_time_has_passed_since_it_was_heard() -> None:
    directory = Directory()
    assert directory.heard(*advert(ONE, ttl_s=60.0), 100.0)
    assert listed(directory, 159.9) == [ONE.id]
    assert directory.contacts(159.9) == [at(ONE, 4000)]
    assert listed(directory, 160.0) == []
    assert len(directory) == 0


def test_no_advert_counts_for_longer_than_an_hour() -> None:
    directory = Directory()
    directory.heard(*advert(ONE, ttl_s=1e9), 0.0)
    assert listed(directory, TTL_S_MAX - 0.1) == [ONE.id]
    assert listed(directory, TTL_S_MAX) == []


@pytest.mark.parametrize(("boot", "version", "newer"), [(1, 6, True), (2, 1, True), (1, 5, False), (0, 9, False)])
def test_a_newer_version_or_boot_replaces_an_older_one(boot: int, version: int, newer: bool) -> None:
    directory = Directory()
    directory.heard(*advert(ONE, version=5), 0.0)
    assert directory.heard(*advert(ONE, boot=boot, version=version), 1.0) is newer
    found = directory.get(ONE.id)
    assert found is not None
    assert (found.advert.boot, found.advert.version) == ((boot, version) if newer else (1, 5))


@pytest.mark.parametrize(
    ("changes", "repeats"),
    [
        ({"load": 0.5, "memory_free_bytes": 1, "rtt_ms": 3.0, "position": (0.1, 0.2), "ttl_s": 7200.0}, True),
        ({"version": 1}, True),
        ({"slots_free": 3}, False),
        ({"slots": 3}, False),
        ({"roles": Role.COMPUTE | Role.HIDDEN}, False),
        ({"contact": at(ONE, 4001)}, False),
        ({"packages": ["numpy"]}, False),
        ({"boot": 2}, False),
    ],
)
def test_an_advert_repeats_what_is_known_where_nothing_but_what_is_fleeting_differs(
    changes: dict[str, Any], repeats: bool
) -> None:
    directory = Directory()
    newest, _ = advert(ONE, **{"version": 2, **changes})
    assert directory.repeats(newest) is None, "nothing is known of it yet"
    directory.heard(*advert(ONE), 0.0)
    directory.heard(*advert(TWO), 0.0)
    assert directory.repeats(newest) is repeats


def test_an_advert_that_is_not_its_peers_own_does_not_count() -> None:
    directory = Directory()
    statement, _ = advert(ONE)
    _, envelope = advert(TWO)
    assert not directory.heard(statement, envelope, 0.0)


@pytest.mark.parametrize(
    ("host", "port"), [(b"\0\0\0\0", 4000), (b"\x7f\0\0\1", 0), (b"\xe0\0\0\1", 4000), (b"x" * 5, 1)]
)
def test_an_advert_of_a_place_where_nobody_can_be_does_not_count(host: bytes, port: int) -> None:
    directory = Directory()
    assert not directory.heard(*advert(ONE, contact=Contact(ONE.id, host, port)), 0.0)


def test_who_is_gone_is_listed_no_more() -> None:
    directory = Directory()
    directory.heard(*advert(ONE), 0.0)
    assert directory.gone(ONE.id) == ONE.public
    assert directory.gone(TWO.id) == b""
    assert directory.get(ONE.id) is None
    assert listed(directory, 0.0) == []


def test_the_longest_unrefreshed_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADVERTS_MAX", 2)
    directory = Directory()
    directory.heard(*advert(ONE), 0.0)
    directory.heard(*advert(TWO), 1.0)
    directory.heard(*advert(ONE, version=2), 2.0)
    directory.heard(*advert(THREE), 3.0)
    assert directory.get(TWO.id) is None
    assert len(directory) == 2


def test_fakes_of_one_network_crowd_out_each_other_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADVERTS_MAX", 128)
    directory = Directory(lambda contact: contact.port)
    honest = [keypair(number) for number in range(1, 60)]
    for number, key in enumerate(honest):
        directory.heard(*advert(key, contact=at(key, 3000 + number)), 0.0)
    for number in range(1000, 2000):
        fake = keypair(number)
        assert directory.heard(*advert(fake, contact=at(fake, 9)), 1.0)
    assert len(directory) <= 128 and all(directory.get(key.id) for key in honest)


def test_whom_we_never_met_goes_before_whom_we_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADVERTS_MAX", 128)
    met = [keypair(number) for number in range(1, 65)]
    directory = Directory(met=lambda node: node in {key.id for key in met})
    for key in met:
        directory.heard(*advert(key), 0.0)
    for number in range(1000, 1400):  # each names an address in another network
        directory.heard(*advert(keypair(number)), 1.0)
    assert len(directory) <= 128 and all(directory.get(key.id) for key in met)
    last = Directory(met=lambda node: True)
    for number in range(1, 131):
        last.heard(*advert(keypair(number)), 0.0)
    assert last.get(keypair(1).id) is None and last.get(keypair(130).id) is not None


@given(st.permutations([1, 2, 3, 4, 5]))
def test_adverts_are_listed_by_id_whatever_the_order_they_came_in(order: list[int]) -> None:
    directory = Directory()
    for number in order:
        directory.heard(*advert(keypair(number)), 0.0)
    assert listed(directory, 1.0) == sorted(keypair(number).id for number in order)


def test_storage_peers_come_nearest_first_and_one_of_each_machine_before_second_ones() -> None:
    directory = Directory()
    keys = [keypair(number) for number in range(1, 9)]
    for number, key in enumerate(keys):
        directory.heard(*advert(key, machine=number % 3, roles=Role.COMPUTE if number == 7 else Role.STORAGE), 0.0)
    target = bytes(20)
    near = sorted(keys[:7], key=lambda key: distance(key.id, target))
    machines = [keys.index(key) % 3 for key in near]
    first = [key for at_, key in enumerate(near) if machines[at_] not in machines[:at_]]
    again = [key for key in near if key not in first]
    found = [listed.advert.contact.id for listed in directory.storage_near(target, 1.0)]
    assert found == [key.id for key in first + again]
    assert len({listed.advert.machine for listed in directory.storage_near(target, 1.0)[:3]}) == 3


def test_who_was_thought_dead_counts_again_with_what_it_said_last() -> None:
    directory, (said, envelope) = Directory(), advert(ONE)
    packed = Signed(Advert.kind, msgspec.msgpack.encode(said), ONE.public, bytes(64))
    directory.heard(said, envelope, 0.0)
    directory.gone(ONE.id)
    directory.back(None, 1.0)
    assert listed(directory, 1.0) == []
    directory.back(packed, 1.0)
    assert listed(directory, 1.0) == [ONE.id]
