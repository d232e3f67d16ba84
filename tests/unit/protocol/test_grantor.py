"""The grantor: claims, leases, results and what becomes of tasks when peers are lost, die or decline."""

from __future__ import annotations

from itertools import pairwise

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.protocol import events
from p2pcpn.protocol.effects import Commit, Hangup, LoadInputs, Probe, Publish, Spread, Tell, TellBlob
from p2pcpn.protocol.grantor import STANDBY, TAKEN, UNKNOWN, UNWANTED
from p2pcpn.protocol.hardship import PATIENCE_S, STALL_S
from p2pcpn.protocol.ledger import CANCELLED, FAILED, SETTLED
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Entry, Print, TaskPage
from p2pcpn.wire.sealing import digest, output_key, result_digest, seal
from p2pcpn.wire.statements import BlobRef, Cancel, Close, Outcome, Pause, Segment, Signed, owners_word, read, signed
from tests.unit.protocol.granting import KEYS, OWNER, Table, keypair, steward


def test_a_job_goes_from_a_claim_to_the_last_result() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    assert [type(message) for message in worker.said] == [m.Introduce, m.Grant]
    worker.run(last=True)
    table.close()
    assert table.delivered == [0, 1]
    assert table.grantor.finished
    assert not table.grantor.leases


def test_a_lease_is_signed_and_its_slices_cover_it() -> None:
    table = Table()
    table.extend(3, 3)
    worker = table.worker(10, slots=5)
    grant, lease = worker.grants[0]
    assert lease.worker == worker.node
    assert lease.spans == [(0, 5)]
    assert [(s.first, s.low, s.high) for s in grant.slices] == [(0, 0, 3), (3, 0, 2)]
    assert grant.slots == 5
    assert grant.result_key == KEYS.results(0, table.grantor.me.id, lease.token)


def test_pages_are_sent_once_to_a_peer() -> None:
    table = Table()
    table.extend(8)
    worker = table.worker(10, slots=2)
    worker.run()
    worker.run()
    assert len(worker.grants) > 1
    assert len(worker.of(m.Extend)) == 1


def test_equal_blobs_are_sent_once_to_a_peer() -> None:
    table = Table()
    blob = bytes([3]) * 32
    table.extend(2, 2, blobs=[[blob], [blob]])
    worker = table.worker(10, slots=4)
    sent = [e for e in table.effects if isinstance(e, TellBlob) and e.to == worker.contact]
    assert [effect.digest for effect in sent] == [blob]


def test_the_code_of_the_project_comes_with_the_introduction() -> None:
    code = BlobRef(bytes([5]) * 32, 10, b"")
    table = Table(code=code)
    table.extend(1)
    table.worker(10)
    assert [e.digest for e in table.effects if isinstance(e, TellBlob)] == [code.digest]


def test_a_claim_of_another_epoch_is_refused() -> None:
    table = Table()
    with pytest.raises(PeerError):
        table.worker(10, claims=False).claim(epoch=1)


def test_a_claim_without_slots_is_refused() -> None:
    table = Table()
    with pytest.raises(PeerError):
        table.worker(10, claims=False).claim(slots=0)


def test_a_claim_under_another_peers_key_is_refused() -> None:
    table = Table()
    worker = table.worker(10, claims=False)
    worker.key = keypair(11)
    with pytest.raises(PeerError):
        worker.claim()


def test_a_claim_of_a_job_that_has_ended_is_unknown() -> None:
    table = Table()
    table.extend(1)
    table.cancel_job()
    assert table.worker(10, claims=False).claim() == UNKNOWN


def test_claims_beyond_what_can_be_kept_are_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pcpn.limits.SESSIONS_MAX", 1)
    table = Table()
    table.worker(10)
    assert table.worker(11, claims=False).claim() == UNWANTED


def test_a_claim_that_comes_twice_changes_nothing() -> None:
    table = Table()
    table.extend(1)
    worker = table.worker(10)
    before = len(worker.said)
    assert worker.claim() == TAKEN
    assert len(worker.said) == before


def test_a_peer_that_restarted_and_claims_again_is_leased_its_tasks_anew() -> None:
    table = Table()
    table.extend(1)
    worker = table.worker(10)
    worker.boot = 2
    assert worker.claim() == TAKEN
    assert [lease.token for _, lease in worker.grants] == [1, 2]
    assert len(worker.of(m.Extend)) == 2


def test_a_peer_is_on_standby_until_there_is_work_for_it() -> None:
    table = Table()
    near, far = table.worker(10, slots=2), table.worker(11, slots=2)
    assert (near.claim(), far.claim()) == (STANDBY, STANDBY)
    table.extend(2)
    assert near.grants
    assert not far.grants
    table.extend(2)
    assert far.grants


