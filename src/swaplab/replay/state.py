"""The state of a replay: a few named groups of arrays.

Every structured array is a record array, so ``folios[p].memcg`` reads the same compiled and interpreted.

- `FOLIO`    one record per page, and one per folio that several share, plus one byte of page-table entry each; one per
             list head
- `RMAP`     one record per folio that several pages share: which do
- `MEMCG`    one record per cgroup, in pre-order: the descendants of ``m`` are ``m + 1 .. memcgs[m].end - 1``
- `RULES`    one record per cgroup: the state of rules that are not Linux's
- `FILE_LRU`  one record per cgroup: the state of the classic lists for its file memory
- `LRU_GEN`  one record per cgroup: its generations in MGLRU
- `ZSPAGE`   one record per zspage, with the size classes beside them
- `SIZES`, `MEMORY`, `ZSWAP`, `SWAP`, `DEVICE`, `MGLRU`, `COST`, `TASK`, `SCAN`, `POLICY`  a record of integers each:
  parameters, counters, the clock, the scan in progress
- `State`  all of them together, with the ring of writes in flight, and which `Features` its Linux has

A page is in exactly one place, so one pair of links serves both an LRU list (while a folio exists) and the zswap LRU
(while an entry exists). List heads are the last records of `folios`: five per cgroup.

Cited is Linux 6.12. What a later release does otherwise asks `m.linux`, and what few scenarios have asks `m.has`: the
compiler knows both.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.linux.release import Features
from swaplab.policy.told import POLICY
from swaplab.result.counters import BY_NAME, EVENTS

__all__ = [
    "CLOCK_MAX",
    "CONTROL",
    "COST",
    "COUNTERS",
    "DESCRIPTOR",
    "DEVICE",
    "FILE_LRU",
    "FOLIO",
    "LRU_GEN",
    "MEMCG",
    "MEMCG_PAGES",
    "MEMORY",
    "MGLRU",
    "NO_LIMIT",
    "READAHEAD",
    "RULES",
    "SCAN",
    "SIZES",
    "SWAP",
    "TASK",
    "ZSPAGE",
    "ZSWAP",
    "Parts",
    "State",
    "record",
    "records",
]

Records = Any
"""A `numpy.recarray`; a name for readers, since attribute access by field cannot be typed."""


NO_LIMIT = 1 << 52
"""``max`` in pages: larger than any count, small enough that sums do not overflow."""

# Page-table entry (uint8). An entry is less than PRESENT or it is present: that can be added up without a branch.
PRESENT, YOUNG, PTE_DIRTY = 8, 2, 1
MAPPED = 4
"""A page that shares its folio: present, though an access to it is handled as a fault."""
MANY = 16
"""A shared folio: its other bits are those of any of its pages' entries."""

# Where a page is: the low three of `bits`.
NONE, RESIDENT, COMPRESSED, ON_DISK, ZERO_FILLED, GONE, SHARED, SHMEM = 0, 1, 2, 3, 4, 5, 6, 7
STATE_MASK = 7

# Folio and entry flags: the kernel's names where it has them.
PG_ACTIVE = 1 << 3
PG_REFERENCED = 1 << 4
PG_WORKINGSET = 1 << 5
PG_DIRTY = 1 << 6
PG_SWAPCACHE = 1 << 7
PG_WRITEBACK = 1 << 8
PG_RECLAIM = 1 << 9
ZEROMAP = 1 << 10
"""The slot holds a zero-filled page (include/linux/swap.h: swap_info_struct.zeromap)."""
ENTRY_REFERENCED = 1 << 11
"""zswap_entry.referenced: the second chance is still to be spent."""
SHADOW = 1 << 12
"""The slot's swap-cache cell holds a shadow."""
SHADOW_WORKINGSET = 1 << 13
PG_READAHEAD = 1 << 14
LRU_REFS = 1 << 15
"""LRU_REFS_MASK (MGLRU): of 6.12 all its bits, which anonymous memory has set together or not at all; of 7.2, where it
counts uses beyond `PG_REFERENCED`, the lowest, as anonymous memory has one at most."""
LRU_GEN_SHIFT = 11
LRU_GEN_MASK = 7 << LRU_GEN_SHIFT
"""Generation + 1 of a folio on one of MGLRU's lists, in the bits that tell of an entry or a shadow without a folio."""
UNMAPPED = 1 << 3
"""A page without a folio: it is in no mapping, so that its page table may go."""
FOLIO_FLAGS = (
    PG_ACTIVE
    | PG_REFERENCED
    | PG_WORKINGSET
    | PG_DIRTY
    | PG_SWAPCACHE
    | PG_WRITEBACK
    | PG_RECLAIM
    | PG_READAHEAD
    | LRU_REFS
)

