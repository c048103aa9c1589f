"""An exclusive load drops the reference that another task has dropped already.

A load holds a reference of its own while it decompresses. With exclusive loads it invalidates the entry afterwards:
takes it out of the tree and drops the tree's reference. If the slot was invalidated meanwhile, the load's own is the
last one; to drop it first and then invalidate is to use a freed entry, and to drop the tree's without having taken the
entry out of it is to drop one too many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from swaplab.explore import Program
from swaplab.kernel.sync import Shared, XArray, kfree
from swaplab.races.exhibit import Exhibit

__all__ = ["EXHIBIT"]

NAME = "double-invalidate"
X = 0


class Entry(Shared):
    """struct zswap_entry; the lock of its tree guards it.

    Attributes:
        in_tree: whether its rb_node is in the tree.
        refcount: the tree's reference, and one of each user's.
    """

    name: Final[str]
    in_tree: bool
    refcount: int

    def __init__(self) -> None:
        self.name = "E"
        self.in_tree = True
        self.refcount = 1


class System(Shared):
    """Entry E is in zswap for slot X."""

    def __init__(self) -> None:
        self.tree: XArray[Entry] = XArray(None, "tree")
        self.tree.store(X, Entry())


Invalidate = Callable[[System, Entry], None]
Finish = Callable[[System, Entry, Invalidate], None]


def zswap_rb_erase(system: System, entry: Entry) -> bool:
    """mm/zswap.c:zswap_rb_erase, 6.5: return whether the entry was in the tree."""
    if not entry.in_tree:
        return False
    system.tree.erase_locked(X)
    entry.in_tree = False
    return True


def zswap_entry_put(system: System, entry: Entry) -> None:
    """mm/zswap.c:zswap_entry_put, 6.5."""
    left = entry.refcount = entry.refcount - 1
    if left == 0:
        zswap_rb_erase(system, entry)
        kfree(entry)


def invalidate_and_put(system: System, entry: Entry) -> None:
    """mm/zswap.c:zswap_invalidate_entry, 6.4: the tree's reference goes, even if another took the entry out of it."""
    zswap_rb_erase(system, entry)
    zswap_entry_put(system, entry)


def invalidate(system: System, entry: Entry) -> None:
    """mm/zswap.c:zswap_invalidate_entry, 6.5: taking an entry out of the tree drops the tree's reference."""
    if zswap_rb_erase(system, entry):
        zswap_entry_put(system, entry)


def put_then_invalidate(system: System, entry: Entry, invalidate_entry: Invalidate) -> None:
    """The end of mm/zswap.c:zswap_frontswap_load when exclusive loads were new."""
    zswap_entry_put(system, entry)
    invalidate_entry(system, entry)


def invalidate_then_put(system: System, entry: Entry, invalidate_entry: Invalidate) -> None:
    """The end of mm/zswap.c:zswap_frontswap_load, 6.5."""
    invalidate_entry(system, entry)
    zswap_entry_put(system, entry)


def zswap_frontswap_load(system: System, finish: Finish, invalidate_entry: Invalidate) -> None:
    """mm/zswap.c:zswap_frontswap_load, 6.5, with exclusive loads."""
    with system.tree.lock:
        entry = system.tree.load(X)
        if entry is None:
            return
        entry.refcount += 1
    with system.tree.lock:
        finish(system, entry, invalidate_entry)


def zswap_frontswap_invalidate_page(system: System, invalidate_entry: Invalidate) -> None:
    """mm/zswap.c:zswap_frontswap_invalidate_page, 6.5."""
    with system.tree.lock:
        entry = system.tree.load(X)
        if entry:
            invalidate_entry(system, entry)


def program(label: str, invalidate_entry: Invalidate, finish: Finish) -> Program[System]:
    """Slot X is loaded and invalidated at once."""
    return Program(
        f"{NAME}: {label}",
        System,
        {
            "CPU0": lambda system: zswap_frontswap_load(system, finish, invalidate_entry),
            "CPU1": lambda system: zswap_frontswap_invalidate_page(system, invalidate_entry),
        },
        {"nothing is left in the tree": lambda system: not system.tree.items},
    )


EXHIBIT = Exhibit(
    name=NAME,
    title="mm: zswap: fix double invalidate with exclusive loads",
    references=("18a937076c6991a21b88d99af95b779b5027b29b", "20230621093009.637544-1-yosryahmed@google.com"),
    story=(
        "An entry that is invalidated while an exclusive load decompresses it is freed when the load drops its"
        " reference, and used again when the load invalidates it."
    ),
    broken={
        "put, then invalidate": program("put first", invalidate_and_put, put_then_invalidate),
        "put once more, whoever erased it": program("put twice", invalidate_and_put, invalidate_then_put),
    },
    fixed={"invalidate if it is there, then put": program("erased once", invalidate, invalidate_then_put)},
    finds=frozenset({"use after free"}),
)
