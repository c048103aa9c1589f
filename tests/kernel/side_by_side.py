"""What Linux lets run side by side on one machine: pairs of kernel/'s entry points, as programs of two tasks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import combinations_with_replacement

from swaplab.explore import Bounded, FewPreemptions, PriorityWalk, Program, Violated, explore
from swaplab.kernel.machine import Cgroup, Machine
from swaplab.kernel.shrinker import shrink_slab
from swaplab.kernel.vmscan import try_to_free_mem_cgroup_pages
from swaplab.kernel.zswap_writeback import shrink_worker
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import Modelled

__all__ = ["ENTRY_POINTS", "PAIRS", "breaks", "program"]

EntryPoint = Callable[[Machine], object]
SWAPPED, ALSO_SWAPPED, MAPPED, ALSO_MAPPED, NEW = range(5)
"""Pages of the child's process."""


def machine(kernel: Modelled = "6.12") -> Machine:
    """A parent and a child, each with two pages in zswap and two in memory."""
    made = Machine(memory=64 * PAGE_SIZE, swap_pages=16, compressor="lzo", kernel=kernel)
    for path in ("parent", "parent/child"):
        cgroup = made.cgroup(path)
        for key in range(NEW):
            cgroup.write(key, bytes([key + 1]) * 8)
        for key in (SWAPPED, ALSO_SWAPPED):
            assert cgroup.swap_out(key)
    made.zswap.shrinker_enabled = True
    return made


def _of(path: str, do: Callable[[Cgroup], object]) -> EntryPoint:
    """Have a cgroup do something, which may fail as a system call may, or find no such cgroup."""

    def run(system: Machine) -> None:
        with system.tree:
            cgroup = system.cgroups.get(path)
        if cgroup:
            with suppress(MemoryError, OSError):
                do(cgroup)

    return run


def _swapoff(system: Machine) -> None:
    with suppress(MemoryError):
        system.swapoff()


CHILD = "parent/child"
ENTRY_POINTS: dict[str, EntryPoint] = {
    "read of a swapped page": _of(CHILD, lambda child: child.read(SWAPPED)),
    "write to a swapped page": _of(CHILD, lambda child: child.write(SWAPPED, b"new")),
    "write to a page": _of(CHILD, lambda child: child.write(MAPPED, b"new")),
    "write to a new page": _of(CHILD, lambda child: child.write(NEW, b"new")),
    "madvise of a swapped page": _of(CHILD, lambda child: child.discard(SWAPPED)),
    "madvise of a page": _of(CHILD, lambda child: child.discard(MAPPED)),
    "pageout": _of(CHILD, lambda child: child.swap_out(MAPPED)),
    "exit of another process": _of("parent", lambda parent: parent.exit()),
    "reclaim": _of("parent", lambda parent: try_to_free_mem_cgroup_pages(parent._swap, parent.memcg, 1)),
    "shrinker": _of(CHILD, lambda child: shrink_slab(child._swap, child.memcg, 0)),
    "shrink_worker": lambda system: shrink_worker(system._swap),
    "memory.max": _of(CHILD, lambda child: child.limit(memory_max=2 * PAGE_SIZE)),
    "memory.swap.max": _of(CHILD, lambda child: child.limit(swap_max=PAGE_SIZE)),
    "memory.zswap.max": _of(CHILD, lambda child: child.limit(zswap_max=0, zswap_writeback=0)),
    "memory.stat": _of("parent", lambda parent: (parent.stat(), parent.machine.stat())),
    "mkdir": lambda system: system.cgroup("parent/other"),
    "rmdir": _of(CHILD, lambda child: child.remove()),
    "compressor": lambda system: system.set_compressor("lz4"),
    "swapoff": _swapoff,
}
LEFT_OUT = {("swapoff", "swapoff"), ("memory.max", "swapoff")}
"""The second swapoff is not let in; and reclaim without swap tries for longer than an execution may be."""
PAIRS = [pair for pair in combinations_with_replacement(ENTRY_POINTS, 2) if pair not in LEFT_OUT]


def program(first: str, second: str, kernel: Modelled) -> Program[Machine]:
    """Two entry points on one machine, whose parts have to agree in the end."""
    return Program(
        f"{first} | {second}",
        partial(machine, kernel),
        {"CPU0": ENTRY_POINTS[first], "CPU1": ENTRY_POINTS[second]},
        {"all parts of the machine agree": lambda system: system.validate() is None},
    )


def breaks(first: str, second: str, executions: int, kernel: Modelled = "6.12") -> list[str]:
    """Return what breaks in so many executions with random priorities, and as many with one interruption."""
    found = []
    for search in (PriorityWalk(1, executions, 3, 300), FewPreemptions(1)):
        verdict = explore(program(first, second, kernel), search, executions_max=executions)
        assert isinstance(verdict, Bounded | Violated)
        if isinstance(verdict, Violated):
            found += [f"{first} | {second}: {each.kind}: {each.sentence}" for each in verdict.violations]
    return found