UNKNOWN = -1
CACHE_LINE = 64

_PAGE = np.dtype(
    [
        ("next", "i4"),  # links of the one list the page is on; `next` of an entry that is on none yet: its number
        ("prev", "i4"),
        ("memcg", "i2"),  # charged with the folio, or with the slot; with the leaves they are 20,001 at most
        ("bits", "u2"),  # where it is, and flags
        ("kind", "i4"),  # content component, into `first` and `count`
        ("zspage", "i4"),  # compressed: that holds the bytes; shared: the folio; shmem: the object's page
        ("shadow", "i4"),  # nonresident age at eviction, low 31 bits
        ("version", "u4"),  # write accesses so far, modulo 2**32: `sample_hash` looks at no more
        ("other_memcg", "i2"),  # folio in the swap cache: charged with the slot; swapped out: whose reclaim evicted it
        ("length", "i2"),  # compressed bytes of this version, below 2 pages; UNKNOWN until it is stored
    ]
)
_FIELDS: Any = _PAGE.fields
_OVERLAID: Any = {**_FIELDS, "later": _FIELDS["zspage"]}
FOLIO = np.dtype(_OVERLAID)
"""All about a page, and in the place of a zspage, which a resident one has not, the folio that a scan meets `LATER`.

32 bytes, so that none is in two cache lines (`records`) and a fault waits for one.

Numbers of pages, slots, zspages, tasks and lists fit an int32, here and below: a scenario has 2**26 pages, 2**28 slots
and 10,000 cgroups at most (`swaplab.scenario.validate`), each with a leaf; a task has a page, and the samples of its
contents are 2**26 at most.
"""

RMAP = np.dtype([("first", "i4"), ("owners", "i4"), ("mapped", "i4"), ("origin", "i4"), ("shmem", "i4")])
"""A folio that pages share: one of them, which are linked; how many have it, how many of them map it; which page's
contents it has; and whether it is an object's. What has it and does not map it names its slot, or is the object's."""

MIN_NR_GENS, MAX_NR_GENS = 2, 4
LRU_INACTIVE, LRU_ACTIVE = 0, 1
LRU_FILE = 2
LRU_INACTIVE_FILE, LRU_ACTIVE_FILE = LRU_FILE + LRU_INACTIVE, LRU_FILE + LRU_ACTIVE
"""Classic lists; with MGLRU the first lists are its generations."""
LRU_ZSWAP = MAX_NR_GENS
LISTS_PER_MEMCG = MAX_NR_GENS + 1
CLASSIC_LISTS = 4

MEMCG_NR_GENS, MEMCG_NR_BINS = 3, 8
"""Generations of cgroups, and lists that each is spread over (include/linux/mmzone.h:struct lru_gen_memcg)."""
PTRS_PER_TABLE = 512
MEMCG_PAGES = 2
"""Pages that a cgroup's own structures take, of its parent's (mm/memcontrol.c:mem_cgroup_css_alloc): as
measured, with one processor, for 1 to 6 children."""
ANON_VMA_BYTES = 184
"""An anon_vma and its chain, of 104 and 64 bytes on x86-64, and a pointer to their objcg each."""

NR_MEMCG_STOCK = 7
STOCK = np.dtype([("memcg", "i8"), ("pages", "i8")])
"""Pages that are charged ahead for one cgroup, -1 for none (mm/memcontrol.c:memcg_stock_pcp, 7.2)."""

NUMBER_BITS = 31
STORES_MAX = (1 << NUMBER_BITS) - 1
"""Stores that can be numbered."""
DIGIT_BITS, DIGITS = 11, 1 << 11
"""How entries are sorted by their numbers: by a digit at a time, the lowest first."""

