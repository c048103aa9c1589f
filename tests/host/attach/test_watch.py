"""What is looked at when, and what becomes of it when processes come and go."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.host.attach.fake_kernel import FakeKernel, FakeProcess

from swaplab.errors import InputError
from swaplab.host.attach.curves import working_set
from swaplab.host.attach.watch import BUDGET, watch


def uniform(seed: int, rate: int, pages: int, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    time = np.sort(generator.uniform(0, seconds, round(rate * seconds)))
    return time, generator.integers(0, pages, len(time))


def test_the_curve_of_random_accesses_is_found() -> None:
    kernel = FakeKernel({5: FakeProcess(*uniform(1, 500, 1000, 128), 1000)})
    attached = watch(kernel.choose, 128, kernel).attached
    curve = working_set(attached.samples)
    expected = 1000 * (1 - np.exp(-curve.window * 500 / 1000))
    assert curve.window[0] == pytest.approx(1 / 64, rel=0.1)
    assert curve.window[-1] == pytest.approx(32, rel=0.01)
    assert np.abs(curve.pages - expected).max() < 30
    assert attached.cost <= BUDGET * attached.seconds
    assert attached.seconds == pytest.approx(128)


def test_each_length_of_a_cycle_gets_its_share_of_the_time() -> None:
    kernel = FakeKernel({5: FakeProcess(*uniform(1, 10, 10, 1), 10)})
    samples = watch(kernel.choose, 64, kernel).attached.samples
    lengths = [samples["level"][samples["cycle"] == cycle].max() for cycle in np.unique(samples["cycle"])]
    found = [lengths.count(level) for level in (20, 24, 28, 32, 36, 40)]
    assert found == sorted(found, reverse=True)
    assert min(found) >= 1


def test_who_ends_leaves_what_was_sampled() -> None:
    ends = FakeProcess(*uniform(1, 100, 50, 10), 50, end=3.3)
    comes = FakeProcess(*uniform(2, 100, 50, 10), 50, start=2.0)
    kernel = FakeKernel({5: ends, 6: comes})
    attached = watch(kernel.choose, 8, kernel).attached
    first, second = attached.lives
    assert (first.pid, first.start) == (5, 0)
    assert first.end == pytest.approx(3.3, abs=1.0)
    assert second.start == pytest.approx(2.0, abs=1.0)
    assert second.end is None
    assert second.processor == pytest.approx((8 - second.start) / 2, abs=0.5)
    assert {0, 1} == set(attached.samples["life"].tolist())


def test_a_program_that_is_executed_is_another_life() -> None:
    process = FakeProcess(*uniform(1, 100, 50, 10), 50)
    kernel = FakeKernel({5: process})

    def execute() -> None:
        process.name = "first" if kernel.time < 4 else "second"

    kernel.on_look = execute
    process.name = "first"
    attached = watch(kernel.choose, 8, kernel).attached
    assert [life.name for life in attached.lives] == ["first", "second"]
    assert attached.lives[0].end == attached.lives[1].start
    # What was cleared in the first says nothing of the second.
    second = attached.samples[attached.samples["life"] == 1]
    assert (second["at"] - second["window"] >= attached.lives[1].start - 1e-9).all()


def test_the_end_of_all_ends_it_after_a_while() -> None:
    kernel = FakeKernel({5: FakeProcess(*uniform(1, 100, 50, 10), 50, end=3.0)})
    watched = watch(kernel.choose, 600, kernel)
    assert watched.ended_by == "the end of all processes"
    assert kernel.time < 20
    assert len(watched.attached.samples) > 5


def test_a_service_may_start_again() -> None:
    before = FakeProcess(*uniform(1, 100, 50, 10), 50, end=3.0)
    after = FakeProcess(*uniform(1, 100, 50, 30), 50, start=8.0)
    kernel = FakeKernel({5: before, 9: after})
    attached = watch(kernel.choose, 30, kernel).attached
    assert [life.pid for life in attached.lives] == [5, 9]
    assert attached.seconds == pytest.approx(30)


def test_a_signal_ends_it_and_keeps_what_there_is() -> None:
    kernel = FakeKernel({5: FakeProcess(*uniform(1, 100, 50, 10), 50)}, signal_at=2.5)
    watched = watch(kernel.choose, 600, kernel)
    assert watched.ended_by == "SIGINT"
    assert watched.attached.seconds == pytest.approx(2.5)
    assert watched.attached.samples["at"].max() <= 2.5


def test_who_may_not_be_looked_at_is_named() -> None:
    kernel = FakeKernel({number: FakeProcess(*uniform(1, 100, 50, 10), 50) for number in (5, 6)})
    kernel.refused = {6}
    watched = watch(kernel.choose, 4, kernel)
    assert watched.unreadable == ["app (6)"]
    assert set(watched.attached.samples["life"].tolist()) == {0}
    kernel = FakeKernel(kernel.processes)
    kernel.refused = {5, 6}
    with pytest.raises(InputError, match=r"that this user may look at.*found app \(5\), app \(6\)$"):
        watch(kernel.choose, 4, kernel)


def test_nothing_to_look_at_is_said() -> None:
    with pytest.raises(InputError, match="at least one with anonymous memory"):
        watch(list, 4, FakeKernel({}))
