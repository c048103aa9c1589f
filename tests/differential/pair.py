"""One machine twice, as `kernel/` and as `replay/` have it, on which the same is done, and which must look the same.

What reclaim takes is not compared: `kernel/` has one list of folios where the replay has Linux's two. So the test says
which folio reclaim is to look at, and all that follows from it is compared: swap slots and the swap cache, zswap's
entries, their sizes, lists and limits, the pool's pages, charges, and every counter that both have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tests.replay.lab import do_shrink_slab_of, look_at_of, pages_on, run_background_of, wait_for_write_of
from tests.replay.validate import stocks

from swaplab.kernel.charge import memalloc
from swaplab.kernel.folio import Folio, folio_isolate_lru, pte_folio
from swaplab.kernel.machine import DEBUGFS, Machine
from swaplab.kernel.memcontrol import MemCgroup
from swaplab.kernel.shrinker import shrink_slab
from swaplab.kernel.vmscan import folio_putback_lru, reclaim_folio
from swaplab.kernel.zswap_entry import NODE
from swaplab.kernel.zswap_writeback import queue_shrink_work
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import Modelled, features_of
from swaplab.replay import Replay
from swaplab.replay.fork import copy_page_range
from swaplab.replay.state import (
    ANON_VMA_BYTES,
    COMPRESSED,
    ENTRY_REFERENCED,
    GONE,
    LRU_ZSWAP,
    MAPPED,
    MEMCG_PAGES,
    NONE,
    ON_DISK,
    PG_SWAPCACHE,
    PG_WRITEBACK,
    PRESENT,
    RESIDENT,
    SHARED,
    STATE_MASK,
    YOUNG,
    ZERO_FILLED,
    State,
)
from swaplab.replay.unmap import madvise_dontneed, munmap
from swaplab.scenario.accesses import Chunk
from swaplab.scenario.content import Content
from swaplab.scenario.model import Cgroup as Limits
from swaplab.scenario.model import Event, Scenario, Swap, Workload, Zswap
from swaplab.scenario.model import Machine as Hardware
from swaplab.scenario.tree import leaves, parent_of

__all__ = ["Pair"]

Owners = set[tuple[str, int]]
"""Pages that have a folio or a slot: path and key."""

STAT = ("zswpin", "zswpout", "zswpwb", "pgmajfault", "swpin_zero", "swpout_zero", "zswap", "zswapped")
CHARGED = ("memory.current", "memory.swap.current")
NAMES = {NONE: "", RESIDENT: "resident", COMPRESSED: "zswap", ON_DISK: "device", ZERO_FILLED: "zeros", GONE: ""}


def settle(m: State) -> None:
    """Let the worker do what it was woken for, however long it takes, on a device that takes no time."""
    while m.zswap.worker_running or m.zswap.shrink_queued:
        m.task.clock = max(int(m.task.clock), int(m.zswap.worker_clock))
        run_background_of(m)
    while wait_for_write_of(m):
        pass


def look_at(m: State, page: int) -> None:
    """Let reclaim look at one unused folio, then put it back unless it is freed; the device is done in no time."""
    m.pte[page] = int(m.pte[page]) & ~YOUNG
    m.task.background = 1  # the worker waits, as it does in kernel/
    look_at_of(m, page)
    m.task.background = 0
    settle(m)


def shrink(m: State, memcg: int, priority: int) -> None:
    """Let zswap's shrinker look at a cgroup, as kswapd does."""
    m.task.background = 1
    do_shrink_slab_of(m, memcg, priority)
    m.task.background = 0
    settle(m)


