"""``Swarm``: real peers as processes on this machine's loopback, to work with and to kill."""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from p2pcpn.client.fleet import LOG_NAME, Fleet, free_place, order
from p2pcpn.config import Config
from p2pcpn.errors import JobError, UsageError
from p2pcpn.identity.files import load_swarm_key
from p2pcpn.node.leftovers import clear
from p2pcpn.protocol.scaling import Bounds
from p2pcpn.store.exclusive import Exclusive

if TYPE_CHECKING:
    from p2pcpn.client.engine import Engine
    from p2pcpn.client.executor import Executor

START_S: Final = 30.0
DRAIN_S: Final = 600.0
IDLE_S: Final = 30.0
# On one machine with 31,000 ports and 30 MB a peer; beyond it the simulator is the better tool.
PEERS_MAX: Final = 512
# A peer needs one that answers to find all others; some more for those that have died meanwhile.
BOOTSTRAP_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class SwarmPeer:
    """One peer of a :class:`Swarm`: its place, its process, where it listens ("127.0.0.1:PORT") and its node id."""

    index: int
    pid: int
    address: str
    id: str
    data_dir: Path
    _fleet: Fleet = field(repr=False, compare=False)

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._fleet.is_alive(self.index)


class Swarm:
    """``peers`` real peers on the loopback, ready when the constructor returns, gone after :meth:`close`.

    With ``peers_max`` it grows up to so many while tasks queue, and shrinks to ``peers`` when more were not needed for
    ``idle_s`` seconds: peers that idle drain, and one that is the last to have some result stays.

    Each runs ``cpus_per_peer`` tasks at a time (a number, or one for each peer). ``swarm_key`` is the text or the bytes
    of a key to use instead of a fresh one. ``data_dir`` keeps the peers' data in ``peer-0`` and so on; by default it is
    temporary and removed at the end. ``datagram_loss`` is the share of datagrams that each peer loses when it sends.
    ``history`` is a folder: what every peer and :meth:`executor` does is noted there, for ``p2pcpn history check``.

    All peers die with the program, however it ends. May be used from several threads. Raises :class:`UsageError` for
    settings that cannot be, and the error of a peer that cannot start with the end of its log.
    """

    def __init__(
        self,
        peers: int = 4,
        *,
        peers_max: int | None = None,
        idle_s: float = IDLE_S,
        cpus_per_peer: int | Sequence[int] = 1,
        swarm_key: str | bytes | None = None,
        data_dir: str | Path | None = None,
        roles: Sequence[str] = ("compute", "storage"),
        memory_bytes: int | None = None,
        tags: Sequence[str] = (),
        datagram_loss: float = 0.0,
        seed: int | None = None,
        history: str | Path | None = None,
    ) -> None:
        _check(peers, datagram_loss)
        if peers_max is not None:
            check_scaling(peers, peers_max, idle_s)
        self.key = _key_text(swarm_key)
        self.history = None if history is None else Path(history).expanduser().absolute()
        self._cpus = [cpus_per_peer] if isinstance(cpus_per_peer, int) else list(cpus_per_peer)
        if not isinstance(cpus_per_peer, int) and len(self._cpus) != peers:
            raise UsageError(f"cpus_per_peer names {len(self._cpus)} numbers for {peers} peers")
        self._settings: dict[str, Any] = {
            "profile": "local", "swarm_key": self.key, "roles": tuple(roles), "memory_bytes": memory_bytes,
            "tags": tuple(tags), "durable": False, "history": self.history,
        }  # fmt: skip
        self._seed = seed
        self._loss = datagram_loss
        for cpus in self._cpus:
            Config(cpus=cpus, seed=seed, **self._settings)  # raises before anything was started
        self._pid = os.getpid()
        self._temporary = Path(tempfile.mkdtemp(prefix="p2pcpn-swarm-"))
        in_use = Exclusive(self._temporary / "swarm.lock")  # else the next program would clear our folder away
        self._data = Path(data_dir).expanduser().absolute() if data_dir is not None else self._temporary
        self._lock = threading.Lock()
        self._peers: list[SwarmPeer] = []
        self.programs: weakref.WeakSet[Engine] = weakref.WeakSet()  # that run jobs here, and are told of new peers
        self._fleet = Fleet(self._temporary / "launcher.log", self._temporary)
        ended = threading.Event()
        # Also at the interpreter's end, and when the last reference to us is gone.
        self._finalizer = weakref.finalize(self, _close, self._fleet, self._temporary, in_use, os.getpid(), ended)
        try:
            self._start(peers)
            if peers_max is not None:
                from p2pcpn.client.growing import keep_scaled

                keep_scaled(self, Bounds(peers, peers_max, idle_s), ended)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Swarm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Swarm of {len(self.bootstrap)} peers>"

    @property
    def peers(self) -> list[SwarmPeer]:
        """Every peer there ever was, by index; ``alive`` tells which are."""
        return list(self._peers)

    @property
    def bootstrap(self) -> list[str]:
        """Where the living peers listen, for ``bootstrap=``."""
        return [peer.address for peer in self._peers if peer.alive]

    def executor(self, max_workers: int | None = None, **options: Any) -> Executor:
        """An :class:`Executor` on this swarm, with these options of its own."""
        from p2pcpn.client.executor import Executor

        bootstrap = self.bootstrap
        if not bootstrap:
            raise UsageError("no peer of the swarm is alive; add() starts new ones")
        options.setdefault("history", self.history)
        executor = Executor(max_workers, bootstrap=bootstrap, swarm_key=self.key, **options)
        self.programs.add(executor._engine)
        return executor

    def add(self, peers: int = 1) -> list[SwarmPeer]:
        """Start more peers, and return them when they listen. They take the next indices."""
        _check(len(self.bootstrap) + peers, self._loss)
        if peers < 1:
            raise UsageError(f"add() starts one peer at least, not {peers}")
        return self._start(peers)

    def kill(self, index: int) -> None:
        """SIGKILL a peer, as if its machine lost power; its workers die with it. One that is dead is no error."""
        if not 0 <= index < len(self._peers):
            raise UsageError(f"there is no peer {index}; the swarm has 0 to {len(self._peers) - 1}")
        self._fleet.kill(index)

    def drain(self, index: int, timeout_s: float = DRAIN_S) -> dict[str, int]:
        """Let a peer finish what it runs, hand on what it keeps, and leave; returns when it is gone.

        It is waited for about ``timeout_s`` at most. What could not be finished or handed on is counted in the answer:
        ``tasks``, ``results``, ``jobs``, ``sections``; an empty one says that nothing was lost.
        """
        if not 0 <= index < len(self._peers):
            raise UsageError(f"there is no peer {index}; the swarm has 0 to {len(self._peers) - 1}")
        peer = self._peers[index]
        if not peer.alive:
            raise UsageError(f"peer {index} is gone already")
        from p2pcpn.client.departing import control_of, drain

        behind = drain(control_of(peer.data_dir), timeout_s)
        self._fleet.gone(index)
        return behind

    def close(self) -> None:
        """End every peer and worker, and remove what was temporary. Returns when it is done; may be called twice.

        What its executors have not got by then fails with :class:`JobError`, and they take no more.
        """
        try:
            if os.getpid() == self._pid:  # a fork of the program has none of their threads
                for program in list(self.programs):
                    program.end(JobError("the swarm was closed"))
        finally:
            self._finalizer()

    # --- start -----------------------------------------------------------------------------------------------------

    def _start(self, count: int) -> list[SwarmPeer]:
        with self._lock:
            numbers = range(len(self._peers), len(self._peers) + count)
            known = self.bootstrap
            spawned: list[int] = []
            started: list[SwarmPeer] = []
            try:
                # The first has to be there for the others to find it; these come up all at once.
                for wave in (numbers[:1], numbers[1:]) if not known else (numbers,):
                    for n in wave:
                        spawned.append(n)
                        where = free_place([peer.address for peer in self._peers]) if not known else ""
                        self._fleet.spawn(
                            n, self._order(n, known[-BOOTSTRAP_MAX:], where), self._directory(n) / LOG_NAME
                        )
                    prefetch()
                    for member in self._fleet.wait(wave, START_S):
                        assert member.pid is not None, "wait() returns peers that listen"
                        directory = self._directory(member.n)
                        started.append(
                            SwarmPeer(member.n, member.pid, member.address, member.id, directory, self._fleet)
                        )
                    known = [*known, *(peer.address for peer in started)]
            except BaseException:
                for n in spawned:
                    self._fleet.kill(n)
                raise
            self._peers += started
        # Else whoever knows only peers that die in the next moment is alone.
        for program in list(self.programs):
            program.meet([peer.address for peer in started])
        return started

    def _directory(self, n: int) -> Path:
        return self._data / f"peer-{n}"

    def _order(self, n: int, bootstrap: list[str], listen: str = "") -> dict[str, Any]:
        cpus = self._cpus[n] if n < len(self._cpus) else self._cpus[-1]
        seed = None if self._seed is None else self._seed + n
        config = Config(
            listen=listen, bootstrap=bootstrap, data_dir=self._directory(n), cpus=cpus, seed=seed, **self._settings,
        )  # fmt: skip
        return order(config, work=self._temporary, datagram_loss=self._loss)


