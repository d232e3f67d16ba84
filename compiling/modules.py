"""Which modules are compiled: whole packages, without those that mypyc makes nothing of."""

from __future__ import annotations

from pathlib import Path

PACKAGES = ("identity", "wire", "protocol")

# Of other packages what is asked most: scenarios are played once. The trace is not among it: a scenario's own one
# inherits from it, and what stays Python cannot inherit from what is compiled.
ALSO = tuple(
    f"sim/{name}.py" for name in ("clock", "dice", "disk", "host", "network", "program", "sessions", "shelf", "world")
)

# Left out, and why; everything else of the packages is in.
LEFT_OUT = {
    # Their values are msgspec Structs, whose options (``array_like``, ``tag``) mypyc drops without a word.
    "structs": (
        "protocol/history.py",
        "protocol/journal.py",
        "wire/addresses.py",
        "wire/datagrams.py",
        "wire/handshake.py",
        "wire/manifests.py",
        "wire/messages.py",
        "wire/pages.py",
        "wire/rings.py",
        "wire/statements.py",
    ),
}


def chosen(root: Path) -> list[str]:
    """The modules below ``root``, which holds ``p2pcpn``, by their paths from there, in order."""
    left_out = {f"p2pcpn/{path}" for paths in LEFT_OUT.values() for path in paths}
    found = (path for package in PACKAGES for path in (root / "p2pcpn" / package).rglob("*.py"))
    names = [path.relative_to(root).as_posix() for path in found if path.name != "__init__.py"]
    return sorted(name for name in [*names, *(f"p2pcpn/{path}" for path in ALSO)] if name not in left_out)
