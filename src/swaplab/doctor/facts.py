"""Counters and settings of zswap, swap and cgroups, from text in any form in which people post it.

Three forms are read, in any mixture: lines of a file under its name, as ``grep -r .`` prints them
(``/sys/module/zswap/parameters/enabled:Y``); the lines alone (``Zswapped:  1615368 kB``); and names with numbers in
a sentence (``stored 373,259, limit hit 0``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from swaplab.errors import InputError
from swaplab.linux.page import PAGE_SIZE

__all__ = ["TEXT_MAX", "Area", "Facts", "Reading", "Snapshot", "joined", "parse"]

TEXT_MAX: Final = 64 << 20  # a machine with 10,000 cgroups has 40 MB of memory.stat
LINES_MAX: Final = 1 << 21  # of which 10,000 cgroups have a third; some 10 us each
LINE_MAX: Final = 4096
COUNTER_MAX: Final = 1 << 64
CGROUPS: Final = PurePosixPath("/sys/fs/cgroup")

_KIB: Final = ("MemTotal", "AnonPages", "SwapCached", "SwapTotal", "SwapFree", "Zswap", "Zswapped")
_BYTES: Final = (
    *("anon", "file", "swapcached", "zswap", "zswapped", "zswap_incomp", "pool_total_size"),
    *("memory.current", "memory.max", "memory.high", "memory.swap.current", "memory.swap.max"),
    *("memory.zswap.current", "memory.zswap.max"),
)
_COUNTS: Final = (
    *("zswpin", "zswpout", "zswpwb", "pswpin", "pswpout", "stored_pages", "written_back_pages", "pool_limit_hit"),
    *("same_filled_pages", "stored_incompressible_pages", "reject_reclaim_fail", "reject_alloc_fail"),
    *("reject_kmemcache_fail", "reject_compress_fail", "reject_compress_poor", "decompress_fail"),
    *("max_pool_percent", "accept_threshold_percent", "swappiness", "page-cluster"),
)
_WORDS: Final = ("enabled", "compressor", "zpool", "shrinker_enabled", "memory.zswap.writeback", "lru_gen")
_ASKED: Final = tuple(f"zswap.{name}" for name in ("enabled", "compressor", "zpool", "max_pool_percent"))
_ALIASES: Final = {
    "stored": "stored_pages",
    "pool": "pool_total_size",
    "written back": "written_back_pages",
    "writeback": "zswpwb",
    "same-filled": "same_filled_pages",
    "limit hit": "pool_limit_hit",
    "compress_fail": "reject_compress_fail",
    "compress_poor": "reject_compress_poor",
    "swap.current": "memory.swap.current",
    "swap.max": "memory.swap.max",
}
# A file with one value is known by its name, but for this one.
_LRU_GEN: Final = "/sys/kernel/mm/lru_gen/enabled"
_NUMBERS: Final = {name: name for name in (*_KIB, *_BYTES, *_COUNTS)} | _ALIASES
_SETTINGS: Final = {name: name for name in (*_WORDS, *_ASKED)} | {"shrinker": "shrinker_enabled"}
_BINARY: Final = {"K": 10, "M": 20, "G": 30, "T": 40}
_DECIMAL: Final = {"K": 3, "M": 6, "G": 9, "T": 12}

_NUMBER: Final = r"\d[\d,]*(?:\.\d+)?"
_SEPARATOR: Final = r"(?:\s*[:=]\s*|\s+)"


def _any_of(names: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))


# A name and what stands behind it, in a file's line or in a sentence.
_PAIR: Final = re.compile(
    rf"(?<![\w.-])(?:(?P<counter>{_any_of(_NUMBERS)}){_SEPARATOR}(?P<amount>(?>{_NUMBER}|max\b))"
    r"(?:\s?(?P<unit>[KMGT](?:i?B)?\b|kB\b|B\b|bytes\b|pages\b|%))?"
    rf"|(?P<setting>{_any_of(_SETTINGS)}){_SEPARATOR}(?P<word>[\w.+~-]+))"
)
_FILE: Final = re.compile(r"(/[^\s:]+):(.*)")
_AREA: Final = re.compile(
    rf"\s*(?P<name>/\S+)\s+(?P<kind>file|partition)\s+(?P<size>{_NUMBER}[KMGT]?)B?\s+(?P<used>{_NUMBER}[KMGT]?)B?"
    r"\s+(?P<priority>-?\d+)\b"
)


class Reading(NamedTuple):
    """One number or word, and how exactly it was given.

    Attributes:
        value: bytes or a count; a word for settings that are words; None for ``max``.
        error: half of the last digit that was given; 0 where all digits were.
        where: the line it stands in, or its file.
    """

    value: int | str | None
    error: int
    where: str


class Area(NamedTuple):
    """A swap area, as /proc/swaps and ``swapon --show`` list it.

    Attributes:
        size: bytes, as `used`.
        error: of both, as of a `Reading`.
        priority: the highest is filled first.
    """

    name: str
    size: int
    used: int
    error: int
    priority: int

    @property
    def is_zram(self) -> bool:
        """Whether it is compressed memory itself."""
        return PurePosixPath(self.name).name.startswith("zram")


@dataclass
class Facts:
    """Facts about the machine, or about a cgroup: readings by the kernel's name of them."""

    readings: dict[str, Reading] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.readings

    def number(self, name: str) -> int | None:
        """Return a number, or None if it is not known, or is ``max``."""
        value = self.readings[name].value if name in self.readings else None
        return value if isinstance(value, int) else None

    def word(self, name: str) -> str | None:
        """Return a setting as it was written, or None if it is not known."""
        return str(self.readings[name].value) if name in self.readings else None

    def is_on(self, name: str) -> bool | None:
        """Return what a switch says; None if it is not known."""
        word = self.word(name)
        return None if word is None else word.upper() in ("Y", "1", "ON", "YES", "TRUE")

    def error(self, *names: str) -> int:
        """Return what rounding can have made of the sum or difference of some numbers."""
        return sum(self.readings[name].error for name in names if name in self.readings)