def test_max_workers_bounds_the_slots_of_all_peers() -> None:
    table = Table(max_workers=3)
    table.extend(100)
    near, far, last = table.worker(10, slots=2), table.worker(11, slots=2), table.worker(12, slots=2)
    assert [grant.slots for worker in (near, far) for grant, _ in worker.grants] == [2, 1]
    assert last.claim() == STANDBY
    assert table.grantor.book.participants.slots == 3


def test_a_peer_taken_when_little_waited_gets_its_slots_when_more_does() -> None:
    table = Table(max_workers=4)
    table.extend(1)
    worker = table.worker(10, slots=4)
    worker.run()
    table.extend(100)
    assert worker.grants[-1][0].slots == 4
    assert worker.last.spans[0][0] == 1


def test_the_nearest_peers_are_taken_first() -> None:
    table = Table()
    far, near = table.worker(10, rtt_ms=9.0), table.worker(11, rtt_ms=1.0)
    table.extend(2)
    assert near.indices == [0, 1]
    assert not far.grants


def test_a_standby_peer_takes_over_when_another_leaves() -> None:
    table = Table(max_workers=2)
    table.extend(2)
    near, far = table.worker(10), table.worker(11)
    assert not far.grants
    near.give_back(near.last, "leaving")
    assert far.indices == [0, 1]


def test_a_peer_that_leaves_ends_what_it_runs_and_is_given_nothing_more() -> None:
    table = Table(max_workers=4)
    table.extend(4)
    leaving, other = table.worker(10, slots=2), table.worker(11, slots=2)
    lease = leaving.last
    leaving.give_back(lease, "leaving", [(lease.spans[0][0], 1)])
    assert not table.grantor.participants[leaving.node].taken
    assert sum(count for held in table.grantor.leases.values() for _, count in held.open) == 3
    other.run()
    assert lease.spans[0][0] in other.indices  # what was given back
    leaving.run(lease, spans=[(lease.spans[0][0] + 1, 1)])
    other.run()
    assert sorted(table.delivered) == [0, 1, 2, 3]
    grants = len(leaving.grants)
    table.extend(2)
    assert len(leaving.grants) == grants
    other.run()
    table.worker(10, slots=2)  # it claims again: it stays after all
    assert not table.grantor.participants[leaving.node].leaving


# --- leases end ---


def test_a_lease_that_expires_goes_to_the_next_claim() -> None:
    table = Table()
    table.extend(2)
    silent = table.worker(10)
    table.pass_time(29.0)
    assert table.grantor.leases
    table.pass_time(2.0)
    assert not table.grantor.leases
    assert len(silent.grants) == 1
    assert table.worker(11).indices == [0, 1]


def test_progress_renews_a_lease_and_tells_what_runs() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    table.pass_time(20.0)
    told = m.Progress(table.job, worker.last.token, [1, 7])
    table.act(lambda grantor, now: grantor.running.progress(worker.contact, told, now))
    table.pass_time(20.0)
    assert table.grantor.leases
    assert table.seen(events.Started) == [events.Started(table.job, [1])]


def test_progress_of_a_lease_that_is_anothers_is_ignored() -> None:
    table = Table()
    table.extend(2)
    worker, other = table.worker(10), table.worker(11)
    told = m.Progress(table.job, worker.last.token, [1])
    assert table.act(lambda grantor, now: grantor.running.progress(other.contact, told, now)) == []


def test_a_lost_session_is_probed_and_leases_nothing_more() -> None:
    table = Table()
    table.extend(8)
    worker = table.worker(10)
    assert Probe(worker.contact) in table.session_closed(worker.node)
    before = len(worker.grants)
    table.extend(8)
    assert len(worker.grants) == before


def test_the_leases_of_a_dead_peer_are_granted_to_others_at_once() -> None:
    table = Table()
    table.extend(2)
    worker, other = table.worker(10), table.worker(11)
    table.session_closed(worker.node)
    table.peer_dead(worker.node)
    assert other.indices == [0, 1]
    assert worker.node not in table.grantor.participants


def test_a_peer_that_lives_is_introduced_again_and_goes_on() -> None:
    table = Table()
    table.extend(8)
    worker = table.worker(10)
    lease = worker.last
    table.session_closed(worker.node)
    worker.said.clear()
    table.peer_alive(worker.node)
    assert [type(message) for message in worker.said] == [m.Introduce, m.Grant]
    assert (worker.last.token, worker.last.spans) == (lease.token, lease.spans)
    table.session_opened(worker.node)
    worker.run(lease)
    assert table.delivered == [0, 1]
    assert len(worker.grants) > 1


def test_a_session_that_comes_back_before_the_probes_answer_goes_on_too() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    table.session_closed(worker.node)
    worker.said.clear()
    table.session_opened(worker.node)
    said = [type(message) for message in worker.said]
    assert said == [m.Introduce, m.Grant]
    table.peer_alive(worker.node)
    assert [type(message) for message in worker.said] == said


