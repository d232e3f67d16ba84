"""Pure Python, as setup.cfg says it; with ``P2PCPN_COMPILED=1`` in the environment the machines are C extensions.

With ``P2PCPN_COMPILED=profiled`` they are compiled twice, the second time for what a play of the simulator counted.
Only a wheel is ever compiled: what is installed with ``-e``, and the tree itself, stay Python.
"""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path
from typing import Any

from setuptools import setup

ROOT = Path(__file__).resolve().parent
PLACE = ROOT / "build" / "compiled"
WANTED = os.environ.get("P2PCPN_COMPILED")
# What writes C has to know the types of what is called, so it is given the packages themselves.
TOOLS = ["mypy[mypyc]>=2.4", "types-psutil>=7.2"]


def compiled() -> dict[str, Any]:
    """What ``setup`` is told beside setup.cfg; nothing where there is no compiler, and then it says so."""
    sys.path.insert(0, str(ROOT))
    from compiling.extensions import BuildOnAllCores, compiler, extensions
    from compiling.profiled import BuildProfiled

    if compiler() is None:
        print("p2pcpn: there is no C compiler, so this build is pure Python (Debian: apt install gcc)", file=sys.stderr)
        return {}
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    needed = [line.strip() for line in config["options"]["install_requires"].splitlines() if line.strip()]
    build = BuildProfiled if WANTED == "profiled" else BuildOnAllCores
    told: dict[str, Any] = {"setup_requires": [*TOOLS, *needed], "cmdclass": {"build_ext": build}}
    if "bdist_wheel" in sys.argv:  # else it is asked for its name and what it needs
        told["ext_modules"] = extensions(ROOT, PLACE)
        # Elsewhere than what pure builds leave: neither finds the other's files.
        told["options"] = {"build": {"build_base": str(PLACE / "build")}}
    return told


setup(**(compiled() if WANTED in {"1", "profiled"} else {}))
