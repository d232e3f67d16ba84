"""The database: acknowledged means readable, whatever is committed together, refused or damaged meanwhile."""

from __future__ import annotations

import os
import sqlite3
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import DiskFull, StoreError
from p2pcpn.protocol.effects import Write
from p2pcpn.store import schema
from p2pcpn.store.database import Database, Expired
from p2pcpn.store.file import connect


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "data" / "peer.db", durable=False)
    yield database
    database.close()


def put(database, *writes):
    """Commit and wait; the error or None."""
    answers: list[StoreError | None] = []
    ended = threading.Event()
    database.commit(writes, lambda error: (answers.append(error), ended.set()))
    assert ended.wait(10)
    return answers[0]


class Hold:
    """Keeps the writer busy until it is let go, so that what is committed meanwhile forms one group."""

    def __init__(self, database):
        self.go = threading.Event()
        holds = threading.Event()
        database.commit((), lambda error: (holds.set(), self.go.wait(10)))
        assert holds.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go.set()


def blob(digest, size=1, expires_s=10.0):
    return Write("blobs", (digest,), (size, b"job", expires_s))


def test_what_was_acknowledged_is_read_back_with_its_types(database):
    assert (
        put(database, Write("peers", (b"id",), (b"\x7f\0\0\1", 4000, 1.5)), Write("meta", ("word",), ("text",))) is None
    )
    assert database.get("peers", (b"id",)) == (b"\x7f\0\0\1", 4000, 1.5)
    assert database.get("meta", ("word",)) == ("text",)
    assert database.get("peers", (b"other",)) is None


def test_an_open_scan_does_not_hide_later_commits(database):
    put(database, blob(b"a"), blob(b"b"))
    scan = database.scan("blobs")
    assert next(scan)[0] == (b"a",)
    put(database, blob(b"a", 2))
    assert database.get("blobs", (b"a",)) == (2, b"job", 10.0)
    assert [key for key, _ in scan] == [(b"b",)]


def test_a_short_key_deletes_all_that_is_under_it(database):
    rows = [Write("logs", (job, b"g", 0, n), (b"h", b"b")) for job in (b"a", b"b") for n in range(3)]
    assert put(database, *rows) is None
    assert put(database, Write("logs", (b"a", b"g"), None)) is None
    assert [key for key, _ in database.scan("logs")] == [(b"b", b"g", 0, n) for n in range(3)]
    assert database.count("logs") == database.count("logs", (b"b",)) == 3
    assert put(database, Write("logs", (), None)) is None
    assert database.count("logs") == 0


def test_a_scan_reads_on_beyond_its_first_rows_in_the_order_of_the_keys(database):
    many = schema.TABLES["journal"].read_rows * 3 + 1
    rows = [Write("journal", (b"j", n % 2, n), (0, b"g", b"r", b"p", b"l")) for n in reversed(range(many))]
    assert put(database, *rows, Write("journal", (b"k", 0, 0), (0, b"g", b"r", b"p", b"l"))) is None
    keys = [key for key, _ in database.scan("journal", (b"j",))]
    assert keys == sorted((b"j", n % 2, n) for n in range(many))
    assert [value for _, value in database.scan("journal", (b"j", 1, 1))] == [(0, b"g", b"r", b"p", b"l")]
    assert list(database.scan("journal", (b"nothing",))) == []


def test_commits_that_wait_share_one_transaction_and_are_answered_in_order(database):
    answered: list[int] = []
    with Hold(database):
        before = database.statistics().transactions
        for number in range(100):
            database.commit((blob(b"same", number),), lambda error, number=number: answered.append(number))
    assert put(database) is None
    assert answered == list(range(100))
    assert database.get("blobs", (b"same",)) == (99, b"job", 10.0)
    assert database.statistics().transactions <= before + 2


