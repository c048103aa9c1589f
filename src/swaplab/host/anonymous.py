"""The anonymous memory of a running process: which pages are resident, and what they hold.

``smaps`` says how much there is, ``pagemap`` where, ``mem`` what it holds. Reading needs the right to trace
the process (ptrace(2), PTRACE_MODE_ATTACH). It leaves the process running, so pages come and go meanwhile,
and it marks what it reads as accessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.linux.page import PAGE_SIZE

__all__ = ["AnonymousMemory", "Candidates", "Mapping", "open_memory"]

ENTRY_BYTES = 8
ENTRIES_AT_ONCE = 1 << 17  # 1 MiB of pagemap, 512 MiB of address space

# Documentation/admin-guide/mm/pagemap.rst, 6.12
PRESENT = np.uint64(1 << 63)
FILE = np.uint64(1 << 61)
EXCLUSIVE = np.uint64(1 << 56)

_HEADER = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ...([ps]) ")


class Mapping(NamedTuple):
    """A private mapping: a VMA.

    Attributes:
        first: address >> 12.
        pages: its length.
        anonymous: resident anonymous pages in it.
        swapped: pages of it in swap.
        locked: mlocked, so that they never leave.
    """

    first: int
    pages: int
    anonymous: int
    swapped: int
    locked: bool


class Candidates(NamedTuple):
    """Resident pages of no file: anonymous pages, and the kernel's one page for memory only ever read.

    Attributes:
        page: uint64[n], address >> 12.
        exclusive: bool[n], mapped nowhere else. Pages shared after a fork are not, and neither is the zero
            page.
    """

    page: NDArray[np.uint64]
    exclusive: NDArray[np.bool_]


class Proportional(NamedTuple):
    """Pages of a process, each divided by how often it is mapped; None before Linux 5.5, which does not say.

    Attributes:
        anonymous: resident anonymous pages.
        shared: those of shared memory, of files in tmpfs among them.
    """

    anonymous: int | None
    shared: int | None


def _resident(entries: NDArray[np.uint64]) -> NDArray[np.bool_]:
    resident: NDArray[np.bool_] = (entries & (PRESENT | FILE)) == PRESENT
    return resident


def parse_smaps(lines: Iterator[bytes]) -> Iterator[Mapping]:
    """Read the private mappings out of ``/proc/PID/smaps``."""
    fields: dict[bytes, bytes] = {}
    header: re.Match[bytes] | None = None
    for line in lines:
        match = _HEADER.match(line)
        if match is None:
            key, _, value = line.partition(b":")
            fields[key] = value
            continue
        yield from _mapping(header, fields)
        header, fields = match, {}
    yield from _mapping(header, fields)


def _mapping(header: re.Match[bytes] | None, fields: dict[bytes, bytes]) -> Iterator[Mapping]:
    if header is None or header[3] != b"p":
        return
    first, end = int(header[1], 16) // PAGE_SIZE, int(header[2], 16) // PAGE_SIZE
    locked = b"lo" in fields.get(b"VmFlags", b"").split()
    yield Mapping(first, end - first, _pages(fields, b"Anonymous"), _pages(fields, b"Swap"), locked)


def _pages(fields: dict[bytes, bytes], key: bytes) -> int:
    """Whole pages of a field in kB, rounded, since proportional shares are not multiples of a page."""
    return round(int(fields.get(key, b"0 kB").split()[0]) * 1024 / PAGE_SIZE)


class AnonymousMemory:
    """The open files of one process; see `open_memory`."""

    def __init__(self, directory: Path, pagemap: int, memory: int) -> None:
        self._directory, self._pagemap, self._memory = directory, pagemap, memory

    def mappings(self) -> list[Mapping]:
        """Return the mappings that have anonymous pages, resident or swapped."""
        with (self._directory / "smaps").open("rb") as file:
            return [mapping for mapping in parse_smaps(file) if mapping.anonymous or mapping.swapped]

    def proportional(self) -> Proportional:
        """Return how many pages there are, each divided by how often it is mapped."""
        try:
            lines = (self._directory / "smaps_rollup").read_bytes().splitlines()
        except FileNotFoundError:
            lines = []
        fields = {key: value for key, _, value in (line.partition(b":") for line in lines)}
        anonymous, shared = (_pages(fields, key) if key in fields else None for key in (b"Pss_Anon", b"Pss_Shmem"))
        return Proportional(anonymous, shared)

    def candidates(self, mapping: Mapping) -> Iterator[Candidates]:
        """Find the resident pages of a mapping, in order of address, a bounded stretch at a time."""
        end = mapping.first + mapping.pages
        start = mapping.first
        while start < end:
            wanted = min(ENTRIES_AT_ONCE, end - start) * ENTRY_BYTES
            data = os.pread(self._pagemap, wanted, start * ENTRY_BYTES)
            entries = np.frombuffer(data, np.uint64, len(data) // ENTRY_BYTES)
            if not entries.size:
                return  # the process is gone
            found = np.flatnonzero(_resident(entries))
            yield Candidates(found.astype(np.uint64) + np.uint64(start), (entries[found] & EXCLUSIVE) != 0)
            start += entries.size

    def read(self, page: int) -> bytes | None:
        """Read a page, or None if it is no longer resident: reading would otherwise bring it in from swap."""
        entry = os.pread(self._pagemap, ENTRY_BYTES, page * ENTRY_BYTES)
        if len(entry) < ENTRY_BYTES or not _resident(np.frombuffer(entry, np.uint64))[0]:
            return None
        try:
            data = os.pread(self._memory, PAGE_SIZE, page * PAGE_SIZE)
        except OSError:
            return None  # EIO: unmapped since
        return data if len(data) == PAGE_SIZE else None


@contextmanager
def open_memory(pid: int, proc: Path) -> Iterator[AnonymousMemory]:
    """Open the memory of a process.

    Raises:
        PermissionError: this user may not trace the process.
        FileNotFoundError, ProcessLookupError: it is gone.
    """
    directory = proc / str(pid)
    with ExitStack() as stack:
        descriptors = []
        for name in ("pagemap", "mem"):
            descriptors.append(os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC))
            stack.callback(os.close, descriptors[-1])
        yield AnonymousMemory(directory, *descriptors)
