"""A peer may die at any moment: what its disk acknowledged is there when it starts again, whole, and nothing else is.

A process writes records, segments, logs and blobs as fast as it can and names each on its standard output once it was
acknowledged. It is killed, again and again, at moments that no test would choose.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

from blake3 import blake3

from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database

KILLS = 15

WRITER = """
import os, sys, threading
from blake3 import blake3
from p2pcpn.protocol.effects import Write
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database

database = Database(sys.argv[1] + "/node.db")
blobs = BlobStore(sys.argv[1] + "/blobs")
os.write(1, b"boot %d\\n" % database.next_boot())
waiting = threading.Semaphore(100)


def acknowledged(word):
    def done(error):
        if error is not None:
            os._exit(1)
        os.write(1, word)
        waiting.release()

    return done


def keep_blobs(number):
    while True:
        # Two parts, then three whole ones together: the ways in which blobs come.
        data = b"%d" % number * 9000
        digest = blake3(data).digest()
        blobs.put_part(digest, len(data), 0, data[:5000])
        blobs.put_part(digest, len(data), 5000, data[5000:])
        os.write(1, b"blob %d\\n" % number)
        many = [b"%d" % each * 700 for each in range(number + 1, number + 4)]
        assert blobs.put_all([(blake3(each).digest(), each) for each in many]) == [None] * 3
        os.write(1, b"blobs %d\\n" % number)
        number += 4


number = int(sys.argv[2])
threading.Thread(target=keep_blobs, args=(number,), daemon=True).start()
number = 3 * database.count("records")
while True:
    waiting.acquire()
    records = (Write("records", (b"%d" % number,), (b"owner", number, 9e9, b"%d" % number * 50)),)
    job = tuple(Write("segments", (b"job", n), (n, 1, b"%d" % n, bytes(3000))) for n in range(number, number + 3))
    logs = tuple(Write("logs", (b"job", b"grantor", 0, n), (b"%d" % n, bytes(2000))) for n in range(number, number + 3))
    database.commit((*records, *job, *logs), acknowledged(b"rows %d\\n" % number))
    number += 3
"""


def lines(output: bytes) -> list[tuple[str, int]]:
    """The whole lines of what the writer said."""
    whole = [line.split() for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
    return [(word.decode(), int(number)) for word, number in whole]


def test_what_was_acknowledged_outlives_a_kill_and_nothing_is_torn(tmp_path):
    chance = random.Random(4)
    said: list[tuple[str, int]] = []
    began = time.monotonic()
    for round_ in range(KILLS):
        words = [sys.executable, "-c", WRITER, str(tmp_path), str(10**6 * (round_ + 1))]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            assert first.startswith(b"boot"), "what the last one left was no hindrance"
            try:
                writer.wait(chance.uniform(0.0, 0.25))
            except subprocess.TimeoutExpired:
                pass
            writer.kill()
            said += lines(first + writer.stdout.read())
            assert writer.wait() == -signal.SIGKILL, "it did not end by itself"
        database = Database(tmp_path / "node.db")
        blobs = BlobStore(tmp_path / "blobs")
        rows = [number for word, number in said if word == "rows"]
        assert rows or round_ < 3
        records = {key[0]: value for key, value in database.scan("records")}
        for number in rows:
            assert records[b"%d" % number][3] == b"%d" % number * 50
        for table in ("segments", "logs"):
            numbers = [key[-1] for key, _ in database.scan(table, (b"job",))]
            assert numbers == list(range(3 * len(records))), "commits in order, each whole or not at all"
        assert not database.statistics().corrupt
        for word, number in said:
            if word == "blob":
                assert blobs.size(blake3(b"%d" % number * 9000).digest())
            elif word == "blobs":
                assert all(blobs.size(blake3(b"%d" % each * 700).digest()) for each in range(number + 1, number + 4))
        assert all(blobs.prove(digest) for digest in blobs.digests()), "no file holds other bytes than its name says"
        assert not list((tmp_path / "blobs" / "unfinished").iterdir()), "what was on its way is removed"
        database.close()
    boots = [number for word, number in said if word == "boot"]
    assert boots == sorted(set(boots)) and len(boots) == KILLS
    assert min(sum(word == kind for word, _ in said) for kind in ("rows", "blob", "blobs")) >= KILLS
    assert time.monotonic() - began < 120
