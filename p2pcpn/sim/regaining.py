"""Regaining: a virtual program whose job a steward took over reads what was settled and goes on, as real ones do.

What ``client/resuming.py`` does: the job is read back, what was settled is taken as delivered, and the owner's handover
to its own node begins the next epoch that is the owner's to give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.effects import Tell
from p2pcpn.protocol.jobs import Held
from p2pcpn.sim.checker import Violation
from p2pcpn.sim.reading import STEP_S, Reading
from p2pcpn.sim.runtime import value_of
from p2pcpn.wire.messages import Take
from p2pcpn.wire.pages import spans_of
from p2pcpn.wire.sealing import result_digest
from p2pcpn.wire.statements import Handover, Signed, signed

if TYPE_CHECKING:
    from p2pcpn.sim.program import Program


# As in ``client/resuming.py``.
LAST_WORDS_S = 0.5


class Regaining:
    """One job of ``program``, which a steward granted in ``epoch``. :attr:`over` once this node grants it again, or the
    program's process has ended."""

    def __init__(self, program: Program, spec: Signed, handovers: list[Signed], epoch: int) -> None:
        self.over = False
        self._program = program
        self._handovers = handovers
        self._authority = Authority(spec)
        for handover in handovers:
            self._authority.hand_over(handover)
        steward = self._authority.steward_of(epoch)
        if steward is not None:
            self._authority.take_over(steward.key, epoch)
        self._life = program.host.boot
        self._handover: Signed | None = None  # said before the reading, where tasks take results
        self._words = 0.0  # until when those who stop may say what they settled
        self._reading = Reading(program.host, program.owner.public, program.job)
        if any(deed.takes for deed in program.deeds):
            self._stop()
        self._look()

    def _stop(self) -> None:
        """Whoever grants is told to stop, before what it settled is read to its end."""
        program, host = self._program, self._program.host
        assert host.peer is not None
        self._handover = signed(
            Handover(program.job, self._authority.owners_epoch, host.keypair.public), program.owner
        )  # fmt: skip
        self._authority.hand_over(self._handover)
        for steward in self._authority.spec.stewards:
            host.follow([Tell(steward.contact, Take(host.peer.next_request(), self._handover))])
        self._words = host.clock.now + LAST_WORDS_S

    def _look(self) -> None:
        host = self._program.host
        if host.peer is None or host.boot != self._life:
            self._reading.close()
            self.over = True
            return
        if host.clock.now < self._words:
            host.clock.after(STEP_S, self._look)
            return
        if self._words:
            self._words = 0.0
            self._reading.own()
        if not self._reading.over:
            self._reading.step()
        if self._reading.over:
            self._reading.close()
            self._go_on()
            return
        host.clock.after(STEP_S, self._look)

    def _go_on(self) -> None:
        program, authority = self._program, self._authority
        host, results = program.host, self._reading.results
        assert host.peer is not None
        for index, (_, stated) in sorted(results.items()):
            right(program, index, stated)
        program.delivered.update(results)
        handover = self._handover
        if handover is None:
            handover = signed(Handover(program.job, authority.owners_epoch, host.keypair.public), program.owner)
        self._handovers.append(handover)
        self.over = True
        host.world.checker.grants(host, program.job)
        held = Held([], spans_of(sorted(results)))
        words = list(self._handovers)
        host.follow(
            host.peer.presiding.resume(
                authority.signed_spec, program.keys.job_key, words, held, host.clock.now
            )
        )  # fmt: skip


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
