"""How memory ages, from samples: the working set W(T), pages by age, and how many come back.

All three are one. W(T) is how many pages are touched within a time T, in the mean. What is resident and not among
them is cold at T. And where W grows by dW while T grows by dT, dW/dT pages a second are touched that had not been for
T: P. J. Denning, "The working set model for program behavior", CACM 11 (1968), and Denning and S. C. Schwartz,
"Properties of the working-set model", CACM 15 (1972). So W is concave, and is made so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "ages", "at", "promotions", "working_set"]

Floats = NDArray[np.float64]


class Curve(NamedTuple):
    """The working set of a process, or of several.

    Attributes:
        window: seconds, float64[k], ascending.
        pages: that are touched within each, float64[k], ascending and concave from (0, 0).
        resident: pages in memory, in the mean over time.
        swapped: pages in swap, likewise.
        grown: pages that there were more a second, in the mean; 0 if there were fewer.
    """

    window: Floats
    pages: Floats
    resident: float
    swapped: float
    grown: float


def working_set(samples: NDArray[np.void], others: NDArray[np.void] | None = None) -> Curve:
    """Return the curve of the samples of one life, of at least one.

    Windows of different cycles begin at different times, and only few are long. The growth from one window to the next
    is therefore averaged over the cycles that have both, not the windows themselves.

    Args:
        samples: `SAMPLES`.
        others: of the same life, for the windows that `samples` has not.
    """
    levels = np.unique((samples if others is None else others)["level"])
    steps = _steps(samples, levels)
    if others is not None:
        whole = _steps(others, levels)
        steps = np.concatenate([steps, whole[~np.isin(whole[:, 0], steps[:, 0])]])
        steps = steps[np.argsort(steps[:, 0])]
    window, pages = np.cumsum(steps[:, 1]), steps[:, 2]
    resident = float(samples["resident"].mean())
    touched = np.cumsum(_descending(pages / steps[:, 1], steps[:, 1]) * steps[:, 1])
    swapped = float(samples["swapped"].mean())
    return Curve(window, np.minimum(touched, resident), resident, swapped, _growth(samples))


def _steps(samples: NDArray[np.void], levels: NDArray[np.uint16]) -> Floats:
    """Return level, seconds and pages from each of the levels to the next, in the mean over cycles: float64[k, 3]."""
    rows = samples[np.lexsort((samples["window"], samples["cycle"]))]
    level = rows["level"].astype(np.int64)
    is_first = np.append(True, rows["cycle"][1:] != rows["cycle"][:-1])
    before = [np.where(is_first, 0.0, np.append(0.0, rows[name][:-1])) for name in ("window", "referenced")]
    # A cycle that came too late for a look says nothing of the windows before and behind that one.
    rank = np.searchsorted(levels, level)
    counts = rank == np.where(is_first, 0, np.append(0, rank[:-1]) + 1)
    passed = np.maximum(rows["window"] - before[0], 1e-9)[counts]
    grown = np.maximum(rows["referenced"] - before[1], 0.0)[counts]
    number = np.bincount(level[counts])
    has = np.flatnonzero(number)
    sums = [np.bincount(level[counts], values)[has] / number[has] for values in (passed, grown)]
    return np.column_stack([has.astype(np.float64), *sums])


def _growth(samples: NDArray[np.void]) -> float:
    """Pages more a second from the first to the last look."""
    first, last = samples[np.argmin(samples["at"])], samples[np.argmax(samples["at"])]
    passed = float(last["at"] - first["at"])
    grown = float(last["resident"] + last["swapped"] - first["resident"] - first["swapped"])
    return max(0.0, grown / passed) if passed > 0 else 0.0


def _descending(slope: Floats, weight: Floats) -> Floats:
    """Return the closest slopes that do not ascend, by least squares: pooling adjacent violators."""
    blocks: list[tuple[float, float, int]] = []
    for value, share in zip(slope.tolist(), weight.tolist(), strict=True):
        blocks.append((value, share, 1))
        while len(blocks) > 1 and blocks[-1][0] > blocks[-2][0]:
            (low, one, few), (high, two, more) = blocks.pop(), blocks.pop()
            blocks.append(((low * one + high * two) / (one + two), one + two, few + more))
    return np.repeat([value for value, _, _ in blocks], [count for _, _, count in blocks])


def at(curve: Curve, window: Floats) -> Floats:
    """Return pages touched within other times, on straight lines between those known; behind the last as within it."""
    pages: Floats = np.interp(window, np.append(0.0, curve.window), np.append(0.0, curve.pages))
    return pages


def ages(curve: Curve, age: Floats) -> Floats:
    """Resident pages by how long ago they were touched last: float64[k + 1] for k ages, the first up to age[0]."""
    reached = np.append(np.append(0.0, at(curve, age)), curve.resident)
    return np.diff(reached)


def promotions(curve: Curve, age: Floats) -> Floats:
    """Pages a second that are touched when they had not been for at least each age: float64[k]."""
    window = np.append(0.0, curve.window)
    slope = np.append(np.diff(np.append(0.0, curve.pages)) / np.diff(window), 0.0)
    return slope[np.searchsorted(window[1:], age, side="right")]
