"""The files of the recorder's directory: words of all processes, put into one order.

The recorder (``valgrind/pages.c``) writes a file of 64-bit words for each program that each process executes; its
comment FORMAT says what a word means. Each file is in order of time, all share one clock. Files of a directory:

- ``PID.N``: the words; ``PID.N.samples``: for each bucket of pages the contents of one page, then its number;
- ``counters``: counts while it runs; ``log``: messages of valgrind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.linux.page import PAGE_SIZE

__all__ = [
    "Counters",
    "Sample",
    "Source",
    "What",
    "Words",
    "counters",
    "merged",
    "read_samples",
    "sources",
    "text_of",
]

SAMPLE: Final = np.dtype([("data", "u1", (PAGE_SIZE,)), ("page", "<u8")])
WORDS_AT_ONCE: Final = 1 << 16  # of all files together; memory holds about 100 bytes for each
WORDS_LEAST: Final = 1 << 11  # of one file; longer than any event
TICK: Final = 64
EVENT: Final = 2 << 62

_VALUE: Final = np.uint64((1 << 62) - 1)
_NEVER: Final = np.iinfo(np.int64).max


class What(IntEnum):
    """Events: `enum what` of ``pages.c``; `ACCESS` and `END`, of a file, are ours."""

    START = 0
    EXIT = 1
    EXECUTE = 2
    FORK = 3
    WAITED = 4
    MAP = 5
    UNMAP = 6
    MOVE = 7
    DISCARD = 8
    PUNCH = 9
    UNLINK = 10
    FILE = 11
    READ = 12
    WRITE = 13
    RESIDENT = 14
    FOREIGN = 15
    ACCESS = 62
    END = 63


class Counters(NamedTuple):
    """Counters of all processes while they run.

    Attributes:
        accesses: of the program, up to a few thousand records ago.
        words: written so far.
        error: ``errno`` of what kept words from being written, or 0.
        time: of the clock, when this was last counted.
    """

    accesses: int
    words: int
    error: int
    time: int


class Source(NamedTuple):
    """One file of words.

    Attributes:
        path: the file.
        key: process and N.
        start: of the clock.
        parent: key of the process that it was forked from; None if it was executed.
        forks: how often the parent had forked then, this time included.
        shares_memory: it is its parent's memory, until it executes a program.
        program: path of the program.
    """

    path: Path
    key: tuple[int, int]
    start: int
    parent: tuple[int, int] | None
    forks: int
    shares_memory: bool
    program: str


class Sample(NamedTuple):
    """Sampled pages of one process: ``data`` (n, 4096), ``page`` (n,) address >> 12, ``bucket`` (n,)."""

    data: NDArray[np.uint8]
    page: NDArray[np.uint64]
    bucket: NDArray[np.int64]


class Words(NamedTuple):
    """Accesses and events in order, arrays of shape ``(n,)``.

    Attributes:
        time: ticks of the clock.
        source: number of the file.
        what: `What` it is.
        value: of an access ``page << 1 | write``, else of the event.
        first: of its arguments in `arguments`.
        arity: how many they are.
        arguments: of any shape ``(m,)``.
    """

    time: NDArray[np.int64]
    source: NDArray[np.int32]
    what: NDArray[np.uint8]
    value: NDArray[np.uint64]
    first: NDArray[np.int64]
    arity: NDArray[np.int64]
    arguments: NDArray[np.uint64]

    def take(self, index: slice | NDArray[np.int64]) -> Words:
        """Some of them, in another order."""
        columns: list[Any] = [*(column[index] for column in self[:-1]), self.arguments]
        return Words(*columns)

    @staticmethod
    def joined(parts: list[Words]) -> Words:
        """One after another."""
        sizes = np.cumsum([0] + [len(part.arguments) for part in parts])
        moved = [part._replace(first=part.first + size) for part, size in zip(parts, sizes, strict=False)]
        columns: list[NDArray[Any]] = [np.concatenate(column) for column in zip(*moved, strict=True)]
        return Words(*columns)


def text_of(arguments: NDArray[np.uint64]) -> str:
    """Text that is in arguments, 7 bytes in each."""
    return os.fsdecode(b"".join(word.to_bytes(8, "little")[:7] for word in arguments.tolist()).rstrip(b"\0"))


def counters(directory: Path) -> Counters:
    """Read the counters as they are now."""
    return Counters(*np.fromfile(directory / "counters", "<u8", len(Counters._fields)).tolist())


def sources(directory: Path) -> list[Source]:
    """Find the files of words, in order of their start."""
    found = []
    for path in directory.iterdir():
        process, _, number = path.name.partition(".")
        if process.isdecimal() and number.isdecimal():
            source = _source(path, (int(process), int(number)))
            found += [source] if source else []
    return sorted(found, key=lambda source: (source.start, source.key))


def _source(path: Path, key: tuple[int, int]) -> Source | None:
    """Read how a file starts; None if its process was ended before it had said that."""
    words = _decode(np.fromfile(path, "<u8", WORDS_LEAST), 0, 0)[0]
    if not len(words.time) or words.what[0] != What.START or words.arity[0] < 3:
        return None
    number, forks, shares_memory, *_ = (arguments := words.arguments[: words.arity[0]]).tolist()
    parent = (int(words.value[0]), number) if words.value[0] else None
    program = Path(text_of(arguments[3:])).name
    return Source(path, key, int(words.time[0]), parent, forks, bool(shares_memory), program)


def merged(files: list[Source], progress: Callable[[int, int], None] | None = None) -> Iterator[Words]:
    """Put the words of all files in one order, that of the clock; tell `progress` of words done.

    Memory is bounded for any files: each is read a piece at a time.
    """
    total = max(1, sum(source.path.stat().st_size // 8 for source in files))
    waiting = [_Reader(number, source) for number, source in reversed([*enumerate(files)])]
    active: list[_Reader] = []
    while waiting or active:
        while waiting and all(waiting[-1].start <= reader.next for reader in active):
            active.append(waiting.pop())
            active[-1].fill(WORDS_LEAST)
        limit = min([reader.last for reader in active] + [reader.start - 1 for reader in waiting[-1:]])
        words = Words.joined([reader.upto(limit) for reader in active])
        yield words.take(np.argsort(words.time, kind="stable"))
        active = [reader for reader in active if not reader.is_done()]
        for reader in active:
            reader.fill(max(WORDS_LEAST, WORDS_AT_ONCE // len(active)))
        if progress:
            left = sum(reader.left for reader in active + waiting)
            progress(total - min(left, total), total)


class _Reader:
    """Reads one file, in pieces."""

    def __init__(self, number: int, source: Source) -> None:
        self.start = source.start
        self._number, self._path = number, source.path
        self._offset, self._mark = 0, 0
        self._words = _decode(np.empty(0, np.uint64), 0, number)[0]
        self._ended = False

    @property
    def next(self) -> int:
        """Time of the next word."""
        return int(self._words.time[0]) if len(self._words.time) else _NEVER

    @property
    def last(self) -> int:
        """All words up to this time have been read."""
        return _NEVER if self._ended else int(self._words.time[-1])

    @property
    def left(self) -> int:
        return 0 if self._ended else self._path.stat().st_size // 8 - self._offset

    def is_done(self) -> bool:
        return self._ended and not len(self._words.time)

    def upto(self, time: int) -> Words:
        """Take the words up to a time."""
        count = int(np.searchsorted(self._words.time, time, side="right"))
        taken, self._words = self._words.take(slice(count)), self._words.take(slice(count, None))
        return taken

    def fill(self, count: int) -> None:
        """Read up to `count` words more, if none are left."""
        while not self._ended and not len(self._words.time):
            data = np.fromfile(self._path, "<u8", count, offset=self._offset * 8)
            whole = data if len(data) < count or not data[-1] else data[: _whole(data)]  # zeros are at the end alone
            self._offset += len(whole)
            self._words, self._mark = _decode(whole, self._mark, self._number)
            if len(data) < count:
                self._end()

    def _end(self) -> None:
        """Put an end behind words that have none: at once if a program was executed, else when no process is left."""
        self._ended = True
        last = self._words.what[-1] if len(self._words.what) else What.ACCESS
        if last == What.EXIT:
            return
        executed = last == What.EXECUTE and not self._words.value[-1]
        end = _end_at(int(self._words.time[-1]) if executed else _NEVER, self._number)
        self._words = Words.joined([self._words, end])


def _end_at(time: int, source: int) -> Words:
    value = np.array([EVENT | What.END << 56], np.uint64)
    end, _ = _decode(value, time, source)
    return end


def _whole(data: NDArray[np.uint64]) -> int:
    """How many words at the start of some are whole events."""
    begins = np.flatnonzero((data >> np.uint64(62) < 2) & (data != 0))
    return int(begins[-1]) + int(data[begins[-1]] >> np.uint64(62) == 0) if len(begins) else len(data)


def _decode(data: NDArray[np.uint64], mark: int, source: int) -> tuple[Words, int]:
    """Decode words behind a `mark`; return the last mark too."""
    data = data[data != 0]
    tag = (data >> np.uint64(62)).astype(np.uint8)
    heads = data[tag != 3]
    behind = np.cumsum(tag == 3)
    ends = np.append(behind[tag != 3][1:], behind[-1:])
    first, tag = behind[tag != 3], tag[tag != 3]
    marks = np.where(tag == 1, (heads & _VALUE).astype(np.int64), mark if len(heads) else 0)
    at = np.maximum.accumulate(np.where(tag == 1, np.arange(len(heads)), 0))
    base = marks[at]
    ticks = (heads >> np.uint64(37) & np.uint64((1 << 25) - 1)).astype(np.int64) * TICK
    is_access, kept = tag == 0, tag != 1
    words = Words(
        (base + np.where(is_access, ticks, 0))[kept],
        np.full(np.count_nonzero(kept), source, np.int32),
        np.where(is_access, np.uint8(What.ACCESS), (heads >> np.uint64(56) & np.uint64(63)).astype(np.uint8))[kept],
        (heads & np.where(is_access, np.uint64((1 << 37) - 1), np.uint64((1 << 56) - 1)))[kept],
        first[kept],
        (ends - first)[kept],
        data[data >> np.uint64(62) == 3] & _VALUE,
    )
    return words, int(base[-1]) if len(base) else mark


def read_samples(source: Source) -> Sample:
    """Read the sampled pages of one file's process."""
    path = source.path.with_name(f"{source.path.name}.samples")
    count = path.stat().st_size // SAMPLE.itemsize if path.exists() else 0
    if not count:
        return Sample(np.empty((0, PAGE_SIZE), np.uint8), np.empty(0, np.uint64), np.empty(0, np.int64))
    slots = np.memmap(path, SAMPLE, "r", shape=(count,))
    filled = np.flatnonzero(slots["page"])
    return Sample(slots["data"][filled], slots["page"][filled], filled)
