"""Timetables: each key is due once, at the time last set."""

from __future__ import annotations

from p2pcpn.protocol.timetable import Timetable


def test_a_timetable_forgets_what_was_put_off_and_stays_small() -> None:
    table = Timetable()
    for number in range(1000):
        table.set(b"a", float(number))
    table.set(b"b", 5.0)
    assert table.deadline() == 5.0
    assert table.take(4.0) is None
    assert table.take(5.0) == b"b"
    assert table.deadline() == 999.0
    assert len(table._order) < 100
    table.drop(b"a")
    assert table.deadline() is None


def test_a_key_is_hastened_and_never_delayed() -> None:
    table = Timetable()
    table.set(b"a", 10.0)
    table.hasten(b"a", 20.0)
    assert table.deadline() == 10.0
    table.hasten(b"a", 5.0)
    table.hasten(b"b", 7.0)
    assert [table.take(10.0), table.take(10.0), table.take(10.0)] == [b"a", b"b", None]
