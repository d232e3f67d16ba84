"""Leftovers: what killed programs left is cleared away, and nothing that may be in use or somebody else's."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pcpn.node.leftovers import FOLDERS_MAX, FRESH_S, clear, sweep
from p2pcpn.store.exclusive import Exclusive

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folders are looked after by Unix's locks")


def later() -> float:
    return time.time() + 2 * FRESH_S


def a_folder(root: Path, name: str, lock: str | None = "node.db.lock") -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "node.db").write_bytes(b"x")
    if lock is not None:
        (folder / lock).parent.mkdir(exist_ok=True)
        (folder / lock).write_bytes(b"1\n")
    return folder


def test_the_folder_of_a_program_that_was_killed_is_removed(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "p2pcpn-0123456789abcdef")
    assert sweep(tmp_path, later()) == 1
    assert not folder.exists()


def test_a_folder_whose_lock_is_held_stays(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "p2pcpn-0123456789abcdef")
    held = Exclusive(folder / "node.db.lock")
    assert sweep(tmp_path, later()) == 0
    held.release()
    assert sweep(tmp_path, later()) == 1


def test_the_folder_of_a_swarm_stays_while_the_program_or_one_of_its_peers_lives(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "p2pcpn-swarm-ab", "peer-0/node.db.lock")
    program = Exclusive(folder / "swarm.lock")
    assert sweep(tmp_path, later()) == 0
    peer = Exclusive(folder / "peer-0" / "node.db.lock")
    program.release()
    assert sweep(tmp_path, later()) == 0
    peer.release()
    assert sweep(tmp_path, later()) == 1


@pytest.mark.parametrize(
    ("name", "lock"),
    [
        ("p2pcpn-up-ab", "node.db.lock"),
        ("p2pcpn-0123456789abcdef", None),
        ("p2pcpn-notes", "node.db.lock"),
        ("other-0123456789abcdef", "node.db.lock"),
    ],
)
def test_what_may_be_somebody_elses_stays(tmp_path: Path, name: str, lock: str | None) -> None:
    folder = a_folder(tmp_path, name, lock)
    assert sweep(tmp_path, later()) == 0
    assert folder.exists()


def test_a_folder_that_was_just_made_stays(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, "p2pcpn-0123456789abcdef")
    assert sweep(tmp_path) == 0
    assert folder.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    a_folder(elsewhere, "work")
    (tmp_path / "p2pcpn-0123456789abcdef").symlink_to(elsewhere / "work")
    assert sweep(tmp_path, later()) == 0
    assert (elsewhere / "work" / "node.db").exists()


def test_one_start_clears_away_so_many_at_most(tmp_path: Path) -> None:
    for number in range(FOLDERS_MAX + 2):
        a_folder(tmp_path, f"p2pcpn-{number:016x}")
    assert sweep(tmp_path, later()) == FOLDERS_MAX
    assert sweep(tmp_path, later()) == 2


@pytest.mark.parametrize("left", ["blobs", None])
def test_a_folder_of_which_something_is_left_keeps_its_lock_for_the_next_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str | None
) -> None:
    folder = a_folder(tmp_path, "p2pcpn-0123456789abcdef")
    (folder / "blobs").mkdir()
    with monkeypatch.context() as patch:
        # A thread still writes there, or the disk refuses.
        patch.setattr("shutil.rmtree", lambda path, **_: None)
        if left is None:
            patch.setattr(Path, "unlink", lambda *_, **__: os.rmdir(tmp_path / "nothing"))
        clear(folder)
    assert (folder / "node.db.lock").exists()
    assert sweep(tmp_path, later()) == 1 and not folder.exists()
    clear(folder)  # it is gone already


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as found:
        yield found


def test_sockets_at_which_nobody_answers_go_and_others_stay(tmp_path: Path, listener: socket.socket) -> None:
    directory = tmp_path / f"p2pcpn-{os.getuid()}"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gone:
        gone.bind(str(directory / "gone.sock"))
    listener.bind(str(directory / "lives.sock"))
    listener.listen()
    (directory / "notes.sock").write_text("no socket")
    assert sweep(tmp_path, later()) == 1
    assert sorted(path.name for path in directory.iterdir()) == ["lives.sock", "notes.sock"]
