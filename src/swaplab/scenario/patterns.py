"""Access patterns: which page a workload touches next, and what memory it frees meanwhile.

Every generator draws from its own Philox stream and uses integers only, so that the same seed gives the same
pages on any machine. Popularity is scattered: which page is the most popular is itself drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from swaplab.compress.jit import compiled

__all__ = ["Churn", "HotCold", "Pattern", "Phases", "Scan", "Uniform", "Zipf", "pattern_chunks"]

CHUNK = 1 << 16
WEIGHT_BITS = 40
SUM_BITS = 62
LENGTH_MAX = 1 << 40  # accesses, as many as a workload can make

Share = Annotated[float, Meta(gt=0, le=1)]


class Scan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="scan", tag_field="kind"):
    """All pages in order, again and again."""


class Uniform(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="uniform", tag_field="kind"):
    """Any page, each as likely."""


class Zipf(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="zipf", tag_field="kind"):
    """The k-th most popular page with weight ``k ** -exponent``."""

    exponent: Annotated[float, Meta(gt=0, le=10)] = 1.0


class Phases(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="phases", tag_field="kind"):
    """A working set of `share` of the pages, which moves on by its own size every `length` accesses.

    With `free` the pages that it leaves are unmapped.
    """

    share: Share = 0.25
    length: Annotated[int, Meta(ge=1, le=LENGTH_MAX)] = 100_000
    free: bool = False


class HotCold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hot_cold", tag_field="kind"):
    """`hot` of the pages get `share` of the accesses; both sets are uniform within."""

    hot: Share = 0.1
    share: Annotated[float, Meta(ge=0, le=1)] = 0.9


class Churn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="churn", tag_field="kind"):
    """Blocks of `block` pages that are allocated and freed: half of them are in use on average.

    Each turn takes a block at random. If it is in use, it is unmapped, else its pages are touched in order. Then
    `reuse` accesses go to the blocks in use, to each page as likely. Pages beyond the last whole block stay unused.
    """

    block: Annotated[int, Meta(ge=1, le=LENGTH_MAX)] = 64
    reuse: Annotated[int, Meta(ge=0, le=LENGTH_MAX)] = 64


Pattern = Scan | Uniform | Zipf | Phases | HotCold | Churn
Pages = NDArray[np.int64]


class Piece(NamedTuple):
    """Pages that are touched in order, and those that are unmapped meanwhile.

    Attributes:
        page: int64 of shape ``(n,)``, at most 65536.
        frees: int64 of shape ``(k, 3)``: an access before which pages are unmapped, the first of them, and how many.
    """

    page: Pages
    frees: NDArray[np.int64] = np.empty((0, 3), np.int64)


def zipf_table(exponent: float, pages: int) -> Pages:
    """Cumulative integer weights: rounding them hides the last bits in which math libraries differ."""
    weights = np.arange(1, pages + 1, dtype=np.float64) ** -exponent
    bits = min(WEIGHT_BITS, SUM_BITS - pages.bit_length())
    return np.cumsum(np.maximum(np.rint(weights * 2**bits), 1).astype(np.int64))


def _below(random: np.random.Generator, bound: int, count: int) -> Pages:
    return random.integers(0, bound, count, dtype=np.int64)


def _is_hot(random: np.random.Generator, share: float, count: int) -> NDArray[np.bool_]:
    return _below(random, 1 << 32, count) < int(share * (1 << 32))


def _scan(pages: int) -> Iterator[Piece]:
    position = 0
    while True:
        yield Piece((np.arange(position, position + CHUNK, dtype=np.int64)) % pages)
        position = (position + CHUNK) % pages


def _uniform(random: np.random.Generator, pages: int) -> Iterator[Piece]:
    while True:
        yield Piece(_below(random, pages, CHUNK))


def _zipf(random: np.random.Generator, pages: int, exponent: float) -> Iterator[Piece]:
    table = zipf_table(exponent, pages)
    order = random.permutation(pages)
    while True:
        yield Piece(order[np.searchsorted(table, _below(random, int(table[-1]), CHUNK), side="right")])


def _phases(random: np.random.Generator, pages: int, pattern: Phases) -> Iterator[Piece]:
    size = max(1, round(pattern.share * pages))
    position = 0
    while True:
        # The remainder first: the product could outgrow an int64.
        start = np.arange(position, position + CHUNK, dtype=np.int64) // pattern.length % pages * size
        page = (start + _below(random, size, CHUNK)) % pages
        yield Piece(page, _left_behind(position, pages, size, pattern.length)) if pattern.free else Piece(page)
        position += CHUNK


def _left_behind(position: int, pages: int, size: int, length: int) -> NDArray[np.int64]:
    """Pages unmapped where phases begin among a chunk's accesses, in two ranges where they go past the last page."""
    phase = np.arange(-(-max(position, 1) // length), -(-(position + CHUNK) // length), dtype=np.int64)
    first = (phase - 1) % pages * size % pages
    at = phase * length - position
    whole = np.stack([at, first, np.minimum(size, pages - first)], axis=1)
    wrapped = np.stack([at, np.zeros_like(at), first + size - pages], axis=1)
    frees = np.stack([whole, wrapped], axis=1).reshape(-1, 3)
    return frees[frees[:, 2] > 0]


def _hot_cold(random: np.random.Generator, pages: int, pattern: HotCold) -> Iterator[Piece]:
    hot = max(1, round(pattern.hot * pages))
    if hot == pages:
        yield from _uniform(random, pages)
    order = random.permutation(pages)
    while True:
        is_hot = _is_hot(random, pattern.share, CHUNK)
        yield Piece(order[np.where(is_hot, _below(random, hot, CHUNK), hot + _below(random, pages - hot, CHUNK))])


def _churn(random: np.random.Generator, pages: int, pattern: Churn) -> Iterator[Piece]:
    block = min(pattern.block, pages)
    in_use, place = np.zeros(pages // block, np.int64), np.full(pages // block, -1, np.int64)
    state = np.zeros(4, np.int64)
    while True:
        page, frees = np.empty(CHUNK, np.int64), np.empty((CHUNK, 3), np.int64)
        drawn = _below(random, 1 << 32, CHUNK)
        made, freed = _take_turns(drawn, block, pattern.reuse, state, in_use, place, page, frees)
        yield Piece(page[:made], frees[:freed])


@compiled
def _take_turns(
    drawn: Pages,
    block: int,
    reuse: int,
    state: NDArray[np.int64],
    in_use: NDArray[np.int64],
    place: NDArray[np.int64],
    page: Pages,
    frees: NDArray[np.int64],
) -> tuple[int, int]:
    """Take a step of `Churn` for each number drawn below 2**32.

    Args:
        state: blocks in use, the block that was drawn last, pages of it to touch, accesses to make afterwards.
        in_use: the blocks in use.
        place: where each block is there, or -1.
        page: filled with what is touched.
        frees: filled with what is unmapped.

    Returns:
        how many pages are touched, and how often some are unmapped.
    """
    used, current, fill, left = state
    made = freed = 0
    for number in drawn:
        if fill:
            page[made] = current * block + block - fill
            fill -= 1
            made += 1
        elif left and used:
            at = number * used * block >> 32
            page[made] = in_use[at // block] * block + at % block
            left -= 1
            made += 1
        else:
            current = number * len(place) >> 32
            at = place[current]
            if at < 0:
                place[current], in_use[used] = used, current
                used += 1
                fill = block
            else:
                used -= 1
                in_use[at] = in_use[used]
                place[in_use[at]] = at
                place[current] = -1
                frees[freed, 0], frees[freed, 1], frees[freed, 2] = made, current * block, block
                freed += 1
            left = reuse
    state[0], state[1], state[2], state[3] = used, current, fill, left
    return made, freed


def _pages(pattern: Pattern, random: np.random.Generator, pages: int) -> Iterator[Piece]:
    match pattern:
        case Scan():
            return _scan(pages)
        case Uniform():
            return _uniform(random, pages)
        case Zipf():
            return _zipf(random, pages, pattern.exponent)
        case Phases():
            return _phases(random, pages, pattern)
        case HotCold():
            return _hot_cold(random, pages, pattern)
        case Churn():
            return _churn(random, pages, pattern)


def pattern_chunks(
    pattern: Pattern, pages: int, write_fraction: float, key: int
) -> Iterator[tuple[Pages, NDArray[np.bool_], NDArray[np.int64]]]:
    """Yield endless chunks of (page, write, frees): int64 below `pages` and bool of shape (n,), and int64 of (k, 3).

    Each row of frees is an access, up to n, before which pages are unmapped, the first of them, and how many.

    Args:
        key: 128 bits or less that name this stream of random numbers.
    """
    random = np.random.Generator(np.random.Philox(key=key))
    writes = np.random.Generator(np.random.Philox(key=key + 1))
    for page, frees in _pages(pattern, random, pages):
        yield page, _is_hot(writes, write_fraction, len(page)), frees
