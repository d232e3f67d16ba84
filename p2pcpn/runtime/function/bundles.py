"""A project's modules, unpacked where the workers of one group import them.

The workers of a group share the folder. Whoever comes first unpacks beside it and renames; a worker that loses the race
throws its copy away. So a half-written module is never imported and nobody waits for a lock.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path, PurePosixPath

from p2pcpn.errors import UsageError
from p2pcpn.limits import BUNDLE_FILES_MAX, BUNDLE_UNPACKED_BYTES_MAX


def unpack(archive: Path) -> Path:
    """The folder with the modules of ``archive`` (a zip file): unpacked now, or before by another worker.

    Raises :class:`UsageError` for what no project bundle is: too many files, too many bytes, paths that leave the
    folder.
    """
    folder = archive.with_suffix("")
    if folder.is_dir():
        return folder
    partial = archive.with_suffix(f".{os.getpid()}")
    try:
        with zipfile.ZipFile(archive) as opened:
            _check(opened)
            for member in opened.infolist():
                target = partial / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source:
                    target.write_bytes(source.read(member.file_size))
    except zipfile.BadZipFile as error:
        raise UsageError(f"the project bundle is no zip archive: {error}") from None
    try:
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _check(opened: zipfile.ZipFile) -> None:
    members = opened.infolist()
    if len(members) > BUNDLE_FILES_MAX:
        raise UsageError(f"the project bundle has {len(members)} files, at most {BUNDLE_FILES_MAX} are allowed")
    size = sum(member.file_size for member in members)
    if size > BUNDLE_UNPACKED_BYTES_MAX:
        raise UsageError(f"the project bundle unpacks to {size} bytes, at most {BUNDLE_UNPACKED_BYTES_MAX} are allowed")
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or not path.parts:
            raise UsageError(f"the project bundle names a path outside itself: {member.filename!r}")
