"""Debian's kernels: which there are, in all suites of this machine's mirrors, and which are kept here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from swaplab.cache import cache_dir, cached_directory, read_cached, write_cached
from swaplab.errors import SwaplabError
from swaplab.vm.apt import Bars, Progress, Source, apt, sources
from swaplab.vm.package import unpack_package

__all__ = [
    "UNPACKED_KEY",
    "Package",
    "fetch_file_system",
    "fetch_kernel",
    "kept_kernels",
    "kernels_in",
    "known_kernels",
    "listing",
    "update_kernels",
    "version_key",
]

INDEX: Final = "kernels.json"
RECORD: Final = "package.json"
# Not the cloud flavour, which has no zswap, nor the one for PREEMPT_RT.
IMAGE = re.compile(r"linux-image-\d+\.\d+[\w.+~]*(-\d+)?-amd64(-unsigned)?")
# From 6.19 on what linux-image-* installs is in two others.
PART = re.compile(r"\blinux-(?:binary|modules)-[\w.+~-]+")
# Of more than 4000 modules, those directories that may have what a guest takes.
UNPACKED = re.compile(
    r"\./(boot/vmlinuz-|(usr/)?lib/modules/[^/]+/(vmlinuz$|kernel/"
    r"(arch/x86/crypto|crypto|lib|mm|fs/configfs|drivers/(virtio|block|char))/.*\.ko))"
)
# And, where a scenario has files, those that may have the file system.
FILE_SYSTEM = re.compile(r"\./(usr/)?lib/modules/[^/]+/kernel/(crypto|lib|fs/(ext4|jbd2|mbcache))\b.*\.ko")
UNPACKED_KEY: Final = hashlib.sha256(UNPACKED.pattern.encode()).hexdigest()[:8]
SERIES = re.compile(r"\d+\.\d+")


class Package(msgspec.Struct, frozen=True):
    """A kernel in Debian's archive.

    Attributes:
        name: of the package that installs it.
        version: Debian's.
        source: where it is.
        parts: names of the packages that have its files, of the same version.
        size: bytes to fetch.
    """

    name: str
    version: str
    source: Source
    parts: tuple[str, ...]
    size: int

    @property
    def linux(self) -> str:
        """Linux's version, such as 6.12.117 or 7.3~rc7."""
        return self.version.rpartition("-")[0]

    @property
    def series(self) -> str:
        """Such as 6.12."""
        return SERIES.match(self.version)[0]  # type: ignore[index]  # kernels_in() sees to it

    def has_version(self, wanted: str) -> bool:
        """Whether it is a kernel of a series (6.12) or the one of a version (6.12.117)."""
        return re.match(rf"{re.escape(wanted)}(?!\d)", self.version) is not None

    @property
    def directory(self) -> str:
        """Where it is kept, in the cache: a package may change and keep its name, and other files of it be wanted."""
        return f"{self.name}_{self.version}_{UNPACKED_KEY}"


def version_key(package: Package) -> tuple[object, object, str]:
    """Return what sorts packages by Debian's order of versions (deb-version(7)); of one version, by their names."""
    upstream, _, revision = package.version.rpartition("-")
    return _ordered(upstream), _ordered(revision), package.name


def _ordered(version: str) -> list[tuple[list[int], int]]:
    parts = re.findall(r"(\D*)(\d*)", version)
    return [([*map(_rank, text), 0], int(number or 0)) for text, number in parts]


