"""``p2pcpn demo``: what is submitted, who dies on the way, what is said and what is kept; the swarm is made up.

Its executor runs a task when its result is waited for, so that tasks end in the order they were submitted.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.cli.demo import picture, verb, words
from p2pcpn.cli.demo.picture import COLUMNS, ROWS, TILE, TILES
from p2pcpn.cli.demo.verb import KILL_AT, Demonstration, _from_the_middle
from p2pcpn.client import attribution
from p2pcpn.client import swarm as swarm_module

Command = Callable[..., Any]
PIXELS = bytes((9, 8, 7)) * (TILE * TILE)


class Executor:
    """Runs what is submitted, in turn on one of the peers that live."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm
        self.workers: dict[int, str] = {}
        self.items: list[Any] = []

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, task: Callable[[Any], Any], item: Any) -> Future[Any]:
        alive = [peer.id for n, peer in enumerate(self.swarm.peers) if n not in self.swarm.dead]
        self.workers[len(self.items)] = alive[len(self.items) % len(alive)]
        self.items.append(item)
        future: Future[Any] = Future()
        try:
            future.set_result(task(item))
        except ValueError as error:
            future.set_exception(error)
        return future


class Swarm:
    """Peers that only have ids."""

    made: list[Swarm] = []  # noqa: RUF012

    def __init__(self, peers: int) -> None:
        self.peers = [SimpleNamespace(id=f"{n:06x}" + "0" * 34) for n in range(peers)]
        self.dead: list[int] = []
        self.closed = False
        self.executors: list[Executor] = []
        Swarm.made.append(self)

    def __enter__(self) -> Swarm:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def executor(self, *, output: bool) -> Executor:
        assert not output, "what tasks print would break the screen"
        self.executors.append(Executor(self))
        return self.executors[-1]

    def kill(self, index: int) -> None:
        self.dead.append(index)


