"""Cutting: calls become pages of tasks, sealed, and pages become segments, signed and chained.

Columns all the way: a page names each function once and lists the arguments of its tasks; nothing here is an object a
task. Whatever the sizes, a segment is within what peers accept (``limits.py``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2pcpn import limits
from p2pcpn.client.inputs import Awaited
from p2pcpn.client.pickling import Callee
from p2pcpn.client.plaintext import Plaintext, immutable
from p2pcpn.identity.keys import Keypair
from p2pcpn.protocol.settlement import NOTHING
from p2pcpn.wire import pages
from p2pcpn.wire.pages import TaskPage
from p2pcpn.wire.sealing import JobKeys, digest, seal
from p2pcpn.wire.statements import BlobRef, Segment, Signed, signed

# A segment is closed at half of what a message of tasks should hold: its last page may be large.
SEGMENT_BYTES = limits.SEGMENT_BYTES_MAX // 2
# What a reference to a blob takes in a page, and the number that stands for one.
REF_BYTES = 80
NUMBER_BYTES = 3
# Whoever runs one task of a page is sent all blobs of that page: so much of them that no page before named.
PAGE_FRESH_BYTES = 256 << 10
# Digests of blobs that were named lately, 100 bytes each: as many as a segment can name.
LATELY_MAX = limits.SEGMENT_TASKS_MAX

Keep = Callable[[BlobRef, bytes | Plaintext], None]


@dataclass(slots=True, frozen=True)
class Blob:
    """Arguments that do not stand inline: their name, and the sealed bytes it names."""

    ref: BlobRef
    sealed: bytes | Plaintext

    def data(self) -> bytes:
        """The sealed bytes."""
        return self.sealed.sealed() if isinstance(self.sealed, Plaintext) else self.sealed


@dataclass(slots=True, frozen=True)
class Parted:
    """Arguments whose pickle, the ``head``, has buffers beside it: blobs, and results of other tasks."""

    head: bytes | Blob
    parts: tuple[Blob | Awaited, ...]

    @property
    def size_bytes(self) -> int:
        """What all of it comes to, sealed."""
        head = len(self.head.sealed if isinstance(self.head, Blob) else self.head)
        return head + sum(part.ref.size_bytes for part in self.parts if isinstance(part, Blob))


Call = tuple[Callee, bytes | Blob | Parted]


def make_blob(keys: JobKeys, data: bytes | memoryview, name: bytes | None = None) -> Blob:
    """``data``, whose fingerprint or digest is ``name``, closed under its own key of the job."""
    key = keys.blob(digest(data) if name is None else name)
    source = immutable(data)
    if source is not None:
        plain = Plaintext(key, source)
        return Blob(BlobRef(plain.digest(), len(plain), key), plain)
    sealed = seal(key, 0, data)
    return Blob(BlobRef(digest(sealed), len(sealed), key), sealed)


@dataclass(slots=True, frozen=True)
class Cut:
    """One segment, its sealed pages, the blobs each page names, at which call the next one begins, and which tasks
    take whose results."""

    segment: Signed
    sealed: list[bytes]
    blobs: list[list[bytes]]
    end: int
    needs: list[tuple[int, list[int]]]


@dataclass(slots=True)
class _Names:
    """What a segment says its tasks need."""

    packages: set[str] = field(default_factory=set)
    blobs: dict[bytes, None] = field(default_factory=dict)

    def take(self, packages: Sequence[str]) -> bool:
        """Note these, unless that made more than a segment can name."""
        if self.packages.issuperset(packages):
            return True
        if len(self.packages.union(packages)) > limits.REQUIREMENTS_MAX:
            return False
        self.packages.update(packages)
        return True


class _Buffers:
    """The buffers of a page's tasks: each blob and each result once, and which task has which."""

    __slots__ = ("_numbers", "_parts", "_taken", "refs")

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._taken: dict[int, int] = {}  # tasks whose results are taken
        self.refs: list[BlobRef] = []
        self._parts: list[tuple[int, list[int]]] = []  # of a result the number is counted down from -1

    @property
    def inputs(self) -> list[int]:
        """The tasks whose results are taken, in the order of their numbers."""
        return list(self._taken)

    @property
    def parts(self) -> list[tuple[int, list[int]]]:
        """Who has which, results numbered behind the blobs."""
        if not self._taken:
            return self._parts
        blobs = len(self.refs)
        return [(at, [number if number >= 0 else blobs - 1 - number for number in each]) for at, each in self._parts]

    def takes(self, parts: Sequence[Blob | Awaited]) -> bool:
        """Whether a page has room for the results among them."""
        return len(self._taken) + sum(isinstance(part, Awaited) for part in parts) <= limits.PAGE_INPUTS_MAX

    def add(self, position: int, parts: Sequence[Blob | Awaited]) -> int:
        """The task at ``position`` has these; what that takes in the page."""
        before = len(self.refs)
        numbers: list[int] = []
        for part in parts:
            if isinstance(part, Awaited):
                numbers.append(-1 - self._taken.setdefault(part.task, len(self._taken)))
                continue
            number = self._numbers.setdefault(part.ref.digest, len(self.refs))
            if number == len(self.refs):
                self.refs.append(part.ref)
            numbers.append(number)
        self._parts.append((position, numbers))
        return (len(self.refs) - before) * REF_BYTES + len(numbers) * 2 * NUMBER_BYTES + NUMBER_BYTES


