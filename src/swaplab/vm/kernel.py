"""Which kernel: one's own build, or one of Debian's, fetched with apt and unpacked, never installed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from swaplab.errors import InputError, SwaplabError
from swaplab.files import naming
from swaplab.linux.release import BASE
from swaplab.scenario.regular import open_regular, read_regular
from swaplab.vm.apt import Bars, silent
from swaplab.vm.debian import (
    Package,
    fetch_file_system,
    fetch_kernel,
    kept_kernels,
    known_kernels,
    update_kernels,
    version_key,
)
from swaplab.vm.modules import find_modules

__all__ = ["DEFAULT", "Kernel", "debian_kernel", "digest", "find_kernels", "newest", "own_kernel", "with_file_system"]

DEFAULT: Final = str(BASE)
VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
IMAGE_BYTES_MAX = 1 << 30
BOOT_MAGIC = (0x202, b"HdrS")  # Documentation/arch/x86/boot.rst


class Kernel(NamedTuple):
    """A kernel to boot: its image, its modules by name, and which of Debian's packages it is from, if any."""

    image: Path
    modules: dict[str, Path]
    package: Package | None = None


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
    with naming(image), open_regular(image, image) as file:
        start = file.read(1024)
    if not start.startswith(BOOT_MAGIC[1], BOOT_MAGIC[0]):
        raise InputError(image, "a kernel image for x86 (arch/x86/boot/bzImage)", "something else")
    found = find_modules(modules) if modules else {}
    if modules and not found:
        raise InputError(modules, "a directory with kernel modules (*.ko, *.ko.xz, *.ko.zst)", "none")
    return Kernel(image, found)


def find_kernels(wanted: Sequence[str], modules: Sequence[Path], bars: Bars = silent) -> list[Kernel]:
    """Return the kernels that a command line names, or the default: by a version of Debian's, or the path of a bzImage.

    Args:
        modules: directories with the modules of each bzImage, in their order.
        bars: returns what is told of the progress of something.

    Raises:
        InputError: modules without a bzImage that they could belong to; and as `own_kernel`.
        SwaplabError, OSError: as `debian_kernel`.
    """
    own = [each for each in wanted if not VERSION.fullmatch(each)]
    if modules and len(modules) != len(own):
        raise InputError("--modules", "the bzImage that they belong to, for each", f"{len(own)} for {len(modules)}")
    left = iter(modules)
    return [
        own_kernel(Path(each), next(left, None)) if each in own else debian_kernel(each, bars)
        for each in wanted or [DEFAULT]
    ]


def debian_kernel(version: str = DEFAULT, bars: Bars = silent) -> Kernel:
    """Return Debian's newest kernel of a series (6.12), or of a version (6.12.117), from the cache.

    The first time it is fetched (70 to 170 MB), and before that the lists of what there is, unless they were before
    and have one. Without a network, what is in the cache can be had.

    Raises:
        SwaplabError: Debian has none, or it cannot be fetched.
        OSError: the cache is not writable or full.
    """
    package = newest([*known_kernels(), *kept_kernels()], version)
    if package is None:
        package = newest(update_kernels(bars("lists of Debian's kernels")), version)
    if package is None:
        series = ", ".join(dict.fromkeys(each.series for each in known_kernels()))
        raise SwaplabError(
            f"no kernel {version} on the mirrors of Debian that apt knows, which have {series}; "
            "--kernel takes a bzImage of your own"
        )
    return _unpacked(package, bars)


def newest(packages: Iterable[Package], version: str) -> Package | None:
    """Return the newest of a series or version, if there is one."""
    return max((each for each in packages if each.has_version(version)), key=version_key, default=None)


def _unpacked(package: Package, bars: Bars) -> Kernel:
    try:
        directory = fetch_kernel(package, bars)
    except SwaplabError as error:
        kept = ", ".join(each.linux for each in kept_kernels() if each.series == package.series)
        advice = "`swaplab vm kernels --update` looks what there is now"
        raise SwaplabError(f"{error}; {advice}" + (f", and --kernel has {kept} here" if kept else "")) from None
    images = sorted(directory.glob("**/vmlinuz*"))
    if not images:
        raise SwaplabError(f"{directory} has no kernel; remove it, and it will be fetched again")
    return Kernel(images[0], find_modules(directory), package)


def with_file_system(kernel: Kernel) -> Kernel:
    """Return the same with the modules of ext4; the first time, those of Debian's are fetched.

    Raises:
        SwaplabError: they cannot be fetched.
        OSError: the cache is full.
    """
    if not kernel.package:
        return kernel
    found = find_modules(fetch_file_system(kernel.package, silent))
    return kernel._replace(modules=found | kernel.modules)
