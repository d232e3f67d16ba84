"""A worker on a table: a job as its owner makes it, leases as its grantor signs them, a runtime that is a list.

Keys, seals and signatures are real. ``Bench.do`` performs what concerns processes (``Run``, ``StopRun``) by noting it,
so that a test says what each batch comes to.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.admission import Rules
from p2pcpn.protocol.settlement import Opened, open_receipt
from p2pcpn.protocol.worker import Worker
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import Contact, contact
from p2pcpn.wire.messages import PageSlice
from p2pcpn.wire.pages import TaskPage
from p2pcpn.wire.sealing import JobKeys, digest, job_id, result_digest, seal, swarm_proof
from p2pcpn.wire.statements import Handover, Lease, Receipt, Segment, Signed, Spec, Steward, signed

SWARM_KEY = bytes([7]) * 32
PYTHON = "3.11"
NOTHING = bytes(32)


def keypair(number: int) -> Keypair:
    """The keypair of a number: the same in every run."""
    return Keypair(number.to_bytes(32, "big"))


def at(key: Keypair, port: int) -> Contact:
    """A contact on loopback."""
    return contact(key.id, ("127.0.0.1", port))


OWNER, GRANTOR, ME = keypair(1), keypair(2), keypair(3)
STEWARDS = (keypair(4), keypair(5))
STRANGER = keypair(6)
GRANTOR_AT, ME_AT, STRANGER_AT = at(GRANTOR, 4002), at(ME, 4003), at(STRANGER, 4006)
STEWARDS_AT = tuple(at(key, 4004 + number) for number, key in enumerate(STEWARDS))


def rules(**options: Any) -> Rules:
    """The rules of a member of the swarm."""
    options.setdefault("swarm_key", SWARM_KEY)
    options.setdefault("memory_bytes", 1 << 30)
    return Rules(runtimes=("function",), python=PYTHON, **options)


class Made:
    """A job: spec, segments and leases, made as owner and grantor make them."""

    def __init__(self, number: int = 1, **options: Any) -> None:
        self.owner: Keypair = options.pop("owner", OWNER)
        self.grantor: Keypair = options.pop("grantor", GRANTOR)
        stewards = [Steward(key.public, where, b"") for key, where in zip(STEWARDS, STEWARDS_AT, strict=True)]
        fields: dict[str, Any] = {
            "nonce": number.to_bytes(16, "big"), "name": "test", "created_s": 0.0, "runtime": "function",
            "python": PYTHON, "code": None, "requires": [], "memory_bytes": 0, "replicas": 2, "quorum": (1, 1),
            "max_workers": 0, "orchestration": "hybrid", "routing": "nearest_idle", "privacy": "stewards",
            "retention_s": 3600.0, "retries": 3, "grantor": self.grantor.public, "stewards": stewards, "wrapped": b"",
            "swarm_proof": swarm_proof(SWARM_KEY, self.owner.public), "output": True,
        }  # fmt: skip
        self.spec = signed(Spec(**{**fields, **options}), self.owner)
        self.job = job_id(self.owner.public, self.spec.body)
        self.keys = JobKeys(digest(number.to_bytes(16, "big")))
        self.segments: list[Signed] = []
        self.sealed: list[list[bytes]] = []
        self.firsts: list[tuple[int, int, int]] = []  # of pages: (first, count, segment)
        self.tasks = 0
        self.last = NOTHING
        self.token = 0

    def segment(self, *counts: int, requires: Iterable[str] = (), **options: Any) -> m.Extend:
        """The next segment, of pages of so many tasks; arguments are the pickled index."""
        first, listed, sealed, number = self.tasks, [], [], len(self.segments)
        for count in counts:
            arguments: list[Any] = [pickle.dumps(index) for index in range(self.tasks, self.tasks + count)]
            page = options.get("page", TaskPage([b"function"], None, arguments))
            data = seal(self.keys.page(self.tasks), 0, pages.TASKS.encode(page))
            sealed.append(data)
            listed.append((count, digest(data)))
            self.firsts.append((self.tasks, count, number))
            self.tasks += count
        statement = signed(Segment(self.job, number, first, self.last, listed, list(requires), []), self.owner)
        self.segments.append(statement)
        self.sealed.append(sealed)
        self.last = digest(statement.body)
        return m.Extend(number + 1, statement, sealed, False)

    def slices(self, spans: list[tuple[int, int]]) -> list[PageSlice]:
        """The slices that cover ``spans``."""
        found = []
        for first, count in spans:
            for page_first, held, number in self.firsts:
                low, high = max(first, page_first), min(first + count, page_first + held)
                if low < high:
                    found.append(
                        PageSlice(number, page_first, low - page_first, high - page_first, self.keys.page(page_first))
                    )
        return found

    def grant(self, *spans: tuple[int, int], **options: Any) -> m.Grant:
        """A lease of ``spans`` for ``worker``."""
        by: Keypair = options.get("by", self.grantor)
        epoch: int = options.get("epoch", 0)
        self.token += 1
        token: int = options.get("token", self.token)
        lease = Lease(self.job, epoch, token, options.get("worker", ME.id), list(spans))
        slices = options.get("slices") or self.slices(list(spans))
        keys, slots = self.keys, options.get("slots", 2)
        return m.Grant(signed(lease, by), slices, keys.results(epoch, by.id, token), keys.digests, keys.code, slots)

    def handover(self, steward: int, epoch: int = 1) -> Signed:
        """The owner makes a steward the grantor."""
        return signed(Handover(self.job, epoch, STEWARDS[steward].public), self.owner)

    def open(self, message: m.Results) -> Opened:
        """A receipt as a reader checks and opens it."""
        return open_receipt(
            message.receipt, message.page, self.keys, self.job,
            lambda key, proof: proof == swarm_proof(SWARM_KEY, key),
        )  # fmt: skip


@dataclass
class Bench:
    """A worker whose processes are a dictionary: batches by number, and where each is."""

    slots: int = 2
    me: Keypair = ME
    rules: Rules = field(default_factory=rules)
    boot: int = 0
    now: float = 100.0
    runs: dict[int, fx.Run] = field(default_factory=dict)
    at: dict[int, int] = field(default_factory=dict)
    stops: list[fx.StopRun] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.worker = Worker(
            me=self.me, rules=self.rules, slots=self.slots, running=lambda: dict(self.at), boot=self.boot
        )
        self.effects: list[fx.Effect] = []

    def do(self, effects: list[fx.Effect]) -> list[fx.Effect]:
        """Note what the runtime was asked for; returns the other effects."""
        rest: list[fx.Effect] = []
        for effect in effects:
            if isinstance(effect, fx.Run):
                self.runs[effect.batch], self.at[effect.batch] = effect, 0
            elif isinstance(effect, fx.StopRun):
                self.stops.append(effect)
            else:
                rest.append(effect)
        self.effects += rest
        return rest

    def take(self, made: Made, *spans: tuple[int, int], **options: Any) -> list[fx.Effect]:
        """A lease comes in."""
        sender = options.pop("sender", GRANTOR_AT)
        by: Keypair = options.get("by", made.grantor)
        return self.do(self.worker.granted(sender, by.public, made.grant(*spans, **options), self.now))

    def know(self, made: Made, *counts: int, **options: Any) -> Made:
        """The job is introduced, with one segment of pages of so many tasks."""
        sender = options.pop("sender", GRANTOR_AT)
        self.do(self.worker.session_opened(NodeId(sender.id), self.now))
        self.do(self.worker.introduced(sender, made.grantor.public, made.spec, self.now))
        if counts:
            self.worker.extended(made.segment(*counts, **options))
        return made

    def ran(self, number: int, count: int | None = None, ran_s: float = 0.001, **options: Any) -> list[fx.Effect]:
        """The next ``count`` tasks of a batch (default: all) end; ``ran_s`` each."""
        run, position = self.runs[number], self.at[number]
        left = len(run.arguments) - position
        count = left if count is None else count
        values = options.get("values") or [b"result of " + bytes(run.arguments[position + i]) for i in range(count)]
        outcomes = options.get("outcomes") or bytes(count)
        digests = b"".join(result_digest(run.digest_key, value) for value in values)
        self._moved(number, position + count)
        return self.do(self.worker.ran(number, position, outcomes, values, digests, ran_s * count, self.now))

    def dropped(self, number: int, count: int) -> list[fx.Effect]:
        """The runtime dropped the next ``count`` positions unrun."""
        return self.ran(number, count, 0.0, values=[b""] * count, outcomes=bytes([2]) * count)

    def died(self, number: int, position: int, signal: int | None = 11, code: int | None = None) -> list[fx.Effect]:
        """The process of a batch died."""
        del self.runs[number], self.at[number]
        return self.do(self.worker.died(number, position, signal, code, self.now))

    def _moved(self, number: int, position: int) -> None:
        if position >= len(self.runs[number].arguments):
            del self.at[number]
            self.runs = {held: run for held, run in self.runs.items() if held != number}
        else:
            self.at[number] = position

    def run_all(self, ran_s: float = 0.001) -> list[fx.Effect]:
        """Run whatever is handed over, until nothing is."""
        found: list[fx.Effect] = []
        while self.runs:
            found += self.ran(min(self.runs), ran_s=ran_s)
        return found

    def wait(self, seconds: float) -> list[fx.Effect]:
        """Time passes, deadline by deadline."""
        until, found = self.now + seconds, []
        while (due := self.worker.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            found += self.do(self.worker.expire(self.now))
        self.now = until
        return found


def settling(job: bytes, spans: list[tuple[int, int]], page: bytes = b"") -> bytes:
    """The body of a log segment that settles ``spans`` by one receipt."""
    count = sum(each for _, each in spans)
    receipt = Receipt(job, 0, GRANTOR.id, 1, 0, spans, bytes(count), bytes(16 * count), digest(page), 0.1, b"")
    return pages.LOG_BODY.encode([pages.Entry(signed(receipt, ME), page, None)])


def lease_of(said: Receipt, worker: Keypair, grantor: Keypair = GRANTOR) -> Signed:
    """The lease under which ``worker`` ran what a receipt states."""
    return signed(Lease(said.job, said.epoch, said.token, worker.id, said.spans), grantor)


def told(effects: Iterable[fx.Effect], kind: type[Any]) -> list[Any]:
    """Messages of one kind among the effects, in order."""
    return [e.message for e in effects if isinstance(e, fx.Tell) and isinstance(e.message, kind)]


def writes(effects: Iterable[fx.Effect], table: str) -> list[fx.Write]:
    """Writes to one table among the effects, in order."""
    return [w for e in effects if isinstance(e, fx.Commit) for w in e.writes if w.table == table]
