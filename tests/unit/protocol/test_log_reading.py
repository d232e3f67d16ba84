"""Reading logs: whom a reader asks for segments, one beside the other where somebody is late, and whose word counts."""

from __future__ import annotations

import pytest

from p2pcpn.errors import PeerError
from p2pcpn.identity.keys import Keypair, NodeId
from p2pcpn.protocol.log_reading import LATE_S, LOST_S, REFUSED_MAX, SILENT_S, WAIT_S, LogReading, Wanted
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.wire.addresses import Contact
from p2pcpn.wire.messages import LogData
from p2pcpn.wire.pages import Entry
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import LogHeader, Signed
from tests.unit.protocol.granting import at, keypair

G, A, B, C, D = (keypair(number) for number in range(10, 15))
LOG = (bytes(G.id), 3)


def where(key: Keypair) -> Contact:
    return at(key, 5000)


def segment(number: int) -> LogData:
    """A segment as the stand-in for ``check_segment`` below opens it: its header's body says which it is."""
    return LogData(1, Signed(0, b"%d" % number, bytes(32), bytes(64)), b"body")


def previous(number: int) -> bytes:
    return digest(b"%d" % (number - 1)) if number else NOTHING


def check(data: LogData) -> tuple[LogHeader, list[Entry]]:
    if data.header.body == b"false":
        raise PeerError("false")
    number = int(data.header.body)
    header = LogHeader(bytes(20), LOG[1], LOG[0], number, previous(number), bytes(32), 1, [], [])
    return header, [Entry(data.header, b"", None)]


class Bench:
    """A reader of one log, and a clock."""

    def __init__(self, *holders: Keypair, segments: int = 2, near: tuple[Keypair, ...] = ()) -> None:
        self.reading = LogReading(check, lambda: [where(key) for key in near], NodeId(D.id))
        self.now = 100.0
        for key in holders:
            self.reading.shown(where(key), [(*LOG, segments)])

    def asked(self) -> list[tuple[NodeId, int]]:
        return [(NodeId(wanted.to.id), wanted.number) for wanted in self.reading.next(self.now)]

    def say(self, key: Keypair, data: LogData | None, number: int = 0) -> list[bytes]:
        entries = self.reading.answered(Wanted(where(key), LOG, number), data)
        return [entry.receipt.body for entry in entries]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.reading.expire(self.now)

    @property
    def log(self) -> tuple[int, int]:
        log = self.reading.logs[LOG]
        return log.read, log.known


def test_whoever_shows_a_segment_is_asked_for_the_next() -> None:
    bench = Bench(A, B)
    assert bench.asked() == [(A.id, 0)] and bench.asked() == []
    assert bench.say(A, segment(0)) == [b"0"]
    assert bench.asked() == [(A.id, 1)]
    assert bench.say(A, segment(1), 1) == [b"1"]
    assert bench.reading.over and bench.asked() == [] and bench.reading.deadline() is None


def test_who_is_late_is_not_waited_for_and_the_first_answer_counts() -> None:
    bench = Bench(A, B, C)
    assert bench.asked() == [(A.id, 0)]
    assert bench.reading.deadline() == bench.now + LATE_S
    bench.wait(LATE_S)
    assert bench.asked() == [(B.id, 0)], "beside the first"
    assert bench.say(B, segment(0)) == [b"0"]
    assert bench.asked() == [(B.id, 1)]
    assert bench.say(A, segment(0)) == [], "it was read"
    assert bench.say(B, segment(1), 1) == [b"1"] and bench.reading.over


def test_five_dead_holders_cost_two_seconds_and_a_half_and_not_fifteen() -> None:
    dead = [keypair(number) for number in range(20, 25)]
    bench = Bench(*dead, A)
    began = bench.now
    while not bench.reading.over:
        while (A.id, number := bench.reading.logs[LOG].read) in bench.asked():
            bench.say(A, segment(number), number)
        due = bench.reading.deadline()
        if not bench.reading.over and due is not None:
            bench.wait(max(0.0, due - bench.now))
    assert bench.now - began == pytest.approx(5 * LATE_S)


