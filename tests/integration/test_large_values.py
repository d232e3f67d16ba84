"""Large arguments and results over a real swarm: right, writable, and sent once to each peer: counted, not assumed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest

from p2pcpn import Executor, Swarm
from p2pcpn.errors import UsageError, WorkerDied

cloudpickle.register_pickle_by_value(sys.modules[__name__])

MIB = 1 << 20
PEERS = 2


@pytest.fixture(scope="module")
def swarm() -> Iterator[Swarm]:
    with Swarm(peers=PEERS) as swarm:
        yield swarm


@pytest.fixture
def executor(swarm: Swarm) -> Iterator[Executor]:
    with swarm.executor() as executor:
        assert executor.submit(len, "warm").result(60) == 4
        yield executor


def sent(executor: Executor) -> int:
    """Bytes that the submitter's sessions have sent."""
    found: int = executor.statistics()["sessions"]["bytes_out"]
    return found


def item(value: Any, index: int) -> Any:
    return value[index]


def echo(value: Any) -> Any:
    return value


@pytest.mark.parametrize("size", [MIB, 9 * MIB])
def test_an_argument_that_many_calls_share_is_sent_once_to_each_peer(executor: Executor, size: int) -> None:
    before, data = sent(executor), os.urandom(size)
    futures = [executor.submit(item, data, i) for i in range(200)]
    assert [future.result(60) for future in futures] == list(data[:200])
    peers = len(executor.statistics()["results"])
    assert 1 <= peers <= PEERS
    used = sent(executor) - before
    assert size <= used <= PEERS * size + MIB, f"{used / size:.2f} times the argument's size for {peers} peers"


def test_equal_arguments_count_as_one_whatever_they_are(executor: Executor) -> None:
    before, value = sent(executor), list(range(200_000))
    futures = [executor.submit(item, list(value), i) for i in range(50)]
    assert [future.result(60) for future in futures] == list(range(50))
    assert sent(executor) - before <= PEERS * 700_000 + MIB


def test_large_values_come_back_as_what_they_were(executor: Executor) -> None:
    data = os.urandom(MIB)
    values: list[Any] = [data, bytearray(data), data.hex(), "ä\ud800" * MIB, [data[:100_000]] * 3, {"a": [data, 1]}]
    for value, future in [(value, executor.submit(echo, value)) for value in values]:
        found = future.result(60)
        assert type(found) is type(value) and found == value


def test_arguments_leave_memory_once_nobody_needs_them_and_may_come_again(executor: Executor) -> None:
    blobs = [os.urandom(MIB) for _ in range(16)]
    shelf = executor._overlay.shelf
    for _ in range(2):
        assert [future.result(60) for future in [executor.submit(echo, blob) for blob in blobs]] == blobs
        end = time.monotonic() + 20
        while shelf._passing_bytes >= MIB and time.monotonic() < end:
            time.sleep(0.05)
        assert shelf._passing_bytes < MIB, "neither in memory nor on disk"
    assert executor.submit(item, blobs[0], 5).result(60) == blobs[0][5]


def test_a_scattered_value_is_sent_ahead_once_and_every_task_of_a_worker_has_the_same_object(
    executor: Executor,
) -> None:
    def look(table: dict[str, Any], index: int) -> tuple[int, int, int]:
        return table["data"][index], os.getpid(), id(table)

    before, data = sent(executor), os.urandom(2 * MIB)
    handle = executor.scatter({"data": data})
    assert handle.size_bytes > 2 * MIB
    futures = [executor.submit(look, handle, i) for i in range(200)]
    found = [future.result(60) for future in futures]
    assert [byte for byte, _, _ in found] == list(data[:200])
    # A worker may load it once more after its first batch, which tells that it is wanted again.
    assert len({(process, identity) for _, process, identity in found}) <= 2 * PEERS
    assert [value for value, _, _ in executor.map(look, [handle] * 5, range(5))] == list(data[:5])
    assert sent(executor) - before <= PEERS * handle.size_bytes + MIB


def test_a_scattered_value_belongs_to_its_executor(executor: Executor, swarm: Swarm) -> None:
    handle = executor.scatter([1, 2, 3])
    assert executor.submit(sum, handle).result(60) == 6
    with swarm.executor() as other, pytest.raises(UsageError, match="executor"):
        other.submit(sum, handle).result(60)
    with pytest.raises(UsageError, match="argument"):
        executor.submit(lambda: handle).result(60)
    executor.shutdown()
    with pytest.raises(RuntimeError):
        executor.scatter(1)


def test_a_value_as_large_as_many_messages_comes_and_goes(executor: Executor) -> None:
    data = os.urandom(40 * MIB)
    future = executor.submit(echo, data)
    assert executor.submit(len, "beside it").result(60) == 9
    assert future.result(120) == data


def test_arrays_are_writable_and_every_task_has_its_own() -> None:
    numpy = pytest.importorskip("numpy")

    def add(array: Any, amount: float) -> tuple[float, Any]:
        array += amount
        return float(array[0]), array

    with Executor(max_workers=2) as executor:
        array = numpy.arange(300_000, dtype=float)
        futures = [executor.submit(add, array, i) for i in range(20)]
        array[0] = 1e9  # what was submitted is as it was then
        for i, future in enumerate(futures):
            first, found = future.result(60)
            assert first == i and found[-1] == 299_999 + i and found.flags.writeable
        odd = {"fortran": numpy.asfortranarray(array.reshape(600, 500)), "part": array[::3], "empty": array[:0]}
        found = executor.submit(echo, odd).result(60)
        assert all((found[name] == odd[name]).all() and found[name].shape == odd[name].shape for name in odd)
        assert found["fortran"].flags.f_contiguous


def kept(array: Any) -> list[tuple[int, int]]:
    """Of all arrays that tasks of this process were given: the first and the last item."""
    arrays = sys.__dict__.setdefault("arrays_of_a_test", [])
    arrays.append(array)
    return [(int(each[0]), int(each[-1])) for each in arrays]


def test_what_a_task_keeps_of_its_argument_stays_while_others_come_and_go(executor: Executor) -> None:
    numpy = pytest.importorskip("numpy")
    for number in range(1, 13):
        found = executor.submit(kept, numpy.full(MIB // 8, number)).result(60)
        assert found[-1] == (number, number) and all(first == last for first, last in found)
        assert found == sorted(set(found)), "an array of an earlier task was written over"
        data = bytes([number]) * MIB
        assert all(future.result(60) == data for future in [executor.submit(echo, data) for _ in range(3)])


def die(_: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_over_its_argument_spoils_no_other(executor: Executor) -> None:
    blobs = [os.urandom(MIB) for _ in range(24)]
    fatal = executor.submit(die, os.urandom(MIB))
    futures = [executor.submit(echo, blob) for blob in blobs]
    assert [future.result(60) for future in futures] == blobs
    with pytest.raises(WorkerDied):
        fatal.result(60)
    assert executor.submit(echo, blobs[0]).result(60) == blobs[0]
