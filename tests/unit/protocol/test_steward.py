"""The steward: keeps what the owner and authorised grantors signed, says so only when it is on disk, and has bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.guests import BYTES_MAX
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.kept_logs import RECENT
from p2pcpn.protocol.lots import RANGE_TASKS
from p2pcpn.protocol.quota import Quota
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.protocol.steward import Steward
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import BlobRef, Cancel, Close, LogHeader, Pause, Receipt, Segment, Signed, read, signed
from tests.unit.protocol.leased import (
    GRANTOR,
    GRANTOR_AT,
    ME,
    ME_AT,
    OWNER,
    STEWARDS,
    STEWARDS_AT,
    STRANGER,
    STRANGER_AT,
    Bench,
    Made,
    at,
    keypair,
    lease_of,
    settling,
    told,
)  # fmt: skip

KEEPER = STEWARDS[0]


@dataclass
class Shelf:
    """A steward, and the disk that a test plays."""

    storing: bool = True
    wall: float = 1e9
    counts: tuple[int, int, int] | None = None
    me: Keypair = KEEPER
    written: list[fx.Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steward = Steward(
            me=self.me, storing=self.storing, wall=lambda: self.wall, granting=lambda job: self.counts
        )

    def say(self, effects: list[fx.Effect], *, disk: bool = True) -> list[m.Answer]:
        """Perform effects: the disk takes writes or refuses them; returns the answers."""
        answers = []
        for effect in effects:
            if isinstance(effect, fx.Commit):
                if disk:
                    self.written += effect.writes
                follow = effect.then if disk else effect.otherwise
                for news in follow:
                    if isinstance(news, fx.OnDisk):
                        self.steward.on_disk(news.header)
                    elif isinstance(news, fx.Saved):
                        self.steward.saved(news)
                answers += told(follow, m.Answer)
            else:
                answers += told([effect], m.Answer)
        return answers

    def introduce(self, made: Made, **options: Any) -> m.Answer:
        (answer,) = self.say(self.steward.introduced(GRANTOR_AT, m.Introduce(5, made.spec, True)), **options)
        return answer

    def extend(self, message: m.Extend, **options: Any) -> m.Answer:
        (answer,) = self.say(self.steward.extended(GRANTOR_AT, message), **options)
        return answer

    def append(self, entry: tuple[Signed, bytes], sender: Contact = GRANTOR_AT, **options: Any) -> m.Answer:
        (answer,) = self.say(self.steward.appended(sender, m.Append(6, *entry)), **options)
        return answer

    def state(self, made: Made) -> m.JobState:
        (effect,) = self.steward.asked(STRANGER_AT, m.Ask(8, made.job))
        assert isinstance(effect, fx.Tell) and isinstance(effect.message, m.JobState)
        assert m.CODEC.decode(m.CODEC.encode(effect.message)) == effect.message
        return effect.message


def log(made: Made, count: int, by: Keypair = GRANTOR, epoch: int = 0, salt: bytes = b"") -> list[tuple[Signed, bytes]]:
    found, last = [], NOTHING
    for number in range(count):
        spans = [(10 * number, 10)]
        body = settling(made.job, spans, salt)
        header = signed(LogHeader(made.job, epoch, by.id, number, last, digest(body), 10 * (number + 1), spans), by)
        found.append((header, body))
        last = digest(header.body)
    return found


def test_a_job_is_kept_and_answered_only_when_it_is_on_disk() -> None:
    shelf, made = Shelf(), Made()
    effects = shelf.steward.introduced(GRANTOR_AT, m.Introduce(5, made.spec, True))
    assert told(effects, m.Answer) == []
    (commit,) = effects
    assert isinstance(commit, fx.Commit)
    assert [type(effect) for effect in commit.then + commit.otherwise] == [fx.Saved, fx.Tell, fx.Tell]
    row = (
        OWNER.public,
        pages.SIGNED.encode(made.spec),
        1e9 + 3600.0,
        None,
        None,
        pages.GRANTS.encode(pages.Grants([], None)),
    )
    assert commit.writes == (fx.Write("jobs", (made.job,), row),)
    assert shelf.say(effects) == [m.Answer(5, AnswerCode.DONE, "")]
    assert shelf.say(effects, disk=False) == [m.Answer(5, AnswerCode.FAILED, "its disk refused")]


def left(made: Made, *states: tuple[int, int, bytes], epoch: int = 0) -> m.States:
    return m.States(made.job, epoch, [m.LeftState(*state) for state in states])


def test_states_of_running_tasks_are_kept_for_whoever_grants_and_go_when_their_tasks_are_settled() -> None:
    shelf, made = Shelf(), Made()
    assert shelf.steward.left(GRANTOR.public, left(made, (0, 1, b"no such job"))) == []
    shelf.introduce(made)
    empty_bytes = shelf.steward.quota.of(OWNER.public)
    assert shelf.steward.left(STRANGER.public, left(made, (0, 1, b"who is that"))) == []
    assert shelf.steward.left(GRANTOR.public, left(made, (0, 1, b"another epoch"), epoch=1)) == []
    shelf.say(shelf.steward.left(GRANTOR.public, left(made, (12, 1, b"dozen"), (7, 2, b"seven"))))
    assert [write.key for write in shelf.written if write.table == "states"] == [(made.job, 12), (made.job, 7)]
    grown = empty_bytes + len(b"dozenseven") + 2 * limits.STEWARD_ROW_BYTES
    assert shelf.steward.quota.of(OWNER.public) == grown == shelf.steward.jobs[made.job].disk_bytes
    assert shelf.steward.left(GRANTOR.public, left(made, (12, 1, b"again"))) == []
    assert shelf.append(*log(made, 1)).code == AnswerCode.DONE
    assert shelf.written[-1] == fx.Write("states", (made.job, 7), None)
    kept = shelf.steward.jobs[made.job]
    assert (len(kept.states), kept.disk_bytes) == (1, shelf.steward.quota.of(OWNER.public))


def test_states_count_as_their_owners_and_come_back_from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    made, kept = Made(), Kept(Authority(Made().spec), 2e9)
    kept.restore_state(3, 5, 100)
    assert (len(kept.states), kept.disk_bytes) == (1, 100 + limits.STEWARD_ROW_BYTES)
    monkeypatch.setattr(limits, "STEWARD_BYTES_PER_OWNER_MAX", 3000)
    shelf = Shelf()
    shelf.steward.restore(kept)
    assert shelf.steward.left(GRANTOR.public, left(made, (4, 6, bytes(4000)))) == []
    (commit,) = shelf.steward.left(GRANTOR.public, left(made, (4, 6, bytes(1000)), (3, 4, b"older")))
    assert isinstance(commit, fx.Commit) and len(commit.writes) == 1


def test_a_job_whose_keeper_leaves_is_kept_by_who_was_never_named_and_is_found_there() -> None:
    shelf, made = Shelf(me=STRANGER), Made()
    assert shelf.introduce(made).code == AnswerCode.REFUSED  # only a steward is introduced to it
    close = signed(Close(made.job, 20, bytes(32)), OWNER)
    effects = shelf.steward.entrusted(STEWARDS_AT[0], m.Entrust(7, made.spec, [made.handover(0), close], 600.0))
    assert [effect for effect in effects if isinstance(effect, fx.Provide)] == [fx.Provide(made.job, 3000.0)]
    assert shelf.say(effects) == [m.Answer(7, AnswerCode.DONE, "")]
    assert (shelf.state(made).close, shelf.state(made).handovers) == (close, [made.handover(0)])
    for entry in log(made, 2):  # whoever brings it: the grantor is gone
        assert shelf.append(entry, STEWARDS_AT[0]).code == AnswerCode.DONE
    assert shelf.state(made).logs == [(GRANTOR.id, 0, 2)]
    (legacy,) = shelf.steward.legacies()
    assert (legacy.job, legacy.replicas) == (made.job, 2) and legacy.parcel.entrust is not None
    assert legacy.parcel.entrust(9, 1e9 + 60.0) == m.Entrust(9, made.spec, [made.handover(0), close], 660.0)
    cancel = signed(Cancel(made.job, 1), OWNER)
    again = shelf.steward.entrusted(STEWARDS_AT[0], m.Entrust(8, made.spec, [cancel], 0.0))
    assert [type(effect) for effect in again] == [fx.Commit] and shelf.state(made).cancel == cancel


def test_a_job_whose_retention_is_over_is_kept_by_nobody_who_hears_of_it_first() -> None:
    shelf, heir, made = Shelf(), Shelf(me=STRANGER), Made(retention_s=60.0)
    (answer,) = heir.say(heir.steward.entrusted(STEWARDS_AT[0], m.Entrust(7, made.spec, [], 60.0)))
    assert isinstance(answer, m.Answer) and (answer.code, answer.text) == (AnswerCode.REFUSED, "its retention is over")
    (answer,) = shelf.say(shelf.steward.introduced(GRANTOR_AT, m.Introduce(8, made.spec, True, 61.0)))
    assert isinstance(answer, m.Answer) and (answer.code, answer.text) == (AnswerCode.REFUSED, "its retention is over")
    assert not shelf.steward.jobs and not heir.steward.jobs
    assert shelf.say(shelf.steward.introduced(GRANTOR_AT, m.Introduce(9, made.spec, True, 59.0))) == [
        m.Answer(9, AnswerCode.DONE, "")
    ]


def test_all_that_the_owner_handed_over_goes_along_so_that_the_logs_of_each_of_them_are_kept() -> None:
    shelf, heir, made = Shelf(), Shelf(me=STRANGER), Made()
    shelf.introduce(made)
    for steward, epoch in ((1, 3), (0, 6)):  # epochs 3 and 6 are the owner's to give
        shelf.say(shelf.steward.taken(GRANTOR_AT, m.Take(9, made.handover(steward, epoch)), made.job)[1])
    (legacy,) = shelf.steward.legacies()
    assert legacy.parcel.entrust is not None
    told = legacy.parcel.entrust(9, 1e9)
    assert told.words == [made.handover(1, 3), made.handover(0, 6)]
    heir.say(heir.steward.entrusted(STEWARDS_AT[0], m.CODEC.decode(m.CODEC.encode(told))))  # type: ignore[arg-type]
    for steward, epoch in ((1, 3), (0, 6)):
        assert heir.append(log(made, 1, STEWARDS[steward], epoch)[0], STEWARDS_AT[0]).code == AnswerCode.DONE


def test_as_many_handovers_as_are_remembered_fit_with_all_other_words() -> None:
    heir, made = Shelf(me=STRANGER), Made()
    words = [made.handover(0, 3 * number) for number in range(1, limits.EPOCHS_MAX + 1)]
    words += [signed(Close(made.job, 20, bytes(32)), OWNER), signed(Cancel(made.job, 1), OWNER), pause(made, 1)]
    told = m.CODEC.decode(m.CODEC.encode(m.Entrust(7, made.spec, words, 0.0)))
    assert isinstance(told, m.Entrust)
    assert heir.say(heir.steward.entrusted(STEWARDS_AT[0], told)) == [m.Answer(7, AnswerCode.DONE, "")]
    assert heir.state(made).handovers == words[: limits.EPOCHS_MAX]


def test_what_is_entrusted_is_the_owners_word_within_his_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, made = Shelf(me=STRANGER), Made()
    others = signed(Close(made.job, 20, bytes(32)), STRANGER)
    another = signed(Close(Made(2).job, 20, bytes(32)), OWNER)
    for wrong in (m.Entrust(1, made.spec, [others], 0.0), m.Entrust(1, made.spec, [another], 0.0)):
        with pytest.raises(PeerError):
            shelf.steward.entrusted(STEWARDS_AT[0], wrong)
    assert not shelf.steward.jobs
    monkeypatch.setattr(limits, "JOBS_PER_OWNER_MAX", 0)
    (answer,) = shelf.say(shelf.steward.entrusted(STEWARDS_AT[0], m.Entrust(1, made.spec, [], 0.0)))
    assert answer.code == AnswerCode.FULL
    (answer,) = Shelf(storing=False).say(
        Shelf(storing=False).steward.entrusted(STEWARDS_AT[0], m.Entrust(1, made.spec, [], 0.0))
    )
    assert answer.code == AnswerCode.REFUSED


def test_the_log_of_a_job_that_is_unknown_here_is_a_legacy_too() -> None:
    shelf, made = Shelf(), Made()
    assert shelf.append(log(made, 1)[0]).code == AnswerCode.DONE
    (legacy,) = shelf.steward.legacies()
    assert (legacy.job, legacy.parcel.entrust, legacy.replicas) == (made.job, None, 1)


def test_the_log_of_a_job_that_is_entrusted_counts_as_its_owners_from_then_on() -> None:
    shelf, made = Shelf(me=STRANGER), Made()
    shelf.append(log(made, 1)[0])
    assert shelf.steward.quota.of(GRANTOR.id) > 0
    shelf.say(shelf.steward.entrusted(STEWARDS_AT[0], m.Entrust(7, made.spec, [], 0.0)))
    assert shelf.steward.quota.of(GRANTOR.id) == 0 and not shelf.steward.foreign
    assert shelf.append(log(made, 1)[0], STEWARDS_AT[0]).code == AnswerCode.DONE
    assert shelf.steward.quota.of(OWNER.public) == shelf.steward.jobs[made.job].disk_bytes
    shelf.steward.forget(made.job)
    assert shelf.steward.quota.taken_bytes == 0 and shelf.steward.legacies() == []


def test_an_heir_has_the_blobs_that_a_segment_names_from_whoever_brings_it_and_a_steward_from_the_owner() -> None:
    made = Made()
    extend = made.segment(2)
    named = signed(msgspec.structs.replace(read(extend.segment, Segment), blobs=[bytes(32)]), OWNER)
    for me in (STRANGER, KEEPER):
        shelf = Shelf(me=me)
        shelf.say(shelf.steward.entrusted(STEWARDS_AT[0], m.Entrust(7, made.spec, [], 600.0)))
        (effect,) = shelf.steward.extended(STEWARDS_AT[1], m.Extend(8, named, extend.pages, True))
        if me is KEEPER:
            assert isinstance(effect, fx.Commit)
        else:
            assert isinstance(effect, fx.Gather) and effect.then == effect.otherwise
            assert (effect.sender, effect.blobs, effect.retention_s) == (STEWARDS_AT[1], (bytes(32),), 3000.0)


def test_an_heir_has_the_project_of_the_tasks_with_their_first_segment() -> None:
    code = BlobRef(bytes([8]) * 32, 100, bytes(32))
    made, shelf = Made(code=code), Shelf(me=STRANGER)
    shelf.say(shelf.steward.entrusted(STEWARDS_AT[0], m.Entrust(7, made.spec, [], 600.0)))
    found = [shelf.steward.extended(STEWARDS_AT[1], made.segment(2))[0] for _ in range(2)]
    assert [type(effect) for effect in found] == [fx.Gather, fx.Commit]
    assert isinstance(found[0], fx.Gather) and found[0].blobs == (code.digest,)


def test_what_a_disk_refused_is_written_again_when_it_is_said_again() -> None:
    shelf, made = Shelf(), Made()
    segment, entries = made.segment(2), log(made, 2)
    assert shelf.introduce(made, disk=False).code == AnswerCode.FAILED
    assert shelf.introduce(made).code == AnswerCode.DONE
    assert shelf.extend(segment, disk=False).code == AnswerCode.FAILED
    assert shelf.extend(segment).code == AnswerCode.DONE
    assert shelf.append(entries[0], disk=False).code == AnswerCode.FAILED
    assert shelf.append(entries[0]).code == AnswerCode.DONE
    assert [write.table for write in shelf.written] == ["jobs", "segments", "logs"]
    assert (shelf.state(made).segments, shelf.state(made).logs) == (1, [(GRANTOR.id, 0, 1)])


@pytest.mark.parametrize(
    ("shelf", "words"),
    [(Shelf(storing=False), "keeps nothing for others"), (Shelf(me=STRANGER), "is no steward of that job")],
)
def test_what_is_not_its_to_keep_is_refused(shelf: Shelf, words: str) -> None:
    answer = shelf.introduce(Made())
    assert (answer.code, answer.text) == (AnswerCode.REFUSED, words)
    assert len(shelf.steward.jobs) == 0 and shelf.steward.quota.taken_bytes == 0


def test_segments_are_kept_in_their_chain_and_again_when_they_come_again() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    first, second = made.segment(2, 3), made.segment(4)
    assert shelf.extend(second).text == "lacks the segment before that one"
    assert [shelf.extend(message).code for message in (first, second, first)] == [0, 0, 0]
    keys = [write.key for write in shelf.written if write.table == "segments"]
    assert keys == [(made.job, 0), (made.job, 1), (made.job, 0)]
    assert shelf.written[1].value == (0, 5, pages.SIGNED.encode(first.segment), pages.PAGES.encode(first.pages))
    state = shelf.state(made)
    assert (state.segments, state.tasks, state.waiting, state.granting) == (2, 9, 9, False)


def test_a_segment_that_is_not_the_owners_or_contradicts_another_is_an_error() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    message = made.segment(2)
    for wrong in (
        m.Extend(1, signed(read(message.segment, Segment), STRANGER), message.pages, True),
        m.Extend(1, message.segment, [b"other"], True),
        m.Extend(1, message.segment, [], True),
        m.Extend(1, message.segment, [*message.pages, b""], True),
    ):
        with pytest.raises(PeerError):
            shelf.steward.extended(GRANTOR_AT, wrong)
    shelf.extend(message)
    with pytest.raises(PeerError):
        shelf.steward.extended(GRANTOR_AT, Made().segment(3))
    assert shelf.extend(Made(2).segment(1)).code == AnswerCode.UNKNOWN


def test_close_and_cancel_are_kept_with_the_job() -> None:
    shelf, made = Shelf(), Made()
    close, cancel = signed(Close(made.job, 7, NOTHING), OWNER), signed(Cancel(made.job, 1.0), OWNER)
    (answer,) = shelf.say(shelf.steward.finished(GRANTOR_AT, m.Finish(7, close)))
    assert answer.code == AnswerCode.UNKNOWN
    shelf.introduce(made)
    for statement in (close, cancel):
        (answer,) = shelf.say(shelf.steward.finished(GRANTOR_AT, m.Finish(7, statement)))
        assert answer == m.Answer(7, AnswerCode.DONE, "")
    state = shelf.state(made)
    assert (state.close, state.cancel) == (close, cancel) and shelf.steward.jobs[made.job].total == 7
    assert shelf.written[-1].value is not None and shelf.written[-1].value[3:5] == (
        pages.SIGNED.encode(close),
        pages.SIGNED.encode(cancel),
    )
    for wrong in (signed(Close(made.job, 8, NOTHING), STRANGER), made.spec):
        with pytest.raises(PeerError):
            shelf.steward.finished(GRANTOR_AT, m.Finish(7, wrong))


def test_only_the_owner_hands_over_and_only_to_a_steward() -> None:
    shelf, made = Shelf(), Made()
    mine, effects = shelf.steward.taken(GRANTOR_AT, m.Take(9, made.handover(0)), made.job)
    assert not mine and shelf.say(effects)[0].code == AnswerCode.UNKNOWN
    shelf.introduce(made)
    mine, effects = shelf.steward.taken(GRANTOR_AT, m.Take(9, made.handover(1, 1)), made.job)
    assert not mine and shelf.say(effects) == [m.Answer(9, AnswerCode.DONE, "")]
    mine, effects = shelf.steward.taken(GRANTOR_AT, m.Take(9, made.handover(0, 2)), made.job)
    assert mine and shelf.state(made).handovers[-1] == made.handover(0, 2)
    with pytest.raises(PeerError):
        shelf.steward.taken(GRANTOR_AT, m.Take(9, Made(owner=STRANGER).handover(0, 3)), made.job)


def test_what_is_on_disk_as_it_is_said_again_is_not_written_again() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    take = m.Take(9, made.handover(1, 3))
    assert shelf.say(shelf.steward.taken(GRANTOR_AT, take, made.job)[1], disk=False)[0].code == AnswerCode.FAILED
    assert shelf.say(shelf.steward.taken(GRANTOR_AT, take, made.job)[1])[0].code == AnswerCode.DONE
    before = list(shelf.written)
    close = m.Finish(7, signed(Close(made.job, 0, NOTHING), OWNER))
    for _ in range(2):
        assert shelf.say(shelf.steward.taken(GRANTOR_AT, take, made.job)[1]) == [m.Answer(9, AnswerCode.DONE, "")]
        assert shelf.introduce(made).code == AnswerCode.DONE
    assert shelf.written == before
    shelf.say(shelf.steward.finished(GRANTOR_AT, close))
    shelf.say(shelf.steward.finished(GRANTOR_AT, close))
    assert len(shelf.written) == len(before) + 1


def test_no_log_is_hidden_behind_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    epochs = [3 * number for number in range(1, 201)]  # a laptop that sleeps each night
    for epoch in epochs:
        shelf.say(shelf.steward.taken(GRANTOR_AT, m.Take(9, made.handover(1, epoch)), made.job)[1])
        assert shelf.append(log(made, 1, STEWARDS[1], epoch)[0], STEWARDS_AT[1]).code == AnswerCode.DONE
    state = shelf.state(made)
    assert [epoch for _, epoch, _ in state.logs] == epochs
    reader = Authority(state.spec)
    for handover in state.handovers:
        reader.hand_over(handover)
    assert all(reader.grants(STEWARDS[1].public, epoch) for epoch in epochs)
    monkeypatch.setattr(limits, "LOGS_PER_JOB_MAX", 201)
    assert shelf.append(log(made, 1)[0]).code == AnswerCode.DONE
    assert shelf.append(log(made, 1, STEWARDS[0], 601)[0], STEWARDS_AT[0]).code == AnswerCode.REFUSED
    assert shelf.append(log(made, 2)[1]).code == AnswerCode.DONE


def test_an_order_that_comes_with_an_entrusted_job_is_passed_on_to_its_grantor() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    cancel = signed(Cancel(made.job, 1), OWNER)
    entrust = m.Entrust(7, made.spec, [cancel], 0.0)
    assert shelf.steward.jobs[made.job].grantor == GRANTOR_AT
    assert told(shelf.steward.entrusted(STEWARDS_AT[1], entrust), m.Finish) == [m.Finish(0, cancel)]
    assert told(shelf.steward.entrusted(STEWARDS_AT[1], entrust), m.Finish) == []


def test_a_log_is_kept_from_authorised_grantors_in_any_order() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    shelf.extend(made.segment(100))
    entries = log(made, 4)
    for number in (0, 2, 3, 2, 1, 0):
        assert shelf.append(entries[number]).code == AnswerCode.DONE
    state = shelf.state(made)
    assert (state.logs, state.settled, state.waiting) == ([(GRANTOR.id, 0, 4)], 40, 60)
    shelf.counts = (1, 2, 3)
    state = shelf.state(made)
    assert (state.waiting, state.running, state.settled, state.granting) == (1, 2, 3, True)


def test_a_log_nobody_was_made_the_grantor_of_is_an_error() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    (header, body), *_ = log(made, 1)
    lied = signed(LogHeader(made.job, 0, GRANTOR.id, 0, NOTHING, digest(body), 10, [(0, 10)]), STRANGER)
    for entry in (
        log(made, 1, by=STRANGER)[0],
        log(made, 1, by=STEWARDS[1])[0],
        log(made, 1, by=STEWARDS[1], epoch=1)[0],
        (header, b"another body"),
        (lied, body),
    ):
        with pytest.raises(PeerError):
            shelf.append(entry)
    shelf.steward.taken(GRANTOR_AT, m.Take(9, made.handover(1)), made.job)
    assert shelf.append(log(made, 1, by=STEWARDS[1], epoch=1)[0], STEWARDS_AT[1]).code == AnswerCode.DONE
    assert shelf.append((header, body)).code == AnswerCode.DONE


def test_a_steward_that_lies_about_its_epochs_fills_nobodys_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOGS_PER_GRANTOR_MAX", 3)
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    far = 1 + 3 * (limits.ROUNDS_AHEAD_MAX + 1)  # its own by the spec, and nobody can have come to it unheard
    assert shelf.append(log(made, 1, STEWARDS[0], far)[0], STEWARDS_AT[0]).code == AnswerCode.REFUSED
    answers = [shelf.append(log(made, 1, STEWARDS[0], epoch)[0], STEWARDS_AT[0]) for epoch in (1, 4, 7, 10)]
    assert [answer.code for answer in answers] == [AnswerCode.DONE] * 3 + [AnswerCode.REFUSED]
    for entry in log(made, 2, STEWARDS[0], 7):
        assert shelf.append(entry, STEWARDS_AT[0]).code == AnswerCode.DONE
    assert shelf.append(log(made, 1, STEWARDS[1], 2)[0], STEWARDS_AT[1]).code == AnswerCode.DONE
    assert shelf.append(log(made, 1)[0]).code == AnswerCode.DONE
    assert {epoch for _, epoch, _ in shelf.state(made).logs} == {1, 4, 7, 2, 0}


def test_a_log_that_settles_another_thing_than_its_header_says_is_kept_by_nobody() -> None:
    shelf, made, another = Shelf(), Made(), Made(2)
    shelf.introduce(made)
    body = settling(made.job, [(3, 2)])
    for spans, held in (
        ([(0, 5)], body),  # what nobody ran would never run
        ([], body),
        ([(3, 2)], settling(another.job, [(3, 2)])),
        ([(3, 2)], b"no settlements"),
    ):
        count = sum(count for _, count in spans)
        header = signed(LogHeader(made.job, 0, GRANTOR.id, 0, NOTHING, digest(held), count, spans), GRANTOR)
        for each in (shelf, Shelf()):  # also where the job is not known
            with pytest.raises(PeerError):
                each.append((header, held))
    over = signed(LogHeader(made.job, 0, GRANTOR.id, 0, NOTHING, digest(body), 100, [(3, 2)]), GRANTOR)
    with pytest.raises(PeerError):  # the job would be over
        shelf.append((over, body))
    header = signed(LogHeader(made.job, 0, GRANTOR.id, 0, NOTHING, digest(body), 2, [(3, 2)]), GRANTOR)
    assert shelf.append((header, body)).code == AnswerCode.DONE
    assert shelf.state(made).settled == 2


def test_what_a_log_settles_counts_once_it_is_on_disk_with_its_blobs() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    shelf.extend(made.segment(10, 10))
    kept = shelf.steward.jobs[made.job]
    one, two = log(made, 2)
    assert shelf.append(two, disk=False).code == AnswerCode.FAILED
    assert shelf.append(one).code == AnswerCode.DONE
    state = shelf.state(made)
    assert (state.logs, state.settled, kept.is_open) == ([(GRANTOR.id, 0, 1)], 10, True)
    assert shelf.append(two).code == AnswerCode.DONE
    state = shelf.state(made)
    assert (state.logs, state.settled, kept.is_open) == ([(GRANTOR.id, 0, 2)], 20, False)


def test_a_blob_that_was_not_had_leaves_its_results_unsettled() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    shelf.extend(made.segment(1))
    body = settling(made.job, [(0, 1)])
    said = LogHeader(made.job, 0, GRANTOR.id, 0, NOTHING, digest(body), 1, [(0, 1)], [bytes(32)])
    (gather,) = shelf.steward.appended(GRANTOR_AT, m.Append(6, signed(said, GRANTOR), body))
    assert isinstance(gather, fx.Gather)
    assert [answer.code for answer in shelf.say(list(gather.otherwise))] == [AnswerCode.FAILED]
    assert shelf.state(made).logs == [(GRANTOR.id, 0, 0)] and shelf.steward.jobs[made.job].is_open
    assert [answer.code for answer in shelf.say(list(gather.then))] == [AnswerCode.DONE]
    assert shelf.state(made).logs == [(GRANTOR.id, 0, 1)] and not shelf.steward.jobs[made.job].is_open


def test_a_disk_that_refuses_one_segment_and_takes_others_forgets_none_of_them() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    entries = log(made, RECENT + 2)
    shelf.append(entries[0], disk=False)
    for entry in entries[1:RECENT]:
        assert shelf.append(entry).code == AnswerCode.DONE
    assert shelf.append(entries[RECENT]).code == AnswerCode.REFUSED  # the first could not be told from a lie any more
    for entry in (entries[0], entries[RECENT], entries[RECENT + 1]):
        assert shelf.append(entry).code == AnswerCode.DONE
    assert shelf.state(made).logs == [(GRANTOR.id, 0, RECENT + 2)]


def test_what_a_grantor_said_once_it_cannot_unsay() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    for entry in log(made, 2):
        shelf.append(entry)
    for wrong in log(made, 2, salt=b"!"):
        with pytest.raises(PeerError):
            shelf.append(wrong)
    body = settling(made.job, [(0, 1)])
    far = signed(LogHeader(made.job, 0, GRANTOR.id, 5000, NOTHING, digest(body), 1, [(0, 1)]), GRANTOR)
    assert shelf.append((far, body)).code == AnswerCode.REFUSED


def test_very_old_log_segments_are_acknowledged_and_left_as_they_are() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    for entry in log(made, 70):
        shelf.append(entry)
    before = len(shelf.written)
    assert shelf.append(log(made, 1, salt=b"!")[0]).code == AnswerCode.DONE
    assert len(shelf.written) == before


def test_a_storage_peer_keeps_a_log_for_the_grantor_that_signed_it() -> None:
    shelf, made = Shelf(me=STRANGER), Made()
    entries = log(made, 2)
    assert [shelf.append(entry).code for entry in entries] == [0, 0]
    assert [(write.table, write.key[0]) for write in shelf.written] == [
        ("jobs", made.job), ("logs", made.job), ("logs", made.job),
    ]  # fmt: skip
    assert shelf.written[0].value == (None, None, 1e9 + limits.RETENTION_S, None, None, None)
    with pytest.raises(PeerError):
        shelf.append(entries[0], STEWARDS_AT[1])
    assert Shelf(storing=False).append(entries[0]).code == AnswerCode.REFUSED


def test_disk_is_given_by_owner_and_given_again_when_jobs_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STEWARD_BYTES_MAX", 20_000)
    monkeypatch.setattr(limits, "STEWARD_BYTES_PER_OWNER_MAX", 10_000)
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    codes = [shelf.extend(made.segment(64)).code for _ in range(12)]
    full = codes.index(AnswerCode.FULL)
    assert full > 2 and set(codes[:full]) == {0}
    fat = settling(made.job, [(0, 1)], bytes(9000))
    large = signed(LogHeader(made.job, 0, GRANTOR.id, 0, NOTHING, digest(fat), 1, [(0, 1)]), GRANTOR)
    assert shelf.append((large, fat)).code == AnswerCode.FULL
    assert shelf.introduce(Made(3, owner=STRANGER)).code == AnswerCode.DONE
    foreign = Made(4, owner=STRANGER)
    assert shelf.append((log(foreign, 1)[0][0], log(foreign, 1)[0][1])).code == AnswerCode.DONE
    fat = settling(foreign.job, [(10, 1)], bytes(9999))
    big = signed(LogHeader(foreign.job, 0, GRANTOR.id, 1, NOTHING, digest(fat), 11, [(10, 1)]), GRANTOR)
    assert shelf.append((big, fat)).code == AnswerCode.FULL
    shelf.wall += limits.RETENTION_S + 1
    assert shelf.introduce(Made(5)).code == AnswerCode.DONE
    assert shelf.extend(made.segment(1)).code == AnswerCode.UNKNOWN
    (effect,) = shelf.steward.listed(GRANTOR_AT, m.ListJobs(1, OWNER.public))
    assert isinstance(effect, fx.Tell) and effect.message == m.Jobs(1, [Made(5).job])
    assert len(shelf.steward.foreign) == 0 and shelf.steward.quota.of(STRANGER.public) == 0


def test_one_owner_cannot_fill_a_steward_with_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOBS_PER_OWNER_MAX", 2)
    shelf = Shelf()
    codes = [shelf.introduce(Made(number)).code for number in (1, 2, 3)]
    assert codes == [0, 0, AnswerCode.FULL]
    assert shelf.introduce(Made(4, owner=STRANGER)).code == AnswerCode.DONE
    monkeypatch.setattr(limits, "JOBS_PER_PEER_MAX", 3)
    assert shelf.introduce(Made(5, owner=ME)).text == "keeps as many jobs as it can"
    monkeypatch.setattr(limits, "JOBS_PER_PEER_MAX", 4)
    monkeypatch.setattr(limits, "STEWARD_BYTES_PER_OWNER_MAX", 100)
    tight = Shelf()
    assert tight.introduce(Made(6)).text == "has no disk left for that owner"


def strangers(monkeypatch: pytest.MonkeyPatch, jobs: int) -> tuple[Shelf, Callable[..., m.Answer]]:
    """A steward that trusts OWNER alone and has a table of so many jobs; and what brings it one of somebody's."""
    monkeypatch.setattr(limits, "JOBS_PER_PEER_MAX", jobs)
    shelf = Shelf()
    shelf.steward.trusted = lambda key, proof: key == OWNER.public
    shelf.steward.group = lambda contact: contact.port

    def bring(number: int, owner: Keypair, group: int) -> m.Answer:
        made = Made(number, owner=owner)
        entrust = m.Entrust(number, made.spec, [], 0.0)
        (answer,) = shelf.say(shelf.steward.entrusted(at(GRANTOR, group), entrust))
        return answer

    return shelf, bring


