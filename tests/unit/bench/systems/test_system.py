"""The interface: what a system need not do, it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import pytest

from p2pcpn.bench.systems.system import FuturesSystem, System


class Plain(FuturesSystem):
    """The least that a system is."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        future: Future[Any] = Future()
        future.set_result(function(argument))
        return future

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], chunk: int | None) -> Iterable[Any]:
        return map(function, items)


def test_a_plain_system_is_done_when_delivered_and_begins_nothing() -> None:
    system = Plain()
    system.settle()
    system.begin()
    assert system.outsiders() == [] and system.facts() == {} and system.chunks and not system.begins


def test_futures_are_gathered_in_order() -> None:
    system = Plain()
    assert system.gather([system.submit(abs, -2), system.submit(abs, -1)]) == [2, 1]


def test_a_system_has_to_say_how_it_starts() -> None:
    with pytest.raises(TypeError):
        System()  # type: ignore[abstract]
