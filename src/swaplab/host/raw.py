"""What the page recorder left in its directory: accesses of all processes in one order, and sampled pages.

The recorder (``host/plugin/``) writes blocks of 64-bit words; ``store.c`` says what a word means. A block
belongs to one thread and is in order of time; blocks of different threads overlap. Files of a directory:

- ``blocks``: a page of counters, then the blocks of all processes;
- ``maps.N``, ``command.N``: ``/proc/self/maps`` and ``/proc/self/cmdline`` of process N at its first access;
- ``samples.N``: for each bucket of pages of process N, the contents of one page, then its number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.host.space import AddressSpace, What

__all__ = ["PAGE", "Accesses", "Counters", "Sample", "accesses", "counters", "process_names", "read_samples"]

PAGE: Final = 4096
WORDS: Final = 4094
BLOCK: Final = np.dtype([("process", "<u4"), ("parent", "<u4"), ("accesses", "<u8"), ("words", "<u8", (WORDS,))])
SAMPLE: Final = np.dtype([("data", "u1", (PAGE,)), ("page", "<u8")])
BATCH_BLOCKS: Final = 256  # a million words, 8 MB; memory holds a few times that

_MARK, _RANGE, _LENGTH = 1, 2, 3
_VALUE: Final = np.uint64((1 << 62) - 1)


class Counters(NamedTuple):
    """What the recorder counts while it runs.

    Attributes:
        blocks: given out so far.
        processes: seen so far.
        accesses: of the program, in blocks that are full.
        unfollowed: programs that had to run natively, hence unrecorded.
        error: ``errno`` of what kept words from being written, or 0.
    """

    blocks: int
    processes: int
    accesses: int
    unfollowed: int
    error: int


class Accesses(NamedTuple):
    """Accesses in order: arrays of shape ``(n,)``.

    Attributes:
        process: number of the process, in order of appearance.
        page: address >> 12.
        write: whether the page was written.
        dropped: accesses left out here because no anonymous memory was touched.
    """

    process: NDArray[np.uint16]
    page: NDArray[np.uint64]
    write: NDArray[np.bool_]
    dropped: int


class Sample(NamedTuple):
    """Sampled pages of one process: ``data`` (n, 4096), ``page`` (n,) address >> 12, ``bucket`` (n,)."""

    data: NDArray[np.uint8]
    page: NDArray[np.uint64]
    bucket: NDArray[np.int64]


class _Words(NamedTuple):
    """Accesses and changes of ranges: time in ns, process, word, and pages of a range (0 of an access)."""

    time: NDArray[np.int64]
    process: NDArray[np.uint32]
    word: NDArray[np.uint64]
    pages: NDArray[np.uint64]

    def take(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> _Words:
        return _Words(self.time[index], self.process[index], self.word[index], self.pages[index])

    def and_then(self, later: _Words) -> _Words:
        return _Words(
            np.concatenate([self.time, later.time]),
            np.concatenate([self.process, later.process]),
            np.concatenate([self.word, later.word]),
            np.concatenate([self.pages, later.pages]),
        )


def counters(directory: Path) -> Counters:
    """Read the counters as they are now."""
    return Counters(*np.fromfile(directory / "blocks", "<u8", len(Counters._fields)).tolist())


def process_names(directory: Path) -> list[str]:
    """``program:N`` for each process N."""
    names = []
    for number in range(counters(directory).processes):
        arguments = _read(directory / f"command.{number}").split(b"\0")
        program = arguments[5] if len(arguments) > 5 else b"?"  # emulator -plugin PLUGIN -0 NAME PROGRAM
        names.append(f"{Path(os.fsdecode(program)).name}:{number}")
    return names


def accesses(directory: Path, progress: Callable[[int, int], None] | None = None) -> Iterator[Accesses]:
    """Yield accesses to anonymous memory, of all processes in one order; tell `progress` of blocks done.

    The order is that of the clock, to 16 ns; of two equally old, the one whose block began first is first. A
    page is anonymous unless a file backs it; a page of a private file mapping is from the first write on.
    """
    blocks = _blocks(directory)
    spaces: dict[int, AddressSpace] = {}
    parents: dict[int, int] = dict(zip(blocks["process"].tolist(), blocks["parent"].tolist(), strict=True))
    for words in _in_order(blocks, progress):
        for process in np.unique(words.process).tolist():
            if process not in spaces:
                maps = os.fsdecode(_read(directory / f"maps.{process}"))
                spaces[process] = AddressSpace.from_maps(maps, spaces.get(parents[process]))
        yield _anonymous(words, spaces)


def read_samples(directory: Path, process: int) -> Sample:
    """Read the sampled pages of `process`."""
    path = directory / f"samples.{process}"
    count = path.stat().st_size // SAMPLE.itemsize if path.exists() else 0
    if not count:
        return Sample(np.empty((0, PAGE), np.uint8), np.empty(0, np.uint64), np.empty(0, np.int64))
    slots = np.memmap(path, SAMPLE, "r", shape=(count,))
    filled = np.flatnonzero(slots["page"])
    return Sample(slots["data"][filled], slots["page"][filled], filled)


def total_accesses(directory: Path) -> int:
    """Count the accesses that the program made, as far as blocks could be written."""
    return int(_blocks(directory)["accesses"].sum())


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _blocks(directory: Path) -> NDArray[np.void]:
    path = directory / "blocks"
    count = (path.stat().st_size - PAGE) // BLOCK.itemsize
    if count <= 0:
        return np.empty(0, BLOCK)
    return np.memmap(path, BLOCK, "r", offset=PAGE, shape=(count,))


def _in_order(blocks: NDArray[np.void], progress: Callable[[int, int], None] | None) -> Iterator[_Words]:
    """Merge: words older than the start of the first block not yet read are complete, the others wait."""
    starts = blocks["words"][:, 0] & _VALUE
    order = np.argsort(starts, kind="stable")
    order = order[starts[order] > 0]  # a block that nobody wrote to has no mark
    waiting = _decode(blocks[:0])
    for at in range(0, len(order), BATCH_BLOCKS):
        words = waiting.and_then(_decode(blocks[order[at : at + BATCH_BLOCKS]]))
        words = words.take(np.argsort(words.time, kind="stable"))
        following = order[at + BATCH_BLOCKS : at + BATCH_BLOCKS + 1]
        complete = int(np.searchsorted(words.time, starts[following[0]])) if len(following) else len(words.time)
        waiting = words.take(slice(complete, None))
        yield words.take(slice(complete))
        if progress:
            progress(min(at + BATCH_BLOCKS, len(order)), len(order))


def _decode(blocks: NDArray[np.void]) -> _Words:
    words = blocks["words"].reshape(-1)
    tag = (words >> np.uint64(62)).astype(np.uint8)
    marks = np.where(tag == _MARK, np.arange(len(words)), 0)
    base = (words[np.maximum.accumulate(marks)] & _VALUE).astype(np.int64) if len(words) else marks
    ticks = ((words >> np.uint64(36)) & np.uint64((1 << 26) - 1)).astype(np.int64)
    following = np.append(words[1:], np.uint64(0))
    torn = (following >> np.uint64(62)) != _LENGTH  # the process died between the two words
    keep = ((tag == 0) & (words != 0)) | ((tag == _RANGE) & ~torn)
    return _Words(
        (base + np.where(tag == 0, ticks * 16, 0))[keep],
        np.repeat(blocks["process"], WORDS)[keep],
        words[keep],
        np.where(tag == _RANGE, following & _VALUE, np.uint64(0))[keep],
    )


def _anonymous(words: _Words, spaces: dict[int, AddressSpace]) -> Accesses:
    keep = np.zeros(len(words.word), np.bool_)
    page = (words.word >> np.uint64(1)) & np.uint64((1 << 35) - 1)
    write = (words.word & np.uint64(1)).astype(np.bool_)
    for process in np.unique(words.process).tolist():
        mine = np.flatnonzero(words.process == process)
        start = 0
        for change in np.flatnonzero(words.pages[mine]).tolist():
            part = mine[start:change]
            keep[part] = spaces[process].anonymous(page[part], write[part])
            word = int(words.word[mine[change]])
            spaces[process].change(word & ((1 << 56) - 1), int(words.pages[mine[change]]), What(word >> 56 & 63))
            start = change + 1
        part = mine[start:]
        keep[part] = spaces[process].anonymous(page[part], write[part])
    dropped = int(np.count_nonzero(words.pages == 0)) - int(np.count_nonzero(keep))
    return Accesses(words.process[keep].astype(np.uint16), page[keep], write[keep], dropped)
