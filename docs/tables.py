"""Writes what the documents say of the code from the code itself, so that it cannot drift.

::

    python docs/tables.py            check: exit 1 when a document is not what the code says
    python docs/tables.py --write    bring them up to date

What stands between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->`` is made here; the rest is written by hand. In
``protocol.md`` these are the messages, statements, bounds and test vectors, in ``architecture.md`` the map of the code.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import inspect as shapes

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "p2pcpn"
if __name__ == "__main__":
    sys.path.insert(0, str(DOCS.parent))

from p2pcpn import limits  # noqa: E402
from p2pcpn.identity.keys import Keypair, x25519_public  # noqa: E402
from p2pcpn.protocol.gossip import rumor_id  # noqa: E402
from p2pcpn.protocol.hellos import hello_words, pair_key, swarm_binding, welcome_words  # noqa: E402
from p2pcpn.protocol.records import record_key  # noqa: E402
from p2pcpn.runtime.function.failures import Failure  # noqa: E402
from p2pcpn.wire import datagrams, handshake, messages, pages, statements  # noqa: E402
from p2pcpn.wire.addresses import Contact, contact  # noqa: E402
from p2pcpn.wire.envelope import GREETING, TRAFFIC, Header, Mac, seal  # noqa: E402
from p2pcpn.wire.frames import FrameWriter  # noqa: E402
from p2pcpn.wire.noise import XX_PSK0, Noise  # noqa: E402
from p2pcpn.wire.sealing import JobKeys, digest, job_id, output_key, result_digest, swarm_proof, wrap  # noqa: E402
from p2pcpn.wire.sealing import seal as close  # noqa: E402

WIDTH = 112
_INTEGERS = {1 << 16: "u16", 1 << 32: "u32", 1 << 48: "u48"}


# --- Types -----------------------------------------------------------------------------------------------------------


def type_name(kind: shapes.Type) -> str:
    """A field's type in the notation of the document."""
    match kind:
        case shapes.IntType():
            if kind.le == (1 << 63) - 1:
                return "u63"
            return _INTEGERS.get(kind.lt or 0) or (f"{kind.ge}..{kind.le}" if kind.le is not None else "int")
        case shapes.FloatType():
            if (kind.ge, kind.le) == (0.0, 1e10):
                return "seconds"
            return "float" if kind.le is None else f"float({_number(kind.ge)}..{_number(kind.le)})"
        case shapes.BoolType():
            return "bool"
        case shapes.NoneType():
            return "nil"
        case shapes.BytesType() | shapes.MemoryViewType():
            return f"bytes{_length(kind.min_length, kind.max_length)}"
        case shapes.StrType():
            return f"{'ascii' if kind.pattern else 'text'}{_length(kind.min_length, kind.max_length)}"
        case shapes.ListType():
            item = type_name(kind.item_type)
            several = f"<{item}>" if " | " in item else item
            return f"list{_length(kind.min_length, kind.max_length)} of {several}"
        case shapes.TupleType():
            return f"({', '.join(type_name(item) for item in kind.item_types)})"
        case shapes.UnionType():
            return " | ".join(sorted(map(type_name, kind.types), key=lambda name: name != "nil"))
        case shapes.StructType():
            return kind.cls.__name__
    raise AssertionError(f"{kind} has no name")


def _number(value: float | None) -> str:
    assert value is not None
    return f"{value:g}" if not math.isinf(value) else "inf"


def _length(least: int | None, most: int | None) -> str:
    if most is None:
        return ""
    return f"[{most}]" if least == most else f"[{least or 0}..{most}]"


def fields(cls: type[msgspec.Struct]) -> list[tuple[str, str, str]]:
    """Name, type and meaning of each field, in order; the meaning is the comment behind it in the source."""
    shape = shapes.type_info(cls)
    assert isinstance(shape, shapes.StructType)
    source = inspect.getsource(cls)
    found = []
    for field in shape.fields:
        said = re.search(rf"^    {field.name}: .*?  # (.*)$", source, re.MULTILINE)
        found.append((field.name, type_name(field.type), said[1] if said else ""))
    return found


# --- Tables ----------------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """A docstring as plain words: no roles, no markup, one paragraph."""
    text = re.sub(r":\w+:`[~.\w]*?(\w+)`", r"\1", text)
    text = re.sub(r"\s\(see [^()]*\)", "", text)
    return re.sub(r"\s+", " ", text.replace("``", "")).strip()


def entry(head: str, cls: type[msgspec.Struct]) -> str:
    """One type: its head line, what it says, and its fields in the order in which they are packed."""
    said = textwrap.wrap(_plain(cls.__doc__ or ""), WIDTH - 4, initial_indent="    ", subsequent_indent="    ")
    listed = fields(cls)
    names = max((len(name) for name, _, _ in listed), default=0)
    kinds = max((len(kind) for _, kind, _ in listed if len(kind) <= 34), default=0)
    lines = [head, *said]
    for name, kind, meaning in listed:
        line = f"      {name:<{names}}  {kind:<{kinds}}"
        lines.append(f"{line}  {meaning}".rstrip() if meaning else line.rstrip())
    return "\n".join(lines)


