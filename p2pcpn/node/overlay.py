"""The overlay: one real peer in an asyncio program, with sockets, disk, clock and processes.

Every input (a datagram, a message, a process's report, a timer) goes to ``protocol/peer.py``; what it returns is
performed, in order. No decision is made here: what stands beside an ``await`` is only how, never whether.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from p2pcpn import limits
from p2pcpn.config import Config
from p2pcpn.errors import PeerError, StoreError
from p2pcpn.identity.files import load_or_create_key, load_swarm_key
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.net.listener import SessionBounds, SessionServer
from p2pcpn.net.session import Session
from p2pcpn.net.udp import UdpEndpoint, bind_pair
from p2pcpn.node import chores, leftovers, meeting
from p2pcpn.node.capacity import CapacitySampler
from p2pcpn.node.depot import Depot
from p2pcpn.node.hauling import Hauler
from p2pcpn.node.inlet import Inlet
from p2pcpn.node.library import Library
from p2pcpn.node.making import make_peer, restore, roles_of, slots_of
from p2pcpn.node.mending import Mender
from p2pcpn.node.mishaps import Mishaps
from p2pcpn.node.noting import noted
from p2pcpn.node.performing import Performer
from p2pcpn.node.pinning import Pins
from p2pcpn.node.questions import Questions
from p2pcpn.node.restoring import restored_blobs
from p2pcpn.node.rings import Rings
from p2pcpn.node.runs import Runs
from p2pcpn.node.rush import Rush
from p2pcpn.node.scrubbing import scrub
from p2pcpn.node.sessions import News, Sessions
from p2pcpn.node.shelf import Shelf
from p2pcpn.node.slots import Slots
from p2pcpn.node.timer import Timer
from p2pcpn.node.upkeep import Upkeep
from p2pcpn.protocol import deadlines as due
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol.admission import OPEN_SWARM
from p2pcpn.protocol.brought import Brought
from p2pcpn.protocol.deposits import Ledger
from p2pcpn.protocol.dht import BootstrapFailed, Joined
from p2pcpn.protocol.gathering import ProvidersDone
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.protocol.handing_over import HandedOver
from p2pcpn.protocol.operations import GetDone, PutDone
from p2pcpn.protocol.tending import LOCAL, Pace
from p2pcpn.protocol.witness import Chronicle
from p2pcpn.runtime.function import FunctionRuntime
from p2pcpn.store.blobs import BlobStore
from p2pcpn.store.database import Database
from p2pcpn.store.sections import SectionStore
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Address, Contact, contact, parse_address
from p2pcpn.wire.handshake import Profile
from p2pcpn.wire.statements import Advert, Role

log = logging.getLogger("p2pcpn.node")

REQUEST_WAIT_S = 5.0
HIDDEN = "strangers do not reach this peer: it keeps nothing for others; open its port for TCP and UDP"
# What is never the library's to deal with, and comes most often.
AT_ONCE = frozenset({m.Grant, m.Further, m.Results, m.Settled, m.Append})


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
            self._temporary = Path(tempfile.gettempdir(), f"p2pcpn-{secrets.token_hex(8)}")
            self.data_dir = self._temporary
            self.keypair = keypair or Keypair(random.SystemRandom().randbytes(32))
        else:
            self.data_dir = Path(config.data_dir)
            try:
                self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                why = error.strerror or str(error)
                raise StoreError(f"{self.data_dir} cannot be made: {why}; name another folder with --data") from error
            try:
                self.keypair = keypair or load_or_create_key(self.data_dir / "node.key")
            except StoreError as error:
                raise StoreError(f"{error}; name another folder with --data") from error
        self.id = self.keypair.id
        self.roles = roles_of(config)
        most = slots_of(config)
        self.slots = min(config.cpus_min or most, most)  # at a time; they may become more
        self.faults = faults or Faults()
        self._owner_pids = owner_pids
        self._zygote = zygote
        self.counters: Counter[str] = Counter()
        self.mishaps = Mishaps(self.counters)
        self.listeners: dict[bytes, Callable[[Any], None]] = {}
        self.watchers: list[Callable[[Any], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = self._leaving = False
        self.handed_over = asyncio.Event()
        self._undo: list[Callable[[], Any]] = []  # what was started, in order; undone in the opposite one
        self.joined = asyncio.Event()
        self.known = asyncio.Event()
        self.started_at = 0.0

    # --- life --------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Overlay:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Bind, open the store, start the worker processes, and begin to join. Returns before the swarm is found."""
        try:
            await self._start()
        except BaseException:
            await self.close(polite=False)
            raise

    async def _start(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.started_at = self.loop.time()
        if self._temporary is not None:
            self._temporary.mkdir(mode=0o700)
            self._undo.append(lambda: leftovers.clear(self.data_dir))
        udp, tcp = bind_pair(*parse_address(self.config.listen))
        self._undo += [udp.close, tcp.close]
        self.address: Address = udp.getsockname()[:2]
        self.rush = Rush(self.loop)
        self._open_store()
        self.chronicle = self._chronicle()
        self.peer = make_peer(
            self.config, self.keypair, self.swarm_key, self.boot, self.address, self.loop.time(),
            None if self.chronicle is None else self.chronicle.note,
        )  # fmt: skip
        self.timer = Timer(self.loop, self.peer.deadline, self._due, self.mishaps.note)
        self._undo.append(self.timer.close)
        self.sessions = Sessions(self.id, self.loop, self.rush)
        self._undo.append(self.sessions.close)
        self.rings = Rings(self.loop, self.counters, self.sessions.writable)
        self._undo.append(self.rings.close)
        self.questions = Questions(self.loop)
        self._undo.append(self.questions.close)
        self.brought = Brought(self.peer, self.config.disk_bytes)
        self.library = Library(
            shelf=self.shelf, database=self.database, sessions=self.sessions, questions=self.questions,
            counters=self.counters, ask=self.request, wanted=self.peer.knows_job,
            keeps=lambda job: self.peer.storing or job in self.peer.steward.jobs or job in self.peer.grantors,
            granted=self.peer.jobs.granted.__contains__, room=self.brought.take, rush=self.rush, rings=self.rings,
        )  # fmt: skip
        self._open_depot()
        ran = partial(self.follow, touched=due.BY_JOB)
        self.runs = Runs(self.peer.worker, self.shelf, ran, self.loop.time, self.spawn)
        self.peer.worker.running_positions = self.runs.running
        self.performer = Performer(self)
        self.inlet = Inlet(self._message, self.loop)
        if self.roles & Role.COMPUTE:
            await self._start_runtime()
        await self._listen(tcp)
        self.udp = await UdpEndpoint.open(
            udp, self._datagrams, loss=self.faults.datagram_loss, rng=random.Random(self.config.seed)
        )
        self._undo.append(self.udp.close)
        restore(self.peer, self.database, self.loop.time())
        for job, size_bytes in restored_blobs(self.database) if self.brought.restores else ():
            self.brought.restore(job, size_bytes)
        self.capacity = CapacitySampler(
            self.config, contact=self.peer.contact, boot=self.boot, roles=self.roles, slots=self.slots,
            owner_pids=self._owner_pids, say=self._say, busy=lambda: bool(self.peer.worker.running),
        )  # fmt: skip
        self.capacity.begin()
        self.spawn(self._meet())
        self.spawn(self.capacity.run())
        if self.roles & Role.COMPUTE and self.slots < slots_of(self.config):
            self.follow(self.peer.worker.resize(self.slots, self.loop.time()))
            self.spawn(Slots(self, self.slots, slots_of(self.config)).run())
        self.follow(self.peer.restored(self.loop.time()))
        self.upkeep.begin()
        self.spawn(self.mender.run())
        self.spawn(chores.save_peers(self.database, self.peer.dht.table.contacts))
        self.spawn(chores.sweep(self.database, self.shelf, self.counters))
        self.spawn(scrub(self._blobs, self.database, self.counters))
        self.timer.arm()

    def _chronicle(self) -> Chronicle | None:
        """Where a history is wanted, what notes it."""
        if self.config.history is None:
            return None
        chronicle, file = noted(self.config.history, self.keypair, self.boot, self.loop.time)
        self._undo.append(file.close)
        return chronicle

    def _open_store(self) -> None:
        durable = self.config.durable and self._temporary is None
        self.database = Database(self.data_dir / "node.db", durable=durable)
        self._undo.append(lambda: self.loop.run_in_executor(None, self.database.close))
        self.boot = self.database.next_boot()
        store = BlobStore(self.data_dir / "blobs", quota_bytes=self.config.disk_bytes, durable=durable)
        volatile = self._temporary is not None and not self.roles & Role.STORAGE
        self._blobs = store
        self.shelf = Shelf(store, self.database, None if durable else self.rush, volatile=volatile)
        self._undo.append(self.shelf.close)
        if self._temporary is None:
            self._undo.append(self.shelf.flush)

    def _open_depot(self) -> None:
        """What this node keeps of large blobs, and how it moves theirs and its own."""
        quota_bytes = self.config.disk_bytes
        if quota_bytes is not None:
            quota_bytes = int(quota_bytes * limits.DEPOSIT_DISK_SHARE)
        durable = self.config.durable and self._temporary is None
        ledger = Ledger(
            self.peer.setup.rules, storing=bool(self.roles & Role.STORAGE), quota_bytes=quota_bytes,
            disk_bytes=self.config.disk_bytes, beside=lambda: self._blobs.total_bytes,
        )  # fmt: skip
        self._blobs.beside = lambda: ledger.total_bytes
        self.depot = Depot(
            store=SectionStore(self.data_dir / "sections", durable=durable), ledger=ledger, sessions=self.sessions,
            counters=self.counters, loop=self.loop,
        )  # fmt: skip
        self._undo.append(self.depot.close)
        if self._temporary is None:
            self.depot.restore()
        self.hauler = Hauler(self)
        self.upkeep = Upkeep(self, LOCAL if self.config.profile == "local" else Pace())
        self.mender = Mender(self)
        self.upkeep.doubted = self.mender.doubted
        self.pins = Pins(self)

    async def _start_runtime(self) -> None:
        self.runs.runtime = FunctionRuntime(
            slots=self.slots, on_event=self.runs.event, memory_bytes_max=self.config.memory_bytes,
            zygote_process=self._zygote,
        )  # fmt: skip
        self._undo.append(self.runs.runtime.close)
        await self.runs.runtime.start()

    async def _listen(self, tcp: Any) -> None:
        profile = Profile(1, 1, self.keypair.public, self.address[1], self.boot, 0, self.roles)
        local = self.config.profile == "local"
        bounds = SessionBounds(half_open_per_host_max=limits.HALF_OPEN_MAX if local else limits.HALF_OPEN_PER_HOST_MAX)
        self.server = SessionServer(
            self.keypair, self.swarm_key, profile, on_open=self._opened, on_message=self._messages,
            on_close=self._closed, on_writable=self.sessions.writable, keeps=self._keeps,
            bounds=bounds,
        )  # fmt: skip
        self._undo.append(self.server.close)
        await self.server.listen(sock=tcp)

    async def close(self, *, polite: bool = True) -> None:
        """Leave the swarm, stop the processes, flush and close the store.

        Quick: whoever takes what we hold is waited for, for up to ``limits.HANDOVER_S``, and nobody else.
        """
        if self._closing or self._leaving:
            return
        self._leaving = True
        if polite and hasattr(self, "udp"):
            await self._leave()
            if self._temporary is None:
                meeting.save_contacts(self.database, self.peer.dht.table.contacts())
        self._closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for undo in reversed(self._undo):
            try:
                undone = undo()
                if undone is not None:
                    await undone
            except Exception as error:  # the others are closed all the same
                self.mishaps.note("closing", error)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _leave(self) -> None:
        self.follow(self.peer.leave(self.loop.time()))
        try:
            async with asyncio.timeout(limits.HANDOVER_S + 1.0):
                await self.handed_over.wait()
        except TimeoutError:  # the machine says so itself; a timer that does not ring must not keep us here
            log.warning("leaving without having handed over what others' records we hold")

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run ``coroutine`` until the overlay is closed. What it raises is logged."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.counters["tasks failed"] += 1
            log.error("a background task of the node failed", exc_info=task.exception())

    async def _meet(self) -> None:
        contacts = await meeting.named_contacts(self.config.bootstrap) + meeting.saved_contacts(self.database)
        if contacts:
            self.follow(self.peer.dht.bootstrap(contacts, self.loop.time()))

    async def meet(self, addresses: Sequence[str]) -> None:
        """These listen, too: when nobody else is left they are asked for the way back into the swarm, the newest first.

        Raises :class:`UsageError` for what is no HOST:PORT.
        """
        contacts = await meeting.named_contacts(addresses)
        self.follow(self.peer.dht.bootstrap([*contacts, *self.peer.dht.bootstraps], self.loop.time()))

    async def wait_known(self, wait_s: float) -> None:
        """Wait until some peer's advert is known. Raises :class:`Unreachable` naming the addresses tried."""
        await meeting.known_within(self.known, self.config.bootstrap, wait_s)

    def _say(self, advert: Advert, changed: bool) -> None:
        self.follow(self.peer.advertise(advert, self.loop.time(), changed=changed))

    # --- input -------------------------------------------------------------------------------------------------------

    def _datagrams(self, batch: list[tuple[bytes, Address]]) -> None:
        now = self.loop.time()
        for data, address in batch:
            try:
                self._perform(self.peer.datagram_received(data, address, now))
            except Exception as error:  # those behind it are others'
                self.mishaps.note("a datagram", error)
        self.timer.arm()

    def _opened(self, session: Session) -> None:
        remote = session.remote
        try:
            caller = contact(remote.id, remote.listen or remote.address)
        except ValueError:
            session.close("address")
            return
        news, now = self.sessions.opened(session), self.loop.time()
        if news is News.NONE:
            return
        if news is News.REPLACED:
            self.questions.gone(remote.id, "it opened another session")
            self._perform(self.peer.session_closed(remote.id, now))
        self._perform(self.peer.session_opened(caller, remote.key, now))
        self.timer.arm()

    def _messages(self, session: Session, batch: list[bytes]) -> None:
        self.inlet.take(session, batch)

    def _message(self, session: Session, data: bytes) -> None:
        message = m.CODEC.decode(data)  # a PeerError ends the session
        at_once = type(message) in AT_ONCE
        if not at_once and isinstance(message, (m.PutBlob, m.BlobData)) and message.ring_bytes:
            message = self.rings.landed(session, message)
        try:
            if at_once or not (
                self.library.take(session, message)
                or self.depot.take(session, message)
                or self.hauler.take(session, message)
                or self.rings.take(session, message)
            ):
                self._perform(self.peer.message_received(session.remote.id, message, self.loop.time()))
        except PeerError:
            raise
        except Exception as error:  # it costs this message, and nobody anything else
            self.mishaps.message(session, type(message).__name__, error)
        self.timer.arm()

    def _keeps(self, session: Session) -> bool:
        """Whether work depends on this session, so that it makes no room for a new one."""
        peer = session.remote.id
        return self.sessions.get(peer) is session and (self.questions.waits_for(peer) or self.peer.works_with(peer))

    def _closed(self, session: Session, reason: str) -> None:
        peer = session.remote.id
        self.mishaps.ended(session)
        self.rings.gone(session)
        if not self.sessions.closed(session):
            return
        self.questions.gone(peer, reason)
        self.shelf.gone(peer)
        self.depot.gone(peer)
        self.hauler.gone(peer)
        self.upkeep.lost(peer)
        if not self._closing:
            self._perform(self.peer.session_closed(peer, self.loop.time()))
            self.timer.arm()

    def _due(self, now: float) -> None:
        self._perform(self.peer.expire(now))
        self.timer.arm()

    def follow(self, effects: Sequence[fx.Effect], touched: int = due.ALL) -> None:
        """Perform effects that came from outside an input above: from the machines in ``touched``."""
        if not self._closing:
            self._perform(self.peer.perform(effects, self.loop.time(), touched))
            self.timer.arm()

    def _perform(self, effects: Sequence[fx.Effect]) -> None:
        self.performer.perform(effects)

    def act(self, job: bytes, what: Callable[[Grantor], list[fx.Effect]]) -> None:
        """Let the program do something to a job that is granted here."""
        if not self._closing:
            self._perform(self.peer.with_grantor(job, what, self.loop.time()))
            self.timer.arm()

    def tell(self, event: object) -> None:
        """Tell the program above what happened."""
        if isinstance(event, Joined):
            self.joined.set()
        elif isinstance(event, HandedOver):
            self.handed_over.set()
        elif isinstance(event, events.Exposed):
            self.depot.ledger.storing = event.storing
            log.warning(HIDDEN if event.hidden else "strangers reach this peer again")
        elif isinstance(event, BootstrapFailed):
            log.info("no bootstrap answered; asking again in %.0f s", event.again_s)
        elif isinstance(event, events.Advertised) and event.advert.contact.id != self.id:
            self.known.set()
        listener = self.listeners.get(getattr(event, "job", b""))
        if listener is not None:
            if self.chronicle is not None and isinstance(event, events.Delivered):
                self.chronicle.delivered(event)
            listener(event)
        for watcher in self.watchers:
            watcher(event)

    # --- questions to others -----------------------------------------------------------------------------------------

    async def get_record(self, key: bytes) -> GetDone:
        """Look up the newest record under ``key``."""
        done = await self.questions.operation(
            lambda ticket: self.follow(self.peer.dht.get(key, ticket, self.loop.time(), time.time()), due.BY_PROGRAM)
        )
        assert isinstance(done, GetDone)
        return done

    async def put_record(
        self, keypair: Keypair, salt: bytes, value: bytes, retention_s: float, copies: int = limits.RECORD_COPIES
    ) -> PutDone:
        """Put a record under ``keypair`` and ``salt``."""
        done = await self.questions.operation(
            lambda ticket: self.follow(
                self.peer.publishing.put_record(salt, value, retention_s, keypair, ticket, self.loop.time(), copies),
                due.BY_PROGRAM,
            )
        )
        assert isinstance(done, PutDone)
        return done

    async def provide(self, name: bytes, retention_s: float = limits.RETENTION_S, value: bytes = b"") -> PutDone:
        """Be found as a provider of ``name`` from now on, until :meth:`withdraw`, the retention's end or our own."""
        done = await self.questions.operation(
            lambda ticket: self.follow(
                self.peer.publishing.provide(
                    name, self.loop.time(), retention_s=retention_s, value=value, ticket=ticket
                )
            )
        )
        assert isinstance(done, PutDone)
        return done

    def withdraw(self, name: bytes) -> None:
        """Be found as a provider of ``name`` no more."""
        self.follow(self.peer.publishing.withdraw(name, self.loop.time()))

    async def find_providers(self, name: bytes, wanted: int = limits.PROVIDERS_WANTED) -> ProvidersDone:
        """Look up who provides ``name``, whose word may be a lie."""
        done = await self.questions.operation(
            lambda ticket: self.follow(self.peer.publishing.find(name, ticket, self.loop.time(), wanted))
        )
        assert isinstance(done, ProvidersDone)
        return done

    async def explain(self, job: bytes, wait_s: float = 2.0) -> list[events.Explained]:
        """Peers' words on why they run a job or do not; who is silent for ``wait_s`` is left out."""

        def ask(ticket: int) -> int:
            asked, effects = self.peer.explain(job, ticket, self.loop.time())
            self.follow(effects)
            return asked

        return await self.questions.poll(ask, wait_s)

    async def request(
        self,
        to: Contact,
        make: Callable[[int], m.Message],
        wait_s: float = REQUEST_WAIT_S,
        blob_bytes_max: int = 0,
        take: Callable[[m.BlobData], None] | None = None,
    ) -> m.Message:
        """Ask ``to`` over a session and return its answer; ``blob_bytes_max`` where a blob is asked for, ``take`` where
        its parts are to go.

        Raises :class:`Unreachable` after ``wait_s`` of silence.
        """
        number = self.peer.next_request()
        return await self.questions.request(
            NodeId(to.id), number, lambda: self.follow([fx.Tell(to, make(number))]), wait_s, blob_bytes_max, take
        )

    # --- small facts -------------------------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Whether so much waits for sessions or the disk that a program which has more to say should wait, too."""
        waiting = self.sessions.held_bytes + self.peer.lines.held_bytes + self.shelf.overdue_bytes
        return waiting > limits.CONGESTED_BYTES or self.sessions.later_bytes > limits.LATER_BYTES_MAX

    def statistics(self) -> dict[str, dict[str, int]]:
        """Every counter of the node, by part."""
        return {
            "pairs": self.peer.pairs.statistics(),
            "udp": self.udp.statistics(),
            "sessions": self.server.statistics(),
            "dht": self.peer.dht.statistics(),
            "gossip": self.peer.gossip.statistics(),
            "reachability": self.peer.reachability.statistics() | self.peer.dial_backs.statistics(),
            "peer": dict(sorted(self.peer.counters.items())),
            "node": dict(sorted(self.counters.items())),
            "inlet": self.inlet.statistics(),
            "depot": self.depot.statistics(),
        }
