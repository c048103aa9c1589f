"""Executions a second of the explorer, against another explorer on the same programs.

Run it alone: ``python benchmarks/explore.py``. Whether both are complete is checked before their speed is compared:
a search that stops early is no slower for it. Everything is run three times; its fastest run is shown.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

from swaplab.explore import Program, explore
from swaplab.explore.dpor import OptimalSearch
from swaplab.explore.runtime import Explorer
from swaplab.kernel.sync import ListHead, ListNode, Shared, SpinLock
from swaplab.races.offline import matrix

REPEATS = 3
THREADS, SECTIONS = 3, 2
ORDERS = len(set(permutations([thread for thread in range(THREADS) for _ in range(SECTIONS)])))


SEED = (
    "add, list_lru 6.12, lookup tryget_online, lists at offline",
    "walk and writeback, list_lru 6.12, lookup rcu, lists at offline",
)


class Counted(NamedTuple):
    """What a search did.

    Attributes:
        executions: run.
        seconds: taken.
        verdict: what it said.
    """

    executions: int
    seconds: float
    verdict: str


class Locked(Shared):
    """A counter under a lock."""

    count: int

    def __init__(self) -> None:
        self.lock = SpinLock(self, "lock")
        self.count = 0


def locked_task(system: Locked) -> None:
    """Enter the lock, and again."""
    for _ in range(SECTIONS):
        with system.lock:
            system.count += 1


class ThreadLocked:
    """The same for threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0


class Entry(Shared):
    """A zswap entry."""

    def __init__(self) -> None:
        self.lru = ListNode(self, "lru")


class Toy(Shared):
    """A child's list and its parent's, under one lock: no kmemcg_id, so a late add reaches the child's."""

    def __init__(self) -> None:
        self.lock = SpinLock(self, "lock")
        self.child: ListHead[Entry] = ListHead(self, "child")
        self.parent: ListHead[Entry] = ListHead(self, "parent")
        self.entry = Entry()


def toy_add(toy: Toy) -> None:
    """Add the entry to the list of the child."""
    with toy.lock:
        toy.child.add_tail(toy.entry.lru)


def toy_offline(toy: Toy) -> None:
    """Splice the child's list to its parent's."""
    with toy.lock:
        toy.parent.splice(toy.child)


class ThreadToy:
    """The same for threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.child: list[str] = []
        self.parent: list[str] = []

    def add(self) -> None:
        """Add the entry to the list of the child."""
        with self.lock:
            self.child.append("entry")

    def offline(self) -> None:
        """Splice the child's list to its parent's."""
        with self.lock:
            self.parent.extend(self.child)
            self.child.clear()


LOCKS = Program("locks", Locked, {f"t{n}": locked_task for n in range(THREADS)})
TOY = Program(
    "toy",
    Toy,
    {"CPU0": toy_add, "CPU1": toy_offline},
    {"the entry is on the parent's list": lambda toy: toy.entry in toy.parent.entries()},
)


def best(run: Callable[[], Counted]) -> Counted:
    """Run something some times; the fastest."""
    return min((run() for _ in range(REPEATS)), key=lambda counted: counted.seconds)


def timed(run: Callable[[], tuple[int, str]]) -> Counted:
    """Run something and time it."""

    def once() -> Counted:
        before = time.perf_counter()
        executions, verdict = run()
        return Counted(executions, time.perf_counter() - before, verdict)

    return best(once)


def all_executions(program: Program[Toy]) -> tuple[int, str]:
    """Run every trace, whether it breaks something or not."""
    explorer = Explorer(program, search := OptimalSearch())
    executions = broken = 0

    def visit() -> bool:
        nonlocal executions, broken
        executions += 1
        broken += bool(explorer.found)
        return True

    search.run(explorer, visit)
    return executions, f"{broken} of {executions} broken"


def ours(program: Program[Any], processes: int = 1, every_trace: bool = True) -> tuple[int, str]:
    """Explore."""
    verdict = explore(program, every_trace=every_trace, processes=processes)
    return verdict.effort.executions, type(verdict).__name__


def theirs(kind: str, bound: int | None) -> Counted:
    """Explore with frontrun, which wants a process that its own command has started."""
    command = Path(sys.executable).with_name("frontrun")
    run = subprocess.run(  # noqa: S603
        [command, sys.executable, __file__, kind, json.dumps(bound)], capture_output=True, text=True, check=True
    )
    return Counted(*json.loads(run.stdout.splitlines()[-1]))


def peer(kind: str, bound: int | None) -> Counted:
    """Explore with frontrun, in such a process."""
    import frontrun  # noqa: PLC0415

    if kind == "locks":
        before = time.perf_counter()
        result = frontrun.explore(
            ThreadLocked, [locked_task] * THREADS, lambda s: s.count == THREADS * SECTIONS, preemption_bound=bound
        )
    else:
        before = time.perf_counter()
        result = frontrun.explore(
            ThreadToy, [ThreadToy.add, ThreadToy.offline], lambda s: s.parent == ["entry"], preemption_bound=bound
        )
    seconds = time.perf_counter() - before
    return Counted(result.num_explored, seconds, "holds" if result.property_holds else "broken")


def show(name: str, counted: Counted) -> None:
    """Print one line."""
    rate = counted.executions / counted.seconds
    took = f"{counted.executions:>6,} executions {counted.seconds:>8.3f} s {rate:>8,.0f} /s"
    print(f"  {name:<32} {took}  {counted.verdict}")


def main() -> None:
    """Print all."""
    print(f"{THREADS} threads, {SECTIONS} critical sections each, one lock; there are {ORDERS} orders")
    explore(LOCKS, every_trace=True)
    mine = timed(lambda: ours(LOCKS))
    show("swaplab", mine)
    for name, bound in (("at most 2 preemptions", 2), ("no bound", None)):
        other = best(lambda bound=bound: theirs("locks", bound))  # type: ignore[misc]
        show(f"frontrun, {name}", other)
        ratio = mine.executions / mine.seconds / (other.executions / other.seconds)
        print(f"    executions a second, swaplab to frontrun: {ratio:.0f}")
    print("the seed race as a toy: an entry added after the splice is lost")
    show("swaplab", timed(lambda: all_executions(TOY)))
    show("frontrun", best(lambda: theirs("toy", 2)))
    processes = os.cpu_count() or 1
    for label in SEED:
        program = next(cell.program for cell in matrix() if cell.label == label)
        print(f"{label}: the seed race with all of kernel/'s objects")
        for count in sorted({1, processes}):
            show(f"swaplab, {count} processes", timed(lambda program=program, count=count: ours(program, count)))  # type: ignore[misc]
        show("swaplab, every observation", timed(lambda program=program: ours(program, every_trace=False)))  # type: ignore[misc]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(peer(sys.argv[1], json.loads(sys.argv[2]))))
    else:
        main()
