"""A list_lru_del() that counts an item off the wrong list, and why the count is right again soon.

Once a memcg that goes offline has its parent's id, list_lru_del() of an item that is still on the memcg's own list
counts it off the parent's, which "may become negative during memcg reparenting": the splice that is under way adds up
both. That the sum is right whenever the lock is free is true, as long as one lock is for both lists and the splice adds
what was counted, right or wrong, and not what it moves. That a count is harmless while it is wrong is not true: see
count-one-negative and shrinker-bit-lost-on-reparent.
"""

from __future__ import annotations

from collections.abc import Callable

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, ListLruOne, Memcg, Objcg, ZswapEntry, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]


class System(Shared):
    """A child with two items."""

    def __init__(self) -> None:
        self.parent = Memcg("parent", 1)
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
        one.nr_items -= 1


def memcg_reparent_list_lrus(system: System, splice: Callable[[ListLruOne, ListLruOne], None]) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, 6.12."""
    WRITE_ONCE(system.child).kmemcg_id = 1
    with system.lru.lock:
        splice(list_lru_from_memcg_idx(system.lru, 2), list_lru_from_memcg_idx(system.lru, 1))


def add_counts(source: ListLruOne, target: ListLruOne) -> None:
    """mm/list_lru.c:memcg_reparent_list_lru_node, 6.12."""
    target.list.splice(source.list)
    target.nr_items += source.nr_items
    source.nr_items = 0


def count_moved(source: ListLruOne, target: ListLruOne) -> None:
    """Trust the list, and not its count."""
    moved = len(list(source.list))
    target.list.splice(source.list)
    target.nr_items += moved
    source.nr_items = 0


def sums_agree(parent: ListLruOne, child: ListLruOne) -> None:
    """What holds of the counts whenever the lock is free."""
    lengths = [len(list(one.list)) for one in (parent, child)]
    assert parent.nr_items + child.nr_items == sum(lengths), "the counts do not add up to the items there are"
    assert child.nr_items >= lengths[1], "the child counts less than it has"


def none_is_negative(parent: ListLruOne, child: ListLruOne) -> None:
    """What one may think holds too."""
    assert parent.nr_items >= 0, "the parent counts less than nothing"
    assert child.nr_items >= 0, "the child counts less than nothing"


Check = Callable[[ListLruOne, ListLruOne], None]


def look(system: System, check: Check) -> None:
    """A task takes the lock and looks at the counts."""
    with system.lru.lock:
        check(*(list_lru_from_memcg_idx(system.lru, index) for index in (1, 2)))


def program(label: str, splice: Callable[[ListLruOne, ListLruOne], None], check: Check) -> Program[System]:
    """An item is deleted while its memcg goes offline, and another task counts."""
    return Program(
        f"wrong-counter-heals: {label}",
        System,
        {
            "CPU0": list_lru_del,
            "CPU1": lambda system: memcg_reparent_list_lrus(system, splice),
            "CPU2": lambda system: look(system, check),
        },
        {"lists are as long as they say": are_counted},
    )


def are_counted(system: System) -> bool:
    """Tell whether lists are as long as they say."""
    return all(one.nr_items == len(one.list.nodes()) for one in system.lru.xa.items.values())


EXHIBIT = Exhibit(
    name="wrong-counter-heals",
    title="memcg: reparent list_lrus and free kmemcg_id on css offline",
    references=("2788cf0c401c268b4819c5407493a8769b7007aa",),
    story=(
        "list_lru_del() may count an item off the list of the parent of the memcg whose list it is on; it was claimed"
        " that the ongoing reparenting mends that. It does."
    ),
    broken={
        "the splice counts what it moves": program("moved", count_moved, lambda parent, child: None),
        "no count is ever negative": program("negative", add_counts, none_is_negative),
    },
    fixed={"the splice adds what was counted": program("added", add_counts, sums_agree)},
    finds=frozenset({"invariant broken"}),
)
