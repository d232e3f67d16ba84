"""The short scale does less of everything than the full one."""

from __future__ import annotations

from p2pcpn.bench.scale import FULL, SHORT, Scale


def test_short_is_shorter() -> None:
    for name in Scale.__dataclass_fields__:
        short, full = getattr(SHORT, name), getattr(FULL, name)
        if isinstance(full, (int, float)):
            assert short <= full, name
        elif isinstance(full, tuple):
            assert len(short) <= len(full), name


def test_the_full_scale_is_what_was_promised() -> None:
    assert FULL.map_items == 1_000_000 and FULL.whole and FULL.blobs == 64
    assert (FULL.idle_peers, FULL.idle_s) == (100, 600.0)
    assert [peers for peers, _ in FULL.startups] == [2, 8, 32]
    assert min(FULL.metg_s) == 1e-5 and max(FULL.metg_s) == 0.03
