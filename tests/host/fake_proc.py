"""A /proc made of ordinary files: every kind of page in known places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PAGE = 4096
PRESENT, SWAPPED, FILE, EXCLUSIVE = 1 << 63, 1 << 62, 1 << 61, 1 << 56
RESIDENT = PRESENT | EXCLUSIVE


class Area(NamedTuple):
    """A mapping: pagemap entries, and contents of the resident pages (uint8[n, 4096]) in order."""

    entries: Sequence[int]
    pages: NDArray[np.uint8]
    surplus: int = 0  # how many of them the kernel does not count as anonymous
    swapped: int = 0
    flags: str = "rd wr"
    perms: str = "rw-p"


def add_process(
    proc: Path,
    pid: int,
    areas: Sequence[Area],
    *,
    parent: int = 1,
    cgroup: str = "0::/app",
    proportional: float | None = None,
    shared: int = 0,
) -> None:
    """Write the files of one process; `proportional` and `shared` are Pss_Anon and Pss_Shmem in pages.

    Args:
        proportional: None for a kernel without both.
    """
    directory = proc / str(pid)
    directory.mkdir(parents=True)
    (directory / "status").write_text(f"Name:\tp{pid}\nPPid:\t{parent}\nVmSize:\t 100 kB\n")
    (directory / "cgroup").write_text(f"4:cpu:/elsewhere\n{cgroup}\n")
    smaps, entries, memory, first = "", [0] * 16, [np.zeros((16, PAGE), np.uint8)], 16
    for area in areas:
        resident = [bool(entry & PRESENT) for entry in area.entries]
        smaps += _vma(first, area, sum(resident) - area.surplus)
        block = np.zeros((len(area.entries), PAGE), np.uint8)
        block[resident] = area.pages
        entries, memory, first = [*entries, *area.entries], [*memory, block], first + len(area.entries)
    (directory / "smaps").write_text(smaps)
    np.array(entries, np.uint64).tofile(directory / "pagemap")
    np.concatenate(memory).tofile(directory / "mem")
    if proportional is not None:
        counts = f"Pss_Anon: {proportional * 4:.0f} kB\nPss_Shmem: {shared * 4} kB\n"
        (directory / "smaps_rollup").write_text(f"0-1 ---p 00 [rollup]\n{counts}")


def _vma(first: int, area: Area, anonymous: int) -> str:
    span = f"{first * PAGE:x}-{(first + len(area.entries)) * PAGE:x}"
    counts = f"Anonymous: {anonymous * 4} kB\nSwap: {area.swapped * 4} kB\nVmFlags: {area.flags}\n"
    return f"{span} {area.perms} 00000000 00:00 0   [heap: 7f-8f rw-p ]\nSize: 8 kB\n{counts}"