def test_a_lease_is_said_again_for_what_it_still_owes() -> None:
    table = Table()
    table.extend(4)
    worker = table.worker(10, slots=4)
    worker.run(spans=[(1, 1)])
    table.session_closed(worker.node)
    table.session_opened(worker.node)
    assert worker.last.spans == [(0, 1), (2, 2)]


def test_a_peer_that_cannot_be_dialled_gives_back_what_it_never_got() -> None:
    table = Table(retries=0)
    table.extend(2)
    worker, other = table.worker(10), table.worker(11)
    table.session_closed(worker.node)
    table.peer_alive(worker.node)
    table.session_closed(worker.node)
    assert other.indices == [0, 1]
    assert not table.seen(events.GaveUp)


def test_a_peer_whose_sessions_do_not_hold_is_lost() -> None:
    table = Table(retries=0)
    table.extend(2)
    worker = table.worker(10)
    worker.run(spans=[(0, 1)])
    table.session_closed(worker.node)
    table.peer_alive(worker.node)
    table.session_closed(worker.node)
    assert [event.indices for event in table.seen(events.GaveUp)] == [[1]]


def test_a_peer_that_was_silent_and_speaks_again_is_leased_to_again() -> None:
    table = Table()
    table.extend(4)
    worker = table.worker(10)
    lease = worker.last
    table.pass_time(31.0)
    assert table.grantor.book.participants.slots == 0
    worker.run(lease)
    assert table.delivered == [0, 1]
    assert worker.last.spans == [(2, 2)]


def test_a_silent_peer_that_claims_again_is_taken_again() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    table.pass_time(31.0)
    assert worker.claim() == TAKEN
    assert len(worker.grants) == 2


def test_a_peer_said_to_be_dead_whose_session_is_open_may_still_speak() -> None:
    table = Table()
    table.extend(4)
    worker = table.worker(10)
    table.peer_dead(worker.node)
    assert not table.grantor.leases
    told = m.Progress(table.job, worker.last.token, [])
    table.act(lambda grantor, now: grantor.running.progress(worker.contact, told, now))
    table.extend(1)
    assert len(worker.grants) == 2


def test_a_peer_that_cannot_be_dialled_is_tried_again_later_and_later() -> None:
    table = Table()
    table.extend(2)
    worker, started, tried = table.worker(10), table.now, []
    while table.now < started + 200:
        if table.grantor.leases:
            tried.append(table.now - started)
            table.session_closed(worker.node)
            table.peer_alive(worker.node)
            table.session_closed(worker.node)
        table.pass_time(1.0)
    waits = [later - sooner for sooner, later in pairwise(tried)]
    assert 4 <= len(tried) <= 8
    assert waits == sorted(waits)
    table.extend(1)
    table.pass_time(70.0)
    table.session_opened(worker.node)
    worker.run()
    assert table.delivered


def test_an_idle_peer_whose_session_closes_is_forgotten() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    worker.run()
    assert table.session_closed(worker.node) == []
    assert not table.grantor.participants
    assert table.session_opened(worker.node) == []


def test_a_task_that_lost_its_peer_too_often_is_given_up() -> None:
    table = Table(retries=1)
    table.extend(1)
    for number in (10, 11):
        worker = table.worker(number)
        table.session_closed(worker.node)
        table.peer_dead(worker.node)
    [gave_up] = table.seen(events.GaveUp)
    assert (gave_up.indices, gave_up.died) == ([0], False)
    assert "2 times" in gave_up.text
    assert table.grantor.ledger.states[0] == FAILED


# --- what results settle ---


def test_an_old_token_settles_nothing_where_a_newer_lease_exists() -> None:
    table = Table()
    table.extend(2)
    slow = table.worker(10)
    old = slow.last
    table.pass_time(31.0)
    quick = table.worker(11)
    slow.run(old)
    assert table.delivered == []
    assert table.grantor.conflicts == 1
    quick.run()
    assert table.delivered == [0, 1]


def test_an_old_token_settles_what_waits_again() -> None:
    table = Table()
    table.extend(2)
    slow = table.worker(10)
    old = slow.last
    table.pass_time(31.0)
    slow.run(old)
    assert table.delivered == [0, 1]
    assert table.worker(11).claim() == STANDBY
    assert table.grantor.ledger.waiting == 0


def test_tasks_given_back_and_leased_again_are_fenced_from_a_live_lease() -> None:
    table = Table()
    table.extend(4)
    worker, other = table.worker(10, slots=4), table.worker(11, slots=4)
    lease = worker.last
    worker.give_back(lease, "late", [(2, 2)])
    assert other.indices == [2, 3]
    worker.run(lease)
    assert table.delivered == [0, 1]
    assert table.grantor.participants[other.node].held == 2
    other.run()
    assert table.delivered == [0, 1, 2, 3]


