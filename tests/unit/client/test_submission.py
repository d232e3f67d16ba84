"""A submission turns calls into segments that stewards keep, and deliveries into results of futures."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, wait
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.client.bundle import Bundle
from p2pcpn.client.chunking import FIRST
from p2pcpn.client.chunks import run_items
from p2pcpn.client.futures import TaskFuture
from p2pcpn.client.maps import Chunk
from p2pcpn.client.options import Options
from p2pcpn.client.submission import Submission
from p2pcpn.errors import JobCancelled, JobError, Unreachable, WorkerDied
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol import events
from p2pcpn.protocol.items import record_key
from p2pcpn.runtime.function import failures
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Death
from p2pcpn.wire.sealing import digest, seal
from p2pcpn.wire.statements import BlobRef, Outcome

Peers = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\3" * 32)
WORKER = b"w" * 20


async def opened(peer: Peers, *, stewards: int = 1, granting: bool = True, **options: Any) -> Submission:
    keepers = [await peer(roles=("storage",))]
    keepers += [await peer(keepers[0], roles=("storage",)) for _ in range(stewards - 1)]
    client = await peer(keepers[0])
    bundle = Bundle(b"modules", b"", {}, {})
    return await Submission.open(client, OWNER, Options(**options), bundle, granting=granting, gather=stewards)


async def turns(reached: Callable[[], Any], wait_s: float = 10.0) -> None:
    async with asyncio.timeout(wait_s):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def delivered(
    submission: Submission, index: int, value: bytes | BlobRef, outcome: int = Outcome.OK
) -> events.Delivered:
    return events.Delivered(submission.job, [index], bytes([outcome]), [value], WORKER, [])


@pytest.mark.asyncio
async def test_tasks_code_and_the_way_to_them_lie_on_the_stewards(peer: Peers) -> None:
    submission = await opened(peer, stewards=2)
    futures = [submission.submit(pow, (2, i), {}) for i in range(600)]
    large = submission.submit(len, (bytes(100_000),), {})
    await submission.close()
    assert await submission.kept(10) == 2
    assert submission.progress.total == 601 and submission.unfinished() == [*futures, large]
    found = await submission.overlay.get_record(record_key(OWNER.public, submission.job))
    assert found.record is not None and len(pages.JOB_POINTER.decode(found.record.value).stewards) == 2
    with pytest.raises(RuntimeError, match="after shutdown"):
        submission.submit(pow, (1, 1), {})
    submission.forget()
    assert submission.job not in submission.overlay.peer.grantors


@pytest.mark.asyncio
async def test_results_resolve_futures_and_let_go_of_them(peer: Peers) -> None:
    submission = await opened(peer)
    keep, ended = object(), list[list[int]]()
    submission.on_delivered = ended.append
    futures = [submission.submit(pow, (2, i), {}, keep=keep) for i in range(5)]
    value = pickle.dumps("large")
    key = submission.keys.blob(digest(value))
    sealed = seal(key, 0, value)
    submission.overlay.shelf.put(digest(sealed), sealed, submission.job, 60)
    submission._event(events.Started(submission.job, [0, 99]))
    assert futures[0].running() and not futures[1].running()
    death = pages.DEATH.encode(Death(9, None))
    submission._event(delivered(submission, 0, pickle.dumps(7)))
    submission._event(delivered(submission, 1, failures.encode(ValueError("no")), Outcome.RAISED))
    submission._event(delivered(submission, 2, death, Outcome.DIED))
    submission._event(delivered(submission, 3, BlobRef(digest(sealed), len(sealed), key)))
    assert submission._keep is keep
    submission._event(delivered(submission, 4, b"no pickle"))
    submission._event(delivered(submission, 4, pickle.dumps("again")))
    assert futures[0].result(0) == 7 and futures[3].result(0) == "large"
    assert isinstance(futures[1].exception(0), ValueError)
    assert isinstance(error := futures[2].exception(0), WorkerDied) and error.signal == 9
    assert isinstance(futures[4].exception(0), pickle.UnpicklingError)
    assert submission._keep is None and submission.unfinished() == [] and submission._idle.is_set()
    assert submission.by_peer == {WORKER: 6} and submission.progress.failed == 2 and ended[:2] == [[0], [1]]


@pytest.mark.asyncio
async def test_a_large_result_that_is_not_here_is_awaited_or_is_lost(peer: Peers) -> None:
    submission = await opened(peer)
    late, lost, never = (submission.submit(pow, (2, i), {}) for i in range(3))
    value = pickle.dumps("late")
    key = submission.keys.blob(digest(value))
    sealed = seal(key, 0, value)
    part = len(sealed) // 2
    done: list[Any] = []
    shelf = submission.overlay.shelf
    shelf.arrive(WORKER, digest(sealed), len(sealed), 0, sealed[:part], submission.job, 60, done.append)
    submission._event(delivered(submission, 0, BlobRef(digest(sealed), len(sealed), key)))
    submission._event(delivered(submission, 1, BlobRef(b"d" * 32, 9, key)))
    assert late in submission.unfinished()  # a shutdown waits for it
    shelf.arrive(WORKER, digest(sealed), len(sealed), part, sealed[part:], submission.job, 60, done.append)
    await turns(lambda: late.done() and lost.done())
    assert late.result(0) == "late"
    assert isinstance(lost.exception(0), JobError) and "no peer that answers has the blob" in str(lost.exception(0))
    assert not never.done()


@pytest.mark.asyncio
async def test_a_blob_that_its_key_does_not_open_is_lost_and_costs_no_other_task(peer: Peers) -> None:
    submission = await opened(peer)
    futures = [submission.submit(pow, (2, i), {}) for i in range(4)]
    sealed = seal(submission.keys.blob(digest(b"x")), 0, pickle.dumps("x"))
    submission.overlay.shelf.put(digest(sealed), sealed, submission.job, 60)
    wrong = BlobRef(digest(sealed), len(sealed), bytes(32))
    values = [pickle.dumps(1), wrong, wrong, pickle.dumps(4)]
    said = bytes([Outcome.OK, Outcome.OK, Outcome.RAISED, Outcome.OK])
    submission._event(events.Delivered(submission.job, [0, 1, 2, 3], said, values, WORKER, []))
    assert [futures[0].result(0), futures[3].result(0)] == [1, 4]
    for index in (1, 2):
        assert isinstance(error := futures[index].exception(0), JobError) and f"task {index} is lost" in str(error)
    assert submission.progress.failed == 2 and submission._room.used_bytes == 0 and not submission.busy


@pytest.mark.asyncio
async def test_what_cannot_be_pickled_fails_alone_and_takes_no_index(peer: Peers) -> None:
    submission = await opened(peer)
    bad, good = submission.submit(len, (threading.Lock(),), {}), submission.submit(len, ((),), {})
    assert isinstance(bad.exception(0), (TypeError, pickle.PicklingError)) and good.index == 0
    assert submission.unfinished() == [good]


@pytest.mark.asyncio
async def test_cancelled_futures_are_taken_back_also_before_they_were_cut(peer: Peers) -> None:
    submission = await opened(peer)
    futures = [submission.submit(pow, (2, i), {}) for i in range(10)]
    assert futures[0].cancel()
    submission._flush()
    assert futures[3].cancel() and wait([futures[0], futures[3]], timeout=0).not_done == set()
    submission._flush()
    assert set(submission.unfinished()) == {f for i, f in enumerate(futures) if i not in (0, 3)}
    grantor = submission.overlay.peer.grantors[submission.job]
    assert grantor.ledger.open == 8
    submission._event(events.Started(submission.job, [4]))
    assert not futures[4].cancel()


@pytest.mark.asyncio
async def test_what_was_cancelled_just_before_a_peer_began_it_makes_room_again(peer: Peers) -> None:
    submission = await opened(peer)
    future = submission.submit(pow, (2, 2), {})
    submission.map(abs, (range(100),), None)
    submission._flush()
    out = list(submission._futures)
    assert future.cancel() and submission._room.used_bytes > 0
    submission._maps.cancel()
    submission._event(events.Started(submission.job, out))
    submission._flush()
    assert submission._room.used_bytes == 0 and not submission.busy


@pytest.mark.asyncio
async def test_nothing_is_cut_while_peers_lag_behind(peer: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = await opened(peer)
    lagging = True
    monkeypatch.setattr(Overlay, "congested", property(lambda _: lagging))
    futures = [submission.submit(pow, (2, i), {}) for i in range(10)]
    submission._flush()
    assert submission.progress.total == 0
    assert futures[2].cancel()
    closing = asyncio.ensure_future(submission.close())
    await asyncio.sleep(0.03)
    assert not closing.done()
    lagging = False
    await asyncio.wait_for(closing, 10)
    await turns(lambda: submission.overlay.peer.grantors[submission.job].ledger.open == 9)
    assert submission.progress.total == 10


@pytest.mark.asyncio
async def test_tasks_that_were_given_up_fail_with_what_befell_them(peer: Peers) -> None:
    submission = await opened(peer)
    futures = [submission.submit(pow, (2, i), {}) for i in range(2)]
    submission._event(events.Stalled(submission.job, ((b"p" * 20, "lacks the package x"),)))
    assert submission.stalled == {b"p" * 20: "lacks the package x"}
    submission._event(events.GaveUp(submission.job, [0], "exited with code 3", True, None, 3))
    submission._event(events.GaveUp(submission.job, [1], "lost 11 times"))
    first, second = (future.exception(0) for future in futures)
    assert isinstance(first, WorkerDied) and first.exit_code == 3 and isinstance(second, JobError)


@pytest.mark.asyncio
async def test_what_stalled_a_job_is_forgotten_once_a_peer_begins_with_some_of_it(peer: Peers) -> None:
    submission = await opened(peer)
    submission.submit(pow, (2, 2), {})
    submission._flush()
    submission._event(events.Stalled(submission.job, ((b"p" * 20, "has had it before"),)))
    assert not submission.runs
    submission._event(events.Started(submission.job, [0]))
    assert submission.stalled == {}


@pytest.mark.asyncio
async def test_a_job_runs_where_its_grantor_has_leased_of_it_or_where_a_steward_says_so(peer: Peers) -> None:
    submission = await opened(peer)
    future = submission.submit(pow, (2, 2), {})
    submission.map(abs, (range(9),), None)
    submission._flush()
    grantor = submission.overlay.peer.grantors[submission.job]
    future.start()
    assert not submission.runs  # its lease is gone: the peer has died since
    grantor.book.leases.live[1] = None  # type: ignore[assignment]
    assert submission.runs
    del grantor.book.leases.live[1]
    grantor.granting = False
    assert submission.runs
    submission._event(delivered(submission, 0, pickle.dumps(1)))
    assert not submission.runs
    submission._event(events.Started(submission.job, [1]))
    assert submission.runs


@pytest.mark.asyncio
async def test_what_a_job_waits_for_is_said_once(peer: Peers, caplog: pytest.LogCaptureFixture) -> None:
    submission = await opened(peer)
    for _ in range(5):
        submission._event(events.Stalled(submission.job, ((b"p" * 20, "lacks the package x"),)))
    submission._event(events.Stalled(submission.job, ((b"p" * 20, "lacks the package y"),)))
    said = [record.getMessage() for record in caplog.records if "waits" in record.getMessage()]
    assert [("x'" in line, "y'" in line) for line in said] == [(True, False), (False, True)]


@pytest.mark.asyncio
async def test_a_map_leaves_in_chunks_and_comes_back_in_order(peer: Peers) -> None:
    submission = await opened(peer)
    kept = object()
    results = submission.map(abs, (range(-200, 0),), time.monotonic(), keep=kept)
    assert submission.busy and not submission.wait_over(0)
    rounds = 0
    while submission.busy:
        submission._flush()
        assert submission._keep is kept
        for index, chunk in list(submission._futures.items()):
            assert isinstance(chunk, Chunk)
            submission._event(events.Started(submission.job, [index]))
            value = pickle.dumps(run_items(abs, *chunk.arguments()))
            submission._event(delivered(submission, index, value))
        rounds += 1
    assert list(results) == list(range(200, 0, -1)) and 1 < rounds < 20
    assert submission.wait_over(0) and submission._keep is None and submission._maps.maps == []
    assert submission._room.used_bytes == 0


@pytest.mark.asyncio
async def test_more_chunks_leave_when_long_ones_run_on_slots_that_came_later(peer: Peers) -> None:
    submission = await opened(peer)
    submission.map(abs, (range(500),), None)
    submission._flush()
    assert len(submission._futures) == FIRST
    submission.overlay.peer.grantors[submission.job].book.participants.slots = 50
    submission._event(events.Started(submission.job, [0]))
    await turns(lambda: len(submission._futures) == 100)


@pytest.mark.asyncio
async def test_a_chunk_that_dies_or_says_nonsense_runs_again_one_by_one(peer: Peers) -> None:
    submission = await opened(peer)
    results = submission.map(abs, (range(-64, 0),), time.monotonic())
    submission._maps.maps[0].chunking.ran(1, 1e-5, 1)
    submission._flush()
    first, second, third, *_ = submission._futures
    chunk = submission._futures[first]
    assert isinstance(chunk, Chunk) and chunk.block.count > 1
    count = len(submission._futures)
    submission._event(events.GaveUp(submission.job, [first], "signal 9", True, 9, None))
    nonsense = (0.1, 10_000, (2, [1] * 10_000), {})
    submission._event(delivered(submission, second, pickle.dumps(nonsense)))
    submission._event(delivered(submission, third, pages.DEATH.encode(Death(9, None)), Outcome.DIED))
    submission._flush()
    alone = [task for task in submission._futures.values() if isinstance(task, Chunk) and task.block.alone]
    assert len(submission._futures) > count and len(alone) > 5 and {task.block.count for task in alone} == {1}
    submission.abandon(JobCancelled("enough"))
    with pytest.raises(JobCancelled):
        next(results)
    assert submission._room.used_bytes == 0


@pytest.mark.asyncio
async def test_a_map_over_what_cannot_be_pickled_fails_when_it_is_read(peer: Peers) -> None:
    submission = await opened(peer)
    found = submission.map(threading.Lock().acquire, ([1, 2],), None)
    with pytest.raises(TypeError):
        next(found)
    submission.refuse_more()
    for function in (threading.Lock().acquire, abs):
        with pytest.raises(RuntimeError, match="after shutdown"):
            submission.map(function, ([1],), None)


@pytest.mark.asyncio
async def test_all_that_has_not_started_can_be_cancelled(peer: Peers) -> None:
    submission = await opened(peer)
    futures = [submission.submit(pow, (2, i), {}) for i in range(3)]
    results = submission.map(abs, (range(100),), None)
    submission._flush()
    submission._event(events.Started(submission.job, [0]))
    submission.cancel_waiting()
    submission._flush()
    assert [future.cancelled() for future in futures] == [False, True, True]
    with pytest.raises(CancelledError):
        next(results)
    assert submission.busy and set(submission._futures) == {0}
    submission._event(delivered(submission, 0, pickle.dumps(1)))
    assert not submission.busy and submission._room.used_bytes == 0


@pytest.mark.asyncio
async def test_the_loops_own_thread_never_waits_for_room(peer: Peers) -> None:
    submission = await opened(peer, queue_bytes=1)
    for i in range(3):
        submission.submit(pow, (2, i), {})
    assert submission._room.full and len(submission.unfinished()) == 3


@pytest.mark.asyncio
async def test_who_waits_for_room_is_told_that_nobody_answers(
    peer: Peers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    submission = await opened(peer)
    monkeypatch.setattr(submission.overlay, "sessions", [])
    submission._nobody_ends()
    submission._nobody_ends()
    assert caplog.text.count("no peer answers") == 1

    class Ended:
        is_closed = staticmethod(lambda: True)

    with monkeypatch.context() as patch:
        patch.setattr(submission.overlay, "loop", Ended())
        with pytest.raises(RuntimeError, match="has ended"):
            submission._nobody_ends()


@pytest.mark.asyncio
async def test_a_cancelled_job_fails_what_is_left(peer: Peers) -> None:
    submission = await opened(peer)
    future = submission.submit(pow, (2, 2), {})
    submission._flush()
    late = submission.submit(pow, (2, 2), {})
    await submission.cancel_job()
    assert isinstance(future.exception(0), JobCancelled) and isinstance(late.exception(0), JobCancelled)
    assert submission.overlay.peer.grantors[submission.job].finished


@pytest.mark.asyncio
async def test_a_mistake_of_ours_leaves_no_future_that_nobody_resolves(
    peer: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = await opened(peer)
    monkeypatch.setattr(submission._cutter, "cut", lambda *_: 1 / 0)
    future = submission.submit(pow, (2, 2), {})
    submission._flush()
    assert isinstance(future.exception(0), JobError) and "ZeroDivisionError" in str(future.exception(0))
    with pytest.raises(RuntimeError, match="cannot go on: ZeroDivisionError"):
        submission.submit(pow, (2, 2), {})


@pytest.mark.asyncio
async def test_what_tasks_print_goes_to_the_program(peer: Peers, capsys: pytest.CaptureFixture[str]) -> None:
    submission = await opened(peer)
    submission._event(events.Printed(submission.job, 0, 1, b"out\n", WORKER))
    submission._event(events.Printed(submission.job, 0, 2, b"err\n", WORKER))
    assert capsys.readouterr() == ("out\n", "err\n")
    silent = await Submission.open(submission.overlay, OWNER, Options(output=False), None)
    silent._event(events.Printed(silent.job, 0, 1, b"out\n", WORKER))
    assert capsys.readouterr().out == ""


@pytest.mark.asyncio
async def test_progress_follows_what_is_replicated(peer: Peers) -> None:
    submission = await opened(peer)
    assert not await submission.replicated(0.01)
    waiting = asyncio.ensure_future(submission.replicated(10))
    await asyncio.sleep(0)
    submission._event(events.Replicated(submission.job, 5, 5, 2, 2, True))
    assert await waiting and (submission.progress.replicated, submission.progress.copies) == (5, 2)


@pytest.mark.asyncio
async def test_a_job_is_handed_to_the_first_steward_that_takes_it(peer: Peers) -> None:
    submission = await opened(peer, stewards=2, granting=False)
    submission.submit(pow, (2, 2), {})
    await submission.close()
    await submission.kept(10)
    first, second = submission.overlay.peer.grantors[submission.job].spec.stewards
    assert await submission.hand_over() == first.key
    assert second.key != first.key


@pytest.mark.asyncio
async def test_without_stewards_that_answer_nothing_is_promised(peer: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = await opened(peer, granting=False)
    submission.submit(pow, (2, 2), {})
    with pytest.raises(Unreachable, match="nothing is promised"):
        await submission.kept(0.0)

    async def silent(*_: Any) -> Any:
        raise Unreachable("silence")

    monkeypatch.setattr(submission.overlay, "request", silent)
    with pytest.raises(Unreachable, match="silence"):
        await submission.hand_over()


@pytest.mark.asyncio
async def test_a_submission_whose_loop_has_ended_takes_no_more(peer: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = await opened(peer)
    future = submission.submit(pow, (2, 2), {})
    submission._flush()

    def ended(*_: Any) -> Any:
        raise RuntimeError("closed")

    class Ended:
        call_soon_threadsafe = ended

    with monkeypatch.context() as patch:
        patch.setattr(submission.overlay, "loop", Ended())
        assert future.cancel()
        submission._awake = False
        with pytest.raises(RuntimeError, match="has ended"):
            submission.submit(pow, (2, 2), {})
    assert isinstance(future, TaskFuture) and limits.INLINE_BYTES_MAX > 0


@pytest.mark.asyncio
async def test_a_job_whose_time_to_live_is_over_is_closed_and_says_why_it_takes_no_more(peer: Peers) -> None:
    submission = await opened(peer, ttl_s=0.05, priority=3, deadline_s=3600)
    spec = submission.overlay.peer.grantors[submission.job].spec
    assert (spec.priority, spec.deadline_s, spec.ttl_s) == (3, 3600.0, 0.05)
    await turns(lambda: submission.closed)
    with pytest.raises(RuntimeError, match="ttl_s="):
        submission.submit(pow, (2, 3), {})
    grantor = submission.overlay.peer.grantors[submission.job]
    await turns(lambda: grantor.finished)
    assert grantor.total == 0


@pytest.mark.asyncio
async def test_a_job_does_not_lapse_while_a_call_waits_for_room_or_a_map_has_items_left(peer: Peers) -> None:
    submission = await opened(peer, ttl_s=3600)
    grantor = submission.overlay.peer.grantors[submission.job]

    async def lapse() -> bool:
        grantor.lapsed, grantor.total = True, grantor.ledger.total
        submission._event(events.Lapsed(submission.job))
        await asyncio.sleep(0)
        return submission.closed

    results = submission.map(abs, (range(500),), None)
    assert not await lapse() and not grantor.lapsed and grantor.total is None
    submission._maps.cancel()
    submission._flush()
    submission._room._waiting = 1
    assert not await lapse() and grantor.total is None
    submission._room._waiting = 0
    assert await lapse()
    del results


@pytest.mark.asyncio
async def test_a_job_that_its_owner_cancels_from_elsewhere_fails_what_is_left(peer: Peers) -> None:
    submission = await opened(peer)
    future = submission.submit(pow, (2, 3), {})
    submission._event(events.Cancelled(submission.job))
    assert isinstance(future.exception(0), JobCancelled) and submission.closed
    submission.refuse_more()  # as a shutdown does
    for more in (lambda: submission.submit(pow, (2, 3), {}), lambda: submission.map(abs, ([1],), None)):
        with pytest.raises(RuntimeError, match=r"job [0-9a-f]{8} was cancelled"):
            more()
