"""The score of the demonstration: which peer did what, as a window shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2pcpn.cli.demo.picture import TILES, Canvas

# Told apart on dark and on light backgrounds, and by most who see fewer colours.
COLOURS = ("#4c9be8", "#f2a541", "#5fbf77", "#d9699f", "#9b84d6", "#3fb8af", "#c9b458", "#e2705a")


@dataclass(slots=True)
class Share:
    """One peer's share of the work."""

    number: int
    id: str
    colour: str
    tiles: int = 0
    files: int = 0
    words: int = 0
    seconds: float = 0.0
    killed: bool = False


@dataclass(slots=True)
class Board:
    """Everything a frame is drawn from."""

    shares: list[Share]
    canvas: Canvas = field(default_factory=Canvas)
    painter: dict[int, str] = field(default_factory=dict)  # tile -> node id
    painted: set[int] = field(default_factory=set)
    files: int = 0
    files_total: int = 0
    note: str = ""
    seconds: float = 0.0

    @classmethod
    def of(cls, ids: list[str]) -> Board:
        """A fresh board for peers with these node ids."""
        return cls([Share(at + 1, node, COLOURS[at % len(COLOURS)]) for at, node in enumerate(ids)])

    def share(self, node: str) -> Share | None:
        """The share of the peer with this node id."""
        return next((share for share in self.shares if share.id == node), None)

    def tile(self, number: int, pixels: bytes, seconds: float, node: str) -> None:
        """A tile has come."""
        self.canvas.paint(number, pixels)
        self.painted.add(number)
        self.painter[number] = node
        share = self.share(node)
        if share is not None:
            share.tiles += 1
            share.seconds += seconds

    def batch(self, files: int, words: int, seconds: float, node: str) -> None:
        """A batch of files was read."""
        self.files += files
        share = self.share(node)
        if share is not None:
            share.files += files
            share.words += words
            share.seconds += seconds

    @property
    def tiles(self) -> int:
        """How many tiles are painted."""
        return len(self.painted)

    @property
    def complete(self) -> bool:
        """Whether every tile is painted."""
        return len(self.painted) == TILES
