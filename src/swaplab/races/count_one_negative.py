"""A shrinker that is told of 18446744073709551615 objects, because a list counts less than nothing for a while.

list_lru_count_one() takes no lock. While a memcg goes offline, a list_lru_del() of one of its items may count it off
the parent's list before the splice has added the child's count: the parent has -1 then, which the shrinker takes for an
unsigned number. The count is clamped to zero since.

Differs: nr_items is plain in list_lru_del(), and racing with that on purpose.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, data_race, rcu
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]

ULONG_MAX = (1 << 64) - 1


class System(Shared):
    """A child with one item."""

    def __init__(self) -> None:
        self.parent = Memcg("parent", 1)
        self.child = Memcg("child", 2, self.parent)
        self.lru = ListLru(self.parent, self.child)
        self.item = ZswapEntry("I", Objcg(self.child))
        child = list_lru_from_memcg_idx(self.lru, 2)
        child.list.add_tail(self.item.lru)
        child.nr_items = 1


def list_lru_del(system: System) -> None:
    """mm/list_lru.c:list_lru_del, 6.12."""
    with system.lru.lock:
        one = list_lru_from_memcg_idx(system.lru, READ_ONCE(system.child).kmemcg_id)
        system.item.lru.delete()
        data_race(one).nr_items -= 1


def memcg_reparent_list_lrus(system: System) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, 6.12."""
    WRITE_ONCE(system.child).kmemcg_id = 1
    with system.lru.lock:
        source, target = (list_lru_from_memcg_idx(system.lru, index) for index in (2, 1))
        target.list.splice(source.list)
        data_race(target).nr_items += data_race(source).nr_items
        data_race(source).nr_items = 0


def list_lru_count_one(lru: ListLru, memcg: Memcg) -> int:
    """mm/list_lru.c:list_lru_count_one, 6.12, without the clamp. Returns what the shrinker takes the long for."""
    with rcu:
        one = list_lru_from_memcg_idx(lru, READ_ONCE(memcg).kmemcg_id)
        return READ_ONCE(one).nr_items & ULONG_MAX


def list_lru_count_one_clamped(lru: ListLru, memcg: Memcg) -> int:
    """mm/list_lru.c:list_lru_count_one, 6.12."""
    with rcu:
        one = list_lru_from_memcg_idx(lru, READ_ONCE(memcg).kmemcg_id)
        return max(READ_ONCE(one).nr_items, 0)


def do_shrink_slab(system: System, count: Callable[[ListLru, Memcg], int]) -> None:
    """mm/shrinker.c:do_shrink_slab, 6.12, as far as asking the shrinker of the parent how much there is."""
    freeable = count(system.lru, system.parent)
    assert freeable <= 1, f"the shrinker is told of {freeable} objects, and there is one"


def program(label: str, count: Callable[[ListLru, Memcg], int]) -> Program[System]:
    """The parent is shrunk while its child goes offline and an item of that is deleted."""
    return Program(
        f"count-one-negative: {label}",
        System,
        {
            "CPU0": list_lru_del,
            "CPU1": memcg_reparent_list_lrus,
            "CPU2": lambda system: do_shrink_slab(system, count),
        },
    )


EXHIBIT = Exhibit(
    name="count-one-negative",
    title="mm: list_lru: fix the return value of list_lru_count_one()",
    references=("41d17431df4aa7c57761e04f81c94fb3c3beedf4",),
    story="A list's count is below zero while its memcg's child goes offline; the shrinker takes that for very many.",
    broken={"an unsigned count": program("unsigned", list_lru_count_one)},
    fixed={"a clamped count": program("clamped", list_lru_count_one_clamped)},
    finds=frozenset({"invariant broken"}),
)
