"""The one order in which all workloads touch their pages: what every engine consumes.

Pages of all workloads are numbered through: workload ``w`` has ``first[w] .. first[w + 1] - 1``. An access is a uint32,
``page << 1 | write``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.model import Scenario, Workload
from swaplab.scenario.patterns import pattern_chunks
from swaplab.scenario.trace import Trace

__all__ = ["Accesses", "Chunk"]

CHUNK = 1 << 16
DEFAULT_ROUNDS = 4
Chunk = NDArray[np.uint32]


class Accesses:
    """All accesses of a scenario, streamed.

    Attributes:
        first: int64 of shape (workloads + 1,), the first page of each workload and the number of pages.
        total: accesses in all.

    Raises:
        InputError: a trace is broken or does not have a stream that a workload names.
        OSError: a trace cannot be read.
    """

    def __init__(self, scenario: Scenario, where: str = "scenario") -> None:
        self._scenario = scenario
        self._where = where
        self._traces = {name: Trace.open(scenario.base / name) for name in self._trace_names}
        self._streams = [self._stream_ids(i, each) for i, each in enumerate(scenario.workloads)]
        pages = [self._pages(i, each) for i, each in enumerate(scenario.workloads)]
        self.first = np.concatenate(([0], np.cumsum(pages, dtype=np.int64)))
        self.counts = [self._count(i, each) for i, each in enumerate(scenario.workloads)]
        self.total = sum(self.counts)
        if self.first[-1] > 1 << 30:
            raise InputError(f"{where}: workload", "at most 2**30 pages in all", int(self.first[-1]))

    @cached_property
    def _trace_names(self) -> list[str]:
        return sorted({each.trace for each in self._scenario.workloads if each.trace is not None})

    def _stream_ids(self, i: int, workload: Workload) -> list[int]:
        if workload.trace is None:
            return []
        names = [stream.name for stream in self._traces[workload.trace].info.streams]
        for name in workload.streams:
            if name not in names:
                path = Path(self._scenario.base / workload.trace)
                raise InputError(
                    f"{self._where}: workload[{i}].streams", f"streams of {path} ({', '.join(names)})", name
                )
        return [k for k, name in enumerate(names) if not workload.streams or name in workload.streams]

    def _pages(self, i: int, workload: Workload) -> int:
        if workload.trace is None:
            return workload.pages or 0
        streams = self._traces[workload.trace].info.streams
        return sum(streams[k].pages for k in self._streams[i])

    def _count(self, i: int, workload: Workload) -> int:
        if workload.trace is None:
            return workload.accesses or DEFAULT_ROUNDS * self._pages(i, workload)
        streams = self._traces[workload.trace].info.streams
        recorded = sum(streams[k].accesses for k in self._streams[i])
        return min(recorded, workload.accesses or recorded)

    def by_workload(self) -> dict[str, int]:
        """Return the accesses of each workload, by ``cgroup:name`` and, where that is not unique, its number."""
        counts: dict[str, int] = {}
        for i, (workload, count) in enumerate(zip(self._scenario.workloads, self.counts, strict=True)):
            key = f"{workload.cgroup}:{workload.name}"
            counts[key if key not in counts else f"{key}#{i}"] = count
        return counts

    def chunks(self) -> Iterator[Chunk]:
        """Yield all accesses in order, in chunks of no fixed size."""
        if self._scenario.interleave == "trace":
            yield from self._in_trace_order()
        elif len(self._scenario.workloads) == 1:
            yield from self._limited(0)
        else:
            readers = [_Reader(self._limited(i)) for i in range(len(self._scenario.workloads))]
            yield from _round_robin(readers, self._scenario.interleave)

    def _limited(self, i: int) -> Iterator[Chunk]:
        """Yield one workload's accesses."""
        left = self.counts[i]
        for chunk in self._source(i):
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    def _source(self, i: int) -> Iterator[Chunk]:
        workload = self._scenario.workloads[i]
        if workload.trace is not None:
            yield from self._trace_chunks(workload.trace, dict.fromkeys(self._streams[i], i))
            return
        key = self._scenario.machine.seed << 32 | i << 1
        for page, write in pattern_chunks(workload.pattern, self._pages(i, workload), workload.write_fraction, key):
            yield _encode(page + self.first[i], write)

    def _trace_chunks(self, name: str, owners: dict[int, int]) -> Iterator[Chunk]:
        """Yield the accesses of the streams in `owners`, each stream's pages behind those of its workload before it."""
        trace = self._traces[name]
        offsets = np.zeros(len(trace.info.streams), np.uint32)
        used = {i: int(self.first[i]) for i in owners.values()}
        for stream, i in sorted(owners.items()):
            offsets[stream] = used[i]
            used[i] += trace.info.streams[stream].pages
        wanted = None if len(owners) == len(offsets) else sorted(owners)
        for chunk in trace.chunks(CHUNK, wanted):
            page = chunk.page + offsets[0] if len(offsets) == 1 else chunk.page + offsets[chunk.stream]
            yield _encode(page, chunk.write)

    def _in_trace_order(self) -> Iterator[Chunk]:
        owners = {k: i for i in range(len(self._streams)) for k in self._streams[i]}
        yield from self._trace_chunks(self._trace_names[0], owners)


def _encode(page: NDArray[np.integer], write: NDArray[np.bool_]) -> Chunk:
    access = page.astype(np.uint32)
    access <<= 1
    access |= write
    return access


class _Reader:
    """Gives a stream of chunks out in pieces of any length."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._rest: Chunk = np.empty(0, np.uint32)

    def take(self, count: int) -> Chunk:
        """Return the next `count` accesses, fewer at the end."""
        parts, have = [self._rest], len(self._rest)
        while have < count and (chunk := next(self._chunks, None)) is not None:
            parts.append(chunk)
            have += len(chunk)
        joined = np.concatenate(parts)
        self._rest = joined[count:]
        return joined[:count]


def _round_robin(readers: Sequence[_Reader], quantum: int) -> Iterator[Chunk]:
    rounds = max(1, CHUNK // (quantum * len(readers)))
    active = list(readers)
    while active:
        blocks = [reader.take(rounds * quantum) for reader in active]
        yield from _interleave(blocks, quantum, rounds)
        active = [reader for reader, block in zip(active, blocks, strict=True) if len(block) == rounds * quantum]


def _interleave(blocks: list[Chunk], quantum: int, rounds: int) -> Iterator[Chunk]:
    if all(len(block) == rounds * quantum for block in blocks):
        yield np.concatenate([block.reshape(rounds, quantum) for block in blocks], axis=1).ravel()
        return
    turns = (block[i * quantum : (i + 1) * quantum] for i in range(rounds) for block in blocks)
    while batch := [turn for turn in islice(turns, 1024) if len(turn)]:
        yield np.concatenate(batch)
