"""What starts a well-known peer: the seed list, the settings, and the script that keeps the peer running."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from p2pcpn.config import Config, parse_bootstrap
from p2pcpn.errors import P2pcpnError
from p2pcpn.node.control import ask, control_path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "bootstrap" / "run.sh"
SEEDS = "seed1.example.org:4000, seed2.example.org:4001  # two\n# none:1\n[2001:db8::7]:4000\n"


def write_settings(folder: Path, **settings: str) -> Path:
    path = folder / "peer.env"
    path.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items()))
    return path


@contextmanager
def running(settings: Path) -> Iterator[subprocess.Popen[bytes]]:
    home = settings.parent / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("P2PCPN_B", "XDG_"))}
    with subprocess.Popen(
        [SCRIPT, settings], env={**environment, "PYTHONPATH": str(ROOT), "HOME": str(home)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as started:  # fmt: skip
        family = psutil.Process(started.pid)
        try:
            yield started
        finally:
            if started.poll() is None:
                for process in [family, *family.children(recursive=True)]:
                    process.kill()


def status(data: Path, other_than: int = 0) -> dict[str, Any]:
    """What the peer says of itself, once it is up."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            found = ask(control_path(data), "status", timeout_s=2)
        except P2pcpnError:
            time.sleep(0.05)
            continue
        if found["pid"] != other_than:
            return found
    raise TimeoutError("the peer is not up after 30 s")


def test_the_seed_list_is_read_as_it_is() -> None:
    text = (ROOT / "bootstrap" / "seeds.txt").read_text()
    Config(bootstrap=text)  # raises where an address is none
    assert parse_bootstrap(SEEDS) == ("seed1.example.org:4000", "seed2.example.org:4001", "[2001:db8::7]:4000")


def test_the_script_hands_every_setting_to_the_peer(tmp_path: Path) -> None:
    (tmp_path / "seeds.txt").write_text(SEEDS)
    command = tmp_path / "command"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 2\n')
    command.chmod(0o700)
    settings = write_settings(
        tmp_path, LISTEN="0.0.0.0:4000", DATA="/some where/data", ROLES="storage compute", SEEDS="seeds.txt",
        SWARM_KEY_FILE="/etc/swarm.key", P2PCPN=str(command),
    )  # fmt: skip
    ran = subprocess.run([SCRIPT, settings], capture_output=True, text=True, timeout=20, check=False)
    assert ran.returncode == 2  # settings that cannot be are not tried again
    assert ran.stdout.splitlines() == [
        "node", "--listen", "0.0.0.0:4000", "--data", "/some where/data", "--role", "storage", "--role", "compute",
        "--bootstrap", "seed1.example.org:4000", "--bootstrap", "seed2.example.org:4001",
        "--bootstrap", "[2001:db8::7]:4000", "--swarm-key", "/etc/swarm.key",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["DATA=/tmp/x\n", "LISTEN=0.0.0.0:1\n", None])
def test_settings_without_port_or_data_are_refused(tmp_path: Path, text: str | None) -> None:
    settings = tmp_path / "peer.env"
    if text is not None:
        settings.write_text(text)
    ran = subprocess.run([SCRIPT, settings], capture_output=True, text=True, timeout=20, check=False)
    assert ran.returncode == 2
    assert str(settings) in ran.stderr


def test_the_settings_that_come_with_it_are_complete() -> None:
    names = {
        line.partition("=")[0] for line in (ROOT / "bootstrap" / "peer.env").read_text().splitlines() if "=" in line
    }
    assert {"LISTEN", "DATA", "ROLES", "SEEDS", "SWARM_KEY_FILE", "P2PCPN"} <= names


def test_a_well_known_peer_comes_back_after_its_death_and_leaves_when_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = write_settings(
        tmp_path, LISTEN="127.0.0.1:0", DATA=str(data), ROLES="storage compute", P2PCPN=f"{sys.executable} -m p2pcpn",
    )  # fmt: skip
    with running(settings) as script:
        first = status(data)
        os.kill(first["pid"], signal.SIGKILL)
        second = status(data, other_than=first["pid"])
        assert second["id"] == first["id"]
        family = psutil.Process(script.pid).children(recursive=True)
        assert second["pid"] in {process.pid for process in family}
        script.send_signal(signal.SIGTERM)
        assert script.wait(10) == 0
        assert not psutil.wait_procs(family, 2)[1]
