"""Every interleaving of tasks on shared objects: run them, and say what breaks, or that nothing does."""

from __future__ import annotations

from swaplab.explore.observe import EveryObservation
from swaplab.explore.program import Program, ProgramError
from swaplab.explore.record import record
from swaplab.explore.search import Search, explore
from swaplab.explore.strategies import FewPreemptions, PriorityWalk, RandomWalk
from swaplab.explore.verdict import (
    CARRIES_OVER,
    EVERY_TRACE,
    MAY_MATTER,
    SMALL_PRINT,
    Bounded,
    Effort,
    Holds,
    Reordering,
    Schedule,
    Step,
    Unsure,
    Verdict,
    Violated,
    Violation,
)

__all__ = [
    "CARRIES_OVER",
    "EVERY_TRACE",
    "MAY_MATTER",
    "SMALL_PRINT",
    "Bounded",
    "Effort",
    "EveryObservation",
    "FewPreemptions",
    "Holds",
    "PriorityWalk",
    "Program",
    "ProgramError",
    "RandomWalk",
    "Reordering",
    "Schedule",
    "Search",
    "Step",
    "Unsure",
    "Verdict",
    "Violated",
    "Violation",
    "explore",
    "record",
]
