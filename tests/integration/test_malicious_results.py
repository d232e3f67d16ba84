"""Malicious pickles offered as results: by stewards, storage peers, workers and strangers. None is ever loaded."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2pcpn import Config
from p2pcpn.client import reader as reading
from p2pcpn.client.reader import Reader
from p2pcpn.client.submission import Options, Submission
from p2pcpn.errors import P2pcpnError, PeerError, ResultRefused
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol.effects import Tell
from p2pcpn.protocol.settlement import NOTHING, open_receipt
from p2pcpn.protocol.spans import total
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Entry, ResultPage
from p2pcpn.wire.sealing import JobKeys, digest, result_digest, seal, swarm_proof, unwrap
from p2pcpn.wire.statements import Cancel, Close, Handover, LogHeader, Receipt, Signed, read, signed

SWARM_KEY = bytes(range(32))
OWNER = Keypair(b"o" * 32)
EVIL = Keypair(b"e" * 32)
STRANGER = Keypair(b"s" * 32)
WAIT_S = 20.0


class Canary:
    """Whoever loads its pickle makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


@dataclass
class Poison:
    """A canary's pickle, and whether it was ever loaded."""

    path: Path

    @property
    def data(self) -> bytes:
        return pickle.dumps(Canary(self.path))

    @property
    def loaded(self) -> bool:
        return self.path.exists()


@pytest.fixture
def poison(tmp_path: Path) -> Iterator[Poison]:
    canary = Poison(tmp_path / "loaded")
    yield canary
    assert not canary.loaded
    pickle.loads(canary.data).close()  # it would have been seen
    assert canary.loaded


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better results are awaited for a moment only."""
    monkeypatch.setattr(reading, "REFUSED_WAIT_S", 0.3)


class Cast:
    """Peers in this process, each closed at the end."""

    def __init__(self, stack: AsyncExitStack, swarm_key: bytes | None = SWARM_KEY) -> None:
        self.stack = stack
        self.swarm_key = swarm_key
        self.bootstrap: list[str] = []

    async def peer(self, keypair: Keypair, *roles: str, trust: tuple[Keypair, ...] = ()) -> Overlay:
        config = Config(
            profile="local", bootstrap=self.bootstrap, swarm_key=self.swarm_key, roles=roles, cpus=1, durable=False,
            trust=[key.public.hex() for key in trust],
        )  # fmt: skip
        overlay = await self.stack.enter_async_context(Overlay(config, keypair=keypair))
        host, port = overlay.peer.contact.address
        self.bootstrap.append(f"{host}:{port}")
        return overlay

    async def settled(self, fn: Callable[[Any], Any], items: list[Any], holders: int, **options: Any) -> bytes:
        """A job that ran, whose results lie on ``holders`` peers, and whose submitter has left."""
        async with AsyncExitStack() as stack:
            client = await Cast.peer(self._with(stack), Keypair(os.urandom(32)))
            worker = await Cast.peer(self._with(stack), Keypair(os.urandom(32)), "compute")
            submission = await Submission.open(
                client, OWNER, Options(replicas=holders, **options), None, gather=holders, wait_s=WAIT_S
            )
            futures = [submission.submit(fn, (item,), {}) for item in items]
            await submission.close()
            await asyncio.wait_for(asyncio.gather(*map(asyncio.wrap_future, futures)), WAIT_S)
            assert await submission.replicated(WAIT_S)
            submission.forget()
            assert worker.peer.worker.completed == len(items)
            return submission.job

    def _with(self, stack: AsyncExitStack) -> Cast:
        cast = Cast(stack, self.swarm_key)
        cast.bootstrap = list(self.bootstrap)
        return cast

    async def reader(self, job: bytes) -> Reader:
        reader = Reader(await self.peer(Keypair(os.urandom(32))), OWNER, job)
        await reader.find(WAIT_S)
        return reader


@asynccontextmanager
async def cast(swarm_key: bytes | None = SWARM_KEY) -> AsyncIterator[Cast]:
    async with AsyncExitStack() as stack:
        yield Cast(stack, swarm_key)


async def values(reader: Reader) -> dict[int, Any]:
    """What a program would get: loaded only after its receipt held."""
    found: dict[int, Any] = {}
    async for fresh in reader.follow(WAIT_S):
        for stored in fresh:
            found[stored.index] = pickle.loads(await reader.value(stored))
    return found


def receipt_of(
    signer: Keypair, keys: JobKeys, job: bytes, epoch: int, grantor: bytes, token: int, indices: range, value: bytes,
    proof: bytes | None = None,
) -> tuple[Signed, bytes]:  # fmt: skip
    """A receipt that is right in form for ``value`` as the result of each index, and its sealed page."""
    count = len(indices)
    page = seal(keys.results(epoch, grantor, token), 0, pages.RESULTS.encode(ResultPage([value] * count, [])))
    said = Receipt(
        job, epoch, grantor, token, 0, [(indices.start, count)], bytes(count),
        result_digest(keys.digests, value) * count, digest(page), 0.1,
        swarm_proof(SWARM_KEY, signer.public) if proof is None else proof,
    )  # fmt: skip
    return signed(said, signer), page


def keys_of(steward: Overlay, job: bytes) -> JobKeys:
    """A steward holds the job's key: nobody else could forge better."""
    spec = steward.peer.steward.jobs[job].authority.spec
    mine = next(each for each in spec.stewards if each.key == steward.keypair.public)
    return JobKeys(unwrap(steward.keypair, OWNER.public, spec.nonce, mine.wrapped))


