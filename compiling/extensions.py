"""C extensions of the chosen modules: their text rewritten, C from mypyc, compiled on all cores."""

from __future__ import annotations

import contextlib
import os
import shutil
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension
from setuptools.command.build_ext import build_ext

from compiling import modules, plain

# All extensions share one library, in which calls between modules are calls of C.
LIBRARY = "p2pcpn"
# Of the compiler. The second takes 1.4 times as long to compile, the third 1.7 times;
# the second runs 0 to 4 % faster (docs/performance.md).
LEVEL = "1"
# How the copy is read. It is judged strictly where it comes from; the plain classes would not pass all of that.
_SETTINGS = """[mypy]
explicit_package_bases = True
ignore_missing_imports = True
[mypy-distributed.*,hivemind.*,loky.*,matplotlib.*,numpy.*,parsl.*,ray.*]
follow_imports = skip
"""


def compiler() -> str | None:
    """The path of the C compiler that Python would call, or None where there is none."""
    return shutil.which((os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0])


def extensions(root: Path, place: Path, chosen: list[str] | None = None) -> list[Extension]:
    """Write C for the modules below ``root``, all or those ``chosen``, below ``place``, which is made anew."""
    from mypyc.build import mypycify

    root, place = root.resolve(), place.resolve()
    shutil.rmtree(place, ignore_errors=True)
    text = place / "text"
    shutil.copytree(root / "p2pcpn", text / "p2pcpn", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    names = modules.chosen(root) if chosen is None else chosen
    for name in names:
        path = text / name
        path.write_text(plain.rewrite(path.read_text("utf-8")), "utf-8")
    (text / "mypy.ini").write_text(_SETTINGS, "utf-8")
    with contextlib.chdir(text):
        made: list[Extension] = mypycify(
            ["--cache-dir", str(place / "types"), *names],
            group_name=LIBRARY, multi_file=True, target_dir=str(place / "c"), opt_level=LEVEL, debug_level="0",
        )  # fmt: skip
    return made


class BuildOnAllCores(build_ext):
    """Compiles the files of an extension at the same time: nearly all are in one extension."""

    def build_extensions(self) -> None:
        compile_some = self.compiler.compile

        def compile_all(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                made = pool.map(lambda source: compile_some([source], **options), sources)
                return [name for names in made for name in names]

        self.compiler.compile = compile_all
        try:
            super().build_extensions()
        finally:
            self.compiler.compile = compile_some
