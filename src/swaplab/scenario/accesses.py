"""The one order in which all workloads touch their pages: what every engine consumes.

A task is an address space, or shared memory that several map: a workload of a pattern is one task, a workload of a
trace has one for each of its streams. Pages of all tasks are numbered through: task ``t`` has ``task_first[t] ..
task_first[t + 1] - 1``. An access is a uint32, ``page << 1 | write``; operations change tasks' memory between accesses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.model import OwnTime, Scenario, Workload
from swaplab.scenario.patterns import pattern_chunks
from swaplab.scenario.reconstructed import reconstructed_of
from swaplab.scenario.trace import EventKind, Stream, Trace
from swaplab.scenario.tree import parent_of
from swaplab.scenario.validate import PAGES_MAX, some

__all__ = ["NO_OPS", "OPS", "Accesses", "Chunk"]

CHUNK = 1 << 16
DEFAULT_ROUNDS = 4
LONGEST_NS = 1 << 62
YEAR_NS = 365 * 24 * 3600 * 10**9
TURNS = 1024
OPS = np.dtype([("at", "i8"), ("op", "u1"), ("page", "u4"), ("pages", "u4"), ("other", "u4")])  # pages below 2**31
NO_OPS = np.empty(0, OPS)
NOWHERE = np.iinfo(np.uint32).max
Problems = Iterator[tuple[str, str, object]]


class Chunk(NamedTuple):
    """Accesses, and what happens between them.

    Attributes:
        accesses: uint32 of shape ``(n,)``, ``page << 1 | write``.
        ops: `OPS` of shape ``(k,)``, in order. Each is done just before access number `at`, which is below n. `op` is
            an `EventKind` from UNMAP to REMOVE, of `pages` pages from `page` on: all of a task's where it exits. Of a
            fork or a share, `other` is the first page of as many in the parent or in shared memory.
    """

    accesses: NDArray[np.uint32]
    ops: NDArray[np.void] = NO_OPS

    def split(self, at: int) -> tuple[Chunk, Chunk]:
        """Part at an access."""
        if not len(self.ops):
            return Chunk(self.accesses[:at]), Chunk(self.accesses[at:])
        before, after = _parted(self.ops, at)
        return Chunk(self.accesses[:at], before), Chunk(self.accesses[at:], after)


def _parted(ops: NDArray[np.void], at: int) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Part operations at an access, from which the later ones count."""
    number = int(np.searchsorted(ops["at"], at))
    later = ops[number:].copy()
    later["at"] -= at
    return ops[:number], later


