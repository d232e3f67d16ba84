"""The picture: escape times that are right, colours without a seam, tiles in their places, and a PNG of it all."""

from __future__ import annotations

from cmath import rect
from itertools import pairwise
from pathlib import Path

import png
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.cli.demo import picture
from p2pcpn.cli.demo.picture import COLUMNS, HEIGHT, PALETTE, TILE, TILES, WIDTH, Canvas, colour, escape

INSIDE = b"\x04\x06\x10"


def test_the_tiles_cover_the_picture() -> None:
    assert (COLUMNS * TILE, picture.ROWS * TILE, COLUMNS * picture.ROWS) == (WIDTH, HEIGHT, TILES)


@pytest.mark.parametrize("c", [0j, -1 + 0j, 0.25 + 0j, -0.1 + 0.1j])
def test_a_point_of_the_set_never_escapes(c: complex) -> None:
    assert escape(c) is None


@pytest.mark.parametrize("c", [3 + 0j, 1j + 1, -2.5 + 0j, 0.4 + 0.4j])
def test_a_point_outside_escapes_after_as_many_steps_as_it_takes(c: complex) -> None:
    z, steps = 0j, 0
    while abs(z) <= picture.ESCAPE:
        z, steps = z * z + c, steps + 1
    found = escape(c)
    assert found is not None and steps - 1 <= found + 1e-9 and found < steps + 1


@given(st.floats(2.1, 50.0), st.floats(0.0, 6.28))
def test_far_away_all_points_escape_and_nothing_overflows(radius: float, angle: float) -> None:
    found = escape(rect(radius, angle))
    assert found is not None and found < picture.ITERATIONS_MAX


def test_neighbours_across_a_step_have_nearly_the_same_count() -> None:
    along = [escape(complex(0.3 + at / 4000, 0.0)) for at in range(400)]
    assert all(a is not None and b is not None and abs(a - b) < 0.5 for a, b in pairwise(along[40:]))


def test_colours_are_three_bytes_and_the_palette_closes_without_a_seam() -> None:
    assert len(PALETTE) == 512 and all(len(each) == 3 for each in PALETTE)
    ends = zip(PALETTE, [*PALETTE[1:], PALETTE[0]], strict=True)
    assert all(abs(a - b) <= 12 for one, other in ends for a, b in zip(one, other, strict=True))
    assert colour(None) == INSIDE
    assert colour(0.0) == colour(-0.5) == PALETTE[0]
    assert colour(100.0) == PALETTE[640 % 512]


def test_a_tile_has_its_pixels_in_many_colours_and_always_the_same() -> None:
    pixels = picture.tile(53)
    assert len(pixels) == TILE * TILE * 3
    assert len({pixels[at : at + 3] for at in range(0, len(pixels), 3)}) > 10
    assert pixels == picture.tile(53)


def test_tiles_lie_row_by_row_on_the_canvas() -> None:
    canvas = Canvas()
    canvas.paint(COLUMNS + 1, bytes((1, 2, 3)) * (TILE * TILE))
    assert canvas.mean(TILE, TILE, TILE, TILE) == (1, 2, 3)
    for left, top in ((0, 0), (0, TILE), (TILE, 0), (2 * TILE, TILE), (TILE, 2 * TILE)):
        assert canvas.mean(left, top, TILE, TILE) == (0, 0, 0)


def test_the_mean_is_taken_over_the_whole_rectangle() -> None:
    canvas = Canvas()
    canvas.paint(0, bytes((100, 0, 200)) * (TILE * TILE))
    assert canvas.mean(0, 0, 2 * TILE, TILE) == (50, 0, 100)


def test_the_canvas_is_saved_as_a_png(tmp_path: Path) -> None:
    canvas = Canvas()
    canvas.paint(TILES - 1, bytes((9, 8, 7)) * (TILE * TILE))
    path = tmp_path / "picture.png"
    canvas.save(str(path))
    with path.open("rb") as file:
        width, height, rows, about = png.Reader(file=file).read()
        found = list(rows)
    assert (width, height, about["planes"]) == (WIDTH, HEIGHT, 3)
    assert bytes(found[-1][-3:]) == bytes((9, 8, 7)) and bytes(found[0][:3]) == b"\0\0\0"


def test_a_picture_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Canvas().save(str(tmp_path))
