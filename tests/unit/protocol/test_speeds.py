"""Speeds: slow peers are told from long tasks, as far as receipts allow."""

from __future__ import annotations

import math
import random

import pytest

from p2pcpn.protocol.speeds import ALIKE, NEWEST, SEVERAL, Speeds
from tests.unit.protocol.granting import keypair

A, B, C = (keypair(number).id for number in (10, 11, 12))


def test_where_all_tasks_are_alike_one_receipt_tells() -> None:
    speeds = Speeds()
    for _ in range(5):
        speeds.ran(A, 1, 1.0)
        speeds.ran(B, 1, 1.0)
    speeds.ran(C, 1, 10.0)
    slowness = speeds.slowness()
    assert slowness[A] == slowness[B]
    assert slowness[C][0] / slowness[A][0] == pytest.approx(10.0)
    assert slowness[C] == pytest.approx((slowness[C][0],) * 2)
    assert speeds.lengths(slowness) == pytest.approx([speeds.lengths(slowness)[0]] * 11)


def test_where_lengths_differ_it_takes_many_and_chance_is_left_out() -> None:
    rng = random.Random(1)
    speeds = Speeds()

    def run(count: int) -> None:
        for _ in range(count):
            for node, slow in ((A, 1.0), (B, 1.0), (C, 4.0)):
                speeds.ran(node, 1, slow * 0.1 * 30 ** rng.random())

    run(2)
    expected, surely = speeds.slowness()[C]
    assert 1.0 <= surely < expected < 3.0
    run(60)
    slowness = speeds.slowness()
    assert 2.5 < slowness[C][1] / slowness[A][1] < slowness[C][0] / slowness[A][0] < 6.0


def test_with_one_receipt_each_half_of_a_difference_is_the_peers() -> None:
    speeds = Speeds()
    speeds.ran(A, 1, 1.0)
    speeds.ran(B, 1, 4.0)
    slowness = speeds.slowness()
    assert slowness[B][0] / slowness[A][0] == pytest.approx(2.0)


def test_a_batch_counts_by_its_average_and_an_empty_one_not_at_all() -> None:
    speeds = Speeds()
    speeds.ran(A, 0, 1.0)
    assert len(speeds) == 0 and speeds.slowness() == {} and not speeds.knows(A)
    speeds.ran(A, 10, 5.0)
    assert speeds.lengths({A: ALIKE}) == pytest.approx([0.5])


def test_what_was_stopped_tells_of_the_peer_and_not_of_lengths() -> None:
    speeds = Speeds()
    for _ in range(4):
        speeds.ran(A, 1, 1.0)
    speeds.at_least(B, 0.5)  # as others might have
    assert not speeds.knows(B)
    speeds.at_least(B, 8.0)
    assert speeds.knows(B) and speeds.slowness()[B][0] == pytest.approx(8.0) and len(speeds) == 4
    speeds.forget(B)
    assert not speeds.knows(B)


def test_the_newest_lengths_are_remembered_and_no_more() -> None:
    speeds = Speeds()
    for number in range(2 * NEWEST):
        speeds.ran(A, 1, 1.0 if number < NEWEST else 2.0)
    assert len(speeds) == NEWEST
    assert speeds.lengths({A: ALIKE}) == pytest.approx([2.0] * NEWEST)


def test_lengths_vary_as_at_one_peer_or_as_among_all_beyond_what_peers_differ() -> None:
    alike, twofold, long = Speeds(), Speeds(), Speeds()
    for node, slow in ((A, 1.0), (B, 2.0), (C, 4.0)):
        alike.ran(node, 3, 3.0)
        for length in (1.0, 2.0, 1.0):
            twofold.ran(node, 1, slow * length)
        long.ran(node, 1, 20.0 if node == A else 1e-4)
    assert alike.lengths_variance == 0.0
    assert 0.0 < twofold.lengths_variance < 0.5
    assert long.lengths_variance > 10.0


def test_receipts_tell_of_a_peer_where_several_others_are_known() -> None:
    speeds = Speeds()
    for number in range(10, 10 + SEVERAL):
        for _ in range(20):
            speeds.ran(keypair(number).id, 1, 1.0)
        assert not speeds.tells(keypair(10).id)
    speeds.ran(keypair(10 + SEVERAL).id, 1, 1.0)
    assert speeds.tells(keypair(10).id) and not speeds.tells(keypair(30).id)


def test_the_more_a_peer_brought_the_less_its_slowness_is_in_doubt() -> None:
    speeds, dice = Speeds(), random.Random(1)
    typical = speeds.doubt(A)
    assert typical == pytest.approx(math.log(2.0))  # peers differ by a factor of two
    doubts: list[float] = []
    for _ in range(40):
        for node in (A, B):
            speeds.ran(node, 1, 30 ** dice.random())
        doubts.append(speeds.doubt(A))
    assert doubts[-1] < doubts[4] < typical == speeds.doubt(C)
    alike = Speeds()
    for _ in range(4):
        alike.ran(A, 1, 1.0)
    assert alike.doubt(A) == 0.0
