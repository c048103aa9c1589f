"""LZ4 for pages, byte for byte as the kernel's crypto module "lz4" compresses them.

Written here because the library that PyPI offers, a newer LZ4, finds other matches: of 6000 varied pages it
compressed less than a quarter to the kernel's bytes. Decompression is left to the library: the format is one.

A block is made of sequences: a token (literal count and match length, four bits each, 15 meaning that more
bytes follow), the literals, the match's distance (16 bits, little endian). The last sequence has literals
only.
"""

from __future__ import annotations

import lz4.block
import numpy as np
from numpy.typing import NDArray

from swaplab.compress.jit import compiled
from swaplab.compress.words import equal_until, hash_word, word_at
from swaplab.linux.page import PAGE_SIZE

__all__ = ["compress_lz4", "decompress_lz4"]

OUTPUT_SIZE = PAGE_SIZE + PAGE_SIZE // 255 + 16

HASH_BITS = 13  # 16 KiB of 16-bit positions, which inputs below 64 KiB get
HASH_MULTIPLIER = 2654435761 - (1 << 32)  # congruent, and small enough for a 64-bit product
MATCH_MIN = 4
LITERAL_TAIL = 5  # no match covers the last bytes
SEARCH_TAIL = 12  # no match starts in them
SKIP_SHIFT = 6  # the stride grows by one with every 64 positions without a match


@compiled
def _swap(seen: NDArray[np.uint16], page: NDArray[np.uint8], at: int) -> int:
    """Remember `at` as the last position of the word there; return the position remembered before."""
    slot = hash_word(word_at(page, at), HASH_MULTIPLIER, HASH_BITS)
    earlier = int(np.int64(seen[slot]))
    seen[slot] = at
    return earlier


@compiled
def _search(page: NDArray[np.uint8], at: int, seen: NDArray[np.uint16]) -> tuple[int, int]:
    """Find the next position from `at` on whose word was seen, and where; -1 if the page ends first."""
    last = page.size - SEARCH_TAIL
    step, tries = 1, 1 << SKIP_SHIFT
    # The kernel hashes the next position before it compares this one, and gives up when there is no next.
    while at + step <= last:
        earlier = _swap(seen, page, at)
        if word_at(page, at) == word_at(page, earlier):
            return at, earlier
        at += step
        step = tries >> SKIP_SHIFT
        tries += 1
    return at, -1


@compiled
def _put_rest(out: NDArray[np.uint8], end: int, length: int) -> int:
    """Append what a token's four bits could not hold, if so: bytes of 255, then a smaller one."""
    rest = length - 15
    if rest < 0:
        return end
    while rest >= 255:
        out[end] = 255
        end += 1
        rest -= 255
    out[end] = rest
    return end + 1


@compiled
def _put_literals(out: NDArray[np.uint8], end: int, literals: NDArray[np.uint8], match: int) -> int:
    """Append a token for the literals and a match of `match` + 4 bytes, and the literals."""
    out[end] = (min(literals.size, 15) << 4) | min(match, 15)
    end = _put_rest(out, end + 1, literals.size)
    for literal in literals:
        out[end] = literal
        end += 1
    return end


@compiled
def _put_sequence(out: NDArray[np.uint8], end: int, literals: NDArray[np.uint8], distance: int, length: int) -> int:
    """Append the literals and the match of `length` bytes that follows them."""
    end = _put_literals(out, end, literals, length - MATCH_MIN)
    out[end] = distance & 0xFF
    out[end + 1] = distance >> 8
    return _put_rest(out, end + 2, length - MATCH_MIN)


@compiled
def _compress(page: NDArray[np.uint8], out: NDArray[np.uint8], seen: NDArray[np.uint16]) -> int:
    """Compress `page` into `out`; `seen` (zeros) remembers positions by hash. Returns the length."""
    end = 0
    literals = 0  # where the literals that are not written yet begin
    at, earlier = _search(page, 1, seen)
    while earlier >= 0:
        while at > literals and earlier > 0 and page[at - 1] == page[earlier - 1]:
            at -= 1
            earlier -= 1
        stop = equal_until(page, at + MATCH_MIN, earlier + MATCH_MIN, page.size - LITERAL_TAIL)
        end = _put_sequence(out, end, page[literals:at], at - earlier, stop - at)
        at = literals = stop
        if at > page.size - SEARCH_TAIL:
            break
        _swap(seen, page, at - 2)
        earlier = _swap(seen, page, at)
        if word_at(page, at) != word_at(page, earlier):
            at, earlier = _search(page, at + 1, seen)
    return _put_literals(out, end, page[literals:], 0)


def compress_lz4(page: bytes) -> bytes:
    """Compress one page of 4096 bytes: lib/lz4/lz4_compress.c:LZ4_compress_default, 6.12."""
    out = np.empty(OUTPUT_SIZE, np.uint8)
    length = _compress(np.frombuffer(page, np.uint8), out, np.zeros(1 << HASH_BITS, np.uint16))
    return out[:length].tobytes()


def decompress_lz4(data: bytes) -> bytes:
    """Restore the page of 4096 bytes.

    Raises:
        ValueError: the data is no such block, or not of exactly one page.
    """
    try:
        page: bytes = lz4.block.decompress(data, uncompressed_size=PAGE_SIZE)
    except lz4.block.LZ4BlockError as error:
        raise ValueError(f"{len(data)} bytes are not a page compressed with LZ4: {error}") from None
    if len(page) != PAGE_SIZE:
        raise ValueError(f"{len(data)} bytes hold {len(page)} bytes compressed with LZ4, not a page")
    return page
