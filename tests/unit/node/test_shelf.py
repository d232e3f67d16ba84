"""The shelf: a blob is usable at once and on disk soon, parts come in order, and memory is bounded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from p2pcpn import limits
from p2pcpn.errors import PeerError, StoreError
from p2pcpn.node import shelf as shelves
from p2pcpn.node.rush import Rush
from p2pcpn.node.shelf import ASSEMBLE_BYTES, ENTRY_BYTES, Shelf
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database
from p2pcpn.wire.sealing import digest

JOB = b"\1" * 20
PEER, OTHER = b"\2" * 20, b"\3" * 20


class Disk(BlobStore):
    """A store whose writes wait until they are let through, in the order of the calls."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, durable=False)
        self.lets = threading.Event()
        self.lets.set()
        self.refuses = False

    def put_part(self, digest: bytes, size: int, offset: int, data: bytes, source: bytes = b"") -> bool:
        assert self.lets.wait(10)
        if self.refuses:
            raise StoreError("the disk is full")
        return super().put_part(digest, size, offset, data, source)

    def put_all(self, blobs: Any) -> list[StoreError | None]:
        assert self.lets.wait(10)
        if self.refuses:
            return [StoreError("the disk is full")] * len(blobs)
        return super().put_all(blobs)

    def size(self, digest: bytes) -> int | None:
        if self.refuses:
            raise StoreError("the disk does not answer")
        return super().size(digest)


@pytest_asyncio.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    disk = Disk(tmp_path / "blobs")
    yield disk
    disk.lets.set()


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "node.db", durable=False)
    yield database
    database.close()


@pytest_asyncio.fixture
async def shelf(disk: Disk, database: Database) -> AsyncIterator[Shelf]:
    shelf = Shelf(disk, database)
    yield shelf
    disk.lets.set()
    await shelf.flush()


def reopened(shelf: Shelf, disk: Disk, database: Database) -> Shelf:
    """A shelf that knows only what is on the disk."""
    return Shelf(disk, database)


