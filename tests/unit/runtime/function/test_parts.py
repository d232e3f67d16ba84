"""Parts at a worker: private, writable, and made once where they cannot change."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2pcpn.runtime.function import parts
from p2pcpn.runtime.function.parts import Files
from p2pcpn.runtime.function.sharing import filled
from p2pcpn.runtime.function.slabs import Slabs

SIZE = 4 * os.sysconf("SC_PAGE_SIZE") + 5
DATA = bytes(range(256)) * (SIZE // 256) + b"12345"[: SIZE % 256]


@pytest.fixture(params=["mapped", "copied"])
def files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    monkeypatch.setattr(parts, "MAPPED_BYTES", 1 if request.param == "mapped" else 1 << 40)
    one = Files()
    give(one, 1, DATA)
    yield one
    one.forget([1])


def give(files: Files, number: int, data: bytes) -> None:
    descriptor = filled(data)
    assert descriptor is not None
    files.add([number], [len(data)], [descriptor])


def pickled(load: Callable[..., Any] | None, *buffers: Any) -> bytes:
    """A pickle whose buffers are elsewhere: a call of ``load`` with them, or the first of them itself."""

    class Call:
        def __reduce__(self) -> tuple[Any, ...]:
            return load, tuple(map(pickle.PickleBuffer, buffers))

    value = pickle.PickleBuffer(buffers[0]) if load is None else Call()
    return pickle.dumps(value, 5, buffer_callback=lambda _: False)


def test_a_buffer_is_writable_and_what_one_task_writes_no_other_sees(files: Files) -> None:
    packed = pickled(None, bytearray(1))
    first, second = files.loads(packed, [1]), files.loads(packed, [1])
    assert bytes(first) == bytes(second) == DATA
    first[0] = 255
    assert (bytes(second), bytes(files.loads(packed, [1]))) == (DATA, DATA)


def test_a_read_only_buffer_stays_read_only(files: Files) -> None:
    view = files.loads(pickled(None, b"x"), [1])
    assert bytes(view) == DATA and memoryview(view).readonly


def test_what_came_through_the_socket_is_as_good(files: Files) -> None:
    view = files.loads(pickled(None, bytearray(1)), [DATA])
    view[0] = 255
    assert files.loads(pickled(parts.as_bytes, b"x"), [DATA]) == DATA
    assert files.loads(pickled(parts.as_text, b"x"), ["aä\ud800".encode("utf-8", "surrogatepass")]) == "aä\ud800"


def test_bytes_and_text_are_made_once_and_the_same_for_every_task(files: Files) -> None:
    packed = pickled(parts.as_bytes, b"x")
    one = files.loads(packed, [1])
    assert type(one) is bytes and one == DATA and files.loads(packed, [1]) is one
    give(files, 2, "aä\ud800".encode("utf-8", "surrogatepass"))
    text = files.loads(pickled(parts.as_text, b"x"), [2])
    assert text == "aä\ud800" and files.loads(pickled(parts.as_text, b"x"), [2]) is text
    files.forget([2])


def test_a_bytearray_and_an_object_are_each_tasks_own(files: Files) -> None:
    packed = pickled(parts.as_bytearray, bytearray(1))
    one = files.loads(packed, [1])
    assert type(one) is bytearray and one == DATA and files.loads(packed, [1]) is not one
    inner = pickle.dumps(
        {"list": [1, 2], "buffer": pickle.PickleBuffer(bytearray(1))}, 5, buffer_callback=lambda _: False
    )
    give(files, 2, inner)
    packed = pickled(parts.as_object, b"x", bytearray(1))
    first, second = files.loads(packed, [2, 1]), files.loads(packed, [2, 1])
    assert first["list"] == [1, 2] and bytes(first["buffer"]) == DATA
    first["list"].append(3)
    first["buffer"][0] = 255
    assert second["list"] == [1, 2] and bytes(second["buffer"]) == DATA
    files.forget([2])


def test_a_scattered_value_is_loaded_once_and_its_buffers_are_read_only(files: Files) -> None:
    inner = pickle.dumps([pickle.PickleBuffer(bytearray(1))], 5, buffer_callback=lambda _: False)
    give(files, 2, inner)
    packed = pickled(parts.as_scattered, b"x", bytearray(1))
    one = files.loads(packed, [2, 1])
    assert bytes(one[0]) == DATA and memoryview(one[0]).readonly and files.loads(packed, [2, 1]) is one
    files.forget([2])
    assert bytes(one[0]) == DATA, "what a task still holds stays"


def test_a_scattered_value_goes_with_its_buffers(files: Files) -> None:
    give(files, 2, pickle.dumps([pickle.PickleBuffer(bytearray(1))], 5, buffer_callback=lambda _: False))
    give(files, 3, DATA[::-1])
    packed = pickled(parts.as_scattered, b"x", bytearray(1))
    one = files.loads(packed, [2, 3])
    files.forget([3])  # the memory of a value that is kept must not outlive what is counted of it
    give(files, 3, DATA)
    again = files.loads(packed, [2, 3])
    assert again is not one and bytes(again[0]) == DATA and bytes(one[0]) == DATA[::-1]
    files.forget([2, 3])


def test_a_scattered_value_that_came_through_the_socket_is_every_tasks_own(files: Files) -> None:
    head = pickle.dumps({"a": [1]}, 5)
    packed = pickled(parts.as_scattered, b"x")
    one = files.loads(packed, [head])
    assert one == {"a": [1]} and files.loads(packed, [head]) is not one


def test_a_scattered_value_that_a_function_closed_over_says_so_when_it_is_loaded() -> None:
    with pytest.raises(TypeError, match="argument"):
        parts.as_scattered(b"a scattered value is an argument: a function cannot close over it")


def test_none_is_forgotten_twice_and_descriptors_go(files: Files) -> None:
    descriptor = filled(b"data")
    assert descriptor is not None
    files.add([2], [4], [descriptor])
    files.forget([2, 2, 3])
    with pytest.raises(OSError):
        os.fstat(descriptor)
    with pytest.raises(KeyError):
        files.loads(pickled(None, b"x"), [2])


def test_tasks_that_keep_many_arrays_get_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAPPED_BYTES", 1)
    monkeypatch.setattr(parts, "MAPPINGS_MAX", 1)
    files = Files()
    give(files, 1, DATA)
    packed = pickled(None, bytearray(1))
    kept = [files.loads(packed, [1]) for _ in range(2)]
    assert [isinstance(each, bytearray) for each in kept] == [False, True]
    kept.clear()
    assert not isinstance(files.loads(packed, [1]), bytearray)
    files.forget([1])


def test_a_file_that_is_shorter_than_its_peer_said_is_an_error() -> None:
    descriptor = filled(b"data")
    assert descriptor is not None
    files = Files()
    files.add([1], [5], [descriptor])
    with pytest.raises(EOFError):
        files.loads(pickled(None, b"x"), [1])
    files.forget([1])


# --- slabs -----------------------------------------------------------------------------------------------------------


class Slabbed:
    """A worker's files, one slab of them, and which slabs tasks were given."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.files = Files(self.given.append)
        slab = Slabs(lambda _: None).take((b"o", None), len(DATA))
        assert slab is not None
        self.slab = slab

    def put(self, data: bytes) -> None:
        def fill(view: memoryview) -> None:
            view[:] = data

        self.slab.fill(len(data), fill)


