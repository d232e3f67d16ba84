"""Plaintext closes to the same blob each time, and only what nobody can change stands for one."""

from __future__ import annotations

import threading

from p2pcpn.client import plaintext as module
from p2pcpn.client.plaintext import BYTES_MAX, Plaintext, immutable
from p2pcpn.wire.sealing import digest, seal, unseal

KEY = b"\1" * 32


def test_it_closes_to_what_sealing_gives_and_names_it() -> None:
    for data in (b"", b"abc", bytes(100_000), b"x" * BYTES_MAX):
        plain = Plaintext(KEY, data)
        assert plain.sealed() == plain.sealed() == seal(KEY, 0, data)
        assert len(plain) == len(plain.sealed()) and plain.digest() == digest(plain.sealed())
        assert unseal(KEY, 0, plain.sealed()) == data
        memory = bytearray(len(plain))
        plain.seal_into(memoryview(memory))
        assert memory == plain.sealed()


def test_memory_is_used_again_and_little_of_it_is_kept() -> None:
    Plaintext(KEY, b"abc").digest()
    kept = list(map(id, module._spare))
    assert 0 < len(kept) <= module._SPARE_MAX
    Plaintext(KEY, b"abc").digest()
    assert sorted(map(id, module._spare)) == sorted(kept)


def test_several_threads_do_not_share_memory() -> None:
    plains = [Plaintext(KEY, bytes([i]) * 200_000) for i in range(16)]
    found: dict[int, bytes] = {}
    threads = [threading.Thread(target=lambda i=i, p=p: found.update({i: p.digest()})) for i, p in enumerate(plains)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: digest(plain.sealed()) for i, plain in enumerate(plains)}
    assert len(module._spare) <= module._SPARE_MAX


def test_only_the_whole_of_what_cannot_change_stands_for_a_blob() -> None:
    data = b"abc"
    assert immutable(data) is data and immutable(memoryview(data)) is data
    assert immutable(memoryview(data)[1:]) is None
    assert immutable(memoryview(bytearray(data))) is None
    assert immutable(bytes(BYTES_MAX + 1)) is None
    assert immutable(type("Named", (bytes,), {})(data)) is None
