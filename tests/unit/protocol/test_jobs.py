"""The jobs of a node: one grantor each, made, woken and asked together; a job that is adopted goes on where it was."""

from __future__ import annotations

import random

import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.dependencies import Known
from p2pcpn.protocol.directory import Listed
from p2pcpn.protocol.effects import Commit, Effect, Gather, LoadInputs, Spread, Tell
from p2pcpn.protocol.grantor import TAKEN, Grantor
from p2pcpn.protocol.jobs import Held, Jobs
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.leasing import HEAR_S
from p2pcpn.wire import messages as m
from p2pcpn.wire.pages import TaskPage
from p2pcpn.wire.sealing import JobKeys, digest, seal, swarm_proof, wrap
from p2pcpn.wire.statements import BlobRef, Cancel, Claim, Close, Handover, Offer, Pause, Signed, Steward, signed
from tests.unit.protocol.leased import (
    ME,
    ME_AT,
    OWNER,
    STEWARDS,
    STEWARDS_AT,
    STRANGER,
    STRANGER_AT,
    SWARM_KEY,
    Made,
    rules,
)  # fmt: skip

NONCE = (1).to_bytes(16, "big")
JOB_KEY = digest(NONCE)


class Bench:
    """The jobs of ``ME``, which is a steward of all of them and keeps nothing itself."""

    def __init__(self, me: Keypair = ME) -> None:
        self.requests = 0
        self.asked_near: list[tuple[bytes, float]] = []
        self.jobs = Jobs(
            me=me, contact=lambda: ME_AT, rules=rules(), storing=False, request=self._request,
            rank=lambda contact, rtt_ms: (rtt_ms, contact.id), near=self._near, rng=random.Random(0),
            now=0.0,
        )  # fmt: skip

    def _request(self) -> int:
        self.requests += 1
        return self.requests

    def _near(self, job: bytes, now: float) -> list[Listed]:
        self.asked_near.append((job, now))
        return []

    def grantor(self, made: Made) -> Grantor:
        """The grantor of a job."""
        return self.jobs.grantors[made.job]


def made(number: int = 1, wrapped: bytes | None = None) -> Made:
    """A job whose stewards are ``ME``, with the job key or ``wrapped``, and another peer."""
    key = wrap(OWNER, ME.public, number.to_bytes(16, "big"), JOB_KEY) if wrapped is None else wrapped
    return Made(
        number, stewards=[Steward(ME.public, ME_AT, key), Steward(STEWARDS[0].public, STEWARDS_AT[0], b"")]
    )  # fmt: skip


def kept(job: Made, *extends: m.Extend, epoch: int = 1) -> tuple[Kept, list[tuple[Signed, list[bytes]]]]:
    """What ``ME`` keeps of a job that was handed over to it, and what is on its disk."""
    found = Kept(Authority(job.spec), 1e9)
    found.authority.hand_over(signed(Handover(job.job, epoch, ME.public), OWNER))
    for said in extends:
        found.add_segment(said.segment, sum(count for _, count, n in job.firsts if n == said.request - 1), 0)
    return found, [(said.segment, said.pages) for said in extends]


def claim(job: Made, epoch: int = 1) -> Claim:
    """A stranger's claim."""
    return Claim(job.job, epoch, ME.id, 1, STRANGER_AT, 1, 2, 0.0, 1.0)


def told(effects: list[Effect], kind: type) -> list[m.Message]:
    """Messages of one kind."""
    return [effect.message for effect in effects if isinstance(effect, Tell) and isinstance(effect.message, kind)]


def test_a_job_that_begins_is_introduced_to_its_other_stewards() -> None:
    bench, job = Bench(), made()
    effects = bench.jobs.open(Authority(job.spec), JOB_KEY, 5.0, True)
    assert effects == [Tell(STEWARDS_AT[0], m.Introduce(1, job.spec, True))]
    grantor = bench.grantor(job)
    assert (grantor.epoch, grantor.granting, grantor.contact, grantor.owner) == (0, True, ME_AT, OWNER.public)


