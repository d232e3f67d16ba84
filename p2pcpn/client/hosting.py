"""Hosting: this machine as a peer of somebody's swarm, from settings to a process that serves until it is stopped."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from p2pcpn.client.connection import NODE_NOTE, node_data_dir, read_note, remove_note, write_note
from p2pcpn.client.keys import keep_swarm_key, trusted_keys
from p2pcpn.config import Config
from p2pcpn.errors import P2pcpnError
from p2pcpn.identity.files import format_swarm_key, load_key, load_swarm_key
from p2pcpn.metrics.machine import cores
from p2pcpn.node.control import ask, control_path
from p2pcpn.node.daemon import run_peer

SWARM_KEY_NAME: Final = "swarm.key"
STATUS_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Hosted:
    """A peer that is about to run: its settings, and whether its swarm's key was made for it."""

    config: Config
    made_key: bool

    @property
    def slots(self) -> int:
        """Tasks at a time: none without the role ``compute``."""
        return (self.config.cpus or cores()) if "compute" in self.config.roles else 0

    @property
    def slots_words(self) -> str:
        """The same for people."""
        if not self.slots:
            return "no tasks"
        least = self.config.cpus_min or self.slots
        words = f"{least} to {self.slots} tasks" if least < self.slots else f"{least} task{'s' * (least != 1)}"
        return f"{words} at a time"

    @property
    def swarm_key_text(self) -> str | None:
        """The swarm's key as text; ``None`` in an open swarm."""
        key = self.config.swarm_key
        return None if key is None else format_swarm_key(load_swarm_key(key))

    def document(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """What a program wants to know of the peer that started."""
        return {
            **words, "public_key": self.public_key, "swarm_key": self.swarm_key_text,
            "data_dir": str(self.config.data_dir), "slots": self.slots,
        }  # fmt: skip

    @property
    def public_key(self) -> str:
        """The node's own key, with which it signs receipts. Only once it runs."""
        assert self.config.data_dir is not None, "prepare() names one"
        return load_key(Path(self.config.data_dir) / "node.key").public.hex()


def prepare(settings: dict[str, Any], env: Mapping[str, str], *, new_swarm_key: bool) -> Hosted:
    """The settings of a peer: those given, the environment's, and the keys this user trusts.

    With ``new_swarm_key`` the swarm's key is made at the first start and kept in the data directory. Raises
    :class:`~p2pcpn.errors.UsageError`.
    """
    data_dir = Path(settings.get("data_dir") or node_data_dir(env)).expanduser()
    trust = list(dict.fromkeys([*settings.get("trust", ()), *trusted_keys(env)]))
    if new_swarm_key:
        Config.from_env(
            env, **settings | {"swarm_key": None, "data_dir": data_dir, "trust": trust}
        )  # before a file is made
        settings = settings | {"swarm_key": keep_swarm_key(data_dir / SWARM_KEY_NAME)}
    config = Config.from_env(env, **settings | {"data_dir": data_dir, "trust": trust})
    if config.swarm_key is not None:
        load_swarm_key(config.swarm_key)
    return Hosted(config, new_swarm_key)


def host(
    hosted: Hosted,
    report: Callable[[Mapping[str, Any]], None],
    env: Mapping[str, str],
    status: Callable[[Mapping[str, Any]], None] | None = None,
) -> int:
    """Be the peer until it is stopped; returns the exit code. ``status`` gets the peer's own words each second."""
    assert hosted.config.data_dir is not None, "prepare() names one"
    control = control_path(Path(hosted.config.data_dir))
    note = {"control": str(control), "pid": os.getpid()}
    ended = threading.Event()

    def listening(words: Mapping[str, Any]) -> None:
        if "id" in words:
            write_note(NODE_NOTE, note, env)
            if status is not None:
                threading.Thread(target=watch, args=(control, status, ended), daemon=True).start()
        report(words)

    try:
        return run_peer(hosted.config, report=listening)
    finally:
        ended.set()
        if read_note(NODE_NOTE, env) == note:
            remove_note(NODE_NOTE, env)


def watch(control: Path, status: Callable[[Mapping[str, Any]], None], ended: threading.Event) -> None:
    """Ask the peer each second how it is, and pass that on, until ``ended``."""
    while not ended.wait(STATUS_S):
        try:
            words = ask(control, "status")
        except P2pcpnError:
            continue  # it is busy, or leaving
        status(words)
