"""How long pages become: the real compressors, asked once for the same pages.

The answer is kept in memory and in the cache directory, as int32, little endian, under a hash of the pages, the
compressor and its version.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from swaplab.cache import cached_bytes
from swaplab.compress.compressors import compress, compressor_version
from swaplab.linux.page import PAGE_SIZE
from swaplab.linux.release import Modelled

__all__ = ["compressed_lengths"]

# A call with 4096 pages leaves 16 KiB behind; this many keep what one comparison of all compressors asks for.
REMEMBERED_MAX = 256

_remembered: dict[str, NDArray[np.int32]] = {}


def _key(name: str, pages: NDArray[np.uint8], release: Modelled) -> str:
    digest = hashlib.sha256(f"{name}\n{compressor_version(name, release)}\n{len(pages)}\n".encode())
    digest.update(np.ascontiguousarray(pages).data)
    return digest.hexdigest()


def _measure(name: str, pages: NDArray[np.uint8], release: Modelled) -> NDArray[np.int32]:
    return np.fromiter((len(compress(name, page.tobytes(), release)) for page in pages), np.int32, len(pages))


def _look_up(name: str, pages: NDArray[np.uint8], release: Modelled, key: str) -> NDArray[np.int32]:
    """Take the lengths from the disk, or measure them and put them there."""
    kept = cached_bytes(f"lengths/{key}", lambda: _measure(name, pages, release).astype("<i4").tobytes())
    lengths = np.frombuffer(kept, "<i4").astype(np.int32)
    lengths.flags.writeable = False
    return lengths


def compressed_lengths(name: str, pages: NDArray[np.uint8], release: Modelled = "6.12") -> NDArray[np.int32]:
    """Return the compressed length of every page in bytes; it may exceed 4096. Asking again is cheap.

    Args:
        name: one of `COMPRESSORS`.
        pages: uint8[n, 4096].
        release: of Linux, whose zstd it is; all others are the same in all releases.

    Returns:
        int32[n], read-only.

    Raises:
        ValueError: no such compressor, or `pages` has another shape.
    """
    if pages.ndim != 2 or pages.shape[1] != PAGE_SIZE or pages.dtype != np.uint8:
        raise ValueError(f"pages are uint8[n, {PAGE_SIZE}], these are {pages.dtype}{list(pages.shape)}")
    key = _key(name, pages, release)
    if key not in _remembered:
        lengths = _look_up(name, pages, release, key)
        if len(_remembered) >= REMEMBERED_MAX:
            _remembered.pop(next(iter(_remembered)), None)
        _remembered[key] = lengths
    return _remembered[key]
