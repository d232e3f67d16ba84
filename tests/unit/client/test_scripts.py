"""A script or function finds its arguments and files in a folder of its own, and leaves nothing behind."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from pathlib import Path

import pytest

from p2pcpn.client.scripts import Outputs, run_script, with_input, with_inputs


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "of another task").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_script_is_the_main_program_with_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    main = sys.modules["__main__"]
    argv = list(sys.argv)
    run_script("import sys\nprint(__name__, sys.argv, sys.modules['__main__'].__file__)", "s.py", {}, "a", "b")
    assert capsys.readouterr().out == "__main__ ['s.py', 'a', 'b'] s.py\n"
    assert sys.modules["__main__"] is main and sys.argv == argv


def test_each_task_has_a_folder_of_its_own_that_is_gone_afterwards(folder: Path) -> None:
    run_script(
        "import os\nassert sorted(os.listdir('.')) == ['out', 'x'], os.listdir('.')\nopen('y', 'w').close()",
        "s.py",
        {"x": b"1"},
    )
    assert [path.name for path in folder.iterdir()] == ["of another task"]
    assert Path.cwd() == folder


@pytest.mark.parametrize("code", ["", "0", "None"])
def test_a_script_that_exits_well_ends_well(code: str) -> None:
    run_script(f"raise SystemExit({code})", "s.py", {})


def test_a_script_that_exits_badly_raises_and_leaves_no_trace(folder: Path) -> None:
    with pytest.raises(SystemExit, match="3"):
        run_script("import sys; sys.exit(3)", "s.py", {})
    assert Path.cwd() == folder


def test_a_traceback_shows_the_lines_of_the_script() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_script("x = 1\ny = x / 0  # the line\n", "script.py", {})
    text = "".join(traceback.format_exception(caught.value))
    assert 'File "script.py", line 2' in text and "# the line" in text


def test_a_function_finds_the_input_files_where_it_runs() -> None:
    def look(*words: str) -> tuple[list[str], tuple[str, ...]]:
        return sorted(os.listdir(".")), words

    assert with_inputs({"b": b"2", "a": b"1"}, look, "w") == (["a", "b", "out"], ("w",))
    assert with_input(look, "a", b"1", "w") == (["a", "out"], ("a", "w"))


def test_the_bytes_of_an_input_file_are_as_they_were() -> None:
    data = bytes(range(256))
    assert with_input(lambda name: Path(name).read_bytes(), "data.bin", data) == data


def test_input_files_cannot_be_written_to() -> None:
    assert with_input(lambda name: oct(os.stat(name).st_mode & 0o777), "x", b"1") == "0o444"


def test_what_a_task_leaves_in_out_travels_with_its_result() -> None:
    def work(name: str) -> int:
        os.makedirs("out/deep")
        Path("out/a.txt").write_text("A")
        Path("out/deep/b").write_bytes(b"B")
        os.symlink("/etc/passwd", "out/link")
        return 7

    found = with_input(work, "x", b"1")
    assert isinstance(found, Outputs) and found.value == 7
    assert repr(found) == "7, 2 output files: a.txt, deep/b"
    again = pickle.loads(pickle.dumps(found, protocol=5))
    assert (again.value, again.archive) == (7, found.archive)
    script = run_script("open('out/c', 'w').close()", "s.py", {})
    assert isinstance(script, Outputs) and repr(script) == "1 output file: c"


def test_a_file_that_is_older_than_its_archives_format_travels_too() -> None:
    def work() -> None:
        Path("out/old").write_text("A")
        os.utime("out/old", (0, 0))

    assert repr(with_inputs({}, work)) == "1 output file: old"


def test_too_many_output_files_and_too_large_ones_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(count: int) -> None:
        for number in range(count):
            Path(f"out/{number}").write_bytes(b"12345678")

    monkeypatch.setattr("p2pcpn.client.scripts.OUTPUT_FILES_MAX", 2)
    with pytest.raises(ValueError, match="left 3 files"):
        with_inputs({}, leave, 3)
    monkeypatch.setattr("p2pcpn.client.scripts.TASK_RESULT_BYTES_MAX", 30)
    with pytest.raises(ValueError, match="left 16 bytes"):
        with_inputs({}, leave, 2)


def test_an_output_file_whose_name_is_no_text_is_told() -> None:
    def leave() -> None:
        Path("out/b\udcff").write_text("A")

    with pytest.raises(ValueError, match=r"left 'b\\udcff' in out/; only files travel whose names are UTF-8"):
        with_inputs({}, leave)
