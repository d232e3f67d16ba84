"""The head of a log: published when it changed, at most once a second, finally with done."""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.protocol.effects import Publish
from p2pcpn.protocol.heads import CONTACT, HOLDERS_NAMED, OTHERS_NAMED, Head
from p2pcpn.protocol.settlement import LogWriter
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import contact
from tests.unit.protocol.granting import ME, Table, at, keypair


def written() -> LogWriter:
    """A log of one segment."""
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    message = worker.message(worker.last)
    log = LogWriter(table.job, 0, ME)
    log.append(message.receipt, message.page, [(0, 2)], whole=True, now=1.0)
    log.close()
    return log


def test_the_head_names_length_holders_and_how_far_the_job_is() -> None:
    head, log = Head(b"job", 0, 60.0), written()
    holders = [at(keypair(number), number) for number in range(10, 30)]
    [published] = head.publish(log, 1, 7, False, holders, 1.0)
    assert isinstance(published, Publish)
    said = pages.LOG_HEAD.decode(published.value)
    assert (said.segments, said.settled, said.total, said.done, said.last) == (1, 2, 7, False, log.last)
    assert said.holders == [CONTACT.encode(contact) for contact in holders[:HOLDERS_NAMED]]
    assert (published.salt, published.retention_s) == (b"job", 60.0)


def test_it_is_published_at_most_once_a_second() -> None:
    head, log = Head(b"job", 0, 60.0), written()
    head.changed(1.0)
    assert head.due(1.0)
    assert head.publish(log, 0, None, False, [], 1.0)
    head.changed(1.2)
    assert head.at == 2.0
    assert not head.due(1.9)
    assert head.due(2.0)
    assert head.publish(log, 0, None, False, [], 2.0) == []
    head.changed(2.5)
    assert head.publish(log, 2, 2, True, [], 2.5)
    assert not head.due(9.0)


def test_an_empty_log_has_no_head() -> None:
    head = Head(b"job", 0, 60.0)
    assert head.publish(LogWriter(b"job", 0, ME), 0, 0, True, [], 1.0) == []


def test_one_key_of_the_dht_leads_to_all_logs_of_a_node() -> None:
    logs: dict[int, int] = {4: 0}
    one, two = Head(b"job", 1, 60.0, logs), Head(b"job", 5, 60.0, logs)
    log = written()

    def says(head: Head, now: float, done: bool) -> tuple[int, int, list[tuple[int, int]]]:
        (published,) = head.publish(log, 0, None, done, [], now)
        assert isinstance(published, Publish)
        said = pages.LOG_HEAD.decode(published.value)
        return said.epoch, said.segments, said.others

    assert says(one, 1.0, False) == (1, 1, [])
    assert says(two, 1.1, False) == (5, 1, [(1, 1)])
    assert says(one, 2.0, True) == (1, 1, [(5, 1)]), "whoever speaks last hides nobody"


def test_the_largest_head_is_a_record() -> None:
    logs = {(1 << 20) - number: (1 << 40) for number in range(40)}
    head, log = Head(b"job", 1, 60.0, logs), written()
    holders = [contact(keypair(number).id, ("2001:db8::1", 65535)) for number in range(10, 30)]
    (published,) = head.publish(log, 1, 1 << 40, True, holders, 1.0)
    assert isinstance(published, Publish) and len(published.value) <= limits.RECORD_VALUE_BYTES_MAX
    others = pages.LOG_HEAD.decode(published.value).others
    assert len(others) == OTHERS_NAMED and others[0] == (1 << 20, 1 << 40)