def prefetch() -> None:
    """Import what the program's executor will need, while the launcher imports the same for the peers."""
    import p2pcpn.client.engine  # noqa: F401


def _close(fleet: Fleet, temporary: Path, in_use: Exclusive, pid: int, ended: threading.Event) -> None:
    ended.set()
    if os.getpid() == pid:  # a fork of the program owns nothing
        fleet.close()
        in_use.release()
        clear(temporary)  # gone already, unless the launcher was killed


def _key_text(key: str | bytes | None) -> str:
    if key is None:
        return secrets.token_hex(32)
    return load_swarm_key(key).hex()


def check_scaling(peers: int, peers_max: int, idle_s: float) -> None:
    """Raises :class:`UsageError` for bounds that cannot be."""
    if not isinstance(peers_max, int) or isinstance(peers_max, bool) or not peers <= peers_max <= PEERS_MAX:
        raise UsageError(
            f"peers_max (--peers-max) is {peers}, the peers there always are, to {PEERS_MAX}, not {peers_max!r}"
        )
    if not 0 < idle_s < float("inf"):
        raise UsageError(f"idle_s is a number of seconds above 0, not {idle_s!r}")


def _check(peers: int, loss: float) -> None:
    if not isinstance(peers, int) or isinstance(peers, bool) or not 1 <= peers <= PEERS_MAX:
        raise UsageError(f"a local swarm has 1 to {PEERS_MAX} peers, not {peers!r}; for more there is `p2pcpn sim`")
    if not 0 <= loss < 1:
        raise UsageError(f"datagram_loss is a share from 0 to below 1, not {loss!r}")
