"""setup.cfg names every package that p2pcpn and its tests import, and none that they do not."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The one part of the package that may need more than its dependencies: the systems to compare with.
BENCHMARKS = "p2pcpn/bench"
PACKAGE = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "p2pcpn").iterdir()) if path.name != "bench"]

# Where the name to import is not the name to install.
DISTRIBUTION = {
    "asyncio_dgram": "asyncio-dgram",
    "nacl": "pynacl",
    "noise": "noiseprotocol",
    "png": "pypng",
    "pytest_asyncio": "pytest-asyncio",
}
# Installed to be run, not imported.
TOOLS = {"coverage", "mypy", "pytest-asyncio", "pytest-timeout", "ruff", "setuptools", "types-psutil"}


def imported(text: str) -> set[str]:
    """The distributions that a module's text imports, the standard library and p2pcpn itself aside."""
    roots: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            roots.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "importorskip":
            roots |= {str(word.value) for word in node.args if isinstance(word, ast.Constant)}
    ours = {"p2pcpn", "compiling", "__future__", "tests", "conftest"}
    # A module that a test writes, bundles or pretends says so by its name.
    made = {root for root in roots if root.endswith("_of_a_test")}
    return {DISTRIBUTION.get(root, root) for root in roots - ours - made - set(sys.stdlib_module_names)}


def named(text: str) -> set[str]:
    """The distributions that a list of requirements names."""
    return {
        match.group().lower() for line in text.splitlines() if (match := re.match(r"[A-Za-z0-9._-]+", line.strip()))
    }


def imported_under(*folders: str) -> set[str]:
    paths = [
        path
        for folder in folders
        for path in ([ROOT / folder] if folder.endswith(".py") else sorted((ROOT / folder).rglob("*.py")))
    ]
    return set().union(*(imported(path.read_text("utf-8")) for path in paths))


def setup() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def test_each_import_of_the_package_is_a_dependency() -> None:
    missing = imported_under(*PACKAGE) - named(setup()["options"]["install_requires"])
    assert not missing, f"imported but not in install_requires: {sorted(missing)}"


def test_the_benchmarks_extra_is_what_they_import_beyond_that() -> None:
    config = setup()
    needed = imported_under(BENCHMARKS) - named(config["options"]["install_requires"])
    assert needed == named(config["options.extras_require"]["bench"])


def test_each_dependency_is_imported_by_the_package() -> None:
    unused = named(setup()["options"]["install_requires"]) - imported_under(*PACKAGE)
    assert not unused, f"in install_requires but never imported: {sorted(unused)}"


def test_each_import_of_the_tests_is_installed_with_them() -> None:
    config = setup()
    installed = named(config["options"]["install_requires"]) | named(config["options.extras_require"]["dev"])
    beside = {path.stem for path in (ROOT / "tests").rglob("*_program.py")}  # run as scripts, they find each other
    missing = imported_under("tests", "examples", "bootstrap") - installed - beside
    assert not missing, f"imported but neither in install_requires nor in dev: {sorted(missing)}"


def test_each_development_dependency_is_a_tool_or_imported() -> None:
    unused = named(setup()["options.extras_require"]["dev"]) - TOOLS - imported_under("tests")
    assert not unused, f"in dev but never used: {sorted(unused)}"


def test_what_setup_imports_travels_with_the_source() -> None:
    """An archive of the source holds what setup.cfg names, and beside it what MANIFEST.in does."""
    ours = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file() and path.name != "p2pcpn"}
    needed = {
        node.module.partition(".")[0]
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module
    } & ours
    assert needed and needed <= set(re.findall(r"^graft (\w+)", (ROOT / "MANIFEST.in").read_text("utf-8"), re.M))


def test_the_typing_marker_travels_with_the_package() -> None:
    assert (ROOT / "p2pcpn" / "py.typed").is_file()
    assert setup()["options.package_data"]["p2pcpn"].split() == ["py.typed"]


def test_an_import_is_seen_wherever_it_stands() -> None:
    text = "import os, p2pcpn\ndef f():\n    import nacl.signing, png\n    from rich.live import Live\nfrom . import x"
    assert imported(text) == {"pynacl", "pypng", "rich"}


def test_a_requirement_is_known_by_its_name_alone() -> None:
    assert named('\nuvloop >= 0.23; platform_system != "Windows"\nasyncio-dgram>=3.0\n') == {"uvloop", "asyncio-dgram"}
