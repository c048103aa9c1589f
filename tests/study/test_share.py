from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from swaplab.replay import replay
from swaplab.scenario.content import File, Ratio
from swaplab.scenario.model import Cgroup, Machine, Scenario, Workload, Zswap
from swaplab.study import share
from swaplab.study.share import Shared

replace = msgspec.structs.replace


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    (tmp_path / "data").write_bytes(bytes(range(256)) * 64)
    return Scenario(
        zswap=Zswap(enabled=True),
        cgroups={"a": Cgroup(memory_max=256 << 10), "b": Cgroup(memory_max=128 << 10)},
        workloads=(
            Workload(cgroup="a", pages=100, accesses=2000, content=File("data")),
            Workload(cgroup="b", pages=60, accesses=1000, write_fraction=0.3, content=Ratio(2.0)),
        ),
        samples=3,
        base=tmp_path,
    )


def variants(scenario: Scenario) -> list[Scenario]:
    """One for each thing that what is shared depends on, or does not."""
    first, second = scenario.workloads
    return [
        scenario,
        replace(scenario, cgroups={**scenario.cgroups, "a": Cgroup(memory_max=200 << 10)}),
        replace(scenario, zswap=Zswap(enabled=True, compressor="zstd")),
        replace(scenario, machine=Machine(seed=5)),
        replace(scenario, interleave=10),
        replace(scenario, workloads=(first, replace(second, content=Ratio(3.0)))),
        replace(scenario, workloads=(first, replace(second, pages=50))),
        replace(scenario, workloads=(replace(first, pages=90), replace(second, pages=70))),
        replace(scenario, workloads=(first, replace(second, write_fraction=0.5))),
        replace(scenario, workloads=(replace(first, cgroup="b"), second)),
    ]


@pytest.mark.parametrize("accesses_max", [1 << 26, 0])
def test_a_shared_replay_is_the_same_replay(
    scenario: Scenario, accesses_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share, "ACCESSES_MAX", accesses_max)
    shared = Shared()
    for each in variants(scenario) * 2:
        assert replay(each, prepared=shared.prepared(each)).samples.equals(replay(each).samples)


def test_what_variants_have_in_common_is_made_once(scenario: Scenario) -> None:
    shared = Shared()
    made = [shared.prepared(each) for each in variants(scenario)[:3]]
    assert len({id(next(each.accesses.chunks())) for each in made}) == 1
    assert made[0].contents is made[1].contents
    assert made[0].contents is not made[2].contents


def test_a_file_that_changed_is_read_again(scenario: Scenario) -> None:
    shared = Shared()
    before = shared.prepared(scenario)
    (scenario.base / "data").write_bytes(bytes(8192))
    assert shared.prepared(scenario).contents is not before.contents
