"""Resuming: a job goes on at its owner's node, whoever granted it meanwhile, and no result is lost or awaited twice."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2pcpn.client import resuming
from p2pcpn.client.bundle import Bundle
from p2pcpn.client.options import Options
from p2pcpn.client.reader import Reader
from p2pcpn.client.resuming import regained, resume
from p2pcpn.client.submission import Submission
from p2pcpn.errors import DiskFull, JobError, StoreError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.bequest import Bequest
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol import regaining
from p2pcpn.wire import messages as m

Peers = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\3" * 32)
BOTH = ("compute", "storage")
LARGE = "x" * 200_000
MODULES = b"PK\5\6" + bytes(18)  # a project of none: the end of an empty archive


async def opened(keeper: Overlay, client: Overlay, **options: Any) -> Submission:
    chosen = Options(replicas=1, **options)
    return await Submission.open(client, OWNER, chosen, Bundle(MODULES, b"", {}, {}))


async def turns(reached: Callable[[], Any], wait_s: float = 20.0) -> None:
    async with asyncio.timeout(wait_s):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def epoch_here(overlay: Overlay, job: bytes) -> int | None:
    grantor = overlay.peer.grantors.get(job)
    return grantor.epoch if grantor is not None and grantor.granting else None


def take_over(steward: Overlay, gone: Overlay) -> None:
    """The steward believes that the submitter's node is dead."""
    steward.follow(steward.peer.presiding.dead(gone.id, steward.loop.time()))


@pytest.mark.asyncio
async def test_another_machine_goes_on_with_a_job_whose_program_is_gone(peer: Peers) -> None:
    keeper = await peer(roles=("storage",))
    first = await peer(keeper)
    submission = await opened(keeper, first, orchestration="centralised")
    futures = [submission.submit(len, (LARGE,), {}), *(submission.submit(pow, (2, i), {}) for i in range(5))]
    assert len(futures) == 6
    await submission.close()
    await submission.kept(10)
    await first.close()
    other = await peer(keeper)
    reader = Reader(other, OWNER, submission.job)
    await reader.find()
    await resume(reader)
    assert epoch_here(other, submission.job) == 2
    await peer(keeper, roles=("compute",))
    async with asyncio.timeout(20):
        found = [stored.index async for batch in reader.follow(20) for stored in batch]
    assert sorted(found) == list(range(6)) and reader.over
    again = Reader(other, OWNER, submission.job)
    await again.find()
    await resume(again)
    assert epoch_here(other, submission.job) == 2, "what is complete is left as it is"


