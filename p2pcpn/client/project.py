"""The submitting program's own modules, ready to travel."""

from __future__ import annotations

import sys
from pathlib import Path

from p2pcpn.client.bundle import Bundle, project_bundle


def project() -> Bundle | None:
    """The modules that this program's ``__main__`` needs of its own project; ``None`` when there are none."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return project_bundle(Path(file) if isinstance(file, str) else None)
