"""What a command line asks for becomes calls and the modules they need, or a reason why not."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pcpn.client import calls, scripts
from p2pcpn.client.calls import calls_of, parse_target, read_lines, short_name
from p2pcpn.errors import UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    files = {
        "work.py": "import beside_it\nnumber = 3\ndef double(x, *more): return beside_it.twice(x), more\n"
        "class Box:\n    def open(x): return x\n",
        "beside_it.py": "def twice(x): return 2 * x\n",
        "broken.py": "def f(:\n",
        "raises.py": "raise KeyError('no\\nsuch')\n",
        "exits.py": "raise SystemExit(3)\n",
        "7 up-and.py": "def f(x): return x\n",
        "bag/__init__.py": "",
        "bag/inner.py": "from . import other\ndef f(): return other.NAME\n",
        "bag/other.py": "NAME = 'other'\n",
        "notes.txt": "one\n\n  \ntwo\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.rstrip("_") == "work"]:  # of other tests in this process
        monkeypatch.delitem(sys.modules, name)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def names(bundle: calls.Bundle | None) -> list[str]:
    assert bundle is not None
    return zipfile.ZipFile(io.BytesIO(bundle.data)).namelist()


def test_a_script_is_one_task_that_brings_its_modules() -> None:
    made = calls_of("work.py", ["a", "b"], None, ["notes.txt"])
    assert made.arguments == [("a", "b")] and made.is_script and made.name == "work.py"
    assert made.function.func is scripts.run_script
    assert made.function.args[1:] == ("work.py", {"notes.txt": b"one\n\n  \ntwo\n"})
    assert names(made.bundle) == ["beside_it.py"]


def test_a_function_of_a_file_is_one_task_with_text_for_arguments() -> None:
    made = calls_of("work.py:double", ["x"])
    assert made.function(*made.arguments[0]) == ("xx", ())
    assert names(made.bundle) == ["beside_it.py", "work.py"]
    assert made.name == "work.py:double" and not made.is_script
    assert calls_of("work.py:Box.open", ["x"]).function("y") == "y"
    assert made.function.func is scripts.with_inputs and made.function.args[0] == {}


def test_a_map_is_a_task_a_line_and_input_files_travel_once() -> None:
    assert calls_of("work.py:double", ["m"], ["1", "2"]).arguments == [("1", "m"), ("2", "m")]
    made = calls_of("work.py:double", [], ["1"], ["notes.txt"])
    assert made.function.func is scripts.with_inputs and made.arguments == [("1",)]


def test_input_files_without_a_map_are_a_task_each() -> None:
    made = calls_of("work.py:double", ["m"], None, ["notes.txt", "broken.py"])
    assert made.arguments == [("notes.txt", b"one\n\n  \ntwo\n", "m"), ("broken.py", b"def f(:\n", "m")]
    assert made.function.func is scripts.with_input


def test_a_file_inside_a_package_is_imported_as_part_of_it() -> None:
    made = calls_of("bag/inner.py:f", [])
    assert made.function() == "other" and made.function.args[1].__module__ == "bag.inner"
    assert {"bag/__init__.py", "bag/inner.py", "bag/other.py"} <= set(names(made.bundle))


def test_a_file_whose_name_is_no_module_name_gets_one() -> None:
    made = calls_of("7 up-and.py:f", ["x"])
    assert made.function.args[1].__module__ == "_7_up_and" and names(made.bundle) == ["_7_up_and.py"]
    Path("json.py").write_text("def f(x): return x\n")
    assert calls_of("json.py:f", ["x"]).function.args[1].__module__ == "json_"


def test_modules_beside_the_file_are_found_behind_pythons_own(folder: Path) -> None:
    calls_of("work.py:double", ["x"])
    at = sys.path.index(str(folder))
    assert not any(entry.endswith("site-packages") for entry in sys.path[:at])
    assert at > 0


@pytest.mark.parametrize(
    ("target", "lines", "inputs", "words"),
    [
        ("none.py", None, [], "there is no such file"),
        ("none.py:f", None, [], "there is no such file"),
        (":f", None, [], "there is no such file"),
        (".", None, [], "this is a folder"),
        ("work.py:", None, [], "is no name of a function"),
        ("work.py:1", None, [], "is no name of a function"),
        ("work.py:doble", None, [], "did you mean 'double'"),
        ("work.py:zzz", None, [], "it has double"),
        ("work.py:number", None, [], "is no function but int"),
        ("broken.py", None, [], r"broken.py: line 1: "),
        ("broken.py:f", None, [], r"broken.py: line 1: "),
        ("raises.py:f", None, [], "cannot be imported: KeyError: 'no"),
        ("exits.py:f", None, [], "cannot be imported: SystemExit: 3"),
        ("notes.txt:f", None, [], "ends in .py"),
        ("work.py", ["1"], [], "write FILE:FUNCTION"),
        ("work.py:double", [], [], "no lines"),
        ("work.py:double", None, ["none"], "none: No such file"),
        ("work.py:double", None, ["out"], "cannot be called out"),
        ("work.py:double", None, ["work.py", "./work.py"], "two input files are called work.py"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_reason(
    target: str, lines: list[str] | None, inputs: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        calls_of(target, [], lines, inputs)


def test_too_many_lines_and_too_large_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "TASKS_MAX", 1)
    with pytest.raises(UsageError, match="at most 1 tasks"):
        calls_of("work.py:double", [], ["1", "2"])
    monkeypatch.setattr(calls, "SEALED_BYTES_MAX", 4)
    with pytest.raises(UsageError, match="too large to travel"):
        calls_of("work.py:double", [], None, ["notes.txt"])


def test_a_program_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "binary.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no Python program"):
        calls_of("binary.py", [])


def test_a_file_with_a_colon_in_its_name_is_a_file(folder: Path) -> None:
    (folder / "a:b").write_text("")
    assert parse_target("a:b") == (Path("a:b"), None)


def test_lines_come_from_a_file_or_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_lines("notes.txt") == ["one", "two"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\r\nb\n"))
    assert read_lines("-") == ["a", "b"]
    with pytest.raises(UsageError, match="none: No such file"):
        read_lines("none")


def test_a_long_name_is_cut_for_listings() -> None:
    assert short_name("/a/b/" + "x" * 100) == "x" * 60
