"""Hash tables are made by name."""

from __future__ import annotations

import pytest

from p2pcpn.bench.dhts import TABLES, make
from p2pcpn.errors import UsageError


def test_each_name_makes_a_table_without_importing_its_package() -> None:
    assert [type(make(name)).__name__ for name in TABLES] == ["ProgramsTable", "KademliaTable", "HivemindTable"]


def test_an_unknown_name_is_usage() -> None:
    with pytest.raises(UsageError, match="no hash table 'chord'"):
        make("chord")