def body_of(steward: Overlay, job: bytes, header: Signed, value: bytes, signer: Keypair = EVIL) -> bytes:
    said = read(header, LogHeader)
    count = sum(held for _, held in said.spans)
    entry = Entry(
        *receipt_of(signer, keys_of(steward, job), job, said.epoch, said.grantor, 1, range(count), value), None
    )
    return pages.LOG_BODY.encode([entry])


Forge = Callable[[Overlay, bytes, m.LogData, bytes], m.LogData]


def another_body(evil: Overlay, job: bytes, data: m.LogData, value: bytes) -> m.LogData:
    return m.LogData(data.request, data.header, body_of(evil, job, data.header, value))


def own_signature(evil: Overlay, job: bytes, data: m.LogData, value: bytes) -> m.LogData:
    """The grantor's header, changed to name another body and signed by the steward's own node key."""
    body = body_of(evil, job, data.header, value)
    said = msgspec.structs.replace(read(data.header, LogHeader), body=digest(body))
    return m.LogData(data.request, signed(said, evil.keypair), body)


def copied_signature(evil: Overlay, job: bytes, data: m.LogData, value: bytes) -> m.LogData:
    forged = own_signature(evil, job, data, value)
    header = Signed(forged.header.kind, forged.header.body, data.header.key, data.header.signature)
    return m.LogData(data.request, header, forged.body)


def own_log(evil: Overlay, job: bytes, data: m.LogData, value: bytes) -> m.LogData:
    """A log of its own, right in every respect but that nobody made it a grantor."""
    body = body_of(evil, job, data.header, value)
    said = msgspec.structs.replace(read(data.header, LogHeader), body=digest(body), grantor=evil.id)
    return m.LogData(data.request, signed(said, evil.keypair), body)


def another_epoch(evil: Overlay, job: bytes, data: m.LogData, value: bytes) -> m.LogData:
    body = body_of(evil, job, data.header, value)
    said = msgspec.structs.replace(read(data.header, LogHeader), body=digest(body), grantor=evil.id, epoch=1)
    return m.LogData(data.request, signed(said, evil.keypair), body)


def lie(evil: Overlay, job: bytes, forge: Forge, value: bytes) -> None:
    """From now on ``evil`` shows forged log segments."""
    honest = evil.library._log

    def lying(message: m.ReadLog) -> Iterator[m.Message]:
        for answer in honest(message):
            yield forge(evil, job, answer, value) if isinstance(answer, m.LogData) else answer

    evil.library._log = lying  # type: ignore[method-assign]


FORGERIES = [another_body, own_signature, copied_signature, own_log, another_epoch]


@pytest.mark.asyncio
@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
async def test_forged_logs_of_the_only_holder_end_in_a_clear_refusal(forge: Forge, poison: Poison) -> None:
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        job = await peers.settled(abs, [-1, -2, -3], 1)
        lie(evil, job, forge, poison.data)
        reader = await peers.reader(job)
        with pytest.raises(ResultRefused, match=r"log segment|signature"):
            await values(reader)
        assert reader.results == {} and reader.refused


