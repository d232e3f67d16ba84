"""The swarm that ``p2pcpn swarm up`` leaves running: peers on the loopback that outlive the command.

What is known of it stands in one private note, ``swarm.json``: its key and, for each peer there ever was, where it
listens and its process. Whether a peer lives is asked of its control socket, never guessed from a process id: the
system gives those out again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from p2pcpn.client import departing
from p2pcpn.client.connection import SWARM_NOTE, read_note, remove_note, write_note
from p2pcpn.client.departing import Watch, control_of
from p2pcpn.client.fleet import ROOT, Fleet, free_place, order
from p2pcpn.client.keys import new_swarm_key_text
from p2pcpn.client.swarm import DRAIN_S, IDLE_S, PEERS_MAX, START_S, check_scaling
from p2pcpn.config import Config, data_home, state_home
from p2pcpn.errors import P2pcpnError, StoreError, Unreachable, UsageError
from p2pcpn.node.control import SOMEBODY, ask, control_path, listener

# Its own program, so that it outlives the command.
_SCALE: Final = (
    "import sys; sys.path.append(sys.argv[1])\nfrom p2pcpn.client.detached_scaling import keep_scaled\nkeep_scaled()\n"
)
ASK_S: Final = 2.0
END_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class LocalPeer:
    """One peer: its number, process, address ("127.0.0.1:PORT"), node id and data directory."""

    n: int
    pid: int
    address: str
    id: str
    data_dir: str

    def status(self) -> dict[str, Any] | None:
        """What the peer says of itself; ``None`` where it is dead."""
        try:
            found = ask(control_path(Path(self.data_dir)), "status", timeout_s=ASK_S)
        except P2pcpnError:
            return None
        return found if found.get("id") == self.id else None

    def lives(self) -> bool:
        """Whether its process is there; it may be too busy to answer, or stopped."""
        return listener(control_path(Path(self.data_dir)), ASK_S) in (self.pid, SOMEBODY)


@dataclass(slots=True)
class LocalSwarm:
    """The swarm of this machine as the note tells it."""

    swarm_key: str
    cpus: int
    peers: list[LocalPeer]
    scale: tuple[int, int, float] | None = None  # least and most peers, idle time, where somebody keeps it scaled

    @property
    def bootstrap(self) -> list[str]:
        """Where its peers listen."""
        return [peer.address for peer in self.peers]


def last_swarm(env: Mapping[str, str]) -> LocalSwarm | None:
    """The swarm that was started last; ``None`` where there is none."""
    note = read_note(SWARM_NOTE, env)
    if note is None:
        return None
    try:
        scale = note.get("scale")
        peers = [LocalPeer(**peer) for peer in note["peers"]]
        return LocalSwarm(note["swarm_key"], note["cpus"], peers, None if scale is None else tuple(scale))
    except (KeyError, TypeError):
        return None


def up(
    peers: int, cpus: int, env: Mapping[str, str], *, peers_max: int | None = None, idle_s: float = IDLE_S
) -> LocalSwarm:
    """Start a swarm of ``peers`` peers with ``cpus`` slots each. Raises :class:`UsageError` where one runs already.

    With ``peers_max`` a process in the background adds peers while tasks queue, and drains them after ``idle_s``.
    """
    _check(peers)
    if peers_max is not None:
        check_scaling(peers, peers_max, idle_s)
    with _alone(env):
        known = last_swarm(env)
        alive = [peer for peer in known.peers if peer.lives()] if known is not None else []
        if alive:
            peers_there = "1 peer" if len(alive) == 1 else f"{len(alive)} peers"
            raise UsageError(
                f"a local swarm with {peers_there} runs already: p2pcpn swarm add N grows it, p2pcpn swarm down ends it"
            )
        _remove_data(env)
        swarm = LocalSwarm(new_swarm_key_text(), cpus, [])
        swarm.scale = None if peers_max is None else (peers, peers_max, idle_s)
        _start(swarm, peers, env)
    if swarm.scale is not None:
        _keep_scaled(env)
    return swarm


def _keep_scaled(env: Mapping[str, str]) -> None:
    """Start the process that scales the swarm, which ends when the swarm is gone."""
    with (_data(env) / "scaling.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-P", "-c", _SCALE, str(ROOT)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=dict(env), start_new_session=True,
        )  # fmt: skip


def add(peers: int, env: Mapping[str, str]) -> list[LocalPeer]:
    """Start ``peers`` more. Raises :class:`UsageError` where no swarm runs."""
    with _alone(env):
        swarm = running(env)
        _check(len(swarm.peers) + peers)
        before = len(swarm.peers)
        _start(swarm, peers, env)
        return swarm.peers[before:]


def kill(n: int, env: Mapping[str, str]) -> LocalPeer:
    """SIGKILL peer ``n``, as if its machine lost power. Raises :class:`UsageError` where it does not run."""
    found = _alive(n, env)
    os.kill(found.pid, signal.SIGKILL)
    _wait_gone([found])
    return found


def _alive(n: int, env: Mapping[str, str]) -> LocalPeer:
    swarm = running(env)
    found = next((peer for peer in swarm.peers if peer.n == n), None)
    if found is None:
        raise UsageError(f"there is no peer {n}; p2pcpn swarm status shows those there are")
    if not found.lives():
        raise UsageError(f"peer {n} is dead already")
    return found


def drain(
    n: int, env: Mapping[str, str], timeout_s: float = DRAIN_S, watch: Watch = lambda words: None, *,
    careful: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Let peer ``n`` finish, hand on what it keeps, and leave; returns what it left undone when it is gone.

    ``careful``: it stays where it would be the last to have something.

    Raises :class:`UsageError` where it does not run.
    """
    peer = _alive(n, env)
    behind = departing.drain(control_of(peer.data_dir), timeout_s, watch, careful=careful)
    with _alone(env):
        swarm = running(env)
        swarm.peers.remove(peer)
        _write(swarm, env)
        if not behind:  # else it may be the only one who has something
            shutil.rmtree(peer.data_dir, ignore_errors=True)
    return behind


