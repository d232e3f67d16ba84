"""An exception as it travels: in words for whoever only looks, pickled for the program that submitted the task."""

from __future__ import annotations

import pickle
import traceback
from types import TracebackType

import cloudpickle
import msgspec

from p2pcpn.errors import PeerError
from p2pcpn.limits import FAILURE_PICKLE_BYTES_MAX, FAILURE_TEXT_CHARS_MAX, FAILURE_TRACEBACK_CHARS_MAX


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """The value of a task that raised: type name, text, traceback as text, the exception's pickle where it has one."""

    type_name: str
    text: str
    traceback: str
    pickled: bytes | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Failure)


def encode(error: BaseException, *, skip: int = 0) -> bytes:
    """The value for ``error``; never raises. ``skip`` frames of its traceback are the worker's own and left out."""
    trace: TracebackType | None = error.__traceback__
    for _ in range(skip):
        trace = trace.tb_next if trace is not None else None
    try:
        lines = "".join(traceback.format_exception(type(error), error, trace))
    except Exception:
        lines = f"{type_name(error)} (its traceback cannot be shown)\n"
    failure = Failure(
        type_name(error)[:FAILURE_TEXT_CHARS_MAX],
        _printable(_text(error), FAILURE_TEXT_CHARS_MAX),
        _printable(lines, FAILURE_TRACEBACK_CHARS_MAX),
        _pickled(error),
    )
    return _encoder.encode(failure)


def decode(value: bytes) -> Failure:
    """The failure that ``value`` describes. Nothing is unpickled. Raises :class:`PeerError` when it describes none."""
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PeerError(f"not a failure: {error}") from None


def type_name(error: BaseException) -> str:
    """``module.Name`` of an exception's type, ``Name`` alone for builtins."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return _printable(name, FAILURE_TEXT_CHARS_MAX)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be shown)"


def _printable(text: str, chars_max: int) -> str:
    """At most ``chars_max`` characters of ``text`` as UTF-8 carries it: the head and the tail, where tracebacks end."""
    if len(text) > chars_max:
        half = (chars_max - 20) // 2
        text = f"{text[:half]}\n[... cut ...]\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:chars_max]


def _pickled(error: BaseException) -> bytes | None:
    for dumps in (pickle.dumps, cloudpickle.dumps):
        try:
            data: bytes = dumps(error, protocol=5)
        except Exception:
            continue
        return data if len(data) <= FAILURE_PICKLE_BYTES_MAX else None
    return None
