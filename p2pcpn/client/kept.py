"""A job that peers keep, as the command line reads it: by its id, from any peer, never unpickled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from p2pcpn.client.attended import Ending, ending_of, node_text
from p2pcpn.client.capacity import heard
from p2pcpn.client.connection import Meeting, joined
from p2pcpn.client.history import remembered
from p2pcpn.client.job import parse_job_id, why_missing
from p2pcpn.client.outputs import archive_of, save_files
from p2pcpn.client.owner import owner_key
from p2pcpn.client.pausing import pause_kept
from p2pcpn.client.reader import Reader, Stored
from p2pcpn.client.resuming import resume
from p2pcpn.client.standing import listing, standing
from p2pcpn.errors import PeerError, StoreError, UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Overlay
from p2pcpn.wire.statements import BlobRef, Outcome

FIND_S: Final = 5.0
LISTEN_S: Final = 1.0
EXPLAIN_S: Final = 2.0
ID_CHARS: Final = 40
PREFIX_CHARS_MIN: Final = 4


class KeptJob:
    """One job that was found. ``reader`` is at its disposal."""

    def __init__(self, overlay: Overlay, reader: Reader) -> None:
        self.overlay = overlay
        self.reader = reader

    @property
    def state(self) -> str:
        """How it stands in a word or more, as those who keep it say."""
        word: str = standing(self.reader)["state"]
        return word

    async def standing(self) -> dict[str, Any]:
        """How it stands, results counted that are in its logs already."""
        await self.reader.read()
        return standing(self.reader)

    async def resume(self) -> None:
        """Grant it from here on; see :func:`p2pcpn.client.resuming.resume`."""
        if self.reader.paused:
            await pause_kept(self.reader, paused=False)
        await resume(self.reader)

    async def follow(
        self, wait_s: float | None, on_fresh: Callable[[int, int | None, int], None] | None = None
    ) -> list[Ending]:
        """Wait until it is over; how its tasks ended, by index: where nobody cancelled it, those without a result too.

        ``on_fresh(settled, total, failed)`` follows it. Raises ``TimeoutError`` after ``wait_s`` seconds.
        """
        async for _ in self.reader.follow(wait_s):
            if on_fresh is not None:
                failed = sum(stored.outcome != Outcome.OK for stored in self.reader.results.values())
                on_fresh(len(self.reader.results), self.reader.total, failed)
        endings = [await self._ending(stored) for stored in self._in_order()]
        if not self.reader.cancelled:
            lost = ((index, why_missing(self.reader, index)) for index in self.reader.missing())
            endings += [Ending(index, False, str(why)) for index, why in lost]
        return sorted(endings, key=lambda ending: ending.index)

    def prints(self) -> list[tuple[int, int, bytes]]:
        """What settled tasks printed: (index, stream, bytes), by index."""
        return [(stored.index, line.stream, line.data) for stored in self._in_order() for line in stored.output]

    async def save(self, directory: Path) -> int:
        """Write each good result's pickle to ``directory`` as INDEX.pickle, and what a task left in ``out/`` to INDEX/.

        How many results. Nothing is unpickled.
        """
        good = [stored for stored in self._in_order() if stored.outcome == Outcome.OK]
        for stored in good:
            pickled = await self.reader.value(stored)
            _write(directory, f"{stored.index:06}.pickle", pickled)
            archive = archive_of(pickled)
            if archive is not None:
                save_files(archive, directory / f"{stored.index:06}")
        return len(good)

    async def explain(self) -> list[dict[str, str]]:
        """What peers say, each over its signature, of why they take part or do not."""
        reasons = await self.overlay.explain(self.reader.job, EXPLAIN_S)
        rows = [{"peer": each.peer.id.hex(), "code": each.code, "text": each.text} for each in reasons]
        return sorted(rows, key=lambda row: (row["code"], row["peer"]))

    def _in_order(self) -> list[Stored]:
        return [self.reader.results[index] for index in sorted(self.reader.results)]

    async def _ending(self, stored: Stored) -> Ending:
        value = stored.value if isinstance(stored.value, bytes) else None
        if stored.outcome != Outcome.OK and isinstance(stored.value, BlobRef):
            try:
                value = await self.reader.value(stored)
            except PeerError:
                value = None  # nobody has the words any more; that it failed is known
        return ending_of(stored.index, stored.outcome, value, stored.rendering, node_text(stored.worker))


def _write(directory: Path, name: str, data: bytes) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    except OSError as error:
        raise StoreError(f"{error.filename or directory}: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Asked:
    """Which job is asked for, and by which owner."""

    job: bytes
    owner: Keypair


def asked(text: str, key: str | None, env: Mapping[str, str]) -> Asked:
    """The job whose id is ``text``, or begins with it where this machine's history knows one such job.

    Raises :class:`UsageError` for what is no id, or no key.
    """
    return Asked(parse_job_id(full_id(text, env)), owner_key(key))


@asynccontextmanager
async def kept_job(where: Meeting, question: Asked, env: Mapping[str, str]) -> AsyncIterator[KeptJob]:
    """The job, found. Raises :class:`~p2pcpn.errors.JobError` where no peer that answers keeps it."""
    async with joined(where, env) as overlay:
        reader = Reader(overlay, question.owner, question.job)
        await reader.find(FIND_S)
        yield KeptJob(overlay, reader)


def full_id(text: str, env: Mapping[str, str]) -> str:
    """The id that ``text`` begins, if it is the beginning of one job submitted here; else ``text``."""
    text = text.strip().lower()
    if not PREFIX_CHARS_MIN <= len(text) < ID_CHARS:
        return text
    found = sorted({job.id for job in remembered(env) if job.id.startswith(text)})
    if len(found) > 1:
        raise UsageError(f"{text} begins the ids of {len(found)} jobs; write more of it")
    return found[0] if found else text


async def all_jobs(where: Meeting, key: str | None, env: Mapping[str, str]) -> list[dict[str, Any]]:
    """The owner's jobs, newest first."""
    owner = owner_key(key)
    async with joined(where, env) as overlay:
        await heard(overlay, LISTEN_S)
        return await listing(overlay, owner, remembered(env))
