"""Words of others on a terminal: what would move its cursor, change its title or hide text is shown, not done."""

from __future__ import annotations


def plain(text: str) -> str:
    """``text`` with everything that is not printable written as ``\\x1b`` and the like; lines and tabs stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def one_line(text: str) -> str:
    """``text`` as one line."""
    return plain(text).replace("\n", "\\n").replace("\t", " ")