def test_who_only_submits_has_a_grantor_that_grants_nothing() -> None:
    bench, job = Bench(), made()
    bench.jobs.open(Authority(job.spec), JOB_KEY, 0.0, False)
    said = job.segment(2)
    effects = bench.grantor(job).extend(said.segment, said.pages, [[]], 0.0)
    assert told(effects, m.Extend)
    assert not [effect for effect in effects if isinstance(effect, Spread)]


def test_a_job_that_is_adopted_offers_what_no_log_settles() -> None:
    bench, job = Bench(), made()
    found, segments = kept(job, job.segment(2, 2), job.segment(3))
    effects = bench.jobs.adopt(found, segments, [(0, 3), (5, 1)], 10.0)
    grantor = bench.grantor(job)
    assert (grantor.epoch, grantor.total) == (1, None)
    assert (grantor.ledger.total, grantor.ledger.waiting, grantor.ledger.open) == (7, 3, 3)
    [offer] = [effect.statement for effect in effects if isinstance(effect, Spread)]
    assert isinstance(offer, Offer)
    assert (offer.job, offer.epoch, offer.grantor, offer.waiting) == (job.job, 1, ME_AT, 3)


def test_a_job_that_is_adopted_goes_on_from_the_states_that_were_kept_here() -> None:
    bench, job = Bench(), made()
    found, segments = kept(job, job.segment(4))
    keys = JobKeys(JOB_KEY)
    states = [m.LeftState(index, 9, b"s" * 16 + seal(keys.state(index, b"s" * 16), 9, b"half")) for index in (0, 1, 7)]
    bench.jobs.adopt(found, segments, [(0, 1)], 10.0, [], states)
    assert (bench.grantor(job).checkpoints.of(1), len(bench.grantor(job).checkpoints)) == (b"half", 1)


def test_the_other_stewards_hear_of_the_handover_from_the_new_grantor_before_anything_else() -> None:
    bench, job = Bench(), made()
    found, segments = kept(job, job.segment(2))
    effects = bench.jobs.adopt(found, segments, [], 10.0)
    assert found.authority.signed_handover is not None
    assert effects[0] == Tell(STEWARDS_AT[0], m.Take(1, found.authority.signed_handover))


def test_the_workers_of_an_adopted_job_are_shown_the_handover_and_leased_what_is_left() -> None:
    bench, job = Bench(), made()
    found, segments = kept(job, job.segment(4))
    bench.jobs.adopt(found, segments, [(0, 3)], 10.0)
    verdict, effects = bench.grantor(job).claimed(claim(job), STRANGER.public, 10.0)
    assert verdict == TAKEN
    assert told(effects, m.Take) == [m.Take(0, found.authority.signed_handover)]  # type: ignore[arg-type]
    assert not told(effects, m.Grant)  # first it brings what it ran for the grantor before
    assert len(told(bench.jobs.expire(10.0 + HEAR_S), m.Grant)) == 1
    assert bench.jobs.leases_out


def test_a_job_that_was_closed_ends_when_its_rest_is_done() -> None:
    bench, job = Bench(), made()
    found, segments = kept(job, job.segment(2))
    found.close = signed(Close(job.job, 2, job.last), OWNER)
    bench.jobs.adopt(found, segments, [(0, 2)], 10.0)
    assert bench.grantor(job).total == 2
    assert bench.grantor(job).finished


def test_the_blobs_that_pages_name_are_known_again() -> None:
    bench, job = Bench(), made()
    ref = BlobRef(bytes([5]) * 32, 100_000, bytes(32))
    found, segments = kept(job, job.segment(1, page=TaskPage([b"function"], None, [ref])))
    bench.jobs.adopt(found, segments, [], 10.0)
    assert [page.blobs for page, _, _ in bench.grantor(job).book.stock.pieces([(0, 1)])] == [[ref.digest]]


def test_a_job_is_not_taken_over_with_a_segment_that_its_owner_did_not_sign() -> None:
    bench, job = Bench(), made()
    found, [(first, sealed), second] = kept(job, job.segment(2), job.segment(3))
    unsigned = Signed(first.kind, first.body, first.key, bytes(64))
    with pytest.raises(PeerError, match="signature"):
        bench.jobs.adopt(found, [(unsigned, sealed), second], [], 10.0)
    assert not bench.jobs.grantors


