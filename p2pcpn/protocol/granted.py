"""What this node grants: one grantor for a job that is granted as a whole, or for its stem, one for each lot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pcpn.protocol.grantor import Grantor
    from p2pcpn.protocol.lots import Lots


class Granted:
    """See the module. ``whole``, by job, holds stems, too, and what this node only submitted; ``lots`` is by job and
    lot."""

    __slots__ = ("lots", "whole")

    def __init__(self) -> None:
        self.whole: dict[bytes, Grantor] = {}
        self.lots: dict[tuple[bytes, int], Grantor] = {}

    def __len__(self) -> int:
        return len(self.whole) + len(self.lots)

    def __contains__(self, job: bytes) -> bool:
        """Whether anything of a job is granted here, or was submitted."""
        return job in self.whole or any(each == job for each, _ in self.lots)

    def all(self) -> list[Grantor]:
        """All of them."""
        return [*self.whole.values(), *self.lots.values()] if self.lots else list(self.whole.values())

    def of(self, job: bytes) -> list[Grantor]:
        """Those of one job, in the order of its lots."""
        found = [self.lots[key] for key in sorted(key for key in self.lots if key[0] == job)] if self.lots else []
        whole = self.whole.get(job)
        return found if whole is None else [*found, whole]

    def at(self, job: bytes, lot: int, lots: Lots) -> Grantor | None:
        """Who grants that lot of a job."""
        return self.whole.get(job) if lots.is_stem(lot) else self.lots.get((job, lot))

    def in_epoch(self, job: bytes, epoch: int) -> Grantor | None:
        """Who grants what is granted in ``epoch``, be it in that one or in another."""
        for grantor in self.of(job):
            if grantor.book.lots.of_epoch(epoch) == grantor.book.lot:
                return grantor
        return None

    def under(self, job: bytes, token: int) -> Grantor | None:
        """Who gave out that token."""
        for grantor in self.of(job):
            if grantor.book.lots.of_token(token) == grantor.book.lot:
                return grantor
        return None

    def counts(self, job: bytes) -> tuple[int, int, int] | None:
        """(waiting, leased, ended) of the tasks of a job that are granted here; none where none are."""
        ledgers = [grantor.ledger for grantor in self.of(job) if grantor.granting]
        if not ledgers:
            return None
        leased = sum(ledger.leased for ledger in ledgers)
        return sum(ledger.open for ledger in ledgers) - leased, leased, sum(ledger.ended for ledger in ledgers)

    def add(self, grantor: Grantor) -> None:
        """A grantor begins."""
        book = grantor.book
        if book.lots.is_stem(book.lot):
            self.whole[grantor.job] = grantor
        else:
            self.lots[grantor.job, book.lot] = grantor

    def drop(self, job: bytes, lot: int, lots: Lots) -> Grantor | None:
        """Who granted that lot ends."""
        return self.whole.pop(job, None) if lots.is_stem(lot) else self.lots.pop((job, lot), None)
