"""``p2pcpn demo``: a local swarm paints a picture and counts words, and loses a peer on the way."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pcpn.cli.printing import number_of
from p2pcpn.errors import StoreError, UsageError

if TYPE_CHECKING:
    from p2pcpn.cli.demo.board import Board
    from p2pcpn.client.attribution import Attribution
    from p2pcpn.client.executor import Executor
    from p2pcpn.client.swarm import Swarm

PEERS = 4
BATCH_BYTES = 200_000
FRAME_S = 0.1
# One peer dies when so many of all tiles are there.
KILL_AT = 0.4
WORD_LETTERS_MIN = 7
WORDS_SHOWN = 5


@click.command()
@click.option("--peers", default=PEERS, show_default=True, metavar="N", help="How many peers the swarm has (2 to 8).")
@click.option("--output", default="p2pcpn-demo.png", show_default=True, metavar="FILE", help="Where the picture goes.")
def demo(peers: int, output: str) -> None:
    """Watch a local swarm work: a picture in tiles, a word count, and a peer that is killed while it works.

    Real peers, each a process of its own, find each other and claim the work. Nothing leaves this machine.
    """
    if not 2 <= peers <= 8:
        raise UsageError(f"--peers is 2 to 8, not {peers}")
    path = Path(output).expanduser().absolute()
    if not path.parent.is_dir():
        raise UsageError(f"--output: there is no directory {path.parent}")
    from p2pcpn.client.attribution import Attribution
    from p2pcpn.client.swarm import Swarm

    began = time.monotonic()
    click.echo(f"starting a swarm of {peers} peers on this machine, a process each, with no coordinator")
    with Swarm(peers=peers) as swarm, swarm.executor(output=False) as executor:
        show = Demonstration(swarm, executor, Attribution(executor))
        show.run()
    try:
        show.board.canvas.save(str(path))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    show.summary(time.monotonic() - began)
    click.echo(f"picture: {path}")


class Demonstration:
    """One run: the work, the board it is told to, and what is said of it."""

    def __init__(self, swarm: Swarm, executor: Executor, attribution: Attribution) -> None:
        from p2pcpn.cli.demo.board import Board

        self._swarm = swarm
        self._executor = executor
        self._attribution = attribution
        self._live = sys.stdout.isatty()
        self._submitted = 0
        self.board: Board = Board.of([peer.id for peer in swarm.peers])
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        """Paint, then read. Raises what a task raised."""
        from p2pcpn.cli.demo import picture, tasks, words

        batches = words.sources(BATCH_BYTES)
        self.board.files_total = sum(len(batch) for batch in batches)
        order = sorted(range(picture.TILES), key=_from_the_middle)
        with self._screen() as screen:
            self._do(screen, tasks.paint, order, self._tile)
            self._say(f"the picture is whole; now {self.board.files_total} files of Python's standard library are read")
            self._do(screen, tasks.read, batches, self._batch)
            self.board.note = ""

    def _screen(self) -> AbstractContextManager[Any]:
        if not self._live:
            return nullcontext()
        from rich.console import Console

        from p2pcpn.cli.demo.screen import NARROWEST, Screen

        console = Console(highlight=False)
        if console.width < NARROWEST:
            self._live = False
            return nullcontext()
        return Screen(console, self.board)

    def _do(
        self, screen: Any, task: Callable[[Any], Any], items: list[Any], told: Callable[[Any, Any, str], None]
    ) -> None:
        """Submit a task for each item, and tell the board of each as it comes."""
        waiting: dict[Future[Any], tuple[int, Any]] = {}
        for item in items:
            waiting[self._executor.submit(task, item)] = (self._submitted, item)
            self._submitted += 1
        while waiting:
            wait(waiting, timeout=FRAME_S)
            workers = self._attribution.workers()
            for future in [future for future in waiting if future.done() and waiting[future][0] in workers]:
                index, item = waiting.pop(future)
                told(item, future.result(), workers[index])
            if screen is not None:
                screen.draw()

    def _tile(self, number: int, result: tuple[float, bytes], node: str) -> None:
        from p2pcpn.cli.demo.picture import TILES

        seconds, pixels = result
        self.board.tile(number, pixels, seconds, node)
        if self.board.tiles >= KILL_AT * TILES and not any(share.killed for share in self.board.shares):
            self._kill()

    def _kill(self) -> None:
        """The busiest peer dies, as if its machine lost power."""
        share = max(self.board.shares, key=lambda each: (each.tiles, -each.number))
        self._swarm.kill(share.number - 1)
        share.killed = True
        self._say(f"peer {share.id[:6]} was just killed with tiles in its hands; the others take them over")

    def _batch(self, paths: list[str], result: tuple[float, int, dict[str, int]], node: str) -> None:
        seconds, files, found = result
        self.counts.update(found)
        self.board.batch(files, sum(found.values()), seconds, node)

    def _say(self, text: str) -> None:
        self.board.note = text
        if not self._live:
            click.echo(text)

    # --- what came of it -------------------------------------------------------------------------------------------

    def summary(self, seconds: float) -> None:
        """Who did what, and that nothing was lost."""
        from p2pcpn.cli.demo.picture import TILES
        from p2pcpn.cli.printing import print_table

        board = self.board
        rows = [
            (
                share.id[:6],
                share.tiles,
                share.files,
                f"{share.words:,}",
                f"{share.seconds:.1f} s",
                "killed on the way" if share.killed else "",
            )
            for share in board.shares
        ]
        print_table(
            ("peer", "tiles", "files", "words", "at work", ""), rows, numeric=("tiles", "files", "words", "at work")
        )
        died = sum(share.killed for share in board.shares)
        lost = "nothing was lost" if board.complete and board.files == board.files_total else "something was lost"
        click.echo(
            f"\n{board.tiles} of {TILES} tiles, {board.files} of {board.files_total} files, {seconds:.1f} s; "
            f"{died} of {number_of(len(board.shares), 'peer')} died, {lost}"
        )
        often = [f"{word} {count:,}" for word, count in self.counts.most_common() if len(word) >= WORD_LETTERS_MIN]
        click.echo(f"{sum(self.counts.values()):,} words of documentation; of the long ones most often:")
        click.echo("  " + "   ".join(often[:WORDS_SHOWN]))


def _from_the_middle(number: int) -> tuple[float, int]:
    from p2pcpn.cli.demo.picture import COLUMNS, ROWS

    across = number % COLUMNS - (COLUMNS - 1) / 2
    down = number // COLUMNS - (ROWS - 1) / 2
    return (across * across + down * down, number)
