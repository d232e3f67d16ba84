"""Reachability: whether strangers can reach this peer, by the word of some that it asks to dial it back.

::

                   two of three could not            (a client, a local swarm, too few networks: nobody is asked,
    ASSUMED ─────────────────────────────▶ HIDDEN     and the peer stays ASSUMED to be reachable)
       │  two of three could                 ▲ │
       └───────────▶ REACHABLE ──────────────┘ │  two of three could
                         ▲─────────────────────┘

Like AutoNAT (libp2p). Whoever is asked (:mod:`p2pcpn.protocol.dial_backs`) connects to the listening port, which is no
end of any connection that this peer made, and *knocks*: a datagram from a port that this peer never spoke to. Only a
firewall or a NAT that lets strangers in lets both in. Three peers of three networks, none of them our own, are asked
at the start, when others see us at another address, and each quarter of an hour to hour. A round in which no two agree
changes nothing; so a peer that knows one other network never changes its mind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum

from p2pcpn import limits
from p2pcpn.protocol.effects import Effect, Heard, Send
from p2pcpn.wire.addresses import Address, Contact
from p2pcpn.wire.datagrams import DialBack, DialedBack, Knock


class Reach(Enum):
    """What this peer makes of what others said."""

    ASSUMED = "assumed"
    REACHABLE = "reachable"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Reached:
    """Strangers reach this peer, or do so no more, which is news."""

    hidden: bool


@dataclass(slots=True)
class _Asked:
    helper: Contact
    nonce: int
    code: int | None = None  # what it said; see DialedBack
    knocked: bool = False


class Reachability:
    """See the module. ``candidates()`` are peers that may be asked, ``observed()`` is where others see us.

    Says ``Heard(Reached)``. ``watching`` off (a client, the peers of one machine): it asks nobody.
    """

    def __init__(
        self,
        me: Contact,
        network_group: Callable[[Address], Hashable],
        candidates: Callable[[], list[Contact]],
        observed: Callable[[], Address | None],
        rng: random.Random,
        now: float,
        *,
        watching: bool,
    ) -> None:
        self.reach = Reach.ASSUMED
        self._me = me
        self._network_group = network_group
        self._candidates = candidates
        self._observed = observed
        self._rng = rng
        self._due_s: float | None = now + limits.REACH_FIRST_S if watching else None
        self._asked: dict[bytes, _Asked] = {}
        self._began_s = now
        self._repeated = False
        self._seen: Address | None = None  # where others saw us when they were asked last
        self._rounds = 0

    @property
    def hidden(self) -> bool:
        """Whether strangers were found not to reach us."""
        return self.reach is Reach.HIDDEN

    def statistics(self) -> dict[str, int]:
        """How often others were asked, how many are being asked, and whether strangers do not reach us."""
        return {"rounds": self._rounds, "asked": len(self._asked), "hidden": int(self.hidden)}

    # --- what comes ------------------------------------------------------------------------------------------------

    def greeted(self, now: float) -> None:
        """Somebody said where it sees us: at another address than last time, all that was found out is void."""
        if self._due_s is not None and self._rounds and not self._asked and self._observed() != self._seen:
            # Once a minute at most, for those who would be asked dial no more often.
            self.check(max(now, self._began_s + limits.DIAL_BACK_WAIT_S))

    def check(self, due_s: float) -> None:
        """Ask at ``due_s``, unless that is to be before."""
        if self._due_s is not None:
            self._due_s = min(self._due_s, due_s)

    def receive(self, sender: Contact, message: Knock | DialedBack, now: float) -> list[Effect]:
        """A knock arrived, or somebody says how its dial ended. What nobody was asked is ignored."""
        asked = self._asked.get(sender.id)
        if asked is None or asked.nonce != message.nonce:
            return []
        if isinstance(message, Knock):
            asked.knocked = True
        elif asked.code is None:
            asked.code = message.code
        if any(it.code is None for it in self._asked.values()):
            return []
        return self._judge(now)

    # --- time ------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When to ask, to repeat what was asked, or to judge without an answer."""
        if self._asked:
            return self._began_s + (limits.REACH_ROUND_S if self._repeated else limits.REACH_REPEAT_S)
        return self._due_s

    def expire(self, now: float) -> list[Effect]:
        """Do what is due."""
        due_s = self.deadline()
        if due_s is None or now < due_s:
            return []
        if not self._asked:
            return self._ask(now)
        if self._repeated:
            return self._judge(now)
        self._repeated = True
        return [Send(it.helper, DialBack(it.nonce)) for it in self._asked.values() if it.code is None]

    def _ask(self, now: float) -> list[Effect]:
        helpers = self._helpers()
        if len(helpers) < limits.REACH_AGREE:
            self._due_s = now + limits.REACH_FEW_S
            return []
        self._began_s, self._repeated, self._seen = now, False, self._observed()
        self._rounds += 1
        self._asked = {it.id: _Asked(it, self._rng.getrandbits(63)) for it in helpers}
        return [Send(it.helper, DialBack(it.nonce)) for it in self._asked.values()]

    def _helpers(self) -> list[Contact]:
        """Some of those we know, each of another network, and none of ours: who shares it is no stranger."""
        seen = self._observed()
        if seen is None:
            return []
        groups = {self._network_group(seen), self._network_group(self._me.address)}
        found: list[Contact] = []
        candidates = self._candidates()
        self._rng.shuffle(candidates)
        for candidate in candidates:
            group = self._network_group(candidate.address)
            if group not in groups and len(found) < limits.REACH_HELPERS:
                groups.add(group)
                found.append(candidate)
        return found

    def _judge(self, now: float) -> list[Effect]:
        """The round is over."""
        dialed = [it for it in self._asked.values() if it.code in (DialedBack.REACHED, DialedBack.MISSED)]
        reached = sum(it.code == DialedBack.REACHED and it.knocked for it in dialed)
        missed = len(dialed) - reached
        self._asked = {}
        if max(reached, missed) < limits.REACH_AGREE:
            self._due_s = now + self._rng.uniform(limits.REACH_AGAIN_S, limits.REACH_AGAIN_S_MAX)
            return []
        before, self.reach = self.reach, Reach.REACHABLE if reached > missed else Reach.HIDDEN
        if self.hidden:
            self._due_s = now + self._rng.uniform(limits.REACH_HIDDEN_S, limits.REACH_HIDDEN_S_MAX)
        else:
            self._due_s = now + self._rng.uniform(limits.REACH_EVERY_S, limits.REACH_EVERY_S_MAX)
        if self.hidden == (before is Reach.HIDDEN):
            return []
        return [Heard(Reached(self.hidden), self._me)]
