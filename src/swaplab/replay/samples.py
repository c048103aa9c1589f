"""Counters of a replay, read along the way: columns that grow, and become a table in the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from swaplab.linux.release import Release
from swaplab.replay.jit import entry
from swaplab.replay.state import MEMCG, State
from swaplab.result import SCHEMA
from swaplab.result.counters import BY_NAME, EVENTS, LEVELS, MACHINE

__all__ = ["Samples"]

OF_CGROUPS = (*EVENTS, *LEVELS)
FILE_PAGES = ("shmem",)
"""What a cgroup's ``file`` has beside pages of files (NR_FILE_PAGES). The swap cache is in the node's only."""
WHOLE = ("usage", "swap")
"""Fields that are of a cgroup and all below already; others are of itself, and are shown with all below."""
WORDS = MEMCG.itemsize // 8

Columns = NDArray[np.int64]


def _words(record: np.dtype[Any], names: Sequence[str]) -> NDArray[np.int64]:
    """Where in a record, as words of 8 bytes, some fields are."""
    fields: Any = record.fields
    return np.array([fields[name][1] // 8 for name in names])


def _fields(counters: Sequence[str]) -> list[str]:
    return [BY_NAME[name].field for name in counters]


def _scales(counters: Sequence[str]) -> NDArray[np.int64]:
    return np.array([BY_NAME[name].scale for name in counters])


@entry
def _read(
    words: Columns, end: NDArray[np.int32], shown: Columns, fields: Columns, is_whole: NDArray[np.bool_], into: Columns
) -> None:
    """Read numbers of cgroups into an array of shape (fields, cgroups shown).

    Args:
        words: all records of cgroups, of shape (cgroups, `WORDS`), in pre-order.
        end: one past the last descendant of each.
        fields: which words to read.
        is_whole: of each field, whether it counts what is below already.
    """
    sums = np.zeros((len(words) + 1, len(fields)), np.int64)
    for memcg in range(len(words)):
        for number in range(len(fields)):
            sums[memcg + 1, number] = sums[memcg, number] + words[memcg, fields[number]]
    for at in range(len(shown)):
        memcg = shown[at]
        for number in range(len(fields)):
            into[number, at] = sums[memcg + 1 if is_whole[number] else end[memcg], number] - sums[memcg, number]


def _number(m: State, name: str) -> Columns:
    """A number of a machine's record, such as ``zswap.stores``, where it is: int64 of shape (1,)."""
    record, _, field = name.partition(".")
    return np.asarray(getattr(m, record)).reshape(1)[field]


class Samples:
    """All samples so far, in the units in which they are shown.

    Args:
        m: the state to read.
        shown: numbers of the cgroups that are shown, the root first.
        room: samples to make room for at first.
        release: of Linux, which may not count all that there is here.
    """

    def __init__(self, m: State, shown: Sequence[int], room: int, release: Release) -> None:
        self._release = release
        self._shown = np.array(shown)
        self._count = 0
        fields = [*_fields(OF_CGROUPS), *FILE_PAGES]
        memcgs = np.asarray(m.memcgs)
        self._memcgs, self._end = memcgs.view(np.int64).reshape(-1, WORDS), memcgs["end"]
        self._fields, self._is_whole = _words(MEMCG, fields), np.isin(fields, WHOLE)
        self._scales = _scales(OF_CGROUPS)[:, None]
        self._machine = [_number(m, field) for field in ("task.clock", *_fields(MACHINE))]
        self._machine_scales = np.concatenate(([1], _scales(MACHINE)))
        self._whole = np.zeros((2 + len(MACHINE), room), np.int64)  # access, time, and of the machine
        self._read = np.zeros((len(fields), len(shown)), np.int64)
        self._each = np.zeros((len(OF_CGROUPS), room, len(shown)), np.int64)

    def add(self, position: int) -> None:
        """Read the counters after so many accesses."""
        at = self._count
        if at == self._whole.shape[1]:
            self._whole = np.concatenate((self._whole, np.zeros_like(self._whole)), axis=1)
            self._each = np.concatenate((self._each, np.zeros_like(self._each)), axis=1)
        found = self._read
        _read(self._memcgs, self._end, self._shown, self._fields, self._is_whole, found)
        found[OF_CGROUPS.index("file")] += found[len(OF_CGROUPS) :].sum(axis=0)
        self._each[:, at] = found[: len(OF_CGROUPS)] * self._scales
        self._whole[0, at] = position
        self._whole[1:, at] = [number[0] for number in self._machine] * self._machine_scales
        self._count += 1

    def last(self) -> dict[str, Columns]:
        """Return the numbers of the last sample by name, int64 of shape (cgroups,)."""
        return dict(zip(OF_CGROUPS, self._each[:, self._count - 1], strict=True))

    def table(self, names: Sequence[str]) -> pa.Table:
        """Return the table of a `Result`; cgroups are called by their `names`."""
        count, cgroups = self._count, len(names)
        columns: dict[str, Any] = {
            "access": np.repeat(self._whole[0, :count], cgroups),
            "time_ns": np.repeat(self._whole[1, :count], cgroups),
            "cgroup": pa.array(names, pa.string()).take(pa.array(np.tile(np.arange(cgroups), count))),
            **dict(self._counters(np.tile(np.arange(cgroups) == 0, count))),
        }
        nothing = pa.nulls(count * cgroups, pa.int64())
        return pa.table([columns.get(name, nothing) for name in SCHEMA.names], SCHEMA)

    def _counters(self, is_root: NDArray[np.bool_]) -> Iterator[tuple[str, pa.Array]]:
        """Yield the columns of all counters, given which rows are the machine's; those of cgroups are not copied."""
        for name, numbers in zip(OF_CGROUPS, self._each[:, : self._count], strict=True):
            if BY_NAME[name].is_counted_by(self._release):
                yield name, pa.array(numbers.ravel())
        for name, values in zip(MACHINE, self._whole[2:, : self._count], strict=True):
            if BY_NAME[name].is_counted_by(self._release):
                yield name, pa.array(np.repeat(values, len(self._shown)), mask=~is_root)
