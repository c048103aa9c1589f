"""Millions of dentries that reclaim never sees: the bit that sends it to a memcg's list is not set.

Slab reclaim looks at a memcg's list_lrus only if the memcg's bit says so. Who adds the first item sets it; reclaim
clears it when it finds nothing, and then counts once more in case something came in between. Splicing a child's list
used to set the parent's bit only if the parent had nothing before. But the parent's count may be wrong at that time: an
item that is deleted from the child's list while that goes offline is counted off the parent's. Not zero but -1, "so the
bit is set already": no task sets it. Now it is set whenever the child had anything.

Differs: one shrinker. Counts are plain where a lock is held, and racing with reclaim's on purpose.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, data_race
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, ListLruOne, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]


class System(Shared):
    """A child with two items, and a parent whose bit is still set, though it has none."""

    def __init__(self) -> None:
        self.parent = Memcg("parent", 1)
        self.parent.shrinker_bit = True
        self.child = Memcg("child", 2, self.parent)
        self.lru = ListLru(self.parent, self.child)
        self.items = tuple(ZswapEntry(name, Objcg(self.child)) for name in ("I", "J"))
        child = list_lru_from_memcg_idx(self.lru, 2)
        for item in self.items:
            child.list.add_tail(item.lru)
        child.nr_items = len(self.items)


def list_lru_del(system: System) -> None:
    """mm/list_lru.c:list_lru_del, 6.12."""
    with system.lru.lock:
        one = list_lru_from_memcg_idx(system.lru, READ_ONCE(system.child).kmemcg_id)
        system.items[0].lru.delete()
        data_race(one).nr_items -= 1


def was_empty(source: int, target: int) -> bool:
    """mm/list_lru.c:memcg_reparent_list_lru_node, before 8199be001a47."""
    return target == 0 and source != 0


def has_any(source: int, target: int) -> bool:
    """mm/list_lru.c:memcg_reparent_list_lru_node, 6.12."""
    return source != 0


def memcg_reparent_list_lrus(system: System, sets_bit: Callable[[int, int], bool]) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, 6.12."""
    WRITE_ONCE(system.child).kmemcg_id = 1
    with system.lru.lock:
        source, target = (list_lru_from_memcg_idx(system.lru, index) for index in (2, 1))
        target.list.splice(source.list)
        splice_counts(source, target, system.parent, sets_bit)


def splice_counts(source: ListLruOne, target: ListLruOne, memcg: Memcg, sets_bit: Callable[[int, int], bool]) -> None:
    """Add up the counts and send reclaim to where the items are now."""
    moved, there = data_race(source).nr_items, data_race(target).nr_items
    data_race(target).nr_items = there + moved
    if sets_bit(moved, there):
        WRITE_ONCE(memcg).shrinker_bit = True
    data_race(source).nr_items = 0


def list_lru_count_one(lru: ListLru, memcg: Memcg) -> int:
    """mm/list_lru.c:list_lru_count_one, 6.12."""
    return max(READ_ONCE(list_lru_from_memcg_idx(lru, READ_ONCE(memcg).kmemcg_id)).nr_items, 0)


def shrink_slab_memcg(system: System) -> None:
    """mm/shrinker.c:shrink_slab_memcg, 6.12, at the parent."""
    if not READ_ONCE(system.parent).shrinker_bit:
        return
    if not list_lru_count_one(system.lru, system.parent):
        WRITE_ONCE(system.parent).shrinker_bit = False
        if list_lru_count_one(system.lru, system.parent):
            WRITE_ONCE(system.parent).shrinker_bit = True


def program(label: str, sets_bit: Callable[[int, int], bool]) -> Program[System]:
    """The parent is shrunk while its child goes offline and an item of that is deleted."""
    return Program(
        f"shrinker-bit-lost-on-reparent: {label}",
        System,
        {
            "CPU0": lambda system: memcg_reparent_list_lrus(system, sets_bit),
            "CPU1": shrink_slab_memcg,
            "CPU2": list_lru_del,
        },
        {"the parent has an item, and reclaim is sent there": lambda system: system.parent.shrinker_bit},
    )


EXHIBIT = Exhibit(
    name="shrinker-bit-lost-on-reparent",
    title="mm: list_lru: set shrinker map bit when child nr_items is not zero",
    references=("8199be001a470209f5c938570cc199abb012fe53",),
    story="A memcg's shrinker bit stays clear for ever, since its count was wrong when a child's items came to it.",
    broken={"set if there was nothing before": program("was empty", was_empty)},
    fixed={"set if anything comes": program("has any", has_any)},
    finds=frozenset({"invariant broken"}),
)
