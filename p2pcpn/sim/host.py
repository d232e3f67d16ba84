"""A host: one virtual computer on which a peer lives, dies and starts again. It performs what the peer's machines ask.

The process has the peer, its sessions and its worker processes; they go with it. The computer has the key, the
address and the disk; they stay. Every input goes to the peer, then its effects are performed, its timer is set and
the checker looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.deadlines import ALL, BY_COMMIT, BY_JOB
from p2pcpn.protocol.peer import Peer
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.protocol.setup import Setup
from p2pcpn.protocol.witness import Chronicle
from p2pcpn.sim import restoring, trace
from p2pcpn.sim.clock import OwnClock, Timekeeper
from p2pcpn.sim.disk import Disk, packed
from p2pcpn.sim.runtime import Runtime
from p2pcpn.sim.sessions import Stream
from p2pcpn.sim.shelf import Shelf
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Address, Contact, contact
from p2pcpn.wire.statements import Advert, Role

if TYPE_CHECKING:
    from p2pcpn.sim.world import World

PYTHON = "3.11"
PORT = 4000
MEMORY_BYTES = 8 << 30
SOCKET_DATAGRAMS = 256  # what the system keeps for a process that does not read
SKEW_S_MAX = 60.0  # volunteers' clocks are wrong by so much; ten minutes are tolerated


class Host:
    """See the module. ``peer`` is ``None`` while no process runs; ``unplugged`` while the computer itself is off."""

    def __init__(
        self, world: World, number: int, name: str, *, slots: int, roles: int, rate: float | None = None
    ) -> None:
        self.world = world
        self.number = number
        self.name = name
        self.slots = slots
        self.roles = roles
        self.clock: Timekeeper = world.clock if rate is None else OwnClock(world.clock, rate)
        self.keypair = Keypair(world.dice.bytes("key", name))
        self.id: NodeId = self.keypair.id
        self.address: Address = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", PORT)
        self.contact: Contact = contact(self.id, self.address)
        chance = world.dice.stream("host", name)
        self.load = chance.random() * 0.5
        self.skew_s = chance.uniform(-SKEW_S_MAX, SKEW_S_MAX)
        site = chance.randrange(len(world.network.graph))
        self.port = world.network.attach(self.address, number, site, world.dice.stream("network", name))
        self.disk = Disk(self.clock, world.dice.stream("disk", name))
        self.slowness = 1.0
        self.unplugged = False
        self.asleep = False
        self.boot = 0
        self.peer: Peer | None = None
        self.chronicle: Chronicle | None = None
        self.runtime: Runtime | None = None
        self.shelf: Shelf | None = None
        self.streams: dict[bytes, Stream] = {}
        self.listeners: list[Callable[[object], None]] = []
        self.hearers: list[Callable[[Host, m.Message], None]] = []  # of what peers say on sessions
        self._timer_at = float("inf")
        self._waiting = 0  # datagrams that arrived while the process stood

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self, bootstrap: list[Address]) -> None:
        """Start the process: the next boot, with what the disk holds."""
        now = self.clock.now
        peer = self.begin(now)
        restoring.restore(peer, self.disk, now, self.wall())
        effects = peer.restored(now) + peer.advertise(self.advert(), now, changed=True)
        others = [contact(ANYBODY, address) for address in bootstrap if address != self.address]
        if others:
            effects += peer.perform(peer.dht.bootstrap(others, now), now)
        self._done(effects)

    def begin(self, since: float) -> Peer:
        """The process alone, as of ``since``: its peer has read nothing yet, said nothing, and is due for nothing."""
        assert self.peer is None, "a host runs one process"
        self.unplugged = False
        self.boot = self.disk.next_boot()
        self.chronicle = self._chronicle()
        rules = Rules(("function",), PYTHON, MEMORY_BYTES, self.world.swarm_key)
        setup = Setup(
            keypair=self.keypair, boot=self.boot, contact=self.contact, rules=rules, slots=self.slots,
            roles=self.roles, network_group=lambda address: address, record_copies=self.world.record_copies,
            pulse=self.world.pulse, note=None if self.chronicle is None else self.chronicle.note,
        )  # fmt: skip
        peer = Peer(setup, rng=self.world.dice.stream("peer", self.name, self.boot), now=since, wall=self.wall)
        self.peer = peer
        self.shelf = Shelf(self)
        self.runtime = Runtime(
            self.clock,
            peer.worker,
            self.slots,
            partial(self._follow, self.boot, touched=BY_JOB),
            lambda: self.slowness,
            self.world.dies,
            self._ran,
            bytes(self.id),
        )
        peer.worker.running_positions = self.runtime.running
        self.port.receive = self._datagram
        self.world.trace.note(trace.OPENED, since, self.number, self.number, self.boot.to_bytes(4, "big"))
        return peer

    def _chronicle(self) -> Chronicle | None:
        noted = self.world.history
        if noted is None:
            return None
        return Chronicle(self.id, self.boot, self.keypair.public, lambda: self.clock.now, noted.append)

    def _ran(self, owner: bytes, index: int, began: float) -> None:
        if self.world.ran is not None:
            self.world.ran(self, owner, index, began)

    def crash(self, *, power: bool = False) -> None:
        """The process is gone at once, with ``power`` the whole computer: memory is lost, the disk stays."""
        assert self.peer is not None and self.runtime is not None
        self.world.checker.died(self)
        self.world.trace.note(trace.CLOSED, self.clock.now, self.number, self.number, bytes([power]))
        self.runtime.end()
        self.peer = self.runtime = self.shelf = self.port.receive = None
        self.unplugged = power
        self.disk.crash()
        self._timer_at = float("inf")
        streams, self.streams = list(self.streams.values()), {}
        self.world.sessions.died(self, streams)
        if self.paused:
            self.resume()  # nobody is there any more for whom what waits could matter

    def sleep(self) -> None:
        """The lid is closed: the process stands still, and nothing reaches it."""
        assert self.peer is not None
        self.asleep = True
        self._timer_at = float("-inf")  # before everything: no timer is set, and none that rings is ours

    def wake(self) -> None:
        """The lid is opened: what was due meanwhile is due now, all at once."""
        self.asleep = False
        self._timer_at = float("inf")
        self._arm()

    @property
    def paused(self) -> bool:
        """Whether the process was stopped, as by SIGSTOP."""
        return isinstance(self.clock, OwnClock) and self.clock.standing

    def pause(self) -> None:
        """Stop the process and its workers. Sessions stay up, and what arrives waits in the system's buffers."""
        assert self.peer is not None and isinstance(self.clock, OwnClock), "a host that pauses has a clock of its own"
        self._waiting = 0
        self.clock.stop()

    def resume(self) -> None:
        """Let the process go on: it finds all that arrived, and all that is long due."""
        assert isinstance(self.clock, OwnClock)
        self.clock.go()

    def _held(self, life: int, act: Callable[[], None]) -> None:
        """Once the process goes on: ``act``, if it is the same life still."""
        assert isinstance(self.clock, OwnClock)
        self.clock.reached(lambda: act() if self.peer is not None and self.boot == life else None)

    def wall(self) -> float:
        """This computer's wall clock."""
        return self.clock.wall() + self.skew_s

    def advert(self) -> Advert:
        """What this computer has to give."""
        return Advert(
            contact=self.contact, boot=self.boot, version=0, ttl_s=0.0, roles=self.roles, cores=self.slots,
            slots=self.slots, slots_free=self.slots, memory_bytes=MEMORY_BYTES, memory_free_bytes=MEMORY_BYTES // 2,
            load=self.load, python=PYTHON, implementation="cpython", platform="linux-x86_64",
            runtimes=["function"] if self.roles & Role.COMPUTE else [], packages=[], accelerators=[], tags=[],
            position=None, rtt_ms=0.0, machine=self.number,
        )  # fmt: skip

    # --- input ------------------------------------------------------------------------------------------------------

    def _datagram(self, data: bytes, sender: Address, source: int) -> None:
        if self.asleep:
            return
        if self.paused:
            self._waiting += 1
            if self._waiting <= SOCKET_DATAGRAMS:
                self._held(self.boot, partial(self._datagram, data, sender, source))
            return
        assert self.peer is not None
        now = self.clock.now
        self.world.trace.note(trace.DATAGRAM, now, source, self.number, data)
        self._done(self.peer.datagram_received(data, sender, now))

    def session_opened(self, other: Host) -> None:
        """A session is there; its stream is among ``streams`` already."""
        assert self.peer is not None
        if self.paused:
            self._held(self.boot, partial(self.session_opened, other))
            return
        now = self.clock.now
        self.world.trace.note(trace.OPENED, now, other.number, self.number, b"")
        self._done(self.peer.session_opened(other.contact, other.keypair.public, now))

    def session_closed(self, node: bytes) -> None:
        """A session ended, or could not be made; its stream is not among ``streams`` any more."""
        if self.peer is None:
            return
        if self.paused:
            self._held(self.boot, partial(self.session_closed, node))
            return
        assert self.shelf is not None
        self.shelf.closed(NodeId(node))
        self.world.trace.note(trace.CLOSED, self.clock.now, self.number, self.number, node)
        self._done(self.peer.session_closed(NodeId(node), self.clock.now))

    def message_received(self, source: Host, data: bytes) -> None:
        """Bytes of a message over the session with ``source``."""
        assert self.peer is not None
        if self.paused:
            self._held(self.boot, partial(self.message_received, source, data))
            return
        now = self.clock.now
        self.world.trace.note(trace.MESSAGE, now, source.number, self.number, data)
        message = m.CODEC.decode(data)
        self.world.trace.count(type(message).__name__)
        assert self.shelf is not None
        if isinstance(message, m.ReadLog):
            self._read_log(source, message)
            return
        if isinstance(message, m.ReadSegment):
            self._read_segment(source, message)
            return
        if self.shelf.take(source.id, message):
            return
        for hear in self.hearers:
            hear(source, message)
        self.world.checker.hears(self, message)
        self._done(self.peer.message_received(source.id, message, now))

    def follow(self, effects: list[fx.Effect], touched: int = ALL) -> None:
        """Perform effects of machines that were spoken to directly: of those in ``touched``."""
        assert self.peer is not None
        self._done(self.peer.perform(effects, self.clock.now, touched))

    def _follow(self, boot: int, effects: list[fx.Effect], touched: int = BY_COMMIT) -> None:
        if self.peer is not None and self.boot == boot:
            self.follow(effects, touched)

    def _done(self, effects: list[fx.Effect]) -> None:
        if effects:
            self.perform(effects)
        if self.peer is not None:  # an effect may have ended it
            due = self.peer.deadline()
            if due is not None and due < self._timer_at:
                self._wake_at(due)
        self.world.checker.after(self)

    def _arm(self) -> None:
        """Set the timer where the machines want to be woken earlier; that they want it later is found when it rings."""
        self._wake_at(self.peer.deadline() if self.peer is not None else None)

    def _wake_at(self, due: float | None) -> None:
        if due is not None and due < self._timer_at:
            self._timer_at = due
            self.clock.at(due + self.port.lag_s, self._rings, due, self.boot)

    def _rings(self, due: float, boot: int) -> None:
        if self.peer is None or boot != self.boot or due != self._timer_at:
            return
        self._timer_at = float("inf")
        deadline = self.peer.deadline()
        if deadline is not None and deadline <= self.clock.now:
            self._done(self.peer.expire(self.clock.now))
        else:
            self._wake_at(deadline)

    # --- effects ----------------------------------------------------------------------------------------------------

    def perform(self, effects: Sequence[fx.Effect]) -> None:
        """Perform what a peer returned, in order."""
        if self.chronicle is not None:
            effects = self.chronicle.attend(effects)
        for effect in effects:
            _PERFORM[type(effect)](self, effect)

    def _send_bytes(self, effect: fx.SendBytes) -> None:
        self.world.network.send(self.port, self.address, effect.address, effect.data)

    def _transmit(self, effect: fx.Transmit) -> None:
        self.world.checker.says(self, effect.message)
        self.say(effect.peer, effect.message)

    def say(self, peer: bytes, message: m.Message) -> None:
        """Put a message on the session with ``peer``, if there is one."""
        stream = self.streams.get(peer)
        if stream is not None:
            self.world.sessions.send(self, stream, m.CODEC.encode(message))

    def _transmit_blob(self, effect: fx.TransmitBlob) -> None:
        assert self.shelf is not None
        self.shelf.send(effect)

    def _transmit_log(self, effect: fx.TransmitLog) -> None:
        row = self.disk.get("logs", (effect.job, effect.grantor, effect.epoch, effect.number))
        if row is None:
            self.world.trace.count("log segments missing")
            return
        self.say(effect.peer, restoring.log_message(effect.request, row))

    def _transmit_segment(self, effect: fx.TransmitSegment) -> None:
        row = self.disk.get("segments", (effect.job, effect.number))
        if row is None:
            self.world.trace.count("segments missing")
            return
        self.say(effect.peer, restoring.segment_message(effect.request, row))

    def _dial(self, effect: fx.Dial) -> None:
        self.world.sessions.dial(self, effect.to)

    def _hangup(self, effect: fx.Hangup) -> None:
        stream = self.streams.get(effect.peer)
        if stream is not None:
            self.world.trace.count("hangups")
            self.world.sessions.hang_up(self, stream)

    def _commit(self, effect: fx.Commit) -> None:
        boot = self.boot

        def done(durable: bool) -> None:
            self.world.trace.note(trace.COMMIT, self.clock.now, self.number, durable, packed(effect.writes))
            follow = effect.then if durable else effect.otherwise
            if follow:
                self._follow(boot, list(follow))

        self.disk.commit(effect.writes, done)

    def _keep_blob(self, effect: fx.KeepBlob) -> None:
        assert self.shelf is not None
        self.shelf.keep(effect.digest, effect.data)

    def _gather(self, effect: fx.Gather) -> None:
        assert self.shelf is not None
        self.shelf.gather(effect)

    def _load(self, effect: fx.Load) -> None:
        assert self.peer is not None
        authority = self.peer.presiding.authority(effect.job)
        if authority is None:
            return
        segments, settled = restoring.job_state(self.disk, authority)
        inherited = restoring.orphans(self.disk, effect.job)
        states = restoring.states(self.disk, effect.job)
        self.perform(self.peer.adopt(effect.job, segments, settled, self.clock.now, inherited, states))

    def _review(self, effect: fx.Review) -> None:
        assert self.peer is not None
        authority = self.peer.presiding.authority(effect.job)
        stale = [] if authority is None else restoring.stale_tasks(self.disk, authority)
        self.perform(self.peer.reviewed(effect.job, stale, self.clock.now))

    def _load_inputs(self, effect: fx.LoadInputs) -> None:
        assert self.peer is not None
        authority = self.peer.presiding.authority(effect.job)
        entries = [] if authority is None else restoring.settlements(self.disk, authority)
        self.perform(self.peer.inputs_loaded(effect.job, effect.indices, entries, self.clock.now))

    def _tell_orphans(self, effect: fx.TellOrphans) -> None:
        found = restoring.orphans(self.disk, effect.job, own=not effect.request)
        said = [fx.Tell(effect.to, m.Orphan(each.receipt, each.page, effect.request, each.lease)) for each in found]
        self._follow(self.boot, list(said))

    def _run(self, effect: fx.Run) -> None:
        assert self.runtime is not None
        self.runtime.start(effect)

    def _stop_run(self, effect: fx.StopRun) -> None:
        assert self.runtime is not None
        self.runtime.stop(effect)

    def _cut_run(self, effect: fx.CutRun) -> None:
        assert self.runtime is not None
        self.runtime.cut(effect.batch)

    def _notify(self, effect: fx.Notify) -> None:
        self.world.checker.notified(self, effect.event)
        for listener in self.listeners:
            listener(effect.event)

    def _read_log(self, source: Host, message: m.ReadLog) -> None:
        row = self.disk.get("logs", (message.job, message.grantor, message.epoch, message.number))
        unknown = m.Answer(message.request, m.AnswerCode.UNKNOWN, "has no such log segment")
        self.say(source.id, unknown if row is None else restoring.log_answer(message.request, row))

    def _read_segment(self, source: Host, message: m.ReadSegment) -> None:
        row = self.disk.get("segments", (message.job, message.number))
        unknown = m.Answer(message.request, m.AnswerCode.UNKNOWN, "has no such segment")
        self.say(source.id, unknown if row is None else restoring.segment_message(message.request, row, keep=False))


_PERFORM: dict[type[fx.Effect], Callable[[Host, Any], None]] = {
    fx.SendBytes: Host._send_bytes,
    fx.Transmit: Host._transmit,
    fx.TransmitBlob: Host._transmit_blob,
    fx.TransmitLog: Host._transmit_log,
    fx.TransmitSegment: Host._transmit_segment,
    fx.Dial: Host._dial,
    fx.Hangup: Host._hangup,
    fx.Commit: Host._commit,
    fx.KeepBlob: Host._keep_blob,
    fx.Gather: Host._gather,
    fx.Load: Host._load,
    fx.Review: Host._review,
    fx.LoadInputs: Host._load_inputs,
    fx.TellOrphans: Host._tell_orphans,
    fx.Run: Host._run,
    fx.StopRun: Host._stop_run,
    fx.CutRun: Host._cut_run,
    fx.Notify: Host._notify,
}
