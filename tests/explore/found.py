"""What every interleaving of a few tasks comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from swaplab.explore import Program, ProgramError, Violated, explore

__all__ = ["Found", "found"]


class Found(NamedTuple):
    """Kinds of bugs and their sentences, over all executions, and how many executions there were."""

    kinds: set[str]
    sentences: set[str]
    executions: int


def found(
    setup: Callable[[], Any],
    tasks: Mapping[str, Callable[[Any], object]],
    invariants: Mapping[str, Callable[..., bool]] | None = None,
) -> Found:
    """Run them all. Tasks that have nothing in common, which is refused, have one."""
    try:
        verdict = explore(Program("program", setup, tasks, invariants or {}))
    except ProgramError as error:
        if "no two tasks have touched the same" in str(error):
            return Found(set(), set(), 1)
        raise
    violations = verdict.violations if isinstance(verdict, Violated) else []
    return Found({each.kind for each in violations}, {each.sentence for each in violations}, verdict.effort.executions)