def test_a_lease_that_ends_gives_back_only_what_it_still_owes() -> None:
    table = Table()
    table.extend(4)
    worker, other = table.worker(10, slots=4), table.worker(11, slots=4)
    worker.give_back(worker.last, "late", [(2, 2)])
    table.session_closed(worker.node)
    table.peer_dead(worker.node)
    assert other.indices == [2, 3, 0, 1]
    assert (table.grantor.ledger.waiting, table.grantor.ledger.leased) == (0, 4)


def test_each_index_is_settled_once_and_its_worker_told_twice() -> None:
    table = Table(replicas=1)
    table.extend(2)
    worker = table.worker(10)
    message = worker.message(worker.last)
    worker.bring(message)
    table.pass_time(0.2)
    worker.bring(message)
    assert table.delivered == [0, 1]
    assert worker.of(m.Settled) == [m.Settled(table.job, [(1, 0)])] * 2


def test_results_that_come_twice_before_they_are_safe_are_acknowledged_with_them() -> None:
    table = Table(replicas=1)
    table.extend(2)
    worker = table.worker(10)
    message = worker.message(worker.last)
    worker.bring(message)
    worker.bring(message)
    table.pass_time(0.2)
    assert worker.of(m.Settled) == [m.Settled(table.job, [(1, 0), (1, 0)])]


def test_results_of_a_peer_that_was_forgotten_meanwhile_count() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    lease = worker.last
    table.act(lambda grantor, now: grantor._attendance.dismiss(grantor.participants[worker.node], now) or [])
    assert worker.node not in table.grantor.participants
    worker.run(lease)
    assert table.delivered == [0, 1]


def test_a_lease_whose_last_receipt_owes_some_ends_soon() -> None:
    table = Table()
    table.extend(4)
    worker = table.worker(10, slots=4)
    worker.run(spans=[(0, 2)], last=True)
    assert table.grantor.leases
    table.pass_time(1.5)
    assert not table.grantor.leases
    assert table.worker(11, slots=4).indices == [2, 3]


def test_the_receipts_that_a_last_one_overtook_are_still_good() -> None:
    table = Table()
    table.extend(4)
    worker = table.worker(10, slots=4)
    late = worker.message(worker.last, spans=[(2, 2)])
    worker.run(spans=[(0, 2)], last=True)
    worker.bring(late)
    assert table.delivered == [0, 1, 2, 3]


def test_output_is_passed_on_and_must_be_of_a_leased_task() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    key = output_key(KEYS.results(0, table.grantor.me.id, worker.last.token))

    def said(index: int) -> m.Output:
        return m.Output(table.job, worker.last.token, 1, seal(key, 1, pages.PRINT.encode(Print(index, 1, b"hello"))))

    table.act(lambda grantor, now: grantor.running.output(worker.contact, said(1), now))
    assert table.seen(events.Printed) == [events.Printed(table.job, 1, 1, b"hello", worker.node)]
    with pytest.raises(PeerError):
        table.grantor.running.output(worker.contact, said(2), table.now)
    assert table.grantor.running.output(table.worker(11).contact, said(1), table.now) == []


# --- deaths and declines ---


def test_a_task_that_died_on_three_peers_is_poison() -> None:
    table = Table()
    table.extend(1)
    workers = [table.worker(number) for number in (10, 11, 12)]
    for worker in workers:
        assert worker.indices == [0]
        worker.run(outcome=Outcome.DIED)
    [delivered] = table.seen(events.Delivered)
    assert delivered.outcomes == bytes([Outcome.DIED])
    assert table.grantor.ledger.states[0] == SETTLED


def test_a_task_that_died_where_it_could_run_waits_a_moment_and_ends_with_its_death() -> None:
    table = Table()
    table.extend(1)
    worker = table.worker(10)
    worker.run(outcome=Outcome.DIED)
    assert not table.seen(events.GaveUp)
    assert worker.indices == [0]
    table.pass_time(PATIENCE_S + 0.1)
    [gave_up] = table.seen(events.GaveUp)
    assert (gave_up.indices, gave_up.died, gave_up.signal) == ([0], True, 9)


def test_a_peer_that_comes_in_time_runs_what_died_elsewhere() -> None:
    table = Table()
    table.extend(1)
    table.worker(10).run(outcome=Outcome.DIED)
    table.pass_time(PATIENCE_S / 2)
    assert table.offers
    table.worker(11).run()
    assert table.delivered == [0]


def test_a_standby_peer_is_taken_for_what_died_even_where_no_slot_is_free() -> None:
    table = Table(max_workers=1)
    table.extend(1)
    first, second = table.worker(10, slots=1), table.worker(11, slots=1)
    assert not second.grants
    first.run(outcome=Outcome.DIED)
    assert second.indices == [0]
    assert table.grantor.book.participants.slots == 1


