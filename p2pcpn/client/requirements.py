"""Which packages a function needs where it runs, read from its pickle and its code without importing anything.

A pickle names modules where it refers to something by name; a function's own code names them in import statements.
Names of the standard library, of the project's bundle and of p2pcpn's own dependencies for every peer are no
requirement, and neither is a name that cannot be imported here: a function that works here does without it.
"""

from __future__ import annotations

import dis
import functools
import importlib.util
import inspect
import pickletools
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any, Final
from weakref import WeakKeyDictionary

from p2pcpn.client.bundle import Bundle

_EVERYWHERE: Final = frozenset({"p2pcpn", "cloudpickle", "__main__", "builtins"})
# On our record of a pickle's stack: cloudpickle's function that imports the module named by the string behind it.
_SUBIMPORT: Final = "<subimport>"
# Helpers that travel by value are followed from function to function, so far and no further.
_FUNCTIONS_MAX: Final = 1000

_kept: WeakKeyDictionary[Any, tuple[bytes | None, tuple[str, ...]]] = WeakKeyDictionary()


def needed_packages(pickled: bytes, function: Callable[..., Any], *, bundle: Bundle | None = None) -> tuple[str, ...]:
    """The top-level import names that ``function`` (whose cloudpickle is ``pickled``) needs, sorted.

    The answer is kept for each function, for as long as the function lives.
    """
    digest = bundle.digest if bundle is not None else None
    try:
        kept = _kept.get(function)
    except TypeError:  # neither hashable nor weakly referable, such as a partial of a list
        kept = None
    if kept is not None and kept[0] == digest:
        return kept[1]
    modules = {*pickled_modules(pickled), *_imported_by(function)}
    if bundle is not None:
        modules |= bundle.imports(sorted(modules))
    tops = {module.partition(".")[0] for module in modules}
    needed = tuple(sorted(top for top in tops if _is_required(top) and not (bundle is not None and top in bundle)))
    try:
        _kept[function] = (digest, needed)
    except TypeError:
        pass
    return needed


def pickled_modules(pickled: bytes) -> set[str]:
    """The modules that loading ``pickled`` would import. Nothing is loaded."""
    found: set[str] = set()
    memo: dict[int, str | None] = {}
    strings: list[str] = []
    top: str | None = None
    for operation, argument, _ in pickletools.genops(pickled):
        name = operation.name
        number = argument if isinstance(argument, int) else 0
        if name in ("FRAME", "PROTO"):
            continue
        if name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if name == "MEMOIZE" else number] = top
            continue
        named: list[str] = []
        top = None
        if name in ("BINGET", "LONG_BINGET"):
            top = memo.get(number)
        elif "UNICODE" in name:
            top = str(argument)
        elif name == "GLOBAL":
            named = str(argument).split(" ")
        elif name == "STACK_GLOBAL":
            named = strings[-2:]
        if len(named) == 2:
            found.add(named[0])
            top = _SUBIMPORT if named[1] == "subimport" else None
        if top is not None:
            if strings and strings[-1] == _SUBIMPORT:
                found.add(top)
            strings.append(top)
    found.discard(_SUBIMPORT)
    return found


def _is_required(top: str) -> bool:
    if not top.isidentifier() or top in _EVERYWHERE or top in sys.stdlib_module_names:
        return False
    return _is_importable(top)


@functools.lru_cache(maxsize=1024)
def _is_importable(top: str) -> bool:
    if top in sys.modules:
        return True
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _imported_by(function: object) -> set[str]:
    """The modules that the import statements of ``function`` name, and of the helpers that travel by value with it."""
    found: set[str] = set()
    waiting: list[object] = [function]
    seen: set[int] = set()
    while waiting and len(seen) < _FUNCTIONS_MAX:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, functools.partial):
            waiting += [each.func, *each.args, *each.keywords.values()]
        elif isinstance(each, MethodType):
            waiting += [each.__func__, type(each.__self__)]
        elif isinstance(each, type) and _by_value(each):
            waiting += [inspect.unwrap(value) for value in vars(each).values() if callable(value)]
        elif isinstance(each, FunctionType) and (each is function or _by_value(each)):
            for code in _codes(each.__code__):
                found.update(_import_names(code))
                waiting += [each.__globals__[name] for name in code.co_names if name in each.__globals__]
            waiting += [cell.cell_contents for cell in each.__closure__ or () if not _is_empty(cell)]
    return found


def _by_value(each: type | FunctionType) -> bool:
    """Whether cloudpickle sends it with its code: defined in ``__main__``, or inside a function."""
    return each.__module__ == "__main__" or "<locals>" in each.__qualname__


def _is_empty(cell: Any) -> bool:
    try:
        return cell.cell_contents is None
    except ValueError:
        return True


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _import_names(code: CodeType) -> Iterator[str]:
    """The absolute names in the import statements of one code object."""
    level: object = 0
    loaded: list[object] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level = loaded[-2] if len(loaded) >= 2 else 0
            if level == 0:
                yield str(instruction.argval)
        elif instruction.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            loaded.append(instruction.argval)
