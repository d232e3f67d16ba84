"""Presiding: whoever grants, all of its swarm come to agree on it, and what anybody settled or ran is not run again."""

from __future__ import annotations

import msgspec
import pytest

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.jobs import Held
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.pages import cut
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Cancel, Close, Handover, Offer, Pause, Receipt, Role, Steward, read, signed
from p2pcpn.wire.statements import LogHeader as Header
from tests.unit.protocol.granting import at, keypair
from tests.unit.protocol.leased import OWNER, STRANGER, Made, lease_of
from tests.unit.protocol.swarm import Job, Member, Swarm


class Cast:
    """A submitter, two stewards that run nothing, and a worker, who know each other; and a job of eight tasks."""

    def __init__(self, *, takes_s: float | None = 0.5, tasks: int = 8, **options: object) -> None:
        self.swarm = Swarm()
        add = self.swarm.add
        self.one = add(slots=0, roles=Role.STORAGE).start()
        self.two = add(slots=0, roles=Role.STORAGE).start(self.one)
        self.worker = add(roles=Role.COMPUTE).start(self.one)
        self.submitter = add(slots=0, roles=0).start(self.one)
        everybody = [self.one, self.two, self.worker, self.submitter]
        assert self.swarm.run(10, lambda: all(self.worker.id in self.swarm.knows(m) for m in everybody[:2]))
        assert self.swarm.run(10, lambda: self.one.id in self.swarm.knows(self.submitter))
        self.worker.takes_s = takes_s
        self.job = Job(self.submitter, stewards=(self.one, self.two), **options).extend(*[1] * tasks)
        assert self.swarm.run(5, lambda: bool(self.worker.batches) and self.kept(self.two).tasks == tasks)

    @property
    def name(self) -> bytes:
        return self.job.job

    def kept(self, steward: Member) -> object:
        return steward.peer.steward.jobs[self.name]

    def grants(self, member: Member) -> int | None:
        """The epoch in which ``member`` grants."""
        grantor = member.peer.grantors.get(self.name)
        return grantor.epoch if grantor is not None and grantor.granting else None

    def settled(self, *members: Member) -> set[int]:
        """What logs on these disks settle."""
        found = set()
        for member in members:
            for _, (header, _) in member.disk.scan("logs", (self.name,)):
                said = read(pages.SIGNED.decode(header), Header)
                found |= {index for first, count in said.spans for index in range(first, first + count)}
        return found


def begin(cast: Cast) -> None:
    """The first steward grants in epoch 1, and nobody has heard of it yet."""
    kept, now = cast.kept(cast.one), cast.swarm.now
    kept.authority.take_over(cast.one.key.public, 1)
    kept.grantor = None
    made = cast.job.made
    cast.one.peer.presiding.adopt(cast.name, list(zip(made.segments, made.sealed, strict=True)), [], [], now)
    assert cast.grants(cast.one) == 1 and cast.grants(cast.submitter) == 0


def test_when_the_submitter_dies_the_first_steward_grants_and_all_tasks_end() -> None:
    cast = Cast()
    cast.swarm.kill(cast.submitter)
    assert cast.swarm.run(5, lambda: cast.grants(cast.one) == 1)
    assert cast.swarm.run(30, lambda: cast.settled(cast.one) == set(range(8)))
    assert cast.grants(cast.two) is None
    assert cast.kept(cast.two).authority.epoch == 1
    assert cast.swarm.run(10, lambda: not cast.kept(cast.two).is_open)


def test_when_the_next_grantor_dies_too_the_second_steward_grants() -> None:
    cast = Cast()
    cast.swarm.kill(cast.submitter)
    assert cast.swarm.run(5, lambda: cast.grants(cast.one) == 1)
    cast.swarm.run(1.0)
    cast.swarm.kill(cast.one)
    assert cast.swarm.run(10, lambda: cast.grants(cast.two) == 2)
    assert cast.swarm.run(60, lambda: cast.settled(cast.two) == set(range(8)))


