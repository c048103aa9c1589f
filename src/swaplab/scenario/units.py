"""Sizes and durations as people write them: ``64M``, ``1.5G``, ``80us``.

Sizes are those of cgroup v2 files: bytes, or K, M, G, T for powers of 1024; with a fraction if that comes to whole
bytes, as systemd has it. Durations always name their unit.
"""

from __future__ import annotations

import re
from decimal import Decimal

from swaplab.errors import InputError

__all__ = ["format_duration", "format_size", "parse_duration", "parse_size", "round_size", "short_size"]

SIZE_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
DURATION_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
# Quantities end up in int64 arrays and are added there.
LARGEST = 1 << 62
# No number this long is below LARGEST; the bound keeps a huge text from becoming a huge integer.
DIGITS_MAX = 19

_SIZE = re.compile(rf"(\d{{1,{DIGITS_MAX}}}(?:\.\d{{1,9}})?)([KMGT]?)", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(rf"(\d{{1,{DIGITS_MAX}}}(?:\.\d{{1,9}})?) ?(ns|us|ms|s)", re.ASCII)


def parse_size(value: object, where: object = "size") -> int:
    """Bytes in ``"64M"``, ``"1.5G"``, ``"4096"`` or ``4096``.

    Raises:
        InputError: not a size, negative, with a fraction of a byte, or larger than any machine (2**62 bytes); it names
            `where`.
    """
    size = _size(value)
    if size is None or not 0 <= size < LARGEST:
        expected = "a size, bytes or with K, M, G, T for powers of 1024 (such as 64M or 1.5G)"
        # A huge integer has no decimal text (sys.set_int_max_str_digits).
        is_huge = isinstance(value, int) and value.bit_length() > 64
        raise InputError(where, expected, f"{value:#x}" if is_huge else repr(value))
    return size


def _size(value: object) -> int | None:
    if type(value) is int:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = Decimal(match[1]) * SIZE_UNITS[match[2].upper()] if match else None
    return int(size) if size is not None and size == int(size) else None


def parse_duration(value: object, where: object = "duration") -> int:
    """Nanoseconds in ``"80us"`` or ``"1.5 ms"``; units are ns, us, ms and s.

    Raises:
        InputError: not a duration, no unit, a fraction of a nanosecond, or 2**62 ns and more;
            it names `where`.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    nanoseconds = Decimal(match[1]) * DURATION_UNITS[match[2]] if match else Decimal(LARGEST)
    if nanoseconds >= LARGEST or nanoseconds != int(nanoseconds):
        raise InputError(where, "a duration in whole nanoseconds with ns, us, ms or s (such as 80us)", value)
    return int(nanoseconds)


def _format(value: int, units: dict[str, int]) -> str:
    name, unit = [(name, unit) for name, unit in units.items() if value >= unit and value % unit == 0][-1]
    return f"{value // unit}{name}"


def format_size(size: int) -> str:
    """Return the shortest text that `parse_size` reads back as exactly `size` bytes."""
    return _format(size, SIZE_UNITS) if size else "0"


def format_duration(nanoseconds: int) -> str:
    """Return the shortest text that `parse_duration` reads back as exactly `nanoseconds`."""
    return _format(nanoseconds, DURATION_UNITS) if nanoseconds else "0ns"


def round_size(size: float) -> str:
    """`size` bytes for a reader, to three digits or so: ``1.25M``, ``812K``, ``-3.4G``."""
    units = [(name, unit) for name, unit in SIZE_UNITS.items() if abs(size) >= unit] or [("", 1)]
    name, unit = units[-1]
    value = size / unit
    digits = 0 if name == "" or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}{name}"


def short_size(size: int) -> str:
    """`size` bytes for a reader: exactly where four digits do (``64M``), else rounded (``23.5G``)."""
    exact = format_size(size)
    return exact if len(exact) <= len("1023M") else round_size(size)
