"""What the tests of the wire share: the largest instance of a type, from its annotations, and plain lists of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import msgspec.inspect as inspect
import pytest

from p2pcpn import limits

# Four bytes in UTF-8: what a bound in characters may cost at most. Used where no pattern forbids it.
WIDE = "\U0001d538"
INT_MAX = (1 << 63) - 1


def largest_of(kind: inspect.Type, items_max: int) -> Any:
    """The largest value of ``kind``: lists, strings and integers at their bounds, but at most ``items_max`` items."""
    match kind:
        case inspect.IntType():
            return kind.lt - 1 if kind.lt is not None else kind.le if kind.le is not None else INT_MAX
        case inspect.FloatType():
            return kind.le if kind.le is not None else math.pi
        case inspect.BoolType():
            return True
        case inspect.BytesType():
            assert kind.max_length is not None, "bytes need a bound"
            return b"\xff" * max(kind.min_length or 0, min(kind.max_length, items_max))
        case inspect.MemoryViewType():
            assert kind.max_length is not None, "bytes need a bound"
            return memoryview(b"\xff" * max(kind.min_length or 0, min(kind.max_length, items_max)))
        case inspect.StrType():
            assert kind.max_length is not None, "text needs a bound"
            return ("~" if kind.pattern else WIDE) * min(kind.max_length, items_max)
        case inspect.ListType():
            assert kind.max_length is not None, "lists need a bound"
            return [largest_of(kind.item_type, items_max)] * max(kind.min_length or 0, min(kind.max_length, items_max))
        case inspect.TupleType():
            return tuple(largest_of(item, items_max) for item in kind.item_types)
        case inspect.UnionType():
            return largest_of(next(item for item in kind.types if not isinstance(item, inspect.NoneType)), items_max)
        case inspect.StructType():
            return kind.cls(*(largest_of(field.type, items_max) for field in kind.fields))
    raise AssertionError(f"{kind} has no place on the wire")


@pytest.fixture(scope="session")
def largest() -> Callable[..., Any]:
    """``largest(cls, items_max=...)``: the largest instance of a struct, its collections cut at ``items_max``."""
    return lambda cls, items_max=limits.BATCH_TASKS_MAX * 16: largest_of(inspect.type_info(cls), items_max)


def lists_of(value: Any) -> Any:
    """What a plain MessagePack library makes of ``value``: nothing but lists, the tag of a tagged struct first."""
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        return [*([] if tag is None else [tag]), *map(lists_of, msgspec.structs.astuple(value))]
    return [lists_of(item) for item in value] if isinstance(value, (tuple, list)) else value


@pytest.fixture(scope="session")
def as_lists() -> Callable[[Any], Any]:
    """``as_lists(value)``: see :func:`lists_of`."""
    return lists_of
