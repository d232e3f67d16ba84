"""Frames come out as they went in, however the stream is cut, and foreign bytes raise PeerError alone."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.errors import PeerError
from p2pcpn.runtime.function.messages import (
    FRAME_BYTES_MAX,
    Cancel,
    Finished,
    Frames,
    FromWorker,
    Output,
    Run,
    Skipped,
    frame,
)

RUN = Run(1, 2, None, False, [(0, b"f")], [0], None, [b"a", b"b"], b"k", True)
FINISHED = Finished(2, 0, b"\0\1", [b"x", b"y"], bytes(32), [0.1, 0.2], [])


def test_messages_to_a_worker_come_out_as_they_went_in() -> None:
    assert Frames(from_worker=False).feed(bytes(frame(RUN) + frame(Cancel(2, [1])))) == [RUN, Cancel(2, [1])]


@given(st.lists(st.integers(1, 40), max_size=30))
def test_however_the_stream_is_cut_the_messages_are_the_same(cuts: list[int]) -> None:
    sent: list[FromWorker] = [FINISHED, Output(2, 1, 1, b"text" * 30), Skipped(4)]
    stream = b"".join(bytes(frame(message)) for message in sent)
    frames, received, offset = Frames(from_worker=True), [], 0
    for cut in [*cuts, len(stream)]:
        received += frames.feed(stream[offset : offset + cut])
        offset += cut
    assert received == sent


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_peer_error(data: bytes) -> None:
    for chunk in (data, struct.pack("<I", len(data)) + data):
        try:
            Frames(from_worker=True).feed(chunk)
        except PeerError:
            continue


def test_a_length_beyond_the_bound_is_refused_before_it_is_waited_for() -> None:
    with pytest.raises(PeerError, match="at most"):
        Frames(from_worker=True).feed(struct.pack("<I", FRAME_BYTES_MAX + 1))


def test_a_message_for_the_other_direction_is_refused() -> None:
    with pytest.raises(PeerError, match="not a message"):
        Frames(from_worker=True).feed(bytes(frame(Cancel(1, []))))
