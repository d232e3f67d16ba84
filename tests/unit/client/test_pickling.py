"""Functions are pickled once and let go with the program's last reference; other callables travel with each call."""

from __future__ import annotations

import functools
import gc
import os
import pickle
import sys
import threading
import types
import weakref
from pathlib import Path
from typing import Any

import pytest

from p2pcpn import limits
from p2pcpn.client.bundle import Bundle
from p2pcpn.client.pickling import Functions, dumps, without_frames


class Thing:
    step = 1

    def add(self, x: int) -> int:
        return x + self.step

    def __call__(self, x: int) -> int:
        return x * self.step


class Unportable(type):
    def __reduce_ex__(cls, protocol: Any) -> Any:
        raise TypeError("not this class")


def call(functions: Functions, function: Any, *arguments: Any) -> Any:
    callee, packed = functions.prepare(function, arguments)
    args, kwargs = pickle.loads(dumps((packed, {})))
    return pickle.loads(callee.pickled)(*args, **kwargs)


def test_plain_pickle_is_used_where_it_suffices_and_cloudpickle_where_not() -> None:
    assert dumps((1, "x")) == pickle.dumps((1, "x"), protocol=5)
    assert pickle.loads(dumps(lambda x: x + 1))(2) == 3
    with pytest.raises((TypeError, pickle.PicklingError)):
        dumps(threading.Lock())


def test_whatever_refers_to_main_travels_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__main__")
    exec("class Point:\n    x = 5\n", main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    data = dumps(main.Point())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    assert pickle.loads(data).x == 5


def test_a_function_is_pickled_once() -> None:
    functions = Functions(None)
    level = 3

    def closure(x: int) -> int:
        return x * level

    first, _ = functions.prepare(closure, (1,))
    level = 4
    again, arguments = functions.prepare(closure, (2,))
    assert again is first and arguments == (2,) and pickle.loads(first.pickled)(2) == 6
    assert call(functions, pow, 2, 3) == 8 and call(functions, functools.partial(pow, 2), 5) == 32
    assert isinstance(call(functions, Thing), Thing)


def test_a_function_that_the_program_dropped_is_dropped() -> None:
    functions = Functions(None)
    for i in range(100):
        functions.prepare(lambda i=i: i, ())
    gc.collect()
    assert len(functions) == 0


def test_methods_and_objects_travel_as_they_are_at_each_call() -> None:
    functions, thing = Functions(None), Thing()
    assert (call(functions, thing.add, 1), call(functions, thing, 5)) == (2, 5)
    thing.step = 10
    assert (call(functions, thing.add, 1), call(functions, thing, 5)) == (11, 50)
    assert call(functions, "abc".upper) == "ABC" and call(functions, functools.partial(thing.add, 1)) == 11
    watched = weakref.ref(thing)
    del thing
    gc.collect()
    assert watched() is None


def test_an_object_whose_class_cannot_travel_fails_only_when_it_is_pickled_itself() -> None:
    kind = Unportable("kind", (), {"__call__": lambda self: 1})
    callee, arguments = Functions(None).prepare(kind(), ())
    assert callee.needs == () and len(arguments) == 1


def test_the_needs_of_a_function_are_those_that_the_wire_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["größe", "x" * 25, *(f"package_{i}" for i in range(30))]
    monkeypatch.setattr("p2pcpn.client.pickling.needed_packages", lambda *_, **__: tuple(names))
    callee, _ = Functions(None).prepare(pow, ())
    assert len(callee.needs) == limits.REQUIREMENTS_MAX and set(callee.needs) <= set(names[2:])


def test_a_module_of_the_project_that_does_not_travel_is_pickled_by_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_module_x.py").write_text(
        "BASE = 2\ndef helper(x):\n    return x + BASE\ndef work(x):\n    return helper(x)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    module = __import__("late_module_x")
    other = Bundle(b"", b"", {"something": ()}, {})
    left_behind, _ = Functions(other).prepare(module.work, (1,))
    travels, _ = Functions(Bundle(b"", b"", {"late_module_x": ()}, {})).prepare(module.work, (1,))
    monkeypatch.delitem(sys.modules, "late_module_x")
    os.remove(tmp_path / "late_module_x.py")
    assert pickle.loads(left_behind.pickled)(1) == 3
    with pytest.raises(ModuleNotFoundError):
        pickle.loads(travels.pickled)


def test_an_error_without_frames_keeps_nothing_alive() -> None:
    def fail(argument: Thing) -> None:
        try:
            raise KeyError
        except KeyError as error:
            raise ValueError from error

    thing = Thing()
    watched = weakref.ref(thing)
    try:
        fail(thing)
    except ValueError as error:
        kept = without_frames(error)
    del thing
    assert watched() is None and isinstance(kept.__cause__, KeyError)
