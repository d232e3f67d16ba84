"""Admission: whether this peer may and can run a job. One pure function; its words are what ``explain`` shows.

Who may run what is decided here, by the peer that would run it, before it claims: members of a keyed swarm and trusted
keys in ``function``, strangers in no runtime that is built in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest

from p2pcpn import limits
from p2pcpn.wire.sealing import swarm_proof

OPEN_SWARM = bytes(32)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the owner of this peer allows. ``missing(names)`` tells which packages are not installed here."""

    runtimes: tuple[str, ...]
    python: str
    memory_bytes: int
    swarm_key: bytes = OPEN_SWARM
    trusted: frozenset[bytes] = field(default_factory=frozenset)
    missing: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda names: ()


def reason_against(
    rules: Rules,
    *,
    owner: bytes,
    proof: bytes | None,
    runtime: str,
    python: str,
    requires: tuple[str, ...],
    memory: int,
) -> str | None:
    """Why the job is declined, in at most ``REASON_CHARS_MAX`` characters for its owner; ``None`` when it may run.

    ``proof`` is the spec's swarm proof, or ``None`` while only an offer is known (offers travel inside the swarm).
    """
    if runtime not in rules.runtimes:
        return _short(f"does not run the runtime {runtime!r}, only {', '.join(rules.runtimes) or 'none'}")
    if owner not in rules.trusted:
        if rules.swarm_key == OPEN_SWARM:
            return "does not trust the job's owner; its owner can: p2pcpn key trust KEY"
        if proof is not None and not compare_digest(proof, swarm_proof(rules.swarm_key, owner)):
            return "the job's owner does not hold this swarm's key"
    if python != rules.python:
        return f"runs Python {rules.python}; the job needs Python {python}"
    if memory > rules.memory_bytes:
        return f"has {rules.memory_bytes >> 20} MiB for a task; the job needs {memory >> 20} MiB"
    return reason_packages(rules, requires)


def reason_packages(rules: Rules, requires: tuple[str, ...]) -> str | None:
    """Why these packages are a hindrance, or ``None``."""
    missing = rules.missing(requires) if requires else ()
    if not missing:
        return None
    return _short(f"lacks the package{'s' if len(missing) > 1 else ''} {', '.join(missing)}")


def trusts(rules: Rules, key: bytes, proof: bytes) -> bool:
    """The rule for *results*: a key we trust, or a member of our keyed swarm that proves it."""
    if key in rules.trusted:
        return True
    return rules.swarm_key != OPEN_SWARM and compare_digest(proof, swarm_proof(rules.swarm_key, key))


def belongs(rules: Rules, key: bytes) -> bool:
    """Whether a node that we have a session with is no stranger: in a keyed swarm nobody else has one."""
    return rules.swarm_key != OPEN_SWARM or key in rules.trusted


def _short(text: str) -> str:
    """A longer text than the wire allows would cost whoever says it its session."""
    return text if len(text) <= limits.REASON_CHARS_MAX else f"{text[: limits.REASON_CHARS_MAX - 1]}…"
