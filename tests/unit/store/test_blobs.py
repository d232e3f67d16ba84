"""Blobs: whole and verified or not there at all, in order, within the quota."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import DiskFull, PeerError, StoreError
from p2pcpn.store.blobs import BlobStore


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def store(tmp_path):
    return BlobStore(tmp_path / "blobs", durable=False, clock=Clock())


def digest_of(data):
    return blake3(data).digest()


def put(store, data, parts=3, source=b""):
    digest = digest_of(data)
    step = max(1, -(-len(data) // parts))
    offsets = range(0, len(data), step) if data else [0]
    return [store.put_part(digest, len(data), n, data[n : n + step], source) for n in offsets]


def files(store):
    return sorted(str(path.relative_to(store.directory)) for path in store.directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("durable", [True, False])
def test_a_blob_is_there_once_its_last_part_is_in(tmp_path, durable):
    store = BlobStore(tmp_path, durable=durable)
    data = bytes(range(256)) * 5
    digest = digest_of(data)
    assert put(store, data) == [False, False, True]
    assert store.size(digest) == len(data) == store.total_bytes
    assert store.read(digest, 0, 10_000) == data
    assert store.read(digest, 1000, 100) == data[1000:1100]
    assert store.read(digest, 5000, 1) == b""
    assert files(store) == [f"{digest.hex()[:2]}/{digest.hex()[2:]}"]


def test_a_blob_that_is_here_is_complete_at_its_first_part(store):
    put(store, b"abcdef")
    assert put(store, b"abcdef", source=b"another") == [True, True, True]
    assert store.total_bytes == 6


def test_an_empty_blob_is_one_part(store):
    assert put(store, b"") == [True]
    assert store.size(digest_of(b"")) == 0


def test_bytes_of_another_blob_are_refused_and_gone(store):
    with pytest.raises(PeerError, match="another blob's"):
        store.put_part(digest_of(b"right"), 5, 0, b"wrong")
    assert store.size(digest_of(b"right")) is None and files(store) == [] and store.total_bytes == 0


@pytest.mark.parametrize(
    ("size", "offset", "data"),
    [(6, 3, b"def"), (6, 1, b"bcdef"), (7, 2, b"c"), (6, 2, b"cdefg"), (6, 2, b"")],
    ids=["a gap", "a step back", "another size", "beyond the end", "nothing"],
)
def test_a_part_that_does_not_follow_is_refused_and_what_had_come_is_gone(store, size, offset, data):
    digest = digest_of(b"abcdef")
    store.put_part(digest, 6, 0, b"ab")
    with pytest.raises(PeerError, match="do not follow"):
        store.put_part(digest, size, offset, data)
    assert files(store) == []
    with pytest.raises(PeerError, match="none before it"):
        store.put_part(digest, 6, 2, b"cdef")


def test_a_digest_or_a_size_that_cannot_be_is_refused(store):
    with pytest.raises(PeerError):
        store.put_part(b"short", 1, 0, b"a")
    for size in (-1, limits.BLOB_BYTES_MAX + 1):
        with pytest.raises(PeerError):
            store.put_part(bytes(32), size, 0, b"a")


def test_offset_zero_begins_anew(store):
    digest = digest_of(b"abcdef")
    store.put_part(digest, 6, 0, b"abc")
    assert not store.put_part(digest, 6, 0, b"ab")
    assert store.put_part(digest, 6, 2, b"cdef")


def test_a_source_that_sends_garbage_does_not_spoil_anothers_blob(store):
    digest = digest_of(b"abcdef")
    store.put_part(digest, 6, 0, b"xxx", b"bad")
    store.put_part(digest, 6, 0, b"abc", b"good")
    with pytest.raises(PeerError):
        store.put_part(digest, 6, 3, b"xxx", b"bad")
    assert store.put_part(digest, 6, 3, b"def", b"good")
    assert store.read(digest, 0, 6) == b"abcdef" and len(files(store)) == 1


def test_the_last_part_of_a_blob_that_another_source_finished_cleans_up(store):
    digest = digest_of(b"abcdef")
    store.put_part(digest, 6, 0, b"abc", b"slow")
    put(store, b"abcdef", source=b"fast")
    assert store.put_part(digest, 6, 3, b"def", b"slow")
    assert len(files(store)) == 1 and store.total_bytes == 6


def test_unfinished_blobs_are_bounded_for_each_source_and_for_all(store):
    each = limits.BLOBS_UNFINISHED_PER_SOURCE_MAX
    sources = [bytes([n]) for n in range(limits.BLOBS_UNFINISHED_MAX // each + 1)]
    for source in sources[:-1]:
        for n in range(each):
            store.put_part(bytes([n, *source]) * 16, 2, 0, b"a", source)
        if source == sources[0]:
            with pytest.raises(StoreError, match="on their way"):
                store.put_part(b"x" * 32, 2, 0, b"a", source)
    with pytest.raises(StoreError, match="on their way"):
        store.put_part(b"y" * 32, 2, 0, b"a", sources[-1])
    assert len(files(store)) == limits.BLOBS_UNFINISHED_MAX


def test_what_a_silent_sender_left_is_removed(store):
    store.put_part(b"x" * 32, 9, 0, b"old", b"silent")
    store._clock.now = 1.0
    store.put_part(b"y" * 32, 9, 0, b"new", b"alive")
    assert store.total_bytes == 6
    store._clock.now = limits.BLOB_UNFINISHED_S
    put(store, b"z")  # the next blob to begin clears away
    assert store.total_bytes == 4 and len(files(store)) == 2
    store._clock.now = 2 * limits.BLOB_UNFINISHED_S
    put(store, b"w")
    assert store.total_bytes == 2


def test_the_quota_counts_what_came_and_not_what_was_promised(tmp_path):
    store = BlobStore(tmp_path, quota_bytes=10, durable=False)
    put(store, b"four")
    store.put_part(digest_of(b"abcdef"), 6, 0, b"a", b"slow")
    assert put(store, b"12345", source=b"fast")[-1]
    with pytest.raises(StoreError, match="quota of 10"):
        store.put_part(digest_of(b"abcdef"), 6, 1, b"bcdef", b"slow")
    with pytest.raises(StoreError, match="quota"):
        store.put_part(bytes(32), 7, 0, b"a")
    assert store.total_bytes == 9


def test_a_store_of_too_many_blobs_takes_no_more(store, monkeypatch):
    monkeypatch.setattr(limits, "BLOBS_MAX", 2)
    put(store, b"a")
    put(store, b"b")
    with pytest.raises(StoreError, match="no more are kept"):
        put(store, b"c")


def test_a_deleted_blob_is_gone_and_its_room_free(store):
    put(store, b"abc")
    assert store.delete(digest_of(b"abc")) and not store.delete(digest_of(b"abc"))
    assert store.total_bytes == 0 and store.size(digest_of(b"abc")) is None
    with pytest.raises(StoreError, match="No such file"):
        store.read(digest_of(b"abc"), 0, 1)


def test_a_restart_finds_the_blobs_and_drops_what_was_unfinished(store):
    for data in (b"one", b"three"):
        put(store, data)
    store.put_part(bytes(32), 9, 0, b"half")
    again = BlobStore(store.directory)
    assert list(again.digests()) == sorted(digest_of(data) for data in (b"one", b"three"))
    assert again.total_bytes == 8 and len(files(again)) == 2


def test_a_full_disk_is_an_error_that_names_the_path_and_leaves_nothing(store, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "_durable", True)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        put(store, b"abc")
    assert files(store) == [] and store.total_bytes == 0


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        BlobStore(tmp_path / "file")


def test_the_disk_is_not_asked_for_what_was_never_here(store, monkeypatch):
    put(store, b"here")
    here, never = digest_of(b"here"), digest_of(b"never")
    like = here[:3] + bytes(29)  # looks as if it might be: the disk tells
    asked = []
    stat = os.stat
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda path, *rest, **more: asked.append(path) or stat(path, *rest, **more))
        assert [store.size(digest) for digest in (here, never, like)] == [4, None, None]
    assert len(asked) == 2
    again = BlobStore(store.directory)
    assert again.size(here) == 4 and again.size(never) is None, "what is found at the start is known"


def test_a_blob_whose_place_is_taken_by_something_else_is_an_error(store):
    digest = digest_of(b"abc")
    (store.directory / digest.hex()[:2]).write_text("")
    assert store.size(digest) is None
    with pytest.raises(StoreError):
        store.put_part(digest, 3, 0, b"abc")
    put(store, b"d")
    path = store.directory / digest_of(b"d").hex()[:2] / digest_of(b"d").hex()[2:]
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError):
        store.delete(digest_of(b"d"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"", b"a", b"abc", b"abcdef"]),
            st.integers(-1, 7),
            st.integers(-2, 8),
            st.binary(max_size=7),
            st.sampled_from([b"p", b"q"]),
        ),
        max_size=20,
    )
)
def test_whatever_peers_send_only_true_blobs_are_there_and_the_sums_hold(tmp_path_factory, parts):
    store = BlobStore(tmp_path_factory.mktemp("blobs"), quota_bytes=12, durable=False, clock=Clock())
    for data, size, offset, part, source in parts:
        try:
            store.put_part(digest_of(data), size, offset, part, source)
        except (PeerError, StoreError):
            pass
        held = [path for path in store.directory.rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in held) == store.total_bytes <= 12
        assert len(held) == len(list(store.digests())) + len(store._unfinished)
    for digest in store.digests():
        assert digest_of(store.read(digest, 0, 100)) == digest


@pytest.mark.parametrize("durable", [True, False])
def test_whole_blobs_are_taken_together_and_each_has_its_end(tmp_path, durable, monkeypatch):
    store = BlobStore(tmp_path, quota_bytes=10, durable=durable)
    flushed = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    blobs = [(digest_of(data), data) for data in (b"abc", memoryview(b"defg"), b"abc", b"too much")]
    ends = store.put_all(blobs)
    assert [type(end) for end in ends] == [type(None), type(None), type(None), DiskFull]
    assert "quota" in str(ends[3])
    assert store.total_bytes == 7
    assert sorted(store.digests()) == sorted(digest for digest, _ in blobs[:2])
    assert store.read(blobs[1][0], 0, 10) == b"defg"
    directories = 1 + len({digest[:1] for digest, _ in blobs[:2]})
    assert len(flushed) == (2 + directories if durable else 0)


def test_of_whole_blobs_that_the_disk_refuses_nothing_is_left(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "_durable", True)
    monkeypatch.setattr(os, "fsync", full)
    (end,) = store.put_all([(digest_of(b"abc"), b"abc")])
    assert isinstance(end, StoreError)
    assert (files(store), store.total_bytes) == ([], 0)


def test_names_that_cannot_be_made_durable_are_no_success(store, monkeypatch):
    real = os.open

    def refused(path, *rest):
        if os.path.isdir(path):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *rest)

    monkeypatch.setattr(store, "_durable", True)
    monkeypatch.setattr(os, "open", refused)
    for _ in range(2):  # it is here, but nobody knows whether it would be after a power cut
        assert [type(end) for end in store.put_all([(digest_of(b"abc"), b"abc")])] == [StoreError]
        with pytest.raises(StoreError):
            put(store, b"abc")
    monkeypatch.undo()
    assert store.put_all([(digest_of(b"abc"), b"abc")]) == [None]


def test_a_blob_is_flushed_before_it_has_its_name_and_its_name_before_it_is_acknowledged(tmp_path, monkeypatch):
    store, steps = BlobStore(tmp_path / "blobs"), []
    fsync, replace = os.fsync, Path.replace

    def named(handle):
        steps.append(("flush", Path(os.readlink(f"/proc/self/fd/{handle}")).name))
        fsync(handle)

    def renamed(path, to):
        steps.append(("rename", path.name))
        return replace(path, to)

    monkeypatch.setattr(os, "fsync", named)
    monkeypatch.setattr(Path, "replace", renamed)
    digest = digest_of(b"abcdef")
    folder = digest.hex()[:2]
    order = [("flush", "1"), ("rename", "1"), ("flush", folder), ("flush", "blobs")]
    assert put(store, b"abcdef", parts=2) == [False, True]
    assert steps == order
    steps.clear()
    store.delete(digest)
    store.put_all([(digest, b"abcdef")])
    assert steps == [(what, "2" if name == "1" else name) for what, name in order]


def spoil(store, digest, data=b"spoiled"):
    (store.directory / digest.hex()[:2] / digest.hex()[2:]).write_bytes(data)


def test_a_blob_that_was_damaged_while_the_peer_was_off_is_set_aside_when_it_is_read(tmp_path, caplog):
    before = BlobStore(tmp_path, durable=False)
    put(before, b"whole")
    put(before, b"broken")
    digest = digest_of(b"broken")
    spoil(before, digest)
    store = BlobStore(tmp_path, durable=False)
    assert sorted(store.unproved()) == sorted(before.digests())
    assert store.read(digest_of(b"whole"), 0, 9) == b"whole"
    assert (store.unproved(), caplog.text) == ([digest], "")
    with pytest.raises(StoreError, match=digest.hex()[2:]):
        store.read(digest, 0, 9)
    assert (store.size(digest), store.total_bytes, store.unproved()) == (None, 5, [])
    assert f"{digest.hex()[2:]} is damaged" in caplog.text and "check that disk" in caplog.text
    assert (tmp_path / "damaged" / digest.hex()).read_bytes() == b"spoiled"
    assert put(store, b"broken")[-1] and store.read(digest, 0, 9) == b"broken"


def test_a_damaged_blob_does_not_pass_for_one_that_is_here(tmp_path):
    before = BlobStore(tmp_path, durable=False)
    digests = [digest_of(data) for data in (b"one", b"two")]
    for data, digest in zip((b"one", b"two"), digests, strict=True):
        put(before, data)
        spoil(before, digest, b"")
    store = BlobStore(tmp_path, durable=False)
    assert store.put_all([(digests[0], b"one")]) == [None]
    assert put(store, b"two", parts=1) == [True]
    assert [store.read(digest, 0, 9) for digest in digests] == [b"one", b"two"]
    assert store.total_bytes == 6


def test_a_large_blob_is_proved_in_its_turn_and_not_before_a_read(tmp_path, monkeypatch):
    monkeypatch.setattr("p2pcpn.store.blobs.PROVED_AT_ONCE_BYTES", 3)
    put(BlobStore(tmp_path, durable=False), b"large")
    store = BlobStore(tmp_path, durable=False)
    assert store.read(digest_of(b"large"), 0, 9) == b"large" and store.unproved()
    assert store.prove(digest_of(b"large")) and not store.unproved()
    assert not store.prove(digest_of(b"never here"))


def test_a_damaged_blob_that_cannot_be_moved_is_an_error_that_names_it(tmp_path, monkeypatch):
    put(BlobStore(tmp_path, durable=False), b"abc")
    store = BlobStore(tmp_path, durable=False)
    spoil(store, digest_of(b"abc"))

    def refuse(path, directory):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("p2pcpn.store.blobs.put_aside", refuse)
    with pytest.raises(StoreError, match="Read-only"):
        store.prove(digest_of(b"abc"))


def test_what_is_no_blob_in_the_directory_is_left_alone(tmp_path):
    put(BlobStore(tmp_path, durable=False), b"abc")
    (tmp_path / "zz").mkdir()
    for name in ("zz/note", "README", f"zz/{'g' * 62}"):
        (tmp_path / name).write_text("mine")
    store = BlobStore(tmp_path, durable=False)
    assert list(store.digests()) == [digest_of(b"abc")] and store.total_bytes == 3
    assert (tmp_path / "README").exists()


def test_more_whole_blobs_than_are_kept_are_refused(store, monkeypatch):
    monkeypatch.setattr(limits, "BLOBS_MAX", 1)
    ends = store.put_all([(digest_of(data), data) for data in (b"abc", b"def")])
    assert [type(end) for end in ends] == [type(None), DiskFull]


def test_what_others_take_under_the_same_quota_counts(tmp_path: Path) -> None:
    taken = [0]
    store = BlobStore(tmp_path, quota_bytes=10, durable=False, beside=lambda: taken[0])
    put(store, b"12345")
    taken[0] = 5
    with pytest.raises(DiskFull):
        put(store, b"6")
    taken[0] = 4
    put(store, b"6")
