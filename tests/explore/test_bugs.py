"""Each kind of bug is found where it is, and not found where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from swaplab.explore import Bounded, Holds, Program, ProgramError, Verdict, Violated, Violation, explore, record
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    ListHead,
    ListNode,
    Mutex,
    Shared,
    SpinLock,
    call_rcu,
    kfree,
    kfree_rcu,
    rcu,
    rcu_assign_pointer,
    rcu_dereference,
    relax,
    synchronize_rcu,
)


class Item(Shared):
    """Something that is allocated and freed."""

    name: Final[str]
    value: int

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 1
        self.node = ListNode(self, "node")


class System(Shared):
    """Some of everything."""

    flag: int
    item: Item | None

    def __init__(self) -> None:
        self.a = SpinLock(self, "a")
        self.b = SpinLock(self, "b")
        self.mutex = Mutex(self, "mutex")
        self.items: ListHead[Item] = ListHead(self, "items")
        self.flag = 0
        self.item = Item("one")


Body = Callable[[System], object]


def locked_increment(system: System) -> None:
    with system.a:
        system.flag += 1


def increment(system: System) -> None:
    system.flag += 1


def take(first: str, second: str) -> Body:
    def run(system: System) -> None:
        with getattr(system, first), getattr(system, second):
            pass

    return run


def use_under_rcu(system: System) -> None:
    with rcu:
        item = rcu_dereference(system).item
        if item:
            assert READ_ONCE(item).value


def use_after_rcu(system: System) -> None:
    with rcu:
        item = rcu_dereference(system).item
    if item:
        assert READ_ONCE(item).value


def replace(free: Callable[[Item], object]) -> Body:
    def run(system: System) -> None:
        item = READ_ONCE(system).item
        rcu_assign_pointer(system).item = None
        assert item
        free(item)

    return run


def wait_and_free(item: Item) -> None:
    synchronize_rcu()
    kfree(item)


def spin_until_set(system: System) -> None:
    while not READ_ONCE(system).flag:
        relax()


def spin_until_set_under_lock(system: System) -> None:
    while True:
        with system.a:
            if system.flag:
                return
        relax()


def set_flag_under_lock(system: System) -> None:
    with system.a:
        system.flag = 1


def set_flag(system: System) -> None:
    WRITE_ONCE(system).flag = 1


def add_unlocked(system: System) -> None:
    system.items.add_tail(Item("new").node)


def add_locked(system: System) -> None:
    item = Item("new")
    with system.a:
        system.items.add_tail(item.node)


def drop(system: System) -> None:
    Item("lost").value = 2


def sleep_in_section(system: System) -> None:
    with system.a, system.mutex:
        pass


def sleep_under_rcu(system: System) -> None:
    with rcu:
        synchronize_rcu()


def forget_unlock(system: System) -> None:
    system.a.acquire()


def deferred_free(system: System) -> None:
    item = READ_ONCE(system).item
    assert item
    rcu_assign_pointer(system).item = None
    call_rcu(kfree, item)


def twice(free: Callable[[Item], object]) -> dict[str, Body]:
    def run(system: System) -> None:
        item = READ_ONCE(system).item
        if item:
            rcu_assign_pointer(system).item = None
            free(item)

    return {"CPU0": run, "CPU1": run}


BROKEN: dict[str, tuple[str, dict[str, Body]]] = {
    "plain counter": ("data race", {"CPU0": increment, "CPU1": increment}),
    "a against b": ("lock-order cycle", {"CPU0": take("a", "b"), "CPU1": take("b", "a")}),
    "the same lock": ("deadlock", {"CPU0": take("a", "a")}),
    "pointer kept too long": ("use after free", {"CPU0": use_after_rcu, "CPU1": replace(kfree_rcu)}),
    "freed too early": ("use after free", {"CPU0": use_under_rcu, "CPU1": replace(kfree)}),
    "freed by both": ("double free", twice(kfree_rcu)),
    "never set": ("stuck in a retry loop", {"CPU0": spin_until_set}),
    "never set, for two": (
        "stuck in a retry loop",
        {"CPU0": spin_until_set_under_lock, "CPU1": spin_until_set_under_lock},
    ),
    "list without lock": ("list corruption", {"CPU0": add_unlocked, "CPU1": add_unlocked}),
    "dropped": ("leak", {"CPU0": drop}),
    "mutex under spinlock": ("sleeping in atomic context", {"CPU0": sleep_in_section}),
    "waiting for oneself": ("sleeping in atomic context", {"CPU0": sleep_under_rcu}),
    "not unlocked": ("lock misuse", {"CPU0": forget_unlock}),
}
SOUND: dict[str, dict[str, Body]] = {
    "counter under lock": {"CPU0": locked_increment, "CPU1": locked_increment},
    "one order": {"CPU0": take("a", "b"), "CPU1": take("a", "b")},
    "pointer inside the section": {"CPU0": use_under_rcu, "CPU1": replace(kfree_rcu)},
    "freed after waiting": {"CPU0": use_under_rcu, "CPU1": replace(wait_and_free)},
    "freed by a callback": {"CPU0": use_under_rcu, "CPU1": deferred_free},
    "set in the end": {"CPU0": spin_until_set, "CPU1": set_flag},
    "set in the end, under a lock": {
        "CPU0": spin_until_set_under_lock,
        "CPU1": spin_until_set_under_lock,
        "CPU2": set_flag_under_lock,
    },
    "list under lock": {"CPU0": add_locked, "CPU1": add_locked},
}


def the(verdict: Verdict, kind: str) -> Violation:
    """The shortest violation of a kind."""
    assert isinstance(verdict, Violated)
    return next(each for each in verdict.violations if each.kind == kind)


@pytest.mark.parametrize("name", BROKEN)
def test_found(name: str) -> None:
    kind, tasks = BROKEN[name]
    program = Program(name, System, tasks)
    violation = the(explore(program), kind)
    again = record(program, violation.schedule.choices)
    bug = again.bug(kind, violation.sentence)
    assert bug
    assert again.steps(bug) == violation.steps
    assert again.preemptions == violation.preemptions


@pytest.mark.parametrize("name", SOUND)
def test_not_found(name: str) -> None:
    verdict = explore(Program(name, System, SOUND[name]))
    assert isinstance(verdict, Holds), verdict


def deadlock_by_trylock(first: str, second: str) -> Body:
    """Locks in both orders where lockdep sees none: the outer one is only tried."""

    def run(system: System) -> None:
        if getattr(system, first).try_acquire():
            with getattr(system, second):
                pass
            getattr(system, first).release()

    return run


def test_deadlock() -> None:
    verdict = explore(Program("trylock", System, {"CPU0": deadlock_by_trylock("a", "b"), "CPU1": take("b", "a")}))
    assert the(verdict, "deadlock").sentence


def test_invariant_with_its_sentence() -> None:
    tasks: dict[str, Body] = {"CPU0": set_flag}
    verdict = explore(Program("flag", System, tasks, {"the flag is clear": lambda s: not s.flag}))
    assert the(verdict, "invariant broken").sentence == "the flag is clear"


def test_fewest_preemptions() -> None:
    """One interruption shows a lost update; the tasks need none to be run one after the other."""

    def increment_once(system: System) -> None:
        WRITE_ONCE(system).flag = READ_ONCE(system).flag + 1

    tasks: dict[str, Body] = {f"CPU{n}": increment_once for n in range(3)}
    verdict = explore(Program("lost update", System, tasks, {"three were counted": lambda s: s.flag == 3}))
    violation = the(verdict, "invariant broken")
    assert violation.preemptions == 1
    assert violation.fewest


def test_bounded_is_no_proof() -> None:
    tasks: dict[str, Body] = {f"CPU{n}": locked_increment for n in range(3)}
    verdict = explore(Program("bounded", System, tasks), every_trace=True, executions_max=2)
    assert isinstance(verdict, Bounded)
    assert not verdict.complete


def test_program_that_is_not_deterministic() -> None:
    count = iter(range(1000))

    def drift(system: System) -> None:
        if next(count) % 3 == 0:
            take("b", "a")(system)
        locked_increment(system)

    with pytest.raises(ProgramError, match="count, a variable around drift, a range_iterator, changes when it is used"):
        explore(Program("drift", System, {"CPU0": drift, "CPU1": drift}))


def test_task_that_never_ends() -> None:
    def forever(system: System) -> None:
        while True:
            locked_increment(system)

    message = (
        r"forever: no end after 20,000 steps. CPU0 goes on and on \(.*test_bugs.py, line \d+, in forever: while True:"
        r"\): a loop that waits for somebody else has to call relax\(\)"
    )
    with pytest.raises(ProgramError, match=message):
        explore(Program("forever", System, {"CPU0": forever}))


def test_errors_of_the_program_itself() -> None:
    def wrong(system: System) -> None:
        raise ValueError("mine")

    with pytest.raises(ProgramError, match=r"ValueError in the program itself: mine \(.*test_bugs.py, line"):
        explore(Program("wrong", System, {"CPU0": wrong}))
    with pytest.raises(ProgramError, match="ZeroDivisionError"):
        explore(Program("wrong", System, {"CPU0": set_flag}, {"never": lambda s: 1 // 0 == 1}))


@pytest.mark.parametrize("value", [None, 0, 1, [], "yes"])
def test_an_invariant_that_is_neither_true_nor_false(value: object) -> None:
    with pytest.raises(ProgramError, match=r'"it is so" returns .*: it has to return True or False'):
        explore(Program("vague", System, {"CPU0": set_flag}, {"it is so": lambda s: value}))  # type: ignore[dict-item, return-value]


def test_objects_from_outside() -> None:
    outside = System()
    with pytest.raises(ProgramError, match="was made outside"):
        explore(Program("outside", System, {"CPU0": lambda s: locked_increment(outside)}))
