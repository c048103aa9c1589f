"""Releases of Linux: the release that each feature came with by which what swaplab reads, shows or models differs.

Tried are Debian's 6.1, 6.12, 6.18 and 7.2. Of a feature that came between two of these, and that nobody looked up, it
is the later one (docs/guides/kernel.md, "What kernels have, and lack").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

__all__ = [
    "BASE",
    "COMPRESS_FAIL_COUNTED",
    "DECOMPRESS_FAIL_COUNTED",
    "INCOMPRESSIBLE_COUNTED_BY_MEMCG",
    "INCOMPRESSIBLE_KEPT",
    "LRU_PER_MEMCG",
    "MODELLED",
    "SINCE",
    "ZERO_PAGES_IN_MAP",
    "Features",
    "Modelled",
    "Release",
    "features_of",
]


class Release(NamedTuple):
    """A series of Linux, such as 6.12."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> Release:
        """Return what `str` was made of.

        Raises:
            ValueError: it was made of something else.
        """
        major, minor = map(int, text.split("."))
        return cls(major, minor)

    @classmethod
    def of_kernel(cls, name: str) -> Release:
        """Return the series that a kernel is of, by its name (``uname -r``, such as 6.12.117+deb12-amd64).

        Raises:
            ValueError: it does not begin with two numbers.
        """
        return cls.parse(".".join(re.split(r"[^0-9]", name, maxsplit=2)[:2]))


BASE = Release(6, 12)
"""The default release of all models and guests, and the base of `Features`."""
Modelled = Literal["6.12", "7.2"]
MODELLED: tuple[Modelled, ...] = get_args(Modelled)
"""Releases that there are models of; of those in between, nobody read the source."""

LRU_PER_MEMCG = Release(6, 8)
"""zswap has an LRU for each cgroup, with it a shrinker and memory.zswap.writeback, and counts what it writes back."""
COMPRESS_FAIL_COUNTED = Release(6, 12)
"""debugfs says how many pages a compressor failed on."""
ZERO_PAGES_IN_MAP = Release(6, 12)
"""Swap knows zero-filled pages by a bit for their slot, and counts them: no device and no zswap sees them."""
INCOMPRESSIBLE_KEPT = Release(6, 18)
"""zswap keeps pages that do not compress as they are, where earlier ones let the device have them."""
DECOMPRESS_FAIL_COUNTED = Release(6, 18)
"""debugfs says how many pages could not be decompressed."""
INCOMPRESSIBLE_COUNTED_BY_MEMCG = Release(7, 2)
"""memory.stat has those that zswap keeps as they are."""


class Features(NamedTuple):
    """Differences of a release from 6.12, one by one, so that each can be had without the others.

    Attributes:
        incompressible_kept: zswap keeps a page that does not compress as it is, if the cgroup may write to the device
            (mm/zswap.c:zswap_compress).
        slots_from_clusters: swap slots of all devices come from clusters of 512, one at a time, and are freed at once;
            there is no cache of slots (mm/swapfile.c:cluster_alloc_swap_entry).
        slot_kept_on_write: a write fault leaves the slot of a page that nobody else has, as whether to free it is asked
            after the page was mapped (mm/memory.c:do_swap_page).
        lru_follows_objcg: a folio is its objcg's, so that those of a removed cgroup go to its parent's lists
            (mm/memcontrol.c:memcg_reparent_objcgs).
        stock_of_seven: a processor charges pages ahead for seven cgroups, not for one, and bytes for five objcgs
            (mm/memcontrol.c:memcg_stock_pcp, obj_stock_pcp).
        cached_before_charged: a folio is in the swap cache before it is charged, so that reclaim for that charge meets
            it there (mm/swap_state.c:__swap_cache_alloc).
        gen_scan_stops: MGLRU sets out to scan a share of a cgroup that is fixed for a priority, and stops when enough
            is reclaimed (mm/vmscan.c:try_to_shrink_lruvec).
        gen_by_use: MGLRU places, promotes and protects folios by how often they were used, not by whether
            (include/linux/mm_inline.h:lru_gen_folio_seq, mm/vmscan.c:sort_folio).
        hopeless_until_balanced: kswapd, once it has failed 16 times, sleeps until the node is balanced; before, until
            anybody reclaimed a page (mm/vmscan.c:balance_pgdat).
        preempted_lazily: a thread of the kernel that is woken waits until the running task is back in user space;
            before, until that looks, as reclaim does after each page (Debian's CONFIG_PREEMPT_LAZY,
            CONFIG_PREEMPT_VOLUNTARY).
    """

    incompressible_kept: bool
    slots_from_clusters: bool
    slot_kept_on_write: bool
    lru_follows_objcg: bool
    stock_of_seven: bool
    cached_before_charged: bool
    gen_scan_stops: bool
    gen_by_use: bool
    hopeless_until_balanced: bool
    preempted_lazily: bool


SINCE: Mapping[str, Release] = MappingProxyType(
    {name: Release(7, 2) for name in Features._fields} | {"incompressible_kept": INCOMPRESSIBLE_KEPT}
)
"""The release that each of the `Features` came with."""


def features_of(release: str) -> Features:
    """Return what a release that there is a model of does otherwise than 6.12.

    Raises:
        ValueError: there is no model of it.
    """
    if release not in MODELLED:
        raise ValueError(f"no model of Linux {release}")
    return Features(**{name: Release.parse(release) >= since for name, since in SINCE.items()})