@pytest.mark.asyncio
async def test_a_job_that_was_cancelled_or_is_not_whole_is_not_resumed(
    peer: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    submission = await opened(keeper, client)
    submission.submit(pow, (2, 3), {})
    await submission.close()
    await submission.kept(10)
    reader = Reader(client, OWNER, submission.job)
    await reader.find()
    asked = client.request

    async def request(to: Any, make: Any, *words: Any) -> Any:
        answer = await asked(to, make, *words)
        if isinstance(answer, m.Extend):
            return msgspec.structs.replace(answer, pages=[b"false" for _ in answer.pages])
        return answer

    monkeypatch.setattr(client, "request", request)
    with pytest.raises(JobError, match="no steward that answers shows segment 0"):
        await resume(reader)
    await submission.cancel_job()
    await turns(lambda: keeper.peer.steward.jobs[submission.job].cancel is not None)
    await reader.refresh()
    with pytest.raises(JobError, match="cancelled"):
        await resume(reader)


@pytest.mark.asyncio
async def test_a_submitter_that_was_superseded_takes_what_was_settled_and_goes_on(peer: Peers) -> None:
    keeper = await peer(roles=BOTH)
    client = await peer(keeper)
    submission = await opened(keeper, client)
    futures = [submission.submit(pow, (3, i), {}) for i in range(4)] + [submission.submit(str.upper, (LARGE,), {})]
    await asyncio.wait_for(asyncio.gather(*map(asyncio.wrap_future, futures)), 20)
    more = [submission.submit(pow, (5, i), {}) for i in range(3)]
    await submission.kept(10)
    take_over(keeper, client)
    await turns(lambda: epoch_here(client, submission.job) == 2)
    values = await asyncio.wait_for(asyncio.gather(*map(asyncio.wrap_future, more)), 20)
    assert values == [5**i for i in range(3)]
    later = submission.submit(pow, (7, 2), {})
    assert await asyncio.wait_for(asyncio.wrap_future(later), 20) == 49
    submission.forget()


@pytest.mark.asyncio
async def test_where_tasks_take_results_whoever_grants_is_told_to_stop_before_its_log_is_read(peer: Peers) -> None:
    keeper = await peer(roles=BOTH)
    client = await peer(keeper)
    submission = await opened(keeper, client)
    first = submission.submit(pow, (3, 2), {})
    assert await asyncio.wait_for(asyncio.wrap_future(first), 20) == 9
    taking = [submission.submit(pow, (first, i), {}) for i in range(4)]
    await submission.kept(10)
    take_over(keeper, client)
    await turns(lambda: epoch_here(client, submission.job) == 2)
    assert keeper.peer.steward.jobs[submission.job].authority.epoch == 2
    values = await asyncio.wait_for(asyncio.gather(*map(asyncio.wrap_future, taking)), 20)
    assert values == [9**i for i in range(4)]
    submission.forget()


@pytest.mark.asyncio
async def test_results_that_others_settled_meanwhile_resolve_the_futures(peer: Peers) -> None:
    keeper = await peer(roles=BOTH)
    client = await peer(keeper)
    submission = await opened(keeper, client)
    grantor = client.peer.grantors
    futures = [submission.submit(str.upper, (LARGE + str(i),), {}) for i in range(3)]
    await submission.kept(10)
    client.follow(client.peer.grantors[submission.job].step_down(client.loop.time()))
    take_over(keeper, client)
    other = await peer(keeper)
    reader = Reader(other, OWNER, submission.job)
    await reader.find()
    async with asyncio.timeout(20):
        while len(reader.results) < 3:
            await reader.refresh()
            await reader.read()
            await asyncio.sleep(0.02)
    await regained(submission, 1)
    values = [await asyncio.wait_for(asyncio.wrap_future(future), 10) for future in futures]
    assert values == [(LARGE + str(i)).upper() for i in range(3)]
    assert submission.job in grantor


@pytest.mark.asyncio
async def test_tasks_take_results_that_were_settled_before_another_machine_went_on_with_the_job(peer: Peers) -> None:
    keeper = await peer(roles=("storage",))
    worker, first = await peer(keeper, roles=("compute",)), await peer(keeper)
    submission = await opened(keeper, first, orchestration="centralised")
    small, large = submission.submit(pow, (3, 2), {}), submission.submit(str.upper, (LARGE,), {})
    assert await asyncio.wait_for(asyncio.wrap_future(small), 20) == 9
    assert await asyncio.wait_for(asyncio.wrap_future(large), 20) == LARGE.upper()
    await worker.close()
    submission.submit(pow, (small, 2), {})
    submission.submit(len, (large,), {})
    await submission.close()
    await submission.kept(10)
    await first.close()
    other = await peer(keeper, await peer(keeper, roles=BOTH))
    reader = Reader(other, OWNER, submission.job)
    await reader.find()
    await resume(reader)
    async with asyncio.timeout(30):
        while len(reader.results) < 4:
            await reader.refresh()
            await reader.read()
            await asyncio.sleep(0.05)
    found = [pickle.loads(await reader.value(reader.results[index])) for index in (2, 3)]
    assert found == [81, len(LARGE)]


@pytest.mark.asyncio
async def test_where_another_machine_of_the_owner_goes_on_the_futures_follow_it(peer: Peers) -> None:
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    submission = await opened(keeper, client, orchestration="centralised")
    futures = [submission.submit(pow, (3, i), {}) for i in range(4)]
    await submission.close()
    await submission.kept(10)
    other = await peer(keeper)
    reader = Reader(other, OWNER, submission.job)
    await reader.find()
    await resume(reader)
    await turns(lambda: epoch_here(client, submission.job) is None or bool(keeper.peer.steward.jobs))
    client.follow(
        client.peer.presiding.take(other.peer.contact, other.keypair.public, told(reader), client.loop.time())
    )
    assert epoch_here(client, submission.job) is None
    await peer(keeper, roles=("compute",))
    values = [await asyncio.wait_for(asyncio.wrap_future(future), 20) for future in futures]
    assert values == [3**i for i in range(4)]
    assert epoch_here(client, submission.job) is None and epoch_here(other, submission.job) == 2


@pytest.mark.asyncio
async def test_what_is_submitted_while_another_machine_of_the_owner_goes_on_is_refused(peer: Peers) -> None:
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    submission = await opened(keeper, client, orchestration="centralised")
    submission.submit(pow, (3, 2), {})
    await submission.kept(10)
    other = await peer(keeper)
    reader = Reader(other, OWNER, submission.job)
    await reader.find()
    await resume(reader)
    client.follow(
        client.peer.presiding.take(other.peer.contact, other.keypair.public, told(reader), client.loop.time())
    )
    await turns(lambda: submission.closed)
    with pytest.raises(RuntimeError, match="another machine of its owner goes on with job"):
        submission.submit(pow, (3, 4), {})


def told(reader: Reader) -> m.Take:
    """The newest handover, as its grantor shows it."""
    word = reader.overlay.peer.grantors[reader.job].custody.word
    assert isinstance(word, m.Take)
    return word


@pytest.mark.asyncio
async def test_nobody_goes_on_for_a_program_that_has_let_the_job_go(
    peer: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "FIND_S", 0.0)
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    submission = await opened(keeper, client)
    submission.forget()
    await regained(submission, 1)
    assert submission.job not in client.peer.grantors


@pytest.mark.asyncio
async def test_a_later_life_of_a_node_takes_no_epoch_again_that_the_stewards_left_heard_nothing_of(
    peer: Peers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Tokens, keys of leases and places in the log follow from epoch and node: each would be given out twice."""
    keeper = await peer(roles=("storage",))
    first = await peer(keeper)
    submission = await opened(keeper, first, orchestration="centralised")
    submission.submit(pow, (2, 3), {})
    await submission.close()
    await submission.kept(10)
    await first.close()
    learn = Reader._learn

    def forgetful(self: Reader, contact: Any, state: m.JobState) -> None:
        learn(self, contact, msgspec.structs.replace(state, handovers=[], mandate=None))

    monkeypatch.setattr(Reader, "_learn", forgetful)
    lives = []
    for _ in range(2):
        node = await peer(keeper, data_dir=str(tmp_path / "node"))
        reader = Reader(node, OWNER, submission.job)
        await reader.find()
        await resume(reader)
        lives.append((node.id, epoch_here(node, submission.job)))
        await node.close()
    assert lives[0][0] == lives[1][0] and [epoch for _, epoch in lives] == [2, 4]


@pytest.mark.asyncio
async def test_where_the_disk_refuses_to_note_it_nothing_is_granted(
    peer: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regaining, "AGAIN_S", 0.05)
    keeper = await peer(roles=("storage",))
    client = await peer(keeper)
    submission = await opened(keeper, client)
    later = submission.submit(pow, (7, 2), {})
    await submission.kept(10)
    reader = Reader(client, OWNER, submission.job)
    await reader.find()
    commit, refuses = client.database.commit, [True]

    def refusing(writes: Any, done: Any = None, **how: Any) -> None:
        if refuses[0] and any(write.table == regaining.KEPT_IN for write in writes):
            done(DiskFull("no room"))
        else:
            commit(writes, done, **how)

    monkeypatch.setattr(client.database, "commit", refusing)
    with pytest.raises(StoreError, match="by what right"):
        await resume(reader)
    take_over(keeper, client)
    await turns(lambda: epoch_here(keeper, submission.job) == 1)
    await turns(lambda: epoch_here(client, submission.job) is None)
    refuses[0] = False
    await turns(lambda: epoch_here(client, submission.job) == 2)
    await peer(keeper, roles=("compute",))
    assert await asyncio.wait_for(asyncio.wrap_future(later), 20) == 49
    submission.forget()


@pytest.mark.asyncio
async def test_a_job_whose_stewards_have_left_is_resumed_with_its_tasks_and_what_they_name(peer: Peers) -> None:
    keepers = [await peer(roles=("storage",))]
    keepers.append(await peer(keepers[0], roles=("storage",)))
    first = await peer(*keepers)
    await turns(lambda: len(first.peer.directory.listed(first.loop.time())) >= 3)
    submission = await opened(keepers[0], first, orchestration="centralised")
    futures = [submission.submit(len, (LARGE + str(i),), {}) for i in range(2)]
    await submission.close()
    await submission.kept(10)
    await first.close()
    heir = await peer(keepers[0], roles=("storage",))
    for keeper in keepers:
        near = keeper.peer.stewards_near
        await turns(lambda near=near, keeper=keeper: heir.id in {  # type: ignore[misc]
            each.advert.contact.id for each in near(submission.job, keeper.loop.time())
        })  # fmt: skip
    keepers.sort(key=lambda keeper: keeper.database.count("blobs"), reverse=True)  # it alone has what the tasks name
    for keeper in keepers:
        await asyncio.wait_for(Bequest(keeper).hand_over(), 20)
        machine = keeper.peer.aftercare.bequest
        assert (machine.alone, machine.orphans) == (0, 0)
        await keeper.close()
    other = await peer(heir)
    reader = Reader(other, OWNER, submission.job)
    await reader.find()
    await resume(reader)
    await peer(heir, roles=("compute",))
    async with asyncio.timeout(20):
        found = [(each.index, each.outcome) async for batch in reader.follow(20) for each in batch]
    assert sorted(found) == [(0, 0), (1, 0)] and len(futures) == 2
