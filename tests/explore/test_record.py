"""What is taken down of an execution: values, names, and which operations matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program, Step, Violated, explore
from swaplab.kernel.sync import (
    Array,
    Atomic,
    KernelWarning,
    ListHead,
    ListNode,
    Mutex,
    PercpuRef,
    Shared,
    SpinLock,
    kfree,
    kfree_rcu,
    rcu,
)
from swaplab.kernel.sync.shared import READ_ONCE, WRITE_ONCE


class Thing(Shared):
    """Something with a name of its own."""

    name: Final[str]
    value: int

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0
        self.node: ListNode[Thing] = ListNode(self, "node")


class Folio(Shared):
    """Something without."""

    value: int

    def __init__(self) -> None:
        self.value = 7
        self.ref = PercpuRef(self, "ref", lambda: None)


class System(Shared):
    """One of everything."""

    def __init__(self) -> None:
        self.thing = Thing("T")
        self.folios = (Folio(), Folio())
        self.count = Atomic(None, "count")
        self.lock = SpinLock(None, "lock")
        self.mutex = Mutex(None, "mutex")
        self.map = Array(self.thing, "map", [0, 0])
        self.list: ListHead[Thing] = ListHead(None, "list")


Body = Callable[[System], object]
Check = Callable[[System], bool]


def steps(tasks: dict[str, Body], check: Check | None = None) -> list[Step]:
    """Return the steps of what breaks."""
    invariants = {"it is as it should be": check} if check else {}
    verdict = explore(Program("recorded", System, tasks, invariants))
    assert isinstance(verdict, Violated), verdict
    return verdict.violations[0].steps


def texts(tasks: dict[str, Body], check: Check | None = None) -> list[str]:
    """Return what is shown, with values."""
    return [
        f"{step.cpu}: {step.what} {' '.join([step.subject, *step.arguments])} = {step.value}"
        for step in steps(tasks, check)
        if step.matters
    ]


def test_values_that_are_read_written_and_returned() -> None:
    def run(system: System) -> None:
        WRITE_ONCE(system.thing).value = READ_ONCE(system.thing).value + 5
        system.count.cmpxchg(0, 3)
        system.lock.try_acquire()
        system.lock.try_acquire()
        system.lock.release()
        system.map[1] = 4
        WRITE_ONCE(system.map)[0] = 9
        system.list.add(system.thing.node)
        assert system.map[1] == 5

    assert texts({"CPU0": run}) == [
        "CPU0: read T.value = 0",
        "CPU0: write T.value = 5",
        "CPU0: atomic_cmpxchg count 0 3 = 0",
        "CPU0: spin_trylock lock = true",
        "CPU0: spin_trylock lock = false",
        "CPU0: spin_unlock lock = ",
        "CPU0: write T.map[1] = 4",
        "CPU0: write T.map[0] = 9",
        "CPU0: list_add list T.node = ",
        "CPU0: read T.map[1] = 4",
    ]


class Made(Shared):
    """Something that uses its parts before it is shared."""

    def __init__(self) -> None:
        self.count = Atomic(self, "count")
        self.count.cmpxchg(0, 7)
        self.value = self.count.read()


def test_what_an_object_does_while_it_is_made_is_no_step() -> None:
    def run(system: System) -> None:
        READ_ONCE(system.thing).value  # noqa: B018
        assert Made().count.add_return(1) == 0

    assert texts({"CPU0": run}) == [
        "CPU0: read T.value = 0",
        "CPU0: atomic_add_return Made#1@CPU0.count 1 = 8",
    ]


def test_a_null_pointer_is_one() -> None:
    assert "CPU0: list_first_entry list = NULL" in texts({"CPU0": lambda system: system.list.first().value})  # type: ignore[union-attr]


def test_objects_without_a_name_have_a_number() -> None:
    def run(system: System) -> None:
        mine = Folio()
        mine.value = system.folios[1].value
        kfree(system.folios[1])
        kfree(mine)
        system.thing.value = system.folios[1].value

    shown = texts({"CPU0": run})
    assert shown == [
        "CPU0: read Folio#2.value = 7",
        "CPU0: write Folio#1@CPU0.value = 7",
        "CPU0: kfree Folio#2 = ",
        "CPU0: kfree Folio#1@CPU0 = ",
        "CPU0: read Folio#2.value = ",
    ]


def test_what_an_invariant_looks_at_matters_though_it_commutes_and_one_cpu_does_it() -> None:
    def take(system: System) -> None:
        system.folios[0].ref.get()

    def other(system: System) -> None:
        system.folios[1].ref.get()
        system.thing.value = 1

    shown = texts({"CPU0": take, "CPU1": other}, lambda system: system.folios[0].ref.count == 1)
    assert shown == ["CPU0: percpu_ref_get Folio#1.ref = "]


def test_what_an_invariant_looks_at_that_raises() -> None:
    def check(system: System) -> bool:
        if system.count.value:
            raise KernelWarning("it is one")
        return True

    tasks = {"CPU0": lambda system: system.count.add(1), "CPU1": lambda system: system.folios[1].ref.get()}
    assert texts(tasks, check) == ["CPU0: atomic_add count 1 = "]


def test_the_object_of_a_use_after_free_is_shown_whole() -> None:
    def take_and_use(system: System) -> None:
        system.folios[0].ref.get()
        system.thing.value = system.folios[0].value

    shown = texts({"CPU0": take_and_use, "CPU1": lambda system: kfree(system.folios[0])})
    assert "CPU1: kfree Folio#1 = " in shown
    assert shown[-1].startswith("CPU0: ")
    assert "Folio#1" in shown[-1]


def test_locks_held_at_a_data_race() -> None:
    def locked(system: System) -> None:
        with system.lock:
            system.thing.value = 1

    def under_the_other(system: System) -> None:
        with system.mutex:
            system.thing.value = 2

    shown = texts({"CPU0": locked, "CPU1": under_the_other})
    assert {"CPU0: spin_lock lock = ", "CPU1: mutex_lock mutex = "} <= set(shown)
    assert shown[-1].startswith("CPU1: write T.value")


def test_what_is_called_later_is_said_with_what() -> None:
    def free(system: System) -> None:
        kfree_rcu(system.folios[0])

    def use(system: System) -> None:
        assert system.folios[0].value == 7

    assert "CPU0: call_rcu  kfree Folio#1 = " in texts({"CPU0": free, "CPU1": use})


def test_what_may_not_be_done_is_shown() -> None:
    def sleep(system: System) -> None:
        with rcu, system.mutex:
            pass

    def release(system: System) -> None:
        system.lock.release()

    assert texts({"CPU0": sleep}) == ["CPU0: rcu_read_lock  = ", "CPU0: mutex_lock mutex = "]
    assert texts({"CPU0": release})[-1] == "CPU0: spin_unlock lock = "


def test_what_waits_at_the_end() -> None:
    def twice(system: System) -> None:
        with system.mutex:
            system.mutex.acquire()

    assert texts({"CPU0": twice})[-1] == "CPU0: mutex_lock mutex = waits"


def test_columns_are_in_the_order_of_tasks() -> None:
    def late(system: System) -> None:
        WRITE_ONCE(system.thing).value = 2

    def early(system: System) -> None:
        assert READ_ONCE(system.thing).value != 2

    found = steps({"CPU0": early, "CPU1": late})
    assert [(step.column, step.cpu) for step in found] == [(1, "CPU1"), (0, "CPU0")]


def test_a_value_that_python_does_not_write_in_decimal() -> None:
    def write(system: System) -> None:
        WRITE_ONCE(system.thing).value = 10**5000

    written = [step.value for step in steps({"CPU0": write}, lambda _: False) if step.what == "write"]
    assert written == [f"{hex(10**5000)[:37]}..."]
