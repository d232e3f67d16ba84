"""The DHT over a virtual network: what is put is found, with loss, with the dead, and with liars among the holders."""

from __future__ import annotations

import random

import pytest

from p2pcpn import limits
from p2pcpn.errors import UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.dead import DeadPeers
from p2pcpn.protocol.dht import BootstrapFailed, Dht, Joined
from p2pcpn.protocol.effects import Commit, Notify, Send
from p2pcpn.protocol.holding import OURS
from p2pcpn.protocol.items import content_key, record_key
from p2pcpn.protocol.operations import ContentDone, GetDone, LookupDone, PutDone
from p2pcpn.protocol.published import PUBLISH_AGAIN_S
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.protocol.roundtrip import RoundTrips
from p2pcpn.protocol.table import distance
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import CODEC, Find, Get, Put, StoreCode, Stored, Value
from p2pcpn.wire.statements import ProviderRecord, Signed, signed
from tests.unit.protocol.dhts import KEY, OWNER, WALL, Network, by_address, provide, provider, providers, record, swarm


def test_every_peer_joins_and_a_lookup_finds_the_nearest_of_all() -> None:
    net, contacts = swarm(40)
    for it in contacts[1:]:
        assert isinstance(net.wait(it, Joined), Joined)
    target = b"\x77" * 20
    net.perform(contacts[7], net.peers[contacts[7].address].find(target, 5, net.now))
    done = net.wait(contacts[7], LookupDone)
    others = sorted((it for it in contacts if it != contacts[7]), key=lambda it: distance(it.id, target))
    assert done == LookupDone(5, target, tuple(others[:20]))


@pytest.mark.parametrize("seed", [1, 2])
def test_at_ten_percent_loss_every_record_is_found(seed: int) -> None:
    net, contacts = swarm(40, seed, loss=0.1)
    for number in range(25):
        done = net.put(contacts[number], record(salt=bytes([number])))
        assert done.code == StoreCode.KEPT
        assert done.copies >= limits.RECORD_COPIES
    for number in range(25):
        key = record_key(OWNER.public, bytes([number]))
        assert net.get(contacts[39 - number], key).signed == record(salt=bytes([number]))


def test_records_outlive_the_death_of_half_the_peers_and_reads_stay_quick() -> None:
    net, contacts = swarm(40, loss=0.02)
    for number in range(10):
        net.put(contacts[number], record(salt=bytes([number])))
    for it in contacts[20:]:
        del net.peers[it.address]
    took_s = []
    for number in range(10):
        before_s = net.now
        key = record_key(OWNER.public, bytes([number]))
        assert net.get(contacts[19 - number], key).signed == record(salt=bytes([number]))
        took_s.append(net.now - before_s)
    assert sorted(took_s)[5] < 1.0
    assert max(took_s) < 5.0


def test_the_newest_version_wins_and_stale_holders_are_repaired() -> None:
    net, contacts = swarm(12)
    net.put(contacts[1], record(seq=1))
    away = {it.address: net.peers.pop(it.address) for it in net.holders(KEY)[:3] if it not in contacts[1:3]}
    done = net.put(contacts[1], record(seq=2, value=b"new"))
    assert done.code == StoreCode.KEPT
    net.peers.update(away)
    for it in net.peers.values():
        it.table.dead = DeadPeers()
    found = net.get(contacts[2], KEY)
    assert found.record is not None
    assert found.record.seq == 2
    net.run(net.now + 5.0)
    versions = [net.peers[it.address].records.get(KEY, net.wall()) for it in net.holders(KEY)]
    assert versions.count(record(seq=2, value=b"new")) >= limits.RECORD_COPIES
    assert net.put(contacts[3], record(seq=1)).code == StoreCode.OLDER


def test_a_record_that_nobody_put_is_not_found() -> None:
    net, contacts = swarm(6)
    assert net.get(contacts[3], KEY) == GetDone(2, KEY, None, None)


def test_cas_refuses_to_replace_another_version_than_the_one_named() -> None:
    net, contacts = swarm(6)
    net.put(contacts[1], record(seq=3))
    done = net.put(contacts[2], record(seq=4), cas=2)
    assert (done.code, done.seq, done.copies) == (StoreCode.CAS, 3, 0)
    assert net.put(contacts[2], record(seq=4), cas=3).code == StoreCode.KEPT


def test_peers_without_storage_are_passed_over_and_not_asked_twice() -> None:
    net = Network()
    contacts = [net.add(storage=number % 2 == 0) for number in range(12)]
    for it in contacts[1:]:
        net.perform(it, net.peers[it.address].bootstrap([contact(ANYBODY, contacts[0].address)], net.now))
    net.run(5.0)
    done = net.put(contacts[1], record())
    assert done.copies == 6
    assert net.holders(KEY) == contacts[::2]
    before = net.sent
    net.put(contacts[1], record(seq=2), copies=6)
    assert net.sent - before < 2 * 12 + 2 * 7


