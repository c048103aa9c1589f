"""Counters of a replay, read along the way: columns that grow, and become a table in the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from swaplab.replay.state import CONTROL, MEMCG, Machine
from swaplab.result import SCHEMA
from swaplab.result.counters import BY_NAME, EVENTS, LEVELS, MACHINE

__all__ = ["Samples"]

OF_CGROUPS = (*EVENTS, *LEVELS)
WHOLE = ("usage", "swap")
"""Fields that are of a cgroup and all below already; others are of itself, and are shown with all below."""
WORDS = MEMCG.itemsize // 8

Columns = NDArray[np.int64]


def _words(record: np.dtype[Any], names: Sequence[str]) -> list[int]:
    """Where in a record, as words of 8 bytes, some fields are."""
    fields: Any = record.fields
    return [fields[name][1] // 8 for name in names]


def _fields(counters: Sequence[str]) -> list[str]:
    return [BY_NAME[name].field for name in counters]


class Samples:
    """All samples so far.

    Args:
        shown: numbers of the cgroups that are shown, the root first.
        room: samples to make room for at first.
    """

    def __init__(self, shown: Sequence[int], room: int) -> None:
        self._shown = np.array(shown)
        self._count = 0
        fields = _fields(OF_CGROUPS)
        self._fields, self._is_whole = _words(MEMCG, fields), np.isin(fields, WHOLE)
        self._machine = _words(CONTROL, ["clock", *_fields(MACHINE)])
        self._whole = np.zeros((2 + len(MACHINE), room), np.int64)  # access, time, and of the machine
        self._each = np.zeros((len(OF_CGROUPS), room, len(shown)), np.int64)

    def add(self, position: int, m: Machine) -> None:
        """Read the counters of a machine after so many accesses."""
        at = self._count
        if at == self._whole.shape[1]:
            self._whole = np.concatenate((self._whole, np.zeros_like(self._whole)), axis=1)
            self._each = np.concatenate((self._each, np.zeros_like(self._each)), axis=1)
        own = np.asarray(m.memcgs).view(np.int64).reshape(-1, WORDS)[:, self._fields]
        sums = np.zeros((len(own) + 1, len(self._fields)), np.int64)
        np.cumsum(own, axis=0, out=sums[1:])
        subtree = sums[m.memcgs["end"]] - sums[:-1]
        self._each[:, at] = np.where(self._is_whole, own, subtree)[self._shown].T
        self._whole[0, at] = position
        self._whole[1:, at] = np.asarray(m.control).reshape(1).view(np.int64)[self._machine]
        self._count += 1

    def last(self) -> dict[str, Columns]:
        """Return the numbers of the last sample by name, int64 of shape (cgroups,)."""
        last = self._each[:, self._count - 1]
        return {name: numbers * BY_NAME[name].scale for name, numbers in zip(OF_CGROUPS, last, strict=True)}

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
        """Yield the columns of all counters, given which rows are the machine's."""
        for name, numbers in zip(OF_CGROUPS, self._each[:, : self._count], strict=True):
            yield name, pa.array((numbers * BY_NAME[name].scale).ravel())
        for name, values in zip(MACHINE, self._whole[2:, : self._count], strict=True):
            each = np.repeat(values * BY_NAME[name].scale, len(self._shown))
            yield name, pa.array(each, mask=~is_root)
