"""Notices: what a node warns of in its log is said on the terminal, too, each text once.

Whoever watches a node in the foreground need not know where its log is to hear that a disk is full, a file corrupt or
an address closed to strangers. A node that warns of more and more different things is told to be looked up there.
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Final

from p2pcpn.cli.failures import say

NOTICES_MAX: Final = 64


class Notices(logging.Handler):
    """Says warnings of this package, or with ``errors_only`` its errors, while the block lasts."""

    def __init__(self, *, errors_only: bool = False) -> None:
        super().__init__(logging.ERROR if errors_only else logging.WARNING)
        self._said: set[str] = set()

    def __enter__(self) -> Notices:
        logging.getLogger("p2pcpn").addHandler(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        logging.getLogger("p2pcpn").removeHandler(self)
        self.close()

    def __contains__(self, text: str) -> bool:
        return text in self._said

    def emit(self, record: logging.LogRecord) -> None:
        """Say the text of ``record``, without a traceback: that is in the log."""
        try:
            self._say(record)
        except Exception:  # nobody reads our output any more: whoever warned goes on, as the thread of the disk must
            self.handleError(record)

    def _say(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text in self._said or len(self._said) > NOTICES_MAX:
            return
        self._said.add(text)
        if sys.stdout.isatty():
            print("\r\x1b[2K", end="", flush=True)  # over the line that says how the node is
        say(text if len(self._said) <= NOTICES_MAX else "there is more to be warned of, in the log alone from now on")
