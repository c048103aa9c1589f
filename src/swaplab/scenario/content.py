"""Contents of pages: a weighted mix of components, each with a list of sample pages.

A page belongs to one component for good, chosen by a hash of the seed and its number. Which of that
component's samples it holds is a hash of its number and its version, the number of writes so far. So the
bytes of a page are a pure function of content, seed, page and version, and need never be stored.

In a scenario a content is ``"zero"``, ``"random"`` or a table with one key::

    { same_filled = 0x42 }                  # a byte, or a 64-bit word, repeated
    { ratio = 2.5 }                         # compresses 2.5 times with lzo, and nearly so with the others
    { ratio = { lz4 = 2.0, zstd = 3.1 } }   # within 2 %
    { file = "heap.bin" }                   # its pages, at most 4096 evenly spread ones
    { profile = "content.parquet" }         # sampled from a running program
    { mix = [{ weight = 0.2, content = "zero" }, { weight = 0.8, content = { ratio = 3 } }] }
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from swaplab.errors import InputError
from swaplab.linux.crypto import COMPRESSORS
from swaplab.scenario.pages import file_pages, random_pages, ratio_pages, same_filled_page
from swaplab.scenario.profile import read_profile, write_profile

__all__ = [
    "Content",
    "File",
    "Mix",
    "Part",
    "Profiled",
    "Random",
    "Ratio",
    "SameFilled",
    "Samples",
    "Zero",
    "content_from_toml",
    "sample_hash",
    "write_profile",
]

COMPONENTS_MAX: Final = 255
WEIGHT_MAX: Final = 1e100  # so that sums of weights are numbers
MIX_SAMPLES_MAX: Final = 1 << 16  # 256 MiB
RATIO_COMPRESSOR: Final = "lzo"  # whose ratio a bare number is: the kernel's default


def sample_hash(page: int, version: int) -> int:
    """Hash a page's number and version, to choose its sample: 0..2**32-1.

    Plain arithmetic with every product below 2**63: Python, numpy's int64 (scalars and arrays) and compiled
    code agree, without overflow. Only the lower 32 bits of the arguments count.
    """
    mixed = 0x1E3779B9
    for number in (page, version):
        mixed = (mixed + number) & 0xFFFFFFFF
        mixed = ((mixed ^ (mixed >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
        mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
        mixed = mixed ^ (mixed >> 16)
    return mixed


class Component(NamedTuple):
    """One kind of page: its share (any positive scale) and its samples, uint8[n, 4096]."""

    weight: float
    pages: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Samples:
    """A content made ready: every sample page of every component.

    Attributes:
        seed: what the components of pages depend on.
        pages: uint8[n, 4096], read-only.
        first: int32[c], where the samples of a component begin.
        count: int32[c], how many they are, at least one.
        weight: float64[c], share of the pages; sums to 1.
    """

    seed: int
    pages: NDArray[np.uint8]
    first: NDArray[np.int32]
    count: NDArray[np.int32]
    weight: NDArray[np.float64]

    @cached_property
    def _salt(self) -> int:
        """A version that no page reaches, so that a component says nothing about samples."""
        return sample_hash(self.seed, self.seed >> 32) | 1 << 31

    @cached_property
    def _bounds(self) -> list[int]:
        """Where in the range of the hash each component but the last ends."""
        return [round(bound * 2**32) for bound in np.cumsum(self.weight)[:-1]]

    def component_of(self, pages: ArrayLike) -> NDArray[np.uint8]:
        """Return the component of every page: uint8[k] for integers[k], each below 2**32."""
        numbers = np.asarray(pages, np.int64)
        hashes = sample_hash(numbers, self._salt)  # type: ignore[arg-type]  # an array in, an array out
        return np.asarray(np.searchsorted(self._bounds, hashes, side="right"), np.uint8)  # of `COMPONENTS_MAX`

    def sample_of(self, page: int, version: int) -> int:
        """Return the row in `pages` of what a page holds after `version` writes."""
        component = bisect_right(self._bounds, sample_hash(page, self._salt))
        return int(self.first[component]) + sample_hash(page, version) % int(self.count[component])

    def bytes_of(self, page: int, version: int) -> bytes:
        """Return what a page holds after `version` writes: 4096 bytes."""
        return bytes(self.pages[self.sample_of(page, version)])


class ContentBase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The methods of all contents; the classes below say what they are."""

    def resolve(self, seed: int, base: Path, where: object = "content") -> Samples:
        """Make every sample page.

        Args:
            seed: what the components of pages depend on; the samples do not.
            base: directory that paths are relative to: the scenario's.
            where: file and key, for errors.

        Raises:
            InputError: a file that cannot be read or is not a profile, ratios that no page has.
        """
        components = self.components(base, str(where))
        if len(components) > COMPONENTS_MAX:
            raise InputError(where, f"at most {COMPONENTS_MAX} components", len(components))
        count = np.array([len(part.pages) for part in components], np.int32)
        weight = np.array([part.weight for part in components])
        pages = np.concatenate([part.pages for part in components])
        for array in (pages, count, weight):
            array.flags.writeable = False
        return Samples(seed, pages, np.cumsum(count, dtype=np.int32) - count, count, weight / weight.sum())

    def components(self, base: Path, where: str) -> Sequence[Component]:
        """Make the components; see `resolve` for arguments and errors."""
        raise NotImplementedError

    def check(self, where: str) -> None:
        """Check what types cannot say, naming `where`."""

    def ratios(self) -> Iterable[Content]:
        """Contents whose pages have to be found first."""
        return ()

    def files(self) -> Iterable[str]:
        """Paths that it reads, as the scenario has them."""
        return ()


