"""Every module has a twin test file, and the twin alone covers at least 85 % of it.

The unit tests run in one process under coverage, with what each test runs booked to its file (see
``tests/conftest.py``), and have to pass. A module is measured by its twin's lines and the lines that ran on import;
what other tests run of it counts for nothing.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from coverage import Coverage

from tests.house.unit_tests import ROOT, UNIT_TESTS_S, Ended, awaited, beside, run, unit_tests

COVERED_MIN = 0.85
LAST_LINES = 80


@dataclass(frozen=True, slots=True)
class Measure:
    """How many of a module's statements its twin runs, and the lines it does not."""

    statements: int
    missing: str
    covered: float


def needs_twin(path: Path, text: str) -> bool:
    """A package file that only says its idea and names what it exports has nothing to test."""
    if path.name == "__main__.py":
        return False
    if path.name != "__init__.py":
        return True
    return any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for node in ast.parse(text).body)


def twin_of(module: str) -> str:
    """``p2pcpn/net/udp.py`` has ``tests/unit/net/test_udp.py``; a package with code of its own ``test_init.py``."""
    path = Path(module)
    stem = "init" if path.stem == "__init__" else path.stem
    return Path("tests/unit", *path.parent.parts[1:], f"test_{stem}.py").as_posix()


def measure(root: Path, data_file: Path, module: str, twin: str) -> Measure:
    """What ``twin`` alone, and the import, ran of ``module``."""
    coverage = Coverage(data_file=str(data_file), config_file=str(ROOT / "setup.cfg"))
    coverage.load()
    coverage.get_data().set_query_contexts(["^$", f"^{re.escape(twin)}$"])
    _, statements, _, missing, ranges = coverage.analysis2(str(root / module))
    covered = 1 - len(missing) / len(statements) if statements else 1.0
    return Measure(len(statements), ranges, covered)


def violations(root: Path, data_file: Path, modules: list[str]) -> list[str]:
    """Each module without a twin, or whose twin covers too little of it, as one line."""
    found = []
    for module in modules:
        twin = twin_of(module)
        if not (root / twin).is_file():
            found.append(f"{module}: no twin {twin}")
            continue
        measured = measure(root, data_file, module, twin)
        if measured.covered < COVERED_MIN:
            found.append(
                f"{module}: {twin} alone covers {measured.covered:.0%} of {measured.statements} statements; "
                f"not lines {measured.missing}"
            )
    return found


def last_words(output: str) -> list[str]:
    """The last lines of a run that failed; of one whose interpreter crashed, the thread that did it comes first."""
    lines = output.splitlines()
    crash = next((number for number, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
    return lines[-LAST_LINES:] if crash is None else lines[max(0, crash - 3) : crash + LAST_LINES]


@pytest.mark.timeout(UNIT_TESTS_S + 60)
def test_every_module_is_covered_by_its_twin_alone(tmp_path: Path) -> None:
    modules = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "p2pcpn").rglob("*.py"))
        if needs_twin(path, path.read_text("utf-8"))
    ]
    ended = unit_tests(tmp_path)
    assert ended.data_file.exists(), f"the unit tests did not run:\n{ended.output[-4000:]}"
    found = violations(ROOT, ended.data_file, modules)
    # Lines are counted by number: those of the text that ran say nothing about the text that is there now.
    changed = [module for module in modules if (ROOT / module).stat().st_mtime_ns > ended.began_ns]
    found += [f"{module}: changed while the tests ran; measure again" for module in changed]
    # They run nowhere else in a full run: what fails among them fails here.
    closing = last_words(ended.output) if ended.code else []
    found += [line for line in closing if line.startswith(("FAILED", "ERROR"))]
    told = "\n".join([*(["the unit tests themselves:", *closing, ""] if closing else []), *found])
    assert not found and ended.code == 0, f"\n{told}"


