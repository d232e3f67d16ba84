"""Chunks of a map: cut, run, and handed out one by one."""

from __future__ import annotations

import subprocess
import sys
import weakref

from p2pcpn.client.chunks import chunks, flattened, run_chunk


def test_items_are_cut_into_chunks_and_their_results_come_in_order() -> None:
    cut = list(chunks(zip(range(5), strict=True), 2))
    assert cut == [[(0,), (1,)], [(2,), (3,)], [(4,)]]
    assert list(flattened(run_chunk(lambda x: x * 2, chunk) for chunk in cut)) == [0, 2, 4, 6, 8]
    assert list(chunks(iter(()), 3)) == []


class Thing:
    pass


def test_a_result_that_was_handed_out_is_not_kept() -> None:
    for thing in flattened(iter([[Thing(), Thing()], [Thing()]])):
        watched = weakref.ref(thing)
        del thing
        assert watched() is None


def test_a_worker_that_imports_it_imports_little_else() -> None:
    check = "import sys, p2pcpn.client.chunks; print([n for n in sys.modules if n in ('asyncio', 'msgspec', 'nacl')])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
