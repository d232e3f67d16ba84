"""Which jobs this user submitted from this machine: a line each, so that an id is not lost with a terminal."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from p2pcpn.config import state_home
from p2pcpn.errors import StoreError
from p2pcpn.identity.files import write_private

NAME = "jobs.jsonl"
# A line has some 250 bytes: half a megabyte at most, cut to the newest half when that is reached.
JOBS_MAX = 2000


@dataclass(frozen=True, slots=True)
class Submitted:
    """One job: its id, when it was submitted (seconds since 1970), its name, its owner's public key, how many tasks."""

    id: str
    at_s: float
    name: str
    owner: str
    tasks: int


def remember(job: Submitted, env: Mapping[str, str]) -> None:
    """Write a job down. Raises :class:`StoreError` where the disk refuses."""
    path = _path(env)
    line = json.dumps(asdict(job), ensure_ascii=False) + "\n"
    known = remembered(env)
    if not path.exists() or len(known) >= JOBS_MAX:
        kept = known[-JOBS_MAX // 2 :]
        write_private(path, "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in kept) + line)
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        with os.fdopen(handle, "ab") as file:
            file.write(line.encode())
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error


def remembered(env: Mapping[str, str]) -> list[Submitted]:
    """The jobs written down, oldest first. Lines that cannot be read are left out."""
    try:
        text = _path(env).read_text("utf-8", "replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            found.append(Submitted(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def now_s() -> float:
    """The wall clock, as history writes it."""
    return time.time()


def _path(env: Mapping[str, str]) -> Path:
    return state_home(env) / NAME
