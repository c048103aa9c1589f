"""Which kernel: one's own build, or Debian's newest 6.12, fetched with apt and unpacked, never installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from swaplab.errors import InputError, SwaplabError
from swaplab.files import cache_dir, write_whole_directory
from swaplab.vm.modules import find_modules

__all__ = ["Kernel", "debian_kernel", "newest_package", "own_kernel"]

# Not the cloud flavour, which has no zswap, nor the one for PREEMPT_RT.
PACKAGES = r"^linux-image-6\.12\.[^ ]*-amd64-unsigned$"
PACKAGE = re.compile(r"linux-image-(6\.12\.(?!.*-(?:cloud|rt)-)\S*)-amd64-unsigned")
# Of more than 4000 modules, those directories that may have what a guest takes.
UNPACKED = re.compile(
    r"\./(boot/vmlinuz-|(usr/)?lib/modules/[^/]+/kernel/"
    r"(arch/x86/crypto|crypto|lib|mm|drivers/(virtio|block|char))/.*\.ko)"
)
BOOT_MAGIC = (0x202, b"HdrS")  # Documentation/arch/x86/boot.rst


class Kernel(NamedTuple):
    """A kernel to boot: its image, and its modules by name."""

    image: Path
    modules: dict[str, Path]


def own_kernel(image: Path, modules: Path | None) -> Kernel:
    """Return a kernel of one's own: a bzImage, and a directory with its modules anywhere below.

    Raises:
        InputError: not a bzImage, or not a directory with modules.
        OSError: the image cannot be read.
    """
    with image.open("rb") as file:
        start = file.read(1024)
    if not start.startswith(BOOT_MAGIC[1], BOOT_MAGIC[0]):
        raise InputError(image, "a kernel image for x86 (arch/x86/boot/bzImage)", "something else")
    found = find_modules(modules) if modules else {}
    if modules and not found:
        raise InputError(modules, "a directory with kernel modules (*.ko, *.ko.xz, *.ko.zst)", "none")
    return Kernel(image, found)


def debian_kernel() -> Kernel:
    """Return Debian's newest 6.12 kernel from the cache; the first time it is fetched (100 MB).

    Raises:
        SwaplabError: apt does not know one, or cannot fetch it.
        OSError: the cache is not writable or full.
    """
    package = newest_package(_run("apt-cache", "search", "--names-only", PACKAGES))
    directory = cache_dir() / package
    if not directory.exists():
        _fetch(package, directory)
    images = sorted(directory.glob("boot/vmlinuz-*"))
    if not images:
        raise SwaplabError(f"{directory} has no kernel; remove it, and it will be fetched again")
    return Kernel(images[0], find_modules(directory))


def newest_package(listing: str) -> str:
    """Return the package with the highest version in what ``apt-cache search`` printed.

    Raises:
        SwaplabError: there is none.
    """
    found = [match for line in listing.splitlines() if (match := PACKAGE.match(line))]
    if not found:
        advice = "apt-get update may help where Debian has one; --kernel takes any other"
        raise SwaplabError(f"apt knows no package linux-image-6.12.*-amd64-unsigned: {advice}")
    newest = max(found, key=lambda match: [int(number) for number in re.findall(r"\d+", match[1])])
    return newest[0]


def _fetch(package: str, directory: Path) -> None:
    try:
        with write_whole_directory(directory) as partial, tempfile.TemporaryDirectory(dir=partial) as download:
            _run("apt-get", "-q", "download", package, directory=Path(download))
            _unpack(next(Path(download).glob("*.deb")), partial)
    except OSError:
        # Another run may have fetched the same meanwhile.
        if not directory.exists():
            raise


def _unpack(package: Path, directory: Path) -> None:
    """Unpack the files that UNPACKED names."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,  # noqa: S603
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            data = archive.extractfile(member) if member.isfile() and UNPACKED.match(member.name) else None
            if data and ".." not in Path(member.name).parts:
                path = directory / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data.read())
    if process.returncode:
        raise SwaplabError(f"dpkg-deb cannot unpack {package.name}")


def _run(*command: str, directory: Path | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise SwaplabError(f"fetching Debian's kernel needs {command[0]}; --kernel takes one of your own")
    return _checked(command, directory)


def _checked(command: Sequence[str], directory: Path | None) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SwaplabError(f"{' '.join(command)} failed: {done.stderr.strip()[-1000:]}")
    return done.stdout
