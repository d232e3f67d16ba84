"""The fleet: what a program knows of the peers its launcher forks, and how it gets rid of them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pcpn.client import fleet as fleet_module
from p2pcpn.client.fleet import Fleet, Member, order, tail
from p2pcpn.config import Config
from p2pcpn.errors import P2pcpnError, StoreError, UsageError
from p2pcpn.node import daemon

# It speaks a launcher's protocol without any peer: n = 0 to 3 listen, what others do stands in their order.
LAUNCHER = """
import json, socket, sys
sock = socket.socket(fileno=int(sys.argv[2]))
def tell(**words):
    sock.sendall(json.dumps(words).encode() + b"\\n")
for line in sock.makefile():
    order = json.loads(line)
    n = order.get("n")
    if order["op"] in ("close", "release"):
        if sys.argv[3].endswith("deaf"):
            continue
        break
    if order["op"] == "kill":
        tell(n=n, exited=-9)
    elif order.get("does") == "fail":
        tell(n=n, failed="the disk is full", kind="store")
    elif order.get("does") == "die":
        tell(n=n, exited=3)
    elif order.get("does") == "end":
        print("no module named p2pcpn", file=sys.stderr)
        break
    elif order.get("does") != "hang":
        tell(n=n, address=f"127.0.0.1:{4000 + n}", id="ab", pid=1000 + n)
        if order.get("does") == "leave":
            tell(n=n, exited=0)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "peer.log"


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setattr(fleet_module, "_CODE", LAUNCHER)
    found = Fleet(tmp_path / "launcher.log")
    yield found
    found.close()


def test_peers_are_known_when_they_listen(fleet: Fleet, log: Path) -> None:
    for n in (0, 1):
        fleet.spawn(n, {}, log)
    members = fleet.wait([0, 1], 20)
    assert [(member.n, member.address, member.pid) for member in members] == [
        (0, "127.0.0.1:4000", 1000), (1, "127.0.0.1:4001", 1001),
    ]  # fmt: skip
    assert fleet.is_alive(0)
    assert fleet.launcher_pid > 0


def test_a_killed_peer_is_dead_when_kill_returns(fleet: Fleet, log: Path) -> None:
    fleet.spawn(0, {}, log)
    fleet.wait([0], 20)
    fleet.kill(0)
    assert not fleet.is_alive(0)


def test_a_peer_that_left_by_itself_is_waited_for(fleet: Fleet, log: Path) -> None:
    fleet.spawn(0, {"does": "leave"}, log)
    fleet.gone(0)
    assert not fleet.is_alive(0)


def test_a_peer_that_cannot_start_raises_its_own_kind_of_error(fleet: Fleet, log: Path) -> None:
    fleet.spawn(0, {}, log)
    fleet.spawn(1, {"does": "fail"}, log)
    with pytest.raises(StoreError, match="peer 1 of the swarm cannot start: the disk is full"):
        fleet.wait([0, 1], 20)


def test_a_peer_that_ends_at_once_raises_with_the_end_of_its_log(fleet: Fleet, log: Path) -> None:
    log.write_text("first\nsegmentation fault\n")
    fleet.spawn(2, {"does": "die"}, log)
    with pytest.raises(P2pcpnError, match=r"(?s)ended at once \(3\).*segmentation fault"):
        fleet.wait([2], 20)


def test_a_peer_that_does_not_come_up_in_time_is_named(fleet: Fleet, log: Path) -> None:
    fleet.spawn(0, {}, log)
    fleet.wait([0], 20)
    fleet.spawn(1, {"does": "hang"}, log)
    with pytest.raises(P2pcpnError, match=r"peer 1 of the swarm is not up after 0\.01 s"):
        fleet.wait([0, 1], 0.01)


def test_a_launcher_that_ends_takes_all_peers_along(fleet: Fleet, log: Path) -> None:
    fleet.spawn(0, {}, log)
    fleet.wait([0], 20)
    fleet.spawn(1, {"does": "end"}, log)
    with pytest.raises(P2pcpnError, match=r"(?s)the process that starts.*no module named p2pcpn"):
        fleet.wait([1], 20)
    assert not fleet.is_alive(0)
    fleet.kill(0)  # nobody obeys any more, and nobody waits