@pytest.mark.parametrize("wrapped", [b"", bytes(80), wrap(STRANGER, ME.public, NONCE, JOB_KEY)])
def test_a_job_whose_key_does_not_open_is_refused_before_anything_begins(wrapped: bytes) -> None:
    bench, job = Bench(), made(wrapped=wrapped)
    found, segments = kept(job, job.segment(1))
    with pytest.raises(PeerError):
        bench.jobs.adopt(found, segments, [], 10.0)
    assert not bench.jobs.grantors
    assert bench.requests == 0


def test_a_job_whose_pages_do_not_open_is_refused_before_anything_begins() -> None:
    bench, job = Bench(), made(wrapped=wrap(OWNER, ME.public, NONCE, bytes(32)))
    found, segments = kept(job, job.segment(1))
    with pytest.raises(PeerError):
        bench.jobs.adopt(found, segments, [], 10.0)
    assert not bench.jobs.grantors


def test_results_of_members_and_of_our_own_slots_are_trusted() -> None:
    bench, job = Bench(), made()
    bench.jobs.open(Authority(job.spec), JOB_KEY, 0.0, True)
    trusted = bench.grantor(job)._acceptance._trusted
    assert trusted(STRANGER.public, swarm_proof(SWARM_KEY, STRANGER.public))
    assert not trusted(STRANGER.public, bytes(32))
    assert trusted(ME.public, b"")


def test_all_jobs_are_woken_at_the_earliest_of_their_deadlines() -> None:
    bench, one, two = Bench(), made(1), made(2)
    assert bench.jobs.deadline() is None
    for job, now in ((one, 1.0), (two, 2.0)):
        bench.jobs.open(Authority(job.spec), JOB_KEY, now, True)
        said = job.segment(1)
        bench.grantor(job).extend(said.segment, said.pages, [[]], now)
    due = bench.jobs.deadline()
    assert due is not None
    assert due == bench.grantor(one).deadline()
    effects = bench.jobs.expire(due)
    offers = [effect.statement for effect in effects if isinstance(effect, Spread)]
    assert [offer.job for offer in offers if isinstance(offer, Offer)] == [one.job]
    following = bench.jobs.deadline()
    assert following is not None
    assert following > due


def test_a_dead_peer_is_planned_with_in_no_job() -> None:
    bench, jobs = Bench(), [made(1), made(2)]
    for job in jobs:
        bench.jobs.open(Authority(job.spec), JOB_KEY, 0.0, True)
        said = job.segment(1)
        bench.grantor(job).extend(said.segment, said.pages, [[]], 0.0)
        bench.grantor(job).claimed(claim(job, epoch=0), STRANGER.public, 0.0)
    assert bench.jobs.leases_out
    bench.jobs.peer_dead(NodeId(STRANGER_AT.id), 1.0)
    assert not bench.jobs.leases_out
    assert all(bench.grantor(job).ledger.resting == 1 for job in jobs)


def test_storage_peers_are_looked_for_near_the_job_as_of_now() -> None:
    bench, job = Bench(), made()
    bench.jobs.open(Authority(job.spec), JOB_KEY, 3.0, True)
    bench.jobs.expire(9.0)
    assert bench.grantor(job).custody.candidates() == []
    assert bench.asked_near[-1] == (job.job, 9.0)


def test_any_order_of_deadlines_leaves_none_due() -> None:
    rng = random.Random(7)
    bench = Bench()
    for number in range(1, 6):
        job, now = made(number), rng.random()
        bench.jobs.open(Authority(job.spec), JOB_KEY, now, True)
        said = job.segment(rng.randint(1, 3))
        bench.grantor(job).extend(said.segment, said.pages, [[]], now)
    now = 1.0
    while now < 60.0:
        due = bench.jobs.deadline()
        assert due is not None
        now = max(now, due)
        bench.jobs.expire(now)
        following = bench.jobs.deadline()
        assert following is None or following > now


# --- epochs -----------------------------------------------------------------------------------------------------------


