"""The order of cgroups, and where processes live."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from swaplab.scenario.model import Cgroup, Event, Scenario, Workload
from swaplab.scenario.tree import leaves, parent_of, pre_order


@given(st.permutations(["a", "a/x", "a/x/1", "a/y", "b", "b/x", "c"]))
def test_pre_order(paths: list[str]) -> None:
    order = pre_order(["", *paths])
    assert sorted(order) == sorted(["", *paths])
    for i, path in enumerate(order[1:], 1):
        below = [each.startswith(f"{path}/") for each in order[i + 1 :]]
        assert below == sorted(below, reverse=True), "all below a cgroup follow it at once"
    for parent in ("", "a", "b", "a/x"):
        own = [each for each in order if each and parent_of(each) == parent]
        assert own == [each for each in paths if each in own], "siblings stay in the scenario's order"


def test_processes_of_a_cgroup_with_children_live_in_a_leaf() -> None:
    cgroups = dict.fromkeys(("a", "a/x", "b", "b/y", "c"), Cgroup())
    workloads = tuple(Workload(cgroup=path, pages=1, accesses=1) for path in ("a", "a/x", "c"))
    scenario = Scenario(cgroups=cgroups, workloads=workloads)
    assert leaves(scenario) == {"a": "a/.swaplab"}, "b has none of its own"
    moved = msgspec.structs.replace(scenario, events=(Event(at=0, cgroup="b/y", remove=True),))
    assert leaves(moved) == {"a": "a/.swaplab", "b": "b/.swaplab"}, "b gets those of b/y"


def test_the_root_may_have_processes_beside_children() -> None:
    workload = Workload(cgroup="", pages=1, accesses=1)
    assert leaves(Scenario(cgroups={"a": Cgroup()}, workloads=(workload,))) == {}