def test_what_a_worker_ran_for_a_dead_grantor_is_settled_by_the_next_and_not_run_again() -> None:
    cast = Cast(takes_s=None, tasks=2)
    assert cast.swarm.run(2, lambda: len(cast.worker.batches) == 2)
    cast.swarm.kill(cast.submitter)
    cast.swarm.run(0.5)
    for number in list(cast.worker.batches):
        cast.worker.ran(number)
    assert cast.swarm.run(30, lambda: cast.settled(cast.one) == {0, 1})
    assert len([effect for effect in cast.worker.performed if isinstance(effect, fx.Run)]) == 2
    assert cast.swarm.run(20, lambda: not cast.worker.peer.worker.works[cast.name].unsettled)


def test_a_submitter_that_stood_still_steps_down_when_it_hears_of_the_newer_epoch() -> None:
    cast = Cast(takes_s=None, tasks=4)
    submitter = cast.submitter
    submitter.alive = False  # it stands still, and its sessions look open
    assert cast.swarm.run(30, lambda: cast.grants(cast.one) == 1)
    assert cast.grants(submitter) == 0
    submitter.alive = True
    submitter._rings_at = float("inf")
    submitter._arm()
    assert cast.swarm.run(60, lambda: cast.grants(submitter) is None)
    assert [event.epoch for event in submitter.seen(events.Superseded)] == [1]
    said = submitter.seen(events.Mandated)
    assert not said or (said[-1].epoch, said[-1].grantor.id) == (1, cast.one.id)


def test_a_stepped_down_submitter_still_feeds_and_closes_and_its_steward_leases_what_is_new() -> None:
    cast = Cast()
    cast.submitter.do(cast.submitter.peer.perform(cast.job.grantor.step_down(cast.swarm.now), cast.swarm.now))
    take = signed(Handover(cast.name, 1, cast.one.key.public), OWNER)
    cast.job.act(lambda grantor: grantor.custody.show(m.Take(0, take)))
    assert cast.swarm.run(5, lambda: cast.grants(cast.one) == 1)
    cast.job.extend(1, 1)
    made = cast.job.made
    cast.job.act(lambda grantor: grantor.close(signed(Close(cast.name, 10, made.last), OWNER), 10, cast.swarm.now))
    assert cast.swarm.run(60, lambda: cast.settled(cast.one) == set(range(10)))
    assert cast.one.peer.grantors[cast.name].finished


def test_the_owners_node_resumes_its_job_with_what_others_settled_and_the_steward_steps_down() -> None:
    cast = Cast()
    submitter, peer = cast.submitter, cast.submitter.peer
    submitter.do(peer.perform(cast.job.grantor.step_down(cast.swarm.now), cast.swarm.now))
    take = signed(Handover(cast.name, 1, cast.one.key.public), OWNER)
    cast.job.act(lambda grantor: grantor.custody.show(m.Take(0, take)))
    assert cast.swarm.run(20, lambda: len(cast.settled(cast.one)) >= 3)
    own = signed(Handover(cast.name, 3, submitter.key.public), OWNER)
    held = Held([], [(index, 1) for index in sorted(cast.settled(cast.one))])
    now = cast.swarm.now
    submitter.do(peer.perform(peer.presiding.resume(cast.job.made.spec, cast.job.job_key, [take, own], held, now), now))
    assert cast.grants(submitter) == 3
    assert cast.swarm.run(5, lambda: cast.grants(cast.one) is None and cast.kept(cast.two).authority.epoch == 3)
    assert cast.swarm.run(60, lambda: cast.settled(cast.one, cast.two) == set(range(8)))
    with pytest.raises(PeerError, match="names another node"):
        peer.presiding.resume(cast.job.made.spec, cast.job.job_key, [take], held, now)


