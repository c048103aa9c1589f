"""What one execution did, step by step, for people."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from swaplab.explore.history import FREE, Event, Variable, dependent
from swaplab.explore.program import Program
from swaplab.explore.runtime import Explorer
from swaplab.explore.strategies import Replay
from swaplab.explore.task import Task, origin
from swaplab.explore.verdict import Step
from swaplab.kernel.sync.bugs import KernelBug
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["Recording", "record", "shared_variables"]

EXPLORE = Path(__file__).parent
SYNC = Path(sys.modules[Part.__module__].__file__ or "").parent


class Recording(NamedTuple):
    """One execution.

    Attributes:
        bugs: what broke.
        steps: what was done.
        preemptions: how often a task was interrupted that could have gone on.
        shared: variables whose use by one task depends on their use by another.
    """

    bugs: list[KernelBug]
    steps: list[Step]
    preemptions: int
    shared: frozenset[Variable]


class _Recorder:
    """Takes down every step before it is done."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, Task, list[FrameType], int, str, str]] = []
        self.open: dict[int, list[FrameType]] = {}

    def __call__(self, task: Task) -> None:
        frames = _frames()
        before = self.open.get(task.number, [])
        begun = next((n for n, (a, b) in enumerate(zip(frames, before, strict=False)) if a is not b), None)
        begun = min(len(frames), len(before)) if begun is None else begun
        self.open[task.number] = frames
        self.rows.append((task.last, task, [*frames], begun, task.what, task.target))


def _frames() -> list[FrameType]:
    """Return the functions of the program and the system that are running, outermost first."""
    found = []
    frame: FrameType | None = sys._getframe(2)
    while frame:
        folder = Path(frame.f_code.co_filename).parent
        if folder not in (SYNC, EXPLORE) and not frame.f_code.co_name.startswith("<"):
            found.append(frame)
        elif frame.f_code.co_name == "_run" and folder == EXPLORE:
            break
        frame = frame.f_back
    return found[::-1]


def _call(frame: FrameType) -> str:
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount]
    values = [frame.f_locals.get(name) for name in names]
    return f"{code.co_name}({', '.join(value.label for value in values if isinstance(value, Shared))})"


def shared_variables(events: list[Event]) -> frozenset[Variable]:
    """Return what tasks use in ways that depend on each other."""
    steps = {(event.task, event.accesses) for event in events}
    return frozenset(
        access[0]
        for task, accesses in steps
        for access in accesses
        if any(task != other and dependent((access,), touched) for other, touched in steps)
    )


def _matter(events: list[Event]) -> list[bool]:
    """Tell of each event whether another CPU does something that depends on it.

    Using an object depends on its being freed, but that says more of the one who frees it.
    """
    cpus = [origin(event.task) for event in events]
    steps = set(zip(cpus, (event.accesses for event in events), strict=True))

    def is_shared(cpu: int, access: tuple[Variable, int]) -> bool:
        others = (accesses for other, accesses in steps if other != cpu)
        counted = (each for each in others if access[1] & FREE or not any(mode & FREE for _, mode in each))
        return any(dependent((access,), each) for each in counted)

    shared = [any(is_shared(cpu, each) for each in event.accesses) for cpu, event in zip(cpus, events, strict=True)]
    return [*shared[:-1], True]


def record(program: Program[Any], choices: list[int]) -> Recording:
    """Run an execution again and take it down.

    Raises:
        ProgramError: the choices are not of this program.
    """
    recorder = _Recorder()
    explorer = Explorer(program, replay := Replay(choices))
    explorer.trace = recorder
    replay.run(explorer, lambda: True)
    events = explorer.history.events
    matters = _matter(events)
    steps = [
        Step(
            cpu=task.cpu,
            task=task.name,
            calls=[_call(frame) for frame in frames],
            begun=begun,
            what=what,
            subject=subject,
            matters=matters[number],
        )
        for number, task, frames, begun, what, subject in recorder.rows
    ]
    return Recording(explorer.bugs, steps, replay.preemptions, shared_variables(events))
