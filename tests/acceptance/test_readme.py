"""What the README shows works: each Python and shell block is run as it stands, and prints what it says it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCK_S = 90.0


def blocks(language: str) -> list[str]:
    """The fenced blocks of ``language``, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and a ``p2pcpn`` on the path that is the one of this tree."""
    command = tmp_path / "bin" / "p2pcpn"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m p2pcpn "$@"\n', "utf-8")
    command.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("P2PCPN_", "XDG_"))}
    return {
        **kept,
        "HOME": str(tmp_path / "home"),
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


def run(command: list[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=BLOCK_S, check=False
    )


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_a_python_block_of_the_readme_runs_and_prints_what_it_says(
    number: int, environment: dict[str, str], tmp_path: Path
) -> None:
    text = blocks("python")[number]
    program = tmp_path / "block.py"
    program.write_text(text, "utf-8")
    ended = run([sys.executable, str(program)], environment, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == re.findall(r"  # prints (.*)$", text, re.MULTILINE)


@pytest.fixture
def swarm_ends(environment: dict[str, str], tmp_path: Path) -> Iterator[None]:
    """No peer stays behind, whatever a block did."""
    yield
    run(["p2pcpn", "swarm", "down"], environment, tmp_path)


@pytest.mark.usefixtures("swarm_ends")
def test_the_shell_block_of_the_readme_runs_and_shows_the_results_twice(
    environment: dict[str, str], tmp_path: Path
) -> None:
    text, _ = blocks("sh")
    ended = run(["sh", "-e", "-c", text], environment, tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    squares = "".join(f"{number**2}\n" for number in range(1, 21))
    assert ended.stdout.count(squares) == 2, ended.stdout
    assert "no local swarm" not in ended.stdout


@pytest.mark.usefixtures("swarm_ends")
def test_a_swarm_grows_and_a_peer_of_it_leaves_as_the_readme_says(environment: dict[str, str], tmp_path: Path) -> None:
    _, text = blocks("sh")
    ended = run(["sh", "-e", "-c", text], environment, tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 to 4 peers: more while tasks queue" in ended.stdout and "peer 1 has left" in ended.stdout


def test_the_two_commands_come_first_and_exist() -> None:
    first = README.partition("```text\n")[2].splitlines()[:2]
    targets = [line.split()[1] for line in first]
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def prose(path: Path) -> str:
    """A document without what stands there as code."""
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path: Path) -> set[str]:
    """What a link may name within a document: its headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", prose(document)):
            if "://" not in target:
                path = document.parent / target if target else document
                assert path.exists(), f"{document.name} links to {target}"
                assert not anchor or anchor in anchors(path), f"{document.name} links to {target}#{anchor}"
