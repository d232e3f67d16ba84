"""The control API: one line asks, one line answers; garbage costs the asker a refusal, strangers get nothing."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn import limits
from p2pcpn.errors import Unreachable, UsageError
from p2pcpn.identity.keys import Keypair
from p2pcpn.node import control
from p2pcpn.node.control import SOMEBODY, ControlServer, ask, control_path, described, is_answered, listener
from p2pcpn.protocol.directory import Directory, Listed
from p2pcpn.protocol.reachability import Reach
from p2pcpn.wire.addresses import contact
from p2pcpn.wire.statements import Accelerator, Advert, Role, signed

ME = Keypair(b"\1" * 32)
OTHER = Keypair(b"\2" * 32)


def advert(keypair: Keypair, port: int = 4000) -> Advert:
    return Advert(
        contact=contact(keypair.id, ("127.0.0.1", port)), boot=1, version=3, ttl_s=900.0,
        roles=Role.COMPUTE | Role.STORAGE, cores=4, slots=2, slots_free=1, memory_bytes=8 << 30,
        memory_free_bytes=4 << 30, load=0.25, python="3.11", implementation="cpython", platform="linux-x86_64",
        runtimes=["function"], packages=["numpy"], accelerators=[Accelerator("cuda", 1, 1 << 30)], tags=["lab"],
        position=(52.0, 13.0), rtt_ms=0.5, machine=7,
    )  # fmt: skip


def overlay(swarm_key: bytes = b"\7" * 32) -> Any:
    """What the control API looks at of a peer."""
    directory = Directory()
    for keypair in (ME, OTHER):
        directory.heard(advert(keypair), signed(advert(keypair), keypair), 10.0)
    peer = SimpleNamespace(
        contact=contact(ME.id, ("127.0.0.1", 4000)),
        directory=directory,
        worker=SimpleNamespace(running=1, queued=5, unsettled=2, works=OrderedDict()),
        offers=SimpleNamespace(demand=SimpleNamespace(wanted=lambda now: 9)),
        lines=SimpleNamespace(open={}),
        roundtrips=SimpleNamespace(srtt_s=lambda node: 0.002 if node == OTHER.id else None),
        roles=Role.COMPUTE | Role.HIDDEN,
        reachability=SimpleNamespace(reach=Reach.HIDDEN),
        presence=SimpleNamespace(draining=False),
    )
    return SimpleNamespace(
        id=ME.id, peer=peer, config=SimpleNamespace(bootstrap=("127.0.0.1:5000",), profile="local"),
        swarm_key=swarm_key, loop=SimpleNamespace(time=lambda: 70.0), started_at=60.0, data_dir=Path("/data"),
        slots=2, statistics=lambda: {"udp": {"sent": 1}},
    )  # fmt: skip


class Drains:
    """What the control API asks of draining."""

    def __init__(self) -> None:
        self.begun: list[float] = []

    def begin(self, timeout_s: float, *, careful: bool) -> None:
        assert not careful
        self.begun.append(timeout_s)

    def undo(self) -> bool:
        return bool(self.begun) and bool(self.begun.pop())

    def progress(self) -> dict[str, Any]:
        return {"state": "finishing" if self.begun else "staying"}

    watched = progress


@asynccontextmanager
async def serving(path: Path, stop: asyncio.Event | None = None, draining: Any = None) -> AsyncIterator[ControlServer]:
    server = ControlServer(overlay(), path, stop, draining)
    await server.open()
    try:
        yield server
    finally:
        await server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


async def said(path: Path, data: bytes) -> bytes:
    """Everything the server says to these bytes, until it hangs up or has nothing more to say."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:  # it hung up without reading what we said
        return b""
    finally:
        await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close, and wait for it: the loop of a test ends right after it."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.mark.asyncio
async def test_status_says_who_where_and_how_busy(path: Path) -> None:
    async with serving(path):
        found = await asyncio.to_thread(ask, path, "status")
    assert found["id"] == ME.id.hex()
    assert found["address"] == "127.0.0.1:4000"
    assert found["bootstrap"] == ["127.0.0.1:4000", "127.0.0.1:5000"]
    assert found["swarm_key"] == (b"\7" * 32).hex()
    assert (found["pid"], found["uptime_s"], found["roles"]) == (os.getpid(), 10.0, ["compute"])
    assert found["reachable"] == "hidden"
    assert (found["slots"], found["running"], found["queued"], found["known_peers"]) == (2, 1, 5, 1)
    assert found["statistics"] == {"udp": {"sent": 1}}


