"""Messages of sessions: each comes back as it was said, and any bytes are one of them or the peer's mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.wire.messages import CODEC, Answer, BlobData, Goodbye, Grant, Jobs, Message, Progress, Return
from p2pcpn.wire.statements import Signed

TYPES = get_args(Message)
SIGNED = Signed(4, b"lease", bytes(32), bytes(64))


@pytest.mark.parametrize("cls", TYPES)
@pytest.mark.parametrize("items_max", [0, 3])
def test_every_message_comes_back_as_it_was_said(
    largest: Callable[..., Any], as_lists: Callable[..., Any], cls: type, items_max: int
) -> None:
    value = largest(cls, items_max)
    data = CODEC.encode(value)
    assert CODEC.decode(data) == value
    assert msgpack.unpackb(data) == as_lists(value), "any MessagePack library reads it"
    assert CODEC.decode(msgpack.packb(as_lists(value))) == value, "and any may have written it"


def test_tags_count_from_one_and_never_change() -> None:
    assert [cls.__struct_config__.tag for cls in TYPES] == list(range(1, len(TYPES) + 1))


def test_the_largest_parts_of_blobs_and_lists_of_tasks_fit_a_frame(largest: Callable[..., Any]) -> None:
    for cls in (BlobData, Jobs, Progress, Return, Grant, Answer, Goodbye):
        value = largest(cls)
        if cls is Grant:
            value = msgspec.structs.replace(value, lease=SIGNED, extend=None)
        assert len(CODEC.encode(value)) <= limits.FRAME_BYTES_MAX


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (Goodbye, {"text": "x" * (limits.REASON_CHARS_MAX + 1)}),
        (Answer, {"request": -1}),
        (Grant, {"slices": []}),
        (Progress, {"started": [0] * (limits.BATCH_TASKS_MAX + 1)}),
        (BlobData, {"data": memoryview(bytes(limits.BLOB_PART_BYTES + 1))}),
        (BlobData, {"digest": bytes(31)}),
    ],
)
def test_a_message_out_of_bounds_is_the_peers_mistake(
    largest: Callable[..., Any], cls: type, wrong: dict[str, Any]
) -> None:
    with pytest.raises(PeerError, match="message"):
        CODEC.decode(msgspec.msgpack.encode(msgspec.structs.replace(largest(cls, 1), **wrong)))


@given(st.integers(0, 30), st.binary(max_size=200), st.sampled_from((b"\x92", b"\x93", b"\x95", b"\x9f", b"")))
def test_whatever_the_bytes_there_is_a_message_or_a_peer_error(tag: int, rest: bytes, head: bytes) -> None:
    try:
        assert isinstance(CODEC.decode(head + bytes((tag,)) + rest), TYPES)
    except PeerError:
        pass


@given(st.data())
def test_changed_and_cut_messages_decode_or_are_refused(largest: Callable[..., Any], data: st.DataObject) -> None:
    encoded = bytearray(CODEC.encode(largest(data.draw(st.sampled_from(TYPES)), 2)))
    for at in data.draw(st.lists(st.integers(0, len(encoded) - 1), max_size=4)):
        encoded[at] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(CODEC.decode(encoded[: data.draw(st.integers(0, len(encoded)))]), TYPES)
    except PeerError:
        pass
