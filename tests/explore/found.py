"""What every interleaving of a few tasks comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.explore.observations import findings

from swaplab.explore import Program, ProgramError, explore

__all__ = ["Found", "found"]


class Found(NamedTuple):
    """Kinds of bugs and their sentences, over all executions, and how many traces there are."""

    kinds: set[str]
    sentences: set[str]
    executions: int


def found(
    setup: Callable[[], Any],
    tasks: Mapping[str, Callable[[Any], object]],
    invariants: Mapping[str, Callable[..., bool]] | None = None,
) -> Found:
    """Run them all, each observation and each trace. Tasks that have nothing in common, which is refused, have one."""
    program = Program("program", setup, tasks, invariants or {})
    try:
        few, verdict = explore(program), explore(program, every_trace=True)
    except ProgramError as error:
        if "no two tasks have touched the same" in str(error):
            return Found(set(), set(), 1)
        raise
    assert findings(few) == findings(verdict)
    kinds, sentences = ({each[at] for each in findings(verdict)} for at in (0, 1))
    return Found(kinds, sentences, verdict.effort.executions)
