"""Catching up: a virtual program whose job is distributed reads the logs where nothing was told to it for a while.

What ``client/catching_up.py`` does: a steward that died after it had settled something, and before it told us, left it
in its log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2pcpn.sim.reading import STEP_S, Reading
from p2pcpn.sim.regaining import right
from p2pcpn.wire.pages import spans_of

if TYPE_CHECKING:
    from p2pcpn.sim.program import Program

SILENT_S: Final = 2.0


class CatchingUp:
    """See the module: of one ``program``, as long as its process lives and tasks are open."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._life = program.host.boot
        self._reading: Reading | None = None
        self._ended = 0
        self.read = 0  # results that were found so
        program.host.clock.after(SILENT_S, self._look)

    def _look(self) -> None:
        program, host = self._program, self._program.host
        if host.peer is None or host.boot != self._life:
            if self._reading is not None:
                self._reading.close()
            return
        if self._reading is not None:
            self._reading.step()
            if self._reading.over:
                self._reading.close()
                self._take(self._reading)
                self._reading = None
        elif program.ended == self._ended and program.ended < len(program.deeds):
            self._reading = Reading(host, program.owner.public, program.job)
        self._ended = program.ended
        host.clock.after(STEP_S if self._reading is not None else SILENT_S, self._look)

    def _take(self, reading: Reading) -> None:
        program, host = self._program, self._program.host
        assert host.peer is not None
        for index, (_, stated) in sorted(reading.results.items()):
            right(program, index, stated)
            if index not in program.delivered:
                program.delivered.add(index)
                self.read += 1
        spans, now = spans_of(sorted(reading.results)), host.clock.now
        host.follow(host.peer.with_grantor(program.job, lambda grantor: grantor.settled_elsewhere(spans, now), now))
