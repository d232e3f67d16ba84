"""Many seeds: each is played, those that fail are named, and what makes no sense is refused."""

from __future__ import annotations

import pytest

from p2pcpn.errors import UsageError
from p2pcpn.sim import seeds
from p2pcpn.sim.report import Report


def test_seeds_are_a_number_or_a_range() -> None:
    assert list(seeds.parse("7")) == [7] and list(seeds.parse("3-5")) == [3, 4, 5]
    for text in ("", "a", "5-3", "1-2000001", "1-2-3", "-4"):
        with pytest.raises(UsageError, match="seeds are"):
            seeds.parse(text)


def test_every_seed_is_played_in_processes_of_its_own() -> None:
    told: list[Report] = []
    assert seeds.play("quiet", range(1, 4), peers=3, processes=1, found=told.append) == []
    assert sorted(report.seed for report in told) == [1, 2, 3] and all(report.ok for report in told)
    with pytest.raises(UsageError, match="no scenario"):
        seeds.play("calm", [1])


class Now:
    """A pool that plays at once, here."""

    def __init__(self, *_: object) -> None:
        self.cancelled = False

    def __enter__(self) -> Now:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def shutdown(self, **_: object) -> None:
        self.cancelled = True

    def submit(self, run: object, name: str, peers: int, seed: int) -> seeds.Future[Report]:
        future: seeds.Future[Report] = seeds.Future()
        future.set_result(Report(name, peers, seed, verdict="lost" if seed % 3 == 0 else "ok"))
        return future


def test_those_that_fail_are_returned_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "ProcessPoolExecutor", Now)
    bad = seeds.play("churn", range(1, 11))
    assert [report.seed for report in bad] == [3, 6, 9]
    assert bad[0].command == "p2pcpn sim churn --peers 50 --seed 3"


def test_an_interrupt_ends_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    pools: list[Now] = []
    monkeypatch.setattr(seeds, "ProcessPoolExecutor", lambda *args: pools.append(Now()) or pools[-1])

    def interrupt(report: Report) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seeds.play("churn", range(1, 11), found=interrupt)
    assert pools[0].cancelled
