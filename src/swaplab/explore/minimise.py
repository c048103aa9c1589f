"""The shortest way to a bug: with the fewest preemptions, and then in the fewest steps."""

from __future__ import annotations

from typing import Any

from swaplab.explore.program import Program
from swaplab.explore.record import record
from swaplab.explore.runtime import Explorer
from swaplab.explore.strategies import FewPreemptions

__all__ = ["minimise"]

EXECUTIONS_MAX = 2000


class _Shortest:
    """Keeps the shortest execution with a bug of one kind."""

    def __init__(self, kind: str, executions_max: int) -> None:
        self.kind = kind
        self.left = executions_max
        self.choices: list[int] = []

    def look(self, explorer: Explorer) -> bool:
        """Look at an execution; return whether there may be more."""
        self.left -= 1
        choices = [event.task for event in explorer.history.events]
        is_shorter = not self.choices or len(choices) < len(self.choices)
        if explorer.bugs and explorer.bugs[0].title == self.kind and is_shorter:
            self.choices = choices
        return self.left > 0


def minimise(program: Program[Any], kind: str, choices: list[int]) -> tuple[list[int], bool]:
    """Look for an execution that breaks the same way with fewer preemptions, and then with fewer steps.

    Args:
        program: that was explored.
        kind: of the bug.
        choices: of the execution that was found.

    Returns:
        Choices, and whether every execution with fewer preemptions was run. Preemptions before operations on what the
        tasks of the found execution do not share are left out: they change nothing there.
    """
    recording = record(program, choices)
    left = EXECUTIONS_MAX
    for bound in range(recording.preemptions + 1):
        shortest = _Shortest(kind, left)
        explorer = Explorer(program, search := FewPreemptions(bound, recording.shared))
        is_complete = search.run(explorer, lambda explorer=explorer, shortest=shortest: shortest.look(explorer))  # type: ignore[misc]
        if shortest.choices:
            return shortest.choices, True
        if not is_complete:
            return choices, False
        left = shortest.left
    return choices, True
