"""Pinning, asked of the node on this machine: it brings a blob and keeps it, whatever its retention says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from p2pcpn.client.connection import node_sockets
from p2pcpn.errors import PeerError, Unreachable
from p2pcpn.node.control import ask
from p2pcpn.wire.manifests import parse_name

LOOK_S: Final = 0.2


def pin_blob(
    name: str, env: Mapping[str, str], *, pinned: bool = True, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Have this user's node on this machine pin a blob, or unpin it; returns when that is done.

    Raises :class:`UsageError` for what is no name of a blob, or is not pinned, :class:`Unreachable` where no node of
    this user runs here, :class:`PeerError` where it cannot have the blob.
    """
    parse_name(name)
    path = _node(env)
    if path is None:
        raise Unreachable("no node of yours runs on this machine; p2pcpn node starts one")
    while True:
        found = ask(path, "pin" if pinned else "unpin", name=name.strip())
        if found["state"] == "done":
            return
        if found["state"] == "failed":
            raise PeerError(found["why"])
        sleep(LOOK_S)


def pinned_here(env: Mapping[str, str]) -> frozenset[bytes] | None:
    """The digests of the blobs that this user's node on this machine keeps pinned; none where no node runs here."""
    path = _node(env)
    return None if path is None else frozenset(map(bytes.fromhex, ask(path, "pins")["digests"]))


def _node(env: Mapping[str, str]) -> Path | None:
    for path in node_sockets(env):
        try:
            ask(path, "status")
        except Unreachable:
            continue
        return path
    return None
