"""Groups are compared by owner and project: that is what keeps workers apart."""

from __future__ import annotations

from p2pcpn.runtime.function.batches import Batch, Died, GroupKey


def test_groups_differ_by_owner_and_by_project() -> None:
    assert GroupKey(b"a", None) == GroupKey(b"a", None)
    assert len({GroupKey(b"a", None), GroupKey(b"b", None), GroupKey(b"a", b"x"), GroupKey(b"a", b"y")}) == 4


def test_a_batch_renders_nothing_unless_asked() -> None:
    assert Batch(1, [b"f"], None, [b"a"], b"k").render is False


def test_a_death_says_which_task_and_how() -> None:
    died = Died(1, 5, None, 3)
    assert (died.position, died.signal, died.exit_code) == (5, None, 3)
