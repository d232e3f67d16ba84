"""Arguments as they travel: small ones in one pickle, large ones as parts of their own, equal ones once.

A part is a blob sealed under a key that follows from its content, so calls that share an array name the same blob, and
no peer is sent it twice. What counts is the value at the time of the call: an array's bytes are hashed at every call
(5 GB/s), and sealed only when they were not seen lately. Calls without large arguments pay for a look at their types.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any, Final

from p2pcpn import limits
from p2pcpn.client.cutting import Blob, Parted, make_blob
from p2pcpn.client.inputs import Awaited
from p2pcpn.client.pickling import SCATTERED, dumps
from p2pcpn.errors import UsageError
from p2pcpn.limits import PART_BYTES
from p2pcpn.runtime.function import parts
from p2pcpn.wire.sealing import SEALED_BYTES_MAX, JobKeys

# What has no large buffer whatever its value, and what has one when it is long.
_SMALL: Final = frozenset({int, float, complex, bool, type(None)})
_LOADERS: Final[dict[type, Callable[..., Any]]] = {
    bytes: parts.as_bytes,
    str: parts.as_text,
    bytearray: parts.as_bytearray,
    memoryview: parts.as_bytes,  # as cloudpickle has it
}
# Sealed blobs that equal arguments find again, and immutable arguments that are known without hashing them.
KNOWN_BYTES: Final = 64 << 20
KNOWN_MAX: Final = 1024
SAME_MAX: Final = 16
# Of a scattered value: a call may have three of them and some more buffers.
SCATTERED_BUFFERS_MAX: Final = limits.TASK_PARTS_MAX // 4


class Placed(bytes):
    """Stands for a blob that was made before: the pickle's buffers name it instead of bytes."""

    blob: Blob
    owner: object

    def __new__(cls, blob: Blob, owner: object) -> Placed:
        self = super().__new__(cls, SCATTERED)
        self.blob, self.owner = blob, owner
        return self


