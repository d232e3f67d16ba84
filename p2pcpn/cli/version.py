"""What ``p2pcpn --version`` says: the version, and whether its machines run as Python or as C."""

from __future__ import annotations

import importlib.util

from p2pcpn import __version__


def version() -> str:
    """The version and how it was built, for example ``0.1.0 (pure Python)``."""
    return f"{__version__} ({'compiled' if is_compiled('p2pcpn.protocol.peer') else 'pure Python'})"


def is_compiled(module: str) -> bool:
    """Whether an import of ``module`` finds a C extension. Nothing is run but the packages that it is in."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None and not found.origin.endswith((".py", ".pyc"))
