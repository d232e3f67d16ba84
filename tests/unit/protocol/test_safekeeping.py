"""States of running tasks go on to every living steward, at a bounded pace, and come back where one of them grants."""

from __future__ import annotations

import random

import pytest

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.checkpoints import Checkpoints
from p2pcpn.protocol.effects import Effect, Tell
from p2pcpn.protocol.ledger import Ledger
from p2pcpn.protocol.safekeeping import Safekeeping
from p2pcpn.protocol.trustees import Trustees
from p2pcpn.wire.messages import Checkpoint, LeftState, States
from p2pcpn.wire.sealing import JobKeys, checkpoint_key, seal, unseal
from p2pcpn.wire.statements import Handover, signed
from tests.unit.protocol.granting import KEYS, ME, OWNER, Table, at, keypair, steward

JOB = bytes(20)
ONE, TWO = at(keypair(1), 4001), at(keypair(2), 4002)


class Bench:
    """One job's states, and two stewards of it."""

    def __init__(self, epoch: int = 0, tasks: int = 10, *, seed: int = 1, me: Keypair = ME) -> None:
        self.ledger = Ledger()
        self.ledger.extend(tasks)
        self.states = Checkpoints(JOB, self.ledger)
        self.stewards = Trustees([ONE, TWO], lambda: 1)
        self.machine = Safekeeping(JOB, epoch, KEYS, self.states, self.stewards, me.id, random.Random(seed))

    def left(self, index: int, state: bytes, now: float) -> None:
        self.states.put(index, state)
        self.machine.left(index, now)


def states(effects: list[Effect]) -> list[LeftState]:
    """What every steward was told alike."""
    said = [effect for effect in effects if isinstance(effect, Tell)]
    assert said and all(isinstance(effect.message, States) and effect.message == said[0].message for effect in said)
    assert isinstance(said[0].message, States)
    return said[0].message.states


def opened(state: LeftState, keys: JobKeys = KEYS) -> bytes:
    return unseal(keys.state(state.index, state.sealed[:16]), state.number, state.sealed[16:])


def test_a_state_goes_to_every_living_steward_sealed_with_the_jobs_key() -> None:
    bench = Bench(epoch=3)
    assert bench.machine.deadline() is None
    bench.left(4, b"half way", 100.0)
    assert bench.machine.deadline() == 100.0
    effects = bench.machine.expire(100.0)
    assert [effect.to for effect in effects if isinstance(effect, Tell)] == [ONE, TWO]
    (state,) = states(effects)
    assert (state.index, state.number >> 32, opened(state)) == (4, 3, b"half way")
    bench.stewards.lose(keypair(1).id)
    bench.left(4, b"further", 200.0)
    effects = bench.machine.expire(200.0)
    assert [effect.to for effect in effects if isinstance(effect, Tell)] == [TWO]
    assert states(effects)[0].number > state.number
    assert bench.machine.told == 2


@pytest.mark.parametrize(("seed", "me"), [(1, keypair(7)), (2, ME)])
def test_two_grantors_of_one_epoch_and_two_lives_of_one_seal_nothing_alike(seed: int, me: Keypair) -> None:
    one, other = Bench(epoch=6), Bench(epoch=6, seed=seed, me=me)
    sealed = []
    for bench, state in ((one, b"half way"), (other, b"half-way")):
        bench.left(4, state, 100.0)
        (left,) = states(bench.machine.expire(100.0))
        assert opened(left) == state
        sealed.append(left.sealed[16:-16])
    between = bytes(a ^ b for a, b in zip(*sealed, strict=True))
    assert between != bytes(a ^ b for a, b in zip(b"half way", b"half-way", strict=True)), "one key stream, used twice"


def test_one_message_a_second_tells_each_state_as_it_is_by_then() -> None:
    bench = Bench()
    bench.left(1, b"old", 100.0)
    bench.machine.expire(100.0)
    bench.left(1, b"newer", 100.2)
    bench.left(2, b"other", 100.3)
    bench.left(1, b"newest", 100.4)
    assert bench.machine.deadline() == 100.0 + limits.SAFEKEEP_S
    assert bench.machine.expire(100.5) == []
    found = states(bench.machine.expire(101.0))
    assert [(state.index, opened(state)) for state in found] == [(1, b"newest"), (2, b"other")]
    assert bench.machine.deadline() is None and bench.machine.expire(102.0) == []


def test_what_does_not_fit_into_one_message_goes_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SAFEKEEP_BYTES", 25)
    monkeypatch.setattr(limits, "SAFEKEEP_STATES_MAX", 3)
    bench = Bench()
    for index in range(4):
        bench.left(index, bytes(10), 100.0)
    for index in range(4, 8):
        bench.left(index, b"", 100.0)
    said = []
    while (due := bench.machine.deadline()) is not None:
        said.append((due, [state.index for state in states(bench.machine.expire(due))]))
    assert said == [(100.0, [0, 1, 2]), (101.0, [3, 4, 5]), (102.0, [6, 7])]


def test_states_of_tasks_that_have_ended_are_not_told() -> None:
    bench = Bench()
    bench.left(1, b"state", 100.0)
    bench.ledger.settle([(1, 1)])
    assert bench.machine.expire(100.0) == [] and bench.machine.deadline() is None


def test_the_next_grantor_regains_what_it_kept_and_nothing_that_does_not_open() -> None:
    before, after = Bench(), Bench(epoch=1)
    for index in (1, 2):
        before.left(index, b"of %d" % index, 100.0)
    kept = states(before.machine.expire(100.0))
    after.ledger.settle([(2, 1)])
    beyond = LeftState(99, 1, b"s" * 16 + seal(KEYS.state(99, b"s" * 16), 1, b"no such task"))
    after.machine.regain([*kept, LeftState(3, 1, b"garbage"), beyond])
    assert (after.states.of(1), after.states.of(3), after.machine.regained, len(after.states)) == (b"of 1", None, 1, 1)


def test_a_grantor_has_its_stewards_keep_what_a_worker_leaves_and_once_more_before_it_hands_over() -> None:
    table = Table(stewards=[steward(1)[1]])
    table.extend(1)
    worker = table.worker(10, slots=1)

    def leaves(number: int, state: bytes) -> None:
        sealed = seal(checkpoint_key(KEYS.results(0, ME.id, worker.last.token)), number, state)
        message = Checkpoint(table.job, worker.last.token, 0, number, sealed)
        table.act(lambda grantor, now: grantor.running.checkpoint(worker.contact, message, now))

    leaves(1, b"one")
    table.pass_time(0.1)
    leaves(2, b"two")
    take = signed(Handover(table.job, 1, keypair(1).public), OWNER)
    table.act(lambda grantor, now: grantor.hand_over(take, now))
    said = table.told[keypair(1).id]
    kinds = [type(message).__name__ for message in said if type(message).__name__ in ("States", "Take")]
    assert kinds == ["States", "States", "Take"]
    assert [opened(state) for message in said if isinstance(message, States) for state in message.states] == [
        b"one", b"two",
    ]  # fmt: skip
