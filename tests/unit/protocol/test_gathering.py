"""Gathering: those that most holders name come first, and what one holder invents comes last or not at all."""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.gathering import Gathering
from p2pcpn.protocol.lookup import Lookup
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.datagrams import Ack, GetProviders, Providers
from p2pcpn.wire.statements import ProviderRecord, Signed, signed
from tests.unit.protocol.dhts import KEY, WALL, by_address, provider

OWN = b"\xff" * 20


def holder(number: int) -> Contact:
    return contact(bytes(KEY[:19]) + bytes([KEY[19] ^ number]), (f"10.1.{number}.1", 4000))


def gathering(holders: int, wanted: int = 16, held: list[Signed] | None = None) -> Gathering:
    it = Gathering(KEY, held or [], wanted, WALL, 1, lambda address: by_address(address)[0].rsplit(".", 1)[0])
    it.begin(Lookup(OWN, KEY, [holder(number) for number in range(1, holders + 1)]))
    return it


def told(it: Gathering, told_by: dict[int, list[Signed]], page: int = 4) -> list[tuple[int, int]]:
    """Answer everything that is asked, in pages; returns (holder, skip) of each question."""
    asked = []
    while not it.done:
        asks = it.asks()
        assert asks
        for to, make in asks:
            question = make(1)
            assert isinstance(question, GetProviders) and question.key == KEY
            number = to.id[19] ^ KEY[19]
            asked.append((number, question.skip))
            left = told_by.get(number, [])[question.skip :]
            it.answered(to, Providers(1, left[:page], len(left) - len(left[:page]), []), WALL)
    return asked


def numbers(it: Gathering) -> list[int]:
    records, _ = it.providers()
    return [record.contact.host[3] for record in records]


def test_pages_are_asked_for_until_enough_are_known() -> None:
    entries = [provider(number) for number in range(1, 11)]
    it = gathering(1, wanted=20)
    assert told(it, {1: entries}) == [(1, 0), (1, 4), (1, 8)]
    assert sorted(numbers(it)) == list(range(1, 11))
    few = gathering(1, wanted=3)
    assert told(few, {1: entries}) == [(1, 0)]
    assert len(numbers(few)) == 3


def test_what_most_holders_name_comes_first() -> None:
    honest = [provider(number) for number in range(1, 5)]
    invented = [provider(number) for number in range(100, 160)]
    it = gathering(5, wanted=4)
    told(it, {1: [*invented], 2: honest, 3: honest, 4: honest, 5: honest}, page=6)
    assert sorted(numbers(it)) == [1, 2, 3, 4]
    assert it.providers()[1] == 5


def test_each_network_has_its_best_before_any_has_a_second() -> None:
    keys = [Keypair((number + 1000).to_bytes(32, "big")) for number in range(4)]
    crowd = [
        signed(ProviderRecord(KEY, 1, WALL + 50 + n, 600.0, contact(key.id, (f"10.7.7.{n}", 1))), key)
        for n, key in enumerate(keys)
    ]
    lone = signed(ProviderRecord(KEY, 1, WALL, 600.0, contact(keys[0].id, ("10.8.8.9", 1))), keys[0])
    it = gathering(1, wanted=2, held=[])
    told(it, {1: [*crowd[1:], lone]})
    assert sorted(numbers(it)) == [3, 9]


def test_a_forged_version_hides_neither_the_honest_one_nor_costs_it_its_place() -> None:
    good, newer = provider(1), provider(1, seq=9)
    lie = Signed(newer.kind, newer.body, newer.key, bytes(64))
    same = Signed(good.kind, good.body, good.key, bytes(64))
    it = gathering(3, wanted=1)
    told(it, {1: [lie, same, provider(2)], 2: [good], 3: [good]})
    assert numbers(it) == [1]


def test_holders_that_invent_versions_of_a_provider_do_not_use_up_all_checks() -> None:
    good = [provider(number) for number in range(1, 5)]

    def forged(liar: int) -> list[Signed]:
        newer = [provider(1 + number % 4, seq=10**12 + number) for number in range(64)]
        return [Signed(it.kind, it.body, it.key, bytes([liar, n]) * 32) for n, it in enumerate(newer)]

    it = gathering(20)
    told(it, {number: forged(number) if number <= 4 else good for number in range(1, 21)}, page=6)
    assert sorted(numbers(it)) == [1, 2, 3, 4]


def test_the_newest_word_of_a_provider_counts_also_that_it_is_one_no_more() -> None:
    key = Keypair((1).to_bytes(32, "big"))
    gone = signed(ProviderRecord(KEY, 2, WALL, 60.0, Contact(key.id, bytes([10, 9, 0, 1]), 0)), key)
    it = gathering(2)
    told(it, {1: [provider(1), provider(2)], 2: [gone]})
    assert numbers(it) == [2]


def test_what_belongs_to_another_key_or_is_no_provider_record_is_left_out() -> None:
    it = gathering(1, held=[provider(3)])
    told(it, {1: [provider(1, b"x" * 20), Signed(15, b"\xff", bytes(32), bytes(64)), provider(2)]})
    assert sorted(numbers(it)) == [2, 3]


def test_silent_holders_and_foreign_answers_hold_nothing_up() -> None:
    it = gathering(3)
    asks = it.asks()
    for to, _ in asks:
        it.answered(to, Ack(1, 0), WALL)
    assert not it.done
    it.answered(asks[0][0], Providers(1, [provider(1)], 5, []), WALL)
    [(to, make)] = it.asks()
    assert make(2) == GetProviders(2, KEY, 1)
    it.late(to)
    it.failed(to)
    for to, _ in asks[1:]:
        it.failed(to)
    assert it.done and numbers(it) == [1]


def test_what_is_remembered_is_bounded() -> None:
    it = gathering(1, wanted=64)
    entries = [provider(number) for number in range(1, 65)]
    told(it, {1: entries * 40}, page=6)
    assert len(it._heard) <= limits.PROVIDERS_PER_KEY_MAX