def test_an_own_copy_is_counted_only_when_it_is_durable() -> None:
    net = Network()
    it = net.add()
    assert net.put(it, record()) == PutDone(1, KEY, (), True, StoreCode.KEPT, 1)
    assert net.get(it, KEY).signed == record()
    net.disk_works = False
    assert net.put(it, record(seq=2)).own_copy is False


def test_a_record_that_nobody_would_keep_is_our_callers_mistake() -> None:
    net = Network()
    it = net.add()
    with pytest.raises(UsageError, match="no peer would keep"):
        net.put(it, record(retention_s=limits.RECORD_RETENTION_S_MAX * 2))


def test_records_are_passed_on_to_peers_that_joined_later() -> None:
    net, contacts = swarm(4)
    net.put(contacts[1], record())
    first = net.holders(KEY)
    assert len(first) == 4
    newcomers = [net.add() for _ in range(6)]
    for it in newcomers:
        net.perform(it, net.peers[it.address].bootstrap([contact(ANYBODY, contacts[0].address)], net.now))
    net.run(net.now + 2.0 * limits.REFRESH_S)
    assert len(net.holders(KEY)) >= limits.RECORD_COPIES
    for it in first:
        del net.peers[it.address]
    assert net.get(newcomers[0], KEY).signed == record()


def test_what_the_disk_held_is_passed_on_after_a_restart() -> None:
    from p2pcpn.wire.pages import SIGNED

    net, contacts = swarm(5)
    row = (KEY, OWNER.public, 1, WALL + 1e6, SIGNED.encode(record()))
    assert net.peers[contacts[2].address].restore([row], net.now, net.wall()) == 1
    net.run(net.now + 1.5 * limits.REFRESH_S)
    assert len(net.holders(KEY)) == 5


def test_who_stores_no_more_passes_on_what_it_alone_holds_and_lets_go_of_it_only_then() -> None:
    net, contacts = swarm(5)
    alone = net.peers[contacts[2].address]
    assert alone.records.keep(record(), None, OURS, net.now, net.wall())[0] == StoreCode.KEPT
    queue = [net.peers.pop(it.address) for it in contacts if it != contacts[2]]
    alone.storage.stores(False, net.now)
    net.run(net.now + 20.0)
    assert net.holders(KEY) == [contacts[2]], "there is nobody to give it to"
    for it, back in zip([it for it in contacts if it != contacts[2]], queue, strict=True):
        net.peers[it.address] = back
        net.perform(contacts[2], alone.heard(it, net.now))
    alone.storage.stores(False, net.now)
    net.run(net.now + 20.0)
    assert {it.id for it in net.holders(KEY)} == {it.id for it in contacts} - {contacts[2].id}


def test_a_holder_of_an_old_version_adopts_the_newer_one_it_meets() -> None:
    net, contacts = swarm(5)
    net.put(contacts[1], record(seq=2))
    stale = net.peers[contacts[3].address]
    stale.records.drop(KEY)
    stale.records.keep(record(seq=1), None, OURS, net.now, net.wall())
    net.run(net.now + 1.5 * limits.REFRESH_S)
    assert stale.records.get(KEY, net.wall()) == record(seq=2)


def test_a_program_that_wrote_a_record_puts_it_again_each_hour_until_it_expires() -> None:
    net = Network()
    client = net.add(storage=False)
    assert net.put(client, record(retention_s=9000.0)).copies == 0
    holder = net.add()
    net.perform(client, net.peers[client.address].heard(holder, net.now))
    net.run(net.now + 1.5 * limits.REFRESH_S)
    assert net.holders(KEY) == [holder]
    net.run(net.now + 5 * limits.REFRESH_S)
    assert net.holders(KEY) == []
    assert not len(net.peers[client.address].published)


def test_a_record_that_nobody_took_is_put_again_soon_and_then_each_hour() -> None:
    net = Network()
    client = net.add(storage=False)
    assert net.put(client, record()).copies == 0
    holder = net.add()
    net.perform(client, net.peers[client.address].heard(holder, net.now))
    net.run(net.now + 1.5 * PUBLISH_AGAIN_S)
    assert net.holders(KEY) == [holder]
    due_s = net.peers[client.address].published.deadline()
    assert due_s is not None and due_s > net.now + limits.REFRESH_S / 2


