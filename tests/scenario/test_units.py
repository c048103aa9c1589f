from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaplab.errors import InputError
from swaplab.scenario.units import format_duration, format_size, parse_duration, parse_size, round_size, short_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        (4096, 4096),
        ("64M", 64 << 20),
        ("64m", 64 << 20),
        ("1G", 1 << 30),
        ("2T", 2 << 40),
        ("3K", 3072),
        ("1.5G", 3 << 29),
        ("0.25K", 256),
    ],
)
def test_size(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "64MB",
        "64 M",
        "-1",
        -1,
        "1.5",
        "0.3K",
        ".5G",
        "1.G",
        "max",
        "٣",
        True,
        1.5,
        None,
        1 << 62,
        "9" * 19 + "T",
        "1" * 1000,
        ["1"],
    ],
)
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(InputError, match=r"a\.toml: memory: expected a size"):
        parse_size(text, "a.toml: memory")


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("80us", 80_000),
        ("1.5 ms", 1_500_000),
        ("0ns", 0),
        ("2s", 2 * 10**9),
        ("0.001us", 1),
        ("1.000000001s", 10**9 + 1),
    ],
)
def test_duration(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "80", "0.5ns", "us", "1m", "1 h", "-1us", "1e3us", 80, None, "9" * 18 + "s", ".5s", "1  s"]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(InputError, match="here: expected a duration"):
        parse_duration(text, "here")


@given(st.integers(0, (1 << 62) - 1))
def test_formats_read_back(value: int) -> None:
    assert parse_size(format_size(value)) == value
    assert parse_duration(format_duration(value)) == value


def test_formats_are_short() -> None:
    assert (format_size(64 << 20), format_size(1000), format_size(0)) == ("64M", "1000", "0")
    assert (format_duration(80_000), format_duration(1_500_000)) == ("80us", "1500us")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1 << 20, "1.00M"),
        (3 << 30, "3.00G"),
        (-1536, "-1.50K"),
        (150 << 20, "150M"),
        (5 << 50, "5120T"),
    ],
)
def test_round_size(size: int, text: str) -> None:
    assert round_size(size) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (64 << 20, "64M"), (1536 << 20, "1536M"), (24684084 << 10, "23.5G"), (123456, "121K")]
)
def test_short_size(size: int, text: str) -> None:
    assert short_size(size) == text
