"""What must hold on a `State` after every step, whatever happened: nothing is lost, counted twice or on two lists.

Each function checks one law in plain NumPy and Python and raises AssertionError naming what breaks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.swap import SWAPFILE_CLUSTER
from swaplab.linux.zsmalloc import SIZE_CLASSES
from swaplab.replay.state import (
    ANON_VMA_BYTES,
    CLUSTER_FREE,
    CLUSTER_FULL,
    CLUSTER_LISTS,
    COMPRESSED,
    COUNTERS,
    FILE,
    GONE,
    GROUPS,
    LISTS_PER_MEMCG,
    LRU_ACTIVE,
    LRU_ACTIVE_FILE,
    LRU_FILE,
    LRU_GEN_MASK,
    LRU_GEN_SHIFT,
    LRU_INACTIVE,
    LRU_INACTIVE_FILE,
    LRU_ZSWAP,
    MANY,
    MAPPED,
    MAX_NR_GENS,
    MEMCG_NR_BINS,
    MEMCG_NR_GENS,
    MEMCG_PAGES,
    MIN_NR_GENS,
    NO_LIMIT,
    NONE,
    ON_DISK,
    PG_ACTIVE,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    PRESENT,
    RESIDENT,
    SHADOW,
    SHARED,
    SHMEM,
    SLOT_CACHED,
    SLOT_FREE,
    STATE_MASK,
    WRITES_IN_FLIGHT,
    XA_NODE_BYTES,
    YOUNG,
    ZERO_FILLED,
    State,
)

__all__ = ["Counts", "check_no_counter_went_back", "counters", "expected_lists", "states", "stocks", "validate"]

Counts = NDArray[np.int64]
FIELDS = {LRU_INACTIVE: "inactive", LRU_ACTIVE: "active", LRU_ZSWAP: "entries"}
FIELDS |= {LRU_INACTIVE_FILE: "inactive_file", LRU_ACTIVE_FILE: "active_file"}
SWAPPED = (COMPRESSED, ON_DISK, ZERO_FILLED)


def validate(m: State) -> None:
    """Check every law."""
    validate_limits(m)
    validate_page_tables(m)
    validate_rmaps(m)
    validate_lists(m)
    validate_generations(m)
    validate_memcg_lru(m)
    validate_charges(m)
    validate_swap_charges(m)
    validate_zswap_charges(m)
    validate_free_memory(m)
    validate_pool(m)
    validate_slots(m)
    validate_writes(m)


def validate_limits(m: State) -> None:
    """Where it is said that there is no limit, there is none."""
    assert m.memory.high_limits or (m.memcgs.memory_high == NO_LIMIT).all(), "a memory.high that nobody looks at"
    assert m.memory.swap_limits or (m.memcgs.swap_max == NO_LIMIT).all(), "a memory.swap.max that nobody looks at"


def counters(m: State) -> Counts:
    """All `COUNTERS` of all cgroups and the machine's own, int64 of shape (n,)."""
    names = ("pool_limit_hit", "reject_reclaim_fail", "reject_alloc_fail", "reject_compress_fail", "written_back_pages")
    of_cgroups = [np.asarray(m.memcgs[name]) for name in COUNTERS]
    own = [*(int(m.zswap[name]) for name in names), int(m.task.clock)]
    return np.concatenate([*of_cgroups, np.array(own, np.int64)])


def check_no_counter_went_back(before: Counts, after: Counts) -> None:
    """No counter ever decreases."""
    assert (after >= before).all(), f"counters {np.flatnonzero(after < before)} went back"


# What the pages say ---------------------------------------------------------------------------------------------------


def states(m: State) -> NDArray[np.int64]:
    """Where each page is."""
    return np.asarray(m.folios["bits"][: m.sizes.nr_folios] & STATE_MASK, np.int64)


def has_flag(m: State, flag: int) -> Any:
    return (m.folios["bits"][: m.sizes.nr_folios] & flag) != 0


