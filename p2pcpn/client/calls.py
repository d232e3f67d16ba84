"""What a command line asks to be run: a script, or a function of a file, as calls to submit.

::

    script.py a b                    one task: the whole script, its arguments in sys.argv
    file.py:f a b                    one task: f("a", "b")
    file.py:f --map lines.txt a      a task a line: f(line, "a")
    file.py:f --input x --input y    a task a file: f("x"), with the file in the task's working directory

With ``--map``, and with a script, every task finds all input files in its working directory, read-only. What a task
leaves in ``out/`` there travels with its result.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from p2pcpn.client import scripts
from p2pcpn.client.bundle import Bundle, project_bundle
from p2pcpn.errors import UsageError
from p2pcpn.wire.sealing import SEALED_BYTES_MAX

TASKS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Calls:
    """``function(*arguments)`` for each of ``arguments``; the modules that travel; what to call the job."""

    function: Callable[..., Any]
    arguments: list[tuple[Any, ...]]
    bundle: Bundle | None
    name: str
    is_script: bool


def parse_target(text: str) -> tuple[Path, str | None]:
    """``FILE`` or ``FILE:FUNCTION``. Raises :class:`UsageError` where there is no such file."""
    path = Path(text)
    if path.is_file():
        return path, None
    file, colon, function = text.rpartition(":")
    if not colon or not file:
        raise UsageError(f"{text}: {'this is a folder' if path.is_dir() else 'there is no such file'}")
    if not function or not all(part.isidentifier() for part in function.split(".")):
        raise UsageError(f"{function!r} is no name of a function; write FILE:FUNCTION")
    if not Path(file).is_file():
        raise UsageError(f"{file}: there is no such file")
    return Path(file), function


def calls_of(
    target: str, arguments: Sequence[str], lines: Sequence[str] | None = None, inputs: Sequence[str] = ()
) -> Calls:
    """The calls that a command line asks for. Raises :class:`UsageError` where they cannot be made."""
    path, name = parse_target(target)
    files = _read_inputs(inputs)
    extra = tuple(arguments)
    if name is None:
        if lines is not None:
            raise UsageError("--map calls a function for each line: write FILE:FUNCTION")
        function: Callable[..., Any] = partial(scripts.run_script, _source(path), path.name, files)
        return Calls(function, [extra], project_bundle(path), path.name, True)
    function, bundle = load_function(path, name)
    title = f"{path.name}:{name}"
    if lines is not None:
        if not lines:
            raise UsageError("--map: the file has no lines, so there is nothing to do")
        if len(lines) > TASKS_MAX:
            raise UsageError(f"--map: the file has {len(lines)} lines; a job has at most {TASKS_MAX} tasks here")
        function = partial(scripts.with_inputs, files, function)
        return Calls(function, [(line, *extra) for line in lines], bundle, title, False)
    if files:
        each = partial(scripts.with_input, function)
        return Calls(each, [(name, data, *extra) for name, data in files.items()], bundle, title, False)
    return Calls(partial(scripts.with_inputs, {}, function), [extra], bundle, title, False)


def _read_inputs(paths: Sequence[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for text in paths:
        path = Path(text)
        if path.name == scripts.OUT:
            raise UsageError(f"an input file cannot be called {scripts.OUT}: tasks find a folder of that name")
        if path.name in files:
            raise UsageError(f"two input files are called {path.name}; a task would find only one of them")
        try:
            if path.stat().st_size > SEALED_BYTES_MAX:
                raise UsageError(f"{text} is too large to travel with a task: at most {SEALED_BYTES_MAX} bytes")
            files[path.name] = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{text}: {error.strerror or error}") from error
    return files


def _source(path: Path) -> str:
    try:
        source = path.read_text("utf-8")
        compile(source, str(path), "exec")
    except SyntaxError as error:
        raise UsageError(f"{path}: line {error.lineno}: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is no Python program: {error}") from error
    return source


def load_function(path: Path, name: str) -> tuple[Callable[..., Any], Bundle | None]:
    """The function ``name`` of the file ``path``, and the modules that travel with it, the file itself among them.

    The file is imported here, as a worker will: what stands below ``if __name__ == "__main__"`` does not run.
    """
    if path.suffix != ".py":
        raise UsageError(f"{path}: a file to take a function from ends in .py")
    module = _imported(path.resolve())
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"{path} has no function {name!r}{_similar(module, name)}") from None
    if not callable(found):
        raise UsageError(f"{name!r} in {path} is no function but {type(found).__name__}")
    return found, project_bundle(path, [module])


def _imported(path: Path) -> ModuleType:
    _source(path)
    folder, package = path.parent, ""
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder, package = folder.parent, f"{folder.name}.{package}"
    _make_importable(str(folder))
    try:
        if package:
            return importlib.import_module(package + path.stem)
        module_name = _module_name(path.stem)
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None, "a .py file can be loaded"
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
        return module
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        text = str(error).partition("\n")[0]
        raise UsageError(f"{path.name} cannot be imported: {type(error).__name__}: {text}") from error


def _make_importable(folder: str) -> None:
    """Find modules in ``folder`` before installed packages, but behind Python's own: we import those, too, later on."""
    if folder not in sys.path:
        installed = [at for at, entry in enumerate(sys.path) if entry.endswith(("site-packages", "dist-packages"))]
        sys.path.insert(min(installed, default=len(sys.path)), folder)


def _module_name(stem: str) -> str:
    """A name under which the file can be imported where others, ours and Python's own, are taken."""
    name = re.sub(r"\W", "_", stem)
    if not name.isidentifier():
        name = f"_{name}"
    while name in sys.modules or name in sys.stdlib_module_names or name == "p2pcpn":
        name += "_"
    return name


def _similar(module: ModuleType, name: str) -> str:
    import difflib
    import inspect

    functions = [each for each, value in vars(module).items() if inspect.isfunction(value) and not each.startswith("_")]
    near = difflib.get_close_matches(name, functions, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; it has {', '.join(functions[:8])}" if functions else ""


def read_lines(path: str) -> list[str]:
    """The lines of a file, without their ends and without empty ones; ``-`` reads standard input."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    return [line for line in text.splitlines() if line.strip()]


def short_name(text: str) -> str:
    """A job's name cut to what a listing has room for."""
    return os.path.basename(text)[:60]
