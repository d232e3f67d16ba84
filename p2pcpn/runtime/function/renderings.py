"""A result in a line of text, made by the worker, so that windows show results without ever unpickling one."""

from __future__ import annotations

import reprlib

from p2pcpn.limits import RENDERING_CHARS_MAX

_short = reprlib.Repr()
_short.maxlevel = 4
_short.maxlist = _short.maxtuple = _short.maxset = _short.maxfrozenset = _short.maxdeque = _short.maxdict = 16
_short.maxarray = 16
_short.maxstring = _short.maxother = _short.maxlong = RENDERING_CHARS_MAX - 20


def rendering(value: object) -> str:
    """``repr(value)``, cut to ``RENDERING_CHARS_MAX`` characters; never raises."""
    try:
        text = _short.repr(value)
    except Exception:
        text = f"<{type(value).__qualname__}>"
    return shortened(text)


def shortened(text: str) -> str:
    """``text`` as UTF-8 can carry it, in at most ``RENDERING_CHARS_MAX`` characters."""
    if len(text) > RENDERING_CHARS_MAX:
        text = text[: RENDERING_CHARS_MAX - 3] + "..."
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:RENDERING_CHARS_MAX]