@pytest.mark.asyncio
@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
async def test_an_honest_holder_makes_up_for_one_that_forges(forge: Forge, poison: Poison) -> None:
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        await peers.peer(Keypair(os.urandom(32)), "storage")
        job = await peers.settled(abs, [-1, -2, -3], 2)
        lie(evil, job, forge, poison.data)
        assert await values(await peers.reader(job)) == {0: 1, 1: 2, 2: 3}


@pytest.mark.asyncio
async def test_a_holder_that_says_it_all_and_shows_nothing_neither_ends_nor_delays_the_reading() -> None:
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        await peers.peer(Keypair(os.urandom(32)), "storage")
        job = await peers.settled(abs, [-1, -2, -3], 2)
        honest = evil.peer.steward.asked

        def boasting(*arguments: Any) -> list[Any]:
            """All is settled and it is the grantor; it holds logs without end, of everybody."""
            (told,) = honest(*arguments)
            state: m.JobState = told.message  # type: ignore[attr-defined]
            logs = [(os.urandom(20), epoch, 1 << 30) for epoch in range(60)]
            logs += [(grantor, epoch, 1 << 30) for grantor, epoch, _ in state.logs]
            state = msgspec.structs.replace(state, logs=logs, waiting=0, running=0, settled=1 << 40, granting=True)
            return [Tell(told.to, state)]  # type: ignore[attr-defined]

        evil.peer.steward.asked = boasting  # type: ignore[assignment, method-assign]
        evil.library._log = lambda message: iter(())  # type: ignore[method-assign]
        reader = await peers.reader(job)
        began = time.monotonic()
        assert await values(reader) == {0: 1, 1: 2, 2: 3}
        assert time.monotonic() - began < 4 * reading.ASK_WAIT_S and not reader.missing()


@pytest.mark.asyncio
async def test_a_statement_of_another_job_neither_closes_nor_cancels_this_one() -> None:
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        job = await peers.settled(abs, [-1, -2, -3], 1)
        honest = evil.peer.steward.asked

        def mixed(*arguments: Any) -> list[Any]:
            (told,) = honest(*arguments)
            other = bytes(20)
            state = msgspec.structs.replace(
                told.message,  # type: ignore[attr-defined]
                close=signed(Close(other, 1, NOTHING), OWNER),
                cancel=signed(Cancel(other, 1.0), OWNER),
            )
            return [Tell(told.to, state)]  # type: ignore[attr-defined]

        evil.peer.steward.asked = mixed  # type: ignore[assignment, method-assign]
        reader = await peers.reader(job)
        assert len(await reader.read()) == 3
        assert not reader.cancelled and reader.total is None and not reader.complete


@pytest.mark.asyncio
async def test_the_log_of_another_job_is_not_taken_for_this_one(poison: Poison) -> None:
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        job, other = await peers.settled(abs, [-1], 1), await peers.settled(abs, [-5], 1)
        rows = list(evil.database.scan("logs", (other,)))
        assert rows

        def swapped(message: m.ReadLog) -> Iterator[m.Message]:
            header, body = rows[0][1]
            assert isinstance(header, bytes) and isinstance(body, bytes)
            yield m.LogData(message.request, pages.SIGNED.decode(header), body)

        evil.library._log = swapped  # type: ignore[method-assign]
        with pytest.raises(ResultRefused, match="another job"):
            await values(await peers.reader(job))


@pytest.mark.asyncio
async def test_a_large_result_is_loaded_from_the_right_bytes_alone(poison: Poison) -> None:
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        job = await peers.settled(bytes, [100_000], 1)

        def wrong(name: bytes, offset: int, count: int) -> bytes:
            return (poison.data + bytes(1 << 20))[offset : offset + count]

        evil.shelf.held = lambda name: None  # type: ignore[assignment, method-assign]
        evil.shelf.read = wrong  # type: ignore[assignment, method-assign]
        reader = await peers.reader(job)
        (stored,) = [stored async for fresh in reader.follow(WAIT_S) for stored in fresh]
        with pytest.raises(PeerError, match="no peer that answers has the blob"):
            await reader.value(stored)


# --- a steward that was made the grantor -----------------------------------------------------------------------------


async def handed_over(peers: Cast) -> bytes:
    """A job that nobody runs, handed over to the only steward."""
    client = await peers.peer(Keypair(os.urandom(32)))
    submission = await Submission.open(client, OWNER, Options(replicas=1), None, granting=False, gather=1)
    for number in range(3):
        submission.submit(abs, (-number,), {})
    await submission.close()
    await submission.kept(WAIT_S)
    await submission.hand_over()
    submission.forget()
    return submission.job


