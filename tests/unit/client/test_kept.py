"""A job that peers keep is followed, shown, logged, saved and explained by its id and its owner's key."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from p2pcpn.client.calls import Calls
from p2pcpn.client.connection import Meeting, run
from p2pcpn.client.history import Submitted, remember
from p2pcpn.client.kept import KeptJob, all_jobs, asked, full_id, kept_job
from p2pcpn.client.keys import new_owner_key
from p2pcpn.client.options import Options
from p2pcpn.client.submitting import Request
from p2pcpn.errors import JobError, StoreError, UsageError


@pytest.fixture
def key(env: dict[str, str], tmp_path: Path) -> str:
    return str(new_owner_key(tmp_path / "owner.key", env).path)


def submit(where: Meeting, env: dict[str, str], key: str, function: Any, items: list[Any], **options: Any) -> str:
    calls = Calls(function, [(item,) for item in items], None, "kept", False)
    return run(Request(calls, Options(name="kept", render=True, **options), where, key).detached(env))


def look(where: Meeting, env: dict[str, str], key: str, job: str, act: Any) -> Any:
    async def verb() -> Any:
        async with kept_job(where, asked(job, key, env), env) as found:
            return await act(found)

    return run(verb())


def test_a_job_is_followed_shown_logged_and_saved(
    where: Meeting, env: dict[str, str], key: str, tmp_path: Path
) -> None:
    job = submit(where, env, key, print, ["a", "b", "c"])
    fresh: list[tuple[int, int | None, int]] = []

    async def act(found: KeptJob) -> None:
        endings = await found.follow(20.0, lambda *counts: fresh.append(counts))
        assert [(ending.index, ending.ok, ending.text) for ending in endings] == [(n, True, "None") for n in range(3)]
        assert fresh[-1] == (3, 3, 0)
        assert found.prints() == [(0, 1, b"a\n"), (1, 1, b"b\n"), (2, 1, b"c\n")]
        assert await found.save(tmp_path / "deep" / "values") == 3
        state = await found.standing()
        assert (state["state"], state["settled"], state["tasks"], state["name"]) == ("done", 3, 3, "kept")

    look(where, env, key, job, act)
    files = sorted((tmp_path / "deep" / "values").iterdir())
    assert [path.name for path in files] == ["000000.pickle", "000001.pickle", "000002.pickle"]
    assert pickle.loads(files[0].read_bytes()) is None


def test_failures_are_words_and_are_not_saved(where: Meeting, env: dict[str, str], key: str, tmp_path: Path) -> None:
    job = submit(where, env, key, int, ["1", "x", "y" * 40_000])

    async def act(found: KeptJob) -> None:
        endings = await found.follow(20.0)
        assert [ending.ok for ending in endings] == [True, False, False]
        assert endings[1].text.startswith("ValueError: invalid literal") and endings[1].traceback
        assert endings[2].text.startswith("ValueError")
        assert await found.save(tmp_path / "values") == 1
        with pytest.raises(StoreError):
            await found.save(Path("/dev/null/values"))

    look(where, env, key, job, act)


def test_waiting_has_an_end_and_peers_say_why(where: Meeting, env: dict[str, str], key: str) -> None:
    job = submit(where, env, key, abs, [1], requires=("no_such_package",))

    async def act(found: KeptJob) -> list[dict[str, str]]:
        with pytest.raises(TimeoutError):
            await found.follow(0.2)
        return await found.explain()

    reasons = look(where, env, key, job, act)
    assert any("no_such_package" in reason["text"] for reason in reasons)
    assert reasons == sorted(reasons, key=lambda row: (row["code"], row["peer"]))


def test_all_jobs_of_an_owner_are_listed_and_nobody_elses(
    where: Meeting, env: dict[str, str], key: str, tmp_path: Path
) -> None:
    job = submit(where, env, key, abs, [1])
    other = str(new_owner_key(tmp_path / "other.key", env).path)
    assert [row["id"] for row in run(all_jobs(where, key, env))] == [job]
    assert run(all_jobs(where, other, env)) == []


def test_a_job_that_nobody_keeps_is_not_found(
    where: Meeting, env: dict[str, str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pcpn.client.kept.FIND_S", 0.0)
    with pytest.raises(JobError, match="no peer that answers keeps job"):
        look(where, env, key, "12" * 20, None)


def test_the_first_digits_of_an_id_do_when_they_name_one_job(env: dict[str, str]) -> None:
    for text in ("abcd" + "0" * 36, "abce" + "0" * 36):
        remember(Submitted(text, 0.0, "", "", 1), env)
    assert full_id("ABCD ", env) == "abcd" + "0" * 36
    assert full_id("abc", env) == "abc" and full_id("ffff", env) == "ffff"
    remember(Submitted("abcd" + "1" * 36, 0.0, "", "", 1), env)
    with pytest.raises(UsageError, match="begins the ids of 2 jobs"):
        full_id("abcd", env)
    with pytest.raises(UsageError, match="is no job id"):
        asked("xyz", None, env)
