"""Which release does what."""

from __future__ import annotations

import pytest

from swaplab.linux.release import BASE, MODELLED, SINCE, Features, Release, features_of


def test_each_feature_came_with_a_release_after_the_one_they_differ_from() -> None:
    assert set(SINCE) == set(Features._fields)
    assert all(BASE < since <= max(map(Release.parse, MODELLED)) for since in SINCE.values())


def test_a_release_has_what_came_with_it_or_before() -> None:
    assert not any(features_of("6.12"))
    assert all(features_of("7.2"))


@pytest.mark.parametrize("release", ["6.18", "6.1", "6.120", "7.2.13", ""])
def test_nobody_says_what_a_release_does_that_there_is_no_model_of(release: str) -> None:
    with pytest.raises(ValueError, match=f"no model of Linux {release}"):
        features_of(release)