class Zero(ContentBase, frozen=True, forbid_unknown_fields=True, tag="zero", tag_field="kind"):
    """Nothing but zeros, which swap stores as a bit: never in zswap."""

    def components(self, base: Path, where: str) -> Sequence[Component]:
        """Make one zero page."""
        return [Component(1, same_filled_page(0))]


class Random(ContentBase, frozen=True, forbid_unknown_fields=True, tag="random", tag_field="kind"):
    """Bytes that do not compress."""

    def components(self, base: Path, where: str) -> Sequence[Component]:
        """Make 64 random pages."""
        return [Component(1, random_pages())]


class SameFilled(ContentBase, frozen=True, forbid_unknown_fields=True, tag="same_filled", tag_field="kind"):
    """One machine word, repeated; a number below 256 is a byte, repeated."""

    same_filled: int

    def check(self, where: str) -> None:
        """Check the range."""
        if not 0 <= self.same_filled < 1 << 64:
            raise InputError(f"{where}.same_filled", "a byte or a 64-bit word", self.same_filled)

    def components(self, base: Path, where: str) -> Sequence[Component]:
        """Make the one page."""
        return [Component(1, same_filled_page(self.same_filled))]


class Ratio(ContentBase, frozen=True, forbid_unknown_fields=True, tag="ratio", tag_field="kind"):
    """Pages of a given compression ratio: uncompressed through compressed bytes, over many pages.

    A bare number is met with lzo. lzo-rle, lz4 and zstd come within 4 % up to a ratio of 20, deflate within
    8 %.
    """

    ratio: float | dict[str, float]

    def __hash__(self) -> int:
        """Hash the table as well: contents are looked up by value."""
        return hash(frozenset(self.targets.items()))

    @property
    def targets(self) -> dict[str, float]:
        """The ratio by compressor."""
        return self.ratio if isinstance(self.ratio, dict) else {RATIO_COMPRESSOR: self.ratio}

    def check(self, where: str) -> None:
        """Check names and ranges."""
        if not self.targets:
            raise InputError(f"{where}.ratio", "a ratio for one compressor or more", "none")
        for name, target in self.targets.items():
            if name not in COMPRESSORS:
                raise InputError(f"{where}.ratio", f"compressors among {', '.join(COMPRESSORS)}", repr(name))
            if not (math.isfinite(target) and target > 0):
                raise InputError(f"{where}.ratio", "a positive number", target)

    def components(self, base: Path, where: str) -> Sequence[Component]:
        """Make 64 pages."""
        return [Component(1, ratio_pages(self.targets, f"{where}.ratio"))]

    def ratios(self) -> Iterable[Content]:
        """Just this."""
        return (self,)


class File(ContentBase, frozen=True, forbid_unknown_fields=True, tag="file", tag_field="kind"):
    """The pages of a file."""

    file: str

    def components(self, base: Path, where: str) -> Sequence[Component]:
        """Read up to 4096 pages."""
        return [Component(1, file_pages(base / self.file, f"{where}.file"))]

    def files(self) -> Iterable[str]:
        """Just this."""
        return (self.file,)


