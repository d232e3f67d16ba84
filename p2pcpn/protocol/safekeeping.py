"""Safekeeping: the newest states of tasks that run, brought from their grantor to the stewards, at a bounded pace.

A state that its worker and the grantor alone know is gone when both die together. So each is sent on to every living
steward, any of which may grant next: one message a second at most with what has changed since, the oldest change
first, each state as it is by then. Nobody answers: what is lost on the way is replaced by what the task leaves next.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

from p2pcpn import limits
from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.checkpoints import Checkpoints
from p2pcpn.protocol.effects import Effect
from p2pcpn.protocol.trustees import Trustees
from p2pcpn.wire.messages import LeftState, States
from p2pcpn.wire.sealing import JobKeys, seal, unseal

EPOCH_STATES_BITS = 32  # an epoch's states are counted from one: number = epoch << 32 | count
SALT_BYTES = 16  # before each sealed state: two grantors of one epoch count alike, and share no key


class Safekeeping:
    """See the module. ``told`` counts states that went to the stewards, ``regained`` those that came from there."""

    __slots__ = (
        "_job", "_epoch", "_keys", "_states", "_stewards", "_me", "_rng", "_salt", "_news", "_count", "_next_s",
        "told", "regained",
    )  # fmt: skip

    def __init__(
        self,
        job: bytes,
        epoch: int,
        keys: JobKeys,
        states: Checkpoints,
        stewards: Trustees,
        me: NodeId,
        rng: random.Random,
    ) -> None:
        self._job = job
        self._epoch = epoch
        self._keys = keys
        self._states = states
        self._stewards = stewards
        self._me = me
        self._rng = rng
        self._salt = b""  # made when it is needed first
        self._news: OrderedDict[int, None] = OrderedDict()  # tasks whose state the stewards have not, oldest first
        self._count = 0
        self._next_s = -math.inf
        self.told = 0
        self.regained = 0

    def regain(self, kept: Iterable[LeftState]) -> None:
        """What this node kept as a steward, of which it is the grantor now; what does not open is none."""
        for state in kept:
            if not self._states.open(state.index):
                continue
            salt, sealed = state.sealed[:SALT_BYTES], state.sealed[SALT_BYTES:]
            try:
                self._states.put(state.index, unseal(self._keys.state(state.index, salt), state.number, sealed))
            except PeerError:
                continue
            self.regained += 1

    def left(self, index: int, now: float) -> None:
        """A task has left a state."""
        if not self._news:
            self._next_s = max(self._next_s, now)
        self._news.setdefault(index)

    def deadline(self) -> float | None:
        """When :meth:`expire` is due."""
        return self._next_s if self._news else None

    def expire(self, now: float) -> list[Effect]:
        """Say what is new, where it is time to."""
        return self.say(now) if self._news and now >= self._next_s else []

    def say(self, now: float) -> list[Effect]:
        """Say what is new, as much of it as goes into one message."""
        states: list[LeftState] = []
        size_bytes = 0
        while self._news and len(states) < limits.SAFEKEEP_STATES_MAX and size_bytes < limits.SAFEKEEP_BYTES:
            index, _ = self._news.popitem(last=False)
            state = self._states.of(index)
            if state is None:  # it has ended, or there was no room
                continue
            self._count += 1
            number = (self._epoch << EPOCH_STATES_BITS) + self._count
            sealed = self._own_salt() + seal(self._keys.state(index, self._own_salt()), number, state)
            states.append(LeftState(index, number, sealed))
            size_bytes += len(state)
        self._next_s = now + limits.SAFEKEEP_S
        if not states:
            return []
        self.told += len(states)
        return self._stewards.mention(States(self._job, self._epoch, states))

    def _own_salt(self) -> bytes:
        if not self._salt:
            drawn = self._rng.getrandbits(128).to_bytes(16, "big")
            self._salt = blake2b(bytes(self._me) + drawn, digest_size=SALT_BYTES, person=b"p2pcpn salt").digest()
        return self._salt
