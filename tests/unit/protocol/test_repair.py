"""Repair: the number of copies is restored after deaths and joins, without a coordinator, and surplus is dropped."""

from __future__ import annotations

import random

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.handing_over import HandedOver
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.repair import HEIRS, SETTLING_S, Repair
from p2pcpn.protocol.storage import Storage
from p2pcpn.protocol.table import RoutingTable, distance
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.statements import Record, signed
from tests.unit.protocol.dhts import KEY, OWNER, WALL, Network, by_address, provide, provider, record, swarm

COPIES = limits.RECORD_COPIES
SALTS = [bytes([number]) for number in range(20)]
KEYS = [record_key(OWNER.public, salt) for salt in SALTS]


def filled(count: int, seed: int = 1) -> tuple[Network, list[Contact]]:
    """A swarm that settled, with twenty records in it."""
    net, contacts = swarm(count, seed)
    net.run(net.now + SETTLING_S)
    for number, salt in enumerate(SALTS):
        net.put(contacts[number % count], record(salt=salt))
    return net, contacts


def nearest(net: Network, key: bytes) -> set[bytes]:
    """Who should hold ``key``."""
    return set(sorted((it.own for it in net.peers.values()), key=lambda own: distance(own, key))[:COPIES])


def holders(net: Network, key: bytes) -> set[bytes]:
    return {it.id for it in net.holders(key)}


def missing(net: Network) -> int:
    return sum(len(nearest(net, key) - holders(net, key)) for key in KEYS)


def surplus(net: Network) -> int:
    return sum(len(holders(net, key) - nearest(net, key)) for key in KEYS)


def gone(net: Network, it: Contact) -> None:
    """Stop ``it``; its neighbours find out."""
    del net.peers[it.address]
    for address, peer in list(net.peers.items()):
        if it.id in peer.table:
            net.perform(contact(peer.own, address), peer.failed(it, net.now))


@pytest.mark.parametrize("seed", [1, 2])
def test_when_holders_die_the_survivors_restore_the_copies_within_a_minute(seed: int) -> None:
    net, _contacts = filled(30, seed)
    for it in net.holders(KEYS[0])[:2]:
        gone(net, it)
    assert missing(net) > 2
    net.run(net.now + 60.0)
    assert missing(net) == 0


def test_provider_records_are_repaired_like_records() -> None:
    net, contacts = filled(20)
    for number in range(1, 12):
        provide(net, contacts[3], provider(number))
    dead = net.holders(KEY)  # none: these are records
    assert not dead
    held = [it for it in contacts if KEY in net.peers[it.address].storage]
    assert len(held) == COPIES
    for it in held[:3]:
        gone(net, it)
    net.run(net.now + 60.0)
    for own in nearest(net, KEY):
        peer = next(peer for peer in net.peers.values() if peer.own == own)
        assert peer.storage.providers.statistics()["providers"] == 11


def test_a_join_moves_the_keys_of_its_place_and_no_others() -> None:
    net, contacts = filled(24)
    assert missing(net) == surplus(net) == 0
    newcomer = net.add()
    net.perform(newcomer, net.peers[newcomer.address].bootstrap([contact(bytes(20), contacts[0].address)], net.now))
    net.run(net.now + 60.0)
    due = {key for key in KEYS if newcomer.id in nearest(net, key)}
    assert 0 < len(due) < len(KEYS)
    assert {key for key in KEYS if newcomer.id in holders(net, key)} == due
    assert surplus(net) == len(due)  # whom it displaced
    net.run(net.now + 3 * 1.2 * limits.SURPLUS_S)
    assert (missing(net), surplus(net)) == (0, 0)


def test_a_holder_that_comes_back_has_the_newest_and_its_stand_in_drops_the_surplus() -> None:
    net, contacts = filled(12)
    away = net.holders(KEYS[0])[0]
    asleep = net.peers[away.address]
    gone(net, away)
    net.run(net.now + 60.0)
    assert missing(net) == 0
    writer = next(it for it in contacts if it != away and it.address in net.peers)
    net.put(writer, record(seq=2, salt=SALTS[0], value=b"newer"))
    net.peers[away.address] = asleep
    net.perform(away, asleep.find(away.id, 9, net.now))
    net.run(net.now + 60.0)
    assert missing(net) == 0
    assert asleep.records.get(KEYS[0], net.wall()) == record(seq=2, salt=SALTS[0], value=b"newer")
    assert surplus(net) > 0
    # The writer is such a stand-in itself; where its hourly put finds one of the others late it keeps a copy once more.
    net.run(net.now + 1.2 * limits.REFRESH_S + 4 * 1.5 * limits.SURPLUS_S)
    assert (missing(net), surplus(net)) == (0, 0)


