"""Together: what the grantors of a job that is granted in lots say of them, as one state of the job.

Each steward that answers counts what it grants itself. Only who says of itself that it grants a lot, in the newest
epoch that is known of it and that another has heard of (``vouching``), is counted; until somebody does so for every lot
the job is not said to be granted. A stem
that its submitter grants, whom nobody asks, counts when the submitter has told the stewards that nothing of it is open.
"""

from __future__ import annotations

import msgspec

from p2pcpn.identity.keys import NodeId
from p2pcpn.protocol.authority import Authority
from p2pcpn.protocol.vouching import Vouching
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import JobState


class Together:
    """See the module: of the job of ``authority``."""

    def __init__(self, authority: Authority, vouching: Vouching) -> None:
        self._authority = authority
        self._vouching = vouching
        self._said: dict[int, bytes] = {}  # lot -> who says that it grants it now
        self._states: dict[bytes, JobState] = {}
        self._stem_over = False

    def take(self, contact: Contact, state: JobState) -> JobState:
        """``contact`` shows what it holds of the job: the state as all of them show it."""
        authority = self._authority
        begun = []
        for said in state.mandates:  # hearsay; but whose an epoch is the spec tells
            key = authority.key_of(said.grantor.id, said.epoch)
            if key is None or authority.far(said.epoch):
                continue
            begun.append(said.epoch)
            tenure = authority.tenure(said.epoch)
            if authority.take_over(key, said.epoch):
                self._said.pop(tenure.lot, None)
            if authority.lots.is_stem(tenure.lot) and authority.presides(key, said.epoch):
                self._stem_over = not said.open and said.tasks >= (authority.lots.first or 0)
            if said.grantor.id == contact.id and authority.presides(key, said.epoch) and state.granting:
                self._said[tenure.lot] = contact.id
        self._states[contact.id] = state
        self._vouching.names(NodeId(contact.id), begun, state.logs)
        believed = {
            lot: node for lot, node in self._said.items() if self._vouching.believes(node, authority.tenures[lot].epoch)
        }
        states = [self._states[node] for node in dict.fromkeys(believed.values())]
        over = self._stem_over and 0 not in self._said
        return msgspec.structs.replace(
            state,
            tasks=max(each.tasks for each in self._states.values()),
            waiting=sum(each.waiting for each in states),
            running=sum(each.running for each in states),
            settled=sum(each.settled for each in states) + (authority.lots.first or 0) * over,
            granting=len(believed) + over == authority.lots.count,
            overdue=any(each.overdue for each in states),
        )
