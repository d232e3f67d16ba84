"""``p2pcpn job``: what its verbs say of jobs that a real swarm of two peers keeps."""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.cli import job as job_module
from p2pcpn.client import kept
from p2pcpn.client.swarm import Swarm
from p2pcpn.identity.files import load_or_create_key

Command = Callable[..., Any]
WORK = """
import sys
import time

def work(text):
    print("did", text)
    print("warned", text, file=sys.stderr)
    if text == "bad":
        raise ValueError("it is bad")
    return text.upper()

def forever(text):
    time.sleep(60)
"""


@dataclass
class Place:
    """A swarm, a folder of the owner whose jobs it keeps, and the jobs' ids by name."""

    swarm: Swarm
    folder: Path
    ids: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("owner")
    load_or_create_key(folder / "owner.key")
    with Swarm(peers=2, cpus_per_peer=4) as swarm:
        yield Place(swarm, folder)


@pytest.fixture
def job(p2pcpn: Command, place: Place, monkeypatch: pytest.MonkeyPatch) -> Command:
    """``job("show", id)``, of this owner in this swarm."""
    monkeypatch.setenv("P2PCPN_BOOTSTRAP", ",".join(place.swarm.bootstrap))
    monkeypatch.setenv("P2PCPN_SWARM_KEY", place.swarm.key)
    monkeypatch.setenv("P2PCPN_KEY", str(place.folder / "owner.key"))
    monkeypatch.setenv("XDG_STATE_HOME", str(place.folder))
    return lambda *words: p2pcpn("job", *words)


def _left(name: str, words: list[str], lines: str) -> Any:
    """A fixture: the id of a job that was left to the swarm once, for all tests that ask for it."""

    @pytest.fixture(name=name)
    def left(job: Command, p2pcpn: Command, place: Place, monkeypatch: pytest.MonkeyPatch) -> str:
        if name not in place.ids:
            monkeypatch.setattr(sys, "path", list(sys.path))
            Path("work.py").write_text(WORK)
            ended = p2pcpn("submit", "--detach", "--name", name, *words, "--map", "-", stdin=lines)
            assert ended.code == 0, ended.err
            place.ids[name] = ended.out.strip()
        return place.ids[name]

    return left


good = _left("good", ["work.py:work"], "a\nb\nc\n")
bad = _left("bad", ["work.py:work"], "a\nbad\n")
endless = _left("endless", ["work.py:forever"], "a\nb\nc\n")
unwanted = _left("unwanted", ["work.py:forever"], "a\n")


@pytest.fixture
def ended(job: Command, good: str) -> str:
    """A job that has ended well."""
    assert job("wait", good, "--timeout", "60s").code == 0
    return good


def test_waiting_ends_with_how_many_tasks_ended(job: Command, good: str, bad: str) -> None:
    assert job("wait", good, "--timeout", "60s").out == "3 tasks ended\n"
    failed = job("wait", bad, "--timeout", "60s")
    assert (failed.code, failed.out, failed.err) == (1, "2 tasks ended, 1 failed\n", "")
    said = json.loads(job("wait", bad, "--timeout", "60s", "--json").out)
    assert said == {"job": bad, "settled": 2, "failed": 1, "cancelled": False}


def test_results_are_printed_in_the_order_of_the_tasks(job: Command, ended: str) -> None:
    said = job("result", ended)
    assert (said.code, said.lines, said.err) == (0, ["'A'", "'B'", "'C'"], "")
    document = json.loads(job("result", ended, "--json").out)
    assert document["job"] == ended and document["cancelled"] is False
    assert [(each["index"], each["ok"], each["text"]) for each in document["results"]] == [
        (0, True, "'A'"), (1, True, "'B'"), (2, True, "'C'"),
    ]  # fmt: skip


def test_good_results_are_printed_and_bad_ones_told(job: Command, bad: str) -> None:
    said = job("result", bad, "--timeout", "60s")
    assert (said.code, said.out, said.err) == (1, "'A'\n", "p2pcpn: task 1 failed: ValueError: it is bad\n")


def test_pickles_are_saved_for_who_wants_the_values(job: Command, ended: str) -> None:
    said = job("result", ended, "--output", "values")
    assert said.code == 0 and said.err == "p2pcpn: 3 pickles in values\n"
    found = sorted(Path("values").iterdir())
    assert [path.name for path in found] == ["000000.pickle", "000001.pickle", "000002.pickle"]
    assert [pickle.loads(path.read_bytes()) for path in found] == ["A", "B", "C"]


def test_a_directory_that_cannot_be_made_is_a_failure_in_one_line(job: Command, ended: str) -> None:
    Path("values").write_text("in the way")
    said = job("result", ended, "--output", "values")
    assert (said.code, said.out) == (1, "") and "values" in said.err and said.err.count("\n") == 1


def test_prints_come_back_on_their_streams(job: Command, ended: str) -> None:
    said = job("logs", ended)
    assert said.code == 0
    assert said.lines == ["did a", "did b", "did c"]
    assert said.err.splitlines() == ["warned a", "warned b", "warned c"]
    one = json.loads(job("logs", ended, "--task", "1", "--json").out)
    assert sorted((line["index"], line["stream"], line["text"]) for line in one) == [
        (1, "stderr", "warned b\n"), (1, "stdout", "did b\n"),
    ]  # fmt: skip
    assert job("logs", ended, "--task", "99").out == ""