class Accesses:
    """All accesses of a scenario, streamed.

    Attributes:
        kept: what `chunks` of a scenario with the same order yielded, to be yielded again; None to decode it.
        first: int64 of shape (workloads + 1,), the first page of each workload and the number of pages.
        task_first: int64 of shape (tasks + 1,), the first page of each task and the number of pages. A workload's tasks
            follow one another.
        task_workload: int32 of shape (tasks,).
        task_shared: bool of shape (tasks,), whether it is shared memory and no process.
        task_file: bool of shape (tasks,), whether its pages are a file's, which it reads.
        total: accesses in all.

    Raises:
        InputError: a trace is missing or broken, does not have a stream that a workload names, or has nothing for a
            workload; an event comes after the last access; or the device is so slow that times could overflow.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.kept: Sequence[Chunk] | None = None
        self._traces = {name: self._open(name) for name in self._trace_names}
        self._streams = [self._stream_ids(i, each) for i, each in enumerate(scenario.workloads)]
        self._add_shared_memory()
        self._number_tasks()
        self.counts = [self._count(i, each) for i, each in enumerate(scenario.workloads)]
        self.total = sum(self.counts)
        self._check()

    @cached_property
    def _trace_names(self) -> list[str]:
        return sorted({each.trace for each in self._scenario.workloads if each.trace is not None})

    def _open(self, name: str) -> Trace:
        try:
            return Trace.open(self._scenario.base / name)
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

    def _add_shared_memory(self) -> None:
        """Give shared memory that no workload names to the first workload of its trace."""
        for name, trace in self._traces.items():
            users = [i for i, each in enumerate(self._scenario.workloads) if each.trace == name]
            named = {number for i in users for number in self._streams[i]}
            shared = {number for number, stream in enumerate(trace.info.streams) if stream.kind == "shared"}
            self._streams[users[0]] = sorted({*self._streams[users[0]], *(shared - named)})

    def _number_tasks(self) -> None:
        workloads = self._scenario.workloads
        tasks = [self._own(i, each) or [Stream(each.name, each.pages or 0)] for i, each in enumerate(workloads)]
        pages = [stream.pages for own in tasks for stream in own]
        self.task_first = np.concatenate(([0], np.cumsum(pages, dtype=np.int64)))
        self.task_workload = np.repeat(np.arange(len(tasks), dtype=np.int32), [len(own) for own in tasks])
        self.task_shared = np.array([stream.kind == "shared" for own in tasks for stream in own])
        self.task_file = np.array([each.kind == "file" for each in workloads])[self.task_workload]
        self.first = self.task_first[np.searchsorted(self.task_workload, np.arange(len(tasks) + 1))]

    def _own(self, i: int, workload: Workload) -> list[Stream]:
        streams = self._traces[workload.trace].info.streams if workload.trace is not None else []
        return [streams[number] for number in self._streams[i]]

    def _pages(self, i: int) -> int:
        return int(self.first[i + 1] - self.first[i])

    def _count(self, i: int, workload: Workload) -> int:
        if workload.trace is None:
            return workload.accesses or DEFAULT_ROUNDS * self._pages(i)
        recorded = sum(stream.accesses for stream in self._own(i, workload))
        return min(recorded, workload.accesses or recorded)

    def _check(self) -> None:
        for place, expected, found in (*self._empty(), *self._shared(), *self._late(), *self._slow(), *self._long()):
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

    def _long(self) -> Problems:
        for i, workload in enumerate(self._scenario.workloads):
            if workload.think and self.counts[i] * workload.think >= LONGEST_NS:
                years = f"{self.counts[i] * workload.think / YEAR_NS:,.0f} years for {self.counts[i]} accesses"
                yield f"workload[{i}].think", "a time with which no run takes 146 years", years

    def reconstructed(self) -> dict[str, str]:
        """Return the traces of which no access was seen, with what they are made from."""
        return reconstructed_of(self._traces)

    def own_times(self) -> dict[str, OwnTime]:
        """Return what the workloads of each cgroup and below take with all their memory, if each of them says it.

        Of a trace's first accesses it is as much as they are of all. Who is ended by an event has none.
        """
        unknown: set[str] = set()
        found: dict[str, OwnTime] = {}
        for i, workload in enumerate(self._scenario.workloads):
            time = self._own_time(i, workload)
            for path in _with_parents(workload.cgroup):
                before = found.get(path, OwnTime(0))
                if time:
                    found[path] = OwnTime(before.ns + time.ns, before.is_about or time.is_about)
                else:
                    unknown.add(path)
        return {path: time for path, time in found.items() if path not in unknown}

    def _own_time(self, i: int, workload: Workload) -> OwnTime | None:
        if any((event.exit or event.remove) and event.cgroup == workload.cgroup for event in self._scenario.events):
            return None
        if workload.think:
            return OwnTime(self.counts[i] * workload.think)
        if not workload.time:
            return None
        recorded = sum(stream.accesses for stream in self._own(i, workload))
        return OwnTime(-(-workload.time.ns * self.counts[i] // recorded), workload.time.is_about)

    def by_workload(self) -> dict[str, int]:
        """Return the accesses of each workload, by ``cgroup:name`` and, where that is not unique, its number."""
        counts: dict[str, int] = {}
        for i, (workload, count) in enumerate(zip(self._scenario.workloads, self.counts, strict=True)):
            key = f"{workload.cgroup}:{workload.name}"
            counts[key if key not in counts else f"{key}#{i}"] = count
        return counts

    def chunks(self) -> Iterator[Chunk]:
        """Yield all accesses in order, in chunks of no fixed size; another thread makes the next one meanwhile."""
        return iter(self.kept) if self.kept is not None else _read_ahead(self._chunks())

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
        for chunk in _ops_first(self._source(i)):
            yield chunk if len(chunk.accesses) <= left else chunk.split(left)[0]
            left -= len(chunk.accesses)
            if left <= 0:
                return

    def _source(self, i: int) -> Iterator[Chunk]:
        workload = self._scenario.workloads[i]
        if workload.trace is not None:
            yield from self._trace_chunks(workload.trace, dict.fromkeys(self._streams[i], i))
            return
        key = self._scenario.machine.seed << 32 | i << 1
        for page, write, frees in pattern_chunks(workload.pattern, self._pages(i), workload.write_fraction, key):
            yield Chunk(_encode(page + self.first[i], write), self._unmaps(i, frees) if len(frees) else NO_OPS)

    def _unmaps(self, i: int, frees: NDArray[np.int64]) -> NDArray[np.void]:
        ops = np.zeros(len(frees), OPS)
        ops["at"], ops["op"], ops["pages"] = frees[:, 0], EventKind.UNMAP, frees[:, 2]
        ops["page"] = frees[:, 1] + self.first[i]
        return ops

    def _trace_chunks(self, name: str, owners: Mapping[int, int]) -> Iterator[Chunk]:
        """Yield accesses and operations of the streams in `owners`, as tasks of the workloads that they map to."""
        trace = self._traces[name]
        offsets = self._offsets(name, owners)
        wanted = None if len(owners) == len(offsets) else sorted(owners)
        for chunk in trace.chunks(CHUNK, wanted):
            page = chunk.page + offsets[0] if len(offsets) == 1 else chunk.page + offsets[chunk.stream]
            ops = self._ops(trace, chunk.events, offsets) if len(chunk.events) else NO_OPS
            yield Chunk(_encode(page, chunk.write), ops)

    def _offsets(self, name: str, owners: Mapping[int, int]) -> NDArray[np.uint32]:
        """First page of each stream's task: of its owner, or else of the first workload that has it, if any."""
        offsets = np.full(len(self._traces[name].info.streams), NOWHERE, np.uint32)
        for i in reversed(range(len(self._streams))):
            if self._scenario.workloads[i].trace == name:
                offsets[self._streams[i]] = self._task_pages(i)
        for i in set(owners.values()):
            own = [owners.get(number) == i for number in self._streams[i]]
            offsets[np.array(self._streams[i])[own]] = self._task_pages(i)[own]
        return offsets

    def _task_pages(self, i: int) -> NDArray[np.int64]:
        """First page of each of a workload's tasks."""
        pages: NDArray[np.int64] = self.task_first[:-1][self.task_workload == i]
        return pages

    def _ops(self, trace: Trace, events: NDArray[np.void], offsets: NDArray[np.uint32]) -> NDArray[np.void]:
        """Effects of `events` on tasks that have pages; nothing is forked from, or shared with, a missing task."""
        pages = np.array([stream.pages for stream in trace.info.streams], np.uint32)
        kind = events["event"]
        of_two = np.isin(kind, (EventKind.FORK, EventKind.SHARE))
        other = np.where(of_two, events["other"], events["stream"])
        kept = (kind <= EventKind.REMOVE) & (pages[events["stream"]] > 0) & (offsets[other] != NOWHERE)
        events, other, of_two = events[kept], other[kept], of_two[kept]
        ops = np.empty(len(events), OPS)
        ops["at"], ops["op"] = events["at"], events["event"]
        ops["page"] = events["page"] + offsets[events["stream"]]
        ops["pages"] = np.where(events["event"] == EventKind.EXIT, pages[events["stream"]], events["pages"])
        ops["other"] = np.where(of_two, events["other_page"] + offsets[other], 0)
        return ops

    def _in_trace_order(self) -> Iterator[Chunk]:
        owners = {k: i for i in range(len(self._streams)) for k in self._streams[i]}
        yield from _ops_first(self._trace_chunks(self._trace_names[0], owners))


