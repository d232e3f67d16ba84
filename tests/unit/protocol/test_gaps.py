"""Gaps: what one living steward has of a job the others get, whoever died on the way; a liar is asked in vain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.gaps import ASK_WAIT_S, QUEUE_S, REFUSED_S, WAIT_S, Gaps
from p2pcpn.protocol.lots import RANGE_TASKS
from p2pcpn.protocol.quota import Quota
from p2pcpn.protocol.steward import Steward
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.sealing import digest, seal
from p2pcpn.wire.statements import BlobRef, Cancel, Close, LogHeader, Pause, Role, Segment, read, signed
from p2pcpn.wire.statements import Steward as Named
from tests.unit.protocol.leased import GRANTOR_AT, OWNER, STRANGER_AT, Made, at, keypair, told
from tests.unit.protocol.swarm import Job, Member, Swarm

KEYS = [keypair(number) for number in (31, 32, 33)]
ME_AT, ONE, TWO = (at(key, 4100 + number) for number, key in enumerate(KEYS))
ROOM = Quota(limits.STEWARD_BYTES_MAX, limits.STEWARD_BYTES_PER_OWNER_MAX)


class Table:
    """A steward that keeps a distributed job of three, and what it asks of the others."""

    def __init__(self, number: int = 1, **options: Any) -> None:
        self.wall = 1e9
        self.steward = Steward(KEYS[0], True, lambda: self.wall, lambda job: None)
        self.requests = 100
        self.gaps = Gaps(self.steward, self.request, lambda sender, said, now: self.steward.extended(sender, said))
        self.made = self.keep(number, **options)

    def keep(self, number: int, **options: Any) -> Made:
        stewards = [Named(key.public, where, b"") for key, where in zip(KEYS, (ME_AT, ONE, TWO), strict=True)]
        made = Made(number, stewards=stewards, orchestration="distributed", **options)
        self.steward.introduced(GRANTOR_AT, m.Introduce(5, made.spec, True))
        return made

    def request(self) -> int:
        self.requests += 1
        return self.requests

    @property
    def kept(self) -> Any:
        return self.steward.jobs[self.made.job]

    def asked(self, effects: list[fx.Effect]) -> list[tuple[bytes, int, int]]:
        """Who is asked for which segment, in which request."""
        said = [(effect.to, effect.message) for effect in effects if isinstance(effect, fx.Tell)]
        return [(to.id, said.number, said.request) for to, said in said if isinstance(said, m.ReadSegment)]


def test_who_hears_of_more_than_it_has_asks_for_it_once_it_has_waited_and_goes_on_to_the_end() -> None:
    table = Table()
    said = [table.made.segment(4) for _ in range(3)]
    table.gaps.knows(table.made.job, ONE, 10.0, tasks=12)
    assert table.gaps.deadline() == 10.0 + WAIT_S and table.gaps.expire(10.5) == []
    effects = table.gaps.expire(11.0)
    for number in range(3):
        ((node, wanted, request),) = table.asked(effects)
        assert (node, wanted) == (ONE.id, number) and table.gaps.deadline() == 11.0 + ASK_WAIT_S
        effects = table.gaps.extended(ONE, msgspec.structs.replace(said[number], request=request, keep=False), 11.0)
        (commit,) = [effect for effect in effects if isinstance(effect, fx.Commit)]
        assert commit.writes[0].table == "segments" and commit.then == ()
        assert told(effects, m.Answer) == [], "nobody waits for an answer to an answer"
    assert (table.kept.tasks, table.gaps.closed, len(table.gaps), table.gaps.deadline()) == (12, 3, 0, None)


def test_what_comes_by_itself_is_not_asked_for() -> None:
    table = Table()
    said = [table.made.segment(4) for _ in range(3)]
    table.gaps.knows(table.made.job, ONE, 10.0, tasks=12)
    table.steward.extended(GRANTOR_AT, said[0])
    assert table.gaps.expire(11.0) == [] and table.gaps.deadline() == 11.0 + WAIT_S
    ((_, wanted, request),) = table.asked(table.gaps.expire(12.0))
    assert wanted == 1
    for each in said[1:]:
        table.steward.extended(GRANTOR_AT, each)
    late = msgspec.structs.replace(said[1], request=request, keep=False)
    assert table.gaps.extended(ONE, late, 12.5) == [] and len(table.gaps) == 0
    table.gaps.knows(table.made.job, ONE, 13.0, tasks=12)
    assert len(table.gaps) == 0, "as much as is here"


def test_who_has_it_not_or_is_silent_or_gone_is_followed_by_the_next() -> None:
    table = Table()
    table.made.segment(4)
    for contact in (ONE, TWO):
        table.gaps.knows(table.made.job, contact, 10.0, tasks=4)
    ((node, _, request),) = table.asked(table.gaps.expire(11.0))
    assert node == ONE.id
    unknown = m.Answer(request, AnswerCode.UNKNOWN, "")
    assert table.gaps.answered(TWO, unknown, 11.0) == [], "another was asked"
    ((node, _, request),) = table.asked(table.gaps.answered(ONE, unknown, 11.0))
    assert node == TWO.id
    assert table.gaps.expire(11.0 + ASK_WAIT_S) == [] and len(table.gaps) == 0, "nobody is left"
    for contact in (ONE, TWO):
        table.gaps.knows(table.made.job, contact, 30.0, tasks=4)
    table.gaps.expire(31.0)
    table.gaps.session_closed(NodeId(TWO.id))
    assert table.gaps.deadline() == 31.0 + ASK_WAIT_S
    table.gaps.session_closed(NodeId(ONE.id))
    ((node, _, _),) = table.asked(table.gaps.expire(31.0))
    assert node == TWO.id


def test_only_stewards_are_asked_and_never_for_a_job_that_was_cancelled_or_is_kept_no_more() -> None:
    table = Table()
    table.gaps.knows(table.made.job, STRANGER_AT, 10.0, tasks=4)
    table.gaps.knows(bytes(20), ONE, 10.0, tasks=4)
    assert len(table.gaps) == 0
    table.gaps.knows(table.made.job, ONE, 10.0, tasks=4)
    table.steward.finished(GRANTOR_AT, m.Finish(7, signed(Cancel(table.made.job, 0.0), OWNER)))
    assert table.gaps.expire(11.0) == [] and len(table.gaps) == 0
    other = table.keep(2)
    table.gaps.knows(other.job, ONE, 10.0, tasks=4)
    table.steward.forget(other.job)
    assert table.gaps.expire(11.0) == [] and len(table.gaps) == 0


def test_a_false_segment_is_not_kept_and_another_is_asked() -> None:
    table = Table()
    said = table.made.segment(4)
    for contact in (ONE, TWO):
        table.gaps.knows(table.made.job, contact, 10.0, tasks=4)
    ((_, _, request),) = table.asked(table.gaps.expire(11.0))
    forged = msgspec.structs.replace(said.segment, signature=bytes(64))
    assert table.gaps.extended(TWO, msgspec.structs.replace(said, request=request), 11.0) == [], "it was not asked"
    with pytest.raises(PeerError):
        table.gaps.extended(ONE, msgspec.structs.replace(said, request=request, segment=forged), 11.0)
    ((node, _, _),) = table.asked(table.gaps.expire(11.0))
    assert (node, table.kept.tasks) == (TWO.id, 0)


def test_what_there_is_no_room_for_is_not_asked_for_again_at_once() -> None:
    table = Table()
    said = table.made.segment(4)
    table.gaps.knows(table.made.job, ONE, 10.0, tasks=4)
    ((_, _, request),) = table.asked(table.gaps.expire(11.0))
    table.steward.quota = Quota(0, 0)
    assert table.gaps.extended(ONE, msgspec.structs.replace(said, request=request), 11.0) == []
    table.gaps.knows(table.made.job, ONE, 12.0, tasks=4)
    assert table.gaps.deadline() == 11.0 + REFUSED_S
    table.steward.quota = ROOM
    assert table.asked(table.gaps.expire(11.0 + REFUSED_S))


def test_few_segments_are_under_way_at_a_time() -> None:
    table = Table()
    for number in range(2, 2 + limits.PASSED_AT_ONCE):
        table.gaps.knows(table.keep(number).job, ONE, 10.0, tasks=4)
    table.gaps.knows(table.made.job, ONE, 10.0, tasks=4)
    effects = table.gaps.expire(11.0)
    assert len(table.asked(effects)) == limits.PASSED_AT_ONCE
    assert table.gaps.deadline() == 11.0 + QUEUE_S


def test_blobs_that_a_segment_names_come_with_it() -> None:
    table = Table()
    made = table.made
    data = seal(made.keys.page(0), 0, pages.TASKS.encode(pages.TaskPage([b"function"], None, [b"", b""])))
    segment = signed(Segment(made.job, 0, 0, made.last, [(2, digest(data))], [], [digest(b"blob")]), OWNER)
    (commit,) = table.steward.extended(GRANTOR_AT, m.Extend(7, segment, [data], True))
    assert isinstance(commit, fx.Commit), "the owner brings them by himself"
    table = Table()
    table.gaps.knows(made.job, ONE, 10.0, tasks=2)
    ((_, _, request),) = table.asked(table.gaps.expire(11.0))
    (gather,) = table.gaps.extended(ONE, m.Extend(request, segment, [data], False), 11.0)
    assert isinstance(gather, fx.Gather) and gather.sender == ONE and gather.blobs == (digest(b"blob"),)
    assert gather.then == gather.otherwise, "without them its tasks say what is missing"


def test_who_takes_over_asks_the_others_how_much_they_have() -> None:
    table = Table()
    table.made.segment(4)
    effects = table.gaps.ask_all(table.kept)
    recounts = {effect.to.id: effect.message for effect in effects if isinstance(effect, fx.Tell)}
    assert recounts.keys() == {ONE.id, TWO.id}
    one, two = recounts[ONE.id].request, recounts[TWO.id].request
    assert table.gaps.recounted(ONE, m.Recounted(two, [m.JobKept(1, 1, [])]), 10.0) == []
    assert len(table.gaps) == 0
    said = table.gaps.recounted(TWO, m.Recounted(two, [None]), 10.0)
    assert [type(effect.message) for effect in said if isinstance(effect, fx.Tell)] == [m.Introduce]
    assert table.gaps.recounted(TWO, m.Recounted(two, [None]), 10.0) == [], "it was asked once"
    table.gaps.recounted(ONE, m.Recounted(one, [m.JobKept(1, 1, [])]), 10.0)
    ((node, number, _),) = table.asked(table.gaps.expire(11.0))
    assert (node, number) == (ONE.id, 0)
    for _ in range(limits.RECOUNTED_MAX):
        table.gaps.ask_all(table.kept)
    assert len(table.gaps._counted) == limits.RECOUNTED_MAX


def test_who_begins_to_grant_asks_when_all_should_know_of_the_job_unless_nothing_is_left_then() -> None:
    table = Table()
    table.steward.extended(GRANTOR_AT, table.made.segment(4))
    table.gaps.begun(table.made.job, 10.0)
    table.gaps.begun(table.made.job, 10.5)
    assert table.gaps.deadline() == 10.0 + WAIT_S and table.gaps.expire(10.9) == []
    assert len(told(table.gaps.expire(11.0), m.Recount)) == 2 and table.gaps.deadline() is None
    other = table.keep(2)
    for job in (other.job, bytes(20)):
        table.gaps.begun(job, 20.0)
    assert table.gaps.expire(21.0) == [], "it has no tasks; it is kept no more"


def test_the_projects_code_is_asked_of_one_steward_after_the_other_where_it_is_not_here() -> None:
    table = Table(code=BlobRef(digest(b"code"), 4, bytes(32)))
    said = table.made.segment(4)
    table.gaps.begun(table.made.job, 10.0)
    table.gaps.knows(table.made.job, ONE, 10.0, tasks=4)
    table.steward.extended(GRANTOR_AT, said)
    (gather,) = [effect for effect in table.gaps.expire(11.0) if isinstance(effect, fx.Gather)]
    assert (gather.sender, gather.blobs, gather.then) == (TWO, (digest(b"code"),), ())
    (next_one,) = gather.otherwise
    assert isinstance(next_one, fx.Gather) and (next_one.sender, next_one.otherwise) == (ONE, ())
    said = table.made.segment(4)
    table.gaps.knows(table.made.job, ONE, 12.0, tasks=8)
    ((_, _, request),) = table.asked(table.gaps.expire(13.0))
    effects = table.gaps.extended(ONE, msgspec.structs.replace(said, request=request, keep=False), 13.0)
    assert [effect.blobs for effect in effects if isinstance(effect, fx.Gather)] == [(digest(b"code"),)]


def test_a_steward_that_does_not_know_of_a_job_is_told_all_that_its_owner_said_of_it() -> None:
    table = Table()
    close, pause = (
        signed(word, OWNER) for word in (Close(table.made.job, 0, bytes(32)), Pause(table.made.job, 1, True))
    )
    for word in (close, pause):
        table.steward.finished(GRANTOR_AT, m.Finish(7, word))
    (request, *_) = [effect.message.request for effect in table.gaps.ask_all(table.kept)]
    said = table.gaps.recounted(ONE, m.Recounted(request, [None]), 10.0)
    messages = [effect.message for effect in said if isinstance(effect, fx.Tell) and effect.to == ONE]
    assert [type(message) for message in messages] == [m.Introduce, m.Finish, m.Finish]
    assert messages[0].spec == table.made.spec and messages[0].keep
    assert [message.statement for message in messages[1:]] == [close, pause]


# --- whole peers ------------------------------------------------------------------------------------------------------

TASKS = 6 * RANGE_TASKS


class Cast:
    """A submitter, two stewards that run nothing, a worker; what ``lost(source, target, message)`` does not arrive."""

    def __init__(
        self, orchestration: str, lost: Callable[[Member, Member, m.Message], bool] = lambda *_: False, **options: Any
    ) -> None:
        self.swarm = Swarm()
        add = self.swarm.add
        self.one = add(slots=0, roles=Role.STORAGE).start()
        self.two = add(slots=0, roles=Role.STORAGE).start(self.one)
        self.worker = add(roles=Role.COMPUTE, slots=8).start(self.one)
        self.submitter = add(slots=0, roles=0).start(self.one)
        stewards = (self.one, self.two)
        assert self.swarm.run(10, lambda: all(self.worker.id in self.swarm.knows(each) for each in stewards))
        assert self.swarm.run(10, lambda: self.one.id in self.swarm.knows(self.submitter))
        granting = orchestration != "distributed"
        self.lost = lost
        say = self.swarm.say

        def lossy(source: Member, node: bytes, message: m.Message) -> None:
            if not self.lost(source, self.swarm.member(node), message):
                say(source, node, message)

        self.swarm.say = lossy  # type: ignore[method-assign]
        self.job = Job(self.submitter, stewards=stewards, granting=granting, orchestration=orchestration, **options)

    def tasks(self, member: Member) -> int:
        kept = member.peer.steward.jobs.get(self.job.job)
        return 0 if kept is None else kept.tasks

    def granted(self, member: Member) -> list[int]:
        return [grantor.epoch for grantor in member.peer.jobs.granted.of(self.job.job) if grantor.granting]

    def settled(self) -> set[int]:
        """What logs on the stewards' disks settle."""
        found = set[int]()
        for member in (self.one, self.two):
            for _, (header, _) in member.disk.scan("logs", (self.job.job,)):
                found |= set(pages.cut(read(pages.SIGNED.decode(header), LogHeader).spans))
        return found

    def dies_half_way(self, lacking: Member) -> None:
        """The submitter brings a segment to all stewards but one, and dies."""
        self.lost = lambda source, target, said: isinstance(said, m.Extend) and (source, target) == (
            self.submitter, lacking,
        )  # fmt: skip
        self.job.extend(*[1] * TASKS)
        self.swarm.run(0.02)
        self.swarm.kill(self.submitter)


