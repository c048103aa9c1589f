"""Says of a data race what KCSAN would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from swaplab.explore.history import Event
from swaplab.explore.ordering import Race
from swaplab.explore.task import Task
from swaplab.kernel.sync.bugs import DataRace, KernelBug, ListCorruption
from swaplab.kernel.sync.runtime import PLAIN

__all__ = ["data_races"]


def data_races(
    event: Event, races: Iterable[Race], events: Sequence[Event], tasks: Mapping[int, Task]
) -> Iterable[KernelBug]:
    """Return what there is to say of the races of an access with earlier ones: each sentence once.

    Args:
        event: the access.
        races: with which others.
        events: of the execution.
        tasks: by number.
    """
    return {str(bug): bug for bug in (_data_race(event, race, events, tasks) for race in races)}.values()


def _data_race(event: Event, race: Race, events: Sequence[Event], tasks: Mapping[int, Task]) -> KernelBug:
    """Say of a race which functions, in alphabetical order, do what to what."""
    late = (event.function, _access(event.what, race.mode), event.name)
    if race.event < 0:
        early = ("__init__", "write", tasks[race.task].name)
        target = event.target
    else:
        other = events[race.event]
        early = (other.function, _access(other.what, dict(other.accesses)[race.variable]), other.name)
        targets = [each.target for each in (event, other) if (each.owner, each.member) == race.variable]
        target = min(targets or [event.target, other.target])
    (function, access, task), (function_2, access_2, task_2) = sorted((early, late))
    kind = ListCorruption if access.startswith("list_") and access_2.startswith("list_") else DataRace
    return kind(f"data-race in {function} / {function_2}: {access} by {task}, {access_2} by {task_2}, of {target}")


def _access(what: str, mode: int) -> str:
    return what if mode & PLAIN or what not in ("read", "write", "remove") else f"marked {what}"