ORPHAN = '"""No twin."""\n'
# The first function runs in a thread and a fixture, the second only from another module's twin.
WORKED = '"""Two functions."""\n\n\ndef used(x):\n    y = x + 1\n    return y\n'
IDLE = '"""Two functions."""\n\n\ndef idle(x):\n    y = x + 1\n    z = y + 1\n    return z\n'
TEST_WORKED = """
import threading
import pytest
from pkg.idle import idle
from pkg.worked import used

@pytest.fixture
def seen():
    found = []
    thread = threading.Thread(target=lambda: found.append(used(1)))
    thread.start()
    thread.join()
    return found

def test_a_thread_of_a_fixture_counts(seen):
    assert seen == [2]
    assert idle(1) == 3
"""
TEST_IDLE = """
import pkg.idle

def test_an_import_is_not_enough():
    assert pkg.idle.idle
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package of three modules, and tests for two of them."""
    texts = {
        "pkg/__init__.py": '"""A package."""\n',
        "pkg/orphan.py": ORPHAN,
        "pkg/worked.py": WORKED,
        "pkg/idle.py": IDLE,
        "tests/conftest.py": (ROOT / "tests" / "conftest.py").read_text("utf-8"),
        "tests/unit/test_worked.py": TEST_WORKED,
        "tests/unit/test_idle.py": TEST_IDLE,
        "setup.cfg": "[tool:pytest]\naddopts = --import-mode=importlib\npythonpath = .\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


def test_a_module_that_only_another_twin_runs_is_found(tree: Path) -> None:
    ended = run(tree, "pkg", "tests/unit", tree)
    assert ended.code == 0, ended.output
    found = violations(tree, ended.data_file, ["pkg/idle.py", "pkg/orphan.py", "pkg/worked.py"])
    assert [line.partition(":")[0] for line in found] == ["pkg/idle.py", "pkg/orphan.py"], found
    assert "no twin" in found[1]
    assert "lines 5-7" in found[0]


AWAITS = """
import os
from pathlib import Path
from tests.house.unit_tests import awaited

def test_the_unit_tests_have_run():
    ended = awaited(Path(os.environ["P2PCPN_UNIT_TESTS"]))
    Path("seen").write_text(f"{ended.code} {ended.data_file.exists()} {ended.output.splitlines()[-1]}")
    assert ended.began_ns < ended.data_file.stat().st_mtime_ns
"""


@pytest.mark.parametrize(("arguments", "code"), [(["tests/house"], 0), (["tests/nowhere"], 4)])
def test_unit_tests_that_are_begun_beside_others_are_awaited_by_them(
    tree: Path, arguments: list[str], code: int
) -> None:
    house = tree / "tests" / "house"
    house.mkdir()
    (house / "unit_tests.py").write_text((ROOT / "tests" / "house" / "unit_tests.py").read_text("utf-8"))
    (house / "test_awaits.py").write_text(AWAITS)
    assert beside(tree, "pkg", "tests/unit", arguments) == code
    if code == 0:
        assert re.match("0 True 2 passed", (tree / "seen").read_text())


def test_unit_tests_that_do_not_end_are_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.house.unit_tests.UNIT_TESTS_S", 0.0)
    (tmp_path / "began").write_text("7")
    (tmp_path / "output").write_text("so far")
    assert awaited(tmp_path) == Ended(7, tmp_path / "coverage", -1, "so far")


def test_of_a_crash_the_thread_that_did_it_is_shown() -> None:
    threads = [f"Thread {number}" for number in range(200)]
    crashed = ["tests/unit/test_a.py ..", "Fatal Python error: Bus error", "", "Current thread", *threads]
    assert last_words("\n".join(["early"] * 9 + crashed))[2:6] == crashed[:4]
    assert last_words("\n".join(threads)) == threads[-80:]


def test_a_twin_mirrors_the_path_of_its_module() -> None:
    assert twin_of("p2pcpn/limits.py") == "tests/unit/test_limits.py"
    assert twin_of("p2pcpn/runtime/function/pool.py") == "tests/unit/runtime/function/test_pool.py"
    assert twin_of("p2pcpn/__init__.py") == "tests/unit/test_init.py"


def test_only_a_package_file_without_code_needs_no_twin() -> None:
    assert not needs_twin(
        Path("p2pcpn/net/__init__.py"), '"""Idea."""\nfrom p2pcpn.net.udp import Endpoint\n__all__ = []\n'
    )
    assert not needs_twin(Path("p2pcpn/__main__.py"), "import sys\n")
    assert needs_twin(Path("p2pcpn/__init__.py"), "def __getattr__(name): ...\n")
    assert needs_twin(Path("p2pcpn/net/udp.py"), "")