SLOT_FREE, SLOT_CACHED = -1, -2

CLUSTER = np.dtype([("next", "i4"), ("prev", "i4"), ("kind", "i4"), ("count", "i4")])
"""512 slots of a rotational device (mm/swap.h:struct swap_cluster_info, 7.2): slots in use, and which list it is on."""
CLUSTER_FREE, CLUSTER_NONFULL, CLUSTER_FRAG, CLUSTER_FULL, CLUSTER_NONE = range(5)
CLUSTER_LISTS = 4

GROUPS = 10
"""Fullness groups of zspages that are neither empty nor full (mm/zsmalloc.c:enum fullness_group)."""

ISOLATED = -2
"""`next` of a folio that a scan has taken off its list (PG_lru is clear, in the kernel)."""

OBJECTS_MAX = 1024
"""No zspage holds as many objects: 8 pages of objects of 32 bytes."""

BLOCK = 64
"""Accesses that are looked ahead at together: their faults take longer than memory takes to answer."""

LATER = 8
"""Folios that a scan is ahead of itself: enough for memory to answer, and few enough to be in the nearest cache. A
power of two."""
MIN_LRU_BATCH, MAX_LRU_BATCH = 64, 4096
PAGEVEC_SIZE = 31
WRITES_IN_FLIGHT = 256
"""Requests a device queue takes before the submitter sleeps (nr_requests of virtio-blk and of most SCSI disks)."""

CLOCK_MAX = 1 << 62
"""Nanoseconds, 146 years; what is added to a clock at once is less, so that no sum overflows (`Accesses`)."""

COUNTERS = tuple(BY_NAME[name].field for name in EVENTS)
"""Events of a cgroup itself (int64, never decreasing). Mostly the kernel's names; times are of the waiting tasks."""

MEMCG = np.dtype(
    [
        ("parent", "i4"),  # -1 for the root
        ("end", "i4"),  # one past the last descendant, in pre-order
        ("online", "i4"),
        ("objcg", "i4"),  # nearest online cgroup, which owns this one's zswap entries
        ("iterator", "i4"),  # position of partial reclaim walks of this subtree, -1 before the first
        ("writeback", "i4"),  # memory.zswap.writeback
        ("memory_max", "i8"),  # pages
        ("memory_high", "i8"),  # pages
        ("swap_max", "i8"),  # pages
        ("zswap_max", "i8"),  # pages
        ("usage", "i8"),  # pages charged here and below: folios, compressed bytes, page tables and stock
        ("swap", "i8"),  # slots charged here and below
        ("swap_local", "i8"),  # slots charged here
        ("zswap_bytes", "i8"),  # compressed bytes of this cgroup's own objcg
        ("zswapped", "i8"),  # and their entries
        ("incompressible", "i8"),  # of these, pages kept as they are
        ("objcg_bytes", "i8"),  # what the objcg is charged for: compressed bytes and anon_vmas
        ("anon", "i8"),  # mapped folios charged here
        ("shmem", "i8"),  # folios of shared memory charged here, but for those in the swap cache
        ("swapcached", "i8"),  # folios in the swap cache charged here
        ("inactive", "i8"),  # length of the inactive list
        ("active", "i8"),  # length of the active list
        ("entries", "i8"),  # length of the zswap LRU
        ("nonresident_age", "i8"),
        ("anon_cost", "i8"),
        ("refaults", "i8"),  # flushed_activations at the last reclaim, for DEACTIVATE_ANON
        ("nr_deferred", "i8"),  # of the zswap shrinker
        ("nr_disk_swapins", "i8"),
        ("flushed_inactive", "i8"),  # `inactive` here and below, as it was at the last flush of statistics
        ("flushed_active", "i8"),
        ("flushed_activations", "i8"),  # WORKINGSET_ACTIVATE_ANON likewise
        ("over_high", "i8"),  # pages its tasks charged above memory.high and are yet to reclaim for
        *((name, "i8") for name in COUNTERS),
        ("file", "i8"),  # folios of files charged here
        ("inactive_file", "i8"),  # length of their inactive list
        ("active_file", "i8"),  # and of their active list
        ("unused", "i8"),
    ],
    align=True,
)
"""One cgroup: 512 bytes, so that it is found by a shift; a multiplication takes three times as long."""