def _rank(character: str) -> int:
    """A tilde comes before the end of a text, letters come before all else."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def kernels_in(listed: Iterable[dict[str, str]], source: Source) -> list[Package]:
    """Return the kernels among packages of a suite, those that are whole."""
    by_name = {(each["Package"], each["Version"]): each for each in listed}
    found = []
    for (name, version), fields in by_name.items():
        depends = fields.get("Depends", "")
        # One that depends on another image has no files: it stands for the newest.
        if IMAGE.fullmatch(name) and SERIES.match(version) and "linux-image-" not in depends:
            parts = tuple(PART.findall(depends)) or (name,)
            if all((part, version) in by_name for part in parts):
                size = sum(int(by_name[part, version]["Size"]) for part in parts)
                found.append(Package(name, version, source, parts, size))
    return found


# What there is -------------------------------------------------------------------------------------------------------


def update_kernels(told: Progress) -> list[Package]:
    """Fetch the lists of all suites (40 MB); return the kernels in them, and keep that.

    Raises:
        SwaplabError: there is no apt, no mirror of Debian, or it cannot be reached.
    """
    found: dict[str, Package] = {}
    seen: set[Source] = set()
    wanted = sources()
    for i, source in enumerate(wanted):
        if source not in seen:
            with apt(source) as own:
                if own.update():
                    seen.add(Source(source.uri, own.release()))
                    for each in kernels_in(own.packages("linux-"), source):
                        found.setdefault(each.directory, each)
        told(i + 1, len(wanted))
    if not found:
        raise SwaplabError("apt's sources have no mirror of Debian with kernels; --kernel takes a bzImage of your own")
    packages = sorted(found.values(), key=version_key)
    write_cached(INDEX, msgspec.json.encode(packages))
    return packages


def known_kernels() -> list[Package]:
    """Return the kernels that there were when the lists were last fetched; none if they never were."""
    kept = read_cached(INDEX)
    try:
        return msgspec.json.decode(kept, type=list[Package]) if kept else []
    except msgspec.MsgspecError:  # of another version of swaplab
        return []


class Listed(msgspec.Struct, frozen=True):
    """A kernel that can be had.

    Attributes:
        series: such as 6.12.
        version: Linux's.
        suite: of Debian.
        size: bytes to fetch.
        cached: whether it is kept here.
        package: Debian's name of it.
    """

    series: str
    version: str
    suite: str
    size: int
    cached: bool
    package: str


def listing(known: Iterable[Package], kept: Iterable[Package]) -> list[Listed]:
    """Return the newest kernel of each series, and all that are kept here."""
    here = {each.directory: each for each in kept}
    packages = sorted(({each.directory: each for each in known} | here).values(), key=version_key)
    newest = {each.series: each.directory for each in packages}
    return [
        Listed(each.series, each.linux, each.source.suite, each.size, each.directory in here, each.name)
        for each in packages
        if each.directory in (newest[each.series], *here)
    ]


# What is kept here ---------------------------------------------------------------------------------------------------


def kept_kernels() -> list[Package]:
    """Return the kernels that are in the cache."""
    return sorted(_kept(), key=version_key)


def _kept() -> Iterator[Package]:
    for record in cache_dir().glob(f"linux-image-*_{UNPACKED_KEY}/{RECORD}"):
        try:
            yield msgspec.json.decode(record.read_bytes(), type=Package)
        except (OSError, msgspec.MsgspecError):
            continue  # damaged, so it would be fetched again


def fetch_kernel(package: Package, bars: Bars) -> Path:
    """Return the directory with a kernel and its modules: the first time it is fetched, then kept with its checksums.

    Args:
        bars: returns what is told of the progress of something.

    Raises:
        SwaplabError: it cannot be fetched.
        OSError: the cache is full.
    """
    return cached_directory(package.directory, lambda directory: _fetch(package, UNPACKED, directory, bars))


def fetch_file_system(package: Package, bars: Bars) -> Path:
    """Return the directory with the modules of a kernel that its file system takes, as `fetch_kernel` does.

    They have a directory of their own, as few scenarios have files.
    """
    key = hashlib.sha256(FILE_SYSTEM.pattern.encode()).hexdigest()[:8]
    name = f"file-system-{package.name}_{package.version}_{key}"
    return cached_directory(name, lambda directory: _fetch(package, FILE_SYSTEM, directory, bars))


def _fetch(package: Package, wanted: re.Pattern[str], directory: Path, bars: Bars) -> None:
    with apt(package.source) as own:
        bars(f"lists of {package.source.suite}")
        own.update()
        versions = [f"{part}={package.version}" for part in package.parts]
        files = own.download(versions, bars(f"fetching Linux {package.linux}"))
        bars(f"unpacking Linux {package.linux}")
        for file in files:
            unpack_package(file, wanted, directory)
    (directory / RECORD).write_bytes(msgspec.json.encode(package))