def test_another_log_asks_those_last_who_were_late_for_the_first() -> None:
    bench = Bench(A, B)
    bench.asked()
    bench.wait(LATE_S)
    bench.asked()
    other = (bytes(G.id), 4)
    for key in (A, B):
        bench.reading.shown(where(key), [(*other, 1)])
    bench.say(B, None)
    assert [(wanted.to.id, wanted.log) for wanted in bench.reading.next(bench.now)] == [(B.id, other)]


def test_who_says_nothing_for_long_is_left_alone_for_a_while() -> None:
    bench = Bench(A)
    assert bench.asked() == [(A.id, 0)]
    bench.wait(LATE_S)
    assert bench.asked() == [] and bench.reading.pending, "there is nobody else"
    assert bench.reading.deadline() == 100.0 + WAIT_S
    bench.wait(WAIT_S - LATE_S)
    assert not bench.reading.pending and bench.reading.in_vain(bench.now)
    bench.reading.begin()
    assert bench.asked() == []
    bench.wait(SILENT_S)
    assert bench.asked() == [(A.id, 0)]


def test_who_is_found_meanwhile_is_asked_in_the_same_round() -> None:
    bench = Bench(A)
    bench.asked()
    bench.say(A, None)
    bench.reading.headed(NodeId(G.id), [(3, 2)], [where(B)])
    assert bench.asked() == [(B.id, 0)]
    bench.say(B, None)
    bench.reading.keepers[NodeId(C.id)] = where(C)
    assert bench.asked() == [(C.id, 0)]


def test_who_does_not_have_it_is_believed_no_more_but_for_the_grantor_itself() -> None:
    bench = Bench(A, segments=9)
    bench.reading.shown(where(B), [(*LOG, 1)])
    bench.asked()
    bench.say(A, None)
    assert bench.log == (0, 1)
    bench.asked()
    bench.say(B, segment(0))
    assert bench.log == (1, 1) and bench.reading.over
    bench.reading.shown(where(G), [(*LOG, 2)])
    assert bench.asked() == [(B.id, 1)]
    bench.say(B, None, 1)
    assert bench.asked() == [(A.id, 1)]
    bench.say(A, None, 1)
    assert bench.asked() == [(G.id, 1)]
    bench.say(G, None, 1)
    assert bench.log == (1, 2) and not bench.reading.over, "what it has just written may not lie anywhere yet"
    assert bench.reading.in_vain(bench.now)


def test_a_segment_that_is_not_the_next_is_refused_and_its_author_believed_no_more() -> None:
    bench = Bench(A, B)
    bench.asked()
    assert bench.say(A, segment(1)) == []
    assert bench.asked() == [(B.id, 0)]
    false = LogData(1, Signed(0, b"false", bytes(32), bytes(64)), b"")
    assert bench.say(B, false) == []
    assert bench.asked() == [] and bench.reading.over
    assert bench.reading.refused == ["a log segment is not the next of its chain", "false"]
    for _ in range(REFUSED_MAX):
        bench.reading.refuse(PeerError("more"))
    assert len(bench.reading.refused) == REFUSED_MAX


def test_why_a_log_is_refused_is_said_where_nobody_has_it_otherwise() -> None:
    bench = Bench(A, G)
    for key in (A, G):
        assert bench.asked() == [(key.id, 0)]
        bench.say(key, segment(1))
    assert bench.asked() == []
    assert bench.reading.logs[LOG].refused == "a log segment is not the next of its chain"
    bench.reading.begin()
    for key in (A, G):
        assert bench.asked() == [(key.id, 0)]
        bench.say(key, None)
    bench.asked()
    assert bench.reading.logs[LOG].refused == "", "somebody does not have it: it may be to come"
    bench.reading.begin()
    assert bench.asked() == [(A.id, 0)]
    bench.say(A, segment(0))
    assert bench.log == (1, 2)


def test_those_near_the_job_are_asked_where_its_grantor_is_not_known_or_says_nothing() -> None:
    bench = Bench(A, near=(A, B))
    assert bench.asked() == [(A.id, 0)]
    bench.wait(LATE_S)
    assert bench.asked() == [(B.id, 0)], "the grantor is not known"
    bench = Bench(G, near=(B,))
    assert bench.asked() == [(G.id, 0)]
    bench.reading.unreachable(Wanted(where(G), LOG, 0), bench.now)
    assert bench.asked() == [(B.id, 0)]
    bench = Bench(G, near=(B,))
    bench.asked()
    bench.say(G, None)
    assert bench.asked() == [], "it lives, and knows what it wrote"


