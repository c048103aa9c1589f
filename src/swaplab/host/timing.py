"""How long compressors take on this machine.

The kernel's are C. zstd, deflate and one direction of lz4 are C here as well; lz4's other direction is timed with the
same algorithm in C, from the lz4 library. Of lzo there is only the code that numba compiles: its times are scaled by
what lz4 gains from C over numba.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import lz4.block

from swaplab.compress import compress, decompress
from swaplab.linux.crypto import COMPRESSORS

__all__ = ["CompressorTime", "compressor_times", "median_ns"]

IN_NUMBA = ("lzo", "lzo-rle")


class CompressorTime(NamedTuple):
    """Mean nanoseconds for a page."""

    compress_ns: float
    decompress_ns: float


def median_ns(measure: Callable[[], object], repetitions: int, prepare: Callable[[], object] = lambda: None) -> float:
    """Nanoseconds of `measure`: the median, so that a pause of the machine does not count."""
    times = []
    for _ in range(repetitions):
        prepare()
        start = time.perf_counter_ns()
        measure()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times)


def _mean_ns(function: Callable[[bytes], object], data: Sequence[bytes], repetitions: int) -> float:
    function(data[0])  # compiled before it is timed

    def measure() -> None:
        for item in data:
            function(item)

    return median_ns(measure, repetitions) / len(data)


def compressor_times(
    pages: Sequence[bytes], repetitions: int, step: Callable[[], object] = lambda: None
) -> dict[str, CompressorTime]:
    """Time every compressor on the same pages, by name.

    Args:
        pages: of 4096 bytes, at least one.
        repetitions: the median of so many counts.
        step: called after every compressor.
    """
    times: dict[str, CompressorTime] = {}
    for name in COMPRESSORS:
        compressed = [compress(name, page) for page in pages]
        forth = _mean_ns(partial(compress, name), pages, repetitions)
        times[name] = CompressorTime(forth, _mean_ns(partial(decompress, name), compressed, repetitions))
        step()
    in_c = _mean_ns(partial(lz4.block.compress, store_size=False), pages, repetitions)
    gain = in_c / times["lz4"].compress_ns
    times["lz4"] = times["lz4"]._replace(compress_ns=in_c)
    return times | {name: CompressorTime(*(time * gain for time in times[name])) for name in IN_NUMBA}