def has_slot(m: State) -> Any:
    state = states(m)
    return np.isin(state, SWAPPED) | ((state == RESIDENT) & has_flag(m, PG_SWAPCACHE))


def memcg_of(m: State) -> NDArray[np.int64]:
    return np.asarray(m.folios["memcg"][: m.sizes.nr_folios], np.int64)


def slot_owner_of(m: State) -> NDArray[np.int64]:
    """Cgroup charged with each page's slot."""
    other = m.folios["other_memcg"][: m.sizes.nr_folios]
    return np.asarray(np.where(states(m) == RESIDENT, other, memcg_of(m)), np.int64)


def is_entry(m: State) -> Any:
    """Whether zswap (not zram) holds the page."""
    return (states(m) == COMPRESSED) & (not m.swap.zram)


def objcg_of(m: State) -> NDArray[np.int64]:
    return np.asarray(m.memcgs["objcg"][memcg_of(m)], np.int64)


def count(m: State, owner: NDArray[np.int64], weights: Any = None) -> NDArray[np.int64]:
    """Sum of `weights`, or number, by owning cgroup."""
    return np.bincount(owner, weights, len(m.memcgs)).astype(np.int64)


def in_subtree(m: State, own: NDArray[np.int64]) -> NDArray[np.int64]:
    sums = np.concatenate(([0], np.cumsum(own)))
    return np.asarray(sums[m.memcgs["end"]] - sums[:-1], np.int64)


def assert_equal(name: str, found: Any, expected: Any) -> None:
    assert np.array_equal(found, expected), f"{name}: {list(found)} where the pages say {list(expected)}"


# Laws -----------------------------------------------------------------------------------------------------------------


def validate_page_tables(m: State) -> None:
    """Only a resident page is mapped; one that is not mapped is in the swap cache; a task that is gone has nothing."""
    state = states(m)
    present = (m.pte & PRESENT) != 0
    own = np.arange(len(state)) < m.sizes.nr_pages
    own[: m.sizes.nr_pages] = state[: m.sizes.nr_pages] < SHARED
    assert (state[present] == RESIDENT).all(), "a page that is not resident is mapped"
    assert (m.pte[own & ~present] == 0).all(), "an entry that is not present is young or dirty"
    assert (m.pte[is_file(m)] == 0).all(), "a page of a file that is only read has an entry"
    unmapped = (state == RESIDENT) & ~present & ~is_shmem(m) & ~is_file(m)
    assert has_flag(m, PG_SWAPCACHE)[unmapped].all(), "a folio is neither mapped nor in the swap cache"
    assert np.isin(state, (NONE, RESIDENT, *SWAPPED, GONE, SHARED, SHMEM)).all(), "unknown state"
    assert m.task.settled == m.task.made, "accesses were made that do not show"


def is_shmem(m: State) -> Any:
    """Which folios are shared memory."""
    first = int(m.sizes.nr_pages)
    return (states(m) != NONE) & np.concatenate((np.zeros(first, bool), m.rmaps["shmem"] != 0))


def is_file(m: State) -> Any:
    """Which folios are a file's."""
    return m.folios["kind"][: m.sizes.nr_folios] == FILE


def nodes_of(m: State) -> list[int]:
    """How many nodes the tree of each task's file has, which are those that its pages say."""
    counts = []
    was_there = (states(m) == RESIDENT) | has_flag(m, SHADOW)
    for task in range(int(m.sizes.nr_tasks)):
        level = was_there[int(m.task_first[task]) : int(m.task_first[task + 1])]
        expected: list[bool] = []
        while len(level) > 1 and m.first_node[task] < m.first_node[task + 1]:
            level = np.array([level[begin : begin + 64].any() for begin in range(0, len(level), 64)])
            expected += level.tolist()
        found = m.has_node[m.first_node[task] : m.first_node[task + 1]]
        assert_equal(f"nodes of task {task}", found, expected)
        counts.append(sum(expected))
    return counts


