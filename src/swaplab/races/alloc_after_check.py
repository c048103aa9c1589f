"""A memcg's list that is made after its reparenting has looked for one: asked in review, and not so.

memcg_list_lru_alloc() makes no list for a memcg that is dying, and says so under the lock of the array it puts the list
into. Reparenting takes no such lock to find that a memcg has no list, and then has nothing to do. Between the check and
the store, then, a memcg can die and be reparented, and its new list is nobody's. It cannot: a memcg is reparented one
grace period after it was marked as dying, and who holds the lock with interrupts off is an RCU reader. Either the list
is stored before the memcg is reparented, or the check has seen the mark.

Differs: the memcg's state is one mark, and the grace period, which is the confirmation of the percpu_ref's kill, is
waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swaplab.explore import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, kfree, kfree_rcu, synchronize_rcu
from swaplab.races.exhibit import Exhibit
from swaplab.races.structs import ListLru, ListLruOne, Memcg, list_lru_from_memcg_idx

__all__ = ["EXHIBIT"]


class System(Shared):
    """A child that has no list yet."""

    def __init__(self) -> None:
        self.parent = Memcg("parent", 1)
        self.child = Memcg("child", 2, self.parent)
        self.lru = ListLru(self.parent)


def store_if_alive(system: System, one: ListLruOne) -> bool:
    """Check and store in one section, as in memcg_list_lru_alloc. Returns whether it is stored."""
    with system.lru.xa.lock:
        if READ_ONCE(system.child).is_dying:
            return False
        system.lru.xa.store_locked(2, one)
    return True


def check_then_store(system: System, one: ListLruOne) -> bool:
    """Check, and then store."""
    if READ_ONCE(system.child).is_dying:
        return False
    system.lru.xa.store(2, one)
    return True


def memcg_list_lru_alloc(system: System, store: Callable[[System, ListLruOne], bool]) -> None:
    """mm/list_lru.c:memcg_list_lru_alloc, 6.13."""
    one = ListLruOne(system.child)
    if not store(system, one):
        kfree(one)


def css_killed(system: System, grace_period: Callable[[], None]) -> None:
    """kernel/cgroup/cgroup.c:kill_css, 6.12, with css_killed_work_fn, which takes the memcg offline."""
    WRITE_ONCE(system.child).is_dying = True
    grace_period()
    memcg_reparent_list_lrus(system)


def memcg_reparent_list_lrus(system: System) -> None:
    """mm/list_lru.c:memcg_reparent_list_lrus, after 98733f3f0bec."""
    one = list_lru_from_memcg_idx(system.lru, 2)
    if one:
        system.lru.xa.erase(2)
        kfree_rcu(one)


@dataclass(frozen=True)
class Protocol:
    """The safeguards that keep a new list from being unreachable."""

    store: Callable[[System, ListLruOne], bool] = store_if_alive
    grace_period: Callable[[], None] = synchronize_rcu


def program(label: str, protocol: Protocol) -> Program[System]:
    """A memcg gets its list while it is removed."""
    return Program(
        f"alloc-after-check: {label}",
        System,
        {
            "CPU0": lambda system: memcg_list_lru_alloc(system, protocol.store),
            "CPU1": lambda system: css_killed(system, protocol.grace_period),
        },
        {"the offline child has no list": lambda system: 2 not in system.lru.xa.items},
    )


EXHIBIT = Exhibit(
    name="alloc-after-check",
    title="Re: [PATCH] mm/list_lru: drain before clearing xarray entry on reparent",
    references=(
        "79CD986A-2130-4FB8-804F-A543AF22342B@linux.dev",
        "ah2VXGfGZOOdjhs3@linux.dev",
        "8CD76642-E809-4E81-9F12-DB110A9F958D@linux.dev",
    ),
    story=(
        "Could a memcg get a list after it was reparented? It cannot: reparenting waits for a grace period after the"
        " memcg is marked as dying, and check and store are one section that RCU waits for."
    ),
    broken={
        "checked outside the section": program("check, then store", Protocol(store=check_then_store)),
        "reparented without a grace period": program("no grace period", Protocol(grace_period=lambda: None)),
    },
    fixed={"as it is": program("as it is", Protocol())},
    finds=frozenset({"invariant broken"}),
)
