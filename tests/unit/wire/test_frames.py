"""Frames: messages in, sealed bytes out, and back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.wire.frames import HEADER_BYTES, MANY, PART, WHOLE, FrameReader, FrameWriter
from p2pcpn.wire.noise import TAG_BYTES

KEY = bytes(range(32))


def sealed(*messages: bytes) -> bytes:
    return b"".join(FrameWriter(KEY).write(messages))


def frames(*kinds_and_contents: tuple[int, bytes]) -> bytes:
    """Frames as a peer that holds the key but not our rules might send them."""
    writer, chunks = FrameWriter(KEY), list[bytes]()
    for kind, content in kinds_and_contents:
        writer._seal(kind, content, chunks)
    return b"".join(chunks)


def read(data: bytes, step: int | None = None) -> list[bytes]:
    reader = FrameReader(KEY)
    step = step or len(data) or 1
    return [message for at in range(0, len(data), step) for message in reader.feed(data[at : at + step])]


@pytest.mark.parametrize("size", [0, 1, 65_530, 65_531, 65_532, 262_144, 262_145, 1 << 20, (3 << 20) + 7])
def test_a_message_of_any_size_arrives(size: int) -> None:
    message = bytes(size)
    assert read(sealed(message), step=100_000) == [message]


@given(st.lists(st.binary(max_size=2000), max_size=30), st.integers(1, 500))
def test_messages_arrive_in_order_however_the_stream_is_cut(messages: list[bytes], step: int) -> None:
    assert read(sealed(*messages), step) == messages


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(1, 400))
def test_what_was_read_may_be_overwritten_at_once(messages: list[bytes], step: int) -> None:
    reader, memory, data = FrameReader(KEY), bytearray(step), sealed(*messages)
    found: list[bytes] = []
    for at in range(0, len(data), step):
        part = data[at : at + step]
        memory[: len(part)] = part
        found += reader.feed(memoryview(memory)[: len(part)])
        memory[:] = b"\xff" * step
    assert found == messages and reader.pending == 0


def test_a_part_of_a_blob_and_what_is_said_of_it_fit_one_frame() -> None:
    writer = FrameWriter(KEY)
    writer.write([bytes(limits.BLOB_PART_BYTES + 200)])
    assert writer.frames == 1


def test_large_and_small_messages_keep_their_order() -> None:
    messages = [b"a", b"b", bytes(300_000), b"c", bytes(70_000), bytes(60_000), b"d", b""]
    assert read(sealed(*messages), step=65_536) == messages


def test_small_messages_share_a_frame() -> None:
    writer = FrameWriter(KEY)
    writer.write([b"small"] * 1000)
    assert writer.frames == 1 and writer.messages == 1000


def test_one_byte_at_a_time_is_enough() -> None:
    assert read(sealed(b"one", b"two") + b"", step=1) == [b"one", b"two"]


def test_the_largest_message_arrives_and_a_larger_one_is_refused_on_both_sides() -> None:
    largest = bytes(limits.MESSAGE_BYTES_MAX)
    assert read(sealed(largest)) == [largest]
    with pytest.raises(AssertionError):
        sealed(largest + b"x")
    with pytest.raises(PeerError, match="above"):
        read(frames(*[(PART, bytes(1 << 20))] * 16, (WHOLE, b"x")))


def test_what_is_pending_is_counted_and_can_be_let_go() -> None:
    reader = FrameReader(KEY)
    data = frames((PART, bytes(20_000)), (WHOLE, bytes(100)))
    assert reader.feed(data[:-50]) == []
    assert reader.pending == 20_000 + HEADER_BYTES + 100 + TAG_BYTES - 50
    reader.forget()
    assert reader.pending == 0


def test_a_lying_length_is_refused_from_its_header_alone() -> None:
    for length in (0, TAG_BYTES - 1, limits.FRAME_BYTES_MAX + TAG_BYTES + 1, (1 << 30) - 1):
        with pytest.raises(PeerError, match="announced"):
            read(length.to_bytes(HEADER_BYTES, "big"))


@pytest.mark.parametrize("at", [0, 3, 4, 20, -1])
def test_an_altered_bit_anywhere_is_refused(at: int) -> None:
    data = bytearray(sealed(b"a message of some bytes"))
    data[at] ^= 1 if at != 0 else 0x80
    with pytest.raises(PeerError):
        read(bytes(data) + bytes(2000))


def test_a_repeated_a_swapped_and_a_missing_frame_are_refused() -> None:
    writer = FrameWriter(KEY)
    first, second = (b"".join(writer.write([message])) for message in (b"first", b"second"))
    for stream in (first + first, second + first, second):
        with pytest.raises(PeerError, match="does not open"):
            read(stream)


@pytest.mark.parametrize(
    "wrong",
    [
        [(PART, b"tiny")],
        [(PART, b"")],
        [(MANY, msgspec.msgpack.encode([]))],
        [(MANY, b"no array")],
        [(MANY, msgspec.msgpack.encode(["text"]))],
        [(MANY, b"\xdd\xff\xff\xff\xff")],
        [(PART, bytes(20_000)), (MANY, msgspec.msgpack.encode([b"x"]))],
        [(3, b"unknown")],
    ],
)
def test_sealed_nonsense_is_refused(wrong: list[tuple[int, bytes]]) -> None:
    with pytest.raises(PeerError):
        read(frames(*wrong))


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=200)), max_size=5))
def test_any_sealed_content_gives_messages_or_peer_error(contents: list[tuple[int, bytes]]) -> None:
    try:
        read(frames(*contents))
    except PeerError:
        pass


@given(st.binary(max_size=500), st.integers(1, 100))
def test_any_bytes_give_peer_error_or_wait_for_more(garbage: bytes, step: int) -> None:
    try:
        assert read(garbage, step) == []
    except PeerError:
        pass
