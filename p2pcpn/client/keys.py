"""Keys as their owner handles them: make one, show it, name the owners whose jobs this machine runs.

Trusted owners stand in ``trusted-keys`` next to the owner's key: a public key a line, a note behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from p2pcpn.config import config_home, owner_key_path
from p2pcpn.errors import UsageError
from p2pcpn.identity.files import (
    format_swarm_key,
    load_key,
    load_or_create_key,
    new_swarm_key,
    read_private,
    write_private,
)  # fmt: skip

TRUSTED_NAME = "trusted-keys"
TRUSTED_MAX = 1000
NOTE_CHARS_MAX = 80


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An owner's public key as text, and the file its secret half is in."""

    public: str
    path: Path


def new_owner_key(path: str | Path | None, env: Mapping[str, str]) -> PublicKey:
    """Make an owner's key in ``path``, by default this user's own. Raises :class:`UsageError` where one is already."""
    target = Path(path).expanduser() if path else owner_key_path(env)
    if target.exists():
        raise UsageError(f"{target} exists; a key that signed jobs is never replaced: name another file, or move it")
    return PublicKey(load_or_create_key(target).public.hex(), target)


def show_owner_key(path: str | Path | None, env: Mapping[str, str]) -> PublicKey:
    """The key in ``path``, else in ``$P2PCPN_KEY``, else this user's own; :class:`UsageError` where there is none."""
    named = path or env.get("P2PCPN_KEY")
    target = Path(named).expanduser() if named else owner_key_path(env)
    if not named and not target.exists():
        raise UsageError(f"{target} does not exist yet: p2pcpn key new makes it, and so does your first job")
    return PublicKey(load_key(target).public.hex(), target)


def new_swarm_key_text() -> str:
    """A fresh key of a swarm, as text."""
    return format_swarm_key(new_swarm_key())


def as_path(text: str) -> Path:
    """A path as typed, ``~`` and all."""
    return Path(text).expanduser()


def keep_swarm_key(path: Path) -> str:
    """The swarm key in ``path``, as text; it is made where there is none."""
    if not path.exists():
        try:
            write_private(path, new_swarm_key_text() + "\n", replace=False)
        except FileExistsError:
            pass  # another process was faster: its key is the key
    return read_private(path).strip()


# --- Whom this machine trusts ----------------------------------------------------------------------------------------


def trusted_keys(env: Mapping[str, str]) -> dict[str, str]:
    """The trusted owners' public keys and the notes on them, in the order they were added."""
    path = _trusted_path(env)
    if not path.exists():
        return {}
    found: dict[str, str] = {}
    for line in path.read_text("utf-8", "replace").splitlines()[:TRUSTED_MAX]:
        key, _, note = line.partition(" ")
        if is_public_key(key):
            found[key.lower()] = note.strip()
    return found


def trust(key: str, note: str, env: Mapping[str, str]) -> bool:
    """Trust an owner; false when it was trusted before (the note is renewed). Raises :class:`UsageError`."""
    key = _checked(key)
    known = trusted_keys(env)
    fresh = key not in known
    if fresh and len(known) >= TRUSTED_MAX:
        raise UsageError(f"{_trusted_path(env)} holds {TRUSTED_MAX} keys, as many as it may")
    if note or fresh:
        known[key] = " ".join(note.split())[:NOTE_CHARS_MAX]
    _write(known, env)
    return fresh


def distrust(key: str, env: Mapping[str, str]) -> None:
    """Trust an owner no longer. Raises :class:`UsageError` for one that was not trusted."""
    key = _checked(key)
    known = trusted_keys(env)
    if known.pop(key, None) is None:
        raise UsageError(f"{key} is not among the trusted keys; p2pcpn key trust lists them")
    _write(known, env)


def is_public_key(text: str) -> bool:
    """Whether ``text`` is 64 hexadecimal digits."""
    try:
        return len(text) == 64 and len(bytes.fromhex(text)) == 32
    except ValueError:
        return False


def _checked(key: str) -> str:
    if not is_public_key(key):
        raise UsageError(f"a public key is 64 hexadecimal digits, as p2pcpn key show prints it, not {key!r}")
    return key.lower()


def _trusted_path(env: Mapping[str, str]) -> Path:
    return config_home(env) / TRUSTED_NAME


def _write(known: Mapping[str, str], env: Mapping[str, str]) -> None:
    write_private(_trusted_path(env), "".join(f"{key} {note}".rstrip() + "\n" for key, note in known.items()))