def test_another_machine_of_the_owner_resumes_a_centralised_job_that_nobody_took_over() -> None:
    cast = Cast(orchestration="centralised")
    cast.swarm.kill(cast.submitter)
    cast.swarm.run(20)
    assert cast.grants(cast.one) is None and cast.grants(cast.two) is None
    other = cast.swarm.add(slots=0, roles=0).start(cast.one)
    cast.swarm.run(3)
    made, now = cast.job.made, cast.swarm.now
    segments = list(zip(made.segments, made.sealed, strict=True))
    settled = [(index, 1) for index in sorted(cast.settled(cast.one))]
    own = signed(Handover(cast.name, 3, other.key.public), OWNER)
    close = signed(Close(cast.name, 8, made.last), OWNER)
    held = Held(segments, settled, close, 8)
    other.do(other.peer.perform(other.peer.presiding.resume(made.spec, cast.job.job_key, [own], held, now), now))
    assert cast.swarm.run(60, lambda: cast.settled(cast.one, other) == set(range(8)))
    assert cast.kept(cast.one).total == 8 and cast.kept(cast.one).authority.handover.grantor == other.key.public


def test_what_was_brought_to_stewards_while_nobody_granted_is_not_run_again_by_who_resumes_the_job() -> None:
    cast = Cast(orchestration="centralised", takes_s=None)
    assert cast.swarm.run(5, lambda: bool(cast.worker.batches))
    run = next(iter(cast.worker.batches.values()))
    cast.swarm.kill(cast.submitter)
    cast.worker.takes_s = 0.1
    cast.worker.ran(run.batch)
    assert cast.swarm.run(60, lambda: len(cast.kept(cast.one).orphans) > 0)
    cast.swarm.run(1)
    brought = {index for _, row in cast.one.disk.scan("orphans", (cast.name,)) for index in cut(receipt(row).spans)}
    assert brought and not cast.settled(cast.one)
    cast.swarm.kill(cast.worker)
    other = cast.swarm.add(slots=0, roles=0).start(cast.one)
    cast.swarm.run(3)
    made, now = cast.job.made, cast.swarm.now
    segments = list(zip(made.segments, made.sealed, strict=True))
    own = signed(Handover(cast.name, 3, other.key.public), OWNER)
    held = Held(segments, [], signed(Close(cast.name, 8, made.last), OWNER), 8)
    other.do(other.peer.perform(other.peer.presiding.resume(made.spec, cast.job.job_key, [own], held, now), now))
    assert cast.swarm.run(20, lambda: cast.settled(cast.one) >= brought)
    assert cast.grants(other) == 3
    # Said once: who says again that it grants is not sent all of them again at once.
    said = len(other.told(m.Orphan))
    cast.one.follow(cast.one.peer.presiding.take(other.contact, other.key.public, m.Take(9, own), cast.swarm.now))
    cast.swarm.run(1)
    assert said and len(other.told(m.Orphan)) == said


def test_an_orphan_counts_once_the_blobs_that_it_names_are_here() -> None:
    cast = Cast(takes_s=None, tasks=2)
    begin(cast)
    presiding, grantor, said = cast.one.peer.presiding, cast.one.peer.grantors[cast.name], []
    grantor.blobs_of = lambda results: [bytes(32)]
    grantor.inherit = lambda worker, results, now: said.append((worker, results)) or []
    word = Receipt(cast.name, 0, cast.submitter.id, 1, 0, [(0, 1)], b"\0", bytes(16), bytes(32), 0.1, b"")
    lease = lease_of(word, cast.worker.key, cast.submitter.key)
    orphan = m.Orphan(signed(word, cast.worker.key), b"page", 0, lease)
    (gather,) = presiding.inherited(cast.two.contact, orphan, cast.swarm.now)
    assert isinstance(gather, fx.Gather) and (gather.sender, gather.blobs) == (cast.two.contact, (bytes(32),))
    assert gather.then == (fx.Tell(cast.one.contact, orphan),) and said == []
    cast.one.follow(list(gather.then))
    assert said == [(None, m.Results(orphan.receipt, b"page", False, lease))]
    asked = m.Orphan(orphan.receipt, b"page", 7, lease)  # by a steward that leaves: told that it is here
    done = fx.Tell(cast.two.contact, m.Answer(7, m.AnswerCode.DONE, ""))
    (gather,) = presiding.inherited(cast.two.contact, asked, cast.swarm.now)
    assert isinstance(gather, fx.Gather) and gather.then == (fx.Tell(cast.one.contact, orphan), done)
    grantor.blobs_of = lambda results: []
    assert presiding.inherited(cast.two.contact, asked, cast.swarm.now) == [done]
    later = m.Orphan(signed(msgspec.structs.replace(word, epoch=1), cast.worker.key), b"page")
    assert presiding.inherited(cast.two.contact, later, cast.swarm.now) == []  # its own worker brings that


