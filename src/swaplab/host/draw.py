"""A uniform sample of the anonymous pages that a group of running processes has resident.

Every candidate page gets a random key; the pages with the smallest keys are the sample. That needs one pass,
memory for the sample alone, and gives every set of pages the same chance. What is known exactly, from the
kernel's own counts, then corrects the weights:

- A page mapped by k processes counts 1/k in each. A process knows which of its pages are shared and what all
  of them add up to (Pss_Anon), so a shared page gets the mean share of its process.
- Memory that was only ever read is one page of zeros, mapped again and again, and no anonymous memory. It
  looks like a shared page of zeros, but the kernel does not count it as anonymous: what pagemap shows in
  excess is taken off the shared pages of zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from swaplab.host.anonymous import AnonymousMemory, Mapping, Proportional, open_memory
from swaplab.host.processes import Process
from swaplab.linux.page import PAGE_SIZE

__all__ = ["Sample", "Unreadable", "draw"]

ROW = np.dtype([("key", "u8"), ("page", "u8"), ("exclusive", "?"), ("process", "i4"), ("slot", "i4"), ("read", "?")])
SHARE_MIN = 2.0**-20  # a shared page weighs something, however a share is rounded

Rows = NDArray[np.void]
Generator = np.random.Generator


class Unreadable(msgspec.Struct, frozen=True):
    """A process whose memory could not be read, and why."""

    pid: int
    name: str
    reason: str


class Sample(NamedTuple):
    """Sampled pages of a group, and what is known of all its pages.

    Attributes:
        pages: uint8[n, 4096].
        weights: float64[n], above 0: how much of a page each is, 1 unless it is shared.
        population: sum of the weights of all anonymous pages, sampled or not.
        fraction: sampled share of the candidates, 0..1.
        lost: pages chosen but gone before they were read.
        swapped: pages in swap.
        locked: resident pages that are mlocked; they are not in the population.
        shared: pages of shared memory, which are not in the population either.
        processes: how many were read.
        unreadable: the others.
    """

    pages: NDArray[np.uint8]
    weights: NDArray[np.float64]
    population: float
    fraction: float
    lost: int
    swapped: int
    locked: int
    shared: int
    processes: int
    unreadable: list[Unreadable]


class _Counts(NamedTuple):
    """The exact counts of one process.

    Attributes:
        candidates: pages that may be sampled.
        population: its anonymous pages, shared ones divided by how often they are mapped.
        share: of a page that is not exclusive.
        surplus: candidates that are no anonymous memory.
        swapped: pages in swap.
        locked: pages that are mlocked.
        shared: pages of shared memory, divided by how often they are mapped.
    """

    candidates: int
    population: float
    share: float
    surplus: int
    swapped: int
    locked: int
    shared: int


def _count(mappings: list[Mapping], proportional: Proportional, candidates: int, exclusive: int) -> _Counts:
    counted = sum(mapping.anonymous for mapping in mappings if not mapping.locked)
    locked = sum(mapping.anonymous for mapping in mappings if mapping.locked)
    # The process runs: pages that left between the two counts cannot be sampled.
    anonymous = min(counted, candidates)
    exclusive = min(exclusive, anonymous)
    shared = anonymous - exclusive
    whole = counted if proportional.anonymous is None else proportional.anonymous - locked
    share = (whole * anonymous / max(counted, 1) - exclusive) / shared if shared else 1.0
    share = min(max(share, SHARE_MIN), 1.0)
    swapped = sum(mapping.swapped for mapping in mappings)
    population, surplus = exclusive + share * shared, candidates - anonymous
    return _Counts(candidates, population, share, surplus, swapped, locked, proportional.shared or 0)


def _smallest(rows: Rows, limit: int) -> Rows:
    if len(rows) <= limit:
        return rows
    return rows[np.argpartition(rows["key"], limit - 1)[:limit]]


def _scan(memory: AnonymousMemory, process: int, limit: int, generator: Generator) -> tuple[Rows, _Counts]:
    """Give every candidate of a process its key; return the rows of the smallest keys, at most `limit`."""
    best = np.empty(0, ROW)
    candidates = exclusive = 0
    mappings = memory.mappings()
    for mapping in mappings:
        if mapping.locked or not mapping.anonymous:
            continue
        for found in memory.candidates(mapping):
            rows = np.zeros(len(found.page), ROW)
            rows["key"] = generator.integers(0, 1 << 64, len(rows), np.uint64)
            rows["page"], rows["exclusive"], rows["process"] = found.page, found.exclusive, process
            candidates += len(rows)
            exclusive += int(found.exclusive.sum())
            best = _smallest(np.concatenate([best, _smallest(rows, limit)]), limit)
    return best, _count(mappings, memory.proportional(), candidates, exclusive)


class _Reservoir:
    """The pages with the smallest keys so far, read as soon as they are among them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.rows = np.empty(0, ROW)
        # The kernel gives memory only for the slots that are used.
        self.slots = np.empty((limit, PAGE_SIZE), np.uint8)

    def add(self, rows: Rows, memory: AnonymousMemory) -> None:
        """Merge the rows of one process, and read those that stay."""
        rows["slot"] = -1
        merged = _smallest(np.concatenate([self.rows, rows]), self.limit)
        new = np.flatnonzero(merged["slot"] < 0)
        free = np.setdiff1d(np.arange(self.limit), merged["slot"])
        for at, slot in zip(new, free, strict=False):
            data = memory.read(int(merged["page"][at]))
            merged["slot"][at], merged["read"][at] = slot, data is not None
            if data is not None:
                self.slots[slot] = np.frombuffer(data, np.uint8)
        self.rows = merged


