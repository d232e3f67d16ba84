"""Regaining: a virtual program whose job a steward took over reads what was settled and goes on, as real ones do.

``protocol/regaining.py`` decides, as for real programs; here what it asks for is read, written and told.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from p2pcpn.protocol import regaining as r
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.dependencies import Known, found_in
from p2pcpn.protocol.effects import Tell
from p2pcpn.protocol.jobs import Held
from p2pcpn.protocol.settlement import open_receipt
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.reading import STEP_S, Reading
from p2pcpn.sim.runtime import value_of
from p2pcpn.wire import pages
from p2pcpn.wire.messages import Take
from p2pcpn.wire.pages import spans_of
from p2pcpn.wire.sealing import result_digest
from p2pcpn.wire.statements import Signed

if TYPE_CHECKING:
    from p2pcpn.sim.program import Program


class Regaining:
    """One job of ``program``, which a steward granted in ``epoch``. :attr:`over` once this node grants it again, or the
    program's process has ended."""

    def __init__(self, program: Program, spec: Signed, handovers: list[Signed], epoch: int) -> None:
        self._program = program
        self._handovers = handovers
        self._authority = Authority(spec)
        for handover in handovers:
            self._authority.hand_over(handover)
        steward = self._authority.steward_of(epoch)
        if steward is not None:
            self._authority.take_over(steward.key, epoch)
        host, said = program.host, self._authority.spec
        self._life = host.boot
        self._granted = False
        self._settled: set[int] = set()  # as it was read
        self._log: list[tuple[int, pages.Entry]] = []
        row = host.disk.get(r.KEPT_IN, (program.job,))
        packed = None if row is None else row[1]
        kept = pages.SIGNED.decode(packed) if isinstance(packed, bytes) else None
        takes = any(deed.takes for deed in program.deeds)
        self._machine = r.Regaining(
            self._authority, program.owner, host.keypair.public, host.wall() + said.retention_s,
            kept=kept, since=epoch, takes=takes,
        )  # fmt: skip
        self._perform(self._machine.begin())

    @property
    def over(self) -> bool:
        return self._granted or self._program.host.peer is None or self._program.host.boot != self._life

    def _perform(self, steps: list[r.Step]) -> None:
        """Perform what is asked for, unless the process has ended meanwhile."""
        host = self._program.host
        for step in steps:
            if host.peer is None or self.over:
                return
            match step:
                case r.Read() | r.ReadToEnd():
                    reading = Reading(host, self._program.owner.public, self._program.job)
                    if isinstance(step, r.ReadToEnd):
                        reading.own()
                    self._read(reading)
                case r.Keep():
                    host.disk.commit((step.write,), self._kept)
                case r.Stop():
                    for steward in self._authority.spec.stewards:
                        host.follow([Tell(steward.contact, Take(host.peer.next_request(), step.handover))])
                case r.Grant():
                    self._grant(step)
                case r.Follow():
                    raise Violation("a program's job was handed to another, and it has but one")
        due_s = self._machine.deadline()
        if due_s is not None:
            host.clock.at(due_s, lambda: self._perform(self._machine.expire(host.clock.now)))

    def _kept(self, ok: bool) -> None:
        self._perform(self._machine.kept(self._program.host.clock.now, ok=ok))

    def _read(self, reading: Reading) -> None:
        """Read on until all is read."""
        if not self.over and not reading.over:
            reading.step()
        if not self.over and not reading.over:
            self._program.host.clock.after(STEP_S, partial(self._read, reading))
            return
        reading.close()
        if self.over:
            return
        for index, (_, stated) in sorted(reading.results.items()):
            right(self._program, index, stated)
        self._settled.update(reading.results)
        self._log += reading.log
        self._program.delivered.update(reading.results)
        self._perform(self._machine.read())

    def _grant(self, step: r.Grant) -> None:
        program, host = self._program, self._program.host
        assert host.peer is not None
        self._granted = True
        self._handovers[:] = step.words
        host.world.checker.grants(host, program.job)
        held = Held([], spans_of(sorted(self._settled)), result=self._results().get)
        host.follow(
            host.peer.presiding.resume(
                self._authority.signed_spec, program.keys.job_key, list(step.words), held, host.clock.now
            )
        )  # fmt: skip

    def _results(self) -> dict[int, Known]:
        """What was read of each task, for those that take it."""
        keys, job = self._program.keys, self._program.job
        return found_in(
            self._log, lambda entry: open_receipt(entry.receipt, entry.page, keys, job, lambda *_: True), self._settled
        )


def right(program: Program, index: int, stated: bytes) -> None:
    """Look at a result that was read; of values that stand in a blob only the blob's digest is stated.

    Raises :class:`Violation` where there is no such task, or the value is wrong.
    """
    if index >= len(program.deeds):
        raise Violation(f"task {index} was settled, and there are {len(program.deeds)}")
    if program.deeds[index].how != "value":
        return
    if stated != result_digest(program.keys.digests, value_of(program.arguments[index])):
        raise Violation(f"task {index} was settled with a wrong value")