def receipt(row: tuple[object, ...]) -> Receipt:
    return read(pages.SIGNED.decode(row[2]), Receipt)


def test_whoever_grants_says_whom_it_leases_nothing_and_whether_the_deadline_ended_the_job() -> None:
    cast = Cast(takes_s=None, tasks=8)
    begin(cast)
    cast.swarm.kill(cast.submitter)
    assert cast.swarm.run(20, lambda: cast.grants(cast.one) is not None)
    peer = cast.one.peer
    assert cast.swarm.run(20, lambda: cast.worker.id in peer.grantors[cast.name].participants)
    now = cast.swarm.now

    def state() -> m.JobState:
        (effect,) = peer.presiding.asked(cast.two.contact, m.Ask(9, cast.name), now)
        assert isinstance(effect, fx.Tell) and isinstance(effect.message, m.JobState)
        return m.CODEC.decode(m.CODEC.encode(effect.message))

    assert state().shut_out == [] and not state().overdue
    for _ in range(6):
        peer.grantors[cast.name].book.blame.failed(cast.worker.id, "no", now)
    assert state().shut_out == [m.ShutOut(bytes(cast.worker.id), 6, 1.0, "no")]
    peer.grantors[cast.name].overdue = True
    assert state().overdue


def test_a_worker_tells_an_older_grantor_that_leases_to_it_who_grants_now() -> None:
    cast = Cast(takes_s=None, tasks=2)
    begin(cast)
    work = cast.worker.peer.worker.works[cast.name]
    work.authority.take_over(cast.one.key.public, 1)
    work.grantor = cast.one.contact
    cast.worker.follow([fx.Tell(cast.submitter.contact, cast.worker.peer.worker._newest(work, 0))])
    cast.swarm.run(1)
    assert cast.grants(cast.submitter) is None
    assert [event.epoch for event in cast.submitter.seen(events.Superseded)] == [1]


def test_hearsay_of_a_steward_that_does_not_grant_deposes_nobody_and_the_steward_is_asked() -> None:
    cast = Cast(takes_s=None, tasks=2)
    presiding, now = cast.submitter.peer.presiding, cast.swarm.now
    for epoch in (1, 1 + 3 * 1000):
        lie = m.Mandate(0, cast.name, epoch, cast.one.contact, None, 0, 0, 0)
        effects = presiding.mandate(cast.worker.contact, cast.worker.key.public, lie, now)
        assert effects == [fx.Tell(cast.one.contact, cast.job.grantor.mandate())]
    cast.submitter.follow(effects)
    cast.swarm.run(1)
    assert cast.grants(cast.submitter) == 0 and cast.kept(cast.one).authority.epoch == 0
    with pytest.raises(PeerError, match="cannot have come yet"):
        far = m.Mandate(0, cast.name, 1 + 3 * 1000, cast.one.contact, None, 0, 0, 0)
        presiding.mandate(cast.one.contact, cast.one.key.public, far, now)


