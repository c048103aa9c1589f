"""The kernel's memory model where locks, releases and acquires do not answer: barriers and relaxed accesses.

tools/memory-model/linux-kernel.cat, 6.12, from "Plain accesses and data races" on, for one pair of accesses in one
execution whose memory is sequentially consistent. There every link of the model goes forward in time, so one pass from
the first access to the second decides. Names in quotation marks are the model's.

Differs: of dependencies only those of addresses count, since nobody says which value a store or a branch depends on;
they go on through plain loads of pointers. Without the others the model orders less, and calls more a race.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from swaplab.explore.event import CALLBACKS, RCU, WATCH, Event, Variable
from swaplab.kernel.sync.runtime import ACQUIRE, COMMUTE, LOCK, PLAIN, READ, RELEASE, RMW, STRONG, WRITE

__all__ = ["Past", "Source", "Target", "is_ordered"]

OF_RCU = frozenset((RCU, CALLBACKS))
"""Variables that are no memory, so that no task learns from them what came first."""
Tasks = set[int]
Wholes = Mapping[int, int]
"""Of objects that are embedded in another its number, by theirs."""


class Past(NamedTuple):
    """An execution so far.

    Attributes:
        events: in order.
        seen: by event, bits of those that happen before it.
        wholes: what objects are embedded in.
    """

    events: Sequence[Event]
    seen: Sequence[int]
    wholes: Wholes


class Source(NamedTuple):
    """An access to follow.

    Attributes:
        start: the first event that may come after it.
        task: whose it is.
        mode: of the access.
        event: it is of; none for a store of the maker of an object, before another task could know the object.
        number: of that event.
    """

    start: int
    task: int
    mode: int
    event: Event | None = None


def _reads(mode: int) -> bool:
    return bool(mode & (READ | RMW | COMMUTE))


def _writes(mode: int) -> bool:
    return bool(mode & (WRITE | COMMUTE))


class _Step:
    """What an event is to the model; `seen` are the events that happen before it, but not before its task's last."""

    __slots__ = ("accesses", "fence", "mode", "points", "seen", "task", "unlocks")

    def __init__(self, event: Event, seen: int) -> None:
        self.task = event.task
        self.seen = seen
        accesses = [access for access in event.accesses if not access[1] & WATCH]
        accesses = [(variable, READ) for variable, _ in accesses] if event.fails else accesses
        self.mode = 0
        for _, mode in accesses:
            self.mode |= mode
        self.accesses = [access for access in accesses if access[0] not in OF_RCU]
        self.fence = event.what if not event.accesses else ""
        self.points = event.points
        self.unlocks = event.opener >= 0

    @property
    def is_marked(self) -> bool:
        """Whether it is an access, and not a plain one."""
        return bool(self.accesses) and not self.mode & PLAIN


class _Carriers:
    """Events by which tasks pass something on, to the events that they happen before."""

    def __init__(self) -> None:
        self._bits: dict[int, int] = {}

    def add(self, task: int, number: int) -> None:
        """Enter an event."""
        self._bits[task] = self._bits.get(task, 0) | 1 << number

    def reach(self, step: _Step) -> bool:
        """Tell whether one of another task happens before a step."""
        return any(bits & step.seen for task, bits in self._bits.items() if task != step.task)