def test_the_mates_of_a_task_that_died_are_settled_or_returned_uncharged() -> None:
    table = Table(retries=0)
    table.extend(4)
    worker = table.worker(10, slots=4)
    lease = worker.last
    worker.run(lease, spans=[(0, 1)])
    worker.give_back(lease, "late", [(2, 2)])
    worker.run(lease, spans=[(1, 1)], outcome=Outcome.DIED, last=True)
    assert table.delivered == [0]
    assert worker.last.spans == [(2, 2)]
    assert not table.seen(events.GaveUp)


def test_a_death_that_does_not_decode_is_refused_and_changes_nothing() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    with pytest.raises(PeerError):
        worker.run(outcome=Outcome.DIED, value=lambda index: b"\xc1")
    with pytest.raises(PeerError):
        worker.run(outcome=Outcome.DIED, value=lambda index: BlobRef(bytes(32), 1, b""))
    assert not table.grantor.ledger.troubles
    assert table.grantor.participants[worker.node].held == 2


def test_a_decline_excludes_the_peer_and_shows_as_stalled() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    worker.give_back(worker.last, "declined")
    assert len(worker.grants) == 1
    table.pass_time(STALL_S + 0.1)
    assert table.seen(events.Stalled) == [events.Stalled(table.job, ((worker.node, "says declined"),))]
    table.pass_time(STALL_S)
    assert len(table.seen(events.Stalled)) == 2
    table.worker(11).run()
    assert table.delivered == [0, 1]
    table.pass_time(3 * STALL_S)
    assert len(table.seen(events.Stalled)) == 2


def test_a_peer_that_lacks_something_is_sent_it_again() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    worker.give_back(worker.last, "missing")
    said = [type(message) for message in worker.said]
    assert said == [m.Introduce, m.Grant] * 2


def test_a_peer_that_goes_on_lacking_takes_part_no_more() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    while worker.node in table.grantor.participants:
        effects = worker.give_back(worker.last, "missing")
    assert len(worker.grants) < 10
    assert [effect.peer for effect in effects if isinstance(effect, Hangup)] == [worker.node]


def test_a_return_of_tasks_outside_the_lease_is_refused() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    with pytest.raises(PeerError):
        worker.give_back(worker.last, "late", [(1, 2)])
    assert table.worker(11).give_back(worker.last, "late") == []


@pytest.mark.parametrize("code", ["late", "recalled", "unreachable", "unusable", "missing"])
def test_a_return_that_names_a_task_twice_is_refused_and_the_job_still_ends(code: str) -> None:
    table = Table()
    table.extend(4)
    worker = table.worker(10, slots=4)
    with pytest.raises(PeerError, match="twice"):
        worker.give_back(worker.last, code, [(0, 1)] * 4)
    with pytest.raises(PeerError, match="twice"):
        worker.give_back(worker.last, code, [(0, 3), (2, 1)])
    assert table.grantor.participants[worker.node].held == 4
    table.act(lambda grantor, now: grantor.peer_dead(worker.node, now))
    table.worker(11, slots=4).run()
    assert table.delivered == [0, 1, 2, 3] and not table.seen(events.GaveUp)


# --- the owner's words ---


def test_cancelled_tasks_are_revoked_where_they_are_leased() -> None:
    table = Table()
    table.extend(6)
    worker = table.worker(10, slots=4)
    table.act(lambda grantor, now: grantor.cancel([(3, 3)], stop=False, now=now))
    assert worker.of(m.Revoke) == [m.Revoke(table.job, [(3, 1)], False)]
    assert list(table.grantor.ledger.states[3:]) == [CANCELLED] * 3
    worker.run(worker.grants[0][1])
    assert table.delivered == [0, 1, 2]


def test_a_cancelled_job_revokes_everything_and_is_finished() -> None:
    table = Table()
    table.extend(6)
    worker = table.worker(10, slots=4)
    table.cancel_job()
    assert worker.of(m.Revoke) == [m.Revoke(table.job, [(0, 4)], True)]
    assert table.grantor.finished
    assert table.grantor.participants[worker.node].held == 0


def test_a_closed_job_is_finished_with_its_last_task() -> None:
    table = Table()
    table.extend(2)
    table.close()
    assert not table.grantor.finished
    table.worker(10).run()
    assert table.grantor.finished
    assert table.grantor.deadline() is not None  # the head of the log is still to be published
    assert any(isinstance(effect, Publish) for effect in table.pass_time(2.0))


def test_a_grantor_that_does_not_grant_only_keeps_the_job() -> None:
    table = Table(granting=False)
    assert [type(effect) for effect in table.extend(2)] == []
    assert table.worker(10, claims=False).claim() == UNKNOWN


# --- offers ---


def test_offers_grow_in_number_and_reach_and_come_less_and_less_often() -> None:
    table = Table()
    table.extend(4)
    times = [table.now]
    for _ in range(6):
        before = len(table.offers)
        while len(table.offers) == before:
            due = table.grantor.deadline()
            assert due is not None
            table.pass_time(due - table.now)
        times.append(table.now)
    assert [offer.number for offer, _ in table.offers] == [1, 2, 3, 4, 5, 6, 7]
    assert [hops for _, hops in table.offers] == [2, 3, 4, 5, 6, 7, 8]
    waits = [later - sooner for sooner, later in pairwise(times)]
    assert waits == sorted(waits)
    assert table.offers[0][0].waiting == 4


