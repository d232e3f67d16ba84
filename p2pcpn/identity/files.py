"""Keys at rest: one line of text in a file that nobody but its owner can read, whole or not there at all.

A key file holds ``p2pcpn-key-1 `` and the 64 hexadecimal digits of the Ed25519 seed. A swarm key is 32 bytes, written
as 64 hexadecimal digits: one word that a terminal selects with a double click and a shell leaves alone.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from p2pcpn import limits
from p2pcpn.errors import StoreError, UsageError
from p2pcpn.identity.keys import KEY_BYTES, Keypair

PREFIX = "p2pcpn-key-1"


def load_key(path: str | os.PathLike[str]) -> Keypair:
    """The keypair in the file ``path``.

    Raises :class:`UsageError` where there is no such file, others may read it, or it holds no key.
    """
    words = read_private(path).split()
    if len(words) != 2 or words[0] != PREFIX or (seed := _unhex(words[1])) is None:
        raise UsageError(
            f"{os.fspath(path)} is no p2pcpn key; it should hold one line: {PREFIX} and 64 hexadecimal digits"
        )
    return Keypair(seed)


def load_or_create_key(path: str | os.PathLike[str]) -> Keypair:
    """The keypair in the file ``path``, which is made, with its directories, where it is missing.

    Of several processes that do so at once one makes the key and all return it. Raises as :func:`load_key` does, and
    :class:`StoreError` where the disk refuses.
    """
    if not os.path.lexists(path):
        try:
            write_private(path, f"{PREFIX} {secrets.token_hex(KEY_BYTES)}\n", replace=False)
        except FileExistsError:
            pass  # another process was faster: its key is the key
    return load_key(path)


def new_swarm_key() -> bytes:
    """A fresh key of a swarm: 32 random bytes."""
    return secrets.token_bytes(KEY_BYTES)


def format_swarm_key(key: bytes) -> str:
    """A swarm key as text: 64 hexadecimal digits."""
    return key.hex()


def parse_swarm_key(text: str) -> bytes:
    """The 32 bytes of a swarm key's text. Raises :class:`UsageError` without the text: it may be secret."""
    key = _unhex(text.strip())
    if key is None:
        raise UsageError(f"a swarm key is 64 hexadecimal digits, not {len(text.strip())} characters")
    return _not_zero(key)


def load_swarm_key(text_or_path: str | bytes | os.PathLike[str]) -> bytes:
    """The swarm key given as its 32 bytes, as its text, or as the path of a private file that holds its text.

    Raises :class:`UsageError`.
    """
    if isinstance(text_or_path, bytes):
        if len(text_or_path) != KEY_BYTES:
            raise UsageError(f"a swarm key has {KEY_BYTES} bytes, not {len(text_or_path)}")
        return _not_zero(text_or_path)
    try:
        found = Path(text_or_path).is_file()
    except (OSError, ValueError):  # too long for a path, or holding a NUL: it was meant as text
        found = False
    return parse_swarm_key(read_private(text_or_path) if found else os.fspath(text_or_path))


def read_private(path: str | os.PathLike[str]) -> str:
    """The text of a small file that only its owner can read. Raises :class:`UsageError` that says what to do.

    A symbolic link is followed, and what is checked is the file that was opened: nobody can change it in between.
    """
    name = os.fspath(path)
    try:
        handle = os.open(name, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise UsageError(f"{name}: there is no such file") from None
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror or error}") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{name} is no file")
        if os.name == "posix" and status.st_mode & 0o077:
            raise UsageError(f"others can read {name}; make it private: chmod 600 {name}")
        return os.read(handle, limits.KEY_FILE_BYTES_MAX).decode("ascii", "replace")
    finally:
        os.close(handle)


def write_private(path: str | os.PathLike[str], text: str, *, replace: bool = True) -> None:
    """Write a file that only its owner can read, on disk and whole before it is seen under its name.

    With ``replace=False`` an existing file (or link) is left alone and ``FileExistsError`` raised.
    Raises :class:`StoreError` where the disk refuses.
    """
    target = Path(path)
    # In the same directory, so that it can be renamed; a name nobody can guess, and O_EXCL follows no link.
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{target.parent}: {error.strerror or error}") from error
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            _publish(draft, target, replace)
        finally:
            draft.unlink(missing_ok=True)
        _sync_directory(target.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror or error}") from error


def _publish(draft: Path, target: Path, replace: bool) -> None:
    if replace:
        draft.replace(target)
        return
    try:
        os.link(draft, target)  # fails where the name is taken, which a rename does not
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        draft.replace(target)


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unhex(text: str) -> bytes | None:
    if len(text) != 2 * KEY_BYTES:
        return None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None  # fromhex skips white space


def _not_zero(key: bytes) -> bytes:
    if not any(key):
        raise UsageError("a swarm key of zeros stands for an open swarm; leave it out to join one")
    return key