def block(entries: Iterable[str]) -> str:
    """Entries as one block of preformatted text."""
    return "```text\n" + "\n\n".join(entries) + "\n```"


def union(kind: Any) -> str:
    """Every message of a tagged union."""
    return block(entry(f"{cls.__struct_config__.tag}  {cls.__name__}", cls) for cls in get_args(kind))


def codes(cls: type) -> str:
    """The constants of a class, in words."""
    return ", ".join(
        f"{value} {name}" for name, value in vars(cls).items() if name.isupper() and isinstance(value, int)
    )


STATEMENT_PARTS = (Contact, statements.Accelerator, statements.Steward, statements.BlobRef)
PAGES = (
    pages.TaskPage, pages.ResultPage, pages.Print, pages.Death, Failure, pages.Entry, pages.LogHead, pages.JobPointer,
)  # fmt: skip

# The bounds that another implementation meets on the wire, in the order of limits.py.
_BOUNDS = """
DATAGRAM_BYTES_MAX ENVELOPE_BYTES BODY_BYTES_MAX CONTACTS_MAX RECORD_VALUE_BYTES_MAX SALT_BYTES_MAX RUMOR_BYTES_MAX
RUMORS_PER_DATAGRAM_MAX RUMOR_DIGESTS_MAX FRAME_BYTES_MAX MESSAGE_BYTES_MAX SEGMENT_TASKS_MAX SEGMENT_BYTES_MAX
PAGE_TASKS_MAX PAGE_BYTES PAGE_BYTES_MAX PAGES_PER_SEGMENT_MAX INLINE_BYTES_MAX LOG_SEGMENT_BYTES_MAX
LOG_SEGMENT_WAIT_S LOG_HEAD_WAIT_S STEWARDS_MAX STEWARDS REPLICAS_MAX TASKS_PER_JOB_MAX BATCH_TASKS_MAX BLOB_BYTES_MAX
BLOB_PART_BYTES RETENTION_S RETENTION_S_MAX LEASE_S RENEW_S REASON_CHARS_MAX REQUIREMENTS_MAX REQUIREMENT_CHARS_MAX
NEIGHBOURHOOD_MAX PAIRS_MAX RECORDS_MAX RECORDS_PER_OWNER_MAX RECORDS_PER_GROUP_MAX CLOCK_TOLERANCE_S
HANDSHAKE_BYTES_MAX FRAME_PART_BYTES_MIN MESSAGE_1_WAIT_S HANDSHAKE_WAIT_S HELLO_WAIT_S HELLO_TRIES HELLO_BODY_BYTES
COOKIE_S REPLAY_WINDOW HELLOS_PER_S HELLOS_PER_GROUP_PER_S RESETS_PER_S PAIR_SILENT_S ADDRESS_PROVEN_S RTO_INITIAL_S
RTO_FLOOR_S RTO_CEILING_S REQUEST_TRIES BUCKET_PEERS GROUP_PEERS_IN_TABLE_MAX GROUP_PEERS_IN_BUCKET_MAX DEAD_S
DEAD_S_MAX REFRESH_S ALPHA ALPHA_MAX RECORD_COPIES RUMOR_S RUMOR_SEEN_S FANOUT RUMOR_ROUNDS RUMOR_ROUND_S
RUMOR_HOPS_MAX ADVERT_HOPS MEMBER_HOPS PUSH_PULL_S OFFERS_PER_OWNER_PER_S OFFERS_PER_OWNER_BURST PROBE_IDLE_S
PROBE_BUSY_S PROBE_HELPERS CHECK_S SPEC_BYTES_MAX SEGMENT_HEAD_BYTES_MAX EPOCHS_MAX RESULT_PAGE_BYTES_MAX
"""


def bounds() -> str:
    """Name and value of each bound."""
    rows = ["| bound | value |", "|---|--:|"]
    return "\n".join(rows + [f"| `{name}` | {_grouped(getattr(limits, name))} |" for name in _BOUNDS.split()])


