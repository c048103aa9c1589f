"""Releases of Linux, and the release that each feature came with by which what swaplab reads or shows differs.

Tried are Debian's 6.1, 6.12, 6.18 and 7.2. Of a feature that came between two of these, and that nobody looked up, it
is the later one (docs/guides/kernel.md, "What kernels have, and lack").
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "COMPRESS_FAIL_COUNTED",
    "DECOMPRESS_FAIL_COUNTED",
    "INCOMPRESSIBLE_COUNTED_BY_MEMCG",
    "INCOMPRESSIBLE_KEPT",
    "LRU_PER_MEMCG",
    "MODELLED",
    "ZERO_PAGES_IN_MAP",
    "Release",
]


class Release(NamedTuple):
    """A series of Linux, such as 6.12."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


MODELLED = Release(6, 12)
"""What the replay and kernel/ are models of, and what guests run if nothing else is said."""

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
