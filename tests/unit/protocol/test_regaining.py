"""Regaining: no node grants a job twice in one epoch, whatever stewards forget; nobody hears what is not written."""

from __future__ import annotations

import random

import hypothesis.strategies as some
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol import regaining as r
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.book import Book
from p2pcpn.protocol.breakers import Breakers
from p2pcpn.protocol.lots import DIVIDED_EPOCH
from p2pcpn.wire import pages
from p2pcpn.wire.statements import Handover, Signed, opened, read, signed
from tests.unit.protocol.leased import OWNER, STEWARDS, STRANGER, Made, keypair

ME, OTHER = keypair(40), keypair(41)
MADE = Made(grantor=ME)


def written(step: r.Step) -> Signed:
    """The handover that a step has written."""
    assert isinstance(step, r.Keep) and step.write.table == r.KEPT_IN and step.write.key == (MADE.job,)
    assert step.write.value is not None and step.write.value[0] == 9.0
    return pages.SIGNED.decode(step.write.value[1])  # type: ignore[arg-type]


def handed(to: Keypair, epoch: int) -> Signed:
    return signed(Handover(MADE.job, epoch, to.public), OWNER)


def machine(*known: Signed, stewards_epoch: int = 0, **options: object) -> r.Regaining:
    """One life: what stewards show are ``known`` handovers, and that one of them granted in ``stewards_epoch``."""
    authority = Authority(MADE.spec)
    for handover in known:
        authority.hand_over(handover)
    steward = authority.steward_of(stewards_epoch)
    if steward is not None:
        authority.take_over(steward.key, stewards_epoch)
    return r.Regaining(authority, OWNER, ME.public, 9.0, **{"since": stewards_epoch, **options})  # type: ignore[arg-type]


def test_what_was_settled_is_read_the_handover_written_and_then_it_is_granted() -> None:
    one = machine(stewards_epoch=1)
    assert one.begin() == [r.Read()]
    (keep,) = one.read()
    handover = written(keep)
    assert opened(handover, Handover) == Handover(MADE.job, 3, ME.public) and one.deadline() is None
    assert one.kept(5.0, ok=True) == [r.Grant((handover,))]
    assert one.kept(5.0, ok=True) == one.read() == one.expire(99.0) == []


def test_a_later_life_takes_a_newer_epoch_though_nobody_that_is_left_heard_of_the_first() -> None:
    """The fault: both took epoch 3, and with it one key for two leases."""
    epochs, kept = [], None
    for _ in range(3):
        life = machine(kept=kept)
        (keep,) = life.read()
        kept = written(keep)
        (grant,) = life.kept(0.0, ok=True)
        assert isinstance(grant, r.Grant)
        epochs.append(max(read(word, Handover).epoch for word in grant.words))
    assert epochs == [3, 6, 9]


def test_a_life_that_ended_before_it_granted_has_spent_its_epoch_too() -> None:
    first = machine()
    kept = written(first.read()[0])  # on disk, and the process dies
    assert read(written(machine(kept=kept).read()[0]), Handover).epoch == 6


def test_should_the_disk_forget_the_leases_of_two_lives_share_no_token() -> None:
    tokens = []
    for seed in (1, 2):
        rng = random.Random(seed)
        book = Book(1, 0, runtime="function", breakers=Breakers(), rng=rng, now=0.0, epoch=3)
        tokens.append({book.leases.grant(OTHER.id, [(0, 1)], 1.0) for _ in range(1000)})
    assert not tokens[0] & tokens[1] and all(0 < token < 1 << 31 for each in tokens for token in each)
    first = Book(1, 0, runtime="function", breakers=Breakers(), rng=random.Random(1), now=0.0)
    assert first.leases.grant(OTHER.id, [(0, 1)], 1.0) == 1  # a job begins once


def test_where_tasks_take_results_whoever_grants_is_stopped_and_read_to_its_end() -> None:
    one = machine(stewards_epoch=2, takes=True)
    (keep,) = one.read()
    assert one.kept(5.0, ok=True) == [r.Stop(written(keep))]
    assert one.deadline() == 5.0 + r.LAST_WORDS_S and one.expire(5.1) == []
    assert one.expire(5.0 + r.LAST_WORDS_S) == [r.ReadToEnd()] and one.deadline() is None
    assert one.read() == [r.Grant((written(keep),))]


