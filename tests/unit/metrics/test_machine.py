"""The machine: what cannot be read is not claimed, and what hovers at an edge does not flap."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pcpn.metrics import machine
from p2pcpn.metrics.machine import Reading, Sample, Sampler, coarse
from p2pcpn.wire.statements import Accelerator

GIB = 1 << 30


def tree(root, **files):
    for path, text in files.items():
        path = root / path.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def nothing(command):
    return ""


def test_this_machine_is_described_in_the_words_of_an_advert(tmp_path):
    here = machine.describe(tmp_path, nothing)
    assert here.cores >= 1 and here.memory_bytes > 0 and here.accelerators == ()
    assert here.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert here.implementation == sys.implementation.name
    assert here.platform.startswith(sys.platform[:5]) and len(here.platform) <= 32
    assert 0 <= here.group < 1 << 63
    assert machine.describe() == machine.describe()


def test_a_container_has_what_its_quota_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert machine.cores(tmp_path) == 8
    for quota, cores in (("150000 100000", 2), ("max 100000", 8), ("1 100000", 1), ("5 0", 8), ("x", 8)):
        (tmp_path / "sys/fs/cgroup").mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/fs/cgroup/cpu.max").write_text(quota)
        assert machine.cores(tmp_path) == cores


def test_the_memory_is_the_containers_where_that_has_less(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(total=8 * GIB, available=5 * GIB))
    assert machine.memory(tmp_path) == (8 * GIB, 5 * GIB)
    tree(tmp_path, sys__fs__cgroup__memory_max="")
    group = tmp_path / "sys/fs/cgroup"
    (group / "memory.max").write_text("max\n")
    assert machine.memory(tmp_path) == (8 * GIB, 5 * GIB)
    (group / "memory.max").write_text(f"{2 * GIB}\n")
    assert machine.memory(tmp_path) == (2 * GIB, 2 * GIB)
    (group / "memory.current").write_text(f"{GIB}\n")
    assert machine.memory(tmp_path) == (2 * GIB, GIB)
    (group / "memory.current").write_text(f"{3 * GIB}\n")
    assert machine.memory(tmp_path) == (2 * GIB, 0)


def test_peers_of_one_kernel_share_a_group_that_does_not_show_its_name(tmp_path):
    boot, name = "5f0c1e5e-0000-4000-8000-00000000000a", "3d1219c7c4c5404aaa1f6d2a48adfda4"
    by_address = machine.group(tmp_path, lambda: 0x0242AC110002)
    assert by_address != machine.group(tmp_path, lambda: 0x0242AC110003)
    by_name = machine.group(tree(tmp_path, **{"etc__machine-id": f"{name}\n"}))
    by_boot = machine.group(tree(tmp_path, proc__sys__kernel__random__boot_id=f"{boot}\n"))
    assert by_boot == machine.group(tmp_path, lambda: 1)
    assert len({by_address, by_name, by_boot}) == 3
    assert all(0 <= group < 1 << 63 for group in (by_address, by_name, by_boot))
    (tmp_path / "proc/sys/kernel/random/boot_id").unlink()
    (tmp_path / "etc/machine-id").write_text("uninitialized\n")
    assert machine.group(tmp_path, lambda: 0x0242AC110002) == by_address


def test_accelerators_are_counted_by_kind_and_memory(tmp_path):
    for card, size in (("card0", "17163091968"), ("card1", "nonsense")):
        path = tmp_path / "sys/class/drm" / card / "device" / "mem_info_vram_total"
        path.parent.mkdir(parents=True)
        path.write_text(size)
    found = machine.accelerators(tmp_path, lambda command: "40960\n40960\n81920\n[N/A]\n")
    assert found == (
        Accelerator("amdgpu", 1, 17163091968),
        Accelerator("cuda", 2, 40 * GIB),
        Accelerator("cuda", 1, 80 * GIB),
    )
    many = machine.accelerators(tmp_path / "none", lambda command: "\n".join(map(str, range(1, 9))))
    assert len(many) == 4


def test_a_command_that_is_missing_fails_or_hangs_says_nothing(monkeypatch):
    assert machine._output(["p2pcpn-no-such-program"]) == ""
    assert machine._output([sys.executable, "-c", "print(7)"]).strip() == "7"
    assert machine._output([sys.executable, "-c", "print(7); raise SystemExit(1)"]) == ""

    def hang(*args, **kwargs):
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    monkeypatch.setattr(subprocess, "run", hang)
    assert machine._output([sys.executable]) == ""


def test_a_battery_that_nobody_reports_is_none(monkeypatch):
    for battery, answer in (
        (None, None),
        (types.SimpleNamespace(power_plugged=None), None),
        (types.SimpleNamespace(power_plugged=True), False),
        (types.SimpleNamespace(power_plugged=False), True),
    ):
        monkeypatch.setattr(psutil, "sensors_battery", lambda battery=battery: battery, raising=False)
        assert machine.on_battery() is answer
    monkeypatch.delattr(psutil, "sensors_battery")
    assert machine.on_battery() is None


def sampler(*readings):
    given_ = iter(readings)
    return Sampler((1,), read=lambda roots: next(given_), root=Path("/nowhere"), battery=lambda: True)


def test_the_load_is_what_others_used_between_two_calls():
    samples = sampler(Reading(100, 50, 10), Reading(120, 60, 14), Reading(140, 60, 14), Reading(160, 80, 15))
    assert samples.sample().load == pytest.approx(0.3)
    assert samples.sample().load == 0.0
    last = samples.sample()
    assert last.load == pytest.approx(0.95)
    assert last.on_battery is True and 0 < last.memory_free_bytes <= last.memory_bytes


def test_two_calls_at_once_give_the_same_load_and_lose_no_time():
    samples = sampler(Reading(100, 0, 0), Reading(110, 5, 0), Reading(110.05, 5.05, 0), Reading(120, 5.05, 0))
    assert samples.sample().load == samples.sample().load == pytest.approx(0.5)
    assert samples.sample().load == pytest.approx(0.005)


def test_a_process_that_left_our_tree_and_clocks_that_disagree_keep_the_load_a_share():
    samples = sampler(Reading(100, 50, 40), Reading(110, 55, 2), Reading(120, 80, 2), Reading(130, 81, 9))
    assert [samples.sample().load for _ in range(3)] == [pytest.approx(0.5), 1.0, 0.0]


def test_our_own_work_and_that_of_our_children_is_ours():
    before = machine.read_processors((os.getpid(),))
    # 0.2 s of processor time: far above a tick of the clock.
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    after = machine.read_processors((os.getpid(), os.getpid()))
    assert after.own_s - before.own_s >= 0.15
    assert after.total_s > before.total_s and after.busy_s >= before.busy_s
    assert Sampler().sample().load <= 1.0


def test_a_root_that_is_gone_owns_nothing(monkeypatch):
    def gone(pid=None):
        raise psutil.NoSuchProcess(pid or 0)

    ended = types.SimpleNamespace(pid=7, cpu_times=gone)
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "Process", gone)
        assert machine.read_processors((7,)).own_s == 0.0
        parent = types.SimpleNamespace(pid=1, children=lambda recursive: [ended], cpu_times=lambda: TIMES)
        patch.setattr(psutil, "Process", lambda pid: parent)
        assert machine.read_processors((1,)).own_s == 1.75


TIMES = types.SimpleNamespace(user=1.0, system=0.5, children_user=0.25)


def test_a_value_told_to_others_moves_in_steps():
    assert coarse(Sample(0.234, 16 * GIB, 5 * GIB + 7, None)) == Sample(0.2, 16 * GIB, 5 * GIB, None)
    assert coarse(Sample(0.26, 16, 16, False)) == Sample(0.3, 16, 16, False)


def test_a_value_that_hovers_at_an_edge_stays():
    told = coarse(Sample(0.249, 16 * GIB, 5 * GIB, None))
    for load, free in ((0.251, 5 * GIB - 1), (0.299, 6 * GIB + 1), (0.101, 5 * GIB + GIB // 4)):
        assert coarse(Sample(load, 16 * GIB, free, None), told) == told
    moved = coarse(Sample(0.31, 16 * GIB, 4 * GIB, None), told)
    assert moved == Sample(0.3, 16 * GIB, 4 * GIB, None)
    assert coarse(Sample(0.2, 16 * GIB, 5 * GIB, True), told) != told


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 64 * GIB), st.integers(0, 64 * GIB), st.integers(0, 64 * GIB))
def test_what_is_told_stays_near_what_is(load, load_before, total, free, free_before):
    free, free_before = min(free, total), min(free_before, total)
    before = coarse(Sample(load_before, total, free_before, None))
    told = coarse(Sample(load, total, free, None), before)
    step = max(1, total // 16)
    assert 0 <= told.load <= 1 and abs(told.load - load) <= 0.1 + 1e-9
    assert told.memory_free_bytes >= 0 and -1.5 * step <= told.memory_free_bytes - free <= 0.5 * step
    assert coarse(Sample(load, total, free, None), told) == told
