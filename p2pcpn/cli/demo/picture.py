"""The picture: a piece of the Mandelbrot set, tile by tile, smoothly coloured. Pure Python: it runs on any peer."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

WIDTH, HEIGHT = 960, 640
TILE = 80
COLUMNS, ROWS = WIDTH // TILE, HEIGHT // TILE
TILES: Final = COLUMNS * ROWS

# A spiral in Seahorse valley, magnified 1,400 times.
CENTRE: Final = complex(-0.76132, -0.08478)
SPAN: Final = 0.0022
ITERATIONS_MAX: Final = 800
# Between two looks at |z| four steps are made: from here on the fourth is below 1e77, far from overflow.
ESCAPE: Final = 16.0


def tile(number: int) -> bytes:
    """The pixels of tile ``number`` (row by row from the top left), as RGB, row by row."""
    left, top = number % COLUMNS * TILE, number // COLUMNS * TILE
    step = SPAN / WIDTH
    pixels = bytearray()
    for y in range(top, top + TILE):
        imaginary = CENTRE.imag - (y - HEIGHT / 2) * step
        for x in range(left, left + TILE):
            pixels += colour(escape(complex(CENTRE.real + (x - WIDTH / 2) * step, imaginary)))
    return bytes(pixels)


def escape(c: complex) -> float | None:
    """After how many steps of z*z + c its size grows without bound, smoothly counted; ``None`` when it does not."""
    z = 0j
    for done in range(0, ITERATIONS_MAX, 4):
        before = z
        z = z * z + c
        z = z * z + c
        z = z * z + c
        z = z * z + c
        if abs(z) > ESCAPE:
            z, steps = before, done
            while abs(z) <= ESCAPE:
                z = z * z + c
                steps += 1
            # The share of a step by which it passed the bound (normalised iteration count).
            return steps + 1 - math.log2(math.log2(abs(z)) / math.log2(ESCAPE))
    return None


def colour(steps: float | None) -> bytes:
    """Deep blue through white to gold and back, once in a hundred steps; black inside."""
    if steps is None:
        return b"\x04\x06\x10"
    return PALETTE[int(math.sqrt(max(steps, 0.0)) * 64) % len(PALETTE)]


def _palette() -> list[bytes]:
    stops = [
        (0.00, (0, 7, 60)),
        (0.18, (20, 90, 190)),
        (0.40, (230, 250, 255)),
        (0.62, (255, 178, 20)),
        (0.82, (110, 20, 40)),
        (1.00, (0, 7, 60)),
    ]
    colours = []
    for place in range(512):
        share = place / 512
        for (low, first), (high, second) in pairwise(stops):
            if low <= share < high:
                way = (share - low) / (high - low)
                way = way * way * (3 - 2 * way)
                colours.append(bytes(round(a + (b - a) * way) for a, b in zip(first, second, strict=True)))
    return colours


PALETTE: Final = _palette()


class Canvas:
    """The picture as its tiles come in."""

    def __init__(self) -> None:
        self._rows = [bytearray(WIDTH * 3) for _ in range(HEIGHT)]

    def paint(self, number: int, pixels: bytes) -> None:
        """Put a tile where it belongs."""
        left, top = number % COLUMNS * TILE * 3, number // COLUMNS * TILE
        for y in range(TILE):
            self._rows[top + y][left : left + TILE * 3] = pixels[y * TILE * 3 : (y + 1) * TILE * 3]

    def mean(self, left: int, top: int, width: int, height: int) -> tuple[int, int, int]:
        """The mean colour of a rectangle, from every fourth pixel of it."""
        sums, count = [0, 0, 0], 0
        for y in range(top, top + height, 4):
            row = self._rows[y]
            for x in range(left * 3, (left + width) * 3, 12):
                sums[0] += row[x]
                sums[1] += row[x + 1]
                sums[2] += row[x + 2]
                count += 1
        return (sums[0] // count, sums[1] // count, sums[2] // count)

    def save(self, path: str) -> None:
        """Write a PNG. Raises ``OSError``."""
        import png

        with open(path, "wb") as file:
            png.Writer(WIDTH, HEIGHT, greyscale=False).write(file, self._rows)
