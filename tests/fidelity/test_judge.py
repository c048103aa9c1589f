"""What an error and a spread are, and which runs are compared as distributions."""

from __future__ import annotations

import pytest

from swaplab.fidelity.judge import FLOOR, errors_of, is_wide, summary_of
from swaplab.fidelity.truth import Series, Truth
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.device import DEVICES
from swaplab.vm import Pace

PACE = Pace(cost=DEFAULT_COST, device=DEVICES["ssd"])


def truth(*runs: list[int | None], counter: str = "zswpin", cgroup: str = "a") -> Truth:
    return Truth(
        key="0",
        guest="of now",
        kernel="Linux",
        command="",
        pace=PACE,
        date="2026-01-01",
        positions=[1, 2],
        times=[],
        runs=[{cgroup: {counter: run}} for run in runs],
    )


def test_an_error_is_relative_to_the_mean_of_the_runs() -> None:
    (error,) = errors_of(truth([0, 1000], [0, 1010], [0, 990]), [{"a": {"zswpin": [0, 1100]}}])
    assert (error.kernel, error.predicted) == (1000, 1100)
    assert error.error == pytest.approx(0.1)
    assert error.spread == pytest.approx(0.02)


def test_an_error_along_the_way_is_relative_to_the_largest_number() -> None:
    (error,) = errors_of(truth([500, 1000]), [{"a": {"zswpin": [300, 1000]}}])
    assert error.error == 0
    assert error.along == pytest.approx(0.2)


@pytest.mark.parametrize(("counter", "unit"), [("zswpin", 1), ("anon", 4096)])
def test_tiny_numbers_are_measured_in_pages(counter: str, unit: int) -> None:
    (error,) = errors_of(truth([0, unit], counter=counter), [{"a": {counter: [0, 65 * unit]}}])
    assert error.error == 64 / FLOOR


def test_what_is_nothing_in_both_does_not_count() -> None:
    assert not errors_of(truth([0, 0]), [{"a": {"zswpin": [0, 0]}}])
    assert errors_of(truth([0, 0]), [{"a": {"zswpin": [1, 0]}}])


def test_what_an_engine_does_not_have_does_not_count() -> None:
    assert not errors_of(truth([0, 5]), [{"a": {"zswpout": [0, 5]}}])
    assert not errors_of(truth([0, 5]), [{}])


def test_a_removed_cgroup_is_judged_by_its_last_sample() -> None:
    (error,) = errors_of(truth([1000, None]), [{"a": {"zswpin": [1200, 1300]}}])
    assert (error.kernel, error.predicted) == (1000, 1200)


def test_runs_that_depend_on_their_start_are_compared_as_distributions() -> None:
    known = truth([0, 1000], [0, 1300], [0, 1100])
    assert is_wide(known)
    predicted: list[Series] = [{"a": {"zswpin": [0, last]}} for last in (1300, 1000, 1070)]
    (error,) = errors_of(known, predicted)
    size = (1000 + 1300 + 1100) / 3
    assert error.kernel == pytest.approx(size)
    assert error.predicted == pytest.approx((1000 + 1300 + 1070) / 3)
    assert error.error == pytest.approx(30 / 3 / size)
    assert error.spread == error.predicted_spread == pytest.approx(300 / size)
    (error,) = errors_of(known, predicted[:1] * 2 + predicted[1:2])
    assert error.error == pytest.approx((0 + 200 + 0) / 3 / size)
    (error,) = errors_of(known, predicted[:1])
    assert error.error == pytest.approx((300 + 0 + 200) / 3 / size)


def test_runs_that_do_not_are_compared_by_their_means() -> None:
    known = truth([0, 1000], [0, 1010])
    assert not is_wide(known)
    (error,) = errors_of(known, [{"a": {"zswpin": [0, 1005]}}] * 2)
    assert error.error == 0


def test_a_summary_is_a_distribution() -> None:
    summary = summary_of([i / 100 for i in range(101)])
    assert (summary.count, summary.median, summary.worst) == (101, 0.5, 1.0)
    assert summary.p90 == pytest.approx(0.9)
    assert summary_of([0.25]).p90 == 0.25
