"""A policy of one's own in the place of what Linux does, one function at a time."""

from __future__ import annotations

import pytest
from tests.replay.lab import A, Lab, do_shrink_slab_of, shrink_worker_of
from tests.replay.scenarios import seeded_scenario
from tests.replay.validate import validate

from swaplab.errors import InputError
from swaplab.policy import Policy
from swaplab.replay import replay
from swaplab.replay.state import COMPRESSED
from swaplab.scenario.content import Random
from swaplab.scenario.model import Cgroup

IMPATIENT, FLOOR, AGE, NONE_TO_TAKE, PICKY, FAILING = range(1, 7)
SECOND = 1_000_000_000
BY_TAG = Policy(
    "by_tag.py",
    f"""
def second_chance(entry, cgroup, pool):
    return entry.referenced and cgroup.tag != {IMPATIENT} and cgroup.tag != {AGE}

def may_write_back(entry, cgroup, pool):
    return (cgroup.tag != {FLOOR} or cgroup.entries > 60) and (cgroup.tag != {AGE} or entry.age_ns >= {SECOND})

def shrinker_count(cgroup, pool, linux):
    return 0 if cgroup.tag == {NONE_TO_TAKE} else linux

def worker_preference(cgroup, pool):
    return cgroup.compressed_bytes

def accept_store(entry, cgroup, pool):
    if cgroup.tag == {FAILING}:
        raise ValueError("it fails")
    return cgroup.tag != {PICKY} or entry.length < 2000
""".encode(),
)
"""Does what Linux does, but for cgroups with a tag, and for whom the worker takes from."""
AS_LINUX = Policy("as_linux.py", b"def second_chance(entry, cgroup, pool): return entry.referenced")


def filled(tag: int, policy: Policy = BY_TAG, **arguments: object) -> Lab:
    """A lab with 100 pages in zswap, the first the oldest, and a tag on their cgroup."""
    lab = Lab(policy=policy, **arguments)  # type: ignore[arg-type]
    lab.machine.rules["tag"][A] = tag
    lab.touch(range(100))
    lab.reclaim(100)
    lab.machine.zswap.shrinker = 1
    return lab


def shrink(lab: Lab) -> int:
    """Have the shrinker do all that it may, as if nothing were compressed; how many pages it writes back."""
    m, before = lab.machine, lab.count("zswpwb")
    pretended = lab.count("entries") * 4096 - lab.count("zswap_bytes")
    m.memcgs["zswap_bytes"][A] += pretended
    do_shrink_slab_of(m, A, 0)
    m.memcgs["zswap_bytes"][A] -= pretended
    validate(m)
    return lab.count("zswpwb") - before


def test_as_linux_it_gives_the_same_bytes() -> None:
    scenario = seeded_scenario(4)
    assert replay(scenario, policy=AS_LINUX).samples == replay(scenario).samples


def test_without_a_second_chance_an_entry_goes_at_once() -> None:
    assert shrink(filled(0)) == 28  # of 128 that it looked at
    assert shrink(filled(IMPATIENT)) == 100


def test_a_floor_is_left_alone_in_order() -> None:
    lab = filled(FLOOR)
    for _ in range(4):
        shrink(lab)
    before = lab.entries()
    assert len(before) == 60
    assert shrink(lab) == 0
    assert lab.entries() == before


def test_only_what_is_old_enough_goes() -> None:
    lab = filled(AGE)
    m = lab.machine
    m.task.clock += 2 * SECOND
    m.stored_at[3:100] = m.task.clock + SECOND
    shrink(lab)
    assert lab.entries() == list(range(3, 100))
    m.task.clock += 3 * SECOND
    assert shrink(lab) > 0


def test_the_shrinker_may_be_told_that_there_is_nothing() -> None:
    lab = filled(NONE_TO_TAKE)
    assert [shrink(lab) for _ in range(4)] == [0] * 4
    assert lab.count("nr_deferred") == 0


def test_a_store_may_be_refused() -> None:
    lab = filled(PICKY, content=Random())
    validate(lab.machine)
    assert not lab.entries()
    assert lab.machine.zswap.pool_pages == 0
    assert len(lab.where(COMPRESSED)) == 0
    assert lab.count("pswpout") == 100


def test_the_worker_takes_from_whom_the_policy_prefers() -> None:
    lab = filled(IMPATIENT, cgroups={"b": Cgroup()})
    assert lab.entries()
    lab.machine.zswap.accept_pages = 0
    shrink_worker_of(lab.machine)
    validate(lab.machine)
    assert lab.entries() == []


def test_the_worker_leaves_alone_what_the_shrinker_does() -> None:
    lab = filled(FLOOR)
    lab.machine.zswap.accept_pages = 0
    for _ in range(20):
        shrink_worker_of(lab.machine)
    validate(lab.machine)
    assert len(lab.entries()) == 60


def test_what_a_function_raises_is_said_with_its_line() -> None:
    lab = Lab(policy=BY_TAG)
    lab.machine.rules["tag"][A] = FAILING
    lab.touch(range(10))
    with pytest.raises(
        InputError, match=r"^by_tag.py:16: expected nothing raised in accept_store, found ValueError: it"
    ):
        lab.reclaim(10)


def test_a_tag_is_of_a_cgroup_of_the_scenario() -> None:
    source = b"TAGS = {'a': 7, '%s': 8}\ndef accept_store(entry, cgroup, pool): return True"
    assert Lab(policy=Policy("t.py", source.replace(b"%s", b""))).machine.rules["tag"][A] == 7
    with pytest.raises(InputError, match=r"^t.py: TAGS: expected paths of the scenario's cgroups, found 'b'"):
        Lab(policy=Policy("t.py", source.replace(b"%s", b"b")))
