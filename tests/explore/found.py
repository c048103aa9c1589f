"""What every interleaving of a few tasks comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from swaplab.explore.dpor import OptimalSearch
from swaplab.explore.program import Program
from swaplab.explore.runtime import Explorer

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
    search = OptimalSearch()
    explorer = Explorer(Program("program", setup, tasks, invariants or {}), search)
    kinds: set[str] = set()
    sentences: set[str] = set()

    def visit() -> bool:
        kinds.update(bug.title for bug in explorer.bugs)
        sentences.update(map(str, explorer.bugs))
        return True

    search.run(explorer, visit)
    return Found(kinds, sentences, search.executions)
