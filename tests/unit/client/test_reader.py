"""Reading a job: what is signed by whom it must be is believed, nothing else; of two results the least is canonical."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from p2pcpn.client import reader as readers
from p2pcpn.client.job import why_missing
from p2pcpn.client.options import Options
from p2pcpn.client.reader import Reader, Stored
from p2pcpn.client.standing import standing
from p2pcpn.client.submission import Submission
from p2pcpn.errors import JobError, PeerError, ResultRefused, Unreachable
from p2pcpn.identity.keys import Keypair, NodeId, node_id
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol.custody import CONTACT
from p2pcpn.protocol.log_reading import REFUSED_MAX, Log
from p2pcpn.protocol.settlement import LogWriter
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import Answer, Ask, JobState, LogData, Mandate, ReadLog, ShutOut
from p2pcpn.wire.pages import Print, ResultPage
from p2pcpn.wire.sealing import RESULT_DIGEST_BYTES, digest, result_digest, seal, swarm_proof
from p2pcpn.wire.statements import BlobRef, Cancel, Close, Handover, Outcome, Receipt, read, signed

Peers = Callable[..., Awaitable[Overlay]]
OWNER = Keypair(b"\3" * 32)
OTHER = Keypair(b"\4" * 32)
WORKER = Keypair(b"\x08" * 32)


class Kept:
    """A job whose submitter has signed it, and what its grantors would settle."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.overlay = submission.overlay
        self.job = submission.job
        self.steward = submission.overlay.peer.grantors[submission.job].spec.stewards[0]
        self.segments: dict[tuple[bytes, int, int], tuple[Any, bytes]] = {}
        self.asked = 0

    def reader(self) -> Reader:
        """A reader whose stewards answer from here."""
        reader = Reader(self.overlay, OWNER, self.job)
        reader._stewards[self.steward.contact.id] = self.steward.contact  # type: ignore[index]
        return reader

    def state(self, **changes: Any) -> JobState:
        logs: dict[tuple[bytes, int], int] = {}
        for grantor, epoch, number in self.segments:
            logs[grantor, epoch] = max(number + 1, logs.get((grantor, epoch), 0))
        base = {
            "request": 1, "spec": self.submission.spec, "close": None, "cancel": None, "segments": 1,
            "tasks": 1, "logs": [(*key, count) for key, count in logs.items()], "waiting": 0, "running": 0,
            "settled": 0, "granting": False,
        }  # fmt: skip
        return JobState(**(base | changes))

    def receipt(
        self, indices: list[int], values: list[Any], *, by: Keypair = WORKER, grantor: Keypair, epoch: int
    ) -> Any:
        """A worker's receipt for these values, and its sealed page."""
        keys = self.submission.keys
        page = pages.RESULTS.encode(
            ResultPage(values, [Print(indices[0], 1, b"said")], [f"<{index}>" for index in indices])
        )
        sealed = seal(keys.results(epoch, grantor.id, 1), 0, page)
        digests = b"".join(
            result_digest(keys.digests, value if isinstance(value, bytes) else value.digest) for value in values
        )
        said = Receipt(
            self.job, epoch, grantor.id, 1, 0, [(index, 1) for index in indices], bytes(len(indices)), digests,
            digest(sealed), 0.1, swarm_proof(self.overlay.swarm_key, by.public),
        )  # fmt: skip
        return signed(said, by), sealed

    def settle(self, log: LogWriter, grantor: Keypair, indices: list[int], values: list[Any], **how: Any) -> None:
        """Another segment of that grantor's log."""
        receipt, sealed = self.receipt(indices, values, grantor=grantor, epoch=log.epoch, **how)
        log.append(receipt, sealed, [(index, 1) for index in indices], whole=True, now=0.0)
        closed = log.close()
        self.segments[bytes(grantor.id), log.epoch, closed.number] = (closed.header, closed.body)

    def answer(self, state: JobState | None) -> Any:
        """A stand-in for ``Overlay.request``."""

        async def request(to: Any, make: Any, wait_s: float = 1.0) -> Any:
            self.asked += 1
            message = make(self.asked)
            if type(message).__name__ == "Ask":
                if state is None:
                    raise Unreachable("silence")
                return state
            found = self.segments.get((message.grantor, message.epoch, message.number))
            return Answer(1, 1, "") if found is None else LogData(1, *found)

        return request