def test_of_two_nodes_that_their_owner_gave_one_epoch_one_steps_down_on_either_word() -> None:
    cast = Cast(takes_s=None, tasks=2)
    submitter, now = cast.submitter, cast.swarm.now
    mine = signed(Handover(cast.name, 3, submitter.key.public), OWNER)
    submitter.do(
        submitter.peer.perform(
            submitter.peer.presiding.resume(cast.job.made.spec, cast.job.job_key, [mine], None, now), now
        )
    )
    cast.swarm.run(1)
    keys = sorted((keypair(number) for number in range(700, 800)), key=lambda key: key.public)
    lower, upper = keys[0], keys[-1]
    assert lower.public < submitter.key.public < upper.public
    for other in (upper, lower):
        word = signed(Handover(cast.name, 3, other.public), OWNER)
        said = m.Mandate(0, cast.name, 3, at(other, 4000), word, 0, 0, 1)
        told = cast.two.peer.presiding.mandate(at(other, 4000), other.public, said, now)
        assert any(isinstance(effect, fx.Tell) for effect in told) == (other is upper)
        submitter.follow(submitter.peer.presiding.mandate(cast.two.contact, cast.two.key.public, said, now))
        assert cast.grants(submitter) == (3 if other is upper else None)


def test_a_handover_that_is_said_again_gives_a_silent_grantor_no_more_time() -> None:
    cast = Cast(takes_s=None, tasks=2)
    peer, now = cast.two.peer, cast.swarm.now
    take = m.Take(1, signed(Handover(cast.name, 3, cast.submitter.key.public), OWNER))
    peer.presiding.take(cast.submitter.contact, cast.submitter.key.public, take, now)
    watch = peer.presiding.succession._watches[cast.name, 0]
    peer.presiding.take(cast.worker.contact, cast.worker.key.public, take, now + 4)
    assert peer.presiding.succession._watches[cast.name, 0] is watch


def test_hearsay_of_an_epoch_that_is_nobodys_is_refused() -> None:
    cast = Cast(takes_s=None, tasks=2)
    for named in (cast.two.contact, cast.worker.contact):
        lie = m.Mandate(0, cast.name, 1, named, None, 0, 0, 0)
        cast.worker.follow([fx.Tell(cast.submitter.contact, lie)])
    stolen = m.Mandate(0, cast.name, 1, cast.worker.contact, None, 0, 0, 0)
    cast.worker.follow([fx.Tell(cast.one.contact, stolen)])
    cast.swarm.run(1)
    assert cast.submitter.peer.counters["refused Mandate"] == 2 and cast.one.peer.counters["refused Mandate"] == 1
    assert cast.grants(cast.submitter) == 0
    assert cast.kept(cast.one).authority.epoch == 0


def test_an_older_grantor_that_says_so_is_told_of_the_newer_epoch() -> None:
    cast = Cast(takes_s=None, tasks=2)
    begin(cast)
    kept = cast.kept(cast.two)
    kept.authority.take_over(cast.one.key.public, 1)
    kept.grantor = cast.one.contact
    cast.submitter.follow([fx.Tell(cast.two.contact, cast.job.grantor.mandate())])
    cast.swarm.run(1)
    assert cast.grants(cast.submitter) is None


def test_what_another_grantor_settled_is_run_no_more() -> None:
    cast = Cast(takes_s=None, tasks=4)
    cast.swarm.kill(cast.submitter)
    assert cast.swarm.run(10, lambda: cast.grants(cast.one) == 1)
    grantor = cast.one.peer.grantors[cast.name]
    assert cast.swarm.run(20, lambda: grantor.ledger.leased > 0)
    open_before = grantor.ledger.open
    grantor_effects = grantor.settled_elsewhere([(0, 2)], cast.swarm.now)
    cast.one.follow(grantor_effects)
    assert grantor.ledger.open == open_before - 2


