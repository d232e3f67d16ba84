"""Placement: the last tasks are left to those who end them soonest, for a limited time."""

from __future__ import annotations

import math
import random

import pytest

from p2pcpn.protocol.ledger import Ledger
from p2pcpn.protocol.participants import Participant, Participants
from p2pcpn.protocol.placement import OUTLOOK_S, SHARED_S, Placement
from p2pcpn.protocol.speeds import SEVERAL, Speeds
from tests.unit.protocol.granting import at, keypair


class Bench:
    """Three fast peers of a slot and one that is four times slower, and so many tasks of a second that wait."""

    def __init__(self, waiting: int, *, slow: float = 4.0, length_s: float = 1.0) -> None:
        self.ledger, self.participants, self.speeds = Ledger(), Participants(0), Speeds()
        self.ledger.extend(waiting)
        self.peers = [
            Participant(at(keypair(n), 5000 + n), keypair(n).public, 1, 1, (float(n), b"")) for n in range(10, 14)
        ]
        for peer in self.peers:
            self.participants.add(peer)
        self.participants.promote(100, [], 0.0)
        for _ in range(8):
            for peer in self.peers[1:]:
                self.speeds.ran(peer.node, 1, length_s)
            self.speeds.ran(self.peers[0].node, 1, slow * length_s)
        for number in range(30, 30 + SEVERAL):  # they brought something and are gone
            self.speeds.ran(keypair(number).id, 1, length_s)
        self.placement = Placement(self.ledger, self.participants, self.speeds)


def test_a_slow_peer_waits_while_the_others_end_everything_before_it_could_end_one() -> None:
    bench = Bench(3)
    outlook = bench.placement.near_end(100.0)
    assert outlook is not None
    slow, fast = bench.peers[:2]
    assert outlook.slow(slow.node) / outlook.slow(fast.node) == pytest.approx(4.0)
    assert outlook.surely_slower(slow.node, fast.node) and not outlook.surely_slower(fast.node, slow.node)
    assert bench.placement.waits(slow, outlook, 100.0)
    assert not bench.placement.waits(fast, outlook, 100.0)
    due = bench.placement.deadline()
    assert due is not None and 102.0 < due < 104.0
    bench.placement.passed(due)
    assert bench.placement.deadline() is None and not bench.placement.waits(slow, outlook, due)
    bench.placement.over()
    assert bench.placement.waits(slow, outlook, due)


def test_it_takes_part_while_there_is_enough_for_all() -> None:
    bench = Bench(11)
    outlook = bench.placement.near_end(100.0)
    assert outlook is not None and not bench.placement.waits(bench.peers[0], outlook, 100.0)
    assert Bench(1000).placement.near_end(100.0) is None


def test_nobody_waits_among_peers_that_are_alike_or_for_short_tasks_or_where_little_is_known() -> None:
    assert Bench(1, slow=1.2).placement.near_end(100.0) is None
    assert Bench(1, length_s=0.001).placement.near_end(100.0) is None
    bench = Bench(1)
    assert Placement(bench.ledger, bench.participants, Speeds()).outlook(0.0) is None


def test_what_waits_at_peers_is_ahead_of_it_as_what_waits_here() -> None:
    bench = Bench(1)
    outlook = bench.placement.near_end(100.0)
    assert outlook is not None and bench.placement.waits(bench.peers[0], outlook, 100.0)
    fast = bench.peers[1]
    fast.pace.heard_at = 100.0
    fast.heard = True
    bench.participants.hold(fast, 11)
    fast.started = dict.fromkeys(range(1), 100.0)
    outlook = bench.placement.outlook(101.0 + fast.pace.rtt_s)
    assert outlook is not None and (outlook.unstarted, outlook.slots, outlook.shared) == (10, 4, False)
    assert not bench.placement.waits(bench.peers[0], outlook, 101.0)


def test_where_others_tasks_run_in_many_slots_it_waits_no_longer_than_a_moment() -> None:
    bench = Bench(1)
    alone = bench.placement.near_end(100.0)
    assert alone is not None and bench.placement.waits(bench.peers[0], alone, 100.0)
    due = bench.placement.deadline()
    assert due is not None and due > 100.0 + SHARED_S
    bench = Bench(1)
    bench.participants.crowd(bench.peers[1], 200.0)
    shared = bench.placement.near_end(100.0)
    assert shared is not None and shared.shared and shared.slots == 3
    assert shared.rate == pytest.approx(alone.rate - 1 / alone.slow(bench.peers[1].node))
    assert bench.placement.waits(bench.peers[0], shared, 100.0)
    assert bench.placement.deadline() == 100.0 + SHARED_S
    assert not bench.placement.waits(bench.peers[0], shared, 100.0 + SHARED_S)


