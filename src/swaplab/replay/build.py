"""From a scenario to the state a replay starts from.

Cited is Linux 6.12.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.compress import compressed_lengths
from swaplab.errors import UnsupportedError
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import Features, features_of
from swaplab.linux.swap import SWAPFILE_CLUSTER
from swaplab.linux.zsmalloc import SIZE_CLASSES, class_of_length
from swaplab.replay.state import (
    BLOCK,
    CLASSIC_LISTS,
    CLUSTER,
    CLUSTER_FREE,
    CLUSTER_LISTS,
    CLUSTER_NONFULL,
    CONTROL,
    DESCRIPTOR,
    DIGITS,
    FILE,
    FILE_LRU,
    FOLIO,
    GROUPS,
    LATER,
    LISTS_PER_MEMCG,
    LRU_GEN,
    MAX_NR_GENS,
    MAX_NR_TIERS,
    MEMCG,
    MEMCG_NR_BINS,
    MEMCG_NR_GENS,
    MEMCG_PAGES,
    MIN_LRU_BATCH,
    MIN_NR_GENS,
    NO_LIMIT,
    NR_MEMCG_STOCK,
    OBJECTS_MAX,
    PAGEVEC_SIZE,
    PTRS_PER_TABLE,
    READAHEAD,
    RMAP,
    RULES,
    SLOT_CACHED,
    SLOT_FREE,
    STOCK,
    SWAP_SLOTS_CACHE_SIZE,
    TIER,
    UNKNOWN,
    WRITES_IN_FLIGHT,
    XA_CHUNK_SHIFT,
    ZSPAGE,
    Parts,
    Records,
    State,
    record,
    records,
)
from swaplab.replay.stock import MEMCG_CHARGE_BATCH
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.contents import page_contents
from swaplab.scenario.cost import Cost
from swaplab.scenario.model import Cgroup, Proposed, Scenario
from swaplab.scenario.tree import leaves, parent_of, pre_order

__all__ = ["CompressedContents", "build", "compressed_contents", "pages_of", "parts_of", "refuse", "tree_of"]

ZSPAGE_LISTS = GROUPS * len(SIZE_CLASSES)
FIRST_HITS = 4  # before the first readahead, mm/swap_state.c


def refuse(scenario: Scenario) -> None:
    """Raise UnsupportedError for what the replay does not model, by the scenario's keys."""
    machine, where = scenario.machine, f"{scenario.source}: machine"
    if machine.nodes != 1:
        raise UnsupportedError(f"{where}.nodes: the replay models one NUMA node, found {machine.nodes}")
    if scenario.has_file_memory:
        for problem in _not_modelled_of_files(scenario):
            raise UnsupportedError(f"{scenario.source}: {problem}")


def _not_modelled_of_files(scenario: Scenario) -> Iterator[str]:
    """What a scenario with file memory asks for that the replay does not model."""
    machine = scenario.machine
    if machine.kernel != "6.12":
        yield f"machine.kernel: the replay models file memory of 6.12, found {machine.kernel}"
    if machine.lru != "classic":
        yield f'machine.lru: the replay models file memory on the classic lists, found "{machine.lru}"'
    if scenario.swap.device == "zram":
        yield 'swap.device: files need a device, found "zram"'
    of_files = {each.cgroup for each in scenario.workloads if each.kind == "file"}
    for i, event in enumerate(scenario.events):
        if event.cgroup in of_files and (event.exit or event.remove):
            yield f"event[{i}]: the replay does not model that who has file memory exits, or its cgroup is removed"


def parts_of(scenario: Scenario) -> Parts:
    """What of a machine a scenario has that others do without."""
    return Parts(file_memory=scenario.has_file_memory)