class Pair:
    """One machine twice.

    Args:
        paths: of the cgroups, parents first. Each has one process.
        pages: of each process.
        content: what they hold.
        memory, swap_pages: in pages.
        zswap: parameters.
        base: directory that files of the content are in.
        kernel: release of Linux.
    """

    def __init__(
        self,
        paths: Iterable[str],
        pages: int,
        content: Content,
        memory: int,
        swap_pages: int,
        zswap: Zswap,
        base: Path = Path(),
        kernel: Modelled = "6.12",
    ) -> None:
        self.paths = list(paths)
        self.pages = pages
        self.replay = Replay(
            Scenario(
                machine=Hardware(memory=memory * PAGE_SIZE, page_cluster=0, kernel=kernel),
                zswap=zswap,
                swap=Swap(size=swap_pages * PAGE_SIZE),
                cgroups={path: Limits() for path in self.paths},
                workloads=tuple(Workload(cgroup=path, pages=pages, accesses=1, content=content) for path in self.paths),
                base=base,
            )
        )
        self.kernel = Machine(memory * PAGE_SIZE, swap_pages, compressor=zswap.compressor, kernel=kernel)
        self.kernel.zswap.max_pool_percent = zswap.max_pool_percent
        self.kernel.zswap.accept_threshold_percent = zswap.accept_threshold_percent
        self.kernel.zswap.shrinker_enabled = zswap.shrinker_enabled
        self.kernel.zswap.enabled = zswap.enabled
        self.pages_have_objcgs = features_of(kernel).lru_follows_objcg
        self.order = self.replay._order
        self.leaves = leaves(self.replay.scenario)
        # Leaves last, as they are made after the children.
        self.cgroups = {path: self.kernel.cgroup(path) for path in [*self.paths, *self.leaves.values()]}
        self.processes = {path: self.cgroups[self._home(path)] for path in self.paths}
        self.samples = content.resolve(0, base)
        self.live = set(self.cgroups)
        self.has_exited: set[str] = set()

    # What is done ---------------------------------------------------------------------------------------------------

    def write(self, path: str, key: int) -> None:
        """Write a page's next version."""
        if path in self.has_exited:
            return
        page = self._page(path, key)
        self._access(page, write=True)
        self.processes[path].write(key, self._bytes(page))

    def read(self, path: str, key: int) -> None:
        """Read a page, if there is one; it must hold what was written to it."""
        page = self._page(path, key)
        if path in self.has_exited or self.is_new(path, key):
            return
        self._access(page, write=False)
        assert self.processes[path].read(key) == self._bytes(page)

    def swap_out(self, path: str, key: int) -> None:
        """Let reclaim look at a page's folio, if there is one, until it is done with it."""
        for _ in range(2):
            self._look_at(path, key)

    def _look_at(self, path: str, key: int) -> None:
        page = self._page(path, key)
        if self._state(page) == RESIDENT:
            look_at(self.replay.machine, self._record(page))
        folio = self._folio(path, key)
        if folio and folio_isolate_lru(folio):
            folio.refcount.add(1)
            folio.young = False
            with memalloc():
                if not reclaim_folio(self.kernel._swap, folio):
                    folio_putback_lru(folio)
        self.kernel.settle()

    def shrink(self, path: str, priority: int) -> None:
        """Let zswap's shrinker look at a cgroup that is there."""
        if path not in self.live:
            return
        shrink(self.replay.machine, self._number(path), priority)
        shrink_slab(self.kernel._swap, self.cgroups[path].memcg, priority)
        self.kernel.settle()

    def work(self) -> None:
        """Have zswap's worker run."""
        self.replay.machine.zswap.shrink_queued = 1
        settle(self.replay.machine)
        queue_shrink_work(self.kernel._swap)
        self.kernel.settle()

    def limit(self, path: str, **limits: int) -> None:
        """Write to files of a cgroup that is there."""
        if path in self.live:
            self.replay.fire(Event(at=0, cgroup=path, set={f"memory_{name}": value for name, value in limits.items()}))
            self.cgroups[path].limit(**limits)

    def enable(self, enabled: bool) -> None:
        """Turn zswap on or off for what comes."""
        self.replay.machine.zswap.enabled = enabled
        self.kernel.zswap.enabled = enabled

    def exit(self, path: str) -> None:
        """End a cgroup's process."""
        if path in self.live:
            self.replay.fire(Event(at=0, cgroup=path, exit=True))
            for each, process in self.processes.items():
                if process.mm.memcg is self.cgroups[self._home(path)].memcg:
                    process.exit()
                    self.has_exited.add(each)

    def discard(self, path: str, key: int, count: int) -> None:
        """Give up to `count` pages up, from `key` on, which stay mapped."""
        self._zap(madvise_dontneed, path, key, count)

    def unmap(self, path: str, key: int, count: int) -> None:
        """Unmap up to `count` pages, from `key` on."""
        self._zap(munmap, path, key, count)

    def _zap(self, system_call: Callable[[State, int, int], None], path: str, key: int, count: int) -> None:
        if path in self.has_exited:
            return
        end = min(key + count, self.pages)
        system_call(self.replay.machine, self._page(path, key), self._page(path, key) + end - key)
        process = self.processes[path]
        for each in range(key, end):
            if process.mm.ptes.get(each) is not None:
                process.discard(each)

    def fork(self, path: str, child: str, key: int, count: int) -> None:
        """Have up to `count` pages of a process, from `key` on, be another's, copied on write."""
        if path == child or {path, child} & self.has_exited:
            return
        self.unmap(child, key, count)
        end = min(key + count, self.pages)
        copy_page_range(
            self.replay.machine, self._page(child, key), self._page(child, key) + end - key, self._page(path, key)
        )
        self.processes[path].fork(self.processes[child], [(each, each) for each in range(key, end)])

    def remove(self, path: str) -> None:
        """Remove a cgroup that is there and has none below."""
        leaf, above = self._home(path), parent_of(path)
        if path not in self.live or any(other.startswith(f"{path}/") for other in self.live - {leaf}):
            return
        self.replay.fire(Event(at=0, cgroup=path, remove=True))
        for each in dict.fromkeys((leaf, path)):
            self.cgroups[each].remove()
            self.live.remove(each)
        for process in self.processes.values():
            if above and process.mm.memcg is self.cgroups[above].memcg:
                process.mm.memcg = self.cgroups[self._home(above)].memcg

    def is_new(self, path: str, key: int) -> bool:
        """Whether nothing was written to a page yet."""
        return self._state(self._page(path, key)) == NONE

    # What comes of it -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Insist that both look the same."""
        kernel, replay = self._of_kernel(), self._of_replay()
        for path in self.live - set(self.leaves.values()):
            removed = sum(other not in self.live and other.startswith(f"{path}/") for other in self.cgroups)
            # What each left behind fills whole pages of its own in kernel/; see memcg_reparent_objcgs() of replay/.
            # In 7.2 what its pages become goes on to fill these, and in replay/ the parent's.
            key, least = f"{path} memory.current", -removed if self.pages_have_objcgs else 0
            apart = kernel[key] - replay[key]
            assert least * PAGE_SIZE <= apart <= removed * PAGE_SIZE, f"{key}: {kernel[key]}, {replay[key]}"
            del kernel[key], replay[key]
        different = {key: (kernel[key], replay[key]) for key in kernel if kernel[key] != replay[key]}
        assert not different, "\n".join(f"{key}: {a} in kernel/, {b} in replay/" for key, (a, b) in different.items())

    def _of_kernel(self) -> dict[str, Any]:
        machine = self.kernel
        swap, stat = machine._swap, machine.stat()
        assert swap.info
        self._uses = swap.info.uses()
        found: dict[str, Any] = {name: stat[name] for name in ("stored_pages", "pool_total_size", "pswpin", "pswpout")}
        found |= {name: stat[name] for name in DEBUGFS if name in stat}
        found |= {
            "free": swap.zone.free,
            "slots": swap.info.inuse_pages(),
            "reached_full": machine.zswap.pool_reached_full,
            "cursor": self._path_of(machine.zswap.next_shrink),
        }
        for path in self.paths:
            for key in range(self.pages):
                found[f"{path} page {key}"] = self._page_of_kernel(path, key)
        owners = self._owners_in_kernel()
        for path, cgroup in {"": machine.root, **self.cgroups}.items():
            if path and path not in self.live:
                continue
            found[f"{path or '/'} entries"] = self._entries_of_kernel(cgroup.memcg, owners)
            if path:
                stat = cgroup.stat()
                if path not in self.leaves.values():
                    found |= {f"{path} {name}": stat.get(name, 0) for name in (*STAT, *CHARGED)}
                found[f"{path} nr_deferred"] = cgroup.memcg.nr_deferred.read()
                found[f"{path} nr_disk_swapins"] = cgroup.memcg.lruvec.nr_disk_swapins.read()
        return found

    def _of_replay(self) -> dict[str, Any]:
        machine = self.replay.machine
        memcgs = machine.memcgs
        tables = int((machine.table_memcg >= 0).sum())  # which kernel/ does not have
        counted = self.kernel.shown(dict.fromkeys(DEBUGFS, 0))
        found: dict[str, Any] = {
            "stored_pages": int(machine.zswap.stored_pages),
            "pool_total_size": int(machine.zswap.pool_pages) * PAGE_SIZE,
            "pswpin": int(memcgs["pswpin"].sum()),
            "pswpout": int(memcgs["pswpout"].sum()),
            **{name: int(machine.zswap[name]) if name in machine.zswap.dtype.names else 0 for name in counted},
            "free": int(machine.memory.free) + tables,
            "slots": int(machine.swap.slots_used),
            "reached_full": bool(machine.zswap.pool_reached_full),
            "cursor": None if machine.zswap.next_shrink < 0 else self.order[int(machine.zswap.next_shrink)],
        }
        owners: defaultdict[int, Owners] = defaultdict(set)
        for (path, key), (record, *page) in zip(product(self.paths, range(self.pages)), self._pages(), strict=True):
            owners[record].add((path, key))
            found[f"{path} page {key}"] = tuple(page)
        self.replay._samples.add(self.replay.position)
        table: Mapping[str, Any] = self.replay._samples.last()
        shown = [self.order[number] for number in self.replay._shown]
        for number, path in enumerate(self.order):
            if path and path not in self.live:
                continue
            found[f"{path or '/'} entries"] = self._entries_of_replay(number, owners)
            if path in shown[1:]:
                found |= {f"{path} {name}": int(table[name][shown.index(path)]) for name in (*STAT, *CHARGED)}
                found[f"{path} memory.current"] -= (
                    self._pages_of_its_own(number, int(memcgs["end"][number])) * PAGE_SIZE
                )
            if path:
                found |= {f"{path} {name}": int(memcgs[name][number]) for name in ("nr_deferred", "nr_disk_swapins")}
        return found

    def _pages_of_its_own(self, number: int, end: int) -> int:
        """Pages that the replay charges to a subtree for what `kernel/` does not have."""
        machine = self.replay.machine
        memcgs, tables = machine.memcgs, machine.table_memcg
        anon_vmas = np.bincount(memcgs["objcg"][machine.anon_vma_memcg[machine.anon_vma_memcg >= 0]], minlength=end)
        held = memcgs["objcg_bytes"][number:end]
        without = held - ANON_VMA_BYTES * anon_vmas[number:end]
        return int(
            ((tables >= number) & (tables < end)).sum()
            + sum(pages for memcg, pages in stocks(machine) if number <= memcg < end)
            + (-(-held // PAGE_SIZE) + without // -PAGE_SIZE).sum()
            + MEMCG_PAGES * (end - number - 1)
        )

    def _page_of_kernel(self, path: str, key: int) -> tuple[Any, ...]:
        """Where a page is, whether it is mapped, has a slot, and its compressed bytes."""
        info = self.kernel._swap.info
        assert info
        pte = self.processes[path].mm.ptes.get(key)
        folio = pte_folio(pte)
        if folio:
            return ("resident", True, folio.swapcache, 0)
        if not isinstance(pte, int):
            return ("", False, False, 0)
        use = self._uses[pte]
        if use.folio:
            return ("resident", False, True, 0)
        entry = info.tree.xa.items.get(pte)
        if entry:
            return ("zswap", False, True, entry.length)
        return ("zeros" if use.is_zero else "device", False, True, 0)

    def _pages(self) -> Iterator[tuple[int, str, bool, bool, int]]:
        """Of each page of the replay where its folio is, and then what `_page_of_kernel` says."""
        machine, numbers = self.replay.machine, np.arange(len(self.paths) * self.pages)
        bits = np.asarray(machine.folios["bits"])
        records = np.where(bits[numbers] & STATE_MASK == SHARED, machine.folios["zspage"][numbers], numbers)
        bits = bits[records]
        assert not (bits & PG_WRITEBACK).any()
        states = bits & STATE_MASK
        has_slot = np.where(states == RESIDENT, bits & PG_SWAPCACHE != 0, ~np.isin(states, (NONE, GONE)))
        lengths = np.where(states == COMPRESSED, machine.folios["length"][records], 0)
        yield from zip(
            records.tolist(),
            (NAMES[state] for state in states.tolist()),
            (machine.pte[numbers] & (PRESENT | MAPPED) != 0).tolist(),
            has_slot.tolist(),
            lengths.tolist(),
            strict=True,
        )

    def _owners_in_kernel(self) -> defaultdict[object, Owners]:
        """Who has what page table entries tell of."""
        owners: defaultdict[object, Owners] = defaultdict(set)
        for path, process in self.processes.items():
            for key, pte in process.mm.ptes.items.items():
                owners[pte].add((path, key))
        return owners

    def _entries_of_kernel(self, memcg: MemCgroup, owners: Mapping[object, Owners]) -> list[tuple[Owners, bool]]:
        """Who has what is on a cgroup's zswap LRU, the oldest first, and whether it still has its second chance."""
        one = self.kernel.zswap.list_lru.from_memcg_idx(NODE, memcg.kmemcg_id)
        return [(owners[entry.swpentry], entry.referenced) for entry in one.list.entries()] if one else []

    def _entries_of_replay(self, memcg: int, owners: Mapping[int, Owners]) -> list[tuple[Owners, bool]]:
        machine = self.replay.machine
        return [
            (owners[folio], bool(machine.folios["bits"][folio] & ENTRY_REFERENCED))
            for folio in pages_on(machine, memcg, LRU_ZSWAP)
        ]

    def _number(self, path: str) -> int:
        return self.order.index(path)

    def _home(self, path: str) -> str:
        """Where a cgroup's process lives."""
        return self.leaves.get(path, path)

    def _page(self, path: str, key: int) -> int:
        return self.paths.index(path) * self.pages + key

    def _record(self, page: int) -> int:
        """Where the replay has a page's folio."""
        record = self.replay.machine.folios[page]
        return int(record.zspage) if record.bits & STATE_MASK == SHARED else page

    def _state(self, page: int) -> int:
        return int(self.replay.machine.folios["bits"][self._record(page)] & STATE_MASK)

    def _bytes(self, page: int) -> bytes:
        machine, folio = self.replay.machine, self._record(page)
        origin = page if folio == page else int(machine.rmaps["origin"][folio - machine.sizes.nr_pages])
        return self.samples.bytes_of(origin, int(machine.folios["version"][folio]))

    def _access(self, page: int, write: bool) -> None:
        self.replay.access(Chunk(np.array([page << 1 | write], np.uint32)))

    def _folio(self, path: str, key: int) -> Folio | None:
        """A page's folio, mapped or in the swap cache."""
        pte = self.processes[path].mm.ptes.get(key)
        info = self.kernel._swap.info
        return info.uses()[pte].folio if info and isinstance(pte, int) else pte_folio(pte)

    def _path_of(self, memcg: MemCgroup | None) -> str | None:
        known: dict[MemCgroup, str] = {cgroup.memcg: path for path, cgroup in self.cgroups.items()}
        return None if memcg is None else known.get(memcg, "")
