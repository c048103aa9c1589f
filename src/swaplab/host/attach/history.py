"""How what was sampled went along time: by program and by cgroup, in the form that ``swaplab fleet`` takes as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from swaplab.files import write_whole
from swaplab.host.attach.curves import Floats, ages, promotions, working_set
from swaplab.host.attach.trace import Sampled
from swaplab.host.attach.watch import OCTAVE, longest_level, window_of
from swaplab.text import shown

__all__ = ["PARTS", "Part", "history", "whole_ages", "write_histograms"]

PARTS: Final = 8
"""Of a recording, each of which has a curve."""
AGE_LEVEL: Final = 6 * OCTAVE  # one second


class Part(NamedTuple):
    """A cgroup in a part of the recording.

    Attributes:
        cgroup: its path.
        start: seconds from the beginning of the recording.
        time: likewise, to the end of the part.
        cold: pages by age, of `whole_ages`, the first up to the first of them: float64[k + 1].
        promotions: pages a second that were touched when they had been cold for at least each age: float64[k].
        swapped: pages in swap.
    """

    cgroup: str
    start: float
    time: float
    cold: Floats
    promotions: Floats
    swapped: float


def whole_ages(seconds: float) -> list[int]:
    """Return the ages, in whole seconds, that a recording of so many seconds can tell."""
    return [round(window_of(level)) for level in range(AGE_LEVEL, longest_level(seconds), OCTAVE)]


def history(lives: Sequence[Sampled], seconds: float, age: Sequence[int]) -> list[Part]:
    """Return the parts of each cgroup, in order of path and of time.

    The windows that no cycle of a part has are those of the whole recording.
    """
    edges = np.linspace(0.0, seconds, PARTS + 1)
    edges[-1] = np.inf
    cgroups = sorted({each.life.cgroup for each in lives})
    return [
        part
        for cgroup in cgroups
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        for part in _part(cgroup, [each for each in lives if each.life.cgroup == cgroup], low, high, seconds, age)
    ]


def _part(
    cgroup: str, lives: Sequence[Sampled], low: float, high: float, seconds: float, age: Sequence[int]
) -> Iterator[Part]:
    """Yield it, if there are samples in it."""
    there = [(each, each.samples[_between(each.samples, low, high)]) for each in lives]
    looks = len(np.unique(np.concatenate([own["cycle"] for _, own in there])))
    if not looks:
        return
    window = np.array(age, np.float64)
    cold, back, swapped = np.zeros(len(age) + 1), np.zeros(len(age)), 0.0
    for each, own in there:
        if len(own):
            curve, share = working_set(own, each.samples), len(np.unique(own["cycle"])) / looks
            cold += share * ages(curve, window)
            back += share * promotions(curve, window)
            swapped += share * curve.swapped
    yield Part(cgroup, low, min(high, seconds), cold, back, swapped)


def _between(samples: NDArray[np.void], low: float, high: float) -> NDArray[np.bool_]:
    """Whole cycles, by their last look."""
    last = np.zeros(int(samples["cycle"].max()) + 1)
    np.maximum.at(last, samples["cycle"], samples["at"])
    inside: NDArray[np.bool_] = ((last >= low) & (last < high))[samples["cycle"]]
    return inside


def write_histograms(path: Path, parts: Sequence[Part], age: Sequence[int], machine: str, began: float) -> None:
    """Write the parts as ``docs/reference/histograms.md`` has it: a job is a cgroup.

    Args:
        path: Parquet.
        parts: see `history`.
        age: their ages; at least one.
        machine: name of this machine.
        began: seconds of the beginning, as from 1970.
    """
    rows = [row for cgroup in dict.fromkeys(part.cgroup for part in parts) for row in _rows(cgroup, parts)]
    columns: dict[str, list[object]] = {
        "machine": [machine] * len(rows),
        "job": [cgroup for cgroup, *_ in rows],
        "time": [began + time for _, time, _, _ in rows],
    }
    for number, name in enumerate([0, *age]):
        columns[f"cold_{name}"] = [int(cold[number]) for _, _, cold, _ in rows]
    for number, name in enumerate(age):
        columns[f"promotions_{name}"] = [int(back[number]) for _, _, _, back in rows]
    with write_whole(path, 0o600) as partial:
        pq.write_table(pa.table(columns), partial, write_page_checksum=True)


def _rows(cgroup: str, parts: Sequence[Part]) -> Iterator[tuple[str, float, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the rows of a cgroup; the first one says when it begins."""
    before: float | None = None
    for part in parts:
        if part.cgroup != cgroup:
            continue
        cold = _whole(part.cold)
        if before is None:
            before = part.start
            yield shown(cgroup), before, cold, np.zeros(len(part.promotions), np.int64)
        # Of each age alone, and of the time since the row before.
        own = part.promotions - np.append(part.promotions[1:], 0.0)
        yield shown(cgroup), part.time, cold, _whole(own * (part.time - before))
        before = part.time


def _whole(values: Floats) -> NDArray[np.int64]:
    """Return whole numbers whose sums are rounded."""
    reached = np.round(np.cumsum(values)).astype(np.int64)
    whole: NDArray[np.int64] = np.maximum(reached - np.append(0, reached[:-1]), 0)
    return whole
