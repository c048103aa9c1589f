"""Numbers at the ends of their ranges: right, or refused by the key that they come from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from swaplab.errors import InputError
from swaplab.linux.zsmalloc import SIZE_CLASSES
from swaplab.replay import replay
from swaplab.replay.build import build, compressed_contents, tree_of
from swaplab.replay.state import CLOCK_MAX, FOLIO, GROUPS, LISTS_PER_MEMCG
from swaplab.result.counters import EVENTS
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.content import COMPONENTS_MAX, MIX_SAMPLES_MAX, Content, Mix, Part, SameFilled
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.load import parse_scenario
from swaplab.scenario.model import Cgroup, Event, Scenario, Workload
from swaplab.scenario.validate import CGROUPS_MAX, PAGES_MAX, SWAP_MAX, WORKLOADS_MAX, validate
from swaplab.vm.contents import contents_of

DEVICE = """
machine.memory = "4M"
machine.page_cluster = {cluster}
swap.size = "16M"
[swap.device]
read_latency = "{read}"
write_latency = "{write}"
read_bandwidth = {bandwidth}
write_bandwidth = "1G"
[cgroup.a]
memory.max = "400K"
[[workload]]
cgroup = "a"
pages = 400
accesses = {accesses}
"""


def mix(first: int, parts: int) -> Content:
    return Mix(tuple(Part(1.0, SameFilled(first + i)) for i in range(parts)))


@pytest.mark.parametrize(
    "contents",
    [
        [mix(1, 200), mix(300, 200)],
        [mix(1, 255), mix(300, 2), mix(1, 255)],
        [SameFilled(i + 1) for i in range(300)],
    ],
)
def test_any_number_of_components_is_told_apart(contents: list[Content]) -> None:
    """In the replay and in the guest: the samples of a page are those of its own content."""
    scenario = Scenario(workloads=tuple(Workload(pages=50, content=each) for each in contents))
    accesses = Accesses(scenario)
    machine = build(scenario, accesses, DEFAULT_COST, compressed_contents(scenario, accesses))
    guest = contents_of(scenario, accesses)
    for i, workload in enumerate(scenario.workloads):
        samples = workload.content.resolve(scenario.machine.seed, scenario.base)
        for page in range(50 * i, 50 * i + 50):
            expected = samples.bytes_of(page, 0)
            assert bytes(guest.samples[guest.first[guest.kinds[page]]]) == expected
            kind = machine.folios[page].kind
            assert bytes(guest.samples[machine.first[kind]]) == expected


def test_more_components_than_the_guest_can_name_are_refused() -> None:
    workloads = tuple(Workload(pages=1, content=mix(1000 * i, 255)) for i in range(258))
    scenario = Scenario(workloads=workloads, source="x.toml")
    with pytest.raises(InputError, match=r"x.toml: workload\[\d+\].content: expected at most 65536 components"):
        contents_of(scenario, Accesses(scenario))


def test_the_narrow_fields_hold_what_a_scenario_may_have() -> None:
    cgroups = 2 * CGROUPS_MAX + 1
    assert max(2 * PAGES_MAX, SWAP_MAX // 4096) + LISTS_PER_MEMCG * cgroups < np.iinfo(FOLIO["next"]).max
    assert np.iinfo(FOLIO["memcg"]).max > cgroups
    assert np.iinfo(FOLIO["length"]).max > 2 * 4096
    assert np.iinfo(np.uint8).max >= max(len(SIZE_CLASSES), COMPONENTS_MAX)
    assert np.iinfo(np.uint16).max > len(SIZE_CLASSES) * GROUPS
    assert WORKLOADS_MAX * MIX_SAMPLES_MAX < 1 << 26
    assert np.iinfo(np.uint32).max > 2 * PAGES_MAX


def test_a_cgroup_may_have_a_leaf_each() -> None:
    paths = ["/".join("abcdefgh"[:depth]) for depth in range(1, 9)]
    gone = tuple(Event(at=1, cgroup=path, remove=True) for path in reversed(paths))
    scenario = Scenario(workloads=(Workload(pages=1),), cgroups={path: Cgroup() for path in paths}, events=gone)
    validate(scenario)
    assert len(tree_of(scenario)) == 2 * len(paths)


@pytest.mark.parametrize("cluster", [0, 5])
@pytest.mark.parametrize(
    ("read", "write", "bandwidth", "key"),
    [
        ("4611686018s", "1us", 1 << 30, "read_latency"),
        ("1us", "4611686018s", 1 << 30, "write_latency"),
        ("4611686018s", "4611686018s", 1, "read_latency"),
        ("1000000s", "2000000s", 1, "write_latency"),
    ],
)
def test_a_device_whose_times_would_overflow_is_refused_by_its_key(
    cluster: int, read: str, write: str, bandwidth: int, key: str
) -> None:
    text = DEVICE.format(cluster=cluster, read=read, write=write, bandwidth=bandwidth, accesses=4000)
    scenario = parse_scenario(text, "x.toml", Path())
    with pytest.raises(InputError, match=rf"x.toml: swap.device.{key}: .*found [\d,]+ years for 4000 accesses"):
        replay(scenario)


@pytest.mark.parametrize("latency", ["1s", "3600s", "200000s"])
def test_slow_devices_take_time_that_only_grows(latency: str) -> None:
    text = DEVICE.format(cluster=0, read=latency, write=latency, bandwidth=1 << 20, accesses=4000)
    samples = replay(parse_scenario(text, "x.toml", Path())).samples
    times = samples.filter(samples["cgroup"].to_numpy(zero_copy_only=False) == "")["time_ns"].to_numpy()
    assert (np.diff(times) >= 0).all()
    assert times[-1] < CLOCK_MAX
    for name in EVENTS:
        assert min(samples[name].to_pylist()) >= 0, name


def test_costs_that_take_the_clock_to_its_end_are_an_error() -> None:
    """A page looked at takes a second here at most, but may be looked at any number of times."""
    cost = msgspec.structs.replace(DEFAULT_COST, reclaim_page_ns=1 << 55)
    text = DEVICE.format(cluster=0, read="1us", write="1us", bandwidth=1 << 30, accesses=4000)
    with pytest.raises(InputError, match=r"x.toml: swap.device and the costs: .* 146 years"):
        replay(parse_scenario(text, "x.toml", Path()), cost)