class Arguments:
    """Packs the arguments of one job's calls. Safe from several threads."""

    def __init__(self, keys: JobKeys) -> None:
        self._keys = keys
        self._fingerprint = keys.fingerprint()
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Blob] = OrderedDict()  # by the fingerprint of what they close
        self._known_bytes = 0
        self._same: OrderedDict[int, tuple[object, Blob]] = OrderedDict()
        self._spare: list[_Buffers] = []

    def pack(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bytes | Blob | Parted:
        """The pickle of ``(arguments, keywords)`` and what stands beside it. Raises whatever pickling raises, and
        :class:`UsageError` for more than can travel."""
        plain = True
        for value in (*arguments, *keywords.values()) if keywords else arguments:
            kind = type(value)
            if kind not in _SMALL:
                if kind not in _LOADERS:
                    plain = False
                elif len(value) >= PART_BYTES:
                    return self._carefully(arguments, keywords)
        if plain:
            data = dumps((arguments, keywords))
        else:
            spare = self._spare  # as most calls find nothing to take out, what takes it is used again
            buffers = spare.pop() if spare else _Buffers(self)
            data = dumps((arguments, keywords), buffers)
            if buffers or len(data) > PART_BYTES:
                return self._carefully(arguments, keywords)
            spare.append(buffers)
        return data if len(data) <= limits.INLINE_BYTES_MAX else self._head(data)

    def _carefully(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bytes | Blob | Parted:
        """The same where something is large."""
        buffers = _Buffers(self)
        stand_ins: dict[int, _StandIn] = {}
        for value in (*arguments, *keywords.values()):
            loader = _LOADERS.get(type(value))
            if loader is not None and len(value) >= PART_BYTES and id(value) not in stand_ins:
                stand_ins[id(value)] = _StandIn(loader, (self._raw(value, buffers),))
        data = _dumps(arguments, keywords, stand_ins, buffers)
        if len(data) > PART_BYTES:
            # Somebody's pickle is large, or all are together: each that is large becomes a part.
            for value in (*arguments, *keywords.values()):
                if type(value) not in _SMALL and id(value) not in stand_ins and not isinstance(value, (str, bytes)):
                    inner = _Buffers(self)
                    own = dumps(value, inner)
                    if len(own) >= PART_BYTES:
                        stand_ins[id(value)] = _StandIn(parts.as_object, (own, *inner))
            buffers.clear()
            data = _dumps(arguments, keywords, stand_ins, buffers)
        head = data if len(data) <= limits.INLINE_BYTES_MAX else self._head(data)
        if not buffers:
            return head
        found = Parted(head, tuple(self._blob(raw, buffers.constants) for raw in buffers))
        if found.size_bytes > limits.ARGUMENTS_BYTES_MAX:
            raise UsageError(
                f"the arguments have {found.size_bytes} bytes pickled; {limits.ARGUMENTS_BYTES_MAX} can travel"
            )
        return found

    def place(self, value: Any) -> tuple[Blob, ...]:
        """``value`` as blobs of its own: its pickle, then its large buffers. Raises as :meth:`pack` does."""
        buffers = _Buffers(self, SCATTERED_BUFFERS_MAX)
        data = dumps(value, buffers)
        return self._head(data), *(self._blob_of(raw, buffers.constants) for raw in buffers)

    def _raw(self, value: Any, buffers: _Buffers) -> Any:
        """What is hashed and sealed of a large value, or what stands for its blob where the value is known."""
        kind = type(value)
        if kind is bytes or kind is str:
            with self._lock:
                same = self._same.get(id(value))
                if same is not None and same[0] is value:
                    self._same.move_to_end(id(value))
                    return Placed(same[1], self)
            raw = value if kind is bytes else value.encode("utf-8", "surrogatepass")
            buffers.constants[id(raw)] = value
            return raw
        return value.tobytes() if kind is memoryview and not value.c_contiguous else value

    def _head(self, data: bytes) -> Blob:
        _check_size(data)
        return make_blob(self._keys, data)

    def _blob(self, raw: memoryview, constants: dict[int, Any]) -> Blob | Awaited:
        """What a buffer is: a blob, or the result of a task."""
        return raw.obj if isinstance(raw.obj, Awaited) else self._blob_of(raw, constants)

    def _blob_of(self, raw: memoryview, constants: dict[int, Any]) -> Blob:
        """The blob of a buffer; of a constant it is remembered."""
        source = raw.obj
        if isinstance(source, Placed):
            return source.blob
        blob = self._equal(raw)
        constant = constants.get(id(source))
        if constant is not None and len(raw) <= KNOWN_BYTES // SAME_MAX:
            with self._lock:
                self._same[id(constant)] = constant, blob
                if len(self._same) > SAME_MAX:
                    self._same.popitem(last=False)
        return blob

    def _equal(self, raw: memoryview) -> Blob:
        """The blob that closes these bytes: one that was made lately, or a new one."""
        _check_size(raw)
        name = self._fingerprint.of(raw)
        with self._lock:
            blob = self._known.get(name)
            if blob is not None:
                self._known.move_to_end(name)
                return blob
        blob = make_blob(self._keys, raw, name)
        with self._lock:
            if name not in self._known:
                self._known[name] = blob
                self._known_bytes += len(blob.sealed)
            while len(self._known) > 1 and (self._known_bytes > KNOWN_BYTES or len(self._known) > KNOWN_MAX):
                _, old = self._known.popitem(last=False)
                self._known_bytes -= len(old.sealed)
        return blob

    def forget(self) -> None:
        """No call comes any more: nothing is kept that only an equal argument would need."""
        with self._lock:
            self._known.clear()
            self._same.clear()
            self._known_bytes = 0


class _StandIn:
    """Takes the place of a large argument in the pickle: there it loads as that argument."""

    __slots__ = ("_loader", "_raws")

    def __init__(self, loader: Callable[..., Any], raws: tuple[Any, ...]) -> None:
        self._loader = loader
        self._raws = raws

    def __reduce__(self) -> tuple[Any, ...]:
        return self._loader, tuple(map(PickleBuffer, self._raws))


class _Buffers(list[memoryview]):
    """The buffers that leave a pickle, in order: a pickle's ``buffer_callback``.

    ``constants`` are the arguments that cannot change, by the identity of what their buffers are taken from.
    """

    __slots__ = ("_most", "_owner", "constants")

    def __init__(self, owner: object, most: int | None = None) -> None:
        self._owner = owner
        self._most = limits.TASK_PARTS_MAX if most is None else most
        self.constants: dict[int, Any] = {}

    def __call__(self, buffer: PickleBuffer) -> bool:
        """Whether it stays in the pickle."""
        raw = buffer.raw()
        source = raw.obj
        if isinstance(source, Placed):
            if source.owner is not self._owner:
                raise UsageError("a scattered value belongs to the executor that made it; scatter it with this one too")
            if len(self) >= self._most:
                raise UsageError(f"a call may name {self._most} scattered values and large buffers")
        elif isinstance(source, Awaited):
            if len(self) >= self._most:
                raise UsageError(f"a call may take {self._most} results of others and large buffers")
        elif raw.nbytes < PART_BYTES or len(self) >= self._most:
            return True
        self.append(raw)
        return False


def _dumps(
    arguments: tuple[Any, ...], keywords: dict[str, Any], stand_ins: dict[int, _StandIn], buffers: _Buffers
) -> bytes:
    if stand_ins:
        arguments = tuple(stand_ins.get(id(value), value) for value in arguments)
        keywords = {name: stand_ins.get(id(value), value) for name, value in keywords.items()}
    return dumps((arguments, keywords), buffers)


def _check_size(data: bytes | memoryview) -> None:
    """Raises :class:`UsageError` for what cannot be closed as one blob."""
    if len(data) > SEALED_BYTES_MAX:
        raise UsageError(f"an argument has {len(data)} bytes pickled; {SEALED_BYTES_MAX} in one piece can travel")
