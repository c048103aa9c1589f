"""A machine that swaps: cgroups with pages of real bytes, zswap in front of a swap file, and everything in between.

```python
machine = Machine(memory=64 << 20, swap_pages=4096)
web = machine.cgroup("web", memory_max=1 << 20)
for key in range(512):
    web.write(key, f"page {key}".encode())
assert web.read(7).startswith(b"page 7")
web.stat()["zswpout"], machine.stat()["stored_pages"]
```
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from errno import EBUSY, EINVAL, EIO, ENODEV
from os import strerror
from pathlib import Path
from typing import ClassVar, Final

from swaplab.errors import InputError
from swaplab.kernel.charge import memalloc, memory_max_write
from swaplab.kernel.css import cgroup_rmdir, css_has_online_children
from swaplab.kernel.folio import Mm, folio_isolate_lru, folio_put, pte_folio
from swaplab.kernel.memcontrol import (
    MemcgRoot,
    MemCgroup,
    mem_cgroup_create,
    memory_stat,
    swap_max_write,
    zswap_max_write,
    zswap_writeback_write,
)
from swaplab.kernel.memory import Fault, copy_page_range, read_page, swapoff, write_page, zap_page
from swaplab.kernel.page_alloc import Zone
from swaplab.kernel.protocol import Protocol
from swaplab.kernel.release import PARTS, Parts
from swaplab.kernel.swap_device import SwapFile
from swaplab.kernel.swapfile import Swap, swapon
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Direct, Mutex, Shared, Table, current, smp_store_release
from swaplab.kernel.validate import validate_charges, validate_folios, validate_swap, validate_zswap
from swaplab.kernel.vmscan import folio_putback_lru, reclaim_folio, try_to_free_mem_cgroup_pages
from swaplab.kernel.zswap_pool import Zswap, zswap_compressor_param_set, zswap_total_pages
from swaplab.kernel.zswap_writeback import shrink_worker, zswap_memcg_offline_cleanup
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.reclaim import MAX_RECLAIM_RETRIES
from swaplab.linux.release import Modelled

__all__ = ["Cgroup", "Machine"]

DEBUGFS = (
    "decompress_fail",
    "pool_limit_hit",
    "reject_alloc_fail",
    "reject_compress_fail",
    "reject_compress_poor",
    "reject_kmemcache_fail",
    "reject_reclaim_fail",
    "written_back_pages",
)
VMSTAT = ("pgfault", "pgmajfault", "pswpin", "pswpout", "swpin_zero", "swpout_zero")


class Machine(Shared):
    """A machine that swaps.

    What the kernel defers (work queues, RCU callbacks) is done before a call returns, as long as there is one thread.
    On real threads others do it; `drain` of their runtime waits for it.

    Args:
        memory: bytes.
        swap_pages: slots of the swap file; 0 for no swap.
        swap_path: of the swap file; None for one that is gone with the machine.
        compressor: zswap's: lzo, lzo-rle, lz4, zstd or deflate.
        synchronous: the device is fast, so that a fault may do without the swap cache: SWP_SYNCHRONOUS_IO.
        kernel: release of Linux.
        protocol: versions of what is in dispute; None for the release's own.

    Attributes:
        root: the root cgroup.
        zswap: its parameters are fields: enabled, max_pool_percent, accept_threshold_percent, shrinker_enabled.
        mms: page tables of all processes, init_mm.mmlist; changed under `tree`.
        cgroups: by path; under `tree`.

    Raises:
        InputError: there is no such compressor or no model of that kernel, or a size is negative.
        OSError: the swap file cannot be made.
    """

    zswap: Final[Zswap]
    tree: Final[Mutex]
    root: Final[Cgroup]
    cgroups: Final[Table[str, Cgroup]]
    mms: tuple[Mm, ...]
    _parts: Final[Parts]
    _memcgs: Final[MemcgRoot]
    _zone: Final[Zone]
    _swap: Final[Swap]

    def __init__(
        self,
        memory: int = 1 << 30,
        swap_pages: int = 1 << 10,
        swap_path: Path | None = None,
        compressor: str = "lz4",
        synchronous: bool = False,
        kernel: Modelled = "6.12",
        protocol: Protocol | None = None,
    ) -> None:
        self._parts = PARTS[check_kernel(kernel)]
        self._memcgs = MemcgRoot(protocol or self._parts.protocol, self._offline)
        self._zone = Zone(check_size("machine: memory", memory) // PAGE_SIZE)
        self.zswap = Zswap(self._zone, self._memcgs.root, self._memcgs.new_list_lru(), compressor)
        self._swap = Swap(self._zone, self.zswap, try_to_free_mem_cgroup_pages, shrink_worker, self._parts.calls)
        self.mms = ()
        self.tree = Mutex(self, "tree")
        self.cgroups = Table(self, "cgroups")
        with self.tree:
            self.root = self.cgroups[""] = Cgroup(self, "", self._memcgs.root)
        if check_size("machine: swap_pages", swap_pages):
            self.swapon(swap_pages, swap_path, synchronous)

    def _offline(self, memcg: MemCgroup) -> None:
        zswap_memcg_offline_cleanup(self.zswap, memcg)

    def swapon(self, pages: int, path: Path | None = None, synchronous: bool = False) -> None:
        """Use a swap file; there may be one at a time.

        Raises:
            OSError: the file cannot be made.
        """
        swapon(self._swap, SwapFile(path), pages, synchronous)

    def swapoff(self) -> None:
        """Bring everything back into memory and do without swap.

        Raises:
            MemoryError: it does not fit; nothing is lost.
            OSError: the swap file cannot be read.
        """
        check_fault("swapoff", swapoff(self._swap, lambda: READ_ONCE(self).mms))
        self.settle()

    def set_compressor(self, compressor: str) -> None:
        """Use another compressor for pages stored from now on.

        Raises:
            InputError: there is no such compressor.
        """
        zswap_compressor_param_set(self.zswap, compressor)
        self.settle()

    def cgroup(self, path: str, **limits: int | None) -> Cgroup:
        """Make a cgroup, and those above it, unless they are there.

        Args:
            path: names with slashes between them, from the root.
            limits: of the last one; see `Cgroup.limit`.
        """
        cgroup, done = self.root, ""
        with self.tree:
            for name in path.split("/"):
                done = f"{done}/{name}" if done else name
                child = self.cgroups.get(done)
                if not child:
                    child = self.cgroups[done] = cgroup.make_child(name)
                cgroup = child
        cgroup.limit(**limits)
        return cgroup

    def settle(self) -> None:
        """Let the kernel do what it has put off, if this is the only thread."""
        runtime = current.runtime
        if isinstance(runtime, Direct) and runtime.pending:
            runtime.drain()

    def stat(self) -> dict[str, int]:
        """Numbers of the whole machine since it was made, by the names of /proc/vmstat and of zswap's debugfs."""
        events, zswap = self._swap.events.all(), self.zswap.stats.all()
        found = {name: events.get(name, 0) for name in VMSTAT}
        found |= {name: zswap.get(name, 0) for name in ("zswpin", "zswpout", "zswpwb", *DEBUGFS)}
        found["stored_pages"] = self.zswap.stored_pages.read()
        found["stored_incompressible_pages"] = self.zswap.stored_incompressible_pages.read()
        found["pool_total_size"] = zswap_total_pages(self.zswap) * PAGE_SIZE
        return self.shown(found)

    def shown(self, stat: dict[str, int]) -> dict[str, int]:
        """Return those of some numbers that the release shows."""
        return {name: number for name, number in stat.items() if name not in self._parts.lacks}

    def validate(self) -> None:
        """Check that all parts of the machine agree with each other. No task may be using it.

        Raises:
            KernelBug: they do not.
        """
        mms = list(self.mms)
        validate_folios(self._swap, mms)
        validate_swap(self._swap, mms)
        validate_zswap(self._swap)
        validate_charges(self._swap, mms)