def _grouped(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


# --- Test vectors ----------------------------------------------------------------------------------------------------

ALICE, BOB = Keypair(bytes(range(32))), Keypair(bytes(range(32, 64)))
SWARM_KEY = bytes(range(64, 96))
JOB_KEY = bytes(range(96, 128))
NONCE = bytes(range(128, 144))


def vectors() -> str:
    """Every worked example: a name and its bytes in hexadecimal."""
    found = {**_key_vectors(), **_greeting_vectors(), **_statement_vectors(), **_job_vectors(), **_session_vectors()}
    width = max(map(len, found))
    lines = []
    for name, data in found.items():
        first, *rest = textwrap.wrap(data.hex(), 80) or [""]
        lines += [f"{name:<{width}}  {first}", *(" " * (width + 2) + more for more in rest)]
    return "```text\n" + "\n".join(lines) + "\n```"


def _key_vectors() -> dict[str, bytes]:
    return {
        "alice.seed": ALICE.seed,
        "alice.public": ALICE.public,
        "alice.x25519": x25519_public(ALICE.public),
        "alice.id": ALICE.id,
        "bob.seed": BOB.seed,
        "bob.public": BOB.public,
        "bob.id": BOB.id,
        "swarm.key": SWARM_KEY,
        "swarm.binding": swarm_binding(SWARM_KEY),
        "swarm.proof.alice": swarm_proof(SWARM_KEY, ALICE.public),
        "pair.key": pair_key(ALICE, 3, BOB.public, BOB.id, 7, SWARM_KEY),
    }


def _greeting_vectors() -> dict[str, bytes]:
    said = Header(1, GREETING, ALICE.id, BOB.id, 3, 5)
    hello = datagrams.Hello(9, (1, 1), ALICE.public, 0, 4000, 3, bytes(16), b"", b"")
    words = hello_words(swarm_binding(SWARM_KEY), said, hello)
    signature = ALICE.sign(words)
    hello = msgspec.structs.replace(hello, signature=signature)
    pad = bytes(limits.HELLO_BODY_BYTES - len(datagrams.CODEC.encode(hello)))
    body = datagrams.CODEC.encode(msgspec.structs.replace(hello, pad=pad))
    back = Header(1, GREETING, BOB.id, ALICE.id, 7, 2)
    seen = contact(ALICE.id, ("192.0.2.7", 4000))
    welcome = datagrams.Welcome(9, 1, BOB.public, 0, 3, seen, bytes(64))
    answer = welcome_words(swarm_binding(SWARM_KEY), back, welcome, signature)
    welcome = msgspec.structs.replace(welcome, signature=BOB.sign(answer))
    traffic = Header(1, TRAFFIC, ALICE.id, BOB.id, 3, 6)
    mac = Mac(pair_key(ALICE, 3, BOB.public, BOB.id, 7, SWARM_KEY))
    return {
        "hello.words": words,
        "hello.signature": signature,
        "hello.datagram": seal(said, body, Mac(SWARM_KEY)),
        "welcome.words": answer,
        "welcome.datagram": seal(back, datagrams.CODEC.encode(welcome), Mac(SWARM_KEY)),
        "ping.datagram": seal(traffic, datagrams.CODEC.encode(datagrams.Ping(11, 0)), mac),
    }


def _statement_vectors() -> dict[str, bytes]:
    record = statements.signed(statements.Record(b"advert", 5, 1.7e9, 900.0, b"value"), ALICE)
    member = statements.MemberState(contact(BOB.id, ("192.0.2.8", 4001)), 7, 2, 1)
    rumor = pages.SIGNED.encode(statements.signed(member, ALICE))
    return {
        "record.body": record.body,
        "record.signature": record.signature,
        "record.signed": pages.SIGNED.encode(record),
        "record.key": record_key(ALICE.public, b"advert"),
        "member.signed": rumor,
        "member.rumor_id": rumor_id(rumor),
    }


def _job_vectors() -> dict[str, bytes]:
    keys = JobKeys(JOB_KEY)
    page = pages.TASKS.encode(pages.TaskPage([b"function"], None, [b"arguments 0", b"arguments 1"]))
    sealed = close(keys.page(0), 0, page)
    result_key = keys.results(0, BOB.id, 1)
    results = pages.RESULTS.encode(pages.ResultPage([b"value 0", b"value 1"], []))
    return {
        "job.key": JOB_KEY,
        "job.nonce": NONCE,
        "job.wrapped.alice_to_bob": wrap(ALICE, BOB.public, NONCE, JOB_KEY),
        "job.id.of_spec_body_00": job_id(ALICE.public, b"\0"),
        "job.code_key": keys.code,
        "job.digest_key": keys.digests,
        "job.page_key.0": keys.page(0),
        "job.blob_key.of_abc": keys.blob(digest(b"abc")),
        "job.blob_key.of_large_abc": keys.blob(keys.fingerprint().of(b"abc")),
        "job.result_key.0.bob.1": result_key,
        "job.output_key": output_key(result_key),
        "page.plain": page,
        "page.sealed": sealed,
        "page.digest": digest(sealed),
        "results.plain": results,
        "results.sealed.part_0": close(result_key, 0, results),
        "results.digest_of_value_0": result_digest(keys.digests, b"value 0"),
    }


def _session_vectors() -> dict[str, bytes]:
    sides = [
        Noise(
            initiator=number == 0, static_secret=side.x25519_secret, ephemeral_secret=bytes([number + 1]) * 32,
            psk=SWARM_KEY, prologue=handshake.PROLOGUE, pattern=XX_PSK0,
        )
        for number, side in enumerate((ALICE, BOB))
    ]  # fmt: skip
    versions = msgspec.msgpack.encode(handshake.Versions(1, 1))
    profiles = [
        msgspec.msgpack.encode(handshake.Profile(1, 1, side.public, port, boot, 0, 3))
        for side, port, boot in ((ALICE, 4000, 3), (BOB, 4001, 7))
    ]
    said = []
    for turn, payload in enumerate((versions, profiles[1], profiles[0])):
        said.append(sides[turn % 2].write(payload))
        sides[1 - turn % 2].read(said[-1])
    send, receive, transcript = sides[0].split()
    return {
        "session.message_1": said[0],
        "session.message_2": said[1],
        "session.message_3": said[2],
        "session.alice_to_bob": send,
        "session.bob_to_alice": receive,
        "session.transcript": transcript,
        "session.frame_0.of_abc": b"".join(FrameWriter(send).write([b"abc"])),
    }


# --- The map of the code ---------------------------------------------------------------------------------------------

# From the bottom to the top, as ranks are.
ORDER = (
    "",
    "identity",
    "wire",
    "protocol",
    "net",
    "runtime",
    "store",
    "metrics",
    "node",
    "sim",
    "client",
    "bench",
    "cli",
)


def code_map() -> str:
    """Every package with its idea, and under it every module with its own."""
    found = []
    for name in ORDER:
        folder = PACKAGE / name
        head = (
            f"**`{name}/`**: {idea(folder / '__init__.py')}"
            if name
            else f"**`p2pcpn/`**: {idea(folder / '__init__.py')}"
        )
        paths = sorted(folder.glob("*.py") if not name else folder.rglob("*.py"))
        rows = [(path.relative_to(folder).as_posix(), idea(path)) for path in paths if path != folder / "__init__.py"]
        table = "\n".join(
            ["| module | its one idea |", "|---|---|", *(f"| `{path}` | {said} |" for path, said in rows)]
        )
        found.append(f"{head}\n\n{table}")
    return "\n\n".join(found)


def idea(path: Path) -> str:
    """The first sentence or two of a module's docstring: its first paragraph."""
    said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return _plain(said.partition("\n\n")[0]).replace("|", "\\|")


# --- The documents ---------------------------------------------------------------------------------------------------


def protocol() -> dict[str, str]:
    """The sections of ``protocol.md``, by name."""
    kinds = [(f"{number}  {cls.__name__}", cls) for number, cls in sorted(statements.KINDS.items())]
    return {
        "parts": block(entry(cls.__name__, cls) for cls in (*STATEMENT_PARTS, statements.Signed)),
        "datagrams": union(datagrams.Datagram),
        "store codes": f"{codes(datagrams.StoreCode)}.",
        "statements": block(entry(head, cls) for head, cls in kinds),
        "roles": f"{codes(statements.Role)}.",
        "outcomes": f"{codes(statements.Outcome)}.",
        "handshake": block(entry(cls.__name__, cls) for cls in (handshake.Versions, handshake.Profile)),
        "messages": union(messages.Message) + "\n\n" + block([entry("PageSlice", messages.PageSlice)]),
        "answer codes": f"{codes(messages.AnswerCode)}.",
        "pages": block(entry(cls.__name__, cls) for cls in PAGES),
        "bounds": bounds(),
        "vectors": vectors(),
    }


def architecture() -> dict[str, str]:
    """The sections of ``architecture.md``, by name."""
    return {"code map": code_map()}


DOCUMENTS = {"protocol.md": protocol, "architecture.md": architecture}


def rewritten(name: str, text: str) -> str:
    """The ``text`` of the document ``name``, every section as the code has it. Raises ``ValueError`` for lost marks."""
    for section, content in DOCUMENTS[name]().items():
        begin, end = f"<!-- begin: {section} -->\n", f"<!-- end: {section} -->"
        before, opened, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not opened or not closed:
            raise ValueError(f"{name} has no marks for {section!r}")
        text = f"{before}{begin}{content}\n{end}{after}"
    return text


def main(arguments: list[str]) -> int:
    """Check, or write."""
    stale = []
    for name in DOCUMENTS:
        before = (DOCS / name).read_text("utf-8")
        after = rewritten(name, before)
        if before != after:
            stale.append(name)
            if arguments == ["--write"]:
                (DOCS / name).write_text(after, "utf-8")
    if stale and arguments != ["--write"]:
        sys.stderr.write(f"{', '.join(stale)}: not what the code says; run: python docs/tables.py --write\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
