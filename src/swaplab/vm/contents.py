"""Contents of pages for the guest, and the contents that it must report at the end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.scenario.accesses import Accesses, Chunk
from swaplab.scenario.content import sample_hash
from swaplab.scenario.contents import page_contents
from swaplab.scenario.model import Scenario
from swaplab.scenario.trace import EventKind

__all__ = ["Contents", "Memory", "checksums", "contents_of"]

Numbers = NDArray[np.int64]
BASIS, PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
BATCH = 1 << 20
COMPONENTS_MAX = 1 << 16  # what the guest's table of uint16 can name


class Contents(NamedTuple):
    """All contents of a scenario.

    Attributes:
        samples: uint8[n, 4096], the samples of all components.
        kinds: uint16[pages], the component of every page.
        first: uint32[components], where the samples of each begin.
        counts: uint32[components], how many they are.
    """

    samples: NDArray[np.uint8]
    kinds: NDArray[np.uint16]
    first: NDArray[np.uint32]
    counts: NDArray[np.uint32]

    @property
    def components(self) -> bytes:
        """The table of components as runner.c reads it."""
        return np.column_stack((self.first, self.counts)).astype(np.uint32).tobytes()


def contents_of(scenario: Scenario, accesses: Accesses) -> Contents:
    """Make the contents of all workloads ready.

    Raises:
        InputError: contents cannot be made.
    """
    samples, kind, first, count = page_contents(scenario, accesses, COMPONENTS_MAX)
    # There are 2**26 samples at most (`page_contents`).
    kinds, begins, counts = kind.astype(np.uint16), first.astype(np.uint32), count.astype(np.uint32)
    return Contents(np.concatenate(samples), kinds, begins, counts)


class Memory:
    """Contents of pages, as runner.c's ``struct page`` has them. Those of files (`is_file`) keep their contents.

    Attributes:
        versions: int64[pages], how often what a page holds was written, -1 if it was never touched.
        sources: int64[pages], the page whose sample that is: where it was written last.
        backing: int64[pages], itself, or the page of shared memory that it maps.
        is_entangled: bool[pages], whether what it holds depends on what other tasks did.
    """

    def __init__(self, is_file: NDArray[np.bool_]) -> None:
        pages = len(is_file)
        self._is_memory = ~is_file
        self.versions = np.full(pages, -1, np.int64)
        self.sources, self.backing = np.arange(pages), np.arange(pages)
        self.is_entangled = np.zeros(pages, np.bool_)

    def follow(self, chunk: Chunk) -> None:
        """Do what the accesses and operations of a chunk do."""
        done = 0
        for op in chunk.ops.tolist():
            self._touch(chunk.accesses[done : op[0]])
            done = op[0]
            self._operate(*op[1:])
        self._touch(chunk.accesses[done:])

    def _touch(self, accesses: NDArray[np.uint32]) -> None:
        accesses = accesses[self._is_memory[accesses >> 1]]
        pages = self.backing[accesses >> 1]
        self.versions[pages] = np.maximum(self.versions[pages], 0)
        written = pages[(accesses & 1) == 1]
        np.add.at(self.versions, written, 1)
        self.sources[written] = written

    def _operate(self, kind: int, page: int, pages: int, other: int) -> None:
        own, others = slice(page, page + pages), slice(other, other + pages)
        is_private = self.backing[own] == np.arange(page, page + pages)
        if kind == EventKind.DISCARD:
            self.versions[own][is_private] = -1
            self.sources[own][is_private] = np.arange(page, page + pages)[is_private]
            return
        self.versions[own], self.sources[own] = -1, np.arange(page, page + pages)
        if kind != EventKind.REMOVE:
            self.backing[own] = np.arange(page, page + pages)
        if kind == EventKind.FORK:
            shared = self.backing[others] != np.arange(other, other + pages)
            self.versions[own], self.sources[own] = self.versions[others], self.sources[others]
            self.backing[own] = np.where(shared, self.backing[others], self.backing[own])
            self.is_entangled[own] = True
        if kind == EventKind.SHARE:
            self.backing[own] = np.arange(other, other + pages)
            self.is_entangled[others] = True


def checksums(contents: Contents, first: Numbers, memory: Memory) -> list[int]:
    """Return the sum of what each task's pages hold in the end, modulo 2**64: runner.c's ``checksum``.

    Args:
        first: int64[tasks + 1], the first page of each.
    """
    hashes = _hashes(contents.samples)
    return [
        sum(
            _sum(contents, hashes, memory, begin, min(begin + BATCH, int(first[i + 1])))
            for begin in range(int(first[i]), int(first[i + 1]), BATCH)
        )
        % 2**64
        for i in range(len(first) - 1)
    ]


def _hashes(samples: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """FNV-1a of every sample, by 64-bit words."""
    words = np.ascontiguousarray(samples).view(np.uint64)
    hashes = np.full(len(words), BASIS)
    for i in range(words.shape[1]):
        hashes = (hashes ^ words[:, i]) * PRIME
    return hashes


def _sum(contents: Contents, hashes: NDArray[np.uint64], memory: Memory, begin: int, end: int) -> int:
    pages = np.flatnonzero(memory.versions[begin:end] >= 0) + begin
    sources = memory.sources[pages]
    kinds = contents.kinds[sources]
    chosen: Numbers = sample_hash(sources, memory.versions[pages])  # type: ignore[arg-type,assignment]  # arrays in, an array out
    samples = contents.first[kinds] + chosen % contents.counts[kinds]
    return int((hashes[samples] * (2 * pages.astype(np.uint64) + np.uint64(1))).sum())