def test_the_listing_has_a_row_for_each_job(job: Command, ended: str, bad: str) -> None:
    job("wait", bad, "--timeout", "60s")
    rows = {row["id"]: row for row in json.loads(job("ls", "--json").out)}
    assert (rows[ended]["name"], rows[ended]["state"], rows[ended]["settled"]) == ("good", "done", 3)
    shown = job("ls")
    assert shown.code == 0 and shown.lines[0].split() == ["id", "state", "done", "age", "name"]
    (line,) = [line.split() for line in shown.lines if line.startswith(bad)]
    assert line[1:3] == ["done", "2/2"] and line[-1] == "bad"


def test_show_tells_how_far_it_is_and_who_keeps_it(job: Command, ended: str) -> None:
    state = json.loads(job("show", ended, "--json").out)
    shown = job("show", ended)
    facts = {line[:13].strip(): line[13:].strip() for line in shown.lines}
    assert shown.code == 0 and (facts["job"], facts["name"], facts["state"]) == (ended, "good", "done")
    assert facts["tasks"] == "3: 3 settled, 0 running, 0 waiting"
    assert facts["submitted"].endswith("ago, kept for 7 d")
    assert facts["needs"].startswith(f"Python {sys.version_info.major}.{sys.version_info.minor}")
    assert "conflicts" not in facts
    assert (state["id"], state["closed"], bool(state["stewards"])) == (ended, True, True)
    for steward in state["stewards"]:
        assert f"{steward['id'][:8]} at {steward['address']}" in shown.out


def test_the_first_digits_do_where_it_was_submitted(job: Command, p2pcpn: Command, ended: str) -> None:
    assert json.loads(job("show", ended[:8], "--json").out)["id"] == ended
    assert job("result", ended[:8].upper()).lines == ["'A'", "'B'", "'C'"]


def test_a_job_goes_on_when_waiting_takes_too_long(job: Command, endless: str) -> None:
    said = job("wait", endless, "--timeout", "200ms")
    assert (said.code, said.out) == (4, "")
    assert said.err == "p2pcpn: 0 of 3 tasks had ended after 0.2 s; the job goes on\n"


def test_explain_tells_what_peers_say(job: Command, place: Place, endless: str) -> None:
    said = job("explain", endless)
    assert said.code == 0 and ": 0 of 3 settled, " in said.lines[0]
    assert re.match(r"[12] peers? asked: [12] ", said.lines[1])
    assert said.lines[3].split() == ["peer", "says", "because"]
    assert {line.split()[0] for line in said.lines[4:]} <= {peer.id[:8] for peer in place.swarm.peers}
    document = json.loads(job("explain", endless, "--json").out)
    assert document["job"] == endless and sum(document["counts"].values()) == len(document["peers"]) >= 1


def test_a_job_is_paused_and_goes_on(job: Command, unwanted: str) -> None:
    assert job("pause", unwanted).out.startswith("paused; ")
    shown = json.loads(job("show", unwanted, "--json").out)
    assert shown["state"] == "paused"
    found = json.loads(job("resume", unwanted, "--json").out)
    assert found["paused"] is False and found["stewards_told"] >= 1


def test_a_cancelled_job_ends_and_says_so(job: Command, unwanted: str) -> None:
    stewards = len(json.loads(job("show", unwanted, "--json").out)["stewards"])
    said = job("cancel", unwanted)
    assert (said.code, said.out) == (0, f"cancelled; {stewards} steward{'s' * (stewards > 1)} noted it\n")
    assert job("pause", unwanted).out.endswith(" noted it, but the job was over already: cancelled\n")
    again = json.loads(job("cancel", unwanted, "--json").out)
    assert again == {"job": unwanted, "stewards_told": stewards}
    waited = job("wait", unwanted, "--timeout", "60s")
    assert (waited.code, waited.err) == (1, "p2pcpn: the job was cancelled\n")
    assert json.loads(job("show", unwanted, "--json").out)["state"] == "cancelled"
    # Peers that were not told the job's end would say that they wait for it.
    explained = job("explain", unwanted)
    assert explained.lines[0].startswith("cancelled: 0 of ")
    assert explained.lines[1:] == ["it is over: no peer has a reason to run it"]
    assert json.loads(job("explain", unwanted, "--json").out)["peers"] == []


@pytest.mark.parametrize("verb", ["show", "wait", "result", "logs", "cancel", "explain", "pause", "resume"])
def test_what_is_no_id_is_usage_in_one_line(job: Command, verb: str) -> None:
    for words in ((verb,), (verb, "xyz"), (verb, "ab" * 21)):
        said = job(*words)
        assert (said.code, said.out) == (2, "") and said.err.count("\n") == 1


def test_a_job_is_not_found_with_the_key_of_another(
    job: Command, ended: str, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "FIND_S", 0.1)
    load_or_create_key(user / "other.key")
    said = job("show", ended, "--key", str(user / "other.key"))
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"p2pcpn: no peer that answers keeps job {ended[:8]}") and said.err.count("\n") == 1


def test_without_a_swarm_nobody_is_reachable(p2pcpn: Command) -> None:
    for words in (("ls",), ("show", "ab" * 20), ("cancel", "ab" * 20)):
        said = p2pcpn("job", *words)
        assert (said.code, said.out) == (3, "") and said.err.count("\n") == 1


def test_an_interrupt_of_who_only_waits_says_that_the_job_goes_on(
    p2pcpn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_module, "_with", pressed)
    for verb in ("wait", "result"):
        said = p2pcpn("job", verb, "ab" * 20)
        assert (said.code, said.out, said.err) == (130, "", "p2pcpn: interrupted; the job goes on\n")
    said = p2pcpn("job", "resume", "--here", "ab" * 20)
    assert said.code == 130 and "goes on" not in said.err
