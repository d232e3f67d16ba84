"""The book is kept in step: whatever peers, owner and time do, every index is in one place, and in the end all end."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from p2pcpn.protocol import events
from p2pcpn.protocol.backoff import BASE_S
from p2pcpn.protocol.book import Book, Outrun
from p2pcpn.protocol.breakers import Breakers
from p2pcpn.protocol.ledger import CANCELLED, EVERYBODY, FAILED, LEASED, RESTING, SETTLED, WAITING
from p2pcpn.protocol.participants import NOT_CROWDED, Participant
from p2pcpn.protocol.retry_budget import BURST
from p2pcpn.protocol.verdict import judge
from p2pcpn.wire import messages as m
from p2pcpn.wire.pages import cut
from p2pcpn.wire.statements import Outcome
from tests.unit.protocol.granting import ME, NoDelay, Table, Worker, at, keypair, steward

WORKERS = 3  # few, so that they get in each other's way


def booked(dice: random.Random | None = None) -> tuple[Book, Participant]:
    """A book of four tasks and one peer."""
    book = Book(1, 0, runtime="function", breakers=Breakers(), rng=dice or NoDelay(), now=100.0)
    peer = Participant(at(keypair(10), 5010), keypair(10).public, 1, 2, (0.0, b""))
    book.ledger.extend(4)
    book.participants.add(peer)
    book.participants.promote(4, [], 0.0)
    table = Table()
    segment, sealed = table.segment(4)
    table.grantor.restore(segment, sealed, [[]])
    book.stock = table.grantor.book.stock
    return book, peer


def test_a_lease_moves_tasks_from_the_line_to_the_peer() -> None:
    book, peer = booked()
    token = book.lease(peer, 3, 130.0)
    assert token == 1
    assert (book.ledger.waiting, book.ledger.leased, peer.held) == (1, 3, 3)
    assert book.lease(peer, 3, 130.0) == 2
    assert book.lease(peer, 3, 130.0) is None


def test_a_lost_lease_is_charged_and_a_forgotten_peer_is_not() -> None:
    book, peer = booked()
    assert book.lease(peer, 4, 130.0) == 1
    assert book.lose_lease(1, 101.0) == [] and book.ledger.resting == 4
    assert book.lease(peer, 4, 130.0) is None
    book.wake(101.0)
    assert book.lease(peer, 4, 130.0) == 2
    book.relieve(peer)
    book.participants.remove(peer.node)
    assert (book.ledger.waiting, book.ledger.leased) == (4, 0)
    book.participants.add(Participant(peer.contact, peer.key, 1, 2, peer.rank))
    again = book.participants.peers[peer.node]
    assert book.lease(again, 4, 130.0) == 3
    assert book.lose_lease(3, 102.0) == [0, 1, 2, 3]
    assert list(book.ledger.states) == [FAILED] * 4


def doubled() -> tuple[Book, Participant, Participant]:
    """A book whose task 0 is leased to two peers."""
    book, peer = booked()
    other = Participant(at(keypair(11), 5011), keypair(11).public, 1, 2, (1.0, b""))
    book.participants.add(other)
    book.participants.promote(4, [], 0.0)
    token = book.lease(peer, 2, 130.0, 100.0)
    assert token is not None
    second = book.hedge(token, 0, other, 131.0, 101.0)
    assert book.doubled == {0: (token, second)} and (book.ledger.leased, peer.held, other.held) == (2, 2, 1)
    return book, peer, other


def test_the_first_of_two_leases_that_brings_a_result_ends_the_other() -> None:
    book, peer, other = doubled()
    settled, outrun = book.settle(book.leases.live[2], 2, [(0, 1)])
    assert settled == [(0, 1)] and outrun == [Outrun(peer, [(0, 1)], 100.0)]
    assert (peer.held, other.held, book.doubled, book.hedges_won) == (1, 0, {}, 1)
    book, peer, other = doubled()
    assert book.settle(book.leases.live[1], 1, [(0, 2)])[1] == [Outrun(other, [(0, 1)], 101.0)]
    assert (peer.held, other.held, book.hedges_won, list(book.leases.live)) == (0, 0, 0, [])


def test_what_was_lost_rests_by_chance_and_no_more_of_it_wakes_than_the_budget_of_the_job_allows() -> None:
    book, peer = booked(random.Random(1))
    assert book.lease(peer, 3, 130.0) == 1 and book.lose_lease(1, 101.0) == []
    at = book.wakes_at()
    assert at is not None and 101.0 < at < 101.0 + BASE_S
    book.wake(101.0)
    assert (book.ledger.waiting, book.ledger.resting, book.ledger.open) == (1, 3, 4)
    book.budget.spend(book.budget.left(101.0) - 1)
    book.wake(at)
    assert (book.ledger.waiting, book.ledger.resting, book.budget.spent) == (2, 2, int(BURST))
    later = book.wakes_at()
    assert later is not None and later > at
    book.wake(later)
    book.wake(later + 1.0)
    assert (book.ledger.waiting, book.ledger.resting, book.wakes_at()) == (4, 0, None)


def test_what_failed_under_a_lease_rests_and_what_came_back_unrun_does_not() -> None:
    book, peer = booked(random.Random(1))
    assert book.lease(peer, 3, 130.0) == 1
    book.give_back(1, [(0, 1)])
    assert (book.ledger.waiting, book.ledger.resting) == (2, 0)
    book.retry(1, [(1, 1), (3, 1)], 2, 101.0)
    book.retry(9, [(2, 1)], 2, 101.0)
    assert (book.ledger.waiting, book.ledger.resting, book.ledger.leased, peer.held) == (2, 1, 1, 1)


def test_a_result_that_comes_late_settles_what_rests() -> None:
    book, peer = booked(random.Random(1))
    assert book.lease(peer, 4, 130.0) == 1 and book.lose_lease(1, 101.0) == []
    assert book.settle_waiting([(1, 2)]) == [(1, 2)]
    book.wake(102.0)
    assert (book.ledger.waiting, book.ledger.resting, book.budget.spent) == (2, 0, 2)


def test_of_two_leases_one_may_end_and_nothing_waits_or_is_charged() -> None:
    book, peer, other = doubled()
    assert book.lose_lease(1, 101.0) == [] and (book.ledger.resting, book.ledger.leased) == (1, 1)
    book.wake(101.0)
    assert book.ledger._losses == {1: 1}
    book.give_back(2, [(0, 1)])
    assert (book.ledger.waiting, book.ledger.leased, peer.held, other.held) == (4, 0, 0, 0)
    book, peer, other = doubled()
    book.give_back(2, [(0, 1)])
    assert (book.ledger.waiting, book.doubled, other.held) == (2, {}, 0)
    book, peer, other = doubled()
    assert book.cancel([(0, 1)]) == [(peer, [(0, 1)]), (other, [(0, 1)])]
    assert book.doubled == {}


def test_what_is_cancelled_is_named_by_who_held_it() -> None:
    book, peer = booked()
    book.lease(peer, 2, 130.0)
    assert book.cancel([(1, 3)]) == [(peer, [(1, 1)])]
    assert book.cancel([(1, 3)]) == []
    assert peer.held == 1


class Granting(RuleBasedStateMachine):
    """Anything that can happen to a grantor, in any order."""

    @initialize(
        max_workers=st.sampled_from([0, 0, 3]), storing=st.booleans(), stewards=st.integers(0, 2),
        seed=st.integers(0, 9),
    )  # fmt: skip
    def begin(self, max_workers: int, storing: bool, stewards: int, seed: int) -> None:
        named = [steward(20 + number)[1] for number in range(stewards)]
        others = [at(keypair(30 + number), 5030 + number) for number in range(3)]
        self.table = Table(
            max_workers=max_workers, storing=storing, stewards=named, candidates=others, replicas=2,
            dice=random.Random(seed),
        )  # fmt: skip
        self.max_workers = max_workers
        self.workers = [self.table.worker(10 + number, slots=1 + number % 3, claims=False) for number in range(WORKERS)]
        self.messages: list[tuple[Worker, m.Results]] = []

    # --- rules ---

    @rule(counts=st.lists(st.integers(1, 5), min_size=1, max_size=3))
    def extend(self, counts: list[int]) -> None:
        self.table.extend(*counts)

    @rule(count=st.integers(4, 9), left=st.booleans())
    def extend_one_by_one(self, count: int, left: bool) -> None:
        """A program that waits for each result: those to come are leased ahead. ``left``: the last one still runs."""
        for number in range(count):
            self.table.extend(1)
            for worker in self.workers if number + 1 < count or not left else ():
                if worker.grants and worker.last.token in self.table.grantor.leases:
                    worker.run(last=True)

    @rule(number=st.integers(0, WORKERS - 1), restarted=st.booleans())
    def claim(self, number: int, restarted: bool) -> None:
        self.workers[number].boot += restarted
        self.workers[number].claim()

    @rule(
        number=st.integers(0, WORKERS - 1), back=st.integers(0, 3), low=st.integers(0, 5), count=st.integers(1, 6),
        outcome=st.sampled_from([Outcome.OK, Outcome.OK, Outcome.RAISED, Outcome.DIED]), last=st.booleans(),
    )  # fmt: skip
    def results(self, number: int, back: int, low: int, count: int, outcome: int, last: bool) -> None:
        worker = self.workers[number]
        if not worker.grants:
            return
        _, lease = worker.grants[max(-1 - back, -len(worker.grants))]
        indices = cut(lease.spans)
        some = indices[low % len(indices) :][:count]
        spans = [(index, 1) for index in some]
        message = worker.message(lease, spans=spans, outcome=outcome, last=last)
        self.messages.append((worker, message))
        worker.bring(message)

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def results_again(self, data: Any) -> None:
        worker, message = data.draw(st.sampled_from(self.messages[-20:]))
        worker.bring(message)

    @rule(
        number=st.integers(0, WORKERS - 1), back=st.integers(0, 2), cut_at=st.integers(0, 4),
        code=st.sampled_from(["declined", "missing", "late", "leaving"]),
    )  # fmt: skip
    def returned(self, number: int, back: int, cut_at: int, code: str) -> None:
        worker = self.workers[number]
        if worker.grants:
            _, lease = worker.grants[max(-1 - back, -len(worker.grants))]
            worker.give_back(lease, code, [(index, 1) for index in cut(lease.spans)[cut_at:]])

    @rule(
        number=st.integers(0, WORKERS + 4),
        what=st.sampled_from(["session_opened", "session_closed", "session_closed", "peer_alive", "peer_dead"]),
    )  # fmt: skip
    def peer(self, number: int, what: str) -> None:
        nodes = [worker.node for worker in self.workers] + [keypair(k).id for k in (20, 21, 30, 31, 32)]
        getattr(self.table, what)(nodes[number])

    @rule(
        number=st.integers(0, WORKERS - 1),
        code=st.sampled_from(["late", "declined", "broken", "unusable", "unreachable"]),
        last=st.booleans(),
    )
    def half_a_lease_goes_to_another(self, number: int, code: str, last: bool) -> None:
        """What else takes many lucky steps: a lease ends whose other half is leased anew."""
        worker, other = self.workers[number], self.workers[(number + 1) % WORKERS]
        if not worker.grants:
            return
        _, lease = worker.grants[-1]
        other.claim()
        worker.give_back(lease, code, [(index, 1) for index in cut(lease.spans)[1:]])
        if last:
            worker.run(lease, spans=[(cut(lease.spans)[-1], 1)], last=True)
            self.table.pass_time(1.1)
        else:
            self.table.session_closed(worker.node)
            self.table.peer_dead(worker.node)

    @rule(number=st.integers(0, WORKERS - 1))
    def progress(self, number: int) -> None:
        worker = self.workers[number]
        if worker.grants:
            told = m.Progress(self.table.job, worker.last.token, cut(worker.last.spans))
            self.table.act(lambda grantor, now: grantor.running.progress(worker.contact, told, now))

    @rule(first=st.integers(0, 40), count=st.integers(1, 6))
    def cancel(self, first: int, count: int) -> None:
        self.table.act(lambda grantor, now: grantor.cancel([(first, count), (first, 1)], stop=True, now=now))

    @rule(seconds=st.sampled_from([0.01, 0.2, 1.1, 6.0, 31.0]))
    def time(self, seconds: float) -> None:
        self.table.pass_time(seconds)

    @rule(refuse=st.booleans())
    def holders_answer(self, refuse: bool) -> None:
        self.answer(m.AnswerCode.FULL if refuse else m.AnswerCode.DONE)

    def answer(self, code: int) -> None:
        custody = self.table.custody
        for node, trustee in list(custody.stewards.all.items()):
            for request in list(trustee.unanswered)[: 1 if code else None]:
                self.table.answer(node, request, code)
        for node, holder in list(custody.copies.holders.items()):
            for request in list(holder.awaited)[: 1 if code else None]:
                self.table.answer(node, request, code)

    # --- invariants ---

    @invariant()
    def every_index_is_in_one_place(self) -> None:
        if not hasattr(self, "table"):
            return
        book = self.table.grantor.book
        ledger, states = book.ledger, book.ledger.states
        owed = Counter(index for lease in book.leases.live.values() for index in cut(lease.open))
        doubled = sorted(index for index, times in owed.items() if times > 1)
        assert doubled == sorted(book.doubled) and max(owed.values(), default=0) <= 2
        for index, tokens in book.doubled.items():
            held = [book.leases.live[token] for token in tokens]
            assert all((index, 1) in [(i, 1) for i in cut(lease.open)] for lease in held)
            assert held[0].peer != held[1].peer and held[1].hedge
        assert sorted(owed) == [index for index, state in enumerate(states) if state == LEASED]
        waiting = [index for index, state in enumerate(states) if state == WAITING]
        assert (ledger.waiting, ledger.leased) == (len(waiting), len(owed))
        resting = [index for index, state in enumerate(states) if state == RESTING]
        assert ledger.resting == len(resting)
        assert set(resting) <= {index for _, _, spans in book.backoff._line for index in cut(spans)}
        lined = Counter()
        for barred, line in ledger._lines.items():
            here = [index for index in cut(list(line.spans)) if states[index] == WAITING]
            assert len(here) == line.waiting
            assert all(ledger.barred_from(index) == barred for index in here)
            assert line.waiting or barred == EVERYBODY
            lined.update(here)
        assert sorted(lined.elements()) == waiting

    @invariant()
    def what_peers_hold_adds_up(self) -> None:
        if not hasattr(self, "table"):
            return
        book = self.table.grantor.book
        peers = book.participants.peers
        for node, peer in peers.items():
            tokens = [token for token, lease in book.leases.live.items() if lease.peer == node]
            assert list(peer.tokens) == tokens
            assert peer.held == sum(book.leases.live[token].remaining for token in tokens)
            assert (peer.slots > 0) == peer.taken
        assert {lease.peer for lease in book.leases.live.values()} <= set(peers)
        assert book.participants.slots == sum(peer.slots for peer in peers.values())
        idle = [max(0, peer.slots - peer.held) for peer in peers.values() if peer.crowded_until == NOT_CROWDED]
        assert book.participants.slots_idle == sum(idle)
        assert not self.max_workers or book.participants.slots <= self.max_workers

    @invariant()
    def each_result_is_delivered_once_and_logged(self) -> None:
        if not hasattr(self, "table"):
            return
        table = self.table
        settled = [index for index, state in enumerate(table.grantor.ledger.states) if state == SETTLED]
        assert sorted(table.delivered) == settled
        log = table.grantor.log
        assert log.settled + sum(count for _, count in log._spans) == len(settled)
        assert table.custody.replicated <= log.settled

    @invariant()
    def pages_of_ended_tasks_are_dropped(self) -> None:
        if not hasattr(self, "table"):
            return
        stock, states = self.table.grantor.book.stock, self.table.grantor.ledger.states
        for page in stock._pages:
            assert page.open == sum(
                s in (WAITING, LEASED, RESTING) for s in states[page.first : page.first + page.count]
            )
            assert bool(page.sealed) == bool(page.open)
        open_tasks = sum(page.open for page in stock._pages)
        assert open_tasks == self.table.grantor.ledger.open

    # --- healing ---

    def teardown(self) -> None:
        """A peer that does as it is told comes, time passes: everything ends, and its log is safe."""
        if not hasattr(self, "table"):
            return
        table = self.table
        table.close()
        good = table.worker(50, slots=2, claims=False)
        for _ in range(80):
            if table.grantor.finished:
                break
            good.claim()
            for seconds in (0.0, 0.1, 1.0, 10.0, 10.0, 10.0):
                table.pass_time(seconds)
                done = 0
                while done < len(good.grants):
                    _, lease = good.grants[done]
                    done += 1
                    if table.grantor.leases.get(lease.token) is not None:
                        good.run(lease, last=True)
        assert table.grantor.finished
        ended = Counter(table.grantor.ledger.states)
        assert ended[WAITING] == ended[LEASED] == ended[RESTING] == 0
        failed = [index for event in table.seen(events.GaveUp) for index in event.indices]
        assert sorted(failed) == [i for i, state in enumerate(table.grantor.ledger.states) if state == FAILED]
        assert ended[SETTLED] + ended[FAILED] + ended[CANCELLED] == table.grantor.ledger.total
        for _ in range(80):  # a peer that refused is asked again after a quarter of an hour
            if table.custody.done:
                break
            table.pass_time(16.0)
            self.answer(m.AnswerCode.DONE)
        assert table.custody.done
        assert table.seen(events.Replicated) == [] or table.seen(events.Replicated)[-1].done
        assert ME.id not in table.custody.copies.holders
        found = judge(table.noted)
        assert found.ok, found.violations
        assert (found.settled, found.cancelled) == (ended[SETTLED], ended[CANCELLED])


Granting.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestWhateverHappens = Granting.TestCase


def test_a_task_that_takes_a_result_is_held_back_until_it_is_there_or_failed() -> None:
    book, _ = booked()
    book.need([(1, [0]), (3, [2])])
    assert (book.ledger.waiting, book.ledger.held) == (2, 2)
    assert book.cancel([(0, 1)]) == [] and book.ledger.waiting == 2
    book.fail([(2, 1)], "died")
    assert book.ledger.held == 0 and sorted(book.dependencies.named([(1, 1), (3, 1)])) == [0, 2]
    book.fail([(1, 1), (3, 1)])
    assert not book.dependencies.needs and not book.ledger.open


def test_what_an_earlier_epoch_settled_is_looked_up_for_those_that_take_it() -> None:
    book, _ = booked()
    book.need([(1, [0]), (2, [1])])
    book.ledger.settled_already([(0, 2)])
    book.reconcile()
    assert book.look_up() == [1]  # who took 0 has ended, too
