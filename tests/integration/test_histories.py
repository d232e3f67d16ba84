"""Histories of whole swarms: a recorded one is clean, and whatever is changed in it afterwards is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import msgspec
import pytest

from p2pcpn.protocol import history as h
from p2pcpn.protocol.history import Line
from p2pcpn.protocol.verdict import judge
from p2pcpn.sim.scenarios import SCENARIOS, Play


@cache
def recorded() -> tuple[Line, ...]:
    """Twelve peers that come and go: the first play in which what a lost lease owed is leased anew, and a result comes
    too late."""
    for seed in range(1, 9):
        play = Play(SCENARIOS["churn"], 12, seed, False)
        play.run()
        assert play.world.history is not None
        lines = tuple(play.world.history)
        if leased_anew(lines) and places(lines, h.Late):
            return lines
    raise AssertionError("in none of eight plays was what a lost lease owed leased anew, and a result late")


def places(lines: Sequence[Line], kind: type[h.Event], **fields: object) -> list[int]:
    return [
        at
        for at, line in enumerate(lines)
        if isinstance(line.event, kind) and all(getattr(line.event, k) == v for k, v in fields.items())
    ]


def changed(line: Line, **fields: object) -> Line:
    return msgspec.structs.replace(line, event=msgspec.structs.replace(line.event, **fields))


def flipped(digests: str) -> str:
    return f"{int(digests[0], 16) ^ 1:x}{digests[1:]}"


def renumbered(lines: list[Line]) -> list[Line]:
    """What is not about numbers must not be found by them."""
    numbers: dict[str, int] = {}
    found = []
    for line in lines:
        numbers[line.process] = numbers.get(line.process, 0) + 1
        found.append(msgspec.structs.replace(line, number=numbers[line.process]))
    return found


def leased_anew(lines: Sequence[Line]) -> list[int]:
    """Where a lease is lost whose tasks are leased again: if they are not, its late result is taken as any other."""
    return [at for at in places(lines, h.Ended, why="lost") if owed(lines[at]) & leased_after(lines, at)]


def owed(line: Line) -> set[int]:
    """The tasks of a lease that begins or ends."""
    assert isinstance(line.event, h.Leased | h.Ended)
    return set(h.indices(line.event.spans))


def leased_after(lines: Sequence[Line], at: int) -> set[int]:
    """Which tasks the grantor of a lease that ends ``at`` leases later on."""
    ended = lines[at].event
    assert isinstance(ended, h.Ended)
    later = lines[at:]
    leases = places(later, h.Leased, job=ended.job, epoch=ended.epoch, copy=False)
    return {index for lease in leases for index in owed(later[lease])}


def a_lease_is_not_noted(lines: list[Line]) -> None:
    accepted = lines[places(lines, h.Accepted)[3]].event
    assert isinstance(accepted, h.Accepted)
    del lines[places(lines, h.Leased, epoch=accepted.epoch, token=accepted.token)[0]]


def a_lost_lease_does_not_end(lines: list[Line]) -> None:
    del lines[leased_anew(lines)[0]]


def a_result_is_accepted_twice(lines: list[Line]) -> None:
    at = places(lines, h.Accepted)[5]
    lines.insert(at + 1, lines[at])


def a_result_is_accepted_under_an_older_token(lines: list[Line]) -> None:
    ends = [lines[at] for at in places(lines, h.Ended, why="lost")]
    for end in ends:
        event = end.event
        assert isinstance(event, h.Ended)
        worker = lines[places(lines, h.Leased, token=event.token)[0]].event.worker  # type: ignore[union-attr]
        for at in places(lines, h.Accepted):
            accepted = lines[at].event
            assert isinstance(accepted, h.Accepted)
            if accepted.token > event.token and set(h.indices(accepted.spans)) <= set(h.indices(event.spans)):
                lines[at] = changed(lines[at], token=event.token, worker=worker)
                return
    raise AssertionError("no lost lease was fenced")


def a_result_is_not_what_its_worker_stated(lines: list[Line]) -> None:
    at = places(lines, h.Made)[7]
    event = lines[at].event
    assert isinstance(event, h.Made)
    lines[at] = changed(lines[at], digests=flipped(event.digests))


def a_log_leaves_a_result_out(lines: list[Line]) -> None:
    at = places(lines, h.Signed)[4]
    event = lines[at].event
    assert isinstance(event, h.Signed)
    spans = tuple(h.indices(event.spans))[1:]
    lines[at] = changed(lines[at], spans=tuple((i, 1) for i in spans), digests=event.digests[h.DIGEST_CHARS :])


def a_log_is_signed_again(lines: list[Line]) -> None:
    at = places(lines, h.Signed)[2]
    event = lines[at].event
    assert isinstance(event, h.Signed)
    lines.insert(at + 1, changed(lines[at], number=event.number + 1000))


def a_log_says_another_result(lines: list[Line]) -> None:
    at = places(lines, h.Signed)[2]
    event = lines[at].event
    assert isinstance(event, h.Signed)
    lines[at] = changed(lines[at], digests=flipped(event.digests))


def a_reader_sees_another_result(lines: list[Line]) -> None:
    at = places(lines, h.Saw)[1]
    event = lines[at].event
    assert isinstance(event, h.Saw)
    lines[at] = changed(lines[at], digests=flipped(event.digests))


def a_reader_sees_another_epoch(lines: list[Line]) -> None:
    at = places(lines, h.Saw)[0]
    event = lines[at].event
    assert isinstance(event, h.Saw)
    lines[at] = changed(lines[at], epochs=(1, *event.epochs[1:]))


def a_reader_misses_a_result(lines: list[Line]) -> None:
    at = places(lines, h.Saw)[2]
    event = lines[at].event
    assert isinstance(event, h.Saw)
    (first, count), *rest = event.spans
    lines[at] = changed(
        lines[at], spans=((first + 1, count - 1), *rest), epochs=event.epochs[1:], digests=event.digests[32:]
    )


def a_future_changes(lines: list[Line]) -> None:
    at = places(lines, h.Delivered)[3]
    event = lines[at].event
    assert isinstance(event, h.Delivered)
    lines.insert(at + 1, changed(lines[at], digests=flipped(event.digests)))


def a_task_never_ends(lines: list[Line]) -> None:
    for at in places(lines, h.Closed):  # whoever grants the job later says it again
        event = lines[at].event
        assert isinstance(event, h.Closed)
        lines[at] = changed(lines[at], total=event.total + 1)


def a_token_is_given_out_again(lines: list[Line]) -> None:
    at = places(lines, h.Leased)[-1]
    lines[at] = changed(lines[at], token=1)


def a_lease_of_what_another_owes(lines: list[Line]) -> None:
    at = places(lines, h.Leased)[4]
    event = lines[at].event
    assert isinstance(event, h.Leased)
    lines.insert(at + 1, changed(lines[at], token=event.token + 100_000, worker="00"))


MUTATIONS: list[tuple[Callable[[list[Line]], None], str]] = [
    (a_lease_is_not_noted, "fenced"),
    (a_lost_lease_does_not_end, "leases"),
    (a_result_is_accepted_twice, "settled once"),
    (a_result_is_accepted_under_an_older_token, "fenced"),
    (a_result_is_not_what_its_worker_stated, "forged"),
    (a_log_leaves_a_result_out, "canonical"),
    (a_log_is_signed_again, "settled once"),
    (a_log_says_another_result, "settled once"),
    (a_reader_sees_another_result, "canonical"),
    (a_reader_sees_another_epoch, "canonical"),
    (a_reader_misses_a_result, "lost"),
    (a_future_changes, "future"),
    (a_task_never_ends, "lost"),
    (a_token_is_given_out_again, "leases"),
    (a_lease_of_what_another_owes, "leases"),
]


def test_a_recorded_history_is_clean_on_disk_too() -> None:
    lines = recorded()
    found = judge(lines)
    assert found.ok, found.violations
    assert found.settled + found.failed == 400 and found.late and found.readers == 3
    assert places(lines, h.Ended, why="lost")
    again = h.lines_of(b"".join(h.packed(line) for line in lines))
    assert again == list(lines)


@pytest.mark.parametrize(("mutate", "rule"), MUTATIONS, ids=[mutate.__name__ for mutate, _ in MUTATIONS])
def test_what_is_changed_in_a_recorded_history_is_found(mutate: Callable[[list[Line]], None], rule: str) -> None:
    lines = list(recorded())
    mutate(lines)
    found = judge(renumbered(lines))
    assert rule in {violation.rule for violation in found.violations}, found.violations