def test_a_few_rows_of_one_table_are_one_statement_and_in_order_like_any(database, monkeypatch):
    seen: list[str] = []
    real = schema.upsert
    monkeypatch.setattr(schema, "upsert", lambda name, rows=1: seen.append(f"{name} {rows}") or real(name, rows))
    peer = Write("peers", (b"id",), (b"h", 1, 1.0))
    for writes in (
        (blob(b"a", 1), blob(b"b", 2), blob(b"a", 3)),
        (blob(b"c"), peer),
        (blob(b"a"), Write("blobs", (b"c",), None)),
    ):
        assert put(database, *writes) is None
    assert put(database, *(blob(bytes([n])) for n in range(17))) is None
    assert seen == ["blobs 3", "blobs 1", "peers 1", "blobs 1", *["blobs 1"] * 17]
    assert database.get("blobs", (b"a",)) == (1, b"job", 10.0) and database.get("blobs", (b"c",)) is None
    assert database.get("blobs", (b"b",)) == (2, b"job", 10.0) and database.count("blobs") == 2 + 17
    assert database.get("peers", (b"id",)) == (b"h", 1, 1.0)


def test_commits_that_come_while_the_writer_rests_share_one_transaction(database, monkeypatch):
    monkeypatch.setattr("p2pcpn.store.database.APART_S", 600.0)
    assert put(database, blob(b"first")) is None  # after a pause a commit begins at once
    before, answered = database.statistics().transactions, []
    for number in range(50):
        database.commit((blob(b"same", number),), lambda error, number=number: answered.append((number, error)))
    assert (answered, database.get("blobs", (b"same",))) == ([], None)
    database.drop_expired(0.0)  # somebody waits
    assert answered == [(number, None) for number in range(50)]
    assert database.get("blobs", (b"same",)) == (49, b"job", 10.0)
    assert database.statistics().transactions == before + 1


def test_what_nothing_follows_from_waits_longer_for_company_and_goes_with_what_somebody_is_told_of(
    database, monkeypatch
):
    monkeypatch.setattr("p2pcpn.store.database.PATIENT_APART_S", 600.0)
    assert put(database, blob(b"first")) is None
    before, answered = database.statistics().transactions, []
    for number in range(50):
        database.commit((blob(b"same", number),), patient=True)
    assert database.get("blobs", (b"same",)) is None
    told = threading.Event()
    database.commit((blob(b"told of"),), lambda error: (answered.append(error), told.set()))
    assert told.wait(60) and answered == [None]
    assert database.get("blobs", (b"same",)) == (49, b"job", 10.0)
    assert database.statistics().transactions == before + 1


def test_what_somebody_waits_for_does_not_wait_for_the_writers_rest(database, monkeypatch):
    monkeypatch.setattr("p2pcpn.store.database.APART_S", 600.0)
    boots = [database.next_boot(1000.0) for _ in range(3)]
    assert boots == [1000, 1001, 1002]
    assert database.statistics().transactions == 3


def test_closing_does_not_wait_for_the_writers_rest_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("p2pcpn.store.database.APART_S", 600.0)
    database, answers = Database(tmp_path / "peer.db", durable=False), []
    assert put(database, blob(b"a")) is None
    database.commit((blob(b"b"),), answers.append)
    database.close()
    assert answers == [None]


def test_a_value_sqlite_cannot_store_fails_its_own_commit_and_no_other(database):
    errors: dict[str, StoreError | None] = {}
    with Hold(database):
        database.commit((blob(b"a"),), lambda error: errors.update(a=error))
        database.commit((blob(b"b"), blob(b"c", 1 << 63)), lambda error: errors.update(b=error))
        database.commit((blob(b"d"),), lambda error: errors.update(d=error))
    assert put(database) is None
    assert errors["a"] is None and errors["d"] is None
    assert isinstance(errors["b"], StoreError) and str(database.path) in str(errors["b"])
    assert [key for key, _ in database.scan("blobs")] == [(b"a",), (b"d",)]
    assert database.statistics().failed == 1