@pytest.mark.asyncio
async def test_a_peer_is_told_to_drain_is_watched_and_told_to_stay(path: Path) -> None:
    async with serving(path, draining=Drains()):
        assert await asyncio.to_thread(ask, path, "draining") == {"state": "staying"}
        assert await asyncio.to_thread(ask, path, "drain") == {"state": "finishing"}
        assert (await asyncio.to_thread(ask, path, "status"))["drain"] == {"state": "finishing"}
        assert await asyncio.to_thread(ask, path, "stay") == {"stays": True}
        assert await asyncio.to_thread(ask, path, "stay") == {"stays": False}
        for wrong in (-1.0, 1e9, "soon"):
            with pytest.raises(UsageError, match="number of seconds"):
                await asyncio.to_thread(lambda wrong=wrong: ask(path, "drain", drain_s=wrong))


@pytest.mark.asyncio
async def test_load_says_what_there_is_to_do(path: Path) -> None:
    async with serving(path):
        assert await asyncio.to_thread(ask, path, "load") == {
            "slots": 2, "running": 1, "queued": 5, "unsettled": 2, "wanted": 9, "draining": False,
        }  # fmt: skip


@pytest.mark.asyncio
async def test_a_peer_within_a_program_is_not_drained_from_outside(path: Path) -> None:
    async with serving(path):
        with pytest.raises(UsageError, match="lives in a program"):
            await asyncio.to_thread(ask, path, "drain")
        assert await asyncio.to_thread(ask, path, "draining") == {}
        assert await asyncio.to_thread(ask, path, "stay") == {"stays": False}


def test_an_open_swarm_has_no_key_to_tell() -> None:
    server = ControlServer(overlay(bytes(32)), Path("x"))
    assert server.answer(b'{"op":"status"}')["ok"]["swarm_key"] is None


@pytest.mark.asyncio
async def test_peers_are_adverts_in_plain_words(path: Path) -> None:
    async with serving(path):
        rows = (await asyncio.to_thread(ask, path, "peers"))["peers"]
    assert [row["own"] for row in sorted(rows, key=lambda row: not row["own"])] == [True, False]
    row = next(row for row in rows if not row["own"])
    assert row["id"] == OTHER.id.hex()
    assert (row["cores"], row["slots"], row["slots_free"], row["load"]) == (4, 2, 1, 0.25)
    assert (row["roles"], row["runtimes"], row["packages"]) == (["compute", "storage"], ["function"], ["numpy"])
    assert row["accelerators"] == [{"kind": "cuda", "count": 1, "memory_bytes": 1 << 30}]
    assert (row["rtt_ms"], row["age_s"], row["tags"], row["position"]) == (2.0, 60.0, ["lab"], [52.0, 13.0])


def test_an_address_of_the_sixth_version_is_bracketed() -> None:
    found = described(
        Listed(
            Advert(**{**_fields(advert(ME)), "contact": contact(ME.id, ("::1", 4000))}),
            signed(advert(ME), ME),
            900.0,
        ),
        0.0,
    )
    assert found["address"] == "[::1]:4000"


def _fields(value: Advert) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


@pytest.mark.asyncio
async def test_stop_is_answered_and_then_done(path: Path) -> None:
    stop = asyncio.Event()
    async with serving(path, stop):
        assert await asyncio.to_thread(ask, path, "stop") == {"stopping": True}
        await asyncio.wait_for(stop.wait(), 5)


@pytest.mark.asyncio
async def test_several_requests_go_over_one_connection(path: Path) -> None:
    async with serving(path):
        lines = (await said(path, b'{"op":"peers"}\n{"op":"nonsense"}\n{"op":"status"}\n')).splitlines()
    assert [next(iter(json.loads(line))) for line in lines] == ["ok", "error", "ok"]


@pytest.mark.asyncio
async def test_a_line_without_end_is_refused_and_hung_up_on(path: Path) -> None:
    async with serving(path):
        answer = json.loads(await said(path, b"x" * (4 * limits.CONTROL_REQUEST_BYTES_MAX)))
        assert "bytes" in answer["error"]
        assert await asyncio.to_thread(ask, path, "status")


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_are_answered(line: bytes) -> None:
    found = ControlServer(overlay(), Path("x")).answer(line)
    assert set(found) in ({"ok"}, {"error", "kind"})


def test_deep_nesting_is_refused() -> None:
    assert "error" in ControlServer(overlay(), Path("x")).answer(b"[" * 100_000)