def test_an_offer_asks_for_the_slots_that_lack() -> None:
    table = Table(max_workers=3)
    table.extend(100)
    assert table.offers[-1][0].slots_wanted == 3
    table.worker(10, slots=3)
    before = len(table.offers)
    table.pass_time(20.0)
    assert len(table.offers) == before


# --- taking a job over ---


def test_a_job_that_is_taken_over_goes_on_where_the_log_ends() -> None:
    table = Table()
    for counts in ((2, 2), (2,)):
        segment, sealed = table.segment(*counts)
        table.grantor.restore(segment, sealed, [[] for _ in counts])
    table.grantor.ledger.settled_already([(0, 2), (3, 1)])
    worker = table.worker(10, slots=8, claims=False)
    table.act(lambda grantor, now: grantor.begin(now))
    assert len(table.grantor.book.stock) == 2
    worker.claim()
    assert worker.indices == [2, 4, 5]
    worker.run()
    assert len(table.grantor.book.stock) == 0


def test_nothing_is_remembered_of_tasks_that_have_ended() -> None:
    table = Table(replicas=1)
    worker = table.worker(10, slots=8)
    for _ in range(200):
        table.extend(2)
        worker.run()
        table.pass_time(0.2)
    book = table.grantor.book
    assert len(book.stock) == 0
    assert len(book.stock._pages) < 200
    assert not book.stock.segments
    assert not book.leases.live
    assert not book.leases.unfulfilled
    assert not book.ledger._lines[frozenset()].spans
    assert not table.custody.copies._pending
    assert [e for e in table.effects if isinstance(e, Tell) and isinstance(e.message, m.Settled)]


def gave_up(table: Table) -> list[tuple[list[int], str]]:
    return [(event.indices, event.text) for event in table.events if isinstance(event, events.GaveUp)]


def test_when_the_deadline_passes_what_is_open_fails_and_what_runs_is_stopped() -> None:
    table = Table(deadline_s=20.0)
    table.extend(6)
    worker = table.worker(10, slots=2)
    worker.run()  # two of six; two more are leased to it by now
    table.pass_time(19.0)
    assert gave_up(table) == []
    table.pass_time(1.0)
    ((indices, text),) = gave_up(table)
    assert indices == [2, 3, 4, 5] and text.startswith("deadline passed: the job had 20 s")
    assert worker.of(m.Revoke)[-1] == m.Revoke(table.job, worker.last.spans, True)
    assert table.grantor.finished and table.grantor.ledger.open == 0
    table.pass_time(600.0)
    assert len(gave_up(table)) == 1


@pytest.mark.parametrize("befalls", ["its lease ends", "its peer dies", "its session is lost", "its peer restarts"])
def test_what_is_open_at_its_deadline_failed_of_that_whatever_else_befalls_it_in_the_same_moment(befalls: str) -> None:
    table = Table(deadline_s=20.0, retries=0)
    worker = table.worker(10, slots=2)
    table.pass_time(1.0)
    table.extend(2)
    worker.run(spans=[(0, 1)])
    if befalls == "its session is lost":  # for good: it was redialled already
        table.session_closed(worker.node)
        table.peer_alive(worker.node)
    table.now += 40.0  # nobody looked at a clock meanwhile: the deadline and the end of the lease are both past
    if befalls == "its lease ends":
        table.act(lambda grantor, now: grantor.expire(now))
    elif befalls == "its peer dies":
        table.peer_dead(worker.node)
    elif befalls == "its session is lost":
        table.session_closed(worker.node)
    else:
        worker.boot += 1
        assert worker.claim() == UNKNOWN
    assert [(indices, text[:15]) for indices, text in gave_up(table)] == [([1], "deadline passed")]


def test_a_task_that_is_added_after_the_deadline_fails_at_once() -> None:
    table = Table(deadline_s=5.0)
    table.pass_time(6.0)
    table.extend(2)
    assert [indices for indices, _ in gave_up(table)] == [[0, 1]]


def test_results_that_came_in_time_need_no_deadline() -> None:
    table = Table(deadline_s=5.0)
    table.extend(2)
    table.worker(10).run()
    table.close()
    table.pass_time(60.0)
    assert gave_up(table) == []


def test_an_open_job_to_which_nothing_was_added_for_its_time_to_live_ends_by_itself() -> None:
    table = Table(ttl_s=30.0)
    table.extend(1)
    table.pass_time(29.0)
    table.extend(1)
    table.pass_time(29.0)
    assert not table.grantor.lapsed
    table.pass_time(1.0)
    assert table.events.count(events.Lapsed(table.job)) == 1
    assert table.grantor.total == 2 and not table.grantor.finished  # what waits still runs
    table.worker(10).run()
    assert table.grantor.finished