def test_a_reader_does_not_ask_itself() -> None:
    bench = Bench(D)
    assert bench.asked() == []


def test_who_did_not_answer_before_the_reader_left_is_asked_again() -> None:
    bench = Bench(A)
    bench.asked()
    bench.reading.leave()
    assert bench.reading.deadline() is None
    bench.reading.begin()
    assert bench.asked() == [(A.id, 0)]


def test_a_question_that_is_still_open_is_not_asked_twice_in_a_new_round() -> None:
    bench = Bench(A, B)
    bench.asked()
    bench.reading.begin()
    assert bench.asked() == [(B.id, 0)]
    bench.say(B, segment(0))
    assert bench.asked() == [(B.id, 1)]
    bench.say(B, None, 1)
    assert bench.asked() == [], "the other owes an answer"
    bench.say(A, None)
    assert bench.asked() == [(A.id, 1)]


def rounds(bench: Bench, seconds: float, *lacking: Keypair) -> None:
    """Round after round for so long; ``lacking`` say that they have nothing, the others say nothing."""
    end = bench.now + seconds
    while bench.now < end:
        bench.reading.begin()
        while wanted := bench.reading.next(bench.now):
            for each in wanted:
                if each.to in [where(key) for key in lacking]:
                    bench.reading.answered(each, None)
        bench.wait(LATE_S)


def test_what_was_lost_with_its_grantor_and_its_only_holder_is_not_waited_for_for_ever() -> None:
    bench = Bench(A, B, segments=1)
    bench.reading.headed(NodeId(G.id), [(3, 3)], [where(C)])
    bench.asked()
    assert bench.say(A, segment(0)) == [b"0"]
    rounds(bench, LOST_S, A, B)
    assert bench.log == (1, 3) and not bench.reading.over, "whoever has it may come back"
    rounds(bench, WAIT_S + SILENT_S, A, B)
    assert bench.log == (1, 3) and bench.reading.over
    bench.reading.headed(NodeId(G.id), [(3, 3)], [where(C)])
    assert bench.reading.over, "the record says only what it said before"


def test_a_holder_that_comes_back_with_a_segment_that_seemed_lost_is_read_on() -> None:
    bench = Bench(A, segments=1)
    bench.reading.headed(NodeId(G.id), [(3, 3)], [where(C)])
    bench.asked()
    bench.say(A, segment(0))
    rounds(bench, LOST_S + WAIT_S + SILENT_S, A)
    assert bench.reading.over
    bench.wait(SILENT_S)
    bench.reading.begin()
    while (C.id, 1) not in (asked := bench.asked()):
        assert asked, "it is asked still"
        bench.say(A, None, 1)
    assert bench.say(C, segment(1), 1) == [b"1"]
    assert not bench.reading.over, "there is a third one, and all begins anew"
    bench.asked()
    bench.say(C, segment(2), 2)
    assert bench.log == (3, 3) and bench.asked() == [(C.id, 3)], "it never said that this is all"
    bench.say(C, None, 3)
    assert bench.reading.over


def test_a_peer_that_died_after_it_had_spoken_of_a_log_keeps_nobody_for_ever() -> None:
    bench = Bench(A, segments=2)
    bench.reading.keepers[NodeId(B.id)] = where(B)
    rounds(bench, LOST_S, B)
    assert not bench.reading.over and not bench.reading.bereft
    rounds(bench, WAIT_S + SILENT_S, B)
    assert bench.log == (0, 2) and bench.reading.over and bench.reading.bereft


def test_a_reader_that_nobody_answers_is_cut_off_itself_and_takes_nothing_for_lost() -> None:
    bench = Bench(A, B, segments=2)
    rounds(bench, 2 * LOST_S)
    assert not bench.reading.over
    rounds(bench, LOST_S, B)
    assert bench.log == (0, 2) and not bench.reading.over, "it counts from where somebody answers"