def test_a_write_of_the_wrong_shape_is_our_own_mistake(database):
    with pytest.raises(AssertionError):
        database.commit((Write("blobs", (b"a",), (1,)),))
    with pytest.raises(AssertionError):
        database.commit((Write("segments", (b"a",), (1, 1, b"", b"")),))
    with pytest.raises(AssertionError):
        database.commit((Write("blobs", (b"a", b"b"), None),))


def test_a_callback_that_raises_does_not_stop_the_writer(database, caplog):
    database.commit((blob(b"a"),), lambda error: 1 / 0)
    assert put(database, blob(b"b")) is None
    assert "callback failed" in caplog.text


def test_a_full_disk_fails_what_does_not_fit_and_the_peer_goes_on(tmp_path):
    database = Database(tmp_path / "peer.db", bytes_max=256 << 10, durable=False)
    error = put(database, Write("logs", (b"j", b"g", 0, 0), (b"h", bytes(1 << 20))))
    assert isinstance(error, StoreError) and "full" in str(error) and "peer.db" in str(error)
    errors: list[object] = []
    with Hold(database):
        database.commit((Write("logs", (b"j", b"g", 0, 0), (b"h", bytes(1 << 20))),), errors.append)
        database.commit((blob(b"small"),), errors.append)
    assert put(database) is None
    assert isinstance(errors[0], StoreError) and errors[1] is None
    assert database.count("blobs") == 1
    assert isinstance(errors[0], DiskFull) and isinstance(error, DiskFull)
    database.close()


def test_on_a_full_disk_a_peer_starts_reads_and_says_once_what_is_wrong(tmp_path, caplog, monkeypatch):
    database = Database(tmp_path / "peer.db", durable=False)
    assert put(database, blob(b"before")) is None and database.next_boot(1000.0) == 1000
    page_bytes = database._writer.execute("PRAGMA page_size").fetchone()[0]
    database.close()
    pages = (tmp_path / "peer.db").stat().st_size // page_bytes
    database = Database(tmp_path / "peer.db", bytes_max=pages * page_bytes, durable=False)
    database._writer.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(3):
        assert isinstance(put(database, Write("meta", (str(number),), (bytes(100_000),))), DiskFull)
        assert database.get("blobs", (b"before",)) is not None
    assert len(caplog.records) == 1 and "no room" in caplog.text
    monkeypatch.setattr("p2pcpn.store.database.WELL_AGAIN_S", 0.0)
    database._writer.execute("PRAGMA max_page_count = 100000")
    assert put(database, Write("meta", ("now",), (bytes(100_000),))) is None
    assert put(database) is None
    assert "writes succeed again" in caplog.text and len(caplog.records) == 2
    database.close()


def test_where_there_is_no_room_for_sqlites_log_the_file_is_read_as_it_lies_until_there_is(tmp_path, monkeypatch):
    database = Database(tmp_path / "peer.db", durable=False)
    put(database, blob(b"before"))
    database.close()
    rooms = []

    def no_room(*arguments):
        if rooms:
            return connect(*arguments) if rooms.pop() else refuse()
        return refuse()

    def refuse():
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("p2pcpn.store.database.connect", no_room)
    database = Database(tmp_path / "peer.db", durable=False)
    rooms += [False, True]  # for the writer, and then for no reader
    for _ in range(2):
        assert isinstance(put(database, blob(b"new")), DiskFull)
        assert database.get("blobs", (b"before",)) is not None and database.get("blobs", (b"new",)) is None
    rooms += [True, True]
    assert put(database, blob(b"new")) is None and database.get("blobs", (b"new",)) is not None
    database.close()
    with pytest.raises(DiskFull):
        Database(tmp_path / "fresh.db", durable=False)


def test_a_start_that_cannot_be_written_down_is_still_later_than_the_last(tmp_path, monkeypatch):
    database = Database(tmp_path / "peer.db", durable=False)
    assert database.next_boot(1000.0) == 1000

    def full(work):
        raise DiskFull("no room")

    monkeypatch.setattr(database, "_perform", full)
    assert database.next_boot(500.0) == 1001 and database.next_boot(3000.0) == 3000
    monkeypatch.undo()
    put(database, Write("meta", ("boot",), (b"garbage",)))
    assert database.next_boot(2000.0) == 2000
    database.close()