FILE_LRU = np.dtype(
    [
        ("cost", "i8"),
        ("refaults", "i8"),  # flushed_activations at the last reclaim, for DEACTIVATE_FILE
        ("flushed_inactive", "i8"),  # `inactive_file` here and below, as it was at the last flush of statistics
        ("flushed_active", "i8"),
        ("flushed_activations", "i8"),  # WORKINGSET_ACTIVATE_FILE likewise
    ]
)
"""What the classic lists know of a cgroup's file memory, as `MEMCG` has it of anonymous memory."""

FILE = -1
"""`kind` of a page of a file."""
DESCRIPTOR = np.dtype(
    [
        ("random", "i8"),  # FMODE_RANDOM
        ("prev", "i8"),  # page read last, UNKNOWN before the first
        ("start", "i8"),  # page that the last readahead began with
        ("ra_size", "i8"),  # and its pages
        ("async_size", "i8"),  # of these, those from the marked one on
        ("io_from", "i8"),  # page that the last request began with
        ("io_done", "i8"),  # ns
    ]
)
"""include/linux/fs.h:struct file_ra_state, of the task that has the file open."""
RA_PAGES = 32
"""Pages of the largest readahead (include/linux/pagemap.h:VM_READAHEAD_PAGES)."""
XA_CHUNK_SHIFT = 6
XA_NODE_BYTES = 592
"""A node of the tree that finds a file's folios, of 584 bytes on x86-64, and a pointer to its objcg."""

RULES = np.dtype(
    [
        ("tag", "i8"),  # what a policy calls it
        ("written_back_at", "i8"),  # ns, when an entry of its objcg's was last written back, 0 if none was
        ("zswap_iterator", "i8"),  # whom memory.reclaim with source=zswap took from last, -1 before the first
    ]
)
"""One cgroup, to what is not Linux's: policies of one's own, and rules that are proposed."""

LRU_GEN = np.dtype(
    [
        ("next", "i4"),  # links of the list of cgroups that global reclaim goes by
        ("prev", "i4"),
        ("gen", "i4"),  # of MEMCG_NR_GENS generations of cgroups, that it belongs to
        ("seg", "i4"),  # the last operation, if that was MEMCG_LRU_TAIL
        ("max_seq", "i8"),  # the youngest generation, modulo MAX_NR_GENS its list
        ("min_seq", "i8"),  # the oldest of anonymous memory
        ("min_seq_file", "i8"),  # and of file memory, of which there is none
        ("filters", "i8"),  # bit i: Bloom filter i is there
    ]
)
"""include/linux/mmzone.h:struct lru_gen_folio, lru_gen_mm_state. Heads of lists of cgroups stand behind them."""

MAX_NR_TIERS = 4
TIER = np.dtype([(name, "i8") for name in ("refaulted", "evicted", "protected", "avg_refaulted", "avg_total")])
"""struct lru_gen_folio's numbers of one tier of anonymous memory, 7.2, with one generation of history."""

ZSPAGE = np.dtype([("next", "i4"), ("prev", "i4"), ("size_class", "i4"), ("inuse", "i4")])
"""One zspage, of 16 bytes for the same reason. Ahead of them are heads of lists, for each size class and fullness group
that of class * GROUPS + group."""

READAHEAD = np.dtype([("address", "i8"), ("window", "i4"), ("hits", "i4")])
"""vm_area_struct.swap_readahead_info of a task: page of the last fault from 2, pages read then, hits since.
Both are below 64 (`swaplab.replay.swap_state`)."""

SWAP_SLOTS_CACHE_SIZE = 64


def _numbers(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, "i8") for name in names])


SIZES = _numbers(
    "nr_pages",
    "nr_folios",  # pages, and as many records for folios that pages share
    "shared_folios",  # of these in use
    "free_folio",  # stack of those that were freed, linked by `next`, 0 at its end
    "fresh_folio",  # and that were never used: all from here up
    "nr_memcgs",
    "nr_tasks",
)
"""How many there are of what."""

