"""The guest's script: the accesses, events and samples of the replay, at the same places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaplab.errors import UnsupportedError
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.load import parse_scenario
from swaplab.scenario.model import Scenario
from swaplab.vm.script import refuse, script_for, watched_files

TREE = """
swap.size = "1M"
samples = 4
[cgroup."p"]
memory.max = "1M"
[cgroup."p/b"]
[cgroup."p/a"]
memory.zswap.writeback = false
[[workload]]
cgroup = "p/b"
pages = 30
accesses = 60
[[workload]]
cgroup = "p"
pages = 10
accesses = 40
"""


def load(text: str) -> Scenario:
    return parse_scenario(text, "x.toml", Path())


def commands(scenario: Scenario, percent: int = 17) -> list[list[str]]:
    return [line.split("\t") for line in script_for(scenario, Accesses(scenario), ["a.ko"], percent).splitlines()]


def after_settling(found: list[list[str]]) -> list[list[str]]:
    return found[[each[0] for each in found].index("settle") + 1 :]


def test_accesses_and_samples_are_where_the_replays_are() -> None:
    assert after_settling(commands(load(TREE))) == [
        ["sample"],
        *[["access", "25"], ["sample"]] * 4,
        ["check"],
        ["done"],
    ]


@given(st.integers(1, 30), st.integers(1, 90), st.lists(st.integers(0, 90), max_size=5))
def test_all_accesses_are_made_whatever_happens_between_them(samples: int, accesses: int, at: list[int]) -> None:
    events = "".join(
        f'[[event]]\nat = {min(each, accesses)}\ncgroup = "a"\nmemory.max = "{i + 1}M"\n' for i, each in enumerate(at)
    )
    text = f'samples = {samples}\n[cgroup.a]\n[[workload]]\ncgroup = "a"\npages = 9\naccesses = {accesses}\n{events}'
    found = after_settling(commands(load(text)))
    assert sum(int(each[1]) for each in found if each[0] == "access") == accesses
    assert all(int(each[1]) for each in found if each[0] == "access")
    position, fired = 0, []
    for each in found:
        if each[0] == "access":
            position += int(each[1])
        if each[0] == "set":
            fired.append((position, each[2]))
    order = sorted(range(len(at)), key=lambda i: min(at[i], accesses))
    assert fired == [(min(at[i], accesses), f"{i + 1 << 20}") for i in order]
    assert [each[0] for each in found].count("sample") == len(
        {accesses * (i + 1) // samples for i in range(samples)}
    ) + 1


def test_a_cgroup_with_children_has_its_processes_in_a_leaf() -> None:
    found = commands(load(TREE))
    made = [each[1] for each in found if each[0] == "mkdir"]
    assert [each.removeprefix("/sys/fs/cgroup/") for each in made if each.startswith("/sys/fs/cgroup/")] == [
        ".swaplab",
        "p",
        "p/b",
        "p/a",
        "p/.swaplab",
    ]
    assert ["tasks", "2"] in found
    assert [each[1:] for each in found if each[0] == "process"] == [
        ["0", "30", "/sys/fs/cgroup/p/b"],
        ["30", "10", "/sys/fs/cgroup/p/.swaplab"],
    ]
    assert ["set", "/sys/fs/cgroup/p/memory.max", "1048576", 'cgroup."p".memory.max'] in found
    key = 'cgroup."p/a".memory.zswap.writeback'
    assert ["set", "/sys/fs/cgroup/p/a/memory.zswap.writeback", "0", key] in found
    enabled = ["write", "/sys/fs/cgroup/p/cgroup.subtree_control", "+memory"]
    assert found.index(enabled) < found.index(["mkdir", "/sys/fs/cgroup/p/b"])


def test_a_removed_cgroups_workloads_move_up_and_can_still_exit() -> None:
    events = """
