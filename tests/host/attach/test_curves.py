"""Laws of the working set, whatever was sampled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from swaplab.host.attach.curves import Curve, ages, promotions, working_set
from swaplab.host.attach.samples import SAMPLES


def looks(cycles: list[list[float]], resident: float) -> NDArray[np.void]:
    """Samples of cycles: pages that each window adds, each window twice as long as the one before."""
    rows, start = [], 0.0
    for number, grown in enumerate(cycles):
        for level, reached in enumerate(np.cumsum(grown)):
            window = 2.0**level
            rows.append((0, number, level, start + window, window, resident, min(reached, resident), 1.0))
        start += 2.0 ** len(grown)
    return np.array(rows, SAMPLES)


GROWN = st.lists(st.floats(0, 1000), min_size=1, max_size=9)


@given(st.lists(GROWN, min_size=1, max_size=9), st.floats(1, 4000))
def test_a_working_set_grows_with_time_and_ever_more_slowly(cycles: list[list[float]], resident: float) -> None:
    curve = working_set(looks(cycles, resident))
    rise = np.diff(np.append(0.0, curve.pages))
    slope = rise / np.diff(np.append(0.0, curve.window))
    assert (rise >= -1e-6).all()
    assert (np.diff(slope) <= 1e-6).all()
    assert curve.pages[-1] <= resident + 1e-6


@given(st.lists(GROWN, min_size=1, max_size=9), st.floats(1, 4000))
def test_ages_add_up_to_what_is_resident(cycles: list[list[float]], resident: float) -> None:
    curve = working_set(looks(cycles, resident))
    found = ages(curve, np.array([0.5, 2.0, 7.0]))
    assert found.sum() == pytest.approx(resident)
    assert (found >= -1e-6).all()
    back = promotions(curve, np.array([0.5, 2.0, 7.0, 1e6]))
    assert (np.diff(back) <= 1e-6).all()
    assert back[-1] == 0


def test_what_is_measured_is_not_smoothed_where_it_needs_not_be() -> None:
    curve = working_set(looks([[4, 2, 1], [6, 4, 1], [2]], 100))
    assert curve.window.tolist() == [1, 2, 4]
    assert curve.pages == pytest.approx([4, 7, 8])  # means of those that have both windows
    assert promotions(curve, np.array([1.0])) == pytest.approx([3])  # 3 pages from the first second to the second


def test_windows_of_a_part_that_no_cycle_has_are_those_of_the_whole() -> None:
    whole = looks([[4, 2, 2, 4]], 100)
    part = looks([[8, 4]], 100)
    assert working_set(part, whole).pages == pytest.approx([8, 12, 14, 18])


def test_a_look_that_was_missed_takes_nothing_from_the_others() -> None:
    samples = looks([[4, 2, 1], [4, 2, 1]], 100)
    missed = np.delete(samples, 4)  # the second look of the second cycle
    assert working_set(missed).pages == pytest.approx(working_set(samples).pages)


def test_growth_is_of_memory_not_of_what_is_touched() -> None:
    samples = looks([[4], [4]], 100)
    samples["resident"] = [100, 130]
    curve = working_set(samples)
    assert curve.grown == pytest.approx(30 / (samples["at"][1] - samples["at"][0]))
    assert isinstance(curve, Curve)


def test_a_part_without_the_first_look_has_that_of_the_whole() -> None:
    whole = looks([[4, 2, 2], [4, 2, 2], [4, 2, 6]], 100)
    late = whole[(whole["cycle"] == 2) & (whole["level"] > 0)]
    curve = working_set(late, whole)
    assert curve.window.tolist() == [1, 2, 4]
    assert curve.pages == pytest.approx([4, 20 / 3, 12])  # the last two slopes would ascend
