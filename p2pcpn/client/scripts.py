"""What a worker runs for the command line: a whole script, or a function with input files beside it.

Loaded in worker processes, so it imports next to nothing. Each task has a folder of its own as its working directory,
removed at its end: no task meets the files of another. In it are the input files, read-only to all but root, and an
empty folder ``out``; files that are left there travel with the result (see :class:`Outputs`).
"""

from __future__ import annotations

import io
import linecache
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from p2pcpn.limits import TASK_RESULT_BYTES_MAX

OUT: Final = "out"
# How the archive of output files begins among the bytes of a result.
MAGIC: Final = b"p2pcpn output files\n"
# A name and its place in the archive take 200 bytes each.
OUTPUT_FILES_MAX: Final = 4096


class Outputs:
    """The result of a task that left files in ``out/``: what it returned, and the files as an archive (ZIP, stored)."""

    def __init__(self, archive: bytes, value: object) -> None:
        self.archive = archive
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return Outputs, (self.archive, self.value)

    def __repr__(self) -> str:
        import zipfile

        with zipfile.ZipFile(io.BytesIO(self.archive[len(MAGIC) :])) as packed:
            names = packed.namelist()
        value = "" if self.value is None else f"{self.value!r}, "
        return f"{value}{len(names)} output file{'s' * (len(names) > 1)}: {', '.join(names[:4])}"


def run_script(source: str, name: str, inputs: Mapping[str, bytes], *arguments: str) -> Outputs | None:
    """Run ``source`` as the main program, with ``arguments`` in ``sys.argv`` and ``inputs`` as files where it runs.

    ``SystemExit`` with 0 or nothing is a good end; with anything else it is raised. What it left in ``out/`` is
    returned.
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
        found: Outputs | None = _with_outputs(None)
    return found


def with_inputs(inputs: Mapping[str, bytes], function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)``, with ``inputs`` as files where it runs."""
    with _folder(inputs):
        return _with_outputs(function(*arguments))


def with_input(function: Callable[..., Any], name: str, data: bytes, *arguments: Any) -> Any:
    """``function(name, *arguments)``, with ``data`` in the file ``name`` where it runs."""
    with _folder({name: data}):
        return _with_outputs(function(name, *arguments))


def _with_outputs(value: Any) -> Any:
    """``value``, and with it the files of ``out/`` where there are any."""
    paths = sorted(
        os.path.relpath(os.path.join(folder, name), OUT)
        for folder, _, names in os.walk(OUT)
        for name in names
        if os.path.isfile(os.path.join(folder, name)) and not os.path.islink(os.path.join(folder, name))
    )
    if not paths:
        return value
    if len(paths) > OUTPUT_FILES_MAX:
        raise ValueError(f"the task left {len(paths)} files in out/; {OUTPUT_FILES_MAX} travel at most")
    for path in paths:
        if not _is_text(path):
            raise ValueError(f"the task left {path!a} in out/; only files travel whose names are UTF-8")
    size = sum(os.path.getsize(os.path.join(OUT, path)) for path in paths)
    if size > TASK_RESULT_BYTES_MAX // 2:
        raise ValueError(f"the task left {size} bytes in out/; {TASK_RESULT_BYTES_MAX // 2} travel at most")
    import zipfile

    archive = io.BytesIO()
    archive.write(MAGIC)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED, strict_timestamps=False) as packed:
        for path in paths:
            packed.write(os.path.join(OUT, path), path)
    return Outputs(archive.getvalue(), value)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _folder(inputs: Mapping[str, bytes]) -> Iterator[None]:
    home = os.getcwd()
    folder = tempfile.mkdtemp(prefix="task-", dir=home)
    try:
        for name, data in inputs.items():
            path = os.path.join(folder, name)
            with open(path, "wb") as file:
                file.write(data)
            os.chmod(path, 0o444)
        os.mkdir(os.path.join(folder, OUT))
        os.chdir(folder)
        yield
    finally:
        os.chdir(home)
        shutil.rmtree(folder, ignore_errors=True)
