"""Measure what things cost on this machine: the numbers of the replay's cost model.

Every number is the median of some repetitions, so a pause of the machine does not count. What cannot be had without
privileges is approximated from what can:

- Compression runs over this interpreter's own memory, which is like that of other programs; see `timing` for how.
- A major fault looks a page up, takes a new one and maps it. A minor fault takes a page, zeroes it and maps it; a fault
  on a cached file page looks it up. The sum of both stands for it.
- Reclaim looks at a page in its page table, clears the accessed bit and moves it on its list, as MADV_COLD does. But it
  finds the page table by way of the page, which MADV_COLD does not: the number is on the low side.

Cited is Linux 6.12.
"""

from __future__ import annotations

import mmap
import os
import platform
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swaplab import __version__
from swaplab.files import naming
from swaplab.host.draw import draw
from swaplab.host.processes import PROC, Process
from swaplab.host.timing import compressor_times, median_ns
from swaplab.linux.crypto import COMPRESSORS
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.cost import Cost

__all__ = ["STEPS", "measure_cost", "own_pages"]

REGION_PAGES = 1 << 14  # 64 MiB: more than most caches hold
COMPRESSED_PAGES = 256
REPETITIONS = 7
STEPS = len(COMPRESSORS) + 2

MADV_COLD = 20  # include/uapi/asm-generic/mman-common.h; since Linux 5.4
FAULT_AROUND = 16  # pages that one fault on a file maps: mm/memory.c:fault_around_pages

Measured = Callable[[], object]


def own_pages(count: int) -> list[bytes]:
    """Return up to `count` pages of this process's memory, none all zeros."""
    process = Process(os.getpid(), os.getppid(), "swaplab", "/", has_memory=True)
    pages = draw([process], count, np.random.default_rng(0), PROC).pages
    return [page.tobytes() for page in pages[pages.any(axis=1)]]


def _each(measure: Measured, count: int, repetitions: int, prepare: Measured = lambda: None) -> int:
    """Whole nanoseconds of `measure` divided by `count`, at least 1."""
    return max(1, round(median_ns(measure, repetitions, prepare) / count))


def _region(pages: int, descriptor: int = -1) -> tuple[mmap.mmap, NDArray[np.uint8]]:
    """Map private memory, of a file or anonymous, in small pages: uint8[pages, 4096]."""
    flags = mmap.MAP_PRIVATE | (mmap.MAP_ANONYMOUS if descriptor < 0 else 0)
    mapping = mmap.mmap(descriptor, pages * PAGE_SIZE, flags=flags)
    with suppress(OSError):  # a kernel without huge pages
        mapping.madvise(mmap.MADV_NOHUGEPAGE)
    return mapping, np.frombuffer(mapping, np.uint8).reshape(pages, PAGE_SIZE)


def _anonymous(pages: int, repetitions: int) -> tuple[int, int, int]:
    """Nanoseconds of an access in random order, of a first touch and of making a page cold."""
    order = np.random.default_rng(0).permutation(pages)
    mapping, memory = _region(pages)
    touch = partial(memory[:, 0].fill, 1)
    drop = partial(mapping.madvise, mmap.MADV_DONTNEED)
    fault = _each(touch, pages, repetitions, prepare=drop)
    access = _each(partial(memory[:, 0].take, order), pages, repetitions)
    cold = _each(partial(mapping.madvise, MADV_COLD), pages, repetitions, prepare=touch)
    return access, fault, cold


def _file_fault(pages: int, repetitions: int) -> int:
    """Nanoseconds of a fault on a file's page that is in the page cache."""
    with naming(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as file:
        file.write(b"\1" * (pages * PAGE_SIZE))
        file.flush()
        mapping, memory = _region(pages, file.fileno())
        looked_up = memory[::FAULT_AROUND, 0]
        drop = partial(mapping.madvise, mmap.MADV_DONTNEED)
        return _each(looked_up.sum, len(looked_up), repetitions, prepare=drop)


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(models or [platform.machine()])[0]}, Linux {platform.release()}"


def measure_cost(
    *,
    repetitions: int = REPETITIONS,
    pages: int = COMPRESSED_PAGES,
    region_pages: int = REGION_PAGES,
    step: Measured = lambda: None,
) -> Cost:
    """Measure this machine; it takes a few seconds.

    Args:
        repetitions: of each measurement.
        pages: to compress in each.
        region_pages: memory to fault in and access; 64 MiB if not given.
        step: called `STEPS` times on the way.

    Raises:
        OSError: there is no room for a temporary file of the region's size, or Linux is older than 5.4.
    """
    access, minor, cold = _anonymous(region_pages, repetitions)
    step()
    lookup = _file_fault(region_pages, repetitions)
    step()
    times = compressor_times(own_pages(pages), repetitions, step)
    return Cost(
        access_ns=access,
        fault_minor_ns=minor,
        fault_major_ns=minor + lookup,
        compress_ns={name: round(time.compress_ns) for name, time in times.items()},
        decompress_ns={name: round(time.decompress_ns) for name, time in times.items()},
        reclaim_page_ns=cold,
        source=f"swaplab {__version__} calibrate, {datetime.now(UTC):%Y-%m-%d}, {_machine()}",
    )
