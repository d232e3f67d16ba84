"""``Node``: a peer inside an asyncio program. It takes part in the swarm, and submits and fetches jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Final

from p2pcpn import limits
from p2pcpn.client import blobs
from p2pcpn.client.capacity import heard
from p2pcpn.client.job import Fetched, Job, Submitted, parse_job_id
from p2pcpn.client.owner import owner_key
from p2pcpn.client.project import project
from p2pcpn.client.reader import Reader
from p2pcpn.client.submission import Options, Submission
from p2pcpn.config import Config
from p2pcpn.identity.keys import Keypair
from p2pcpn.node.overlay import Faults, Overlay
from p2pcpn.wire.codec import Buffer

# For a first peer to answer, and for others to be heard of then.
MEET_S: Final = 10.0
HEARD_S: Final = 1.0


class Node:
    """``async with Node(Config(bootstrap=[...], swarm_key=...)) as node:`` runs a peer until the block ends.

    ``owner`` signs the jobs that are submitted here: a key file or :class:`Keypair`; by default ``config.key``, else
    this user's own key. Raises what :class:`~p2pcpn.node.overlay.Overlay` raises.
    """

    def __init__(
        self, config: Config | None = None, *, owner: str | Path | Keypair | None = None, faults: Faults | None = None
    ) -> None:
        self.config = config or Config()
        self._owner = owner
        self.overlay = Overlay(self.config, faults=faults)
        self._submissions: list[Submission] = []
        self._state = "new"

    def __repr__(self) -> str:
        return f"Node({self.id[:8]}, {self._state})"

    async def __aenter__(self) -> Node:
        if self._state != "new":
            raise RuntimeError("a Node runs once; make another")
        self._state = "running"
        await self.overlay.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._state = "closed"
        for submission in self._submissions:
            submission.forget()
        try:
            await self.overlay.upkeep.hand_over()
        finally:  # who interrupts the handing over wants its end, not a node that goes on
            await self.overlay.close()

    @property
    def id(self) -> str:
        """This node's id, as text."""
        return self.overlay.id.hex()

    @property
    def address(self) -> str:
        """Where others reach this node: ``host:port``, for UDP and TCP."""
        host, port = self.overlay.peer.contact.address
        return f"{host}:{port}"

    @property
    def owner(self) -> Keypair:
        """Whose jobs these are."""
        if not isinstance(self._owner, Keypair):
            self._owner = owner_key(self._owner or self.config.key)
        return self._owner

    def _require_running(self) -> None:
        if self._state != "running":
            raise RuntimeError(f"the node is {self._state}; use it within its `async with` block")

    async def submit(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        *,
        close: bool = True,
        wait_s: float = 10.0,
        **options: Any,
    ) -> Job:
        """One job: ``fn(item)`` for each item. ``options`` are those of :class:`~p2pcpn.Executor`.

        Returns once the job is open; a tuple is one argument like anything else, and an item
        ``ResultOf(index)`` stands for the result of an earlier item. Raises :class:`UsageError` for options
        that cannot be and :class:`Unreachable` when no peer is there.
        """
        self._require_running()
        chosen = Options(**options)
        submission = await Submission.open(self.overlay, self.owner, chosen, project(fn), wait_s=wait_s)
        self._submissions.append(submission)
        futures = [submission.submit(fn, (item,), {}) for item in iterable]
        if close:
            await submission.close()
        return Job(Submitted(submission, futures))

    async def fetch(self, job_id: str, *, wait_s: float = 10.0) -> Job:
        """A job of this owner, kept by whichever peers. Raises :class:`JobError` when no peer that answers knows it."""
        self._require_running()
        reader = Reader(self.overlay, self.owner, parse_job_id(job_id))
        await reader.find(wait_s)
        return Job(Fetched(reader))

    async def _met(self) -> None:
        """A node that has just started hears who keeps blobs. Raises :class:`Unreachable` where nobody answers."""
        self._require_running()
        overlay = self.overlay
        if self.config.bootstrap and not overlay.hauler.storage_near(bytes(32)):
            await overlay.wait_known(MEET_S)
            await heard(overlay, HEARD_S)

    async def put_blob(
        self,
        source: str | os.PathLike[str] | Buffer | IO[bytes],
        *,
        replicas: int = blobs.REPLICAS,
        retention_s: float = limits.RETENTION_S,
        on_progress: blobs.OnProgress | None = None,
    ) -> blobs.Placed:
        """Have a file of any size (a path, bytes, or what can be read) kept by ``replicas`` peers, sealed.

        ``.name`` of what is returned brings it back, from any peer; whoever has it can read the blob. A put that was
        cut goes on where it was. Raises :class:`Unreachable` when no peer takes it.
        """
        await self._met()
        return await blobs.put_blob(
            self.overlay, self.owner, source, replicas=replicas, retention_s=retention_s, on_progress=on_progress
        )

    async def get_blob(
        self,
        name: str,
        path: str | os.PathLike[str] | None = None,
        *,
        bytes_max: int | None = None,
        on_progress: blobs.OnProgress | None = None,
    ) -> bytes:
        """Bring a blob into the file ``path``, or, without one, return its bytes (at most ``bytes_max``).

        What a get that was cut left in ``path.part`` is not asked for again. Raises :class:`PeerError` where no peer
        that answers has all of it.
        """
        await self._met()
        if path is None:
            return await blobs.read_blob(self.overlay, name, bytes_max=bytes_max)
        await blobs.get_blob(self.overlay, name, path, on_progress=on_progress)
        return b""

    async def pin_blob(self, name: str, *, pinned: bool = True) -> None:
        """Have a blob here and keep it, whatever its retention says; or, not ``pinned``, no longer so.

        Raises :class:`PeerError` where no peer that answers has all of it, :class:`DiskFull` where there is no room,
        :class:`UsageError` where what is to be unpinned is not pinned.
        """
        await self._met()
        pins, wanted = self.overlay.pins, blobs.parse_name(name)
        await (pins.pin(wanted) if pinned else pins.unpin(wanted))

    async def list_blobs(self) -> list[blobs.Owned]:
        """This owner's blobs that peers keep, newest first."""
        await self._met()
        return await blobs.own_blobs(self.overlay, self.owner)
