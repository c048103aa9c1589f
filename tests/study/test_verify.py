from __future__ import annotations

import pytest

from swaplab.replay import replay
from swaplab.report.tune import measured_verdict
from swaplab.scenario.model import Cgroup, Scenario, Workload, Zswap
from swaplab.study.table import outcome_of
from swaplab.study.verify import Measured, measured_of

PRESENT = Measured(memory=100, time=1000, refaults=50, writes=0, killed=0)


@pytest.mark.parametrize(
    ("chosen", "objective", "said"),
    [
        (PRESENT._replace(memory=80), "memory", "Confirmed: the kernel has 20% less memory"),
        (PRESENT._replace(memory=100), "memory", "NOT CONFIRMED: the kernel has no less memory"),
        (PRESENT._replace(memory=120, time=500), "stall", "Confirmed: the kernel has 50% less time"),
        (PRESENT, "writes", "NOT CONFIRMED"),
        (PRESENT._replace(memory=1, killed=1), "memory", "NOT CONFIRMED: with the chosen settings the kernel killed"),
    ],
)
def test_a_gain_is_confirmed_or_not(chosen: Measured, objective: str, said: str) -> None:
    assert measured_verdict(PRESENT, chosen, objective).startswith(said)


def test_the_same_run_is_measured_as_it_was_predicted() -> None:
    scenario = Scenario(
        zswap=Zswap(enabled=True),
        cgroups={"a": Cgroup(memory_max=256 << 10)},
        workloads=(Workload(cgroup="a", pages=100, accesses=2000, write_fraction=0.5),),
    )
    result = replay(scenario)
    measured, outcome = measured_of(result), outcome_of(result)
    assert measured.refaults == outcome.from_memory + outcome.from_disk > 0
    assert (measured.memory, measured.writes) == (outcome.memory, outcome.writes * 4096)
    assert measured.time > outcome.time_lost