def test_what_a_sweep_would_drop_can_be_asked_before(database):
    put(database, blob(b"n", expires_s=10.5), blob(b"o", expires_s=10.0), blob(b"p", expires_s=9.0))
    assert database.expired("blobs", 10.0) == [b"p", b"o"]
    assert database.drop_expired(10.0).blobs == (b"p", b"o")


def test_what_waits_is_bounded_in_bytes_and_the_rest_refused_at_once(database, monkeypatch):
    monkeypatch.setattr(limits, "STORE_QUEUE_BYTES_MAX", 3000)
    answers: list[object] = []
    with Hold(database):
        for n in range(4):
            database.commit((Write("meta", (str(n),), (bytes(1000),)),), answers.append)
        assert len(answers) == 2 and all(isinstance(answer, StoreError) for answer in answers)
    assert put(database) is None
    assert answers[2:] == [None, None] and database.count("meta") == 2
    # However large, one commit is taken where nothing else waits.
    assert put(database, Write("meta", ("large",), (bytes(5000),))) is None


def test_each_boot_number_is_greater_than_the_last_and_than_a_lost_files(tmp_path):
    boots = []
    for wall in (1000.7, 1000.9, 500.0, 2000.0):
        database = Database(tmp_path / "peer.db")
        boots.append(database.next_boot(wall))
        database.close()
    assert boots == [1000, 1001, 1002, 2000]
    fresh = Database(tmp_path / "other.db")
    assert fresh.next_boot() > 1_700_000_000 and fresh.next_boot(0.0) > 1_700_000_000
    fresh.close()


def test_what_has_expired_goes_and_takes_the_parts_of_its_job_along(database):
    def job(name, expires_s):
        return Write("jobs", (name,), (b"owner", b"spec", expires_s, None, None, None))

    put(database, job(b"old", 9.0), job(b"new", 11.0), blob(b"o", expires_s=10.0), blob(b"n", expires_s=10.5))
    put(database, Write("records", (b"r",), (b"owner", 1, 3.0, b"signed")))
    for name in (b"old", b"new"):
        put(database, Write("segments", (name, 0), (0, 1, b"s", b"p")), Write("logs", (name, b"g", 0, 0), (b"h", b"b")))
        put(database, Write("journal", (name, 1, 0), (0, b"g", b"r", b"p", b"l")))
    assert database.drop_expired(10.0) == Expired(records=(b"r",), jobs=(b"old",), blobs=(b"o",))
    for table in ("jobs", "segments", "logs", "journal"):
        assert [key[0] for key, _ in database.scan(table)] == [b"new"]
    assert [key for key, _ in database.scan("blobs")] == [(b"n",)]
    assert not database.drop_expired(10.0)


def test_a_sweep_stops_at_its_bound_and_begins_with_the_oldest(database, monkeypatch):
    monkeypatch.setattr(limits, "EXPIRED_ROWS_MAX", 2)
    put(database, *(blob(bytes([n]), expires_s=float(n)) for n in (3, 1, 2)))
    assert [database.drop_expired(9.0).blobs for _ in range(3)] == [(b"\1", b"\2"), (b"\3",), ()]


def test_a_corrupt_file_is_set_aside_at_start_and_a_fresh_one_begun(tmp_path, caplog):
    (tmp_path / "peer.db").write_bytes(b"garbage, certainly no database" * 300)
    database = Database(tmp_path / "peer.db")
    assert put(database, blob(b"a")) is None
    assert database.statistics().corrupt == (tmp_path / "peer.db.corrupt-1",)
    assert "set aside as peer.db.corrupt-1" in caplog.text
    database.close()


