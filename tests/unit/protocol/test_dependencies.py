"""Dependencies: who waits for what, what is handed on where it failed, and that nothing is kept for nobody."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.protocol.dependencies import Dependencies, Known, known_of
from p2pcpn.protocol.ledger import FAILED, HELD, LEASED, SETTLED, WAITING, Ledger
from p2pcpn.protocol.settlement import Opened
from p2pcpn.wire.pages import ResultPage, cut
from p2pcpn.wire.statements import BlobRef, Receipt

WORKER = b"w" * 32


def opened(*indices: int, value: bytes | BlobRef = b"value") -> Opened:
    """A receipt for these, whose digests are their indices."""
    digests = b"".join(index.to_bytes(16, "big") for index in indices)
    receipt = Receipt(
        bytes(20), 0, bytes(20), 1, 0, [(index, 1) for index in indices], bytes(len(indices)), digests, bytes(32), 0.1,
        b"",
    )  # fmt: skip
    values: list[bytes | BlobRef] = [value] * len(indices)
    return Opened(receipt, WORKER, list(indices), values, ResultPage(values, []))


def words(known: Known) -> str:
    assert isinstance(known.value, bytes)
    text: str = msgspec.msgpack.decode(known.value)
    return text


def test_a_task_waits_until_the_last_of_its_inputs_has_ended() -> None:
    deps = Dependencies()
    assert deps.add([(2, [0, 1]), (3, [1])]) == [(2, 1), (3, 1)]
    assert deps.settled(opened(1), [(1, 1)]) == [(3, 1)]
    assert deps.settled(opened(0), [(0, 1)]) == [(2, 1)]
    assert deps.named([(2, 2)]) == {index: known_of(opened(index), 0) for index in (0, 1)}
    assert deps.add([(4, [0])]) == []  # it is still kept for another
    assert deps.fresh() == [0, 1] and deps.fresh() == [] and deps.wanted([(0, 9)]) == []
    deps.ended([(2, 1), (4, 1)])
    assert list(deps.values) == [1]
    deps.ended([(3, 1)])
    assert not deps.values and not deps.needs


def test_only_what_is_settled_by_a_receipt_counts() -> None:
    deps = Dependencies()
    deps.add([(5, [0, 1])])
    assert deps.wanted([(1, 3)]) == [1]
    assert deps.settled(opened(0, 1), [(1, 1)]) == [] and list(deps.values) == [1]


def test_who_names_a_task_that_fails_hears_why() -> None:
    deps = Dependencies()
    assert deps.failed([(0, 1)], "was cancelled") == []  # nobody does
    deps.add([(1, [0])])
    assert deps.failed([(0, 1), (7, 1)], "was cancelled") == [(1, 1)]
    (known,) = deps.named([(1, 1)]).values()
    assert words(known) == "task 0, whose result it takes, was cancelled" and known.digest == b""


def test_who_has_ended_itself_is_not_released_by_its_inputs() -> None:
    deps = Dependencies()
    deps.add([(1, [0]), (2, [0])])
    deps.ended([(1, 1)])
    assert deps.settled(opened(0), [(0, 1)]) == [(2, 1)]
    deps.ended([(2, 1)])
    assert not deps.values
    deps.add([(4, [3])])
    deps.ended([(4, 1)])
    assert deps.settled(opened(3), [(3, 1)]) == [] and not deps.values


def test_what_ended_before_it_was_named_is_remembered_or_read() -> None:
    deps = Dependencies()
    states = bytearray((SETTLED, SETTLED, FAILED, WAITING, HELD, HELD, HELD))
    deps.add([(4, [0, 1]), (5, [2]), (6, [3])])
    assert deps.look_up(states, [3]) == ([], [])  # it is open
    ready, lacking = deps.look_up(states)
    assert (ready, lacking) == ([(5, 1)], [0, 1])
    assert words(deps.values[2]).endswith("has none")
    found = known_of(opened(0), 0)
    assert deps.read([0, 1, 9], lambda index: found if index == 0 else None) == [(4, 1)]
    assert words(deps.values[1]).endswith("is lost") and deps.values[0] == found


def test_what_counts_of_tasks_that_others_settled_is_known_without_their_logs_and_replaces_what_lost() -> None:
    deps = Dependencies()
    deps.add([(4, [0, 1]), (5, [2]), (6, [3])])
    deps.settled(opened(1), [(1, 1)])
    lost, counts = deps.values[1], {index: Known(bytes([index]) * 16, b"counts") for index in (0, 1, 7)}
    assert deps.count(counts.get) == [(4, 1)]
    assert deps.values == {0: counts[0], 1: counts[1]} and lost != counts[1]
    assert deps.add([(8, [7])]) == [(8, 1)]
    states = bytearray((SETTLED,)) * 9
    states[2] = states[3] = WAITING
    assert deps.look_up(states) == ([(8, 1)], []) and deps.values[7] == counts[7]


def test_what_took_another_result_than_the_one_that_counts_is_told() -> None:
    deps = Dependencies()
    deps.add([(2, [0, 1]), (3, [0]), (4, [1])])
    deps.settled(opened(0), [(0, 1)])
    deps.failed([(1, 1)], "was cancelled")
    same, other = (0).to_bytes(16, "big"), bytes([9]) * 16
    taken = [(2, 0, same), (2, 1, other), (3, 0, other), (4, 1, other), (5, 7, other)]
    said = msgspec.structs.replace(opened(2, 3, 4, 5).receipt, inputs=taken)
    assert deps.contradicted(said) == [3], "of what failed or is not known nothing can be said"
    deps.count({7: Known(same, b"counts")}.get)
    assert deps.contradicted(said) == [3, 5]


def test_newest_receipts_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INPUT_RECEIPTS_MAX", 3)
    deps = Dependencies()
    deps.settled(opened(0), [(0, 1)])  # before anybody took anything nothing is
    deps.add([(9, [8])])
    for index in range(1, 6):
        deps.settled(opened(index), [(index, 1)])
    states = bytearray((SETTLED,)) * 8 + bytearray((LEASED,)) * 4
    deps.add([(10, [0, 1, 2, 3, 4, 5])])
    assert deps.look_up(states, [0, 1, 2, 3, 4, 5]) == ([], [0, 1, 2])
    monkeypatch.setattr(limits, "INPUT_RECEIPTS_BYTES_MAX", 7)
    deps.settled(opened(6), [(6, 1)])
    assert len(deps._recent) == 1


def test_who_takes_what_is_not_before_it_waits_for_nobody() -> None:
    deps = Dependencies()
    assert deps.add([(3, [3, 4, 99])]) == []
    assert deps.look_up(bytearray(4)) == ([], [])


def test_a_lease_names_no_more_than_travels_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEASE_INPUTS_MAX", 4)
    monkeypatch.setattr(limits, "LEASE_INPUTS_BYTES_MAX", 20)
    deps = Dependencies()
    deps.add([(index, [0, 1]) for index in (2, 3, 4)] + [(5, [1])])
    deps.settled(opened(0, 1, value=b"x"), [(0, 2)])
    assert deps.fitting([(2, 4)]) == 2 and deps.fitting([(10, 3), (2, 2)]) == 5 and deps.fitting([(5, 1)]) == 1
    large = Dependencies()
    large.add([(1, [0]), (2, [0])])
    large.settled(opened(0, value=bytes(30)), [(0, 1)])
    assert large.fitting([(1, 2)]) == 1  # one always goes
    blob = Dependencies()
    blob.add([(1, [0]), (2, [0])])
    blob.settled(opened(0, value=BlobRef(bytes(32), 1 << 30, bytes(32))), [(0, 1)])
    assert blob.fitting([(1, 2)]) == 2 and Dependencies().named([(0, 5)]) == {}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_in_any_graph_a_task_is_ready_once_its_inputs_have_ended_and_nothing_is_left(
    data: st.DataObject,
) -> None:
    count = data.draw(st.integers(1, 12))
    needs = [(index, sorted(data.draw(st.sets(st.integers(0, index - 1), max_size=3)))) for index in range(1, count)]
    deps, ledger = Dependencies(), Ledger()
    ledger.extend(count)
    ledger.hold(deps.add([each for each in needs if each[1]]))
    inputs = dict(needs)
    done: set[int] = set()
    while ledger.open:
        ready = [index for index in range(count) if ledger.states[index] == WAITING]
        assert ready == [i for i in range(count) if i not in done and done.issuperset(inputs.get(i, ()))]
        index = data.draw(st.sampled_from(ready))
        way = data.draw(st.sampled_from(("settle", "fail", "cancel")))
        span = [(index, 1)]
        assert set(deps.named(span)) == set(inputs.get(index, ()))
        ended = getattr(ledger, way)(span)
        deps.ended(ended)
        released = deps.settled(opened(index), ended) if way == "settle" else deps.failed(ended, way)
        ledger.release(released)
        done.update(cut(ended))
        assert ledger.waiting + ledger.held == ledger.open
    assert not (deps.needs or deps.values or deps._missing or deps._wanted or deps._uses)


def test_a_receipt_that_settled_nothing_or_another_task_is_not_what_a_later_one_takes() -> None:
    deps, states = Dependencies(), bytearray([SETTLED, SETTLED, SETTLED, HELD])
    deps.add([(2, [0])])
    deps.settled(opened(0, 1, value=b"right"), [(0, 1)])
    deps.settled(opened(0, 1, value=b"late"), [])
    deps.ended([(2, 1)])
    deps.add([(3, [0, 1])])
    assert deps.look_up(states) == ([], [1])
    assert deps.values[0].value == b"right"
    assert deps.used and not Dependencies().used
