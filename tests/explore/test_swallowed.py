"""A failed check ends a task, whatever it catches; what it catches of its own is its business."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from swaplab.explore import Holds, Program, ProgramError, Violated, explore
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    KernelWarning,
    ListHead,
    ListNode,
    Mutex,
    Shared,
    SpinLock,
    kfree,
    rcu,
    synchronize_rcu,
)


class Object(Shared):
    """Something to free."""

    v: int

    def __init__(self) -> None:
        self.v = 0
        self.node = ListNode(self, "node")


class System(Shared):
    """Some of everything."""

    flag: int

    def __init__(self) -> None:
        self.object = Object()
        self.lock = SpinLock(self, "lock")
        self.mutex = Mutex(self, "mutex")
        self.list: ListHead[Object] = ListHead(self, "list")
        self.count = Atomic(self, "count")
        self.flag = 0


def use(system: System) -> None:
    READ_ONCE(system.object).v  # noqa: B018


def write(system: System) -> None:
    WRITE_ONCE(system.object).v = 1


def add_twice(system: System) -> None:
    system.list.add(system.object.node)
    system.list.add(system.object.node)


def warn(system: System) -> None:
    system.count.inc_not_zero()
    raise KernelWarning("something is wrong")


def release(system: System) -> None:
    system.count.inc_not_zero()
    system.lock.release()


def sleep(system: System) -> None:
    with system.lock, system.mutex:
        pass


def free_twice(system: System) -> None:
    kfree(system.object)
    kfree(system.object)


def free(system: System) -> None:
    kfree(system.object)


FAILURES: dict[str, tuple[str, Callable[[System], None]]] = {
    "read": ("use after free", use),
    "write": ("use after free", write),
    "list": ("list corruption", add_twice),
    "warning": ("warning", warn),
    "lock": ("lock misuse", release),
    "sleep": ("sleeping in atomic context", sleep),
    "free": ("double free", free_twice),
}


def by_exception(fail: Callable[[System], None]) -> Callable[[System], None]:
    def run(system: System) -> None:
        with suppress(Exception):
            fail(system)

    return run


def by_bare_except(fail: Callable[[System], None]) -> Callable[[System], None]:
    def run(system: System) -> None:
        for _ in range(3):
            try:  # noqa: SIM105
                fail(system)
            except:  # noqa: E722, S110
                pass
            WRITE_ONCE(system).flag = 7

    return run


def by_another(fail: Callable[[System], None]) -> Callable[[System], None]:
    def run(system: System) -> None:
        try:
            fail(system)
        except Exception as error:
            raise ValueError("something else") from error

    return run


def by_return(fail: Callable[[System], None]) -> Callable[[System], Any]:
    def run(system: System) -> Any:
        try:
            fail(system)
        finally:
            return "all is well"  # noqa: B012

    return run


@pytest.mark.parametrize("swallow", [by_exception, by_bare_except, by_another, by_return])
@pytest.mark.parametrize("name", FAILURES)
def test_caught_and_found_all_the_same(name: str, swallow: Callable[..., Any]) -> None:
    title, fail = FAILURES[name]
    other = free if title == "use after free" else use
    verdict = explore(Program(name, System, {"CPU0": swallow(fail), "CPU1": other}))
    assert isinstance(verdict, Violated)
    assert any(title in each.kind for each in verdict.violations)


def test_nothing_is_done_after_a_failure() -> None:
    tasks = {"CPU0": by_bare_except(warn), "CPU1": use}
    verdict = explore(Program("ended", System, tasks, {"nothing came after": lambda s: s.flag == 0}))
    assert isinstance(verdict, Violated)
    assert [each.kind for each in verdict.violations] == ["warning"]


def test_one_that_will_not_end() -> None:
    def stubborn(system: System) -> None:
        while True:
            with suppress(BaseException):
                use(system)

    with pytest.raises(ProgramError, match="CPU0 goes on after its end, since it catches BaseException"):
        explore(Program("stubborn", System, {"CPU0": stubborn, "CPU1": free}))


def test_what_is_refused_is_refused_even_if_caught() -> None:
    outside = System()

    def use_outside(system: System) -> None:
        use(system)
        outside.lock.acquire()

    with pytest.raises(ProgramError, match="was made outside"):
        explore(Program("outside", System, {"CPU0": by_exception(use_outside), "CPU1": use}))


class Gone(Exception):  # noqa: N818
    """An exception of the program's own."""


def leave(block: Callable[[System], Any], after: Callable[[System], object]) -> Callable[[System], None]:
    def run(system: System) -> None:
        try:
            with block(system):
                system.count.add(1)
                raise Gone
        except Gone:
            after(system)

    return run


def take_both(system: System) -> None:
    with system.lock:
        pass
    with system.mutex:
        pass


BLOCKS: dict[str, Callable[[System], Any]] = {
    "spinlock": lambda system: system.lock,
    "mutex": lambda system: system.mutex,
    "rcu": lambda system: rcu,
}


@pytest.mark.parametrize("after", [take_both, lambda system: synchronize_rcu(), lambda system: None])
@pytest.mark.parametrize("name", BLOCKS)
def test_an_exception_that_leaves_a_block_gives_it_back(name: str, after: Callable[[System], object]) -> None:
    task = leave(BLOCKS[name], after)
    verdict = explore(Program(name, System, {"CPU0": task, "CPU1": task}, {"counted": lambda s: s.count.read() == 2}))
    assert isinstance(verdict, Holds), verdict


def test_others_may_come_in_between() -> None:
    """The lock is free where the exception has left it: a step like any other."""

    def look(system: System) -> None:
        with system.lock:
            WRITE_ONCE(system).flag = 1

    def fail_and_look(system: System) -> None:
        try:
            with system.lock:
                WRITE_ONCE(system).flag = 0
                raise Gone
        except Gone:
            with system.lock:
                assert READ_ONCE(system).flag == 0, "changed in between"

    verdict = explore(Program("between", System, {"CPU0": fail_and_look, "CPU1": look}))
    assert isinstance(verdict, Violated)
    assert any(each.sentence.startswith("changed in between") for each in verdict.violations)


def test_assertions_that_a_program_catches_are_its_own() -> None:
    def check(system: System) -> None:
        try:
            assert READ_ONCE(system).flag
        except AssertionError:
            WRITE_ONCE(system).flag = 1

    assert isinstance(explore(Program("own", System, {"CPU0": check, "CPU1": check})), Holds)


def test_a_bug_of_setup_is_said_even_if_caught() -> None:
    def setup() -> System:
        system = System()
        with suppress(Exception):
            add_twice(system)
        return system

    with pytest.raises(ProgramError, match=r"list corruption before any task runs: .*test_swallowed.py, line"):
        explore(Program("setup", setup, {"CPU0": use}))
