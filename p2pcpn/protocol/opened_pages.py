"""Opened pages: what the tasks of a segment name, blobs and each other's results, for whoever holds the job's keys."""

from __future__ import annotations

from p2pcpn.protocol.dependencies import Needs
from p2pcpn.protocol.stock import Page
from p2pcpn.wire import pages
from p2pcpn.wire.pages import needs_of
from p2pcpn.wire.sealing import JobKeys, unseal
from p2pcpn.wire.statements import BlobRef, Segment, Signed, read


def blobs_named(keys: JobKeys, segment: Signed, sealed: list[bytes]) -> list[list[bytes]]:
    """The blobs that each page of a segment names; raises :class:`PeerError` where one is not whole."""
    said, names = read(segment, Segment), []
    first = said.first
    for (count, _), data in zip(said.pages, sealed, strict=True):
        page = pages.TASKS.decode(unseal(keys.page(first), 0, data))
        pages.check_page(page, count)
        named = [*page.functions, *page.arguments, *page.blobs]
        names.append([ref.digest for ref in named if isinstance(ref, BlobRef)])
        first += count
    return names


def needs_named(added: list[Page]) -> Needs:
    """Which tasks of these pages take whose results."""
    opened = [(pages.TASKS.decode(unseal(page.key, 0, page.sealed)), page.first) for page in added]
    return [each for page, first in opened for each in needs_of(page, first)]
