"""Files of others, opened so that reading them ends."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from swaplab.errors import InputError
from swaplab.files import naming

__all__ = ["open_regular", "read_regular"]


def open_regular(path: Path, where: object) -> BinaryIO:
    """Open a file to read: a pipe would block on opening already, and a device may have no end.

    Args:
        path: the file.
        where: what names it, for errors.

    Raises:
        InputError: a pipe, a device, a directory.
        OSError: the file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise InputError(where, "a regular file", path)


def read_regular(path: Path, most: int) -> bytes:
    """Read a file whole.

    Args:
        most: bytes that it may have.

    Raises:
        InputError: a pipe, a device, a directory, or larger.
        OSError: the file cannot be read.
    """
    with naming(path), open_regular(path, path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError(path, f"a file of at most {most} bytes", "a larger one")
    return data
