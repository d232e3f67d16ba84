"""The catalogue gives benchmarks by name, in one order, and refuses names nobody has."""

from __future__ import annotations

import pytest

from p2pcpn.bench.catalogue import BENCHMARKS, SHORT, chosen
from p2pcpn.errors import UsageError


def test_names_are_found_in_the_order_of_the_catalogue() -> None:
    assert [benchmark.name for benchmark in chosen(["echo", "delivery"], short=True)] == ["delivery", "echo"]


def test_without_names_all_or_those_of_the_short_look() -> None:
    assert chosen([], short=False) == list(BENCHMARKS)
    assert [benchmark.name for benchmark in chosen([], short=True)] == list(SHORT)


def test_an_unknown_name_is_usage() -> None:
    with pytest.raises(UsageError, match="no benchmark 'speed'; there are delivery"):
        chosen(["speed"], short=False)
