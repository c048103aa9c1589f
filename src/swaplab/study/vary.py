"""Axes of a sweep: keys of a scenario with their values, as a command line says them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Final

from swaplab.errors import InputError

__all__ = ["VARIANTS_MAX", "Axis", "combinations", "parse_axis"]

VARIANTS_MAX: Final = 100_000

_RANGE: Final = re.compile(
    r"(?P<first>\d{1,15}(?:\.\d{1,9})?)(?P<unit>[A-Za-z%]*)\.\.(?P<last>\d{1,15}(?:\.\d{1,9})?)(?P=unit)"
    r"/(?P<step>\d{1,15}(?:\.\d{1,9})?)(?P=unit)"
)


@dataclass(frozen=True)
class Axis:
    """One key, and the values that it takes, in order.

    Attributes:
        key: as in a scenario file, such as ``cgroup.app.memory.max``.
        values: as in one, such as ``24M``.
    """

    key: str
    values: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)


def parse_axis(text: str) -> Axis:
    """Read ``KEY=VALUE,VALUE,...``; a value may be a range, ``FIRST..LAST/STEP``, all three in the same unit.

    Raises:
        InputError: neither, a range that is empty or too long, or one value twice.
    """
    key, equals, listed = text.partition("=")
    values = tuple(each for part in _split(listed) for each in _values(part, text)) if equals and key else ()
    if not values or not all(values):
        raise InputError("--vary", "KEY=VALUE,VALUE,... or KEY=FIRST..LAST/STEP (such as 24M..56M/4M)", repr(text))
    if len(set(values)) < len(values):
        raise InputError("--vary", f"each value of {key} once", text)
    return Axis(key, values)


def _split(listed: str) -> list[str]:
    """Split at commas, but for those inside the braces of a TOML table."""
    return [part.strip() for part in re.split(r",(?![^{\[]*[}\]])", listed)]


def _values(part: str, text: str) -> Iterator[str]:
    span = _RANGE.fullmatch(part)
    if not span:
        yield part
        return
    first, last, step = (Decimal(span[name]) for name in ("first", "last", "step"))
    if not step or last < first:
        raise InputError("--vary", "a range that goes up, in steps above 0", text)
    count = int((last - first) / step) + 1
    if count > VARIANTS_MAX:
        raise InputError("--vary", f"a range of at most {VARIANTS_MAX} values", f"{count}")
    for i in range(count):
        yield f"{first + i * step}{span['unit']}"


def combinations(axes: Sequence[Axis], seeds: int) -> Iterator[tuple[dict[str, str], int]]:
    """Yield the settings and the seed of every variant, the last axis and then the seed changing fastest.

    Raises:
        InputError: a key is varied twice, or there are more than `VARIANTS_MAX`.
    """
    keys = [axis.key for axis in axes]
    if len(set(keys)) < len(keys):
        raise InputError("--vary", "each key once", ", ".join(keys))
    count = seeds
    for axis in axes:
        count *= len(axis)
    if count > VARIANTS_MAX:
        raise InputError("--vary", f"at most {VARIANTS_MAX} variants", f"{count}")
    for values in product(*(axis.values for axis in axes)):
        for seed in range(seeds):
            yield dict(zip(keys, values, strict=True)), seed