def test_a_peer_that_started_alone_finds_the_swarm_when_it_appears() -> None:
    net = Network()
    alone = net.add()
    later = contact(ANYBODY, ("10.0.0.1", 1001))
    net.perform(alone, net.peers[alone.address].bootstrap([later], 0.0))
    failed = net.wait(alone, BootstrapFailed)
    assert failed == BootstrapFailed((later,), 2.0)
    again = net.wait(alone, BootstrapFailed)
    assert again == BootstrapFailed((later,), 4.0)
    other = net.add()
    assert net.wait(alone, Joined, 200.0) == Joined(1)
    assert net.peers[other.address].table.contacts() == [alone]


def test_a_bootstrap_that_is_ourselves_is_no_way_into_the_swarm() -> None:
    net = Network()
    it = net.add()
    net.perform(it, net.peers[it.address].bootstrap([contact(ANYBODY, it.address)], 0.0))
    assert isinstance(net.wait(it, BootstrapFailed), BootstrapFailed)


def test_a_peer_that_lost_everybody_asks_its_bootstraps_again() -> None:
    net, contacts = swarm(3)
    it = net.peers[contacts[1].address]
    it.table.heard(contacts[0], net.now)
    for other in (contacts[0], contacts[2]):
        effects = it.failed(other, net.now)
    assert [effect.to.id for effect in effects if isinstance(effect, Send)] == [ANYBODY]
    net.events[contacts[1].address].clear()
    net.perform(contacts[1], effects)
    assert isinstance(net.wait(contacts[1], Joined), Joined)


def test_a_full_bucket_pings_its_longest_silent_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Dht(bytes(20), random.Random(1), by_address, RoundTrips(), 0.0, k=1)
    first, second = (contact(bytes([0x80, number]) * 10, ("10.0.0.1", 1 + number)) for number in range(2))
    it.heard(first, 0.0)
    it.expire(10.0, WALL)
    it.heard(first, 10.0)
    effects = it.heard(second, 100.0)
    assert [effect.to for effect in effects if isinstance(effect, Send)] == [first]
    monkeypatch.setattr(limits, "REQUESTS_MAX", 0)
    it.heard(first, 101.0)
    assert it.heard(second, 300.0) == []  # as much as may be asked is asked already


def test_a_value_brings_as_many_contacts_as_fit_beside_it() -> None:
    net, contacts = swarm(25)
    it = net.peers[contacts[0].address]
    for number in range(25):
        it.table.heard(contact(b"6" + net.rng.randbytes(19), (f"2001:db8::{number}", 4000)), net.now)
    big = record(value=bytes(limits.RECORD_VALUE_BYTES_MAX))
    it.records.keep(big, None, OURS, net.now, net.wall())
    for message, least in ((Get(1, KEY, 0), 3), (Get(1, KEY, 2), 20), (Get(1, b"k" * 20, 0), 20)):
        sends = [
            effect
            for effect in it.receive(contacts[1], message, net.now, net.wall())
            if isinstance(effect, Send) and isinstance(effect.message, Value)
        ]
        reply = sends[0].message
        assert isinstance(reply, Value)
        assert len(CODEC.encode(reply)) <= limits.BODY_BYTES_MAX
        assert len(reply.contacts) >= least
        assert (reply.record == big) == (least == 3)


def test_more_operations_than_may_run_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    net, contacts = swarm(6)
    it = net.peers[contacts[1].address]
    for number in range(200):
        net.perform(contacts[1], it.find(bytes([number]) * 20, number, net.now))
    assert it.statistics()["operations"] == 200
    monkeypatch.setattr(limits, "OPERATIONS_WAITING_MAX", 10)
    with pytest.raises(UsageError, match="wait already"):
        it.find(bytes(20), 999, net.now)
    net.run(net.now + 10.0)
    tickets = [event.ticket for event in net.events[contacts[1].address] if isinstance(event, LookupDone)]
    assert sorted(tickets) == list(range(200))


def test_requests_beyond_the_bound_count_as_failed_and_end_the_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    net, contacts = swarm(6)
    it = net.peers[contacts[1].address]
    monkeypatch.setattr(it.requests, "_outstanding_max", 0)
    assert it.find(bytes(20), 1, net.now) == [Notify(LookupDone(1, bytes(20), ()))]


def test_replies_to_nothing_we_asked_change_nothing() -> None:
    net, contacts = swarm(3)
    it = net.peers[contacts[1].address]
    assert it.receive(contacts[2], Stored(1, 0, 0), net.now, net.wall()) == []
    assert it.receive(contacts[2], Value(1, record(), []), net.now, net.wall()) == []
    assert KEY not in it.records