def test_tasks_of_a_distributed_job_that_one_steward_got_are_granted_by_all_within_seconds() -> None:
    cast = Cast("distributed")
    cast.job.extend(*[1] * TASKS)
    assert cast.swarm.run(30, lambda: len(cast.settled()) == TASKS)
    cast.dies_half_way(cast.two)
    assert (cast.tasks(cast.one), cast.tasks(cast.two)) == (2 * TASKS, TASKS)
    assert cast.swarm.run(6, lambda: len(cast.settled()) == 2 * TASKS)
    assert (cast.granted(cast.one), cast.granted(cast.two)) == ([1], [2]), "no lot had to be taken over"
    assert len(cast.two.peer.presiding.gaps) == 0 and cast.two.peer.presiding.gaps.closed == 1


def test_a_steward_that_works_and_missed_who_said_so_is_told_when_it_says_how_far_it_is() -> None:
    cast = Cast("distributed")
    cast.worker.takes_s = None
    cast.job.extend(*[1] * TASKS)
    assert cast.swarm.run(10, lambda: cast.tasks(cast.two) == TASKS and bool(cast.granted(cast.two)))
    cast.dies_half_way(cast.two)
    end = cast.swarm.now + 3.0
    cast.lost = lambda source, target, said: (
        isinstance(said, (m.Mandate, m.Recounted)) and source is cast.one and cast.swarm.now < end
    )
    assert not cast.swarm.run(3.0, lambda: cast.tasks(cast.two) > TASKS)
    assert cast.swarm.run(4.0, lambda: cast.tasks(cast.two) == 2 * TASKS)
    ledger = cast.two.peer.jobs.granted.of(cast.job.job)[0].ledger
    assert ledger.total == 2 * TASKS and ledger.open == ledger.total - ledger.ceded