def test_an_offer_of_a_newer_epoch_ends_an_older_grantor() -> None:
    cast = Cast(takes_s=None, tasks=2)
    offer = Offer(
        cast.name, OWNER.public, 1, cast.one.contact, 1, "function", "3.11", [], 0, 1, 1, 10.0
    )  # fmt: skip
    presiding, now = cast.submitter.peer.presiding, cast.swarm.now
    assert presiding.offered(offer, STRANGER.public, now) == []
    effects = presiding.offered(offer, cast.one.key.public, now)
    assert fx.Notify(events.Superseded(cast.name, 1)) in effects
    assert presiding.offered(offer, cast.one.key.public, now) == []


def test_a_job_that_is_let_go_says_farewell_where_nothing_is_open() -> None:
    cast = Cast(takes_s=0.3, tasks=2)
    assert cast.swarm.run(10, lambda: cast.job.grantor.left == 0)
    effects = cast.submitter.peer.presiding.forget(cast.name)
    assert [effect.message.open for effect in effects if isinstance(effect, fx.Tell)] == [0, 0]
    assert cast.submitter.peer.presiding.forget(cast.name) == []
    busy = Cast(takes_s=None, tasks=2)
    assert busy.submitter.peer.presiding.forget(busy.name) == []


def test_nobody_but_the_owner_ends_a_job_that_was_taken_over() -> None:
    cast = Cast(takes_s=None, tasks=2)
    cast.swarm.kill(cast.submitter)
    assert cast.swarm.run(10, lambda: cast.grants(cast.one) == 1)
    presiding, grantor = cast.one.peer.presiding, cast.one.peer.grantors[cast.name]
    with pytest.raises(PeerError):
        presiding.finished(cast.two.contact, m.Finish(1, signed(Cancel(cast.name, 1.0), STRANGER)), cast.swarm.now)
    assert not grantor.cancelled
    cast.one.follow(
        presiding.finished(cast.two.contact, m.Finish(1, signed(Cancel(cast.name, 1.0), OWNER)), cast.swarm.now)
    )
    assert grantor.cancelled


def test_a_dead_peer_that_grants_nothing_changes_nothing() -> None:
    cast = Cast(takes_s=None, tasks=2)
    assert cast.one.peer.presiding.dead(NodeId(cast.worker.id), cast.swarm.now) == []
    assert cast.one.peer.presiding.session_closed(NodeId(cast.worker.id)) == []


def test_an_order_that_comes_with_an_entrusted_job_is_obeyed_where_it_is_granted() -> None:
    cast = Cast(takes_s=None, tasks=2)
    cast.swarm.kill(cast.submitter)
    assert cast.swarm.run(10, lambda: cast.grants(cast.one) == 1)
    presiding, grantor = cast.one.peer.presiding, cast.one.peer.grantors[cast.name]
    made, total = cast.job.made, cast.kept(cast.one).tasks
    close, paused = signed(Close(cast.name, total, made.last), OWNER), signed(Pause(cast.name, 1, True), OWNER)
    entrust = m.Entrust(1, made.spec, [made.handover(0, 3), close, paused], 0.0)
    presiding.entrusted(cast.two.contact, entrust, cast.swarm.now)
    assert grantor.paused and grantor.total == total and not grantor.cancelled
    cancel = signed(Cancel(cast.name, 1.0), OWNER)
    presiding.entrusted(cast.two.contact, m.Entrust(1, made.spec, [cancel], 0.0), cast.swarm.now)
    assert grantor.cancelled


