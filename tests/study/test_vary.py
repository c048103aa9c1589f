from __future__ import annotations

import pytest

from swaplab.errors import InputError
from swaplab.study.vary import VARIANTS_MAX, Axis, combinations, parse_axis


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("zswap.compressor=lz4,zstd", ("lz4", "zstd")),
        ("a=24M..32M/4M", ("24M", "28M", "32M")),
        ("a=24M..31M/4M", ("24M", "28M")),
        ("a=0..100/50,max", ("0", "50", "100", "max")),
        ("a=0.5..1.5/0.5", ("0.5", "1.0", "1.5")),
        ("a=true, false", ("true", "false")),
        ('a={ ratio = 2, x = 1 },"zero"', ("{ ratio = 2, x = 1 }", '"zero"')),
        ("a=1..3", ("1..3",)),
        ("a=1M..3K/1M", ("1M..3K/1M",)),
    ],
)
def test_values(text: str, values: tuple[str, ...]) -> None:
    assert parse_axis(text).values == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", "KEY=VALUE"),
        ("=1", "KEY=VALUE"),
        ("a=", "KEY=VALUE"),
        ("a=1,,2", "KEY=VALUE"),
        ("a=1,1", "each value of a once"),
        ("a=3..1/1", "a range that goes up"),
        ("a=1..3/0", "a range that goes up"),
        (f"a=1..{VARIANTS_MAX + 1}/1", "a range of at most"),
        ("a=1..999999999999999/0.000000001", "a range of at most"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_axis(text)


def test_combinations_come_in_order() -> None:
    axes = [Axis("a", ("1", "2")), Axis("b", ("x",))]
    assert list(combinations(axes, 2)) == [
        ({"a": "1", "b": "x"}, 0),
        ({"a": "1", "b": "x"}, 1),
        ({"a": "2", "b": "x"}, 0),
        ({"a": "2", "b": "x"}, 1),
    ]


def test_too_many_combinations_are_refused_before_any_is_made() -> None:
    axis = Axis("a", tuple(map(str, range(1000))))
    with pytest.raises(InputError, match="at most 100000 variants, found 1000000"):
        next(combinations([axis, Axis("b", axis.values)], 1))
    with pytest.raises(InputError, match="each key once"):
        next(combinations([axis, axis], 1))
