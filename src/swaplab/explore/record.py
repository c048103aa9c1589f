"""What one execution did, step by step, for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from swaplab.explore.event import FREE, KIND, Event, Variable
from swaplab.explore.parts import READER
from swaplab.explore.program import Program
from swaplab.explore.recorder import Recorder, Row, accesses_of, number_of
from swaplab.explore.strategies import Replay
from swaplab.explore.task import origin
from swaplab.explore.verdict import Step
from swaplab.kernel.sync.bugs import DataRace, Deadlock, KernelBug, ListCorruption, LockOrder
from swaplab.kernel.sync.runtime import READ, WRITE
from swaplab.kernel.sync.shared import Part, Shared
from swaplab.kernel.sync.work import Work

__all__ = ["Recording", "record"]

VALUE_MAX = 40
"""Characters of a value; what is longer ends in dots."""
LONG = 1_024
"""Bits of a number; what has more is written in hexadecimal, since Python writes no thousands of decimal digits."""
ALONE_MAX = 100
"""Steps of a single CPU that are shown whole."""


class Recording:
    """One execution.

    Attributes:
        bugs: what broke.
        preemptions: how often a task was interrupted that could have gone on.
    """

    def __init__(self, recorder: Recorder, preemptions: int) -> None:
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

    def _about(self, bug: KernelBug, breaking: int | None) -> Callable[[Row], bool]:
        """Return what tells whether a row does something to what a bug is about."""
        sentence = str(bug)
        parts = {(number_of(row.part[0]), row.part[1]): row.part for row in self._rows}
        exact = set(self._recorder.looks_at(sentence)) | {
            variable
            for variable, (thing, member) in parts.items()
            if member and _is_named(member if thing is None else f"{thing.label}.{member}", sentence)
        }
        decisive = [row for row in self._rows if row.event is None] if breaking is None else [self._rows[breaking]]
        exact |= {variable for row in decisive for variable, _ in accesses_of(row)}
        exact -= {variable for variable, _ in READER}
        things = {number: thing for (number, _), (thing, _) in parts.items() if thing is not None}
        whole = {number for number, thing in things.items() if _is_named(thing.label, sentence)}
        changed = {variable for row in self._rows for variable, mode in accesses_of(row) if not mode & READ}
        owners = {number for number, _ in exact}

        def is_about(row: Row) -> bool:
            return any(
                variable in exact
                or (variable[0], variable[1].partition("[")[0]) in exact
                or (variable[0] in whole and variable in changed)
                or (mode & FREE and variable[0] in owners)
                for variable, mode in accesses_of(row)
            )

        return is_about

    def _step(self, row: Row, matters: bool) -> Step:
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
            subject=member if thing is None else ".".join(filter(None, (names(thing), member))),
            arguments=[*([work[:-1]] if work else []), *(_text(each, names) for each in args)],
            value=", ".join(_text(each, names) for each in row.value),
            matters=matters,
        )


def _is_named(label: str, sentence: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(label)}(?!\w)", sentence) is not None


Names = Callable[[Shared], str]


def _names(rows: list[Row]) -> Names:
    """Return what diagrams call objects: by name alone the one of that name which was made first, others in full."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    labels: dict[str, int] = {}
    for thing in sorted(_things(rows), key=number_of):
        name, label = thing.__dict__.get("name"), thing.label
        labels[label] = labels.get(label, 0) + 1
        if isinstance(name, str) and name and " " not in name and name not in taken:
            taken.add(name)
            names[number_of(thing)] = name
        else:
            names[number_of(thing)] = label if labels[label] == 1 else f"{label}#{labels[label]}"
    return lambda thing: names.get(thing.__dict__.get("_number", 0), thing.label)


def _things(rows: list[Row]) -> Iterable[Shared]:
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
    if isinstance(value, int):
        found = int.__repr__(value) if value.bit_length() <= LONG else hex(value)
    elif isinstance(value, float | str):
        found = float.__repr__(value) if isinstance(value, float) else str.__str__(value)
    elif isinstance(value, bytes | bytearray):
        found = f"{len(value)} bytes"
    elif isinstance(value, Shared):
        found = names(value)
    elif isinstance(value, Part):
        found = value.name if value.owner is None else f"{names(value.owner)}.{value.name}"
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


def _reordered(events: list[Event]) -> set[int]:
    """Return the events on which something that another CPU does depends.

    Using an object depends on its being freed, but that says more about the task that frees it.
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
    recorder = Recorder(program, replay := Replay(choices))
    replay.run(recorder)
    return Recording(recorder, replay.preemptions)
