"""Submitting from a command line: open a job, hand over its calls, attend it to its end or leave it to the swarm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from p2pcpn.client.attended import Attended
from p2pcpn.client.calls import Calls, short_name
from p2pcpn.client.connection import Meeting, joined
from p2pcpn.client.history import Submitted, now_s, remember
from p2pcpn.client.owner import owner_key
from p2pcpn.client.submission import Options
from p2pcpn.errors import StoreError
from p2pcpn.node.overlay import Overlay
from p2pcpn.protocol.authority import DISTRIBUTED

OPEN_S: Final = 10.0
KEEP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be submitted, where, and whose it is (a key file, ``None`` for this user's own)."""

    calls: Calls
    options: Options
    where: Meeting
    key: str | None

    async def detached(self, env: Mapping[str, str]) -> str:
        """Submit and leave: the job's id, once spec and tasks lie on the stewards and one of them grants.

        Raises :class:`~p2pcpn.errors.Unreachable` where that cannot be had.
        """
        async with joined(self.where, env) as overlay:
            submission = await self._open(overlay, granting=False)
            self._submit(submission)
            await submission.close()
            await submission.kept(KEEP_S)
            if self.options.orchestration != DISTRIBUTED:  # its stewards grant it already
                await submission.hand_over()
            self._remember(submission, env)
            return submission.id

    @asynccontextmanager
    async def attended(self, env: Mapping[str, str]) -> AsyncIterator[Attended]:
        """Submit and stay: the job, for the length of the block. What has not ended by then is cancelled."""
        async with joined(self.where, env) as overlay:
            submission = await self._open(overlay, granting=True)
            self._submit(submission)
            self._remember(submission, env)
            try:
                yield submission
            finally:
                submission.on_progress = None
                if submission.unfinished():
                    await submission.cancel_job()
                submission.forget()

    async def _open(self, overlay: Overlay, *, granting: bool) -> Attended:
        submission = await Attended.open(
            overlay, owner_key(self.key), self.options, self.calls.bundle, granting=granting, wait_s=OPEN_S
        )
        assert isinstance(submission, Attended), "open() makes what it is called on"
        return submission

    def _submit(self, submission: Attended) -> None:
        for arguments in self.calls.arguments:
            submission.submit(self.calls.function, arguments, {})

    def _remember(self, submission: Attended, env: Mapping[str, str]) -> None:
        job = Submitted(
            submission.id,
            now_s(),
            short_name(self.options.name),
            submission.owner.public.hex(),
            len(self.calls.arguments),
        )
        try:
            remember(job, env)
        except StoreError:
            pass  # a full disk here is no reason to lose a job there
