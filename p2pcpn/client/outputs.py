"""Output files of a task, as they stand in its pickled result, taken from there without unpickling anything.

A task run by the command line leaves files in ``out/``; where there are some, its result is an
:class:`~p2pcpn.client.scripts.Outputs`, whose pickle names that class first and holds an archive among its byte
strings. The pickle's opcodes are read (``pickletools``), never carried out; of the archive only plain files with plain
names are written, and no more bytes than the archive has.
"""

from __future__ import annotations

import io
import os
import pickletools
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from p2pcpn.client.scripts import MAGIC, OUTPUT_FILES_MAX, Outputs
from p2pcpn.errors import PeerError, StoreError

_FIRST: Final = (Outputs.__module__, Outputs.__qualname__)
_TEXT: Final = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_BYTES: Final = ("SHORT_BINBYTES", "BINBYTES", "BINBYTES8")
# What leads elsewhere in a name, beside "/": on Windows alone. Elsewhere a file may well be called "12:30".
_ELSEWHERE: Final = "\\:" if os.name == "nt" else ""


def archive_of(pickled: bytes) -> bytes | None:
    """The archive in a result's pickle; ``None`` where the task left no files."""
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name in _TEXT and len(texts) < len(_FIRST):
                texts.append(str(argument))
                if texts[-1] != _FIRST[len(texts) - 1]:
                    return None
            elif opcode.name in _BYTES and isinstance(argument, bytes) and argument.startswith(MAGIC):
                return argument[len(MAGIC) :] if len(texts) == len(_FIRST) else None
    except (ValueError, IndexError):
        return None  # no pickle that we know how to read: then it holds none of ours
    return None


def save_files(archive: bytes, directory: Path) -> int:
    """Write an archive's files below ``directory``; how many.

    Raises :class:`PeerError` for an archive that no honest worker makes, :class:`StoreError` where the disk refuses.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            entries = packed.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or len(entries) > OUTPUT_FILES_MAX or sum(e.file_size for e in entries) > len(archive):
                raise PeerError("the archive of a task's output files is none that a worker makes")
            paths = [directory / _plain(entry.filename) for entry in entries]
            for entry, path in zip(entries, paths, strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(packed.read(entry))
    except (zipfile.BadZipFile, ValueError, RuntimeError, EOFError) as error:
        raise PeerError(f"the archive of a task's output files cannot be read: {error}") from error
    except OSError as error:
        raise StoreError(f"{error.filename or directory}: {error.strerror or error}") from error
    return len(entries)


def _plain(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or any(each in name for each in _ELSEWHERE):
        raise PeerError(f"a task's output file is called {name[:60]!r}, which is no plain name")
    return path