def draw(
    processes: list[Process],
    samples: int,
    generator: Generator,
    proc: Path,
    step: Callable[[], None] = lambda: None,
) -> Sample:
    """Sample the anonymous memory of a group of processes.

    Args:
        processes: all that have memory.
        samples: pages to read at most.
        generator: for the keys.
        proc: where /proc is.
        step: called after every process.
    """
    reservoir = _Reservoir(samples)
    counts: list[_Counts] = []
    unreadable = []
    for process in processes:
        try:
            with open_memory(process.pid, proc) as memory:
                rows, counted = _scan(memory, len(counts), samples, generator)
                reservoir.add(rows, memory)
                counts.append(counted)
        except PermissionError:
            unreadable.append(Unreadable(process.pid, process.name, "no permission"))
        except (FileNotFoundError, ProcessLookupError):
            unreadable.append(Unreadable(process.pid, process.name, "vanished"))
        step()
    return _sample(reservoir, counts, unreadable)


def _sample(reservoir: _Reservoir, counts: list[_Counts], unreadable: list[Unreadable]) -> Sample:
    rows = reservoir.rows[reservoir.rows["read"]]
    pages = reservoir.slots[rows["slot"]]
    weights = _weights(rows, pages, counts)
    return Sample(
        pages=pages[weights > 0],
        weights=weights[weights > 0],
        population=sum(count.population for count in counts),
        fraction=len(rows) / max(sum(count.candidates for count in counts), 1),
        lost=len(reservoir.rows) - len(rows),
        swapped=sum(count.swapped for count in counts),
        locked=sum(count.locked for count in counts),
        shared=sum(count.shared for count in counts),
        processes=len(counts),
        unreadable=unreadable,
    )


def _weights(rows: Rows, pages: NDArray[np.uint8], counts: list[_Counts]) -> NDArray[np.float64]:
    if not len(rows):
        return np.empty(0)
    share = np.array([count.share for count in counts])[rows["process"]]
    surplus = np.array([count.surplus for count in counts])
    weights: NDArray[np.float64] = np.where(rows["exclusive"], 1.0, share)
    suspects = ~rows["exclusive"] & (surplus[rows["process"]] > 0) & ~pages.any(axis=1)
    if suspects.any():
        # Whole numbers first: where all suspects are surplus, what is left of them has to be zero, and not almost.
        candidates = sum(count.candidates for count in counts)
        found = int(surplus.sum()) * len(rows) / (int(suspects.sum()) * candidates)
        weights[suspects] *= max(0.0, 1 - found)
    return weights