def pages_of(limit: int | None) -> int:
    """Whole pages of a limit in bytes, as page_counter_memparse() rounds; no limit for None."""
    return NO_LIMIT if limit is None else min(limit // PAGE_SIZE, NO_LIMIT)


def tree_of(scenario: Scenario) -> list[str]:
    """Path of each cgroup by its number; those that only hold another's processes are among them."""
    return pre_order([*scenario.cgroups, *leaves(scenario).values()])


class CompressedContents(NamedTuple):
    """The contents of all pages, and their compressed lengths.

    Attributes:
        kind: component of every page.
        first: first sample of every component, over all workloads' contents; `samples`: how many it has.
        lengths: compressed bytes of every sample.
    """

    kind: NDArray[np.int32]
    first: NDArray[np.int32]
    samples: NDArray[np.int32]
    lengths: NDArray[np.int16]


def build(scenario: Scenario, accesses: Accesses, cost: Cost, contents: CompressedContents) -> State:
    """Return a machine on which nothing has happened yet.

    Raises:
        UnsupportedError: the scenario asks for something that is not modelled.
    """
    refuse(scenario)
    linux = features_of(scenario.machine.kernel)
    order, leaf = tree_of(scenario), leaves(scenario)
    nr_pages = int(accesses.first[-1])
    kind, first, count, lengths = contents
    number = {path: i for i, path in enumerate(order)}
    home = np.array([number[leaf.get(each.cgroup, each.cgroup)] for each in scenario.workloads], np.int32)
    memcgs = _memcgs(scenario, order)
    control = _control(scenario, accesses, memcgs, cost)
    tasks = len(accesses.task_workload)
    has_tables = ~(accesses.task_shared | accesses.task_file)
    each_tables = -(-np.diff(accesses.task_first) // PTRS_PER_TABLE) * has_tables
    tables = np.concatenate(([0], np.cumsum(each_tables))).astype(np.int64)
    folios = _linked(FOLIO, 2 * nr_pages, LISTS_PER_MEMCG * len(order))
    folios.length[:nr_pages] = UNKNOWN
    folios.kind[:nr_pages] = np.where(np.repeat(accesses.task_file, np.diff(accesses.task_first)), FILE, kind)
    return State(
        linux=linux,
        has=parts_of(scenario),
        folios=folios,
        pte=np.zeros(2 * nr_pages, np.uint8),
        rmaps=records(RMAP, nr_pages),
        memcgs=memcgs,
        rules=_rules(len(order)),
        lru_gens=_lru_gens(len(order), scenario.machine.seed),
        **_page_cache(scenario, accesses, len(order)),
        gen_pages=np.zeros(len(order) * MAX_NR_GENS, np.int64),
        tiers=records(TIER, len(order) * MAX_NR_TIERS),
        filters=np.zeros(max(1, int(tables[-1])), np.uint8),
        first_table=tables,
        table_memcg=np.full(max(1, int(tables[-1])), -1, np.int32),
        anon_vma_memcg=np.full(tasks, -1, np.int32),
        mm_is_new=np.ones(tasks, np.uint8),
        zspages=_zspages(nr_pages),
        class_of_length=class_of_length(),
        class_groups=np.zeros(len(SIZE_CLASSES), np.int32),
        **_size_classes(),
        page_slot=np.zeros(2 * nr_pages if control["device"].rotational else 1, np.int32),
        slot_page=_slots(control),
        clusters=_clusters(control),
        cached_slots=np.zeros(SWAP_SLOTS_CACHE_SIZE, np.int32),
        returned_slots=np.zeros(SWAP_SLOTS_CACHE_SIZE, np.int32),
        returned_memcg=np.zeros(SWAP_SLOTS_CACHE_SIZE, np.int32),
        stocks=_stocks(memcgs, linux),
        readahead=_readahead(tasks),
        writes_page=np.zeros(WRITES_IN_FLIGHT, np.int32),
        writes_done=np.zeros(WRITES_IN_FLIGHT, np.int64),
        writes_batch=np.zeros(WRITES_IN_FLIGHT, np.int64),
        added=np.zeros(LATER * LISTS_PER_MEMCG * len(order), np.int32),
        turns=np.zeros(LISTS_PER_MEMCG * len(order), np.int64),
        window=np.zeros(2 * BLOCK, np.uint32),
        missing=np.zeros(2 * BLOCK, np.int32),
        stacks=np.full(DIGITS, -1, np.int32),
        written=np.zeros(BLOCK, np.int32),
        stored_at=np.zeros(1, np.int64),
        isolated=np.zeros(MIN_LRU_BATCH, np.int32),
        first=first,
        count=count,
        lengths=lengths,
        task_killed=np.zeros(tasks, np.uint8),
        task_memcg=np.where(accesses.task_shared, -1, home[accesses.task_workload]).astype(np.int32),
        task_first=accesses.task_first,
        **{name: control[name] for name in CONTROL.names or ()},
    )


def _descriptors(scenario: Scenario, accesses: Accesses) -> Records:
    array = records(DESCRIPTOR, len(accesses.task_workload))
    array.random = [scenario.workloads[each].advice == "random" for each in accesses.task_workload]
    array.prev = UNKNOWN
    return array


def _page_cache(scenario: Scenario, accesses: Accesses, memcgs: int) -> dict[str, Any]:
    """What of a machine is for files only."""
    first_node = _first_nodes(accesses)
    return {
        "file_lrus": records(FILE_LRU, memcgs),
        "descriptors": _descriptors(scenario, accesses),
        "first_node": first_node,
        "has_node": np.zeros(max(1, int(first_node[-1])), np.uint8),
        "batch_added": np.zeros(PAGEVEC_SIZE, np.int32),
        "batch_activated": np.zeros(PAGEVEC_SIZE, np.int32),
        "scan_counts": np.zeros(2 * CLASSIC_LISTS, np.int64),
    }


def _first_nodes(accesses: Accesses) -> NDArray[np.int64]:
    """First node of each task's tree: those of 64 pages each, and of 64 of these, up to one (lib/xarray.c)."""
    level, nodes = np.diff(accesses.task_first) * accesses.task_file, np.zeros(len(accesses.task_file), np.int64)
    while (level > 1).any():
        level = -(-level // (1 << XA_CHUNK_SHIFT)) * (level > 1)
        nodes += level
    return np.concatenate(([0], np.cumsum(nodes)))


def _empty_lists(array: Records, begin: int, end: int) -> Records:
    """Make the records from `begin` to `end` heads of lists that nothing is on."""
    array.next[begin:end] = array.prev[begin:end] = np.arange(begin, end)
    return array


def _linked(dtype: np.dtype[Any], items: int, heads: int) -> Records:
    """Records with empty lists behind the last item."""
    return _empty_lists(records(dtype, items + heads), items, items + heads)


def _zspages(items: int) -> Records:
    """Room for zspages, behind the heads of their lists, which count from 1."""
    return _empty_lists(records(ZSPAGE, 1 + ZSPAGE_LISTS + items), 1, 1 + ZSPAGE_LISTS)


def _memcgs(scenario: Scenario, order: Sequence[str]) -> Records:
    memcgs = records(MEMCG, len(order))
    memcgs.objcg = np.arange(len(order))
    memcgs.online = 1
    memcgs.iterator = -1
    index = {path: i for i, path in enumerate(order)}
    parents = [-1, *(index[parent_of(path)] for path in order[1:])]
    ends, usage = list(range(1, len(order) + 1)), [0] * len(order)
    for i in range(len(order) - 1, 0, -1):
        parent = parents[i]
        ends[parent] = max(ends[parent], ends[i])
        usage[parent] += usage[i] + (MEMCG_PAGES if parent else 0)
    memcgs.parent, memcgs.end, memcgs.usage = parents, ends, usage
    _set_limits(memcgs, [scenario.cgroups.get(path, Cgroup()) for path in order])
    return memcgs


def _lru_gens(nr_memcgs: int, seed: int) -> Records:
    """As mm/vmscan.c:lru_gen_init_lruvec leaves them. Differs: cgroups are spread over lists, not at random."""
    array = _linked(LRU_GEN, nr_memcgs, MEMCG_NR_GENS * MEMCG_NR_BINS)
    array.max_seq = MIN_NR_GENS + 1
    heads = nr_memcgs + (np.arange(nr_memcgs) * 5 + seed) % MEMCG_NR_BINS
    following, before = array.next, array.prev
    for memcg, head in enumerate(heads.tolist()):
        last = before[head]
        before[memcg], following[memcg] = last, head
        following[last] = before[head] = memcg
    return array


def _set_limits(memcgs: Records, limits: Sequence[Cgroup]) -> None:
    memcgs.writeback = [each.memory_zswap_writeback for each in limits]
    memcgs.memory_max = [pages_of(each.memory_max) for each in limits]
    memcgs.memory_high = [pages_of(each.memory_high) for each in limits]
    memcgs.swap_max = [pages_of(each.memory_swap_max) for each in limits]
    memcgs.zswap_max = [pages_of(each.memory_zswap_max) for each in limits]


def _stocks(memcgs: Records, linux: Features) -> Records:
    """The rest of pages that were charged for the cgroups' own structures; with one stock there is none.

    Differs: of more than seven cgroups with children, the last in pre-order have one, not those with the last children.
    """
    array = records(STOCK, NR_MEMCG_STOCK)
    array.memcg = -1
    children = np.bincount(memcgs.parent[1:], minlength=len(memcgs))
    parents = np.flatnonzero(children[1:]) + 1
    for slot, parent in enumerate(parents[-NR_MEMCG_STOCK:] if linux.stock_of_seven else ()):
        array.memcg[slot], array.pages[slot] = parent, -MEMCG_PAGES * children[parent] % MEMCG_CHARGE_BATCH
        each = int(parent)
        while each >= 0:
            memcgs.usage[each] += array.pages[slot]
            each = int(memcgs.parent[each])
    return array


def _readahead(tasks: int) -> Records:
    array = records(READAHEAD, tasks)
    array.hits = FIRST_HITS
    return array


def _slots(control: Records) -> NDArray[np.int32]:
    """Slots of a rotational device, in whole clusters; its header and what is behind the end are never free."""
    slots = int(control["swap"].nr_slots) + 1 if control["device"].rotational else 0
    array = np.full(max(1, -(-slots // SWAPFILE_CLUSTER) * SWAPFILE_CLUSTER), SLOT_FREE, np.int32)
    array[0] = SLOT_CACHED
    array[slots:] = SLOT_CACHED
    return array


def _clusters(control: Records) -> Records:
    """As mm/swapfile.c:setup_swap_clusters_info, 7.2, leaves them: those with a slot that is never free are nonfull."""
    bad = (_slots(control).reshape(-1, SWAPFILE_CLUSTER) != SLOT_FREE).sum(1) if control["device"].rotational else []
    control["swap"].nr_clusters = count = len(bad)
    array = records(CLUSTER, count + CLUSTER_LISTS)
    array.next = array.prev = np.arange(count + CLUSTER_LISTS)
    array.count[:count] = bad
    for cluster, used in enumerate(bad):
        array.kind[cluster] = CLUSTER_NONFULL if used else CLUSTER_FREE
        head = count + array.kind[cluster]
        last = array.prev[head]
        array.prev[cluster], array.next[cluster] = last, head
        array.next[last] = array.prev[head] = cluster
    return array


def _size_classes() -> dict[str, NDArray[Any]]:
    heads = np.zeros((len(SIZE_CLASSES), OBJECTS_MAX), np.uint16)
    for i, each in enumerate(SIZE_CLASSES):
        inuse = np.arange(1, each.objs_per_zspage)
        heads[i, inuse] = i * GROUPS + 100 * inuse // each.objs_per_zspage // 10 + 1
    pages = np.array([each.pages_per_zspage for each in SIZE_CLASSES], np.int32)
    return {"class_pages": pages, "list_of": heads.ravel()}


def compressed_contents(scenario: Scenario, accesses: Accesses) -> CompressedContents:
    """Make what all pages of a scenario hold.

    Raises:
        InputError: contents cannot be made.
    """
    samples, kind, first, count = page_contents(scenario, accesses)
    lengths = [_lengths(scenario, each) for each in samples]
    return CompressedContents(kind, first, count, np.concatenate(lengths))


def _lengths(scenario: Scenario, pages: NDArray[np.uint8]) -> NDArray[np.int16]:
    found = compressed_lengths(scenario.zswap.compressor, pages, scenario.machine.kernel)
    lengths = found.astype(np.int16)  # what does not compress grows by an eighth at most
    lengths[~pages.any(axis=1)] = 0
    return lengths


def _control(scenario: Scenario, accesses: Accesses, memcgs: Records, cost: Cost) -> Records:
    control = record(CONTROL)
    _set_sizes(control["sizes"], int(accesses.task_first[-1]), len(memcgs), len(accesses.task_workload))
    _set_memory(control["memory"], scenario, memcgs)
    _set_zswap(control["zswap"], scenario)
    _set_proposed(control["zswap"], scenario.proposed)
    _set_swap(control["swap"], scenario)
    _set_device(control["device"], scenario)
    control["task"].swapping_in = -1
    control["task"].cpus = scenario.machine.cpus
    control["mglru"].enabled = scenario.machine.lru == "mglru"
    control["mglru"].random = scenario.machine.seed % 2**31
    _set_cost(control["cost"], scenario.zswap.compressor, cost)
    return control


def _set_sizes(sizes: Records, nr_pages: int, nr_memcgs: int, nr_tasks: int) -> None:
    sizes.nr_pages, sizes.nr_memcgs, sizes.nr_tasks = nr_pages, nr_memcgs, nr_tasks
    sizes.nr_folios, sizes.fresh_folio = 2 * nr_pages, nr_pages


def _set_memory(memory: Records, scenario: Scenario, memcgs: Records) -> None:
    """Set watermarks as mm/page_alloc.c:init_per_zone_wmark_min and __setup_per_zone_wmarks do, for one zone."""
    total = scenario.machine.memory // PAGE_SIZE
    memory.totalram = memory.free = total
    minimum = min(max(isqrt(total * 4 * 16), 128), 262144) // 4
    step = max(minimum // 4, total * 10 // 10_000)
    memory.watermark_min = minimum
    memory.watermark_low = minimum + step
    memory.watermark_high = minimum + 2 * step
    memory.swappiness = scenario.machine.swappiness
    memory.high_limits = (memcgs.memory_high < NO_LIMIT).any()
    memory.swap_limits = (memcgs.swap_max < NO_LIMIT).any()


def _set_zswap(zswap: Records, scenario: Scenario) -> None:
    given = scenario.zswap
    zswap.enabled = given.enabled
    zswap.global_lru = given.lru == "global"
    zswap.shrinker = given.shrinker_enabled and given.lru == "memcg"
    zswap.max_pages = scenario.machine.memory // PAGE_SIZE * given.max_pool_percent // 100
    zswap.accept_pages = int(zswap.max_pages) * given.accept_threshold_percent // 100
    zswap.entries_linked = scenario.swap.device == "zram"  # which has no such lists
    zswap.next_shrink = zswap.free_zspage = -1
    zswap.fresh_zspage = ZSPAGE_LISTS + 1


def _rules(nr_memcgs: int) -> Records:
    array = records(RULES, nr_memcgs)
    array.zswap_iterator = -1
    return array


def _set_proposed(zswap: Records, proposed: Proposed) -> None:
    zswap.shrink_batch = proposed.shrink_batch
    zswap.cursor, zswap.drop_written = proposed.cursor, proposed.drop_written


def _set_swap(swap: Records, scenario: Scenario) -> None:
    swap.zram = scenario.swap.device == "zram"
    swap.nr_slots = swap.highest_bit = pages_of(scenario.swap.size)
    swap.lowest_bit = 1
    swap.cluster_next = 0 if features_of(scenario.machine.kernel).slots_from_clusters else 1
    swap.page_cluster = scenario.machine.page_cluster
    swap.ra_hits = FIRST_HITS


def _set_device(device: Records, scenario: Scenario) -> None:
    given = scenario.swap.device
    if given != "zram":
        device.rotational, device.seek_ns = given.rotational, given.seek_ns
        device.submit_ns = given.submit_ns
        device.read_latency_ns, device.write_latency_ns = given.read_latency_ns, given.write_latency_ns
        device.read_page_ns = PAGE_SIZE * 1_000_000_000 // given.read_bandwidth
        device.write_page_ns = PAGE_SIZE * 1_000_000_000 // given.write_bandwidth


def _set_cost(cost: Records, compressor: str, given: Cost) -> None:
    cost.access_ns = given.access_ns
    cost.fault_minor_ns, cost.fault_major_ns = given.fault_minor_ns, given.fault_major_ns
    cost.reclaim_page_ns = given.reclaim_page_ns
    cost.compress_ns, cost.decompress_ns = given.compress_ns[compressor], given.decompress_ns[compressor]