def write_log(evil: Overlay, job: bytes, entry: Entry) -> None:
    """As the job's grantor of epoch 1 ``evil`` may sign any log it likes."""
    body = pages.LOG_BODY.encode([entry])
    spans = read(entry.receipt, Receipt).spans
    header = signed(LogHeader(job, 1, evil.id, 0, NOTHING, digest(body), total(spans), spans), evil.keypair)
    evil.peer.steward.jobs[job].log(evil.id, 1).count = 1

    def log(message: m.ReadLog) -> Iterator[m.Message]:
        yield m.LogData(message.request, header, body)

    evil.library._log = log  # type: ignore[method-assign]


@pytest.mark.asyncio
async def test_a_grantors_word_is_never_enough(poison: Poison) -> None:
    """It holds the job's key and signs the log; a stranger's receipt stays one, with a copied proof as without."""
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        job = await handed_over(peers)
        copied = swarm_proof(SWARM_KEY, EVIL.public)
        receipt = receipt_of(STRANGER, keys_of(evil, job), job, 1, evil.id, 1, range(3), poison.data, copied)
        write_log(evil, job, Entry(*receipt, None))
        reader = await peers.reader(job)
        with pytest.raises(ResultRefused, match="neither a member of this swarm nor a key that you trust; it was not"):
            await values(reader)


@pytest.mark.asyncio
async def test_spans_without_end_in_a_log_hold_nobody_up() -> None:
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        job = await handed_over(peers)
        receipt = receipt_of(EVIL, keys_of(evil, job), job, 1, evil.id, 1, range(3), pickle.dumps(7))
        write_log(evil, job, Entry(*receipt, [(0, (1 << 32) - 1)] * 4096))
        began = time.monotonic()
        with pytest.raises(ResultRefused, match="settles what its receipt does not speak of"):
            await values(await peers.reader(job))
        assert time.monotonic() - began < 5


@pytest.mark.asyncio
async def test_a_handover_that_the_owner_did_not_sign_makes_no_grantor(poison: Poison) -> None:
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        await peers.peer(Keypair(os.urandom(32)), "storage")
        job = await peers.settled(abs, [-1, -2], 2)
        receipt = receipt_of(EVIL, keys_of(evil, job), job, 1, evil.id, 1, range(2), poison.data)
        write_log(evil, job, Entry(*receipt, None))
        honest = evil.peer.steward.asked

        def usurping(*arguments: Any) -> list[Any]:
            (told,) = honest(*arguments)
            handover = signed(Handover(job, 1, evil.keypair.public), evil.keypair)
            return [Tell(told.to, msgspec.structs.replace(told.message, handover=handover))]  # type: ignore[attr-defined]

        evil.peer.steward.asked = usurping  # type: ignore[assignment, method-assign]
        reader = await peers.reader(job)
        assert await values(reader) == {0: 1, 1: 2}
        assert reader.authority is not None and reader.authority.epoch == 0


@pytest.mark.asyncio
async def test_with_privacy_owner_a_steward_has_no_key_to_forge_or_read_with() -> None:
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        job = await peers.settled(abs, [-1], 1, privacy="owner", orchestration="centralised")
        with pytest.raises(PeerError):
            keys_of(evil, job)
        assert await values(await peers.reader(job)) == {0: 1}


def test_a_proof_of_membership_is_worth_nothing_under_another_key(poison: Poison) -> None:
    keys, job, grantor = JobKeys(bytes(32)), bytes(20), NodeId(bytes(20))
    copied = swarm_proof(SWARM_KEY, EVIL.public)

    def trusted(key: bytes, proof: bytes) -> bool:
        return proof == swarm_proof(SWARM_KEY, key)

    stranger = receipt_of(STRANGER, keys, job, 0, grantor, 1, range(1), poison.data, copied)
    with pytest.raises(ResultRefused):
        open_receipt(*stranger, keys, job, trusted)
    member, page = receipt_of(EVIL, keys, job, 0, grantor, 1, range(1), poison.data)
    with pytest.raises(PeerError):  # a member's name over a stranger's words
        open_receipt(
            Signed(member.kind, stranger[0].body, EVIL.public, stranger[0].signature), page, keys, job, trusted
        )


