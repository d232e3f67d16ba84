"""The virtual disk: the semantics of a real peer's tables, and what a crash takes."""

from __future__ import annotations

from p2pcpn.protocol.effects import Write
from p2pcpn.sim.clock import Clock
from p2pcpn.sim.dice import Dice
from p2pcpn.sim.disk import Disk, packed

ROW = Write("logs", (b"job", b"grantor", 0, 1), (b"header", b"body"))
OTHER = Write("logs", (b"job", b"grantor", 0, 0), (b"first", b"body"))


def fresh() -> tuple[Clock, Disk, list[bool]]:
    clock = Clock()
    return clock, Disk(clock, Dice(1).stream("disk")), []


def test_a_commit_is_durable_some_milliseconds_later_and_in_order() -> None:
    clock, disk, done = fresh()
    order: list[int] = []
    for number in range(20):
        disk.commit((), lambda durable, number=number: order.append(number))
    disk.commit((ROW, OTHER), done.append)
    assert disk.get("logs", ROW.key) is None
    clock.run(1.0)
    assert done == [True] and order == list(range(20))
    assert disk.get("logs", ROW.key) == ROW.value
    assert [key[-1] for key, _ in disk.scan("logs", (b"job",))] == [0, 1]
    assert list(disk.scan("logs", (b"another",))) == []


def test_none_deletes_a_row_or_every_row_under_a_prefix() -> None:
    clock, disk, done = fresh()
    disk.commit((ROW, OTHER), done.append)
    disk.commit((Write("logs", ROW.key, None),), done.append)
    clock.run(1.0)
    assert [key for key, _ in disk.scan("logs")] == [OTHER.key]
    disk.commit((Write("logs", (b"job",), None),), done.append)
    clock.run(2.0)
    assert list(disk.scan("logs")) == []


def test_a_crash_loses_what_is_not_durable_and_keeps_the_rest() -> None:
    clock, disk, done = fresh()
    disk.commit((OTHER,), done.append)
    disk.put_blob(b"name", b"blob", done.append)
    clock.run(1.0)
    disk.commit((ROW,), done.append)
    disk.crash()
    clock.run(2.0)
    assert done == [True, True]
    assert [key for key, _ in disk.scan("logs")] == [OTHER.key] and disk.blobs == {b"name": b"blob"}
    assert (disk.next_boot(), disk.next_boot()) == (1, 2)


def test_a_disk_that_refuses_writes_nothing_and_says_so() -> None:
    clock, disk, done = fresh()
    disk.refusing = True
    disk.commit((ROW,), done.append)
    clock.run(1.0)
    assert done == [False] and disk.get("logs", ROW.key) is None


def test_packed_writes_tell_all_they_hold() -> None:
    assert packed((ROW,)) != packed((OTHER,)) and packed((ROW,)) == packed((ROW,))
