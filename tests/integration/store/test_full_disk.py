"""A disk that is full: what is there is read, what is new is refused in clear words, and with room all goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from blake3 import blake3

from p2pcpn.errors import DiskFull, StoreError
from p2pcpn.protocol.effects import Write
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database

SIZE = 4 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a small file system is mounted, which takes root")
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(place)]
    try:
        ran = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except OSError as error:
        pytest.skip(f"there is no mount here: {error}")
    if ran.returncode:
        pytest.skip(f"no file system can be mounted here: {ran.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], timeout=10, check=True)


def put(database: Database, *writes: Write) -> StoreError | None:
    answers: list[StoreError | None] = []
    ended = threading.Event()

    def done(error: StoreError | None) -> None:
        answers.append(error)
        ended.set()

    database.commit(writes, done)
    assert ended.wait(10)
    return answers[0]


def log(number: int) -> Write:
    return Write("logs", (b"job", b"grantor", 0, number), (b"%d" % number, bytes(60_000)))


def test_a_peers_disk_that_fills_up_and_is_freed_again(small: Path, caplog: pytest.LogCaptureFixture) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    database = Database(small / "node.db")
    blobs = BlobStore(small / "blobs")
    kept, many = blake3(b"kept").digest(), 0
    assert blobs.put_all([(kept, b"kept")]) == [None]
    while (error := put(database, log(many))) is None:
        many += 1
    assert isinstance(error, DiskFull) and "node.db: no room" in str(error)
    assert "nothing new is kept until some is freed" in str(error)
    refused = None
    while refused is None:
        many += 1
        assert many < 1000
        data = b"%d" % many * 20_000
        (refused,) = blobs.put_all([(blake3(data).digest(), data)])
    assert isinstance(refused, DiskFull) and "blobs" in str(refused)
    # Reads go on, and each further write is refused and said in the log only once.
    rows = [key[3] for key, _ in database.scan("logs")]
    assert rows == list(range(len(rows))) and blobs.read(kept, 0, 9) == b"kept"
    for _ in range(20):
        assert isinstance(put(database, log(10_000)), DiskFull)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    with pytest.raises(DiskFull):
        blobs.put_part(bytes(32), 1 << 20, 0, bytes(200_000))
    assert not list((small / "blobs" / "unfinished").iterdir()), "what did not fit takes no room"
    ballast.unlink()
    assert put(database, log(10_000)) is None, "with room again it goes on by itself"
    assert blobs.put_all([(blake3(b"new").digest(), b"new")]) == [None]
    database.close()
    database = Database(small / "node.db")
    assert [key[3] for key, _ in database.scan("logs")] == [*rows, 10_000]
    database.close()


KILLED = """
import os, signal, sys
from p2pcpn.protocol.effects import Write
from p2pcpn.store.database import Database

database = Database(sys.argv[1])
print(database.next_boot(), flush=True)
for number in range(10):
    database.commit((Write("meta", (str(number),), (number,)),))
database.drop_expired(0.0)
with open(os.path.dirname(sys.argv[1]) + "/ballast", "wb", buffering=0) as ballast:
    try:
        while True:
            ballast.write(bytes(4096))
    except OSError:
        pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_peer_that_died_on_a_full_disk_starts_on_it_and_reads(small: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(small / "node.db")], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == -9, ran.stderr
    database = Database(small / "node.db")
    assert database.next_boot(1000.0) == int(ran.stdout) + 1, "it is later than the last start, though not written down"
    assert database.count("meta") == 11
    assert isinstance(put(database, log(1)), DiskFull)
    (small / "ballast").unlink()
    assert put(database, log(1)) is None
    database.close()


def test_a_peer_that_ended_well_starts_on_a_disk_that_was_filled_since_and_reads(
    small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(small / "node.db")
    assert database.next_boot(1000.0) == 1000 and put(database, log(0)) is None
    database.close()  # there is no log any more, and its index takes room
    with open(small / "ballast", "wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))
    database = Database(small / "node.db")
    assert database.next_boot(1000.0) == 1001
    for _ in range(3):
        assert isinstance(put(database, log(1)), DiskFull)
        assert [key[3] for key, _ in database.scan("logs")] == [0]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    (small / "ballast").unlink()
    assert put(database, log(1)) is None, "with room again it goes on by itself"
    assert [key[3] for key, _ in database.scan("logs")] == [0, 1]
    database.close()
    database = Database(small / "node.db")
    assert database.count("logs") == 2
    database.close()