def test_a_successor_has_what_another_steward_alone_was_brought() -> None:
    cast = Cast("hybrid")
    cast.worker.takes_s = None
    cast.job.extend(*[1] * RANGE_TASKS)
    assert cast.swarm.run(10, lambda: cast.tasks(cast.one) == cast.tasks(cast.two) == RANGE_TASKS)
    cast.dies_half_way(cast.one)
    assert cast.swarm.run(20, lambda: bool(cast.granted(cast.one)))
    assert cast.tasks(cast.one) == RANGE_TASKS
    assert cast.swarm.run(3, lambda: cast.tasks(cast.one) == RANGE_TASKS + TASKS)
    assert cast.one.peer.grantors[cast.job.job].ledger.total == RANGE_TASKS + TASKS


def test_a_steward_that_was_never_told_of_a_job_grants_its_lot_all_the_same() -> None:
    cast = Cast("distributed", lost=lambda source, target, said: isinstance(said, (m.Introduce, m.Extend)) and (
        source.number, target.number) == (4, 2))  # fmt: skip
    cast.job.extend(*[1] * TASKS)
    cast.swarm.run(0.05)
    cast.swarm.kill(cast.submitter)
    assert cast.tasks(cast.one) == TASKS and cast.job.job not in cast.two.peer.steward.jobs
    assert cast.swarm.run(5, lambda: len(cast.settled()) == TASKS)
    assert (cast.granted(cast.one), cast.granted(cast.two)) == ([1], [2])


def test_a_steward_that_says_it_has_tasks_which_nobody_has_is_asked_and_nothing_else() -> None:
    cast = Cast("distributed")
    cast.job.extend(*[1] * TASKS)
    assert cast.swarm.run(30, lambda: len(cast.settled()) == TASKS)
    lie = msgspec.structs.replace(cast.two.peer.jobs.granted.of(cast.job.job)[0].mandate(), tasks=1 << 40)
    one, gaps = cast.one, cast.one.peer.presiding.gaps
    one.do(one.peer.message_received(cast.two.id, lie, cast.swarm.now))
    assert len(gaps) == 1
    assert cast.swarm.run(3, lambda: not len(gaps)) and cast.tasks(one) == TASKS
    assert len(cast.two.told(m.ReadSegment)) == 1
