"""Objects that are lost: made by a task, not freed, and out of everybody's reach, as kmemleak looks for them."""

from __future__ import annotations

import gc
from types import BuiltinFunctionType, FunctionType, ModuleType

from swaplab.kernel.sync.bugs import Leak
from swaplab.kernel.sync.shared import Shared

__all__ = ["find_leaks"]

CODE = (type, ModuleType, FunctionType, BuiltinFunctionType)


def find_leaks(state: object, made: list[Shared]) -> list[Leak]:
    """Return what of `made` is neither freed nor reachable from the state of the system."""
    alive = [thing for thing in made if "_freed" not in thing.__dict__]
    if not alive:
        return []
    found = {id(state)}
    reached = [state]
    while reached:
        for each in gc.get_referents(reached.pop()):
            if id(each) not in found and not isinstance(each, CODE):
                found.add(id(each))
                reached.append(each)
    return [Leak(f"{thing.label} is neither freed nor reachable") for thing in alive if id(thing) not in found]
