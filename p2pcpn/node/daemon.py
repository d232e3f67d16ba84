"""A peer as a process: start, say where it listens, run until told to stop, and end in time.

The first SIGTERM or SIGINT, or an order over the control socket, drains the peer: it ends what it runs, hands on what
it keeps and leaves; a second signal ends it at once. ``lifetime_fd`` is the reading end of a pipe that the process
which started us holds open: when that process is gone, so are we, within ``ORPHAN_S``, and with us the zygote and its
workers.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

from p2pcpn import limits
from p2pcpn.config import Config
from p2pcpn.errors import P2pcpnError, StoreError, Unreachable, UsageError
from p2pcpn.node.control import ControlServer, control_path
from p2pcpn.node.draining import Draining
from p2pcpn.node.loop import new_loop
from p2pcpn.node.overlay import Faults, Overlay
from p2pcpn.protocol.departure import HAND_OVER_S
from p2pcpn.runtime.function.launch import ZygoteProcess

log = logging.getLogger("p2pcpn.daemon")

LOG_NAME: Final = "peer.log"
ORPHAN_S: Final = 0.8
# Leaving takes milliseconds; a disk that hangs must not keep the process for ever.
POLITE_S: Final = 5.0
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

Report = Callable[[Mapping[str, Any]], None]


async def serve(
    overlay: Overlay,
    *,
    stop: asyncio.Event,
    control: ControlServer | None = None,
    report: Report | None = None,
    ending: Callable[[float], object] = lambda end_s: None,
) -> None:
    """Start ``overlay`` and its control socket, ``report`` where it is, and close both once ``stop`` is set.

    ``ending`` is told in between within how many seconds this is to be over: when what is kept is handed over, and
    when the close begins.
    """
    try:
        await overlay.start()
        if control is not None:
            await control.open()
        host, port = overlay.peer.contact.address
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        log.info("peer %s listens at %s (process %d)", overlay.id.hex(), address, os.getpid())
        if report is not None:
            report({"address": address, "id": overlay.id.hex(), "pid": os.getpid()})
        await stop.wait()
        log.info("peer %s leaves", overlay.id.hex()[:8])
        ending(HAND_OVER_S + POLITE_S)
        await overlay.upkeep.hand_over(HAND_OVER_S)
        ending(POLITE_S)
    finally:
        if control is not None:
            await control.close()
        await overlay.close()


def run_peer(
    config: Config,
    *,
    report: Report | None = None,
    lifetime_fd: int | None = None,
    control: Path | None = None,
    owner_pids: tuple[int, ...] = (),
    faults: Faults | None = None,
    zygote: ZygoteProcess | None = None,
    log_level: int = logging.INFO,
) -> int:
    """Be a peer, in the main thread of a process, until it is stopped; returns the process's exit code.

    ``report`` gets ``{"address", "id", "pid"}`` once the peer listens, or ``{"failed", "kind"}``. The log goes to
    ``peer.log`` in the data directory; a peer without one logs to stderr. ``control`` is the path of its control
    socket: by default the one that follows from the data directory, and none without it.
    """
    handler = _logging(config, log_level)
    if control is None and config.data_dir is not None:
        control = control_path(Path(config.data_dir))
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_main(config, report, lifetime_fd, control, owner_pids, faults, zygote))
        return 0
    except P2pcpnError as error:
        log.error("%s", error)
        return _failed(report, str(error), error)
    except Exception as error:
        log.exception("the peer failed")
        return _failed(report, _why(error), error)
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return "too many files are open, each worker takes some: ask for fewer workers, or allow more files (ulimit -n)"
    return f"{type(error).__name__}: {error}"


def _failed(report: Report | None, text: str, error: Exception) -> int:
    kinds: dict[type[Exception], tuple[str, int]] = {
        UsageError: ("usage", 2), Unreachable: ("unreachable", 3), StoreError: ("store", 1),
    }  # fmt: skip
    kind, code = next((said for of, said in kinds.items() if isinstance(error, of)), ("fault", 1))
    if report is not None:
        report({"failed": text, "kind": kind})
    return code


async def _main(
    config: Config,
    report: Report | None,
    lifetime_fd: int | None,
    control: Path | None,
    owner_pids: tuple[int, ...],
    faults: Faults | None,
    zygote: ZygoteProcess | None,
) -> None:
    stop = asyncio.Event()
    if lifetime_fd is not None:
        end_with(lifetime_fd, stop)
    overlay = Overlay(config, owner_pids=owner_pids, faults=faults, zygote=zygote)
    draining = Draining(overlay, stop)
    obey_signals(stop, draining)
    server = ControlServer(overlay, control, stop, draining) if control is not None else None
    await serve(overlay, stop=stop, control=server, report=report, ending=limit_end)
    if report is not None and draining.state == "leaving":
        report({"left": draining.behind})


def obey_signals(
    stop: asyncio.Event, draining: Draining | None = None, *, exit_now: Callable[[int], object] = os._exit
) -> None:
    """SIGTERM and SIGINT begin to drain the node (without ``draining`` they set ``stop``); a second one ends the
    process at once."""
    loop = asyncio.get_running_loop()
    told = False

    def obey(number: int) -> None:
        nonlocal told
        if told or stop.is_set():
            exit_now(128 + number)
        told = True
        log.info("%s: leaving; again to end at once", signal.Signals(number).name)
        if draining is None or not draining.possible:
            stop.set()
        else:
            draining.begin()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, obey, number)


def end_with(lifetime_fd: int, stop: asyncio.Event) -> None:
    """Set ``stop`` when the other end of the pipe is closed, and be gone within ``ORPHAN_S``, however busy."""
    loop = asyncio.get_running_loop()
    os.set_blocking(lifetime_fd, False)

    def look() -> None:
        try:
            if os.read(lifetime_fd, 64):
                return
        except BlockingIOError:
            return
        loop.remove_reader(lifetime_fd)
        log.info("the process that started this peer is gone")
        stop.set()
        limit_end(ORPHAN_S)

    loop.add_reader(lifetime_fd, look)


def limit_end(end_s: float) -> None:
    """Let the kernel end this process after ``end_s``, whatever it is doing then; of two limits the earlier holds."""
    left_s, _ = signal.getitimer(signal.ITIMER_REAL)
    if not 0 < left_s < end_s:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, end_s)


def report_to(descriptor: int) -> Report:
    """A ``report`` that writes one JSON line to ``descriptor``; a reader that is gone is no error."""

    def report(words: Mapping[str, Any]) -> None:
        try:
            os.write(descriptor, json.dumps(words).encode() + b"\n")
        except OSError:
            log.debug("nobody reads what this peer reports")

    return report


class _LogFile(RotatingFileHandler):
    """On a full disk a line is lost; a traceback to stderr for each, as logging has it, would bury the one that counts.

    The first that is lost goes to stderr: it may be the word that the disk is full.
    """

    _lost = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._lost and not _is_shown():
            self._lost = True
            sys.stderr.write(f"{self.format(record)}\n")

    def close(self) -> None:
        """What is still to be written is lost, too; why the peer ends must not be hidden by that."""
        try:
            super().close()
        except OSError:
            pass


def _is_shown() -> bool:
    """Whether what a peer in the foreground warns of is said on its terminal in any case."""
    return bool(logging.getLogger("p2pcpn").handlers)


def _logging(config: Config, level: int) -> logging.Handler:
    handler: logging.Handler
    if config.data_dir is None:
        handler = logging.StreamHandler()
    else:
        path = Path(config.data_dir)
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            handler = _LogFile(path / LOG_NAME, maxBytes=limits.LOG_BYTES_MAX, backupCount=1, delay=True)
        except OSError:  # the store will say so, in clear words
            handler = logging.NullHandler() if _is_shown() else logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.getLogger("p2pcpn").setLevel(level)
    # At the root: what asyncio and the libraries say would go to stderr otherwise, where nothing bounds it.
    logging.getLogger().addHandler(handler)
    return handler
