"""Baselines change the kind of compressed swap, and nothing else."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from swaplab.errors import InputError
from swaplab.scenario.model import (
    BASELINES,
    Baseline,
    Cgroup,
    Machine,
    Scenario,
    Swap,
    Workload,
    Zswap,
    on_release_of,
    with_baseline,
)
from swaplab.scenario.validate import validate

SCENARIO = Scenario(
    name="n",
    machine=Machine(memory=1 << 21),
    zswap=Zswap(compressor="zstd", max_pool_percent=7),
    swap=Swap(size=1 << 20),
    cgroups={"a": Cgroup(memory_max=8192), "a/b": Cgroup(memory_zswap_max=0)},
    workloads=(Workload(pages=3, cgroup="a"),),
)


@pytest.mark.parametrize(
    ("baseline", "enabled", "lru", "shrinker", "writeback", "device"),
    [
        ("off", False, "memcg", False, True, "nvme"),
        ("global-lru", True, "global", False, True, "nvme"),
        ("memcg", True, "memcg", False, True, "nvme"),
        ("shrinker", True, "memcg", True, True, "nvme"),
        ("no-writeback", True, "memcg", False, False, "nvme"),
        ("zram", False, "memcg", False, True, "zram"),
    ],
)
@pytest.mark.parametrize("before", [Zswap(), Zswap(enabled=True, shrinker_enabled=True), Zswap(lru="global")])
def test_baselines(
    baseline: Baseline, enabled: bool, lru: str, shrinker: bool, writeback: bool, device: str, before: Zswap
) -> None:
    old = msgspec.structs.replace(before, compressor="zstd", max_pool_percent=7)
    made = with_baseline(msgspec.structs.replace(SCENARIO, zswap=old), baseline)
    validate(made)
    assert made.zswap.enabled == enabled
    if enabled:
        assert (made.zswap.lru, made.zswap.shrinker_enabled) == (lru, shrinker)
    assert {each.memory_zswap_writeback for each in made.cgroups.values()} == {writeback}
    assert (made.swap.device == "zram") == (device == "zram")
    rest = {
        "zswap": msgspec.structs.replace(made.zswap, enabled=False, lru="memcg", shrinker_enabled=False),
        "swap": msgspec.structs.replace(made.swap, device=SCENARIO.swap.device),
        "cgroups": {
            path: msgspec.structs.replace(each, memory_zswap_writeback=True)
            for path, each in made.cgroups.items()
            if path  # the root is there for its writeback only
        },
    }
    assert msgspec.structs.replace(made, **rest) == SCENARIO


def test_all_baselines_are_described() -> None:
    assert tuple(BASELINES) == get_args(Baseline)


@pytest.mark.parametrize("baseline", BASELINES)
def test_zram_has_nothing_to_compare_with(baseline: Baseline) -> None:
    scenario = msgspec.structs.replace(SCENARIO, swap=Swap(device="zram"), source="s.toml")
    if baseline == "zram":
        assert with_baseline(scenario, baseline) == scenario
    else:
        with pytest.raises(InputError, match=f"s.toml: swap.device: expected a device for the baseline {baseline}"):
            with_baseline(scenario, baseline)


@pytest.mark.parametrize(
    ("kernel", "release"),
    [
        ("7.2", "7.2"),
        ("7.2.13", "7.2"),
        ("7.2.13+deb14-amd64", "7.2"),
        ("6.12.117+deb12-amd64", "6.12"),
        ("6.18.15", "7.2"),
        ("6.1", "7.2"),
        ("./7.2/bzImage", "7.2"),
    ],
)
def test_a_replay_is_of_the_release_of_a_kernel_if_that_is_modelled(kernel: str, release: str) -> None:
    base = msgspec.structs.replace(SCENARIO, machine=Machine(kernel="7.2", memory=1 << 21))
    found = on_release_of(base, kernel)
    assert found.machine.kernel == release
    assert msgspec.structs.replace(found, machine=base.machine) == base
