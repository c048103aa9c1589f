"""The guest's whole file system: a cpio archive in memory ("newc", Documentation/driver-api/early-userspace)."""

from __future__ import annotations

import stat
from collections.abc import Mapping

__all__ = ["archive"]

DIRECTORIES = ("dev", "proc", "sys", "modules")
TRAILER = "TRAILER!!!"


def archive(files: Mapping[str, bytes], executables: Mapping[str, bytes]) -> bytes:
    """Return an archive of files by path, and the directories that the runner mounts on.

    It is the same for the same files: everything is root's, and from 1970.
    """
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in DIRECTORIES]
    # The kernel opens it for its first process, which is why the runner's errors are seen.
    console = _entry("dev/console", stat.S_IFCHR | 0o600, b"", len(entries) + 1, (5, 1))
    entries += [(name, stat.S_IFREG | 0o755, data) for name, data in executables.items()]
    entries += [(name, stat.S_IFREG | 0o644, data) for name, data in files.items()]
    archived = [_entry(name, mode, data, i) for i, (name, mode, data) in enumerate(entries, len(entries) + 2)]
    return b"".join([*archived[: len(DIRECTORIES)], console, *archived[len(DIRECTORIES) :], _entry(TRAILER, 0, b"", 0)])


def _entry(name: str, mode: int, data: bytes, inode: int, device: tuple[int, int] = (0, 0)) -> bytes:
    encoded = name.encode() + b"\0"
    numbers = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0]
    header = b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
