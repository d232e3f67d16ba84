"""The facade: public names that load when first used, and an import that costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import p2pcpn
from p2pcpn import errors

HEAVY = [
    "asyncio",
    "click",
    "cloudpickle",
    "cryptography",
    "kademlia",
    "msgspec",
    "multiprocessing",
    "nacl",
    "networkx",
    "psutil",
    "rich",
    "uvloop",
]


@pytest.mark.parametrize("name", p2pcpn.__all__)
def test_every_public_name_resolves_to_its_own_object(name: str) -> None:
    value = getattr(p2pcpn, name)
    assert name == "__version__" or value.__name__ == name


def test_an_error_is_the_same_class_by_either_name() -> None:
    assert p2pcpn.__getattr__("UsageError") is errors.UsageError


def test_every_exception_of_the_tree_is_public() -> None:
    raised = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert raised <= set(p2pcpn.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Cluster'"):
        p2pcpn.__getattr__("Cluster")


def test_the_listing_shows_names_not_yet_loaded() -> None:
    assert set(p2pcpn.__all__) <= set(dir(p2pcpn))


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, p2pcpn; print([name for name in {HEAVY!r} if name in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert seen.stdout.strip() == "[]"