class _Execution:
    """What is known to execute after something: "xb".

    Of each task: whether it has made accesses that do, which order nothing before there is a fence; and which of those
    to come do.

    Args:
        wholes: what objects are embedded in.
    """

    def __init__(self, wholes: Wholes) -> None:
        self._wholes = wholes
        self.read: Tasks = set()
        self.written: Tasks = set()
        self.unlocked: Tasks = set()
        self.later_reads: Tasks = set()
        self.later_writes: Tasks = set()
        self.later_marked: Tasks = set()
        self._carriers = _Carriers()
        self._last: dict[Variable, int] = {}
        self._touched: dict[Variable, Tasks] = {}
        self._pointers: set[tuple[int, int]] = set()
        # "prop": what something of this kind propagates before, which a full barrier makes one of this kind.
        self._overwrote: Tasks = set()
        self._overwrote_by_write: Tasks = set()
        self._later_writes_propagate: Tasks = set()
        self._later_marked_propagate: Tasks = set()
        self._propagating = _Carriers()
        self._propagated: dict[Variable, int] = {}

    def begin(self, step: _Step) -> None:
        """Meet a step's incoming order, and the full barrier before it."""
        task = step.task
        if step.mode & STRONG:
            self.fence(task, "smp_mb")
        if self._carriers.reach(step):
            self.order(task)
        if step.mode & LOCK and step.mode & ACQUIRE:
            if task in self.unlocked:
                self.order(task)
            if self._propagating.reach(step):
                self._overwrote.add(task)
                self._later_marked_propagate.add(task)

    def reaches(self, step: _Step, variable: Variable | None, is_write: bool) -> bool:
        """Tell whether a step that has begun executes after it, as a read or a write if it is plain."""
        if not step.is_marked:
            if variable and self._is_through(step.task, variable):
                return True
            return step.task in (self.later_writes if is_write else self.later_reads)
        task = step.task
        return (
            task in self.later_marked
            or (bool(step.mode & (READ | RMW)) and task in self.later_reads)
            or (_writes(step.mode) and task in self.later_writes)
            or (bool(step.mode & RELEASE) and task in self.read | self.written)
            or any(self._reached(task, each, mode) for each, mode in step.accesses)
        )

    def _reached(self, task: int, variable: Variable, mode: int) -> bool:
        if _reads(mode) and self._last.get(variable, task) != task:
            return True
        if _writes(mode) and task in self._touched.get(variable, ()):
            return True
        return self._is_through(task, variable)

    def _is_through(self, task: int, variable: Variable) -> bool:
        return (task, self._wholes.get(variable[0], variable[0])) in self._pointers

    def end(self, number: int, step: _Step, reached: bool) -> None:
        """Enter a step; `reached` says whether it executes after it."""
        task = step.task
        if step.fence:
            self.fence(task, step.fence)
        elif step.is_marked:
            propagates = self._propagates(step)
            if reached:
                self._enter(step)
            for variable, mode in step.accesses:
                if _writes(mode):
                    _keep(self._last, variable, task, reached)
                    _keep(self._propagated, variable, task, propagates)
                if reached:
                    self._touched.setdefault(variable, set()).add(task)
            if propagates:
                self._overwrote.add(task)
                if _writes(step.mode):
                    self._overwrote_by_write.add(task)
        if step.mode & STRONG:
            self.fence(task, "smp_mb")
        if task in self.read or task in self.written:
            self._carriers.add(task, number)
        if task in self._overwrote:
            self._propagating.add(task, number)

    def _enter(self, step: _Step) -> None:
        task = step.task
        if step.mode & (READ | RMW):
            self.read.add(task)
        if _writes(step.mode):
            self.written.add(task)
        if step.mode & ACQUIRE:
            self.order(task)
        if step.unlocks:
            self.unlocked.add(task)
        for thing in step.points:
            self._pointers.add((task, thing))

    def order(self, task: int) -> None:
        """Have whatever a task does from now on execute after it."""
        self.later_reads.add(task)
        self.later_writes.add(task)

    def fence(self, task: int, what: str) -> None:
        """Have a task make a barrier."""
        if what == "smp_mb":
            if task in self.read or task in self.written:
                self.order(task)
            if task in self._overwrote:
                self.later_marked.add(task)
        elif what == "smp_wmb":
            if task in self.written:
                self.later_writes.add(task)
            if task in self._overwrote_by_write:
                self._later_writes_propagate.add(task)
        elif what == "smp_rmb" and task in self.read:
            self.later_reads.add(task)

    def _propagates(self, step: _Step) -> bool:
        task = step.task
        if task in self._later_marked_propagate or (step.mode & RELEASE and task in self._overwrote):
            return True
        if _writes(step.mode) and task in self._later_writes_propagate:
            return True
        for variable, mode in step.accesses:
            if _writes(mode) and self._touched.get(variable, set()) - {task}:
                return True
            if variable in self._propagated:
                if _reads(mode) and self._propagated[variable] != task:
                    return True
                if mode & (RMW | COMMUTE):
                    return True
        return False


