"""How far a prediction is from what kernels did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean, median, quantiles

import msgspec

from swaplab.fidelity.truth import Series, Truth
from swaplab.linux.page import PAGE_SIZE
from swaplab.result.counters import BY_NAME

__all__ = ["FLOOR", "WIDE", "Error", "Summary", "errors_of", "is_wide", "summary_of"]

FLOOR = 256
"""Pages below which a difference is not a relative one: four batches of a processor (MEMCG_CHARGE_BATCH)."""
WIDE = 0.02
"""Where a counter differs by more between runs that start at other times, runs are compared as distributions."""


class Error(msgspec.Struct, frozen=True):
    """One counter of one cgroup.

    Attributes:
        cgroup: path; the machine's is empty.
        counter: name.
        kernel: at the end, the mean of the runs.
        predicted: likewise.
        error: their difference at the end, relative to the kernel's number or to `FLOOR`; where the kernel's runs are
            `WIDE`, the distance between the two distributions (Wasserstein).
        along: the largest difference at any sample, relative to the kernel's largest number or to `FLOOR`.
        spread: of the kernel's runs at the end, largest less smallest, relative as `error` is.
        predicted_spread: likewise.
    """

    cgroup: str
    counter: str
    kernel: float
    predicted: float
    error: float
    along: float
    spread: float
    predicted_spread: float


class Summary(msgspec.Struct, frozen=True):
    """Of some errors: how many, and their size as 1 for 100 %."""

    count: int
    median: float
    p90: float
    worst: float


def _floor(counter: str) -> int:
    return FLOOR * PAGE_SIZE if BY_NAME[counter].unit == "bytes" else FLOOR


def _means(measured: Sequence[Sequence[int | None]]) -> list[float | None]:
    """The mean of some runs at each sample; None where a cgroup was gone."""
    return [None if None in values else fmean(values) for values in zip(*measured, strict=True)]


def errors_of(truth: Truth, predicted: Sequence[Series]) -> list[Error]:
    """Return the errors of all counters that both have, but for those that are 0 in both throughout.

    Args:
        predicted: some runs.
    """
    return [error for path in truth.runs[0] for error in _errors_of_cgroup(truth, predicted, path)]


def _errors_of_cgroup(truth: Truth, predicted: Sequence[Series], path: str) -> Iterator[Error]:
    for counter in truth.runs[0][path]:
        own = [run[path][counter] for run in predicted if counter in run.get(path, {})]
        if not own:
            continue
        measured = [run[path][counter] for run in truth.runs]
        pairs = [
            (known, found)
            for known, found in zip(_means(measured), _means(own), strict=True)
            if known is not None and found is not None
        ]
        if not any(known or found for known, found in pairs):
            continue
        floor = _floor(counter)
        kernel, expected = pairs[-1]
        size = max(kernel, floor)
        last, own_last = _last(measured), _last(own)
        spread = (last[-1] - last[0]) / size
        yield Error(
            cgroup=path,
            counter=counter,
            kernel=kernel,
            predicted=expected,
            error=(_distance(last, own_last) if spread > WIDE else abs(expected - kernel)) / size,
            along=max(abs(a - b) for a, b in pairs) / max(floor, *(known for known, _ in pairs)),
            spread=spread,
            predicted_spread=(own_last[-1] - own_last[0]) / size,
        )


def _last(runs: Sequence[Sequence[int | None]]) -> list[int]:
    """The last number of each run, the smallest first."""
    return sorted([value for value in values if value is not None][-1] for values in runs)


def _distance(one: list[int], other: list[int]) -> float:
    """The area between the distributions of some numbers, of each as many copies as make them equally many."""
    return fmean(abs(a - b) for a, b in zip(sorted(one * len(other)), sorted(other * len(one)), strict=True))


def is_wide(truth: Truth) -> bool:
    """Whether what happens depends on when a run starts: see `WIDE`."""
    return any(error.spread > WIDE for error in errors_of(truth, truth.runs[:1]))


def summary_of(values: Sequence[float]) -> Summary:
    """Return the distribution of some errors, at least one."""
    p90 = quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]
    return Summary(len(values), median(values), p90, max(values))
