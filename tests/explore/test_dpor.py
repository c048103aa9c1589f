"""The search finds what brute force finds, and runs every trace once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.explore.brute import BruteForce, trace

from swaplab.explore.dpor import OptimalSearch
from swaplab.explore.program import Program
from swaplab.explore.runtime import Explorer
from swaplab.explore.task import CHILDREN_MAX
from swaplab.kernel.sync import (
    READ_ONCE,
    WRITE_ONCE,
    Atomic,
    ListHead,
    ListNode,
    Mutex,
    PercpuRef,
    Shared,
    SpinLock,
    Work,
    WorkQueue,
    XArray,
    call_rcu,
    kfree,
    queue_work,
    rcu,
    relax,
    smp_load_acquire,
    smp_store_release,
    synchronize_rcu,
)

Operation = tuple[Any, ...]


class Child(Shared):
    """An object that may be freed, a list, and an entry of it."""

    z: int

    def __init__(self) -> None:
        self.z = 0
        self.list: ListHead[Child] = ListHead(self, "list")
        self.node = ListNode(self, "node")


class Thing(Shared):
    """Shared state of all kinds."""

    x: int
    y: int
    released: int

    def __init__(self) -> None:
        self.x = self.y = 0
        self.locks = (SpinLock(self, "a"), SpinLock(self, "b"))
        self.mutex = Mutex(self, "mutex")
        self.counter = Atomic(self, "counter")
        self.released = 0
        self.ref = PercpuRef(self, "ref", self.release)
        self.array: XArray[int] = XArray(self, "array")
        self.queue = WorkQueue("queue")
        self.work = Work(self, "work", self.counter.add_return, 10)
        self.child, self.other = Child(), Child()

    def release(self) -> None:
        WRITE_ONCE(self).released = READ_ONCE(self).released + 1


def add(thing: Thing, name: str) -> None:
    setattr(thing, name, getattr(thing, name) + 1)


def spin(thing: Thing) -> int:
    for tries in range(3):
        if READ_ONCE(thing).y:
            return tries
        relax()
    return -1


def spin_locked(thing: Thing) -> int:
    for tries in range(3):
        with thing.locks[0]:
            if READ_ONCE(thing).y:
                return tries
        relax()
    return -1


def tryget_put(thing: Thing) -> bool:
    if not thing.ref.tryget():
        return False
    thing.ref.put()
    return True


def trylock(thing: Thing) -> bool:
    if not thing.locks[0].try_acquire():
        return False
    thing.locks[0].release()
    return True


ONE: dict[str, Callable[[Thing], object]] = {
    "plain read": lambda t: t.x,
    "plain write": lambda t: setattr(t, "x", 5),
    "plain add": lambda t: add(t, "x"),
    "read once": lambda t: READ_ONCE(t).y,
    "write once": lambda t: setattr(WRITE_ONCE(t), "y", READ_ONCE(t).y + 1),
    "load acquire": lambda t: smp_load_acquire(t).y,
    "store release": lambda t: setattr(smp_store_release(t), "y", 7),
    "atomic add": lambda t: t.counter.add(1),
    "atomic read": lambda t: t.counter.read(),
    "atomic add return": lambda t: t.counter.add_return(2),
    "tryget put": tryget_put,
    "tryget": lambda t: t.ref.tryget_live(),
    "xa store": lambda t: t.array.store(1, 1),
    "xa load": lambda t: t.array.load(1),
    "trylock": trylock,
    "call rcu": lambda t: call_rcu(add, t, "y"),
    "queue": lambda t: queue_work(t.queue, t.work),
    "use": lambda t: READ_ONCE(t.child).z,
    "change": lambda t: setattr(WRITE_ONCE(t.child), "z", 3),
    "link": lambda t: t.child.list.add(t.other.node) if t.other.node.empty() else None,
    "unlink": lambda t: None if t.other.node.empty() else t.other.node.delete(),
    "free": lambda t: kfree(t.child),
    "free entry": lambda t: kfree(t.other),
    "kill": lambda t: None if t.ref.dying() else t.ref.kill(),
}
AROUND: dict[str, Callable[[Thing], Any]] = {
    "a": lambda t: t.locks[0],
    "b": lambda t: t.locks[1],
    "mutex": lambda t: t.mutex,
    "rcu": lambda t: rcu,
}


SPIN = {"spin": spin, "spin locked": spin_locked}


def make_task(operations: list[Operation]) -> Callable[[Thing], tuple[object, ...]]:
    """Return a task that returns what it has seen."""
    performed = tuple(map(tuple, operations))

    def run(thing: Thing) -> tuple[object, ...]:
        log: list[object] = []
        for around, *inside in performed:
            if around in AROUND:
                with AROUND[around](thing):
                    log.extend(ONE[each](thing) for each in inside)
            elif around == "synchronize":
                synchronize_rcu()
            elif around in SPIN:
                log.append(SPIN[around](thing))
            else:
                log.append(ONE[around](thing))
        return tuple(log)

    return run


def outcome(explorer: Explorer) -> tuple[object, ...]:
    thing = explorer.state
    values = thing.__dict__["x"], thing.__dict__["y"], thing.counter.value, thing.ref.count, thing.__dict__["released"]
    return (
        explorer.finished,
        values,
        [task.told for number, task in sorted(explorer.tasks.items()) if number < CHILDREN_MAX].__repr__(),
        sorted(repr(found.bug) for found in explorer.found).__repr__(),
    )


def compare(tasks: list[list[Operation]], executions_max: int = 400) -> tuple[int, int] | None:
    """Return executions of the search and of brute force; None if the latter are too many."""
    program = Program("generated", Thing, {f"t{n}": make_task(each) for n, each in enumerate(tasks)})
    seen: dict[str, list[tuple[object, object]]] = {"brute": [], "search": []}

    def visit(kind: str) -> bool:
        seen[kind].append((outcome(explorer), trace(explorer)))
        return kind == "search" or len(seen[kind]) < executions_max

    explorer = Explorer(program, brute := BruteForce())
    if not brute.run(explorer, lambda: visit("brute")):
        return None
    explorer = Explorer(program, search := OptimalSearch())
    search.run(explorer, lambda: visit("search"))
    assert set(seen["search"]) == set(seen["brute"])
    assert len(seen["search"]) == len(set(seen["search"]))
    assert search.vain == 0
    return len(seen["search"]), len(seen["brute"])


SINGLE = st.sampled_from(sorted(ONE)).map(lambda name: (name,))
BLOCK = st.tuples(st.sampled_from(sorted(AROUND)), st.sampled_from(sorted(set(ONE) - {"trylock", "kill"})))
WAIT = st.sampled_from([("synchronize",), ("spin",), ("spin locked",)])
TASK = st.lists(SINGLE | BLOCK | WAIT, min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(st.lists(TASK, min_size=2, max_size=3))
def test_same_as_brute_force(tasks: list[list[Operation]]) -> None:
    compare(tasks)
