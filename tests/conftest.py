"""What every test session shares: Hypothesis profiles, coverage by test file, and no process left behind.

Each session marks its environment, which every process started by it inherits; at its end whatever still carries the
mark is named, killed by its id, and fails the session. A process whose parent died has left the family tree but not
the mark; one whose environment was emptied has lost the mark but not its parents.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator

import psutil
import pytest
from coverage import Coverage
from hypothesis import HealthCheck, Phase, settings

# The slowness of a shared machine is no finding, so deadlines are off; CI replays the same examples each time. There a
# failing example is printed as it was found: to shrink one of the simulator's takes longer than a test may, and what
# ends the test then is taken for one more failure, and shrunk on.
settings.register_profile("house", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
AT_ONCE = [Phase.explicit, Phase.generate]
settings.register_profile(
    "house-ci",
    settings.get_profile("house"),
    derandomize=True,
    database=None,
    phases=AT_ONCE,
    report_multiple_bugs=False,
)
settings.load_profile("house-ci" if os.environ.get("CI") else "house")

MARK = "P2PCPN_TEST_SESSION"
# A worker may outlive its parent by two seconds; one more for a loaded machine.
LEAVE_S = 3.0
# Python's own: they end with the interpreter that started them, and only directly under it are they ours to excuse.
INTERPRETERS_OWN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")

_left_behind: list[str] = []


def _describe(process: psutil.Process) -> str:
    return f"pid {process.pid}: {' '.join(process.cmdline())[:200] or process.name()}"


def _is_ours(process: psutil.Process, mark: str, descendants: set[psutil.Process]) -> bool:
    """Whether a process other than this one was started, at whatever depth, by this session."""
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.ppid() == os.getpid() and any(own in " ".join(process.cmdline()) for own in INTERPRETERS_OWN):
            return False
        if process in descendants:
            return True
        found = process.environ().get(MARK, "")
    except (psutil.Error, OSError):
        return False
    return found == mark or found.startswith(f"{mark}/")


def processes_left(mark: str) -> list[psutil.Process]:
    """The living processes under this one or carrying ``mark`` or one below it, by id."""
    descendants = set(psutil.Process().children(recursive=True))
    left = [process for process in psutil.process_iter() if _is_ours(process, mark, descendants)]
    return sorted(left, key=lambda process: process.pid)


def pytest_configure() -> None:
    above = os.environ.get(MARK)
    os.environ[MARK] = f"{above}/{secrets.token_hex(8)}" if above else secrets.token_hex(8)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    mark = os.environ[MARK]
    give_up = time.monotonic() + LEAVE_S
    while (left := processes_left(mark)) and time.monotonic() < give_up:
        time.sleep(0.05)
    for process in left:
        try:
            _left_behind.append(_describe(process))
            process.kill()
        except psutil.NoSuchProcess:
            continue
    if _left_behind and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _left_behind:
        terminalreporter.section("processes left behind, now killed", red=True, bold=True)
        for line in _left_behind:
            terminalreporter.line(line, red=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Under coverage, what a test runs is booked to its file, fixtures and threads included."""
    running = Coverage.current()
    if running is not None:
        running.switch_context(item.path.relative_to(item.config.rootpath).as_posix())
    try:
        return (yield)
    finally:
        if running is not None:
            running.switch_context("")
