"""Custody: what stewards and holders have on disk, and that nothing is called done before."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol import events, vigil
from p2pcpn.protocol.effects import Commit, Effect, OnDisk, Probe, Publish, Tell, TellBlob, TellLog
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.statements import BlobRef, Handover, LogHeader, read, signed
from tests.unit.protocol.granting import ME, OWNER, Table, at, keypair, steward

A, B, C = keypair(20), keypair(21), keypair(22)
BLOB = bytes([3]) * 32


def guarded(*, stewards: int = 2, candidates: int = 0, **options: Any) -> Table:
    """A job with so many stewards, and so many storage peers beside them."""
    named = [steward(20 + number)[1] for number in range(stewards)]
    others = [at(keypair(30 + number), 5030 + number) for number in range(candidates)]
    return Table(stewards=named, candidates=others, **{"storing": False, **options})


def appends(table: Table, key: Keypair) -> list[m.Append]:
    """The log segments that a peer was sent as they were closed."""
    return [message for message in table.told.get(key.id, []) if isinstance(message, m.Append)]


def stored_in(effects: list[Effect], key: Keypair) -> list[TellLog]:
    """The stored log segments for a peer among ``effects``: each behind all that is being written."""
    behind = [
        follow for effect in effects if isinstance(effect, Commit) and not effect.writes for follow in effect.then
    ]
    assert not any(isinstance(effect, TellLog) for effect in effects), "one may not be on disk yet"
    return [effect for effect in behind if isinstance(effect, TellLog) and effect.to.id == key.id]


def stored(table: Table, key: Keypair) -> list[TellLog]:
    """The stored log segments that a peer was sent."""
    return stored_in(table.effects, key)


def answer_all(table: Table, key: Keypair) -> None:
    """A peer answers whatever it owes an answer."""
    while True:
        trustee, holder = table.custody.stewards.get(key.id), table.custody.copies.holders.get(key.id)
        owed = [*(trustee.unanswered if trustee else ()), *(holder.awaited if holder else ())]
        if not owed:
            return
        for request in owed:
            table.answer(key.id, request)


def settle(table: Table, count: int = 2) -> None:
    """Settle some tasks and close the segment of the log."""
    table.extend(count)
    worker = next(iter(table.workers.values()), None) or table.worker(10, slots=8)
    worker.run()
    table.pass_time(limits.LOG_SEGMENT_WAIT_S + 0.01)


def test_stewards_are_sent_spec_segments_and_statements_in_order() -> None:
    table = guarded()
    table.extend(2)
    table.close()
    for key in (A, B):
        assert [type(message) for message in table.told[key.id]] == [m.Introduce, m.Extend, m.Finish]
        assert table.told[key.id][0].keep
        assert table.told[key.id][1].keep


def test_kept_counts_stewards_that_have_everything_on_disk() -> None:
    table = guarded()
    table.extend(2)
    assert not table.seen(events.Kept)
    answer_all(table, A)
    assert table.seen(events.Kept)[-1] == events.Kept(table.job, 2, 1, 2)
    answer_all(table, B)
    assert table.seen(events.Kept)[-1] == events.Kept(table.job, 2, 2, 2)
    table.extend(1)
    assert table.custody.whole() == 0


def test_an_answer_that_nobody_waits_for_is_ignored() -> None:
    table = guarded()
    assert table.answer(A.id, 999) == []
    assert table.answer(keypair(99).id, 1) == []
    assert table.answer(B.id, next(iter(table.custody.stewards.all[A.id].unanswered))) == []


def test_blobs_lie_on_as_many_stewards_as_replicas_ask_for() -> None:
    code = BlobRef(bytes([5]) * 32, 10, b"")
    table = guarded(stewards=3, replicas=2, code=code)
    table.extend(1, blobs=[[BLOB]])
    sent = [(effect.to.id, effect.digest) for effect in table.effects if isinstance(effect, TellBlob)]
    assert sent == [(key.id, digest) for digest in (code.digest, BLOB) for key in (A, B)]
    assert table.custody.has_blob(A.id, BLOB)
    assert not table.custody.has_blob(C.id, BLOB)


def test_a_handover_is_told_to_every_steward() -> None:
    table = guarded()
    handover = signed(Handover(table.job, 1, A.public), OWNER)
    table.file(table.custody.show(m.Take(0, handover)))
    assert [table.told[key.id][-1].handover for key in (A, B)] == [handover, handover]
    assert table.custody.word == m.Take(0, handover)


def test_an_answer_that_names_a_request_twice_counts_once() -> None:
    table = guarded(stewards=1)
    table.extend(2)
    (trustee,) = table.custody.stewards.all.values()
    for request in list(trustee.unanswered):
        table.act(lambda g, now, request=request: g.answered(A.id, m.Answer(request, 0, "", [request, request]), now))
    assert table.seen(events.Kept)[-1] == events.Kept(table.job, 2, 1, 1)
    settle(table)
    for request in list(table.custody.copies.holders[A.id].awaited):
        table.act(lambda g, now, request=request: g.answered(A.id, m.Answer(request, 0, "", [request, request]), now))
    assert not table.custody.copies.holders[A.id].awaited


def test_what_was_not_answered_is_said_again_on_a_new_session() -> None:
    table = guarded()
    table.extend(2)
    assert table.session_closed(A.id) == [Probe(table.custody.stewards.all[A.id].contact)]
    again = table.peer_alive(A.id)
    assert [type(effect.message) for effect in again if isinstance(effect, Tell)] == [m.Introduce, m.Extend]
    assert table.peer_alive(A.id) == []
    answer_all(table, A)
    assert table.session_closed(A.id) == []


def test_log_segments_that_were_not_answered_are_said_again_too() -> None:
    table = guarded(stewards=1)
    answer_all(table, A)
    settle(table)
    [append] = appends(table, A)
    table.session_closed(A.id)
    again = stored_in(table.session_opened(A.id), A)
    assert [(effect.request, effect.number) for effect in again] == [(append.request, 0)]


def test_a_steward_with_which_no_session_holds_is_lost() -> None:
    table = guarded()
    for _ in range(vigil.DOUBTS_MAX + 1):
        table.session_closed(A.id)
        table.peer_alive(A.id)
    assert table.custody.stewards.get(A.id) is None
    assert table.session_closed(A.id) == []


def test_a_segment_goes_to_our_disk_and_every_steward() -> None:
    table = guarded()
    settle(table)
    [commit] = [effect for effect in table.effects if isinstance(effect, Commit) and effect.writes]
    assert commit.writes[0].table == "logs"
    assert len(appends(table, A)) == len(appends(table, B)) == 1


def test_workers_are_told_when_enough_holders_have_their_results() -> None:
    table = guarded(replicas=2)
    settle(table)
    [worker] = table.workers.values()
    answer_all(table, A)
    assert not worker.of(m.Settled)
    answer_all(table, B)
    assert worker.of(m.Settled) == [m.Settled(table.job, [(1, 0)])]


def test_done_means_that_every_segment_lies_on_enough_holders() -> None:
    table = guarded(replicas=2)
    settle(table)
    table.close()
    assert not table.seen(events.Replicated)[-1].done
    answer_all(table, A)
    assert table.seen(events.Replicated)[-1] == events.Replicated(table.job, 2, 0, 1, 2, False)
    answer_all(table, B)
    assert table.seen(events.Replicated)[-1] == events.Replicated(table.job, 2, 2, 2, 2, True)


def test_where_too_few_peers_exist_done_is_as_many_as_there_are() -> None:
    table = guarded(stewards=0, replicas=3, storing=True)
    settle(table)
    table.close()
    assert table.seen(events.Replicated)[-1] == events.Replicated(table.job, 2, 2, 1, 3, True)


def test_our_own_disk_counts_when_it_has_written_and_no_more_once_it_refused() -> None:
    table = guarded(stewards=0, replicas=2, storing=True, candidates=1)
    table.disk = None
    settle(table)
    table.close()
    assert table.seen(events.Replicated)[-1].copies == 0 and not table.custody.brought
    (commit,) = [effect for effect in table.effects if isinstance(effect, Commit) and effect.writes]
    (written,) = commit.then
    assert isinstance(written, OnDisk)
    table.act(lambda grantor, now: grantor.logged(written.header, True, now))
    assert table.seen(events.Replicated)[-1].copies == 1
    full = guarded(stewards=0, replicas=2, storing=True, candidates=2)
    full.disk = False
    settle(full)
    assert len(full.custody.known_holders()) == 2  # in our place another one


def test_what_our_disk_refused_is_sent_to_later_holders_from_memory() -> None:
    table = guarded(stewards=0, candidates=3, replicas=2)
    for disk in (True, False, True):
        table.disk = disk
        settle(table)
    for number in (30, 31):
        answer_all(table, keypair(number))
    table.peer_dead(keypair(30).id)
    assert [effect.number for effect in stored(table, keypair(32))] == [0, 2]
    assert [read(message.header, LogHeader).number for message in appends(table, keypair(32))] == [1]
    holder = table.custody.copies.holders[keypair(32).id]
    assert sorted(holder.awaited.values()) == [0, 1, 2]
    answer_all(table, keypair(32))
    assert table.custody.brought


def test_who_came_while_our_disk_had_not_refused_a_segment_yet_is_sent_it_then_and_nobody_else_twice() -> None:
    table = guarded(stewards=0, candidates=2, replicas=1)
    table.disk = None
    settle(table)
    (commit,) = [effect for effect in table.effects if isinstance(effect, Commit) and effect.writes]
    (written,) = commit.then
    assert isinstance(written, OnDisk)
    table.peer_dead(keypair(30).id)
    assert [effect.number for effect in stored(table, keypair(31))] == [0]
    table.act(lambda grantor, now: grantor.logged(written.header, False, now))
    (message,) = appends(table, keypair(31))
    (request,) = table.custody.copies.holders[keypair(31).id].awaited
    assert message.request == request and len(appends(table, keypair(30))) == 1
    answer_all(table, keypair(31))
    assert table.custody.brought


def test_refused_segments_are_kept_in_memory_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    table = guarded(stewards=0, candidates=2, replicas=1)
    table.disk = False
    settle(table)
    size = table.custody._refused_bytes
    assert size
    monkeypatch.setattr(limits, "LOG_REFUSED_BYTES_MAX", 3 * size)
    for _ in range(5):
        settle(table)
    assert 0 < table.custody._refused_bytes <= 3 * size
    assert list(table.custody._unwritten) == list(table.custody._refused) and 0 not in table.custody._unwritten
    table.disk = True
    settle(table)
    assert list(table.custody._unwritten) == list(table.custody._refused), "what was written is let go"


def test_all_has_ended_when_the_last_settlement_lies_on_enough_disks() -> None:
    table = guarded()
    settle(table)
    table.close()
    assert (table.grantor.ledger.open, table.grantor.left, table.grantor.mandate().open) == (0, 1, 1)
    answer_all(table, A)
    assert table.grantor.left == 1
    answer_all(table, B)
    assert table.grantor.left == 0
    said = [message.open for message in table.told[A.id] if isinstance(message, m.Mandate)]
    assert said[-1] == 0  # at once


def test_where_nobody_keeps_anything_nothing_is_ever_done() -> None:
    table = guarded(stewards=0)
    settle(table)
    table.close()
    table.pass_time(30.0)
    assert not table.seen(events.Replicated)[-1].done


def test_storage_peers_hold_the_log_where_stewards_are_too_few() -> None:
    table = guarded(stewards=1, candidates=3, replicas=3)
    settle(table)
    assert [len(appends(table, keypair(number))) for number in (20, 30, 31, 32)] == [1, 1, 1, 0]
    assert table.custody.wanted() == 3


def test_a_holder_beside_the_stewards_hears_by_what_right_we_grant_ahead_of_the_log() -> None:
    """It may keep the job in the place of one of them, and would refuse the log of whom it knows no handover to."""
    table = guarded(stewards=1, candidates=1)
    holder = keypair(30)
    word = m.Take(0, signed(Handover(table.job, 2, bytes(32)), OWNER))
    table.file(table.custody.show(word))
    settle(table)
    settle(table)

    def heard() -> list[str]:
        return [type(message).__name__ for message in table.told[holder.id] if isinstance(message, m.Take | m.Append)]

    assert heard() == ["Take", "Append", "Append"]  # once
    take = next(message for message in table.told[holder.id] if isinstance(message, m.Take))
    assert take.handover == word.handover and take.request
    table.session_closed(holder.id)
    again = table.peer_alive(holder.id)  # it may be lost as the log was, which comes from the disk
    assert [type(effect.message) for effect in again if isinstance(effect, Tell)] == [m.Take]
    assert [effect.number for effect in stored_in(again, holder)] == [0, 1]
    table.peer_dead(holder.id)
    assert holder.id not in table.custody._shown


def test_when_a_holder_dies_another_is_sent_the_log_from_its_beginning() -> None:
    table = guarded(stewards=0, candidates=3, replicas=2)
    for _ in range(3):
        settle(table)
    for number in (30, 31):
        answer_all(table, keypair(number))
    table.peer_dead(keypair(30).id)
    assert [effect.number for effect in stored(table, keypair(32))] == [0, 1, 2]
    assert table.seen(events.Replicated)[-1].replicated == 0 or table.seen(events.Replicated)[-1].copies == 1
    answer_all(table, keypair(32))
    assert table.seen(events.Replicated)[-1].copies == 2
    assert keypair(30).id not in [contact.id for contact in table.custody.holders()]


def test_a_peer_that_appears_late_is_sent_the_whole_log() -> None:
    table = guarded(stewards=0, replicas=1)
    for _ in range(2):
        settle(table)
    assert not table.workers[keypair(10).id].of(m.Settled)
    table.candidates.append(at(keypair(30), 5030))
    table.pass_time(vigil.LOOK_S + 0.1)
    assert [effect.number for effect in stored(table, keypair(30))] == [0, 1]
    answer_all(table, keypair(30))
    assert [message.parts for message in table.workers[keypair(10).id].of(m.Settled)] == [[(1, 0)], [(2, 0)]]


def test_a_holder_that_refuses_is_not_asked_again_soon() -> None:
    table = guarded(stewards=0, candidates=1, replicas=1)
    settle(table)
    table.answer(keypair(30).id, appends(table, keypair(30))[0].request, m.AnswerCode.FULL)
    settle(table)
    table.pass_time(60.0)
    assert len(appends(table, keypair(30))) == 1
    assert not stored(table, keypair(30))
    table.pass_time(vigil.REFUSED_S)
    assert stored(table, keypair(30))


def test_a_steward_that_refuses_is_lost() -> None:
    table = guarded()
    table.answer(A.id, next(iter(table.custody.stewards.all[A.id].unanswered)), m.AnswerCode.REFUSED)
    assert table.custody.stewards.get(A.id) is None
    assert table.seen(events.Kept)[-1].stewards == 1
    assert [type(message) for message in table.told[A.id]] == [m.Introduce]


def test_a_steward_that_was_lost_is_brought_the_whole_log_again_where_others_are_too_few() -> None:
    # Seeds 1, 21 and 22 of `churn` with two peers: both stewards had died once and lived, and no job was ever done.
    table = guarded(replicas=2)
    for _ in range(2):
        settle(table)
    table.close()
    for key in (A, B):
        answer_all(table, key)
        table.peer_dead(key.id)
    assert table.custody.known_holders() == []
    table.candidates += [table.custody.stewards.all[key.id].contact for key in (A, B)]
    table.pass_time(vigil.DEAD_S - vigil.LOOK_S)
    assert not stored(table, A), "not so soon"
    table.pass_time(2 * vigil.LOOK_S)
    for key in (A, B):
        assert [effect.number for effect in stored(table, key)] == [0, 1]
        answer_all(table, key)
    assert table.seen(events.Replicated)[-1] == events.Replicated(table.job, 4, 4, 2, 2, True)
    assert not table.custody.stewards.live, "of the segments of tasks it has no whole copy"


def test_a_steward_that_was_lost_hears_by_what_right_we_grant_ahead_of_the_log() -> None:
    table = guarded(stewards=1, replicas=1)
    table.peer_dead(A.id)
    table.file(table.custody.show(m.Take(0, signed(Handover(table.job, 2, bytes(32)), OWNER))))
    table.candidates.append(table.custody.stewards.all[A.id].contact)
    settle(table)
    table.pass_time(vigil.DEAD_S + vigil.LOOK_S)
    assert isinstance(table.told[A.id][-1], m.Take), "it was not told with the others"
    assert [effect.number for effect in stored(table, A)] == [0]


def test_a_holder_that_stays_silent_is_replaced() -> None:
    table = guarded(stewards=1, candidates=1, replicas=1)
    answer_all(table, A)
    settle(table)
    answer_all(table, A)
    settle(table)
    contact = table.custody.stewards.all[A.id].contact
    effects = table.pass_time(vigil.LOOK_S * (vigil.PROBE_LOOKS + 2))
    assert [effect for effect in effects if isinstance(effect, Probe)] == [Probe(contact)]
    assert table.peer_alive(A.id) == []
    assert table.custody.stewards.get(A.id) is not None
    table.pass_time(vigil.LOOK_S * (vigil.SILENT_LOOKS + 3))
    assert table.custody.stewards.get(A.id) is None
    assert [effect.number for effect in stored(table, keypair(30))] == [0, 1]


def test_a_holder_that_is_slow_but_answers_stays() -> None:
    table = guarded(stewards=1, replicas=1)
    for _ in range(20):
        settle(table)
        holder = table.custody.copies.holders[A.id]
        answer_all(table, A)
        table.pass_time(vigil.LOOK_S)
        assert table.custody.copies.holders[A.id] is holder


def test_a_holder_that_falls_behind_is_sent_the_rest_from_disk() -> None:
    table = guarded(stewards=1, replicas=1)
    for _ in range(20):
        settle(table, 1)
    assert len(appends(table, A)) == 16
    answer_all(table, A)
    assert [effect.number for effect in stored(table, A)] == [16, 17, 18, 19]
    assert table.custody.copies.whole == 1


def test_the_head_is_published_at_most_once_a_second_and_finally_with_done() -> None:
    table = guarded(stewards=1, replicas=1)
    started = table.now
    published: list[tuple[float, Publish]] = []
    for _ in range(30):
        table.extend(2)
        (next(iter(table.workers.values()), None) or table.worker(10)).run()
        for _ in range(3):
            published += [(table.now, e) for e in table.pass_time(0.05) if isinstance(e, Publish)]
        answer_all(table, A)
    table.close()
    answer_all(table, A)
    published += [(table.now, e) for e in table.pass_time(3.0) if isinstance(e, Publish)]
    assert 3 <= len(published) <= table.now - started + 1
    last = pages.LOG_HEAD.decode(published[-1][1].value)
    assert (last.done, last.settled, last.total) == (True, 60, 60)
    assert table.pass_time(30.0) == []


def _heads(effects: list[Effect]) -> list[tuple[int, int, bool]]:
    """What the heads among ``effects`` say: segments, indices that these settle, whether the job is done."""
    said = [pages.LOG_HEAD.decode(effect.value) for effect in effects if isinstance(effect, Publish)]
    return [(head.segments, head.settled, head.done) for head in said]


def test_the_head_names_what_others_have_as_soon_as_they_say_so_and_in_the_end_everything() -> None:
    # Seed 187 of `faults`: it named segments that died with the grantor, and readers waited for them for ever.
    table = guarded(replicas=1, storing=True)
    settle(table)
    assert _heads(table.pass_time(5.0)) == [], "only our own disk has it"
    answer_all(table, A)
    assert _heads(table.pass_time(0.0)) == [(1, 2, False)]
    settle(table, 3)
    table.close()
    assert table.seen(events.Replicated)[-1].done, "our own disk is enough for the owner"
    table.pass_time(5.0)
    assert _heads(table.effects)[-1] == (1, 2, True)
    answer_all(table, B)
    assert _heads(table.pass_time(5.0)) == [(2, 5, True)]


def test_where_nobody_else_keeps_the_log_the_head_names_what_our_disk_has() -> None:
    table = guarded(stewards=0, replicas=1, storing=True)
    table.disk = None
    settle(table)
    assert _heads(table.pass_time(5.0)) == []
    (commit,) = [effect for effect in table.effects if isinstance(effect, Commit) and effect.writes]
    (written,) = commit.then
    assert isinstance(written, OnDisk)
    table.act(lambda grantor, now: grantor.logged(written.header, True, now))
    assert _heads(table.pass_time(0.0)) == [(1, 2, False)]


def test_a_log_is_at_rest_when_its_head_says_how_long_it_is() -> None:
    table = guarded(stewards=1, replicas=1)
    for _ in range(2):
        settle(table)
        answer_all(table, A)
    assert table.custody.brought and not table.custody.at_rest
    table.pass_time(2.0)
    assert table.custody.at_rest and _heads(table.effects)[-1] == (2, 4, False)


def test_receipts_of_one_worker_are_acknowledged_in_messages_that_fit() -> None:
    table = guarded(stewards=0, storing=True, replicas=1)
    worker = at(keypair(10), 5010)
    for number in range(limits.BATCH_TASKS_MAX + 1):
        table.custody.journalled(worker, number, 0)
    settle(table)
    sizes = [len(message.parts) for message in table.told[worker.id] if isinstance(message, m.Settled)]
    assert sizes == [limits.BATCH_TASKS_MAX, 2]


def test_a_job_without_tasks_is_done_when_it_is_closed() -> None:
    table = guarded()
    table.close()
    assert table.seen(events.Replicated)[-1].done


def test_a_divided_job_is_every_stewards_with_all_that_its_tasks_name_and_its_standing_is_told() -> None:
    table = guarded(stewards=3, replicas=2)
    table.extend(1, blobs=[[BLOB]])
    division = signed(Handover(table.job, 1, bytes(32), 16), OWNER)
    for key in (A, B, C):
        answer_all(table, key)
    assert table.custody.whole() == 2, "the third has not what the task names"
    table.file(table.custody.divide(division, at(ME, 4000), [BLOB]))
    sent = [effect.to.id for effect in table.effects if isinstance(effect, TellBlob) and effect.digest == BLOB]
    assert sent == [A.id, B.id, C.id]
    assert [table.told[key.id][-1] for key in (A, B, C)] == [m.Take(n, division) for n in _requests(table)]
    for key in (A, B, C):
        answer_all(table, key)
    assert table.custody.whole() == 3
    standing = [said for said in table.told[ME.id] if isinstance(said, m.Standing)]
    assert [(said.epoch, said.settled, said.done) for said in standing] == [(0, 0, False)]
    table.extend(1, blobs=[[bytes([7]) * 32]])
    assert len([e for e in table.effects if isinstance(e, TellBlob) and e.digest[0] == 7]) == 3, "and so on"


def _requests(table: Table) -> list[int]:
    return [table.told[key.id][-1].request for key in (A, B, C)]  # type: ignore[attr-defined]
