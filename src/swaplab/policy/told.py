"""What the functions of a policy are called, what they are told, and what they may say: for who writes one.

All sizes are bytes, all times nanoseconds of the run's clock. A cgroup's numbers are its own, without those below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

__all__ = ["FUNCTIONS", "POLICY", "TOLD", "Cgroup", "Entry", "Function", "Pool"]


class Entry(NamedTuple):
    """A compressed page, in zswap or about to be stored.

    Attributes:
        length: compressed bytes.
        age_ns: since it was stored.
        referenced: whether Linux would pass it over this time, as it does once with each.
    """

    length: int
    age_ns: int
    referenced: bool


class Cgroup(NamedTuple):
    """The cgroup that pays for an entry.

    Attributes:
        tag: what the policy's `TAGS` has for its path, else 0.
        entries: compressed pages on its list.
        compressed_bytes: what they take.
        usage: memory.current, with all below.
        memory_max: its limit; 2**64 or so for none.
        zswpin: pages that came back from zswap so far.
        pswpin: and from the device.
        zswpwb: pages that were written back so far.
        since_writeback_ns: since the last one was; since the beginning if none was.
    """

    tag: int
    entries: int
    compressed_bytes: int
    usage: int
    memory_max: int
    zswpin: int
    pswpin: int
    zswpwb: int
    since_writeback_ns: int


class Pool(NamedTuple):
    """zswap's pool and the machine.

    Attributes:
        entries: compressed pages.
        size: bytes of the whole pages that they take.
        max_size: where stores end (max_pool_percent).
        accept_size: where they begin again (accept_threshold_percent).
        free: memory of the machine that nobody uses.
        clock_ns: since the beginning.
    """

    entries: int
    size: int
    max_size: int
    accept_size: int
    free: int
    clock_ns: int


class Function(NamedTuple):
    """A function that a policy may have.

    Attributes:
        name: of it.
        parameters: their names, in order; `linux` is what Linux would say, all others are of the types above.
        says: the type of its answer.
        most: names what its answer may not exceed, if anything; no answer is below 0.
    """

    name: str
    parameters: tuple[str, ...]
    says: type
    most: str = ""


FUNCTIONS: Final = (
    Function("accept_store", ("entry", "cgroup", "pool"), bool),
    Function("second_chance", ("entry", "cgroup", "pool"), bool),
    Function("may_write_back", ("entry", "cgroup", "pool"), bool),
    Function("shrinker_count", ("cgroup", "pool", "linux"), int, "cgroup.entries"),
    Function("worker_preference", ("cgroup", "pool"), int),
)
TOLD: Final[Mapping[str, Any]] = {"entry": Entry, "cgroup": Cgroup, "pool": Pool}
"""The types of parameters, but `linux`, which is a number."""

POLICY: Final = np.dtype(
    [
        (name, "i8")
        for name in (
            "is_there",
            *(each.name for each in FUNCTIONS),  # addresses; 0 for what Linux does
            "failed",  # which of them has raised or said what it may not, counted from 1; then none is asked any more
            "answer",  # and what it said
            *(f"{told}_{field}" for told, kind in TOLD.items() for field in kind._fields),
            "linux",
        )
    ]
)
"""A policy in a machine, and what its functions are told: a record of integers."""