def damaged(tmp_path):
    """A database that opens, whose table of blobs is garbage further in."""
    path = tmp_path / "peer.db"
    database = Database(path, durable=False)
    put(database, *(blob(n.to_bytes(32, "big")) for n in range(2000)))
    database.close()
    with open(path, "r+b") as file:
        file.seek(0, 2)
        size = file.tell()
        pages = 16  # the schema and the roots of the tables stay whole
        file.seek(pages * 4096)
        file.write(b"\xff" * (size - pages * 4096))
    return Database(path, durable=False)


def test_damage_that_a_read_meets_is_an_error_and_then_a_fresh_file(tmp_path, caplog):
    database = damaged(tmp_path)
    with pytest.raises(StoreError, match=r"peer\.db: .*malformed"):
        list(database.scan("blobs"))
    assert put(database, blob(b"a")) is None
    assert (b"a",) in [key for key, _ in database.scan("blobs")]
    assert len(database.statistics().corrupt) == 1
    assert "peer.db is corrupt" in caplog.text and "check that disk" in caplog.text
    database.close()


def test_what_can_be_read_of_a_damaged_file_is_in_the_fresh_one(tmp_path):
    path = tmp_path / "peer.db"
    database = Database(path, durable=False)
    rows = {n.to_bytes(32, "big"): n for n in range(2000)}
    put(database, *(blob(digest, n) for digest, n in rows.items()))
    put(database, Write("meta", ("boot",), (2_000_000_000,)))
    database.close()
    with open(path, "r+b") as file:
        for page in (28, 29, 43):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    database = Database(path, durable=False)
    with pytest.raises(StoreError):
        list(database.scan("blobs"))
    assert database.next_boot(0.0) == 2_000_000_001
    found = {key[0]: value[0] for key, value in database.scan("blobs")}
    assert 1500 < len(found) < 2000 and all(rows[digest] == n for digest, n in found.items())
    database.close()


