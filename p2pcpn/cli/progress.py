"""How far a job is: a bar on a terminal, a line now and then elsewhere; always on stderr, so that results stay alone.

What tasks print goes to our own streams as it comes. On a terminal the bar makes room for it.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from p2pcpn.cli.plain import plain
from p2pcpn.cli.printing import size

LINE_EVERY_S = 5.0


class _Shown(ABC):
    """What all progress has: something on a terminal that goes when it is over, and elsewhere a line now and then."""

    def __init__(self, title: str, *, shown: bool = True) -> None:
        self.title = title
        self._shown = shown
        self._bar: Any = None
        self._begun = self._said_at = time.monotonic()
        self._said = ""

    def __enter__(self) -> Self:
        if self._shown and sys.stderr.isatty():
            self._bar = self._made()
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @abstractmethod
    def _made(self) -> Any:
        """What is shown on a terminal, not started yet."""

    def _line(self, words: Callable[[float], str]) -> None:
        """Where there is no terminal: ``words(seconds since the beginning)``, unless it was said, or said just now."""
        now = time.monotonic()
        if not self._shown or now - self._said_at < LINE_EVERY_S:
            return
        line = f"{self.title}: {words(now - self._begun)}"
        if line != self._said:
            self._said, self._said_at = line, now
            print(line, file=sys.stderr, flush=True)


class Progress(_Shown):
    """``with Progress("name", total) as progress:`` then ``progress.update(done, failed, running)``."""

    def __init__(self, title: str, total: int | None, *, shown: bool = True) -> None:
        super().__init__(title, shown=shown)
        self.total = total
        self._task: Any = None

    def _made(self) -> Any:
        bar = _bar()
        self._task = bar.add_task(self.title, total=self.total, note="")
        return bar

    def update(self, done: int, total: int | None, *, failed: int = 0, note: str = "") -> None:
        """So many tasks have ended, of so many."""
        words = ", ".join(filter(None, [f"{failed} failed" if failed else "", note]))
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=words)
        else:
            self._line(lambda _: f"{done}/{'?' if total is None else total}" + (f", {words}" if words else ""))

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


class BytesProgress(_Shown):
    """``with BytesProgress("put x") as progress:`` then ``progress.update(done, total)``, in bytes."""

    _task: Any = None

    def _made(self) -> Any:
        bar = _bytes_bar()
        self._task = bar.add_task(self.title, total=None)
        return bar

    def update(self, done: int, total: int) -> None:
        """So many bytes of so many."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
        else:
            self._line(lambda took_s: f"{size(done)} of {size(total)}, {size(done / took_s)}/s")


class Words(_Shown):
    """``with Words("drain") as progress:`` then ``progress.update("2 tasks still run")``."""

    def _made(self) -> Any:
        from rich.console import Console

        return Console(stderr=True).status(plain(self.title))

    def update(self, words: str) -> None:
        """What is going on."""
        if self._bar is not None:
            self._bar.update(plain(f"{self.title}: {words}"))
        else:
            self._line(lambda took_s: words)


class VirtualProgress(_Shown):
    """``with VirtualProgress("churn") as progress:`` then ``progress.update(virtual_s, events)``."""

    def _made(self) -> Any:
        from rich.console import Console

        return Console(stderr=True).status(plain(self.title))

    def update(self, virtual_s: float, events: int) -> None:
        """So much virtual time has gone by, in so many events."""

        def words(took_s: float) -> str:
            return f"{virtual_s:,.1f} virtual s, {events:,} events, {events / max(took_s, 1e-3):,.0f}/s"

        if self._bar is not None:
            self._bar.update(plain(f"{self.title}: {words(time.monotonic() - self._begun)}"))
        else:
            self._line(words)


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