def test_that_others_tasks_run_in_many_slots_ends_a_longer_wait() -> None:
    bench = Bench(1)
    outlook = bench.placement.near_end(100.0)
    assert outlook is not None and bench.placement.waits(bench.peers[0], outlook, 100.0)
    bench.participants.crowd(bench.peers[1], 200.0)
    outlook = bench.placement.outlook(100.5)
    assert outlook is not None and bench.placement.waits(bench.peers[0], outlook, 100.5)
    assert bench.placement.deadline() == 100.0 + SHARED_S
    assert not bench.placement.waits(bench.peers[0], outlook, 100.0 + SHARED_S)


def test_who_waited_for_long_enough_does_so_anew_only_at_another_end() -> None:
    bench = Bench(3)
    slow = bench.peers[0]
    outlook = bench.placement.near_end(100.0)
    assert outlook is not None and bench.placement.waits(slow, outlook, 100.0)
    assert not bench.placement.waits(slow, outlook, 110.0)
    bench.ledger.extend(1000)
    assert bench.placement.near_end(110.0) is None
    bench.ledger.cancel([(3, 1000)])
    outlook = bench.placement.near_end(120.0)
    assert outlook is not None and bench.placement.waits(slow, outlook, 120.0)


def test_what_the_others_may_not_have_is_not_left_to_them() -> None:
    bench = Bench(2)
    outlook = bench.placement.near_end(100.0)
    assert outlook is not None
    bench.ledger.bar([(0, 1)], bench.peers[1].node)
    assert not bench.placement.waits(bench.peers[0], outlook, 100.0)


def test_where_lengths_vary_widely_nobody_waits() -> None:
    bench = Bench(1)
    for length_s in (1e-4, 20.0) * 8:
        for number, peer in enumerate(bench.peers):
            bench.speeds.ran(peer.node, 1, length_s * (1 if number else 4))
    outlook = bench.placement.outlook(100.0)
    assert outlook is not None and outlook.varied
    assert not bench.placement.waits(bench.peers[0], outlook, 100.0)


def test_who_brought_one_task_is_not_made_to_wait_on_the_word_of_few_others() -> None:
    bench = Bench(3)
    bench.speeds = Speeds()
    bench.placement = Placement(bench.ledger, bench.participants, bench.speeds)
    slow, *others = bench.peers
    bench.speeds.ran(slow.node, 1, 4.0)
    for _ in range(5):
        bench.speeds.ran(others[0].node, 1, 1.0)
    outlook = bench.placement.outlook(100.0)
    assert outlook is not None and not outlook.varied
    assert not bench.placement.waits(slow, outlook, 100.0)
    for number in range(30, 30 + SEVERAL):
        bench.speeds.ran(keypair(number).id, 1, 1.0)
    assert bench.placement.waits(slow, outlook, 100.0)


def test_what_was_guessed_of_a_peer_is_over_when_it_brings_something() -> None:
    bench = Bench(2)
    late = bench.peers[0]
    bench.speeds.forget(late.node)
    late.pace.heard_at = 90.0
    bench.participants.hold(late, 1)
    outlook = bench.placement.outlook(100.0)
    assert outlook is not None and late.node in outlook.guessed
    bench.participants.hold(late, -1)
    bench.speeds.ran(late.node, 1, 10.0)
    assert bench.placement.outlook(100.0) is outlook and not bench.placement.waits(late, outlook, 100.0)


def test_an_outlook_is_good_for_a_moment() -> None:
    bench = Bench(2)
    first = bench.placement.outlook(100.0)
    assert bench.placement.outlook(100.0 + OUTLOOK_S / 2) is first
    assert bench.placement.outlook(101.0) is not first


def test_a_peer_that_has_brought_nothing_for_long_counts_as_slow() -> None:
    bench = Bench(2)
    late = Participant(at(keypair(20), 5020), keypair(20).public, 1, 1, (0.0, b""))
    bench.participants.add(late)
    bench.participants.promote(100, [], 0.0)
    late.pace.heard_at = 95.0
    bench.participants.hold(late, 1)
    outlook = bench.placement.outlook(100.0)
    assert outlook is not None and outlook.slow(late.node) > 1.0


