"""What one execution did, step by step, for people."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from swaplab.explore.history import FREE, Event, Variable
from swaplab.explore.program import Program
from swaplab.explore.runtime import READER, Explorer, Strategy
from swaplab.explore.strategies import Replay
from swaplab.explore.task import Task, origin
from swaplab.explore.verdict import Step
from swaplab.kernel.sync.bugs import DataRace, Deadlock, KernelBug, ListCorruption, LockOrder, SleepInAtomic
from swaplab.kernel.sync.locks import Lock
from swaplab.kernel.sync.runtime import COMMUTE, READ, WRITE, Mode
from swaplab.kernel.sync.shared import Part, Shared, looked_at
from swaplab.kernel.sync.work import Deferred, Work, WorkQueue

__all__ = ["Recording", "record"]

T = TypeVar("T")

EXPLORE = Path(__file__).parent
SYNC = Path(sys.modules[Part.__module__].__file__ or "").parent
FRAMEWORK = (str(SYNC), str(EXPLORE))
VALUE_MAX = 40
"""Characters of a value; what is longer ends in dots."""
KIND = READ | WRITE | COMMUTE
ALONE_MAX = 100
"""Steps of a single CPU that are shown whole."""
KERNEL_NAME = re.compile(r"(?:[\w/]+\.[ch]:)?([a-z]\w*_\w+)[,.:]")
POINTERS = frozenset({"cmpxchg", "xa_cmpxchg", "xa_erase", "xa_store"})
"""Operations that change something and return a pointer, so that nothing is a null pointer."""


@dataclass(slots=True)
class _Row:
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


class Recording:
    """One execution.

    Attributes:
        bugs: what broke.
        preemptions: how often a task was interrupted that could have gone on.
    """

    def __init__(self, recorder: _Recorder, preemptions: int) -> None:
        events = recorder.history.events
        self.bugs = [found.bug for found in recorder.found]
        self.preemptions = preemptions
        self._recorder = recorder
        self._rows = recorder.rows
        self._names = _names(recorder.rows)
        self._reordered = _reordered(events)

    def bug(self, kind: str, sentence: str) -> KernelBug | None:
        """Return the one that is meant, if it is there."""
        return next((bug for bug in self.bugs if (bug.title, str(bug)) == (kind, sentence)), None)

    def steps(self, bug: KernelBug | None = None) -> list[Step]:
        """Return what was done, up to the operation that breaks it.

        Args:
            bug: of `bugs`, which says what matters; none where nothing broke.
        """
        shown, end = self._shown(bug)
        steps = [self._step(row, number in shown) for number, row in enumerate(self._rows[:end])]
        refused = self._recorder.refused.get(id(bug))
        return [*steps, self._step(refused, True)] if refused else steps

    def _shown(self, bug: KernelBug | None) -> tuple[set[int], int]:
        """Return which rows matter, and how many there are until it breaks."""
        rows = self._rows
        everything = {n for n, row in enumerate(rows) if row.what != "start"}
        is_alone = len({origin(row.task.number) for row in rows}) == 1 and len(rows) <= ALONE_MAX
        shown = everything if is_alone else self._reordered & everything
        if bug is None:
            return self._told(shown, set()), len(rows)
        breaking = self._recorder.broke.get(id(bug))
        is_about = self._about(bug, breaking)
        about = {n for n in everything if is_about(rows[n]) or rows[n].event is None}
        if isinstance(bug, DataRace | ListCorruption | Deadlock | LockOrder):
            about |= {taken for n in about for taken in rows[n].held}
        if breaking is not None:
            about.add(breaking)
        return self._told(shown, about) or everything, len(rows) if breaking is None else breaking + 1

    def _told(self, shown: set[int], about: set[int]) -> set[int]:
        """Return the rows to show, without what says nothing: sections in which nothing is shown, and calls later."""
        spawned = self._recorder.spawned
        told = shown | about
        decided = {id(self._rows[n].task) for n in about}
        frees = {n for n, row in enumerate(self._rows) if row.what.startswith("call_rcu") and row.args}
        told |= {n for n in frees & spawned.keys() if id(spawned[n]) in decided}
        later = {n for n, task in spawned.items() if not any(self._rows[m].task is task for m in told)}
        told -= later - about
        opened = {n: row.opener for n, row in enumerate(self._rows) if row.opener >= 0}
        for end, start in sorted(opened.items(), reverse=True):
            task = self._rows[start].task
            inside = (n for n in told if start < n < end and self._rows[n].task is task)
            if not {start, end} & about and not any(inside):
                told -= {start, end}
        return told

    def _about(self, bug: KernelBug, breaking: int | None) -> Callable[[_Row], bool]:
        """Return what tells whether a row does something to what a bug is about."""
        sentence = str(bug)
        parts = {(_number(row.part[0]), row.part[1]): row.part for row in self._rows}
        exact = set(self._recorder.looks_at(sentence)) | {
            variable
            for variable, (thing, member) in parts.items()
            if member and _is_named(f"{thing.label}.{member}" if thing else member, sentence)
        }
        decisive = [row for row in self._rows if row.event is None] if breaking is None else [self._rows[breaking]]
        exact |= {variable for row in decisive for variable, _ in _accesses(row)}
        exact -= {variable for variable, _ in READER}
        whole = {number for (number, _), (thing, _) in parts.items() if thing and _is_named(thing.label, sentence)}
        changed = {variable for row in self._rows for variable, mode in _accesses(row) if not mode & READ}
        owners = {number for number, _ in exact}

        def is_about(row: _Row) -> bool:
            return any(
                variable in exact
                or (variable[0], variable[1].partition("[")[0]) in exact
                or (variable[0] in whole and variable in changed)
                or (mode & FREE and variable[0] in owners)
                for variable, mode in _accesses(row)
            )

        return is_about

    def _step(self, row: _Row, matters: bool) -> Step:
        task, names = row.task, self._names
        thing, member = row.part
        args = row.args[1:] if row.args and member.endswith(f"[{row.args[0]!r}]") else row.args
        what, _, work = row.what.partition("(")
        return Step(
            cpu=task.cpu,
            column=origin(task.number),
            task=self._recorder.name(task),
            calls=[f"{name}({', '.join(_text(thing, names) for thing in things)})" for name, things in row.frames],
            begun=row.begun,
            what=what,
            subject=f"{names(thing)}.{member}" if thing and member else names(thing) if thing else member,
            arguments=[*([work[:-1]] if work else []), *(_text(each, names) for each in args)],
            value=", ".join(_text(each, names) for each in row.value),
            matters=matters,
        )


def _is_named(label: str, sentence: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(label)}(?!\w)", sentence) is not None


def _number(thing: Shared | None) -> int:
    return 0 if thing is None else thing.__dict__["_number"]


Names = Callable[[Shared], str]


def _names(rows: list[_Row]) -> Names:
    """Return what diagrams call objects: by name alone the one of that name which was made first, others in full."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    labels: dict[str, int] = {}
    for thing in sorted(_things(rows), key=_number):
        name, label = thing.__dict__.get("name"), thing.label
        labels[label] = labels.get(label, 0) + 1
        if isinstance(name, str) and name and " " not in name and name not in taken:
            taken.add(name)
            names[_number(thing)] = name
        else:
            names[_number(thing)] = label if labels[label] == 1 else f"{label}#{labels[label]}"
    return lambda thing: names.get(thing.__dict__.get("_number", 0), thing.label)


