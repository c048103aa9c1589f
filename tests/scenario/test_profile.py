from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from swaplab.errors import InputError
from swaplab.scenario.profile import PROFILE_SAMPLES_MAX, read_profile, write_profile


def numbered(numbers: list[int]) -> NDArray[np.uint8]:
    """Pages that repeat a number; 0 is the zero page."""
    return np.repeat(np.array(numbers, "<u4")[:, None], 1024, axis=1).view(np.uint8)


def numbers(pages: NDArray[np.uint8]) -> list[int]:
    return [int(number) for number in np.ascontiguousarray(pages).view("<u4")[:, 0]]


def write(path: Path, weights: dict[int, int]) -> None:
    write_profile(path, numbered(list(weights)), np.array(list(weights.values()), np.int64), "a test")


@settings(deadline=None, max_examples=30)
@given(weights=st.dictionaries(st.integers(0, 1 << 31), st.integers(1, 1 << 40), min_size=1, max_size=50))
def test_shares_come_back(tmp_path_factory: pytest.TempPathFactory, weights: dict[int, int]) -> None:
    path = tmp_path_factory.mktemp("profile") / "p.parquet"
    write(path, weights)
    profile = read_profile(path, "x")
    assert profile.source == "a test"
    assert profile.zero_weight == weights.get(0, 0) / sum(weights.values())
    others = {number: weight for number, weight in weights.items() if number}
    found = Counter(numbers(profile.pages))
    assert set(found) <= set(others)
    for number, weight in others.items():
        share = weight / sum(others.values())
        assert abs(found[number] / len(profile.pages) - share) <= 1 / 4096


def test_few_equal_samples_are_each_there_once(tmp_path: Path) -> None:
    write(tmp_path / "p", dict.fromkeys(range(1, 3001), 7))
    assert numbers(read_profile(tmp_path / "p", "x").pages) == list(range(1, 3001))


def test_many_samples_become_4096(tmp_path: Path) -> None:
    write(tmp_path / "p", dict.fromkeys(range(1, 8193), 1))
    assert numbers(read_profile(tmp_path / "p", "x").pages) == list(range(2, 8193, 2))


def test_a_profile_of_zeros_has_no_other_pages(tmp_path: Path) -> None:
    write(tmp_path / "p", {0: 5})
    profile = read_profile(tmp_path / "p", "x")
    assert profile.zero_weight == 1
    assert profile.pages.shape == (0, 4096)


def test_only_the_owner_may_read_a_profile(tmp_path: Path) -> None:
    write(tmp_path / "p", {1: 1})
    assert stat.S_IMODE((tmp_path / "p").stat().st_mode) == 0o600


def test_the_file_is_as_documented(tmp_path: Path) -> None:
    write(tmp_path / "p", {1: 3, 2: 4})
    table = pq.read_table(tmp_path / "p")
    assert table.schema.types == [pa.binary(4096), pa.int64()]
    assert table.schema.names == ["data", "weight"]
    assert table.schema.metadata == {b"swaplab.profile": b'{"version":1,"source":"a test","pages":7}'}


@pytest.mark.parametrize(
    ("data", "weights"),
    [
        (np.zeros((1, 4095), np.uint8), [1]),
        (np.zeros((1, 4096), np.int8), [1]),
        (np.zeros((0, 4096), np.uint8), []),
        (np.zeros((2, 4096), np.uint8), [1]),
        (np.zeros((1, 4096), np.uint8), [0]),
        (np.zeros((1, 4096), np.uint8), [(1 << 40) + 1]),
        (np.broadcast_to(np.uint8(0), (PROFILE_SAMPLES_MAX + 1, 4096)), [1]),
    ],
)
def test_bad_arguments_leave_no_file(data: NDArray[np.uint8], weights: list[int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sample|uint8"):
        write_profile(tmp_path / "p", data, np.array(weights, np.int64), "a test")
    assert not list(tmp_path.iterdir())


DATA = pa.array([bytes(4096)], pa.binary(4096))
WEIGHT = pa.array([1], pa.int64())
GOOD = b'{"version":1,"source":"","pages":1}'


@pytest.mark.parametrize(
    ("columns", "metadata", "message"),
    [
        ({"data": DATA}, GOOD, "columns"),
        ({"data": pa.array([b"x"], pa.binary()), "weight": WEIGHT}, GOOD, "columns"),
        ({"data": pa.array([None], pa.binary(4096)), "weight": WEIGHT}, GOOD, "null"),
        ({"data": DATA, "weight": pa.array([None], pa.int64())}, GOOD, "row 0.*weight"),
        ({"data": DATA, "weight": pa.array([-1], pa.int64())}, GOOD, "row 0.*weight.*-1"),
        ({"data": DATA.slice(1), "weight": WEIGHT.slice(1)}, GOOD, "samples.*0"),
        ({"data": DATA, "weight": WEIGHT}, None, "swaplab.profile"),
        ({"data": DATA, "weight": WEIGHT}, b"{", "version, source and pages"),
        ({"data": DATA, "weight": WEIGHT}, b'{"version":2,"source":"","pages":1}', "version 1, found 2"),
        ({"data": DATA, "weight": WEIGHT}, b'{"version":1,"source":"","pages":2}', "2 pages.*found 1"),
    ],
)
def test_other_files_are_errors(
    columns: dict[str, pa.Array], metadata: bytes | None, message: str, tmp_path: Path
) -> None:
    table = pa.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata({b"swaplab.profile": metadata})
    pq.write_table(table, tmp_path / "p")
    with pytest.raises(InputError, match=rf"a\.toml: content\.profile: .*{message}"):
        read_profile(tmp_path / "p", "a.toml: content.profile")


def test_too_many_samples_are_refused_unread(tmp_path: Path) -> None:
    count = PROFILE_SAMPLES_MAX + 1
    data = pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), DATA)
    table = pa.table({"data": data.cast(pa.binary(4096)), "weight": np.ones(count, np.int64)})
    pq.write_table(table, tmp_path / "p")
    with pytest.raises(InputError, match=f"1 to {PROFILE_SAMPLES_MAX} samples, found {count}"):
        read_profile(tmp_path / "p", "x")


def test_damaged_files_are_errors(tmp_path: Path) -> None:
    write(tmp_path / "p", dict.fromkeys(range(100), 1))
    good = (tmp_path / "p").read_bytes()
    for bad in (
        b"",
        b"PAR1",
        good[:-1],
        good[: len(good) // 2],
        good[:200] + b"\xff" * 8 + good[208:],
        b"x" * 5000,
    ):
        (tmp_path / "p").write_bytes(bad)
        with pytest.raises(InputError, match="content profile"):
            read_profile(tmp_path / "p", "x")


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, found in (("pipe", "a named pipe"), ("missing", "no such file"), ("", "a directory")):
        with pytest.raises(InputError, match=f"content profile, found {found}"):
            read_profile(tmp_path / name, "x")
