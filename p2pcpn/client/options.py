"""What a job asks for, in the words of its options; checked when given."""

from __future__ import annotations

from dataclasses import dataclass

from p2pcpn import limits
from p2pcpn.errors import UsageError

_CHOICES = {
    "runtime": ("function",),
    "orchestration": ("hybrid", "distributed", "centralised"),
    "routing": ("nearest_idle",),
    "privacy": ("stewards", "owner"),
}
# What a spec has room for (wire/statements.Spec).
_RETRIES_MAX = (1 << 16) - 1
_WORKERS_MAX = (1 << 32) - 1
_MEMORY_BYTES_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a job. Raises :class:`UsageError` for what cannot be."""

    name: str = ""
    runtime: str = "function"
    orchestration: str = "hybrid"
    routing: str = "nearest_idle"
    privacy: str = "stewards"
    replicas: int = 2
    quorum: int = 1
    max_workers: int | None = None
    memory_bytes: int = 0
    requires: tuple[str, ...] = ()
    retention_s: float = limits.RETENTION_S
    retries: int = 10
    priority: int = 0  # among this owner's jobs
    deadline_s: float | None = None  # from the job's opening on
    ttl_s: float | None = None  # how long it stays open without a new task
    queue_bytes: int = limits.QUEUE_BYTES
    output: bool = True
    render: bool = False  # workers send a short text of each result, for those who do not unpickle it
    divide_at: int | None = limits.GRANTOR_PEERS  # so many peers take part in a hybrid job: its stewards grant, too
    stewards: int = limits.STEWARDS  # so many are named, where so many are there
    hedge: bool = True  # the slowest tasks at the tail may run twice at a time; the first result counts

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name} is {' or '.join(map(repr, allowed))}, not {getattr(self, name)!r}")
        if self.quorum != 1:
            raise UsageError("quorum is 1: results are not voted on")
        if self.privacy == "owner" and self.orchestration != "centralised":
            raise UsageError('privacy="owner" keeps the job key from stewards; it needs orchestration="centralised"')
        _check_number("replicas", self.replicas, 1, limits.REPLICAS_MAX)
        _check_number("memory_bytes", self.memory_bytes, 0, _MEMORY_BYTES_MAX)
        _check_number("retries", self.retries, 0, _RETRIES_MAX)
        _check_number("queue_bytes", self.queue_bytes, 1, _MEMORY_BYTES_MAX)
        _check_number("priority", self.priority, -limits.PRIORITY_MAX, limits.PRIORITY_MAX)
        _check_wait("deadline_s", self.deadline_s)
        _check_wait("ttl_s", self.ttl_s)
        _check_number("stewards", self.stewards, 1, limits.STEWARDS_MAX)
        if self.divide_at is not None:
            _check_number("divide_at", self.divide_at, 1, limits.SESSIONS_MAX)
        if self.max_workers is not None:
            _check_number("max_workers", self.max_workers, 1, _WORKERS_MAX)
        if not isinstance(self.hedge, bool):
            raise UsageError(f"hedge is True or False, not {self.hedge!r}")
        if not 1 <= self.retention_s <= limits.RETENTION_S_MAX:
            raise UsageError(f"retention is 1 to {limits.RETENTION_S_MAX} seconds, not {self.retention_s!r}")
        _check_text("name", self.name)
        self._check_requires()

    def _check_requires(self) -> None:
        if isinstance(self.requires, str):
            raise UsageError(f'requires takes a list of packages, for example ["{self.requires}"]')
        if len(self.requires) > limits.REQUIREMENTS_MAX:
            raise UsageError(f"at most {limits.REQUIREMENTS_MAX} required packages can be named")
        for package in self.requires:
            if not isinstance(package, str) or not fits_wire(package):
                raise UsageError(
                    f"requires names packages as they are imported, in at most {limits.REQUIREMENT_CHARS_MAX} "
                    f"printable ASCII characters each, not {package!r}"
                )


def fits_wire(package: str) -> bool:
    """Whether a package's name can be stated in offers and specs."""
    return 0 < len(package) <= limits.REQUIREMENT_CHARS_MAX and package.isascii() and package.isprintable()


def _check_number(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} must be a whole number, at least {least}, not {value!r}")
    if value > most:
        raise UsageError(f"{name} is at most {most}, not {value}")


def _check_wait(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= limits.WAIT_S_MAX:
        raise UsageError(f"{name} is more than 0 and at most {limits.WAIT_S_MAX:g} seconds, not {value!r}")


def _check_text(name: str, value: object) -> None:
    try:
        assert isinstance(value, str)
        value.encode()
    except (AssertionError, UnicodeEncodeError):
        raise UsageError(f"{name} must be text, not {value!r}") from None
