"""One peer: all machines together, among three or four others in one memory."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.admission import OPEN_SWARM
from p2pcpn.protocol.dht import Joined
from p2pcpn.protocol.effects import (
    Commit,
    Dial,
    Effect,
    Heard,
    Load,
    Provide,
    Publish,
    Run,
    Send,
    SendBytes,
    Spread,
    Tell,
    TellBlob,
    Withdraw,
)  # fmt: skip
from p2pcpn.protocol.gossip import Held
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.membership import Alive, Dead, Suspected, Verdict
from p2pcpn.protocol.operations import GetDone, PutDone
from p2pcpn.protocol.pairs import PairFailed
from p2pcpn.protocol.peer import BAD_MESSAGES_MAX
from p2pcpn.protocol.proving import PUT_OFF_MAX, PUT_OFF_S
from p2pcpn.protocol.reachability import Reached
from p2pcpn.protocol.setup import KEEPERS_S
from p2pcpn.wire import datagrams as d
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.sealing import digest, result_digest, swarm_proof, wrap
from p2pcpn.wire.statements import (
    DOMAIN,
    Advert,
    Cancel,
    Claim,
    Close,
    Handover,
    MemberState,
    Offer,
    Reason,
    Receipt,
    Role,
    Signed,
    Steward,
    signed,
)  # fmt: skip
from tests.unit.protocol.leased import OWNER, PYTHON, STRANGER, SWARM_KEY, Made, lease_of, rules
from tests.unit.protocol.swarm import BOTH, WAY_S, Job, Member, Swarm

ADVERT_SALT = b"advert"


@pytest.fixture
def swarm() -> Swarm:
    return Swarm()


def talk(swarm: Swarm, one: Member, other: Member) -> None:
    """Make a session between the two."""
    swarm.connect(one, other.contact)


def delivered(member: Member) -> list[int]:
    """The indices of results that came to a grantor, in order."""
    return sorted(index for event in member.seen(events.Delivered) for index in event.indices)


def claim_of(member: Member, job: bytes, grantor: Member, **changes: Any) -> Claim:
    """A claim as ``member`` makes it."""
    fields: dict[str, Any] = {
        "job": job, "epoch": 0, "grantor": grantor.id, "number": 1, "contact": member.contact, "boot": 1, "slots": 2,
        "load": 0.0, "rtt_ms": 1.0,
    }  # fmt: skip
    return Claim(**{**fields, **changes})


def receipt_of(member: Member, job: bytes, grantor: Member, **changes: Any) -> m.Results:
    """One result of ``member``, for whoever keeps or grants the job."""
    fields: dict[str, Any] = {
        "job": job, "epoch": 0, "grantor": grantor.id, "token": 1, "part": 0, "spans": [(0, 1)], "outcomes": bytes(1),
        "digests": result_digest(bytes(32), b""), "page": digest(b"page"), "ran_s": 0.1,
        "proof": swarm_proof(SWARM_KEY, member.key.public),
    }  # fmt: skip
    said = Receipt(**{**fields, **changes})
    return m.Results(signed(said, member.key), b"page", True, lease_of(said, member.key, grantor.key))


# --- publishing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left_s", [0.0, 1e-9, 0.5])
def test_what_is_over_before_anybody_reads_it_is_not_published_and_harms_nothing_beside_it(
    swarm: Swarm, left_s: float
) -> None:
    one = swarm.add().start()
    told = fx.Notify(events.GaveUp(bytes(20), [1], "so", False, None, None))
    effects = [fx.Provide(b"a" * 20, left_s), fx.Publish(b"salt", b"value", left_s), told]
    assert one.peer.perform(effects, swarm.now) == [told]
    assert not one.peer.publishing.provides(b"a" * 20)


# --- joining --------------------------------------------------------------------------------------------------------


def test_two_peers_join_by_an_address_and_hear_each_others_adverts(swarm: Swarm) -> None:
    one, two = swarm.add().start(), swarm.add()
    two.start(one)
    assert swarm.run(5, lambda: swarm.knows(one) == {two.id} and swarm.knows(two) == {one.id})
    assert [event.advert.contact for event in one.seen(events.Advertised)] == [two.contact]
    assert swarm.run(5, lambda: bool(two.seen(Joined)))
    assert two.id in one.peer.neighbourhood
    assert one.id in two.peer.neighbourhood


def test_all_of_a_swarm_hear_each_other_through_one_seed(swarm: Swarm) -> None:
    for member in swarm.grown(4):
        assert len(swarm.knows(member)) == 3


def test_a_client_is_neither_a_neighbour_nor_in_the_table_and_says_no_record(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    client = swarm.add(slots=0, roles=0).start(one)
    assert swarm.run(5, lambda: client.id in swarm.knows(one) and len(swarm.knows(client)) == 2)
    swarm.run(40)
    for member in (one, two):
        assert client.id not in member.peer.neighbourhood
        assert client.id not in {contact.id for contact in member.peer.dht.table.contacts()}
    client.do(client.peer.put_record(b"salt", b"value", 60.0, client.key, 1, swarm.now))
    assert swarm.run(5, lambda: bool(client.seen(PutDone)))
    one.do(
        one.peer.perform(one.peer.dht.get(record_key(client.key.public, ADVERT_SALT), 9, swarm.now, swarm.wall()), 0)
    )
    assert swarm.run(10, lambda: bool(one.seen(GetDone)))
    assert one.seen(GetDone)[0].record is None


def test_a_peer_with_a_role_publishes_its_advert_as_a_record(swarm: Swarm) -> None:
    one, two, _ = swarm.grown(3)
    swarm.run(2)
    key = record_key(one.key.public, ADVERT_SALT)
    two.do(two.peer.perform(two.peer.dht.get(key, 9, swarm.now, swarm.wall()), swarm.now))
    assert swarm.run(10, lambda: bool(two.seen(GetDone)))
    [done] = two.seen(GetDone)
    assert done.record is not None
    assert done.record.value == one.peer.announcement.signed.body  # type: ignore[union-attr]


def test_a_peer_that_leaves_is_forgotten_and_hears_no_more_offers(swarm: Swarm) -> None:
    one, two, three = swarm.grown(3)
    three.do(three.peer.leave(swarm.now))
    assert swarm.run(5, lambda: all(three.id not in swarm.knows(member) for member in (one, two)))
    assert three.id not in one.peer.neighbourhood
    assert three.peer.offers.leaving


# --- a job ----------------------------------------------------------------------------------------------------------


def test_a_job_is_offered_claimed_leased_run_and_delivered(swarm: Swarm) -> None:
    one, two, three = swarm.grown(3)
    submitter = swarm.add(slots=0, roles=0).start(one)
    assert swarm.run(5, lambda: len(swarm.knows(submitter)) == 3)
    job = Job(submitter).extend(4, 4)
    job.act(lambda grantor: grantor.close(signed(Close(job.job, 8, job.made.last), OWNER), 8, swarm.now))
    assert swarm.run(20, lambda: delivered(submitter) == list(range(8)))
    values = {index: value for event in submitter.seen(events.Delivered)
              for index, value in zip(event.indices, event.values, strict=True)}  # fmt: skip
    assert values[0] == b"result of " + job.argument(0)
    assert sum(member.peer.worker.completed for member in (one, two, three)) == 8
    assert swarm.run(20, lambda: any(event.done for event in submitter.seen(events.Replicated)))
    swarm.run(5)
    assert submitter.peer.deadline() is not None
    assert not submitter.peer.counters


def test_a_node_leases_to_its_own_slots_without_a_session(swarm: Swarm) -> None:
    [one] = swarm.grown(1)
    Job(one).extend(5)
    assert swarm.run(10, lambda: delivered(one) == list(range(5)))
    assert not [effect for effect in one.performed if isinstance(effect, Dial)]
    assert one.peer.rtt_s(one.id) == 0.0


def test_a_peer_without_the_compute_role_claims_nothing(swarm: Swarm) -> None:
    one = swarm.add(slots=0, roles=Role.STORAGE).start()
    Job(one).extend(2)
    swarm.run(10)
    assert one.peer.offers.explain(next(iter(one.peer.grantors))) == ("unseen", "has heard no offer of this job")


def test_a_peer_that_leaves_gives_back_what_has_not_started(swarm: Swarm) -> None:
    one, two, three = swarm.grown(3, slots=1)
    job = Job(one).extend(*[20] * 4)
    assert swarm.run(20, lambda: len(delivered(one)) == 80)
    for member in (one, two, three):
        member.takes_s = None
    job.extend(*[20] * 4)
    assert swarm.run(20, lambda: bool(two.batches) and two.peer.worker.queued > 0)
    queued = two.peer.worker.queued
    two.do(two.peer.perform(two.peer.presence.drain(swarm.now), swarm.now))
    swarm.run(0.1)
    backs = one.told(m.Return)
    assert {back.code for back in backs} == {"leaving"}
    assert sum(count for back in backs for _, count in back.spans) == queued
    assert job.grantor.participants[two.id].leaving
    assert two.peer.worker.queued == 0 and two.batches
    two.do(two.peer.leave(swarm.now))
    swarm.run(0.1)
    assert two.id not in job.grantor.participants or not job.grantor.participants[two.id].held


def test_the_leases_of_a_dead_peer_are_granted_to_others(swarm: Swarm) -> None:
    one, two, three = swarm.grown(3)
    submitter = swarm.add(slots=0, roles=0).start(one)
    assert swarm.run(5, lambda: len(swarm.knows(submitter)) == 3)
    two.takes_s = None
    job = Job(submitter).extend(*[2] * 6)
    assert swarm.run(10, lambda: bool(two.batches))
    assert submitter.peer.works_with(two.id)
    held = {token: lease for token, lease in job.grantor.leases.items() if lease.peer == two.id}
    assert held
    swarm.kill(two)
    assert swarm.run(8, lambda: delivered(submitter) == list(range(12)))
    assert swarm.run(8, lambda: two.id not in job.grantor.participants)
    assert swarm.run(8, lambda: two.id not in submitter.peer.neighbourhood)
    assert one.peer.worker.completed + three.peer.worker.completed >= 12


def test_leases_live_on_when_only_the_session_is_lost(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    submitter = swarm.add(slots=0, roles=0).start(one)
    assert swarm.run(5, lambda: len(swarm.knows(submitter)) == 2)
    one.takes_s = two.takes_s = 0.5
    job = Job(submitter).extend(2, 2)
    assert swarm.run(10, lambda: bool(two.batches))
    tokens = set(job.grantor.participants[two.id].tokens)
    swarm.hang_up(submitter, two.id)
    assert two.id not in submitter.peer.lines.open
    assert swarm.run(10, lambda: delivered(submitter) == list(range(4)))
    assert tokens
    assert submitter.id in two.lines


def test_started_and_printed_are_told_while_tasks_run(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    two.takes_s = one.takes_s = None
    job = Job(one).extend(1, 1, 1)
    assert swarm.run(10, lambda: bool(two.batches))
    two.follow(two.peer.worker.printed(next(iter(two.batches)), 0, 1, b"a line\n"))
    assert swarm.run(30, lambda: bool(one.seen(events.Started) and one.seen(events.Printed)))
    assert one.seen(events.Printed)[0].data == b"a line\n"
    assert one.peer.counts(job.job) is not None


def test_packages_of_a_segment_that_are_missing_are_declined_and_explained(swarm: Swarm) -> None:
    one = swarm.add(slots=0, roles=Role.STORAGE).start()
    two = swarm.add(rules=rules(missing=lambda names: names)).start(one)
    assert swarm.run(5, lambda: swarm.knows(one) == {two.id})
    job = Job(one).extend(2, requires=("numpy",))
    assert swarm.run(10, lambda: bool(one.told(m.Return)))
    assert one.told(m.Return)[0].code == "declined"
    assert two.peer.offers.explain(job.job) == ("declined", "lacks the package numpy")
    assert not two.peer.worker.declines


def test_a_job_that_is_cancelled_stops_what_runs(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    one.takes_s = two.takes_s = None
    job = Job(one).extend(2, 2)
    assert swarm.run(10, lambda: bool(two.batches))
    job.act(lambda grantor: grantor.cancel_job(signed(Cancel(job.job, 1.0), OWNER), swarm.now))
    swarm.run(2)
    assert two.told(m.Revoke)
    assert not two.batches
    assert not one.batches


def test_nothing_is_done_to_a_job_that_is_not_granted_here(swarm: Swarm) -> None:
    [one] = swarm.grown(1)
    assert one.peer.with_grantor(bytes(20), lambda grantor: [], swarm.now) == []
    assert one.peer.counts(bytes(20)) is None


def test_who_only_submits_counts_nothing_and_grants_nothing(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    job = Job(one, stewards=(two,), granting=False).extend(3)
    swarm.run(5)
    assert one.peer.counts(job.job) is None
    assert one.peer.knows_job(job.job)
    assert len(two.peer.steward.jobs[job.job].segments) == 1
    assert not delivered(one)


def test_what_is_under_way_tells_who_is_worked_with(swarm: Swarm) -> None:
    one, two, three = swarm.grown(3)
    one.takes_s = two.takes_s = three.takes_s = None
    job = Job(one, stewards=(three,)).extend(1, 1, 1)
    assert not one.peer.works_with(NodeId(bytes(20)))
    assert swarm.run(10, lambda: bool(two.batches))
    assert two.peer.works_with(one.id)
    assert one.peer.works_with(two.id)
    assert not two.peer.works_with(three.id)
    assert [member.peer.knows_job(job.job) for member in (one, two, three)] == [True] * 3
    assert not two.peer.knows_job(bytes(20))
    waiting, leased, settled = one.peer.counts(job.job) or (0, 0, 0)
    assert (waiting + leased, settled) == (3, 0)
    assert leased


# --- claims ---------------------------------------------------------------------------------------------------------


def ask(swarm: Swarm, member: Member, grantor: Member, envelope: Signed) -> None:
    """``member`` brings a claim."""
    member.do(member.peer.perform([Send(grantor.contact, d.ClaimRequest(1, envelope))], swarm.now))
    swarm.run(0.1)


def test_a_claim_that_is_not_its_senders_own_is_refused(swarm: Swarm) -> None:
    one = swarm.add(slots=0, roles=Role.STORAGE).start()
    two, three = swarm.add(slots=0).start(one), swarm.add(slots=0).start(one)
    assert swarm.run(5, lambda: len(swarm.knows(one)) == 2)
    job = Job(one).extend(1)
    signed_by_another = signed(claim_of(two, job.job, one), three.key)
    brought_by_another = signed(claim_of(three, job.job, one), three.key)
    ask(swarm, two, one, signed_by_another)
    ask(swarm, two, one, brought_by_another)
    right = signed(claim_of(two, job.job, one), two.key)
    ask(swarm, two, one, Signed(right.kind, right.body, right.key, bytes(64)))
    assert one.peer.counters["refused ClaimRequest"] == 3
    assert not job.grantor.participants
    ask(swarm, two, one, right)
    assert list(job.grantor.participants) == [two.id]


def test_a_claim_is_granted_to_the_address_that_was_proven(swarm: Swarm) -> None:
    one, two = swarm.grown(2, slots=0)
    job = Job(one).extend(1)
    elsewhere = contact(two.id, ("203.0.113.9", 9))
    ask(swarm, two, one, signed(claim_of(two, job.job, one, contact=elsewhere), two.key))
    assert job.grantor.participants[two.id].contact == two.contact


def test_a_claim_of_a_job_that_is_not_granted_here_is_told_so(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    offer = Offer(bytes(20), OWNER.public, 0, one.contact, 1, "function", PYTHON, [], 0, 1, 1, 30.0)
    two.follow(two.peer.offers.heard(offer, swarm.now))
    swarm.run(3)
    assert two.peer.offers.explain(bytes(20)) == ("waiting", "the job is over")


def test_in_an_open_swarm_a_key_that_is_not_trusted_is_not_wanted(swarm: Swarm) -> None:
    trusting = rules(swarm_key=OPEN_SWARM, trusted=frozenset({OWNER.public}))
    one, two = swarm.grown(2, rules=trusting)
    job = Job(one).extend(4)
    assert swarm.run(5, lambda: two.peer.offers.explain(job.job) == ("waiting", "is not needed"))
    assert swarm.run(5, lambda: delivered(one) == list(range(4)))
    assert two.peer.worker.completed == 0
    assert one.peer.stewards_near(bytes(20), swarm.now) == []


# --- what cannot be right -------------------------------------------------------------------------------------------


def test_too_many_bad_messages_end_the_session(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    talk(swarm, two, one)
    bad = m.Take(1, Signed(Handover.kind, b"", OWNER.public, bytes(64)))
    for _ in range(BAD_MESSAGES_MAX - 1):
        swarm.say(two, one.id, bad)
    swarm.run(1)
    assert one.peer.counters["refused Take"] == BAD_MESSAGES_MAX - 1
    assert not one.hung_up
    swarm.say(two, one.id, bad)
    swarm.run(1)
    [hangup] = one.hung_up
    assert hangup.peer == two.id
    assert one.id not in two.lines
    talk(swarm, two, one)
    swarm.say(two, one.id, bad)
    swarm.run(1)
    assert len(one.hung_up) == 1, "a new session begins with a clean slate"


def test_messages_and_datagrams_that_nobody_awaits_are_counted(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    talk(swarm, two, one)
    swarm.say(two, one.id, m.Goodbye("enough"))
    swarm.run(1)
    assert one.peer.counters["unexpected Goodbye"] == 1
    one.do(one.peer.perform([Heard(d.Unsupported(1, (1, 1)), two.contact)], swarm.now))
    assert one.peer.counters["unexpected Unsupported"] == 1


def test_a_message_without_a_session_says_nothing(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    assert one.peer.message_received(two.id, m.ListJobs(1, OWNER.public), swarm.now) == []


def test_words_about_jobs_that_are_not_granted_here_change_nothing(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    talk(swarm, two, one)
    unknown = bytes(20)
    for message in (
        m.Progress(unknown, 1, []), m.Return(unknown, 1, [(0, 1)], "late", ""), m.Output(unknown, 1, 0, b"x"),
        m.Settled(unknown, [(1, 0)]), m.Revoke(unknown, [(0, 1)], True), m.Answer(77, 0, ""),
        receipt_of(two, unknown, one),
    ):  # fmt: skip
        swarm.say(two, one.id, message)
    swarm.run(1)
    assert not one.peer.counters
    assert not one.hung_up


def test_any_datagram_is_taken_without_raising(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    for data in (b"", b"x" * 40, bytes(1200)):
        one.do(one.peer.datagram_received(data, two.address, swarm.now))
    one.do(one.peer.perform([Heard(d.Gossip([], [1]), two.contact)], swarm.now))
    assert one.peer.counters["refused Gossip"] == 1
    one.do(one.peer.perform([Heard(d.Compound(d.Ping(1, 0), [], [1]), two.contact)], swarm.now))
    assert one.peer.counters["refused Compound"] == 1


def test_a_repeated_advert_rides_with_a_ping_to_members_and_the_ping_is_answered(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    client = swarm.add(slots=0, roles=0).start(one)
    assert swarm.run(5, lambda: one.peer.pairs.established(client.id))
    swarm.run(400)  # the first that follows a word about news
    said: list[tuple[bytes, d.Datagram]] = []
    one.peer.pairs.said = lambda message, size: said.append((two.id, message))
    two.peer.pairs.said = lambda message, size: said.append((one.id, message))
    before = one.peer.announcement.signed
    assert swarm.run(1000, lambda: one.peer.announcement.signed != before)
    swarm.run(60)
    newest = one.peer.announcement.signed
    compounds = [message for to, message in said if to == two.id and isinstance(message, d.Compound)]
    assert [newest] in [compound.rumors for compound in compounds]
    assert not any(isinstance(message, d.Gossip) and newest in message.rumors for _, message in said)
    listed = two.peer.directory.get(one.id)
    assert listed is not None and listed.signed == newest
    pings = {compound.message.nonce for compound in compounds if isinstance(compound.message, d.Ping)}
    assert pings <= {message.nonce for _, message in said if isinstance(message, d.Ack)}
    rumor = signed(one.advert(version=1 << 20), one.key)
    held = one.peer.gossip.riding
    held.add(Held(b"8 bytes.", rumor, 300, 2, 4, 1e9))
    for member, kind in ((client, d.Ping), (two, d.Compound)):
        said.clear()
        one.do(one.peer.perform([Send(member.contact, d.Ping(1, 0))], swarm.now))
        assert [type(message) for to, message in said if to == two.id] == [kind]


# --- stewards -------------------------------------------------------------------------------------------------------


def test_a_steward_answers_what_it_keeps_and_keeps_results_that_find_no_grantor(swarm: Swarm) -> None:
    one, two, three = swarm.grown(3, slots=0)
    job = Job(one, stewards=(two,)).extend(3)
    assert swarm.run(5, lambda: any(kept.whole == 1 for kept in one.seen(events.Kept)))
    talk(swarm, three, two)
    swarm.say(three, two.id, m.Ask(5, job.job))
    swarm.say(three, two.id, m.ListJobs(6, OWNER.public))
    swarm.say(three, two.id, receipt_of(three, job.job, one))
    swarm.run(1)
    [state] = three.told(m.JobState)
    assert (state.request, state.segments, state.tasks, state.granting) == (5, 1, 3, False)
    assert three.told(m.Jobs) == [m.Jobs(6, [job.job])]
    assert three.told(m.Settled) == [m.Settled(job.job, [(1, 0)])]
    assert two.disk.get("orphans", (job.job, three.id, 1, 0)) is not None


def test_stewards_are_other_storage_peers_that_were_heard_of(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    swarm.add(roles=Role.COMPUTE).start(one)
    swarm.run(5)
    assert [listed.advert.contact for listed in one.peer.stewards_near(bytes(20), swarm.now)] == [two.contact]


def handed_over(swarm: Swarm, settled: int, waiting: int) -> tuple[Job, Member, Member, Member]:
    """A job whose grantor died with ``waiting`` tasks leased: (job, dead grantor, the steward that took over, owner).

    The owner's word comes from a client peer.
    """
    steward = swarm.add(slots=0, roles=Role.STORAGE).start()
    first = swarm.add(slots=0, roles=0).start(steward)
    worker = swarm.add(roles=Role.COMPUTE).start(steward)
    owner = swarm.add(slots=0, roles=0).start(steward)
    assert swarm.run(5, lambda: all(worker.id in swarm.knows(member) for member in (steward, first, owner)))
    job = Job(first, stewards=(steward,)).extend(*[1] * settled)
    assert swarm.run(20, lambda: any(event.replicated == settled for event in first.seen(events.Replicated)))
    worker.takes_s = None
    job.extend(*[1] * waiting)
    assert swarm.run(10, lambda: bool(worker.batches) and steward.peer.steward.jobs[job.job].tasks == settled + waiting)
    swarm.run(1)
    swarm.kill(first)
    swarm.kill(worker)
    talk(swarm, owner, steward)
    swarm.say(owner, steward.id, m.Take(1, signed(Handover(job.job, 1, steward.key.public), OWNER)))
    swarm.run(1)
    assert owner.told(m.Answer) == [m.Answer(1, m.AnswerCode.DONE, "")]
    return job, first, steward, owner


def test_a_handover_makes_the_steward_the_grantor_of_the_rest(swarm: Swarm) -> None:
    job, _, steward, owner = handed_over(swarm, 3, 4)
    grantor = steward.peer.grantors[job.job]
    assert grantor.epoch == 1
    assert steward.peer.counts(job.job) == (4, 0, 3)
    successor = swarm.add(roles=Role.COMPUTE).start(steward)
    assert swarm.run(20, lambda: delivered(steward) == [3, 4, 5, 6])
    assert successor.peer.worker.works[job.job].authority.epoch == 1
    # Its own log is among those it shows, behind the first grantor's.
    swarm.run(1)
    swarm.say(owner, steward.id, m.Ask(3, job.job))
    swarm.run(1)
    [state] = owner.told(m.JobState)
    assert state.granting and {log[:2]: log[2] for log in state.logs}[steward.id, 1] == grantor.log.number > 0
    # Said again, it changes nothing.
    swarm.say(owner, steward.id, m.Take(2, signed(Handover(job.job, 1, steward.key.public), OWNER)))
    swarm.run(1)
    assert steward.peer.grantors[job.job] is grantor


def test_results_of_an_earlier_epoch_that_open_to_nobody_settle_nothing(swarm: Swarm) -> None:
    job, first, steward, owner = handed_over(swarm, 1, 2)
    swarm.say(owner, steward.id, receipt_of(owner, job.job, first, token=5, spans=[(1, 1)]))
    swarm.run(1)
    assert steward.peer.counters["refused Results"] == 1
    assert not delivered(steward)
    assert steward.peer.counts(job.job) == (2, 0, 1)


def test_the_owner_closes_and_cancels_a_job_that_is_granted_here(swarm: Swarm) -> None:
    job, _, steward, owner = handed_over(swarm, 1, 2)
    grantor = steward.peer.grantors[job.job]
    for statement in (signed(Close(job.job, 3, job.made.last), STRANGER), signed(Cancel(job.job, 1.0), STRANGER)):
        swarm.say(owner, steward.id, m.Finish(7, statement))
    swarm.run(1)
    assert steward.peer.counters["refused Finish"] == 2
    assert (grantor.total, grantor.cancelled) == (None, False)
    swarm.say(owner, steward.id, m.Finish(8, signed(Close(job.job, 3, job.made.last), OWNER)))
    swarm.run(1)
    assert grantor.total == 3
    assert not grantor.finished
    swarm.say(owner, steward.id, m.Finish(9, signed(Cancel(job.job, 1.0), OWNER)))
    swarm.run(1)
    assert grantor.cancelled
    assert grantor.finished


def test_a_close_or_cancel_by_another_owner_leaves_a_job_that_is_not_kept_here_alone(swarm: Swarm) -> None:
    one, two = swarm.grown(2, slots=0)
    job = Job(one).extend(2)
    talk(swarm, two, one)
    for key in (STRANGER, OWNER):
        for statement in (signed(Close(job.job, 2, job.made.last), key), signed(Cancel(job.job, 1.0), key)):
            swarm.say(two, one.id, m.Finish(1, statement))
        swarm.run(1)
        assert (job.grantor.total, job.grantor.cancelled) == ((2, True) if key is OWNER else (None, False))


# --- segments of the owner's own node -------------------------------------------------------------------------------


def forged(said: m.Extend) -> m.Extend:
    """The same segment under a signature that is none."""
    return msgspec.structs.replace(said, segment=msgspec.structs.replace(said.segment, signature=bytes(64)))


def made_for(grantor: Member, *stewards: Member, number: int = 1) -> Made:
    """A job that ``grantor`` grants first and ``stewards`` keep, and have the key of."""
    nonce = number.to_bytes(16, "big")
    kept = [
        Steward(member.key.public, member.contact, wrap(OWNER, member.key.public, nonce, digest(nonce)))
        for member in stewards
    ]
    return Made(number, grantor=grantor.key, stewards=kept)


def works_for(swarm: Swarm, grantor: Member, worker: Member, *stewards: Member) -> Made:
    """A job that ``grantor`` (a member without machines for it) may lease to ``worker``, which knows it."""
    made = made_for(grantor, *stewards)
    talk(swarm, grantor, worker)
    swarm.say(grantor, worker.id, m.Introduce(1, made.spec, worker in stewards))
    return made


def test_a_segment_that_the_owner_never_signed_is_stopped_soon_and_nothing_of_it_is_stated(swarm: Swarm) -> None:
    one, two = swarm.add(slots=0), swarm.add()
    made = works_for(swarm, one, two)
    two.takes_s = None
    swarm.say(one, two.id, forged(made.segment(8)))
    swarm.say(one, two.id, made.grant((0, 8), worker=two.id, by=one.key))
    swarm.run(0.003)
    assert two.batches and two.peer.worker.queued, "what the owner's node says is believed"
    swarm.run(PUT_OFF_S)
    assert (two.batches, two.peer.worker.queued, two.peer.worker.running) == ({}, 0, 0)
    assert (two.peer.worker.works[made.job].leases, two.peer.worker.pages.kept_bytes) == ({}, 0)
    [hangup] = two.hung_up
    assert (hangup.peer, two.lines) == (one.id, {})
    assert "the signature under that Segment is wrong" in hangup.why
    assert two.peer.counters["disproved Extend"] == 1
    swarm.run(30)
    assert [type(message) for _, message in one.said] == []
    assert two.peer.worker.journal.count == two.peer.worker.completed == 0


def test_only_what_was_over_before_a_segment_was_disproved_is_stated(swarm: Swarm) -> None:
    one, two = swarm.add(slots=0), swarm.add(slots=1)
    made = works_for(swarm, one, two)
    two.takes_s = 0.0005
    swarm.say(one, two.id, forged(made.segment(200)))
    swarm.say(one, two.id, made.grant((0, 200), worker=two.id, by=one.key, slots=1))
    assert swarm.run(1, lambda: bool(two.hung_up))
    before = two.peer.worker.completed
    assert 0 < before < 200
    swarm.run(30)
    assert two.peer.worker.completed == before
    # Told again, to a node that may not have heard it: the session ended.
    assert {index for message in one.told(m.Results) for index in made.open(message).indices} == set(range(before))


def test_another_job_of_the_node_that_said_a_false_segment_runs_on(swarm: Swarm) -> None:
    one, two = swarm.add(slots=0), swarm.add(slots=2)
    made = works_for(swarm, one, two)
    other = Made(2, grantor=one.key)
    swarm.say(one, two.id, m.Introduce(1, other.spec, False))
    two.takes_s = None
    for job, said in ((made, forged(made.segment(1))), (other, other.segment(1))):
        swarm.say(one, two.id, said)
        swarm.say(one, two.id, job.grant((0, 1), worker=two.id, by=one.key))
    swarm.run(0.1)
    assert len(two.hung_up) == 1
    assert [run.digest_key for run in two.batches.values()] == [other.keys.digests]


def test_a_false_segment_of_any_other_peer_is_refused_before_anything_runs(swarm: Swarm) -> None:
    one, two, steward = swarm.add(slots=0), swarm.add(), swarm.add(slots=0)
    made = works_for(swarm, one, two, steward)
    talk(swarm, steward, two)
    said = made.segment(2)
    swarm.say(steward, two.id, m.Take(0, signed(Handover(made.job, 1, steward.key.public), OWNER)))
    swarm.say(steward, two.id, forged(said))
    swarm.say(steward, two.id, made.grant((0, 2), worker=two.id, by=steward.key, epoch=1))
    swarm.run(1)
    assert two.peer.counters["refused Extend"] == 1
    assert [(back.code, back.text) for back in steward.told(m.Return)] == [("missing", "lacks a page")]
    assert not [effect for effect in two.performed if isinstance(effect, Run)]
    swarm.say(steward, two.id, said)
    swarm.say(steward, two.id, made.grant((0, 2), worker=two.id, by=steward.key, epoch=1))
    swarm.run(1)
    assert [index for message in steward.told(m.Results) for index in made.open(message).indices] == [0, 1]


def test_segments_to_keep_are_kept_in_order_by_one_commit_and_answered_together(swarm: Swarm) -> None:
    one, two = swarm.add(slots=0), swarm.add(slots=0)
    made = works_for(swarm, one, two, two)
    swarm.run(1)
    for _ in range(4):
        swarm.say(one, two.id, msgspec.structs.replace(made.segment(1), keep=True))
    swarm.run(PUT_OFF_S - WAY_S)
    assert two.peer.steward.jobs[made.job].tasks == 0
    swarm.run(1)
    assert two.peer.steward.jobs[made.job].tasks == 4
    assert [two.disk.get("segments", (made.job, number)) is not None for number in range(5)] == [True] * 4 + [False]
    assert one.told(m.Answer)[1:] == [m.Answer(1, m.AnswerCode.DONE, "", [2, 3, 4])]


def test_as_many_segments_as_may_wait_are_kept_at_once(swarm: Swarm) -> None:
    one, two = swarm.add(slots=0), swarm.add(slots=0)
    made = works_for(swarm, one, two, two)
    swarm.run(1)
    for _ in range(PUT_OFF_MAX):
        swarm.say(one, two.id, msgspec.structs.replace(made.segment(1), keep=True))
    swarm.run(WAY_S)
    assert two.peer.steward.jobs[made.job].tasks == PUT_OFF_MAX


def test_a_segment_that_contradicts_what_is_kept_is_refused_and_others_are_kept(swarm: Swarm) -> None:
    one, two = swarm.add(slots=0), swarm.add(slots=0)
    made = works_for(swarm, one, two, two)
    first = msgspec.structs.replace(made.segment(1), keep=True)
    other = made_for(one, two).segment(2)
    for said in (first, msgspec.structs.replace(other, keep=True), msgspec.structs.replace(made.segment(1), keep=True)):
        swarm.say(one, two.id, said)
    swarm.run(1)
    assert two.peer.counters["refused Extend"] == 1
    assert two.peer.steward.jobs[made.job].segments == [digest(each.body) for each in made.segments]


def hand_over(swarm: Swarm, owner: Member, steward: Member, made: Made, key: Keypair = OWNER) -> None:
    swarm.say(owner, steward.id, m.Take(9, signed(Handover(made.job, 1, steward.key.public), key)))


def test_segments_that_were_put_off_are_on_disk_before_a_handover_is_acted_on(swarm: Swarm) -> None:
    one, two = swarm.add(slots=0), swarm.add(slots=0)
    made = works_for(swarm, one, two, two)
    swarm.run(1)
    for _ in range(3):
        swarm.say(one, two.id, msgspec.structs.replace(made.segment(2), keep=True))
    hand_over(swarm, one, two, made)
    hand_over(swarm, one, two, made)  # before the first was read from disk
    swarm.run(WAY_S)
    assert two.peer.grantors == {}
    swarm.run(1)
    assert two.peer.counts(made.job) == (6, 0, 0)
    assert two.peer.grantors[made.job].epoch == 1
    assert len([effect for effect in two.performed if isinstance(effect, Load)]) == 1
    assert sorted(answer.request for answer in one.told(m.Answer)) == [1, 1, 9, 9]


def test_a_handover_that_is_refused_loses_nothing_that_was_put_off(swarm: Swarm) -> None:
    one, two = swarm.add(slots=0), swarm.add(slots=0)
    made = works_for(swarm, one, two, two)
    swarm.run(1)
    said = [msgspec.structs.replace(made.segment(1), keep=True) for _ in range(2)]
    body = msgpack.packb([made.job, 1, two.key.public, bytes(limits.SPEC_BYTES_MAX)])
    long = Signed(Handover.kind, body, OWNER.public, OWNER.sign(DOMAIN + b"\0\x0c" + body))
    swarm.say(one, two.id, said[0])
    swarm.say(one, two.id, m.Take(9, long))
    swarm.say(one, two.id, said[1])
    hand_over(swarm, one, two, made, STRANGER)
    swarm.run(1)
    assert two.peer.counters["refused Take"] == 2
    assert two.peer.grantors == {}
    assert [two.disk.get("segments", (made.job, number)) is not None for number in range(2)] == [True, True]


def test_a_false_segment_right_before_a_handover_is_dropped_as_any_other(swarm: Swarm) -> None:
    one, two = swarm.add(slots=0), swarm.add()
    made = works_for(swarm, one, two, two)
    swarm.say(one, two.id, forged(made.segment(2)))
    hand_over(swarm, one, two, made)
    swarm.run(WAY_S)
    assert [hangup.peer for hangup in two.hung_up] == [one.id]
    assert two.peer.worker.pages.kept_bytes == 0
    due = two.peer.worker.deadline()
    assert due is not None and due < swarm.now + 3600, "the job is forgotten some day"


# --- records --------------------------------------------------------------------------------------------------------


def test_versions_of_a_record_grow_though_the_clock_stands_still(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    owner, version = Keypair(bytes([9]) * 32), int(swarm.wall() * 1000)
    for ticket, value in enumerate((b"first", b"second"), 1):
        one.do(one.peer.put_record(b"salt", value, 60.0, owner, ticket, swarm.now))
    assert swarm.run(10, lambda: len(one.seen(PutDone)) >= 2)
    key = record_key(owner.public, b"salt")
    two.do(two.peer.perform(two.peer.dht.get(key, 9, swarm.now, swarm.wall()), swarm.now))
    assert swarm.run(10, lambda: bool(two.seen(GetDone)))
    record = two.seen(GetDone)[0].record
    assert record is not None
    assert (record.value, record.seq) == (b"second", version + 1)


def test_publish_puts_a_record_under_the_nodes_own_key(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    one.do(one.peer.perform([Publish(b"head", b"value", 10 * limits.RECORD_RETENTION_S_MAX)], swarm.now))
    swarm.run(2)
    two.do(
        two.peer.perform(two.peer.dht.get(record_key(one.key.public, b"head"), 9, swarm.now, swarm.wall()), swarm.now)
    )
    assert swarm.run(10, lambda: bool(two.seen(GetDone)))
    record = two.seen(GetDone)[0].record
    assert record is not None
    assert (record.value, record.retention_s) == (b"value", limits.RECORD_RETENTION_S_MAX)


# --- questions ------------------------------------------------------------------------------------------------------


def test_explain_brings_signed_reasons_and_says_who_is_silent(swarm: Swarm) -> None:
    one, two, three, four = swarm.grown(4)
    two.peer.offers.heard(
        Offer(bytes(20), OWNER.public, 0, one.contact, 1, "function", "2.7", [], 0, 1, 1, 30.0), swarm.now
    )
    swarm.kill(four)
    asked, effects = one.peer.explain(bytes(20), 7, swarm.now)
    one.do(effects)
    assert asked == 3
    assert swarm.run(20, lambda: len(one.seen(events.Explained)) == asked)
    told = {event.peer.id: (event.ticket, event.code, event.text) for event in one.seen(events.Explained)}
    assert told[two.id] == (7, "declined", f"runs Python {PYTHON}; the job needs Python 2.7")
    assert told[three.id] == (7, "unseen", "has heard no offer of this job")
    assert told[four.id] == (7, "silent", "does not answer")


def test_a_reason_that_another_signed_is_not_told(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    one.peer.explain(bytes(20), 7, swarm.now)
    nonce = next(iter(one.peer.requests._outstanding))
    lie = d.Explanation(nonce, signed(Reason(bytes(20), nonce, "declined", "never"), STRANGER))
    one.do(one.peer.perform([Heard(lie, two.contact)], swarm.now))
    assert not one.seen(events.Explained)


# --- routing --------------------------------------------------------------------------------------------------------


def test_a_spread_statement_is_signed_with_the_nodes_key_and_reaches_the_others(swarm: Swarm) -> None:
    one, two = swarm.grown(2, slots=0)
    offer = Offer(b"j" * 20, OWNER.public, 0, one.contact, 1, "function", PYTHON, [], 0, 1, 1, 30.0)
    one.do(one.peer.perform([Spread(offer, 3)], swarm.now))
    assert swarm.run(1, lambda: two.peer.offers.explain(b"j" * 20)[0] != "unseen")
    assert one.peer.offers.explain(b"j" * 20)[0] != "unseen", "a node may work for its own jobs"


def test_blobs_and_logs_for_the_node_itself_are_here_already(swarm: Swarm) -> None:
    [one] = swarm.grown(1)
    assert one.peer.perform([TellBlob(one.contact, 1, bytes(32), bytes(20), 1.0)], swarm.now) == []


def test_what_is_provided_is_withdrawn_and_what_is_too_much_is_counted(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROVIDED_MAX", 1)
    [one] = swarm.grown(1)
    for name in (b"a" * 20, b"b" * 20, b"a" * 20):
        one.do(one.peer.perform([Provide(name, 60.0)], swarm.now))
    assert one.peer.publishing.provides(b"a" * 20) and one.peer.counters["not provided"] == 1
    one.do(one.peer.perform([Withdraw(b"a" * 20)], swarm.now))
    assert not len(one.peer.publishing)


def test_when_the_stewards_of_a_job_that_is_over_die_others_keep_it_and_show_it(swarm: Swarm) -> None:
    submitter, *others = swarm.grown(7)
    job = Job(submitter, stewards=tuple(others[:2])).extend(4, 4)
    assert swarm.run(10, lambda: len(delivered(submitter)) == 8)
    swarm.run(2)
    swarm.kill(submitter)
    for steward in others[:2]:
        swarm.run(KEEPERS_S * 2.2)
        swarm.kill(steward)
    swarm.run(KEEPERS_S)
    heirs = [member for member in others[2:] if job.job in member.peer.steward.jobs]
    assert len(heirs) == 3  # two, and one to spare
    for heir in heirs:
        [state] = heir.peer.steward.asked(heir.contact, m.Ask(1, job.job))
        assert isinstance(state, Tell) and isinstance(state.message, m.JobState) and state.message.settled == 8


def test_effects_for_the_driver_pass_in_their_order(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    commit, run = Commit(()), Run(1, b"", None, b"", (), None, (), b"", False)
    done = one.peer.perform([commit, Tell(two.contact, m.Goodbye("")), run], swarm.now)
    assert done == [commit, Dial(two.contact), run]


def test_a_dial_that_fails_drops_what_waited(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    swarm.kill(two)
    one.do(one.peer.perform([Tell(two.contact, m.Goodbye(""))], swarm.now))
    swarm.run(0.1)
    assert one.peer.lines.dropped == 1
    assert not one.peer.lines.open


@pytest.mark.parametrize("value", ["dead", "verdict"])
def test_whoever_is_found_dead_is_planned_with_no_more(swarm: Swarm, value: str) -> None:
    one, two = swarm.grown(2)
    found = Dead(two.contact) if value == "dead" else Verdict(two.contact, False)
    one.do(one.peer.perform([Heard(found, two.contact)], swarm.now))
    assert two.id not in one.peer.neighbourhood
    assert one.peer.directory.get(two.id) is None


def test_a_newcomer_is_not_told_of_who_is_dead(swarm: Swarm) -> None:
    one, two, three = swarm.grown(3)
    swarm.kill(two)
    assert swarm.run(60, lambda: two.id not in one.peer.neighbourhood and two.id not in three.peer.neighbourhood)
    newcomer = swarm.add(slots=0, roles=0).start(one)
    assert swarm.run(1, lambda: len(swarm.knows(newcomer)) == 2)
    swarm.run(60)
    assert swarm.knows(newcomer) == {one.id, three.id}


def test_suspicion_alone_changes_nothing(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    assert (
        one.peer.perform([Heard(Suspected(two.contact), two.contact), Heard(Alive(two.contact), two.contact)], 0) == []
    )
    assert two.id in one.peer.neighbourhood


def test_a_pair_that_cannot_be_made_is_a_failure_of_the_table(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    assert two.id in {contact.id for contact in one.peer.dht.table.contacts()}
    for _ in range(5):
        one.do(one.peer.perform([Heard(PairFailed("no answer", ()), two.contact)], swarm.now))
    assert two.id not in {contact.id for contact in one.peer.dht.table.contacts()}


def test_rumors_of_members_and_old_adverts_are_routed_to_who_knows_them(swarm: Swarm) -> None:
    one, two, three = swarm.grown(3)
    accused = MemberState(one.contact, 1, 0, 1)
    two.do(two.peer.perform([Spread(accused, 2)], swarm.now))
    assert swarm.run(2, lambda: one.peer.membership.incarnation > 0), "who is suspected refutes it"
    heard = len(three.seen(events.Advertised))
    again = signed(two.advert(version=0, boot=0, contact=two.contact), two.key)
    three.do(three.peer.perform([Heard(d.Gossip([again], [1]), two.contact)], swarm.now))
    assert len(three.seen(events.Advertised)) == heard


def test_an_advert_says_what_is_free_and_where(swarm: Swarm) -> None:
    one, two = swarm.grown(2)
    two.do(two.peer.advertise(two.advert(load=0.5), swarm.now, changed=True))
    assert swarm.run(20, lambda: len(one.seen(events.Advertised)) == 2)
    advert: Advert = one.seen(events.Advertised)[-1].advert
    assert (advert.load, advert.slots_free, advert.roles, advert.version) == (0.5, 2, two.peer.setup.roles, 2)


# --- time -----------------------------------------------------------------------------------------------------------


def test_an_idle_swarm_is_woken_a_few_times_a_second_at_most(swarm: Swarm) -> None:
    members = swarm.grown(4)
    before = [member.rings for member in members]
    swarm.run(120)  # a deadline that has passed and is due again fails in the member's timer
    for member, rings in zip(members, before, strict=True):
        assert member.rings - rings < 120 * 5


def test_the_same_seeds_and_calls_give_the_same_effects() -> None:
    def run() -> list[Effect]:
        swarm = Swarm()
        members = swarm.grown(3)
        Job(members[0]).extend(3, 3)
        swarm.run(3)
        return [effect for member in members for effect in member.performed if not isinstance(effect, SendBytes)]

    first, second = run(), run()
    assert [type(effect) for effect in first] == [type(effect) for effect in second]
    assert first == second


# --- whom strangers do not reach -----------------------------------------------------------------------------------


def test_a_peer_that_strangers_do_not_reach_computes_keeps_nothing_for_others_and_takes_its_role_back() -> None:
    swarm = Swarm()
    public = swarm.grown(4, roles=Role.STORAGE, slots=0)
    home = swarm.add(watching=True).start(public[0])
    assert swarm.run(4, lambda: all(member.peer.directory.get(home.id) for member in public))
    for number in range(5):
        public[0].follow(public[0].peer.put_record(b"%d" % number, b"v", 3600.0, public[0].key, 0, swarm.now))
    keys = [record_key(public[0].key.public, b"%d" % number) for number in range(5)]
    assert swarm.run(4, lambda: all(key in home.peer.dht.storage for key in keys)), "nobody knows better yet"

    home.firewall = {member.address for member in public}
    assert swarm.run(20, lambda: bool(home.seen(events.Exposed)))
    assert home.seen(events.Exposed) == [events.Exposed(hidden=True, storing=False)]
    assert not home.peer.storing and not home.peer.steward.storing
    assert swarm.run(2, lambda: not any(home.id in member.peer.dht.table for member in public))
    for member in public:
        listed = member.peer.directory.get(home.id)
        assert listed is not None and listed.advert.roles == Role.COMPUTE | Role.HIDDEN
        assert not member.peer.pairs.routable(home.id)
    assert swarm.run(10, lambda: not len(home.peer.dht.storage)), "what it held is with others, and here no more"
    assert all(key in member.peer.dht.storage for key in keys for member in public)
    public[1].follow(public[1].peer.put_record(b"more", b"v", 3600.0, public[1].key, 0, swarm.now))
    home.follow(home.peer.put_record(b"own", b"v", 3600.0, home.key, 7, swarm.now))
    assert swarm.run(10, lambda: bool([done for done in home.seen(PutDone) if done.ticket == 7]))
    [done] = [done for done in home.seen(PutDone) if done.ticket == 7]
    assert len(done.holders) == 4 and not done.own_copy
    assert not len(home.peer.dht.storage)

    job = Job(public[0]).extend(3)
    assert swarm.run(10, lambda: bool(job.grantor.ledger.total) and job.grantor.ledger.open == 0), "it dials who grants"

    home.firewall = None
    assert swarm.run(limits.REACH_HIDDEN_S_MAX + 20, lambda: len(home.seen(events.Exposed)) == 2)
    assert home.seen(events.Exposed)[1] == events.Exposed(hidden=False, storing=True)
    assert swarm.run(2, lambda: all(member.peer.pairs.routable(home.id) for member in public))
    assert home.peer.storing and home.peer.roles == BOTH


def test_a_peer_that_leaves_says_nothing_more_of_its_roles() -> None:
    swarm = Swarm()
    one, _ = swarm.grown(2)
    one.do(one.peer.leave(swarm.now))
    one.follow([Heard(Reached(hidden=True), one.contact)])
    assert one.seen(events.Exposed) == []
    assert one.peer.roles == BOTH
