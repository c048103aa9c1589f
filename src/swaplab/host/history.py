"""The meaning of a recording's words: accesses of processes, and changes of their memory.

Only memory that can be swapped has accesses: anonymous memory, private copies of a file's pages, and shared memory that
no file on a disk backs, which is an object of its own. What is done to files is told by events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.host import raw
from swaplab.host.raw import Source, Words
from swaplab.host.space import ANONYMOUS, TOUCHED, WRITTEN, AddressSpace, Mapping, PageStates, What
from swaplab.scenario.trace import MAX_STREAMS, RAW_EVENTS, EventKind

__all__ = ["Foreign", "History", "Process", "Rows"]

ALL_PAGES: Final = 1 << 40
_PRIVATE_FILE, _SHARED_FILE, _SHARED_ANONYMOUS, _SYSTEM_V = range(1, 5)  # `enum backing` of pages.c
_SHMEM: Final = 1  # `enum filesystem`


class Rows(NamedTuple):
    """Part of a trace, as `RawTraceWriter.append` takes it: accesses ``(n,)``, events ``(k,)`` of `RAW_EVENTS`."""

    stream: NDArray[np.uint16]
    page: NDArray[np.uint64]
    write: NDArray[np.bool_]
    events: NDArray[np.void]


class Foreign(NamedTuple):
    """A program that was executed unrecorded: `enum reason` of ``pages.c``, and its path."""

    reason: int
    path: str


class Process:
    """An address space.

    Attributes:
        stream: its number in the trace.
        sources: files of words about it: its own, and those of children that have its memory.
        space: its mappings.
        pages: which of its private pages it has.
        resident: most anonymous pages that the kernel counted in it.
        recorded: how many it had written then, by the recording.
    """

    def __init__(self, stream: int, source: int, parent: Process | None = None) -> None:
        self.stream, self.sources = stream, [source]
        self.space: AddressSpace = parent.space.copy() if parent else AddressSpace()
        self.pages: PageStates = parent.pages.copy() if parent else PageStates()
        self.resident = self.recorded = 0


class _Object:
    """Shared memory: how many pages of address spaces map it, and whether a name or a descriptor keeps it."""

    def __init__(self, stream: int, kept: bool) -> None:
        self.stream, self.kept = stream, kept
        self.mapped = 0
        self.pages = PageStates()


class _Batch:
    """Rows that come of some words: of an access one or none, of an event any number."""

    def __init__(self, words: Words) -> None:
        rows = len(words.time)
        self.words = words
        self.stream = np.zeros(rows, np.uint16)
        self.page = np.zeros(rows, np.int64)
        self.write = (words.value & np.uint64(1)) != 0
        self.kept = np.zeros(rows, np.bool_)
        self._one: list[tuple[int, ...]] = []
        self._many: list[NDArray[np.void]] = []
        accesses = np.flatnonzero(words.what == raw.What.ACCESS)
        accesses = accesses[np.argsort(words.source[accesses], kind="stable")]
        sources, first = np.unique(words.source[accesses], return_index=True)
        self._waiting = dict(zip(sources.tolist(), np.split(accesses, first[1:]), strict=True)) if len(sources) else {}

    def take(self, source: int, until: int) -> NDArray[np.int64]:
        """Rows of a source's accesses before a row, which have not been taken yet."""
        rows = self._waiting.get(source)
        if rows is None:
            return np.empty(0, np.int64)
        taken, self._waiting[source] = np.split(rows, [np.searchsorted(rows, until)])
        return taken

    def waiting(self) -> list[int]:
        """Sources with accesses that have not been taken."""
        return [source for source, rows in self._waiting.items() if len(rows)]

    def add(self, row: int, kind: EventKind, stream: int, page: int, pages: int, other: int = 0, at: int = 0) -> None:
        """Add an event; `at` is the page of the other."""
        self._one.append((row, kind, stream, page, pages, other, at, 0))

    def add_file_accesses(
        self, rows: NDArray[np.int64], stream: int, file: NDArray[np.int64], page: NDArray[np.int64]
    ) -> None:
        """Add accesses to pages of files through a mapping."""
        events = np.zeros(len(rows), RAW_EVENTS)
        events["at"], events["stream"], events["pages"] = rows, stream, 1
        events["event"] = np.where(self.write[rows], EventKind.FILE_MAP_WRITE, EventKind.FILE_MAP_READ)
        events["page"], events["other"] = page, file
        self._many.append(events)

    def rows(self) -> Rows:
        """All rows, in order."""
        events = np.concatenate([np.array(self._one, RAW_EVENTS), *self._many])
        events = events[np.argsort(events["at"], kind="stable")]
        events["at"] = np.append(0, np.cumsum(self.kept))[events["at"]]
        kept = self.kept
        return Rows(self.stream[kept], self.page[kept].astype(np.uint64), self.write[kept], events)