class Cgroup(Shared):
    """A cgroup with one process in it, whose pages are numbered and hold 4096 bytes each.

    Attributes:
        path: names from the root, with slashes between them.
        memcg: what the kernel knows it by.
        mm: the process's page table.
        is_removed: under the machine's `tree`.
    """

    is_handle: ClassVar[bool] = True

    machine: Final[Machine]
    path: Final[str]
    memcg: Final[MemCgroup]
    mm: Final[Mm]
    _swap: Final[Swap]
    is_removed: bool

    def __init__(self, machine: Machine, path: str, memcg: MemCgroup) -> None:
        self.machine = machine
        self.path = path
        self.memcg = memcg
        self.mm = Mm(path or "init", memcg)
        # Linux has mmlist_lock.
        smp_store_release(machine).mms = (*machine.mms, self.mm)
        self._swap = machine._swap
        self.is_removed = False

    def make_child(self, name: str) -> Cgroup:
        """Make a cgroup below: mkdir.

        Raises:
            InputError: it has no name.
        """
        if not name:
            raise InputError("cgroup: path", "names with slashes between them", repr(f"{self.path}/{name}"))
        memcg = mem_cgroup_create(self.memcg, name)
        return Cgroup(self.machine, f"{self.path}/{name}".lstrip("/"), memcg)

    @contextmanager
    def _open(self) -> Iterator[MemCgroup]:
        """Hold the memcg while one of the cgroup's files is used.

        Differs: the task that removes the cgroup does not wait for that, as kernfs_remove() does.

        Raises:
            OSError: the cgroup was removed, and its files with it.
        """
        with self.machine.tree:
            self._check_present()
            self.memcg.get()
        try:
            yield self.memcg
        finally:
            self.memcg.put()

    def _check_present(self) -> None:
        """Insist on a cgroup that was not removed. The tree is locked, so that it stays."""
        if self.is_removed:
            raise OSError(ENODEV, strerror(ENODEV), self.path)

    def limit(
        self,
        memory_max: int | None = None,
        swap_max: int | None = None,
        zswap_max: int | None = None,
        zswap_writeback: int | None = None,
    ) -> None:
        """Set limits in bytes, and whether zswap may write to the device; what is None stays as it is.

        Pages above memory_max are reclaimed, as far as that goes.

        Raises:
            OSError: the cgroup was removed.
        """
        with self._open() as memcg:
            if memory_max is not None:
                memory_max_write(self._swap, memcg, memory_max)
            if swap_max is not None:
                swap_max_write(memcg, swap_max)
            if zswap_max is not None:
                zswap_max_write(memcg, zswap_max)
            if zswap_writeback is not None:
                zswap_writeback_write(memcg, bool(zswap_writeback))
        self.machine.settle()

    def write(self, key: int, data: bytes) -> None:
        """Write a page; zeros follow `data` where it is shorter.

        Raises:
            InputError: it is longer than a page.
            MemoryError: there is no memory left, and nothing to reclaim.
            OSError: the page is in swap, which cannot be read.
        """
        if len(data) > PAGE_SIZE:
            raise InputError(f"{self.path}: page {key}", f"up to {PAGE_SIZE} bytes", len(data))
        check_fault(f"{self.path}: page {key}", write_page(self._swap, self.mm, key, data.ljust(PAGE_SIZE, b"\0")))
        self.machine.settle()

    def read(self, key: int) -> bytes:
        """Read a page; one that was never written to is all zeros.

        Raises:
            MemoryError: there is no memory left, and nothing to reclaim.
            OSError: the page is in swap, which cannot be read.
        """
        found = read_page(self._swap, self.mm, key)
        self.machine.settle()
        if isinstance(found, Fault):
            check_fault(f"{self.path}: page {key}", found)
            raise AssertionError
        return found

    def discard(self, key: int) -> None:
        """Give a page up: MADV_DONTNEED. It is all zeros then."""
        zap_page(self._swap, self.mm, key)
        self.machine.settle()

    def fork(self, child: Cgroup, keys: Iterable[tuple[int, int]]) -> None:
        """Give the process of a child cgroup pages of this one's, copied on write.

        Args:
            child: whose process it is, which has nothing at these keys.
            keys: of each page here and there.
        """
        copy_page_range(self._swap, self.mm, child.mm, keys)
        self.machine.settle()

    def swap_out(self, key: int) -> bool:
        """Swap a page out: MADV_PAGEOUT. Returns whether it is out of memory."""
        with self.mm.page_table_lock:
            pte = self.mm.ptes.get(key)
            folio = pte_folio(pte)
            if not folio:
                return pte is not None
            folio.young = False
            folio.refcount.add(1)
        if not folio_isolate_lru(folio):
            folio_put(folio)
            return False
        with memalloc():
            is_out = reclaim_folio(self._swap, folio)
        if not is_out:
            folio_putback_lru(folio)
        self.machine.settle()
        return is_out

    def swap_in(self, key: int) -> None:
        """Use a page, which brings it in: MADV_WILLNEED. Raises what `read` does."""
        self.read(key)

    def reclaim(self, size: int) -> int:
        """Free memory of this cgroup and all below it: memory.reclaim. Returns bytes; less if no more can be freed.

        Raises:
            OSError: the cgroup was removed.
        """
        wanted, reclaimed, retries = -(-size // PAGE_SIZE), 0, MAX_RECLAIM_RETRIES
        with self._open() as memcg:
            while reclaimed < wanted and retries:
                # mm/memcontrol.c:memory_reclaim, 6.12: in batches, so that no child gives everything.
                batch = try_to_free_mem_cgroup_pages(self._swap, memcg, (wanted - reclaimed) // 4)
                reclaimed += batch
                retries -= not batch
        self.machine.settle()
        return reclaimed * PAGE_SIZE

    def exit(self) -> None:
        """End the process: all its pages are gone."""
        for key in self._keys():
            zap_page(self._swap, self.mm, key)
        self.machine.settle()

    def _keys(self) -> tuple[int, ...]:
        with self.mm.page_table_lock:
            return self.mm.ptes.keys()

    def remove(self) -> None:
        """rmdir: the process moves to the parent; its pages stay, and stay charged here as long as they are there.

        Raises:
            OSError: there are cgroups below, or it was removed before.
        """
        with self.machine.tree:
            self._check_present()
            self._remove()
        self.machine.settle()

    def _remove(self) -> None:
        memcg, parent = self.memcg, self.memcg.parent
        if not isinstance(parent, MemCgroup):
            raise OSError(EINVAL, strerror(EINVAL), "the root cgroup")
        with memcg.cgroups.cgroup_mutex:
            is_busy = css_has_online_children(memcg)
        if is_busy:
            raise OSError(EBUSY, strerror(EBUSY), self.path)
        for mm in self.machine.mms:
            if READ_ONCE(mm).memcg is memcg:
                WRITE_ONCE(mm).memcg = parent
        cgroup_rmdir(memcg)
        self.is_removed = True
        self.machine.cgroups.pop(self.path)

    def stat(self) -> dict[str, int]:
        """Numbers of this cgroup and those below it, by the names of memory.stat; `zswap` is in bytes.

        Raises:
            OSError: the cgroup was removed.
        """
        with self._open() as memcg:
            return self.machine.shown(memory_stat(memcg))


def check_kernel(kernel: Modelled) -> Modelled:
    """Return a release that there is a model of.

    Raises:
        InputError: there is none.
    """
    if kernel not in PARTS:
        raise InputError("machine: kernel", f"one of {', '.join(PARTS)}", repr(kernel))
    return kernel


def check_size(where: str, size: int) -> int:
    """Return a size that is not negative.

    Raises:
        InputError: it is.
    """
    if size < 0:
        raise InputError(where, "at least 0", size)
    return size


def check_fault(where: str, fault: Fault) -> None:
    """Say what a fault came to.

    Raises:
        MemoryError: out of memory.
        OSError: the device cannot be read.
    """
    if fault is Fault.OOM:
        raise MemoryError(f"{where}: out of memory, and nothing can be reclaimed")
    if fault is Fault.SIGBUS:
        raise OSError(EIO, strerror(EIO), where)
