"""A profiled build: compiled to count, played, and compiled again for what was counted (gcc's ``-fprofile-use``).

gcc then knows which way a branch goes and what is called often, and sees all modules at once when they are linked.
Other compilers have other flags, so a small piece of C is compiled and linked with them first: where that fails, or
whatever comes after it, nothing is lost but the profile.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from setuptools.errors import CompileError, LinkError

from compiling.extensions import LIBRARY, BuildOnAllCores

# Nobody outside calls what is inside. Warnings are errors for mypyc, and a level above its own may have more of them.
_BOTH = ("-O2", "-fvisibility=hidden", "-fno-semantic-interposition", "-fno-plt", "-Wno-error")
# One thread plays, so counting needs no locks.
COUNTS = (*_BOTH, "-fprofile-generate", "-fprofile-update=single")
# What was never called has no counts.
USES = (*_BOTH, "-fprofile-use", "-fprofile-correction", "-Wno-missing-profile", "-flto=auto")
# clang says that it is gcc.
PROBE = """
#if !defined(__GNUC__) || defined(__clang__)
#error
#endif
int probe(int n) { return n ? n : 1; }
"""
# What is played: joins, jobs and churn among peers at rest, then every fault at once. Some ten seconds where it counts.
PLAYS = (
    "from p2pcpn.sim.hour import Play; Play(200, 1, seconds=600.0).run()",
    "from p2pcpn.cli.main import main; raise SystemExit(main('sim faults --peers 30 --seed 1'.split()))",
)
PLAY_S = 600.0
IGNORED = shutil.ignore_patterns("__pycache__", "*.so")

log = logging.getLogger(__name__)


class BuildProfiled(BuildOnAllCores):
    """Compiles twice, with a play between; once, as ever, where the compiler cannot or the play fails."""

    plays: tuple[str, ...] = PLAYS

    def build_extensions(self) -> None:
        """Compile each extension. Raises what setuptools raises where that fails without a profile, too."""
        try:
            self._probe()
            self._count()
            self._compile(USES)
        except (CompileError, LinkError, OSError, subprocess.SubprocessError) as error:
            why = str(error).strip().partition("\n")[0]
            log.warning("p2pcpn: compiled without a profile, which takes gcc: %s", why)
            self._compile(())

    def _probe(self) -> None:
        """Raises where the compiler does not know the flags, or has no library that counts."""
        with tempfile.TemporaryDirectory() as place:
            source = Path(place, "probe.c")
            source.write_text(PROBE, "utf-8")
            for flags in (COUNTS, USES):
                made = self.compiler.compile([str(source)], output_dir=place, extra_postargs=list(flags))
                self.compiler.link_shared_object(made, str(Path(place, "probe.so")), extra_postargs=list(flags))

    def _count(self) -> None:
        """Play with extensions that count: beside each object file lies then what it counted."""
        final = self.build_lib
        # Absolute, for by its path an object finds its counts again.
        self.build_temp = str(Path(self.build_temp).resolve())
        self.build_lib = str(Path(self.build_temp, "counting"))
        try:
            shutil.copytree("p2pcpn", Path(self.build_lib, "p2pcpn"), ignore=IGNORED, dirs_exist_ok=True)
            self._compile(COUNTS)
            # This process may see what no other does: pip gives a build what it needs in a place of its own.
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([self.build_lib, *sys.path])}
            for play in self.plays:
                subprocess.run(
                    [sys.executable, "-c", play], cwd=self.build_lib, env=environment, timeout=PLAY_S, check=True,
                    stdout=subprocess.DEVNULL,
                )  # fmt: skip
        finally:
            self.build_lib = final

    def _compile(self, flags: Sequence[str]) -> None:
        """Compile and link everything anew, with these flags what all modules share: the others only name theirs."""
        shared = next(one for one in self.extensions if one.name == f"{LIBRARY}__mypyc")
        compiled, linked, force = shared.extra_compile_args, shared.extra_link_args, self.force
        shared.extra_compile_args, shared.extra_link_args, self.force = [*compiled, *flags], [*linked, *flags], True
        try:
            super().build_extensions()
        finally:
            shared.extra_compile_args, shared.extra_link_args, self.force = compiled, linked, force