def test_a_task_that_runs_is_expected_to_be_like_those_that_took_longer() -> None:
    bench = Bench(2)
    outlook = bench.placement.outlook(100.0)
    assert outlook is not None
    usual = outlook.mean_s
    assert outlook.expected_s(0.0) == pytest.approx(usual)
    assert outlook.expected_s(10 * usual) == pytest.approx(20 * usual)


def test_what_has_run_for_so_long_is_expected_to_take_longer_than_that_and_nothing_else() -> None:
    bench, dice = Bench(3), random.Random(7)
    for _ in range(40):
        bench.speeds.ran(bench.peers[1].node, 1, dice.choice([0.5, 1.0, 1.0, 2.0, 9.0]))
    outlook = bench.placement.outlook(100.0)
    assert outlook is not None
    longest = outlook.lengths[-1]
    for long_s in (0.0, 0.4, outlook.mean_s, 1.5 * outlook.mean_s, 0.9 * longest, 1.01 * longest, 3 * longest):
        after_s = outlook.long_after_s(long_s)
        for ran_s in [0.0, *outlook.lengths, *(dice.uniform(0.0, 2 * longest) for _ in range(200))]:
            assert ran_s <= longest or ran_s >= after_s or outlook.expected_s(ran_s) <= long_s
            assert ran_s > longest or (outlook.expected_s(ran_s) > long_s) == (ran_s >= after_s), (long_s, ran_s)


def test_what_a_second_run_would_save_is_expected_of_all_lengths_and_speeds_that_may_be() -> None:
    bench = Bench(3)
    for _ in range(16):
        for length_s in (0.5, 1.0, 4.0, 8.0):
            bench.speeds.ran(bench.peers[1].node, 1, length_s)
    outlook = bench.placement.outlook(100.0)
    assert outlook is not None
    longest = outlook.lengths[-1]
    # As sure as it may be: of a task that takes four times longer here than there three quarters are saved.
    assert outlook.gain_s(0.0, 4.0, 0.0, 1.0, 0.0) == pytest.approx(3 * outlook.mean_s)
    # Who is not slower saves nothing, however long it has run; nor who is farther than all that could be saved.
    assert outlook.gain_s(0.9 * longest, 1.0, 0.0, 1.0, 0.0) == 0.0
    assert outlook.gain_s(0.0, 4.0, 0.0, 1.0, 1000.0) == 0.0
    # It seems to be about to end at a usual peer. Or that peer is slower than it seems, and it will run for long.
    ran_s = 0.99 * longest
    assert outlook.gain_s(ran_s, 1.0, 0.0, 0.3, 0.0) == 0.0 < outlook.gain_s(ran_s, 1.0, 0.4, 0.3, 0.0)
    # Nothing took so long: as long again, or the whole of it elsewhere.
    assert outlook.gain_s(100 * longest, 1.0, 0.1, 0.25, 1.0) == pytest.approx(50 * longest - 1.0)


def test_the_expected_saving_is_the_mean_over_all_speeds_and_lengths() -> None:
    bench = Bench(3)
    for number in range(128):  # in no order, for the newest are remembered: 0.2 to 4.5 s, as many of each magnitude
        bench.speeds.ran(bench.peers[1].node, 1, math.exp(-1.5 + 3.0 * (number * 77 % 128) / 127))
    outlook = bench.placement.outlook(100.0)
    assert outlook is not None
    for ran_s, slow, anew, rtt_s in (
        (1.0, 2.0, 0.5, 0.0),
        (4.0, 1.5, 0.4, 0.3),
        (0.2, 1.2, 0.8, 0.1),
        (6.0, 1, 0.3, 0),
    ):
        likely = saved = 0.0
        for way in range(-400, 401):
            slow_so = slow * math.exp(0.3 * way / 100)
            left = [(length * slow_so - ran_s, length) for length in outlook.lengths if length * slow_so > ran_s]
            likely += math.exp(-((way / 100) ** 2) / 2) * len(left)
            saved += math.exp(-((way / 100) ** 2) / 2) * sum(max(s - length * anew - rtt_s, 0.0) for s, length in left)
        assert outlook.gain_s(ran_s, slow, 0.3, anew, rtt_s) == pytest.approx(saved / likely, rel=0.15)
