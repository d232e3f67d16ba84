"""Receipts: what a batch came to becomes a sealed page, a signed statement and, where a value is large, a blob.

Blobs of results are sealed under keys that follow from the job's digest key and the value, so equal results of two
workers are equal blobs with equal digests: votes can be compared without anybody opening them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.effects import Effect, KeepBlob
from p2pcpn.protocol.spans import Span
from p2pcpn.protocol.turns import Batch
from p2pcpn.protocol.work import LeaseTaken, Work
from p2pcpn.wire import pages
from p2pcpn.wire.messages import Output, Results
from p2pcpn.wire.pages import Print, ResultPage
from p2pcpn.wire.sealing import (
    RESULT_DIGEST_BYTES,
    Fingerprint,
    derive,
    digest,
    output_key,
    result_digest,
    seal,
    swarm_proof,
)  # fmt: skip
from p2pcpn.wire.statements import BlobRef, Receipt, signed

# One message of output holds so much of what was printed; a seal and a header fit beside it.
OUTPUT_PART_BYTES = limits.BLOB_PART_BYTES // 2
CUT = b"\n[... output cut]\n"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A large value, closed: the blob and its name. Made where there is time for it, under the lease's digest key."""

    ref: BlobRef
    data: bytes

    def __len__(self) -> int:
        return len(self.data)


def sealed(digest_key: bytes, value: bytes) -> Sealed:
    """``value`` as a blob. Equal values of one job make equal blobs."""
    key = derive(digest_key, b"p2pcpn blob", Fingerprint(derive(digest_key, b"p2pcpn equal")).of(value))
    data = seal(key, 0, value)
    return Sealed(BlobRef(digest(data), len(data), key), data)


Value = bytes | Sealed


class Receipts:
    """Writes the receipts of one peer, in its swarm."""

    def __init__(self, me: Keypair, swarm_key: bytes) -> None:
        self._me = me
        self._proof = swarm_proof(swarm_key, me.public)

    def write(
        self,
        work: Work,
        lease: LeaseTaken,
        spans: list[Span],
        outcomes: bytes,
        values: Sequence[Value],
        digests: bytes,
        ran_s: float,
        prints: list[Print],
        *,
        last: bool,
        renderings: Sequence[str] = (),
        inputs: Sequence[tuple[int, int, bytes]] = (),
    ) -> tuple[Results, list[Effect], tuple[bytes, ...]]:
        """The receipt for ``spans``, blobs to keep, and the digests of those.

        ``digests`` are the 16-byte result digests of the values; ``last``: with these the lease is spent; ``inputs``:
        (task, input, digest) of each result that a task took.
        """
        effects: list[Effect] = []
        kept, digests, blobs = self._blobs(work, lease, values, digests, effects)
        part = lease.parts
        lease.parts += 1
        shown = [text[: limits.REASON_CHARS_MAX] for text in renderings]
        page = seal(lease.result_key, part, pages.RESULTS.encode(ResultPage(kept, prints, shown)))
        receipt = Receipt(
            work.job, lease.epoch, lease.grantor.id, lease.token, part, spans, outcomes, digests, digest(page), ran_s,
            self._proof, list(inputs),
        )  # fmt: skip
        return Results(signed(receipt, self._me), page, last, lease.signed), effects, blobs

    @staticmethod
    def _blobs(
        work: Work, lease: LeaseTaken, values: Sequence[Value], digests: bytes, effects: list[Effect]
    ) -> tuple[list[bytes | BlobRef], bytes, tuple[bytes, ...]]:
        """Values too large to stand inline, as sealed blobs."""
        if all(len(value) <= limits.INLINE_BYTES_MAX for value in values):
            return list(values), digests, ()  # type: ignore[arg-type]
        kept: list[bytes | BlobRef] = []
        stated: list[bytes] = []
        blobs: list[bytes] = []
        for at, value in enumerate(values):
            if isinstance(value, bytes) and len(value) <= limits.INLINE_BYTES_MAX:
                kept.append(value)
                stated.append(digests[at * RESULT_DIGEST_BYTES : (at + 1) * RESULT_DIGEST_BYTES])
                continue
            blob = sealed(lease.digest_key, value) if isinstance(value, bytes) else value
            kept.append(blob.ref)
            stated.append(result_digest(lease.digest_key, blob.ref.digest))
            blobs.append(blob.ref.digest)
            effects.append(KeepBlob(blob.ref.digest, blob.data, work.job, work.authority.spec.retention_s))
        return kept, b"".join(stated), tuple(blobs)


def note(batch: Batch, line: Print) -> None:
    """Remember what a task printed, for its receipt: at most ``RECEIPT_OUTPUT_BYTES_MAX``, then a line that says so."""
    room = limits.RECEIPT_OUTPUT_BYTES_MAX - batch.printed_bytes
    if room <= 0 or len(batch.prints) >= limits.BATCH_TASKS_MAX:
        return
    batch.printed_bytes += len(line.data)
    if len(line.data) > room or len(batch.prints) == limits.BATCH_TASKS_MAX - 1:
        line = Print(line.index, line.stream, line.data[:room] + CUT)
        batch.printed_bytes = limits.RECEIPT_OUTPUT_BYTES_MAX
    last = batch.prints[-1] if batch.prints else None
    if last is not None and (last.index, last.stream) == (line.index, line.stream):
        batch.prints[-1] = Print(last.index, last.stream, last.data + line.data)
    else:
        batch.prints.append(line)


def taken_prints(batch: Batch, end: int) -> list[Print]:
    """What the tasks before index ``end`` printed, for the receipt that speaks of them."""
    taken = [line for line in batch.prints if line.index < end]
    batch.prints = [line for line in batch.prints if line.index >= end]
    batch.printed_bytes = sum(len(line.data) for line in batch.prints)
    return taken


def outputs(work: Work, lease: LeaseTaken, line: Print) -> list[Output]:
    """What a running task printed, sealed, in messages that fit."""
    said: list[Output] = []
    key = output_key(lease.result_key)
    for at in range(0, len(line.data), OUTPUT_PART_BYTES):
        lease.outputs += 1
        part = pages.PRINT.encode(Print(line.index, line.stream, line.data[at : at + OUTPUT_PART_BYTES]))
        said.append(Output(work.job, lease.token, lease.outputs, seal(key, lease.outputs, part)))
    return said
