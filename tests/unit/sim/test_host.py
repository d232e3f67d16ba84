"""A host: it performs what its peer asks, and lives through crashes."""

from __future__ import annotations

from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.dht import Joined
from p2pcpn.sim.convergence import copies_wrong
from p2pcpn.sim.host import SKEW_S_MAX, SOCKET_DATAGRAMS
from p2pcpn.wire import messages as m
from p2pcpn.wire.messages import AnswerCode
from p2pcpn.wire.statements import Handover, signed
from tests.unit.sim.swarms import finished, formed, some_deeds, submitting


def test_a_host_computes_what_it_is_leased() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    assert len(program.delivered) == 12
    assert world.trace.counts["Results"] > 0


def test_a_crash_takes_memory_and_sessions_and_leaves_the_disk() -> None:
    world = formed(4)
    host = world.hosts[2]
    records = list(host.disk.scan("records"))
    host.crash()
    assert host.peer is None and host.runtime is None and host.shelf is None and not host.streams
    assert host.port.receive is None and not host.unplugged
    world.start(host)
    assert host.boot == 2 and host.peer is not None
    assert len(host.peer.dht.records) == len(records) > 0
    events: list[object] = []
    host.listeners.append(events.append)
    world.run(world.clock.now + 3.0)
    assert any(isinstance(event, Joined) for event in events)


def test_without_power_the_whole_computer_is_off_until_it_starts() -> None:
    world = formed(3)
    host = world.hosts[1]
    host.crash(power=True)
    assert host.unplugged
    world.start(host)
    assert not host.unplugged


def test_clocks_of_volunteers_are_wrong_by_a_little() -> None:
    world = formed(4)
    skews = {host.wall() - world.clock.wall() for host in world.hosts}
    assert len(skews) == 4 and all(abs(skew_s) <= SKEW_S_MAX for skew_s in skews)


def test_a_commit_is_followed_by_what_hangs_on_it() -> None:
    world = formed(3)
    host, events = world.hosts[1], []
    host.listeners.append(events.append)
    write = fx.Write("meta", ("name",), (b"value",))
    commit = fx.Commit((write,), (fx.Notify("kept"),), (fx.Notify("refused"),))
    host.perform([commit])
    world.run(world.clock.now + 0.1)
    host.disk.refusing = True
    host.perform([commit, fx.Commit((write,))])
    world.run(world.clock.now + 0.1)
    assert [event for event in events if isinstance(event, str)] == ["kept", "refused"]
    host.disk.refusing = False
    host.perform([commit])
    host.crash()
    world.run(world.clock.now + 0.1)
    assert len([event for event in events if isinstance(event, str)]) == 2


def test_a_steward_that_is_handed_a_job_reads_it_from_its_disk_and_grants_it() -> None:
    world, program = submitting(deeds=some_deeds(takes_s=5.0))
    world.run(world.clock.now + 1.0)
    assert program.host.peer is not None
    grantor = program.host.peer.grantors[program.job]
    steward = next(host for host in world.hosts if host.keypair.public == grantor.spec.stewards[0].key)
    take = signed(Handover(program.job, 1, steward.keypair.public), program.owner)
    program.host.follow([fx.Tell(steward.contact, m.Take(77, take))])
    world.run(world.clock.now + 1.0)
    assert steward.peer is not None and program.job in steward.peer.grantors
    assert steward.peer.grantors[program.job].ledger.total == 12


def test_a_log_segment_is_read_and_sent_again_from_disk() -> None:
    world, program = submitting(deeds=some_deeds())
    finished(world, program)
    submitter = program.host
    holder = next(host for host in world.hosts[:-1] if list(host.disk.scan("logs", (program.job,))))
    (key, _), *_ = holder.disk.scan("logs", (program.job,))
    submitter.follow(
        [fx.Tell(holder.contact, m.ReadLog(5, *key)), fx.Tell(holder.contact, m.ReadLog(6, *key[:3], 999))]
    )
    before, extended = world.trace.counts["Append"], world.trace.counts["Extend"]
    job, mine = program.job, submitter.id
    told: list[fx.Effect] = [fx.TellLog(holder.contact, 8, job, mine, 0, number) for number in (0, 9)]
    submitter.follow(told)
    others = [host for host in world.hosts if host is not holder]
    holder.follow([fx.TellSegment(others[0].contact, 8, job, number) for number in (0, 9)])
    world.run(world.clock.now + 1.0)
    assert world.trace.counts["LogData"] == 1
    assert world.trace.counts["Append"] == before + 1 and world.trace.counts["log segments missing"] == 1
    assert world.trace.counts["Extend"] == extended + 1 and world.trace.counts["segments missing"] == 1