def _things(rows: list[_Row]) -> Iterable[Shared]:
    """Return the objects that are operated on, called with, written or returned."""
    found: dict[int, Shared] = {}
    for row in rows:
        called = (thing for _, things in row.frames for thing in things)
        for value in (row.part[0], *called, *row.args, *row.value):
            thing = value.owner if isinstance(value, Part) else value
            if isinstance(thing, Shared) and "_number" in thing.__dict__:
                found[id(thing)] = thing
    return found.values()


def _text(value: object, names: Names) -> str:
    """Write a value as a kernel developer would."""
    if value is None or isinstance(value, bool):
        return {None: "NULL", True: "true", False: "false"}[value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, int | float | str):
        found = str(value)
    elif isinstance(value, bytes | bytearray):
        found = f"{len(value)} bytes"
    elif isinstance(value, Shared):
        found = names(value)
    elif isinstance(value, Part):
        found = f"{names(value.owner)}.{value.name}" if value.owner else value.name
    elif isinstance(value, tuple | list):
        found = f"({', '.join(_text(each, names) for each in value)})"
    elif isinstance(value, set | frozenset):
        found = f"{{{', '.join(sorted(_text(each, names) for each in value))}}}"
    elif isinstance(value, dict):
        found = f"{{{', '.join(f'{_text(key, names)}: {_text(each, names)}' for key, each in value.items())}}}"
    elif isinstance(value, Work):
        found = value.name
    else:
        found = getattr(value, "__name__", type(value).__name__)
    return found if len(found) <= VALUE_MAX else f"{found[: VALUE_MAX - 3]}..."


