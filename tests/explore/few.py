"""What executions with few preemptions show, against what the search says: a second opinion without any reduction."""

from __future__ import annotations

from itertools import chain
from typing import Any

from swaplab.explore import Bounded, FewPreemptions, Holds, Program, Verdict, explore
from swaplab.races.museum import exhibits
from swaplab.races.offline import matrix

BOUND = 2
PROGRAMS: dict[str, Program[Any]] = {cell.label: cell.program for cell in matrix()} | {
    program.name: program
    for exhibit in exhibits()
    for program in chain(exhibit.broken.values(), exhibit.fixed.values())
}
"""All on objects of kernel/."""


def disagreements(program: Program[Any], verdict: Verdict, executions_max: int) -> list[str]:
    """Run a program with few preemptions; return what does not fit a complete verdict on it.

    Nothing may break there that the search has not found, and if all such executions were run, whatever the search
    found that takes no more preemptions.
    """
    few = explore(program, FewPreemptions(BOUND), executions_max=executions_max)
    broken, found = breaks(few), breaks(verdict)
    texts = [f"{program.name}: {BOUND} preemptions show {key}, the search does not" for key in broken - found.keys()]
    if is_all(few):
        few_enough = {key for key, preemptions in found.items() if preemptions <= BOUND}
        texts += [
            f"{program.name}: the search shows {key}, {BOUND} preemptions do not" for key in few_enough - broken.keys()
        ]
    return texts


def breaks(verdict: Verdict) -> dict[tuple[str, str], int]:
    """Return what breaks, with the preemptions that it takes."""
    if isinstance(verdict, Holds | Bounded):
        return {}
    return {(each.kind, each.sentence): each.preemptions for each in verdict.violations}


def is_all(verdict: Verdict) -> bool:
    """Tell whether all executions with few preemptions were run."""
    return not isinstance(verdict, Holds) and verdict.limit == FewPreemptions(BOUND).limit
