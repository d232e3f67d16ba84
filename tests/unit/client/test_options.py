"""Options are checked when given, and each refusal says what can be."""

from __future__ import annotations

from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.client.options import Options, fits_wire
from p2pcpn.errors import UsageError


@pytest.mark.parametrize(
    "given",
    [
        {"runtime": "wasm"}, {"orchestration": "none"}, {"routing": "far"}, {"privacy": "public"}, {"quorum": 2},
        {"privacy": "owner"}, {"replicas": 0}, {"replicas": 17}, {"replicas": True}, {"max_workers": 0},
        {"max_workers": 1 << 32}, {"max_workers": 1.5}, {"retries": -1}, {"retries": 1 << 16}, {"memory_bytes": -1},
        {"stewards": 0}, {"stewards": 17},
        {"retention_s": 0}, {"retention_s": float("nan")}, {"retention_s": limits.RETENTION_S_MAX * 2},
        {"name": "\ud800"}, {"name": 3}, {"requires": "numpy"}, {"requires": ("größe",)}, {"requires": ("",)},
        {"priority": 11}, {"priority": -11}, {"priority": 0.5}, {"deadline_s": 0}, {"deadline_s": -1.0},
        {"ttl_s": True},
        {"deadline_s": float("nan")}, {"ttl_s": float("inf")}, {"ttl_s": "1h"}, {"requires": ("x" * 25,)},
        {"requires": (3,)}, {"requires": tuple(f"p{i}" for i in range(25))},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Options(**given)


def test_what_can_be_is_kept_as_given() -> None:
    chosen = Options(
        name="größe", priority=-10, deadline_s=0.5, ttl_s=86_400, privacy="owner", orchestration="centralised",
        replicas=16, max_workers=3, requires=("numpy",),
    )  # fmt: skip
    assert chosen.max_workers == 3 and chosen.requires == ("numpy",) and Options().max_workers is None


def test_names_of_packages_fit_the_wire_or_do_not() -> None:
    assert fits_wire("numpy") and fits_wire("x" * 24)
    assert not any(map(fits_wire, ("", "x" * 25, "größe", "a\nb")))


@pytest.mark.parametrize("value", [0, 1.5, "1MB", None, True])
def test_how_many_bytes_may_wait_is_a_whole_number(value: Any) -> None:
    with pytest.raises(UsageError, match="queue_bytes must be a whole number, at least 1, not "):
        Options(queue_bytes=value)
