"""The control API: what the owner of a peer asks it, over a Unix socket that nobody else can open.

One JSON object a line each way. ``{"op": "status"}`` is answered by ``{"ok": {…}}``, what cannot be by
``{"error": "text", "kind": "usage"}``. The socket's mode is 0600, and where the system tells who calls, it is asked:
the answers hold the swarm's key.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import socket
import stat
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from p2pcpn import limits
from p2pcpn.errors import Unreachable, UsageError
from p2pcpn.node.draining import DRAIN_S, Draining
from p2pcpn.protocol.directory import TTL_S_MAX, Listed
from p2pcpn.wire.manifests import BlobName, parse_name
from p2pcpn.wire.statements import Role

if TYPE_CHECKING:
    from p2pcpn.node.overlay import Overlay

log = logging.getLogger("p2pcpn.control")

# sun_path has 108 bytes on Linux and 104 elsewhere, the closing zero included.
PATH_BYTES_MAX: Final = 103
ANSWER_S: Final = 5.0
# A month: longer is no waiting.
DRAIN_S_MAX: Final = 30 * 86_400.0
_CREDENTIALS: Final = struct.Struct("3i")
# What `listener` says of a process whose number it cannot tell.
SOMEBODY: Final = 0


def control_path(data_dir: Path) -> Path:
    """Where the peer on ``data_dir`` listens: in the directory, or, where that path is too long for a socket, in a
    private one below the system's temporary directory, under a name that follows from it."""
    path = data_dir.absolute() / "control.sock"
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        return path
    name = hashlib.blake2b(os.fsencode(path), digest_size=12).hexdigest()
    return Path(tempfile.gettempdir()) / f"p2pcpn-{os.getuid()}" / f"{name}.sock"


