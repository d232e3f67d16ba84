"""The owner's key: whose jobs these are."""

from __future__ import annotations

import os
from pathlib import Path

from p2pcpn.config import owner_key_path
from p2pcpn.identity.files import load_key, load_or_create_key
from p2pcpn.identity.keys import Keypair


def owner_key(path: str | Path | None = None) -> Keypair:
    """The key in ``path``, or in ``$P2PCPN_KEY``; else this user's own, made when it is first needed.

    Raises :class:`UsageError` for a file that is no key or that others can read.
    """
    named = path or os.environ.get("P2PCPN_KEY")
    if named:
        return load_key(Path(named).expanduser())
    return load_or_create_key(owner_key_path(os.environ))
