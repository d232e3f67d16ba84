"""Records of several hash tables, each in a process of its own, in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from p2pcpn.bench import keeping
from p2pcpn.bench.bench import Bench

if TYPE_CHECKING:
    from conftest import Stage

FOUND = {"rate": 100.0, "store_ms": 2.0, "get_ms": 1.0, "got_share": 1.0}


def test_tables_take_turns_and_one_that_fails_is_named(
    new_bench: Callable[..., Bench], stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "is_installed", lambda package: package != "hivemind")
    stage.answers["records"] = FOUND
    stage.failing.add("kademlia")
    bench = new_bench("records")
    keeping.records(bench)
    assert [words["table"] for _, load, words in stage.asked if load == "records"] == ["p2pcpn", "kademlia", "p2pcpn"]
    assert (
        sorted(bench.outcome.failed) == ["hivemind", "kademlia"] and "pip install" in bench.outcome.failed["hivemind"]
    )
    assert bench.outcome.figures[0].values == {"p2pcpn": [100.0, 100.0]}
