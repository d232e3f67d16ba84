"""``p2pcpn node``, ``swarm``, ``peers`` and ``key``: who takes part."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Shell


def test_a_local_swarm_comes_grows_loses_a_peer_and_goes(shell: Shell) -> None:
    up = shell.document("swarm", "up", "--peers", "2")
    assert len(up["bootstrap"]) == 2
    assert "runs already" in shell.run("swarm", "up", code=2).stderr
    assert [peer["n"] for peer in shell.document("swarm", "add", "1")] == [2]
    shell.run("swarm", "kill", "0")
    status = shell.document("swarm", "status")
    assert [peer["status"] is not None for peer in status["peers"]] == [False, True, True]
    assert len(shell.document("peers")) >= 2
    shown = shell.line("swarm", "status").splitlines()
    assert "dead" in shown[1] and "alive" in shown[2]
    assert "dead already" in shell.run("swarm", "kill", "0", code=2).stderr
    assert shell.document("swarm", "down") == {"ended": 2}
    assert "no local swarm runs" in shell.run("swarm", "status", code=3).stderr


def test_peers_lists_what_each_can_do(swarm: Shell) -> None:
    found = swarm.document("peers")
    assert len(found) == 3
    for peer in found:
        assert peer["slots"] == 1 and peer["runtimes"] == ["function"] and peer["roles"] == ["compute", "storage"]
    shown = swarm.run("peers")
    assert len(shown.stdout.splitlines()) == 4
    assert shown.stderr == "3 peers, 3 free slots\n"


def test_a_node_tells_how_to_join_serves_and_leaves_politely(shell: Shell) -> None:
    first = shell.start("node", "--listen", "127.0.0.1:0", "--swarm-key", "new", "--json", "--cpus", "1")
    second = None
    try:
        assert first.stdout is not None
        words = json.loads(first.stdout.readline())
        assert words["slots"] == 1 and len(words["swarm_key"]) == 64
        # Verbs find the node by its control socket.
        assert [peer["id"] for peer in shell.document("peers")] == [words["id"]]
        (shell.folder / "f.py").write_text("def f(x): return x + '!'\n")
        assert shell.line("submit", "f.py:f", "found") == "'found!'"
        second = shell.start(
            "node", "--listen", "127.0.0.1:0", "--bootstrap", words["address"], "--swarm-key", words["swarm_key"],
            "--data", str(shell.home / "second"), "--role", "storage",
        )  # fmt: skip
        assert second.stdout is not None
        assert second.stdout.readline().startswith("peer ")
        while "1 peer known" not in second.stdout.readline():
            pass
        assert len(shell.document("peers")) == 2
    finally:
        for process in filter(None, (second, first)):
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=10)
            assert process.returncode == 0, err


def test_a_node_without_key_or_bootstrap_says_that_it_is_open_and_alone(shell: Shell) -> None:
    process = shell.start("node", "--listen", "127.0.0.1:0")
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(5)]
    process.send_signal(signal.SIGTERM)
    rest, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert "open swarm: it runs the jobs of 0 trusted owners" in said[2]
    assert said[4] == "no --bootstrap: alone until somebody joins\n"
    assert rest.endswith("left\n")


def test_a_trusted_owners_job_runs_in_an_open_swarm(shell: Shell) -> None:
    public = shell.document("key", "new")["public_key"]
    assert shell.document("key", "show")["public_key"] == public
    shell.run("key", "trust", public, "myself")
    assert shell.document("key", "trust") == [{"public_key": public, "note": "myself"}]
    process = shell.start("node", "--listen", "127.0.0.1:0", "--json")
    try:
        assert process.stdout is not None
        node_key = json.loads(process.stdout.readline())["public_key"]
        shell.run("key", "trust", node_key, "my node")  # its word on results counts
        (shell.folder / "f.py").write_text("def f(x): return x + '!'\n")
        assert shell.line("submit", "f.py:f", "open") == "'open!'"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)


def test_keys_are_private_files_that_are_never_replaced(shell: Shell) -> None:
    path = Path(shell.document("key", "new")["file"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert "never replaced" in shell.run("key", "new", code=2).stderr
    path.chmod(0o644)
    assert "make it private" in shell.run("key", "show", code=2).stderr
    assert len(shell.line("key", "new", "--swarm")) == 64