def test_a_stranger_fills_the_guests_part_of_a_table_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, bring = strangers(monkeypatch, 16)
    codes = [bring(number, keypair(100 + number), 5000).code for number in range(6)]
    assert codes == [AnswerCode.DONE] * 4 + [AnswerCode.FULL] * 2  # however many keys it makes
    honest = Made(50, owner=keypair(200))
    assert bring(50, keypair(200), 6000).code == AnswerCode.DONE  # the newest of the group that has most goes
    assert honest.job in shelf.steward.jobs and Made(3, owner=keypair(103)).job not in shelf.steward.jobs
    assert fx.Write("jobs", (Made(3, owner=keypair(103)).job,), None) in shelf.written
    assert [bring(number, keypair(100 + number), 5000).code for number in range(60, 66)] == [AnswerCode.FULL] * 6
    assert honest.job in shelf.steward.jobs
    for number in range(300, 312):
        assert bring(number, OWNER, 7000).code == AnswerCode.DONE
    assert shelf.steward.guests.count == 4


def test_who_is_trusted_has_the_whole_table_and_nobody_displaces_him(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, bring = strangers(monkeypatch, 8)
    monkeypatch.setattr(limits, "JOBS_PER_OWNER_MAX", 100)
    assert [bring(number, keypair(100 + number), 5000 + number).code for number in range(2)] == [AnswerCode.DONE] * 2
    assert [bring(number, OWNER, 4000).code for number in range(10, 18)] == [AnswerCode.DONE] * 8
    assert {kept.authority.owner for kept in shelf.steward.jobs.values()} == {OWNER.public}
    assert bring(30, OWNER, 4000).code == AnswerCode.FULL
    assert bring(40, keypair(140), 6000).code == AnswerCode.FULL
    assert len(shelf.steward.jobs) == 8 and shelf.steward.guests.count == 0


def test_a_guests_job_that_is_granted_here_stays_and_guests_share_by_owner_after_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf, bring = strangers(monkeypatch, 8)
    for number in range(2):
        bring(number, keypair(100), 5000)
    shelf.counts = (1, 0, 0)
    assert bring(9, keypair(109), 6000).code == AnswerCode.FULL
    again, _ = strangers(monkeypatch, 8)
    for kept in shelf.steward.jobs.values():
        again.steward.restore(Kept(kept.authority, kept.expires_s, disk_bytes=kept.disk_bytes))
    assert again.steward.guests.of(keypair(100).public) == 2
    again.steward.restore(Kept(Authority(Made(77).spec), 2e9))
    assert again.steward.guests.count == 2


def test_a_guest_has_a_share_of_the_guests_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, bring = strangers(monkeypatch, 16)
    monkeypatch.setattr(shelf.steward.guests, "quota", Quota(40_000, 10_000))
    made = Made(1, owner=STRANGER)
    bring(1, STRANGER, 5000)
    codes = [shelf.extend(made.segment(64)).code for _ in range(12)]
    assert AnswerCode.FULL in codes and codes[:2] == [0, 0]
    mine = Made(2)
    bring(2, OWNER, 5000)
    assert {shelf.extend(mine.segment(64)).code for _ in range(12)} == {AnswerCode.DONE}


def test_logs_of_unknown_jobs_are_few_for_each_grantor_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOBS_PER_OWNER_MAX", 2)
    shelf = Shelf(me=STRANGER)
    logs = [log(Made(number), 2) for number in (1, 2, 3)]
    assert [shelf.append(entries[0]).code for entries in logs] == [0, 0, AnswerCode.FULL]
    assert shelf.append(logs[0][1]).code == AnswerCode.DONE  # what is kept goes on
    monkeypatch.setattr(limits, "JOBS_PER_OWNER_MAX", 9)
    monkeypatch.setattr(limits, "JOBS_PER_PEER_MAX", 2)
    assert shelf.append(logs[2][0]).code == AnswerCode.FULL
    shelf.wall += limits.RETENTION_S + 1
    assert shelf.append(logs[2][0]).code == AnswerCode.DONE
    assert len(shelf.steward.foreign) == 1


def test_an_expired_job_is_unknown() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    shelf.wall += 3601.0
    assert told(shelf.steward.asked(GRANTOR_AT, m.Ask(1, made.job)), m.Answer)[0].code == AnswerCode.UNKNOWN
    assert len(shelf.steward.jobs) == 0 and shelf.steward.quota.taken_bytes == 0


# --- orphans ---------------------------------------------------------------------------------------------------------


def result(made: Made) -> m.Results:
    bench = Bench(slots=1)
    bench.know(made, 2)
    bench.take(made, (0, 1), slots=1)
    (message,) = told(bench.ran(1), m.Results)
    assert isinstance(message, m.Results)
    return message


def test_results_without_a_grantor_are_kept_and_then_acknowledged() -> None:
    shelf, made = Shelf(), Made()
    message = result(made)
    assert shelf.steward.orphan(ME_AT, message) == []
    shelf.introduce(made)
    for _ in range(2):
        (commit,) = shelf.steward.orphan(ME_AT, message)
        assert isinstance(commit, fx.Commit) and commit.otherwise == ()
        (write,) = commit.writes
        assert (write.table, write.key) == ("orphans", (made.job, ME.id, 1, 0))
        assert write.value == (
            0, GRANTOR.id, pages.SIGNED.encode(message.receipt), message.page, pages.SIGNED.encode(message.lease)
        )  # fmt: skip
        assert told(commit.then, m.Settled) == [m.Settled(made.job, [(1, 0)])]
    assert len(shelf.steward.jobs[made.job].orphans) == 1


def test_nobody_overwrites_anothers_orphan_or_brings_what_he_did_not_sign() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    message = result(made)
    assert shelf.steward.orphan(STRANGER_AT, message) == []
    shelf.steward.orphan(ME_AT, message)
    said = read(message.receipt, Receipt)
    # Another may name the same lease: his is another orphan, and which of them can be opened their grantor sees.
    (commit,) = shelf.steward.orphan(
        STRANGER_AT, m.Results(signed(said, STRANGER), message.page, False, lease_of(said, STRANGER))
    )
    assert isinstance(commit, fx.Commit) and commit.writes[0].key == (made.job, STRANGER.id, 1, 0)
    assert len(shelf.steward.jobs[made.job].orphans) == 2
    with pytest.raises(PeerError):
        shelf.steward.orphan(ME_AT, m.Results(message.receipt, b"another page", False, message.lease))
    with pytest.raises(PeerError, match="another"):
        shelf.steward.orphan(ME_AT, m.Results(message.receipt, message.page, False, lease_of(said, STRANGER)))
    nobodys = msgspec.structs.replace(message, lease=None)
    assert shelf.steward.orphan(ME_AT, nobodys) == []  # no grantor would take it


def test_a_steward_that_leaves_passes_on_the_results_that_wait_with_it() -> None:
    shelf, made = Shelf(), Made()
    message = result(made)
    passed_on = m.Orphan(message.receipt, message.page, 7, message.lease)

    def answer(sender: Contact, **options: bool) -> int:
        (said,) = shelf.say(shelf.steward.orphan_passed_on(sender, passed_on), **options)
        assert said.request == 7
        return said.code

    assert answer(STEWARDS_AT[1]) == AnswerCode.REFUSED  # keeps no such job
    shelf.introduce(made)
    assert answer(STRANGER_AT) == AnswerCode.REFUSED and not len(shelf.steward.jobs[made.job].orphans)
    assert answer(STEWARDS_AT[1], disk=False) == AnswerCode.FAILED
    assert answer(STEWARDS_AT[1]) == AnswerCode.DONE  # again, for the disk refused
    assert shelf.written[-1].key == (made.job, ME.id, 1, 0)  # its worker's, whoever brings it
    assert len(shelf.steward.jobs[made.job].orphans) == 1
    with pytest.raises(PeerError):
        shelf.steward.orphan_passed_on(STEWARDS_AT[1], m.Orphan(message.receipt, b"another page", 7, message.lease))
    forged = Signed(message.receipt.kind, message.receipt.key, message.receipt.body, bytes(64))
    with pytest.raises(PeerError):
        shelf.steward.orphan_passed_on(STEWARDS_AT[1], m.Orphan(forged, message.page, 7, message.lease))


def test_orphans_that_are_passed_on_find_no_more_room_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    message = result(made)
    monkeypatch.setattr(limits, "ORPHANS_PER_JOB_MAX", 0)
    (answer,) = shelf.say(
        shelf.steward.orphan_passed_on(STEWARDS_AT[1], m.Orphan(message.receipt, message.page, 7, message.lease))
    )
    assert answer.code == AnswerCode.FULL


def test_orphans_are_bounded_by_job(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    said = read(result(made).receipt, Receipt)
    monkeypatch.setattr(limits, "ORPHANS_PER_JOB_MAX", 3)

    def bring(part: int, epoch: int = 0) -> bool:
        receipt = Receipt(
            made.job, epoch, GRANTOR.id, 1, part, said.spans, said.outcomes, said.digests, digest(b""), 0.0, b""
        )
        return bool(shelf.steward.orphan(ME_AT, m.Results(signed(receipt, ME), b"", False, lease_of(receipt, ME))))

    assert not bring(0, epoch=1)
    assert [bring(part) for part in range(5)] == [True, True, True, False, False]


def test_a_restarted_steward_goes_on_where_it_was() -> None:
    made = Made()
    segments, entries = [made.segment(3), made.segment(2)], log(made, 4)
    kept = Kept(Authority(made.spec), 1e9 + 60)
    for message in segments:
        kept.add_segment(message.segment, read(message.segment, Segment).count, 100)
    for number in (0, 1, 3):
        kept.restore_log(GRANTOR.id, 0, entries[number][0], len(entries[number][1]))
    shelf = Shelf()
    shelf.steward.restore(kept)
    assert shelf.steward.quota.of(OWNER.public) == kept.disk_bytes > 0
    state = shelf.state(made)
    assert (state.segments, state.tasks, state.logs) == (2, 5, [(NodeId(GRANTOR.id), 0, 2)])
    assert shelf.extend(made.segment(1)).code == AnswerCode.DONE
    assert shelf.append(entries[2]).code == AnswerCode.DONE
    assert shelf.state(made).logs == [(GRANTOR.id, 0, 4)]


def test_how_old_a_job_is_follows_from_what_its_retention_has_left() -> None:
    shelf = Shelf()
    made = Made(1)
    shelf.say(shelf.steward.introduced(GRANTOR_AT, m.Introduce(5, made.spec, True, 40.0)))
    assert shelf.steward.age_s(made.job) == 40.0
    shelf.wall += 10.0
    assert shelf.steward.age_s(made.job) == 50.0


def pause(made: Made, number: int, paused: bool = True) -> Signed:
    return signed(Pause(made.job, number, paused), OWNER)


def test_of_an_owners_words_on_pausing_the_newest_is_kept_and_passed_on_to_the_grantor() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    effects = shelf.steward.finished(STRANGER_AT, m.Finish(7, pause(made, 5)))
    assert [(e.to, e.message) for e in effects if isinstance(e, fx.Tell)] == [(GRANTOR_AT, m.Finish(0, pause(made, 5)))]
    (answer,) = shelf.say(effects)
    assert answer.code == AnswerCode.DONE and shelf.state(made).pause == pause(made, 5)
    assert shelf.written[-1].value[4] == pages.SIGNED.encode(pause(made, 5))
    for old in (pause(made, 4, False), pause(made, 5)):  # a replay changes nothing and is answered
        again = shelf.steward.finished(STRANGER_AT, m.Finish(8, old))
        assert told(again, m.Finish) == [] and [answer.code for answer in shelf.say(again)] == [AnswerCode.DONE]
    assert shelf.state(made).pause == pause(made, 5)
    by_grantor = shelf.steward.finished(GRANTOR_AT, m.Finish(9, pause(made, 6, False)))
    assert told(by_grantor, m.Finish) == []  # who says it knows it
    assert shelf.state(made).pause == pause(made, 6, False)


def test_after_a_cancel_no_other_order_stands_on_disk() -> None:
    shelf, made = Shelf(), Made()
    shelf.introduce(made)
    cancel = signed(Cancel(made.job, 1.0), OWNER)
    for statement in (cancel, pause(made, 9)):
        shelf.say(shelf.steward.finished(STRANGER_AT, m.Finish(7, statement)))
    assert shelf.written[-1].value[4] == pages.SIGNED.encode(cancel)
    assert told(shelf.steward.finished(STRANGER_AT, m.Finish(8, cancel)), m.Finish) == []


def test_the_grantor_is_where_the_newest_log_came_from() -> None:
    shelf, made = Shelf(me=STEWARDS[1]), Made()
    shelf.introduce(made)
    shelf.steward.taken(GRANTOR_AT, m.Take(3, made.handover(0)), made.job)
    shelf.append(log(made, 1)[0])  # of the first grantor, whose epoch is over
    ((entry),) = log(made, 1, STEWARDS[0], 1)
    shelf.append(entry, STEWARDS_AT[0])
    effects = shelf.steward.finished(STRANGER_AT, m.Finish(7, pause(made, 5)))
    assert [e.to for e in effects if isinstance(e, fx.Tell)] == [STEWARDS_AT[0]]


def test_a_lots_grantor_that_settles_tasks_of_another_lot_is_refused() -> None:
    shelf, made = Shelf(), Made(orchestration="distributed")
    shelf.introduce(made)
    shelf.extend(made.segment(*[RANGE_TASKS] * 8))
    lots = shelf.steward.jobs[made.job].authority.lots
    first = {lots.of_range(number): number * RANGE_TASKS for number in range(8)}

    def settles(*spans: tuple[int, int], lot: int = 0) -> tuple[Signed, bytes]:
        by, body = STEWARDS[lot], settling(made.job, list(spans))
        count = sum(each for _, each in spans)
        said = LogHeader(made.job, lot + 1, by.id, 0, NOTHING, digest(body), count, list(spans))
        return signed(said, by), body

    for spans in ([(first[1], 1)], sorted([(first[0], 2), (first[1], 1)]), [(0, 8 * RANGE_TASKS)]):
        with pytest.raises(PeerError, match="not in its lot"):
            shelf.append(settles(*spans), STEWARDS_AT[0])
    assert not shelf.steward.jobs[made.job].logs, "nothing of it is kept"
    assert shelf.append(settles((first[0], 2)), STEWARDS_AT[0]).code == AnswerCode.DONE
    assert shelf.append(settles((first[1], 2), lot=1), STEWARDS_AT[1]).code == AnswerCode.DONE


def test_a_strangers_log_of_an_unknown_job_counts_as_a_guests_also_after_a_restart() -> None:
    shelf, made = Shelf(me=STRANGER), Made()
    shelf.steward.belongs = lambda key: key != GRANTOR.public
    assert shelf.append(log(made, 1)[0]).code == AnswerCode.DONE
    taken = shelf.steward.quota.of(GRANTOR.id)
    group = repr(GRANTOR_AT.host).encode()
    assert taken > 0 and shelf.steward.guests.quota.of(group) == taken
    shelf.steward.guests.quota.take(group, BYTES_MAX // limits.GUESTS_PART - taken)
    assert shelf.append(log(made, 2)[1]).code == AnswerCode.FULL
    other = Shelf(me=STRANGER)
    other.steward.belongs = lambda key: key != GRANTOR.public
    other.steward.restore_foreign(made.job, GRANTOR.public, other.wall + 60.0, taken)
    assert other.steward.quota.of(GRANTOR.id) == taken == other.steward.guests.quota.of(GRANTOR.public)
    assert other.steward.legacies()[0].job == made.job
    other.wall += 61.0
    other.steward.legacies()
    assert other.steward.quota.taken_bytes == 0 == other.steward.guests.quota.taken_bytes


def test_a_guests_distributed_job_makes_room_though_it_is_granted_here_where_no_other_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "JOBS_PER_PEER_MAX", 8)  # two of them guests'
    shelf = Shelf()
    shelf.steward.trusted = lambda key, proof: key == OWNER.public

    def introduce(number: int, orchestration: str, host: bytes, **options: Any) -> m.Answer:
        made = Made(number, orchestration=orchestration, **options)
        sender = msgspec.structs.replace(GRANTOR_AT, host=host)
        (answer,) = shelf.say(shelf.steward.introduced(sender, m.Introduce(5, made.spec, True)))
        return answer

    assert introduce(1, "distributed", b"many", owner=STRANGER).code == AnswerCode.DONE
    assert introduce(2, "hybrid", b"many", owner=STRANGER).code == AnswerCode.DONE
    shelf.counts = (1, 0, 0)  # both are granted here
    assert introduce(3, "distributed", b"other", owner=ME).code == AnswerCode.DONE
    jobs = [Made(1, orchestration="distributed", owner=STRANGER).job, Made(2, owner=STRANGER).job]
    assert jobs[0] not in shelf.steward.jobs and jobs[1] in shelf.steward.jobs
    assert introduce(4, "hybrid", b"third", owner=ME).text == "keeps as many jobs as it can", "none has more than it"
