"""The modules of the submitter's own project, as one archive that travels with the job.

A function from ``__main__`` travels by value, but what it imports from the files next to it is pickled as a name. Those
files are found by reading the import statements of the main file, of the modules it imports from the project, and so
on: also imports inside functions, never an import made from a computed name. Data files do not travel. The project is
what lies under the main file's folder (under the current one in an interactive session), apart from installed
packages, virtual environments and hidden folders; and so is what lies under other folders that the program imports from
(``PYTHONPATH``, ``sys.path.insert``), unless it belongs to an installed distribution. Equal sources give equal bytes,
so equal projects are one blob and one group of workers.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import io
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Final

from p2pcpn.errors import UsageError
from p2pcpn.limits import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, BUNDLE_UNPACKED_BYTES_MAX

# The earliest time a zip archive can hold: when a file was saved says nothing about what it says.
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_NOT_OURS: Final = frozenset({"site-packages", "dist-packages", "__pycache__", "node_modules"})
_STANDARD: Final = Path(sysconfig.get_path("stdlib")).resolve()
_LARGEST_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Bundle:
    """A project's modules: a zip archive, its BLAKE2b-256 ``digest``, and what each module imports.

    ``local`` maps a module to the project's modules it imports, ``outside`` to the top-level names of all others.
    """

    data: bytes
    digest: bytes
    local: Mapping[str, tuple[str, ...]]
    outside: Mapping[str, tuple[str, ...]]

    def __contains__(self, name: object) -> bool:
        """Whether the module, or the package of this top-level name, travels in this bundle."""
        return name in self.local or any(module.startswith(f"{name}.") for module in self.local)

    def imports(self, modules: Iterable[str]) -> set[str]:
        """The top-level names outside the project that these of its modules need, directly or through each other."""
        waiting, seen, found = list(modules), set[str](), set[str]()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                found.update(self.outside.get(name, ()))
                waiting.extend(self.local.get(name, ()))
                waiting.extend(_parents(name))
        return found


@dataclass(slots=True)
class _Imports:
    """What the import statements of one file may mean: modules surely, and ``from x import y`` where y may be one."""

    modules: list[str] = field(default_factory=list)
    maybe: list[str] = field(default_factory=list)
    optional: set[str] = field(default_factory=set)


def project_bundle(
    main_file: Path | None,
    modules: Iterable[str | ModuleType] = (),
    *,
    bytes_max: int = BUNDLE_BYTES_MAX,
    elsewhere: bool = True,
) -> Bundle | None:
    """The modules of the project that ``main_file`` and ``modules`` need; ``None`` when there are none.

    ``main_file`` is the file of ``__main__`` (``None`` when interactive); ``modules`` are more to start from, such as
    the one a submitted function comes from. What lies ``elsewhere`` than with the main file travels if all fits. Raises
    :class:`UsageError` when the archive exceeds ``bytes_max``; its text names the largest files.
    """
    if main_file is not None and not _is_ours(main_file.resolve(), None):
        main_file = None  # a tool such as pytest runs the project: its own folder is an installed package
    roots = _roots(main_file)
    others = _other_roots() if elsewhere else []
    modules = list(modules)
    waiting = [module if isinstance(module, str) else module.__name__ for module in modules]
    if main_file is not None:
        found = _imports(main_file, "")
        waiting += found.modules + found.maybe
    files: dict[str, Path] = {}
    local: dict[str, tuple[str, ...]] = {}
    outside: dict[str, tuple[str, ...]] = {}
    while waiting:
        name = waiting.pop()
        path = None if name in files else _file_of(name, roots, others)
        if path is None:
            continue
        files[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        imports = _imports(path, package)
        near = [each for each in dict.fromkeys(imports.modules + imports.maybe) if _file_of(each, roots, others)]
        local[name] = tuple(near)
        outside[name] = tuple(each for each in imports.modules if each not in imports.optional)
        waiting += near
        waiting += _parents(name)
    ours = {name.partition(".")[0] for name in files}
    for name, imported in outside.items():
        outside[name] = tuple(sorted({each.partition(".")[0] for each in imported} - ours))
    try:
        return _archive(files, local, outside, bytes_max) if files else None
    except UsageError:
        if all(any(path.is_relative_to(root) for root in roots) for path in files.values()):
            raise
        return project_bundle(main_file, modules, bytes_max=bytes_max, elsewhere=False)


def is_project_module(name: str) -> bool:
    """Whether a module that was imported here is the project's own, not an installed one."""
    return _file_of(name, _roots(main_file()), _other_roots()) is not None


