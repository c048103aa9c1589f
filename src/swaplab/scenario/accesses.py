"""The one order in which all workloads touch their pages: what every engine consumes.

Pages of all workloads are numbered through: workload ``w`` has ``first[w] .. first[w + 1] - 1``. An access is a uint32,
``page << 1 | write``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from queue import SimpleQueue
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from swaplab.errors import InputError, UnsupportedError
from swaplab.scenario.model import PAGE_SIZE, Scenario, Workload
from swaplab.scenario.patterns import pattern_chunks
from swaplab.scenario.trace import Stream, Trace
from swaplab.scenario.validate import PAGES_MAX, some

__all__ = ["Accesses", "Chunk"]

CHUNK = 1 << 16
DEFAULT_ROUNDS = 4
LONGEST_NS = 1 << 62
YEAR_NS = 365 * 24 * 3600 * 10**9
TURNS = 1024
Chunk = NDArray[np.uint32]
Problems = Iterator[tuple[str, str, object]]


class Accesses:
    """All accesses of a scenario, streamed.

    Attributes:
        first: int64 of shape (workloads + 1,), the first page of each workload and the number of pages.
        total: accesses in all.

    Raises:
        InputError: a trace is missing or broken, does not have a stream that a workload names, or has nothing for a
            workload; an event comes after the last access; or the device is so slow that times could overflow.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._traces = {name: self._open(name) for name in self._trace_names}
        self._streams = [self._stream_ids(i, each) for i, each in enumerate(scenario.workloads)]
        pages = [self._pages(i, each) for i, each in enumerate(scenario.workloads)]
        self.first = np.concatenate(([0], np.cumsum(pages, dtype=np.int64)))
        self.counts = [self._count(i, each) for i, each in enumerate(scenario.workloads)]
        self.total = sum(self.counts)
        self._check()

    @cached_property
    def _trace_names(self) -> list[str]:
        return sorted({each.trace for each in self._scenario.workloads if each.trace is not None})

    def _open(self, name: str) -> Trace:
        try:
            trace = Trace.open(self._scenario.base / name)
            if trace.has_events:
                raise UnsupportedError(f"{trace.path}: it has events, which no engine takes yet")
            return trace
        except OSError as error:
            i = [each.trace for each in self._scenario.workloads].index(name)
            place = f"{self._scenario.source}: workload[{i}].trace"
            raise InputError(place, f"a readable file {self._scenario.base / name}", error.strerror) from None

    def _stream_ids(self, i: int, workload: Workload) -> list[int]:
        """Numbers of the streams that belong to a workload, in order."""
        if workload.trace is None:
            return []
        streams = self._traces[workload.trace].info.streams
        names = {stream.name: number for number, stream in enumerate(streams)}
        for name in workload.streams:
            if name not in names:
                expected = f"streams of {workload.trace} ({some(names)})"
                raise InputError(f"{self._scenario.source}: workload[{i}].streams", expected, repr(name))
        return sorted({names[name] for name in workload.streams or names})

    def _own(self, i: int, workload: Workload) -> list[Stream]:
        streams = self._traces[workload.trace].info.streams if workload.trace is not None else []
        return [streams[number] for number in self._streams[i]]

    def _pages(self, i: int, workload: Workload) -> int:
        return workload.pages or sum(stream.pages for stream in self._own(i, workload))

    def _count(self, i: int, workload: Workload) -> int:
        if workload.trace is None:
            return workload.accesses or DEFAULT_ROUNDS * self._pages(i, workload)
        recorded = sum(stream.accesses for stream in self._own(i, workload))
        return min(recorded, workload.accesses or recorded)

    def _check(self) -> None:
        for place, expected, found in (*self._empty(), *self._shared(), *self._late(), *self._slow()):
            raise InputError(f"{self._scenario.source}: {place}", expected, found)
        if self.first[-1] > PAGES_MAX:
            place = f"{self._scenario.source}: workload"
            raise InputError(place, f"at most {PAGES_MAX} pages in all", int(self.first[-1]))

    def _empty(self) -> Problems:
        for i, count in enumerate(self.counts):
            if not count:
                yield f"workload[{i}].streams", "streams that have accesses", some(self._scenario.workloads[i].streams)

    def _shared(self) -> Problems:
        """In the trace's own order each access is made once, by one workload."""
        owners: dict[int, int] = {}
        for i, streams in enumerate(self._streams if self._scenario.interleave == "trace" else []):
            for number in streams:
                owner = owners.setdefault(number, i)
                if owner != i:
                    name = self._own(i, self._scenario.workloads[i])[streams.index(number)].name
                    yield f"workload[{i}].streams", f"streams that workload[{owner}] does not have", repr(name)

    def _late(self) -> Problems:
        for i, event in enumerate(self._scenario.events):
            if event.at > self.total:
                yield f"event[{i}].at", f"at most {self.total}, the number of accesses", event.at

    def _slow(self) -> Problems:
        """Times are sums in int64: of each page that an access may bring in, a read and a write."""
        device = self._scenario.swap.device
        if device == "zram":
            return
        transfer = PAGE_SIZE * 10**9
        parts = {
            "read_latency": device.read_latency_ns,
            "write_latency": device.write_latency_ns,
            "read_bandwidth": transfer // device.read_bandwidth,
            "write_bandwidth": transfer // device.write_bandwidth,
            "submit": device.submit_ns,
            "seek": device.seek_ns,
        }
        longest = self.total * (2 << self._scenario.machine.page_cluster) * sum(parts.values())
        if longest >= LONGEST_NS:
            years = f"{longest / YEAR_NS:,.0f} years for {self.total} accesses"
            yield f"swap.device.{max(parts, key=parts.__getitem__)}", "a device on which no run takes 146 years", years

    def by_workload(self) -> dict[str, int]:
        """Return the accesses of each workload, by ``cgroup:name`` and, where that is not unique, its number."""
        counts: dict[str, int] = {}
        for i, (workload, count) in enumerate(zip(self._scenario.workloads, self.counts, strict=True)):
            key = f"{workload.cgroup}:{workload.name}"
            counts[key if key not in counts else f"{key}#{i}"] = count
        return counts

    def chunks(self) -> Iterator[Chunk]:
        """Yield all accesses in order, in chunks of no fixed size; another thread makes the next one meanwhile."""
        return _read_ahead(self._chunks())

    def _chunks(self) -> Iterator[Chunk]:
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


