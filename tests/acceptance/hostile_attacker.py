"""The attacker of the acceptance test: a program that sends one peer a hundred thousand messages it should not believe.

Half are noise that anybody can send to its ports; half are sealed by fresh keys of an attacker that holds the swarm's
key. Orders come as one JSON object on stdin; what was sent goes as one to stdout. It only ever speaks to one loopback
address, and ends by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from p2pcpn import limits
from p2pcpn.errors import P2pcpnError
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.net.listener import SessionServer
from p2pcpn.net.session import Session
from p2pcpn.protocol.effects import SendBytes
from p2pcpn.protocol.pairs import Pairs
from p2pcpn.wire import datagrams as d
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.envelope import GREETING, TRAFFIC, Header, Mac, seal
from p2pcpn.wire.handshake import Profile
from p2pcpn.wire.sealing import digest, swarm_proof
from p2pcpn.wire.statements import (
    Advert,
    Cancel,
    Claim,
    Close,
    Handover,
    Lease,
    LogHeader,
    MemberState,
    Offer,
    Receipt,
    Record,
    Segment,
    Signed,
    Spec,
    Statement,
    Steward,
    signed,
)

LIFETIME_S = 55
DICE = random.Random(20)
pack = msgspec.msgpack.encode
NOTHING = bytes(32)
IDENTITIES = 16
# Sent in one go before others have their turn: what the system's buffers hold easily.
BURST = 40


def lies() -> bytes:
    """MessagePack that lies: depth without end, lengths of gigabytes, counts of thousands of millions."""
    return DICE.choice(
        (
            b"\x91" * DICE.randrange(1, 1100),
            b"\x81\xc0" * 300,
            b"\x9f" + b"\xdd\xff\xff\xff\xff" * 100,
            b"\xc6\xff\xff\xff\xff" + DICE.randbytes(8),
            b"\x93" + bytes((DICE.randrange(1, 25),)) + b"\xdd\xff\xff\xff\xff" + DICE.randbytes(20),
            b"\x93" + bytes((DICE.randrange(1, 25),)) + b"\xdb\x7f\xff\xff\xff",
            b"\xc9\xff\xff\xff\xff\x01",
            DICE.randbytes(DICE.randrange(1, 400)),
            b"",
        )
    )


def mangled(value: object) -> bytes:
    """A message one of whose fields has another type, or a number beyond all bounds."""
    fields = msgspec.msgpack.decode(pack(value))
    assert isinstance(fields, list)
    at = DICE.randrange(1, len(fields)) if len(fields) > 1 else 0
    fields[at] = DICE.choice((None, -1, 1 << 64, 1.5, float("nan"), "text", b"", [], {}, [[[[]]]], b"x" * 900, True))
    try:
        return pack(fields)
    except OverflowError:
        return pack([fields[0], -(1 << 63)])


class Forger:
    """Statements that are signed by the wrong key, speak of what never was, or are broken on the way."""

    def __init__(self, job: bytes, victim: Contact, victim_key: bytes, swarm_key: bytes) -> None:
        self.job = job
        self.victim = victim
        self.victim_key = victim_key
        self.swarm_key = swarm_key
        self.keys = [Keypair(DICE.randbytes(32)) for _ in range(64)]
        self.number = 0

    def sign(self, statement: Statement) -> Signed:
        """By some key; every third signature is of something else."""
        said = signed(statement, DICE.choice(self.keys))
        if DICE.randrange(3) == 0:
            return Signed(said.kind, said.body, said.key, DICE.randbytes(64))
        return said

    def some_job(self) -> bytes:
        return DICE.choice((self.job, self.job, DICE.randbytes(20)))

    def receipt(self) -> Receipt:
        spans = DICE.choice(([(0, 1)], [(0, (1 << 32) - 1)] * 3, [((1 << 63) - 1, 9)], [(i, 1) for i in range(500)]))
        return Receipt(
            self.some_job(), DICE.randrange(3), DICE.choice((self.victim.id, DICE.randbytes(20))), DICE.randrange(99),
            0, spans, bytes(len(spans)), bytes(16 * len(spans)), digest(b"page"), 0.1,
            swarm_proof(self.swarm_key, DICE.choice(self.keys).public),
        )  # fmt: skip

    def advert(self, of: Contact) -> Advert:
        self.number += 1
        return Advert(
            of, 1, self.number, 900.0, 3, 4, 4, 4, 1 << 30, 1 << 30, 0.0, "3.11", "cpython", "linux", ["function"], [],
            [], [], None, 0.0, DICE.getrandbits(60),
        )  # fmt: skip

    def record(self) -> Record:
        created = DICE.choice((0.0, 9e9, 2e9))
        return Record(DICE.randbytes(20), DICE.getrandbits(60), created, DICE.choice((1.0, 9e9)), DICE.randbytes(700))

    def spec(self, owner: Keypair) -> Signed:
        """A job that is right in form: its stewards' keys open nothing."""
        stewards = [Steward(self.victim_key, self.victim, DICE.randbytes(48))]
        return signed(
            Spec(
                DICE.randbytes(16), "x", 1e9, "function", "3.11", None, [], 0, 65535, (1, 1), 0, "hybrid",
                "nearest_idle", "stewards", 60.0, 1, self.victim_key, stewards, b"",
                swarm_proof(self.swarm_key, owner.public), False,
            ),
            owner,
        )  # fmt: skip

    # --- datagrams -------------------------------------------------------------------------------------------------

    def datagram(self, me: Keypair, where: Contact) -> bytes:
        """The body of a datagram of a pair."""
        nonce = DICE.getrandbits(62)
        stranger = contact(DICE.choice(self.keys).id, ("127.0.0.1", 9))
        make: tuple[Callable[[], object], ...] = (
            lambda: d.ClaimRequest(
                nonce,
                self.sign(Claim(self.some_job(), 0, self.victim.id, 1, DICE.choice((where, stranger)), 1, 9, 0.0, 0.0)),
            ),
            lambda: d.ClaimReply(nonce, DICE.randrange(4)),
            lambda: d.Put(nonce, self.sign(self.record()), None),
            lambda: d.Value(nonce, self.sign(self.record()), [stranger]),
            lambda: d.Nodes(nonce, [Contact(DICE.randbytes(20), DICE.randbytes(DICE.randrange(4, 17)), 9)] * 20),
            lambda: d.Gossip([self.sign(self.advert(DICE.choice((stranger, where))))], [255]),
            lambda: d.Gossip([self.sign(MemberState(self.victim, 1, (1 << 63) - 1, DICE.randrange(3)))], [9]),
            lambda: d.Gossip(
                [
                    self.sign(
                        Offer(
                            DICE.randbytes(20),
                            DICE.choice(self.keys).public,
                            0,
                            stranger,
                            self.number,
                            "function",
                            "3.11",
                            [],
                            0,
                            (1 << 62),
                            9999,
                            60.0,
                        )
                    )
                ],
                [255],
            ),
            lambda: d.Gossip([Signed(DICE.randrange(40), DICE.randbytes(60), bytes(32), bytes(64))] * 5, [1] * 4),
            lambda: d.RumorDigest(DICE.randbytes(800), True),
            lambda: d.RumorPull(DICE.randbytes(DICE.choice((799, 800)))),
            lambda: d.PingRequest(nonce, stranger),
            lambda: d.Find(nonce, DICE.randbytes(20)),
            lambda: d.Get(nonce, DICE.randbytes(20), 0),
            lambda: d.Explain(nonce, self.some_job()),
            lambda: d.Stored(nonce, 60000, (1 << 63) - 1),
            lambda: d.Hello(nonce, (1, 1), me.public, 0, 1, 3, b"", b"", bytes(200)),
        )
        message = DICE.choice(make)()
        shape = DICE.randrange(10)
        if shape < 2:
            return lies()[: limits.BODY_BYTES_MAX]
        if shape < 4:
            return mangled(message)[: limits.BODY_BYTES_MAX]
        return pack(message)[: limits.BODY_BYTES_MAX]

    # --- messages of sessions --------------------------------------------------------------------------------------

    def message(self, me: Keypair, spec: Signed | None) -> m.Message:
        """A message of a session: right in form, wrong in what it says."""
        page = DICE.randbytes(DICE.choice((10, 3000)))
        segment = self.sign(
            Segment(self.some_job(), DICE.choice((0, (1 << 32) - 1)), 0, NOTHING, [(256, digest(page))] * 9, [], [])
        )
        huge = [((1 << 62), (1 << 32) - 1)] * DICE.choice((1, 4096))
        slices = [m.PageSlice(0, 0, 0, 65535, bytes(32))] * DICE.choice((1, 4096))
        request = DICE.randrange(1 << 30)
        make: tuple[Callable[[], m.Message], ...] = (
            lambda: m.Extend(request, segment, [page] * 9, DICE.random() < 0.5),
            lambda: m.Grant(
                self.sign(Lease(self.some_job(), 0, DICE.getrandbits(60), self.victim.id, huge)),
                slices,
                bytes(32),
                bytes(32),
                bytes(32),
                9,
            ),
            lambda: m.Progress(self.some_job(), 1, [1 << 62] * 4096),
            lambda: m.Results(self.sign(self.receipt()), DICE.choice((b"page", page)), True),
            lambda: m.Results(signed(self.receipt(), me), b"page", True),
            lambda: m.Settled(self.job, [(1, 1)] * 4096),
            lambda: m.Return(self.some_job(), 1, huge, "declined", "\x1b[2Jx"),
            lambda: m.Revoke(self.job, huge, True),
            lambda: m.Output(self.some_job(), 1, 1, page),
            lambda: m.Finish(request, self.sign(DICE.choice((Close(self.job, 0, NOTHING), Cancel(self.job, 1.0))))),
            lambda: m.Take(request, self.sign(Handover(self.job, 9, self.victim_key))),
            lambda: m.Append(
                request, self.sign(LogHeader(self.some_job(), 0, me.id, 0, NOTHING, digest(page), 9, huge)), page
            ),
            lambda: m.Append(
                request,
                signed(LogHeader(DICE.randbytes(20), 0, me.id, DICE.getrandbits(31), NOTHING, digest(page), 1, []), me),
                page,
            ),
            lambda: m.Answer(request, 60000, "\x1b]0;owned\x07"),
            lambda: m.Ask(request, self.some_job()),
            lambda: m.ListJobs(request, bytes(32)),
            lambda: m.ReadLog(request, self.job, DICE.randbytes(20), 0, (1 << 32) - 1),
            lambda: m.ReadSegment(request, self.job, 0),
            lambda: m.GetBlob(request, digest(page), (1 << 63) - 1),
            lambda: m.BlobData(request, digest(page), 1 << 60, 0, page),
            lambda: m.PutBlob(request, digest(page + b"!"), self.job, len(page), 0, page, 1e9),
            lambda: m.PutBlob(request, DICE.randbytes(32), self.job, 1 << 32, 0, page, 1e9),
            lambda: m.PutBlob(request, DICE.randbytes(32), self.job, DICE.choice((1 << 62, 11, 4 << 20)), 0, b"x", 1e9),
            lambda: m.PutBlob(request, digest(page), self.job, len(page), 0, page, 60.0),
            lambda: m.Introduce(request, spec or self.spec(me), True),
            lambda: m.Introduce(request, self.spec(DICE.choice(self.keys)), True),
            lambda: m.JobState(request, segment, None, None, 0, 0, [], 0, 0, 0, True),
        )
        return DICE.choice(make)()


