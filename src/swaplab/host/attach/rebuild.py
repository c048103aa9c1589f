"""Accesses with the reuse times that were sampled. What they are otherwise is invented, the same for the same seed.

A concave curve of straight lines that bends at T1, T2, ... is that of pages of which each is touched every T1, T2, ...
seconds: where it bends by so many pages a second, there are T times as many pages of that period. So the classes of
pages follow from the curve, and the curve from them. In which order pages are touched within their period, and where
they lie, samples do not say: both are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.host.attach.curves import Curve, Floats

__all__ = ["Accesses", "Classes", "Rebuilt", "classes", "pages_of", "rebuild"]

AT_ONCE: Final = 1 << 20
"""Accesses that are made at a time, about."""
NEVER: Final = 1e12
"""Seconds."""
CORNERS: Final = 8
"""Classes of pages between two windows."""


class Classes(NamedTuple):
    """Pages by how often they are touched.

    Attributes:
        period: seconds, float64[k], ascending; the last may be infinite: pages that are touched no more.
        pages: float64[k].
    """

    period: Floats
    pages: Floats


class Rebuilt(NamedTuple):
    """The pages of one life; their numbers are drawn, so that neighbours have nothing in common.

    Attributes:
        there: pages that are there at the start, those touched longest ago first, uint32[m].
        first: seconds at which each page is touched next, or for the first time, float64[n].
        period: seconds between two touches from then on, float64[n]; infinite for pages that are touched no more.
        start: seconds at which it begins.
        end: seconds at which it ends.
    """

    there: NDArray[np.uint32]
    first: Floats
    period: Floats
    start: float
    end: float


class Accesses(NamedTuple):
    """Some accesses, in order.

    Attributes:
        stream: which life, uint16[n].
        page: uint32[n].
        time: seconds, float64[n].
    """

    stream: NDArray[np.uint16]
    page: NDArray[np.uint32]
    time: Floats


def classes(curve: Curve) -> Classes:
    """Return pages by their period, so that within each of the curve's windows as many are touched as were.

    Behind the last window the curve goes on until all pages are touched. What is new in memory is touched by being
    new, and has no period.
    """
    window, pages, ahead = _polygon(curve)
    slope = np.append(np.diff(np.append(0.0, pages)) / np.diff(np.append(0.0, window)), ahead)
    counts = window * -np.diff(slope)
    rest = max(0.0, curve.resident + curve.swapped - float(counts.sum()))
    last = max(0.0, ahead - curve.grown)
    slowest = max(rest / last, float(window[-1])) if last > 0 else np.inf
    return Classes(np.append(window, slowest), np.append(np.maximum(counts, 0.0), rest))


def _polygon(curve: Curve) -> tuple[Floats, Floats, float]:
    """Return corners between the curve's windows, window and pages of each, and the slope behind the last.

    Between two windows runs the parabola whose tangents there are between the slopes before and behind, so that it is
    as concave. The lines are tangents of it, so they meet it, and the curve, in the windows.
    """
    slope = np.diff(np.append(0.0, curve.pages)) / np.diff(np.append(0.0, curve.window))
    ratio = np.sqrt(slope[-1] / slope[-2]) if len(slope) > 1 and slope[-2] > 0 else 0.0
    tangent = np.append(np.sqrt(slope[:-1] * slope[1:]), slope[-1] * ratio)
    before, behind, here = tangent[:-1], tangent[1:], slope[1:]
    share = np.divide(here - behind, before - behind, out=np.full_like(here, 0.5), where=before > behind)
    u = np.arange(CORNERS) / CORNERS
    v = u + 1 / CORNERS
    ends = [(1 - u) * (1 - v), u * (1 - v) + v * (1 - u), u * v]

    def corners(value: Floats, rise: Floats) -> Floats:
        """What a polar form of the parabola is at its parts, from its ends and where the tangents at both cross."""
        points = (value[:-1], value[:-1] + rise, value[1:])
        inner = sum(np.multiply.outer(point, end) for point, end in zip(points, ends, strict=True))
        return np.append(value[0], inner)

    length = np.diff(curve.window) * share
    window, pages = corners(curve.window, length), corners(curve.pages, length * before)
    is_apart = np.append(True, np.diff(window) > window[1:] * 1e-9)
    return window[is_apart], pages[is_apart], float(tangent[-1])


def pages_of(curve: Curve, start: float, end: float, floor: float, generator: np.random.Generator) -> Rebuilt:
    """Draw the pages of a life.

    Args:
        curve: what was sampled of it.
        start: seconds at which it begins.
        end: seconds at which it ends.
        floor: the least period; what is touched more often is touched that often.
        generator: random numbers.
    """
    period, counts = classes(curve)
    reached = np.round(np.cumsum(counts)).astype(np.int64)  # so that the sum is rounded, too
    number = reached - np.append(0, reached[:-1])
    every = np.repeat(np.maximum(period, floor), number)
    # The pages of a class are touched one after the other, and evenly.
    share = np.concatenate([(np.arange(count) + 0.5) / count for count in number.tolist()])
    first = start + every * share
    new = min(int(number[-1]), round(curve.grown * (end - start)))
    old = len(every) - new
    first[old:] = start + (end - start) * (np.arange(new) + 0.5) / max(new, 1)
    order = generator.permutation(len(every)).astype(np.uint32)
    age = every[:old] * (1 - share[:old])
    there = order[:old][np.argsort(-age, kind="stable")]
    place = np.argsort(order)
    return Rebuilt(there, first[place], every[place], start, end)


def touches(lives: Sequence[Rebuilt]) -> float:
    """Return how many accesses they come to, about."""
    return sum(len(life.there) + float(((life.end - life.start) / life.period).sum()) for life in lives)


def rebuild(lives: Sequence[Rebuilt], seconds: float) -> Iterator[Accesses]:
    """Make the accesses of all lives, in order of time."""
    pieces = max(1, round(touches(lives) / AT_ONCE))
    edges = np.linspace(0.0, seconds, pieces + 1)
    edges[-1] = np.nextafter(seconds, np.inf)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        found = [_between(number, life, low, high) for number, life in enumerate(lives)]
        stream, page, time = (np.concatenate(columns) for columns in zip(*found, strict=True))
        order = np.argsort(time, kind="stable")
        yield Accesses(stream[order], page[order], time[order])


def _between(number: int, life: Rebuilt, low: float, high: float) -> Accesses:
    """The accesses of a life from one time to another: what is there first of all, then each page at its times."""
    there = life.there if low <= life.start < high else life.there[:0]
    high = min(high, life.end)
    every = np.minimum(life.period, NEVER)
    first = np.minimum(life.first, NEVER)
    skipped = np.maximum(0.0, np.ceil((low - first) / every))
    count = np.maximum(0.0, np.ceil((high - first) / every) - skipped).astype(np.int64)
    page = np.repeat(np.arange(len(count), dtype=np.uint32), count)
    turn = np.arange(len(page)) - np.repeat(np.cumsum(count) - count, count)
    time = first[page] + (skipped[page] + turn) * every[page]
    all_pages = np.append(there, page)
    return Accesses(
        np.full(len(all_pages), number, np.uint16), all_pages, np.append(np.full(len(there), life.start), time)
    )