class ControlServer:
    """Answers for one peer from :meth:`open` until :meth:`close`. ``stop`` is set when the owner asks it to end."""

    def __init__(
        self, overlay: Overlay, path: Path, stop: asyncio.Event | None = None, draining: Draining | None = None
    ) -> None:
        self._overlay = overlay
        self.path = path
        self._stop = stop
        self._draining = draining
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._inode = 0
        self._operations: dict[str, Callable[[], dict[str, Any]]] = {
            "status": self._status,
            "peers": self._peers,
            "stop": self._end,
            "load": self._load,
            "pins": lambda: {"digests": [name.hex() for name in overlay.pins.names()]},
            "draining": lambda: {} if draining is None else draining.watched(),
            "stay": lambda: {"stays": draining is not None and draining.undo()},
        }
        self._about: dict[str, Callable[[BlobName], dict[str, Any]]] = {
            "pin": lambda name: overlay.pins.asked(name, pinned=True),
            "unpin": lambda name: overlay.pins.asked(name, pinned=False),
        }

    async def open(self) -> None:
        """Listen. A socket that a dead peer left is replaced.

        Raises :class:`UsageError` when a living peer listens there, or the path cannot be used.
        """
        if len(os.fsencode(self.path)) > PATH_BYTES_MAX:
            raise UsageError(f"{self.path}: a socket's path has at most {PATH_BYTES_MAX} bytes; name a shorter one")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _private_directory(self.path.parent)
            _remove_dead(self.path)
            sock.bind(os.fspath(self.path))
            os.chmod(self.path, 0o600)  # before it listens: until then nobody can connect
            self._inode = self.path.stat().st_ino
            sock.setblocking(False)
            self._server = await asyncio.start_unix_server(
                self._connected, sock=sock, limit=limits.CONTROL_REQUEST_BYTES_MAX
            )
        except OSError as error:
            sock.close()
            raise UsageError(f"{self.path}: {error.strerror or error}") from error
        except UsageError:
            sock.close()
            raise

    async def close(self) -> None:
        """Stop listening, hang up, and remove the socket if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.sleep(0)  # the loop hangs up in its next turn, which may be its last
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except OSError:
            pass  # somebody removed it: that was the aim
        self._server = None

    # --- one connection --------------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._serving) >= limits.CONTROL_CONNECTIONS_MAX or not _is_owner(writer.get_extra_info("socket")):
            writer.close()
            return
        self._serving.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # gone, silent, or we are closing
        except Exception:
            log.exception("a control request failed")
        finally:
            self._serving.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(limits.CONTROL_IDLE_S):
                    line = await reader.readuntil(b"\n")
            except asyncio.LimitOverrunError:
                answer = _refusal(f"a request has at most {limits.CONTROL_REQUEST_BYTES_MAX} bytes")
                line = b""
            else:
                answer = self.answer(line)
            writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
            async with asyncio.timeout(limits.CONTROL_IDLE_S):
                await writer.drain()
            if not line:
                return

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one line. Any bytes are answered: what is no request gets a refusal."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _refusal("a request is one JSON object on one line")
        operation = request.get("op") if isinstance(request, dict) else None
        if operation == "drain":
            return self._drain(request.get("drain_s", DRAIN_S), bool(request.get("careful")))
        if isinstance(operation, str) and operation in self._about:
            try:
                return {"ok": self._about[operation](parse_name(str(request.get("name"))))}
            except UsageError as error:
                return _refusal(str(error))
        if not isinstance(operation, str) or operation not in self._operations:
            return _refusal(f'"op" is one of {", ".join([*self._operations, "drain", *self._about])}')
        return {"ok": self._operations[operation]()}

    # --- operations ------------------------------------------------------------------------------------------------

    def _status(self) -> dict[str, Any]:
        overlay = self._overlay
        host, port = overlay.peer.contact.address
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        worker = overlay.peer.worker
        now = overlay.loop.time()
        return {
            "id": overlay.id.hex(),
            "address": address,
            "bootstrap": list(dict.fromkeys([address, *overlay.config.bootstrap])),
            "swarm_key": overlay.swarm_key.hex() if any(overlay.swarm_key) else None,
            "profile": overlay.config.profile,
            "pid": os.getpid(),
            "uptime_s": round(now - overlay.started_at, 3),
            "data_dir": str(overlay.data_dir),
            "roles": Role.names(overlay.peer.roles),
            "draining": overlay.peer.presence.draining,
            "drain": None if self._draining is None else self._draining.progress(),
            "reachable": overlay.peer.reachability.reach.value,
            "slots": overlay.slots,
            "running": worker.running,
            "queued": worker.queued,
            "jobs": len(worker.works),
            "sessions": len(overlay.peer.lines.open),
            # Clients have no roles; they come and go.
            "known_peers": sum(
                bool(listed.advert.roles) and listed.advert.contact.id != overlay.id
                for listed in overlay.peer.directory.listed(now)
            ),
            "statistics": overlay.statistics(),
        }

    def _load(self) -> dict[str, Any]:
        """What there is to do here, and in the swarm as far as its offers tell: for whoever adds and drains peers."""
        overlay = self._overlay
        worker, now = overlay.peer.worker, overlay.loop.time()
        return {
            "slots": overlay.slots,
            "running": worker.running,
            "queued": worker.queued,
            "unsettled": worker.unsettled,
            "wanted": overlay.peer.offers.demand.wanted(now),
            "draining": overlay.peer.presence.draining,
        }

    def _peers(self) -> dict[str, Any]:
        overlay, now = self._overlay, self._overlay.loop.time()
        rows = []
        for listed in overlay.peer.directory.listed(now):
            node = listed.advert.contact.id
            srtt_s = overlay.peer.roundtrips.srtt_s(node)
            rows.append(described(listed, now) | {"rtt_ms": _ms(srtt_s), "own": node == overlay.id})
        return {"peers": rows}

    def _drain(self, drain_s: object, careful: bool) -> dict[str, Any]:
        if not isinstance(drain_s, (int, float)) or not 0 <= drain_s <= DRAIN_S_MAX:
            return _refusal(f'"drain_s" is a number of seconds, at most {DRAIN_S_MAX:.0f}')
        if self._draining is None:
            return _refusal("this peer lives in a program, and ends with it")
        self._draining.begin(drain_s, careful=careful)
        return {"ok": self._draining.watched()}

    def _end(self) -> dict[str, Any]:
        if self._stop is not None:
            # A moment later, so that the answer still leaves.
            asyncio.get_running_loop().call_later(0.02, self._stop.set)
        return {"stopping": self._stop is not None}


def described(listed: Listed, now: float) -> dict[str, Any]:
    """An advert as the CLI shows it: words and plain numbers."""
    advert = listed.advert
    host, port = advert.contact.address
    return {
        "id": advert.contact.id.hex(),
        "address": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "roles": Role.names(advert.roles),
        "draining": bool(advert.roles & Role.DRAINING),
        "cores": advert.cores,
        "slots": advert.slots,
        "slots_free": advert.slots_free,
        "load": round(advert.load, 3),
        "memory_bytes": advert.memory_bytes,
        "memory_free_bytes": advert.memory_free_bytes,
        "runtimes": list(advert.runtimes),
        "python": advert.python,
        "implementation": advert.implementation,
        "platform": advert.platform,
        "packages": list(advert.packages),
        "accelerators": [
            {"kind": found.kind, "count": found.count, "memory_bytes": found.memory_bytes}
            for found in advert.accelerators
        ],
        "tags": list(advert.tags),
        "position": None if advert.position is None else list(advert.position),
        "neighbourhood_rtt_ms": round(advert.rtt_ms, 3),
        "machine": f"{advert.machine:016x}",
        "boot": advert.boot,
        "version": advert.version,
        "age_s": round(max(0.0, min(advert.ttl_s, TTL_S_MAX) - (listed.until - now)), 1),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _refusal(text: str) -> dict[str, Any]:
    return {"error": text, "kind": "usage"}


def _is_owner(sock: Any) -> bool:
    """Whether the caller is our user or root, as far as the system tells (Linux); the socket's mode says the same."""
    try:
        other = _other_end(sock)
    except OSError:
        return False
    return other is None or other[1] in (os.getuid(), 0)


