"""What is compiled exists, and what is left out is left out for the reason that is given."""

from __future__ import annotations

import ast
from pathlib import Path

from compiling import modules

ROOT = Path(__file__).resolve().parents[3]


def test_each_named_module_exists() -> None:
    named = [*modules.ALSO, *(path for paths in modules.LEFT_OUT.values() for path in paths)]
    assert named and [path for path in named if not (ROOT / "p2pcpn" / path).is_file()] == []
    assert all((ROOT / "p2pcpn" / package).is_dir() for package in modules.PACKAGES)


def test_the_chosen_are_of_the_tree_in_order_and_once() -> None:
    chosen = modules.chosen(ROOT)
    assert chosen == sorted(set(chosen)) and all((ROOT / path).is_file() for path in chosen)
    assert {"p2pcpn/protocol/peer.py", "p2pcpn/wire/frames.py", "p2pcpn/sim/world.py"} <= set(chosen)


def test_what_defines_structs_is_left_out_and_nothing_else_for_them() -> None:
    everything = {path for package in modules.PACKAGES for path in (ROOT / "p2pcpn" / package).rglob("*.py")}
    everything |= {ROOT / "p2pcpn" / path for path in modules.ALSO}
    found = {path.relative_to(ROOT / "p2pcpn").as_posix() for path in everything if defines_structs(path)}
    assert found == set(modules.LEFT_OUT["structs"])


def test_the_scenario_that_is_played_at_every_size_inherits_from_nothing_that_is_compiled() -> None:
    compiled = {path.removesuffix(".py").replace("/", ".") for path in modules.chosen(ROOT)}
    assert inherits_from(ROOT / "p2pcpn/sim/modes.py", {*compiled, "p2pcpn.sim.trace"}) == ["Tally"]
    assert inherits_from(ROOT / "p2pcpn/sim/modes.py", compiled) == [], "mypyc refuses such a class when it is made"


def inherits_from(path: Path, compiled: set[str]) -> list[str]:
    """The classes of a module whose base is imported by its name from one of ``compiled``."""
    tree = ast.parse(path.read_text("utf-8"))
    bases = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in compiled
        for alias in node.names
    }
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return [node.name for node in classes if any(ast.unparse(base) in bases for base in node.bases)]


def defines_structs(path: Path) -> bool:
    tree = ast.parse(path.read_text("utf-8"))
    bases = [ast.unparse(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases]
    return "msgspec.Struct" in bases
