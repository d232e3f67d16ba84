"""What goes wrong, as one line on stderr and an exit code.

0 done, 1 the work failed, 2 usage, 3 no peer reachable, 4 timed out, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from p2pcpn.cli.plain import plain
from p2pcpn.errors import P2pcpnError, StoreError, Unreachable, UsageError

DONE, FAILED, USAGE, UNREACHABLE, TIMED_OUT, INTERRUPTED = 0, 1, 2, 3, 4, 130


class Ended(Exception):
    """A verb has said all there is to say and ends with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def exit_code(error: BaseException) -> int:
    """Tell what went wrong, in one line on stderr; returns the exit code."""
    code, line = _judge(error)
    if line:
        say(line)
    return code


def say(text: str) -> None:
    """One line on stderr."""
    print(f"p2pcpn: {plain(text)}", file=sys.stderr, flush=True)


def is_pipe_closed(error: BaseException) -> bool:
    """Whether the reader of our output went away."""
    return isinstance(error, BrokenPipeError)


def is_interrupt(error: BaseException) -> bool:
    """Whether somebody pressed Ctrl-C."""
    return isinstance(error, (KeyboardInterrupt, click.Abort))


def _judge(error: BaseException) -> tuple[int, str]:
    if isinstance(error, Ended):
        return error.code, ""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code, ""
    if is_interrupt(error):
        return INTERRUPTED, "interrupted"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.ctx.get_help() if error.ctx else "", file=sys.stderr)
        return USAGE, ""
    if isinstance(error, click.ClickException):
        return USAGE, _usage_line(error)
    if isinstance(error, UsageError):
        return USAGE, str(error)
    if isinstance(error, Unreachable):
        return UNREACHABLE, str(error)
    if isinstance(error, TimeoutError):
        return TIMED_OUT, str(error) or "it took longer than --timeout allows"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return FAILED, _elsewhere(f"{os.fsdecode(error.filename)}: {error.strerror}")
    if isinstance(error, StoreError):
        return FAILED, _elsewhere(str(error))
    if isinstance(error, (P2pcpnError, OSError)):
        return FAILED, str(error)
    return FAILED, f"a mistake of our own: {type(error).__name__}: {error} (p2pcpn --debug … shows where)"


def _elsewhere(text: str) -> str:
    """What befell a file; of one in a folder that is ours unless another is named, how to name one."""
    from p2pcpn.config import config_home, data_home, state_home

    path = Path(text.partition(": ")[0])
    homes = {"XDG_CONFIG_HOME": config_home, "XDG_DATA_HOME": data_home, "XDG_STATE_HOME": state_home}
    for variable, home in homes.items():
        folder = home(os.environ)
        is_ours = folder in (path, *path.parents) or (path in folder.parents and not path.exists())
        if is_ours and "name another folder" not in text:
            return f"{text}; name another folder with {variable}"
    return text


def _usage_line(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".")
    text = " ".join(text.split())
    text = text[:1].lower() + text[1:] if not text.startswith("'") else text
    context = getattr(error, "ctx", None)
    return f"{text} ({context.command_path} --help)" if context is not None else text
