"""The interface of hash tables asks for all of it."""

from __future__ import annotations

import pytest

from p2pcpn.bench.dhts.table import Table


def test_a_table_has_to_say_how_it_stores() -> None:
    with pytest.raises(TypeError, match="store"):
        Table()  # type: ignore[abstract]
