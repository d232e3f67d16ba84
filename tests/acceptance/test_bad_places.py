"""Bad places: a node whose folder, disk or port cannot be had says so in one line that names the next step."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell


@contextmanager
def mounted(place: Path, options: str, *, full: bool = False) -> Iterator[Path]:
    """A small file system."""
    if os.geteuid() != 0:
        pytest.skip("a small file system is mounted, which takes root")
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    if ran.returncode:
        pytest.skip(f"no file system can be mounted here: {ran.stderr.strip()}")
    try:
        if full:
            with pytest.raises(OSError, match="No space left"), (place / "ballast").open("wb", buffering=0) as ballast:
                while True:
                    ballast.write(bytes(4096))
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], timeout=10, check=True)


def refused(shell: Shell, data: str, code: int = 1) -> str:
    """The one line with which a node ends that keeps what it has in ``data``."""
    ended = shell.run("node", "--listen", "127.0.0.1:0", "--data", data, code=code)
    assert ended.stdout == "" and ended.stderr.count("\n") == 1, ended.stdout + ended.stderr
    return ended.stderr


def test_a_disk_that_cannot_be_written_to(shell: Shell) -> None:
    with mounted(shell.home / "still", "ro,size=1m") as place:
        assert "Read-only file system; name another folder with --data" in refused(shell, str(place))


def test_a_disk_that_is_full(shell: Shell) -> None:
    with mounted(shell.home / "full", "size=64k", full=True) as place:
        assert "No space left on device; name another folder with --data" in refused(shell, str(place))


def test_a_swarm_whose_disk_is_full_says_which_folder_to_name(shell: Shell) -> None:
    with mounted(shell.home / "data", "size=64k"):
        ended = shell.run("swarm", "up", "--peers", "2", code=1)
        assert ended.stdout == "" and ended.stderr.count("\n") == 1
        assert re.search("No space left on device|no room", ended.stderr) and "--data" not in ended.stderr
        assert ended.stderr.endswith("; make room there, or name another folder with XDG_DATA_HOME\n")
        assert "no local swarm runs" in shell.run("swarm", "status", code=3).stderr


def test_a_folder_that_cannot_be_made(shell: Shell) -> None:
    assert "cannot be made: No such file or directory; name another folder with --data" in refused(shell, "/proc/none")


def test_a_folder_and_a_port_that_another_node_has(new_shell: Callable[[str], Shell]) -> None:
    shell = new_shell("user")
    with shell.start("node", "--listen", "127.0.0.1:0", "--data", "mine") as node:
        try:
            assert node.stdout is not None
            first = node.stdout.readline()
            found = re.match(r"peer \w+ at (127\.0\.0\.1:\d+) ", first)
            assert found, first
            assert f"in use by another peer (process {node.pid}); name another folder" in refused(shell, "mine")
            said = shell.run("node", "--listen", found[1], "--data", "other", code=2).stderr
            assert said == (
                f"p2pcpn: cannot listen on {found[1]}: Address already in use; name another port, or 0 for one that is "
                "free\n"
            )
        finally:
            node.kill()
