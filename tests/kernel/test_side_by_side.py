"""What Linux lets run side by side does so in kernel/, without a data race; all pairs are run by ``make quality``."""

from __future__ import annotations

import pytest
from tests.kernel.side_by_side import PAIRS, breaks

SAMPLE = [
    ("read of a swapped page", "reclaim"),
    ("write to a swapped page", "madvise of a swapped page"),
    ("write to a page", "pageout"),
    ("pageout", "swapoff"),
    ("pageout", "compressor"),
    ("shrinker", "write to a swapped page"),
    ("mkdir", "swapoff"),
    ("rmdir", "memory.stat"),
]


NEWER = [
    ("read of a swapped page", "shrinker"),
    ("write to a swapped page", "madvise of a swapped page"),
    ("pageout", "rmdir"),
]
"""Where 7.2 has other locks, and another order."""


@pytest.mark.parametrize("pair", NEWER, ids=" | ".join)
def test_nothing_breaks_in_7_2(pair: tuple[str, str]) -> None:
    assert pair in PAIRS or pair[::-1] in PAIRS
    assert breaks(*pair, executions=5, kernel="7.2") == []


@pytest.mark.parametrize("pair", SAMPLE, ids=" | ".join)
def test_nothing_breaks(pair: tuple[str, str]) -> None:
    assert pair in PAIRS or pair[::-1] in PAIRS
    assert breaks(*pair, executions=5) == []