def test_a_closed_fleet_takes_no_orders_and_leaves_no_process(fleet: Fleet, log: Path) -> None:
    fleet.close()
    fleet.close()
    with pytest.raises(ProcessLookupError):
        os.kill(fleet.launcher_pid, 0)
    with pytest.raises(UsageError, match="closed"):
        fleet.spawn(0, {}, log)


def test_a_launcher_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "_CODE", LAUNCHER)
    monkeypatch.setattr(fleet_module, "CLOSE_S", 0.01)
    fleet = Fleet(tmp_path / "launcher.log", tmp_path / "deaf")
    fleet.spawn(0, {}, tmp_path / "peer.log")
    fleet.wait([0], 20)
    start = time.monotonic()
    fleet.close()
    assert time.monotonic() - start < 5
    fleet._reader.join(5)


def test_release_ends_the_launcher(fleet: Fleet, log: Path) -> None:
    fleet.spawn(0, {}, log)
    fleet.wait([0], 20)
    fleet.release()
    with pytest.raises(ProcessLookupError):
        os.kill(fleet.launcher_pid, 0)


def test_a_fork_of_the_program_ends_nothing(fleet: Fleet, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.spawn(0, {}, log)
    fleet.wait([0], 20)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        fleet.close()
        with pytest.raises(UsageError):
            fleet.kill(0)
    assert fleet.is_alive(0)


def test_where_the_system_cannot_fork_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    with pytest.raises(UsageError, match="fork"):
        Fleet(tmp_path / "launcher.log")


def test_the_launcher_does_not_learn_the_keys_in_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2PCPN_SWARM_KEY", "secret")
    monkeypatch.setattr(fleet_module, "_CODE", "import os, sys\nprint(sorted(os.environ), file=sys.stderr)\n")
    fleet = Fleet(tmp_path / "launcher.log")
    fleet._reader.join(10)
    fleet.close()
    words = (tmp_path / "launcher.log").read_text()
    assert "PATH" in words
    assert "P2PCPN_SWARM_KEY" not in words


def test_an_order_is_plain_json_that_makes_the_same_settings(tmp_path: Path) -> None:
    config = Config(
        profile="local", bootstrap=["127.0.0.1:4000"], swarm_key=b"\7" * 32, data_dir=tmp_path, tags=["lab"],
        position=(52, 13),
    )  # fmt: skip
    words = json.loads(json.dumps(order(config, work=tmp_path)))
    again = Config(**words["config"])
    assert again.swarm_key == (b"\7" * 32).hex()
    assert (again.bootstrap, again.data_dir, again.tags, again.position) == (
        config.bootstrap, tmp_path, ("lab",), (52.0, 13.0),
    )  # fmt: skip
    assert words["owner_pids"] == [os.getpid()]
    assert order(config, detached=True)["owner_pids"] == []
    assert order(config, owner_pids=[5])["owner_pids"] == [5]


def test_the_tail_of_a_log_is_its_last_lines_or_nothing(tmp_path: Path, log: Path) -> None:
    assert tail(log) == ""
    log.write_text("")
    assert tail(log) == ""
    log.write_text("".join(f"line {n}\n" for n in range(5000)))
    found = tail(log)
    assert found.endswith("line 4999")
    assert found.count("\n") == fleet_module.TAIL_LINES


def test_a_member_is_settled_once_its_fate_is_known(log: Path) -> None:
    assert not Member(0, log).settled
    assert Member(0, log, pid=1).settled
    assert Member(0, log, failed="no").settled
    assert Member(0, log, exited=0).settled


def test_the_name_of_the_log_is_the_daemons() -> None:
    assert fleet_module.LOG_NAME == daemon.LOG_NAME


def test_a_fleet_imports_nothing_heavy() -> None:
    code = "import sys, p2pcpn.client.fleet; sys.exit(any(m in sys.modules for m in ('asyncio', 'nacl', 'msgspec')))"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
