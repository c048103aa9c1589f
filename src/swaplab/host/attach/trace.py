"""The trace of an attached recording: all its accesses are invented, and have the reuse times that were sampled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from swaplab.host.attach.curves import Curve, working_set
from swaplab.host.attach.rebuild import Accesses, Rebuilt, classes, pages_of, rebuild
from swaplab.host.attach.samples import Attached, Life
from swaplab.scenario.trace import EVENTS, MAX_STREAMS, EventKind, Stream, TraceInfo, TraceWriter

__all__ = ["ACCESSES_MAX", "Sampled", "sampled_lives", "write_trace"]

ACCESSES_MAX: Final = 1 << 23
NANOSECONDS: Final = 1e9


class Sampled(NamedTuple):
    """A life of which there are samples.

    Attributes:
        life: which.
        samples: `SAMPLES`, its own.
        curve: of all of them.
        end: seconds; that of the recording if it ran on.
    """

    life: Life
    samples: NDArray[np.void]
    curve: Curve
    end: float


def sampled_lives(attached: Attached) -> list[Sampled]:
    """Return those that were seen with memory, in their order: the largest, if a trace has not as many streams."""
    number = attached.samples["life"]
    found = []
    for life in np.unique(number).tolist():
        own = attached.samples[number == life]
        told = attached.lives[life]
        found.append(Sampled(told, own, working_set(own), attached.seconds if told.end is None else told.end))
    largest = sorted(range(len(found)), key=lambda each: -_total(found[each].curve))[:MAX_STREAMS]
    return [found[each] for each in sorted(largest) if round(_total(found[each].curve))]


def _total(curve: Curve) -> float:
    return curve.resident + curve.swapped


def write_trace(
    path: Path,
    attached: Attached,
    lives: Sequence[Sampled],
    *,
    seed: int,
    source: str,
    accesses_max: int = ACCESSES_MAX,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> TraceInfo:
    """Write accesses with the reuse times of what was sampled; the same samples and seed give the same bytes.

    Raises:
        OSError: it cannot be written.
    """
    floor = _floor(lives, accesses_max)
    rebuilt = [
        pages_of(each.curve, each.life.start, each.end, floor, np.random.default_rng([seed, number]))
        for number, each in enumerate(lives)
    ]
    with TraceWriter(path, with_time=True, is_private=True, with_events=True) as writer:
        ends = _Ends(lives)
        for part in rebuild(rebuilt, attached.seconds):
            time = np.round(part.time * NANOSECONDS).astype(np.int64)
            writer.append(part.stream, part.page, np.ones(len(part.page), np.bool_), time, ends.upto(part))
            told(round(float(part.time[-1]) if len(part.time) else 0), round(attached.seconds))
        return writer.finish(
            _streams(lives, rebuilt),
            source=source,
            reconstructed=_reconstructed(attached, lives, floor, seed),
            extra={"attached": {"method": attached.method, "seconds": attached.seconds, "seed": seed, "floor": floor}},
        )


def _floor(lives: Sequence[Sampled], accesses_max: int) -> float:
    """Return the least period with which there are not too many accesses: what is hotter is touched that often."""
    found = [(each.end - each.life.start, classes(each.curve)) for each in lives]
    floor = 2.0**-20

    def accesses() -> float:
        return sum(float((span * made.pages / np.maximum(made.period, floor)).sum()) for span, made in found)

    while accesses() > accesses_max:
        floor *= 2
    return floor


def _hot(lives: Sequence[Sampled], floor: float) -> float:
    """Return how many pages are touched more often."""
    made = [classes(each.curve) for each in lives]
    return sum(float(each.pages[each.period < floor].sum()) for each in made)


def _streams(lives: Sequence[Sampled], rebuilt: Sequence[Rebuilt]) -> list[Stream]:
    """Name each stream after its program, and number those of the same name."""
    seen: Counter[str] = Counter()
    streams = []
    for each, made in zip(lives, rebuilt, strict=True):
        streams.append(Stream(f"{each.life.name}:{seen[each.life.name]}", len(made.period)))
        seen[each.life.name] += 1
    return streams


def _reconstructed(attached: Attached, lives: Sequence[Sampled], floor: float, seed: int) -> str:
    count = sum(len(each.samples) for each in lives)
    hot = _hot(lives, floor)
    less = f"; below {hot / 256:.1f} MB of memory it says nothing" if hot >= 1 else ""
    return (
        f"from {count:,} samples over {attached.seconds:.0f} s ({attached.method}), seed {seed}: which page is touched "
        f"when is invented, all accesses are writes{less}"
    )


class _Ends:
    """When lives ended, for a trace that is written in parts."""

    def __init__(self, lives: Sequence[Sampled]) -> None:
        ended = [(each.end, number) for number, each in enumerate(lives) if each.life.end is not None]
        self._left = sorted(ended, reverse=True)

    def upto(self, part: Accesses) -> NDArray[np.void]:
        """Take the exits that come before the last of some accesses."""
        found = []
        while self._left and len(part.time) and self._left[-1][0] <= part.time[-1]:
            time, stream = self._left.pop()
            at = int(np.searchsorted(part.time, time))
            found.append((at, EventKind.EXIT, stream, 0, 0, 0, 0, round(time * NANOSECONDS)))
        return np.array(found, EVENTS)