class Attribution:
    """Knows all workers at once."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def workers(self) -> dict[int, str]:
        return dict(self._executor.workers)


@pytest.fixture
def swarms(monkeypatch: pytest.MonkeyPatch) -> list[Swarm]:
    monkeypatch.setattr(swarm_module, "Swarm", Swarm)
    monkeypatch.setattr(attribution, "Attribution", Attribution)
    monkeypatch.setattr(picture, "tile", lambda number: PIXELS)
    monkeypatch.setattr(words, "sources", lambda size: [["a.py", "b.py"], ["c.py"]])
    monkeypatch.setattr(words, "count", lambda paths: (len(paths), {"elephant": 2, "tiny": 9, "whatever": 5}))
    Swarm.made.clear()
    return Swarm.made


def test_a_demonstration_shows_who_did_what_and_keeps_the_picture(
    p2pcpn: Command, swarms: list[Swarm], user: Path
) -> None:
    ended = p2pcpn("demo", "--peers", "3")
    assert (ended.code, ended.err) == (0, "")
    (swarm,) = swarms
    assert len(swarm.peers) == 3 and swarm.closed and len(swarm.dead) == 1
    assert ended.lines[0] == "starting a swarm of 3 peers on this machine, a process each, with no coordinator"
    assert f"{TILES} of {TILES} tiles, 3 of 3 files" in ended.out
    assert "1 of 3 peers died, nothing was lost" in ended.out
    path = user / "work" / "p2pcpn-demo.png"
    assert ended.lines[-1] == f"picture: {path}" and path.read_bytes().startswith(b"\x89PNG")
    rows = [line.split() for line in ended.lines if line.startswith("0000")]
    assert sum(int(row[1]) for row in rows) == TILES and sum(int(row[2]) for row in rows) == 3
    assert [row[0] for row in rows if "killed" in row] == [swarm.peers[swarm.dead[0]].id[:6]]


def test_long_words_are_named_by_how_often_they_stand(p2pcpn: Command, swarms: list[Swarm]) -> None:
    ended = p2pcpn("demo", "--peers", "2")
    assert "32 words of documentation; of the long ones most often:" in ended.lines
    assert "  whatever 10   elephant 4" in ended.lines


def test_all_tiles_are_submitted_from_the_middle_outwards(p2pcpn: Command, swarms: list[Swarm]) -> None:
    p2pcpn("demo")
    items = swarms[0].executors[0].items
    assert sorted(items[:TILES]) == list(range(TILES)) and items[TILES:] == [["a.py", "b.py"], ["c.py"]]
    middle = {
        row * COLUMNS + column for row in (ROWS // 2 - 1, ROWS // 2) for column in (COLUMNS // 2 - 1, COLUMNS // 2)
    }
    assert set(items[:4]) == middle
    assert _from_the_middle(items[TILES - 1])[0] == _from_the_middle(0)[0]


def test_the_busiest_peer_dies_once_when_enough_tiles_are_there() -> None:
    swarm = Swarm(3)
    show = Demonstration(swarm, Executor(swarm), Attribution(Executor(swarm)))  # type: ignore[arg-type]
    for number in range(TILES):
        show._tile(number, (0.1, PIXELS), swarm.peers[2 if number < KILL_AT * TILES else 0].id)
        assert swarm.dead == ([2] if show.board.tiles >= KILL_AT * TILES else [])
    assert [share.killed for share in show.board.shares] == [False, False, True]


def test_of_equally_busy_peers_the_first_dies() -> None:
    swarm = Swarm(2)
    show = Demonstration(swarm, Executor(swarm), Attribution(Executor(swarm)))  # type: ignore[arg-type]
    show._kill()
    assert swarm.dead == [0]


def test_a_result_whose_peer_is_not_known_yet_is_waited_for(
    swarms: list[Swarm], monkeypatch: pytest.MonkeyPatch
) -> None:
    swarm = Swarm(2)
    executor = Executor(swarm)
    answers = iter([{}, {}, {0: swarm.peers[0].id}])
    monkeypatch.setattr(verb, "FRAME_S", 0.0)
    late = SimpleNamespace(workers=lambda: next(answers))
    show = Demonstration(swarm, executor, late)  # type: ignore[arg-type]
    told: list[Any] = []
    show._do(None, lambda item: item * 2, [21], lambda *words: told.append(words))
    assert told == [(21, 42, swarm.peers[0].id)] and list(answers) == []


def test_what_a_task_raises_ends_the_demonstration_and_the_swarm(
    p2pcpn: Command, swarms: list[Swarm], monkeypatch: pytest.MonkeyPatch, user: Path
) -> None:
    def broken(number: int) -> bytes:
        raise ValueError("no colours left")

    monkeypatch.setattr(picture, "tile", broken)
    ended = p2pcpn("demo")
    assert ended.code == 1 and "ValueError: no colours left" in ended.err and ended.err.count("\n") == 1
    assert swarms[0].closed and not list((user / "work").iterdir())


def test_what_was_lost_would_be_said() -> None:
    swarm = Swarm(2)
    show = Demonstration(swarm, Executor(swarm), Attribution(Executor(swarm)))  # type: ignore[arg-type]
    show.board.files_total = 5
    with redirect_stdout(io.StringIO()) as said:
        show.summary(1.25)
    assert f"0 of {TILES} tiles, 0 of 5 files, 1.2 s; 0 of 2 peers died, something was lost" in said.getvalue()


@pytest.mark.parametrize("peers", ["1", "9", "-3", "many"])
def test_a_number_of_peers_that_cannot_be_shown_is_usage(p2pcpn: Command, swarms: list[Swarm], peers: str) -> None:
    ended = p2pcpn("demo", "--peers", peers)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert not swarms


def test_a_picture_that_has_no_place_is_usage_before_a_swarm_starts(p2pcpn: Command, swarms: list[Swarm]) -> None:
    ended = p2pcpn("demo", "--output", "nowhere/picture.png")
    assert ended.code == 2 and "there is no directory" in ended.err and not swarms


def test_a_picture_that_cannot_be_written_is_a_failure_in_one_line(
    p2pcpn: Command, swarms: list[Swarm], user: Path
) -> None:
    (user / "work" / "taken.png").mkdir()
    ended = p2pcpn("demo", "--output", "taken.png")
    assert ended.code == 1 and ended.err == f"p2pcpn: {user / 'work' / 'taken.png'}: Is a directory\n"


# --- on a terminal ------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns, live", [("100", True), ("60", False)])
def test_a_terminal_that_is_wide_enough_sees_the_picture_grow(
    swarms: list[Swarm], monkeypatch: pytest.MonkeyPatch, columns: str, live: bool
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(verb, "KILL_AT", 2.0)
    swarm = Swarm(2)
    executor = Executor(swarm)
    with redirect_stdout(Terminal()) as shown:
        assert sys.stdout.isatty()
        Demonstration(swarm, executor, Attribution(executor)).run()  # type: ignore[arg-type]
    assert isinstance(shown, Terminal)
    assert ("▀" in shown.getvalue()) is live
    assert ("the picture is whole" in shown.getvalue().splitlines()[0]) is not live
