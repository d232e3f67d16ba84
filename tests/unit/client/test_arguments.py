"""Arguments come out as they went in, whatever they are; large ones are blobs, and equal ones the same blob."""

from __future__ import annotations

import pickle
import sys
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.client import arguments as module
from p2pcpn.client.arguments import Arguments, Placed
from p2pcpn.client.cutting import Blob, Parted
from p2pcpn.errors import UsageError
from p2pcpn.limits import PART_BYTES
from p2pcpn.wire.sealing import JobKeys, digest, unseal

KEYS = JobKeys(b"\2" * 32)
LARGE = bytes(range(256)) * (PART_BYTES // 256)


def opened(blob: Blob) -> bytearray:
    assert blob.ref.digest == digest(blob.data()) and blob.ref.size_bytes == len(blob.sealed)
    return bytearray(unseal(blob.ref.key, 0, blob.data()))


def loaded(packed: bytes | Blob | Parted) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as a worker has them."""
    head = packed.head if isinstance(packed, Parted) else packed
    parts = packed.parts if isinstance(packed, Parted) else ()
    data = opened(head) if isinstance(head, Blob) else head
    value: tuple[tuple[Any, ...], dict[str, Any]] = pickle.loads(data, buffers=[opened(part) for part in parts])
    return value


def packed(*arguments: Any, **keywords: Any) -> bytes | Blob | Parted:
    return Arguments(KEYS).pack(arguments, keywords)


def parted(*arguments: Any, **keywords: Any) -> Parted:
    found = packed(*arguments, **keywords)
    assert isinstance(found, Parted)
    return found


@pytest.mark.parametrize("arguments", [(), (1, 2.5, None, True, 1j), ("text", b"bytes"), ([1], {2: {3}}, object)])
def test_small_arguments_are_one_inline_pickle(arguments: tuple[Any, ...]) -> None:
    assert packed(*arguments) == pickle.dumps((arguments, {}), 5)
    assert packed(*arguments, word=1) == pickle.dumps((arguments, {"word": 1}), 5)


@pytest.mark.parametrize(
    "value",
    [LARGE, LARGE.hex(), "ä\ud800" * PART_BYTES, bytearray(LARGE), list(range(PART_BYTES)), {"a": LARGE, "b": [LARGE]}],
)
def test_a_large_argument_is_a_part_that_equal_ones_share(value: Any) -> None:
    arguments = Arguments(KEYS)
    first, second = arguments.pack((value, 1), {}), arguments.pack((2,), {"word": pickle.loads(pickle.dumps(value))})
    assert isinstance(first, Parted) and isinstance(second, Parted)
    assert isinstance(first.head, bytes) and len(first.head) < 300
    assert [part.ref for part in first.parts] == [part.ref for part in second.parts]
    assert len({id(part) for part in (*first.parts, *second.parts)}) == 1, "it is sealed once"
    assert loaded(first) == ((value, 1), {}) and loaded(second) == ((2,), {"word": value})
    assert type(loaded(first)[0][0]) is type(value)


def test_an_argument_that_is_given_twice_is_one_object() -> None:
    value = [list(range(PART_BYTES))]
    one, two = loaded(parted(value, value))[0]
    assert one is two and one == value
    assert len(parted(LARGE, word=LARGE).parts) == 1


def test_what_does_not_change_is_known_without_hashing_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, text = Arguments(KEYS), LARGE.hex()
    before = [arguments.pack((value,), {}) for value in (LARGE, text)]
    monkeypatch.setattr(arguments, "_fingerprint", None)
    assert [arguments.pack((value,), {}) for value in (LARGE, text)] == before
    with pytest.raises(AttributeError):
        arguments.pack((bytearray(LARGE),), {})


def test_what_changes_between_calls_counts_as_it_was_at_each() -> None:
    arguments, value = Arguments(KEYS), bytearray(LARGE)
    before = arguments.pack((value,), {})
    value[0] ^= 1
    after = arguments.pack((value,), {})
    assert loaded(before) == ((bytearray(LARGE),), {}) and loaded(after) == ((value,), {})


def test_a_memoryview_arrives_as_bytes_whatever_its_shape() -> None:
    view = memoryview(LARGE * 2)
    assert loaded(packed(view, view[::2], view[:9])) == ((LARGE * 2, (LARGE * 2)[::2], LARGE[:9]), {})


def test_many_small_arguments_are_one_blob_together() -> None:
    found = packed(*["x" * 1000] * 2, *[str(i) * 1000 for i in range(20)])
    assert isinstance(found, Blob) and len(loaded(found)[0]) == 22


def test_more_buffers_than_a_task_may_have_stay_in_the_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TASK_PARTS_MAX", 2)
    values = tuple(bytes([i]) * PART_BYTES for i in range(3))
    found = parted(*values)
    assert len(found.parts) == 2 and isinstance(found.head, Blob) and loaded(found) == (values, {})


def test_what_is_too_large_to_travel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ARGUMENTS_BYTES_MAX", 2 * PART_BYTES)
    with pytest.raises(UsageError, match="can travel"):
        packed(LARGE, LARGE[::-1])
    monkeypatch.setattr(module, "SEALED_BYTES_MAX", 2 * PART_BYTES - 1)
    with pytest.raises(UsageError, match="in one piece can travel"):
        packed(LARGE * 2)
    monkeypatch.setattr(module, "SEALED_BYTES_MAX", PART_BYTES // 2)
    with pytest.raises(UsageError, match="can travel"):
        packed(*["x" * 1000 + str(i) for i in range(40)])


def test_what_cannot_be_pickled_says_so() -> None:
    with pytest.raises(TypeError):
        packed(LARGE, threading.Lock())
    with pytest.raises(TypeError):
        packed([threading.Lock()])


def test_what_only_cloudpickle_can_pickle_has_buffers_too() -> None:
    found = parted(lambda: 5, LARGE)
    (function, value), _ = loaded(found)
    assert function() == 5 and value == LARGE and len(found.parts) == 1


def test_what_is_known_is_bounded_by_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_BYTES", 40 * PART_BYTES)
    monkeypatch.setattr(module, "KNOWN_MAX", 3)
    arguments = Arguments(KEYS)
    values = [bytes([i]) * PART_BYTES for i in range(20)]
    for value in values:
        arguments.pack((value,), {})
    assert len(arguments._known) == 3 and len(arguments._same) == module.SAME_MAX
    monkeypatch.setattr(module, "KNOWN_BYTES", PART_BYTES)
    arguments.pack((b"x" * 3 * PART_BYTES,), {})
    assert len(arguments._known) == 1, "the newest stays, however large"
    assert arguments._known_bytes == 3 * PART_BYTES + 16
    arguments.forget()
    assert (len(arguments._known), len(arguments._same), arguments._known_bytes) == (0, 0, 0)


def test_what_stands_for_a_blob_names_it_for_its_owner_alone() -> None:
    arguments, other = Arguments(KEYS), Arguments(KEYS)
    blob = parted(LARGE).parts[0]

    class Handle:
        def __reduce__(self) -> tuple[Any, ...]:
            return bytes, (pickle.PickleBuffer(Placed(blob, arguments)),)

    found = arguments.pack(([Handle()],), {})
    assert isinstance(found, Parted) and found.parts == (blob,) and loaded(found) == (([LARGE],), {})
    with pytest.raises(UsageError, match="executor"):
        other.pack((Handle(),), {})


def test_more_placed_values_than_a_task_may_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TASK_PARTS_MAX", 1)
    arguments, blob = Arguments(KEYS), parted(LARGE).parts[0]
    buffers = [pickle.PickleBuffer(Placed(blob, arguments)) for _ in range(2)]
    with pytest.raises(UsageError, match="may name 1"):
        arguments.pack((buffers,), {})


def test_several_threads_share_what_was_sealed() -> None:
    arguments = Arguments(KEYS)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(arguments.pack((bytearray(LARGE),), {}))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.parts[0].ref for each in found}) == 1 and len(arguments._known) == 1


# --- arrays ----------------------------------------------------------------------------------------------------------


def test_arrays_leave_the_pickle_and_are_writable_on_the_other_side() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(PART_BYTES, dtype=float)
    for value in (array, array.reshape(256, -1).T, numpy.asfortranarray(array.reshape(256, -1)), array[1000:]):
        found = parted(value, 1)
        assert isinstance(found.head, bytes) and len(found.head) < 500 and len(found.parts) == 1
        (out, _), _ = loaded(found)
        assert (out == value).all() and out.flags.writeable and out.flags.f_contiguous == value.flags.f_contiguous
        out[0] = 5


def test_calls_that_share_an_array_share_its_blob_and_a_change_makes_another() -> None:
    numpy = pytest.importorskip("numpy")
    arguments, array = Arguments(KEYS), numpy.zeros(PART_BYTES)
    found = [arguments.pack((array, i), {}) for i in range(3)]
    assert all(isinstance(each, Parted) for each in found)
    assert len({id(each.parts[0]) for each in found if isinstance(each, Parted)}) == 1
    array[7] = 1
    assert loaded(arguments.pack((array,), {}))[0][0][7] == 1 and loaded(found[0])[0][0][7] == 0


def test_one_array_inside_several_arguments_is_one_array() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(PART_BYTES)
    found = parted(array, {"a": [array]})
    (one, nest), _ = loaded(found)
    assert len(found.parts) == 1 and nest["a"][0] is one


def test_an_array_that_is_not_contiguous_is_a_part_of_its_own_nevertheless() -> None:
    numpy = pytest.importorskip("numpy")
    arguments, array = Arguments(KEYS), numpy.arange(2 * PART_BYTES)[::2]
    first, second = arguments.pack((array, 1), {}), arguments.pack((array, 2), {})
    assert isinstance(first, Parted) and isinstance(second, Parted) and first.parts == second.parts
    assert (loaded(first)[0][0] == array).all() and loaded(first)[0][0].flags.writeable


SHAPES = [(0,), (3, 0, 2), (), (7,), (5, 3), (90, 91), (9000,), (20, 30, 40)]
DTYPES = ["f8", "i2", "?", "U3", "S5", "c16", "M8[s]", "O", "i4,f8"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_the_arrays_they_come_out_as_they_went_in(data: st.DataObject) -> None:
    numpy = pytest.importorskip("numpy")

    def array() -> Any:
        shape = data.draw(st.sampled_from(SHAPES))
        size = 1
        for length in shape:
            size *= length
        made = numpy.arange(size).astype(data.draw(st.sampled_from(DTYPES)).replace("i4,f8", "f8"))
        made = made.reshape(shape)
        match data.draw(st.sampled_from(["as it is", "transposed", "fortran", "every other", "read-only", "record"])):
            case "transposed":
                made = made.T
            case "fortran":
                made = numpy.asfortranarray(made)
            case "every other" if shape:
                made = made[::2]
            case "read-only":
                made.flags.writeable = False
            case "record" if made.dtype == "f8":
                made = made.astype([("a", "i4"), ("b", "f8")])
        return made

    leaves = st.builds(array) | st.integers() | st.text(max_size=5) | st.binary(max_size=5)
    value = data.draw(
        st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
    )
    before = pickle.dumps(value, 4)
    (out,), keywords = loaded(packed(value, word=value))
    assert keywords["word"] is out or not isinstance(value, (list, dict))
    assert_same(out, value)
    assert pickle.dumps(value, 4) == before, "what was submitted is as it was"


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif hasattr(one, "dtype"):
        assert one.dtype == other.dtype and one.shape == other.shape and one.tolist() == other.tolist()
    else:
        assert one == other


def test_a_small_call_pays_for_nothing_that_large_ones_need() -> None:
    called: list[str] = []
    arguments = Arguments(KEYS)
    tracer = sys.getprofile()
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
    try:
        Arguments.pack(arguments, (1, "text", None), {})
    finally:
        sys.setprofile(tracer)
    assert [name for name in called if name not in ("__init__", "<lambda>")] == ["pack", "dumps"]
