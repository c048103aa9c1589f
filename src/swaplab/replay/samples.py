"""Counters of a replay, read along the way: columns that grow, and become a table in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from swaplab.linux.page import PAGE_SIZE
from swaplab.replay.state import CONTROL, COUNTERS, MEMCG, Machine
from swaplab.scenario.result import EVENTS, LEVELS, MACHINE, NEWER, SCHEMA

__all__ = ["Samples"]

BELOW = (*COUNTERS, "anon", "inactive", "active", "swapcached", "zswap_bytes", "zswapped")
"""Counted for a cgroup itself, and shown of it and all below."""
OWN = ("usage", "swap")
"""Of it and all below already."""
RENAMED = {"pool_total_size": "pool_pages"}
IN_PAGES = {*LEVELS, "free", "pool_total_size"} - {"zswap"}
NUMBERS = (*EVENTS, *LEVELS)
WORDS = MEMCG.itemsize // 8

Columns = NDArray[np.int64]


def _words(record: np.dtype[Any], names: Sequence[str]) -> list[int]:
    """Where in a record, as words of 8 bytes, some fields are."""
    fields: Any = record.fields
    return [fields[name][1] // 8 for name in names]


def _unit(name: str) -> int:
    """What a number is multiplied by to be shown: bytes, where it is of pages."""
    return PAGE_SIZE if name in IN_PAGES else 1


class Samples:
    """All samples so far.

    Args:
        shown: numbers of the cgroups that are shown, the root first.
        room: samples to make room for at first.
    """

    def __init__(self, shown: Sequence[int], room: int) -> None:
        self._shown = np.array(shown)
        self._count = 0
        self._below, self._own = _words(MEMCG, BELOW), _words(MEMCG, OWN)
        self._machine = _words(CONTROL, ["clock", *(RENAMED.get(name, name) for name in MACHINE)])
        self._whole = np.zeros((2 + len(MACHINE), room), np.int64)  # access, time, and of the machine
        self._each = np.zeros((len(NUMBERS), room, len(shown)), np.int64)

    def add(self, position: int, m: Machine) -> None:
        """Read the counters of a machine after so many accesses."""
        at, events = self._count, len(EVENTS)
        if at == self._whole.shape[1]:
            self._whole = np.concatenate((self._whole, np.zeros_like(self._whole)), axis=1)
            self._each = np.concatenate((self._each, np.zeros_like(self._each)), axis=1)
        words = np.asarray(m.memcgs).view(np.int64).reshape(-1, WORDS)
        sums = np.zeros((len(words) + 1, len(self._below)), np.int64)
        np.cumsum(words[:, self._below], axis=0, out=sums[1:])
        subtree = (sums[m.memcgs["end"]] - sums[:-1])[self._shown]
        self._each[:events, at] = subtree[:, :events].T
        self._each[events : events + 2, at] = words[self._shown][:, self._own].T
        self._each[events + 2 :, at] = subtree[:, events:].T
        self._whole[0, at] = position
        self._whole[1:, at] = np.asarray(m.control).reshape(1).view(np.int64)[self._machine]
        self._count += 1

    def last(self) -> dict[str, Columns]:
        """Return the numbers of the last sample by name, int64 of shape (cgroups,)."""
        last = self._each[:, self._count - 1]
        return {name: numbers * _unit(name) for name, numbers in zip(NUMBERS, last, strict=True)}

    def table(self, names: Sequence[str]) -> pa.Table:
        """Return the table of a `Result`; cgroups are called by their `names`."""
        count, cgroups = self._count, len(names)
        access, time, *machine = self._whole[:, :count]
        columns: list[Any] = [
            pa.array(np.repeat(access, cgroups)),
            pa.array(np.repeat(time, cgroups)),
            pa.array(names, pa.string()).take(pa.array(np.tile(np.arange(cgroups), count))),
        ]
        for name, numbers in zip(NUMBERS, self._each[:, :count], strict=True):
            columns.append(pa.array((numbers * _unit(name)).ravel()))
        is_root = np.tile(np.arange(cgroups) == 0, count)
        for name, values in zip(MACHINE, machine, strict=True):
            columns.append(pa.array(np.repeat(values * _unit(name), cgroups), mask=~is_root))
        columns += [pa.nulls(count * cgroups, pa.int64()) for _ in NEWER]
        return pa.table(columns, SCHEMA)
