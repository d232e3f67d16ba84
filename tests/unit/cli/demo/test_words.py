"""The word count: which files are read, and which of their words count as documentation."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from p2pcpn.cli.demo import words
from p2pcpn.cli.demo.words import TOPICS, count, documentation, sources

SOURCE = '''"""The module's words."""
import os
text = "no documentation"

class A:
    """The class's words."""

    async def f(self):
        """The method's words."""

def g():
    return "nothing"
'''


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A standard library of a few files."""
    files = {
        "a.py": '"""Alpha beta, beta! It\'s x 7."""', "b/c.py": '"""Gamma."""', "b/data.txt": "Delta", "z.py": "1",
        "test/t.py": '"""Epsilon."""', "site-packages/s.py": '"""Zeta."""', "config-3.11/k.py": '"""Eta."""',
        "pydoc_data/topics.py": "topics = {'one': 'Theta iota'}",
    }  # fmt: skip
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(words.sysconfig, "get_path", lambda name: str(tmp_path) if name == "stdlib" else None)
    return tmp_path


def test_the_librarys_own_files_are_found_in_order(library: Path) -> None:
    assert sources(1 << 20) == [["a.py", "b/c.py", TOPICS, "z.py"]]


def test_files_are_cut_into_batches_by_their_size(library: Path) -> None:
    assert sources(1) == [["a.py"], ["b/c.py"], [TOPICS], ["z.py"]]
    assert sources((library / "a.py").stat().st_size + 1) == [["a.py", "b/c.py"], [TOPICS, "z.py"]]


def test_a_library_without_files_has_no_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words.sysconfig, "get_path", lambda name: str(tmp_path))
    assert sources(100) == []


def test_words_of_the_documentation_are_counted(library: Path) -> None:
    assert count(["a.py", "b/c.py", "z.py"]) == (3, {"alpha": 1, "beta": 2, "it's": 1, "gamma": 1})


def test_every_string_of_the_help_topics_counts(library: Path) -> None:
    assert count([TOPICS]) == (1, {"one": 1, "theta": 1, "iota": 1})


def test_a_file_that_another_build_has_is_not_counted_here(library: Path) -> None:
    assert count(["a.py", "only/elsewhere.py"])[0] == 1
    assert count(["only/elsewhere.py"]) == (0, {})


def test_docstrings_are_documentation_and_other_strings_are_not() -> None:
    assert set(documentation(SOURCE)) == {"The module's words.", "The class's words.", "The method's words."}
    assert "no documentation" in set(documentation(SOURCE, topics=True))


@pytest.mark.parametrize("text", ["def broken(:", "a\0b", "if 1:\nx"])
def test_what_cannot_be_parsed_has_no_documentation(text: str) -> None:
    assert list(documentation(text)) == []


def test_this_pythons_library_has_words() -> None:
    batches = sources(200_000)
    names = [name for batch in batches for name in batch]
    assert len(names) == len(set(names)) > 100 and "asyncio/tasks.py" in names
    assert (Path(sysconfig.get_path("stdlib")) / names[-1]).is_file()
    assert count(["heapq.py"])[1]["heap"] > 10