@pytest.fixture
def slabbed() -> Iterator[Slabbed]:
    one = Slabbed()
    one.put(DATA)
    one.files.add([1], [len(DATA)], [os.dup(one.slab.descriptor)], [7])
    yield one
    one.files.forget([], [7, 7, 8])
    one.slab.close()


def test_bytes_are_copied_out_of_a_slab_and_what_comes_next_lies_in_the_same_mapping(slabbed: Slabbed) -> None:
    packed = pickled(parts.as_bytes, b"x")
    first = slabbed.files.loads(packed, [1])
    mapping = id(slabbed.files._slabs[7].mapping)  # one more reference would count as a task's
    slabbed.put(DATA[::-1])
    slabbed.files.again([(2, 7, len(DATA))])
    assert slabbed.files.loads(packed, [2]) == DATA[::-1] and first == DATA
    assert id(slabbed.files._slabs[7].mapping) == mapping and slabbed.given == []
    with pytest.raises(KeyError):
        slabbed.files.loads(packed, [1])


def test_a_task_that_has_the_memory_itself_keeps_it_and_the_peer_hears_of_it(slabbed: Slabbed) -> None:
    packed = pickled(None, bytearray(1))
    array = slabbed.files.loads(packed, [1])
    assert bytes(array) == DATA and slabbed.given == [7]
    array[0] = 255
    assert bytes(slabbed.files.loads(packed, [1])) == DATA, "what one task writes no other sees"
    slabbed.files.forget([], [7])
    assert bytes(array[1:]) == DATA[1:] and array[0] == 255