class _Recorder(Explorer):
    """Takes down every step, and what invariants look at.

    Attributes:
        rows: one per step, and then what tasks wait to do.
        broke: by bug, the row that it comes of, if it comes of one.
        refused: by bug, what was not even begun.
        spawned: by row, the task that runs what it defers.
    """

    def __init__(self, program: Program[Any], strategy: Strategy) -> None:
        self.rows: list[_Row] = []
        self.broke: dict[int, int] = {}
        self.refused: dict[int, _Row] = {}
        self.spawned: dict[int, Task] = {}
        self._announced: dict[int, list[FrameType]] = {}
        self._open: dict[int, list[FrameType]] = {}
        self._given: dict[int, tuple[object, ...]] = {}
        self._refused: dict[int, _Row] = {}
        self._written: tuple[_Row, Shared, str] | None = None
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
        self._note_written()
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
            self._looking.add((_number(thing), member))

    # Steps

    def _point(self, task: Task, what: str, owner: Shared | None, member: str) -> None:
        self._announced[task.number] = _frames()
        super()._point(task, what, owner, member)

    def _enter(self, task: Task) -> None:
        self._note_written()
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

    def _row(self, task: Task, event: Event | None) -> _Row:
        frames = self._announced.get(task.number, [])
        before = self._open.get(task.number, [])
        begun = next((n for n, (a, b) in enumerate(zip(frames, before, strict=False)) if a is not b), None)
        self._open[task.number] = frames
        return _Row(
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

    def _watch(self, thing: Shared, name: str, mode: int) -> None:
        task = self.task
        super()._watch(thing, name, mode)
        if "_made" not in thing.__dict__:
            return
        if task is None:
            self._look(thing, name)
        else:
            row = self.rows[task.last]
            if mode & WRITE:
                self._written = row, thing, name
            else:
                row.value.append(thing.__dict__.get(name))

    def _note_written(self) -> None:
        """See what was written last: it was announced before it was done."""
        if self._written:
            row, thing, name = self._written
            row.value.append(thing.__dict__.get(name))
            self._written = None

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


def _accesses(row: _Row) -> Iterable[tuple[Variable, int]]:
    return row.event.accesses if row.event else row.task.accesses


def _reordered(events: list[Event]) -> set[int]:
    """Return the events on which something that another CPU does depends.

    Using an object depends on its being freed, but that says more of the one who frees it.
    """
    kinds: dict[Variable, set[tuple[int, int]]] = {}
    users: dict[int, set[int]] = {}
    for event in events:
        cpu = origin(event.task)
        frees = any(mode & FREE for _, mode in event.accesses)
        for variable, mode in event.accesses:
            users.setdefault(variable[0], set()).add(cpu)
            if not frees:
                kinds.setdefault(variable, set()).add((cpu, mode & KIND))

    def is_shared(cpu: int, variable: Variable, mode: int) -> bool:
        if mode & FREE:
            return users[variable[0]] != {cpu}
        kind = mode & KIND
        others = (how for other, how in kinds.get(variable, ()) if other != cpu)
        return any(how != kind or kind & WRITE for how in others)

    return {
        number
        for number, event in enumerate(events)
        if any(is_shared(origin(event.task), variable, mode) for variable, mode in event.accesses)
    }


def record(program: Program[Any], choices: list[int]) -> Recording:
    """Run an execution again and take it down.

    Raises:
        ProgramError: the choices are not of this program.
    """
    recorder = _Recorder(program, replay := Replay(choices))
    replay.run(recorder)
    return Recording(recorder, replay.preemptions)