[[event]]
at = 10
cgroup = "p/b"
remove = true
[[event]]
at = 20
cgroup = "p"
memory.reclaim = "1M"
memory.max = "max"
exit = true
"""
    found = after_settling(commands(load(TREE + events)))
    assert found[2:9] == [
        ["move", "0", "/sys/fs/cgroup/p/.swaplab"],
        ["rmdir", "/sys/fs/cgroup/p/b"],
        ["sleep", "200000"],
        ["access", "10"],
        ["try", "/sys/fs/cgroup/p/memory.max", "max"],
        ["try", "/sys/fs/cgroup/p/memory.reclaim", "1048576"],
        ["exit", "0"],
    ]
    assert found[9] == ["exit", "1"]


def test_settings_come_before_anything_is_measured() -> None:
    text = TREE.replace(
        "samples = 4", 'samples = 4\nmachine.lru = "mglru"\nzswap = { enabled = true, compressor = "lz4" }'
    )
    found = commands(load(text))
    settled = found.index(["settle", str(1 << 30)])
    for setting in (
        ["module", "/modules/a.ko"],
        ["set", "/sys/kernel/mm/lru_gen/enabled", "y", "machine.lru"],
        ["write", "/proc/sys/vm/page-cluster", "0"],
        ["fill", "/dev/nullb1", str((1 << 20) + 4096)],
        ["write", "/sys/block/nullb1/queue/rotational", "0"],
        ["swapon", "/dev/nullb1"],
        ["occupy"],
        ["watermarks", "4096"],
        ["write", "/sys/module/zswap/parameters/compressor", "lz4"],
        ["write", "/sys/module/zswap/parameters/max_pool_percent", "17"],
        ["write", "/sys/module/zswap/parameters/enabled", "Y"],
    ):
        assert found.index(setting) < settled


@pytest.mark.parametrize(
    ("key", "asked", "file"),
    [
        ("zswap.shrinker_enabled", ("true", "false"), "/sys/module/zswap/parameters/shrinker_enabled"),
        ("machine.lru", ('"mglru"', '"classic"'), "/sys/kernel/mm/lru_gen/enabled"),
    ],
)
def test_a_file_must_be_there_for_what_kernels_without_it_do_not_do(
    key: str, asked: tuple[str, str], file: str
) -> None:
    for value, expected in zip(asked, ("set", "try"), strict=True):
        found = commands(load(f"zswap.enabled = true\n{key} = {value}\n{TREE}"))
        (command,) = (each for each in found if each[1:2] == [file])
        assert (command[0], command[3:]) == (expected, [key] if expected == "set" else [])


def test_without_swap_there_is_no_device() -> None:
    found = {each[0] for each in commands(load(TREE.replace('"1M"', "0", 1)))}
    assert not found & {"swapon", "fill"}
    assert "occupy" in found


@pytest.mark.parametrize(("device", "latency"), [("nvme", 81_271), ("ssd", 117_512), ("hdd", 12_819_531)])
def test_the_disk_is_as_fast_as_the_scenarios(device: str, latency: int) -> None:
    found = commands(load(f'swap.device = "{device}"\n{TREE}'))
    assert ["write", "/sys/kernel/config/nullb/nullb1/completion_nsec", str(latency)] in found
    assert ["write", "/sys/block/nullb1/queue/rotational", str(int(device == "hdd"))] in found


def test_seeds_start_at_other_parts_of_a_tick() -> None:
    scenario = load(TREE)
    scripts = [script_for(scenario, Accesses(scenario), (), 20, seed) for seed in range(5)]
    assert scripts[0] == script_for(scenario, Accesses(scenario), (), 20)
    waited = [re.findall(r"^sample\nsleep\t(\d+)$", each, re.MULTILINE) for each in scripts]
    assert waited == [[], ["2472"], ["944"], ["3416"], ["1889"]]


def test_every_cgroup_is_watched() -> None:
    watched = watched_files(load(TREE))
    assert list(dict.fromkeys(each.cgroup for each in watched)) == ["", "p", "p/b", "p/a"]
    assert len({each.path for each in watched}) == len(watched)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ('swap.device = "zram"', "swap.device"),
        ('zswap = { enabled = true, lru = "global" }', "zswap.lru"),
        ("machine.nodes = 2", "machine.nodes"),
        ('machine.kernel = "7.2"\nproposed.cursor = true', "no kernel has cursor = true"),
    ],
)
def test_what_a_guest_cannot_be_is_refused(changed: str, said: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"x\.toml: {said}"):
        refuse(load(f"{changed}\n{TREE}"))
