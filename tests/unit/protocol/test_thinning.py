"""Who goes when a swarm shrinks: the idle, the newest first, none of the first, and none that was just asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.protocol.thinning import Standing, Thinning


def swarm(*idle: bool) -> list[Standing[int]]:
    return [Standing(number, each) for number, each in enumerate(idle)]


def test_the_newest_that_idle_go_and_the_first_stay() -> None:
    assert Thinning[int](1, 60.0).choose(swarm(True, True, False, True, True), 2, 0.0) == [4, 3]
    assert Thinning[int](2, 60.0).choose(swarm(True, True, False), 2, 0.0) == []
    assert Thinning[int](0, 60.0).choose(swarm(True, True), 0, 0.0) == []


def test_who_was_asked_is_left_alone_for_a_while_and_counts_as_on_its_way() -> None:
    machine = Thinning[int](1, 60.0)
    assert machine.choose(swarm(True, True, True, True), 1, 0.0) == [3]
    assert machine.choose(swarm(True, True, True, True), 1, 30.0) == []
    assert machine.choose(swarm(True, True, True, True), 2, 30.0) == [2]
    assert machine.choose(swarm(True, True, True, True), 1, 61.0) == []  # the one of 30 s
    assert machine.choose(swarm(True, True, True, True), 2, 61.0) == [3]


@given(
    st.lists(st.tuples(st.lists(st.booleans(), max_size=8), st.integers(-2, 8), st.floats(0, 50)), max_size=12),
    st.integers(0, 4),
)
def test_nobody_goes_who_works_or_is_among_the_first_or_was_asked(
    looks: list[tuple[list[bool], int, float]], least: int
) -> None:
    machine, now, asked = Thinning[int](least, 60.0), 0.0, {}
    for idle, count, later in looks:
        now += later
        chosen = machine.choose(swarm(*idle), count, now)
        on_their_way = [name for name, at in asked.items() if now - at < 60.0 and name < len(idle)]
        assert len(chosen) <= max(count - len(on_their_way), 0)
        for name in chosen:
            assert idle[name] and name >= least and name not in on_their_way
            asked[name] = now
