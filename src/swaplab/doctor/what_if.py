"""Savings of zswap for a cgroup on the screen, from an earlier profile of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from swaplab.errors import InputError
from swaplab.linux.page import PAGE_SIZE
from swaplab.scenario.regular import read_regular

__all__ = ["read_shares"]

PROFILE_MAX = 64 << 20


class _Saved(msgspec.Struct):
    value: float


class _Compressor(msgspec.Struct):
    saved_bytes: _Saved


class _Group(msgspec.Struct):
    cgroup: str
    resident_pages: int
    compressors: dict[str, _Compressor]


class _Profile(msgspec.Struct):
    cgroups: list[_Group]


def read_shares(path: Path) -> Mapping[str, Mapping[str, float]]:
    """Read what ``swaplab profile --json`` printed: of each cgroup, what share every compressor would save.

    Raises:
        InputError: something else.
        OSError: it cannot be read.
    """
    try:
        found = msgspec.json.decode(read_regular(path, PROFILE_MAX), type=_Profile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(path, "what swaplab profile --json prints", error) from None
    return {
        group.cgroup.strip("/"): {
            name: each.saved_bytes.value / (group.resident_pages * PAGE_SIZE)
            for name, each in group.compressors.items()
        }
        for group in found.cgroups
        if group.resident_pages > 0
    }