class Profiled(ContentBase, frozen=True, forbid_unknown_fields=True, tag="profile", tag_field="kind"):
    """Pages sampled from a running program: zero pages are one component, the others another."""

    profile: str

    def components(self, base: Path, where: str) -> Sequence[Component]:
        """Read up to 4096 pages, and the share of zero pages."""
        profile = read_profile(base / self.profile, f"{where}.profile")
        zero = Component(profile.zero_weight, same_filled_page(0))
        other = Component(1 - profile.zero_weight, profile.pages)
        return [component for component in (zero, other) if component.weight]

    def files(self) -> Iterable[str]:
        """Just this."""
        return (self.profile,)


Unmixed = Zero | Random | SameFilled | Ratio | File | Profiled


class Part(msgspec.Struct, frozen=True):
    """A part of a mix: its share, on the scale of the other parts, and what its pages hold."""

    weight: float
    content: Unmixed


class Mix(ContentBase, frozen=True, forbid_unknown_fields=True, tag="mix", tag_field="kind"):
    """Pages of several kinds."""

    mix: tuple[Part, ...]

    def ratios(self) -> Iterable[Content]:
        """Those of the parts."""
        return (each for part in self.mix for each in part.content.ratios())

    def files(self) -> Iterable[str]:
        """Those of the parts."""
        return (each for part in self.mix for each in part.content.files())

    def components(self, base: Path, where: str) -> Sequence[Component]:
        """Make the components of every part, and stop when they would take too much memory."""
        made: list[Component] = []
        for number, part in enumerate(self.mix):
            components = part.content.components(base, f"{where}.mix[{number}].content")
            made += [Component(part.weight * weight, pages) for weight, pages in components]
            total = sum(len(pages) for _, pages in made)
            if total > MIX_SAMPLES_MAX:
                raise InputError(f"{where}.mix[{number}]", f"{MIX_SAMPLES_MAX} sample pages at most", total)
        return made


Content = Unmixed | Mix
"""The contents of a workload's pages."""

NAMED: Final[dict[object, Unmixed]] = {"zero": Zero(), "random": Random()}
TABLES: Final[dict[object, tuple[type[Unmixed], str]]] = {
    "same_filled": (SameFilled, "an integer"),
    "ratio": (Ratio, "a number, or a table of numbers by compressor"),
    "file": (File, "a path"),
    "profile": (Profiled, "a path"),
}


def _decode(value: object, where: str) -> Unmixed:
    """Decode a content that is not a mix."""
    if isinstance(value, str) and value in NAMED:
        return NAMED[value]
    key = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(value, dict) or key not in TABLES:
        kinds = ", ".join(map(str, [*TABLES, "mix (outside a mix)"]))
        raise InputError(where, f"zero, random or a table with one key of {kinds}", repr(value))
    kind, expected = TABLES[key]
    try:
        content = msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise InputError(f"{where}.{key}", expected, repr(value[key])) from None
    content.check(where)
    return content


def _decode_part(value: object, where: str) -> Part:
    if not isinstance(value, dict) or set(value) != {"weight", "content"}:
        raise InputError(where, "a table with the keys weight and content", repr(value))
    weight = value["weight"]
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= WEIGHT_MAX:
        raise InputError(f"{where}.weight", f"a positive number of at most {WEIGHT_MAX:g}", repr(weight))
    return Part(float(weight), _decode(value["content"], f"{where}.content"))


def _decode_mix(value: object, where: str) -> Mix:
    if not isinstance(value, list) or not 1 <= len(value) <= COMPONENTS_MAX:
        raise InputError(where, f"a list of 1 to {COMPONENTS_MAX} tables", repr(value)[:80])
    return Mix(tuple(_decode_part(part, f"{where}[{number}]") for number, part in enumerate(value)))


def content_from_toml(value: object, where: object = "content") -> Content:
    """Return the content that a scenario's string or table means.

    Args:
        value: as the module's docstring shows.
        where: file and key, for errors.

    Raises:
        InputError: no such content, or a number out of range. Files are not looked at yet.
    """
    if isinstance(value, dict) and set(value) == {"mix"}:
        return _decode_mix(value["mix"], f"{where}.mix")
    return _decode(value, str(where))