class Cutter:
    """Cuts the calls of one job, in order. ``keep(ref, sealed)`` keeps the blobs that pages name."""

    def __init__(self, owner: Keypair, job: bytes, keys: JobKeys, keep: Keep) -> None:
        self._owner = owner
        self._job = job
        self._keys = keys
        self._keep = keep
        self._lately: OrderedDict[bytes, None] = OrderedDict()
        self._number = 0
        self._functions: set[bytes] = set()  # blobs that are kept with the first call and named by each
        self.first = 0  # index of the next task
        self.last = NOTHING  # digest of the last segment

    def cut(self, calls: Sequence[Call], at: int) -> Cut:
        """One segment of the calls from position ``at`` on."""
        sealed: list[bytes] = []
        listed: list[tuple[int, bytes]] = []
        blobs: list[list[bytes]] = []
        needs: list[tuple[int, list[int]]] = []
        names = _Names()
        count = size = 0
        while (
            at < len(calls)
            and count < limits.SEGMENT_TASKS_MAX
            and size < SEGMENT_BYTES
            and len(names.blobs) + limits.PAGE_BLOBS_MAX <= limits.SEGMENT_TASKS_MAX
        ):
            most = min(limits.PAGE_TASKS_MAX, limits.SEGMENT_TASKS_MAX - count)
            page, named = self._page(calls, at, most, names)
            if page is None:
                break
            tasks = len(page.arguments)
            data = seal(self._keys.page(self.first + count), 0, pages.TASKS.encode(page))
            sealed.append(data)
            listed.append((tasks, digest(data)))
            blobs.append(named)
            needs += pages.needs_of(page, self.first + count)
            names.blobs.update(dict.fromkeys(named))
            count, size, at = count + tasks, size + len(data), at + tasks
        segment = signed(
            Segment(
                self._job, self._number, self.first, self.last, listed, sorted(names.packages), list(names.blobs)
            ),
            self._owner,
        )  # fmt: skip
        self._number += 1
        self.first += count
        self.last = digest(segment.body)
        return Cut(segment, sealed, blobs, at, needs)

    def let_go(self, digest: bytes) -> bool:
        """Nobody needs that blob any more: whether it may go, to be kept again by the next call that names it."""
        if digest in self._functions:
            return False
        self._lately.pop(digest, None)
        return True

    def _page(self, calls: Sequence[Call], at: int, most: int, names: _Names) -> tuple[TaskPage | None, list[bytes]]:
        """As many tasks as one page takes; none when the next one needs what this segment cannot name any more."""
        functions: list[bytes | BlobRef] = []
        places: dict[bytes, int] = {}
        numbers: list[int] = []
        arguments: list[bytes | BlobRef] = []
        buffers = _Buffers()
        named: list[bytes] = []
        size = fresh = 0
        while at < len(calls) and len(arguments) < most and size < limits.PAGE_BYTES and fresh < PAGE_FRESH_BYTES:
            callee, data = calls[at]
            parts = data.parts if isinstance(data, Parted) else ()
            if arguments and (len(named) + 2 + len(parts) > limits.PAGE_BLOBS_MAX or not buffers.takes(parts)):
                break
            if not names.take(callee.needs):
                break
            place = places.get(callee.pickled)
            if place is None:
                place = places[callee.pickled] = len(functions)
                functions.append(self._function(callee, named))
                size += min(len(callee.pickled), limits.INLINE_BYTES_MAX)
            numbers.append(place)
            if parts:
                size += buffers.add(len(arguments), parts)
                fresh += sum(self._name(part, named) for part in parts if isinstance(part, Blob))
            head = data.head if isinstance(data, Parted) else data
            if isinstance(head, Blob):
                fresh += self._name(head, named)
                arguments.append(head.ref)
                size += REF_BYTES
            else:
                arguments.append(head)
                size += len(head) + 3
            at += 1
        if not arguments:
            return None, named
        page = TaskPage(
            functions, numbers if len(functions) > 1 else None, arguments, buffers.refs, buffers.parts, buffers.inputs
        )
        return page, named

    def _name(self, blob: Blob, named: list[bytes]) -> int:
        """A page names ``blob``: how many bytes that adds to what was named lately."""
        name = blob.ref.digest
        named.append(name)
        if name in self._lately:
            self._lately.move_to_end(name)
            return 0
        self._keep(blob.ref, blob.sealed)
        self._lately[name] = None
        if len(self._lately) > LATELY_MAX:
            self._lately.popitem(last=False)
        return blob.ref.size_bytes

    def _function(self, callee: Callee, named: list[bytes]) -> bytes | BlobRef:
        """The function as it stands in a page: its pickle, or the name of the blob that a large one was made once."""
        if len(callee.pickled) <= limits.INLINE_BYTES_MAX:
            return callee.pickled
        if callee.named is None:
            blob = make_blob(self._keys, callee.pickled)
            self._keep(blob.ref, blob.sealed)
            callee.named = blob.ref
            self._functions.add(blob.ref.digest)
        named.append(callee.named.digest)
        return callee.named
