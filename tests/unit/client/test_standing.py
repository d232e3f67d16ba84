"""How a job stands follows from what its stewards sign and count."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from p2pcpn.client.calls import Calls
from p2pcpn.client.connection import Meeting, joined, run
from p2pcpn.client.ending import cancel_kept
from p2pcpn.client.history import Submitted
from p2pcpn.client.job import parse_job_id
from p2pcpn.client.options import Options
from p2pcpn.client.owner import owner_key
from p2pcpn.client.reader import Reader
from p2pcpn.client.standing import _state, kept_jobs, listing, settled_of, standing
from p2pcpn.client.submitting import Request
from p2pcpn.identity.files import load_or_create_key
from p2pcpn.node.overlay import Overlay


@pytest.fixture
def key(tmp_path: Any) -> str:
    load_or_create_key(tmp_path / "owner.key")
    return str(tmp_path / "owner.key")


def submit(where: Meeting, env: dict[str, str], key: str, **options: Any) -> bytes:
    calls = Calls(abs, [(number,) for number in range(5)], None, "five", False)
    return parse_job_id(run(Request(calls, Options(name="five", **options), where, key).detached(env)))


def on(where: Meeting, env: dict[str, str], act: Any) -> Any:
    async def verb() -> Any:
        async with joined(where, env) as overlay:
            return await act(overlay)

    return run(verb())


def test_a_done_job_stands_as_its_spec_and_its_keepers_say(where: Meeting, env: dict[str, str], key: str) -> None:
    job = submit(where, env, key)

    async def act(overlay: Overlay) -> dict[str, Any]:
        reader = Reader(overlay, owner_key(key), job)
        await reader.find(5.0)
        async for _ in reader.follow(20.0):
            pass
        return standing(reader)

    found = on(where, env, act)
    assert found["id"] == job.hex() and found["name"] == "five"
    assert (found["state"], found["tasks"], found["settled"], found["closed"]) == ("done", 5, 5, True)
    assert {each["address"] for each in found["stewards"]} == set(where.bootstrap)
    assert found["holders"] and found["handed_over"] and found["conflicts"] == 0


def test_a_cancelled_job_counts_only_the_results_that_there_are(where: Meeting, env: dict[str, str], key: str) -> None:
    job = submit(where, env, key, requires=("no_such_package",))

    async def act(overlay: Overlay) -> tuple[dict[str, Any], dict[str, Any]]:
        reader = Reader(overlay, owner_key(key), job)
        await reader.find(5.0)
        waiting = standing(reader)
        await cancel_kept(reader)
        while not reader.cancelled:
            await reader.refresh()
        return waiting, standing(reader)

    waiting, cancelled = on(where, env, act)
    assert (waiting["state"], waiting["settled"]) == ("waiting", 0)
    assert (cancelled["state"], cancelled["settled"]) == ("cancelled", 0)


@pytest.mark.parametrize(
    ("granting", "running", "handed_over", "why", "state"),
    [
        (True, 1, True, "", "running"),
        (True, 0, True, "", "waiting"),
        (False, 0, False, "", "with its submitter"),
        (False, 0, True, "", "no grantor answers"),
        (True, 1, True, "overdue", "deadline passed"),
        (True, 1, True, "paused", "paused"),
    ],
)
def test_the_state_is_one_word_or_four(granting: bool, running: int, handed_over: bool, why: str, state: str) -> None:
    reader: Any = SimpleNamespace(
        cancelled=False,
        overdue=why == "overdue",
        complete=False,
        paused=why == "paused",
        total=None,
        state=SimpleNamespace(granting=granting, running=running),
        authority=SimpleNamespace(epoch=int(handed_over)),
    )
    assert _state(reader, 0) == state


@pytest.mark.parametrize(("settled", "state"), [(4, "cancelled"), (5, "done")])
def test_a_job_that_was_cancelled_when_all_of_it_had_ended_is_done(settled: int, state: str) -> None:
    reader: Any = SimpleNamespace(cancelled=True, overdue=False, complete=False, total=5)
    assert _state(reader, settled) == state


@pytest.mark.parametrize(("cancelled", "granting", "settled"), [(0, 1, 7), (1, 1, 2), (1, 0, 7), (0, 0, 7)])
def test_who_grants_a_cancelled_job_counts_what_was_cancelled_too(cancelled: int, granting: int, settled: int) -> None:
    state = SimpleNamespace(settled=7, granting=bool(granting))
    assert settled_of(SimpleNamespace(cancelled=bool(cancelled), results=[1, 2], state=state)) == settled  # type: ignore[arg-type]


def test_the_listing_has_the_newest_first_and_what_nobody_keeps_any_more(
    where: Meeting, env: dict[str, str], key: str
) -> None:
    owner = owner_key(key)
    first, second = submit(where, env, key), submit(where, env, key)
    history = [
        Submitted(first.hex(), 1.0, "five", owner.public.hex(), 5),
        Submitted("12" * 20, 2.0, "lost", owner.public.hex(), 7),
        Submitted("34" * 20, 3.0, "another's", "ab" * 32, 1),
    ]

    async def act(overlay: Overlay) -> tuple[list[bytes], list[dict[str, Any]]]:
        async with asyncio.timeout(20):
            while len(kept := await kept_jobs(overlay, owner)) < 2:
                pass
            return kept, await listing(overlay, owner, history)

    kept, rows = on(where, env, act)
    assert kept == sorted([first, second])
    assert [row["id"] for row in rows] == [second.hex(), first.hex(), "12" * 20]
    assert (rows[2]["state"], rows[2]["tasks"], rows[2]["settled"]) == ("not found", 7, None)


def test_peers_that_do_not_answer_list_nothing(
    where: Meeting, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from p2pcpn.errors import Unreachable

    async def act(overlay: Overlay) -> list[bytes]:
        async def silent(*_: object) -> None:
            raise Unreachable("silent")

        monkeypatch.setattr(overlay, "request", silent)
        return await kept_jobs(overlay, owner_key_of_nobody())

    assert on(where, env, act) == []


def owner_key_of_nobody() -> Any:
    from p2pcpn.identity.keys import Keypair

    return Keypair(bytes(32))