def _with_parents(path: str) -> Iterator[str]:
    yield path
    while path:
        yield (path := parent_of(path))


def _ops_first(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Let operations after a chunk's last access wait for the next access; after the last of all there is none."""
    waiting = NO_OPS
    for chunk in chunks:
        accesses, ops = chunk
        if len(waiting):
            ops = np.concatenate([waiting, ops])
        if len(ops):
            ops, waiting = _parted(ops, len(accesses))
        if len(accesses):
            yield Chunk(accesses, ops)


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


def _encode(page: NDArray[np.integer], write: NDArray[np.bool_]) -> NDArray[np.uint32]:
    access = page.astype(np.uint32)  # of `PAGES_MAX`, so that a bit is left
    access <<= 1
    access |= write
    return access


class _Reader:
    """Gives a stream of chunks out in pieces of any length."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._rest = Chunk(np.empty(0, np.uint32))

    def take(self, count: int) -> Chunk:
        """Return the next `count` accesses, fewer at the end."""
        parts, have = [self._rest], len(self._rest.accesses)
        while have < count and (chunk := next(self._chunks, None)) is not None:
            parts.append(chunk)
            have += len(chunk.accesses)
        taken, self._rest = (_joined(parts) if len(parts) > 1 else self._rest).split(count)
        return taken


def _joined(parts: Sequence[Chunk]) -> Chunk:
    accesses = np.concatenate([part.accesses for part in parts])
    if not any(len(part.ops) for part in parts):
        return Chunk(accesses)
    ops = np.concatenate([part.ops for part in parts])
    starts = np.cumsum([0, *(len(part.accesses) for part in parts[:-1])])
    ops["at"] += np.repeat(starts, [len(part.ops) for part in parts])
    return Chunk(accesses, ops)


def _round_robin(readers: Sequence[_Reader], quantum: int) -> Iterator[Chunk]:
    return _long_turns(readers, quantum) if quantum >= CHUNK else _short_turns(readers, quantum)


def _long_turns(readers: Sequence[_Reader], quantum: int) -> Iterator[Chunk]:
    """Give turns out in pieces: they may be longer than what fits in memory."""
    active = deque(readers)
    while active:
        reader, left = active.popleft(), quantum
        while left and len((piece := reader.take(min(left, CHUNK))).accesses):
            yield piece
            left -= len(piece.accesses)
        if not left:
            active.append(reader)


def _short_turns(readers: Sequence[_Reader], quantum: int) -> Iterator[Chunk]:
    """Take many turns from each reader at once."""
    rounds = max(1, CHUNK // (quantum * len(readers)))
    active = list(readers)
    while active:
        blocks = [reader.take(rounds * quantum) for reader in active]
        lengths = np.array([len(block.accesses) for block in blocks])
        pieces = _interleave([block.accesses for block in blocks], quantum, rounds)
        yield from _with_ops(pieces, _interleaved_ops(blocks, lengths, quantum))
        active = [reader for reader, length in zip(active, lengths, strict=True) if length == rounds * quantum]


def _interleave(blocks: list[NDArray[np.uint32]], quantum: int, rounds: int) -> Iterator[NDArray[np.uint32]]:
    if all(len(block) == rounds * quantum for block in blocks):
        yield np.concatenate([block.reshape(rounds, quantum) for block in blocks], axis=1).ravel()
        return
    turns = (block[i * quantum : (i + 1) * quantum] for i in range(rounds) for block in blocks)
    while batch := list(islice(turns, TURNS)):
        if any(map(len, batch)):
            yield np.concatenate(batch)


def _interleaved_ops(blocks: list[Chunk], lengths: NDArray[np.int64], quantum: int) -> NDArray[np.void]:
    """Operations of all blocks, each at the place of its access among the accesses of all."""
    placed = [NO_OPS]
    for number, block in enumerate(blocks):
        if len(block.ops):
            ops = block.ops.copy()
            turn = ops["at"] // quantum
            earlier = np.minimum(lengths[:number, None], (turn + 1) * quantum).sum(axis=0)
            later = np.minimum(lengths[number + 1 :, None], turn * quantum).sum(axis=0)
            ops["at"] += earlier + later
            placed.append(ops)
    ops = np.concatenate(placed)
    return ops[np.argsort(ops["at"], kind="stable")]


def _with_ops(pieces: Iterable[NDArray[np.uint32]], ops: NDArray[np.void]) -> Iterator[Chunk]:
    for piece in pieces:
        own, ops = _parted(ops, len(piece)) if len(ops) else (NO_OPS, ops)
        yield Chunk(piece, own)