def sharers(m: State) -> dict[int, set[int]]:
    """Pages that say that they have each shared folio."""
    state = states(m)
    owners: dict[int, set[int]] = {
        folio: set() for folio in range(int(m.sizes.nr_pages), len(state)) if state[folio] != NONE
    }
    for page in np.flatnonzero(state == SHARED).tolist():
        owners[int(m.folios["zspage"][page])].add(page)
    for page in np.flatnonzero((state == SHMEM) & (m.pte != 0)).tolist():
        owners[int(m.folios["zspage"][m.folios["zspage"][page]])].add(page)
    return owners


def ring_of(m: State, first: int) -> list[int]:
    """Pages that are linked with one that shares a folio, links checked both ways."""
    pages, page = [], first
    while page not in pages:
        pages.append(page)
        after = int(m.folios["next"][page])
        assert m.folios["prev"][after] == page, f"page {after} does not point back to {page}"
        page = after
    assert page == first, "a ring does not close"
    return pages


def validate_rmaps(m: State) -> None:
    """A shared folio knows the pages that have it and those that map it; nobody has a slot without a name."""
    state, pte = states(m), m.pte
    first_record, owners, of_objects = int(m.sizes.nr_pages), sharers(m), is_shmem(m)
    assert (state[first_record:] < GONE).all(), "the record of a shared folio is a page's"
    assert (state[int(m.sizes.fresh_folio) :] == NONE).all(), "a record is used that was not taken"
    assert m.sizes.shared_folios == len(owners), "a record is lost"
    cached = has_flag(m, PG_SWAPCACHE)
    for folio, pages in owners.items():
        rmap = m.rmaps[folio - first_record]
        assert rmap.owners == len(pages), f"folio {folio} has {len(pages)} owners, not {rmap.owners}"
        assert not pages or set(ring_of(m, int(rmap.first))) == pages, f"folio {folio} has other owners"
        mapped = [page for page in pages if pte[page]]
        assert all(pte[page] in (MAPPED, MAPPED | YOUNG) for page in mapped), f"folio {folio}: an odd entry"
        assert rmap.mapped == len(mapped), f"folio {folio} is mapped {len(mapped)} times, not {rmap.mapped}"
        assert pte[folio] & MANY
        assert bool(pte[folio] & PRESENT) == bool(mapped), f"folio {folio} is mapped or not"
        assert pte[folio] & YOUNG or not any(pte[page] & YOUNG for page in mapped), f"folio {folio} is young"
        has_copy = state[folio] != RESIDENT or cached[folio] or (of_objects[folio] and len(pages) == len(mapped) + 1)
        assert has_copy or len(mapped) == len(pages) > 0, f"folio {folio} is nowhere but in memory, and not mapped"


class Lists:
    """The linked lists of some records."""

    def __init__(self, records: Any) -> None:
        self.next: list[int] = records["next"].tolist()
        self.prev: list[int] = records["prev"].tolist()

    def walk(self, head: int) -> list[int]:
        """Items of a list from its head on, links checked both ways."""
        items: list[int] = []
        at = head
        if self.next[head] == head == self.prev[head]:
            return items
        while True:
            after = self.next[at]
            assert self.prev[after] == at, f"list {head}: {after} does not point back to {at}"
            if after == head:
                return items
            items.append(after)
            assert len(items) <= len(self.next), f"list {head} never ends"
            at = after


def expected_lists(m: State) -> list[int]:
    """Head of the list that each page must be on, -1 for none."""
    lru = np.where(has_flag(m, PG_ACTIVE), LRU_ACTIVE, LRU_INACTIVE)
    if m.mglru.enabled:
        lru = generations(m)
    lru = lru + LRU_FILE * is_file(m)
    folio_list = memcg_of(m) * LISTS_PER_MEMCG + lru
    owner = 0 * objcg_of(m) if m.zswap.global_lru else objcg_of(m)
    entry_list = owner * LISTS_PER_MEMCG + LRU_ZSWAP
    is_new = np.isin(np.arange(len(lru)), m.batch_added[: int(m.memory.files_added)])
    lists = np.where(
        (states(m) == RESIDENT) & ~is_new, folio_list, np.where(is_entry(m), entry_list, -1 - m.sizes.nr_folios)
    )
    return [int(head) for head in lists + m.sizes.nr_folios]


