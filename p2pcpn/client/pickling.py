"""Pickles of what a program submits: functions once, arguments always, in the submitting thread.

Plain ``pickle`` is tried first, for it is ten times quicker; whatever refers to ``__main__`` (which no worker has) or
resists goes through ``cloudpickle``, by value. A function is pickled once a job: what it closes over is as it was then.
Other callables (bound methods, objects with ``__call__``) may change between calls: they travel with each call's
arguments, and nothing of them is kept.
"""

from __future__ import annotations

import functools
import operator
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol

from p2pcpn import limits
from p2pcpn.client.bundle import Bundle, is_project_module
from p2pcpn.client.options import fits_wire
from p2pcpn.client.requirements import needed_packages
from p2pcpn.errors import UsageError
from p2pcpn.wire.statements import BlobRef

_MAIN = b"__main__"
# Stands in a pickle in place of a scattered value, which travels beside the pickles of arguments alone.
SCATTERED = b"a scattered value is an argument of a call: no function can close over it, and nobody else load it"
# cloudpickle's list of modules that travel by value belongs to the process.
_by_value = threading.Lock()


class Buffers(Protocol):
    """Takes the buffers that leave a pickle, in order; :meth:`clear` when it is made anew."""

    def __call__(self, buffer: pickle.PickleBuffer) -> bool: ...
    def clear(self) -> None: ...


def dumps(value: object, buffers: Buffers | None = None) -> bytes:
    """``value`` so that a worker can load it. Raises whatever the value raises when it cannot be pickled.

    ``buffers``, a ``buffer_callback``, takes the buffers that are not to stand in the pickle.
    """
    try:
        data = pickle.dumps(value, protocol=5, buffer_callback=buffers)
        if _MAIN not in data:
            return data
    except UsageError:
        raise
    except Exception:  # cloudpickle can do more; its own error is the one that tells why not
        pass
    import cloudpickle

    if buffers is not None:
        buffers.clear()
    result: bytes = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers)
    return result


def without_frames(error: BaseException) -> BaseException:
    """``error`` and those it came from, without the frames that would keep arguments alive."""
    each: BaseException | None = error
    seen: set[int] = set()
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


@dataclass(slots=True, eq=False)
class Callee:
    """What a task calls: its pickle and the packages it needs. ``named`` is its blob once it was made one."""

    pickled: bytes
    needs: tuple[str, ...]
    named: BlobRef | None = None


class Functions:
    """The functions of one job, each pickled once for as long as it lives. Safe from several threads."""

    def __init__(self, bundle: Bundle | None) -> None:
        self._bundle = bundle
        self._known: dict[int, tuple[weakref.ref[Any], Callee]] = {}
        self._call = pickle.dumps(operator.call, protocol=5)

    def __len__(self) -> int:
        return len(self._known)

    def prepare(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Callee, tuple[Any, ...]]:
        """What to call, and with which positional arguments. Raises what pickling raises."""
        if _is_constant(function):
            return self.callee(function), arguments
        try:
            needs = self.callee(_underlying(function)).needs
        except Exception:  # what it is a method of cannot travel alone; the object may know how to
            needs = ()
        return Callee(self._call, needs), (function, *arguments)

    def callee(self, function: Callable[..., Any]) -> Callee:
        """The callee of a function that does not change."""
        key = id(function)
        known = self._known.get(key)
        if known is not None and known[0]() is function:
            return known[1]
        pickled = self._pickled(function)
        needs = needed_packages(pickled, function, bundle=self._bundle)
        # A name that the wire cannot say is left out: where the package is missing, the task raises that itself.
        callee = Callee(pickled, tuple(name for name in needs if fits_wire(name))[: limits.REQUIREMENTS_MAX])
        self._known[key] = (weakref.ref(function, lambda reference: self._forget(key, reference)), callee)
        return callee

    def _forget(self, key: int, reference: weakref.ref[Any]) -> None:
        known = self._known.get(key)
        if known is not None and known[0] is reference:
            del self._known[key]

    def _pickled(self, function: Callable[..., Any]) -> bytes:
        data = self._dumped(function)
        if SCATTERED in data:
            raise UsageError("a function cannot close over a scattered value: give it as an argument of the call")
        return data

    def _dumped(self, function: Callable[..., Any]) -> bytes:
        import cloudpickle

        module = self._left_behind(function)
        if module is None:
            data: bytes = cloudpickle.dumps(function, protocol=5)
            return data
        with _by_value:
            cloudpickle.register_pickle_by_value(module)
            try:
                data = cloudpickle.dumps(function, protocol=5)
            finally:
                cloudpickle.unregister_pickle_by_value(module)
        return data

    def _left_behind(self, function: Callable[..., Any]) -> ModuleType | None:
        """The project's module that ``function`` is from, if that does not travel with the job."""
        name = getattr(_underlying(function), "__module__", None)
        if not isinstance(name, str) or name == "__main__" or (self._bundle is not None and name in self._bundle.local):
            return None
        return sys.modules.get(name) if is_project_module(name) else None


def _underlying(function: Any) -> Any:
    """The function in a bound method or partial; of another object its type."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, MethodType):
        return function.__func__
    return function if _is_constant(function) else type(function)


def _is_constant(function: Any) -> bool:
    """Whether it is the same thing at each call: a function, a class, a builtin of a module, a partial of such."""
    if isinstance(function, functools.partial):
        return _is_constant(function.func)
    if isinstance(function, BuiltinFunctionType):
        return function.__self__ is None or isinstance(function.__self__, ModuleType)
    return isinstance(function, (FunctionType, type))
