"""Settings: what a peer's owner decides, checked when given; each refusal is one line that says what to write instead.

::

    Config(bootstrap=["192.0.2.7:4000"], swarm_key="…", data_dir="~/swarm", roles=["compute"], cpus=4)

``None`` means no limit or "found out at start"; zero means zero. Nothing here touches the disk or the network. Keys and
addresses stay text as given: who parses them stands above.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from p2pcpn import limits
from p2pcpn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROFILES: Final = ("public", "local")
ROLES: Final = ("compute", "storage", "relay")
RUNTIMES: Final = ("function",)

_SIZES: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DURATIONS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
# What an advert has room for (wire/statements.Advert).
_SLOTS_MAX: Final = (1 << 16) - 1
_TAGS_MAX: Final = 4
_WORD_CHARS_MAX: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one peer. Lists become tuples, ``~`` in paths the home directory. Raises :class:`UsageError`.

    ``profile="local"`` is for the peers of one machine's own swarm: they listen on the loopback, share a machine group,
    and divide its cores. ``data_dir=None`` is a temporary directory, gone with the peer. ``durable=False``
    acknowledges what survives the death of the process but not that of the machine. ``seed`` makes the peer's dice
    repeatable.
    """

    profile: str = "public"
    listen: str = ""  # "host:port", UDP and TCP; port 0: the system chooses. Empty: by profile
    bootstrap: Sequence[str] = ()
    swarm_key: str | bytes | None = field(default=None, repr=False)  # None: an open swarm
    key: str | Path | None = None  # the owner's key file
    data_dir: str | Path | None = None
    durable: bool = True
    roles: Sequence[str] = ("compute", "storage")
    cpus: int | None = None  # runs at a time; None: one a core
    cpus_min: int | None = None  # while little is to be done; None: always as many
    memory_bytes: int | None = None  # for all runs together; None: what the owner's rules leave
    disk_bytes: int | None = limits.DISK_BYTES  # for the blobs of others
    accept: Sequence[str] = RUNTIMES
    trust: Sequence[str] = ()  # owners' public keys, 64 hexadecimal digits each
    tags: Sequence[str] = ()
    position: tuple[float, float] | None = None  # latitude, longitude in degrees
    seed: int | None = None
    history: str | Path | None = None  # a folder; what the peer's machines do is noted there, a file for each life

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise UsageError(f"profile is one of {', '.join(PROFILES)}, not {self.profile!r}")
        self._set("listen", self.listen or ("127.0.0.1:0" if self.profile == "local" else "0.0.0.0:0"))
        _check_address("listen", self.listen, port_min=0)
        self._set("bootstrap", parse_bootstrap(self.bootstrap) if isinstance(self.bootstrap, str) else self.bootstrap)
        for name in ("bootstrap", "roles", "accept", "trust", "tags"):
            self._set(name, _words(name, getattr(self, name)))
        for address in self.bootstrap:
            _check_address("bootstrap", address, port_min=1)
        _check_choices("roles", self.roles, ROLES)
        _check_choices("accept", self.accept, RUNTIMES)
        self._set("trust", tuple(key.lower() for key in self.trust))
        for key in self.trust:
            if not re.fullmatch(r"[0-9a-f]{64}", key):
                raise UsageError(f"trust takes owners' public keys, 64 hexadecimal digits each, not {key!r}")
        if len(self.tags) > _TAGS_MAX or any(not 0 < len(tag) <= _WORD_CHARS_MAX for tag in self.tags):
            raise UsageError(f"tags are at most {_TAGS_MAX} words of at most {_WORD_CHARS_MAX} characters")
        if isinstance(self.swarm_key, bytes) and len(self.swarm_key) != 32:
            raise UsageError(f"swarm_key has 32 bytes, not {len(self.swarm_key)}")
        _check_number("cpus", self.cpus, 1, _SLOTS_MAX)
        _check_number("cpus_min", self.cpus_min, 1, self.cpus or _SLOTS_MAX)
        _check_number("memory_bytes", self.memory_bytes, 1, None)
        _check_number("disk_bytes", self.disk_bytes, 0, None)
        _check_number("seed", self.seed, None, None)
        for name in ("key", "data_dir", "history"):
            path = getattr(self, name)
            self._set(name, Path(path).expanduser() if path is not None and os.fspath(path) else None)
        self._set("position", _position(self.position))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def from_env(cls, env: Mapping[str, str], **overrides: Any) -> Config:
        """The settings given, and for those of ``bootstrap``, ``swarm_key`` and ``key`` that are not, the
        environment's: ``P2PCPN_BOOTSTRAP`` (addresses, commas or spaces between), ``P2PCPN_SWARM_KEY`` and
        ``P2PCPN_KEY`` (a path).
        """
        for name in ("bootstrap", "swarm_key", "key"):
            if not overrides.get(name) and (value := env.get(f"P2PCPN_{name.upper()}", "").strip()):
                overrides[name] = value
        return cls(**overrides)


