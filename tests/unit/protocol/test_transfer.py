"""Which chunk is asked of whom: quick holders give more, late chunks are hedged, and liars give nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn.protocol.transfer import LATE_S, SILENT_S, WINDOW_MAX, WINDOW_START, Ask, Fetching, Placing
from p2pcpn.wire.addresses import Contact, contact

A, B, C = (contact(bytes([number]) * 20, ("127.0.0.1", 4000 + number)) for number in (1, 2, 3))


def indices(asks: list[Ask], of: Contact | None = None) -> list[int]:
    return [ask.index for ask in asks if of is None or ask.holder == of]


def test_chunks_are_asked_in_order_of_all_holders_as_far_as_windows_go() -> None:
    fetching = Fetching(20, had=[0, 3])
    fetching.add(A, None, 0.0)
    fetching.add(B, None, 0.0)
    asks = fetching.ask(0.0)
    assert indices(asks) == [1, 2, 4, 5, 6, 7, 8, 9]
    assert len(indices(asks, A)) == len(indices(asks, B)) == WINDOW_START
    assert fetching.ask(0.0) == [] and fetching.left == 18 and fetching.holders == [A, B]


def test_room_bounds_what_is_asked() -> None:
    fetching = Fetching(20)
    fetching.add(A, None, 0.0)
    assert indices(fetching.ask(0.0, 2)) == [0, 1] and fetching.ask(0.0, 0) == []


def test_a_window_grows_with_what_comes_up_to_its_bound() -> None:
    fetching, now = Fetching(200), 0.0
    fetching.add(A, None, now)
    asked = indices(fetching.ask(now))
    most = 0
    for _ in range(30):
        now += 0.01
        index = asked.pop(0)
        assert fetching.came(A.id, index, now)
        fetching.kept(index)
        asked += indices(fetching.ask(now))
        most = max(most, len(asked))
    assert most == WINDOW_MAX


def test_a_holder_is_asked_only_for_what_it_has() -> None:
    fetching = Fetching(4)
    fetching.add(A, frozenset({1, 2}), 0.0)
    assert fetching.stuck and indices(fetching.ask(0.0)) == [1, 2]
    fetching.add(B, None, 0.0)
    assert not fetching.stuck and indices(fetching.ask(0.0)) == [0, 3]
    fetching.add(A, None, 0.0)
    fetching.lacks(B.id, 0)
    assert fetching.ask(0.0) == [Ask(A, 0)]


def test_what_a_lost_holder_owes_is_asked_of_others() -> None:
    fetching = Fetching(6)
    fetching.add(A, None, 0.0)
    fetching.add(B, None, 0.0)
    owed = indices(fetching.ask(0.0), A)
    fetching.lost(A.id)
    for index in list(range(6)):
        if index not in owed:
            fetching.came(B.id, index, 0.1)
            fetching.kept(index)
    assert sorted(indices(fetching.ask(0.1), B)) == owed
    fetching.lost(B.id)
    assert fetching.stuck and not fetching.knows(A.id)
    fetching.add(A, None, 1.0)
    assert sorted(indices(fetching.ask(1.0))) == owed


def test_who_sends_a_wrong_chunk_is_asked_for_nothing_more() -> None:
    fetching = Fetching(2)
    fetching.add(A, None, 0.0)
    fetching.ask(0.0)
    assert fetching.came(A.id, 0, 0.1)
    fetching.bad(A.id, 0)
    fetching.add(A, None, 0.2)
    assert fetching.wrong == 1 and fetching.stuck and fetching.ask(0.2) == [] and fetching.knows(A.id)
    fetching.add(B, None, 0.2)
    assert sorted(indices(fetching.ask(0.2))) == [0, 1]


def test_a_late_chunk_is_asked_of_another_once_and_the_first_counts() -> None:
    fetching = Fetching(WINDOW_START)
    fetching.add(A, None, 0.0)
    asked = indices(fetching.ask(0.0))
    fetching.add(B, None, 0.0)
    assert fetching.ask(LATE_S - 0.1) == []
    assert fetching.deadline() == LATE_S
    assert indices(fetching.ask(LATE_S), B) == asked and fetching.hedged == len(asked)
    assert fetching.ask(LATE_S + 1) == []
    assert fetching.came(B.id, 0, LATE_S + 1)
    fetching.kept(0)
    assert not fetching.came(A.id, 0, LATE_S + 2)


def test_at_the_end_the_quick_help_the_slow() -> None:
    fetching = Fetching(2 * WINDOW_START)
    fetching.add(A, None, 0.0)
    fetching.add(B, None, 0.0)
    asks = fetching.ask(0.0)
    for index in indices(asks, B):
        fetching.came(B.id, index, 0.01)
        fetching.kept(index)
    assert set(indices(fetching.ask(0.05), B)) <= set(indices(asks, A)) != set()


def test_a_silent_holder_is_given_up_in_time() -> None:
    fetching = Fetching(3)
    assert fetching.deadline() is None
    fetching.add(A, None, 0.0)
    fetching.ask(1.0)
    assert fetching.deadline() == 1.0 + SILENT_S
    assert fetching.expire(SILENT_S) == [] and fetching.expire(1.0 + SILENT_S) == [A]
    assert fetching.stuck


@settings(max_examples=60)
@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_whatever_fails_every_chunk_comes_while_one_honest_holder_stays(count: int, dice: object) -> None:
    fetching, now = Fetching(count), 0.0
    for holder in (A, B, C):
        fetching.add(holder, None, now)
    owed: list[Ask] = []
    for _ in range(2000):
        if fetching.done:
            break
        now += 0.05
        fetching.expire(now)
        if not fetching.knows(A.id):
            fetching.add(A, None, now)  # A is honest, and comes back
        owed += fetching.ask(now)
        assert len({(ask.holder.id, ask.index) for ask in owed}) <= len(owed)
        if owed:
            ask = owed.pop(dice.randrange(len(owed)))  # type: ignore[attr-defined]
            fate = dice.randrange(5)  # type: ignore[attr-defined]
            if fate == 0 and ask.holder != A:
                continue  # nothing comes
            if fate == 1 and ask.holder != A:
                fetching.lost(ask.holder.id)
            elif fate == 2 and ask.holder != A:
                if fetching.came(ask.holder.id, ask.index, now):
                    fetching.bad(ask.holder.id, ask.index)
            elif fetching.came(ask.holder.id, ask.index, now):
                fetching.kept(ask.index)
    assert fetching.done and fetching.left == 0


def test_a_section_goes_to_the_best_and_to_the_next_where_one_fails() -> None:
    placing = Placing([A, B, C], 2)
    assert placing.begin() == [A, B] and placing.begin() == [] and not placing.done
    placing.kept(A.id)
    placing.failed(B.id, "is full")
    assert not placing.done and placing.begin() == [C]
    placing.silent(C.id)
    assert placing.done and placing.holders == [A] and placing.unanswered == [C]
    assert placing.words() == [f"peer {B.id.hex()[:8]}: is full", f"no answer from 127.0.0.1:{C.port}"]


def test_many_who_do_not_answer_are_one_line() -> None:
    peers = [contact(bytes([at]) * 20, ("::1", 4000 + at)) for at in range(5)]
    placing = Placing(peers, 5)
    for each in placing.begin():
        placing.silent(each.id)
    assert placing.words() == ["no answer from [::1]:4000, [::1]:4001, [::1]:4002 and 2 more"]


def test_holders_count_and_are_not_asked_again() -> None:
    placing = Placing([A, B, C], 2, holders=[A])
    assert placing.begin() == [B]
    placing.kept(B.id)
    assert placing.done and placing.holders == [A, B]


def test_a_chunk_that_comes_twice_and_is_wrong_the_first_time_is_asked_for_again() -> None:
    fetching = Fetching(1)
    fetching.add(A, None, 0.0)
    fetching.ask(0.0)
    fetching.add(B, None, 0.0)
    assert fetching.ask(LATE_S) == [Ask(B, 0)]
    assert fetching.came(A.id, 0, LATE_S) and fetching.came(B.id, 0, LATE_S)  # the second while the first is verified
    fetching.bad(A.id, 0)
    assert fetching.ask(LATE_S) == [Ask(B, 0)]
