"""Damage: a row that cannot be what was written is moved out of the way, with a word, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from p2pcpn import limits
from p2pcpn.node.damage import Damage
from p2pcpn.protocol.effects import Write
from p2pcpn.store.database import Database

unpack = msgspec.msgpack.decode


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "node.db", durable=False)
    yield database
    database.close()


def committed(database: Database, *writes: Write) -> None:
    database.commit(writes)
    database.drop_expired(0.0)  # waits for it


def test_a_damaged_row_is_moved_and_said_in_one_line(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    rows = {(n.to_bytes(1, "big"),): (n, b"job", 9e9) for n in range(4)}
    committed(database, *(Write("blobs", key, value) for key, value in rows.items()))
    damage, done = Damage(database), []
    for key, value in database.scan("blobs"):
        with damage.row("blobs", key, value):
            if value[0] in (1, 2):
                raise ValueError(f"{value[0]} is none")
            done.append(key)
    assert len(damage) == 2 and len(done) == 2
    damage.set_aside()
    damage.set_aside()  # nothing is left to say
    committed(database)
    assert [key for key, _ in database.scan("blobs")] == done
    aside = list(database.scan("damaged"))
    assert [(key[0], unpack(key[1])) for key, _ in aside] == [("blobs", [b"\1"]), ("blobs", [b"\2"])]
    assert unpack(aside[0][1][0]) == [1, b"job", 9e9] and aside[0][1][1] == "ValueError: 1 is none"
    assert len(caplog.records) == 1
    assert "node.db" in caplog.text and "2 of blobs" in caplog.text and "check that disk" in caplog.text


def test_another_row_may_stand_in_its_place(database: Database) -> None:
    committed(database, Write("peers", (b"a",), (b"x", 1, 1.0)))
    damage = Damage(database)
    with damage.row("peers", (b"a",), (b"x", 1, 1.0), (b"y", 2, 2.0)):
        raise TypeError
    damage.set_aside()
    committed(database)
    assert database.get("peers", (b"a",)) == (b"y", 2, 2.0)


def test_what_is_set_aside_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DAMAGED_ROWS_MAX", 3)
    monkeypatch.setattr(limits, "DAMAGED_BYTES_MAX", 10)
    for look in range(4):
        rows = [Write("logs", (b"j", b"g", look, n), (b"h", bytes(1000))) for n in range(5)]
        committed(database, *rows)
        damage = Damage(database)
        for key, value in database.scan("logs"):
            damage.note("logs", key, value, ValueError("bad"))
        damage.set_aside()
        committed(database)
        assert database.count("logs") == 0
        assert 3 <= database.count("damaged") <= 2 * 3
    assert all(len(unpack(value[0])[1]) == 10 for _, value in database.scan("damaged"))


def test_a_mistake_that_is_no_rows_fault_is_not_hidden(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), Damage(database).row("blobs", (b"a",), ()):
        raise ZeroDivisionError