@pytest.mark.parametrize("running", [False, True])
def test_a_log_that_is_cut_short_costs_what_was_in_it_and_no_more(tmp_path, running):
    """What remains of a cut log looks like that of any crash: the whole commits before the cut are there."""
    database = Database(tmp_path / "peer.db", durable=False)
    for number in range(50):
        put(database, Write("logs", (b"job", b"grantor", 0, number), (b"%d" % number, bytes(2000))))
    journal = tmp_path / "peer.db-wal"
    if running:
        os.truncate(journal, journal.stat().st_size // 2)
        try:
            list(database.scan("logs"))
        except StoreError as error:
            assert "peer.db" in str(error)
    else:
        for name in ("peer.db", "peer.db-wal"):
            (tmp_path / f"cut-{name}").write_bytes((tmp_path / name).read_bytes())
        database.close()
        os.truncate(tmp_path / "cut-peer.db-wal", (tmp_path / "cut-peer.db-wal").stat().st_size // 2)
        database = Database(tmp_path / "cut-peer.db", durable=False)
    assert put(database, blob(b"a")) is None
    numbers = [key[3] for key, _ in database.scan("logs")]
    assert numbers == list(range(len(numbers)))
    assert database.get("blobs", (b"a",)) is not None
    database.close()


def test_damage_that_a_commit_meets_costs_the_file_and_not_the_commit(tmp_path):
    database = damaged(tmp_path)
    assert put(database, *(blob(n.to_bytes(32, "big"), 2) for n in range(2000))) is None
    assert database.count("blobs") == 2000 and len(database.statistics().corrupt) == 1
    database.close()


def test_a_corrupt_file_that_cannot_be_set_aside_fails_commits_and_nothing_else(tmp_path, monkeypatch):
    database = damaged(tmp_path)

    def refuse(path, cause):
        raise StoreError(f"{path}: corrupt, and cannot be set aside")

    monkeypatch.setattr("p2pcpn.store.database.set_aside", refuse)
    assert "cannot be set aside" in str(put(database, *(blob(n.to_bytes(32, "big"), 2) for n in range(2000))))
    assert isinstance(put(database, blob(b"a")), StoreError)
    with pytest.raises(StoreError):
        database.get("blobs", (b"a",))
    database.close()


def test_where_no_fresh_file_can_be_begun_a_later_commit_begins_it(tmp_path, monkeypatch, caplog):
    database = damaged(tmp_path)

    def full(path, durable, bytes_max):
        raise DiskFull(f"{path}: no room")

    with monkeypatch.context() as patch:
        patch.setattr("p2pcpn.store.database.connect", full)
        with pytest.raises(StoreError):
            list(database.scan("blobs"))
        assert "no room" in str(put(database, blob(b"a")))
    assert put(database, blob(b"b")) is None
    assert (b"b",) in [key for key, _ in database.scan("blobs")]
    assert len(database.statistics().corrupt) == 1 and "rows of it saved" in caplog.text
    database.close()


def test_nobody_waits_to_read_while_rows_of_a_corrupt_file_are_saved(tmp_path, monkeypatch):
    database = damaged(tmp_path)
    read = []

    def saving(path, aside, cause, fresh):
        reader = threading.Thread(target=lambda: read.append(database.get("blobs", (b"a",))), daemon=True)
        reader.start()
        reader.join(5.0)

    monkeypatch.setattr("p2pcpn.store.database.save_rows", saving)
    with pytest.raises(StoreError):
        list(database.scan("blobs"))
    assert put(database, blob(b"a")) is None
    assert read == [None]
    database.close()


def test_two_peers_cannot_open_one_file(database):
    with pytest.raises(StoreError, match="in use by another peer"):
        Database(database.path)


def test_a_file_that_cannot_be_opened_leaves_its_lock_free(tmp_path):
    (tmp_path / "peer.db").mkdir()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"peer\.db"):
            Database(tmp_path / "peer.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        Database(tmp_path / "file" / "peer.db")


def test_another_programs_lock_is_an_error_that_names_the_file(tmp_path, monkeypatch):
    import sqlite3

    monkeypatch.setattr("p2pcpn.store.file._BUSY_S", 0.0)
    database = Database(tmp_path / "peer.db")
    other = sqlite3.connect(tmp_path / "peer.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "locked" in str(put(database, blob(b"a")))
    with pytest.raises(StoreError, match="locked"):
        database.next_boot(1.0)
    other.execute("ROLLBACK")
    other.close()
    assert put(database, blob(b"a")) is None
    database.close()


def test_closing_flushes_what_was_committed_and_refuses_what_comes_later(tmp_path):
    database = Database(tmp_path / "peer.db")
    answers: list[object] = []
    for number in range(50):
        database.commit((blob(bytes([number])),), answers.append)
    database.close()
    database.close()
    assert answers == [None] * 50
    assert "closed" in str(put(database, blob(b"late")))
    with pytest.raises(StoreError):
        database.count("blobs")
    again = Database(tmp_path / "peer.db")
    assert again.count("blobs") == 50
    again.close()


keys = st.tuples(st.sampled_from([b"a", b"b"]), st.integers(0, 2))
writes = st.lists(
    st.one_of(
        st.tuples(keys, st.binary(max_size=4)),
        st.tuples(st.one_of(st.just(()), keys.map(lambda key: key[:1]), keys), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(writes, max_size=6))
def test_the_tables_hold_what_a_dictionary_would(tmp_path_factory, commits):
    database = Database(tmp_path_factory.mktemp("model") / "peer.db", durable=False)
    model: dict[tuple[bytes, int], bytes] = {}
    for rows in commits:
        batch = []
        for key, data in rows:
            if data is None:
                model = {k: v for k, v in model.items() if k[: len(key)] != key}
                batch.append(Write("segments", key, None))
            else:
                model[key] = data
                batch.append(Write("segments", key, (0, 0, data, b"")))
        database.commit(batch)
    assert put(database) is None
    assert [(key, value[2]) for key, value in database.scan("segments")] == sorted(model.items())
    assert database.count("segments", (b"a",)) == sum(key[0] == b"a" for key in model)
    database.close()
