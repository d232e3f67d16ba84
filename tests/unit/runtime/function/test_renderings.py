"""A rendering is short whatever the value, and never raises."""

from __future__ import annotations

from p2pcpn.limits import RENDERING_CHARS_MAX
from p2pcpn.runtime.function.renderings import rendering, shortened


class Broken:
    def __repr__(self) -> str:
        raise ValueError


def test_small_values_are_shown_as_they_are() -> None:
    assert rendering({"a": [1, 2.5, None]}) == "{'a': [1, 2.5, None]}"


def test_large_values_are_cut() -> None:
    for value in ("x" * 10_000, list(range(10_000)), b"y" * 10_000, [[["z" * 99] * 50] * 50] * 50, 10**1000):
        assert len(rendering(value)) <= RENDERING_CHARS_MAX
    assert shortened("w" * 300).endswith("...")


def test_a_value_that_cannot_be_shown_is_named_by_its_type() -> None:
    assert "Broken" in rendering(Broken())
    assert len(shortened("\ud800" * 300)) <= RENDERING_CHARS_MAX


def test_a_rendering_that_raises_anyway_is_the_type_alone(monkeypatch: object) -> None:
    class Odd(list):  # type: ignore[type-arg]
        def __len__(self) -> int:
            raise RuntimeError

    Odd.__name__ = "list"
    assert rendering(Odd()).startswith("<")
