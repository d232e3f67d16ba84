"""The overlay: one real peer in an asyncio program. Drives ``protocol/peer.py`` with sockets, disk, clock and processes.

Every input (a datagram, a message, a process's report, a timer) goes to the machine; what it returns is performed here, in
order. No decision is made in this file: what stands beside an ``await`` is only how, never whether.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pcpn import limits
from p2pcpn.config import Config
from p2pcpn.errors import P2pcpnError, PeerError, StoreError, Unreachable, UsageError
from p2pcpn.identity.files import load_or_create_key, load_swarm_key
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.metrics import machine as machines
from p2pcpn.metrics.packages import missing, notable
from p2pcpn.net.listener import SessionBounds, SessionServer
from p2pcpn.net.session import Session
from p2pcpn.net.udp import UdpEndpoint, bind_pair
from p2pcpn.node.library import Library, restored_jobs, restored_journal
from p2pcpn.node.runs import Runs
from p2pcpn.node.shelf import Shelf
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.admission import OPEN_SWARM, Rules
from p2pcpn.protocol.dht import BootstrapFailed, Joined
from p2pcpn.protocol.operations import GetDone, LookupDone, PutDone
from p2pcpn.protocol.peer import Peer, Setup
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.runtime.function import FunctionRuntime
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Address, Contact, contact, pack_host, parse_address
from p2pcpn.wire.handshake import Profile
from p2pcpn.wire.statements import Accelerator, Advert, Role

log = logging.getLogger("p2pcpn.node")

SAMPLE_S = 2.0
SAVE_PEERS_S = 60.0
SWEEP_S = 300.0
REQUEST_WAIT_S = 5.0
# A session that lost against its twin is left open this long for what was already said over it.
LINGER_S = 2.0
RESTORED_CONTACTS_MAX = 64


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults injected for tests: the share of sent datagrams that are lost."""

    datagram_loss: float = 0.0


