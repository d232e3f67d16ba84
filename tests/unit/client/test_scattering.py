"""Scattered values: handles that stand for what was placed, and for nothing anywhere else."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from p2pcpn.client.arguments import Arguments
from p2pcpn.client.cutting import Blob, Parted
from p2pcpn.client.pickling import Functions
from p2pcpn.client.scattering import Scattered, keep
from p2pcpn.errors import StoreError, UsageError
from p2pcpn.limits import PART_BYTES
from p2pcpn.runtime.function.parts import as_scattered
from p2pcpn.wire.sealing import JobKeys, unseal

KEYS = JobKeys(b"\2" * 32)
VALUE = {"large": bytearray(PART_BYTES), "small": [1, 2]}


def placed(arguments: Arguments, value: Any = VALUE) -> tuple[Scattered[Any], tuple[Blob, ...]]:
    blobs = arguments.place(value)
    return Scattered(arguments, blobs), blobs


def loaded(packed: Any, blobs: tuple[Blob, ...]) -> Any:
    assert isinstance(packed, Parted) and isinstance(packed.head, bytes)
    data = {blob.ref: unseal(blob.ref.key, 0, blob.data()) for blob in blobs}
    return pickle.loads(packed.head, buffers=[bytearray(data[part.ref]) for part in packed.parts])


def test_a_handle_stands_for_its_value_alone_and_inside_containers() -> None:
    arguments = Arguments(KEYS)
    handle, blobs = placed(arguments)
    assert loaded(arguments.pack((handle, 1), {}), blobs) == ((VALUE, 1), {})
    (nest,), keywords = loaded(arguments.pack(([handle, handle],), {"word": {"a": handle}}), blobs)
    assert nest == [VALUE, VALUE] and nest[0] is nest[1] is keywords["word"]["a"]


def test_a_handle_names_the_same_blobs_at_each_call_and_holds_none_of_their_bytes() -> None:
    arguments = Arguments(KEYS)
    handle, blobs = placed(arguments)
    found = [arguments.pack((handle, i), {}) for i in range(3)]
    assert all(isinstance(each, Parted) for each in found)
    assert {part.ref for each in found if isinstance(each, Parted) for part in each.parts} == {b.ref for b in blobs}
    assert {part.sealed for each in found if isinstance(each, Parted) for part in each.parts} == {b""}
    assert handle.size_bytes == sum(len(blob.sealed) for blob in blobs) and str(handle.size_bytes) in repr(handle)


def test_a_small_value_can_be_placed_too() -> None:
    arguments = Arguments(KEYS)
    handle, blobs = placed(arguments, 5)
    assert loaded(arguments.pack((handle,), {}), blobs) == ((5,), {}) and len(blobs) == 1


def test_the_buffers_of_arrays_are_blobs_of_their_own() -> None:
    numpy = pytest.importorskip("numpy")
    arguments, array = Arguments(KEYS), numpy.arange(PART_BYTES)
    handle, blobs = placed(arguments, {"weights": array, "again": array})
    assert len(blobs) == 2 and len(blobs[0].sealed) < 1000
    (out,), _ = loaded(arguments.pack((handle,), {}), blobs)
    assert (out["weights"] == array).all() and out["again"] is out["weights"] and not out["weights"].flags.writeable


def test_another_executor_refuses_it() -> None:
    handle, _ = placed(Arguments(KEYS))
    with pytest.raises(UsageError, match="executor"):
        Arguments(KEYS).pack((handle,), {})


def test_a_function_that_closes_over_one_is_refused() -> None:
    handle, _ = placed(Arguments(KEYS))
    with pytest.raises(UsageError, match="argument"):
        Functions(None).prepare(lambda: handle, ())


def test_elsewhere_it_loads_as_an_error_that_says_why_and_copies_are_itself() -> None:
    handle, _ = placed(Arguments(KEYS))
    with pytest.raises(TypeError, match="argument"):
        pickle.loads(pickle.dumps(handle, 5))
    assert copy.copy(handle) is copy.deepcopy(handle) is handle
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(handle, 4)
    assert handle.__reduce__()[0] is as_scattered


class Shelf:
    """Writes at once, or refuses."""

    def __init__(self, error: Exception | None = None) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.error = error

    def is_on_disk(self, name: bytes) -> bool:
        return name in self.kept

    def put(self, name: bytes, data: bytes, job: bytes, retention_s: float, done: Any) -> None:
        assert name not in self.kept and data
        self.kept[name] = data
        done(self.error)
        done(self.error)


@pytest.mark.asyncio
async def test_blobs_are_kept_once_and_what_the_disk_refuses_is_said() -> None:
    blobs = Arguments(KEYS).place(VALUE)
    shelf: Any = Shelf()
    for _ in range(2):
        await keep(shelf, blobs, b"job", 60.0)
    assert shelf.kept == {blob.ref.digest: blob.sealed for blob in blobs}
    full: Any = Shelf(StoreError("the disk is full"))
    with pytest.raises(StoreError):
        await keep(full, blobs, b"job", 60.0)