def numbered_entries(m: State) -> dict[int, list[int]]:
    """Entries that will be linked behind each head; each has a number of its own."""
    entries = np.flatnonzero(is_entry(m))
    numbers = m.folios["next"][entries]
    assert len(set(numbers.tolist())) == len(entries), "two entries have the same number"
    assert ((numbers >= 1) & (numbers <= m.zswap.stores)).all(), "an entry has a number that no store had"
    heads = expected_lists(m)
    return {head: [int(page) for page in entries if heads[page] == head] for head in {heads[i] for i in entries}}


def generations(m: State) -> NDArray[np.int64]:
    """Generation of each resident folio."""
    bits = m.folios["bits"][: m.sizes.nr_folios]
    return np.asarray(((bits & LRU_GEN_MASK) >> LRU_GEN_SHIFT).astype(np.int64) - 1)


def validate_lists(m: State) -> None:
    """Every folio and every entry is on exactly the one list that its flags and charge say; lengths are right."""
    nr_folios = int(m.sizes.nr_folios)
    lists = Lists(m.folios)
    numbered = {} if m.zswap.entries_linked else numbered_entries(m)
    found: dict[int, int] = {}
    for head in range(nr_folios, len(m.folios)):
        items = lists.walk(head)
        if (head - nr_folios) % LISTS_PER_MEMCG == LRU_ZSWAP and not m.zswap.entries_linked:
            assert not items, f"list {head} has entries before any is linked"
            items = numbered.get(head, [])
        for page in items:
            assert page not in found, f"page {page} is on lists {found[page]} and {head}"
            found[page] = head
        memcg, lru = divmod(head - nr_folios, LISTS_PER_MEMCG)
        fields = {LRU_ZSWAP: "entries"} if m.mglru.enabled else FIELDS
        field = fields.get(lru, "")
        if field:
            assert m.memcgs[field][memcg] == len(items), f"{field} of {memcg} is not {len(items)}"
        elif not m.mglru.enabled:
            assert not items, f"list {lru} of {memcg} has folios"
    for page, expected in enumerate(expected_lists(m)):
        at = found.get(page, -1)
        assert at == expected or are_of_one_memcg(m, at, expected), f"page {page} is on list {at}, not {expected}"


def are_of_one_memcg(m: State, head: int, other: int) -> bool:
    """Whether two heads are of generations of one cgroup: MGLRU promotes a folio where it is, and moves it later."""
    if not m.mglru.enabled:
        return False
    first, second = (divmod(each - int(m.sizes.nr_folios), LISTS_PER_MEMCG) for each in (head, other))
    return head >= 0 and first[0] == second[0] and LRU_ZSWAP not in (first[1], second[1])


def validate_generations(m: State) -> None:
    """A folio's generation is one that there is; each has the folios that say so, the two youngest are active."""
    if not m.mglru.enabled:
        return
    resident, gen, memcg = states(m) == RESIDENT, generations(m), memcg_of(m)
    lru_gens = m.lru_gens[: m.sizes.nr_memcgs]
    assert (gen[resident] >= 0).all(), "a folio has no generation"
    counts = count_by(m, (memcg * MAX_NR_GENS + gen)[resident]).reshape(-1, MAX_NR_GENS)
    assert_equal("gen_pages", m.gen_pages, counts.ravel())
    rows = np.arange(len(counts))
    active = sum(counts[rows, (lru_gens["max_seq"] - i) % MAX_NR_GENS] for i in range(MIN_NR_GENS))
    assert_equal("active", m.memcgs["active"], active)
    assert_equal("inactive", m.memcgs["inactive"], counts.sum(axis=1) - active)
    for kind in ("min_seq", "min_seq_file"):
        there = lru_gens["max_seq"] - lru_gens[kind] + 1
        assert ((there >= MIN_NR_GENS) & (there <= MAX_NR_GENS)).all(), f"{list(there)} generations by {kind}"
    assert (lru_gens["min_seq_file"] >= lru_gens["min_seq"]).all(), "file memory's oldest generation is older"
    ages = (gen - lru_gens["min_seq"][memcg]) % MAX_NR_GENS
    oldest = lru_gens["max_seq"][memcg] - lru_gens["min_seq"][memcg]
    assert (ages <= oldest)[resident].all(), "a folio is of a generation that is not there"


