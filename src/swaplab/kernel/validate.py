"""Checks from outside, while nothing changes, that the parts of a whole machine agree with each other.

Each raises `Broken`, or the bug that it sees, with the numbers that do not agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from swaplab.kernel.css import CSS_ONLINE, Css, css_descendants
from swaplab.kernel.folio import Folio, Mm, folio_memcg, pte_folio
from swaplab.kernel.memcontrol import ObjCgroup
from swaplab.kernel.swapfile import Swap
from swaplab.kernel.sync import validate_list
from swaplab.kernel.sync.bugs import Broken
from swaplab.kernel.sync.shared import is_freed
from swaplab.kernel.zsmalloc import validate_pool
from swaplab.kernel.zswap_entry import ZswapEntry
from swaplab.kernel.zswap_pool import Zswap
from swaplab.linux.page import PAGE_SIZE

__all__ = ["folios_of", "validate_charges", "validate_folios", "validate_swap", "validate_zswap"]


def check(what: str, found: object, expected: object) -> None:
    """Insist that two ways to count the same agree.

    Raises:
        Broken: they do not.
    """
    if found != expected:
        raise Broken(f"{what}: {found}, but {expected} by another count")


def mapped(mms: Iterable[Mm]) -> list[tuple[Mm, int, Folio]]:
    """All pages in page tables: page table, key, folio."""
    return [(mm, key, folio) for mm in mms for key, pte in mm.ptes.items.items() if (folio := pte_folio(pte))]


def folios_of(swap: Swap, mms: Iterable[Mm]) -> dict[Folio, int]:
    """All folios in use, with the references that there ought to be."""
    found = Counter(folio for _, _, folio in mapped(mms))
    if swap.info:
        found.update(use.folio for use in swap.info.uses() if use.folio)
    return dict(found)


def validate_folios(swap: Swap, mms: list[Mm]) -> None:
    """Check references, mappings, charges and places on lists of all folios, and that no page of memory is lost.

    Raises:
        Broken: something does not agree.
        ListCorruption: a list is damaged.
    """
    folios = folios_of(swap, mms)
    for mm, key, folio in mapped(mms):
        check(f"{mm.label}[{key}] as its folio says", folio.mappings.count((mm, key)), 1)
    charged: Counter[object] = Counter()
    for folio, references in folios.items():
        check(f"references to a folio of {folio.memcg_data}", folio.refcount.value, references)
        if is_freed(folio) or folio.lock.holder or folio.writeback or not folio.on_lru or not folio.memcg_data:
            raise Broken(
                f"a folio in use is freed, locked, being written, on no list or charged to nobody: {vars(folio)}"
            )
        charged[folio_memcg(folio)] += 1
    for memcg in {memcg for folio in folios if (memcg := folio_memcg(folio))}:
        validate_list(memcg.lruvec.lru)
        on_list = memcg.lruvec.lru.entries()
        check(f"folios on the list of {memcg.label}", len(on_list), charged[memcg])
        check(f"size of the list of {memcg.label}", memcg.lruvec.size, charged[memcg])
        check(f"folios on the list of {memcg.label}, of its own", set(map(folio_memcg, on_list)), {memcg})
    pool_pages = sum(pool.zpool.pages_allocated.value for pool in swap.zswap.pools)
    check("free pages", swap.zone.free, swap.zone.pages - len(folios) - pool_pages)


def validate_swap(swap: Swap, mms: Iterable[Mm]) -> None:
    """Check that page tables, swap cache, map and counters name the same slots.

    Raises:
        Broken: they do not.
    """
    si = swap.info
    entries = Counter(pte for mm in mms for pte in mm.ptes.items.values() if isinstance(pte, int))
    if not si:
        check("slots in page tables without a swap area", dict(entries), {})
        return
    uses = si.uses()
    for slot, use in enumerate(uses):
        check(f"page tables that name slot {slot}", use.swap_count, entries[slot])
        check(f"whether slot {slot} is taken", use.is_taken, use.swap_count > 0 or use.folio is not None)
        if not use.is_taken:
            left = (use.owner, use.is_zero, si.tree.xa.items.get(slot))
            check(f"owner, zeromap and zswap entry of the free slot {slot}", left, (0, False, None))
        if use.folio:
            check("slot of a folio in the swap cache", (use.folio.swapcache, use.folio.swap), (True, slot))
    used = sum(use.is_taken for use in uses)
    check("slots in use", si.inuse_pages(), used)
    if si.writeok:
        check("free slots", swap.nr_swap_pages.value, si.max - 1 - used)


def validate_zswap(swap: Swap) -> None:
    """Check that tree, pools and counters have the same entries, each with its bytes.

    Raises:
        Broken: they do not.
    """
    zswap, tree = swap.zswap, swap.info.tree.xa.items if swap.info else {}
    check("entries", zswap.stored_pages.value, len(tree))
    as_they_are = sum(entry.length == PAGE_SIZE for entry in tree.values())
    check("entries as long as a page", zswap.stored_incompressible_pages.value, as_they_are)
    entries: Counter[object] = Counter()
    for slot, entry in tree.items():
        _validate_entry(zswap, slot, entry)
        entries[entry.pool] += 1
    for number, pool in enumerate(zswap.pools):
        validate_pool(pool.zpool)
        check(f"objects of {pool.label}", len(pool.zpool.handles.items), entries[pool])
        check(f"references to {pool.label}", pool.ref.count, entries[pool] + (number == 0))


def _validate_entry(zswap: Zswap, slot: int, entry: ZswapEntry) -> None:
    check("slot of an entry", entry.swpentry, slot)
    if is_freed(entry) or entry.lru.head is None or entry.pool not in zswap.pools:
        raise Broken(f"the entry of slot {slot} is freed, on no list or in no pool: {vars(entry)}")
    if entry.handle not in entry.pool.zpool.handles.items:
        raise Broken(f"the entry of slot {slot} has handle {entry.handle}, which nothing in its pool has")


def validate_charges(swap: Swap, mms: Iterable[Mm]) -> None:
    """Check that what memcgs are charged, here and below, is the sum of what there is.

    Raises:
        Broken: it is not.
    """
    root = swap.zswap.root
    pages, entries, size, slots = Counter[Css](), Counter[Css](), Counter[Css](), Counter[Css]()
    for folio in folios_of(swap, mms):
        add_up(pages, folio_memcg(folio), 1)
    lengths: Counter[ObjCgroup] = Counter()
    for entry in swap.info.tree.xa.items.values() if swap.info else ():
        if entry.objcg and not entry.objcg.is_root:
            lengths[entry.objcg] += entry.length
            add_up(entries, entry.objcg.memcg, 1)
    for objcg, length in lengths.items():
        add_up(size, objcg.memcg, length)
        add_up(pages, objcg.memcg, -(-length // PAGE_SIZE))
    for use in swap.info.uses() if swap.info else ():
        add_up(slots, root.memcgs.mem_cgroup_idr.items.get(use.owner), 1)
    for memcg in css_descendants(root):
        if memcg.flags & CSS_ONLINE:
            check(f"zswapped of {memcg.label}", memcg.zswapped.value, entries[memcg])
            check(f"zswap of {memcg.label}", memcg.zswap_bytes.value, size[memcg])
            if memcg.parent:
                check(f"memory.current of {memcg.label}", memcg.memory.usage.value, pages[memcg])
                check(f"memory.swap.current of {memcg.label}", memcg.swap.usage.value, slots[memcg])


def add_up(total: Counter[Css], memcg: Css | None, count: int) -> None:
    """Count something of a memcg as one of all above it, too."""
    while memcg:
        total[memcg] += count
        memcg = memcg.parent
