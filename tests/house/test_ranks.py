"""Imports point down only, and what decides (``wire/``, ``protocol/``) knows no I/O, no clock and no dice.

The table below is the one of ``docs/architecture.md``. Every import counts, wherever it stands: inside a function,
under ``TYPE_CHECKING``, in a ``try``, or as a literal given to ``import_module``. The checker is a function of a
module's name and text, so that it is itself tested on text that must fail.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FOUNDATION = {"errors", "limits", "config"}
DRIVEN = FOUNDATION | {"identity", "wire", "protocol"}
EDGES = {"net", "runtime", "store", "metrics"}
BELOW_CLIENT = DRIVEN | EDGES | {"node", "sim"}

# What each package or module of p2pcpn may import besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "limits": set(),
    "config": {"errors", "limits"},
    "identity": FOUNDATION,
    "wire": FOUNDATION | {"identity"},
    "protocol": FOUNDATION | {"identity", "wire"},
    "net": DRIVEN,
    "runtime": DRIVEN,
    "store": DRIVEN,
    "metrics": DRIVEN,
    "node": DRIVEN | EDGES,
    "sim": DRIVEN,
    "client": BELOW_CLIENT,
    "flow": BELOW_CLIENT | {"client"},
    "integrations": BELOW_CLIENT | {"client"},
    # It measures what users have, so it sees what they see.
    "bench": FOUNDATION | {"identity", "client"},
    # Windows decide nothing: they ask the client, the benchmarks, and the simulator, which has no client in front.
    "cli": FOUNDATION | {"client", "flow", "integrations", "sim", "bench"},
    "dashboard": FOUNDATION | {"client", "flow", "integrations"},
    "__main__": {"cli"},
    # The facade of public names, loaded when first used; what a task calls lives where tasks run.
    "": {"client", "config", "errors", "flow", "runtime"},
}

DECIDES = {"wire", "protocol"}

# I/O, clocks, dice, and the ways around this test.
FORBIDDEN_WHERE_DECIDED = {
    *("asyncio", "anyio", "asyncio_dgram", "concurrent", "multiprocessing", "threading", "_thread", "queue", "sched"),
    *("socket", "socketserver", "select", "selectors", "ssl", "http", "urllib", "uvloop"),
    *(
        "os",
        "posix",
        "pathlib",
        "shutil",
        "tempfile",
        "glob",
        "fcntl",
        "mmap",
        "sqlite3",
        "subprocess",
        "signal",
        "psutil",
    ),
    *("time", "datetime", "secrets", "uuid", "numpy"),
    *("importlib", "ctypes", "pickle", "cloudpickle", "marshal", "shelve"),
}
FORBIDDEN_CALLS_WHERE_DECIDED = {"open", "input", "print", "exec", "eval", "compile", "__import__"}
KADEMLIA_FOR_PROTOCOL = {"kademlia.node", "kademlia.routing"}
# Where the package's own server is what is measured.
KADEMLIA_AS_YARDSTICK = "p2pcpn.bench.dhts.kademlia"


def package_of(module: str) -> str:
    """``p2pcpn.net.udp`` belongs to ``net``; ``p2pcpn`` itself to the facade, ``""``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(module: str, tree: ast.AST, is_package: bool) -> Iterator[tuple[int, str]]:
    """Each dotted name that the text imports, with its line; ``from a import b`` counts as ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + (1 if is_package else 0)]
                base = ".".join([*parts, *filter(None, [node.module])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                yield node.lineno, target.value


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def rank_violations(module: str, text: str, is_package: bool = False) -> list[str]:
    """Every import of ``module`` that does not point down, as one line each."""
    package = package_of(module)
    if package not in MAY_IMPORT:
        return [f"{module}: {package!r} has no rank; add it to the table here and in docs/architecture.md"]
    found = []
    for line, name in imports_of(module, ast.parse(text), is_package):
        root = name.partition(".")[0]
        if root == "p2pcpn":
            target = package_of(name)
            if target != package and target not in MAY_IMPORT[package] and name != "p2pcpn.__version__":
                found.append(f"{module}:{line}: {package or 'p2pcpn'} may not import {name}")
        elif root == "kademlia":
            allowed = module == KADEMLIA_AS_YARDSTICK or (
                package == "protocol"
                and any(name == ours or name.startswith(f"{ours}.") for ours in KADEMLIA_FOR_PROTOCOL)
            )
            if not allowed:
                found.append(
                    f"{module}:{line}: only protocol may import kademlia.node and kademlia.routing, not {name}"
                )
    return found


def purity_violations(module: str, text: str, is_package: bool = False) -> list[str]:
    """Every way in which a module that decides could touch the world, as one line each."""
    if package_of(module) not in DECIDES:
        return []
    tree = ast.parse(text)
    found = [
        f"{module}:{line}: {name} where decisions are made"
        for line, name in imports_of(module, tree, is_package)
        if name.partition(".")[0] in FORBIDDEN_WHERE_DECIDED
        or (name.partition(".")[0] == "random" and name not in {"random", "random.Random"})
    ]
    dice = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "random"
    }
    for node in ast.walk(tree):
        if isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)):
            found.append(f"{module}:{node.lineno}: a machine never waits")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in dice:
            if node.attr != "Random":
                found.append(f"{module}:{node.lineno}: random.{node.attr} draws from dice nobody handed in")
        elif isinstance(node, ast.Call):
            name = _called(node)
            if isinstance(node.func, ast.Name) and name in FORBIDDEN_CALLS_WHERE_DECIDED:
                found.append(f"{module}:{node.lineno}: {name}() where decisions are made")
            if name == "Random" and not node.args and not node.keywords:
                found.append(f"{module}:{node.lineno}: Random() without a seed is the machine's own dice")
    return found


def modules() -> Iterator[tuple[str, str, bool]]:
    """Name, text and whether it is a package, of every module of p2pcpn, in order."""
    for path in sorted((ROOT / "p2pcpn").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield ".".join(parts[:-1] if is_package else parts), path.read_text("utf-8"), is_package


def test_imports_point_down_only() -> None:
    found = [line for module, text, is_package in modules() for line in rank_violations(module, text, is_package)]
    assert not found, "\n" + "\n".join(found)


def test_what_decides_knows_no_world() -> None:
    found = [line for module, text, is_package in modules() for line in purity_violations(module, text, is_package)]
    assert not found, "\n" + "\n".join(found)


def test_the_table_itself_has_no_circle() -> None:
    for package, below in MAY_IMPORT.items():
        for other in below:
            assert package not in MAY_IMPORT.get(other, set()), f"{package} and {other} may import each other"


UPWARD = [
    ("p2pcpn.wire.codec", "from p2pcpn.protocol import peer"),
    ("p2pcpn.wire.codec", "import p2pcpn.protocol.peer"),
    ("p2pcpn.wire.codec", "from ..protocol.peer import Peer"),
    ("p2pcpn.wire.codec", "from p2pcpn import protocol"),
    ("p2pcpn.wire.codec", "import p2pcpn"),
    ("p2pcpn.wire.codec", "from p2pcpn import Executor"),
    (
        "p2pcpn.wire.codec",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p2pcpn.net.udp import Endpoint",
    ),
    ("p2pcpn.wire.codec", "def f():\n    from p2pcpn.net import udp"),
    ("p2pcpn.wire.codec", "try:\n    import p2pcpn.store.blobs as b\nexcept ImportError:\n    b = None"),
    ("p2pcpn.net.udp", "from p2pcpn.store.blobs import Blobs"),
    ("p2pcpn.net.udp", "from ..runtime import function"),
    ("p2pcpn.net.udp", "import importlib\nimportlib.import_module('p2pcpn.node.driver')"),
    ("p2pcpn.net.udp", "__import__('p2pcpn.node.driver')"),
    ("p2pcpn.sim.world", "from p2pcpn.node.driver import Driver"),
    ("p2pcpn.sim.world", "from p2pcpn.store.blobs import Blobs"),
    ("p2pcpn.node.driver", "from p2pcpn.sim.world import World"),
    ("p2pcpn.limits", "from p2pcpn.errors import UsageError"),
    ("p2pcpn.errors", "import p2pcpn.limits"),
    ("p2pcpn.cli.main", "from p2pcpn.node.driver import Driver"),
    ("p2pcpn.cli.main", "from p2pcpn.protocol.peer import Peer"),
    ("p2pcpn.bench.loads", "from p2pcpn.node.overlay import Overlay"),
    ("p2pcpn.client.swarm", "from p2pcpn.bench import loads"),
    ("p2pcpn.bench.records", "from kademlia.network import Server"),
    ("p2pcpn.protocol.table", "from kademlia.network import Server"),
    ("p2pcpn.protocol.table", "import kademlia"),
    ("p2pcpn.protocol.table", "from kademlia import network"),
    ("p2pcpn.protocol.table", "import kademlia.routing_extras"),
    ("p2pcpn.node.driver", "from kademlia.routing import KBucket"),
    ("p2pcpn.orphan.module", ""),
]


@pytest.mark.parametrize(("module", "text"), UPWARD)
def test_an_import_that_points_up_is_found(module: str, text: str) -> None:
    assert rank_violations(module, text)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (
            "p2pcpn.protocol.table",
            "from kademlia.routing import KBucket\nfrom kademlia import node\nimport kademlia.node",
        ),
        (
            "p2pcpn.protocol.table",
            "from p2pcpn import errors, limits\nfrom p2pcpn.wire.codec import Codec\nfrom . import peer",
        ),
        ("p2pcpn.net.udp", "import asyncio, socket\nfrom p2pcpn.net.sessions import Session\nfrom .. import errors"),
        ("p2pcpn.config", "from p2pcpn.errors import UsageError"),
        (
            "p2pcpn.cli.main",
            "from p2pcpn import __version__\nfrom p2pcpn.client.node import Node\nimport p2pcpn.sim.world",
        ),
        ("p2pcpn.bench.dhts.kademlia", "from kademlia.network import Server"),
        ("p2pcpn.__main__", "from p2pcpn.cli.main import main"),
    ],
)
def test_an_import_that_points_down_passes(module: str, text: str) -> None:
    assert rank_violations(module, text) == []


def test_a_relative_import_of_a_package_counts_from_the_package_itself() -> None:
    assert rank_violations("p2pcpn.net", "from .udp import Endpoint", is_package=True) == []
    assert rank_violations("p2pcpn.net", "from ..store import blobs", is_package=True)
    assert rank_violations("p2pcpn.runtime.function", "from ..limits import X", is_package=True) == []
    assert rank_violations("p2pcpn.runtime.function", "from ...store import blobs", is_package=True)


IMPURE = [
    *(f"import {name}" for name in ("asyncio", "socket", "time", "os", "secrets", "threading", "sqlite3", "os.path")),
    *(
        "from time import monotonic",
        "from asyncio import Queue",
        "from os import urandom",
        "from datetime import datetime",
    ),
    "def f():\n    import time\n    return time.time()",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio",
    "import random\nx = random.random()",
    "import random as dice\nx = dice.choice([1])",
    "from random import randrange",
    "from random import *",
    "import random\nr = random.Random()",
    "import random\nr = random.SystemRandom()",
    "async def f(): pass",
    "text = open('x').read()",
    "m = __import__('time')",
    "import importlib\nt = importlib.import_module('time')",
    "import pickle",
]


@pytest.mark.parametrize("text", IMPURE)
@pytest.mark.parametrize("module", ["p2pcpn.protocol.leases", "p2pcpn.wire.codec"])
def test_a_machine_that_reaches_for_the_world_is_found(module: str, text: str) -> None:
    assert purity_violations(module, text)
    assert purity_violations("p2pcpn.net.udp", text) == []


def test_a_machine_may_name_the_type_of_its_dice() -> None:
    text = "import random\ndef draw(rng: random.Random) -> float:\n    return rng.random()\nr = random.Random(7)"
    assert purity_violations("p2pcpn.protocol.leases", text) == []
    assert purity_violations("p2pcpn.protocol.leases", "from random import Random\nimport heapq, hashlib") == []
