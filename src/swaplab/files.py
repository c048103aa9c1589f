"""Outputs are written whole or not at all; what a killed run may leave behind is swept by the next one.

An output is a file without a name until it is complete. Where the file system has none such, and where it replaces a
file, it has a hidden name for a while. Such names, and those of scratch directories, start with `PREFIX`, and who uses
one holds a lock on it: one that nobody holds was left by a run that was killed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeGuard

from swaplab.process import uninterrupted

__all__ = [
    "check_new_directory",
    "check_writable",
    "is_standard_output",
    "naming",
    "scratch_beside",
    "scratch_directory",
    "write_whole",
    "write_whole_directory",
]

PREFIX = ".swaplab-"
STANDARD_OUTPUT = Path("-")
OPEN_FILES = Path("/proc/self/fd")
LINKS_MAX = 40  # as Linux has it
# What reading and writing fail with, which comes without the name of a file.
NAMELESS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


# Where an output goes ------------------------------------------------------------------------------------------------


def _follow(path: Path) -> Path | int:
    """Where an output leads: the file behind all links, or the number of a descriptor that is open already.

    Raises:
        OSError: links that lead nowhere.
    """
    if path == STANDARD_OUTPUT:
        return 1
    own = Path(f"/proc/{os.getpid()}/fd")
    target = path
    for _ in range(LINKS_MAX):
        if target.name.isdecimal() and target.parent.resolve() == own:
            return int(target.name)
        if not target.is_symlink():
            return target
        target = target.parent / target.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _mode(path: Path) -> int | None:
    """Type and permissions of a file, None if there is none."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _require(path: Path, permission: int, named: Path) -> None:
    if not os.access(path, permission):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(named))


def _check_directory(directory: Path, path: Path) -> None:
    if not directory.is_dir():
        raise FileNotFoundError(errno.ENOENT, "No such directory", str(path.parent))
    _require(directory, os.W_OK | os.X_OK, path)
    _try(directory, path)


def _try(directory: Path, path: Path) -> None:
    """Make a file in a directory, and remove it: its permissions do not say that of /proc, or of a disk without inodes.

    Raises:
        OSError: none can be made; it names `path`.
    """
    try:
        unnamed = _unnamed(directory, 0o600)
        if unnamed is not None:
            os.close(unnamed)
            return
        with tempfile.NamedTemporaryFile(prefix=PREFIX, dir=directory):
            pass
    except OSError as error:
        reason = "No files can be made there" if error.errno == errno.ENOENT else os.strerror(error.errno or 0)
        raise OSError(error.errno, reason, str(path)) from None


def check_writable(path: Path) -> None:
    """Check that `write_whole` will be able to write there; errors name `path`, not what it leads to.

    Raises:
        OSError: a directory, a socket, in no directory, or where no file can be made or written.
    """
    target = _follow(path)
    if isinstance(target, int):
        os.fstat(target)
        return
    mode = _mode(target)
    if mode is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if mode is not None and stat.S_ISSOCK(mode):
        raise OSError(errno.ENXIO, "Is a socket", str(path))
    if mode is None or stat.S_ISREG(mode):
        _check_directory(target.parent, path if target == path else target)
    if mode is not None:
        _require(target, os.W_OK, path)


def is_standard_output(path: Path) -> bool:
    """Whether an output leads to where reports are printed."""
    return _follow(path) == 1


