"""Shared parts of the compiled compressors: reading and comparing bytes of a page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swaplab.compress.jit import compiled

__all__ = ["byte_at", "equal_until", "hash_word", "word_at"]


@compiled
def byte_at(data: NDArray[np.uint8], at: int) -> int:
    """Read a byte as a signed 64-bit integer, so that shifting it loses nothing, compiled or interpreted."""
    return int(np.int64(data[at]))


@compiled
def word_at(data: NDArray[np.uint8], at: int) -> int:
    """Read the unaligned 32-bit little-endian word at `at`."""
    low = byte_at(data, at) | (byte_at(data, at + 1) << 8)
    high = byte_at(data, at + 2) | (byte_at(data, at + 3) << 8)
    return low | (high << 16)


@compiled
def hash_word(word: int, multiplier: int, bits: int) -> int:
    """Return the top `bits` bits of the 32-bit product with `multiplier` (its size below 2**31)."""
    return ((word * multiplier) & 0xFFFFFFFF) >> (32 - bits)


@compiled
def equal_until(page: NDArray[np.uint8], at: int, earlier: int, stop: int) -> int:
    """Return the first position from `at` on whose byte differs from that at `earlier` on, or `stop`."""
    distance = at - earlier
    while at < stop and page[at] == page[at - distance]:
        at += 1
    return at
