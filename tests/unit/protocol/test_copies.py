"""Copies of a log: how far each holder is, and what it is sent next."""

from __future__ import annotations

from p2pcpn.protocol.copies import PENDING_MAX, UNANSWERED_MAX, Copies, Parts
from tests.unit.protocol.granting import at, keypair

A, B, W = keypair(10), keypair(11), keypair(12)


def parts(*numbers: int) -> Parts:
    """Receipts of one worker."""
    return {W.id: (at(W, 5012), [(number, 0) for number in numbers])}


def log(segments: int, own: bool = False) -> Copies:
    """A log of so many segments of ten tasks."""
    copies = Copies(own)
    for number in range(segments):
        copies.add((number + 1) * 10, parts(number), b"header %d" % number)
    return copies


def test_a_segment_is_safe_on_as_many_holders_as_have_all_before_it() -> None:
    copies = log(3)
    copies.join(at(A, 5010))
    copies.join(at(B, 5011))
    one, two = copies.holders[A.id].disk, copies.holders[B.id].disk
    one.has(0)
    one.has(1)
    two.has(1)
    assert (copies.safe(1), copies.safe(2), copies.safe(3)) == (2, 0, 0)
    two.has(0)
    assert copies.safe(2) == 2
    assert copies.settled(copies.safe(2)) == 20
    assert copies.settled(0) == 0
    assert copies.whole == 0
    one.has(2)
    assert copies.whole == 1


def test_our_own_disk_counts_where_it_keeps_logs() -> None:
    copies = log(2, own=True)
    assert (copies.safe(1), copies.whole) == (0, 0)  # not before it is written
    copies.written(0)
    assert (copies.safe(1), copies.safe(2), copies.whole) == (1, 0, 0)
    copies.written(1)
    assert (copies.safe(1), copies.safe(2), copies.whole) == (2, 0, 1)
    copies.disown()
    copies.written(1)
    assert (copies.safe(1), copies.whole) == (0, 0)


def test_a_holder_is_sent_all_segments_in_order_a_few_at_a_time() -> None:
    copies = log(40)
    copies.join(at(A, 5010))
    holder, request, sent = copies.holders[A.id], 0, []
    while copies.owed(holder):
        request += 1
        sent.append(copies.next(holder, request))
    assert sent == list(range(UNANSWERED_MAX))
    assert copies.answered(A.id, 3)
    assert not copies.answered(A.id, 3)
    assert not copies.answered(B.id, 4)
    assert copies.owed(holder)
    assert (holder.disk.held, holder.disk.ahead) == (0, {2})


def test_a_holder_that_leaves_takes_its_copies_along() -> None:
    copies = log(1)
    copies.join(at(A, 5010))
    copies.holders[A.id].disk.has(0)
    copies.join(at(A, 5010))
    assert copies.safe(1) == 1
    copies.leave(A.id)
    assert copies.safe(1) == 0


def test_readers_find_what_another_peer_has_on_its_disk_and_what_only_ours_has_they_do_not() -> None:
    copies = log(4, own=True)
    copies.join(at(A, 5010))
    copies.join(at(B, 5011))
    for number in range(4):
        copies.written(number)
    assert not copies.find() and copies.found == 0
    for number in (0, 1, 3):
        copies.holders[A.id].disk.has(number)
    assert copies.find()
    assert (copies.found, copies.last) == (2, b"header 1")
    copies.holders[B.id].disk.has(0)
    assert not copies.find(), "nothing more"
    copies.holders[A.id].disk.has(2)
    assert copies.find()
    assert (copies.found, copies.last, len(copies._digests)) == (4, b"header 3", 1)


def test_what_a_holder_had_that_is_gone_is_still_to_be_found() -> None:
    copies = log(2)
    copies.join(at(A, 5010))
    copies.holders[A.id].disk.has(0)
    assert copies.find()
    copies.leave(A.id)
    copies.join(at(B, 5011))
    assert not copies.find()
    assert (copies.found, copies.last) == (1, b"header 0")


def test_where_nobody_else_keeps_the_log_readers_find_what_our_own_disk_has_if_it_counts() -> None:
    for own, found in ((True, 1), (False, 0)):
        copies = log(2, own)
        copies.written(0)
        assert copies.find() == own and copies.found == found


def test_receipts_are_released_once_when_their_segment_is_safe() -> None:
    copies = log(3)
    assert copies.release(0) == []
    assert copies.release(2) == [(at(W, 5012), [(0, 0), (1, 0)])]
    assert copies.release(2) == []
    assert copies.wait(at(W, 5012), (9, 9))
    assert copies.release(3) == [(at(W, 5012), [(2, 0), (9, 9)])]
    assert not copies.wait(at(W, 5012), (9, 9))


def test_what_is_remembered_of_a_safe_segment_is_a_few_bytes() -> None:
    copies = log(10_000, own=True)
    copies.join(at(A, 5010))
    for number in range(10_000):
        copies.written(number)
        copies.holders[A.id].disk.has(number)
    copies.release(copies.safe(2))
    assert copies.find()
    assert not copies._pending
    assert len(copies._digests) == 1
    assert not copies.holders[A.id].disk.ahead
    assert copies._settled.itemsize == 8
    assert len(copies) == 10_000


def test_receipts_that_no_holder_can_make_safe_are_remembered_within_a_bound() -> None:
    copies = log(PENDING_MAX + 10)
    assert len(copies._pending) == PENDING_MAX
    assert copies.release(PENDING_MAX + 10)[0][1][0] == (10, 0)
