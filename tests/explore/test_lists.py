"""An operation of a list entry is one on its neighbours, its list, and whatever list it is on by then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from tests.explore.found import found

from swaplab.kernel.sync import READ_ONCE, ListHead, ListNode, Shared, SpinLock, kfree


class Item(Shared):
    """An entry."""

    name: Final[str]
    node: Final[ListNode[Item]]

    def __init__(self, name: str) -> None:
        self.name = name
        self.node = ListNode(self, "node")


class System(Shared):
    """A, B and C on one list, D and E on another, F on none."""

    lock: Final[SpinLock]
    one: Final[ListHead[Item]]
    two: Final[ListHead[Item]]
    items: Final[tuple[Item, ...]]
    flag: bool

    def __init__(self) -> None:
        self.flag = False
        self.lock = SpinLock(self, "lock")
        self.one, self.two = ListHead(self, "one"), ListHead(self, "two")
        self.items = tuple(Item(name) for name in "ABCDEF")
        for item in self.items[:3]:
            self.one.add_tail(item.node)
        for item in self.items[3:5]:
            self.two.add_tail(item.node)

    def __getattr__(self, name: str) -> Item:
        return self.items["ABCDEF".index(name)]


Body = Callable[[System], object]


def meeting(body: Body) -> Body:
    """Do the same besides something that both tasks look at, but for which they would have nothing in common."""

    def run(system: System) -> None:
        READ_ONCE(system).flag  # noqa: B018
        body(system)

    return run


def free(name: str) -> Body:
    def run(system: System) -> None:
        kfree(getattr(system, name))

    return run


def locked(body: Body) -> Body:
    def run(system: System) -> None:
        with system.lock:
            body(system)

    return run


def unlink(name: str) -> Body:
    def run(system: System) -> None:
        getattr(system, name).node.delete()

    return run


def unlink_and_free(name: str) -> Body:
    def run(system: System) -> None:
        item = getattr(system, name)
        with system.lock:
            item.node.delete()
        kfree(item)

    return run


TOUCHING: dict[str, tuple[Body, str, str]] = {
    "removal": (lambda s: s.B.node.delete(), "ABC", "DEF"),
    "removal of the first": (lambda s: s.A.node.delete(), "AB", "CDEF"),
    "adding": (lambda s: s.one.add(s.F.node), "AF", "BCDE"),
    "adding at the tail": (lambda s: s.one.add_tail(s.F.node), "CF", "ABDE"),
    "moving": (lambda s: s.one.move_tail(s.A.node), "ABC", "DEF"),
    "splicing": (lambda s: s.one.splice(s.two), "ADE", "BCF"),
    "splicing a longer list": (lambda s: s.two.splice(s.one), "ACD", "BEF"),
    "the next": (lambda s: s.one.after(s.A.node), "A", "BCDEF"),
    "the first": (lambda s: s.one.first(), "", "ABCDEF"),
    "walking": (lambda s: list(s.one), "ABC", "DEF"),
    "empty": (lambda s: s.A.node.empty(), "A", "BCDEF"),
}


@pytest.mark.parametrize("name", TOUCHING)
def test_what_is_touched_has_to_be_alive(name: str) -> None:
    """And nothing else has to."""
    body, touched, others = TOUCHING[name]
    for each in touched:
        for tasks in ({"CPU0": body, "CPU1": free(each)}, {"CPU0": free(each), "CPU1": body}):
            assert found(System, tasks).kinds == {"use after free"}, each
    for each in others:
        assert found(System, {"CPU0": meeting(body), "CPU1": meeting(free(each))}) == (set(), set(), 1), each


def test_who_is_a_neighbour_is_decided_when_it_is_done() -> None:
    """B is no neighbour of A any more when it is freed; then C is."""
    tasks: dict[str, Body] = {"CPU0": locked(lambda s: s.A.node.delete()), "CPU1": unlink_and_free("B")}
    assert not found(System, tasks).kinds
    sentences = found(System, {**tasks, "CPU2": free("C")}).sentences
    assert any("CPU0" in each or "C.node" in each for each in sentences)


@pytest.mark.parametrize("splice", [lambda s: s.one.splice(s.two), lambda s: s.two.splice(s.one)])
def test_removal_and_splice_in_both_orders(splice: Body) -> None:
    """Whichever list an entry is on by then, its removal is one from that."""
    for name in "ABCDE":
        assert found(System, {"CPU0": locked(unlink(name)), "CPU1": locked(splice)}) == (set(), set(), 2)
        assert found(System, {"CPU0": unlink(name), "CPU1": splice}).kinds == {"list corruption"}


def test_an_empty_list_is_only_read() -> None:
    def drain(system: System) -> None:
        for item in system.items[3:5]:
            item.node.delete()

    def set_up() -> System:
        system = System()
        drain(system)
        return system

    tasks: dict[str, Body] = {"CPU0": meeting(lambda s: s.one.splice(s.two)), "CPU1": meeting(unlink("A"))}
    assert found(set_up, tasks) == (set(), set(), 1)
    tasks = {"CPU0": locked(lambda s: s.one.splice(s.two)), "CPU1": locked(lambda s: s.two.add(s.F.node))}
    assert found(set_up, tasks) == (set(), set(), 2)


def test_who_walks_sees_what_is_there_by_then() -> None:
    seen = set()

    def walk(system: System) -> str:
        with system.lock:
            return "".join(item.name for item in system.one)

    def note(_: System, told: dict[str, str]) -> bool:
        seen.add(told["CPU0"])
        return True

    assert not found(System, {"CPU0": walk, "CPU1": locked(unlink("B"))}, {"noted": note}).kinds
    assert seen == {"ABC", "AC"}


def walk_in_steps(steps: int) -> Body:
    """Take the lock for each step of a walk anew."""

    def walk(system: System) -> None:
        entries = iter(system.one)
        for _ in range(steps):
            with system.lock:
                next(entries, None)

    return walk


def test_a_walk_that_would_never_end() -> None:
    """The lock is dropped in between, and the entry is gone from where the walk goes on."""
    result = found(System, {"CPU0": walk_in_steps(3), "CPU1": locked(unlink("B"))})
    assert result.sentences == {"a walk of System.one has come to Item B.node, which is on no list"}


def test_a_walk_that_ends_on_another_list() -> None:
    """It would take the head of that list for an entry, and go on."""
    result = found(System, {"CPU0": walk_in_steps(9), "CPU1": locked(lambda s: s.two.splice(s.one))})
    assert result.kinds == {"list corruption"}
    assert all(sentence.endswith("which is on System.two") for sentence in result.sentences)


def test_a_list_spliced_into_itself() -> None:
    result = found(System, {"CPU0": lambda s: s.one.splice(s.one)})
    assert result.sentences == {"System.one is spliced into itself"}


def test_entries_of_different_lists_are_independent() -> None:
    tasks: dict[str, Body] = {"CPU0": meeting(unlink("A")), "CPU1": meeting(unlink("D"))}
    assert found(System, tasks) == (set(), set(), 1)
