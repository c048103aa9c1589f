"""How a running process is looked at from outside: all that is read of it and done to it is here.

`clear` takes the accessed bit off all pages of a process, and `look` counts those that have it again: the processor
sets it when it uses a page. fs/proc/task_mmu.c, 6.12: clear_refs_write and smaps_account. Neither stops the process,
but it has to wait if it wants to change its mappings meanwhile.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from swaplab.host.processes import PROC
from swaplab.linux.page import PAGE_SIZE
from swaplab.process import ENDING

__all__ = ["GONE", "SHARED", "Clock", "Identity", "Look", "clear", "identity", "look", "parse"]

GONE = (FileNotFoundError, ProcessLookupError)
"""What is raised when a process has ended."""
_HEADER = re.compile(rb"^[0-9a-f]+-[0-9a-f]+ ...([ps]) [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ [0-9]+ *(.*)$", re.MULTILINE)
SHARED = (b"/dev/zero (deleted)", b"/memfd:", b"/SYSV", b"/dev/shm/", b"/[aio]")
_TICKS = os.sysconf("SC_CLK_TCK")


class Look(NamedTuple):
    """Memory of a process that can be swapped, in pages; one that k processes map counts 1/k in each.

    Attributes:
        resident: in memory, mlocked ones left out.
        referenced: of these, used since they were cleared.
        swapped: in swap.
        huge: of the resident ones, in huge pages, which are referenced as a whole.
    """

    resident: float
    referenced: float
    swapped: float
    huge: float


class Identity(NamedTuple):
    """What tells a program in a process from what had its id before, and from what it executes next.

    Attributes:
        started: ticks of the machine's clock.
        stack: address; 0 where this user may not know it.
        name: of the program.
        processor: seconds of processor time so far.
    """

    started: int
    stack: int
    name: str
    processor: float

    @property
    def program(self) -> tuple[int, int, str]:
        """What stays the same until it ends or executes another."""
        return self.started, self.stack, self.name


def clear(pid: int, proc: Path = PROC) -> None:
    """Have no page of a process count as referenced. Its owner may; the kernel's reclaim forgets it as well.

    Raises:
        OSError: it is not ours, or gone, or the kernel has no such file.
    """
    with (proc / str(pid) / "clear_refs").open("wb", buffering=0) as file:
        file.write(b"1")


def look(pid: int, proc: Path = PROC) -> Look:
    """Count what a process has, and what it used since `clear`.

    Raises:
        OSError: it may not be looked at, or is gone.
    """
    return parse((proc / str(pid) / "smaps").read_bytes())


def parse(smaps: bytes) -> Look:
    """Read the counts out of ``/proc/PID/smaps``: of anonymous memory, and of shared memory that no disk backs.

    What is referenced in a private mapping of a file is parted between the file's pages and anonymous ones as they are.
    """
    resident = referenced = swapped = huge = 0.0
    for block in _blocks(smaps):
        header = _HEADER.search(block)
        if header is None or b" lo" in block[block.rfind(b"VmFlags:") :]:
            continue
        rss = _kib(block, b"\nRss:")
        own = rss if header[1] == b"s" and header[2].startswith(SHARED) else _kib(block, b"\nAnonymous:")
        away = _kib(block, b"\nSwap:")
        if own:
            share = own / rss * _kib(block, b"\nPss:") / rss
            resident += share * rss
            referenced += share * _kib(block, b"\nReferenced:")
            huge += min(own, _kib(block, b"\nAnonHugePages:") + _kib(block, b"\nShmemPmdMapped:"))
        if away:
            swapped += _kib(block, b"\nSwapPss:", away)
    page = PAGE_SIZE / 1024
    return Look(resident / page, referenced / page, swapped / page, huge / page)


def _blocks(smaps: bytes) -> Iterator[bytes]:
    """Yield the lines of each mapping; the line of flags is the last of each."""
    start = 0
    while (flags := smaps.find(b"\nVmFlags:", start)) >= 0:
        end = smaps.find(b"\n", flags + 1) + 1 or len(smaps)
        yield smaps[start:end]
        start = end


def _kib(block: bytes, key: bytes, default: int = 0) -> int:
    start = block.find(key)
    return default if start < 0 else int(block[start + len(key) : block.index(b"kB", start)])


def identity(pid: int, proc: Path = PROC) -> Identity:
    """Return what a process is now: proc(5), /proc/PID/stat.

    Raises:
        OSError: it is gone.
    """
    text = os.fsdecode((proc / str(pid) / "stat").read_bytes())
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return Identity(int(fields[19]), int(fields[25]), name, (int(fields[11]) + int(fields[12])) / _TICKS)


class Clock:
    """Time, our own processor time, and waiting, which signals end; see `swaplab.process.holding_signals`."""

    def now(self) -> float:
        """Seconds of a clock that only goes on."""
        return time.monotonic()

    def cost(self) -> float:
        """Seconds of processor time that we took."""
        return time.process_time()

    def wait(self, until: float) -> str:
        """Wait for a time; return the name of the signal that came before it, or nothing."""
        while (left := until - time.monotonic()) > 0:
            found = signal.sigtimedwait(ENDING, left)
            if found is not None:
                return signal.Signals(found.si_signo).name
        return ""
