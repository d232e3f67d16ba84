"""The options that several verbs share, worded once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from p2pcpn.client.connection import Meeting, meeting
from p2pcpn.config import parse_duration
from p2pcpn.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """``30s``, ``5m``, ``2h``: seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def swarm_options(function: F) -> F:
    """``--bootstrap``, ``--swarm-key`` and ``--key``: which swarm, and whose jobs."""
    for option in (
        click.option("--key", "key", metavar="FILE", help="The owner's key file ($P2PCPN_KEY; default: yours)."),
        click.option("--swarm-key", metavar="KEY", help="The swarm's key, or a file with it ($P2PCPN_SWARM_KEY)."),
        click.option(
            "--bootstrap", metavar="HOST:PORT", multiple=True,
            help="A peer of the swarm; may be repeated ($P2PCPN_BOOTSTRAP; default: the node or swarm here).",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def json_option(function: F) -> F:
    """``--json``: one document on stdout for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def timeout_option(function: F) -> F:
    """``--timeout``: exit code 4 after it."""
    return click.option("--timeout", type=Duration(), metavar="TIME", help="Give up after it: 30s, 5m (exit code 4).")(
        function
    )


def where(bootstrap: tuple[str, ...], swarm_key: str | None) -> Meeting:
    """The swarm that the options and the environment name."""
    return meeting(bootstrap, swarm_key, os.environ)
