"""Echo: what tasks print appears in the program's own streams, as with a process pool.

Written at once where the stream takes it, so that it stands before what the program prints of the result. A stream that
blocks (a pager that nobody scrolls) must not hold up the event loop: the rest is then written by a thread, in order.
"""

from __future__ import annotations

import select
import sys
import threading
from collections import deque
from typing import Any, Final

# A pipe that is writable takes 4,096 bytes: so many characters at most.
PIECE_CHARS: Final = 1024
# What waits for a stream that blocks; beyond it output is dropped, and it is said how much.
WAITING_CHARS_MAX: Final = 4 << 20
FLUSH_S: Final = 1.0


class Echo:
    """Writes text to stdout (1) and stderr (2) and never blocks its caller."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._waiting: deque[tuple[int, str]] = deque()
        self._waiting_chars = 0
        self._dropped_chars = 0
        self._thread: threading.Thread | None = None

    def write(self, stream: int, data: bytes) -> None:
        """What a task printed."""
        text = data.decode("utf-8", "replace")
        with self._lock:
            at = 0
            while at < len(text) and not self._waiting and _takes(_stream(stream)):
                _put(stream, text[at : at + PIECE_CHARS])
                at += PIECE_CHARS
            if at >= len(text):
                return
            if self._waiting_chars + len(text) - at > WAITING_CHARS_MAX:
                self._dropped_chars += len(text) - at
                return
            self._waiting.append((stream, text[at:]))
            self._waiting_chars += len(text) - at
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="p2pcpn-echo", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting and self._dropped_chars:
                    text = f"\n[{self._dropped_chars} characters that tasks printed are not shown]\n"
                    self._waiting.append((2, text))
                    self._waiting_chars, self._dropped_chars = len(text), 0
                if not self._waiting:
                    self._thread = None
                    self._lock.notify_all()
                    return
                stream, text = self._waiting[0]
            _put(stream, text)
            with self._lock:
                self._waiting.popleft()
                self._waiting_chars -= len(text)

    def flush(self, wait_s: float = FLUSH_S) -> bool:
        """Wait until all is written; false when that took too long."""
        with self._lock:
            return self._lock.wait_for(lambda: self._thread is None, wait_s)


def _stream(number: int) -> Any:
    return sys.stdout if number == 1 else sys.stderr


def _takes(stream: Any) -> bool:
    """Whether the stream takes a piece without blocking. What is no file of the system's always does."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError, TypeError):
        return True


def _put(number: int, text: str) -> None:
    stream = _stream(number)
    try:
        stream.write(text)
        stream.flush()
    except (AttributeError, OSError, ValueError):
        pass  # the program closed the stream, or has none
