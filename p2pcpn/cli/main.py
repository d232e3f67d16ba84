"""``p2pcpn``: where the command starts, and where whatever goes wrong becomes one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

from p2pcpn.cli.version import version

# What comes so soon is the same press: ended in the midst of clearing up, we would leave what others complain of.
PRESS_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code (see ``failures.py``)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        print(f"p2pcpn {version()}")
        return 0
    from p2pcpn.cli.failures import exit_code, is_interrupt, is_pipe_closed

    debug = "--debug" in words[:1]
    try:
        from p2pcpn.cli.verbs import p2pcpn

        code = p2pcpn.main(words, prog_name="p2pcpn", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except SystemExit:
        return 141  # click ends so, and only so, when whoever read our output went away
    except (Exception, KeyboardInterrupt) as error:
        if is_interrupt(error) and arguments is None:  # the process is ours, and ends
            _press_ended()
        if is_pipe_closed(error):
            # Whoever read our output went away; Python's own flush at the end must not complain either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        if debug and isinstance(error, Exception):
            import traceback

            traceback.print_exc()
        return exit_code(error)


def _press_ended() -> None:
    """From now on Ctrl-C raises nothing: within ``PRESS_S`` it is passed over, later it ends us without a word."""
    until_s = time.monotonic() + PRESS_S

    def again(number: int, frame: object) -> None:
        if time.monotonic() >= until_s:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, again)