def test_what_nobody_speaks_of_any_more_counts_from_its_beginning_when_it_is_spoken_of_again() -> None:
    bench = Bench(A, segments=2)
    rounds(bench, LOST_S)
    bench.wait(SILENT_S)
    rounds(bench, LATE_S, A)
    assert bench.log == (0, 0) and bench.reading.over, "it never was"
    bench.reading.shown(where(B), [(*LOG, 2)])
    rounds(bench, LOST_S, A)
    assert not bench.reading.over


def test_a_holder_that_never_said_how_much_it_has_is_asked_for_more_than_the_head_names() -> None:
    bench = Bench()
    bench.reading.headed(NodeId(G.id), [(3, 1)], [where(A), where(B)])
    assert bench.asked() == [(A.id, 0)]
    bench.say(A, segment(0))
    assert bench.log == (1, 1) and not bench.reading.over
    assert bench.asked() == [(A.id, 1)]
    bench.say(A, None, 1)
    assert bench.asked() == [(B.id, 1)] and not bench.reading.over
    bench.say(B, segment(1), 1)
    assert bench.log == (2, 2) and bench.asked() == [(B.id, 2)]
    bench.say(B, None, 2)
    assert bench.log == (2, 2) and bench.asked() == [] and bench.reading.over
    bench.reading.begin()
    assert bench.asked() == [], "each is asked once"


def test_holders_that_were_late_are_not_asked_whether_there_is_more() -> None:
    bench = Bench()
    bench.reading.headed(NodeId(G.id), [(3, 1)], [where(A), where(B)])
    assert bench.asked() == [(A.id, 0)]
    bench.wait(LATE_S)
    assert bench.asked() == [(B.id, 0)]
    bench.say(B, segment(0))
    assert bench.asked() == [(B.id, 1)]
    bench.say(B, None, 1)
    assert bench.asked() == [] and bench.reading.over


def test_a_silent_holder_that_may_have_more_costs_half_a_second_and_the_next_is_asked_then() -> None:
    bench = Bench()
    bench.reading.headed(NodeId(G.id), [(3, 1)], [where(A), where(B), where(C)])
    bench.asked()
    bench.say(A, segment(0))
    assert bench.asked() == [(A.id, 1)]
    bench.say(A, None, 1)
    began = bench.now
    assert bench.asked() == [(B.id, 1)] and bench.reading.deadline() == began + LATE_S
    bench.wait(LATE_S)
    assert bench.asked() == [(C.id, 1)] and not bench.reading.over
    assert bench.reading.deadline() == began + 2 * LATE_S
    bench.wait(LATE_S)
    assert bench.asked() == [] and not bench.reading.pending and bench.reading.deadline() is None
    assert bench.reading.over and bench.now == began + 2 * LATE_S
    assert bench.say(B, segment(1), 1) == [b"1"], "a late word is heard all the same"
    assert bench.asked() == [(B.id, 2)]


def test_holders_are_asked_for_more_of_older_logs_again_when_a_newer_one_becomes_known() -> None:
    bench = Bench()
    bench.reading.headed(NodeId(G.id), [(3, 1)], [where(A)])
    bench.asked()
    bench.say(A, segment(0))
    bench.asked()
    bench.say(A, None, 1)
    assert bench.asked() == [] and bench.reading.over
    bench.reading.log(B.id, 2)
    assert bench.asked() == [] and bench.reading.over, "it is older"
    bench.reading.log(B.id, 4)
    assert not bench.reading.over and bench.asked() == [(A.id, 1)]
    bench.reading.log(B.id, 4)
    bench.say(A, None, 1)
    assert bench.asked() == [] and bench.reading.over


def test_holders_that_said_how_much_they_have_are_not_asked_for_more() -> None:
    bench = Bench(A, segments=1)
    bench.asked()
    bench.say(A, segment(0))
    assert bench.asked() == [] and bench.reading.over


def test_a_grantor_of_whom_a_steward_knows_is_asked_for_its_own_log_where_nobody_else_has_it() -> None:
    bench = Bench(A, segments=1, near=(C,))
    bench.reading.granted(where(G), A.id)
    bench.reading.headed(NodeId(G.id), [(3, 2)], [])
    assert bench.asked() == [(A.id, 0)]
    bench.say(A, segment(0))
    assert bench.asked() == [(A.id, 1)]
    bench.say(A, None, 1)
    assert bench.asked() == [(G.id, 1)]
    assert bench.say(G, segment(1), 1) == [b"1"] and bench.reading.over