def test_a_handover_that_is_said_again_and_again_is_read_from_disk_once() -> None:
    cast = Cast(takes_s=None, tasks=2)
    presiding, made = cast.one.peer.presiding, cast.job.made
    handover = signed(Handover(cast.name, 3, cast.one.key.public), OWNER)

    def loads() -> int:
        effects = presiding.take(cast.submitter.contact, cast.submitter.key.public, m.Take(9, handover), cast.swarm.now)
        then = [each for effect in effects if isinstance(effect, fx.Commit) for each in effect.then]
        return sum(isinstance(each, fx.Load) for each in then)

    assert [loads() for _ in range(3)] == [1, 0, 0]
    cast.swarm.run(2.0)  # the disk refused it, perhaps
    assert loads() == 1
    presiding.adopt(cast.name, list(zip(made.segments, made.sealed, strict=True)), [], [], cast.swarm.now)
    assert cast.grants(cast.one) == 3 and loads() == 0


def test_a_job_that_this_steward_cannot_open_is_read_from_disk_once_however_often_it_is_introduced() -> None:
    cast = Cast(takes_s=None, tasks=2)
    one = cast.one
    made = Made(9, grantor=cast.submitter.key, orchestration="distributed",
                stewards=[Steward(one.key.public, one.contact, bytes(48))])  # fmt: skip
    said = made.segment(2)
    loads = 0
    for request in range(1, 6):
        done: list[fx.Effect] = []
        message = m.Introduce(request, made.spec, 0.0)
        effects = one.peer.presiding.introduced(cast.submitter.contact, message, cast.swarm.now)
        if request == 1:
            effects += one.peer.presiding.extended(cast.submitter.contact, said, cast.swarm.now)
        done += [each for effect in effects if isinstance(effect, fx.Commit) for each in effect.then]
        loads += sum(isinstance(each, fx.Load) for each in done)
        if any(isinstance(each, fx.Load) for each in done):
            with pytest.raises(PeerError, match="sealed bytes do not open"):
                one.peer.presiding.adopt(made.job, [(said.segment, said.pages)], [], [], cast.swarm.now)
        cast.swarm.run(2.0)
    assert loads == 1


def test_who_grants_a_job_that_is_kept_no_more_lets_go_of_it_when_another_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2pcpn.limits.FORMER_GRANTORS_MAX", 0)
    cast = Cast(takes_s=None, tasks=2)
    begin(cast)
    before = cast.name
    cast.job = Job(cast.submitter, stewards=(cast.one, cast.two), number=2).extend(1)
    assert cast.swarm.run(5, lambda: cast.name in cast.one.peer.steward.jobs and cast.kept(cast.one).tasks == 1)
    cast.one.peer.steward.forget(before)  # its retention is over
    begin(cast)
    granted = cast.one.peer.jobs.granted
    assert (granted.of(before), len(granted)) == ([], 1)
    assert len(cast.submitter.peer.jobs.granted) == 2, "what this node submitted is its program's to let go of"


def test_what_a_log_settles_counts_where_it_is_kept_and_within_the_job_alone() -> None:
    cast = Cast(takes_s=None, tasks=4)
    begin(cast)
    presiding, grantor, said = cast.one.peer.presiding, cast.one.peer.grantors[cast.name], []
    grantor.settled_elsewhere = lambda spans, now: said.append(spans) or []
    refuses: list[str] = ["nobody signed it"]

    def opened(results: m.Results) -> list[bytes]:
        if refuses:
            raise PeerError(refuses[0])
        return []

    grantor.blobs_of = opened

    def append(number: int, spans: list[tuple[int, int]]) -> None:
        previous = bytes([number % 256]) * 32
        receipt = Receipt(cast.name, 0, cast.submitter.id, 1, 0, spans, b"", b"", bytes(32), 0.1, b"")
        body = pages.LOG_BODY.encode([pages.Entry(signed(receipt, cast.worker.key), b"", None)])
        header = Header(
            cast.name, 0, cast.submitter.id, number, previous, digest(body), 4, spans
        )  # fmt: skip
        message = m.Append(1, signed(header, cast.submitter.key), body)
        (commit, *_) = presiding.appended(cast.submitter.contact, message, cast.swarm.now)
        before = list(said)
        for news in commit.then if isinstance(commit, fx.Commit) else ():
            if isinstance(news, fx.OnDisk):
                presiding.on_disk(fx.OnDisk(news.header, False), cast.swarm.now)
                assert said == before  # the disk refused it
                presiding.on_disk(news, cast.swarm.now)

    append(2000, [(0, 1)])
    assert said == []
    append(4, [(2, 1 << 31), (1 << 40, 1)])
    assert said == [] and cast.one.peer.counters["refused Append"] == 2
    refuses.clear()
    append(5, [(2, 1 << 31), (1 << 40, 1)])
    assert said == [[(2, 2)]]
    with pytest.raises(PeerError):
        append(6, [(0, 1 << 31)] * 100)
    assert said == [[(2, 2)]]


