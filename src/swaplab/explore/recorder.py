"""Takes down what one execution does."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import wraps
from types import FrameType
from typing import Any, TypeVar

from swaplab.explore.guard import FOLDERS
from swaplab.explore.history import LIFE, Event, Variable
from swaplab.explore.program import Program
from swaplab.explore.runtime import Explorer
from swaplab.explore.scheduler import Strategy
from swaplab.explore.task import Task
from swaplab.kernel.sync.bugs import KernelBug, SleepInAtomic
from swaplab.kernel.sync.locks import Lock
from swaplab.kernel.sync.runtime import READ, Mode
from swaplab.kernel.sync.shared import Part, Shared, looked_at
from swaplab.kernel.sync.work import Deferred, Work, WorkQueue

__all__ = ["Recorder", "Row", "accesses_of", "number_of"]

T = TypeVar("T")

FRAMEWORK = tuple(f"{folder}/" for folder in FOLDERS)
KERNEL_NAME = re.compile(r"(?:[\w/]+\.[ch]:)?([a-z]\w*_\w+)[,.:]")
"""How the docstring of a method begins that stands for a function of the kernel."""
POINTERS = frozenset({"cmpxchg", "xa_cmpxchg", "xa_erase", "xa_store"})
"""Operations that change something and return a pointer, so that nothing is a null pointer."""


@dataclass(slots=True)
class Row:
    """An operation, as it was announced and as it came out.

    Attributes:
        event: that it is in the history; none for what a task waits to do at the end, or may not do.
        frames: functions of the program and the system that are running, outermost first, and how they were called.
        begun: how many of them the task was in at its last step already.
        part: to which it is done: an object and a member.
        args: of the operation.
        value: what was read, written or returned, if anything.
        held: events that took the locks which the task holds.
        opener: for the release of a lock, the event that took it; -1 for others.
    """

    task: Task
    event: Event | None
    frames: list[tuple[str, list[Shared | Part]]]
    begun: int
    what: str
    part: tuple[Shared | None, str]
    args: tuple[object, ...]
    value: list[object]
    held: frozenset[int]
    opener: int


class Recorder(Explorer):
    """Takes down every step, and what invariants look at.

    Attributes:
        rows: one per step, and then what tasks wait to do.
        broke: by bug, the row that it comes of, if it comes of one.
        refused: by bug, what was not even begun.
        spawned: by row, the task that runs what it defers.
    """

    is_repeating = False

    def __init__(self, program: Program[Any], strategy: Strategy) -> None:
        self.rows: list[Row] = []
        self.broke: dict[int, int] = {}
        self.refused: dict[int, Row] = {}
        self.spawned: dict[int, Task] = {}
        self._announced: dict[int, list[FrameType]] = {}
        self._open: dict[int, list[FrameType]] = {}
        self._given: dict[int, tuple[object, ...]] = {}
        self._refused: dict[int, Row] = {}
        self._looks: dict[str, set[Variable]] = {}
        self._looking: set[Variable] = set()
        invariants = {sentence: self._noting(sentence, check) for sentence, check in program.invariants.items()}
        super().__init__(replace(program, invariants=invariants), strategy)

    def looks_at(self, sentence: str) -> set[Variable]:
        """Return what the invariant looked at that a violation's sentence begins with."""
        found = [looks for invariant, looks in self._looks.items() if sentence.startswith(invariant)]
        return set().union(*found)

    def name(self, task: Task) -> str:
        """Return a task's name, with a number if it is not the first of that name."""
        same = [each for each in self.tasks.values() if each.name == task.name]
        return task.name if same[0] is task else f"{task.name}#{same.index(task) + 1}"

    def execute(self, prefix: int) -> None:
        """Take down in the end what tasks wait to do."""
        super().execute(prefix)
        for task in self.tasks.values():
            if not task.done and not task.can_run:
                row = self._row(task, None)
                row.value.append("waits")
                self.rows.append(row)

    def _noting(self, sentence: str, check: Callable[..., bool]) -> Callable[..., bool]:
        @wraps(check)
        def noted(*args: object) -> bool:
            self._looking = self._looks[sentence] = set()
            try:
                with looked_at(lambda part: self._look(part.owner, part.name)):
                    return check(*args)
            except KernelBug as bug:
                self._looks[str(bug)] = self._looking
                raise

        return noted

    def _look(self, thing: Shared | None, member: str) -> None:
        if thing is None or "_number" in thing.__dict__:
            self._looking.add((number_of(thing), member))

    # Steps

    def _point(self, task: Task, what: str, owner: Shared | None, member: str) -> None:
        self._announced[task.number] = _frames()
        super()._point(task, what, owner, member)

    def _enter(self, task: Task) -> None:
        met = len(self.found)
        super()._enter(task)
        self.rows.append(self._row(task, self.history.events[-1]))
        self.broke |= {id(found.bug): len(self.rows) - 1 for found in self.found[met:]}

    def _crash(self, task: Task, bug: KernelBug) -> None:
        super()._crash(task, bug)
        if task.last >= 0:
            self.broke[id(bug)] = task.last
        if row := self._refused.get(task.number):
            self.refused[id(bug)] = row

    def _spawn(self, parent: Task, title: str, run: Callable[[], object]) -> Task:
        child = super()._spawn(parent, title, run)
        self.spawned[parent.last] = child
        return child

    def _row(self, task: Task, event: Event | None) -> Row:
        frames = self._announced.get(task.number, [])
        before = self._open.get(task.number, [])
        begun = next((n for n, (a, b) in enumerate(zip(frames, before, strict=False)) if a is not b), None)
        self._open[task.number] = frames
        return Row(
            task=task,
            event=event,
            frames=[_call(frame) for frame in frames],
            begun=min(len(frames), len(before)) if begun is None else begun,
            what=task.what,
            part=(task.owner, task.member),
            args=self._given.pop(task.number, ()),
            value=[],
            held=frozenset(taken for _, taken in task.held),
            opener=event.opener if event else -1,
        )

    # Values

    def step(self, part: Part, mode: Mode, what: str, do: Callable[..., T], *args: object) -> T:
        """Take down what it is given and what it returns."""
        task = self.task
        before = task.last if task else -1
        if task:
            self._given[task.number] = () if what in ("read", "write") else args
        found = super().step(part, mode, what, do, *args)
        if task and task.last != before:  # as it is while an object is being made
            row = self.rows[task.last]
            if what == "write":
                row.value.append(args[-1] if args else found)
            elif found is not None or (isinstance(mode, int) and mode & READ) or what in POINTERS:
                row.value.append(found)
        return found

    def read(self, thing: Shared, name: str, mode: int) -> Any:  # noqa: ANN401
        """Take down what is read."""
        value = super().read(thing, name, mode)
        if "_made" not in thing.__dict__:
            return value
        if self.task is None:
            self._look(thing, name)
        else:
            self.rows[self.task.last].value.append(value)
        return value

    def look(self, thing: Shared) -> None:
        """Note what an invariant asks."""
        super().look(thing)
        if self.task is None:
            self._look(thing, LIFE)

    def write(self, thing: Shared, name: str, mode: int, value: Any) -> None:  # noqa: ANN401
        """Take down what is written."""
        super().write(thing, name, mode, value)
        if self.task and "_made" in thing.__dict__:
            self.rows[self.task.last].value.append(value)

    def call_rcu(self, call: Deferred) -> None:
        """Take down what is to be called with."""
        task = self.task
        super().call_rcu(call)
        if task:
            self.rows[task.last].args = tuple(each for each in call.args if isinstance(each, Shared))

    def queue_work(self, queue: WorkQueue, work: Work) -> bool:
        """Take down on which queue, and whether it was not pending."""
        task = self.task
        found = super().queue_work(queue, work)
        if task:
            row = self.rows[task.last]
            row.args = (queue,)
            row.value.append(found)
        return found

    # What is refused before it is a step

    def acquire(self, lock: Lock) -> None:
        """Take down the attempt to take a lock where that may not be."""
        try:
            super().acquire(lock)
        except SleepInAtomic:
            self._refuse("mutex_lock", lock.owner, lock.name)
            raise

    def might_sleep(self, what: str) -> None:
        """Take down what may sleep where nothing may."""
        try:
            super().might_sleep(what)
        except SleepInAtomic:
            self._refuse(what, None, "")
            raise

    def _refuse(self, what: str, owner: Shared | None, member: str) -> None:
        if task := self.task:
            self._announced[task.number] = _frames()
            task.what, task.owner, task.member = what, owner, member
            self._refused[task.number] = self._row(task, None)

    def try_acquire(self, lock: Lock) -> bool:
        """Take down whether it succeeds."""
        task = self.task
        found = super().try_acquire(lock)
        if task:
            self.rows[task.last].value.append(found)
        return found


