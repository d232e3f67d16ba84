"""Convergence: what must come true in a network that is whole again. Each function says what is missing, or nothing."""

from __future__ import annotations

from collections.abc import Iterator

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.items import record_key
from p2pcpn.protocol.operations import GetDone
from p2pcpn.sim.host import Host
from p2pcpn.sim.program import Program
from p2pcpn.sim.world import World
from p2pcpn.wire import pages
from p2pcpn.wire.pages import cut
from p2pcpn.wire.statements import LogHeader, read

# Tickets of a scenario's own look-ups.
FIRST_TICKET = 1000


def neighbours_wrong(world: World) -> str:
    """Who has a dead neighbour, or doubts a living one."""
    alive = {host.id: host for host in world.alive}
    members = sum(1 for host in world.alive if host.roles)
    for host in world.alive:
        assert host.peer is not None
        contacts = host.peer.neighbourhood.contacts()
        if not contacts and members > bool(host.roles):
            return f"{host.name} has no neighbours"
        for contact in contacts:
            if NodeId(contact.id) not in alive:
                return f"{host.name} has a dead neighbour"
        if host.peer.membership.statistics()["suspected"]:
            return f"{host.name} suspects a neighbour"
    return ""


def job_wrong(program: Program) -> str:
    """What a program still waits for."""
    lost = program.lost()
    if lost:
        return f"{len(lost)} of {len(program.deeds)} tasks have not ended well, the first is {lost[0]}"
    if not program.done:
        return f"settlements lie on too few holders: {program.replicated}"
    return ""


def copies_wrong(world: World, program: Program) -> str:
    """Whether every settled task, large results included, lies on enough disks: what ``Replicated`` promised."""
    copies: dict[int, set[int]] = {index: set() for index in program.delivered}
    for host in world.hosts:
        for said in headers_on(host, program.job):
            if host is not program.host and any(name not in host.disk.blobs for name in said.blobs):
                return f"{host.name} keeps a log segment without a blob that it names"
            for index in cut(said.spans):
                copies[index].add(host.number)
    assert program.replicated is not None
    promised = min(program.replicated.copies, program.replicated.wanted)
    for index, holders in copies.items():
        if len(holders) < promised:
            return f"the result of task {index} lies on {len(holders)} disks"
    return ""


def headers_on(host: Host, job: bytes) -> Iterator[LogHeader]:
    """The headers of a job's log segments on one disk."""
    for _, (header, _) in host.disk.scan("logs", (job,)):
        yield read(pages.SIGNED.decode(header), LogHeader)


def settled_on_disks(world: World, job: bytes) -> set[int]:
    """The tasks that segments on the disks of living peers settle, of each log as far as a reader gets: to where nobody
    has the next one."""
    logs: dict[tuple[bytes, int], dict[int, LogHeader]] = {}
    for host in world.alive:
        for said in headers_on(host, job):
            logs.setdefault((bytes(said.grantor), said.epoch), {})[said.number] = said
    found: set[int] = set()
    for segments in logs.values():
        number = 0
        while number in segments:
            found.update(cut(segments[number].spans))
            number += 1
    return found


class Search:
    """Look-ups of records from some hosts; :meth:`wrong` says which was not found."""

    def __init__(self, askers: list[Host], keys: list[bytes]) -> None:
        self._open: dict[tuple[int, int], bytes] = {}
        self._missing: list[str] = []
        for host in askers:
            host.listeners.append(lambda event, host=host: self._event(host, event))  # type: ignore[misc]
            for ticket, key in enumerate(keys, FIRST_TICKET):
                assert host.peer is not None
                self._open[host.number, ticket] = key
                host.follow(host.peer.dht.get(key, ticket, host.clock.now, host.wall()))

    def _event(self, host: Host, event: object) -> None:
        if not isinstance(event, GetDone) or self._open.pop((host.number, event.ticket), None) is None:
            return
        if event.signed is None:
            self._missing.append(f"{host.name} does not find the record {event.key.hex()[:8]}")

    @property
    def over(self) -> bool:
        """Whether every look-up has ended."""
        return not self._open

    def wrong(self) -> str:
        """The first record that was not found."""
        if self._open:
            return f"{len(self._open)} look-ups do not end"
        return self._missing[0] if self._missing else ""


def keys_of(program: Program) -> list[bytes]:
    """The records that lead to a job: the owner's pointer, and the head of the grantor's log."""
    grantor = program.host.keypair.public
    return [record_key(program.owner.public, program.job), record_key(grantor, program.job)]
