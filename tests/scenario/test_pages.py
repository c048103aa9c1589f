from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swaplab.compress import compress
from swaplab.errors import InputError
from swaplab.linux.crypto import COMPRESSORS
from swaplab.scenario.pages import SAMPLES_MAX, file_pages, random_pages, ratio_pages, same_filled_page


def ratio(name: str, pages: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    return pages.size / sum(len(compress(name, page.tobytes())) for page in pages)


@pytest.mark.parametrize("name", COMPRESSORS)
def test_random_pages_do_not_compress(name: str) -> None:
    assert random_pages().shape == (64, 4096)
    assert all(len(compress(name, page.tobytes())) > 4096 for page in random_pages())


def test_random_pages_differ() -> None:
    assert len({page.tobytes() for page in random_pages()}) == 64


def test_random_pages_are_these_for_ever() -> None:
    assert zlib.crc32(random_pages().tobytes()) == 950503385


@pytest.mark.parametrize(
    ("word", "unit"),
    [
        (0, b"\0"),
        (0x42, b"\x42"),
        (0x100, b"\0\1\0\0\0\0\0\0"),
        (0x0102030405060708, b"\10\7\6\5\4\3\2\1"),
        ((1 << 64) - 1, b"\xff"),
    ],
)
def test_same_filled_pages_repeat_a_byte_or_a_word(word: int, unit: bytes) -> None:
    assert same_filled_page(word).tobytes() == unit * (4096 // len(unit))


@settings(max_examples=10, deadline=None)
@given(name=st.sampled_from(COMPRESSORS), target=st.floats(1.01, 30))
def test_one_target_is_met(name: str, target: float) -> None:
    pages = ratio_pages({name: target}, "x")
    assert pages.shape == (64, 4096)
    assert ratio(name, pages) == pytest.approx(target, rel=0.02)


@pytest.mark.parametrize("target", [1.1, 2.5, 5, 20])
def test_one_target_comes_close_for_all(target: float) -> None:
    pages = ratio_pages({"lzo": target}, "x")
    for name in COMPRESSORS:
        assert ratio(name, pages) == pytest.approx(target, rel=0.08 if name == "deflate" else 0.04)


@pytest.mark.parametrize(
    "targets",
    [
        {"lz4": 2.0, "zstd": 3.1},
        {"zstd": 1.5, "lzo-rle": 1.5},
        {"lzo": 3, "deflate": 4.5},
        {"lzo": 2, "lz4": 2, "zstd": 3},
    ],
)
def test_two_families_are_met_at_once(targets: dict[str, float]) -> None:
    pages = ratio_pages(targets, "x")
    for name, target in targets.items():
        assert ratio(name, pages) == pytest.approx(target, rel=0.02)


@pytest.mark.parametrize(
    ("targets", "closest"),
    [
        ({"lzo": 200}, "lzo = 77.28"),
        ({"zstd": 0.5}, "zstd = 0.99"),
        ({"lz4": 2, "zstd": 8}, "lz4 = 1.999, zstd = 3.7"),
        ({"lz4": 3, "zstd": 2}, "lz4 = 2.999, zstd = 3.0"),
        ({"lz4": 3, "lzo": 2}, "lz4 = 2.999, lzo = 2.9"),
    ],
)
def test_targets_out_of_reach_say_what_is_closest(targets: dict[str, float], closest: str) -> None:
    with pytest.raises(InputError, match=r"a\.toml: ratio") as raised:
        ratio_pages(targets, "a.toml: ratio")
    assert closest in str(raised.value)


def numbered(count: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") * 1024 for number in range(count))


def test_a_file_gives_its_pages(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(numbered(5))
    assert file_pages(tmp_path / "f", "x").tobytes() == numbered(5)


def test_a_partial_last_page_ends_in_zeros(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 4099)
    pages = file_pages(tmp_path / "f", "x")
    assert pages.tobytes() == b"x" * 4099 + bytes(4093)


def test_a_large_file_gives_pages_from_all_over(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.truncate(3 * SAMPLES_MAX * 4096)
        for number in (0, 3, 3 * SAMPLES_MAX - 3):
            file.seek(number * 4096)
            file.write(b"x")
    pages = file_pages(tmp_path / "f", "x")
    assert pages.shape == (SAMPLES_MAX, 4096)
    assert np.flatnonzero(pages.any(axis=1)).tolist() == [0, 1, SAMPLES_MAX - 1]


def test_what_is_no_file_with_content_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("empty", "pipe", "directory", "missing"):
        with pytest.raises(InputError, match=rf"a\.toml: content\.file.*{name}"):
            file_pages(tmp_path / name, "a.toml: content.file")
