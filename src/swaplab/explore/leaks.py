"""Objects that are lost: not freed, and out of everybody's reach, as kmemleak looks for them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from gc import get_referents
from types import BuiltinFunctionType, FunctionType, ModuleType

from swaplab.explore.task import Task
from swaplab.explore.values import NEVER_CHANGES
from swaplab.kernel.sync.bugs import Leak
from swaplab.kernel.sync.runtime import current
from swaplab.kernel.sync.shared import Shared

__all__ = ["find_leaks"]

NOT_HELD = (type, ModuleType, BuiltinFunctionType, FunctionType, Task)
"""References that exist only in Python or in the explorer: locks and work know their tasks."""
identity = object.__hash__
"""As ``id``, of which Python tells its audit hooks: that takes longer than all else here."""


def find_leaks(state: object, made: list[Shared]) -> list[Leak]:
    """Return what of `made` is neither freed nor reachable from the state, by way of what is not freed."""
    lost = {identity(thing): thing for thing in made if not (thing.is_handle or "_freed" in thing.__dict__)}
    found = {identity(thing) for thing in made if "_freed" in thing.__dict__} | {identity(current.runtime)}
    reached = [state]
    while reached:
        new = dict(zip(map(identity, reached), reached, strict=True))
        for number in found & new.keys():
            del new[number]
        for number in lost.keys() & new.keys():
            del lost[number]
        if not lost:
            break
        found.update(new)
        reached = _referents(new.values())
    return [Leak(f"{thing.label} is neither freed nor reachable") for thing in lost.values()]


def _referents(things: Iterable[object]) -> list[object]:
    """Return what things refer to; of a function only the variables around it."""
    found = get_referents(*[each for each in things if _leads_on(type(each))])  # type: ignore[arg-type]
    found += [cell for each in things if type(each) is FunctionType for cell in each.__closure__ or ()]
    return found


@cache
def _leads_on(kind: type) -> bool:
    return kind not in NEVER_CHANGES and not issubclass(kind, NOT_HELD)
