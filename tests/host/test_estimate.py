from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaplab.host.estimate import Estimate, Stratum, add, quantiles

VALUES = st.lists(st.integers(0, 1 << 40), min_size=1, max_size=7)


def stratum(count: int, population: float, fraction: float) -> Stratum:
    return Stratum(np.ones(count), population, fraction)


@given(VALUES, st.data())
def test_the_mean_over_all_samples_is_the_truth(values: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(values)))
    samples = list(combinations(values, size))
    found = [stratum(size, len(values), size / len(values)).total(np.array(sample, float)).value for sample in samples]
    assert np.mean(found) == pytest.approx(sum(values), rel=1e-9, abs=0.5)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=7), st.data())
def test_the_mean_variance_over_all_samples_is_the_variance(values: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(2, len(values)))
    large = np.array(values, float) * 1e6  # so that rounding to whole numbers does not count
    sampled = stratum(size, len(values), size / len(values))
    estimates = [sampled.total(large[list(chosen)]) for chosen in combinations(range(len(values)), size)]
    claimed = np.mean([((estimate.high - estimate.low) / 2 / 1.959964) ** 2 for estimate in estimates])
    assert claimed == pytest.approx(np.var([estimate.value for estimate in estimates]), rel=1e-4)


@given(VALUES)
def test_a_full_sample_is_exact(values: list[int]) -> None:
    everything = stratum(len(values), len(values), 1.0)
    total = sum(values)
    assert everything.total(np.array(values, float)) == Estimate(total, total, total)
    odd = np.array(values) % 2 == 1
    assert everything.pages_that(odd) == Estimate(*[int(odd.sum())] * 3)


@given(VALUES, st.integers(1, 1000))
def test_totals_scale_with_the_population(values: list[int], times: int) -> None:
    once = stratum(len(values), 1000.0, 0.5).total(np.array(values, float))
    many = stratum(len(values), 1000.0 * times, 0.5).total(np.array(values, float))
    assert many.value == pytest.approx(once.value * times, abs=times)
    assert many.high - many.low == pytest.approx((once.high - once.low) * times, abs=2 * times)


def test_weights_count() -> None:
    shared = Stratum(np.array([1.0, 0.5, 0.5]), 2.0, 1.0)
    assert shared.total(np.array([100.0, 10.0, 30.0])) == Estimate(120, 120, 120)
    assert shared.pages_that(np.array([False, True, True])).value == 1


def test_what_was_not_seen_may_still_be_there() -> None:
    nothing = stratum(100, 10_000, 0.01).pages_that(np.zeros(100, bool))
    assert (nothing.value, nothing.low) == (0, 0)
    assert 300 < nothing.high < 400  # the rule of three says 300
    everything = stratum(100, 10_000, 0.01).pages_that(np.ones(100, bool))
    assert (everything.value, everything.high) == (10_000, 10_000)
    assert 9_600 < everything.low < 9_700


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    population = generator.lognormal(7, 1, 20_000)
    rare = population > np.quantile(population, 0.99)
    held = [0, 0]
    for _ in range(1000):
        chosen = generator.choice(20_000, 400, replace=False)
        sample = stratum(400, 20_000, 0.02)
        for at, estimate in enumerate((sample.total(population[chosen]), sample.pages_that(rare[chosen]))):
            held[at] += estimate.low <= (population.sum(), rare.sum())[at] <= estimate.high
    assert all(910 <= times <= 970 for times in held)


def test_errors_of_strata_add_in_squares() -> None:
    assert add([Estimate(10, 7, 13), Estimate(20, 16, 28)]) == Estimate(30, 25, 39)
    assert add([]) == Estimate(0, 0, 0)


def test_quantiles() -> None:
    values = np.array([30, 10, 20, 40], np.int32)
    assert quantiles(values, np.ones(4), [0, 0.25, 0.5, 0.51, 1]) == [10, 10, 20, 30, 40]
    assert quantiles(values, np.array([1.0, 97, 1, 1]), [0.5, 0.98, 1]) == [10, 20, 40]
