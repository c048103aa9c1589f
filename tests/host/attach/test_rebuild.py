"""A trace that is made from a curve has that curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from swaplab.host.attach.curves import Curve
from swaplab.host.attach.rebuild import Accesses, Rebuilt, classes, pages_of, rebuild


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    """Concave ones."""
    count = draw(st.integers(1, 5))
    slopes = sorted(draw(st.lists(st.floats(0, 20), min_size=count, max_size=count)), reverse=True)
    window: NDArray[np.float64] = 2.0 ** np.arange(count, dtype=np.float64)
    pages: NDArray[np.float64] = np.cumsum(np.array(slopes) * np.diff(np.append(0.0, window)))
    more = draw(st.floats(0, 100))
    return Curve(window, pages, float(pages[-1]) + more, draw(st.floats(0, 50)), 0.0)


def touched(curve: Curve, window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pages of the classes that are touched within a time."""
    period, pages = classes(curve)
    reached: NDArray[np.float64] = (pages * np.minimum(1.0, window[:, None] / period)).sum(axis=1)
    return reached


@given(curves())
def test_classes_have_the_curve_that_they_are_made_from(curve: Curve) -> None:
    period, pages = classes(curve)
    assert (pages >= 0).all()
    assert (np.diff(period) >= 0).all()
    assert pages.sum() == pytest.approx(curve.resident + curve.swapped)
    assert touched(curve, curve.window) == pytest.approx(curve.pages, rel=1e-6, abs=1e-6)


def all_of(lives: list[Rebuilt], seconds: float) -> Accesses:
    return Accesses(*(np.concatenate(column) for column in zip(*rebuild(lives, seconds), strict=True)))


@given(curves(), st.integers(0, 3))
def test_each_page_comes_back_after_its_period(curve: Curve, seed: int) -> None:
    life = pages_of(curve, 2.0, 40.0, 0.0, np.random.default_rng(seed))
    if not len(life.period):
        return
    found = all_of([life], 40.0)
    assert (np.diff(found.time) >= 0).all()
    assert found.time.max() < 40
    assert np.unique(found.page).tolist() == list(range(len(life.period)))  # each is touched at the start
    order = np.lexsort((found.time, found.page))
    page, time = found.page[order], found.time[order]
    is_reuse = (page[1:] == page[:-1]) & (time[:-1] > 2.0)
    assert np.diff(time)[is_reuse] == pytest.approx(life.period[page[1:]][is_reuse])
    # As many as fit between the start and the end.
    expected = (38.0 / life.period).sum()
    assert abs(len(found.page) - len(life.there) - expected) <= len(life.period)


def test_pieces_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = Curve(np.array([1.0, 2.0, 4.0]), np.array([20.0, 30.0, 35.0]), 50.0, 2.0, 0.5)
    lives = [
        pages_of(curve, 0.0, 30.0, 0.0, np.random.default_rng(1)),
        pages_of(curve, 5.0, 20.0, 0.0, np.random.default_rng(2)),
    ]
    whole = all_of(lives, 30.0)
    monkeypatch.setattr("swaplab.host.attach.rebuild.AT_ONCE", 64)
    parted = all_of(lives, 30.0)
    assert len(list(rebuild(lives, 30.0))) > 5
    assert whole.time.tolist() == parted.time.tolist()
    assert whole.page.tolist() == parted.page.tolist()
    assert whole.stream.tolist() == parted.stream.tolist()


def test_pages_that_are_new_come_along_time() -> None:
    curve = Curve(np.array([1.0]), np.array([10.0]), 30.0, 0.0, 1.0)
    life = pages_of(curve, 0.0, 20.0, 0.0, np.random.default_rng(1))
    found = all_of([life], 20.0)
    first = np.array([found.time[found.page == page][0] for page in range(30)])
    assert (first == 0).sum() == 10
    assert np.sort(first)[10:] == pytest.approx(np.arange(20) + 0.5)


def test_what_is_hotter_than_the_floor_is_touched_that_often() -> None:
    curve = Curve(np.array([0.125, 1.0]), np.array([10.0, 17.0]), 17.0, 0.0, 0.0)
    life = pages_of(curve, 0.0, 8.0, 0.5, np.random.default_rng(1))
    assert life.period.min() == 0.5
    assert len(life.period) == 17