def _decoded(buffer: memoryview) -> bytes:
    """Bytes that are decoded where they lie."""
    memoryview(buffer)[:1] = b"!"
    return bytes(buffer)


def test_what_a_task_wrote_into_memory_that_it_did_not_keep_no_later_one_reads(slabbed: Slabbed) -> None:
    found = slabbed.files.loads(pickled(_decoded, bytearray(1)), [1])
    assert found == b"!" + DATA[1:] and slabbed.given == []
    slabbed.put(DATA[::-1])
    slabbed.files.again([(2, 7, len(DATA))])
    assert slabbed.files.loads(pickled(parts.as_bytes, b"x"), [2]) == DATA[::-1]


def test_a_task_that_has_the_same_bytes_twice_has_memory_of_its_own_for_each(slabbed: Slabbed) -> None:
    packed = pickle.dumps(
        (pickle.PickleBuffer(bytearray(1)), pickle.PickleBuffer(bytearray(1))), 5, buffer_callback=lambda _: False
    )
    one, two = slabbed.files.loads(packed, [1, 1])
    one[0] = 255
    assert bytes(two) == DATA and slabbed.given == [7]


def test_what_cannot_be_loaded_may_have_kept_the_memory(slabbed: Slabbed) -> None:
    kept: list[Any] = []

    with pytest.MonkeyPatch.context() as patch:

        def refuse(_: bytes, buffers: list[Any]) -> None:
            kept.append(buffers[0])
            raise ValueError("no")

        patch.setattr(pickle, "loads", refuse)
        with pytest.raises(ValueError, match="no"):
            slabbed.files.loads(b"", [1])
    assert slabbed.given == [7] and bytes(kept[0]) == DATA


def test_where_there_are_mappings_enough_a_slab_is_copied(slabbed: Slabbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAPPINGS_MAX", 0)
    found = slabbed.files.loads(pickled(None, bytearray(1)), [1])
    assert isinstance(found, bytearray) and found == DATA and slabbed.given == []


def test_so_much_stays_mapped_and_no_more(slabbed: Slabbed, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, size_bytes = pickled(parts.as_bytes, b"x"), slabbed.slab.size_bytes
    slabbed.files.loads(packed, [1])
    assert parts._Slab.mapped_bytes == size_bytes and slabbed.files._slabs[7].mapping is not None
    monkeypatch.setattr(parts, "MAPPED_SLABS_BYTES", size_bytes - 1)
    slabbed.files.again([(2, 7, len(DATA))])
    slabbed.files.loads(packed, [2])
    assert parts._Slab.mapped_bytes == 0 and slabbed.files._slabs[7].mapping is None and slabbed.given == []


def test_a_value_that_is_kept_goes_with_what_lay_there(slabbed: Slabbed) -> None:
    packed = pickled(parts.as_bytes, b"x")
    one = slabbed.files.loads(packed, [1])
    assert slabbed.files.loads(packed, [1]) is one
    slabbed.files.forget([1])
    slabbed.files.again([(1, 7, len(DATA))])
    assert slabbed.files.loads(packed, [1]) is not one