class Asked:
    """Collects what became of parts."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Exception | None] = asyncio.Queue()

    def __call__(self, error: Exception | None) -> None:
        self.heard.put_nowait(error)

    async def end(self) -> Exception | None:
        return await asyncio.wait_for(self.heard.get(), 10)


def send(shelf: Shelf, data: bytes, parts: list[bytes], done: Any, *, source: bytes = PEER) -> None:
    """The parts of ``data`` come from a peer, in order."""
    offset = 0
    for each in parts:
        shelf.arrive(source, digest(data), len(data), offset, each, JOB, 60.0, done)
        offset += len(each)


# --- whole blobs --------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_blob_is_at_hand_before_it_is_on_disk_and_after(shelf: Shelf, disk: Disk, database: Database) -> None:
    disk.lets.clear()
    done, name = Asked(), digest(b"blob")
    shelf.put(name, b"blob", JOB, 60.0, done)
    assert (shelf.has(name), shelf.size(name), shelf.get(name)) == (True, 4, b"blob")
    assert shelf.unwritten_bytes == 4
    assert done.heard.empty()
    assert not shelf.is_on_disk(name)
    disk.lets.set()
    assert await done.end() is None
    assert shelf.is_on_disk(name)
    assert shelf.unwritten_bytes == 0
    assert shelf.get(name) == disk.read(name, 0, 10) == b"blob"
    assert reopened(shelf, disk, database).get(name) == b"blob"
    database.drop_expired(0.0)  # waits for what was queued before
    row = database.get("blobs", (name,))
    assert row is not None
    assert row[:2] == (4, JOB)


@pytest.mark.asyncio
async def test_a_blob_put_twice_is_counted_once_and_both_hear_of_the_end(shelf: Shelf) -> None:
    first, second = Asked(), Asked()
    for done in (first, second):
        shelf.put(digest(b"blob"), b"blob", JOB, 60.0, done)
    assert shelf.unwritten_bytes == 4
    assert [await first.end(), await second.end()] == [None, None]
    assert shelf.unwritten_bytes == 0


@pytest.mark.asyncio
async def test_a_disk_that_refuses_is_told_and_books_nothing(shelf: Shelf, disk: Disk, database: Database) -> None:
    disk.refuses = True
    done, name = Asked(), digest(b"blob")
    shelf.put(name, b"blob", JOB, 60.0, done)
    assert isinstance(await done.end(), StoreError)
    assert shelf.unwritten_bytes == 0
    assert shelf.get(name) == b"blob"  # this program made it, and has it still
    assert not shelf.is_on_disk(name)
    assert not reopened(shelf, disk, database).has(name)
    assert reopened(shelf, disk, database).read(name, 0, 10) is None
    database.drop_expired(0.0)
    assert database.count("blobs") == 0


@pytest.mark.asyncio
async def test_what_was_used_last_stays_in_memory(shelf: Shelf, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "MEMORY_BYTES", 10)
    for data in (b"aaaa", b"bbbb"):
        shelf.put(digest(data), data, JOB, 60.0)
        await shelf.flush()
    assert shelf.get(digest(b"aaaa")) == b"aaaa"  # now "bbbb" is the one that was not used for longest
    shelf.put(digest(b"cccc"), b"cccc", JOB, 60.0)
    await shelf.flush()
    disk.refuses = True  # memory alone answers
    held = [shelf.get(digest(data)) is not None for data in (b"aaaa", b"bbbb", b"cccc")]
    assert held == [True, False, True]


@pytest.mark.asyncio
async def test_a_blob_is_read_in_parts_from_memory_and_from_disk(shelf: Shelf, disk: Disk, database: Database) -> None:
    shelf.put(digest(b"abcdef"), b"abcdef", JOB, 60.0)
    await shelf.flush()
    for reader in (shelf, reopened(shelf, disk, database)):
        assert reader.read(digest(b"abcdef"), 2, 3) == b"cde"
        assert reader.read(digest(b"abcdef"), 5, 3) == b"f"
        assert reader.read(digest(b"abcdef"), 6, 3) == b""
        assert reader.read(digest(b"other"), 0, 3) is None
        assert reader.get(digest(b"other")) is None
        assert await asyncio.to_thread(reader.reading(digest(b"abcdef"))) == b"abcdef"
        assert reader.reading(digest(b"other"))() is None
    disk.refuses = True
    assert reopened(shelf, disk, database).reading(digest(b"abcdef"))() is None
    disk.refuses = False


@pytest.mark.asyncio
async def test_a_blob_whose_retention_is_over_is_gone(shelf: Shelf, disk: Disk) -> None:
    shelf.put(digest(b"blob"), b"blob", JOB, 60.0)
    await shelf.flush()
    shelf.forget(digest(b"blob"))
    assert not shelf.has(digest(b"blob"))
    assert disk.size(digest(b"blob")) is None
    shelf.forget(digest(b"blob"))


@pytest.mark.asyncio
async def test_a_disk_that_hangs_is_not_waited_for_at_the_end(shelf: Shelf, disk: Disk) -> None:
    disk.lets.clear()
    done = Asked()
    shelf.put(digest(b"blob"), b"blob", JOB, 60.0, done)
    await asyncio.wait_for(shelf.flush(0.01), 5)
    assert done.heard.empty()


# --- parts that arrive --------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_small_blob_is_assembled_and_its_last_part_is_acknowledged_from_disk(shelf: Shelf, disk: Disk) -> None:
    disk.lets.clear()
    done = Asked()
    send(shelf, b"abcdef", [b"ab", b"cd"], done)
    assert [await done.end(), await done.end()] == [None, None]
    assert not shelf.has(digest(b"abcdef"))
    assert shelf.arriving(digest(b"abcdef"))
    shelf.arrive(PEER, digest(b"abcdef"), 6, 4, b"ef", JOB, 60.0, done)
    assert shelf.get(digest(b"abcdef")) == b"abcdef"
    assert done.heard.empty()
    disk.lets.set()
    assert await done.end() is None
    assert disk.read(digest(b"abcdef"), 0, 10) == b"abcdef"


@pytest.mark.asyncio
async def test_an_empty_blob_is_whole_with_its_only_part(shelf: Shelf) -> None:
    done = Asked()
    send(shelf, b"", [b""], done)
    assert await done.end() is None
    assert shelf.get(digest(b"")) == b""


@pytest.mark.asyncio
async def test_a_blob_that_is_here_is_acknowledged_and_booked_anew(shelf: Shelf, database: Database) -> None:
    done = Asked()
    shelf.put(digest(b"abcd"), b"abcd", JOB, -60.0, done)
    assert await done.end() is None
    send(shelf, b"abcd", [b"ab", b"cd"], done)
    assert [await done.end(), await done.end()] == [None, None]
    database.drop_expired(0.0)  # waits for what was queued before
    assert [expires_s > time.time() for _, (_, _, expires_s) in database.scan("blobs")] == [True]
    assert not shelf.arriving(digest(b"abcd"))


@pytest.mark.asyncio
async def test_bytes_that_are_not_the_digests_are_refused_and_forgotten(shelf: Shelf) -> None:
    done, name = Asked(), digest(b"abcd")
    shelf.arrive(PEER, name, 4, 0, b"ab", JOB, 60.0, done)
    with pytest.raises(PeerError, match="not the digest's"):
        shelf.arrive(PEER, name, 4, 2, b"XX", JOB, 60.0, done)
    assert not shelf.has(name)
    assert not shelf.arriving(name)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("size", "offset", "data"),
    [
        (6, 3, b"d"),  # a gap
        (6, 1, b"b"),  # a part again
        (7, 2, b"cdefg"),  # another size than at first
        (6, 2, b"cdefg"),  # more than was promised
        (6, 2, b""),  # it would never end
    ],
)
async def test_a_part_that_does_not_follow_is_refused_and_all_before_it_forgotten(
    size: int, offset: int, data: bytes, shelf: Shelf
) -> None:
    name = digest(b"abcdef")
    shelf.arrive(PEER, name, 6, 0, b"ab", JOB, 60.0, Asked())
    with pytest.raises(PeerError, match="does not follow"):
        shelf.arrive(PEER, name, size, offset, data, JOB, 60.0, Asked())
    assert not shelf.arriving(name)
    with pytest.raises(PeerError, match="does not follow"):
        shelf.arrive(PEER, name, 6, 2, b"cdef", JOB, 60.0, Asked())


@pytest.mark.asyncio
async def test_peers_that_send_the_same_blob_do_not_spoil_each_others(shelf: Shelf) -> None:
    name = digest(b"abcd")
    good, bad = Asked(), Asked()
    shelf.arrive(PEER, name, 4, 0, b"ab", JOB, 60.0, good)
    shelf.arrive(OTHER, name, 4, 0, b"XX", JOB, 60.0, bad)
    with pytest.raises(PeerError):
        shelf.arrive(OTHER, name, 4, 2, b"XX", JOB, 60.0, bad)
    shelf.arrive(PEER, name, 4, 2, b"cd", JOB, 60.0, good)
    assert [await good.end(), await good.end()] == [None, None]
    assert shelf.get(name) == b"abcd"


@pytest.mark.asyncio
async def test_a_blob_that_begins_anew_starts_from_nothing(shelf: Shelf) -> None:
    done = Asked()
    send(shelf, b"abcd", [b"ab"], done)
    send(shelf, b"abcd", [b"a", b"bcd"], done)
    assert [await done.end() for _ in range(3)] == [None] * 3
    assert shelf.get(digest(b"abcd")) == b"abcd"


@pytest.mark.asyncio
async def test_who_floods_us_displaces_himself(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "ARRIVING_BYTES_MAX", 4 * (100 + ENTRY_BYTES))
    blobs = [bytes([number]) * 100 for number in range(6)]
    send(shelf, blobs[0], [b"\0"], Asked(), source=OTHER)
    for data in blobs[1:]:
        send(shelf, data, [data[:1]], Asked())
    assert shelf.arriving(digest(blobs[0]))
    assert [shelf.arriving(digest(data)) for data in blobs[1:]] == [False, False, True, True, True]


@pytest.mark.asyncio
async def test_what_a_peer_left_unfinished_goes_with_its_session(shelf: Shelf) -> None:
    send(shelf, b"abcd", [b"ab"], Asked())
    send(shelf, b"efgh", [b"ef"], Asked(), source=OTHER)
    shelf.gone(PEER)
    assert not shelf.arriving(digest(b"abcd"))
    assert shelf.arriving(digest(b"efgh"))


@pytest.mark.asyncio
async def test_whoever_says_less_of_a_blob_that_is_kept_has_nobody_lose_it(
    shelf: Shelf, disk: Disk, database: Database
) -> None:
    done, name = Asked(), digest(b"blob")
    shelf.arrive(PEER, name, 4, 0, b"blob", JOB, 60.0, done)
    assert await done.end() is None
    for keep in (False, True):
        shelf.arrive(OTHER, name, 1, 0, b"z", b"\7" * 20, 0.0, done, keep=keep)
        assert await done.end() is None
    database.drop_expired(0.0)  # waits for what was queued before
    ((_, (size, job, expires_s)),) = database.scan("blobs")
    assert (size, job) == (4, JOB) and expires_s > time.time() + 30
    shelf.arrive(OTHER, name, 1, 0, b"z", b"\7" * 20, 900.0, done, keep=False)  # used, and not kept
    database.drop_expired(0.0)  # waits for what was queued before
    assert database.get("blobs", (name,)) == (size, job, expires_s)
    shelf.arrive(OTHER, name, 1, 0, b"z", b"\7" * 20, 900.0, done)
    database.drop_expired(0.0)  # waits for what was queued before
    assert (database.get("blobs", (name,)) or ())[:2] == (4, b"\7" * 20)


# --- large blobs: part by part to the disk ------------------------------------------------------------------------


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "ASSEMBLE_BYTES", 3)


@pytest.mark.asyncio
@pytest.mark.usefixtures("small_is_large")
async def test_a_large_blob_goes_to_disk_in_the_order_of_its_parts(
    shelf: Shelf, disk: Disk, database: Database
) -> None:
    disk.lets.clear()
    done = Asked()
    send(shelf, b"abcdef", [b"ab", b"cd", b"ef"], done)
    assert shelf.unwritten_bytes == 6
    assert shelf.arriving(digest(b"abcdef"))
    assert done.heard.empty()  # the sender's session is held until then
    disk.lets.set()
    assert [await done.end() for _ in range(3)] == [None] * 3
    assert shelf.unwritten_bytes == 0
    assert not shelf.arriving(digest(b"abcdef"))
    assert shelf.get(digest(b"abcdef")) == b"abcdef"
    database.drop_expired(0.0)
    assert database.count("blobs") == 1


@pytest.mark.asyncio
@pytest.mark.usefixtures("small_is_large")
async def test_a_large_blob_of_wrong_bytes_is_told_with_its_last_part(shelf: Shelf, database: Database) -> None:
    done = Asked()
    shelf.arrive(PEER, digest(b"abcdef"), 6, 0, b"abc", JOB, 60.0, done)
    shelf.arrive(PEER, digest(b"abcdef"), 6, 3, b"XXX", JOB, 60.0, done)
    assert await done.end() is None
    assert isinstance(await done.end(), PeerError)
    assert not shelf.has(digest(b"abcdef"))
    database.drop_expired(0.0)
    assert database.count("blobs") == 0


# --- waiting ------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("data", [b"abc", b"abcdef"])
async def test_a_blob_that_arrives_is_waited_for(data: bytes, shelf: Shelf, disk: Disk) -> None:
    disk.lets.clear()
    send(shelf, data, [data[:2]], Asked())
    waiting = asyncio.ensure_future(shelf.arrived(digest(data), 30.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    shelf.arrive(PEER, digest(data), len(data), 2, data[2:], JOB, 60.0, Asked())
    disk.lets.set()
    assert await asyncio.wait_for(waiting, 10) == data


@pytest.mark.asyncio
async def test_who_waits_is_not_kept_by_a_sender_that_is_gone(shelf: Shelf) -> None:
    send(shelf, b"abcd", [b"ab"], Asked())
    waiting = asyncio.ensure_future(shelf.arrived(digest(b"abcd"), 30.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    shelf.gone(PEER)
    assert await asyncio.wait_for(waiting, 10) is None


@pytest.mark.asyncio
async def test_waiting_ends_in_time_and_at_once_for_what_is_not_on_its_way(shelf: Shelf) -> None:
    assert await asyncio.wait_for(shelf.arrived(digest(b"other"), 30.0), 10) is None
    send(shelf, b"abcd", [b"ab"], Asked())
    assert await asyncio.wait_for(shelf.arrived(digest(b"abcd"), 0.01), 10) is None


def test_the_largest_message_of_a_session_fits_what_may_arrive() -> None:
    assert shelves.ASSEMBLE_BYTES + ENTRY_BYTES <= shelves.ARRIVING_BYTES_MAX
    assert limits.BLOB_PART_BYTES <= shelves.ASSEMBLE_BYTES


# --- what is only passing, and what may wait --------------------------------------------------------------------------


class Hurried(Rush):
    """A rush that ends when the test says so."""

    over = False

    def lets(self, since: float) -> bool:
        return self.over


class Clocked(Hurried):
    """The same by the test's clock."""

    now_s = 0.0

    @property
    def now(self) -> float:
        return self.now_s