def test_a_put_from_a_stranger_is_answered_by_the_rules_of_the_holder() -> None:
    it = Dht(bytes(20), random.Random(1), by_address, RoundTrips(), 0.0)
    stranger = contact(b"s" * 20, ("10.0.0.9", 4000))
    effects = it.receive(stranger, Put(7, record(), None), 0.0, WALL)
    [commit] = [effect for effect in effects if isinstance(effect, Commit)]
    assert commit.then == (Send(stranger, Stored(7, StoreCode.KEPT, 1)),)
    [join] = [effect for effect in effects if isinstance(effect, Send)]
    assert isinstance(join.message, Find)


def test_one_seed_gives_one_history() -> None:
    def history() -> list[tuple[float, int]]:
        net, contacts = swarm(10, seed=5, loss=0.1)
        net.put(contacts[3], record())
        net.get(contacts[4], KEY)
        return [(net.now, net.sent)]

    assert history() == history()


# --- many owners under one key ----------------------------------------------------------------------------------------


def test_all_who_provide_one_key_are_found_over_several_pages_at_a_tenth_lost() -> None:
    net, contacts = swarm(30, loss=0.1)
    for number in range(1, 26):
        assert provide(net, contacts[number], provider(number)).code == StoreCode.KEPT
    found = providers(net, contacts[29], 64)
    assert sorted(record.contact.host[3] for record in found.records) == list(range(1, 26))
    assert found.holders >= limits.RECORD_COPIES_MIN
    assert len(providers(net, contacts[29], 5).records) == 5


def test_a_provider_that_took_its_word_back_is_not_found() -> None:
    net, contacts = swarm(12)
    provide(net, contacts[1], provider(1))
    provide(net, contacts[2], provider(2))
    keys = Keypair((1).to_bytes(32, "big"))
    gone = ProviderRecord(KEY, 2, WALL, 7200.0, Contact(keys.id, bytes([10, 0, 0, 1]), 0))
    provide(net, contacts[1], signed(gone, keys))
    assert [record.contact.host[3] for record in providers(net, contacts[5]).records] == [2]
    assert providers(net, contacts[1]).holders >= limits.RECORD_COPIES_MIN
    with pytest.raises(UsageError, match="no peer would keep"):
        net.peers[contacts[1].address].provide(Signed(15, b"\xff", keys.public, bytes(64)), 1, 0.0, WALL)


def test_contents_are_found_by_their_hash_and_by_nothing_else() -> None:
    net, contacts = swarm(12)
    content = b"nobody's"
    dht = net.peers[contacts[1].address]
    net.perform(contacts[1], dht.put_content(content, 3600.0, 7, net.now, net.wall()))
    done = net.wait(contacts[1], PutDone)
    assert isinstance(done, PutDone) and done.copies == limits.RECORD_COPIES and done.key == content_key(content)
    for key, expected in ((done.key, content), (KEY, None)):
        net.perform(contacts[9], net.peers[contacts[9].address].get_content(key, 8, net.now, net.wall()))
        assert net.wait(contacts[9], ContentDone) == ContentDone(8, key, expected)
    for bad, retention_s in ((b"", 1.0), (bytes(limits.CONTENT_BYTES_MAX + 1), 1.0), (b"x", 1e9)):
        with pytest.raises(UsageError, match="content"):
            dht.put_content(bad, retention_s, 7, net.now, net.wall())


def test_a_get_in_a_small_swarm_asks_as_many_as_have_to_answer_and_one_of_them_who_else_there_is() -> None:
    net, contacts = swarm(12)
    net.run(net.now + 10.0)
    net.put(contacts[1], record())
    net.run(net.now + 1.0)
    reader = next(it for it in contacts if it not in net.holders(KEY))
    before = net.sent
    assert net.get(reader, KEY).signed == record()
    assert net.sent - before == 2 * limits.READ_PEERS


def test_a_peer_that_was_overlooked_is_found_where_the_others_have_nothing() -> None:
    net, contacts = swarm(6)
    net.run(net.now + 10.0)
    reader, hidden = net.peers[contacts[1].address], net.peers[contacts[4].address]
    hidden.records.keep(record(), None, OURS, net.now, net.wall())
    reader.table.remove(contacts[4].id)
    assert net.get(contacts[1], KEY).signed == record()
    assert contacts[4].id in reader.table


def test_so_many_peers_are_named_as_the_asker_wants() -> None:
    net, contacts = swarm(6)
    asked, asker = net.peers[contacts[2].address], contacts[1]
    for wanted, named in ((0, 0), (3, 3), (limits.CONTACTS_MAX, 4), (60_000, 4)):
        [said] = asked.receive(asker, Get(1, KEY, 0, wanted), net.now, net.wall())
        assert isinstance(said, Send) and isinstance(said.message, Value) and len(said.message.contacts) == named
