"""Access patterns: which page a workload touches next.

Every generator draws from its own Philox stream and uses integers only, so that the same seed gives the same
pages on any machine. Popularity is scattered: which page is the most popular is itself drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

__all__ = ["HotCold", "Pattern", "Phases", "Scan", "Uniform", "Zipf", "pattern_chunks"]

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
    """A working set of `share` of the pages, which moves on by its own size every `length` accesses."""

    share: Share = 0.25
    length: Annotated[int, Meta(ge=1, le=LENGTH_MAX)] = 100_000


class HotCold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hot_cold", tag_field="kind"):
    """`hot` of the pages get `share` of the accesses; both sets are uniform within."""

    hot: Share = 0.1
    share: Annotated[float, Meta(ge=0, le=1)] = 0.9


Pattern = Scan | Uniform | Zipf | Phases | HotCold
Pages = NDArray[np.int64]


def zipf_table(exponent: float, pages: int) -> Pages:
    """Cumulative integer weights: rounding them hides the last bits in which math libraries differ."""
    weights = np.arange(1, pages + 1, dtype=np.float64) ** -exponent
    bits = min(WEIGHT_BITS, SUM_BITS - pages.bit_length())
    return np.cumsum(np.maximum(np.rint(weights * 2**bits), 1).astype(np.int64))


def _below(random: np.random.Generator, bound: int, count: int) -> Pages:
    return random.integers(0, bound, count, dtype=np.int64)


def _is_hot(random: np.random.Generator, share: float, count: int) -> NDArray[np.bool_]:
    return _below(random, 1 << 32, count) < int(share * (1 << 32))


def _scan(pages: int) -> Iterator[Pages]:
    position = 0
    while True:
        yield (np.arange(position, position + CHUNK, dtype=np.int64)) % pages
        position = (position + CHUNK) % pages


def _uniform(random: np.random.Generator, pages: int) -> Iterator[Pages]:
    while True:
        yield _below(random, pages, CHUNK)


def _zipf(random: np.random.Generator, pages: int, exponent: float) -> Iterator[Pages]:
    table = zipf_table(exponent, pages)
    order = random.permutation(pages)
    while True:
        yield order[np.searchsorted(table, _below(random, int(table[-1]), CHUNK), side="right")]


def _phases(random: np.random.Generator, pages: int, pattern: Phases) -> Iterator[Pages]:
    size = max(1, round(pattern.share * pages))
    position = 0
    while True:
        # The remainder first: the product could outgrow an int64.
        start = np.arange(position, position + CHUNK, dtype=np.int64) // pattern.length % pages * size
        yield (start + _below(random, size, CHUNK)) % pages
        position += CHUNK


def _hot_cold(random: np.random.Generator, pages: int, pattern: HotCold) -> Iterator[Pages]:
    hot = max(1, round(pattern.hot * pages))
    if hot == pages:
        yield from _uniform(random, pages)
    order = random.permutation(pages)
    while True:
        is_hot = _is_hot(random, pattern.share, CHUNK)
        yield order[np.where(is_hot, _below(random, hot, CHUNK), hot + _below(random, pages - hot, CHUNK))]


def _pages(pattern: Pattern, random: np.random.Generator, pages: int) -> Iterator[Pages]:
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


def pattern_chunks(
    pattern: Pattern, pages: int, write_fraction: float, key: int
) -> Iterator[tuple[Pages, NDArray[np.bool_]]]:
    """Yield endless chunks of (page, write), int64 below `pages` and bool, each of shape (65536,).

    Args:
        key: 128 bits or less that name this stream of random numbers.
    """
    random = np.random.Generator(np.random.Philox(key=key))
    writes = np.random.Generator(np.random.Philox(key=key + 1))
    for page in _pages(pattern, random, pages):
        yield page, _is_hot(writes, write_fraction, len(page))
