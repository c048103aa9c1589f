"""Patterns keep their promises: in range, as popular as said, and the same everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from swaplab.scenario.patterns import (
    CHUNK,
    HotCold,
    Pattern,
    Phases,
    Scan,
    Uniform,
    Zipf,
    pattern_chunks,
    zipf_table,
)

SHARES = st.floats(0, 1, exclude_min=True)
PATTERNS = st.one_of(
    st.just(Scan()),
    st.just(Uniform()),
    st.builds(Zipf, st.floats(0, 10, exclude_min=True)),
    st.builds(Phases, SHARES, st.integers(1, 1 << 62)),
    st.builds(HotCold, SHARES, st.floats(0, 1)),
)
ALL = (Scan(), Uniform(), Zipf(), Phases(), HotCold())


def pages(pattern: Pattern, count: int, key: int = 7, chunks: int = 4) -> NDArray[np.int64]:
    return np.concatenate([page for page, _ in islice(pattern_chunks(pattern, count, 0.5, key), chunks)])


@settings(max_examples=60)
@given(pattern=PATTERNS, count=st.integers(1, 3000), share=st.floats(0, 1), key=st.integers(0, 1 << 64))
def test_pages_are_in_range(pattern: Pattern, count: int, share: float, key: int) -> None:
    for page, write in islice(pattern_chunks(pattern, count, share, key), 2):
        assert (str(page.dtype), str(write.dtype)) == ("int64", "bool")
        assert page.shape == write.shape == (CHUNK,)
        assert 0 <= page.min() <= page.max() < count


@pytest.mark.parametrize("pattern", ALL)
def test_seeds_are_all_that_differs(pattern: Pattern) -> None:
    first = pages(pattern, 1000, key=2)
    assert np.array_equal(first, pages(pattern, 1000, key=2))
    assert np.array_equal(first, pages(pattern, 1000, key=4)) == isinstance(pattern, Scan)


def digest() -> str:
    data = b"".join(pages(pattern, 1000, key=3 << 40).tobytes() for pattern in ALL)
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("seed", ["0", "1"])
def test_processes_agree(seed: str) -> None:
    program = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_patterns as t; print(t.digest())"  # noqa: PTH120
    )
    environment = os.environ | {"PYTHONHASHSEED": seed}
    shown = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    assert shown.stdout.strip() == digest()


def test_machines_agree() -> None:
    """If this fails after an upgrade of numpy, every published number has to be made again."""
    assert digest() == "fb1e7994040342af07369eca52ff43a02eb4857077224ef2ba86918978cabaf4"


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_so_many_accesses_write(fraction: float) -> None:
    writes = np.concatenate([write for _, write in islice(pattern_chunks(Uniform(), 9, fraction, 1), 4)])
    assert writes.mean() == pytest.approx(fraction, abs=0.004 if 0 < fraction < 1 else 0)


@settings(max_examples=30)
@given(count=st.integers(1, 5000))
def test_a_scan_goes_round(count: int) -> None:
    assert np.array_equal(pages(Scan(), count, chunks=3), np.arange(3 * CHUNK) % count)


def test_uniform_is_even() -> None:
    counts = np.bincount(pages(Uniform(), 64), minlength=64)
    assert counts == pytest.approx(np.full(64, 4 * CHUNK / 64), rel=0.06)


@pytest.mark.parametrize("exponent", [0.3, 1.0, 2.0])
def test_zipf_has_its_weights(exponent: float) -> None:
    counts = np.sort(np.bincount(pages(Zipf(exponent), 50, chunks=16), minlength=50))[::-1]
    weights = np.arange(1, 51) ** -exponent
    expected = 16 * CHUNK * weights / weights.sum()
    assert counts[:10] == pytest.approx(expected[:10], rel=0.05)


def test_popular_pages_are_scattered() -> None:
    first = [int(np.bincount(pages(Zipf(2.0), 1000, key=key, chunks=1)).argmax()) for key in range(0, 20, 2)]
    assert len(set(first)) > 8
    assert 200 < np.mean(first) < 800


@pytest.mark.parametrize("exponent", [1e-9, 0.1, 1.0, 10.0])
def test_weights_of_many_pages_add_up(exponent: float) -> None:
    table = zipf_table(exponent, 1 << 22)
    assert (np.diff(table) > 0).all()
    # The largest scenario has 16 times the pages, and as many bits less in each weight.
    assert table[-1] < 1 << 61
    assert zipf_table(exponent, 1 << 10)[0] == 1 << 40


@pytest.mark.parametrize(("hot", "share"), [(0.1, 0.9), (0.29, 0.5), (0.5, 0.0), (0.2, 1.0)])
def test_hot_pages_have_their_share(hot: float, share: float) -> None:
    counts = np.sort(np.bincount(pages(HotCold(hot, share), 100, chunks=16), minlength=100))[::-1]
    number = round(hot * 100)
    popular = counts[:number] if share / hot > (1 - share) / (1 - hot) else counts[-number:]
    assert popular.sum() / counts.sum() == pytest.approx(share, abs=0.003)
    assert popular == pytest.approx(np.full(number, popular.mean()), rel=0.1)


def test_where_all_is_hot_nothing_stands_out() -> None:
    counts = np.bincount(pages(HotCold(1.0, 0.5), 64), minlength=64)
    assert counts == pytest.approx(np.full(64, 4 * CHUNK / 64), rel=0.06)


@settings(max_examples=40)
@given(share=SHARES, length=st.integers(1, 200_000), count=st.integers(1, 2000))
def test_phases_move_by_their_own_size(share: float, length: int, count: int) -> None:
    page = pages(Phases(share, length), count, chunks=3)
    size = max(1, round(share * count))
    phase = np.arange(len(page)) // length
    assert (((page - phase * size) % count) < size).all()