def taken(job: Made, epoch: int, *extends: m.Extend) -> tuple[Kept, list[tuple[Signed, list[bytes]]]]:
    """What ``ME`` keeps of a job that it takes over by itself."""
    found, segments = kept(job, *extends)
    fresh = Kept(Authority(job.spec), 1e9)
    fresh.authority.take_over(ME.public, epoch)
    fresh.grantor = STRANGER_AT
    for said in extends:
        fresh.add_segment(said.segment, sum(count for _, count, n in job.firsts if n == said.request - 1), 0)
    assert found.tasks == fresh.tasks
    return fresh, segments


def test_who_takes_a_job_over_by_itself_says_so_to_the_stewards_and_to_who_granted_before() -> None:
    bench, job = Bench(), made()
    found, segments = taken(job, 1, job.segment(4))
    effects = bench.jobs.adopt(found, segments, [(0, 3)], 10.0)
    said = [(effect.to, effect.message) for effect in effects if isinstance(effect, Tell)]
    mandates = [(to, message) for to, message in said if isinstance(message, m.Mandate)]
    assert [to for to, _ in mandates] == [STEWARDS_AT[0], STRANGER_AT]
    assert {(message.epoch, message.grantor, message.tasks, message.open) for _, message in mandates} == {
        (1, ME_AT, 4, 1)
    }
    assert found.grantor is None


def test_a_later_epoch_of_our_own_ends_the_one_before_and_its_log_is_still_brought() -> None:
    bench, job = Bench(), made()
    found, segments = taken(job, 1, job.segment(4))
    bench.jobs.adopt(found, segments, [], 10.0)
    first = bench.grantor(job)
    found.authority.take_over(ME.public, 4)
    bench.jobs.adopt(found, segments, [], 11.0)
    assert bench.grantor(job).epoch == 4 and first.superseded and bench.jobs.former == [first]
    bench.jobs.expire(12.0)
    assert bench.jobs.former == [], "nothing of it is left to bring"


def test_an_epoch_that_is_not_ours_any_more_is_not_begun() -> None:
    bench, job = Bench(), made()
    found, segments = taken(job, 1, job.segment(4))
    found.authority.take_over(STEWARDS[0].public, 2)
    assert bench.jobs.adopt(found, segments, [], 10.0) == [] and not bench.jobs.grantors


def test_segments_that_came_while_a_job_was_taken_over_are_caught_up_with() -> None:
    bench, job = Bench(), made()
    one, two = job.segment(4), job.segment(2)
    found, segments = taken(job, 1, one, two)
    bench.jobs.adopt(found, segments[:1], [], 10.0)
    assert bench.grantor(job).ledger.total == 4
    bench.jobs.adopt(found, segments, [], 10.1)
    assert bench.grantor(job).ledger.total == 6 and bench.grantor(job).epoch == 1


def test_results_that_were_brought_here_are_looked_at_and_false_ones_cost_nothing() -> None:
    bench, job = Bench(), made()
    found, segments = taken(job, 1, job.segment(4))
    false = m.Results(signed(Cancel(job.job, 1.0), STRANGER), b"", False)
    bench.jobs.adopt(found, segments, [], 10.0, [false])
    assert bench.grantor(job).ledger.open == 4


def resumed(bench: Bench, job: Made, held: Held, epoch: int = 3) -> list[Effect]:
    authority = Authority(job.spec)
    authority.hand_over(signed(Handover(job.job, epoch, ME.public), OWNER))
    return bench.jobs.resume(authority, JOB_KEY, held, 20.0)


def test_the_owners_node_goes_on_with_its_own_book_and_shows_the_stewards_what_is_left() -> None:
    bench, job = Bench(), made()
    bench.jobs.open(Authority(job.spec), JOB_KEY, 5.0, True)
    before = bench.grantor(job)
    for said in (job.segment(2), job.segment(3)):
        before.extend(said.segment, said.pages, [[] for _ in said.pages], 6.0)
    before.close(signed(Close(job.job, 5, job.last), OWNER), 5, 6.0)
    before.pause = signed(Pause(job.job, 1, True), OWNER)
    effects = resumed(bench, job, Held([], [(0, 2)]))
    grantor = bench.grantor(job)
    assert (grantor.epoch, grantor.total, grantor.ledger.open, grantor.paused) == (3, 5, 3, True)
    assert before.superseded and grantor.book is before.book
    assert len(told(effects, m.Introduce)) == len(told(effects, m.Take)) == len(told(effects, m.Finish)) == 1
    assert len(told(effects, m.Extend)) == 2