# --- results pushed to the grantor -----------------------------------------------------------------------------------


def push(sender: Overlay, to: Overlay, receipt: Signed, page: bytes) -> None:
    sender.follow([Tell(to.peer.contact, m.Results(receipt, page, True))])


async def refusals(overlay: Overlay, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while overlay.peer.counters["refused Results"] < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.asyncio
async def test_results_of_tasks_that_were_not_leased_to_their_sender_are_refused(poison: Poison) -> None:
    async with cast() as peers:
        evil = await peers.peer(EVIL, "storage")
        client = await peers.peer(Keypair(os.urandom(32)))
        submission = await Submission.open(client, OWNER, Options(replicas=1), None, gather=1)
        futures = [submission.submit(time.sleep, (0.3,), {}) for _ in range(3)]
        await submission.kept(WAIT_S)
        keys, job = keys_of(evil, submission.job), submission.job
        # Before anything is leased: under tokens that were never granted.
        for token in (0, 1, 1 << 40):
            push(evil, client, *receipt_of(EVIL, keys, job, 0, client.id, token, range(3), poison.data))
        await refusals(client, 3)
        worker = await peers.peer(Keypair(os.urandom(32)), "compute")
        async with asyncio.timeout(WAIT_S):
            while not client.peer.grantors[job].leases:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # While an honest peer holds the lease: under its token, in our own name and in its name.
        token = next(iter(client.peer.grantors[job].leases))
        push(evil, client, *receipt_of(EVIL, keys, job, 0, client.id, token, range(3), poison.data))
        mine, page = receipt_of(EVIL, keys, job, 0, client.id, token, range(3), poison.data)
        push(evil, client, Signed(mine.kind, mine.body, worker.keypair.public, mine.signature), page)
        await refusals(client, 5)
        # Of another epoch or grantor: nobody here grants that.
        push(evil, client, *receipt_of(EVIL, keys, job, 9, client.id, token, range(3), poison.data))
        push(evil, client, *receipt_of(EVIL, keys, job, 0, evil.id, token, range(3), poison.data))
        assert await asyncio.wait_for(asyncio.gather(*map(asyncio.wrap_future, futures)), WAIT_S) == [None] * 3
        submission.forget()


@pytest.mark.asyncio
async def test_a_stranger_without_the_swarms_key_is_not_even_heard(poison: Poison) -> None:
    async with cast() as peers, AsyncExitStack() as stack:
        client = await peers.peer(Keypair(os.urandom(32)), "storage")
        outside = Cast(stack, bytes(31) + b"x")
        outside.bootstrap = list(peers.bootstrap)
        stranger = await outside.peer(STRANGER, "compute", "storage")
        with pytest.raises(P2pcpnError, match="hung up during the handshake"):
            await stranger.server.dial(*client.address, expected=client.id)
        assert STRANGER.id not in client.sessions and not client.peer.pairs.established(STRANGER.id)


@pytest.mark.asyncio
async def test_in_an_open_swarm_a_stranger_is_leased_nothing_and_its_results_are_refused(poison: Poison) -> None:
    me, holder, helper = (Keypair(os.urandom(32)) for _ in range(3))
    async with cast(None) as peers:
        storage = await peers.peer(holder, "storage", trust=(OWNER,))
        stranger = await peers.peer(STRANGER, "compute", trust=(OWNER,))
        client = await peers.peer(me, trust=(OWNER, holder, helper))
        submission = await Submission.open(client, OWNER, Options(replicas=1), None, gather=1, wait_s=WAIT_S)
        futures = [submission.submit(abs, (-number,), {}) for number in range(20)]
        async with asyncio.timeout(WAIT_S):
            while stranger.peer.offers.explain(submission.job)[1] != "is not needed":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        keys = JobKeys(bytes(32))
        push(stranger, client, *receipt_of(STRANGER, keys, submission.job, 0, client.id, 1, range(3), poison.data, b""))
        await refusals(client, 1)
        await peers.peer(helper, "compute", trust=(OWNER,))
        assert await asyncio.wait_for(asyncio.gather(*map(asyncio.wrap_future, futures)), WAIT_S) == list(range(20))
        assert stranger.peer.worker.completed == 0 and not client.peer.grantors[submission.job].participants.get(
            STRANGER.id
        )
        assert storage.peer.steward.jobs
        submission.forget()