def _of_networks(nearest: list[Contact], copies: int) -> list[Contact]:
    """So many of ``nearest``, of as many networks as are asked for."""
    wanted = min(copies, limits.RECORD_COPIES_MIN)
    firsts = list({it.host[2] % 6: it for it in nearest}.values())[:wanted]
    return firsts + [it for it in nearest if it not in firsts][: copies - wanted]


def bare(others: int, held: int = 1, copies: int = COPIES) -> tuple[Repair, Storage, RoutingTable, list[Contact]]:
    rng = random.Random(5)
    own = rng.randbytes(20)
    table, storage = RoutingTable(own, by_address, rng, 0.0), Storage(own, rng, copies=copies)
    contacts = [contact(rng.randbytes(20), (f"10.0.{number}.1", 4000)) for number in range(others)]
    for it in contacts:
        table.heard(it, 0.0)
    for number in range(held):
        item = signed(Record(b"%d" % number, 1, WALL, 1e6, b""), Keypair(bytes(31) + b"\x05"))
        storage.records.keep(item, None, "group", 0.0, WALL)
    repair = Repair(own, table, storage, rng, 0.0, lambda node: False, lambda it: it.host[2] % 6)
    return repair, storage, table, contacts


def test_nobody_is_a_newcomer_while_we_are_one_and_nothing_held_is_nothing_to_repair() -> None:
    repair, *_ = bare(3)
    repair.joined(b"n" * 20, SETTLING_S - 1)
    assert repair.deadline() is None
    repair.joined(b"n" * 20, SETTLING_S)
    assert repair.deadline() == SETTLING_S + limits.REPAIR_WAIT_S
    empty, *_ = bare(3, held=0)
    empty.died(b"n" * 20, 50.0)
    assert empty.deadline() is None


def test_many_keys_are_looked_at_a_few_at_a_time() -> None:
    repair, storage, table, contacts = bare(7, held=3 * limits.REPAIR_KEYS)
    table.remove(contacts[0].id)
    repair.died(contacts[0].id, 50.0)
    now, steps = 50.0, 0
    while (due_s := repair.deadline()) is not None:
        now, steps = max(now, due_s), steps + 1
        assert repair.expire(now) == []
        assert repair.statistics()["repairing"] <= 2 * limits.REPAIR_KEYS
    assert steps == 3
    assert storage.deadline() is not None and storage.deadline() < now + (COPIES + 1) * limits.REPAIR_RANK_S  # type: ignore[operator]


def test_who_finds_a_holder_dead_gives_its_key_to_whom_the_table_names_in_its_place() -> None:
    repair, storage, table, contacts = bare(20, held=5)
    dead = sorted(contacts, key=lambda it: distance(it.id, repair._own))[:2]
    order = {
        key: sorted([*(it.id for it in contacts), repair._own], key=lambda node: distance(node, key))
        for key in storage.held()
    }
    for it in dead:
        table.remove(it.id)
        repair.died(it.id, 50.0)
    now, moved = 50.0, []
    while (due_s := repair.deadline()) is not None:
        now = max(now, due_s)
        moved += [(key, it.id) for key, it in repair.expire(now)]
    due = []
    for key, nodes in order.items():
        living = [node for node in nodes if node not in {it.id for it in dead}][:COPIES]
        due += [(key, node) for node in living if node not in nodes[:COPIES] and node != repair._own]
    assert due and sorted(moved) == sorted(due)
    assert storage.turn(now + limits.REFRESH_S / 2, WALL) is None


def test_where_one_that_stores_nothing_has_the_place_of_a_dead_holder_the_next_is_given_the_key() -> None:
    net, contacts = filled(24)
    (key,) = KEYS[:1]
    order = sorted(contacts, key=lambda it: distance(it.id, key))
    net.peers[order[COPIES].address].storage.stores(False, net.now)
    gone(net, order[0])
    net.run(net.now + 60.0)
    assert holders(net, key) >= {it.id for it in [*order[1:COPIES], order[COPIES + 1]]}


