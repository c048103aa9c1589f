"""The cases of tools/testing/selftests/cgroup/test_zswap.c, 6.12, by the names that they have there.

Each is a scenario, with what the original does; here is what it wants to see in the end. Whether memory.reclaim
succeeds is seen in pgsteal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swaplab.replay import replay
from swaplab.scenario.load import load_scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios/selftests"


def samples(name: str, *cgroups: str) -> list[list[dict[str, Any]]]:
    """Every sample of some cgroups."""
    result = replay(load_scenario(SCENARIOS / f"{name}.toml"))
    return [result.series(cgroup).to_pylist() for cgroup in cgroups]


def test_zswap_usage() -> None:
    ((end,),) = samples("usage", "test")
    assert end["zswpout"] > 0


def test_swapin_nozswap() -> None:
    (sampled,) = samples("swapin-nozswap", "test")
    assert max(each["memory.swap.current"] for each in sampled) >= 24 << 20
    assert sampled[-1]["zswpout"] == 0


def test_zswapin() -> None:
    (sampled,) = samples("zswapin", "test")
    assert sampled[-1]["zswpin"] >= (24 << 20) // 4096


@pytest.mark.parametrize(("child", "cgroup"), [("", "test"), ("-child", "test/child")])
def test_zswap_writeback_enabled(child: str, cgroup: str) -> None:
    ((before, after),) = samples(f"writeback-enabled{child}", cgroup)
    assert before["pgsteal"] >= 1024
    assert after["pgsteal"] - before["pgsteal"] >= 1024
    assert before["zswpwb"] == 0
    assert after["zswpwb"] > 0


@pytest.mark.parametrize(("child", "cgroup"), [("", "test"), ("-child", "test/child")])
def test_zswap_writeback_disabled(child: str, cgroup: str) -> None:
    ((before, after),) = samples(f"writeback-disabled{child}", cgroup)
    assert before["pgsteal"] >= 1024
    assert after["pgsteal"] - before["pgsteal"] < 1024
    assert after["zswpwb"] == 0


def test_no_invasive_cgroup_shrink() -> None:
    control, writeback = samples("no-invasive-cgroup-shrink", "control", "writeback")
    assert control[0]["zswapped"] > 0
    assert writeback[-1]["zswpwb"] > 0
    assert control[-1]["zswpwb"] == 0


def test_no_kmem_bypass() -> None:
    (machine,), (group,) = samples("no-kmem-bypass", "", "test")
    assert machine["stored_pages"] > (512 << 20) // 4096 // 5
    assert machine["stored_pages"] * 4096 - group["zswapped"] < machine["stored_pages"] * 4096 // 4
