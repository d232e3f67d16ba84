"""Rounds: nobody waits for longer than a round and a line, no two probes in half a pause, one ping serves both ends."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.protocol.rounds import APART, IN_TURN, LOOK, SOONER, Rounds

CALM_S = 20.0
FAST_S = 5.0
NODES = [bytes([number]) * 20 for number in range(1, 33)]
Turns = list[tuple[float, bytes]]


def following(it: Rounds, count: int, until_s: float, pause_s: float = CALM_S) -> Turns:
    """Whose turn it is among so many neighbours until then; each is asked."""
    turns = []
    while (now := it.deadline(pause_s)) <= until_s:
        if (node := it.turn(NODES[:count], pause_s, now)) is not None:
            it.asked(node, now)
            turns.append((now, node))
    return turns


def rounds(count: int = 4, seed: int = 1) -> tuple[Rounds, Turns]:
    """Of so many neighbours, after two rounds: the last turn of each."""
    it = Rounds(random.Random(seed), CALM_S, 0.0)
    turns = following(it, count, (2 * count + LOOK) * CALM_S)
    last = {node: at for at, node in turns}
    assert len(last) == count
    return it, sorted((at, node) for node, at in last.items())


def test_where_all_is_well_each_has_its_turn_a_round_after_the_last() -> None:
    it, turns = rounds()
    second = following(it, 4, turns[-1][0] + 5 * CALM_S)[:4]
    assert [node for _, node in second] == [node for _, node in turns]
    waits_s = [late - soon for (late, _), (soon, _) in zip(second, turns, strict=True)]
    assert all(4 * CALM_S - 1e-6 <= wait_s <= 5 * CALM_S for wait_s in waits_s)


def test_otherwise_each_has_its_turn_once_in_a_round_at_that_pace() -> None:
    it = Rounds(random.Random(1), CALM_S, 0.0)
    turns = following(it, 4, 8 * FAST_S, FAST_S)
    assert [at for at, _ in turns] == [FAST_S * number for number in range(1, 9)]
    assert {node for _, node in turns[:4]} == {node for _, node in turns[4:]} == set(NODES[:4])
    assert it.turn([], FAST_S, 100.0) is None


def test_who_is_to_hurry_is_due_at_once_and_was_not_before() -> None:
    it, turns = rounds()
    now = turns[-1][0] + 0.9 * APART * CALM_S
    assert it.deadline(FAST_S) < now < it.deadline(CALM_S)
    it.hurry(FAST_S, now)
    assert it.deadline(FAST_S) == now
    it.hurry(FAST_S, now)
    assert it.turn(NODES[:4], FAST_S, now) is not None
    it.hurry(FAST_S, now + 1.0)
    assert it.deadline(FAST_S) == now + FAST_S


def test_once_who_has_waited_longest_asked_us_it_is_the_next_who_has() -> None:
    it, ((_, first), (then_s, then), *_) = rounds()
    due_s = it.deadline(CALM_S)
    it.met(first, due_s - 1.0)
    assert it.deadline(CALM_S) == then_s + 4 * CALM_S > due_s
    assert it.turn(NODES[:4], CALM_S, then_s + 4 * CALM_S, the_same=True) == then


def test_who_asked_us_is_asked_a_round_later_and_a_little_sooner_than_it_would_ask() -> None:
    it, turns = rounds()
    at, node = turns[0]
    it.met(node, at + 3 * CALM_S)
    assert [when for when, who in following(it, 4, at + 6.7 * CALM_S) if who == node] == []
    [again] = [when for when, who in following(it, 4, at + 8.9 * CALM_S) if who == node]
    assert again - at >= (3 + 4 - SOONER) * CALM_S


def test_a_ping_out_of_turn_puts_nothing_off() -> None:
    for pinged in (lambda it, node, now: it.met(node, now), lambda it, node, now: it.asked(node, now)):
        it, turns = rounds(8)
        at, node = turns[0]
        pinged(it, node, at + 0.9 * IN_TURN * 8 * CALM_S)
        assert node in [who for _, who in following(it, 8, at + 9 * CALM_S)]


def test_two_that_ask_each_other_at_the_same_time_do_not_next_time() -> None:
    dues = []
    for seed in (1, 2):
        it, [(at, node)] = rounds(1, seed)
        it.met(node, at + 0.01)
        dues.append(it.deadline(CALM_S) - at)
        assert CALM_S <= dues[-1] <= (1.0 + SOONER) * CALM_S
    assert abs(dues[0] - dues[1]) > 0.1


def test_who_is_no_neighbour_any_more_is_forgotten_and_strangers_have_no_turn() -> None:
    it, turns = rounds()
    it.met(NODES[9], 200.0)
    it.asked(NODES[9], 200.0)
    left = [node for node in NODES[:4] if node != turns[0][1]]
    assert it.turn(left, CALM_S, 1000.0) == turns[1][1]
    assert it.turn([], CALM_S, 2000.0) is None
    assert it.deadline(CALM_S) == 2000.0 + CALM_S


def test_new_neighbours_are_looked_for_though_nobody_is_due() -> None:
    it, [(at, _)] = rounds(1)
    it.turn(NODES, CALM_S, at)
    for node in NODES:
        it.met(node, at + 640.0)
    it.turn(NODES, CALM_S, at + 640.0)
    assert it.deadline(CALM_S) <= at + 640.0 + LOOK * CALM_S


def test_new_neighbours_are_due_at_any_time_of_the_coming_round() -> None:
    it = Rounds(random.Random(3), CALM_S, 0.0)
    turns = following(it, 32, 33 * CALM_S)
    halves = [sum(at <= 16 * CALM_S for at, _ in turns), sum(at > 16 * CALM_S for at, _ in turns)]
    assert min(halves) >= 10


@given(st.data(), st.integers(1, 32), st.integers(0, 99))
def test_nobody_waits_for_longer_than_a_round_and_a_line_and_two_are_asked_half_a_pause_apart(
    data: st.DataObject, count: int, seed: int
) -> None:
    it, turns = rounds(count, seed)
    now, longest_s = turns[-1][0], (1 + APART) * count * CALM_S + LOOK * CALM_S
    met_s, asked_s = {node: at for at, node in turns}, [now]
    pings = data.draw(st.lists(st.tuples(st.floats(0.0, 60.0), st.integers(0, count - 1)), max_size=60))
    for wait_s, number in [*pings, (longest_s, 0)]:
        for at, node in following(it, count, now + wait_s):
            assert at - met_s[node] <= longest_s
            met_s[node] = at
            asked_s.append(at)
        now += wait_s
        assert all(now - at <= longest_s for at in met_s.values())
        before_s = it.deadline(CALM_S)
        it.met(NODES[number], now)
        assert it.deadline(CALM_S) >= before_s, "a ping that came brings no turn nearer"
        met_s[NODES[number]] = now
    assert all(late - soon >= APART * CALM_S - 1e-6 for soon, late in pairwise(asked_s))


class Looking(Rounds):
    """Looks at all turns each time."""

    def _longest(self) -> bytes:
        return min(self._since_s, key=self._since_s.__getitem__)


Steps = st.lists(
    st.tuples(
        st.sampled_from(("met", "asked", "turn", "fast", "more", "fewer")), st.integers(0, 9), st.floats(0.1, 60.0)
    ),
    max_size=60,
)


@given(Steps)
def test_who_has_waited_longest_is_known_without_a_look_at_all(steps: list[tuple[str, int, float]]) -> None:
    one, other = Rounds(random.Random(1), CALM_S, 0.0), Looking(random.Random(1), CALM_S, 0.0)
    now, count, the_same = 0.0, 8, False
    for what, number, later_s in steps:
        now += later_s
        for it in (one, other):
            if what == "met":
                it.met(NODES[number], now)
            elif what == "asked":
                it.asked(NODES[number], now)
        if what in ("more", "fewer"):
            count, the_same = max(0, min(count + (1 if what == "more" else -1), 32)), False
        if what in ("turn", "fast"):
            pause_s = CALM_S if what == "turn" else FAST_S
            kept = one.turn(NODES[:count], pause_s, now, the_same=the_same)
            assert kept == other.turn(NODES[:count], pause_s, now)
            the_same = True
        assert one.deadline(CALM_S) == other.deadline(CALM_S)
