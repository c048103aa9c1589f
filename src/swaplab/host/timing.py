"""How long things take on this machine: in rounds, until some of them agree.

In a round each thing is done once, so that what else the machine does meanwhile is as likely to fall on one as on
another. What counts is the processor time of this thread: not what it waits for others. A machine that is used by
others is slower all the same, since they share its caches and its memory; so what counts are rounds in a row that
agree, if there are such.

The kernel's compressors are C. zstd, deflate and one direction of lz4 are C here as well; lz4's other direction is
timed with the same algorithm in C, from the lz4 library. Of lzo there is only the code that numba compiles: its times
are scaled by what lz4 gains from C over numba in the same round.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import lz4.block
import numpy as np
from numpy.typing import NDArray

from swaplab.compress import compress, decompress
from swaplab.linux.crypto import COMPRESSORS

__all__ = [
    "Key",
    "Measurement",
    "Rounds",
    "Spread",
    "as_in_c",
    "compressor_measurements",
    "in_rounds",
    "is_steady",
    "spread",
]

IN_NUMBA = ("lzo", "lzo-rle")
LZ4_IN_C = "lz4 in C"
STEADY = 0.1
"""Share of the median that half of all times lie within, if they agree."""

Key = tuple[str, str]
"""``compress`` or ``decompress`` and a compressor's name; or any name for another measurement."""
Rounds = NDArray[np.float64]
"""Nanoseconds that a thing took for each item, in each round: float64[n]."""


class Spread(NamedTuple):
    """Nanoseconds of what was measured: the median, and between which two half of all were."""

    median: int
    low: int
    high: int


def spread(times: Rounds) -> Spread:
    """Return the median of some times and how far they are apart, in whole nanoseconds, at least 1."""
    low, median, high = (max(1, round(float(time))) for time in np.percentile(times, [25, 50, 75]))
    return Spread(median, low, high)


class Measurement(NamedTuple):
    """Something to time.

    Attributes:
        measure: does it.
        items: that it does it for.
        prepare: called first, and not timed.
    """

    measure: Callable[[], object]
    items: int
    prepare: Callable[[], object] = lambda: None

    def time(self) -> float:
        """Do it once; return nanoseconds of this thread for each item."""
        self.prepare()
        start = time.thread_time_ns()
        self.measure()
        return (time.thread_time_ns() - start) / self.items


def in_rounds(
    measurements: Mapping[Key, Measurement],
    rounds: int,
    most: int,
    seconds: float = math.inf,
    step: Callable[[], object] = lambda: None,
    derive: Callable[[dict[Key, Rounds]], dict[Key, Rounds]] = dict,
) -> dict[Key, Rounds]:
    """Measure, once in each round, until rounds in a row agree; return those, and all if there are none.

    Args:
        measurements: to take in each round.
        rounds: that have to agree.
        most: rounds after which it is given up.
        seconds: after which it is given up too, if there were as many rounds as have to agree.
        step: called after each.
        derive: numbers to compute from them, in the same rounds.
    """
    for each in measurements.values():
        each.time()  # what is compiled, or first touched, is not what is timed
    times = np.empty((0, len(measurements)))
    end = time.monotonic() + seconds
    while len(times) < most and (len(times) < rounds or time.monotonic() < end):
        times = np.vstack([times, [each.time() for each in measurements.values()]])
        step()
        latest = derive(dict(zip(measurements, times[-rounds:].T, strict=True)))
        if len(times) >= rounds and all(map(is_steady, latest.values())):
            return latest
    return derive(dict(zip(measurements, times.T, strict=True)))


def is_steady(times: Rounds) -> bool:
    """Whether times agree."""
    low, median, high = np.percentile(times, [25, 50, 75])
    return bool(high - low <= STEADY * median)


def compressor_measurements(pages: Sequence[bytes]) -> dict[Key, Measurement]:
    """Return what is to be timed of each compressor, by its name.

    Args:
        pages: of 4096 bytes, at least one.
    """
    found: dict[Key, Measurement] = {}
    for name in COMPRESSORS:
        compressed = [compress(name, page) for page in pages]
        found["compress", name] = _of_each(partial(compress, name), pages)
        found["decompress", name] = _of_each(partial(decompress, name), compressed)
    found["compress", LZ4_IN_C] = _of_each(partial(lz4.block.compress, store_size=False), pages)
    return found


def _of_each(function: Callable[[bytes], object], data: Sequence[bytes]) -> Measurement:
    def measure() -> None:
        for item in data:
            function(item)

    return Measurement(measure, len(data))


def as_in_c(times: Mapping[Key, Rounds]) -> dict[Key, Rounds]:
    """Return what was timed of compressors as if all of it was C."""
    in_c = times["compress", LZ4_IN_C]
    gain = in_c / times["compress", "lz4"]
    scaled = {(what, name): time * gain for (what, name), time in times.items() if name in IN_NUMBA}
    own = {key: time for key, time in times.items() if key[1] != LZ4_IN_C}
    return own | scaled | {("compress", "lz4"): in_c}
