"""Measure what things cost on this machine: the numbers of the replay's cost model.

Every number is the median of rounds that agree, or of all if there are none such; `timing` says how.
What cannot be had without privileges is approximated from what can:

- Compression runs over this interpreter's own memory, which is like that of other programs.
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
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab import __version__
from swaplab.files import naming
from swaplab.host.draw import draw
from swaplab.host.processes import PROC, Process
from swaplab.host.timing import (
    Key,
    Measurement,
    Rounds,
    Spread,
    as_in_c,
    compressor_measurements,
    in_rounds,
    is_steady,
    spread,
)
from swaplab.linux.crypto import COMPRESSORS
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.cost import Cost

__all__ = ["ROUNDS_MAX", "WAITED", "Calibration", "Order", "calibration", "measure_cost", "own_pages"]

REGION_PAGES = 1 << 14  # 64 MiB: more than most caches hold
COMPRESSED_PAGES = 64
ROUNDS, ROUNDS_MAX = 12, 200
SECONDS_MAX = 30.0
WAITED = 0.1  # share of the time that others may run in
AGREEING = 0.9  # share of rounds in which one is faster than another, if that is to be said of them

MADV_COLD = 20  # include/uapi/asm-generic/mman-common.h; since Linux 5.4
FAULT_AROUND = 16  # pages that one fault on a file maps: mm/memory.c:fault_around_pages


class Order(NamedTuple):
    """Two compressors of which it is not certain that one is faster.

    Attributes:
        what: ``compress`` or ``decompress``.
        faster: the name of the one with the lower median.
        slower: of the other.
        share: of the rounds in which it was so.
    """

    what: str
    faster: str
    slower: str
    share: float


class Calibration(NamedTuple):
    """The measurement.

    Attributes:
        cost: the medians.
        spreads: of all numbers, by their keys in a cost file.
        rounds: how many of them.
        waited: share of the time in which this process did not run, since others did.
        unsteady: keys of those whose rounds do not agree.
        orders: compressors that may be the other way round.
    """

    cost: Cost
    spreads: dict[str, Spread]
    rounds: int
    waited: float
    unsteady: list[str]
    orders: list[Order]


def own_pages(count: int) -> list[bytes]:
    """Return up to `count` pages of this process's memory, none all zeros."""
    process = Process(os.getpid(), os.getppid(), "swaplab", "/", has_memory=True)
    pages = draw([process], count, np.random.default_rng(0), PROC).pages
    return [page.tobytes() for page in pages[pages.any(axis=1)]]


def _region(pages: int, descriptor: int = -1) -> tuple[mmap.mmap, NDArray[np.uint8]]:
    """Map private memory, of a file or anonymous, in small pages: uint8[pages, 4096]."""
    flags = mmap.MAP_PRIVATE | (mmap.MAP_ANONYMOUS if descriptor < 0 else 0)
    mapping = mmap.mmap(descriptor, pages * PAGE_SIZE, flags=flags)
    with suppress(OSError):  # a kernel without huge pages
        mapping.madvise(mmap.MADV_NOHUGEPAGE)
    return mapping, np.frombuffer(mapping, np.uint8).reshape(pages, PAGE_SIZE)


def _anonymous(pages: int) -> dict[Key, Measurement]:
    """An access in random order, a first touch and making a page cold."""
    order = np.random.default_rng(0).permutation(pages)
    mapping, memory = _region(pages)
    touch = partial(memory[:, 0].fill, 1)
    drop = partial(mapping.madvise, mmap.MADV_DONTNEED)
    return {
        ("access_ns", ""): Measurement(partial(memory[:, 0].take, order), pages, touch),
        ("fault_minor_ns", ""): Measurement(touch, pages, drop),
        ("reclaim_page_ns", ""): Measurement(partial(mapping.madvise, MADV_COLD), pages, touch),
    }


def _file_fault(pages: int, file: IO[bytes]) -> dict[Key, Measurement]:
    """A fault on a file's page that is in the page cache."""
    file.write(b"\1" * (pages * PAGE_SIZE))
    file.flush()
    mapping, memory = _region(pages, file.fileno())
    looked_up = memory[::FAULT_AROUND, 0]
    drop = partial(mapping.madvise, mmap.MADV_DONTNEED)
    return {("lookup", ""): Measurement(looked_up.sum, len(looked_up), drop)}


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(models or [platform.machine()])[0]}, Linux {platform.release()}"


def measure_cost(
    *,
    rounds: int = ROUNDS,
    rounds_max: int = ROUNDS_MAX,
    pages: int = COMPRESSED_PAGES,
    region_pages: int = REGION_PAGES,
    step: Callable[[], object] = lambda: None,
) -> Calibration:
    """Measure this machine; it takes a few seconds, or some more if it is busy.

    Args:
        rounds: that have to agree.
        rounds_max: after which it is given up, as it is after half a minute.
        pages: to compress in each.
        region_pages: memory to fault in and access; 64 MiB if not given.
        step: called after each round.

    Raises:
        OSError: there is no room for a temporary file of the region's size, or Linux is older than 5.4.
    """
    with naming(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as file:
        measurements = _anonymous(region_pages) | _file_fault(region_pages, file)
        measurements |= compressor_measurements(own_pages(pages))
        wall, own = time.perf_counter(), time.thread_time()
        times = in_rounds(measurements, rounds, rounds_max, SECONDS_MAX, step, _derived)
        waited = 1 - (time.thread_time() - own) / (time.perf_counter() - wall)
    return calibration(times, waited)


def _derived(times: dict[Key, Rounds]) -> dict[Key, Rounds]:
    found = as_in_c(times)
    found["fault_major_ns", ""] = found["fault_minor_ns", ""] + found.pop(("lookup", ""))
    return found


def calibration(times: Mapping[Key, Rounds], waited: float) -> Calibration:
    """Return what the rounds say.

    Args:
        times: by key of a cost file and nothing, or direction and name of a compressor.
        waited: share of the time in which this thread did not run.
    """
    rounds = {f"{what}_ns.{name}" if name else what: each for (what, name), each in times.items()}
    spreads = {key: spread(rounds[key]) for key in sorted(rounds)}
    unsteady = [key for key in spreads if not is_steady(rounds[key])]
    count = len(rounds["access_ns"])
    certainty = f"{count} rounds that {'do not ' * bool(unsteady)}agree{', a busy machine' * (waited > WAITED)}"
    cost = Cost(
        access_ns=spreads["access_ns"].median,
        fault_minor_ns=spreads["fault_minor_ns"].median,
        fault_major_ns=spreads["fault_major_ns"].median,
        compress_ns={name: spreads[f"compress_ns.{name}"].median for name in COMPRESSORS},
        decompress_ns={name: spreads[f"decompress_ns.{name}"].median for name in COMPRESSORS},
        reclaim_page_ns=spreads["reclaim_page_ns"].median,
        source=f"swaplab {__version__} calibrate, {datetime.now(UTC):%Y-%m-%d}, {_machine()}, {certainty}",
    )
    return Calibration(cost, spreads, count, waited, unsteady, [*_orders(times)])


def _orders(times: Mapping[Key, Rounds]) -> Iterator[Order]:
    for what in ("compress", "decompress"):
        names = sorted(COMPRESSORS, key=lambda name: float(np.median(times[what, name])))
        for faster, slower in pairwise(names):
            share = float(np.mean(times[what, faster] < times[what, slower]))
            if share < AGREEING:
                yield Order(what, faster, slower, share)
