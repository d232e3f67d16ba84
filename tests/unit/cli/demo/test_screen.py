"""The demonstration's screen: what a frame shows of the board, within 78 columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from p2pcpn.cli.demo.board import Board
from p2pcpn.cli.demo.picture import COLUMNS, ROWS, TILE, TILES
from p2pcpn.cli.demo.screen import ACROSS, CELL, DOWN, EMPTY, NARROWEST, Screen

IDS = ["aaaaaa" + "0" * 34, "bbbbbb" + "0" * 34]


def _pixels(*colour: int) -> bytes:
    return bytes(colour) * (TILE * TILE)


def _console(width: int = 100) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=width, height=40, color_system="truecolor", highlight=False,
        legacy_windows=False, _environ={},
    )  # fmt: skip


def _lines(board: Board) -> list[str]:
    """One frame as plain text."""
    console = Console(file=io.StringIO(), width=NARROWEST, force_terminal=False, color_system=None, _environ={})
    with console.capture() as capture:
        console.print(Screen(_console(), board).frame())
    return capture.get().splitlines()


@pytest.fixture
def board() -> Board:
    board = Board.of(list(IDS))
    board.files_total = 40
    return board


def test_a_frame_fits_in_the_narrowest_terminal(board: Board) -> None:
    board.note = "a note"
    lines = _lines(board)
    assert NARROWEST == 78 and max(len(line.rstrip()) for line in lines) <= NARROWEST
    assert len(lines) <= 24
    assert lines[-1].strip() == "a note"


def test_the_picture_has_two_cells_a_character(board: Board) -> None:
    assert sum(line.startswith("▀" * ACROSS) for line in _lines(board)) == DOWN // 2


def test_each_peer_has_a_line_with_its_tiles(board: Board) -> None:
    for number in range(3):
        board.tile(number, _pixels(1, 2, 3), 0.1, IDS[1])
    shown = "\n".join(_lines(board))
    assert "● aaaaaa" in shown and "● bbbbbb" in shown
    ends = {line.split()[-4 if "■" in line else -1] for line in shown.splitlines() if "bbbbbb" in line}
    assert ends == {"3"}


def test_a_peer_that_was_killed_is_crossed_out(board: Board) -> None:
    board.shares[0].killed = True
    shown = "\n".join(_lines(board))
    assert "✗ aaaaaa" in shown and "● bbbbbb" in shown


def test_the_bars_say_how_far_both_jobs_are(board: Board) -> None:
    for number in range(TILES):
        board.tile(number, _pixels(1, 2, 3), 0.1, IDS[0])
    board.batch(10, 100, 0.1, IDS[0])
    shown = "\n".join(_lines(board))
    assert f"{TILES} of {TILES} tiles" in shown and "10 of 40 files" in shown


def test_a_board_that_knows_no_files_yet_shows_an_empty_bar(board: Board) -> None:
    board.files_total = 0
    assert "0 of 0 files" in "\n".join(_lines(board))


def test_a_cell_has_the_mean_colour_of_its_place_once_its_tile_is_there(board: Board) -> None:
    screen = Screen(_console(), board)
    assert screen._cell(0, 0) == EMPTY
    board.tile(0, _pixels(16, 32, 255), 0.1, IDS[0])
    assert screen._cell(0, 0) == "#1020ff"
    assert screen._cell(TILE // CELL, 0) == EMPTY  # its neighbour's
    board.canvas.paint(0, _pixels(0, 0, 0))
    assert screen._cell(0, 0) == "#1020ff"  # a tile does not change: it is looked at once


def test_every_cell_belongs_to_the_tile_it_lies_in() -> None:
    tiles = {Screen._tile(column, row) for column in range(ACROSS) for row in range(DOWN)}
    assert tiles == set(range(TILES))
    assert Screen._tile(ACROSS - 1, 0) == COLUMNS - 1
    assert Screen._tile(0, DOWN - 1) == (ROWS - 1) * COLUMNS


def test_the_map_shows_who_painted_which(board: Board) -> None:
    board.tile(0, _pixels(1, 2, 3), 0.1, IDS[1])
    board.tile(1, _pixels(1, 2, 3), 0.1, "somebody else")
    text = Screen(_console(), board)._map()
    assert len(text.plain.split("\n")) == ROWS and text.plain.count("■") == TILES
    assert [span.style for span in text.spans[:3]] == [board.shares[1].colour, EMPTY, EMPTY]


def test_the_last_frame_stays_when_the_block_ends(board: Board) -> None:
    console = _console()
    with Screen(console, board) as screen:
        board.note = "half way"
        screen.draw()
        board.note = "the end"
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "half way" in shown and shown.rindex("the end") > shown.rindex("half way")
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
