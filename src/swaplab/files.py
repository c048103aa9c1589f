"""Outputs are written whole: to a hidden sibling first, then renamed into place."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cache_dir", "write_whole", "write_whole_directory"]


@contextmanager
def write_whole(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a path to write to; rename it to `path` on success, delete it on any error.

    Raises:
        OSError: the directory is missing or not writable, or the disk is full.
    """
    _check_parent(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def write_whole_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory to fill; rename it to `path` on success, delete it on any error.

    Raises:
        FileExistsError: `path` exists already (a directory cannot be replaced in one step).
        OSError: the parent is missing or not writable, or the disk is full.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already")
    _check_parent(path)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_parent(path: Path) -> None:
    """Name the directory that is missing, and not the hidden sibling that could not be made in it."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such directory", str(path.parent))


def cache_dir() -> Path:
    """Directory for what can be computed again: ``$XDG_CACHE_HOME/swaplab`` (created)."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = base / "swaplab"
    directory.mkdir(parents=True, exist_ok=True)
    return directory
