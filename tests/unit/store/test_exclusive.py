"""The lock: one process at a time, and the next one is told who it is."""

from __future__ import annotations

import os

import pytest

from p2pcpn.errors import StoreError
from p2pcpn.store.exclusive import Exclusive


def test_the_second_holder_is_refused_and_told_who_the_first_is(tmp_path):
    held = Exclusive(tmp_path / "lock")
    with pytest.raises(StoreError, match=f"in use by another peer \\(process {os.getpid()}\\); name another folder"):
        Exclusive(tmp_path / "lock")
    held.release()
    held.release()
    Exclusive(tmp_path / "lock").release()


def test_a_lock_that_cannot_be_made_names_its_path(tmp_path):
    with pytest.raises(StoreError, match="missing"):
        Exclusive(tmp_path / "missing" / "lock")
