"""What a steward keeps of running tasks: of each task the newest state, until it ends, within a bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.limits import STEWARD_ROW_BYTES
from p2pcpn.protocol.effects import Write
from p2pcpn.protocol.kept_states import KeptStates
from p2pcpn.wire.messages import LeftState, States

JOB = bytes(20)


def said(*states: tuple[int, int, bytes]) -> States:
    return States(JOB, 0, [LeftState(*state) for state in states])


def room(size_bytes: int) -> bool:
    return True


def test_only_what_is_newer_replaces_a_state() -> None:
    kept = KeptStates(JOB)
    assert kept.take(said((3, 5, b"five"), (4, 1, b"one")), room) == [
        Write("states", (JOB, 3), (5, b"five")),
        Write("states", (JOB, 4), (1, b"one")),
    ]
    assert kept.take(said((3, 5, b"again"), (3, 4, b"older")), room) == []
    assert kept.take(said((3, 6, b"six is longer")), room) == [Write("states", (JOB, 3), (6, b"six is longer"))]
    assert (len(kept), kept.held_bytes) == (2, len(b"six is longer") + len(b"one") + 2 * STEWARD_ROW_BYTES)


def test_a_task_that_ended_needs_its_state_no_more() -> None:
    kept = KeptStates(JOB)
    assert kept.ended([(0, 9)]) == []
    kept.take(said((1, 1, b"a"), (3, 1, b"b"), (4, 1, b"c")), room)
    assert kept.ended([(4, 9), (0, 3)]) == [Write("states", (JOB, 1), None), Write("states", (JOB, 4), None)]
    assert (len(kept), kept.held_bytes) == (1, 1 + STEWARD_ROW_BYTES)


def test_the_oldest_go_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKPOINTS_BYTES_MAX", 2 * (10 + STEWARD_ROW_BYTES))
    kept = KeptStates(JOB)
    kept.restore(7, 1, 10)
    kept.take(said((8, 2, bytes(10))), room)
    assert kept.take(said((9, 3, bytes(10))), room)[-1] == Write("states", (JOB, 7), None)
    assert len(kept) == 2


def test_an_owner_whose_share_of_the_disk_is_full_has_no_more_states_kept() -> None:
    kept, asked = KeptStates(JOB), []

    def full(size_bytes: int) -> bool:
        asked.append(size_bytes)
        return size_bytes <= 20 + 2 * STEWARD_ROW_BYTES

    assert len(kept.take(said((1, 1, bytes(10)), (2, 2, bytes(10)), (3, 3, b"")), full)) == 2
    assert asked == [(10 + STEWARD_ROW_BYTES), 20 + 2 * STEWARD_ROW_BYTES, 20 + 3 * STEWARD_ROW_BYTES]
    assert len(kept.take(said((2, 4, b"less")), full)) == 1  # what it replaces is counted off


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.binary(max_size=9)), min_size=1, max_size=40))
def test_what_is_held_is_what_the_disk_holds(states: list[tuple[int, int, bytes]]) -> None:
    kept = KeptStates(JOB)
    disk: dict[int, tuple[int, bytes]] = {}
    for state in states:
        writes = kept.ended([(state[0], 1)]) if state[1] == 0 else kept.take(said(state), room)
        for write in writes:
            if write.value is None:
                del disk[write.key[1]]  # type: ignore[arg-type]
            else:
                assert disk.get(write.key[1], (-1, b""))[0] < write.value[0]  # type: ignore[call-overload,operator]
                disk[write.key[1]] = write.value  # type: ignore[assignment,index]
    assert kept.held_bytes == sum(len(sealed) + STEWARD_ROW_BYTES for _, sealed in disk.values())
