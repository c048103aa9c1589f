from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from swaplab.errors import InputError, SwaplabError
from swaplab.replay import replay
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.study import run
from swaplab.study.plan import Variant, of_axes, of_baselines
from swaplab.study.run import Summarise, processes
from swaplab.study.table import Outcome, Summary, spreads, write_table
from swaplab.study.vary import parse_axis

SCENARIO = """
[zswap]
enabled = true
[cgroup."app"]
memory.max = "256K"
[[workload]]
cgroup = "app"
pages = 100
accesses = 2000
content = { file = "data" }
"""
TASK = Summarise(DEFAULT_COST)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Variant]:
    """Two limits times two seeds; nothing is known of them yet."""
    monkeypatch.setattr(run, "read_cached", lambda _name: None)
    (tmp_path / "data").write_bytes(bytes(range(256)) * 64)
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    return of_axes(path, ["samples=2"], [parse_axis("cgroup.app.memory.max=256K,320K")], seeds=2)


def test_a_plan_is_checked_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    with pytest.raises(InputError, match=r"zswap\.compressor: expected lzo or"):
        of_axes(path, [], [parse_axis("zswap.compressor=lz4,quick")])


def test_variants_differ_in_what_is_varied(plan: list[Variant]) -> None:
    assert [each.scenario.cgroups["app"].memory_max for each in plan] == [256 << 10, 256 << 10, 320 << 10, 320 << 10]
    assert [each.scenario.machine.seed for each in plan] == [0, 1, 0, 1]
    assert all(each.scenario.samples == 2 for each in plan)


def test_a_summary_is_that_of_the_replay(plan: list[Variant]) -> None:
    result = replay(plan[0].scenario)
    found = TASK(plan[0])
    last, series = result.final(), result.series()
    assert found.finals["app"]["zswpin"] == result.final("app")["zswpin"] > 0
    assert (found.outcome.from_memory, found.outcome.time_lost) == (last["zswpin"], last.time_lost)
    held = [sum(each) for each in zip(series["anon"].to_pylist(), series["pool_total_size"].to_pylist(), strict=True)]
    assert found.outcome.memory == sum(held) / 2


def test_any_number_of_processes_gives_the_same(plan: list[Variant]) -> None:
    with processes(1) as one, processes(2) as two:
        assert list(two(TASK, plan)) == list(one(TASK, plan))


def test_a_plan_is_taken_as_it_is_needed(plan: list[Variant]) -> None:
    taken = []

    def variants() -> Iterator[Variant]:
        for variant in plan * 10:
            taken.append(variant)
            yield variant

    with processes(2) as two:
        results = two(TASK, variants())
        next(results)
        assert len(taken) <= run.AHEAD * 2 + 1
        assert len(list(results)) == 39


def die(_variant: Variant) -> Summary:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_process_that_is_killed_ends_the_study(plan: list[Variant]) -> None:
    with pytest.raises(SwaplabError, match="was killed"), processes(2) as two:
        list(two(die, plan))


def test_what_is_known_is_not_run_again(plan: list[Variant], monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, bytes] = {}

    monkeypatch.setattr(run, "read_cached", kept.get)
    monkeypatch.setattr(run, "write_cached", kept.__setitem__)
    first = [TASK(each) for each in plan]
    assert len(kept) == len(plan)
    monkeypatch.setattr(run, "replay", None)
    assert [TASK(each) for each in plan] == first
    (plan[0].scenario.base / "data").write_bytes(bytes(8192))
    with pytest.raises(TypeError):  # it would run
        TASK(plan[0])


def test_the_table_has_a_row_for_each_variant_and_cgroup(plan: list[Variant], tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    summaries = list(write_table(path, plan, map(TASK, plan)))
    rows = pq.read_table(path).to_pylist()
    assert [(row["cgroup.app.memory.max"], row["seed"], row["cgroup"]) for row in rows[:4]] == [
        ("256K", 0, ""),
        ("256K", 0, "app"),
        ("256K", 1, ""),
        ("256K", 1, "app"),
    ]
    assert [row["zswpin"] for row in rows if row["cgroup"]] == [each.finals["app"]["zswpin"] for each in summaries]


def test_spreads_are_over_seeds(plan: list[Variant]) -> None:
    variants = [Variant({"a": value}, plan[0].scenario, seed) for value in "xy" for seed in range(3)]
    outcomes = [Outcome(number, 0, 0, 0, -number, 0) for number in (5, 1, 3, 10, 30, 20)]
    (x, y) = spreads(variants, outcomes).rows
    assert (x.settings, x.median.memory, x.least.memory, x.most.memory) == ({"a": "x"}, 3, 1, 5)
    assert (y.median.time_lost, y.least.time_lost, y.most.time_lost) == (-20, -30, -10)


def test_baselines_are_a_plan(plan: list[Variant]) -> None:
    made = of_baselines(plan[0].scenario, ("off", "zram"))
    assert [(each.baseline, each.scenario.swap.device == "zram") for each in made] == [("off", False), ("zram", True)]