def count_by(m: State, key: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each cgroup's generation occurs."""
    return np.bincount(key, minlength=len(m.memcgs) * MAX_NR_GENS).astype(np.int64)


def validate_memcg_lru(m: State) -> None:
    """Every cgroup is on one list of cgroups, of the old or the young generation."""
    lists = Lists(m.lru_gens)
    first = int(m.sizes.nr_memcgs)
    found: list[int] = []
    for head in range(first, len(m.lru_gens)):
        items = lists.walk(head)
        assert (m.lru_gens["gen"][items] == (head - first) // MEMCG_NR_BINS).all(), "a cgroup is on another's list"
        found += items
    assert sorted(found) == list(range(first)), "a cgroup is on no list, or on two"
    young = (m.lru_gens["gen"][:first] - int(m.mglru.memcg_seq)) % MEMCG_NR_GENS
    assert (young <= 1).all(), "a cgroup is neither old nor young"


def stocks(m: State) -> list[tuple[int, int]]:
    """For which cgroup how many pages are charged ahead."""
    several = zip(m.stocks["memcg"].tolist(), m.stocks["pages"].tolist(), strict=True)
    return [(int(m.memory.stock_memcg), int(m.memory.stock_pages)), *((memcg, n) for memcg, n in several if memcg >= 0)]


def validate_charges(m: State) -> None:
    """A cgroup is charged for its subtree's folios, tables, stock and, in whole pages, objcgs' compressed bytes."""
    state, memcg = states(m), memcg_of(m)
    resident = state == RESIDENT
    objcg_pages = (m.memcgs["objcg_bytes"] + 4095) >> 12
    tables = count(m, m.memcgs["objcg"][m.table_memcg[m.table_memcg >= 0]].astype(np.int64))
    charged = count(m, memcg[resident]) + objcg_pages + tables
    for owner, pages in stocks(m):
        charged[owner] += pages
    children = count(m, m.memcgs["parent"][1:].astype(np.int64))
    charged[1:] += MEMCG_PAGES * children[1:]
    assert_equal("usage", m.memcgs["usage"], in_subtree(m, charged))
    mapped = (m.pte & PRESENT) != 0
    assert_equal("anon", m.memcgs["anon"], count(m, memcg[mapped & ~is_shmem(m)]))
    cached = resident & has_flag(m, PG_SWAPCACHE)
    assert_equal("swapcached", m.memcgs["swapcached"], count(m, memcg[cached]))
    assert_equal("file", m.memcgs["file"], count(m, memcg[resident & is_file(m)]))
    assert_equal("shmem", m.memcgs["shmem"], count(m, memcg[resident & ~cached & is_shmem(m)]))


def validate_swap_charges(m: State) -> None:
    """Each slot is charged to one cgroup and all above it."""
    local = count(m, slot_owner_of(m)[has_slot(m)])
    local += count(m, m.returned_memcg[: int(m.swap.cache_ret)].astype(np.int64))
    assert_equal("swap_local", m.memcgs["swap_local"], local)
    assert_equal("swap", m.memcgs["swap"], in_subtree(m, local))


def validate_zswap_charges(m: State) -> None:
    """Compressed bytes are those of the entries of each objcg; the root has no objcg of its own."""
    entry = is_entry(m)
    length = m.folios["length"][: m.sizes.nr_folios]
    owner = objcg_of(m)[entry]
    own = count(m, owner, length[entry])
    assert_equal("zswap_bytes", m.memcgs["zswap_bytes"], own)
    assert_equal("zswapped", m.memcgs["zswapped"], count(m, owner))
    anon_vmas = m.anon_vma_memcg[m.anon_vma_memcg >= 0]
    own += ANON_VMA_BYTES * count(m, m.memcgs["objcg"][anon_vmas].astype(np.int64))
    tasks = m.task_memcg >= 0
    own += XA_NODE_BYTES * count(
        m, m.memcgs["objcg"][m.task_memcg[tasks]].astype(np.int64), np.array(nodes_of(m))[tasks]
    )
    own[0] = 0
    assert_equal("objcg_bytes", m.memcgs["objcg_bytes"], own)
    stored = int((states(m) == COMPRESSED).sum())
    assert m.zswap.stored_pages == stored, f"stored_pages is {m.zswap.stored_pages}, not {stored}"
    assert (length[states(m) == COMPRESSED] > 0).all(), "an entry has no length"


def validate_free_memory(m: State) -> None:
    """What is neither resident nor in the pool, nor a page table, is free."""
    used = int((states(m) == RESIDENT).sum()) + int((m.table_memcg >= 0).sum())
    expected = int(m.memory.totalram) - used - int(m.zswap.pool_pages)
    assert m.memory.free == expected, f"free is {m.memory.free}, not {expected}"
    assert expected >= 0, f"{-expected} pages more than the machine has"


def freed_zspages(m: State) -> Iterable[int]:
    """The stack of zspages that were given back."""
    zspage = int(m.zswap.free_zspage)
    while zspage >= 0:
        yield zspage
        zspage = int(m.zspages["next"][zspage])


def validate_pool(m: State) -> None:
    """Zspages hold exactly the entries that say so, hang on the list of their fullness, and are the pool's pages."""
    entry = states(m) == COMPRESSED
    pages = m.folios[: m.sizes.nr_folios]
    inuse = Counter(pages["zspage"][entry].tolist())
    freed = list(freed_zspages(m))
    assert len(freed) == len(set(freed)), "a zspage was freed twice"
    lists = GROUPS * len(SIZE_CLASSES)
    live = set(range(1 + lists, int(m.zswap.fresh_zspage))) - set(freed)
    assert set(inuse) == live, f"zspages {set(inuse) ^ live} are live without entries, or hold entries without living"
    pool_pages = 0
    for zspage in live:
        size_class = SIZE_CLASSES[int(m.zspages["size_class"][zspage])]
        pool_pages += size_class.pages_per_zspage
        assert m.zspages["inuse"][zspage] == inuse[zspage], f"zspage {zspage} counts {m.zspages['inuse'][zspage]}"
        assert inuse[zspage] <= size_class.objs_per_zspage, f"zspage {zspage} holds too much"
    assert m.zswap.pool_pages == pool_pages, f"pool_pages is {m.zswap.pool_pages}, not {pool_pages}"
    classes = m.class_of_length[np.minimum(pages["length"][entry], PAGE_SIZE)]
    assert (m.zspages["size_class"][pages["zspage"][entry]] == classes).all(), "an entry is in a wrong size class"
    validate_fullness(m, inuse)


def fullness_group(objects: int, inuse: int) -> int | None:
    """Group of a zspage, None of a full one, which is on no list."""
    return None if inuse == objects else 100 * inuse // objects // 10 + 1


def validate_fullness(m: State, inuse: Counter[int]) -> None:
    """Lists of zspages match their fullness, and the bitmap says which are not empty."""
    lists = Lists(m.zspages)
    found: dict[int, tuple[int, int]] = {}
    groups = [0] * len(SIZE_CLASSES)
    for size_class, group in product(range(len(SIZE_CLASSES)), range(1, GROUPS + 1)):
        if items := lists.walk(size_class * GROUPS + group):
            found |= dict.fromkeys(items, (size_class, group))
            groups[size_class] |= 1 << group
    assert_equal("class_groups", m.class_groups, groups)
    for zspage, used in inuse.items():
        size_class = int(m.zspages["size_class"][zspage])
        fullness = fullness_group(SIZE_CLASSES[size_class].objs_per_zspage, used)
        expected = fullness and (size_class, fullness)
        assert found.pop(zspage, None) == expected, f"zspage {zspage} is not on {expected}"
    assert not found, f"zspages {list(found)} are on lists but not live"


def validate_slots(m: State) -> None:
    """As many slots are used as pages have one, of those that there are."""
    if m.device.rotational:
        validate_slot_map(m)
        return
    used = has_slot(m).sum()
    assert m.swap.slots_used == used <= m.swap.nr_slots, f"slots_used is {m.swap.slots_used}, not {used}"


def validate_slot_map(m: State) -> None:
    """Every slot of a rotational device is a page's, in one of the two caches, or free between the bounds."""
    swap = m.swap
    pages = np.flatnonzero(has_slot(m))
    used = m.page_slot[pages].tolist()
    first = int(swap.cache_cur)
    cached = m.cached_slots[first : first + int(swap.cache_nr)].tolist() + returned_slots(m).tolist()
    assert len({*used, *cached}) == len(used) + len(cached) == swap.slots_used, "a slot is lost or used twice"
    assert (m.slot_page[used] == pages).all(), "a slot has another page"
    assert (m.slot_page[cached] == SLOT_CACHED).all(), "a cached slot has a page"
    free = np.flatnonzero(m.slot_page == SLOT_FREE)
    assert len(free) == swap.nr_slots - swap.slots_used, "a slot is neither free nor used"
    if m.linux.slots_from_clusters:
        validate_clusters(m)
        return
    assert not len(free) or swap.lowest_bit <= free[0] <= free[-1] <= swap.highest_bit, "a free slot is not found"


def validate_clusters(m: State) -> None:
    """Clusters know how many of their slots are used, and are on the list that this says."""
    used = (m.slot_page.reshape(-1, SWAPFILE_CLUSTER) != SLOT_FREE).sum(1)
    count = int(m.swap.nr_clusters)
    assert_equal("count of clusters", m.clusters["count"][:count], used)
    lists = Lists(m.clusters)
    found = {cluster: kind for kind in range(CLUSTER_LISTS) for cluster in lists.walk(count + kind)}
    assert_equal("kind of clusters", m.clusters["kind"][:count], [found[cluster] for cluster in range(count)])
    for cluster, kind in found.items():
        assert (kind == CLUSTER_FREE) == (used[cluster] == 0), f"cluster {cluster} is free or not"
        assert (kind == CLUSTER_FULL) == (used[cluster] == SWAPFILE_CLUSTER), f"cluster {cluster} is full or not"
    following = int(m.swap.cluster_next)
    assert not following or following % SWAPFILE_CLUSTER, "the next slot is the first of a cluster"


def returned_slots(m: State) -> Any:
    """Slots freed, yet to be given back."""
    return m.returned_slots[: int(m.swap.cache_ret)]


def validate_writes(m: State) -> None:
    """The device's queue holds exactly the folios under writeback, in the order in which they will be done."""
    ring = [(int(m.device.writes_head) + i) % WRITES_IN_FLIGHT for i in range(int(m.device.writes_count))]
    queued = sorted(m.writes_page[ring].tolist())
    assert queued == np.flatnonzero(has_flag(m, PG_WRITEBACK)).tolist(), "queue and PG_writeback differ"
    assert (states(m)[queued] == RESIDENT).all(), "a page under writeback is not resident"
    assert (np.diff(m.writes_done[ring]) >= 0).all(), "writes are not in order"
