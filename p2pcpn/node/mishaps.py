"""Mishaps: exceptions nobody foresaw. They are counted, logged once a kind, and never end what others rely on.

Whatever a peer sends may hit a mistake of ours. It costs that one input and nothing else; the traceback is logged the
first time, so that a sender who repeats it fills no log. One whose messages do it again and again loses its session:
what it found may cost us more than an input each time.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from typing import Final

from p2pcpn.errors import PeerError

log = logging.getLogger("p2pcpn.node")

# Kinds that are told apart: 64 tracebacks of 4 KB are a quarter of a log file.
KINDS_MAX: Final = 64
# So many messages of one session: no fault of ours that passes, of a disk for instance, hits as many of one peer's.
MESSAGES_MAX: Final = 64


class Mishaps:
    """Counts into ``counters``, under ``mishap`` and where it happened."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._kinds: set[tuple[str, str, str, int]] = set()
        self.of: Counter[object] = Counter()  # by session that is open: messages of it that failed

    def note(self, where: str, error: Exception) -> None:
        """``error`` came out of ``where`` (a few words); what was being done is lost, and we go on."""
        self._counters[f"mishap {where}"] += 1
        frames = traceback.extract_tb(error.__traceback__)
        place = (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
        kind = (where, type(error).__name__, *place)
        if kind not in self._kinds and len(self._kinds) < KINDS_MAX:
            self._kinds.add(kind)
            log.error("%s failed, and is lost; this kind is logged once", where, exc_info=error)

    def message(self, session: object, kind: str, error: Exception) -> None:
        """A message that came over ``session`` failed. Raises :class:`PeerError` where too many of them did."""
        self.note(f"a message {kind}", error)
        self.of[session] += 1
        if self.of[session] >= MESSAGES_MAX:
            raise PeerError(f"{MESSAGES_MAX} messages of a peer failed here") from error

    def ended(self, session: object) -> None:
        """Nothing more comes over ``session``."""
        del self.of[session]
