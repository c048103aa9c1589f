from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from swaplab.compress import compress, compressed_lengths, lengths
from swaplab.linux.crypto import COMPRESSORS


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache files go; nothing is remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(lengths, "_remembered", {})
    return tmp_path / "swaplab" / "lengths"


@pytest.fixture
def pages(varied_pages: dict[str, bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(varied_pages.values()), np.uint8).reshape(-1, 4096)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "_remembered", {})


def no_compressor(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, page: bytes) -> bytes:
        raise AssertionError(f"{name} asked again for {len(page)} bytes")

    monkeypatch.setattr(lengths, "compress", fail)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", COMPRESSORS)
def test_lengths_are_those_of_the_compressor(name: str, pages: NDArray[np.uint8]) -> None:
    found = compressed_lengths(name, pages)
    assert found.dtype == np.int32
    assert found.tolist() == [len(compress(name, page.tobytes())) for page in pages]
    assert found.max() > 4096  # none is cut off


@pytest.mark.usefixtures("cache")
def test_order_of_the_pages_is_kept(pages: NDArray[np.uint8]) -> None:
    assert compressed_lengths("lz4", pages[::-1]).tolist() == compressed_lengths("lz4", pages).tolist()[::-1]


@pytest.mark.usefixtures("cache")
def test_the_second_call_compresses_nothing(pages: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    first = compressed_lengths("lzo", pages)
    no_compressor(monkeypatch)
    assert compressed_lengths("lzo", pages.copy()) is first
    forget(monkeypatch)
    assert compressed_lengths("lzo", pages).tolist() == first.tolist()


@pytest.mark.usefixtures("cache")
def test_another_compressor_or_page_is_not_taken_for_the_first(pages: NDArray[np.uint8]) -> None:
    changed = pages.copy()
    changed[0] = pages[3]
    assert compressed_lengths("lzo", pages)[0] != compressed_lengths("lzo-rle", pages)[0]
    assert compressed_lengths("lzo", changed)[0] != compressed_lengths("lzo", pages)[0]


@pytest.mark.usefixtures("cache")
def test_a_new_library_is_asked_anew(pages: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    compressed_lengths("zstd", pages)
    monkeypatch.setattr(lengths, "compressor_version", lambda name, _release: f"{name} of tomorrow")
    monkeypatch.setattr(lengths, "compress", lambda *_: b"short")
    assert set(compressed_lengths("zstd", pages).tolist()) == {5}


def test_a_damaged_cache_file_is_computed_again(
    pages: NDArray[np.uint8], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = compressed_lengths("lz4", pages).tolist()
    (file,) = cache.iterdir()
    good = file.read_bytes()
    for bad in (b"", good[:-1], good + b"\0", good[:40] + bytes([good[40] ^ 1]) + good[41:]):
        file.write_bytes(bad)
        forget(monkeypatch)
        assert compressed_lengths("lz4", pages).tolist() == expected
        assert file.read_bytes() == good


def test_no_cache_directory_is_no_error(
    pages: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compressed_lengths("lz4", pages)[0] == 26


@pytest.mark.usefixtures("cache")
def test_memory_is_bounded(pages: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "REMEMBERED_MAX", 3)
    for count in range(1, 8):
        compressed_lengths("lz4", pages[:count])
    assert len(lengths._remembered) == 3


@pytest.mark.usefixtures("cache")
def test_lengths_cannot_be_changed_by_a_caller(pages: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="read-only"):
        compressed_lengths("lz4", pages)[0] = 1


@pytest.mark.usefixtures("cache")
def test_no_pages_have_no_lengths() -> None:
    assert compressed_lengths("lz4", np.empty((0, 4096), np.uint8)).shape == (0,)


@pytest.mark.parametrize("bad", [np.zeros(4096, np.uint8), np.zeros((1, 4095), np.uint8), np.zeros((1, 4096))])
def test_other_arrays_are_errors(bad: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="4096"):
        compressed_lengths("lz4", bad)
