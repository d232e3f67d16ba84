"""The unit tests under coverage: run when they are asked for, or begun beside all other tests and awaited at their end.

    python tests/house/unit_tests.py ARGUMENTS

runs pytest with these arguments and the unit tests beside it. They compute, while integration and acceptance tests wait
for processes and timers most of their time. Where both want a core, those that look at the clock have most of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Half of what all tests may take.
UNIT_TESTS_S = 660.0
# Names the folder of a run that was begun: when that was, its data, what it printed, and at its end its exit code.
BEGUN_IN = "P2PCPN_UNIT_TESTS"
BEGAN, DATA, OUTPUT, CODE = "began", "coverage", "output", "code"
# A third of the weight of those who are as nice as usual.
NICENESS = 5
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over: what it read was written before ``began_ns``, or else it may have read something else."""

    began_ns: int
    data_file: Path
    code: int
    output: str


def command(source: str, tests: str, data_file: Path) -> list[str]:
    """What runs ``tests``, each file's lines booked to that file."""
    return [
        *(sys.executable, "-m", "coverage", "run", f"--source={source}", f"--data-file={data_file}"),
        *("-m", "pytest", tests, "-q", "--no-header", "--tb=short", "--continue-on-collection-errors"),
        *("-p", "no:cacheprovider"),
    ]


def environment() -> dict[str, str]:
    """The C tracer is the one core that books lines to contexts on every Python we support."""
    return {**os.environ, "COVERAGE_CORE": "ctrace"}


def run(root: Path, source: str, tests: str, folder: Path) -> Ended:
    """Run ``tests`` of the tree at ``root`` to their end."""
    began_ns = time.time_ns()
    ended = subprocess.run(
        command(source, tests, folder / DATA), cwd=root, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=UNIT_TESTS_S, check=False,
    )  # fmt: skip
    return Ended(began_ns, folder / DATA, ended.returncode, ended.stdout)


def awaited(folder: Path) -> Ended:
    """The run that was begun in ``folder``. Its code is -1 where it does not end within :data:`UNIT_TESTS_S`."""
    give_up = time.monotonic() + UNIT_TESTS_S
    while not (folder / CODE).exists() and time.monotonic() < give_up:
        time.sleep(LOOK_S)
    code = int((folder / CODE).read_text()) if (folder / CODE).exists() else -1
    began_ns, output = int((folder / BEGAN).read_text()), (folder / OUTPUT).read_text("utf-8", "replace")
    return Ended(began_ns, folder / DATA, code, output)


def unit_tests(folder: Path) -> Ended:
    """The unit tests of this tree: those that were begun, otherwise run now with ``folder`` for their data."""
    begun = os.environ.get(BEGUN_IN)
    return run(ROOT, "p2pcpn", "tests/unit", folder) if begun is None else awaited(Path(begun))


def beside(root: Path, source: str, tests: str, arguments: list[str]) -> int:
    """Run pytest with ``arguments``, and ``tests`` under coverage beside it; pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="p2pcpn-unit-") as name:
        folder = Path(name)
        (folder / BEGAN).write_text(str(time.time_ns()))
        with (folder / OUTPUT).open("wb") as output:
            units = subprocess.Popen(
                command(source, tests, folder / DATA), cwd=root, env=environment(), stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, preexec_fn=lambda: os.nice(NICENESS),
            )  # fmt: skip
        others = subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments], cwd=root, env={**os.environ, BEGUN_IN: name}
        )
        # Ctrl-C is for pytest, which then says how far it came.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            told = False
            while others.poll() is None:
                if not told and units.poll() is not None:
                    (folder / "ended").write_text(str(units.returncode))
                    (folder / "ended").rename(folder / CODE)
                    told = True
                time.sleep(LOOK_S)
        finally:
            signal.signal(signal.SIGINT, before)
            for process in (others, units):
                process.kill()  # SIGTERM may be what a test obeys just then
                process.wait()
        return others.returncode


if __name__ == "__main__":
    sys.exit(beside(ROOT, "p2pcpn", "tests/unit", sys.argv[1:]))
