"""Manifests name chunks and are named by their bytes; names of blobs are text that says all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError, UsageError
from p2pcpn.wire.manifests import (
    CODEC,
    CONTENT,
    LIST,
    BlobName,
    Manifest,
    chunk_count,
    pack_list,
    parse_name,
    read_manifest,
    unpack_list,
)  # fmt: skip
from p2pcpn.wire.sealing import digest

FULL = limits.CHUNK_BYTES


def manifest(size: int, count: int, level: int = CONTENT) -> tuple[bytes, bytes]:
    data = CODEC.encode(Manifest(level, 0, size, FULL, bytes(32 * count)))
    return digest(data), data


def test_a_manifest_says_where_each_chunk_stands() -> None:
    found = read_manifest(*manifest(2 * FULL + 5, 3))
    assert (found.count, found.sealed_bytes) == (3, 2 * FULL + 5 + 3 * limits.CHUNK_SEAL_BYTES)
    assert found.open_range(2) == (2 * FULL, 5)
    assert found.sealed_range(1) == (FULL + limits.CHUNK_SEAL_BYTES, FULL + limits.CHUNK_SEAL_BYTES)
    assert found.chunk(2) == bytes(32)
    assert read_manifest(*manifest(0, 0, LIST)).count == 0


def test_the_largest_manifest_fits() -> None:
    name, data = manifest(limits.MANIFEST_CHUNKS_MAX * FULL, limits.MANIFEST_CHUNKS_MAX)
    assert len(data) <= limits.MANIFEST_BYTES_MAX
    assert read_manifest(name, data).count == limits.MANIFEST_CHUNKS_MAX


@pytest.mark.parametrize(("size", "count"), [(FULL, 2), (FULL + 1, 1), (0, 1)])
def test_sizes_that_do_not_fit_the_chunks_are_refused(size: int, count: int) -> None:
    with pytest.raises(PeerError, match="more or fewer"):
        read_manifest(*manifest(size, count))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        read_manifest(bytes(32), data)
    try:
        read_manifest(digest(data), data)
    except PeerError:
        pass


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 1 << 60)), min_size=1, max_size=5))
def test_a_list_of_sections_is_read_as_it_was_packed(sections: list[tuple[bytes, int]]) -> None:
    assert unpack_list(pack_list(sections)) == sections


@pytest.mark.parametrize("data", [b"", b"x", bytes(41), bytes(40 * (limits.BLOB_SECTIONS_MAX + 1))])
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="no list"):
        unpack_list(data)


@given(st.binary(min_size=64, max_size=64))
def test_a_name_is_read_as_it_was_written(data: bytes) -> None:
    name = BlobName(data[:32], data[32:])
    assert parse_name(f" {str(name).upper()} ") == name
    assert data[32:].hex() not in repr(name) and len(str(name)) == 113


@pytest.mark.parametrize("text", ["", "blob", "x" * 113, "blob" + "a" * 108, "blob" + "a" * 110])
def test_other_texts_are_no_names(text: str) -> None:
    with pytest.raises(UsageError, match="is no name of a blob"):
        parse_name(text)


@given(
    st.binary(min_size=64, max_size=64), st.integers(4, 112), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567189ß")
)
def test_a_wrong_character_is_seen_at_once(data: bytes, at: int, other: str) -> None:
    name = str(BlobName(data[:32], data[32:]))
    wrong = name[:at] + other + name[at + 1 :]
    if wrong == name:
        assert parse_name(wrong).key == data[32:]
    else:
        with pytest.raises(UsageError, match="a wrong character"):
            parse_name(wrong)
    with pytest.raises(UsageError, match="a wrong character"):
        parse_name(name[:5] + name[6] + name[5] + name[7:] if name[5] != name[6] else "blob" + "a" * 109)


def test_bytes_are_cut_into_as_many_chunks_as_it_takes() -> None:
    assert [chunk_count(size, 4) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]
