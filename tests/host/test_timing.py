from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from swaplab.host import timing
from swaplab.host.timing import compressor_times, median_ns
from swaplab.linux.crypto import COMPRESSORS


def test_the_median_of_what_took_part_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(0)
    monkeypatch.setattr("swaplab.host.timing.time.perf_counter_ns", lambda: next(clock))
    spent = iter([5, 1000, 7])

    def work() -> None:
        for _ in range(next(spent)):
            next(clock)

    def prepare() -> None:
        for _ in range(100):
            next(clock)

    assert median_ns(work, 3, prepare) == 7 + 1


def test_lzo_gains_what_lz4_gains_from_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call takes 100 ns a page, but the lz4 library's 25."""

    def mean(function: Callable[[bytes], object], data: list[bytes], repetitions: int) -> float:
        return 25.0 if "store_size" in function.keywords else 100.0  # type: ignore[attr-defined]

    monkeypatch.setattr(timing, "_mean_ns", mean)
    times = compressor_times([bytes(4096)], 1)
    assert times["lzo"] == times["lzo-rle"] == (25.0, 25.0)
    assert times["lz4"] == (25.0, 100.0)
    assert times["zstd"] == times["deflate"] == (100.0, 100.0)


def test_real_times() -> None:
    steps: list[None] = []
    pages = [bytes(range(256)) * 16, bytes(range(128)) * 32]
    times = compressor_times(pages, 3, lambda: steps.append(None))
    assert list(times) == list(COMPRESSORS)
    assert len(steps) == len(COMPRESSORS)
    assert all(100 < time < 1e8 for both in times.values() for time in both)
    assert times["deflate"].compress_ns > times["lz4"].compress_ns
