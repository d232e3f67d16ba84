"""Dataclasses that are written out as plain classes behave as they did, and leave every statement in its line."""

from __future__ import annotations

import dataclasses
import sys
import traceback
import types
from typing import Any

import pytest

from compiling.plain import rewrite

TEXT = '''"""A module."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Point:
    """Where something is.

    In two dimensions.
    """

    x: int
    y: int = 2  # up

    WAYS: ClassVar[int] = 4

    @property
    def sum(self) -> int:
        return self.x + self.y


@dataclass(slots=True)
class Pile:
    """Things."""

    things: list[int] = field(default_factory=list)
    names: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.things)

    def fail(self) -> None:
        raise ValueError(self.size)


@dataclass(slots=True, eq=False)
class Thing:
    name: str = "none"


# Lines that nothing stands in.


def where(value: object) -> str:
    match value:
        case Point(x, y):
            return f"{x} {y}"
    return "nowhere"


@dataclass(frozen=True, slots=True)
class Last:
    """One."""
'''


@pytest.fixture(params=["as it is", "written out"])
def names(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The module's names, once of the text as it is: what both do is what has to stay."""
    module = types.ModuleType("module_of_a_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look there for what ClassVar is
    text = TEXT if request.param == "as it is" else rewrite(TEXT)
    exec(compile(text, "text", "exec", dont_inherit=True), vars(module))
    return vars(module)


def test_no_dataclass_is_left_that_is_known() -> None:
    written = rewrite(TEXT)
    assert "@dataclass" in TEXT and "@dataclass" not in written


def test_values_are_made_by_place_and_by_name(names: dict[str, Any]) -> None:
    point = names["Point"]
    assert (point(1).x, point(1).y, point(y=5, x=4).sum, point.WAYS) == (1, 2, 9, 4)
    with pytest.raises(TypeError):
        point()
    with pytest.raises(TypeError):
        names["Pile"](size=3)


def test_what_is_made_anew_is_its_own(names: dict[str, Any]) -> None:
    one, other = names["Pile"](), names["Pile"]([7])
    one.things.append(1)
    one.names[3].add("three")
    assert (one.things, other.things, other.names, one.size, other.size) == ([1], [7], {}, 0, 1)


def test_values_are_compared_hashed_and_shown_by_their_fields(names: dict[str, Any]) -> None:
    point, pile, thing = names["Point"], names["Pile"], names["Thing"]
    assert point(1) == point(1, 2) != point(2, 1) and point(1) != (1, 2)
    assert {point(1): "here"}[point(1, 2)] == "here"
    assert pile([1]) == pile([1]) != pile([2])
    assert thing("a") != thing("a")
    assert repr(point(1)) == "Point(x=1, y=2)"
    assert names["Last"]() == names["Last"]()


def test_what_can_change_has_no_hash(names: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(names["Pile"]())
    assert len({names["Thing"](), names["Thing"]()}) == 2


def test_patterns_and_copies_find_the_fields(names: dict[str, Any]) -> None:
    point = names["Point"](3, 4)
    assert names["where"](point) == "3 4" and names["where"](3) == "nowhere"
    assert dataclasses.replace(point, y=9) == names["Point"](3, 9)
    assert [one.name for one in dataclasses.fields(names["Pile"])] == ["things", "names", "size"]


def test_a_traceback_names_the_line_of_the_source(names: dict[str, Any]) -> None:
    line = 1 + TEXT.split("\n").index("        raise ValueError(self.size)")
    with pytest.raises(ValueError) as raised:
        names["Pile"]().fail()
    assert traceback.extract_tb(raised.value.__traceback__)[-1].lineno == line


def test_what_is_not_known_is_left_as_it_is() -> None:
    for text in (
        "from __future__ import annotations\n\nX = 1\n",
        "from __future__ import annotations\n\n@dataclass(order=True)\nclass A:\n    x: int\n",
        "from __future__ import annotations\n\n@dataclass\n@final\nclass A:\n    x: int\n",
        "from __future__ import annotations\n\n@dataclass(slots=True)\nclass A:\n    x: int = field(repr=False)\n",
    ):
        assert rewrite(text) == text


def test_a_class_without_room_says_where_it_is() -> None:
    text = "from __future__ import annotations\n@dataclass\nclass Tight:\n    x: int\n    def f(self) -> None: ...\n"
    with pytest.raises(ValueError, match="line 2: class Tight"):
        rewrite(text)
