"""What breaks in executions, and the shortest execution for each thing that does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from swaplab.explore.shortest import Execution, Order, fewest_preemptions
from swaplab.kernel.sync.bugs import DoubleFree, KernelBug, ListCorruption, UseAfterFree

__all__ = ["Findings", "Found", "first_ones"]

SPOILING = (UseAfterFree, DoubleFree, ListCorruption)


class Found(NamedTuple):
    """A bug of one execution.

    Attributes:
        bug: what it is.
        event: at which it was met: -1 before any, the number of events at the end.
        past: bits of the events that lead to it.
    """

    bug: KernelBug
    event: int
    past: int


def first_ones(found: Iterable[Found]) -> Iterator[Found]:
    """Leave out the consequences of an operation that broke: its effect is unknown."""
    found = list(found)
    spoiled = {each.event for each in found if isinstance(each.bug, SPOILING) and each.event >= 0}
    for each in found:
        if not any(each.past >> event & 1 for event in spoiled if event != each.event):
            yield each


class Findings:
    """Everything that was found to break.

    Attributes:
        shortest: by kind and sentence, the shortest execution that shows it.
        unsure: those for which there may be a shorter one, as there were too many to look at.
    """

    def __init__(self) -> None:
        self.shortest: dict[tuple[str, str], Order] = {}
        self.unsure: set[tuple[str, str]] = set()

    def look(self, execution: Execution, found: Iterable[Found]) -> None:
        """Take in what broke in an execution."""
        for each in first_ones(found):
            key = (each.bug.title, str(each.bug))
            order, is_sure = fewest_preemptions(execution, each.past, self.shortest.get(key))
            if order is not None:
                self.shortest[key] = order
            if not is_sure:
                self.unsure.add(key)