def down(env: Mapping[str, str]) -> int:
    """End the swarm's peers and remove their data; how many there were to end. It is no error when there are none."""
    with _alone(env):
        swarm = last_swarm(env)
        ended = [peer for peer in swarm.peers if peer.lives()] if swarm is not None else []
        for peer in ended:
            with suppress(P2pcpnError):  # it is busy, or stopped
                ask(control_path(Path(peer.data_dir)), "stop", timeout_s=ASK_S)
        for peer in _wait_gone(ended):
            with suppress(ProcessLookupError):
                os.kill(peer.pid, signal.SIGKILL)
        remove_note(SWARM_NOTE, env)
        _remove_data(env)
        return len(ended)


def running(env: Mapping[str, str]) -> LocalSwarm:
    """The swarm that runs. Raises :class:`Unreachable` where none was started."""
    swarm = last_swarm(env)
    if swarm is None:
        raise Unreachable("no local swarm runs; p2pcpn swarm up starts one")
    return swarm


def _start(swarm: LocalSwarm, count: int, env: Mapping[str, str]) -> None:
    temporary = Path(tempfile.mkdtemp(prefix="p2pcpn-up-"))
    fleet = Fleet(temporary / "launcher.log")
    first = max((peer.n + 1 for peer in swarm.peers), default=0)
    while (_data(env) / f"peer-{first}").exists():  # one left, and kept what nobody else took
        first += 1
    numbers = list(range(first, first + count))
    known = [peer.address for peer in swarm.peers if peer.lives()]
    try:
        # The first has to be there for the others to find it.
        for wave in [numbers] if known else [numbers[:1], numbers[1:]]:
            for n in wave:
                data_dir = _data(env) / f"peer-{n}"
                config = Config(
                    profile="local", listen="" if known else free_place(swarm.bootstrap), bootstrap=known[-8:],
                    swarm_key=swarm.swarm_key, data_dir=data_dir, cpus=swarm.cpus, durable=False,
                )  # fmt: skip
                fleet.spawn(n, order(config, detached=True), data_dir / "peer.log")
            for member in fleet.wait(wave, START_S):
                assert member.pid is not None, "a peer that listens has a process"
                where = str(_data(env) / f"peer-{member.n}")
                swarm.peers.append(LocalPeer(member.n, member.pid, member.address, member.id, where))
                known.append(member.address)
        _write(swarm, env)
    except BaseException as error:
        fleet.close()  # kills what was started
        if isinstance(error, StoreError):
            raise StoreError(f"{error}; make room there, or name another folder with XDG_DATA_HOME") from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    fleet.release()


def _write(swarm: LocalSwarm, env: Mapping[str, str]) -> None:
    note = {
        "swarm_key": swarm.swarm_key, "cpus": swarm.cpus, "bootstrap": swarm.bootstrap,
        "peers": [asdict(peer) for peer in swarm.peers], "scale": swarm.scale,
    }  # fmt: skip
    write_note(SWARM_NOTE, note, env)


def _wait_gone(peers: list[LocalPeer]) -> list[LocalPeer]:
    """Those that are still there after ``END_S``."""
    until = time.monotonic() + END_S
    while (left := [peer for peer in peers if peer.lives()]) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def _check(peers: int) -> None:
    if not 1 <= peers <= PEERS_MAX:
        raise UsageError(f"a local swarm has 1 to {PEERS_MAX} peers, not {peers}")


def _data(env: Mapping[str, str]) -> Path:
    return data_home(env) / "swarm"


def _remove_data(env: Mapping[str, str]) -> None:
    shutil.rmtree(_data(env), ignore_errors=True)


@contextmanager
def _alone(env: Mapping[str, str]) -> Iterator[None]:
    """Of several commands one at a time changes the swarm."""
    path = state_home(env) / "swarm.lock"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
