"""Bytes: blobs of 1 MiB there and back."""

from __future__ import annotations

from p2pcpn.bench.bench import Bench, column
from p2pcpn.bench.systems import is_installed


def echo(bench: Bench) -> None:
    """Different blobs as ``bytes``, each echoed to delivery."""
    _echo(bench, "echo", "1 MiB echo of bytes, both ways, to delivery", arrays=False)


def arrays(bench: Bench) -> None:
    """The same blobs as NumPy arrays."""
    if not is_installed("numpy"):
        bench.outcome.failed["numpy"] = "it is not installed, so no arrays are sent"
        return
    _echo(bench, "arrays", "1 MiB echo of NumPy arrays, both ways, to delivery", arrays=True)


def _echo(bench: Bench, name: str, title: str, *, arrays: bool) -> None:
    bench.start()
    count = bench.scale.blobs
    for system in list(bench.systems):
        bench.ask(system, "echo", count=max(4, count // 4), arrays=arrays)
    found = bench.turns("echo", lambda system: {"count": count, "arrays": arrays}, "rate", "MB/s")
    bench.outcome.raw[name] = found
    bench.figure(name, title, "MB/s", column(found, "rate"))
