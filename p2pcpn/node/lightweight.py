"""A lightweight peer: a peer of the hash table on one UDP socket, and what it keeps in memory alone.

It has no sessions, no disk, no gossip, and runs nothing. So a thousand fit into one process.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Sequence

from p2pcpn.errors import Unreachable
from p2pcpn.identity.dice import Dice
from p2pcpn.identity.keys import Keypair
from p2pcpn.net.udp import UdpEndpoint
from p2pcpn.node import surroundings
from p2pcpn.node.mishaps import Mishaps
from p2pcpn.node.questions import Questions
from p2pcpn.node.timer import Timer
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.dht import Joined
from p2pcpn.protocol.operations import GetDone, LookupDone, PutDone
from p2pcpn.protocol.requests import ANYBODY
from p2pcpn.protocol.setup import Setup
from p2pcpn.protocol.table_peer import TablePeer
from p2pcpn.wire.addresses import Address, contact
from p2pcpn.wire.statements import Record, Role, signed

BOOT = 1  # a key of its own each time: no earlier life can be mixed up with this one


class LightweightPeer:
    """See the module. ``await start()``, then ``await get_record(...)`` and so on, and ``await close()``.

    ``loss`` is the share of its datagrams that are lost on the way out, for tests.
    """

    def __init__(self, keypair: Keypair, swarm_key: bytes, *, host: str = "127.0.0.1", loss: float = 0.0) -> None:
        self.keypair = keypair
        self.counters: Counter[str] = Counter()
        self.joined = asyncio.Event()
        self._swarm_key = swarm_key
        self._host = host
        self._loss = loss
        self._rng = Dice()

    async def start(self) -> None:
        """Bind a free port. Nobody is known yet."""
        self._loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((self._host, 0))
        self.address: Address = sock.getsockname()
        rules = Rules((), surroundings.python_version(), 0, self._swarm_key)
        setup = Setup(
            keypair=self.keypair, boot=BOOT, contact=contact(self.keypair.id, self.address), rules=rules, slots=0,
            roles=Role.STORAGE, network_group=surroundings.by_port,
        )  # fmt: skip
        self.peer = TablePeer(setup, rng=self._rng, now=self._loop.time(), wall=time.time)
        self.questions = Questions(self._loop)
        mishaps = Mishaps(self.counters)
        self._timer = Timer(self._loop, self.peer.deadline, self._due, mishaps.note)
        self.udp = await UdpEndpoint.open(
            sock, self._datagrams, loss=self._loss, rng=random.Random(self._rng.getrandbits(64))
        )
        self._timer.arm()

    async def close(self) -> None:
        """Gone without a word: whoever asks it hears nothing."""
        if hasattr(self, "udp"):
            self._timer.close()
            self.udp.close()
            self.questions.close()

    async def join(self, addresses: Sequence[Address], wait_s: float) -> None:
        """Ask ``addresses`` for the way into the swarm. Raises :class:`Unreachable` after ``wait_s``."""
        contacts = [contact(ANYBODY, address) for address in addresses]
        self._follow(self.peer.dht.bootstrap(contacts, self._loop.time()))
        try:
            async with asyncio.timeout(wait_s):
                await self.joined.wait()
        except TimeoutError:
            raise Unreachable(f"nobody of {len(addresses)} let this peer in within {wait_s:g} s") from None

    @property
    def busy(self) -> bool:
        """Whether it still looks something up, or is about to."""
        return not self.peer.dht.at_rest

    async def get_record(self, key: bytes) -> GetDone:
        """Look up the newest record under ``key``."""
        done = await self.questions.operation(
            lambda ticket: self._follow(self.peer.dht.get(key, ticket, self._loop.time(), time.time()))
        )
        assert isinstance(done, GetDone)
        return done

    async def put_record(self, keypair: Keypair, salt: bytes, value: bytes, retention_s: float) -> PutDone:
        """Put a record under ``keypair`` and ``salt``; of two the later is the newer."""
        wall = time.time()
        item = signed(Record(salt, time.time_ns(), wall, retention_s, value), keypair)
        done = await self.questions.operation(
            lambda ticket: self._follow(self.peer.dht.put(item, ticket, self._loop.time(), time.time()))
        )
        assert isinstance(done, PutDone)
        return done

    def _datagrams(self, batch: list[tuple[bytes, Address]]) -> None:
        now = self._loop.time()
        for data, address in batch:
            self._perform(self.peer.datagram_received(data, address, now))
        self._timer.arm()

    def _due(self, now: float) -> None:
        self._perform(self.peer.expire(now))
        self._timer.arm()

    def _follow(self, effects: Sequence[fx.Effect]) -> None:
        self._perform(self.peer.perform(effects, self._loop.time()))
        self._timer.arm()

    def _perform(self, effects: Sequence[fx.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, fx.SendBytes):
                self.udp.send(effect.data, effect.address)
            elif isinstance(effect, fx.Commit):  # what is in memory is all there is
                self._perform(self.peer.perform(effect.then, self._loop.time()))
            elif isinstance(effect, fx.Notify):
                self._notified(effect.event)
            else:
                self.counters[f"unused {type(effect).__name__}"] += 1

    def _notified(self, event: object) -> None:
        if isinstance(event, (GetDone, PutDone, LookupDone)):
            self.questions.ended(event.ticket, event)
        elif isinstance(event, Joined):
            self.joined.set()