def test_a_hang_up_ends_the_session_and_what_is_said_without_one_is_lost() -> None:
    world = formed(3)
    a, b = world.hosts[:2]
    a.follow([fx.Tell(b.contact, m.ListJobs(1, bytes(32)))])
    world.run(world.clock.now + 1.0)
    assert b.id in a.streams
    a.perform([fx.Hangup(b.id, "why"), fx.Hangup(bytes(20), "nobody")])  # type: ignore[arg-type]
    assert b.id not in a.streams
    a.perform([fx.Transmit(b.id, m.Answer(1, AnswerCode.DONE, ""))])
    world.run(world.clock.now + 1.0)
    assert a.id not in b.streams


def test_a_running_task_is_stopped_where_the_job_is_cancelled() -> None:
    world, program = submitting(deeds=some_deeds(takes_s=50.0))
    world.run(world.clock.now + 2.0)
    running = [host for host in world.hosts if host.runtime is not None and host.runtime.running()]
    assert running and program.host.peer is not None
    grantor = program.host.peer.grantors[program.job]
    program.host.follow(grantor.cancel([(0, 12)], stop=True, now=world.clock.now))
    world.run(world.clock.now + 1.0)
    assert not any(host.runtime is not None and host.runtime.running() for host in world.hosts)


def test_a_process_that_stands_finds_what_arrived_meanwhile() -> None:
    world, program = submitting(deeds=some_deeds(takes_s=1.0), rate=1.0001)
    world.run(world.clock.now + 0.5)
    worker = next(host for host in world.hosts[:-1] if host.runtime is not None and host.runtime.running())
    worker.pause()
    world.run(world.clock.now + 10.0)
    assert worker.paused and worker.runtime is not None and worker.runtime.running(), "its tasks stand, too"
    other = next(host for host in world.hosts[:-1] if host is not worker)
    for stream in list(other.streams.values()):
        world.sessions.hang_up(other, stream)
    other.follow([fx.Dial(worker.contact)])
    world.run(world.clock.now + 6.0)
    assert worker.id not in other.streams, "nobody greets for a process that stands"
    for _ in range(SOCKET_DATAGRAMS + 5):
        worker._datagram(b"junk", other.address, other.number)
    worker.resume()
    assert not worker.paused
    finished(world, program)


def test_a_process_that_is_killed_while_it_stands_is_dead() -> None:
    world, program = submitting(deeds=some_deeds(takes_s=1.0), rate=1.0)
    world.run(world.clock.now + 0.5)
    worker = world.hosts[0]
    worker.pause()
    world.run(world.clock.now + 1.0)
    worker.crash()
    assert not worker.paused and worker.peer is None
    world.start(worker)
    finished(world, program)


def test_a_session_that_was_opened_to_a_process_that_stops_meanwhile_is_heard_of_later() -> None:
    world = formed(3, rate=1.0)
    one, two = world.hosts[:2]
    one.pause()
    one.session_opened(two)
    one.session_closed(two.id)
    one.resume()
    assert two.id not in one.streams


def test_what_the_disk_of_a_grantor_refused_reaches_holders_that_come_later() -> None:
    world, program = submitting(10, deeds=some_deeds())
    program.host.disk.refusing = True
    assert world.run(world.clock.now + 30.0, lambda: len(program.delivered) == 12)
    world.run(world.clock.now + 2.0)
    holders = [host for host in world.hosts[:-1] if list(host.disk.scan("logs", (program.job,)))]
    assert 1 < len(holders) < 8
    for host in holders[1:]:
        host.crash(power=True)
    later = world.hosts[:-1]
    assert world.run(
        world.clock.now + 60.0,
        lambda: any(list(host.disk.scan("logs", (program.job,))) for host in later if host not in holders),
    )
    finished(world, program)
    assert copies_wrong(world, program) == ""
    assert not world.trace.counts["log segments missing"]
