"""Receipts: sealed, signed, comparable between workers, and never larger than a message."""

from __future__ import annotations

from p2pcpn import limits
from p2pcpn.protocol import effects as fx
from p2pcpn.protocol.receipts import CUT, note, outputs, sealed, taken_prints
from p2pcpn.protocol.turns import Batch
from p2pcpn.wire import messages as m
from p2pcpn.wire import pages
from p2pcpn.wire.pages import Print
from p2pcpn.wire.sealing import digest, output_key, unseal
from p2pcpn.wire.statements import BlobRef
from tests.unit.protocol.leased import Bench, Made, keypair, told

LARGE = bytes(limits.INLINE_BYTES_MAX + 1)


def batch_of(bench: Bench, number: int = 1) -> Batch:
    return bench.worker.turns.batches[number]


def test_a_large_value_is_a_blob_that_goes_ahead_of_its_receipt() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 1)
    bench.take(made, (0, 1), slots=1)
    effects = bench.ran(1, values=[LARGE])
    kinds = [type(effect) for effect in effects]
    assert kinds == [fx.KeepBlob, fx.TellBlob, fx.Tell, fx.Commit]
    kept = effects[0]
    assert isinstance(kept, fx.KeepBlob) and kept.retention_s == 3600.0 and digest(kept.data) == kept.digest
    opened = made.open(told(effects, m.Results)[0])
    (ref,) = opened.values
    assert isinstance(ref, BlobRef) and ref.digest == kept.digest and ref.size_bytes == len(kept.data)
    assert unseal(ref.key, 0, kept.data) == LARGE


def test_a_value_that_just_fits_stands_inline_beside_a_large_one() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 8)
    bench.take(made, (0, 8), slots=1)
    bench.ran(1, ran_s=0.001)
    effects = bench.ran(2, 3, values=[b"small", LARGE, LARGE[:-1]])
    opened = made.open(told(effects, m.Results)[0])
    assert [type(value) for value in opened.values] == [bytes, BlobRef, bytes]


def test_a_value_that_was_sealed_elsewhere_is_as_good_as_one_that_is_sealed_here() -> None:
    found = []
    for value in (LARGE, sealed(Made().keys.digests, LARGE)):
        bench = Bench(slots=1)
        made = bench.know(Made(), 1)
        bench.take(made, (0, 1), slots=1)
        effects = bench.worker.ran(1, 0, b"\0", [value], bytes(16), 0.001, bench.now)
        kept = next(effect for effect in effects if isinstance(effect, fx.KeepBlob))
        found.append((kept.digest, kept.data, made.open(told(bench.do(effects), m.Results)[0]).receipt.digests))
    assert found[0] == found[1]


def test_equal_results_of_two_workers_make_equal_digests_and_blobs() -> None:
    made, found = Made(), []
    segment = made.segment(2)
    for number in (11, 12):
        bench = Bench(me=keypair(number), slots=1)
        bench.know(made)
        bench.worker.extended(segment)
        bench.take(made, (0, 1), worker=keypair(number).id, slots=1)
        effects = bench.ran(1, values=[LARGE])
        receipt = made.open(told(effects, m.Results)[0]).receipt
        blob = next(effect for effect in effects if isinstance(effect, fx.KeepBlob))
        found.append((receipt.digests, blob.digest, blob.data))
    assert found[0] == found[1]


def test_what_a_task_prints_is_told_at_once_and_again_with_its_result() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 2)
    bench.take(made, (1, 1), slots=1)
    said = [bench.do(bench.worker.printed(1, 0, 1, text)) for text in (b"one\n", b"two\n")]
    messages = told([effect for effects in said for effect in effects], m.Output)
    assert [message.number for message in messages] == [1, 2]
    key = output_key(made.keys.results(0, made.grantor.id, 1))
    lines = [pages.PRINT.decode(unseal(key, message.number, message.sealed)) for message in messages]
    assert lines == [Print(1, 1, b"one\n"), Print(1, 1, b"two\n")]
    assert made.open(told(bench.ran(1), m.Results)[0]).page.output == [Print(1, 1, b"one\ntwo\n")]


def test_prints_go_with_the_part_that_speaks_of_their_task() -> None:
    bench = Bench(slots=2)
    made = bench.know(Made(), 16)
    bench.take(made, (0, 16), slots=1)
    bench.ran(1, ran_s=0.001)
    for position in (0, 1, 2):
        bench.worker.printed(2, position, 2, b"%d" % position)
    first = made.open(told(bench.ran(2, 2), m.Results)[0])
    second = made.open(told(bench.ran(2), m.Results)[0])
    assert [line.index for line in first.page.output] == [1, 2]
    assert [line.index for line in second.page.output] == [3]


def test_a_job_that_wants_no_output_gets_none() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(output=False), 1)
    bench.take(made, (0, 1), slots=1)
    assert bench.worker.printed(1, 0, 1, b"x") == []
    assert made.open(told(bench.ran(1), m.Results)[0]).page.output == []


def test_a_long_line_is_told_in_parts_that_fit_a_message() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 1)
    bench.take(made, (0, 1), slots=1)
    lease = batch_of(bench).lease
    work = bench.worker.works[made.job]
    said = outputs(work, lease, Print(0, 1, bytes(1 << 20)))
    assert len(said) == 8 and all(len(m.CODEC.encode(message)) < limits.BLOB_PART_BYTES for message in said)
    assert all(m.CODEC.decode(m.CODEC.encode(message)) == message for message in said)


def test_output_of_a_receipt_is_bounded_in_bytes_and_in_lines() -> None:
    bench = Bench(slots=1)
    made = bench.know(Made(), 1)
    bench.take(made, (0, 1), slots=1)
    batch = batch_of(bench)
    for stream in (1, 2, 1, 2, 1, 2):
        note(batch, Print(0, stream, bytes(1 << 20)))
    assert [len(line.data) for line in batch.prints] == [1 << 20] * 4
    taken_prints(batch, 99)
    note(batch, Print(0, 1, bytes(limits.RECEIPT_OUTPUT_BYTES_MAX + 1)))
    note(batch, Print(0, 1, b"more"))
    (line,) = taken_prints(batch, 99)
    assert line.data.endswith(CUT) and len(line.data) == limits.RECEIPT_OUTPUT_BYTES_MAX + len(CUT)
    for number in range(5000):
        note(batch, Print(0, 1 + number % 2, b"x"))
    assert len(batch.prints) == limits.BATCH_TASKS_MAX and batch.prints[-1].data.endswith(CUT)
    assert made.open(told(bench.ran(1), m.Results)[0]).page.output == batch.prints or batch.prints == []
