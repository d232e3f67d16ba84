"""The head of a log: published when it changed, at most once a second, finally with done."""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.protocol.copies import Copies
from p2pcpn.protocol.effects import Publish
from p2pcpn.protocol.heads import CONTACT, HOLDERS_NAMED, OTHERS_NAMED, Head, Length
from p2pcpn.wire import pages
from p2pcpn.wire.addresses import contact
from tests.unit.protocol.granting import at, keypair

HOLDER = keypair(10)


def written(segments: int = 1, held: int | None = None) -> Copies:
    """A log of so many segments of two tasks each, of which another peer has all or the first ``held``."""
    copies = Copies(True)
    copies.join(at(HOLDER, 5010))
    for number in range(segments):
        copies.add(2 * number + 2, {}, b"header %d" % number)
        copies.written(number)
    for number in range(segments if held is None else held):
        copies.holders[HOLDER.id].disk.has(number)
    copies.find()
    return copies


def test_the_head_names_length_holders_and_how_far_the_job_is() -> None:
    head, log = Head(b"job", 0, 60.0), written()
    holders = [at(keypair(number), number) for number in range(10, 30)]
    [published] = head.publish(log, 1, 7, False, holders, 1.0)
    assert isinstance(published, Publish)
    said = pages.LOG_HEAD.decode(published.value)
    assert (said.segments, said.settled, said.total, said.done, said.last) == (1, 2, 7, False, b"header 0")
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


def test_an_empty_log_and_one_that_nobody_else_has_have_no_head() -> None:
    head = Head(b"job", 0, 60.0)
    assert head.publish(Copies(True), 0, 0, True, [], 1.0) == []
    assert head.publish(written(3, held=0), 0, None, False, [], 1.0) == []


def test_what_lies_on_our_disk_alone_is_not_named_until_another_has_it() -> None:
    head, log = Head(b"job", 0, 60.0), written(3, held=2)

    def says(now: float) -> tuple[int, int, bytes]:
        (published,) = head.publish(log, 0, None, False, [], now)
        assert isinstance(published, Publish)
        said = pages.LOG_HEAD.decode(published.value)
        return said.segments, said.settled, said.last

    assert says(1.0) == (2, 4, b"header 1")
    head.follow(log, 1.1)
    assert head.at is None, "nothing is new"
    log.holders[HOLDER.id].disk.has(2)
    head.follow(log, 1.2)
    assert head.at == 2.0
    assert says(2.0) == (3, 6, b"header 2")


def test_one_key_of_the_dht_leads_to_all_logs_of_a_node() -> None:
    logs = {4: Length(3, 0)}
    one, two = Head(b"job", 1, 60.0, logs), Head(b"job", 5, 60.0, logs)
    log = written()

    def says(head: Head, now: float, done: bool) -> tuple[int, int, list[tuple[int, int]]]:
        head.follow(log, now)
        (published,) = head.publish(log, 0, None, done, [], now)
        assert isinstance(published, Publish)
        said = pages.LOG_HEAD.decode(published.value)
        return said.epoch, said.segments, said.others

    assert says(one, 1.0, False) == (1, 1, [])
    assert says(two, 1.1, False) == (5, 1, [(1, 1)])
    assert says(one, 2.0, True) == (1, 1, [(5, 1)]), "whoever speaks last hides nobody"


def test_the_largest_head_is_a_record() -> None:
    logs = {(1 << 20) - number: Length(1 << 40, 1 << 40) for number in range(40)}
    head, log = Head(b"job", 1, 60.0, logs), written()
    holders = [contact(keypair(number).id, ("2001:db8::1", 65535)) for number in range(10, 30)]
    (published,) = head.publish(log, 1, 1 << 40, True, holders, 1.0)
    assert isinstance(published, Publish) and len(published.value) <= limits.RECORD_VALUE_BYTES_MAX
    others = pages.LOG_HEAD.decode(published.value).others
    assert len(others) == OTHERS_NAMED and others[0] == (1 << 20, 1 << 40)