def test_a_grantor_whose_tasks_took_what_lost_begins_its_next_epoch() -> None:
    cast = Cast(takes_s=None, tasks=4)
    begin(cast)
    presiding, grantor, now = cast.one.peer.presiding, cast.one.peer.grantors[cast.name], cast.swarm.now
    grantor.ledger.settle([(1, 1)])
    assert presiding.reviewed(cast.name, [2], now) == [] == presiding.reviewed(bytes(20), [1], now)
    grantor.superseded, grantor.granting = True, False
    assert presiding.reviewed(cast.name, [1], now) == []
    grantor.superseded, grantor.granting = False, True
    effects = presiding.reviewed(cast.name, [1], now)
    assert fx.Load(cast.name) in [each for e in effects if isinstance(e, fx.Commit) for each in e.then]
    kept = cast.kept(cast.one)
    assert kept.authority.grantor == cast.one.key.public and kept.authority.epoch > 1


def test_who_steps_down_brings_its_log_to_the_newest_grantor_where_tasks_take_results() -> None:
    cast = Cast(takes_s=None, tasks=4)
    grantor = cast.submitter.peer.grantors[cast.name]
    brought: list[fx.Effect] = []
    grantor.custody.bring = lambda to: brought.append(to) or []
    grantor.book.dependencies.add([(3, [0])])
    begin(cast)
    told = cast.one.peer.grantors[cast.name].mandate()
    cast.submitter.peer.presiding.mandate(cast.one.contact, cast.one.key.public, told, cast.swarm.now)
    assert grantor.superseded and brought == [cast.one.contact]
    # Whoever grants after that one is brought it, too: from the one before it comes its own log alone.
    later = msgspec.structs.replace(told, epoch=2, grantor=cast.two.contact)
    cast.submitter.peer.presiding.mandate(cast.two.contact, cast.two.key.public, later, cast.swarm.now)
    assert brought[-1] == cast.two.contact


def test_a_guests_job_that_made_room_is_granted_here_no_more_and_not_in_the_same_epoch_again() -> None:
    cast = Cast(takes_s=None, tasks=64, orchestration="distributed", granting=False)
    one, name = cast.one, cast.name
    assert cast.swarm.run(5, lambda: bool(one.peer.jobs.granted.of(name)) and bool(cast.worker.batches))
    (lot,) = one.peer.jobs.granted.of(name)
    one.do([one.peer.steward.drop(name)])
    other = Job(cast.submitter, stewards=(one, cast.two), number=9)
    assert cast.swarm.run(5, lambda: other.job in one.peer.steward.jobs)
    assert lot.superseded and not lot.granting and not lot.leases
    assert cast.swarm.run(
        40, lambda: any(g.book.lot == lot.book.lot and g.granting for g in cast.two.peer.jobs.granted.of(name))
    )
    one.do(
        one.peer.presiding.introduced(cast.submitter.contact, m.Introduce(77, cast.job.made.spec, True), cast.swarm.now)
    )
    cast.swarm.run(2.0)
    assert name in one.peer.steward.jobs
    assert not [g for g in one.peer.jobs.granted.of(name) if g.granting and g.epoch == lot.epoch]
