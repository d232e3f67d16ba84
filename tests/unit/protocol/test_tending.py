"""Holders watch each other: the nearest restores, the farthest lets go, and nobody does so twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.protocol.table import distance
from p2pcpn.protocol.tending import DRIVER_S, Check, Effect, Pace, Prove, Release, Replicate, SeekHolders, Tending
from p2pcpn.wire.addresses import Contact, contact

PACE = Pace(check_s=10.0, wait_s=20.0, hope_s=50.0)
NAME = bytes(32)
# By distance from the name.
FIRST, SECOND, THIRD, FOURTH = (contact(bytes([number]) * 20, ("127.0.0.1", 4000 + number)) for number in (1, 2, 3, 4))


def convinced(tending: Tending, now: float) -> list[Effect]:
    """What is to be done, once all who are asked to have shown a chunk."""
    effects = tending.expire(now)
    for effect in effects:
        if isinstance(effect, Prove):
            tending.shown(effect.name, effect.peer.id, now, right=True)
    rest = [effect for effect in effects if not isinstance(effect, Prove)]
    return rest + (convinced(tending, now) if len(rest) < len(effects) else [])


def holder(own: Contact, *others: Contact, replicas: int = 2) -> Tending:
    """One that keeps the section, as do these."""
    tending = Tending(own.id, PACE)
    tending.kept(NAME, replicas, 0.0)
    for other in others:
        tending.confirmed(other, [NAME], 0.0)
    assert [effect for effect in convinced(tending, 0.0) if not isinstance(effect, Check)] == []
    return tending


def test_holders_compare_now_and_then() -> None:
    tending = holder(FIRST, SECOND)
    assert tending.deadline() == PACE.check_s and tending.living(NAME) == [SECOND] == tending.holders(NAME)
    assert tending.expire(10.0) == [Check(SECOND, (NAME,))]
    assert tending.deadline() == 20.0


def test_a_death_is_looked_into_at_once_and_the_nearest_acts_first() -> None:
    for own, other, rank in ((FIRST, SECOND, 0), (SECOND, FIRST, 1)):
        tending = holder(own, other, THIRD, replicas=3)
        tending.lost(THIRD.id, 1.0)
        assert Check(THIRD, (NAME,)) in tending.expire(2.0)
        tending.unreachable(THIRD.id, 2.0)
        tending.unreachable(THIRD.id, 2.5)
        assert tending.expire(2.0) == []
        act_s = 2.0 + PACE.wait_s * (1 + rank)
        seen = [effect for effect in tending.expire(act_s - 0.1) if not isinstance(effect, Check)]
        assert seen == []
        assert SeekHolders(NAME) in tending.expire(act_s)
        assert SeekHolders(NAME) not in tending.expire(act_s + 1)  # it is being done
        tending.sought(NAME, [other], act_s + 2)
        assert Replicate(NAME, (other,), 1) in convinced(tending, act_s + 2)
        tending.replicated(NAME, [FOURTH], act_s + 3)
        assert all(isinstance(effect, Check) for effect in tending.expire(act_s + 500))
        assert THIRD not in tending.holders(NAME) and FOURTH in tending.living(NAME)


def test_who_looks_first_finds_that_another_has_acted() -> None:
    tending = holder(SECOND, FIRST)
    tending.unreachable(FIRST.id, 0.0)
    tending.expire(0.0)
    assert SeekHolders(NAME) in tending.expire(20.0)
    tending.sought(NAME, [THIRD], 21.0)
    assert Replicate not in [type(effect) for effect in convinced(tending, 21.0)]
    assert tending.living(NAME) == [THIRD]
    assert Replicate not in [type(effect) for effect in tending.expire(500.0)]


def test_where_nobody_takes_it_it_is_tried_again_later() -> None:
    tending = holder(FIRST)
    assert tending.expire(20.0) == [SeekHolders(NAME)]
    tending.sought(NAME, [], 20.0)
    assert tending.expire(20.0) == [Replicate(NAME, (), 1)]
    tending.replicated(NAME, [], 30.0)
    assert tending.expire(49.0) == []
    assert tending.expire(50.0) == [SeekHolders(NAME)]
    assert tending.expire(50.0 + DRIVER_S - 1) == []
    assert tending.expire(50.0 + DRIVER_S) == [SeekHolders(NAME)]  # the driver forgot it


def test_a_named_holder_is_hoped_for_and_not_for_ever() -> None:
    tending = Tending(FIRST.id, PACE)
    tending.kept(NAME, 2, 0.0)
    tending.learned(NAME, [FIRST, SECOND, SECOND], 0.0)
    assert tending.expire(0.0) == [] and tending.living(NAME) == [] and tending.short() == [(NAME, 2)]
    tending.expire(10.0)
    tending.lacks(SECOND.id, [NAME], 10.0)  # it is on its way there
    assert tending.holders(NAME) == [SECOND] and tending.expire(45.0) == [Check(SECOND, (NAME,))]
    tending.lacks(SECOND.id, [NAME], 51.0)
    assert tending.holders(NAME) == []
    assert SeekHolders(NAME) in tending.expire(51.0) + tending.expire(71.0)


def test_who_was_only_named_and_does_not_answer_is_asked_once() -> None:
    tending = holder(FIRST, SECOND)
    tending.learned(NAME, [THIRD], 1.0)
    assert Check(THIRD, (NAME,)) in tending.expire(11.0)
    tending.unreachable(THIRD.id, 12.0)
    assert tending.holders(NAME) == [SECOND]
    assert {effect.peer for effect in tending.expire(500.0) if isinstance(effect, Check)} == {SECOND}


def test_those_who_are_only_named_are_bounded_over_all_sections() -> None:
    tending = Tending(FIRST.id, PACE)
    names = [bytes([number]) * 32 for number in range(1, 2 + limits.NAMED_HOLDERS_MAX // limits.HOLDERS_MAX)]
    for at, name in enumerate(names):
        tending.kept(name, 2, 0.0)
        first = 1000 + at * limits.HOLDERS_MAX
        named = [contact(n.to_bytes(20, "big"), ("10.0.0.1", 22)) for n in range(first, first + limits.HOLDERS_MAX)]
        tending.learned(name, named, 0.0)
    assert sum(len(tending.holders(name)) for name in names) == limits.NAMED_HOLDERS_MAX
    tending.dropped(names[0])  # that makes room
    tending.learned(names[-1], [SECOND], 0.0)
    assert tending.holders(names[-1]) == [SECOND]


def test_the_farthest_lets_go_after_a_while_and_the_nearest_never() -> None:
    near = holder(SECOND, FIRST, THIRD)
    assert Release not in [type(effect) for effect in near.expire(500.0)]
    far = holder(THIRD, FIRST, SECOND)
    effects = far.expire(PACE.wait_s)
    assert Release(NAME, (FIRST, SECOND)) in effects
    far.kept_on(NAME, 21.0)
    assert Release not in [type(effect) for effect in far.expire(40.0)]
    assert Release(NAME, (FIRST, SECOND)) in far.expire(41.0)
    far.dropped(NAME)
    assert far.expire(1000.0) == [] and far.deadline() is None and far.holders(NAME) == [] == far.living(NAME)


def test_what_is_pinned_is_not_let_go_of() -> None:
    far = holder(THIRD, FIRST, SECOND)
    far.kept(NAME, 2, 1.0, pinned=True)
    assert Release not in [type(effect) for effect in far.expire(100.0)]


def test_who_comes_back_is_counted_again() -> None:
    tending = holder(FIRST, SECOND)
    tending.unreachable(SECOND.id, 0.0)
    assert tending.living(NAME) == [] and tending.short() == [(NAME, 2)]
    tending.confirmed(SECOND, [NAME], 5.0)
    assert tending.living(NAME) == [SECOND] and tending.expire(100.0) == [Check(SECOND, (NAME,))]
    assert tending.short() == [(NAME, 1)]


def test_others_words_are_bounded_and_of_what_is_not_here_nothing_is_noted() -> None:
    tending = Tending(FIRST.id, PACE)
    many = [contact(number.to_bytes(20, "big"), ("127.0.0.1", 4000)) for number in range(1, 100)]
    tending.learned(NAME, many, 0.0)
    tending.confirmed(SECOND, [NAME], 0.0)
    tending.lacks(SECOND.id, [NAME], 0.0)
    tending.unreachable(SECOND.id, 0.0)
    tending.lost(SECOND.id, 0.0)
    tending.sought(NAME, [], 0.0)
    tending.replicated(NAME, [], 0.0)
    tending.kept_on(NAME, 0.0)
    tending.dropped(NAME)
    assert tending.deadline() is None
    tending.kept(NAME, 2, 0.0)
    tending.learned(NAME, many, 0.0)
    tending.confirmed(FOURTH, [NAME], 0.0)
    assert len(tending.holders(NAME)) == limits.HOLDERS_MAX


def test_many_sections_are_compared_page_by_page() -> None:
    names = sorted(number.to_bytes(32, "big") for number in range(limits.COMPARED_MAX + 5))
    tending = Tending(FIRST.id, PACE)
    for name in names:
        tending.kept(name, 2, 0.0)
    tending.confirmed(SECOND, names, 0.0)
    pages = []
    for now in (10.0, 20.0, 30.0):
        pages += [effect.names for effect in tending.expire(now) if isinstance(effect, Check)]
    assert [len(page) for page in pages] == [limits.COMPARED_MAX, 5, limits.COMPARED_MAX]
    assert [*pages[0], *pages[1]] == names


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(1, 9), min_size=2, max_size=7), st.integers(1, 3), st.data())
def test_after_any_deaths_the_living_agree_on_enough_and_no_more(
    ids: set[int], replicas: int, data: st.DataObject
) -> None:
    """Holders in one world, driven by what they ask for; in the end as many keep it as are wanted, where there are.

    Liars say that they keep it, again and again, and never do.
    """
    peers = {number: contact(bytes([number]) * 20, ("127.0.0.1", 4000 + number)) for number in range(1, 10)}
    alive = dict.fromkeys(sorted(peers), True)
    machines = {number: Tending(peers[number].id, PACE) for number in peers}
    keeps = set(ids)
    numbers = {peer.id: number for number, peer in peers.items()}
    for number in sorted(keeps):
        machines[number].kept(NAME, replicas, 0.0)
        machines[number].learned(NAME, [peers[other] for other in sorted(keeps)], 0.0)
    liars = data.draw(st.sets(st.sampled_from(sorted(set(range(1, 10)) - ids)), max_size=2))
    died = data.draw(st.sets(st.sampled_from(sorted(keeps)), max_size=len(keeps) - 1))
    for number in died:
        alive[number] = False
    now = 0.0
    for turn in range(120):
        now += 5.0
        for number in sorted(keeps) if turn % 4 == 0 else []:
            machines[number].confirmed(peers[min(liars, default=number)], [NAME], now)
        for number in sorted(peers):
            if not alive[number]:
                continue
            machine = machines[number]
            for effect in machine.expire(now):
                if isinstance(effect, Check):
                    other = numbers[effect.peer.id]
                    if not alive[other]:
                        machine.unreachable(effect.peer.id, now)
                    elif other in keeps or other in liars:
                        machine.confirmed(effect.peer, [NAME], now)
                        machines[other].confirmed(peers[number], [NAME], now)
                    else:
                        machine.lacks(effect.peer.id, [NAME], now)
                elif isinstance(effect, Prove):
                    other = numbers[effect.peer.id]
                    machine.shown(NAME, effect.peer.id, now, right=alive[other] and other in keeps)
                elif isinstance(effect, SeekHolders):
                    machine.sought(NAME, [peers[n] for n in sorted(keeps | liars) if alive[n] and n != number], now)
                elif isinstance(effect, Replicate):
                    free = [n for n in sorted(peers) if alive[n] and n not in keeps | liars][: effect.count]
                    for fresh in free:
                        keeps.add(fresh)
                        machines[fresh].kept(NAME, replicas, now)
                        machines[fresh].learned(NAME, [*effect.holders, peers[number]], now)
                    machine.replicated(NAME, [peers[n] for n in free], now)
                elif isinstance(effect, Release):
                    if all(alive[numbers[each.id]] and numbers[each.id] in keeps for each in effect.nearer):
                        keeps.discard(number)
                        machine.dropped(NAME)
                    else:
                        machine.kept_on(NAME, now)
        assert sum(alive[number] for number in keeps) >= min(replicas, sum(alive[n] for n in ids) or 1)
    living = sorted(number for number in keeps if alive[number])
    honest = [number for number in peers if alive[number] and number not in liars]
    assert len(living) == min(replicas, len(honest)), (sorted(ids), sorted(died), sorted(liars), living)
    ranked = sorted(living, key=lambda number: distance(peers[number].id, NAME[:20]))
    assert ranked == living


def test_who_says_that_it_keeps_a_section_counts_when_it_has_shown_it() -> None:
    tending = holder(FIRST)
    tending.confirmed(SECOND, [NAME], 1.0)
    assert tending.expire(1.0) == [Prove(NAME, SECOND)]
    assert tending.living(NAME) == [] and tending.short() == [(NAME, 2)] and tending.holders(NAME) == [SECOND]
    tending.confirmed(SECOND, [NAME], 2.0)
    assert tending.expire(2.0) == []  # it was asked
    tending.shown(NAME, SECOND.id, 3.0, right=True)
    assert tending.living(NAME) == [SECOND]
    tending.shown(NAME, SECOND.id, 4.0, right=False)  # of nobody asked
    tending.confirmed(SECOND, [NAME], 5.0)
    assert tending.living(NAME) == [SECOND]
    assert Prove not in [type(effect) for effect in tending.expire(100.0)]


def test_who_cannot_show_it_is_believed_no_sooner_than_after_a_while() -> None:
    tending = holder(FIRST)
    tending.confirmed(SECOND, [NAME], 1.0)
    assert tending.expire(1.0) == [Prove(NAME, SECOND)]
    tending.shown(NAME, SECOND.id, 2.0, right=False)
    assert tending.holders(NAME) == []
    tending.confirmed(SECOND, [NAME], 2.0 + PACE.wait_s - 1)
    assert tending.holders(NAME) == []
    tending.confirmed(SECOND, [NAME], 2.0 + PACE.wait_s + 1)
    assert Prove(NAME, SECOND) in tending.expire(2.0 + PACE.wait_s + 1)
    for number in range(5, 15 + limits.NAMED_HOLDERS_MAX):  # those not believed are bounded
        liar = contact(number.to_bytes(20, "big"), ("10.0.0.1", 22))
        tending.confirmed(liar, [NAME], 50.0)
        tending.expire(50.0)
        tending.shown(NAME, liar.id, 50.0, right=False)
    assert len(tending._refuted) == limits.NAMED_HOLDERS_MAX


def test_words_that_wait_to_be_shown_hold_up_no_repair_for_long() -> None:
    tending = holder(FIRST)
    assert SeekHolders(NAME) in tending.expire(PACE.wait_s)
    tending.sought(NAME, [SECOND], 21.0)
    assert tending.expire(21.0) == [Prove(NAME, SECOND)]
    for now in range(22, 41):  # others say so all the time, and never show anything
        tending.confirmed(contact(bytes([now]) * 20, ("127.0.0.1", 4000)), [NAME], float(now))
        assert Replicate not in [type(effect) for effect in tending.expire(float(now))]
    assert Replicate(NAME, (), 1) in tending.expire(21.0 + PACE.wait_s)


def test_who_dies_before_it_has_shown_anything_is_forgotten() -> None:
    tending = holder(FIRST)
    tending.confirmed(SECOND, [NAME], 1.0)
    tending.unreachable(SECOND.id, 1.0)
    assert tending.holders(NAME) == [] and Prove(NAME, SECOND) not in tending.expire(1.0)
    tending.shown(NAME, SECOND.id, 2.0, right=True)
    assert tending.living(NAME) == []
