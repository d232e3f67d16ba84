"""A peer may die at any moment: what its database acknowledged is there when it starts again."""

from __future__ import annotations

import subprocess
import sys

from p2pcpn.store.database import Database

WRITER = """
import os, sys, threading
from p2pcpn.protocol.effects import Write
from p2pcpn.store.database import Database

database = Database(sys.argv[1])
print("boot", database.next_boot(), flush=True)
number = database.count("logs")
waiting = threading.Semaphore(100)


def acknowledge(number):
    def done(error):
        if error is not None:
            os._exit(1)
        os.write(1, b"%d\\n" % number)
        waiting.release()

    return done


while True:
    waiting.acquire()
    writes = tuple(Write("logs", (b"job", b"grantor", 0, number + n), (b"%d" % number, bytes(2000))) for n in range(3))
    database.commit(writes, acknowledge(number + 2))
    number += 3
"""


def test_what_was_acknowledged_outlives_a_kill_and_no_commit_is_torn(tmp_path):
    path = tmp_path / "peer.db"
    boots = []
    for round_ in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            boots.append(int(writer.stdout.readline().split()[1]))
            acknowledged = [int(writer.stdout.readline()) for _ in range(30 * (round_ + 1))]
            writer.kill()
            acknowledged += [
                int(line) for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")
            ]
        database = Database(path)
        numbers = [key[3] for key, _ in database.scan("logs")]
        assert numbers == list(range(len(numbers))), "commits in order, none missing"
        assert len(numbers) % 3 == 0, "a commit is there whole or not at all"
        assert max(acknowledged) < len(numbers)
        assert not database.statistics().corrupt
        database.close()
    assert boots == sorted(set(boots))