class _Visibility:
    """What is known to see a store: "vis".

    Args:
        task: of the access that has to see it.
        wholes: what objects are embedded in.
    """

    def __init__(self, task: int, wholes: Wholes) -> None:
        self.task = task
        self.seers = _Execution(wholes)
        self._had: Tasks = set()
        self._wrote: Tasks = set()
        self._later_writes: Tasks = set()
        self._later_marked: Tasks = set()
        self._carriers = _Carriers()
        self._last: dict[Variable, int] = {}

    def start(self, task: int) -> None:
        """Begin with a plain store of a task."""
        self._had.add(task)
        self._wrote.add(task)

    def begin(self, step: _Step) -> None:
        """Meet a step's incoming order, and the full barrier before it."""
        if step.mode & STRONG:
            self._fence(step.task, "smp_mb")
        self.seers.begin(step)
        if not step.mode & ACQUIRE and self._carriers.reach(step):
            self.seers.order(step.task)

    def end(self, number: int, step: _Step, is_source: bool = False) -> None:
        """Enter a step; `is_source` says that it is the store itself, which is marked."""
        task = step.task
        has, is_after = False, is_source
        incoming = self._carriers.reach(step)
        if incoming and (step.mode & LOCK or not step.mode & ACQUIRE):
            self._later_marked.add(task)
        if step.fence:
            self._fence(task, step.fence)
        elif step.is_marked:
            has = incoming or any(
                _reads(mode) and self._last.get(variable, task) != task for variable, mode in step.accesses
            )
            is_after = is_after or self._comes_after(step)
            for variable, mode in step.accesses:
                if _writes(mode):
                    _keep(self._last, variable, task, is_after)
            if has or is_after:
                self._had.add(task)
            if is_after and _writes(step.mode):
                self._wrote.add(task)
        sees = task == self.task and (has or is_after)
        self.seers.end(number, step, sees or self.seers.reaches(step, None, False))
        if step.mode & STRONG:
            self._fence(task, "smp_mb")
        if task in self._had:
            self._carriers.add(task, number)

    def _comes_after(self, step: _Step) -> bool:
        """Tell whether a step comes after the store by "cumul-fence", in all other tasks' eyes."""
        task = step.task
        return (
            task in self._later_marked
            or (_writes(step.mode) and task in self._later_writes)
            or (bool(step.mode & RELEASE) and task in self._had)
            or any(mode & (RMW | COMMUTE) and variable in self._last for variable, mode in step.accesses)
        )

    def _fence(self, task: int, what: str) -> None:
        if what == "smp_mb" and task in self._had:
            self._later_marked.add(task)
            self.seers.later_marked.add(task)
        elif what == "smp_wmb" and task in self._wrote:
            self._later_writes.add(task)


def _keep(last: dict[Variable, int], variable: Variable, task: int, is_such: bool) -> None:
    if is_such:
        last[variable] = task
    else:
        last.pop(variable, None)


class Target(NamedTuple):
    """The access that may come after it.

    Attributes:
        event: it is of.
        seen: bits of the events that happen before that.
        variable: that both access.
        mode: of the access.
    """

    event: Event
    seen: int
    variable: Variable
    mode: int


def is_ordered(past: Past, source: Source, target: Target) -> bool:
    """Tell whether two conflicting accesses by different tasks are ordered, so that they are no data race.

    Args:
        past: what comes before the second access.
        source: the first access.
        target: the second.
    """
    execution, visibility = _Execution(past.wholes), _Visibility(target.event.task, past.wholes)
    is_marked = source.event is not None and not source.mode & PLAIN
    if is_marked and source.event:
        step = _Step(source.event, 0)
        execution.begin(step)
        execution.end(source.start - 1, step, True)
        visibility.begin(step)
        visibility.end(source.start - 1, step, _writes(source.mode))
    else:
        execution.read.add(source.task)
        visibility.start(source.task)
    known: dict[int, int] = {}
    for number in range(source.start, len(past.seen)):
        task = past.events[number].task
        step = _Step(past.events[number], past.seen[number] & ~known.get(task, 0))
        known[task] = past.seen[number]
        execution.begin(step)
        execution.end(number, step, execution.reaches(step, None, False))
        visibility.begin(step)
        visibility.end(number, step)
    last = _Step(target.event, target.seen & ~known.get(target.event.task, 0))
    execution.begin(last)
    visibility.begin(last)
    return _is_ordered(source.mode, is_marked, execution, visibility.seers, last, target)


def _is_ordered(
    mode: int, is_marked: bool, execution: _Execution, seers: _Execution, last: _Step, target: Target
) -> bool:
    """Tell it of a source with such a mode, for each pair of a read or write of both."""
    variable = target.variable
    if _writes(mode) and _reads(target.mode) and not seers.reaches(last, variable, False):
        return False
    if not _writes(target.mode):
        return True
    if _reads(mode) and not execution.reaches(last, variable, True):
        return False
    if not _writes(mode):
        return True
    # A compiler may put a load before a plain store.
    return (
        seers.reaches(last, variable, True)
        and (is_marked or execution.reaches(last, variable, True))
        and (last.is_marked or seers.reaches(last, variable, False))
    )
