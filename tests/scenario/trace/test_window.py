"""Dropping repeats against a model with lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swaplab.errors import InputError
from swaplab.scenario.trace.source import RawBatch
from swaplab.scenario.trace.window import MAX_WINDOW, drop_repeats

Access = tuple[int, int, bool]

ACCESS = st.tuples(st.integers(0, 2), st.integers(0, 5), st.booleans())


def model(rows: list[Access], window: int) -> list[Access]:
    recent: dict[int, list[tuple[int, bool]]] = {}
    kept = []
    for stream, page, write in rows:
        latest = recent.setdefault(stream, [])
        written = next((was for known, was in latest if known == page), None)
        if written is None or (write and not written):
            kept.append((stream, page, write))
        latest[:] = [(page, write or bool(written)), *(entry for entry in latest if entry[0] != page)][:window]
    return kept


def batch(rows: list[Access]) -> RawBatch:
    stream, page, write = zip(*rows, strict=True) if rows else ((), (), ())
    time = np.arange(len(rows))
    return RawBatch(np.array(stream, np.uint16), np.array(page, np.uint64), np.array(write, np.bool_), time)


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.lists(ACCESS, max_size=30), max_size=3), window=st.integers(1, 4))
def test_repeats_are_dropped_as_in_the_model(batches: list[list[Access]], window: int) -> None:
    kept = [
        row
        for part in drop_repeats(map(batch, batches), window)
        for row in zip(*(array.tolist() for array in part[:3]), strict=True)
    ]
    assert kept == model([row for rows in batches for row in rows], window)


def test_times_stay_with_their_accesses() -> None:
    (part,) = drop_repeats([batch([(0, 1, False), (0, 1, False), (0, 1, True), (0, 2, False)])], 1)
    assert part.time is not None
    assert part.time.tolist() == [0, 2, 3]


@pytest.mark.parametrize("window", [-1, 0, MAX_WINDOW + 1])
def test_windows_are_bounded(window: int) -> None:
    with pytest.raises(InputError, match="window"):
        drop_repeats([], window)
