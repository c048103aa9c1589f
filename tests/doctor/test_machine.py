from __future__ import annotations

from pathlib import Path

import pytest

from swaplab.doctor.facts import parse
from swaplab.doctor.machine import read_machine
from swaplab.doctor.starter import scenario_text
from swaplab.doctor.watch import rates
from swaplab.errors import InputError
from swaplab.scenario.load import load_scenario

FILES = {
    "proc/meminfo": "MemTotal:        8388608 kB\nAnonPages:  4096 kB\nSwapTotal: 1048576 kB\nSwapFree: 1048576 kB\n",
    "proc/vmstat": "zswpin 1\nzswpout 2\n",
    "proc/swaps": "Filename Type Size Used Priority\n/dev/sda2 partition 1048576 1024 -2\n",
    "proc/sys/vm/swappiness": "100\n",
    "proc/sys/vm/page-cluster": "3\n",
    "sys/kernel/mm/lru_gen/enabled": "0x0007\n",
    "sys/module/zswap/parameters/enabled": "Y\n",
    "sys/module/zswap/parameters/compressor": "zstd\n",
    "sys/module/zswap/parameters/max_pool_percent": "25\n",
    "sys/module/zswap/parameters/shrinker_enabled": "N\n",
    "sys/kernel/debug/zswap/stored_pages": "4\n",
    "sys/fs/cgroup/memory.stat": "anon 4194304\n",
    "sys/fs/cgroup/app/web/memory.stat": "anon 4194304\nzswapped 1048576\nzswap 262144\nswapcached 0\n",
    "sys/fs/cgroup/app/web/memory.max": "8388608\n",
    "sys/fs/cgroup/app/web/memory.high": "max\n",
    "sys/fs/cgroup/app/web/memory.swap.current": "1048576\n",
    "sys/fs/cgroup/app/web/memory.zswap.writeback": "0\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_machine_is_read_as_if_its_files_were_pasted(root: Path) -> None:
    text, unread = read_machine(root)
    found = parse(text, "here")
    assert not unread
    assert found.machine.number("MemTotal") == 8 << 30
    assert found.machine.word("compressor") == "zstd"
    assert found.machine.number("stored_pages") == 4
    assert found.areas[0].used == 1 << 20
    assert found.cgroups["app/web"].number("zswap") == 1 << 18


def test_what_is_not_there_is_named(root: Path) -> None:
    (root / "sys/kernel/debug/zswap/stored_pages").unlink()
    (root / "sys/kernel/debug/zswap").rmdir()
    assert read_machine(root)[1] == ["/sys/kernel/debug/zswap: not there"]


def test_the_scenario_of_a_machine_loads(root: Path, tmp_path: Path) -> None:
    text = scenario_text(parse(read_machine(root)[0], "here"), "here")
    file = tmp_path / "machine.toml"
    file.write_text(text)
    scenario = load_scenario(file, [])
    assert (scenario.machine.memory, scenario.machine.swappiness, scenario.machine.lru) == (8 << 30, 100, "mglru")
    assert (scenario.zswap.enabled, scenario.zswap.compressor, scenario.zswap.max_pool_percent) == (True, "zstd", 25)
    assert scenario.swap.size == 1 << 30
    assert set(scenario.cgroups) == {"app", "app/web"}
    assert scenario.cgroups["app/web"].memory_max == 8 << 20
    assert not scenario.cgroups["app/web"].memory_zswap_writeback
    (workload,) = scenario.workloads
    assert (workload.cgroup, workload.pages) == ("app/web", 1024 + 256)


@pytest.mark.parametrize(
    ("text", "missing"),
    [("anon 4096, zswapped 4096", "MemTotal"), ("MemTotal: 4 kB", "anonymous memory")],
)
def test_no_scenario_without_its_size(text: str, missing: str) -> None:
    with pytest.raises(InputError, match=missing):
        scenario_text(parse(text, "report"), "report")


@pytest.mark.parametrize("mask", ["rren", "-1x0007", "0x0nan", "0x" + "7" * 9])
def test_a_mask_that_is_none_is_left_out(mask: str) -> None:
    text = f"MemTotal: 9 GB\nanon 4096\n/sys/kernel/mm/lru_gen/enabled:{mask}\n"
    assert "lru =" not in scenario_text(parse(text, "report"), "report")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MemTotal: 9 kB, anon 4096", r"report: .* machine.memory: .* 1M, found 9216"),
        ("MemTotal: 9 GB, anon 4096, swappiness 201", r"report: .* machine.swappiness: .* 200, found 201"),
        (f"MemTotal: 9 GB, anon {1 << 63}", r"report: .* workload"),
    ],
)
def test_no_scenario_with_numbers_that_none_may_have(text: str, found: str) -> None:
    with pytest.raises(InputError, match=found):
        scenario_text(parse(text, "report"), "report")


def test_rates_are_those_that_both_snapshots_know() -> None:
    early = parse("zswpin 10, zswpout 5, zswpwb 1", "early").machine
    late = parse("zswpin 30, zswpwb 5, Zswapped: 8 kB, Zswap: 4 kB", "late").machine
    found = rates(early, late, 2.0)
    assert found.per_second == {"zswpin": 10.0, "written_back_pages": 2.0}
    assert (found.zswapped, found.zswap) == (8192, 4096)