def test_a_job_with_which_its_owner_goes_on_is_as_old_as_it_is_though_nothing_woke_it() -> None:
    bench, job = Bench(), made()
    bench.jobs.open(Authority(job.spec), JOB_KEY, 5.0, True)
    resumed(bench, job, Held([], []))
    assert bench.grantor(job).term.age_s == 15.0


def test_another_node_of_the_owner_goes_on_with_what_it_read() -> None:
    bench, job = Bench(), made()
    said = [job.segment(2), job.segment(3)]
    close = signed(Close(job.job, 5, job.last), OWNER)
    effects = resumed(bench, job, Held([(e.segment, e.pages) for e in said], [(0, 4)], close, 5))
    grantor = bench.grantor(job)
    assert (grantor.epoch, grantor.total, grantor.ledger.waiting) == (3, 5, 1)
    [finish] = told(effects, m.Finish)
    assert isinstance(finish, m.Finish) and finish.statement == close


def test_who_goes_on_with_a_job_knows_what_was_read_of_tasks_that_others_settled() -> None:
    bench, job = Bench(), made()
    bench.jobs.open(Authority(job.spec), JOB_KEY, 5.0, True)
    said = job.segment(3)
    bench.grantor(job).extend(said.segment, said.pages, [[] for _ in said.pages], 6.0, [(1, [0]), (2, [0])])
    read = {0: Known(bytes(16), b"value")}
    effects = resumed(bench, job, Held([], [(0, 1)], result=read.get))
    book = bench.grantor(job).book
    assert book.dependencies.values == read and book.ledger.waiting == 2
    assert not [each for each in effects if isinstance(each, Commit) and LoadInputs in map(type, each.then)]


def test_former_grantors_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORMER_GRANTORS_MAX", 1)
    bench, jobs = Bench(), [made(1), made(2)]
    for job in jobs:
        bench.jobs.open(Authority(job.spec), JOB_KEY, 5.0, True)
        bench.jobs.retire(job.job, 6.0)
    assert [grantor.job for grantor in bench.jobs.former] == [jobs[1].job]
    assert bench.jobs.retire(bytes(20), 6.0) == []


def test_what_the_first_stewards_alone_were_sent_is_asked_of_the_others_in_turn() -> None:
    keys = [ME, *STEWARDS]
    nonce = (1).to_bytes(16, "big")
    named = [
        Steward(key.public, where, wrap(OWNER, key.public, nonce, JOB_KEY))
        for key, where in zip(keys, (ME_AT, *STEWARDS_AT), strict=True)
    ]
    code, ref = BlobRef(bytes([6]) * 32, 9, b""), BlobRef(bytes([5]) * 32, 100_000, bytes(32))
    bench, job = Bench(), Made(1, stewards=named, code=code)
    found, segments = taken(job, 1, job.segment(1, page=TaskPage([b"function"], None, [ref])))
    effects = bench.jobs.adopt(found, segments, [], 10.0)
    [gather] = [effect for effect in effects if isinstance(effect, Gather)]
    assert (gather.sender, gather.blobs, gather.then) == (STEWARDS_AT[0], (code.digest, ref.digest), ())
    [other] = gather.otherwise
    assert isinstance(other, Gather) and (other.sender, other.blobs, other.otherwise) == (
        STEWARDS_AT[1],
        gather.blobs,
        (),
    )


def test_who_has_nothing_left_to_grant_does_what_it_is_due_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, over, open_still = Bench(), made(1), made(2)
    for job in (over, open_still):
        bench.jobs.open(Authority(job.spec), JOB_KEY, 0.0, True)
    bench.grantor(over).total = 0
    woken: list[bytes] = []
    monkeypatch.setattr(Grantor, "expire", lambda self, now: woken.append(self.job) or [])
    monkeypatch.setattr(Grantor, "deadline", lambda self: 7.0)
    bench.jobs.expire(6.0)
    assert woken == [open_still.job]
    bench.jobs.expire(7.0)
    assert woken == [open_still.job, over.job, open_still.job]