class Attack:
    """One attack on the peer at ``host:port``; ``counts`` says what was sent."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.address: tuple[str, int] = (order["host"], order["port"])
        self.swarm_key = bytes.fromhex(order["swarm_key"])
        self.victim = NodeId(bytes.fromhex(order["id"]))
        self.order = order
        self.counts: Counter[str] = Counter()
        self.forger = Forger(bytes.fromhex(order["job"]), contact(self.victim, self.address), bytes(32), self.swarm_key)

    async def run(self) -> dict[str, int]:
        slow = asyncio.create_task(self.half_open(self.order["half_open"]))
        await self.know()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.noise(self.order["noise"]))
            group.create_task(self.strangers(self.order["strangers"]))
            group.create_task(self.pairs(self.order["pairs"]))
            for share in split(self.order["sessions"], 4):
                group.create_task(self.sessions(share))
            group.create_task(self.unread())
        slow.cancel()
        return dict(self.counts)

    # --- what anybody can send -------------------------------------------------------------------------------------

    async def noise(self, count: int) -> None:
        """Datagrams without a seal, from several ports."""
        socks = [udp_socket() for _ in range(8)]
        open_mac = Mac(bytes(32))
        hello = pack(d.Hello(1, (1, 1), bytes(32), 0, 1, 0, b"", b"", bytes(256)))
        for number in range(count):
            sender = DICE.randbytes(20)
            kind = DICE.choice((GREETING, TRAFFIC, 7))
            head = struct.pack(
                ">BB20s20s6sQ", DICE.randrange(3), kind, sender, self.victim, bytes(6), DICE.getrandbits(64)
            )
            good = seal(Header(1, GREETING, sender, self.victim, 1, 0), hello, open_mac)
            data = DICE.choice(
                (
                    DICE.randbytes(DICE.randrange(0, 200)),
                    DICE.randbytes(DICE.choice((1200, 1201, 1400, 9000))),
                    head + lies() + bytes(16),
                    head[: DICE.randrange(len(head))],
                    good,
                    good[: DICE.randrange(len(good))],
                    seal(Header(1, GREETING, sender, bytes(20), 1, 0), lies()[:1000], open_mac),
                )
            )
            await self.datagram(DICE.choice(socks), data, number)
        for sock in socks:
            sock.close()
        self.counts["noise"] = count

    async def datagram(self, sock: socket.socket, data: bytes, number: int) -> None:
        try:
            sock.sendto(data, self.address)
            self.counts["datagrams"] += 1
        except OSError:
            self.counts["datagrams_not_sent"] += 1
        if number % BURST == 0:
            await asyncio.sleep(0.004)

    async def strangers(self, count: int) -> None:
        """Connections that say something which is no handshake, and hang up, or not."""
        sent = 0
        while sent < count:
            try:
                reader, writer = await asyncio.open_connection(*self.address)
            except OSError:
                self.counts["connections_refused"] += 1
                await asyncio.sleep(0.05)
                continue
            self.counts["connections"] += 1
            try:
                for _ in range(DICE.choice((1, 1, 8))):
                    size = DICE.choice((0, 48, 96, 512, 65535))
                    writer.write(size.to_bytes(2, "big") + DICE.randbytes(DICE.choice((0, 48, 96, 500))) + lies())
                    sent += 1
                    await asyncio.sleep(0)
                if DICE.random() < 0.5:
                    async with asyncio.timeout(0.02):
                        await reader.read(1000)
            except (OSError, TimeoutError):
                pass
            writer.transport.abort()
        self.counts["strangers"] = sent

    async def half_open(self, count: int) -> None:
        """Handshakes of one byte a second, begun anew when they are hung up on."""

        async def one() -> None:
            while True:
                try:
                    _, writer = await asyncio.open_connection(*self.address)
                    self.counts["connections"] += 1
                    writer.write(b"\0")
                    while True:
                        await asyncio.sleep(1.0)
                        writer.write(DICE.choice((b"\x30", b"\0")))
                        self.counts["slow_bytes"] += 1
                        await writer.drain()
                except OSError:
                    await asyncio.sleep(0.2)

        await asyncio.gather(*(one() for _ in range(count)))

    # --- what a member can send ------------------------------------------------------------------------------------

    async def know(self) -> None:
        """Learn the victim's key, as any member may."""
        session = await self.session(Keypair(os.urandom(32)))
        assert session is not None, "the victim takes no session"
        self.forger.victim_key = session.remote.key
        session.close()

    async def pairs(self, count: int) -> None:
        """Full pairs of fresh identities; then datagrams under their keys, one in eight of them said twice."""
        members = [Member(self) for _ in range(IDENTITIES)]
        loop = asyncio.get_running_loop()
        for member in members:
            await member.meet()
            loop.add_reader(member.sock, member.drain)
        for number in range(count):
            member = DICE.choice(members)
            await self.datagram(member.sock, member.said(self.forger), number)
        self.counts["pairs"] = count
        for member in members:
            loop.remove_reader(member.sock)
            member.sock.close()

    async def session(self, me: Keypair) -> Session | None:
        """A session with the victim as ``me``."""
        profile = Profile(1, 1, me.public, 0, 1, 0, 0)
        server = SessionServer(
            me, self.swarm_key, profile, on_open=lambda _: None, on_message=lambda *_: None, on_close=lambda *_: None
        )
        try:
            opened = await server.dial(*self.address, expected=self.victim)
        except P2pcpnError:
            self.counts["sessions_refused"] += 1
            return None
        self.counts["sessions_opened"] += 1
        return opened

    async def sessions(self, count: int) -> None:
        """Session after session: each says what is forged until it is hung up on, the last word being broken bytes."""
        sent = 0
        while sent < count:
            me = Keypair(os.urandom(32))
            session = await self.session(me)
            if session is None:
                await asyncio.sleep(0.1)
                continue
            spec = self.forger.spec(me)
            for _ in range(min(DICE.choice((1, 100, 400)), count - sent)):
                if session.ended:
                    break
                while not session.writable and not session.ended:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
                session.send(m.CODEC.encode(self.forger.message(me, spec)))
                sent += 1
                if sent % 10 == 0:
                    await asyncio.sleep(0.001)
            if not session.ended:
                session.send(DICE.choice((lies(), mangled(m.Ask(1, bytes(20))))))
                sent += 1
            await asyncio.sleep(0.01)
            session.close()
        self.counts["sessions"] += sent

    async def unread(self) -> None:
        """Members that ask for a hundred megabytes each and read nothing."""
        blob = DICE.randbytes(limits.BLOB_PART_BYTES)
        held = []
        for _ in range(16):
            session = await self.session(Keypair(os.urandom(32)))
            if session is None:
                continue
            held.append(session)
            session.hold(limits.SESSION_HELD_BYTES_MAX + 1)
            session.send(m.CODEC.encode(m.PutBlob(0, digest(blob), self.forger.job, len(blob), 0, blob, 600.0)))
            for number in range(400):
                session.send(m.CODEC.encode(m.Ask(number + 1, self.forger.job)))
                session.send(m.CODEC.encode(m.GetBlob(number + 1, digest(blob), 0)))
                session.send(m.CODEC.encode(m.ReadSegment(number + 1, self.forger.job, 0)))
                if number % 50 == 0:
                    await asyncio.sleep(0.01)
            self.counts["unread"] += 1200
        while self.counts["sessions"] < self.order["sessions"] or "pairs" not in self.counts:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        for session in held:
            session.abort("over")