def test_a_disk_that_refuses_is_asked_again_after_a_while() -> None:
    one = machine(stewards_epoch=1)
    one.read()
    assert one.kept(5.0, ok=False) == [] and one.deadline() == 5.0 + r.AGAIN_S
    assert one.read() == [] and one.expire(5.1) == []
    assert one.expire(5.0 + r.AGAIN_S) == [r.Read(again=True)]
    (keep,) = one.read()
    assert one.kept(20.0, ok=True) == [r.Grant((written(keep),))]


def test_what_another_machine_of_the_owners_grants_stays_there_unless_he_says_so() -> None:
    assert machine(handed(OTHER, 3), stewards_epoch=1).read() == [r.Follow()]
    assert isinstance(machine(handed(OTHER, 3), insists=True).read()[0], r.Keep)
    assert isinstance(machine(handed(OTHER, 3), stewards_epoch=4).read()[0], r.Keep)  # a steward superseded that, too
    assert isinstance(machine(handed(ME, 3), stewards_epoch=1).read()[0], r.Keep)  # an earlier word to this very node


def test_who_took_a_newer_epoch_meanwhile_is_superseded() -> None:
    one = machine(stewards_epoch=1)
    one.read()
    one.authority.take_over(STEWARDS[0].public, 4)
    (again,) = one.kept(5.0, ok=True)
    assert read(written(again), Handover).epoch == 6


def test_what_the_owner_divided_meanwhile_is_its_stewards_to_grant() -> None:
    division = signed(Handover(MADE.job, DIVIDED_EPOCH, ME.public, 32), OWNER)
    assert machine(division, stewards_epoch=1).read() == []
    one = machine(stewards_epoch=1)
    one.read()
    one.authority.hand_over(division)
    assert one.kept(5.0, ok=True) == [] and one.deadline() is None


def test_a_row_that_is_not_the_owners_is_no_row() -> None:
    false = signed(Handover(MADE.job, 30, ME.public), STRANGER)
    assert read(written(machine(kept=false).read()[0]), Handover).epoch == 3


class Lives(RuleBasedStateMachine):
    """Lives of one node, stewards that come and go with what they heard, and a disk that may refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.disk: Signed | None = None
        self.heard: list[Signed] = []  # by stewards that live
        self.stewards_epoch = 0
        self.granted: list[int] = []
        self.told: list[Signed] = []
        self.now = 0.0
        self.life = machine()
        self.steps: list[r.Step] = []

    @rule(takes=some.booleans(), insists=some.booleans())
    def start(self, takes: bool, insists: bool) -> None:
        self.life = machine(
            *self.heard, stewards_epoch=self.stewards_epoch, kept=self.disk, takes=takes, insists=insists
        )
        self.steps = self.life.begin()

    @rule(ok=some.booleans(), heard=some.booleans())
    def perform(self, ok: bool, heard: bool) -> None:
        steps, self.steps = self.steps, []
        for step in steps:
            match step:
                case r.Read() | r.ReadToEnd():
                    self.steps += self.life.read()
                case r.Keep():
                    if ok:
                        self.disk = written(step)
                    self.steps += self.life.kept(self.now, ok=ok)
                case r.Stop():
                    assert step.handover == self.disk, "nobody hears of what is not on disk"
                    self.heard += [step.handover] * heard
                case r.Grant():
                    newest = max(step.words, key=lambda word: read(word, Handover).epoch)
                    assert newest == self.disk and read(newest, Handover).grantor == ME.public
                    self.granted.append(read(newest, Handover).epoch)
                    self.heard += [newest] * heard

    @rule(passes_s=some.floats(0.0, 6.0))
    def time(self, passes_s: float) -> None:
        self.now += passes_s
        self.steps += self.life.expire(self.now)

    @rule(epoch=some.integers(1, 8))
    def steward_takes_over(self, epoch: int) -> None:
        self.stewards_epoch = epoch if epoch % 3 else epoch + 1

    @rule()
    def stewards_are_lost(self) -> None:
        self.heard.clear()
        self.stewards_epoch = 0

    @invariant()
    def no_epoch_is_granted_twice(self) -> None:
        assert len(set(self.granted)) == len(self.granted)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