@pytest.mark.asyncio
async def test_the_socket_is_private_and_removed_at_the_end(path: Path) -> None:
    async with serving(path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert not await asyncio.to_thread(path.exists)


@pytest.mark.asyncio
async def test_a_socket_that_a_dead_peer_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    async with serving(path):
        assert await asyncio.to_thread(ask, path, "status")


@pytest.mark.asyncio
async def test_a_living_peers_socket_is_left_alone(path: Path) -> None:
    async with serving(path):
        with pytest.raises(UsageError, match="another peer listens"):
            await ControlServer(overlay(), path).open()
        assert await asyncio.to_thread(ask, path, "status")


def test_a_file_in_the_way_is_not_removed(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(UsageError, match="no socket"):
        asyncio.run(ControlServer(overlay(), path).open())
    assert path.read_text() == "precious"


@pytest.mark.asyncio
async def test_a_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most"):
        await ControlServer(overlay(), tmp_path / ("x" * 120)).open()
    with pytest.raises(UsageError):
        await ControlServer(overlay(), Path("/dev/null/x.sock")).open()


@pytest.mark.asyncio
async def test_another_users_directory_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    os.chown(path.parent, 4712, -1) if os.geteuid() == 0 else None
    with pytest.raises(UsageError, match="another user"):
        await ControlServer(overlay(), path).open()


@pytest.mark.asyncio
async def test_another_users_process_gets_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(path):
        monkeypatch.setattr(control, "_is_owner", lambda sock: False)
        assert await said(path, b'{"op":"status"}\n') == b""


def test_a_caller_whose_user_cannot_be_told_is_a_stranger() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        assert control._is_owner(theirs) is True
        ours.close()
    assert control._is_owner(theirs) is False


@pytest.mark.asyncio
async def test_connections_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_CONNECTIONS_MAX", 1)
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"op":"peers"}\n')
        assert await reader.readline()
        assert await said(path, b'{"op":"peers"}\n') == b""
        await closed(writer)


@pytest.mark.asyncio
async def test_who_says_nothing_is_hung_up_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_IDLE_S", 0.01)
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(path)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        await closed(writer)


@pytest.mark.asyncio
async def test_an_operation_that_fails_costs_its_connection_alone(path: Path) -> None:
    async with serving(path) as server:
        server._operations["peers"] = lambda: {}["missing"]  # type: ignore[misc]
        with pytest.raises(Unreachable):
            await asyncio.to_thread(ask, path, "peers")
        assert await asyncio.to_thread(ask, path, "status")


# --- The asking side -----------------------------------------------------------------------------------------------


@contextmanager
def answering(path: Path, data: bytes | None) -> Iterator[None]:
    """Something that listens at ``path`` and says ``data`` to the first who comes; ``None``: nothing, ever."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))
        server.listen(1)
        done = threading.Event()

        def answer() -> None:
            caller, _ = server.accept()
            with caller:
                caller.recv(1000)
                if data is None:
                    done.wait(10)
                else:
                    caller.sendall(data)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(10)


def test_where_nobody_listens_nobody_is_reachable(path: Path) -> None:
    with pytest.raises(Unreachable, match="no peer runs"):
        ask(path, "status")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    with pytest.raises(Unreachable, match="no peer runs"):
        ask(path, "status")
    assert not is_answered(path)


def test_a_peer_that_does_not_answer_is_not_waited_for(path: Path) -> None:
    with answering(path, None), pytest.raises(Unreachable, match=r"within 0\.02 s"):
        ask(path, "status", timeout_s=0.02)


def test_an_answer_that_never_ends_is_not_read_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONTROL_ANSWER_BYTES_MAX", 10)
    with answering(path, b"x" * 100), pytest.raises(Unreachable, match="too long"):
        ask(path, "status")


def test_half_an_answer_is_none(path: Path) -> None:
    with answering(path, b'{"ok":'), pytest.raises(Unreachable, match="hung up"):
        ask(path, "status")


@pytest.mark.parametrize(("data", "text"), [(b"[]\n", "no reason"), (b'{"error":"because"}\n', "because")])
def test_a_refusal_is_our_callers_mistake(path: Path, data: bytes, text: str) -> None:
    with answering(path, data), pytest.raises(UsageError, match=text):
        ask(path, "status")


def test_a_path_that_is_too_long_reaches_nobody(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        ask(tmp_path / ("x" * 200), "status")


def test_the_socket_lies_in_the_data_directory_where_its_path_fits(tmp_path: Path) -> None:
    assert control_path(Path("/data/peer")) == Path("/data/peer/control.sock")
    long = tmp_path / ("d" * 100)
    found = control_path(long)
    assert found == control_path(long) != control_path(tmp_path / ("e" * 100))
    assert len(os.fsencode(found)) <= control.PATH_BYTES_MAX


def test_who_listens_is_known_without_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "control"
    assert listener(path) is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
        sock.listen(1)
        assert listener(path) == os.getpid()
    assert listener(path) is None


def test_somebody_listens_where_nobody_more_gets_in_or_the_system_does_not_say_who(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(path))
        sock.listen(1)
        with monkeypatch.context() as elsewhere:
            elsewhere.delattr(socket, "SO_PEERCRED")
            assert listener(path) == SOMEBODY
        found = [listener(path, 0.01) for _ in range(4)]
        assert found == [os.getpid(), SOMEBODY, SOMEBODY, SOMEBODY]