def main_file() -> Path | None:
    """The file of this program's ``__main__``; ``None`` when it is interactive, or a tool that runs the project."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    path = Path(file) if isinstance(file, str) else None
    return path if path is not None and _is_ours(path.resolve(), None) else None


def _roots(main_file: Path | None) -> list[Path]:
    """Where the project's imports start: the main file's folder, and that of the package it is part of."""
    if main_file is None:
        return [Path.cwd().resolve()]
    folder = main_file.resolve().parent
    top = folder
    while (top / "__init__.py").is_file() and top.parent != top:
        top = top.parent
    return [folder] if top == folder else [folder, top]


def _other_roots() -> list[Path]:
    """The other folders that the program imports its own modules from."""
    folders = dict.fromkeys(Path(entry).resolve() for entry in sys.path if entry)
    return [folder for folder in folders if folder.is_dir() and _is_ours(folder, None)]


@functools.lru_cache(maxsize=1024)
def _is_installed(top: str) -> bool:
    """Whether a top-level name belongs to an installed distribution, though its files may lie anywhere."""
    return top in importlib.metadata.packages_distributions()


def _file_of(name: str, roots: list[Path], others: list[Path]) -> Path | None:
    """The project's file for a module, or ``None`` when the module is not the project's."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or parts[0] in ("p2pcpn", "__main__"):
        return None
    found = _file_under(name, roots)
    if found is not None:
        return found
    found = _file_under(name, others)
    return None if found is None or _is_installed(parts[0]) else found


def _file_under(name: str, roots: list[Path]) -> Path | None:
    """The file for a module where that lies under one of ``roots``."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if isinstance(loaded, str):
        path = Path(loaded).resolve()
        return path if path.suffix == ".py" and any(_is_ours(path, root) for root in roots) else None
    parts = name.split(".")
    if parts[0] in sys.stdlib_module_names:
        return None
    for root in roots:
        base = root.joinpath(*parts)
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file() and _is_ours(path, root):
                return path
    return None


def _is_ours(path: Path, root: Path | None) -> bool:
    """Whether a file is the project's own: under its root, not installed, not in an environment or hidden folder."""
    if path.is_relative_to(_STANDARD) or (root is not None and not path.is_relative_to(root)):
        return False
    parts = path.parts if root is None else path.relative_to(root).parts
    if not _NOT_OURS.isdisjoint(path.parts) or (root is not None and any(part.startswith(".") for part in parts)):
        return False
    folders = path.parents if root is None else [folder for folder in path.parents if folder.is_relative_to(root)]
    return not any((folder / "pyvenv.cfg").is_file() for folder in folders)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _imports(path: Path, package: str) -> _Imports:
    """What a file of the given package imports, wherever in it. A file that does not parse imports nothing."""
    found = _Imports()
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return found
    _collect(tree, package, found, optional=False)
    return found


def _collect(node: ast.AST, package: str, found: _Imports, *, optional: bool) -> None:
    if isinstance(node, ast.Import):
        _add(found, [alias.name for alias in node.names], optional)
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node, package)
        if base is not None:
            _add(found, [base] if base else [], optional)
            found.maybe += [f"{base}.{alias.name}" if base else alias.name for alias in node.names]
    elif isinstance(node, ast.Try):
        # An import that the file itself does without is no requirement.
        caught = optional or any(_catches_import_error(handler) for handler in node.handlers)
        for child in node.body:
            _collect(child, package, found, optional=caught)
        for other in (*node.handlers, *node.orelse, *node.finalbody):
            _collect(other, package, found, optional=optional)
    else:
        unrun = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for each in ast.iter_child_nodes(node):
            _collect(each, package, found, optional=optional or unrun)


def _add(found: _Imports, names: list[str], optional: bool) -> None:
    for name in names:
        if optional and name not in found.modules:
            found.optional.add(name)
        elif not optional:
            found.optional.discard(name)
        found.modules.append(name)


def _absolute(node: ast.ImportFrom, package: str) -> str | None:
    if node.level == 0:
        return node.module or ""
    parts = package.split(".") if package else []
    kept = len(parts) - (node.level - 1)
    if kept < 0:
        return None
    return ".".join([*parts[:kept], *([node.module] if node.module else [])])


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return not names.isdisjoint({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def _archive(
    files: dict[str, Path],
    local: dict[str, tuple[str, ...]],
    outside: dict[str, tuple[str, ...]],
    bytes_max: int,
) -> Bundle:
    texts = {}
    for name, path in files.items():
        inside = name.replace(".", "/") + ("/__init__.py" if path.name == "__init__.py" else ".py")
        texts[inside] = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for inside in sorted(texts):
            entry = zipfile.ZipInfo(inside, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, texts[inside])
    data = buffer.getvalue()
    size = sum(len(text) for text in texts.values())
    if len(data) > bytes_max or size > BUNDLE_UNPACKED_BYTES_MAX or len(texts) > BUNDLE_FILES_MAX:
        largest = sorted(texts, key=lambda inside: (-len(texts[inside]), inside))[:_LARGEST_NAMED]
        named = ", ".join(f"{inside} ({len(texts[inside])} bytes)" for inside in largest)
        raise UsageError(
            f"the project's modules are too large to travel: {len(texts)} files, {size} bytes, {len(data)} compressed; "
            f"at most {BUNDLE_FILES_MAX}, {BUNDLE_UNPACKED_BYTES_MAX} and {bytes_max} are allowed. Largest: {named}"
        )
    return Bundle(data, blake2b(data, digest_size=32).digest(), local, outside)
