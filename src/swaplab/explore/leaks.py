"""Objects that are lost: not freed, and out of everybody's reach, as kmemleak looks for them."""

from __future__ import annotations

import gc
from collections.abc import Sequence
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
    reached = [state]
    while reached and lost:
        for each in _referents(reached.pop()):
            if type(each) not in NEVER_CHANGES and id(each) not in found and not isinstance(each, NOT_HELD):
                found.add(id(each))
                reached.append(each)
                lost.pop(id(each), None)
        lost.pop(id(state), None)
    return [Leak(f"{thing.label} is neither freed nor reachable") for thing in lost.values()]


def _referents(thing: object) -> Sequence[object]:
    if isinstance(thing, Shared) and "_freed" in thing.__dict__:
        return ()
    return (thing.__closure__ or ()) if isinstance(thing, FunctionType) else gc.get_referents(thing)
