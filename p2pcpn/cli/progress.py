"""How far a job is: a bar on a terminal, a line now and then elsewhere; always on stderr, so that results stay alone.

What tasks print goes to our own streams as it comes. On a terminal the bar makes room for it.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from p2pcpn.cli.plain import plain
from p2pcpn.cli.printing import size

LINE_EVERY_S = 5.0


class Progress:
    """``with Progress("name", total) as progress:`` then ``progress.update(done, failed, running)``."""

    def __init__(self, title: str, total: int | None, *, shown: bool = True) -> None:
        self.title = title
        self.total = total
        self._shown = shown
        self._bar: Any = None
        self._task: Any = None
        self._said_at = time.monotonic()
        self._said = ""

    def __enter__(self) -> Progress:
        if self._shown and sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task(self.title, total=self.total, note="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def update(self, done: int, total: int | None, *, failed: int = 0, note: str = "") -> None:
        """So many tasks have ended, of so many."""
        words = ", ".join(filter(None, [f"{failed} failed" if failed else "", note]))
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=words)
            return
        now = time.monotonic()
        line = f"{self.title}: {done}/{'?' if total is None else total}" + (f", {words}" if words else "")
        if self._shown and line != self._said and now - self._said_at >= LINE_EVERY_S:
            self._said, self._said_at = line, now
            print(line, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line of our own."""
        if self._bar is not None:
            self._bar.console.print(plain(text), markup=False, highlight=False)
        elif self._shown:
            print(f"{self.title}: {plain(text)}", file=sys.stderr, flush=True)

    def printed(self, stream: int, data: bytes) -> None:
        """What a task printed, on ``stream`` 1 (stdout) or 2 (stderr), byte for byte."""
        to = sys.stdout if stream == 1 else sys.stderr
        if self._bar is not None and to.isatty():
            to.write(data.decode("utf-8", "replace"))  # the bar has put itself between: it prints whole lines above
            to.flush()
        else:
            to.flush()
            to.buffer.write(data)
            to.buffer.flush()


class BytesProgress:
    """``with BytesProgress("put x") as progress:`` then ``progress.update(done, total)``, in bytes."""

    def __init__(self, title: str, *, shown: bool = True) -> None:
        self.title = title
        self._shown = shown
        self._bar: Any = None
        self._task: Any = None
        self._begun = self._said_at = time.monotonic()

    def __enter__(self) -> BytesProgress:
        if self._shown and sys.stderr.isatty():
            self._bar = _bytes_bar()
            self._task = self._bar.add_task(self.title, total=None)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def update(self, done: int, total: int) -> None:
        """So many bytes of so many."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
            return
        now = time.monotonic()
        if self._shown and now - self._said_at >= LINE_EVERY_S:
            self._said_at = now
            rate = done / (now - self._begun)
            print(f"{self.title}: {size(done)} of {size(total)}, {size(rate)}/s", file=sys.stderr, flush=True)


class VirtualProgress:
    """``with VirtualProgress("churn") as progress:`` then ``progress.update(virtual_s, events)``."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._status: Any = None
        self._begun = self._said_at = time.monotonic()

    def __enter__(self) -> VirtualProgress:
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status(plain(self.title))
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def update(self, virtual_s: float, events: int) -> None:
        """So much virtual time has gone by, in so many events."""
        now = time.monotonic()
        rate = events / max(now - self._begun, 1e-3)
        line = f"{self.title}: {virtual_s:,.1f} virtual s, {events:,} events, {rate:,.0f}/s"
        if self._status is not None:
            self._status.update(plain(line))
        elif now - self._said_at >= LINE_EVERY_S:
            self._said_at = now
            print(line, file=sys.stderr, flush=True)


def _bytes_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(), console=Console(stderr=True), transient=True, redirect_stdout=False,
    )  # fmt: skip


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    return Bar(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty(), redirect_stderr=True,
    )  # fmt: skip
