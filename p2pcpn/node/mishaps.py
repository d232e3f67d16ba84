"""Mishaps: exceptions nobody foresaw. They are counted, logged once a kind, and never end what others rely on.

Whatever a peer sends may hit a mistake of ours. It costs that one input and nothing else; the traceback is logged the
first time, so that a sender who repeats it fills no log.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from typing import Final

log = logging.getLogger("p2pcpn.node")

# Kinds that are told apart: 64 tracebacks of 4 KB are a quarter of a log file.
KINDS_MAX: Final = 64


class Mishaps:
    """Counts into ``counters``, under ``mishap`` and where it happened."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._kinds: set[tuple[str, str, str, int]] = set()

    def note(self, where: str, error: Exception) -> None:
        """``error`` came out of ``where`` (a few words); what was being done is lost, and we go on."""
        self._counters[f"mishap {where}"] += 1
        frames = traceback.extract_tb(error.__traceback__)
        place = (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
        kind = (where, type(error).__name__, *place)
        if kind not in self._kinds and len(self._kinds) < KINDS_MAX:
            self._kinds.add(kind)
            log.error("%s failed, and is lost; this kind is logged once", where, exc_info=error)
