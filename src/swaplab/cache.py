"""What can be computed again: kept in ``$XDG_CACHE_HOME/swaplab``, and looked over before it is used again.

The cache holds code that is run: compiled functions, a shared object, kernels. So it is this user's alone, and what is
in it has a SHA-256: without one, or with another, it is thrown away and made anew.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Final

from swaplab.errors import InputError
from swaplab.files import scratch_directory, write_whole, write_whole_directory

__all__ = ["cache_dir", "cached_bytes", "cached_directory", "read_cached", "write_cached"]

DIGEST_SIZE: Final = hashlib.sha256().digest_size
SUMS: Final = "SHA256SUMS"


def cache_dir() -> Path:
    """Return the cache directory; where none can be had, one that ends with this process, and a line that says so.

    Raises:
        InputError: another user owns it or can write to it.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path's raises
    directory = Path(base).absolute() / "swaplab"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(directory)
        if not os.access(directory, os.W_OK | os.X_OK):
            return _temporary(directory)
    except OSError:
        return _temporary(directory)
    return directory


def _check(directory: Path) -> None:
    """Refuse a directory that others could put code into; of ours, they need not see what is in it either."""
    status = directory.stat()
    expected = "a cache that you own, and that nobody else can write to (remove it, or set XDG_CACHE_HOME)"
    if status.st_uid != os.geteuid():
        raise InputError(directory, expected, f"one of user {status.st_uid}")
    if status.st_mode & 0o022:
        raise InputError(directory, expected, f"permissions {status.st_mode & 0o777:o}")
    if status.st_mode & 0o077:
        with suppress(OSError):  # of a file system that is mounted to be read
            directory.chmod(0o700)


@cache
def _temporary(instead_of: Path) -> Path:
    stack = ExitStack()
    directory = stack.enter_context(scratch_directory())
    atexit.register(stack.close)
    sys.stderr.write(f"swaplab: {instead_of} cannot be written; what is compiled now is kept until the end only\n")
    return directory


# Files ---------------------------------------------------------------------------------------------------------------


def read_cached(name: str) -> bytes | None:
    """Return what `write_cached` kept under a name; None if there is nothing, or it is damaged.

    Raises:
        InputError: see `cache_dir`.
    """
    try:
        kept = (cache_dir() / name).read_bytes()
    except OSError:
        return None
    data = kept[DIGEST_SIZE:]
    return data if hashlib.sha256(data).digest() == kept[:DIGEST_SIZE] else None


def write_cached(name: str, data: bytes) -> None:
    """Keep some bytes under a name, which may have a directory; where there is no room for them, do without.

    Raises:
        InputError: see `cache_dir`.
    """
    path = cache_dir() / name
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        with write_whole(path, 0o600) as partial:
            partial.write_bytes(hashlib.sha256(data).digest() + data)


def cached_bytes(name: str, make: Callable[[], bytes]) -> bytes:
    """Return what is kept under a name, made where there is nothing, or nothing whole.

    Raises:
        InputError: see `cache_dir`.
    """
    data = read_cached(name)
    if data is None:
        data = make()
        write_cached(name, data)
    return data


# Directories ---------------------------------------------------------------------------------------------------------


def cached_directory(name: str, fill: Callable[[Path], None]) -> Path:
    """Return a directory of the cache; where it is not there or not whole, `fill` puts into it what it is to have.

    Raises:
        InputError: see `cache_dir`.
        OSError: the disk is full.
    """
    directory = cache_dir() / name
    if not _is_whole(directory):
        shutil.rmtree(directory, ignore_errors=True)
        try:
            with write_whole_directory(directory) as partial:
                fill(partial)
                (partial / SUMS).write_text(_sums(partial))
        except OSError:
            if not _is_whole(directory):  # which another run may have made meanwhile
                raise
    return directory


def _is_whole(directory: Path) -> bool:
    try:
        return (directory / SUMS).read_bytes() == _sums(directory).encode()
    except OSError:
        return False


def _sums(directory: Path) -> str:
    """Paths of all files below a directory, with their hashes."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / SUMS)
    return "".join(f"{_digest(path)}  {path.relative_to(directory)}\n" for path in files)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
