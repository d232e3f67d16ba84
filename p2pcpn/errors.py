"""The exception tree: our caller's mistakes, the other side's, and what a job may end with.

::

    P2pcpnError
    ├── UsageError            our caller's mistake; the CLI prints it and exits with 2
    ├── PeerError             the other side's mistake; costs that peer a datagram or a session, never a task
    ├── Unreachable           no peer answered; the CLI exits with 3
    ├── StoreError            the disk refused: corrupt, locked, gone
    │   └── DiskFull          there is no room: on the disk, or within a quota; later there may be
    └── JobError              the job, not the program, went wrong; the CLI exits with 1
        ├── TaskError         a task ended with an exception whose type cannot be had here
        ├── WorkerDied        the process that ran the task died; names the signal or the exit code
        ├── TaskDeclined      no reachable peer may run the task; carries the peers' reasons
        ├── ResultRefused     bytes offered as a result carry no receipt that our trust rule accepts
        └── JobCancelled      the owner cancelled the job

Foreign exceptions (``OSError``, ``nacl``'s, ``msgspec``'s) are mapped to these once, at the adapter's edge.
"""

from __future__ import annotations


class P2pcpnError(Exception):
    """Base of every exception this package raises on purpose."""


class UsageError(P2pcpnError, ValueError):
    """Our caller asked for something that cannot be; the text says what to write instead."""


class PeerError(P2pcpnError):
    """Another peer sent what the protocol does not allow. Nothing of it was acted on."""


class Unreachable(P2pcpnError, ConnectionError):
    """No peer answered; the text names the addresses tried."""


class StoreError(P2pcpnError):
    """The disk refused a read or a write; the text names the path and the cause."""


class DiskFull(StoreError):
    """There is no room for a write, on the disk or within a quota of ours. What is there can be read."""


class JobError(P2pcpnError):
    """Base of what a job or a task may end with."""


class TaskError(JobError):
    """A task raised, and its exception cannot be rebuilt here: type name and text travel as words."""


class RemoteTraceback(Exception):
    """The ``__cause__`` of an exception that was raised on a peer: its traceback, as text.

    It is no :class:`P2pcpnError`: it is never raised, only shown.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class WorkerDied(JobError):
    """The worker process died while it ran the task.

    ``signal`` is the signal's number or ``None``; ``exit_code`` the exit code or ``None``; one of them is set.
    """

    def __init__(self, text: str, signal: int | None = None, exit_code: int | None = None) -> None:
        super().__init__(text)
        self.signal = signal
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.args[0], self.signal, self.exit_code))


class TaskDeclined(JobError):
    """No reachable peer may run the task. ``reasons`` maps a peer's short id to its words."""

    def __init__(self, text: str, reasons: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.reasons = dict(reasons or {})

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.args[0], self.reasons))


class ResultRefused(JobError):
    """Bytes were offered as a result without a receipt our trust rule accepts. They were not loaded."""


class JobCancelled(JobError):
    """The owner cancelled the job before the task had run."""