class History:
    """Follows all processes of a recording.

    Args:
        sources: its files, in order of their start.
        warm: time of the clock up to which only first touches and first writes are told.

    Attributes:
        streams: names, by number: those of processes, then of objects.
        sources: the file of each process's stream.
        files: names, by number.
        processes: all that there were.
        foreign: programs that were executed unrecorded.
        file_pages: pages of files that were touched, read or written: ``file << 32 | page``.
        freed: pages that were unmapped or discarded, those of processes that ended left out.
        dropped: accesses that the recorder kept, but that were to files.

    Raises:
        InputError: too many processes and objects for a trace.
    """

    def __init__(self, sources: list[Source], warm: int = 0) -> None:
        self._sources, self._warm = sources, warm
        numbers = {source.key: number for number, source in enumerate(sources)}
        self._children = {(s.parent, s.forks): n for n, s in enumerate(sources) if s.parent in numbers}
        self._borrows = [source.shares_memory and source.parent in numbers for source in sources]
        own = [number for number, borrows in enumerate(self._borrows) if not borrows]
        self._stream_of = {number: stream for stream, number in enumerate(own)}
        self.sources = [sources[number] for number in own]
        self.streams = [f"{sources[number].program}:{stream}" for stream, number in enumerate(own)]
        self._check_streams()
        self.files: list[str] = []
        self.processes: list[Process] = []
        self.foreign: list[Foreign] = []
        self.freed = self.dropped = 0
        self.file_pages = PageStates()
        self._owner: dict[int, Process] = {}  # of each source, while it lives
        self._objects: list[_Object] = []
        self._known: dict[object, int] = {}  # objects and files by what they are
        self._numbers: dict[tuple[int, int], int] = {}  # of files, by source and number there

    def rows(self, progress: Callable[[int, int], None] | None = None) -> Iterator[Rows]:
        """Yield the whole trace; tell `progress` of words done and in all."""
        for words in raw.merged(self._sources, progress):
            yield self._interpret(words)

    def _interpret(self, words: Words) -> Rows:
        batch = _Batch(words)
        for row in np.flatnonzero(words.what != raw.What.ACCESS).tolist():
            arguments = words.arguments[words.first[row] : words.first[row] + words.arity[row]]
            self._event(batch, row, int(words.source[row]), int(words.value[row]), arguments)
        for source in batch.waiting():
            if source in self._owner:
                self._apply(batch, self._owner[source], len(words.time))
        return batch.rows()

    def _event(self, batch: _Batch, row: int, source: int, value: int, arguments: NDArray[np.uint64]) -> None:
        what = raw.What(batch.words.what[row])
        if what == raw.What.START:
            self._start(source)
            return
        process = self._owner.get(source)
        if process is None or len(arguments) < _ARGUMENTS.get(what, 0):
            return  # it has ended, or its recorder was killed while it wrote this
        if what == raw.What.FILE:
            self._numbers[source, value] = self._file(arguments)
        elif what == raw.What.FOREIGN:
            self.foreign.append(Foreign(value, raw.text_of(arguments)))
        elif what == raw.What.WAITED:
            self._end_waited(batch, row, value)
        elif what in (raw.What.READ, raw.What.WRITE, raw.What.PUNCH, raw.What.UNLINK):
            self._file_event(batch, row, process, what, self._numbers.get((source, value), -1), arguments.tolist())
        elif what != raw.What.EXECUTE:
            self._apply(batch, process, row)
            self._memory_event(batch, row, source, what, value, arguments.tolist())

    def _memory_event(
        self, batch: _Batch, row: int, source: int, what: raw.What, value: int, arguments: list[int]
    ) -> None:
        process = self._owner[source]
        if what in (raw.What.EXIT, raw.What.END):
            self._end(batch, row, source)
        elif what == raw.What.FORK:
            self._fork(batch, row, process, self._sources[source], value)
        elif what == raw.What.RESIDENT:
            process.resident, process.recorded = value, process.pages.written
        elif what == raw.What.MAP:
            self._map(batch, row, process, value, arguments[0], self._mapping(source, value, arguments))
        elif what == raw.What.UNMAP:
            self._unmap(batch, row, process, value, arguments[0])
        elif what == raw.What.MOVE:
            self._move(batch, row, process, value, *arguments)
        elif what == raw.What.DISCARD:
            self._discard(batch, row, process, value, arguments[0], removes=bool(arguments[1]))

    # Processes -----------------------------------------------------------------------------------------------------

    def _start(self, source: int) -> None:
        if source not in self._owner:
            self._add(Process(self._stream_of[source], source), source)

    def _add(self, process: Process, source: int) -> None:
        self.processes.append(process)
        self._owner[source] = process

    def _fork(self, batch: _Batch, row: int, process: Process, parent: Source, forks: int) -> None:
        child = self._children.get((parent.key, forks))
        if child is None:
            return
        if self._borrows[child]:
            self._owner[child] = process
            process.sources.insert(0, child)  # the parent waits for it, so its accesses come first
            return
        forked = Process(self._stream_of[child], child, process)
        self._add(forked, child)
        for first, pages in process.pages.runs():
            batch.add(row, EventKind.FORK, forked.stream, first, pages, process.stream, first)
        for piece in process.space.all_pieces():
            if piece.mapping.what == What.OBJECT:
                self._share(batch, row, forked, piece.first, piece.end - piece.first, piece.mapping)

    def _end(self, batch: _Batch, row: int, source: int) -> None:
        process = self._owner.pop(source)
        process.sources.remove(source)
        if self._borrows[source]:
            return
        batch.add(row, EventKind.EXIT, process.stream, 0, 0)
        for piece in process.space.all_pieces():
            if piece.mapping.what == What.OBJECT:
                self._release(batch, row, piece.mapping.number, piece.end - piece.first)
        process.space, process.pages = AddressSpace(), PageStates()

    def _end_waited(self, batch: _Batch, row: int, process: int) -> None:
        for source in [source for source in self._owner if self._sources[source].key[0] == process]:
            self._apply(batch, self._owner[source], row)
            self._end(batch, row, source)

    # Accesses ------------------------------------------------------------------------------------------------------

    def _apply(self, batch: _Batch, process: Process, row: int) -> None:
        """Tell a process's accesses before a row."""
        for source in process.sources:
            rows = batch.take(source, row)
            if len(rows):
                self._touch(batch, process, rows)

    def _touch(self, batch: _Batch, process: Process, rows: NDArray[np.int64]) -> None:
        write = batch.write[rows]
        found = process.space.look_up((batch.words.value[rows] >> np.uint64(1)).astype(np.int64))
        private = found.what == What.ANONYMOUS
        of_file = np.flatnonzero(found.what == What.PRIVATE_FILE)
        private[of_file] = _copied(process.pages, found.page[of_file], write[of_file])
        before = np.zeros(len(rows), np.uint8)
        before[private] = process.pages.touch(found.page[private], write[private])
        kept = private | (found.what == What.OBJECT)
        for number in np.unique(found.number[found.what == What.OBJECT]).tolist():
            mine = (found.what == What.OBJECT) & (found.number == number)
            before[mine] = self._objects[number].pages.touch(found.page_of_other[mine], write[mine])
        rest = np.flatnonzero(~kept & (found.what != What.NOTHING))  # an access to nothing faults
        self.dropped += len(rest)
        if batch.words.time[rows[0]] < self._warm:
            kept &= _first_time(found.page, write, before)
            rest = rest[:0]
        batch.kept[rows], batch.stream[rows], batch.page[rows] = kept, process.stream, found.page
        file, page = found.number[rest], found.page_of_other[rest]
        self.file_pages.touch(file << 32 | page, write[rest])
        batch.add_file_accesses(rows[rest], process.stream, file, page)

    # Mappings ------------------------------------------------------------------------------------------------------

    def _mapping(self, source: int, first: int, arguments: list[int]) -> Mapping:
        _, backing, number, offset = arguments
        if backing == _SYSTEM_V:
            return Mapping(What.OBJECT, self._object(("System V", number), f"sysv-{number}", kept=False), -first)
        if backing == _SHARED_ANONYMOUS:
            return Mapping(What.OBJECT, self._object(object(), "shared", kept=False), -first)
        file = self._numbers.get((source, number), -1)
        if backing not in (_PRIVATE_FILE, _SHARED_FILE) or file < 0:
            return ANONYMOUS
        if backing == _SHARED_FILE and ("shmem", file) in self._known:
            return Mapping(What.OBJECT, self._known["shmem", file], offset - first)
        return Mapping(What.PRIVATE_FILE if backing == _PRIVATE_FILE else What.SHARED_FILE, file, offset - first)

    def _map(self, batch: _Batch, row: int, process: Process, first: int, pages: int, mapping: Mapping) -> None:
        self._unmap(batch, row, process, first, pages)
        process.space.map(first, pages, mapping)
        if mapping.what == What.OBJECT:
            self._share(batch, row, process, first, pages, process.space.pieces(first, pages)[0].mapping)

    def _share(self, batch: _Batch, row: int, process: Process, first: int, pages: int, mapping: Mapping) -> None:
        mapped = self._objects[mapping.number]
        mapped.mapped += pages
        at = first + mapping.shift
        batch.add(row, EventKind.SHARE, process.stream, first + mapping.moved, pages, mapped.stream, at)

    def _unmap(self, batch: _Batch, row: int, process: Process, first: int, pages: int) -> None:
        for piece in process.space.pieces(first, pages):
            length, number = piece.end - piece.first, piece.first + piece.mapping.moved
            if piece.mapping.what == What.OBJECT:
                batch.add(row, EventKind.UNMAP, process.stream, number, length)
                self._release(batch, row, piece.mapping.number, length)
            elif piece.mapping.what != What.NOTHING and (freed := process.pages.clear(number, length)):
                batch.add(row, EventKind.UNMAP, process.stream, number, length)
                self.freed += freed
        process.space.unmap(first, pages)

    def _move(self, batch: _Batch, row: int, process: Process, first: int, pages: int, to: int, new_pages: int) -> None:
        if new_pages < pages:
            self._unmap(batch, row, process, first + new_pages, pages - new_pages)
            pages = new_pages
        if to != first:
            self._unmap(batch, row, process, to, new_pages)
        elif new_pages > pages:
            self._unmap(batch, row, process, to + pages, new_pages - pages)
        process.space.move(first, pages, to, new_pages)
        for piece in process.space.pieces(to + pages, new_pages - pages) if new_pages > pages else []:
            if piece.mapping.what == What.OBJECT:
                self._share(batch, row, process, piece.first, piece.end - piece.first, piece.mapping)

    def _discard(self, batch: _Batch, row: int, process: Process, first: int, pages: int, *, removes: bool) -> None:
        for piece in process.space.pieces(first, pages):
            length, number = piece.end - piece.first, piece.first + piece.mapping.moved
            if piece.mapping.what == What.OBJECT and removes:
                self._remove(batch, row, piece.mapping.number, piece.first + piece.mapping.shift, length)
            elif piece.mapping.what == What.OBJECT:
                batch.add(row, EventKind.DISCARD, process.stream, number, length)
            elif piece.mapping.what != What.NOTHING and (freed := process.pages.clear(number, length)):
                batch.add(row, EventKind.DISCARD, process.stream, number, length)
                self.freed += freed

    # Files and objects ---------------------------------------------------------------------------------------------

    def _file(self, arguments: NDArray[np.uint64]) -> int:
        device, inode, _, filesystem = arguments[:4].tolist()
        path = raw.text_of(arguments[4:])
        number = self._known.setdefault((device, inode), len(self.files))
        if number == len(self.files):
            self.files.append(path)
        if filesystem == _SHMEM and ("shmem", number) not in self._known:
            name = PurePath(path.removesuffix(" (deleted)")).name
            self._object(("shmem", number), name, kept=not path.startswith("/memfd:"))
        return number

    def _file_event(
        self, batch: _Batch, row: int, process: Process, what: raw.What, file: int, arguments: list[int]
    ) -> None:
        shared = self._known.get(("shmem", file))
        if what == raw.What.PUNCH and shared is not None:
            self._remove(batch, row, shared, *arguments)
        elif what == raw.What.UNLINK and shared is not None:
            self._objects[shared].kept = False
            self._release(batch, row, shared, 0)
        elif what in (raw.What.READ, raw.What.WRITE) and file >= 0 and batch.words.time[row] >= self._warm:
            kind = EventKind.FILE_READ if what == raw.What.READ else EventKind.FILE_WRITE
            first, length = arguments
            batch.add(row, kind, process.stream, first, length, file)
            pages = (file << 32) + first + np.arange(length)
            self.file_pages.touch(pages, np.full(len(pages), what == raw.What.WRITE))

    def _object(self, key: object, name: str, *, kept: bool) -> int:
        """Number of the object with a key, a new one if there is none."""
        number = self._known.setdefault(key, len(self._objects))
        if number == len(self._objects):
            self._objects.append(_Object(len(self.streams), kept))
            self.streams.append(f"{name}:{len(self.streams)}")
            self._check_streams()
        return number

    def _release(self, batch: _Batch, row: int, number: int, pages: int) -> None:
        mapped = self._objects[number]
        mapped.mapped -= pages
        if not mapped.mapped and not mapped.kept:
            self._remove(batch, row, number, 0, ALL_PAGES)

    def _remove(self, batch: _Batch, row: int, number: int, first: int, pages: int) -> None:
        removed = self._objects[number]
        if freed := removed.pages.clear(first, pages):
            batch.add(row, EventKind.REMOVE, removed.stream, first, pages)
            self.freed += freed

    def _check_streams(self) -> None:
        if len(self.streams) > MAX_STREAMS:
            raise InputError("command", f"at most {MAX_STREAMS} processes and shared memories", "more")


_ARGUMENTS: Final = {
    raw.What.MAP: 4,
    raw.What.UNMAP: 1,
    raw.What.MOVE: 3,
    raw.What.DISCARD: 2,
    raw.What.PUNCH: 2,
    raw.What.FILE: 4,
    raw.What.READ: 2,
    raw.What.WRITE: 2,
}


def _copied(pages: PageStates, page: NDArray[np.int64], write: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which accesses to a private mapping of a file are to a copy: those from the first write to the page on."""
    copied: NDArray[np.bool_] = pages.get(page) != 0
    writes = np.flatnonzero(write)
    if len(writes):
        written, first = np.unique(page[writes], return_index=True)
        at = np.minimum(np.searchsorted(written, page), len(written) - 1)
        copied |= (written[at] == page) & (np.arange(len(page)) >= writes[first[at]])
    return copied


def _first_time(page: NDArray[np.int64], write: NDArray[np.bool_], before: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which accesses are the first to a page, or the first writes."""
    wanted = (before & TOUCHED == 0) | (write & (before & WRITTEN == 0))
    first = np.zeros(len(page), np.bool_)
    rows = np.flatnonzero(wanted)
    first[rows[np.unique(page[rows] << 1 | write[rows], return_index=True)[1]]] = True
    return first