@pytest_asyncio.fixture
async def patient(disk: Disk, database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shelf]:
    monkeypatch.setattr(limits, "QUIET_S", 0.001)
    shelf = Shelf(disk, database, Hurried(asyncio.get_running_loop()))
    yield shelf
    shelf.close()
    await shelf.flush()


@pytest_asyncio.fixture
async def volatile(disk: Disk, database: Database) -> AsyncIterator[Shelf]:
    shelf = Shelf(disk, database, Hurried(asyncio.get_running_loop()), volatile=True)
    yield shelf
    shelf.close()


@pytest.mark.asyncio
async def test_writing_waits_until_nobody_waits_for_data(patient: Shelf) -> None:
    done = Asked()
    patient.put(digest(b"blob"), b"blob", JOB, 60.0, done)
    await asyncio.sleep(0)
    assert (patient.unwritten_bytes, done.heard.empty()) == (4, True)
    assert isinstance(patient._rush, Hurried)
    patient._rush.over = True
    assert await done.end() is None
    assert patient.is_on_disk(digest(b"blob"))


@pytest.mark.asyncio
async def test_who_flushes_waits_for_nobody(patient: Shelf) -> None:
    patient.put(digest(b"blob"), b"blob", JOB, 60.0)
    await patient.flush()
    assert patient.is_on_disk(digest(b"blob"))