@dataclass
class Snapshot:
    """All that was read.

    Attributes:
        machine: the machine's facts, and those without a cgroup's name.
        cgroups: facts of cgroups by path.
        areas: swap areas.
        unread: files that could not be read, and why.
    """

    machine: Facts = field(default_factory=Facts)
    cgroups: dict[str, Facts] = field(default_factory=dict)
    areas: list[Area] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def parse(text: str, source: str) -> Snapshot:
    """Read a snapshot from text.

    Args:
        source: name of the text, for messages.

    Raises:
        InputError: nothing that is known stands in it, one counter stands in it with two values, or one with more than
            the kernel counts to.
    """
    if len(text) > TEXT_MAX:
        raise InputError(source, f"at most {TEXT_MAX} characters", f"{len(text)}")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if (lines := text.count("\n")) > LINES_MAX:
        raise InputError(source, f"at most {LINES_MAX} lines", f"{lines}")
    found = Snapshot()
    for number, line in enumerate(text.split("\n"), 1):
        _parse_line(found, line[:LINE_MAX], f"{source}: line {number}")
    if not (found.machine.readings or found.cgroups or found.areas):
        expected = "counters of zswap or swap, such as Zswapped from /proc/meminfo or stored_pages from debugfs"
        raise InputError(source, expected, "none of them")
    return found


def _parse_line(found: Snapshot, line: str, where: str) -> None:
    in_file = _FILE.match(line)
    path, content = (PurePosixPath(in_file[1]), in_file[2]) if in_file else (PurePosixPath(), line)
    if area := _AREA.match(content):
        found.areas.append(_area(area, where))
        return
    facts = _facts_of(found, path)
    for name, reading in _readings(path, content, where):
        before = facts.readings.setdefault(name, reading)
        if before.value != reading.value:
            raise InputError(where, f"{name} once, as in {before.where}", "another value of it")


def _facts_of(found: Snapshot, path: PurePosixPath) -> Facts:
    if not path.parent.is_relative_to(CGROUPS):
        return found.machine
    return found.cgroups.setdefault(str(path.parent.relative_to(CGROUPS)).removeprefix("."), Facts())


def _readings(path: PurePosixPath, content: str, where: str) -> Iterator[tuple[str, Reading]]:
    name = "lru_gen" if str(path) == _LRU_GEN else path.name
    if name in _NUMBERS or name in _SETTINGS:
        content = f"{name} {content}"
    for pair in _PAIR.finditer(content):
        if pair["setting"]:
            yield _SETTINGS[pair["setting"]], Reading(pair["word"], 0, where)
        elif (pair["unit"] == "%") <= pair["counter"].endswith("percent"):
            name = _NUMBERS[pair["counter"]]
            yield name, _amount(name, pair["amount"], pair["unit"] or "", where)


def _amount(name: str, text: str, unit: str, where: str) -> Reading:
    if text == "max":
        return Reading(None, 0, where)
    return Reading(*_scaled(text, _scale(name, unit), where), where)


def _scale(name: str, unit: str) -> int:
    """The factor of a unit: bytes are powers of 1024 but for MB and GB, counts powers of 1000."""
    prefix = unit[:1].upper() if unit not in ("B", "bytes", "pages", "%") else ""
    if name in _COUNTS:
        return int(10 ** _DECIMAL.get(prefix, 0))
    if unit == "pages":
        return PAGE_SIZE
    if not unit:
        return 1024 if name in _KIB else 1
    if unit in ("MB", "GB", "TB"):
        return int(10 ** _DECIMAL[prefix])
    return 1 << _BINARY.get(prefix, 0)


def _scaled(digits: str, scale: int, where: str) -> tuple[int, int]:
    """Return a number and half of its last digit, both scaled."""
    number = Decimal(digits.replace(",", ""))
    if number * scale >= COUNTER_MAX:
        raise InputError(where, "numbers of at most 64 bits", f"{digits[:40]}")
    last = scale * Decimal(1).scaleb(int(number.as_tuple().exponent))
    return int(number * scale), int(last / 2) if scale > 1 else 0


def _area(row: re.Match[str], where: str) -> Area:
    def size(text: str) -> tuple[int, int]:
        unit = text[-1] if text[-1] in _BINARY else ""
        return _scaled(text.removesuffix(unit), 1 << _BINARY.get(unit, 10), where)  # /proc/swaps counts in KiB

    (total, _), (used, error) = size(row["size"]), size(row["used"])
    return Area(row["name"], total, used, error, int(row["priority"]))


def joined(own: Facts, shared: Mapping[str, Reading]) -> Facts:
    """Return a cgroup's facts, and what it has from its machine."""
    return Facts({**shared, **own.readings})