def _other_end(sock: Any) -> tuple[int, int] | None:
    """Process and user at the other end; ``None`` where the system does not tell. Raises ``OSError``."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def _private_directory(directory: Path) -> None:
    """Make it, 0700. One that somebody else made, or a link of somebody else, is refused: whoever can write there can
    put a socket of his own in the place of ours."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for status in (directory.stat(follow_symlinks=False), directory.stat()):
        if status.st_uid not in (os.getuid(), 0):
            raise UsageError(f"{directory} belongs to another user; it cannot hold a control socket")


def _remove_dead(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise UsageError(f"{path} is no socket; it is in the way of the control socket")
    if is_answered(path):
        raise UsageError(f"{path}: another peer listens there; stop it, or name another data directory")
    path.unlink(missing_ok=True)


def is_answered(path: Path) -> bool:
    """Whether a living process listens at ``path``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True


# --- The asking side -----------------------------------------------------------------------------------------------


def ask(path: Path, op: str, *, timeout_s: float = ANSWER_S, **words: str | float) -> dict[str, Any]:
    """Ask the peer whose control socket is ``path`` and return its answer, within ``timeout_s`` in all.

    ``words`` go with the question.

    Raises :class:`Unreachable` where no peer listens or answers in time, :class:`UsageError` where it refuses.
    """
    until = time.monotonic() + timeout_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.connect(os.fspath(path))
            sock.sendall(json.dumps({"op": op, **words}).encode() + b"\n")
            answer = json.loads(_line(sock, until))
    except TimeoutError:
        raise Unreachable(f"the peer at {path} did not answer within {timeout_s:g} s") from None
    except (FileNotFoundError, ConnectionError) as error:
        raise Unreachable(f"no peer runs at {path} ({error.strerror or error})") from None
    except PermissionError:
        raise UsageError(f"{path} belongs to another user's peer") from None
    except (OSError, ValueError) as error:
        raise Unreachable(f"no peer can be asked at {path}: {error}") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), dict):
        text = answer.get("error") if isinstance(answer, dict) else None
        raise UsageError(f"the peer at {path} refused {op!r}: {text or 'no reason given'}")
    found: dict[str, Any] = answer["ok"]
    return found


def listener(path: Path, timeout_s: float = ANSWER_S) -> int | None:
    """The process that listens at ``path``, however busy it is, or stopped; ``None`` where none does, and
    :data:`SOMEBODY` where the system does not tell which, or so many wait there that nobody more gets in."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.connect(os.fspath(path))
            other = _other_end(sock)
    except (BlockingIOError, TimeoutError):
        return SOMEBODY
    except OSError:
        return None
    return SOMEBODY if other is None else int(other[0])


def _line(sock: socket.socket, until: float) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        chunk = sock.recv(1 << 16)
        if not chunk:
            raise ConnectionResetError("it hung up")
        received += chunk
        if len(received) > limits.CONTROL_ANSWER_BYTES_MAX:
            raise ValueError("its answer is too long")
    return bytes(received)