MEMORY = _numbers(
    "totalram",  # pages
    "free",  # pages neither resident nor in the pool
    "watermark_min",
    "watermark_low",
    "watermark_high",
    "swappiness",
    "high_limits",  # whether a memory.high was ever set
    "swap_limits",  # whether a memory.swap.max was
    "stock_memcg",  # whose pages are in the stock
    "stock_pages",
    "stock_drain_idx",  # which of the stocks of 7.2 gives way next
    "next_flush",  # the next at which statistics are flushed
    "lru_batch",  # number of the batch in which new folios wait to be put on lists
    "lru_batch_nr",  # folios in it
    "files_added",  # of these, those of files, which are on no list
    "files_activated",  # folios that wait to be put on an active list
    "kswapd_failures",
)
"""The machine's memory, in pages, and charges, statistics and lists that are still to be updated."""

ZSWAP = _numbers(
    "enabled",
    "global_lru",
    "shrinker",
    "max_pages",
    "accept_pages",
    "pool_reached_full",
    "shrink_queued",
    "worker_running",
    "worker_clock",  # ns
    "worker_turn",  # where its turn on the task's CPU ends, if that has no other
    "worker_failures",
    "worker_attempts",
    "worker_memcg",  # whose turn it is, NOT_CHOSEN before the cursor has moved
    "next_shrink",  # zswap_next_shrink, -1 for none
    "shrink_batch",  # entries of a cgroup that are walked at once; of no release but 1
    "cursor",  # whether `zswap_iterator` is used: proposed
    "drop_written",  # whether what was written back is freed then: proposed
    "stored_pages",
    "stored_incompressible_pages",
    "entries_linked",  # whether entries are on lists, and not numbered only
    "stores",  # how many were numbered
    "pool_pages",
    "free_zspage",  # stack of freed zspages, linked by `next`, -1 at its end
    "fresh_zspage",  # zspages that were never used: all from here up
    "pool_limit_hit",
    "reject_reclaim_fail",
    "reject_alloc_fail",
    "reject_compress_fail",
    "decompress_fail",  # never, as what is stored is never damaged
    "written_back_pages",
)
"""zswap's parameters, its state and what debugfs has of it; zram's pool likewise."""

SWAP = _numbers(
    "zram",
    "nr_slots",
    "slots_used",
    "lowest_bit",  # of a rotational device: no slot below is free
    "highest_bit",  # nor above; 0 when none is
    "cluster_next",  # where to look for the next slot
    "cluster_nr",  # slots left in the current cluster
    "cache_active",  # swap_slot_cache_active
    "cache_cur",
    "cache_nr",  # slots allocated ahead
    "cache_ret",  # slots freed, yet to be given back
    "page_cluster",
    "nr_clusters",
    "ra_hits",  # swapin_readahead_hits
    "ra_offset",  # prev_offset of swapin_nr_pages()
    "ra_pages",  # last_readahead_pages
)
"""The swap area: which slots are free, and what is read ahead."""

DEVICE = _numbers(
    "head_position",  # slot after the last one the device touched
    "free_at",  # ns
    "writes_head",  # ring of writes in flight: first and count
    "writes_count",
    "rotational",
    "submit_ns",
    "plugged",  # task_struct.plug: whose, 1 a workload's, 2 a background task's, 0 none
    "held_back",  # whether it has writes
    "read_latency_ns",
    "write_latency_ns",
    "read_page_ns",  # time on the wire for 4096 bytes
    "write_page_ns",
    "seek_ns",
    "file_head_position",  # of the disk that files are on, as fast as this one: page after the last one that was read
    "file_free_at",
)
"""The swap device: its speed, and requests in flight."""

MGLRU = _numbers(
    "enabled",  # whether it is on
    "memcg_seq",  # of the generations of cgroups: which is the old one
    "random",  # state of the generator that picks their lists
    "mm_walk",  # current->reclaim_state->mm_walk is there
)
"""MGLRU's state for all cgroups."""

COST = _numbers(
    "access_ns",
    "fault_minor_ns",
    "fault_major_ns",
    "reclaim_page_ns",
    "compress_ns",
    "decompress_ns",
)
"""Costs, in ns (`swaplab.scenario.cost`)."""

