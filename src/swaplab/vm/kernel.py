"""Which kernel: one's own build, or Debian's newest 6.12, fetched with apt and unpacked, never installed."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from swaplab.errors import InputError, SwaplabError
from swaplab.scenario.regular import open_regular, read_regular
from swaplab.vm.modules import find_modules
from swaplab.vm.package import fetch, run_command

__all__ = ["Kernel", "debian_kernel", "digest", "newest_package", "own_kernel"]

# Not the cloud flavour, which has no zswap, nor the one for PREEMPT_RT.
PACKAGES = r"^linux-image-6\.12\.[^ ]*-amd64-unsigned$"
PACKAGE = re.compile(r"linux-image-(6\.12\.(?!.*-(?:cloud|rt)-)\S*)-amd64-unsigned")
# Of more than 4000 modules, those directories that may have what a guest takes.
UNPACKED = re.compile(
    r"\./(boot/vmlinuz-|(usr/)?lib/modules/[^/]+/kernel/"
    r"(arch/x86/crypto|crypto|lib|mm|drivers/(virtio|block|char))/.*\.ko)"
)
IMAGE_BYTES_MAX = 1 << 30
BOOT_MAGIC = (0x202, b"HdrS")  # Documentation/arch/x86/boot.rst


class Kernel(NamedTuple):
    """A kernel to boot: its image, and its modules by name."""

    image: Path
    modules: dict[str, Path]


@cache
def digest(image: Path) -> str:
    """Return a hash of a kernel's image: 16 hexadecimal digits."""
    return hashlib.sha256(read_regular(image, IMAGE_BYTES_MAX)).hexdigest()[:16]


def own_kernel(image: Path, modules: Path | None) -> Kernel:
    """Return a kernel of one's own: a bzImage, and a directory with its modules anywhere below.

    Raises:
        InputError: not a bzImage, or not a directory with modules.
        OSError: the image cannot be read.
    """
    with open_regular(image, image) as file:
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
    directory = fetch(newest_package(run_command("apt-cache", "search", "--names-only", PACKAGES)), UNPACKED)
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
