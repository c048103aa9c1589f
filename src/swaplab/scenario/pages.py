"""Pages made to order: random, of one repeated word, of a given compression ratio, or sampled from a file.

All of them are the same on every machine and for every seed, so their compressed lengths are worth
remembering.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from swaplab.compress import compress
from swaplab.errors import InputError
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.regular import open_regular

__all__ = ["SAMPLES_MAX", "file_pages", "random_pages", "ratio_pages", "same_filled_page"]

SAMPLES_MAX: Final = 4096  # of one component: 16 MiB
SYNTHETIC_SAMPLES: Final = 64
ALPHABET: Final = 16
TOLERANCE: Final = 0.02

# A page is fitted to one target of each family; all other targets must then be right by themselves.
DICTIONARY_COMPRESSORS: Final = ("lz4", "lzo", "lzo-rle")
ENTROPY_COMPRESSORS: Final = ("zstd", "deflate")

Pages = NDArray[np.uint8]


@cache
def _noise(label: str) -> Pages:
    """Return uint8[64, 4096], read-only, that depend on the label alone."""
    data = hashlib.shake_256(f"swaplab {label}".encode()).digest(SYNTHETIC_SAMPLES * PAGE_SIZE)
    return np.frombuffer(data, np.uint8).reshape(SYNTHETIC_SAMPLES, PAGE_SIZE)


def random_pages() -> Pages:
    """Return 64 pages that no compressor makes smaller: uint8[64, 4096]."""
    return _noise("random")


def same_filled_page(word: int) -> Pages:
    """Return the page that repeats one machine word (a byte, if it fits one): uint8[1, 4096]."""
    unit = bytes([word]) if word < 256 else word.to_bytes(8, "little")
    return np.frombuffer(unit * (PAGE_SIZE // len(unit)), np.uint8).reshape(1, PAGE_SIZE)


def _dense_pages(dense: int, letters: int) -> Pages:
    """Return pages of a repeated word, then random bytes, then letters: `dense` of both, `letters` of these.

    The letters are of a small alphabet: zstd and deflate halve them, LZ4 and LZO cannot. The word comes
    first since LZO, in longer and longer strides through what does not repeat, would step over the first
    repetitions after it.
    """
    pages = np.tile(_noise("words")[:, :8], PAGE_SIZE // 8)
    pages[:, PAGE_SIZE - dense :] = _noise("bytes")[:, :dense]
    pages[:, PAGE_SIZE - letters :] = _noise("letters")[:, :letters] % ALPHABET
    pages.flags.writeable = False
    return pages


def _ratio(name: str, pages: Pages) -> float:
    """Return how many times smaller the pages get, all together."""
    return pages.size / sum(len(compress(name, page.tobytes())) for page in pages)


def _first(start: int, stop: int, reached: Callable[[int], bool]) -> int:
    """Return the smallest number from `start` on that has reached it; `stop` if none before it has."""
    while start < stop:
        middle = (start + stop) // 2
        if reached(middle):
            stop = middle
        else:
            start = middle + 1
    return start


def _fit_dense(name: str, target: float, share: int) -> Pages:
    """Find how many bytes must be dense, `share` / 256 of them letters, for a compressor's target."""

    def pages(dense: int) -> Pages:
        return _dense_pages(dense, dense * share // 256)

    return pages(_first(0, PAGE_SIZE, lambda dense: _ratio(name, pages(dense)) <= target))


@lru_cache(maxsize=64)
def _fit(targets: tuple[tuple[str, float], ...]) -> Pages:
    """Find the pages that come closest to the first target of each family of compressors."""
    wanted = dict(targets)
    firsts = [
        next((name for name in family if name in wanted), None)
        for family in (DICTIONARY_COMPRESSORS, ENTROPY_COMPRESSORS)
    ]
    dictionary, entropy = firsts
    if dictionary is None or entropy is None:
        name = dictionary or entropy or ""
        return _fit_dense(name, wanted[name], 0)

    def pages(share: int) -> Pages:
        return _fit_dense(dictionary, wanted[dictionary], share)

    return pages(_first(0, 256, lambda share: _ratio(entropy, pages(share)) >= wanted[entropy]))


def _format(ratios: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {ratio:.4g}" for name, ratio in ratios.items())


def ratio_pages(targets: Mapping[str, float], where: object) -> Pages:
    """Return pages that compress as told, up to 2 %: uint8[64, 4096].

    Args:
        targets: by compressor, how many times smaller the pages get, all together.
        where: file and key, for errors.

    Raises:
        InputError: no such page can be made; it says which comes closest.
    """
    pages = _fit(tuple(sorted(targets.items())))
    reached = {name: _ratio(name, pages) for name in targets}
    if any(abs(reached[name] / target - 1) > TOLERANCE for name, target in targets.items()):
        raise InputError(where, f"ratios that a page can have (closest: {_format(reached)})", _format(targets))
    return pages


def file_pages(path: Path, where: object) -> Pages:
    """Return the pages of a file, or 4096 evenly spread ones of a larger one: uint8[n, 4096].

    A partial last page is filled with zeros.

    Raises:
        InputError: not a regular file, empty or unreadable.
    """
    try:
        with open_regular(path, where) as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise InputError(where, "a file that is not empty", path)
            total = -(-size // PAGE_SIZE)
            count = min(total, SAMPLES_MAX)
            return np.stack([_file_page(file, i * total // count) for i in range(count)])
    except OSError as error:
        raise InputError(where, f"a readable file {path}", error.strerror) from None


def _file_page(file: BinaryIO, number: int) -> NDArray[np.uint8]:
    file.seek(number * PAGE_SIZE)
    return np.frombuffer(file.read(PAGE_SIZE).ljust(PAGE_SIZE, b"\0"), np.uint8)
