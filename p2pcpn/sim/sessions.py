"""Virtual sessions: ordered streams of messages between two hosts, as TCP has them.

A dial takes two round trips; then both ends are told. Whoever is killed is seen to hang up; whoever loses its power,
or is behind a cut, is only silent, until keep-alive gives the session up. A message held up by a cut arrives after it
heals, and none that was said later arrives before it. Of two sessions dialled at once there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2pcpn.sim.clock import Clock
from p2pcpn.sim.network import Network

if TYPE_CHECKING:
    from p2pcpn.sim.host import Host
    from p2pcpn.wire.addresses import Contact

# One way times to a session: two for TCP, two (and one more on the other end) for Noise XX.
DIAL_WAYS = 4
REFUSED_WAYS = 2
DIAL_WAIT_S = 5.0
# What net/listener.py asks of TCP: 15 s idle, then three probes 5 s apart.
KEEPALIVE_S = 30.0
# A lost segment is sent again after TCP's least timeout.
RETRANSMIT_S = 0.2


@dataclass(slots=True, eq=False)
class Stream:
    """One session. ``ends`` are its hosts with the boots they had; ``until`` when what was sent so far has arrived.

    To each end the messages are numbered as they were said: ``early`` came before what a cut held up.
    """

    ends: dict[int, tuple[Host, int]]
    until: dict[int, float] = field(default_factory=dict)
    said: dict[int, int] = field(default_factory=dict)
    heard: dict[int, int] = field(default_factory=dict)
    early: dict[tuple[int, int], bytes] = field(default_factory=dict)
    stalled: list[tuple[int, int, bytes]] = field(default_factory=list)

    def other(self, host: Host) -> Host:
        """The host at the other end."""
        return next(end for number, (end, _) in self.ends.items() if number != host.number)

    def holds(self, host: Host) -> bool:
        """Whether that end is there still: the same life, and the session not closed."""
        return (
            host.peer is not None
            and host.boot == self.ends[host.number][1]
            and host.streams.get(self.other(host).id) is self
        )


class Sessions:
    """All sessions of the world. ``sent_bytes`` is what was said over them."""

    def __init__(self, clock: Clock, network: Network) -> None:
        self._clock = clock
        self._network = network
        self._stalled: dict[Stream, None] = {}
        self.sent_bytes = 0

    def dial(self, host: Host, to: Contact) -> None:
        """Open a session from ``host``; it is told of the end of that."""
        port = self._network.ports.get(to.address)
        target = host.world.at.get(to.address)
        boot = host.boot
        if port is None or target is None or target.unplugged or not self._reach(host, target):
            self._clock.after(DIAL_WAIT_S, lambda: self._failed(host, boot, to))
            return
        way_s = self._network.delay_s(host.port, port)
        if target.peer is None or target.id != to.id:
            self._clock.after(REFUSED_WAYS * way_s, lambda: self._failed(host, boot, to))
            return
        self._clock.after(DIAL_WAYS * way_s, lambda: self._dialled(host, boot, target, to))

    def _reach(self, host: Host, target: Host) -> bool:
        return self._network.reachable(host.number, target.number)

    def _failed(self, host: Host, boot: int, to: Contact) -> None:
        if host.peer is not None and host.boot == boot and to.id not in host.streams:
            host.session_closed(to.id)

    def _dialled(self, host: Host, boot: int, target: Host, to: Contact) -> None:
        if host.peer is None or host.boot != boot:
            return
        known = host.streams.get(target.id)
        if known is not None and known.holds(target):
            return
        if target.paused:  # its system takes the connection, and nobody greets
            self._clock.after(DIAL_WAIT_S, lambda: self._failed(host, boot, to))
            return
        if target.peer is None or target.unplugged or not self._reach(host, target):
            self._failed(host, boot, to)
            return
        stream = Stream({host.number: (host, host.boot), target.number: (target, target.boot)})
        for end, other in ((host, target), (target, host)):
            if end.streams.pop(other.id, None) is not None:
                end.session_closed(other.id)
            if end.peer is None or other.peer is None:
                return
            end.streams[other.id] = stream
        target.session_opened(host)
        host.session_opened(target)

    def send(self, host: Host, stream: Stream, data: bytes) -> None:
        """Put a message on the stream; what is sent to an end that is gone is lost."""
        other = stream.other(host)
        self.sent_bytes += len(data)
        way_s = self._network.delay_s(host.port, other.port)
        if not stream.holds(other) and not other.unplugged and self._reach(host, other):
            self._clock.after(2 * way_s, lambda: self._end(host, stream))  # a reset comes back
            return
        weather = self._network.weather
        if weather.loss and host.port.dice.random() < weather.loss:
            way_s += RETRANSMIT_S
        arrives = max(self._clock.now + way_s, stream.until.get(other.number, 0.0))
        stream.until[other.number] = arrives
        number = stream.said[other.number] = stream.said.get(other.number, -1) + 1
        self._clock.at(arrives, lambda: self._arrive(stream, other, number, data))

    def _arrive(self, stream: Stream, target: Host, number: int, data: bytes) -> None:
        source = stream.other(target)
        if not stream.holds(target):
            if target.unplugged:
                self._stall(stream, target, number, data)
            return
        if stream in self._stalled or not self._reach(source, target):
            self._stall(stream, target, number, data)
            return
        stream.early[target.number, number] = data
        self._hear(stream, source, target)

    def _hear(self, stream: Stream, source: Host, target: Host) -> None:
        """The messages whose turn it is: one may have been said before a cut healed, and what it held up is on its way
        still."""
        number = stream.heard.get(target.number, 0)
        while stream.holds(target) and (data := stream.early.pop((target.number, number), None)) is not None:
            number += 1
            stream.heard[target.number] = number
            target.message_received(source, data)

    def _stall(self, stream: Stream, target: Host, number: int, data: bytes) -> None:
        stream.stalled.append((target.number, number, data))
        if stream not in self._stalled:
            self._stalled[stream] = None
            self._clock.after(KEEPALIVE_S, lambda: self._give_up(stream))

    def _give_up(self, stream: Stream) -> None:
        if stream in self._stalled:
            del self._stalled[stream]
            for host, _ in list(stream.ends.values()):
                self._end(host, stream)

    def heal(self) -> None:
        """Cuts are gone: what was held up arrives, in order, when TCP tries again."""
        for stream in list(self._stalled):
            hosts = [host for host, _ in stream.ends.values()]
            if not all(stream.holds(host) for host in hosts) or not self._reach(hosts[0], hosts[1]):
                continue
            del self._stalled[stream]
            held, stream.stalled = stream.stalled, []
            again = self._clock.now + 2 * RETRANSMIT_S
            for end, number, data in held:
                stream.until[end] = max(again, stream.until.get(end, 0.0))
                self._resend(stream, stream.ends[end][0], number, data)

    def _resend(self, stream: Stream, target: Host, number: int, data: bytes) -> None:
        self._clock.at(stream.until[target.number], lambda: self._arrive(stream, target, number, data))

    def hang_up(self, host: Host, stream: Stream) -> None:
        """``host`` closes its end; the other learns it behind what was sent."""
        self._end(host, stream)
        self._fin(host, stream)

    def _fin(self, host: Host, stream: Stream) -> None:
        other = stream.other(host)
        if self._reach(host, other):
            arrives = self._clock.now + self._network.delay_s(host.port, other.port)
            self._clock.at(max(arrives, stream.until.get(other.number, 0.0)), lambda: self._end(other, stream))
        else:
            self._clock.after(KEEPALIVE_S, lambda: self._end(other, stream))

    def _end(self, host: Host, stream: Stream) -> None:
        if stream.holds(host):
            peer = stream.other(host).id
            del host.streams[peer]
            host.session_closed(peer)

    def died(self, host: Host, streams: list[Stream]) -> None:
        """The process of ``host`` is gone: its system hangs up for it, unless that lost its power too."""
        for stream in streams:
            if host.unplugged:
                other = stream.other(host)
                self._clock.after(KEEPALIVE_S, self._end, other, stream)
            else:
                self._fin(host, stream)