def _read_ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield what `chunks` does; another thread makes the next one while one is used.

    Two queues, as an executor's futures took 15 us more a chunk: their Python is not in the caches after one.
    """
    made: SimpleQueue[Chunk | Exception | None] = SimpleQueue()
    wanted: SimpleQueue[bool] = SimpleQueue()

    def make() -> None:
        try:
            while wanted.get():
                made.put(next(chunks, None))
        except Exception as error:
            made.put(error)

    thread = Thread(target=make, daemon=True)
    thread.start()
    wanted.put(True)
    try:
        while (chunk := made.get()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            wanted.put(True)
            yield chunk
    finally:
        wanted.put(False)
        thread.join()


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
        joined = np.concatenate(parts) if len(parts) > 1 else self._rest
        self._rest = joined[count:]
        return joined[:count]


def _round_robin(readers: Sequence[_Reader], quantum: int) -> Iterator[Chunk]:
    return _long_turns(readers, quantum) if quantum >= CHUNK else _short_turns(readers, quantum)


def _long_turns(readers: Sequence[_Reader], quantum: int) -> Iterator[Chunk]:
    """Give turns out in pieces: they may be longer than what fits in memory."""
    active = deque(readers)
    while active:
        reader, left = active.popleft(), quantum
        while left and len(piece := reader.take(min(left, CHUNK))):
            yield piece
            left -= len(piece)
        if not left:
            active.append(reader)


def _short_turns(readers: Sequence[_Reader], quantum: int) -> Iterator[Chunk]:
    """Take many turns from each reader at once."""
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
    while batch := list(islice(turns, TURNS)):
        if any(map(len, batch)):
            yield np.concatenate(batch)