def test_where_a_grantor_of_whom_a_steward_knows_lacks_its_log_those_near_the_job_are_asked() -> None:
    bench = Bench(A, segments=1, near=(C,))
    bench.reading.granted(where(G), A.id)
    bench.reading.headed(NodeId(G.id), [(3, 2)], [])
    bench.asked()
    bench.say(A, segment(0))
    bench.asked()
    bench.say(A, None, 1)
    assert bench.asked() == [(G.id, 1)]
    bench.say(G, None, 1)
    assert bench.asked() == [(C.id, 1)]
    assert bench.say(C, segment(1), 1) == [b"1"]


def test_where_a_grantor_is_reached_it_says_itself_and_others_only_until_then() -> None:
    one, two, own = (at(G, port) for port in (6001, 6002, 6003))
    bench = Bench()
    bench.reading.headed(NodeId(G.id), [(3, 1)], [])

    def to() -> list[Contact]:
        return [wanted.to for wanted in bench.reading.next(bench.now)]

    bench.reading.granted(one, A.id)
    bench.reading.granted(two, B.id)
    assert to() == [one], "the word of one is no better than that of another"
    bench.reading.leave()
    bench.reading.granted(own, G.id)
    bench.reading.granted(two, B.id)
    bench.reading.begin()
    assert to() == [own]


def test_where_a_grantor_was_not_reached_another_may_know_it_better() -> None:
    one, two = at(G, 6001), at(G, 6002)
    bench = Bench()
    bench.reading.headed(NodeId(G.id), [(3, 1)], [])
    bench.reading.granted(one, A.id)
    bench.asked()
    bench.reading.unreachable(Wanted(one, LOG, 0), bench.now)
    bench.reading.granted(two, B.id)
    bench.reading.unreachable(Wanted(one, LOG, 0), bench.now)
    bench.wait(SILENT_S)
    bench.reading.begin()
    assert [wanted.to for wanted in bench.reading.next(bench.now)] == [two]


def test_who_says_again_and_again_that_a_grantor_is_where_it_is_not_keeps_no_reader_from_the_word_of_another() -> None:
    true = at(G, 6002)
    bench = Bench()
    bench.reading.headed(NodeId(G.id), [(3, 1)], [])
    asked: list[Contact] = []
    for number in range(6):
        bench.reading.granted(at(G, 7000 + number), A.id)
        bench.reading.granted(true, B.id)
        bench.reading.begin()
        (wanted,) = bench.reading.next(bench.now)
        asked.append(wanted.to)
        bench.reading.unreachable(wanted, bench.now)
        bench.wait(SILENT_S)
    assert asked.count(true) == 3, "in turn"
    bench.reading.granted(at(G, 6003), G.id)
    bench.reading.begin()
    assert [wanted.to for wanted in bench.reading.next(bench.now)] == [at(G, 6003)], "it should know"


def test_a_holder_whose_answer_comes_second_may_have_more() -> None:
    bench = Bench()
    bench.reading.headed(NodeId(G.id), [(3, 1)], [where(A), where(B)])
    bench.asked()
    bench.say(A, segment(0))
    assert bench.asked() == [(A.id, 1)]
    bench.wait(LATE_S)
    assert bench.asked() == [(B.id, 1)]
    bench.say(B, segment(1), 1)
    bench.say(A, segment(1), 1)
    assert bench.asked() == [(B.id, 2)]
    bench.say(B, None, 2)
    assert bench.asked() == [(A.id, 2)]


def test_a_holder_that_was_asked_for_more_as_the_reader_left_is_asked_again() -> None:
    bench = Bench()
    bench.reading.headed(NodeId(G.id), [(3, 1)], [where(A)])
    bench.asked()
    bench.say(A, segment(0))
    assert bench.asked() == [(A.id, 1)]
    bench.reading.leave()
    bench.reading.begin()
    assert bench.asked() == [(A.id, 1)]
