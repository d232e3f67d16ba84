"""What a worker runs for the command line: a whole script, or a function with input files beside it.

Loaded in worker processes, so it imports next to nothing. Each task has an empty folder of its own as its working
directory, removed at its end: no task meets the files of another.
"""

from __future__ import annotations

import linecache
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def run_script(source: str, name: str, inputs: Mapping[str, bytes], *arguments: str) -> None:
    """Run ``source`` as the main program, with ``arguments`` in ``sys.argv`` and ``inputs`` as files where it runs.

    ``SystemExit`` with 0 or nothing is a good end; with anything else it is raised.
    """
    main = types.ModuleType("__main__")
    main.__file__ = name
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # a traceback shows the lines
    before, argv = sys.modules["__main__"], sys.argv
    with _folder(inputs):
        sys.modules["__main__"], sys.argv = main, [name, *arguments]
        try:
            exec(compile(source, name, "exec"), main.__dict__)
        except SystemExit as ending:
            if ending.code not in (None, 0):
                raise
        finally:
            sys.modules["__main__"], sys.argv = before, argv


def with_inputs(inputs: Mapping[str, bytes], function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)``, with ``inputs`` as files where it runs."""
    with _folder(inputs):
        return function(*arguments)


def with_input(function: Callable[..., Any], name: str, data: bytes, *arguments: Any) -> Any:
    """``function(name, *arguments)``, with ``data`` in the file ``name`` where it runs."""
    with _folder({name: data}):
        return function(name, *arguments)


@contextmanager
def _folder(inputs: Mapping[str, bytes]) -> Iterator[None]:
    home = os.getcwd()
    folder = tempfile.mkdtemp(prefix="task-", dir=home)
    try:
        for name, data in inputs.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
        os.chdir(folder)
        yield
    finally:
        os.chdir(home)
        shutil.rmtree(folder, ignore_errors=True)
