"""Operations that the explorer takes to be independent come to the same in any order, data races included."""

from __future__ import annotations

import pytest
from tests.explore.enumerator.generate import THEMES
from tests.quality.orders import difference


@pytest.mark.parametrize("theme", THEMES)
def test_another_order_comes_to_the_same(theme: str) -> None:
    for seed in range(3):
        assert difference(theme, seed) is None


def test_grace_periods_order_nothing_by_beginning() -> None:
    """Which of two began first nobody learns, so that no accesses are ordered by that."""
    for seed in (7004, 7018):
        assert difference("grace", seed) is None
