"""Showing: what a steward shows of a job, with what the grantor of it here knows better."""

from __future__ import annotations

import msgspec

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Tell
from p2pcpn.protocol.grantor import Grantor
from p2pcpn.wire.messages import JobState, ShutOut


def shown(effect: Effect, grantor: Grantor, now: float) -> Effect:
    """``effect``; the state of a job with the newest of what is granted here of it, be it a lot or all."""
    if not isinstance(effect, Tell) or not isinstance(effect.message, JobState):
        return effect
    state = msgspec.structs.replace(
        effect.message, logs=_logs(effect.message, grantor), overdue=grantor.overdue, shut_out=_shut_out(grantor, now)
    )
    lots = grantor.book.lots
    if not lots.split:  # granted as a whole
        return Tell(effect.to, msgspec.structs.replace(state, mandate=grantor.mandate()))
    others = [said for said in state.mandates if lots.of_epoch(said.epoch) != grantor.book.lot]
    return Tell(effect.to, msgspec.structs.replace(state, mandates=[*others, grantor.mandate()]))


def _logs(state: JobState, grantor: Grantor) -> list[tuple[bytes, int, int]]:
    """The log that is written now, those of earlier epochs, which may lie nowhere else, and what is kept of others."""
    me = bytes(grantor.me.id)
    counts = {epoch: length.written for epoch, length in grantor.custody.logs.items()}
    counts[grantor.epoch] = grantor.log.number
    for node, epoch, count in state.logs:  # what lies on the disk of it may be longer than what was read from there
        if node == me:
            counts[epoch] = max(count, counts.get(epoch, 0))
    earlier = sorted((epoch for epoch, count in counts.items() if count and epoch != grantor.epoch), reverse=True)
    own = [(me, epoch, counts[epoch]) for epoch in [grantor.epoch, *earlier]]
    return [*own, *(log for log in state.logs if log[0] != me)][: limits.LOGS_PER_JOB_MAX]


def _shut_out(grantor: Grantor, now: float) -> list[ShutOut]:
    """Who gets nothing at present, those first who wait for longest."""
    found = sorted(grantor.book.blame.shut(), key=lambda each: (-each.until, each.peer))
    return [
        ShutOut(each.peer, each.failures, max(0.0, each.until - now), each.why)
        for each in found[: limits.SHUT_OUT_SHOWN_MAX]
    ]