TASK = _numbers(
    "position",  # accesses made so far
    "made",  # and where in the window these end
    "settled",  # where those end that page table and contents show (`swaplab.replay.access`)
    "reclaimed",  # whether there was reclaim since the last look
    "clock",
    "current",  # its cgroup
    "cpus",  # with 1, background tasks run while this one waits; else they have one of their own
    "background",  # kswapd or a worker runs
    "in_lru_fault",  # task_struct.in_lru_fault: in a page fault
    "swapping_in",  # the page whose slot it has claimed to swap it in; -1 for none
)
"""The clock, and the task that runs on it."""

SCAN = _numbers(
    "target",
    "priority",
    "nr_to_reclaim",
    "nr_reclaimed",
    "nr_scanned",
    "nr_pageout",
    "may_deactivate",
    "force_deactivate",
    "skipped_deactivate",
    "full_walk",
    "proactive",  # asked for by memory.reclaim
    "kswapd",
    "file_is_tiny",
    "may_deactivate_file",
    "cache_trim_mode",
    "cache_trim_mode_failed",
    "no_cache_trim_mode",
    "anon_share",  # weights by which a scan is split
    "file_share",
)
"""struct scan_control: the reclaim in progress."""

CONTROL = np.dtype(
    [
        ("sizes", SIZES),
        ("memory", MEMORY),
        ("zswap", ZSWAP),
        ("swap", SWAP),
        ("device", DEVICE),
        ("mglru", MGLRU),
        ("cost", COST),
        ("task", TASK),
        ("scan", SCAN),
        ("policy", POLICY),
    ]
)
"""These records, one behind the other: so compiled code finds all of them by one address."""


