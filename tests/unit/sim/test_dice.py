"""Dice: the same seed and name throw the same, and no name shifts another's luck."""

from __future__ import annotations

from p2pcpn.sim.dice import Dice


def test_a_seed_and_a_name_always_throw_the_same() -> None:
    assert Dice(7).stream("disk", "a").random() == Dice(7).stream("disk", "a").random()
    assert Dice(7).bytes("key", 1) == Dice(7).bytes("key", 1)


def test_other_seeds_and_other_names_throw_otherwise() -> None:
    thrown = {Dice(seed).bytes(*name) for seed in (1, 2) for name in (("a", "b"), ("ab",), ("a", 1), ("a", 11))}
    assert len(thrown) == 8
