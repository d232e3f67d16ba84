"""The package's names are loaded when they are first used, and a zygote uses none of the peer's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from p2pcpn.runtime import function


def test_every_public_name_is_there() -> None:
    for name in function.__all__:
        vars(function).pop(name, None)
        assert getattr(function, name) is getattr(function, name)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        function.Nothing  # noqa: B018


def test_a_zygote_loads_no_event_loop() -> None:
    code = "import sys, p2pcpn.runtime.function.zygote; print('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
