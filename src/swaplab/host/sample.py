"""Choose, from the pages that were sampled in each process, those that stand for all pages of the trace."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.host.raw import Sample, Source, read_samples
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.trace import Stream

__all__ = ["Chosen", "choose", "page_hash"]

_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


class Chosen(NamedTuple):
    """Sampled pages: ``data`` (n, 4096) uint8, ``weight`` (n,) int64, the pages that each stands for."""

    data: NDArray[np.uint8]
    weight: NDArray[np.int64]


def page_hash(page: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`hash` of ``valgrind/pages.c``: the finalizer of splitmix64."""
    mixed = (page ^ (page >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def choose(streams: list[tuple[Source, Stream]], buckets: int) -> Chosen:
    """Choose at most one page for each bucket; it stands for all pages of that bucket, of all processes.

    Each process wins with a chance in proportion to its pages in the bucket. A stream whose pages are too scattered
    to have ranges takes no part.
    """
    best = np.full(buckets, -1.0)
    data = np.zeros((buckets, PAGE_SIZE), np.uint8)
    weight = np.zeros(buckets, np.int64)
    for process, (source, stream) in enumerate(streams):
        footprint = _footprint(stream)
        count = np.bincount((page_hash(footprint) % np.uint64(buckets or 1)).astype(np.int64), minlength=buckets)
        weight += count[:buckets]
        sample = _inside(read_samples(source), footprint)
        draw = _draws(sample.page, process) ** (1 / count[sample.bucket])
        wins = draw > best[sample.bucket]
        chosen = sample.bucket[wins]
        best[chosen], data[chosen] = draw[wins], sample.data[wins]
    filled = np.flatnonzero(best >= 0)
    return Chosen(data[filled], weight[filled])


def _footprint(stream: Stream) -> NDArray[np.uint64]:
    ranges = [np.arange(first, first + pages, dtype=np.uint64) for first, pages in stream.ranges or []]
    return np.concatenate([np.empty(0, np.uint64), *ranges])


def _inside(sample: Sample, footprint: NDArray[np.uint64]) -> Sample:
    inside = np.isin(sample.page, footprint)
    return Sample(sample.data[inside], sample.page[inside], sample.bucket[inside])


def _draws(page: NDArray[np.uint64], process: int) -> NDArray[np.float64]:
    """Draw a number in [0, 1) for each page that depends on nothing else but the process."""
    salt = np.full(1, process + 1, np.uint64) * _ODD  # scalars would warn of the overflow that is meant
    return (page_hash(page + salt) >> np.uint64(11)) / float(1 << 53)
