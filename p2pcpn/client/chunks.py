"""Chunks of a map: several calls of one function as one task. Workers import this module, so it imports little.

A chunk of the automatic kind behaves as its items would one by one: each has arguments of its own, fails alone, and
returns a result that shares nothing with the others'. It ends early when its time is over: what it has not begun goes
back, so that a wrong guess at how long items take costs milliseconds.
"""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any, Final

# How the values of a chunk are packed: as one pickle, which nobody can tell from many because none of them can change,
# or as a pickle each. With the second, a pickle that has large buffers stands as (pickle, buffers).
TOGETHER: Final = 0
APART: Final = 1
LOADED: Final = 2  # not packed at all
Packed = tuple[int, Any]
# (seconds it ran, how many items it ran, their values packed, failures by position), or (seconds it ran, the value).
Many = tuple[float, int, Packed, dict[int, bytes]]
One = tuple[float, Any]

_ATOMS: Final = frozenset({int, float, complex, bool, str, bytes, type(None)})
_ATOMS_OR_TUPLES: Final = _ATOMS | {tuple}


def immutable(values: Sequence[Any]) -> bool:
    """Whether all of ``values`` are numbers, text, bytes or nothing, or tuples of those."""
    kinds = set(map(type, values))
    if not kinds <= _ATOMS_OR_TUPLES:
        return False
    if tuple not in kinds:
        return True
    return _ATOMS.issuperset(map(type, itertools.chain.from_iterable(v for v in values if type(v) is tuple)))


class Loaded:
    """Stands in a pickle for the function whose pickle it is given: there it loads as that function."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self._pickled,)


class Afresh:
    """A callable that may change when it is called, such as a bound method: loaded anew for each call."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __call__(self, *arguments: Any) -> Any:
        return pickle.loads(self._pickled)(*arguments)


def run_items(function: Callable[..., Any], how: int, items: Sequence[Any], time_s: float) -> Many | One:
    """Call ``function`` for each of ``items``, until ``time_s`` have passed.

    ``items`` are the columns of their arguments (``TOGETHER``), or a pickle of each item's ``(args, kwargs)``
    (``APART``).
    """
    rows: Iterable[Any] = zip(*items, strict=True) if how == TOGETHER else items
    loads, clock = pickle.loads, perf_counter
    values: list[Any] = []
    failures: dict[int, bytes] = {}
    add = values.append
    began = clock()
    end = began + time_s
    for row in rows:
        try:
            add(function(*(row if how == TOGETHER else loads(row)[0])))
        except BaseException as error:
            failures[len(values)] = _failure(error)
            add(None)
        if clock() >= end:
            break
    ran_s = clock() - began
    count = len(items[0]) if how == TOGETHER else len(items)
    if count == 1 and not failures:
        return ran_s, values[0]
    return ran_s, len(values), packed(values, failures), failures


def run_item(function: Callable[..., Any], *arguments: Any) -> One:
    """Call ``function`` for one item, whose arguments travel as those of any other task: they are large."""
    began = perf_counter()
    value = function(*arguments)
    return perf_counter() - began, value


def packed(values: list[Any], failures: dict[int, bytes]) -> Packed:
    """Pickles of ``values``. What cannot be pickled is added to ``failures``."""
    if immutable(values):
        return TOGETHER, pickle.dumps(values, 5)
    return APART, [_packed(value, at, failures) for at, value in enumerate(values)]


def _packed(value: Any, at: int, failures: dict[int, bytes]) -> bytes | tuple[bytes, list[Any]]:
    buffers: list[Any] = []
    try:
        try:
            data = pickle.dumps(value, 5, buffer_callback=buffers.append)
        except Exception:
            import cloudpickle

            buffers.clear()
            data = cloudpickle.dumps(value, 5, buffer_callback=buffers.append)
    except BaseException as error:
        failures[at] = _failure(error)
        return b""
    return (data, buffers) if buffers else data


def _failure(error: BaseException) -> bytes:
    from p2pcpn.runtime.function import failures

    return failures.encode(error, skip=1)


def unpacked(how: int, payload: Any) -> Iterator[Any]:
    """The values again, one by one; what an own pickle raises is raised in its turn. None is kept here."""
    if how == APART:
        return map(_unpacked, payload)
    values = pickle.loads(payload) if how == TOGETHER else payload
    values.reverse()
    return map(values.pop, itertools.repeat(-1, len(values)))


def _unpacked(data: Any) -> Any:
    return pickle.loads(data) if type(data) is bytes else pickle.loads(data[0], buffers=data[1])


# --- Chunks of a fixed size -------------------------------------------------------------------------------------------


def chunks(items: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """``size`` of ``items`` at a time, fewer at the end."""
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def run_chunk(function: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
    """Call ``function`` with each arguments of ``chunk``."""
    return [function(*arguments) for arguments in chunk]


def flattened(results: Iterator[list[Any]]) -> Iterator[Any]:
    """The results of all chunks; none is referred to once it was handed out."""
    for chunk in results:
        chunk.reverse()
        while chunk:
            yield chunk.pop()
