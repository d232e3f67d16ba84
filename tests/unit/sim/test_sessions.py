"""Virtual sessions: dialled, ordered, held up by cuts, and ended in every way in which TCP sessions end."""

from __future__ import annotations

from p2pcpn.sim.host import Host
from p2pcpn.sim.sessions import DIAL_WAIT_S, KEEPALIVE_S, RETRANSMIT_S
from p2pcpn.sim.world import World
from p2pcpn.wire import messages as m
from tests.unit.sim.swarms import formed


def talking() -> tuple[World, Host, Host]:
    """Two hosts with a session."""
    world = formed(3)
    a, b = world.hosts[:2]
    world.sessions.dial(a, b.contact)
    world.run(world.clock.now + 1.0)
    assert a.streams[b.id] is b.streams[a.id]
    return world, a, b


def say(a: Host, b: Host, count: int = 1) -> None:
    for _ in range(count):
        a.say(b.id, m.ListJobs(0, bytes(32)))


def heard(world: World) -> int:
    return world.trace.counts["ListJobs"]


def wait(world: World, wait_s: float) -> None:
    world.run(world.clock.now + wait_s)


def test_of_two_dials_at_once_one_session_comes() -> None:
    world = formed(3)
    a, b = world.hosts[:2]
    world.sessions.dial(a, b.contact)
    world.sessions.dial(b, a.contact)
    wait(world, 1.0)
    stream = a.streams[b.id]
    assert stream is b.streams[a.id] and stream.other(a) is b
    assert a.peer is not None and b.id in a.peer.lines.open


def test_messages_arrive_in_order_however_the_weather_is() -> None:
    world, a, b = talking()
    world.network.weather.loss = 0.5
    say(a, b, 30)
    wait(world, 0.1 + RETRANSMIT_S)
    wait(world, 1.0)
    assert heard(world) == 30


def test_a_killed_process_is_seen_to_hang_up() -> None:
    world, a, b = talking()
    b.crash()
    wait(world, 0.5)
    assert not a.streams


def test_a_computer_without_power_is_silent_until_keep_alive_gives_up() -> None:
    world, a, b = talking()
    b.crash(power=True)
    wait(world, 1.0)
    say(a, b)
    wait(world, 1.0)
    assert b.id in a.streams
    wait(world, KEEPALIVE_S + 1.0)
    assert b.id not in a.streams


def test_a_peer_that_started_again_resets_what_is_said_to_its_earlier_life() -> None:
    world, a, b = talking()
    b.crash(power=True)
    world.start(b)
    say(a, b)
    wait(world, 0.5)
    assert b.id not in a.streams and not heard(world)


def test_what_a_cut_held_up_arrives_when_it_heals() -> None:
    world, a, b = talking()
    world.network.cut([[b.number]])
    say(a, b, 3)
    wait(world, 5.0)
    assert not heard(world)
    world.sessions.heal()  # the cut is there still
    wait(world, 1.0)
    assert not heard(world)
    world.network.heal()
    world.sessions.heal()
    wait(world, 1.0)
    assert heard(world) == 3


def test_what_is_on_its_way_when_a_cut_heals_arrives_behind_what_the_cut_held_up() -> None:
    world, a, b = talking()
    numbers: list[int] = []
    b.hearers.append(lambda source, message: numbers.append(message.request) if type(message) is m.ListJobs else None)
    world.network.cut([[b.number]])
    a.say(b.id, m.ListJobs(1, bytes(32)))
    wait(world, 1.0)
    a.say(b.id, m.ListJobs(2, bytes(32)))
    world.network.heal()
    world.sessions.heal()
    wait(world, RETRANSMIT_S)
    assert not numbers, "it is there, and waits for the one before"
    a.say(b.id, m.ListJobs(3, bytes(32)))
    wait(world, 1.0)
    assert numbers == [1, 2, 3]


def test_a_cut_that_lasts_ends_the_session_at_both_ends() -> None:
    world, a, b = talking()
    world.network.cut([[b.number]])
    say(a, b)
    wait(world, KEEPALIVE_S + 1.0)
    assert b.id not in a.streams and a.id not in b.streams


def test_a_hang_up_reaches_the_other_end_behind_what_was_said() -> None:
    world, a, b = talking()
    say(a, b, 2)
    world.sessions.hang_up(a, a.streams[b.id])
    assert b.id not in a.streams
    wait(world, 0.5)
    assert a.id not in b.streams
    world, a, b = talking()
    world.network.cut([[b.number]])
    world.sessions.hang_up(a, a.streams[b.id])
    wait(world, KEEPALIVE_S + 1.0)
    assert a.id not in b.streams


def test_dials_fail_soon_where_nobody_listens_and_late_where_nobody_is() -> None:
    world = formed(3)
    a, b, c = world.hosts
    told: list[float] = []
    closed = a.session_closed
    a.session_closed = lambda node: (told.append(world.clock.now), closed(node))  # type: ignore[method-assign]
    began = world.clock.now
    b.crash()
    world.sessions.dial(a, b.contact)
    wait(world, 1.0)
    assert len(told) == 1
    c.crash(power=True)
    world.sessions.dial(a, c.contact)
    wait(world, DIAL_WAIT_S + 1.0)
    assert len(told) == 2 and told[1] - began > DIAL_WAIT_S


def test_a_dial_whose_ends_change_meanwhile_comes_to_nothing() -> None:
    world = formed(3)
    a, b, c = world.hosts
    world.sessions.dial(a, b.contact)
    world.sessions.dial(c, b.contact)
    b.crash()
    c.crash()
    wait(world, 1.0)
    assert not a.streams and not b.streams and not c.streams


def test_a_new_session_with_a_new_life_replaces_the_one_with_the_old() -> None:
    world, a, b = talking()
    old = a.streams[b.id]
    b.crash(power=True)
    world.start(b)
    world.sessions.dial(b, a.contact)
    wait(world, 1.0)
    assert a.streams[b.id] is b.streams[a.id] is not old
    wait(world, KEEPALIVE_S + 1.0)
    assert a.id in b.streams and b.id in a.streams
