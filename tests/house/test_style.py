"""House style that a machine can check: docstrings, lengths, names, and no words that stand for unfinished work."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 600
WORDS_MIN = 3
# A module is named after the thing it knows; these know nothing.
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}
UNFINISHED = re.compile(
    r"\b(TODO|FIXME|XXX|HACK|NotImplementedError|NotImplemented yet)\b|(?i:\b(placeholders?|stubs?|for now|dummy)\b)"
)


def docstring_violations(name: str, text: str) -> list[str]:
    """A module says its one idea in the first line of its docstring."""
    docstring = ast.get_docstring(ast.parse(text))
    if not docstring or not docstring.strip():
        return [f"{name}: no docstring"]
    return []


def length_violations(name: str, text: str) -> list[str]:
    """A module of more than 600 lines hides a second idea."""
    lines = len(text.splitlines())
    return [f"{name}: {lines} lines, at most {LINES_MAX}"] if lines > LINES_MAX else []


def name_violations(name: str, text: str) -> list[str]:
    """No module, package or class is called after nothing in particular."""
    found = [
        f"{name}: {part!r} says nothing"
        for part in Path(name).with_suffix("").parts
        if EMPTY_NAMES & set(part.lower().split("_"))
    ]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and re.search(r"(Utils?|Helpers?|Managers?|Common|Misc)$", node.name):
            found.append(f"{name}:{node.lineno}: {node.name!r} says nothing")
    return found


def unfinished_violations(name: str, text: str) -> list[str]:
    """What is not built yet is absent, and nothing stands in its place."""
    return [
        f"{name}:{number}: {match.group()!r}"
        for number, line in enumerate(text.splitlines(), 1)
        if (match := UNFINISHED.search(line))
    ]


def except_violations(name: str, text: str) -> list[str]:
    """A bare ``except:`` swallows cancellation and interrupts."""
    return [
        f"{name}:{node.lineno}: bare except"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]


def sentence_violations(name: str, text: str) -> list[str]:
    """A test's name is a sentence: three words at least after ``test_``."""
    return [
        f"{name}:{node.lineno}: {node.name} is no sentence"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and re.match(r"test(_|$)", node.name)
        and len([word for word in node.name.split("_")[1:] if word]) < WORDS_MIN
    ]


def files(folder: str, pattern: str = "*.py") -> Iterator[tuple[str, str]]:
    """Path from the root and text of each file, in order."""
    for path in sorted((ROOT / folder).rglob(pattern)):
        yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


RULES = [docstring_violations, length_violations, name_violations, unfinished_violations, except_violations]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Callable[[str, str], list[str]]) -> None:
    found = [line for name, text in files("p2pcpn") for line in rule(name, text)]
    assert not found, "\n" + "\n".join(found)


def test_every_test_is_named_as_a_sentence() -> None:
    found = [line for name, text in files("tests", "test_*.py") for line in sentence_violations(name, text)]
    assert not found, "\n" + "\n".join(found)


def test_every_test_module_says_its_idea() -> None:
    found = [line for name, text in files("tests") for line in docstring_violations(name, text)]
    assert not found, "\n" + "\n".join(found)


BAD: list[tuple[Callable[[str, str], list[str]], str, str]] = [
    (docstring_violations, "p2pcpn/a.py", "x = 1\n"),
    (docstring_violations, "p2pcpn/a.py", '"""  """\n'),
    (docstring_violations, "p2pcpn/a/__init__.py", ""),
    (length_violations, "p2pcpn/a.py", "x = 1\n" * (LINES_MAX + 1)),
    (name_violations, "p2pcpn/net/utils.py", ""),
    (name_violations, "p2pcpn/common/codec.py", ""),
    (name_violations, "p2pcpn/net/socket_helpers.py", ""),
    (name_violations, "p2pcpn/net/udp.py", "class SessionManager: ..."),
    (unfinished_violations, "p2pcpn/a.py", "x = 1  # TODO: more"),
    (unfinished_violations, "p2pcpn/a.py", "def f():\n    raise NotImplementedError"),
    (unfinished_violations, "p2pcpn/a.py", "# a Placeholder"),
    (unfinished_violations, "p2pcpn/a.py", "# good enough for now"),
    (except_violations, "p2pcpn/a.py", "try:\n    f()\nexcept:\n    pass"),
    (sentence_violations, "tests/unit/test_a.py", "def test_codec(): pass"),
    (sentence_violations, "tests/unit/test_a.py", "class TestA:\n    async def test_it_works(self): pass"),
]


@pytest.mark.parametrize(("rule", "name", "text"), BAD)
def test_text_that_breaks_the_rule_is_found(rule: Callable[[str, str], list[str]], name: str, text: str) -> None:
    assert rule(name, text)


def test_text_that_keeps_the_rules_passes() -> None:
    text = '"""One idea."""\n\nclass Lease: ...\n\ntry:\n    pass\nexcept ValueError:\n    pass\n'
    assert [line for rule in RULES for line in rule("p2pcpn/net/udp.py", text)] == []
    assert sentence_violations("tests/unit/test_a.py", "def test_a_lease_ends(): pass") == []
