"""How long pages become: the real compressors, asked once for the same pages.

The answer is kept in memory and in the cache directory, under a hash of the pages, the compressor and its
version. A cache file is the SHA-256 of its lengths followed by the lengths (int32, little endian); one that
does not check out is computed again, and a cache that cannot be written is done without.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swaplab.compress.compressors import compress, compressor_version
from swaplab.files import cache_dir, write_whole

__all__ = ["compressed_lengths"]

PAGE_SIZE = 4096
DIGEST_SIZE = hashlib.sha256().digest_size
# A call with 4096 pages leaves 16 KiB behind; this many keep what one comparison of all compressors asks for.
REMEMBERED_MAX = 256

_remembered: dict[str, NDArray[np.int32]] = {}


def _key(name: str, pages: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(f"{name}\n{compressor_version(name)}\n{len(pages)}\n".encode())
    digest.update(np.ascontiguousarray(pages).data)
    return digest.hexdigest()


def _read(path: Path, count: int) -> NDArray[np.int32] | None:
    """Read the lengths in a cache file; None if it is missing, unreadable or not what was written."""
    try:
        with path.open("rb") as file:
            data = file.read(DIGEST_SIZE + 4 * count + 1)
    except OSError:
        return None
    digest, lengths = data[:DIGEST_SIZE], data[DIGEST_SIZE:]
    if len(lengths) != 4 * count or hashlib.sha256(lengths).digest() != digest:
        return None
    return np.frombuffer(lengths, "<i4").astype(np.int32)


def _write(path: Path, lengths: NDArray[np.int32]) -> None:
    data = lengths.astype("<i4").tobytes()
    path.parent.mkdir(exist_ok=True)
    with write_whole(path) as partial:
        partial.write_bytes(hashlib.sha256(data).digest() + data)


def _measure(name: str, pages: NDArray[np.uint8]) -> NDArray[np.int32]:
    return np.fromiter((len(compress(name, page.tobytes())) for page in pages), np.int32, len(pages))


def _look_up(name: str, pages: NDArray[np.uint8], key: str) -> NDArray[np.int32]:
    """Take the lengths from the disk, or measure them and put them there."""
    path = None
    with contextlib.suppress(OSError):
        path = cache_dir() / "lengths" / key
    lengths = _read(path, len(pages)) if path else None
    if lengths is None:
        lengths = _measure(name, pages)
        if path:
            with contextlib.suppress(OSError):
                _write(path, lengths)
    lengths.flags.writeable = False
    return lengths


def compressed_lengths(name: str, pages: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the compressed length of every page in bytes; it may exceed 4096. Asking again is cheap.

    Args:
        name: one of `COMPRESSORS`.
        pages: uint8[n, 4096].

    Returns:
        int32[n], read-only.

    Raises:
        ValueError: no such compressor, or `pages` has another shape.
    """
    if pages.ndim != 2 or pages.shape[1] != PAGE_SIZE or pages.dtype != np.uint8:
        raise ValueError(f"pages are uint8[n, {PAGE_SIZE}], these are {pages.dtype}{list(pages.shape)}")
    key = _key(name, pages)
    if key not in _remembered:
        lengths = _look_up(name, pages, key)
        if len(_remembered) >= REMEMBERED_MAX:
            _remembered.pop(next(iter(_remembered)), None)
        _remembered[key] = lengths
    return _remembered[key]
