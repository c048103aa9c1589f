"""Every interleaving, without any reduction, and what there is to know of it: obvious, and slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swaplab.explore.history import LIFE, Accesses
from swaplab.explore.runtime import Explorer
from swaplab.explore.task import Task
from swaplab.kernel.sync.runtime import COMMUTE, READ, WRITE

Trace = tuple[Any, ...]


class BruteForce:
    """Depth first through all choices."""

    def __init__(self) -> None:
        self.choices: list[list[int]] = []

    def run(self, explorer: Explorer, visit: Callable[[], bool]) -> bool:
        with explorer.installed():
            while True:
                explorer.execute(0)
                if not visit():
                    return False
                while self.choices and len(self.choices[-1]) == 1:
                    self.choices.pop()
                if not self.choices:
                    return True
                self.choices[-1].pop(0)

    def pick(self, explorer: Explorer) -> Task:
        if explorer.depth == len(self.choices):
            self.choices.append([task.number for task in explorer.able()])
        return explorer.tasks[self.choices[explorer.depth][0]]


def trace(explorer: Explorer) -> Trace:
    """The execution's Mazurkiewicz trace: by variable, the order of what conflicts there.

    Runs of reads, and runs of additions, have no order.
    """
    made: dict[int, int] = {}
    projections: dict[Any, list[tuple[int, set[tuple[int, int]]]]] = {}
    for event in explorer.history.events:
        made[event.task] = made.get(event.task, 0) + 1
        name = (event.task, made[event.task])
        for variable, mode in with_lives(event.accesses):
            kind = mode & (READ | WRITE | COMMUTE)
            runs = projections.setdefault(variable, [])
            if runs and runs[-1][0] == kind != WRITE:
                runs[-1][1].add(name)
            else:
                runs.append((kind, {name}))
    return (
        tuple(sorted(made.items())),
        tuple(
            sorted((v, tuple((kind, tuple(sorted(names))) for kind, names in runs)) for v, runs in projections.items())
        ),
    )


def with_lives(accesses: Accesses) -> Accesses:
    """What is touched, and that it takes the object to be alive."""
    lives = {((thing, LIFE), READ): None for (thing, member), _ in accesses if thing and member != LIFE}
    return (*accesses, *lives)