class Member:
    """One identity with the swarm's key, and its pair with the victim."""

    def __init__(self, attack: Attack) -> None:
        self.me = Keypair(os.urandom(32))
        self.attack = attack
        self.sock = udp_socket()
        self.where = contact(self.me.id, self.sock.getsockname()[:2])
        self.machine = Pairs(self.me, 1, random.SystemRandom(), swarm_key=attack.swarm_key, port=self.where.port)
        self.sequence = 0
        self.last = b""

    async def meet(self) -> None:
        """Greet the victim until it is a pair."""
        loop = asyncio.get_running_loop()
        to = contact(self.attack.victim, self.attack.address)
        effects = self.machine.send(to, d.Leave(0), loop.time())
        while not self.machine.established(to.id):
            for effect in effects:
                if isinstance(effect, SendBytes):
                    self.sock.sendto(effect.data, effect.address)
                    self.attack.counts["datagrams"] += 1
            await asyncio.sleep(0.01)
            effects = self.machine.expire(loop.time())
            for data in self.received():
                effects += self.machine.receive(data, self.attack.address, loop.time())
        self.sequence = self.machine._pairs[to.id].sequence + 10

    def received(self) -> Iterator[bytes]:
        try:
            while True:
                yield self.sock.recv(2000)
        except OSError:
            return

    def drain(self) -> None:
        """Answers are of no interest."""
        for _ in self.received():
            pass

    def said(self, forger: Forger) -> bytes:
        """The next datagram, or the last one again."""
        if self.last and DICE.randrange(8) == 0:
            return self.last
        pair = self.machine._pairs[self.attack.victim]
        self.sequence += DICE.choice((1, 1, 1, 2000))
        header = Header(pair.version, TRAFFIC, self.me.id, self.attack.victim, 1, self.sequence)
        self.last = seal(header, forger.datagram(self.me, self.where), pair.mac)
        return self.last


def udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


def split(count: int, shares: int) -> list[int]:
    return [count // shares + (1 if i < count % shares else 0) for i in range(shares)]


def main() -> None:
    signal.alarm(LIFETIME_S)
    order = json.loads(sys.stdin.readline())
    assert order["host"] == "127.0.0.1", "it is for the loopback alone"
    print(json.dumps(asyncio.run(Attack(order).run())), flush=True)


if __name__ == "__main__":
    main()
