"""The demonstration on a terminal: the picture as it grows, and beside it who paints what, in 78 columns."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from p2pcpn.cli.demo.board import Board, Share
from p2pcpn.cli.demo.picture import COLUMNS, HEIGHT, ROWS, TILES, WIDTH

# A character shows two cells, one above the other: square on most terminals.
CELL = 20
ACROSS, DOWN = WIDTH // CELL, HEIGHT // CELL
SIDE = 28
NARROWEST = ACROSS + 2 + SIDE
BAR = 11
EMPTY = "#1c2030"
DIM = "grey50"


class Screen:
    """``with Screen(console, board) as screen:`` then ``screen.draw()`` as often as something has changed."""

    def __init__(self, console: Console, board: Board) -> None:
        self._board = board
        self._cells: dict[tuple[int, int], str] = {}
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Screen:
        self._live.start()
        self.draw()
        return self

    def __exit__(self, *_: object) -> None:
        self.draw()
        self._live.stop()

    def draw(self) -> None:
        """Show the board as it is now."""
        self._live.update(self.frame(), refresh=True)

    def frame(self) -> Group:
        """One frame."""
        both = Table.grid(padding=(0, 2, 0, 0))
        both.add_column(width=ACROSS)
        both.add_column(width=SIDE)
        both.add_row(self._picture(), self._side())
        return Group(Text(), both, Text(), self._bars(), Text(), Text(self._board.note, style="bold"))

    # --- the picture -----------------------------------------------------------------------------------------------

    def _picture(self) -> Text:
        text = Text(no_wrap=True)
        for row in range(0, DOWN, 2):
            for column in range(ACROSS):
                text.append("▀", style=f"{self._cell(column, row)} on {self._cell(column, row + 1)}")
            text.append("\n")
        text.rstrip()
        return text

    def _cell(self, column: int, row: int) -> str:
        known = self._cells.get((column, row))
        if known is not None:
            return known
        if self._tile(column, row) not in self._board.painted:
            return EMPTY
        red, green, blue = self._board.canvas.mean(column * CELL, row * CELL, CELL, CELL)
        found = self._cells[column, row] = f"#{red:02x}{green:02x}{blue:02x}"
        return found

    @staticmethod
    def _tile(column: int, row: int) -> int:
        return row * ROWS // DOWN * COLUMNS + column * COLUMNS // ACROSS

    # --- who does what ---------------------------------------------------------------------------------------------

    def _side(self) -> Group:
        heading = Text("peer".ljust(SIDE - 7) + "tiles", style=DIM)
        return Group(heading, *self._peers(), Text(), Text("who painted which", style=DIM), self._map())

    def _peers(self) -> list[Text]:
        most = max(8, *(share.tiles for share in self._board.shares))
        return [self._peer(share, most) for share in self._board.shares]

    def _peer(self, share: Share, most: int) -> Text:
        line = Text(no_wrap=True)
        line.append("✗ " if share.killed else "● ", style="bold red" if share.killed else share.colour)
        line.append(f"{share.id[:6]} ", style=f"{DIM} strike" if share.killed else "default")
        filled = round(BAR * share.tiles / most)
        line.append("━" * filled, style=share.colour)
        line.append("━" * (BAR - filled), style=EMPTY)
        line.append(f" {share.tiles:>4}")
        return line

    def _map(self) -> Text:
        text = Text(no_wrap=True)
        for row in range(ROWS):
            for column in range(COLUMNS):
                number = row * COLUMNS + column
                share = self._board.share(self._board.painter.get(number, ""))
                text.append("■ ", style=EMPTY if share is None else share.colour)
            text.append("\n")
        text.rstrip()
        return text

    # --- how far ---------------------------------------------------------------------------------------------------

    def _bars(self) -> Table:
        board = self._board
        grid = Table.grid(padding=(0, 1, 0, 0))
        for width in (8, 44, 24):
            grid.add_column(width=width)
        grid.add_row("picture", _bar(board.tiles, TILES), f"{board.tiles} of {TILES} tiles")
        read = f"{board.files} of {board.files_total} files"
        grid.add_row("words", _bar(board.files, board.files_total), read)
        return grid


def _bar(done: int, total: int) -> Text:
    filled = round(44 * done / total) if total else 0
    return Text("━" * filled, style="#5fbf77") + Text("━" * (44 - filled), style=EMPTY)
