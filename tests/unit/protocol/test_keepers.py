"""Keepers: who counts as a copy, who comes before whom, and who is brought one."""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.protocol.keepers import SPARE, Keepers
from p2pcpn.protocol.passing import held
from p2pcpn.protocol.table import distance
from p2pcpn.wire import messages as m
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import JobKept
from tests.unit.protocol.keepers import Job, Keeper, Table
from tests.unit.protocol.leased import GRANTOR_AT

NOW = 1000.0


def made(peers: int = 6, named: int = 2) -> tuple[Table, Job, Keepers]:
    table = Table(peers)
    job = Job(table, table.keepers[:named])
    kept = table.keepers[0].steward.jobs[job.job]
    return table, job, Keepers(kept, held(kept), 0.0)


def says(keepers: Keepers, keeper: Keeper, theirs: JobKept | None) -> None:
    keepers.answers[keeper.node] = (keeper.contact, theirs)


def nearest(job: Job, keepers: list[Keeper]) -> list[Contact]:
    return [each.contact for each in sorted(keepers, key=lambda each: distance(each.node, job.job))]


def test_whom_the_owner_named_is_believed_and_others_have_to_show_it() -> None:
    table, _, keepers = made()
    _, named, stranger, *_ = table.keepers
    says(keepers, named, keepers.mine)
    says(keepers, stranger, keepers.mine)
    assert keepers.whole(NOW) == ([named.contact], [stranger.contact])
    keepers.others[stranger.node].shown_s = NOW
    assert keepers.whole(NOW) == ([named.contact, stranger.contact], [])
    keepers.doubted(stranger.node, NOW + 5.0)
    assert stranger.node not in keepers.others
    says(keepers, stranger, keepers.mine)
    assert keepers.whole(NOW) == ([named.contact], [])
    assert keepers.whole(NOW + 5.0) == ([named.contact], [stranger.contact])
    keepers.relent(NOW + 5.0)
    assert not keepers.unwilling


def test_where_nothing_is_settled_there_is_nothing_to_show() -> None:
    table = Table(3)
    job = Job(table, table.keepers[:1], segments=0, left_open=True)
    kept = table.keepers[0].steward.jobs[job.job]
    keepers = Keepers(kept, held(kept), 0.0)
    says(keepers, table.keepers[1], keepers.mine)
    assert not keepers.shows and keepers.whole(NOW) == ([table.keepers[1].contact], [])


def test_who_lacks_some_of_it_is_no_copy_and_who_has_nothing_is_asked_no_more() -> None:
    table, _, keepers = made()
    _, named, stranger, *_ = table.keepers
    keepers.know(stranger.contact)
    says(keepers, named, JobKept(1, 1, [(*keepers.mine.logs[0][:2], 2)]))
    says(keepers, stranger, None)
    assert keepers.whole(NOW) == ([], []) and stranger.node not in keepers.others
    assert keepers.copies == 1 + SPARE


def test_those_whom_the_owner_named_come_first_and_then_the_nearest() -> None:
    table, job, keepers = made()
    me, named, *strangers = table.keepers
    order = [*nearest(job, [me, named]), *nearest(job, strangers)]
    assert [each.contact for each in sorted(table.keepers, key=lambda each: keepers.place(each.node))] == order
    everybody = [each.contact for each in table.keepers]
    for at, contact in enumerate(order):
        assert keepers.before(contact.id, everybody) == order[:at]


def test_an_heir_is_whom_the_owner_named_else_in_another_network_else_the_nearest() -> None:
    table, job, keepers = made()
    me, named, *strangers = table.keepers
    group = lambda contact: contact.host[2] % 2  # noqa: E731
    assert keepers.heir(me.contact, [], group, NOW) is None
    for stranger in strangers:
        says(keepers, stranger, None)
    elsewhere = [each for each in strangers if group(each.contact) != group(me.contact)]
    assert keepers.heir(me.contact, [], group, NOW) == nearest(job, elsewhere)[0]
    assert keepers.heir(me.contact, [], lambda contact: 0, NOW) == nearest(job, strangers)[0]
    has_most = elsewhere[-1]
    says(keepers, has_most, JobKept(1, 1, [(*keepers.mine.logs[0][:2], 2)]))
    assert keepers.heir(me.contact, [], group, NOW) == has_most.contact
    keepers.refused(has_most.node, NOW + 1.0)
    assert keepers.heir(me.contact, [], group, NOW) != has_most.contact and has_most.node in keepers.failed
    says(keepers, named, None)
    assert keepers.heir(me.contact, [], group, NOW) == named.contact
    assert keepers.heir(me.contact, [named.contact], group, NOW) != named.contact


def test_words_are_forgotten_for_those_who_show_and_never_the_other_way_round() -> None:
    _, _, keepers = made()
    many = [Contact(n.to_bytes(20, "big"), b"\x7f\x00\x00\x01", 4000) for n in range(1, limits.KEEPERS_MAX + 3)]
    for contact in many[:-2]:
        keepers.know(contact)
    assert len(keepers.others) == limits.KEEPERS_MAX
    for keeper in list(keepers.others.values())[1:]:
        keeper.shown_s = 1.0
    found = keepers.know(many[-2])
    assert found is not None and len(keepers.others) == limits.KEEPERS_MAX
    found.shown_s = 1.0
    assert keepers.know(many[-1]) is None and many[-1].id not in keepers.others
    moved = Contact(many[-2].id, many[-2].host, 4001)
    assert keepers.know(moved) is found and found.contact == moved
    assert keepers.unshown([many[-1], many[-2]], 0.5) == [many[-1]]
    assert keepers.unshown([many[-2]], 1.0) == [many[-2]]


def test_what_changes_puts_off_what_was_noticed() -> None:
    table, job, keepers = made()
    keepers.short_since = keepers.surplus_since = 5.0
    assert not keepers.changed(NOW) and keepers.short_since == 5.0
    steward = table.keepers[0]
    steward.do(steward.steward.appended(GRANTOR_AT, m.Append(0, *job._settle(len(job.log)))))
    assert keepers.changed(NOW) and (keepers.changed_s, keepers.mine.logs[0][2]) == (NOW, len(job.log) + 1)
    assert keepers.short_since is keepers.surplus_since is None