class Parts(NamedTuple):
    """What only some scenarios have, as `Features` are what only some releases do.

    Attributes:
        file_memory: a page cache.
    """

    file_memory: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """All state of one replay; what the compiled functions take, by reference (`swaplab.replay.reference`)."""

    linux: Features  # to the compiler part of the type: code of other releases is not compiled
    has: Parts  # and code for things that a scenario does not have
    folios: Records  # FOLIO[nr_folios + LISTS_PER_MEMCG * nr_memcgs]
    pte: NDArray[np.uint8]  # [nr_folios]
    rmaps: Records  # RMAP[nr_folios - nr_pages]
    memcgs: Records  # MEMCG[nr_memcgs]
    rules: Records  # RULES[nr_memcgs]
    lru_gens: Records  # LRU_GEN[nr_memcgs + MEMCG_NR_GENS * MEMCG_NR_BINS]
    file_lrus: Records  # FILE_LRU[nr_memcgs]
    descriptors: Records  # DESCRIPTOR[tasks]
    first_node: NDArray[np.int64]  # [tasks + 1] first node of each file's tree
    has_node: NDArray[np.uint8]  # [nodes] whether it is there
    batch_added: NDArray[np.int32]  # [PAGEVEC_SIZE] new folios of files
    batch_activated: NDArray[np.int32]  # [PAGEVEC_SIZE] folios of files that were used again
    scan_counts: NDArray[np.int64]  # [2 * CLASSIC_LISTS] folios of each list left to scan; and set out to scan
    gen_pages: NDArray[np.int64]  # [nr_memcgs * MAX_NR_GENS] folios of each generation
    tiers: Records  # TIER[nr_memcgs * MAX_NR_TIERS], 7.2
    filters: NDArray[np.uint8]  # [page tables] bit i: the table is in Bloom filter i of its task's cgroup
    first_table: NDArray[np.int64]  # [tasks + 1] first page table of each task
    table_memcg: NDArray[np.int32]  # [page tables] charged with the table, whose objcg that is; -1 while there is none
    anon_vma_memcg: NDArray[np.int32]  # [tasks] charged with the task's anon_vma; -1 while there is none
    mm_is_new: NDArray[np.uint8]  # [tasks] not yet walked since its task joined its cgroup
    zspages: Records  # ZSPAGE[heads + nr_pages]
    class_of_length: NDArray[np.uint8]  # [4097] compressed bytes -> which of the 119 size classes
    class_pages: NDArray[np.int32]  # [classes] pages per zspage
    class_groups: NDArray[np.int32]  # [classes] bit g: the list of fullness group g, of 10, is not empty
    list_of: NDArray[
        np.uint16
    ]  # [classes * OBJECTS_MAX] class, objects in use -> head of its list, of 1190, 0 for none
    page_slot: NDArray[np.int32]  # [nr_folios] slot of each page on a rotational device
    slot_page: NDArray[np.int32]  # [slots + 1] page of each slot of a rotational device, SLOT_FREE or SLOT_CACHED
    cached_slots: NDArray[np.int32]  # [SWAP_SLOTS_CACHE_SIZE] allocated ahead
    returned_slots: NDArray[np.int32]  # [SWAP_SLOTS_CACHE_SIZE] freed, yet to be given back
    returned_memcg: NDArray[np.int32]  # [SWAP_SLOTS_CACHE_SIZE] charged with these
    clusters: Records  # CLUSTER[nr_clusters + CLUSTER_LISTS] of a rotational device, 7.2
    stocks: Records  # STOCK[NR_MEMCG_STOCK], 7.2
    readahead: Records  # READAHEAD[tasks]
    writes_page: NDArray[np.int32]  # [WRITES_IN_FLIGHT] ring
    writes_done: NDArray[np.int64]  # [WRITES_IN_FLIGHT] ns
    writes_batch: NDArray[np.int64]  # [WRITES_IN_FLIGHT] batch that the folio was new in, -1 if it was not
    added: NDArray[np.int32]  # [LATER * LISTS_PER_MEMCG * nr_memcgs] folios last put on each list, a ring
    turns: NDArray[np.int64]  # [LISTS_PER_MEMCG * nr_memcgs] folios put on each list so far, modulo LATER
    window: NDArray[np.uint32]  # [2 * BLOCK] accesses of the block that is made and of the next, in turn
    missing: NDArray[np.int32]  # [2 * BLOCK] where in the window those are that are about to fault
    stacks: NDArray[np.int32]  # [DIGITS] tops of stacks of entries while they are sorted, else -1
    written: NDArray[np.int32]  # [BLOCK] pages written to
    stored_at: NDArray[np.int64]  # [nr_folios] ns, when an entry was stored; [1] where no policy asks for its age
    isolated: NDArray[np.int32]  # [MIN_LRU_BATCH] folios off their list during a scan
    first: NDArray[np.int32]  # [components] first sample
    count: NDArray[np.int32]  # [components] samples
    lengths: NDArray[np.int16]  # [samples] compressed bytes, below 2 pages, 0 for a zero-filled page
    task_killed: NDArray[np.uint8]  # [tasks] by the OOM killer
    task_memcg: NDArray[np.int32]  # [tasks] cgroup the task is in now; -1 for shared memory, which is no task
    task_first: NDArray[np.int64]  # [tasks + 1] first page of each task
    sizes: Records  # SIZES; this and what follows are parts of one CONTROL
    memory: Records  # MEMORY
    zswap: Records  # ZSWAP
    swap: Records  # SWAP
    device: Records  # DEVICE
    mglru: Records  # MGLRU
    cost: Records  # COST
    task: Records  # TASK
    scan: Records  # SCAN
    policy: Records  # POLICY

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """Address of every array, in order: int64 of shape (arrays,)."""
        return np.array([np.asarray(each).ctypes.data for each in self.arrays.values()], np.int64)

    @property
    def arrays(self) -> dict[str, Any]:
        """All but `linux` and `has`, by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)[2:]}

    @cached_property
    def address(self) -> int:
        """Address of `table`."""
        return self.table.ctypes.data


def records(dtype: np.dtype[Any], count: int) -> Records:
    """`count` zeroed records of `dtype`, the first at the beginning of a cache line."""
    size = count * dtype.itemsize
    raw = np.zeros(size + CACHE_LINE, np.uint8)
    begin = -raw.ctypes.data % CACHE_LINE
    return raw[begin : begin + size].view(dtype).view(np.recarray)


def record(dtype: np.dtype[Any]) -> Records:
    """One zeroed record of `dtype`."""
    return records(dtype, 1)[0]