def _frames() -> list[FrameType]:
    """Return the functions of the program and the system that are running, outermost first."""
    found = []
    frame: FrameType | None = sys._getframe(2)
    while frame:
        code = frame.f_code
        is_framework = code.co_filename.startswith(FRAMEWORK)
        if is_framework and code.co_name == "_run":
            break
        if not is_framework and not code.co_name.startswith("<"):
            found.append(frame)
        frame = frame.f_back
    return found[::-1]


def _call(frame: FrameType) -> tuple[str, list[Shared | Part]]:
    """Return what a function is called, and the objects it is called with.

    A method has a short name: if it stands for a function of the kernel, its docstring says which.
    """
    code = frame.f_code
    is_method = "." in code.co_qualname and "<locals>" not in code.co_qualname and not code.co_name.startswith("_")
    documented = KERNEL_NAME.match(str(code.co_consts[0])) if is_method and code.co_consts else None
    name = documented[1] if documented else code.co_name
    names = code.co_varnames[: code.co_argcount]
    values = [frame.f_locals.get(name) for name in names]
    return name, [value for value in values if isinstance(value, Shared | Part)]


def accesses_of(row: Row) -> Iterable[tuple[Variable, int]]:
    """Return what an operation touches, or would touch."""
    return row.event.accesses if row.event else row.task.accesses


def number_of(thing: Shared | None) -> int:
    """Return the number that events know an object by; 0 for what is global."""
    return 0 if thing is None else thing.__dict__["_number"]
