"""What every interleaving of a few tasks comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from swaplab.explore import Program, Violated, explore

__all__ = ["Found", "found"]


class Found(NamedTuple):
    """Kinds of bugs and their sentences, over all executions, and how many executions there were."""

    kinds: set[str]
    sentences: set[str]
    executions: int


def found(
    setup: Callable[[], Any],
    tasks: Mapping[str, Callable[[Any], object]],
    invariants: Mapping[str, Callable[[Any], bool]] | None = None,
) -> Found:
    """Run them all."""
    verdict = explore(Program("program", setup, tasks, invariants or {}))
    violations = verdict.violations if isinstance(verdict, Violated) else []
    return Found({each.kind for each in violations}, {each.sentence for each in violations}, verdict.effort.executions)
