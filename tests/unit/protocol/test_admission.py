"""Admission: who may run what, and words short enough to be said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.protocol.admission import Rules, reason_against, reason_packages, trusts
from p2pcpn.wire.sealing import swarm_proof

KEY, OWNER = bytes([1]) * 32, bytes([2]) * 32
KEYED = Rules(runtimes=("function",), python="3.11", memory_bytes=1 << 30, swarm_key=KEY)
OPEN = replace(KEYED, swarm_key=bytes(32))
JOB: dict[str, Any] = {
    "owner": OWNER, "proof": swarm_proof(KEY, OWNER), "runtime": "function", "python": "3.11", "requires": (),
    "memory": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "job", "words"),
    [
        (KEYED, {}, None),
        (KEYED, {"proof": None}, None),
        (KEYED, {"proof": b""}, "swarm's key"),
        (KEYED, {"proof": swarm_proof(KEY, KEY)}, "swarm's key"),
        (replace(KEYED, trusted=frozenset([OWNER])), {"proof": b""}, None),
        (OPEN, {"proof": b""}, "key trust"),
        (replace(OPEN, trusted=frozenset([OWNER])), {"proof": b""}, None),
        (KEYED, {"runtime": "wasm"}, "only function"),
        (replace(KEYED, runtimes=()), {}, "only none"),
        (KEYED, {"python": "3.12"}, "needs Python 3.12"),
        (KEYED, {"memory": 1 << 31}, "needs 2048 MiB"),
        (replace(KEYED, missing=lambda names: names[:1]), {"requires": ("a", "b")}, "lacks the package a"),
        (replace(KEYED, missing=lambda names: names), {"requires": ("a", "b")}, "lacks the packages a, b"),
        (replace(KEYED, missing=lambda names: ("never",)), {"requires": ()}, None),
    ],
)
def test_a_job_is_declined_in_words_for_its_owner(rules: Rules, job: dict[str, Any], words: str | None) -> None:
    why = reason_against(rules, **{**JOB, **job})
    assert (why is None) if words is None else (why is not None and words in why)


def test_reasons_fit_the_wire_however_much_is_missing() -> None:
    names = tuple("x" * limits.REQUIREMENT_CHARS_MAX for _ in range(limits.REQUIREMENTS_MAX))
    why = reason_packages(replace(KEYED, missing=lambda required: required), names)
    assert why is not None and len(why) == limits.REASON_CHARS_MAX and why.endswith("…")
    many = replace(KEYED, runtimes=tuple("r" * 16 for _ in range(50)))
    assert len(reason_against(many, **{**JOB, "runtime": "other"}) or "") == limits.REASON_CHARS_MAX


def test_results_are_trusted_from_members_of_a_keyed_swarm_and_trusted_keys() -> None:
    assert trusts(KEYED, OWNER, swarm_proof(KEY, OWNER))
    assert not trusts(KEYED, OWNER, swarm_proof(KEY, KEY)) and not trusts(KEYED, OWNER, b"")
    assert not trusts(OPEN, OWNER, b"")
    assert trusts(replace(OPEN, trusted=frozenset([OWNER])), OWNER, b"")