@pytest.mark.asyncio
async def test_when_memory_is_short_writing_does_not_wait(patient: Shelf) -> None:
    patient._held_bytes_max = 5
    first, second = Asked(), Asked()
    patient.put(digest(b"aaaa"), b"aaaa", JOB, 60.0, first)
    patient.put(digest(b"bbbb"), b"bbbb", JOB, 60.0, second)
    assert [await first.end(), await second.end()] == [None, None]


@pytest.mark.asyncio
async def test_what_is_passing_is_at_hand_and_not_written_until_it_is_to_be_kept(shelf: Shelf) -> None:
    done, name = Asked(), digest(b"blob")
    shelf.arrive(PEER, name, 4, 0, b"blob", JOB, 60.0, done, keep=False)
    assert await done.end() is None
    shelf.arrive(PEER, name, 4, 0, b"blob", JOB, 60.0, done, keep=False)
    assert await done.end() is None
    await shelf.flush()
    assert (shelf.get(name), shelf.is_on_disk(name), shelf.unwritten_bytes) == (b"blob", False, 0)
    shelf.arrive(PEER, name, 4, 0, b"blob", JOB, 60.0, done)
    assert await done.end() is None
    assert shelf.is_on_disk(name)


@pytest.mark.asyncio
async def test_what_is_passing_goes_to_disk_when_it_becomes_too_much(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf._passing_bytes_max = 5
    for data in (b"aaaa", b"bbbb"):
        shelf.arrive(PEER, digest(data), 4, 0, data, JOB, 60.0, Asked(), keep=False)
    await shelf.flush()
    assert [shelf.is_on_disk(digest(data)) for data in (b"aaaa", b"bbbb")] == [True, False]
    assert [shelf.get(digest(data)) for data in (b"aaaa", b"bbbb")] == [b"aaaa", b"bbbb"]


class Plain:
    """Closes to three bytes each time it is read."""

    reads = 0

    def __len__(self) -> int:
        return 3

    def sealed(self) -> bytes:
        self.reads += 1
        return b"abc"

    def seal_into(self, out: memoryview) -> None:
        out[:] = b"abc"


@pytest.mark.asyncio
async def test_what_stands_for_a_blob_is_closed_whenever_it_is_read(shelf: Shelf, volatile: Shelf) -> None:
    plain, name = Plain(), digest(b"abc")
    volatile.put(name, plain, JOB, 60.0)
    assert volatile.size(name) == 3 and not plain.reads
    assert (volatile.get(name), volatile.read(name, 1, 5), volatile.reading(name)()) == (b"abc", b"bc", b"abc")
    assert (volatile.at_hand(name), volatile.at_hand(b"other")) == (b"abc", None)
    assert (volatile.held(name), volatile.held(b"other")) == (plain, None)
    shelf.put(name, plain, JOB, 60.0)
    await shelf.flush()
    assert shelf._store.read(name, 0, 3) == b"abc"


@pytest.mark.asyncio
async def test_what_is_let_go_leaves_memory_unless_it_is_to_be_kept(shelf: Shelf, volatile: Shelf) -> None:
    passing, kept = digest(b"aaaa"), digest(b"bbbb")
    volatile.put(passing, b"aaaa", JOB, 60.0)
    volatile.put(kept, b"bbbb", JOB, 60.0, Asked())
    for name in (passing, kept, passing, digest(b"unknown")):
        volatile.let_go(name)
    assert (volatile.has(passing), volatile.has(kept)) == (False, True)
    assert volatile._passing_bytes == 0 and not volatile._passing
    await volatile.flush()
    assert volatile.is_on_disk(kept)
    volatile.let_go(kept)
    assert volatile.get(kept) == b"bbbb"


@pytest.mark.asyncio
async def test_what_memory_has_no_room_for_waits_for_a_quiet_moment(disk: Disk, database: Database) -> None:
    rush = Clocked(asyncio.get_running_loop())
    shelf = Shelf(disk, database, rush)
    shelf._passing_bytes_max = 5
    for data in (b"aaaa", b"bbbb"):
        shelf.arrive(PEER, digest(data), 4, 0, data, JOB, 60.0, Asked(), keep=False)
        rush.now_s += limits.LATER_S
    [(name, since)] = [(name, shelf._held[name].since) for name in shelf._to_write]
    assert (name, since) == (digest(b"aaaa"), limits.LATER_S), "it waited for nobody while it was passing"
    shelf.close()


@pytest.mark.asyncio
async def test_who_brings_more_than_memory_takes_waits_for_the_disk(shelf: Shelf, disk: Disk) -> None:
    shelf._held_bytes_max = 3
    disk.lets.clear()
    first, second = Asked(), Asked()
    shelf.arrive(PEER, digest(b"aaaa"), 4, 0, b"aaaa", JOB, 60.0, first, keep=False)
    shelf.arrive(PEER, digest(b"bbbb"), 4, 0, b"bbbb", JOB, 60.0, second, keep=False)
    assert await first.end() is None
    assert second.heard.empty()
    disk.lets.set()
    assert await second.end() is None


@pytest.mark.asyncio
async def test_a_volatile_shelf_writes_only_what_somebody_wants_to_be_told_of(volatile: Shelf) -> None:
    volatile.put(digest(b"blob"), b"blob", JOB, 60.0)
    await volatile.flush()
    assert (volatile.get(digest(b"blob")), volatile.is_on_disk(digest(b"blob"))) == (b"blob", False)
    done = Asked()
    volatile.put(digest(b"kept"), b"kept", JOB, 60.0, done)
    await volatile.flush()
    assert await done.end() is None


@pytest.mark.asyncio
async def test_what_is_at_hand_can_be_had_on_disk(shelf: Shelf, disk: Disk) -> None:
    shelf.arrive(PEER, digest(b"blob"), 4, 0, b"blob", JOB, 60.0, Asked(), keep=False)
    assert await shelf.keep(digest(b"blob"), JOB, 60.0)
    assert shelf.is_on_disk(digest(b"blob"))
    assert await shelf.keep(digest(b"blob"), JOB, 60.0)
    assert not await shelf.keep(digest(b"other"), JOB, 60.0)
    shelf.arrive(PEER, digest(b"more"), 4, 0, b"more", JOB, 60.0, Asked(), keep=False)
    disk.refuses = True
    assert not await shelf.keep(digest(b"more"), JOB, 60.0)


@pytest.mark.asyncio
async def test_who_brings_a_blob_waits_for_the_disk_where_memory_does_not_take_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (shelf.straight(ASSEMBLE_BYTES), shelf.straight(ASSEMBLE_BYTES + 1)) == (False, True)
    monkeypatch.setattr(shelf, "_held_bytes_max", 2)
    assert not shelf.straight(1)
    shelf.put(digest(b"aaaaa"), b"aaaaa", JOB, 60.0)
    assert shelf.straight(1)
    await shelf.flush()
    assert not shelf.straight(1)


@pytest.mark.asyncio
async def test_what_lets_others_go_first_is_not_overdue_while_memory_has_room(
    shelf: Shelf, disk: Disk, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.put(digest(b"aaaa"), b"aaaa", JOB, 60.0)
    assert (shelf.unwritten_bytes, shelf.overdue_bytes) == (4, 4)  # it is written at once
    rush = Rush(asyncio.get_running_loop())
    patient = Shelf(shelf._store, database, rush)
    rush.note()
    patient.put(digest(b"bbbb"), b"bbbb", JOB, 60.0)
    assert (patient.unwritten_bytes, patient.overdue_bytes) == (4, 0)
    monkeypatch.setattr(patient, "_held_bytes_max", 3)
    assert patient.overdue_bytes == 4
    await patient.flush()
    assert patient.overdue_bytes == 0
    patient.close()
