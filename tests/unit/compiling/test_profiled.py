"""A profiled build compiles twice and plays between; where something of it fails it compiles as ever, and says so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from setuptools import Distribution, Extension
from setuptools.errors import CompileError

from compiling.extensions import LIBRARY, BuildOnAllCores
from compiling.profiled import COUNTS, USES, BuildProfiled

PLAYED = "from pathlib import Path; Path('played').write_text('yes')"
FAILS = "raise SystemExit(3)"


class Compiler:
    """Compiles and links whatever it is given, but what has a flag that it ``lacks``."""

    def __init__(self, lacks: str = "") -> None:
        self.lacks = lacks

    def compile(self, sources: list[str], output_dir: str, extra_postargs: list[str]) -> list[str]:
        assert output_dir and all(Path(source).is_file() for source in sources)
        if self.lacks in extra_postargs:
            raise CompileError(f"{self.lacks} is not known\nand more")
        return sources

    def link_shared_object(self, objects: list[str], name: str, extra_postargs: list[str]) -> None:
        assert objects and name and extra_postargs


Pass = tuple[str, list[str], list[str], bool]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Pass]:
    """Where each pass builds, the flags of what is shared, those of all else, and whether it is compiled anew."""
    noted: list[Pass] = []

    def note(build: BuildProfiled) -> None:
        shared, other = build.extensions
        assert [*shared.extra_compile_args[1:]] == [*shared.extra_link_args]
        place = Path(build.build_lib).relative_to(tmp_path.resolve()).as_posix()
        noted.append((place, shared.extra_compile_args, other.extra_compile_args, build.force))

    monkeypatch.setattr(BuildOnAllCores, "build_extensions", note)
    (tmp_path / "p2pcpn").mkdir()
    monkeypatch.chdir(tmp_path)
    return noted


def built(tmp_path: Path, compiler: Compiler, *plays: str) -> BuildProfiled:
    shared = Extension(f"{LIBRARY}__mypyc", ["shared.c"], extra_compile_args=["-O1"])
    other = Extension("p2pcpn.other", ["other.c"], extra_compile_args=["-O1"])
    build = BuildProfiled(Distribution({"name": "p2pcpn", "ext_modules": [shared, other]}))
    build.build_lib, build.build_temp = str(tmp_path.resolve() / "lib"), "objects"
    build.ensure_finalized()
    fake: Any = compiler
    build.compiler, build.plays = fake, plays
    build.build_extensions()
    return build


def test_it_counts_in_a_place_of_its_own_plays_there_and_compiles_for_what_was_counted(
    tmp_path: Path, passes: list[Pass]
) -> None:
    build = built(tmp_path, Compiler(), PLAYED)
    assert passes == [
        ("objects/counting", ["-O1", *COUNTS], ["-O1"], True),
        ("lib", ["-O1", *USES], ["-O1"], True),
    ]
    assert (tmp_path / "objects" / "counting" / "played").read_text() == "yes"
    # By its path an object finds its counts again.
    assert Path(build.build_temp).is_absolute()


def test_a_compiler_that_lacks_a_flag_compiles_once_and_it_is_said(
    tmp_path: Path, passes: list[Pass], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        built(tmp_path, Compiler("-fprofile-update=single"), PLAYED)
    assert passes == [("lib", ["-O1"], ["-O1"], True)]
    assert [record.getMessage() for record in caplog.records] == [
        "p2pcpn: compiled without a profile, which takes gcc: -fprofile-update=single is not known"
    ]


def test_a_play_that_fails_leaves_a_build_without_a_profile(
    tmp_path: Path, passes: list[Pass], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        built(tmp_path, Compiler(), FAILS, PLAYED)
    assert [(place, flags) for place, flags, _, _ in passes] == [
        ("objects/counting", ["-O1", *COUNTS]),
        ("lib", ["-O1"]),
    ]
    assert len(caplog.records) == 1 and not (tmp_path / "objects" / "counting" / "played").exists()


def test_where_there_is_no_room_to_count_the_build_is_one_without_a_profile(
    tmp_path: Path, passes: list[Pass], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "objects").write_text("a file is no place to build in", "utf-8")
    built(tmp_path, Compiler(), PLAYED)
    assert passes == [("lib", ["-O1"], ["-O1"], True)] and len(caplog.records) == 1
