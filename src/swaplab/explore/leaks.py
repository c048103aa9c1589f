"""Objects that are lost: not freed, and out of everybody's reach, as kmemleak looks for them."""

from __future__ import annotations

import gc
from types import BuiltinFunctionType, FunctionType, ModuleType

from swaplab.explore.task import Task
from swaplab.explore.values import NEVER_CHANGES
from swaplab.kernel.sync.bugs import Leak
from swaplab.kernel.sync.runtime import current
from swaplab.kernel.sync.shared import Shared

__all__ = ["find_leaks"]

NOT_HELD = (type, ModuleType, BuiltinFunctionType, Task)
"""What leads on only by way of Python, or of who runs the system: locks and work know their tasks."""


def find_leaks(state: object, made: list[Shared]) -> list[Leak]:
    """Return what of `made` is neither freed nor reachable from the state, by way of what is not freed."""
    lost = {id(thing): thing for thing in made if not (thing.is_handle or "_freed" in thing.__dict__)}
    found = {id(state), id(current.runtime)}
    lost.pop(id(state), None)
    reached = [state]
    while reached and lost:
        inside = [each for each in _referents(reached) if type(each) not in NEVER_CHANGES]
        reached = []
        for each in inside:
            number = id(each)
            if number not in found:
                found.add(number)
                lost.pop(number, None)
                if not isinstance(each, NOT_HELD):
                    reached.append(each)
    return [Leak(f"{thing.label} is neither freed nor reachable") for thing in lost.values()]


def _referents(things: list[object]) -> list[object]:
    """Return what things refer to; what is freed refers to nothing, and a function only to the variables around it."""
    whole = [each for each in things if not isinstance(each, FunctionType) and not _is_freed(each)]
    cells = (cell for each in things if isinstance(each, FunctionType) for cell in each.__closure__ or ())
    return [*gc.get_referents(*whole), *cells]


def _is_freed(thing: object) -> bool:
    return isinstance(thing, Shared) and "_freed" in thing.__dict__
