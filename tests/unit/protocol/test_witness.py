"""Witnesses: what a grantor and a peer do is noted as it was, and nothing is noted where nobody watches."""

from __future__ import annotations

from p2pcpn.protocol import effects as fx
from p2pcpn.protocol import events
from p2pcpn.protocol import history as h
from p2pcpn.protocol.journal import row_key
from p2pcpn.protocol.settlement import LogWriter
from p2pcpn.protocol.verdict import judge
from p2pcpn.protocol.witness import Chronicle, Witness
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.sealing import digest
from p2pcpn.wire.statements import Receipt, signed
from tests.unit.protocol.granting import ME, Table, keypair


def told(table: Table) -> list[str]:
    return [type(line.event).__name__ for line in table.noted]


def test_a_job_is_noted_from_its_opening_to_its_log() -> None:
    table = Table()
    table.extend(4)
    worker = table.worker(10)
    table.act(lambda g, now: g.running.progress(worker.contact, m.Progress(table.job, worker.last.token, [0]), now))
    worker.run()
    table.close()
    table.pass_time(1.0)
    words = told(table)
    assert words[:2] == ["Opened", "Said"]
    for word in ("Offered", "Claimed", "Leased", "Renewed", "Accepted", "Ended", "Closed", "Signed"):
        assert word in words, word
    signed = next(line.event for line in table.noted if isinstance(line.event, h.Signed))
    accepted = [line.event for line in table.noted if isinstance(line.event, h.Accepted)]
    assert signed.digests == "".join(event.digests for event in accepted) and signed.number == 0
    assert [event.worker for event in accepted] == [worker.node.hex()] * len(accepted)
    assert judge(table.noted, over=False).ok


def test_what_is_cancelled_returned_lost_or_late_is_noted_as_such() -> None:
    table = Table()
    table.extend(4)
    first = table.worker(10, slots=4)
    second = table.worker(11, slots=4)
    lease = first.last
    table.session_closed(first.node)
    table.peer_dead(first.node)
    assert second.last.token > lease.token
    first.run(lease)  # a newer lease fences it
    table.act(lambda g, now: g.cancel([(3, 1)], stop=True, now=now))
    table.cancel_job()
    whys = [line.event.why for line in table.noted if isinstance(line.event, h.Ended)]
    assert "lost" in whys and "cancelled" in whys
    assert {"Late", "Dropped", "Cancelled"} <= set(told(table))
    assert judge(table.noted).ok


def test_a_receipt_that_settles_a_part_is_noted_with_the_digests_of_that_part() -> None:
    table = Table()
    table.extend(4)
    worker = table.worker(10, slots=4)
    lease = worker.last
    assert len(pages.cut(lease.spans)) == 4
    message = worker.message(lease)
    worker.run(lease, spans=[(1, 1)])
    worker.bring(message)
    noted = [line.event for line in table.noted if isinstance(line.event, h.Accepted)]
    assert [event.spans for event in noted] == [((1, 1),), ((0, 1), (2, 2))]
    stated = dict(h.columns([(0, 4)], _stated(message)))
    assert dict(h.columns(noted[1].spans, noted[1].digests)) == {i: stated[i] for i in (0, 2, 3)}


def _stated(message: m.Results) -> str:
    from p2pcpn.wire.statements import Receipt, read

    return read(message.receipt, Receipt).digests.hex()


def chronicle(number: int) -> tuple[Chronicle, list[h.Line]]:
    lines: list[h.Line] = []
    key = keypair(number)
    return Chronicle(key.id, 3, key.public, lambda: 7.0, lines.append), lines


def test_effects_of_a_peer_tell_what_it_states_and_gives_up() -> None:
    table = Table()
    table.extend(2)
    worker = table.worker(10)
    message = worker.message(worker.last)
    row = (0, ME.id, pages.SIGNED.encode(message.receipt), message.page, None)
    commit = fx.Commit((fx.Write("journal", row_key(table.job, 0, 1, 0), row), fx.Write("journal", (b"x",), None)))
    gave_up = fx.Notify(events.GaveUp(table.job, [4, 5, 9], "nobody is left"))
    mine, lines = chronicle(10)
    assert list(mine.attend([commit, gave_up])) == [commit, gave_up]
    began, made, failed = (line.event for line in lines)
    assert isinstance(began, h.Began) and lines[0].process == f"{keypair(10).id.hex()}/3" and lines[0].at_s == 7.0
    assert isinstance(made, h.Made) and (made.grantor, made.token) == (ME.id.hex(), worker.last.token)
    assert isinstance(failed, h.Failed) and failed.spans == ((4, 2), (9, 1)) and failed.why == "nobody is left"
    other, lines = chronicle(11)  # a steward to which the result was brought
    other.attend([commit])
    assert [type(line.event) for line in lines] == [h.Began]


def test_a_log_segment_is_kept_once_it_is_on_disk() -> None:
    table = Table()
    table.extend(2)
    table.worker(10).run()
    table.close()
    append = next(e for e in table.effects if isinstance(e, fx.Commit) and e.writes[0].table == "logs")
    holder, lines = chronicle(12)
    (commit,) = holder.attend([append])
    assert len(lines) == 1 and isinstance(commit, fx.Commit)
    assert holder.attend(commit.then) == list(append.then)
    kept = lines[-1].event
    assert isinstance(kept, h.Kept) and (kept.grantor, kept.number, kept.epoch) == (ME.id.hex(), 0, 0)
    assert append.writes[0].value is not None
    assert kept.name == digest(pages.SIGNED.decode(append.writes[0].value[0]).body).hex()  # type: ignore[arg-type]


def test_deliveries_are_noted_where_a_program_takes_them_and_other_effects_pass() -> None:
    mine, lines = chronicle(10)
    mine.delivered(events.Delivered(b"job", [3, 4], b"\0\0", [b"a", b"b"], b"", [], digests=bytes(32)))
    assert isinstance(lines[-1].event, h.Delivered) and lines[-1].event.spans == ((3, 2),)
    plain = [fx.SendBytes(b"", ("127.0.0.1", 1))]
    assert mine.attend(plain) is plain


def test_a_signed_segment_tells_what_its_tasks_took_and_nothing_of_tasks_it_does_not_settle() -> None:
    noted: list[h.Event] = []
    said = Receipt(
        bytes(20), 0, bytes(20), 1, 0, [(1, 2)], bytes(2), bytes(32), bytes(32), 0.0, b"",
        [(1, 0, b"x" * 16), (2, 0, b"x" * 16)],
    )  # fmt: skip
    log = LogWriter(bytes(20), 0, keypair(1))
    log.append(signed(said, keypair(2)), b"", [(2, 1)], whole=False, now=0.0)
    segment = log.close()
    Witness(noted.append, bytes(20), 0).signed(0, segment.header, segment.body)
    event = noted[-1]
    assert isinstance(event, h.Signed)
    assert (event.spans, event.inputs) == (((2, 1),), ((2, 0, (b"x" * 16).hex()),))
