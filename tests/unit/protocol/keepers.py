"""Keepers of jobs at a table: a steward and its aftercare each, on disks that a test plays, in virtual time.

Messages arrive at once and in order; who is dead takes none, and whoever speaks to it hears that there is no session.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.aftercare import Aftercare
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.kept_jobs import Kept
from p2pcpn.protocol.setup import Pulse
from p2pcpn.protocol.steward import Steward
from p2pcpn.protocol.table import distance
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Close, LogHeader, Signed, signed
from p2pcpn.wire.statements import Steward as Named
from tests.unit.protocol.leased import GRANTOR, GRANTOR_AT, OWNER, Made, keypair, settling

PULSE = Pulse(keepers_s=600.0, replace_s=120.0)
WALL = 1e9


class Keeper:
    """One storage peer. ``disk`` is by table and key; ``lies`` changes what it says of what it has."""

    def __init__(self, table: Table, number: int) -> None:
        self.table = table
        self.key: Keypair = keypair(500 + number)
        self.contact: Contact = contact(self.key.id, (f"10.0.{number}.1", 4000))
        self.disk: dict[str, dict[tuple[Any, ...], Any]] = {"jobs": {}, "segments": {}, "logs": {}, "blobs": {}}
        self.alive = True
        self.granting: tuple[int, int, int] | None = None
        self.refuses = False
        self.lies: Callable[[m.Message], m.Message | None] = lambda message: message
        self.provides: dict[bytes, None] = {}
        self.said: list[m.Message] = []
        self.news: list[object] = []
        self._request = 0
        self.start()

    @property
    def node(self) -> NodeId:
        return self.key.id

    def start(self) -> None:
        """The process begins, with what the disk holds."""
        self.alive = True
        self.steward = Steward(me=self.key, storing=True, wall=self.table.wall, granting=lambda job: self.granting)
        for (job,), row in self.disk["jobs"].items():
            made = self.table.made[job]
            kept = Kept(made.authority, row[2])
            kept.close = made.close
            for _, (_, count, segment, data) in sorted(self.disk["segments"].items()):
                kept.add_segment(pages.SIGNED.decode(segment), count, len(data))
            for (of, grantor, epoch, _), (header, body) in sorted(self.disk["logs"].items()):
                if of == job:
                    kept.restore_log(grantor, epoch, pages.SIGNED.decode(header), len(body))
            self.steward.restore(kept)
        self.care = Aftercare(
            contact=lambda: self.contact, steward=self.steward, near=self._near, group=self.table.group,
            request=self._next, pulse=PULSE, rng=random.Random(self.key.id[0]), now=self.table.now,
        )  # fmt: skip

    def _next(self) -> int:
        self._request += 1
        return self._request

    def _near(self, job: bytes, now: float) -> list[Contact]:
        others = [
            each.contact for each in self.table.keepers if each.alive and each is not self and each.steward.storing
        ]
        return sorted(others, key=lambda each: distance(each.id, job))

    def keeps(self, job: bytes) -> int:
        """How many log segments of a job lie here, without a gap; ``-1``: it does not know the job."""
        if (job,) not in self.disk["jobs"]:
            return -1
        return sum(key[0] == job for key in self.disk["logs"])

    def do(self, effects: list[fx.Effect]) -> None:
        """Perform effects."""
        for effect in effects:
            match effect:
                case fx.Tell():
                    message = self.lies(effect.message)
                    if message is not None:
                        self.table.say(self, effect.to, message)
                case fx.Commit():
                    for write in effect.writes if not self.refuses else ():
                        self._write(write)
                    self.do(list(effect.otherwise if self.refuses else effect.then))
                case fx.OnDisk():
                    self.steward.on_disk(effect.header)
                case fx.Saved():
                    self.steward.saved(effect)
                case fx.Gather():
                    self.do(list(effect.then))
                case fx.TellLog():
                    row = self.disk["logs"].get((effect.job, effect.grantor, effect.epoch, effect.number))
                    if row is not None:
                        sent = m.Append(effect.request, pages.SIGNED.decode(row[0]), row[1])
                        self.table.say(self, effect.to, sent)
                case fx.TellSegment():
                    row = self.disk["segments"][effect.job, effect.number]
                    signed_, sealed = pages.SIGNED.decode(row[2]), pages.PAGES.decode(row[3])
                    self.table.say(self, effect.to, m.Extend(effect.request, signed_, sealed, True))
                case fx.TellBlob():
                    size_bytes, *_ = self.disk["blobs"][effect.digest,]
                    sent = m.PutBlob(
                        effect.request, effect.digest, effect.job, size_bytes, 0, bytes(size_bytes), effect.retention_s
                    )
                    self.table.say(self, effect.to, sent)
                case fx.TellOrphans():
                    for key, row in sorted(self.disk.get("orphans", {}).items()):
                        if key[0] == effect.job:
                            told = m.Orphan(
                                pages.SIGNED.decode(row[2]), row[3], effect.request, pages.SIGNED.decode(row[4])
                            )
                            self.table.say(self, effect.to, told)
                case fx.Notify():
                    self.news.append(effect.event)
                case fx.Provide():
                    self.provides[effect.name] = None
                case fx.Withdraw():
                    self.provides.pop(effect.name, None)

    def _write(self, write: fx.Write) -> None:
        rows = self.disk.setdefault(write.table, {})
        if write.value is not None:
            rows[write.key] = write.value
            return
        for key in [key for key in rows if key[: len(write.key)] == write.key]:
            del rows[key]

    def leave(self) -> None:
        """Begin to bring all that is here to others."""
        self.steward.storing = False
        self.do(self.care.bequest.begin(self.logs, self.table.now))

    def logs(self, job: bytes) -> dict[tuple[bytes, int], int]:
        """How many segments lie on the disk of each log of a job."""
        return dict(Counter((grantor, epoch) for of, grantor, epoch, _ in self.disk["logs"] if of == job))

    def hear(self, sender: Keeper, message: m.Message) -> None:
        """A message over a session."""
        at, now = sender.contact, self.table.now
        match message:
            case m.Recount():
                self.do(self.care.recounted_to(at, message))
            case m.Recounted():
                self.do(self.care.recounted(at, message, now))
            case m.Answer():
                self.do(self.care.answered(at, message, now))
            case m.LogData():
                self.do(self.care.shown(at, message, now))
            case m.Ask():
                self.do(self.steward.asked(at, message))
            case m.JobState():
                self.do(self.care.bequest.told(at, message, now))
            case m.Orphan():
                self.do(self.steward.orphan_passed_on(at, message))
            case m.Entrust():
                self.do(self.steward.entrusted(at, message))
            case m.Extend():
                self.do(self.steward.extended(at, message))
            case m.Append():
                self.do(self.steward.appended(at, message))
            case m.PutBlob():
                kept = message.job in self.steward.jobs and not self.refuses
                if kept:
                    self.disk["blobs"][message.digest,] = (message.size_bytes, message.job, 0.0)
                code = m.AnswerCode.DONE if kept else m.AnswerCode.FULL
                self.do([fx.Tell(at, m.Answer(message.request, code, ""))])
            case m.ReadLog():
                row = self.disk["logs"].get((message.job, message.grantor, message.epoch, message.number))
                answer: m.Message = m.Answer(message.request, m.AnswerCode.UNKNOWN, "has no such log segment")
                if row is not None:
                    answer = m.LogData(message.request, pages.SIGNED.decode(row[0]), row[1])
                self.do([fx.Tell(at, answer)])


class Job(Made):
    """A job of one replica, so of two copies, unless said otherwise, that ``stewards`` keep: settled by one log of so
    many ``segments``, and closed unless it is ``left_open``."""

    def __init__(
        self, table: Table, stewards: list[Keeper], *, number: int = 1, segments: int = 3, left_open: bool = False,
        **options: Any,
    ) -> None:  # fmt: skip
        named = [Named(keeper.key.public, keeper.contact, b"") for keeper in stewards]
        super().__init__(number, stewards=named, retention_s=7 * 86_400.0, **{"replicas": 1, **options})
        self.table = table
        table.made[self.job] = self
        extend = self.segment(2 * segments + left_open)
        self.close = None if left_open else signed(Close(self.job, self.tasks, self.last), OWNER)
        self.log = [self._settle(number) for number in range(segments)]
        for keeper in stewards:
            keeper.do(keeper.steward.introduced(GRANTOR_AT, m.Introduce(0, self.spec, True)))
            keeper.do(keeper.steward.extended(GRANTOR_AT, m.Extend(0, extend.segment, extend.pages, True)))
            if self.close is not None:
                keeper.do(keeper.steward.finished(GRANTOR_AT, m.Finish(0, self.close)))
            for header, body in self.log:
                keeper.do(keeper.steward.appended(GRANTOR_AT, m.Append(0, header, body)))
        self.authority = Authority(self.spec)

    def _settle(self, number: int) -> tuple[Signed, bytes]:
        spans = [(2 * number, 2)]
        body = settling(self.job, spans)
        self.head = getattr(self, "head", bytes(32))
        said = LogHeader(self.job, 0, GRANTOR.id, number, self.head, digest(body), 2 * (number + 1), spans)
        header = signed(said, GRANTOR)
        self.head = digest(header.body)
        return header, body

    @property
    def at(self) -> list[Keeper]:
        """Who lives and has all of it on disk."""
        return [keeper for keeper in self.table.keepers if keeper.alive and keeper.keeps(self.job) == len(self.log)]


class Table:
    """All keepers, and the time."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.made: dict[bytes, Job] = {}
        self.keepers: list[Keeper] = []
        self.group: Callable[[Contact], Any] = lambda each: each.host
        self.counts: dict[str, int] = {}
        self._line: deque[tuple[Keeper, Contact, m.Message]] = deque()
        self._saying = False
        for _ in range(count):
            self.add()

    def wall(self) -> float:
        return WALL + self.now

    def add(self) -> Keeper:
        """A fresh one."""
        keeper = Keeper(self, len(self.keepers))
        self.keepers.append(keeper)
        return keeper

    def at(self, where: Contact) -> Keeper:
        """The one that listens there."""
        return next(keeper for keeper in self.keepers if keeper.node == where.id)

    def say(self, sender: Keeper, to: Contact, message: m.Message) -> None:
        """A message is under way; those before it arrive first. Nobody listens for the grantor, who is gone."""
        if to.id == GRANTOR_AT.id:
            return
        self._line.append((sender, to, message))
        if self._saying:
            return
        self._saying = True
        while self._line:
            source, where, said = self._line.popleft()
            target = self.at(where)
            name = type(said).__name__
            self.counts[name] = self.counts.get(name, 0) + 1
            if not target.alive:
                source.do(source.care.session_closed(target.node, self.now))
            elif source.alive:
                source.said.append(said)
                target.hear(source, m.CODEC.decode(m.CODEC.encode(said)))
        self._saying = False

    def kill(self, keeper: Keeper, *, noticed: bool = True) -> None:
        """Its process is gone, and the others hear of it."""
        keeper.alive = False
        for other in self.keepers if noticed else []:
            if other.alive:
                other.care.dead(keeper.node, self.now)
                other.do(other.care.session_closed(keeper.node, self.now))

    def run(self, seconds: float) -> None:
        """Let time pass: every deadline is met when it is due, and none is due again and again."""
        until, rounds = self.now + seconds, 0
        while True:
            dues = [(due, n) for n, k in enumerate(self.keepers) if k.alive and (due := k.care.deadline()) is not None]
            due, number = min(dues, default=(until + 1.0, 0))
            if due > until:
                break
            rounds = rounds + 1 if due <= self.now else 0
            assert rounds < 20 * len(self.keepers), "a deadline that was met is due again and again"
            self.now = max(self.now, due)
            keeper = self.keepers[number]
            keeper.do(keeper.care.expire(self.now))
        self.now = until