def test_a_closed_job_does_not_lapse_and_one_that_lapsed_takes_what_its_owner_adds_all_the_same() -> None:
    closed, late = Table(ttl_s=30.0), Table(ttl_s=30.0)
    closed.extend(1)
    closed.close()
    closed.pass_time(100.0)
    assert events.Lapsed(closed.job) not in closed.events
    late.pass_time(31.0)
    assert late.grantor.finished
    late.extend(1)
    assert not late.grantor.finished
    late.worker(10).run()
    late.pass_time(31.0)
    assert late.events.count(events.Lapsed(late.job)) == 2


def test_a_job_whose_owner_is_about_to_add_to_it_is_prolonged_also_after_it_lapsed() -> None:
    table = Table(ttl_s=30.0)
    table.extend(1)
    table.pass_time(29.0)
    assert table.grantor.prolong(table.now) == []
    table.pass_time(29.0)
    assert not table.grantor.lapsed
    table.pass_time(1.0)
    assert table.grantor.lapsed
    table.grantor.prolong(table.now)
    assert table.grantor.total is None and not table.grantor.lapsed
    table.pass_time(30.0)
    assert table.events.count(events.Lapsed(table.job)) == 2


def test_without_a_deadline_or_a_time_to_live_a_job_stays_open_for_ever() -> None:
    table = Table()
    table.extend(1)
    table.worker(10).run()
    for day in range(10):  # longer than anything is kept; of each day its first hour step by step
        table.now = max(table.now, day * 86_400.0)
        table.pass_time(3_600.0)
        assert not table.grantor.finished
    table.extend(1)
    assert table.grantor.ledger.open == 1


def pause(table: Table, number: int, paused: bool = True) -> Signed:
    return signed(Pause(table.job, number, paused), OWNER)


def say_pause(table: Table, number: int, paused: bool = True) -> None:
    table.act(lambda grantor, now: grantor.pause_job(pause(table, number, paused), now))


def test_a_paused_job_leases_nothing_and_wants_back_what_has_not_begun() -> None:
    table = Table()
    table.extend(20)
    worker = table.worker(10, slots=2)
    worker.run()
    granted, held = len(worker.grants), table.grantor.ledger.leased
    say_pause(table, 1)
    assert worker.of(m.Recall) == [m.Recall(table.job, held)] and events.Paused(table.job, True) in table.events
    lease = worker.last
    worker.give_back(lease, "recalled", [(lease.spans[0][0] + 1, lease.spans[0][1] - 1)])
    assert worker.run(lease, spans=[(lease.spans[0][0], 1)])  # what runs may end, and counts
    table.worker(11)
    table.extend(3)
    table.pass_time(100.0)
    assert len(worker.grants) == granted and table.workers[keypair(11).id].grants == []
    assert not [effect for effect in table.effects[-5:] if isinstance(effect, Spread)]
    say_pause(table, 2, paused=False)
    assert len(worker.grants) + len(table.workers[keypair(11).id].grants) > granted


def test_an_older_word_on_pausing_changes_nothing() -> None:
    table = Table(stewards=[steward(20)[1]])
    say_pause(table, 7)
    told = len(table.told[keypair(20).id])
    for number, paused in ((7, False), (6, False), (1, True)):
        say_pause(table, number, paused)
    assert table.grantor.paused and len(table.told[keypair(20).id]) == told
    say_pause(table, 8, paused=False)
    assert not table.grantor.paused
    assert table.told[keypair(20).id][-1].statement == pause(table, 8, False)  # type: ignore[union-attr]


def test_who_comes_back_to_a_paused_job_gives_back_what_it_has_not_begun() -> None:
    table = Table()
    table.extend(20)
    worker = table.worker(10, slots=2)
    table.session_closed(worker.node)
    say_pause(table, 1)
    worker.said.clear()
    table.session_opened(worker.node)
    assert isinstance(worker.said[-1], m.Recall)


