"""The virtual runtime: what a worker machine hears of its processes."""

from __future__ import annotations

from typing import Any, cast

import pytest

from p2pcpn import limits
from p2pcpn.protocol.effects import Run, StopRun
from p2pcpn.protocol.outcomes import DROPPED, SIGKILL
from p2pcpn.protocol.worker import Worker
from p2pcpn.sim.clock import Clock
from p2pcpn.sim.runtime import SIGSEGV, Deed, Runtime, argument_of, value_of
from p2pcpn.wire.sealing import result_digest
from p2pcpn.wire.statements import BlobRef, Outcome

KEY = bytes(32)


class Heard:
    """Stands where the worker machine stands and notes what it is told."""

    def __init__(self, slots: int = 1, dies: Any = lambda index: False) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.clock = Clock()
        self.slowness = 1.0
        worker = cast(Worker, self)
        self.runtime = Runtime(self.clock, worker, slots, lambda effects: None, lambda: self.slowness, dies)

    def ran(self, number: int, at: int, outcomes: bytes, values: list[bytes], digests: bytes, *_: float) -> list[Any]:
        self.told.append(("ran", number, at, outcomes, values, digests))
        return []

    def died(self, number: int, at: int, signal: int, *_: object) -> list[Any]:
        self.told.append(("died", number, at, signal))
        return []

    def refused(self, number: int, code: str, why: str, now: float) -> list[Any]:
        self.told.append(("refused", number, why))
        return []

    def start(self, number: int, *deeds: Deed) -> None:
        arguments = tuple(argument_of(deed) for deed in deeds)
        self.runtime.start(Run(number, KEY, None, KEY, (b"deed",), None, arguments, KEY, False))

    def words(self) -> list[tuple[Any, ...]]:
        return [told[:4] for told in self.told]


def test_tasks_of_a_batch_run_one_after_the_other_and_give_the_right_values() -> None:
    heard = Heard()
    heard.start(1, Deed(0, 1.0), Deed(1, 2.0, "raises"))
    heard.clock.run(1.5)
    assert heard.runtime.running() == {1: 1}
    heard.clock.run(4.0)
    assert heard.words() == [("ran", 1, 0, bytes([Outcome.OK])), ("ran", 1, 1, bytes([Outcome.RAISED]))]
    [value] = heard.told[0][4]
    assert value == value_of(argument_of(Deed(0, 1.0))) and heard.told[0][5] == result_digest(KEY, value)
    assert heard.runtime.running() == {}


def test_large_values_are_larger_than_stands_inline() -> None:
    assert len(value_of(argument_of(Deed(0, 1.0, "large")))) > limits.INLINE_BYTES_MAX
    assert len(value_of(argument_of(Deed(0, 1.0)))) == 32


def test_batches_beyond_the_slots_wait_and_slow_hosts_take_longer() -> None:
    heard = Heard(slots=2)
    heard.slowness = 2.0
    for number in (1, 2, 3):
        heard.start(number, Deed(number, 1.0))
    heard.clock.run(2.5)
    assert [told[1] for told in heard.told] == [1, 2]
    heard.clock.run(5.0)
    assert [told[1] for told in heard.told] == [1, 2, 3]


@pytest.mark.parametrize("how", ["poison", "value"])
def test_a_death_ends_the_batch_and_the_next_one_runs(how: str) -> None:
    heard = Heard(dies=lambda index: how == "value" and index == 1)
    heard.start(1, Deed(0, 1.0), Deed(1, 1.0, how), Deed(2, 1.0))
    heard.start(2, Deed(3, 1.0))
    heard.clock.run(9.0)
    assert heard.words() == [
        ("ran", 1, 0, bytes([Outcome.OK])),
        ("died", 1, 1, SIGSEGV),
        ("ran", 2, 0, bytes([Outcome.OK])),
    ]


def test_what_has_not_started_can_be_dropped_and_is_reported_in_its_place() -> None:
    heard = Heard()
    heard.start(1, Deed(0, 1.0), Deed(1, 1.0), Deed(2, 1.0), Deed(3, 1.0))
    heard.runtime.stop(StopRun(1, (0, 1, 3), kill=False))
    heard.clock.run(9.0)
    assert heard.words() == [
        ("ran", 1, 0, bytes([Outcome.OK])),
        ("ran", 1, 1, bytes([DROPPED])),
        ("ran", 1, 2, bytes([Outcome.OK])),
        ("ran", 1, 3, bytes([DROPPED])),
    ]


def test_a_batch_that_waits_is_dropped_whole_and_one_that_runs_is_killed() -> None:
    heard = Heard()
    heard.start(1, Deed(0, 1.0))
    heard.start(2, Deed(1, 1.0), Deed(2, 1.0))
    heard.runtime.stop(StopRun(2, (0, 1), kill=True))
    heard.runtime.stop(StopRun(1, (0,), kill=True))
    heard.runtime.stop(StopRun(7, (0,), kill=True))
    heard.clock.run(9.0)
    assert heard.words() == [("ran", 2, 0, bytes([DROPPED, DROPPED])), ("died", 1, 0, SIGKILL)]


def test_processes_of_a_dead_host_report_nothing() -> None:
    heard = Heard()
    heard.start(1, Deed(0, 1.0))
    heard.runtime.end()
    heard.clock.run(9.0)
    assert heard.told == []


def test_a_batch_whose_blob_is_not_here_is_refused() -> None:
    heard = Heard()
    ref = BlobRef(bytes(32), 9, KEY)
    heard.runtime.start(Run(1, KEY, None, KEY, (b"deed",), None, (ref,), KEY, False))
    assert heard.told[0][:2] == ("refused", 1)


def test_a_liar_gives_other_values() -> None:
    heard = Heard()
    heard.runtime.lies = True
    heard.start(1, Deed(0, 1.0))
    heard.clock.run(9.0)
    assert heard.told[0][4] != [value_of(argument_of(Deed(0, 1.0)))]
