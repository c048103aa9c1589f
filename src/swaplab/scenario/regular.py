"""Files of others, opened so that reading them ends."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from swaplab.errors import InputError
from swaplab.files import naming

__all__ = ["found_instead", "open_regular", "read_regular"]

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def found_instead(path: Path) -> str:
    """Return, in words for a message, the kind of a file that is not regular; empty if it is."""
    try:
        return KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return str(error.strerror)


def open_regular(path: Path, where: object) -> BinaryIO:
    """Open a file to read: a pipe would block on opening already, and a device may have no end.

    Args:
        path: the file.
        where: what names it, for errors.

    Raises:
        InputError: a pipe, a socket, a device, a directory.
        OSError: the file cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
    else:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
    raise InputError(where, "a regular file", f"{path}, which is {found_instead(path) or 'another one now'}")


def read_regular(path: Path, most: int) -> bytes:
    """Read a file whole.

    Args:
        most: bytes that it may have.

    Raises:
        InputError: a pipe, a socket, a device, a directory, or larger.
        OSError: the file cannot be read.
    """
    with naming(path), open_regular(path, path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError(path, f"a file of at most {most} bytes", "a larger one")
    return data