def test_what_a_peer_holds_beyond_one_word_is_recalled_by_several(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    table.extend(20)
    worker = table.worker(10, slots=5)
    monkeypatch.setattr("p2pcpn.protocol.grantor.limits.BATCH_TASKS_MAX", 2)
    say_pause(table, 1)
    assert [recall.count for recall in worker.of(m.Recall)] == [2, 2, 1]


def test_a_finished_job_only_notes_that_it_pauses() -> None:
    table = Table()
    table.close()
    say_pause(table, 1)
    assert table.grantor.paused and table.grantor.finished


def test_the_owners_word_is_obeyed_wherever_it_comes_from() -> None:
    table = Table()
    table.extend(2)
    for statement in (
        pause(table, 1),
        signed(Close(table.job, 2, bytes(32)), OWNER),
        signed(Cancel(table.job, 1.0), OWNER),
    ):
        table.act(lambda grantor, now, s=statement: grantor.told(s, read(s, owners_word(s)), now))  # type: ignore[misc]
    assert table.grantor.paused and table.grantor.total == 2 and table.grantor.cancelled
    assert table.events.count(events.Cancelled(table.job)) == 1
    assert table.cancel_job() == []


def extend_needing(table: Table, count: int, needs: list[tuple[int, list[int]]]) -> None:
    segment, sealed = table.segment(count)
    table.act(lambda grantor, now: grantor.extend(segment, sealed, [[]], now, needs))


def test_a_task_is_leased_once_its_inputs_are_there_and_they_go_ahead_of_its_lease() -> None:
    table = Table()
    extend_needing(table, 3, [(1, [0]), (2, [0, 1])])
    worker = table.worker(10, slots=4)
    assert worker.indices == [0]
    worker.run()
    assert worker.indices == [0, 1]
    inputs = worker.of(m.Inputs)[-1]
    (given,) = inputs.inputs
    assert (inputs.job, inputs.token, given.index, given.value) == (table.job, worker.last.token, 0, b"value 0")
    assert given.digest == result_digest(KEYS.digests, b"value 0")
    kinds = [type(message) for message in worker.said]
    assert kinds[-2:] == [m.Inputs, m.Grant]
    worker.run()
    assert [each.index for each in worker.of(m.Inputs)[-1].inputs] == [0, 1]
    worker.run()
    table.close()
    assert table.grantor.finished and not table.grantor.book.dependencies.values


def test_a_large_input_is_had_from_who_ran_it_and_who_keeps_it() -> None:
    _, named = steward(20)
    table = Table(stewards=[named])
    extend_needing(table, 2, [(1, [0])])
    worker = table.worker(10, slots=1)
    ref = BlobRef(bytes([9]) * 32, 1 << 20, bytes(32))
    worker.run(value=lambda index: ref)
    (given,) = worker.of(m.Inputs)[-1].inputs
    assert given.value == ref and given.holders[0] == worker.contact
    assert given.digest == result_digest(KEYS.digests, ref.digest)


def test_whoever_takes_a_failed_result_runs_to_fail_with_it() -> None:
    table = Table()
    extend_needing(table, 3, [(1, [0]), (2, [1])])
    table.act(lambda grantor, now: grantor.cancel([(0, 1)], stop=False, now=now))
    worker = table.worker(10)
    (given,) = worker.of(m.Inputs)[-1].inputs
    assert worker.indices == [1] and b"was cancelled" in given.value  # type: ignore[operator]


def test_a_result_that_nobody_remembers_is_read_from_the_log() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    message = worker.message(worker.last)
    worker.bring(message)
    table.pass_time(1.0)
    extend_needing(table, 1, [(2, [0, 1])])
    loads = [e for c in table.effects if isinstance(c, Commit) for e in c.then if isinstance(e, LoadInputs)]
    assert loads == [LoadInputs(table.job, (0, 1))] and 2 not in worker.indices
    good = Entry(message.receipt, message.page, [(0, 1)])
    forged = Entry(message.receipt, message.page + b"x", None)
    table.act(lambda grantor, now: grantor.loaded((0, 1), [(0, forged), (0, good)], now))
    first, second = worker.of(m.Inputs)[-1].inputs
    assert first.value == b"value 0" and b"is lost" in second.value and 2 in worker.indices  # type: ignore[operator]


def test_inputs_of_a_lease_are_told_in_parts_and_are_no_more_than_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INPUTS_AT_ONCE_MAX", 2)
    monkeypatch.setattr(limits, "LEASE_INPUTS_MAX", 3)
    table = Table()
    table.extend(3)
    extend_needing(table, 4, [(3, [0, 1, 2]), (4, [0]), (5, [1]), (6, [2])])
    worker = table.worker(10, slots=8)
    worker.run()
    assert worker.last.spans == [(3, 1)] and [len(each.inputs) for each in worker.of(m.Inputs)] == [2, 1]
    worker.run()
    assert worker.last.spans == [(4, 3)]


def test_a_grantor_that_takes_over_reads_from_the_pages_who_takes_what() -> None:
    table = Table()
    page = TaskPage([b"f"], None, [b"a", b"b"], [], [(1, [0])], [0])
    sealed = seal(KEYS.page(0), 0, pages.TASKS.encode(page))
    said = Segment(table.job, 0, 0, bytes(32), [(2, digest(sealed))], [], [])
    table.grantor.restore(signed(said, OWNER), [sealed], [[]])
    assert (table.grantor.ledger.waiting, table.grantor.ledger.held) == (1, 1)
    table.grantor.ledger.settled_already([(0, 1)])
    effects = table.act(lambda grantor, now: grantor.begin(now))
    assert LoadInputs(table.job, (0,)) in [e for c in effects if isinstance(c, Commit) for e in c.then]