def parse_bootstrap(text: str) -> tuple[str, ...]:
    """The addresses of a list: commas, spaces or lines between them; ``#`` starts a comment up to the line's end."""
    return tuple(re.sub(r"#[^\n]*", "", text).replace(",", " ").split())


def parse_size(text: str) -> int:
    """``"512M"``, ``"2G"``, ``"1.5 GiB"``, ``"4096"`` as bytes, K = 1,024. Raises :class:`UsageError`."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if match is None:
        raise UsageError(f"{text!r} is no size; write for example 512M or 2G")
    return int(float(match[1]) * _SIZES[match[2]]) if "." in match[1] else int(match[1]) * _SIZES[match[2]]


def parse_cpus(text: str) -> tuple[int | None, int]:
    """``"4"``, or ``"1-8"``: (least while little is to be done, most) runs at a time. Raises :class:`UsageError`."""
    match = re.fullmatch(r"(?:(\d{1,5})-)?(\d{1,5})", text.strip())
    if match is None or (match[1] and int(match[1]) > int(match[2])):
        raise UsageError(f"{text!r} is no number of tasks at a time; write for example 4, or 1-8")
    return (int(match[1]) if match[1] else None), int(match[2])


def parse_duration(text: str) -> float:
    """``"250ms"``, ``"90"``, ``"90s"``, ``"5m"``, ``"1.5h"``, ``"7d"`` as seconds. Raises :class:`UsageError`."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)\s*(ms|[smhdw]?)", text.strip().lower())
    if match is None:
        raise UsageError(f"{text!r} is no duration; write for example 30s, 5m, 2h or 7d")
    return float(match[1]) * _DURATIONS[match[2]]


# --- Where things are kept ----------------------------------------------------------------------------------------


def data_home(env: Mapping[str, str], system: str = sys.platform) -> Path:
    """Where a peer without ``data_dir`` of its own keeps what it must not lose: ``$XDG_DATA_HOME/p2pcpn`` on Unix."""
    return _home(env, system, "XDG_DATA_HOME", ".local/share", "LOCALAPPDATA")


def config_home(env: Mapping[str, str], system: str = sys.platform) -> Path:
    """Where the owner's key and settings are: ``$XDG_CONFIG_HOME/p2pcpn`` on Unix."""
    return _home(env, system, "XDG_CONFIG_HOME", ".config", "APPDATA")


def state_home(env: Mapping[str, str], system: str = sys.platform) -> Path:
    """Where running peers leave word of themselves (control sockets): ``$XDG_STATE_HOME/p2pcpn`` on Unix."""
    return _home(env, system, "XDG_STATE_HOME", ".local/state", "LOCALAPPDATA")


def owner_key_path(env: Mapping[str, str], system: str = sys.platform) -> Path:
    """The owner's key file where no other is named."""
    return config_home(env, system) / "owner.key"


def _home(env: Mapping[str, str], system: str, variable: str, below: str, windows: str) -> Path:
    home = Path(env["HOME"]) if env.get("HOME") else Path.home()
    # The XDG base directory specification: a relative path in these variables is to be ignored.
    if env.get(variable) and Path(env[variable]).is_absolute():
        return Path(env[variable]) / "p2pcpn"
    if system == "win32" and env.get(windows):
        return Path(env[windows]) / "p2pcpn"
    if system == "darwin":
        return home / "Library" / "Application Support" / "p2pcpn"
    return home / below / "p2pcpn"


# --- Checks --------------------------------------------------------------------------------------------------------


def _words(name: str, value: object) -> tuple[str, ...]:
    """A sequence of words as a tuple, each once, in the order given."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise UsageError(f'{name} takes a list of words, for example ["{value}"], not {value!r}')
    words = tuple(dict.fromkeys(value))
    for word in words:
        if not isinstance(word, str):
            raise UsageError(f"{name} takes a list of words, and {word!r} is none")
    return words


def _check_choices(name: str, words: Sequence[str], known: Sequence[str]) -> None:
    for word in words:
        if word not in known:
            raise UsageError(f"{name} takes {', '.join(known)}, not {word!r}")


def _check_number(name: str, value: object, least: int | None, most: int | None) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{name} must be a whole number, not {value!r}")
    if least is not None and value < least:
        raise UsageError(f"{name} must be at least {least}, not {value}")
    if most is not None and value > most:
        raise UsageError(f"{name} must be at most {most}, not {value}")


def _check_address(name: str, text: object, port_min: int) -> None:
    host, _, port = str(text).rpartition(":")
    bare = not host.startswith("[") and ":" in host  # an IPv6 address without its brackets
    if not host or bare or not re.fullmatch(r"[0-9]{1,5}", port) or not port_min <= int(port) < 1 << 16:
        raise UsageError(f"{name} takes HOST:PORT, for example 192.0.2.7:4000, not {text!r}")


def _position(value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    try:
        latitude, longitude = (float(part) for part in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise UsageError(f"position takes latitude and longitude in degrees, not {value!r}") from None
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise UsageError(f"position takes a latitude of -90 to 90 and a longitude of -180 to 180, not {value!r}")
    return (latitude, longitude)
