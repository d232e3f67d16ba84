"""Compiled machines do what the same machines do in Python: one seed, one trace."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Enough that values, effects and calls cross between compiled modules and others in every way, and soon built.
SOME = (
    *("protocol/effects.py", "protocol/pair_table.py", "protocol/stock.py", "wire/codec.py", "wire/envelope.py"),
    *("sim/clock.py", "sim/trace.py"),
)
# Compiled three times, with the build that is profiled.
FEW = ("protocol/stock.py", "sim/clock.py")
BUILD = """
import logging
import sys
from pathlib import Path
from setuptools import Distribution
from compiling.extensions import BuildOnAllCores, extensions
from compiling.profiled import BuildProfiled
logging.basicConfig(stream=sys.stdout)
place, profiled, modules = Path(sys.argv[1]), sys.argv[2] == "profiled", sys.argv[3:]
made = extensions(Path.cwd(), place / "made", modules)
build = (BuildProfiled if profiled else BuildOnAllCores)(Distribution({"name": "p2pcpn", "ext_modules": made}))
build.plays = ("from p2pcpn.cli.main import main; raise SystemExit(main('sim faults --peers 12 --seed 3'.split()))",)
build.build_lib, build.build_temp = str(place / "lib"), str(place / "objects")
build.ensure_finalized()
build.run()
"""


def run(*words: str, tree: Path, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["once", "profiled"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree whose ``SOME`` modules are C extensions, or ``FEW`` by a profiled build, and Python beside them."""
    for needed in ("mypyc", "setuptools"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed, so nothing can be compiled")
    from compiling.extensions import compiler

    found = compiler()
    if found is None:
        pytest.skip("there is no C compiler on this machine")
    place = tmp_path_factory.mktemp("compiled")
    names = FEW if request.param == "profiled" else SOME
    told = run("-c", BUILD, str(place), request.param, *(f"p2pcpn/{name}" for name in names), tree=ROOT, cwd=ROOT)
    if request.param == "profiled" and "gcc" in Path(found).name:
        assert list(place.rglob("*.gcda")), "nothing was counted"
        assert "compiled without a profile" not in told, told
    shutil.copytree(
        ROOT / "p2pcpn", place / "lib" / "p2pcpn", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
    )
    return place / "lib"


@pytest.mark.timeout(600)
def test_a_seed_gives_the_trace_that_it_gives_in_python(compiled: Path, tmp_path: Path) -> None:
    asked = "import p2pcpn.protocol.stock as s, p2pcpn.sim.clock as c; print(s.__file__, c.__file__)"
    files = run("-c", asked, tree=compiled, cwd=tmp_path).split()
    assert len(files) == 2 and all(name.startswith(str(compiled)) and not name.endswith(".py") for name in files)
    words = ("-m", "p2pcpn", "sim", "faults", "--peers", "12", "--seed", "3")
    said = [run(*words, tree=tree, cwd=tmp_path).splitlines() for tree in (ROOT, compiled)]
    traces = [next(line for line in lines if line.startswith("trace")) for lines in said]
    assert traces[0] == traces[1]


@pytest.mark.timeout(600)
def test_the_tree_itself_stays_python(compiled: Path) -> None:
    assert compiled.is_dir() and list((ROOT / "p2pcpn").rglob("*.so")) == []