def _is_file(target: Path | int) -> TypeGuard[Path]:
    """Whether it is a file, or will be, and not a device or a pipe."""
    return isinstance(target, Path) and (_mode(target) is None or target.is_file())


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Yield a directory for nameless files that are needed while `path` is written: beside it, if that is on a disk.

    Raises:
        OSError: the disk is full; it names `path`.
    """
    target = _follow(path)
    with naming(path):
        yield target.parent if _is_file(target) else Path(tempfile.gettempdir())


# Files ---------------------------------------------------------------------------------------------------------------


@contextmanager
def write_whole(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield a path to write to; what was written is at `path` on success, and nowhere on any error.

    A link is written through. A device, a pipe and ``-``, standard output, get all of it in the end.

    Args:
        mode: permissions of a new file before the umask; those of a file that is there are not widened.

    Raises:
        OSError: see `check_writable`, or the disk is full; it names `path`.
    """
    check_writable(path)
    target = _follow(path)
    with naming(path):
        if _is_file(target):
            with _new_file(target, mode) as partial:
                yield partial
        else:
            with tempfile.TemporaryFile() as file:
                yield _path_of(file.fileno())
                _pour(file.fileno(), target)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have errors of reading and writing name the file or directory that the user did."""
    try:
        yield
    except OSError as error:
        names = f"{error.filename} {error.filename2}"  # the latter is where a copy or a link goes to
        hidden = "/proc/self/fd/" in names or PREFIX in names
        if hidden or (error.filename is None and error.errno in NAMELESS):
            raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None
        raise


def _path_of(descriptor: int) -> Path:
    return OPEN_FILES / str(descriptor)


def _pour(descriptor: int, target: Path | int) -> None:
    """Copy a file to a device, a pipe or a descriptor, which stays open."""
    sys.stdout.flush()
    to = os.dup(target) if isinstance(target, int) else os.open(target, os.O_WRONLY | os.O_CLOEXEC)
    with os.fdopen(to, "wb") as sink, os.fdopen(os.dup(descriptor), "rb") as source:
        source.seek(0)
        shutil.copyfileobj(source, sink)


@contextmanager
def _new_file(target: Path, mode: int) -> Iterator[Path]:
    """Yield a path to write a new file to, which then gets the name `target`."""
    _sweep(target.parent)
    name = target.parent / f"{PREFIX}{secrets.token_hex(8)}"
    unnamed = _unnamed(target.parent, mode)
    descriptor = _named(name, mode) if unnamed is None else unnamed
    try:
        yield _path_of(descriptor) if OPEN_FILES.is_dir() else name  # not every library takes every name
        before = _mode(target)
        if before is not None:
            os.fchmod(descriptor, stat.S_IMODE(before) & mode)
        if unnamed is not None:
            _link(unnamed, name)
        name.replace(target)
    finally:
        name.unlink(missing_ok=True)
        os.close(descriptor)


def _link(descriptor: int, name: Path) -> None:
    """Give a file without a name one."""
    _lock(descriptor)
    # Only with a directory's descriptor does Python have the kernel follow the link to the file.
    directory = os.open(name.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(_path_of(descriptor), name.name, dst_dir_fd=directory)
    finally:
        os.close(directory)


def _named(name: Path, mode: int) -> int:
    """Open a new file, locked."""
    while True:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        _lock(descriptor)
        if os.fstat(descriptor).st_nlink:  # and it was not swept before it was locked
            return descriptor
        os.close(descriptor)


def _unnamed(directory: Path, mode: int) -> int | None:
    """Open a new file without a name; None where the file system, or a /proc, lacks what it takes."""
    if not OPEN_FILES.is_dir():
        return None
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            return None
        raise


# Directories ---------------------------------------------------------------------------------------------------------


@contextmanager
def write_whole_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory to fill; rename it to `path` on success, delete it on any error.

    Raises:
        FileExistsError: `path` exists already (a directory cannot be replaced in one step).
        OSError: the parent is missing or not writable, or the disk is full; it names `path`.
    """
    check_new_directory(path)
    with naming(path), _scratch(path.parent) as partial:
        yield partial
        mask = os.umask(0o077)
        os.umask(mask)
        partial.chmod(0o777 & ~mask)
        partial.rename(path)


def check_new_directory(path: Path) -> None:
    """Check that `write_whole_directory` will be able to make it.

    Raises:
        OSError: it is there already, in no directory, or where none can be made.
    """
    if path.exists() or path.is_symlink():
        raise FileExistsError(f"{path} exists already")
    _check_directory(path.parent, path)


@contextmanager
def scratch_directory(parent: Path | None = None) -> Iterator[Path]:
    """Yield an empty directory for this user alone, and delete it in the end.

    Args:
        parent: where it is made; the directory for temporary files if not given.

    Raises:
        OSError: it cannot be made, or the disk is full; it names `parent`.
    """
    parent = parent or Path(tempfile.gettempdir())
    with naming(parent), _scratch(parent) as directory:
        yield directory


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    _sweep(parent)
    made: list[tuple[Path, int]] = []
    try:
        with uninterrupted():
            made.append(_locked_directory(parent))
        yield made[0][0]
    finally:
        with uninterrupted():
            for directory, descriptor in made:
                # What a program left running may still write here; what is complete must not fail for it.
                shutil.rmtree(directory, ignore_errors=True)
                os.close(descriptor)


def _locked_directory(parent: Path) -> tuple[Path, int]:
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with suppress(FileNotFoundError):  # it was swept before it was opened
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            _lock(descriptor)
            if directory.exists():  # and it was not swept before it was locked
                return directory, descriptor
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    with suppress(OSError):  # a file system without locks, where nothing is swept either
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _sweep(directory: Path) -> None:
    """Delete what killed runs of this user left in a directory."""
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in [each for each in entries if each.name.startswith(PREFIX)]:
            with suppress(OSError):
                _sweep_entry(entry)


def _sweep_entry(entry: os.DirEntry[str]) -> None:
    if entry.is_symlink() or entry.stat().st_uid != os.geteuid():
        return
    descriptor = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if entry.is_dir():
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()
    finally:
        os.close(descriptor)