@pytest.fixture
def kept(peer: Peers) -> Callable[[], Awaitable[Kept]]:
    async def make() -> Kept:
        keeper = await peer(roles=("storage",))
        client = await peer(keeper)
        submission = await Submission.open(client, OWNER, Options(replicas=1), None)
        return Kept(submission)

    return make


Make = Callable[[], Awaitable[Kept]]


def close(job: bytes, total: int, owner: Keypair = OWNER) -> Any:
    return signed(Close(job, total, bytes(32)), owner)


@pytest.mark.asyncio
async def test_results_are_read_from_the_log_and_each_is_told_once(kept: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await kept()
    grantor = job.overlay.keypair
    log = LogWriter(job.job, 0, grantor)
    job.settle(log, grantor, [0, 1], [pickle.dumps("a"), pickle.dumps("b")])
    job.settle(log, grantor, [2], [pickle.dumps("c")])
    reader = job.reader()
    monkeypatch.setattr(job.overlay, "request", job.answer(job.state(close=close(job.job, 3))))
    await reader.find()
    told = [stored async for batch in reader.follow(5) for stored in batch]
    assert [stored.index for stored in told] == [0, 1, 2] and reader.complete and reader.over
    assert told[0].rendering == "<0>" and told[0].output == (Print(0, 1, b"said"),)
    assert pickle.loads(await reader.value(told[2])) == "c" and told[2].worker == WORKER.public
    assert [(log.read, log.known) for log in reader.logs] == [(2, 2)]
    assert await reader.read() == []


@pytest.mark.asyncio
async def test_stewards_that_only_the_spec_names_are_asked_before_anything_is_read(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seed 475 of `faults`: there was no owner's record, and the one steward near the job that answered lacked a
    # segment that the others had; so the reader took a result of the next epoch.
    job = await kept()
    grantor = job.overlay.keypair
    job.settle(LogWriter(job.job, 0, grantor), grantor, [0], [pickle.dumps(7)])
    near = msgspec.structs.replace(job.steward.contact, id=node_id(OTHER.public))
    reader = Reader(job.overlay, OWNER, job.job)
    reader._stewards[NodeId(near.id)] = near
    answer, lacking = job.answer(job.state(close=close(job.job, 1))), job.state(close=close(job.job, 1), logs=[])

    async def request(to: Any, make: Any, wait_s: float = 1.0) -> Any:
        return lacking if to.id == near.id and isinstance(make(1), Ask) else await answer(to, make)

    monkeypatch.setattr(job.overlay, "request", request)
    await reader.refresh()
    assert [log.known for log in reader.logs] == [1]


@pytest.mark.asyncio
async def test_nothing_is_believed_that_the_owner_did_not_sign(kept: Make) -> None:
    job = await kept()
    reader = job.reader()
    contact = job.steward.contact
    foreign = signed(Cancel(b"x" * 20, 0.0), OWNER)
    reader._learn(contact, job.state(cancel=signed(Cancel(job.job, 0.0), OTHER)))
    reader._learn(contact, job.state(cancel=foreign, close=close(b"x" * 20, 7)))
    reader._learn(contact, job.state(close=close(job.job, 7, OTHER)))
    assert not reader.cancelled and reader.total is None
    reader._learn(contact, job.state(handovers=[signed(Handover(job.job, 1, OTHER.public), OTHER)]))
    assert reader.authority is not None and reader.authority.epoch == 0
    reader._learn(contact, job.state(logs=[(OTHER.id, 0, 5), (job.steward.contact.id, 2, 5)]))
    assert reader.logs == []
    reader._learn(contact, job.state(cancel=signed(Cancel(job.job, 0.0), OWNER), close=close(job.job, 2)))
    assert reader.cancelled and reader.total == 2 and reader.over
    stranger = Reader(job.overlay, OTHER, job.job)
    stranger._learn(contact, job.state())
    assert stranger.authority is None


@pytest.mark.asyncio
async def test_of_an_index_settled_twice_the_least_epoch_is_canonical(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await kept()
    first = job.overlay.keypair
    handed = signed(Handover(job.job, 1, job.steward.key), OWNER)
    job.settle(LogWriter(job.job, 0, first), first, [0], [pickle.dumps("early")])
    reader = job.reader()
    reader._learn(job.steward.contact, job.state(handovers=[handed]))
    reader.results[0] = Stored(0, Outcome.OK, pickle.dumps("late"), "", (), WORKER.public, 1, b"0" * 16)
    monkeypatch.setattr(job.overlay, "request", job.answer(job.state(handovers=[handed])))
    assert [pickle.loads(s.value) for s in await reader.read() if isinstance(s.value, bytes)] == ["early"]
    assert reader.conflicts == 1 and reader.results[0].epoch == 0


@pytest.mark.asyncio
async def test_a_result_signed_by_a_stranger_is_never_loaded(kept: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "REFUSED_WAIT_S", 0.0)
    monkeypatch.setattr(readers, "POLL_S", 0.001)
    job = await kept()
    grantor = job.overlay.keypair
    log = LogWriter(job.job, 0, grantor)
    job.settle(log, grantor, [0], [b"cos\nsystem\n(S'false'\ntR."])
    key = job.segments[bytes(grantor.id), 0, 0]
    entry = pages.LOG_BODY.decode(key[1])[0]
    said = signed(msgspec.structs.replace(read(entry.receipt, Receipt), proof=b""), WORKER)
    forged = LogWriter(job.job, 0, grantor)
    forged.append(said, entry.page, [(0, 1)], whole=True, now=0.0)
    closed = forged.close()
    job.segments[bytes(grantor.id), 0, 0] = (closed.header, closed.body)
    reader = job.reader()
    monkeypatch.setattr(job.overlay, "request", job.answer(job.state(close=close(job.job, 1))))
    await reader.find()
    with pytest.raises(ResultRefused, match="was not loaded"):
        [batch async for batch in reader.follow(5)]
    assert reader.results == {}


@pytest.mark.asyncio
async def test_a_log_that_does_not_follow_its_chain_is_not_read(kept: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await kept()
    grantor = job.overlay.keypair
    log = LogWriter(job.job, 0, grantor, number=1, last=b"x" * 32)
    job.settle(log, grantor, [0], [pickle.dumps("a")])
    job.segments[bytes(grantor.id), 0, 0] = job.segments.pop((bytes(grantor.id), 0, 1))
    reader = job.reader()
    reader._learn(job.steward.contact, job.state())
    monkeypatch.setattr(job.overlay, "request", job.answer(None))
    assert await reader.read() == [] and "not the next of its chain" in reader.refused[0]
    for _ in range(2 * REFUSED_MAX):
        reader._learn(job.steward.contact, job.state())
        await reader.read()
    assert len(reader.refused) == REFUSED_MAX


@pytest.mark.asyncio
async def test_a_job_ends_for_its_reader_when_its_grantor_has_given_up_the_rest(kept: Make) -> None:
    job = await kept()
    reader = job.reader()
    grantor, ended = job.overlay.peer.contact, job.state(close=close(job.job, 2), settled=2, granting=True)
    reader._learn(grantor, job.state(close=close(job.job, 2), waiting=1, granting=True))
    assert not reader.over
    reader._learn(job.steward.contact, ended)  # which grants nothing, whatever it says
    assert not reader.over
    reader._learn(grantor, ended)
    assert reader.over and not reader.complete and reader.missing() == [0, 1]
    reader.results[9] = Stored(9, 0, b"", "", (), b"", 0, b"")  # beyond the total: nobody's task
    reader.results[1] = Stored(1, 0, b"", "", (), b"", 0, b"")
    assert reader.missing() == [0]


@pytest.mark.asyncio
async def test_no_single_steward_ends_a_job_for_its_reader(peer: Peers) -> None:
    first = await peer(roles=("storage",))
    others = [await peer(first, roles=("storage",)) for _ in range(2)]
    client = await peer(first, *others)
    job = Kept(await Submission.open(client, OWNER, Options(replicas=1), None, gather=3))
    reader, spec = job.reader(), job.overlay.peer.grantors[job.job].spec
    assert len(spec.stewards) == 3
    grantor, liar, third = (steward.contact for steward in spec.stewards)  # whose epochs are 1, 2 and 3

    def says(by: Contact, epoch: int, waiting: int, granting: bool = True) -> JobState:
        mandate = Mandate(0, job.job, epoch, by, None, 0, 2, waiting)
        return job.state(
            close=close(job.job, 2), settled=2 - waiting, waiting=waiting, granting=granting, mandate=mandate
        )

    reader._learn(liar, says(liar, 2 + 4 * 1000, 0))
    assert not reader.over and reader.authority is not None and reader.authority.epoch == 0, "it can hardly have come"
    reader._learn(liar, says(liar, 2, 0))
    assert reader.over, "nobody else answers"
    reader._learn(grantor, says(grantor, 1, 1))
    assert not reader.over
    reader._learn(third, says(grantor, 1, 0, granting=False))
    reader._learn(liar, says(liar, 2, 0))
    assert not reader.over, "neither of the others has heard of it"
    reader._learn(third, says(liar, 2, 0, granting=False))
    reader._learn(liar, says(liar, 2, 0))
    assert reader.over, "who grants now, another says so"
    reader._learn(third, says(grantor, 1, 0, granting=False))
    reader._learn(liar, says(liar, 2, 0))
    assert not reader.over
    brought = msgspec.structs.replace(says(grantor, 1, 0, granting=False), logs=[(bytes(liar.id), 2, 0)])
    reader._learn(third, brought)
    reader._learn(liar, says(liar, 2, 0))
    assert reader.over, "it was away when the epoch began, and was brought its log since"


@pytest.mark.asyncio
async def test_an_epoch_that_is_far_from_any_known_is_believed_of_two(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await kept()
    reader, far = job.reader(), 1 + 2 * 1000
    mandate = Mandate(0, job.job, far, job.steward.contact, None, 0, 1, 0)
    state = job.state(close=close(job.job, 1), settled=1, granting=True, mandate=mandate)
    monkeypatch.setattr(job.overlay, "request", job.answer(state))
    await reader.refresh()
    await reader.refresh()
    assert reader.authority is not None and reader.authority.epoch == far and reader.over, "the only one that answers"
    reader = job.reader()
    reader._learn(job.steward.contact, state)
    assert reader._vouching is not None and reader.authority is not None
    reader._vouching._heard[node_id(OTHER.public)] = {0: 1}
    reader._reach()
    assert reader.authority.epoch == 0


@pytest.mark.asyncio
async def test_a_log_that_none_of_its_named_holders_has_is_asked_of_all_others(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seed 68 of `faults`: others had taken the copies over since the grantor named who holds them.
    job = await kept()
    grantor = job.overlay.keypair
    log = LogWriter(job.job, 0, grantor)
    job.settle(log, grantor, [0], [pickle.dumps(7)])
    reader = job.reader()
    reader._learn(job.steward.contact, job.state(logs=[(bytes(grantor.id), 0, 1)]))
    [read] = reader.logs
    read.holders = {node_id(OTHER.public): msgspec.structs.replace(job.steward.contact, id=node_id(OTHER.public))}
    answer, asked = job.answer(None), []

    async def request(to: Any, make: Any, wait_s: float = 1.0) -> Any:
        asked.append(to.id)
        return Answer(1, 1, "") if to.id == node_id(OTHER.public) else await answer(to, make)

    monkeypatch.setattr(job.overlay, "request", request)
    assert len(await reader.read()) == 1 and read.read == 1
    assert asked == [node_id(OTHER.public), job.steward.contact.id]


@pytest.mark.asyncio
@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_log_whose_grantor_is_gone_is_asked_of_those_near_the_job_who_do_not_keep_it(
    kept: Make, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    # Seed 11 of `faults`: a steward that was cut off took over, and had its log kept by those on its side.
    job = await kept()
    grantor = job.overlay.keypair
    log = LogWriter(job.job, 0, grantor)
    job.settle(log, grantor, [0], [pickle.dumps(7)])
    reader = job.reader()
    reader._learn(job.steward.contact, job.state(logs=[(bytes(grantor.id), 0, 1)]))
    reader._stewards[grantor.id] = msgspec.structs.replace(job.steward.contact, id=grantor.id)
    near = msgspec.structs.replace(job.steward.contact, id=node_id(OTHER.public))
    monkeypatch.setattr(reader, "_near", lambda: [job.steward.contact, near])
    answer = job.answer(None)

    async def request(to: Any, make: Any, wait_s: float = 1.0) -> Any:
        if to.id == grantor.id and is_gone:
            raise Unreachable("gone")
        return await answer(to, make) if to.id == near.id else Answer(1, 1, "")

    monkeypatch.setattr(job.overlay, "request", request)
    assert len(await reader.read()) == is_gone
    [read] = reader.logs
    assert read.read == is_gone and (node_id(OTHER.public) in read.holders) == is_gone


@pytest.mark.asyncio
async def test_a_steward_that_shows_what_never_was_keeps_no_reader_from_the_end(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "POLL_S", 0.001)
    monkeypatch.setattr(readers, "POLL_S_MAX", 0.001)
    monkeypatch.setattr(readers, "REFUSED_WAIT_S", 0.0)
    monkeypatch.setattr(readers, "GIVEN_UP_WAIT_S", 0.05)
    job = await kept()
    grantor, liar = job.overlay.keypair, msgspec.structs.replace(job.steward.contact, id=node_id(OTHER.public))
    job.settle(LogWriter(job.job, 0, grantor), grantor, [0], [pickle.dumps("a")])
    reader = job.reader()
    reader._stewards[NodeId(liar.id)] = liar
    reader._stewards[NodeId(grantor.id)] = job.overlay.peer.contact
    ended = {"close": close(job.job, 2), "settled": 2}  # of which one was given up
    true, false = job.state(**ended, granting=True), job.state(**ended, logs=[(bytes(grantor.id), 0, 1 << 30)])
    answers = {True: job.answer(false), False: job.answer(true)}
    shown = LogData(1, *job.segments[bytes(grantor.id), 0, 0])

    async def request(to: Any, make: Any, wait_s: float = 1.0) -> Any:
        lies = to.id == liar.id
        return shown if lies and not isinstance(make(1), Ask) else await answers[lies](to, make)

    monkeypatch.setattr(job.overlay, "request", request)
    await reader.find()
    told = [stored.index async for batch in reader.follow(20) for stored in batch]
    assert told == [0] and reader.missing() == [1] and not reader.complete
    assert "not the next of its chain" in reader.refused[-1]


@pytest.mark.asyncio
async def test_where_nobody_shows_anything_but_a_wrong_segment_the_reader_is_told_so(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "POLL_S", 0.001)
    monkeypatch.setattr(readers, "REFUSED_WAIT_S", 0.0)
    job = await kept()
    grantor = job.overlay.keypair
    job.settle(LogWriter(job.job, 0, grantor, number=1, last=b"x" * 32), grantor, [0], [pickle.dumps("a")])
    job.segments[bytes(grantor.id), 0, 0] = job.segments.pop((bytes(grantor.id), 0, 1))
    reader = job.reader()
    monkeypatch.setattr(job.overlay, "request", job.answer(job.state(close=close(job.job, 1))))
    await reader.find()
    with pytest.raises(ResultRefused, match="not the next of its chain"):
        [batch async for batch in reader.follow(20)]


@pytest.mark.asyncio
async def test_a_job_that_nobody_keeps_is_not_found(peer: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "POLL_S", 0.001)
    keeper = await peer(roles=("storage",))
    reader = Reader(await peer(keeper), OWNER, b"j" * 20)
    with pytest.raises(JobError, match="no peer that answers keeps job"):
        await reader.find(0.01)


@pytest.mark.asyncio
async def test_waiting_for_a_job_that_runs_times_out(kept: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await kept()
    reader = job.reader()
    monkeypatch.setattr(job.overlay, "request", job.answer(job.state()))
    await reader.find()
    with pytest.raises(TimeoutError):
        [batch async for batch in reader.follow(0.0)]


@pytest.mark.asyncio
async def test_a_large_value_comes_from_whoever_has_it(kept: Make) -> None:
    job = await kept()
    reader = job.reader()
    reader._learn(job.steward.contact, job.state())
    reader._reading.logs[b"g", 0] = Log(b"g", 0, holders={node_id(OTHER.public): job.steward.contact})
    key = job.submission.keys.blob(digest(b"value"))
    sealed = seal(key, 0, b"value")
    ref = BlobRef(digest(sealed), len(sealed), key)
    found = Stored(0, Outcome.OK, ref, "", (), WORKER.public, 0, bytes(RESULT_DIGEST_BYTES))
    with pytest.raises(PeerError, match="has the blob"):
        await reader.value(found)
    job.overlay.shelf.put(ref.digest, sealed, job.job, 60)
    assert await reader.value(found) == b"value"


@pytest.mark.asyncio
async def test_the_heads_in_the_dht_lead_on_where_the_stewards_do_not_suffice(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await kept()
    reader = job.reader()
    reader._learn(job.steward.contact, job.state())
    head = pages.LogHead(0, 4, bytes(32), 4, None, False, [])
    await job.overlay.put_record(job.overlay.keypair, job.job, pages.LOG_HEAD.encode(head), 60)
    monkeypatch.setattr(job.overlay, "request", job.answer(None))
    await reader.refresh()
    assert [(log.epoch, log.known) for log in reader.logs] == [(0, 4)]
    assert reader.authority is not None
    reader.authority.hand_over(signed(Handover(job.job, 6, node_key := job.overlay.keypair.public), OWNER))
    head = pages.LogHead(6, 2, bytes(32), 4, None, False, [CONTACT.encode(job.steward.contact)], [(7, 1), (0, 5)])
    await job.overlay.put_record(job.overlay.keypair, job.job, pages.LOG_HEAD.encode(head), 60)
    await reader.refresh()
    assert sorted((log.epoch, log.known) for log in reader.logs) == [(0, 5), (6, 2)], "epoch 7 is another's"
    assert {log.grantor for log in reader.logs} == {node_id(node_key)}
    assert all(NodeId(job.steward.contact.id) in log.holders for log in reader.logs)
    await job.overlay.put_record(job.overlay.keypair, job.job, b"no head", 60)
    await reader.refresh()
    assert await reader.read() == []


@pytest.mark.asyncio
async def test_the_heads_of_a_job_that_was_taken_over_lead_to_what_its_dead_grantor_wrote_last(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await kept()
    first, second = job.overlay.keypair, Keypair(b"\x09" * 32)
    handed = signed(Handover(job.job, 1, second.public), OWNER)
    log = LogWriter(job.job, 0, first)
    job.settle(log, first, [0], [pickle.dumps("early")])
    known = job.state(handovers=[handed], close=close(job.job, 2)).logs
    job.settle(log, first, [1], [pickle.dumps("early")])
    tail = (bytes(first.id), 0, 1)
    job.settle(LogWriter(job.job, 1, second), second, [1], [pickle.dumps("late")])
    known = [*known, (second.id, 1, 1)]
    holder = msgspec.structs.replace(job.steward.contact, id=node_id(OTHER.public))
    head = pages.LogHead(0, 1, bytes(32), 4, None, False, [CONTACT.encode(holder)])
    await job.overlay.put_record(first, job.job, pages.LOG_HEAD.encode(head), 60)
    answer = job.answer(job.state(handovers=[handed], close=close(job.job, 2), logs=known))

    async def request(to: Any, make: Any, wait_s: float = 1.0) -> Any:
        message = make(1)
        if isinstance(message, ReadLog):
            is_lacked = to.id != holder.id and (message.grantor, message.epoch, message.number) == tail
            return Answer(1, 1, "") if is_lacked else await answer(to, make)
        return Answer(1, 1, "") if to.id == holder.id else await answer(to, make)

    monkeypatch.setattr(job.overlay, "request", request)
    reader = job.reader()
    await reader.find()
    told = [stored async for batch in reader.follow(5) for stored in batch]
    assert [(stored.index, stored.epoch, pickle.loads(stored.value)) for stored in told] == [
        (0, 0, "early"), (1, 0, "early"),
    ]  # fmt: skip


@pytest.mark.asyncio
async def test_heads_are_looked_up_at_once_when_somebody_else_grants_and_not_again_until_the_next(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await kept()
    reader = job.reader()
    looked: list[bytes] = []
    found = await job.overlay.get_record(bytes(20))

    async def get_record(key: bytes) -> Any:
        looked.append(key)
        return found

    monkeypatch.setattr(job.overlay, "get_record", get_record)
    words: list[Any] = []
    monkeypatch.setattr(job.overlay, "request", job.answer(job.state()))
    reader._refreshes = 2
    await reader.refresh()
    assert looked == [], "it is granted by who its spec names"
    for epoch in (6, 7):
        words.append(signed(Handover(job.job, epoch, Keypair(bytes([epoch]) * 32).public), OWNER))
        monkeypatch.setattr(job.overlay, "request", job.answer(job.state(handovers=words)))
        await reader.refresh()
        assert len(looked) >= 2
        looked.clear()
        await reader.refresh()
        assert looked == []


@pytest.mark.asyncio
async def test_a_job_whose_deadline_has_passed_ends_for_its_reader_whoever_still_answers(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await kept()
    reader = job.reader()
    assert not reader.overdue
    reader._learn(job.overlay.peer.contact, job.state(close=close(job.job, 2), waiting=2, granting=True))
    assert reader.authority is not None and not reader.overdue
    created_s = reader.authority.spec.created_s
    reader.authority.spec = msgspec.structs.replace(reader.authority.spec, deadline_s=60.0)
    monkeypatch.setattr(readers.time, "time", lambda: created_s + 60.0)
    assert not reader.over  # what was settled in the last moment may not be in the log yet
    monkeypatch.setattr(readers.time, "time", lambda: created_s + 60.0 + readers.OVERDUE_S + 0.1)
    assert reader.overdue and reader.over and reader.missing() == [0, 1]


@pytest.mark.asyncio
@pytest.mark.parametrize("overdue", [True, False])
async def test_whether_the_deadline_ended_a_job_is_for_its_grantor_to_say_and_not_for_another_clock(
    kept: Make, monkeypatch: pytest.MonkeyPatch, overdue: bool
) -> None:
    job = await kept()
    reader = job.reader()
    ended = job.state(close=close(job.job, 2), settled=2, granting=True, overdue=overdue)
    reader._learn(job.overlay.peer.contact, ended)
    assert reader.authority is not None
    created_s = reader.authority.spec.created_s
    reader.authority.spec = msgspec.structs.replace(reader.authority.spec, deadline_s=60.0)
    for late_s in (0.1, readers.OVERDUE_S + 0.1):  # within the room that a clock needs, and beyond it
        at = created_s + 60.0 + late_s
        monkeypatch.setattr(readers.time, "time", lambda at=at: at)
        assert reader.state is not None and reader.state.granting and reader.overdue is overdue
        assert str(why_missing(reader, 1)).startswith("deadline passed" if overdue else "the task was given up")


@pytest.mark.asyncio
async def test_whom_the_grantor_leases_nothing_and_why_is_part_of_how_a_job_stands(kept: Make) -> None:
    job = await kept()
    reader = job.reader()
    told = ShutOut(bytes(WORKER.id), 7, 3.5, "its worker process died")
    reader._learn(job.overlay.peer.contact, job.state(granting=True, shut_out=[told]))
    assert standing(reader)["shut_out"] == [
        {"peer": WORKER.id.hex(), "failures": 7, "left_s": 3.5, "text": "its worker process died"}
    ]


@pytest.mark.asyncio
async def test_what_was_made_of_a_result_that_is_not_the_canonical_one_counts_no_more(
    kept: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await kept()
    reader = job.reader()
    grantor = job.overlay.keypair
    monkeypatch.setattr(job.overlay, "request", job.answer(job.state(close=close(job.job, 4))))
    await reader.find()

    def stored(index: int, digest: bytes, *taken: tuple[int, bytes]) -> Stored:
        return Stored(index, 0, b"", "", (), grantor.public, 1, digest, taken)

    for each in (
        stored(0, b"zero"), stored(1, b"one", (0, b"zero")), stored(2, b"two", (0, b"lost")),
        stored(3, b"three", (1, b"one"), (2, b"two")),
    ):  # fmt: skip
        reader._canon.add(each)
    assert [each.index for each in await reader.read()] == [0, 1]
    assert sorted(reader.results) == [0, 1] and sorted(reader.stale) == [2, 3]
    assert reader.missing() == [2, 3] and not reader.complete
