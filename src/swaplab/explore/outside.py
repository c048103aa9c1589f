"""State outside executions, or inside where changes are not seen: it has to stay as it is."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from swaplab.explore.program import Program
from swaplab.explore.reach import Reach
from swaplab.explore.values import cell_contents, cells, contents
from swaplab.kernel.sync.bugs import Refused
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["Outside"]

CALLS = (FunctionType, MethodType, partial)
"""What tasks may find in objects, and call."""


class Outside:
    """State that a program can reach and that is not watched.

    Attributes:
        is_sample: whether it is looked at with every step of this execution, and not only at its end.
    """

    def __init__(self) -> None:
        self.is_sample = False
        self._reach: Reach | None = None
        self._around: list[tuple[str, CellType, object]] = []

    def begin(self, is_sample: bool) -> None:
        """Begin an execution."""
        self.is_sample = is_sample
        self._around = []

    def end_setup(self, program: Program[Any], objects: list[Shared], parts: Iterable[Part]) -> None:
        """Find what the tasks of a program can reach once it is set up, which is the same every time."""
        if self._reach is not None:
            return
        parts = list(parts)
        held = [(thing.label, value) for thing in objects for value in thing.__dict__.values()]
        held += [(part.label, value) for part in parts for value in contents(part)]
        used: list[tuple[str, object]] = [(label, value) for label, value in held if isinstance(value, ModuleType)]
        used += [(f"{label}, which is called", value) for label, value in held if isinstance(value, CALLS)]
        kinds = dict.fromkeys(type(thing) for thing in (*objects, *parts))
        roots = [*program.tasks.items(), *used, *(("", kind) for kind in kinds)]
        self._reach = Reach(roots, [*objects, *parts])

    def give(self, value: object) -> None:
        """Note the variables around functions that are given to other tasks, which may call them."""
        self._around += [(name, cell, cell_contents(cell)) for name, cell in cells(value)]

    def insist_same(self, is_end: bool = False) -> None:
        """Insist that nothing has changed.

        Raises:
            Refused: something has.
        """
        for name, cell, was in self._around:
            if cell_contents(cell) is not was:
                raise Refused(f"{name}, is changed while others may use it, unseen: keep it in a field of an object")
        if self._reach and (is_end or self.is_sample):
            self._reach.insist_same()
