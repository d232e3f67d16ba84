"""The version says how it was built."""

from __future__ import annotations

from p2pcpn import __version__
from p2pcpn.cli.version import is_compiled, version


def test_the_version_is_the_packages_and_its_form_follows() -> None:
    form = "compiled" if is_compiled("p2pcpn.protocol.peer") else "pure Python"
    assert version() == f"{__version__} ({form})"


def test_a_module_with_an_extension_is_compiled_and_others_are_not() -> None:
    assert is_compiled("msgspec._core")
    assert not is_compiled("p2pcpn.cli.version") and not is_compiled("p2pcpn.no_such_module")
