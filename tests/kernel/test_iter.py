"""mem_cgroup_iter: reclaimers share a walk, whose position holds no reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from swaplab.explore import FewPreemptions, Holds, Program, Violated, explore
from swaplab.kernel import memcontrol
from swaplab.kernel.css import cgroup_rmdir
from swaplab.kernel.memcontrol import (
    MemcgRoot,
    MemCgroup,
    ReclaimCookie,
    mem_cgroup_create,
    mem_cgroup_iter,
    mem_cgroup_iter_break,
)
from swaplab.kernel.protocol import Protocol
from swaplab.kernel.sync import Direct, Shared, install

Walk = tuple[tuple[int, str], ...]
"""What a walk was given: generations and names."""


class Tree(Shared):
    """A memcg ``pod`` with children."""

    def __init__(self, children: str = "a") -> None:
        self.pod = mem_cgroup_create(MemcgRoot(Protocol()).root, "pod")
        self.children = tuple(mem_cgroup_create(self.pod, name) for name in children)

    def walk(self, stop: int = -1) -> list[str]:
        """Go on with the shared walk, until it ends or after `stop` memcgs; return their names."""
        return [name for _, name in self.meet(stop)]

    def meet(self, stop: int = -1) -> Walk:
        """The same; return their generations, too."""
        cookie = ReclaimCookie()
        met: list[tuple[int, str]] = []
        memcg = mem_cgroup_iter(self.pod, None, cookie)
        while memcg:
            met.append((cookie.generation, memcg.name))
            if len(met) == stop:
                mem_cgroup_iter_break(self.pod, memcg)
                break
            memcg = mem_cgroup_iter(self.pod, memcg, cookie)
        return tuple(met)


@pytest.fixture
def runtime() -> Iterator[Direct]:
    runtime = Direct()
    with install(runtime):
        yield runtime


@pytest.mark.usefixtures("runtime")
def test_who_reclaims_next_goes_on_where_the_last_one_stopped() -> None:
    tree = Tree("abc")
    assert tree.walk(stop=2) == ["pod", "a"]
    assert tree.walk(stop=1) == ["b"]
    assert tree.walk() == ["c"]
    assert tree.walk() == ["pod", "a", "b", "c"]


@pytest.mark.usefixtures("runtime")
def test_who_comes_at_the_very_end_is_given_something() -> None:
    tree = Tree("a")
    assert tree.walk(stop=2) == ["pod", "a"]
    assert tree.walk(stop=1) == ["pod"]


@pytest.mark.usefixtures("runtime")
def test_a_walk_ends_for_all_who_have_joined_it() -> None:
    tree = Tree("a")
    slow = ReclaimCookie()
    first = mem_cgroup_iter(tree.pod, None, slow)
    assert tree.walk() == ["a"]
    assert mem_cgroup_iter(tree.pod, first, slow) is None


@pytest.mark.usefixtures("runtime")
def test_a_walk_of_ones_own_meets_all() -> None:
    tree = Tree("ab")
    tree.walk(stop=2)
    found, memcg = [], mem_cgroup_iter(tree.pod, None)
    while memcg:
        found.append(memcg.name)
        memcg = mem_cgroup_iter(tree.pod, memcg)
    assert found == ["pod", "a", "b"]


def test_a_walk_that_stopped_at_what_is_gone_begins_again(runtime: Direct) -> None:
    tree = Tree("ab")
    tree.walk(stop=2)
    cgroup_rmdir(tree.children[0])
    runtime.drain()
    assert tree.walk() == ["pod", "b"]


def twice(tree: Tree) -> None:
    """Reclaim until something is found in the child, and once more."""
    tree.walk(stop=2)
    tree.walk(stop=2)


def remove(tree: Tree) -> None:
    """Remove the child."""
    cgroup_rmdir(tree.children[0])


WALK_AND_RMDIR = Program("walk", Tree, {"CPU0": twice, "CPU1": remove})


def test_no_walk_follows_what_was_freed() -> None:
    assert isinstance(explore(WALK_AND_RMDIR), Holds)


def test_unless_positions_are_not_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ignore: Callable[[MemCgroup], None] = lambda dead: None  # noqa: E731
    monkeypatch.setattr(memcontrol, "invalidate_reclaim_iterators", ignore)
    verdict = explore(WALK_AND_RMDIR, first=True)
    assert isinstance(verdict, Violated)
    assert {each.kind for each in verdict.violations} == {"use after free"}


WALKERS = {"CPU0": Tree.meet, "CPU1": Tree.meet}


def test_each_is_given_something_and_together_they_meet_all() -> None:
    def is_fair(_: Tree, told: dict[str, Walk]) -> bool:
        return all(told.values()) and {name for walk in told.values() for _, name in walk} == {"pod", "a"}

    assert isinstance(explore(Program("walkers", Tree, WALKERS, {"nobody is left out": is_fair})), Holds)


def test_even_one_walker_may_be_given_the_same_twice() -> None:
    """The generation is checked before the position is read, and at the end of a walk changes after it."""

    def is_shared(_: Tree, told: dict[str, Walk]) -> bool:
        return all(len(set(walk)) == len(walk) for walk in told.values())

    program = Program("walkers", Tree, WALKERS, {"each memcg is met once in each walk": is_shared})
    verdict = explore(program, FewPreemptions(1), first=True)
    assert isinstance(verdict, Violated)
    assert verdict.violations[0].preemptions == 1
