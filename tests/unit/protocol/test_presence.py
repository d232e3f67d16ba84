"""Presence: who drains says so, takes nothing, and may stay after all; who has left says nothing more."""

from __future__ import annotations

from p2pcpn.protocol import events
from p2pcpn.protocol.reachability import Reach
from p2pcpn.wire.statements import Role
from tests.unit.protocol.swarm import BOTH, Swarm


def test_a_peer_that_drains_is_known_as_such_keeps_nothing_more_and_goes_back_to_what_it_was() -> None:
    swarm = Swarm()
    one, two = swarm.grown(2)
    two.do(two.peer.perform(two.peer.presence.drain(swarm.now), swarm.now))
    swarm.run(1.0)
    assert two.peer.presence.draining and not two.peer.storing and not two.peer.steward.storing
    listed = one.peer.directory.get(two.id)
    assert listed is not None and listed.advert.roles == Role.COMPUTE | Role.DRAINING and not listed.advert.slots_free
    assert one.peer.stewards_near(bytes(20), swarm.now) == []
    two.do(two.peer.perform(two.peer.presence.stay(swarm.now), swarm.now))
    swarm.run(1.0)
    listed = one.peer.directory.get(two.id)
    assert listed is not None and listed.advert.roles == BOTH and listed.advert.slots_free
    assert two.peer.storing and not two.peer.worker.leaving and not two.peer.offers.leaving


def test_who_is_hidden_and_drains_is_both_and_stays_hidden() -> None:
    swarm = Swarm()
    one, _ = swarm.grown(2)
    one.peer.reachability.reach = Reach.HIDDEN
    one.do(one.peer.perform(one.peer.presence.drain(swarm.now), swarm.now))
    assert one.peer.roles == Role.COMPUTE | Role.HIDDEN | Role.DRAINING
    one.do(one.peer.perform(one.peer.presence.stay(swarm.now), swarm.now))
    assert one.peer.roles == Role.COMPUTE | Role.HIDDEN


def test_reach_is_told_while_a_peer_drains_and_not_when_it_has_left() -> None:
    swarm = Swarm()
    one, _ = swarm.grown(2)
    one.do(one.peer.perform(one.peer.presence.drain(swarm.now), swarm.now))
    one.peer.reachability.reach = Reach.HIDDEN
    one.do(one.peer.perform(one.peer.presence.reached(True, swarm.now), swarm.now))
    assert one.seen(events.Exposed) == [events.Exposed(True, False)]
    one.peer.presence.leave(swarm.now)
    assert one.peer.presence.reached(False, swarm.now) == []