class Overlay:
    """See the module. ``async with Overlay(config) as overlay`` joins the swarm and leaves it at the end.

    ``owner_pids`` are programs whose load counts as ours. Raises :class:`UsageError` for settings that cannot be,
    :class:`StoreError` where the data directory refuses.
    """

    def __init__(
        self,
        config: Config,
        *,
        keypair: Keypair | None = None,
        owner_pids: tuple[int, ...] = (),
        faults: Faults | None = None,
        zygote: Any = None,
    ) -> None:
        self.config = config
        self.swarm_key = load_swarm_key(config.swarm_key) if config.swarm_key is not None else OPEN_SWARM
        self._temporary: Path | None = None
        if config.data_dir is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="p2pcpn-"))
            self.data_dir = self._temporary
            self.keypair = keypair or Keypair(random.SystemRandom().randbytes(32))
        else:
            self.data_dir = Path(config.data_dir)
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.keypair = keypair or load_or_create_key(self.data_dir / "node.key")
        self.id = self.keypair.id
        self.roles = sum(Role.NAMES[name] for name in config.roles)
        self.faults = faults or Faults()
        self._owner_pids = owner_pids
        self._zygote = zygote
        self.counters: Counter[str] = Counter()
        self.listeners: dict[bytes, Callable[[Any], None]] = {}
        self.watchers: list[Callable[[Any], None]] = []
        self._tickets: dict[int, asyncio.Future[Any]] = {}
        self._explaining: dict[int, list[events.Explained]] = {}
        self._ticket = 0
        self._requests: dict[tuple[NodeId, int], asyncio.Future[m.Message]] = {}
        self._sessions: dict[NodeId, Session] = {}
        self._twins: set[Session] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._arming = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self.joined = asyncio.Event()
        self.known = asyncio.Event()
        self.machine: machines.Machine | None = None
        self._packages: tuple[str, ...] = ()
        self.started_at = 0.0

    # --- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Overlay:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Bind, open the store, start the worker processes, and begin to join. Returns before the swarm is found."""
        self.loop = asyncio.get_running_loop()
        self.started_at = self.loop.time()
        host, port = parse_address(self.config.listen)
        udp, tcp = bind_pair(host, port)
        self.address: Address = udp.getsockname()[:2]
        durable = self.config.durable and self._temporary is None
        self.database = Database(self.data_dir / "node.db", durable=durable)
        self.boot = self.database.next_boot()
        store = BlobStore(self.data_dir / "blobs", quota_bytes=self.config.disk_bytes, durable=durable)
        self.shelf = Shelf(store, self.database)
        self.slots = self._slots()
        self.peer = self._peer()
        self.library = Library(self)
        self.runs = Runs(self.peer.worker, self.shelf, self.follow, self.loop.time)
        self.peer.worker.running_positions = self.runs.running
        if self.roles & Role.COMPUTE:
            self.runs.runtime = FunctionRuntime(
                slots=self.slots, on_event=self.runs.event, memory_bytes_max=self.config.memory_bytes,
                zygote_process=self._zygote,
            )  # fmt: skip
            await self.runs.runtime.start()
        profile = Profile(1, 1, self.keypair.public, self.address[1], self.boot, 0, self.roles)
        local = self.config.profile == "local"
        bounds = SessionBounds(half_open_per_host_max=limits.HALF_OPEN_MAX if local else limits.HALF_OPEN_PER_HOST_MAX)
        self.server = SessionServer(
            self.keypair, self.swarm_key, profile, on_open=self._opened, on_message=self._messages,
            on_close=self._closed, bounds=bounds,
        )  # fmt: skip
        await self.server.listen(sock=tcp)
        loss = self.faults.datagram_loss
        self.udp = await UdpEndpoint.open(udp, self._datagrams, loss=loss, rng=random.Random(self.config.seed))
        self._restore()
        self._advertise_at_once()
        self._spawn(self._sample())
        self._spawn(self._save_peers())
        self._spawn(self._sweep())
        await self._bootstrap()
        self._arm()

    def _slots(self) -> int:
        return self.config.cpus or machines.cores()

    def _peer(self) -> Peer:
        config = self.config
        host, port = self.address
        own = "127.0.0.1" if host in ("0.0.0.0", "::") and config.profile == "local" else _own_host(host)
        total, _ = machines.memory()
        rules = Rules(
            runtimes=tuple(config.accept), python=_python(), memory_bytes=config.memory_bytes or total,
            swarm_key=self.swarm_key, trusted=frozenset(bytes.fromhex(key) for key in config.trust), missing=missing,
        )  # fmt: skip
        by_port = config.profile == "local"
        setup = Setup(
            keypair=self.keypair, boot=self.boot, contact=contact(self.id, (own, port)), rules=rules, slots=self.slots,
            roles=self.roles, network_group=_by_port if by_port else _by_prefix,
        )  # fmt: skip
        rng = random.SystemRandom() if config.seed is None else random.Random(config.seed)
        return Peer(setup, rng=rng, now=self.loop.time(), wall=time.time)

    def _restore(self) -> None:
        now = self.loop.time()
        rows = ((key[0], *value) for key, value in self.database.scan("records"))
        self.peer.dht.restore(rows, now, time.time())  # type: ignore[arg-type]
        for kept in restored_jobs(self.database):
            self.peer.steward.restore(kept)
        self.peer.worker.restore(restored_journal(self.database), now)

    async def close(self, *, polite: bool = True) -> None:
        """Leave the swarm, stop the processes, flush and close the store. Quick: nobody is waited for."""
        if self._closing:
            return
        self._closing = True
        if not hasattr(self, "udp"):
            return
        if polite:
            self.follow(self.peer.leave(self.loop.time()))
        for task in list(self._tasks):
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self.runs.runtime is not None:
            await self.runs.runtime.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.server.close()
        self.udp.close()
        for future in [*self._requests.values(), *self._tickets.values()]:
            future.cancel()
        if self._temporary is None:
            await self.shelf.flush()
            self._write_peers()
        await self.loop.run_in_executor(None, self.database.close)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a background task of the node failed", exc_info=task.exception())

    # --- joining ---------------------------------------------------------------------------------------------------------

    async def _bootstrap(self) -> None:
        contacts: list[Contact] = []
        for text in self.config.bootstrap:
            host, port = parse_address(text)
            try:
                found = await self.loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            except OSError as error:
                log.warning("bootstrap %s cannot be resolved: %s", text, error)
                continue
            contacts += [contact(ANYBODY, info[4][:2]) for info in found[:2]]
        for _, row in list(self.database.scan("peers"))[:RESTORED_CONTACTS_MAX]:
            packed, known_port = row[0], row[1]
            if isinstance(packed, bytes) and isinstance(known_port, int):
                contacts.append(Contact(ANYBODY, packed, known_port))
        if contacts:
            self.follow(self.peer.perform(self.peer.dht.bootstrap(contacts, self.loop.time()), self.loop.time()))

    async def wait_known(self, wait_s: float) -> None:
        """Wait until some peer's advert is known. Raises :class:`Unreachable` naming the addresses tried."""
        try:
            async with asyncio.timeout(wait_s):
                await self.known.wait()
        except TimeoutError:
            tried = ", ".join(self.config.bootstrap) or "no address"
            raise Unreachable(
                f"no peer answered at {tried} within {wait_s:g} s; check the address and the swarm key"
            ) from None

    def _write_peers(self) -> None:
        now = time.time()
        writes = tuple(
            fx.Write("peers", (c.id,), (c.host, c.port, now)) for c in self.peer.dht.table.contacts()[:256]
        )
        if writes:
            self.database.commit(writes)

    async def _save_peers(self) -> None:
        while True:
            await asyncio.sleep(SAVE_PEERS_S)
            self._write_peers()

    async def _sweep(self) -> None:
        """Drop from disk what has expired."""
        while True:
            await asyncio.sleep(SWEEP_S)
            expired = await self.loop.run_in_executor(None, self.database.drop_expired, time.time())
            for digest in expired.blobs:
                self.shelf.forget(digest)

    # --- capacity --------------------------------------------------------------------------------------------------------

    def _advertise_at_once(self) -> None:
        """The first advert says what is known without asking anything slow."""
        self.machine = machines.Machine(
            machines.cores(), machines.memory()[0], _python(), *_platform(), (), machines.group()
        )
        total, free = machines.memory()
        self._before: machines.Sample | None = None
        self._say(machines.Sample(0.0, total, free, None), changed=True)

    def _say(self, sample: machines.Sample, *, changed: bool) -> None:
        assert self.machine is not None
        advert = Advert(
            contact=self.peer.contact, boot=self.boot, version=0, ttl_s=0.0, roles=self.roles, cores=self.machine.cores,
            slots=self.slots, slots_free=self.slots, memory_bytes=sample.memory_bytes,
            memory_free_bytes=sample.memory_free_bytes, load=min(max(sample.load, 0.0), 1.0), python=self.machine.python,
            implementation=self.machine.implementation, platform=self.machine.platform[:32],
            runtimes=list(self.config.accept) if self.roles & Role.COMPUTE else [], packages=list(self._packages),
            accelerators=[Accelerator(a.kind, a.count, a.memory_bytes) for a in self.machine.accelerators[:4]],
            tags=list(self.config.tags), position=self.config.position, rtt_ms=0.0, machine=self.machine.group,
        )  # fmt: skip
        self.follow(self.peer.advertise(advert, self.loop.time(), changed=changed))

    async def _sample(self) -> None:
        if not self.roles:
            return
        self.machine = await self.loop.run_in_executor(None, machines.describe)
        self._packages = await self.loop.run_in_executor(None, notable)
        sampler = machines.Sampler(self._owner_pids)
        before: machines.Sample | None = None
        while True:
            await asyncio.sleep(SAMPLE_S)
            sample = await self.loop.run_in_executor(None, sampler.sample)
            coarse = machines.coarse(sample, before)
            self._say(sample, changed=coarse != before)
            before = coarse

    # --- input -----------------------------------------------------------------------------------------------------------

    def _datagrams(self, batch: list[tuple[bytes, Address]]) -> None:
        now = self.loop.time()
        for data, address in batch:
            self._perform(self.peer.datagram_received(data, address, now))
        self._arm()

    def _opened(self, session: Session) -> None:
        remote = session.remote
        where = remote.listen or remote.address
        try:
            caller = contact(remote.id, where)
        except ValueError:
            session.close("address")
            return
        known = self._sessions.get(remote.id)
        if known is not None and not known.ended and not self._replaces(session, known):
            self._linger(session)
            return
        self._sessions[remote.id] = session
        session.keep = True
        if known is not None and not known.ended:
            self._linger(known)
            if known.remote.boot == remote.boot:
                return  # the machines need not know: the line goes on over the other session
            self._perform(self.peer.session_closed(remote.id, self.loop.time()))
        self._perform(self.peer.session_opened(caller, remote.key, self.loop.time()))
        self._arm()

    def _replaces(self, new: Session, old: Session) -> bool:
        """Of two sessions with one peer both ends must keep the same: of a newer boot; else the one dialled by the
        lesser id; of two dialled by the same end the newer."""
        if new.remote.boot != old.remote.boot:
            return new.remote.boot > old.remote.boot
        if new.dialed == old.dialed:
            return True
        return new.dialed == (self.id < new.remote.id)

    def _linger(self, session: Session) -> None:
        """Read what was said over it, then close."""
        session.keep = False
        self._twins.add(session)
        self.loop.call_later(LINGER_S, session.close, "twin")

    def _messages(self, session: Session, batch: list[bytes]) -> None:
        peer, now = session.remote.id, self.loop.time()
        for data in batch:
            message = m.CODEC.decode(data)  # a PeerError ends the session
            if self.library.take(session, message):
                continue
            self._perform(self.peer.message_received(peer, message, now))
        self._arm()

    def _closed(self, session: Session, reason: str) -> None:
        self._twins.discard(session)
        peer = session.remote.id
        if self._sessions.get(peer) is not session:
            return
        del self._sessions[peer]
        self._fail_requests(peer, reason)
        if not self._closing:
            self._perform(self.peer.session_closed(peer, self.loop.time()))
            self._arm()

    def follow(self, effects: list[fx.Effect]) -> None:
        """Perform effects that came from outside an input above."""
        self._perform(self.peer.perform(effects, self.loop.time()))
        self._arm()

    # --- effects ---------------------------------------------------------------------------------------------------------

    def _perform(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            _PERFORM[type(effect)](self, effect)

    def _send_bytes(self, effect: fx.SendBytes) -> None:
        self.udp.send(effect.data, effect.address)

    def _transmit(self, effect: fx.Transmit) -> None:
        session = self._sessions.get(effect.peer)
        if session is not None:
            session.send(m.CODEC.encode(effect.message))

    def _transmit_blob(self, effect: fx.TransmitBlob) -> None:
        session = self._sessions.get(effect.peer)
        if session is not None:
            self.library.send_blob(session, effect)

    def _transmit_log(self, effect: fx.TransmitLog) -> None:
        session = self._sessions.get(effect.peer)
        if session is not None:
            self.library.send_log(session, effect)

    def _dial(self, effect: fx.Dial) -> None:
        self._spawn(self._dialing(effect.to))

    async def _dialing(self, to: Contact) -> None:
        try:
            await self.server.dial(*to.address, expected=NodeId(to.id))
        except P2pcpnError as error:
            log.debug("dial %s: %s", to.id.hex()[:8], error)
            self.counters["dials failed"] += 1
            if NodeId(to.id) not in self._sessions:
                self._fail_requests(NodeId(to.id), str(error))
                self._perform(self.peer.session_closed(NodeId(to.id), self.loop.time()))
                self._arm()

    def _hangup(self, effect: fx.Hangup) -> None:
        session = self._sessions.get(effect.peer)
        if session is not None:
            log.info("session with %s ended: %s", effect.peer.hex()[:8], effect.why)
            session.close(effect.why)

    def _commit(self, effect: fx.Commit) -> None:
        if not effect.then and not effect.otherwise:
            self.database.commit(effect.writes, self._refused)
            return

        def done(error: StoreError | None) -> None:
            self.loop.call_soon_threadsafe(self._committed, effect, error)

        self.database.commit(effect.writes, done)

    def _refused(self, error: StoreError | None) -> None:
        if error is not None:
            self.counters["disk refused"] += 1

    def _committed(self, effect: fx.Commit, error: StoreError | None) -> None:
        if self._closing:
            return
        if error is not None:
            self.counters["disk refused"] += 1
            log.error("%s", error)
        self.follow(list(effect.then if error is None else effect.otherwise))

    def _keep_blob(self, effect: fx.KeepBlob) -> None:
        self.shelf.put(effect.digest, effect.data, effect.job, effect.retention_s)

    def _load(self, effect: fx.Load) -> None:
        segments, settled = self.library.job_state(effect.job)
        self._perform(self.peer.adopt(effect.job, segments, settled, self.loop.time()))

    def _run(self, effect: fx.Run) -> None:
        self.runs.start(effect)

    def _stop_run(self, effect: fx.StopRun) -> None:
        self.runs.stop(effect)

    def _notify(self, effect: fx.Notify) -> None:
        event = effect.event
        if isinstance(event, (GetDone, PutDone, LookupDone)):
            future = self._tickets.pop(event.ticket, None)
            if future is not None and not future.done():
                future.set_result(event)
            return
        if isinstance(event, events.Explained):
            self._explaining.get(event.ticket, []).append(event)
            return
        if isinstance(event, Joined):
            self.joined.set()
        elif isinstance(event, BootstrapFailed):
            log.info("no bootstrap answered; asking again in %.0f s", event.again_s)
        elif isinstance(event, events.Advertised) and event.advert.contact.id != self.id:
            self.known.set()
        job = getattr(event, "job", None)
        listener = self.listeners.get(job) if job is not None else None
        if listener is not None:
            listener(event)
        for watcher in self.watchers:
            watcher(event)

    # --- the timer -------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Set the one timer to the machines' earliest deadline, once a loop turn."""
        if not self._arming and not self._closing:
            self._arming = True
            self.loop.call_soon(self._set_timer)

    def _set_timer(self) -> None:
        self._arming = False
        if self._closing:
            return
        due = self.peer.deadline()
        if self._timer is not None:
            if due is not None and abs(self._timer_at - due) < 1e-4 and not self._timer.cancelled():
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer_at = due
            self._timer = self.loop.call_at(due, self._due)

    def _due(self) -> None:
        self._timer = None
        # The loop's clock may stand a hair before the deadline it was asked for.
        self._perform(self.peer.expire(max(self.loop.time(), self._timer_at)))
        self._arm()

    # --- questions to others -----------------------------------------------------------------------------------------------

    def ticket(self) -> tuple[int, asyncio.Future[Any]]:
        """A number for a DHT operation, and the future of its end."""
        self._ticket += 1
        future: asyncio.Future[Any] = self.loop.create_future()
        self._tickets[self._ticket] = future
        return self._ticket, future

    async def get_record(self, key: bytes) -> GetDone:
        """Look up the newest record under ``key``."""
        ticket, future = self.ticket()
        now = self.loop.time()
        self.follow(self.peer.dht.get(key, ticket, now, time.time()))
        return await future  # type: ignore[no-any-return]

    async def put_record(self, keypair: Keypair, salt: bytes, value: bytes, retention_s: float) -> PutDone:
        """Put a record under ``keypair`` and ``salt``."""
        ticket, future = self.ticket()
        self._perform(self.peer.put_record(salt, value, retention_s, keypair, ticket, self.loop.time()))
        self._arm()
        return await future  # type: ignore[no-any-return]

    async def explain(self, job: bytes, wait_s: float = 2.0) -> list[events.Explained]:
        """Peers' words on why they run a job or do not."""
        self._ticket += 1
        ticket = self._ticket
        found: list[events.Explained] = []
        self._explaining[ticket] = found
        self._perform(self.peer.explain(job, ticket, self.loop.time()))
        self._arm()
        asked = len(self.peer.requests)
        end = self.loop.time() + wait_s
        while self.loop.time() < end and len(found) < asked:
            await asyncio.sleep(0.05)
        del self._explaining[ticket]
        return found

    async def request(self, to: Contact, make: Callable[[int], m.Message], wait_s: float = REQUEST_WAIT_S) -> m.Message:
        """Ask ``to`` over a session and return its answer. Raises :class:`Unreachable`."""
        number = self.peer.next_request()
        future: asyncio.Future[m.Message] = self.loop.create_future()
        key = (NodeId(to.id), number)
        self._requests[key] = future
        try:
            self.follow([fx.Tell(to, make(number))])
            async with asyncio.timeout(wait_s):
                return await future
        except TimeoutError:
            raise Unreachable(f"peer {to.id.hex()[:8]} did not answer within {wait_s:g} s") from None
        finally:
            self._requests.pop(key, None)

    def answered(self, peer: NodeId, request: int, message: m.Message) -> bool:
        """Whether ``message`` answers a request of :meth:`request`."""
        future = self._requests.get((peer, request))
        if future is None:
            return False
        if not future.done():
            future.set_result(message)
        return True

    def _fail_requests(self, peer: NodeId, why: str) -> None:
        for (node, _), future in list(self._requests.items()):
            if node == peer and not future.done():
                future.set_exception(Unreachable(f"peer {peer.hex()[:8]} is gone: {why}"))

    def statistics(self) -> dict[str, dict[str, int]]:
        """Every counter of the node, by part."""
        return {
            "pairs": self.peer.pairs.statistics(),
            "udp": self.udp.statistics(),
            "sessions": self.server.statistics(),
            "dht": self.peer.dht.statistics(),
            "gossip": self.peer.gossip.statistics(),
            "peer": dict(sorted(self.peer.counters.items())),
            "node": dict(sorted(self.counters.items())),
        }


_PERFORM: dict[type[fx.Effect], Callable[[Overlay, Any], None]] = {
    fx.SendBytes: Overlay._send_bytes,
    fx.Transmit: Overlay._transmit,
    fx.TransmitBlob: Overlay._transmit_blob,
    fx.TransmitLog: Overlay._transmit_log,
    fx.Dial: Overlay._dial,
    fx.Hangup: Overlay._hangup,
    fx.Commit: Overlay._commit,
    fx.KeepBlob: Overlay._keep_blob,
    fx.Load: Overlay._load,
    fx.Run: Overlay._run,
    fx.StopRun: Overlay._stop_run,
    fx.Notify: Overlay._notify,
}


def _python() -> str:
    import sys

    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _platform() -> tuple[str, str]:
    import platform
    import sys

    return sys.implementation.name, f"{sys.platform}-{platform.machine()}"


def _own_host(host: str) -> str:
    """The address others can reach us at, as far as can be told without asking: the one routes leave from."""
    if host not in ("0.0.0.0", "::"):
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # documentation address: nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _by_port(address: Address) -> tuple[str, int]:
    """Peers of one machine's swarm are told apart by port."""
    return address


def _by_prefix(address: Address) -> bytes:
    """Networks: /24 of IPv4, /48 of IPv6."""
    packed = pack_host(address[0])
    return packed[:3] if len(packed) == 4 else packed[:6]