def test_what_a_join_moves_goes_at_a_bounded_rate() -> None:
    repair, storage, table, _contacts = bare(0, held=200)
    newcomer = contact(b"n" * 20, ("10.0.0.1", 4000))
    table.heard(newcomer, 50.0)
    repair.joined(newcomer.id, 50.0)
    now, moved = 50.0, []
    while (due_s := repair.deadline()) is not None:
        now = max(now, due_s)
        moved += [(now, move) for move in repair.expire(now)]
    assert {move for _, move in moved} == {(key, newcomer) for key in storage.held()}
    first = moved[0][0]
    assert sum(at < first + 1.0 for at, _ in moved) <= 2 * limits.MOVES_PER_S + 1
    assert now - first >= 200 / limits.MOVES_PER_S - 1.1


def test_a_copy_is_surplus_only_when_enough_networks_hold_it_for_a_while() -> None:
    repair, _, _, contacts = bare(12)
    key = b"k" * 20
    assert not repair.is_surplus(key, contacts[:7], 0.0)
    one_network = [contacts[0], contacts[6]] * 4
    assert not repair.is_surplus(key, one_network, 0.0)
    assert not repair.is_surplus(key, one_network, limits.SURPLUS_S * 2)
    assert not repair.watches(key)
    assert not repair.is_surplus(key, contacts[:8], 0.0)
    assert repair.watches(key)
    repair.is_needed(key)
    assert not repair.is_surplus(key, contacts[:8], limits.SURPLUS_S)
    assert repair.is_surplus(key, contacts[:8], 2 * limits.SURPLUS_S)


@pytest.mark.parametrize("copies", [1, 3, COPIES])
def test_as_many_copies_are_kept_as_the_peer_is_told_to(copies: int) -> None:
    repair, storage, table, _ = bare(14, copies=copies)
    (key,) = storage.held()
    nearest = table.nearest(key, 14)
    assert not repair.is_surplus(key, nearest[: copies - 1], 0.0)
    enough = [nearest[0]] if copies == 1 else _of_networks(nearest, copies)
    assert not repair.is_surplus(key, enough, 0.0)
    assert repair.is_surplus(key, enough, limits.SURPLUS_S)
    ((_, heirs),) = repair.heirs()
    assert heirs[-1] == nearest[copies - 1] and len(heirs) == HEIRS


def test_each_key_has_an_heir_who_is_the_last_of_its_nearest() -> None:
    repair, _storage, _table, contacts = bare(20, held=5)
    for key, heirs in repair.heirs():
        order = sorted(contacts, key=lambda it: distance(it.id, key))
        assert heirs[::-1] == order[COPIES - 1 : COPIES + HEIRS - 1]
    assert len(repair.heirs()) == 5


def test_a_peer_that_leaves_hands_over_all_it_holds_before_it_goes() -> None:
    net, contacts = filled(24)
    for it in contacts[5:8]:
        peer = net.peers[it.address]
        net.perform(it, peer.hand_over(net.now, net.wall()))
        done = net.wait(it, HandedOver, 5.0)
        assert isinstance(done, HandedOver) and done.left == 0 and done.given > 0
        assert peer.storage.storing is False
        net.peers.pop(it.address)
        assert missing(net) == 0
        net.peers[it.address] = peer
        gone(net, it)  # it says goodbye


def test_who_vanished_or_refuses_is_no_heir_and_where_nobody_answers_nobody_waits() -> None:
    net, contacts = filled(24)
    it = contacts[5]
    key = next(key for key in KEYS if it.id in holders(net, key))
    first = sorted((peer for peer in contacts if peer != it), key=lambda peer: distance(peer.id, key))[COPIES - 1]
    net.peers.pop(first.address)  # in silence
    net.perform(it, net.peers[it.address].hand_over(net.now, net.wall()))
    done = net.wait(it, HandedOver, 5.0)
    assert isinstance(done, HandedOver) and done.left == 0
    last = contacts[6]
    alone = net.peers[last.address]
    net.peers = {last.address: alone}
    before_s = net.now
    net.perform(last, alone.hand_over(net.now, net.wall()))
    done = net.wait(last, HandedOver, 5.0)
    assert isinstance(done, HandedOver) and done.given == 0 and done.left > 0
    assert net.now - before_s <= limits.HANDOVER_SILENT_S + 0.001
