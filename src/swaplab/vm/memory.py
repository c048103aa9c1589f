"""How much memory the guest's machine has, so that what is free for the workloads is what the scenario says.

The kernel counts what is left to it after its image and its tables, its total, and uses some of that before the first
workload starts. zswap's limit is a whole percentage of the total. So the machine gets more memory than the scenario
says: enough for all that, and then so much that a whole percentage of the total is the limit that the scenario's
percentage is of its memory. The runner takes away what is left over.

Cited is Linux 6.12.
"""

from __future__ import annotations

from math import isqrt
from typing import NamedTuple

from swaplab.linux.page import PAGE_SIZE

__all__ = ["MIB", "Sizes", "disk_size", "min_free_kbytes", "sizes_for"]

MIB = 1 << 20
# What Debian's 6.12.117 and the runner take, measured from 64M to 4G, and some more: too little costs a second boot.
RESERVED = 44 * MIB
RESERVED_SHARE = 56
# Where some of the memory is beyond 4G, buffers for devices that cannot reach it (kernel/dma/swiotlb.c).
BOUNCE, BOUNCE_FROM = 64 * MIB, 2700 * MIB
USED = 24 * MIB
USED_SHARE = 512
SURPLUS_SHARE = 4
# What null_blk takes beside a page's data, what the kernel has in the disk's node, and some more: with too little of it
# the guest stands still while the disk is filled.
DISK_SHARE = 64
OTHER = 16 * MIB


class Sizes(NamedTuple):
    """Memory of a guest.

    Attributes:
        own: bytes of the node that is the scenario's machine, whole MiB.
        other: bytes of the node that its disk is in, likewise.
        pool_percent: zswap's max_pool_percent in the guest.
    """

    own: int
    other: int
    pool_percent: int

    @property
    def ram(self) -> int:
        """Bytes in all."""
        return self.own + self.other


def disk_size(swap: int) -> int:
    """Bytes of the disk for so many bytes of swap, whole MiB: the header takes a page."""
    return -(-(swap + PAGE_SIZE) // MIB) * MIB


def sizes_for(memory: int, percent: int, files: int, swap: int, short: int = 0) -> Sizes:
    """Return the sizes of a guest.

    Args:
        memory: bytes to be free when the first workload starts.
        percent: of that, zswap's limit.
        files: bytes of files in the guest.
        swap: bytes of swap, which its disk has in memory; 0 if it has none.
        short: bytes that were missing at a first attempt.
    """
    # While it boots the kernel has the archive, and the files in it once more.
    own = memory + USED + memory // USED_SHARE + files + max(0, files - memory) + short
    disk = disk_size(swap) if swap else 0
    needed = own + disk + disk // DISK_SHARE + OTHER
    pool_percent = max(percent * memory // needed, 1) if percent else 0
    total = max(needed, memory * percent // max(pool_percent, 1))
    if total > needed + needed // SURPLUS_SHARE:
        pool_percent, total = max(round(percent * memory / needed), 1), needed
    other = total - own
    own += RESERVED + own // RESERVED_SHARE + (BOUNCE if total > BOUNCE_FROM else 0)
    return Sizes(_whole(own), _whole(other + other // RESERVED_SHARE), pool_percent)


def _whole(size: int) -> int:
    return -(-size // MIB) * MIB


def min_free_kbytes(memory: int) -> int:
    """The kernel's default for a machine of so many bytes (mm/page_alloc.c:calculate_min_free_kbytes)."""
    return min(max(isqrt(memory // 1024 * 16), 128), 262144)
