"""Debian packages: fetched with apt, unpacked into the cache directory, never installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from swaplab.cache import cached_directory
from swaplab.errors import SwaplabError
from swaplab.files import scratch_directory
from swaplab.process import with_parent
from swaplab.vm.apt import run_command

__all__ = ["download", "fetch", "unpack", "unpack_package"]


def fetch(package: str, wanted: re.Pattern[str]) -> Path:
    """Return the directory with some files of a package; the first time, it is fetched.

    Args:
        package: its name.
        wanted: beginnings of the paths of those files, as in ``./boot/vmlinuz``.

    Raises:
        SwaplabError: apt does not know it, or cannot fetch it.
        OSError: the cache is not writable or full.
    """
    return cached_directory(package, lambda directory: download(package, wanted, directory))


def download(package: str, wanted: re.Pattern[str], directory: Path) -> None:
    """Fetch a package, and unpack some of its files below a directory; see `fetch`."""
    with scratch_directory(directory) as scratch:
        run_command("apt-get", "-q", "download", package, directory=scratch)
        unpack_package(next(scratch.glob("*.deb")), wanted, directory)


def unpack_package(package: Path, wanted: re.Pattern[str], directory: Path) -> None:
    """Write those files of a package whose paths begin as `wanted`, at these paths below a directory.

    Raises:
        SwaplabError: it is damaged.
        OSError: the disk is full.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=with_parent()) as process,  # noqa: PLW1509, S603
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        unpack(archive, wanted, directory)
    if process.returncode:
        raise SwaplabError(f"dpkg-deb cannot unpack {package.name}")


def unpack(archive: tarfile.TarFile, wanted: re.Pattern[str], directory: Path) -> None:
    """Write those files of an archive whose paths begin as `wanted`, at these paths below a directory."""
    for member in archive:
        data = archive.extractfile(member) if member.isfile() and wanted.match(member.name) else None
        if data and ".." not in Path(member.name).parts:
            path = directory / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(data, file)
