"""Publishing: versions grow, what is provided is said again each hour, and what is withdrawn is said once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2pcpn import limits
from p2pcpn.errors import UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.gathering import ProvidersDone
from p2pcpn.protocol.items import expires_s, provider_key, record_key
from p2pcpn.protocol.operations import PutDone
from p2pcpn.protocol.publishing import Publishing
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.statements import ProviderRecord, Record, read
from tests.unit.protocol.dhts import WALL, Network, swarm

ME = Keypair(bytes(31) + b"\x07")
NAME = b"a blob's digest"
KEY = provider_key(NAME)
HERE = contact(ME.id, ("10.0.0.9", 4000))


def publishing() -> tuple[Network, list[Contact], Publishing]:
    """In a swarm of six; the peer's node key is ``ME``, the second peer's DHT is the one it speaks through."""
    net, contacts = swarm(6)
    dht = net.peers[contacts[1].address]
    return net, contacts, Publishing(ME, lambda: HERE, dht, net.wall, net.rng)


def found(net: Network, contacts: list[Contact]) -> tuple[ProviderRecord, ...]:
    it = contacts[4]
    net.perform(it, net.peers[it.address].get_providers(KEY, 4, net.now, net.wall()))
    done = net.wait(it, ProvidersDone)
    assert isinstance(done, ProvidersDone)
    return done.records


def test_what_ends_while_it_is_said_again_is_said_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    net, _, ours = publishing()
    ours.provide(NAME, net.now, retention_s=1.0)
    times = iter(WALL + 1.0 + step for step in (-1e-6, 1e-6, 1e-6, 1e-6))
    monkeypatch.setattr(ours, "_wall", lambda: next(times))
    ours._turns.set(NAME, net.now)
    assert ours.expire(net.now), "the clock is read once"


def test_versions_follow_the_clock_and_never_stand_still() -> None:
    net, contacts, ours = publishing()
    seqs = []
    for _ in range(3):
        net.perform(contacts[1], ours.put_record(b"salt", b"value", 60.0, ME, 1, net.now))
        done = net.wait(contacts[1], PutDone)
        assert isinstance(done, PutDone) and done.key == record_key(ME.public, b"salt") and done.copies >= 5
        seqs.append(done.seq)
        net.now -= 10.0  # the wall clock is put back
    assert seqs[0] >= int(WALL * 1000) and seqs == [seqs[0], seqs[0] + 1, seqs[0] + 2]


def test_no_version_ends_before_the_one_that_it_replaces_and_could_come_back_then() -> None:
    net, contacts, ours = publishing()
    key = record_key(ME.public, b"salt")
    ends = []
    for value, retention_s in ((b"long", 3000.0), (b"short", 60.0), (b"longer", 9000.0)):
        net.perform(contacts[1], ours.put_record(b"salt", value, retention_s, ME, 1, net.now))
        net.wait(contacts[1], PutDone)
        signed = net.peers[contacts[1].address].records.get(key, net.wall())
        assert signed is not None
        record = read(signed, Record)
        assert record.value == value
        ends.append(expires_s(record) - WALL)
    assert 3000.0 <= ends[0] < 3100.0 and ends[1] == pytest.approx(ends[0]) and ends[2] >= 9000.0


def test_who_provides_is_found_with_its_value_until_it_withdraws() -> None:
    net, contacts, ours = publishing()
    net.perform(contacts[1], ours.provide(NAME, net.now, value=b"whole", ticket=3))
    assert isinstance(net.wait(contacts[1], PutDone), PutDone)
    [record] = found(net, contacts)
    assert (record.contact, record.value, record.retention_s) == (HERE, b"whole", limits.PROVIDER_RETENTION_S)
    net.perform(contacts[2], net.peers[contacts[2].address].get_providers(KEY, 4, net.now, net.wall()))
    net.perform(contacts[1], ours.withdraw(NAME, net.now))
    net.run(net.now + 5.0)
    assert found(net, contacts) == ()
    assert (len(ours), ours.deadline(), ours.withdraw(NAME, net.now)) == (0, None, [])


def test_what_is_provided_is_said_anew_each_hour_until_its_end() -> None:
    net, contacts, ours = publishing()
    net.perform(contacts[1], ours.provide(NAME, net.now, retention_s=1.5 * limits.REFRESH_S))
    net.run(net.now + 5.0)
    [first] = found(net, contacts)
    due_s = ours.deadline()
    assert due_s is not None
    net.run(due_s)
    assert ours.expire(net.now - 1) == []
    net.perform(contacts[1], ours.expire(net.now))
    net.run(net.now + 5.0)
    [second] = found(net, contacts)
    assert second.seq > first.seq and second.created_s > first.created_s
    assert second.created_s + second.retention_s == pytest.approx(first.created_s + first.retention_s)
    net.run((ours.deadline() or 0.0) + 1.0)
    assert (ours.expire(net.now), len(ours)) == ([], 0)
    assert found(net, contacts) == ()


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda ours: ours.provide(b"another", 0.0), "already"),
        (lambda ours: ours.provide(NAME, 0.0, value=bytes(65)), "65 bytes"),
    ],
)
def test_too_much_is_our_callers_mistake(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[Publishing], object], why: str
) -> None:
    monkeypatch.setattr(limits, "PROVIDED_MAX", 1)
    net, _, ours = publishing()
    ours.provide(NAME, net.now)
    with pytest.raises(UsageError, match=why):
        act(ours)


def test_versions_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUBLISHED_RECORDS_MAX", 1)
    monkeypatch.setattr(limits, "PROVIDED_MAX", 1)
    net, _, ours = publishing()
    for number in range(5):
        ours.put_record(bytes([number]), b"", 60.0, ME, 1, net.now)
    assert len(ours._said) == 2
    assert ours.find(NAME, 1, net.now)
