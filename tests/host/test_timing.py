from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from swaplab.host.timing import (
    LZ4_IN_C,
    Key,
    Measurement,
    as_in_c,
    compressor_measurements,
    in_rounds,
    is_steady,
    spread,
)
from swaplab.linux.crypto import COMPRESSORS

ONE: Key = ("one", "")


def timed(monkeypatch: pytest.MonkeyPatch, *spent: int) -> Measurement:
    """What takes these times, 1 ns of them for the clock itself, after a first 1,000,000 that does not count."""
    clock, left = count(0), iter([1_000_000, *spent])
    monkeypatch.setattr("swaplab.host.timing.time.thread_time_ns", lambda: next(clock))

    def work() -> None:
        for _ in range(next(left) - 1):
            next(clock)

    def prepare() -> None:
        for _ in range(100):
            next(clock)

    return Measurement(work, 2, prepare)


def test_only_the_work_is_timed_for_each_item(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = in_rounds({ONE: timed(monkeypatch, 50, 70, 60)}, 3, 3)
    assert rounds[ONE].tolist() == [25, 35, 30]
    assert spread(rounds[ONE]) == (30, 28, 32)


def test_rounds_that_agree_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy stretch at the start is neither in the median nor the end of it."""
    steps: list[None] = []
    measurement = timed(monkeypatch, 90, 40, 200, 60, 60, 62, 60, 1000)
    rounds = in_rounds({ONE: measurement}, 4, 8, step=lambda: steps.append(None))
    assert rounds[ONE].tolist() == [30, 30, 31, 30]
    assert len(steps) == 7


def test_rounds_that_never_agree_are_all_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = in_rounds({ONE: timed(monkeypatch, 60, 90, 60, 90, 60, 90)}, 4, 6)
    assert len(rounds[ONE]) == 6
    assert not is_steady(rounds[ONE])


def test_time_is_bounded_but_for_the_rounds_that_have_to_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = in_rounds({ONE: timed(monkeypatch, 60, 90, 60, 90, 60, 90)}, 4, 6, seconds=0)
    assert len(rounds[ONE]) == 4


def test_what_is_derived_has_to_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a number is the ratio of two that go up and down apart."""
    factors = np.array([1, 2, 1, 2, 1, 1, 1, 1, 1])
    seen = iter(range(9))
    rounds = in_rounds(
        {ONE: timed(monkeypatch, *[60] * 9)},
        4,
        9,
        derive=lambda times: {ONE: times[ONE] * factors[: next(seen) + 1][-len(times[ONE]) :]},
    )
    assert rounds[ONE].tolist() == [30] * 4


def test_lzo_gains_what_lz4_gains_from_c_in_the_same_round() -> None:
    times = {(what, name): np.array([100.0, 200.0]) for what in ("compress", "decompress") for name in COMPRESSORS}
    found = as_in_c(times | {("compress", LZ4_IN_C): np.array([25.0, 100.0])})
    assert found.keys() == times.keys()
    assert found["compress", "lzo"].tolist() == found["decompress", "lzo-rle"].tolist() == [25.0, 100.0]
    assert found["compress", "lz4"].tolist() == [25.0, 100.0]
    assert found["decompress", "lz4"].tolist() == found["compress", "zstd"].tolist() == [100.0, 200.0]


def test_real_times() -> None:
    pages = [bytes(range(256)) * 16, bytes(range(128)) * 32]
    times = in_rounds(compressor_measurements(pages), 3, 3, derive=as_in_c)
    assert {name for _, name in times} == {*COMPRESSORS}
    assert all(100 < time < 1e8 for each in times.values() for time in each)
    assert times["compress", "deflate"].min() > times["compress", "lz4"].min()
