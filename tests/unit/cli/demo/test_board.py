"""The score of the demonstration: what came is counted for whom brought it."""

from __future__ import annotations

from p2pcpn.cli.demo.board import COLOURS, Board
from p2pcpn.cli.demo.picture import TILE, TILES

PIXELS = bytes((10, 20, 30)) * (TILE * TILE)


def test_each_peer_has_a_number_and_a_colour_of_its_own() -> None:
    board = Board.of([f"{n:040x}" for n in range(8)])
    assert [share.number for share in board.shares] == list(range(1, 9))
    assert len({share.colour for share in board.shares}) == 8
    assert len(COLOURS) == len(set(COLOURS))


def test_a_ninth_peer_takes_the_first_colour_again() -> None:
    board = Board.of(list("abcdefghi"))
    assert board.shares[8].colour == board.shares[0].colour


def test_a_tile_is_painted_and_counted_for_its_painter() -> None:
    board = Board.of(["a", "b"])
    board.tile(13, PIXELS, 0.5, "b")
    board.tile(14, PIXELS, 0.25, "b")
    assert (board.tiles, board.painter) == (2, {13: "b", 14: "b"})
    assert board.canvas.mean(TILE, TILE, TILE, TILE) == (10, 20, 30)
    first, second = board.shares
    assert (first.tiles, first.seconds, second.tiles, second.seconds) == (0, 0.0, 2, 0.75)


def test_a_tile_that_comes_twice_is_one_tile_of_the_picture() -> None:
    board = Board.of(["a", "b"])
    board.tile(0, PIXELS, 0.5, "a")
    board.tile(0, PIXELS, 0.5, "b")
    assert board.tiles == 1 and board.painter == {0: "b"}


def test_files_and_words_are_counted_for_their_reader() -> None:
    board = Board.of(["a", "b"])
    board.batch(3, 1000, 0.5, "a")
    board.batch(2, 10, 0.5, "a")
    share = board.shares[0]
    assert (board.files, share.files, share.words, share.seconds) == (5, 5, 1010, 1.0)


def test_work_of_a_peer_that_is_not_shown_counts_for_the_whole() -> None:
    board = Board.of(["a"])
    board.tile(0, PIXELS, 0.5, "stranger")
    board.batch(4, 100, 0.5, "stranger")
    assert (board.tiles, board.files) == (1, 4)
    assert board.share("stranger") is None and board.share("a") is board.shares[0]
    assert (board.shares[0].tiles, board.shares[0].files) == (0, 0)


def test_the_picture_is_complete_with_its_last_tile() -> None:
    board = Board.of(["a"])
    for number in range(TILES):
        assert not board.complete
        board.tile(number, PIXELS, 0.0, "a")
    assert board.complete
