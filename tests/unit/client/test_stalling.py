"""The same words are said once, then after long; new ones at once."""

from __future__ import annotations

from p2pcpn.client.stalling import REMEMBERED_MAX, Stalling


def test_the_same_reason_is_said_once_and_after_half_a_minute_and_then_every_five() -> None:
    stalling = Stalling()
    said = [now for now in range(0, 1000, 5) if stalling.news({b"p": "lacks x"}, now)]
    assert said == [0, 30, 330, 630, 930]


def test_only_what_is_new_is_said() -> None:
    stalling = Stalling()
    assert stalling.news({b"p": "lacks x", b"q": "is busy"}, 0) == [(b"p", "lacks x"), (b"q", "is busy")]
    assert stalling.news({b"p": "lacks x", b"q": "lacks y"}, 5) == [(b"q", "lacks y")]
    assert stalling.news({b"p": "lacks x", b"r": "paused"}, 10) == [(b"r", "paused")]


def test_it_remembers_no_more_than_so_many_peers() -> None:
    stalling = Stalling()
    stalling.news({i.to_bytes(4, "big"): "no" for i in range(2 * REMEMBERED_MAX)}, 0)
    assert len(stalling._said) == REMEMBERED_MAX
