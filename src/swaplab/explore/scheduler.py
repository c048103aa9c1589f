"""Tasks as greenlets: which goes on, up to which point, and what they leave behind when they end.

A strategy decides which task goes on. The tasks of a program run up to their first operation before anything is
decided. Deferred work and RCU callbacks become tasks of their own.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

from greenlet import GreenletExit, getcurrent, greenlet

from swaplab.explore.again import AGAIN
from swaplab.explore.found import Found
from swaplab.explore.history import Accesses, Event, History
from swaplab.explore.kcsan import data_races
from swaplab.explore.outside import Outside
from swaplab.explore.parts import Parts, number_of
from swaplab.explore.program import Program, ProgramError
from swaplab.explore.spin import innermost_loop
from swaplab.explore.stuck import stuck
from swaplab.explore.task import CHILDREN_MAX, NOTHING, After, Ready, Task, Wait
from swaplab.kernel.sync.bugs import Broken, KernelBug, LockMisuse, Noted, NullDereference, Refused
from swaplab.kernel.sync.runtime import Several
from swaplab.kernel.sync.shared import Shared
from swaplab.text import text_of

__all__ = ["END", "STEPS_MAX", "Scheduler", "Strategy", "message_of"]

STEPS_MAX = 20_000
ENDS_MAX = 1000
"""How often a task is told to end that catches it."""
END = "the end"
"""Among notes: the task that goes on now is told to end."""
_UNDEAD: list[greenlet] = []
"""Tasks that will not end: as long as they are known, they are not told again."""


class Strategy(Protocol):
    """Decides which task goes on."""

    def pick(self, explorer: Any) -> Task | None:
        """Return which of `explorer.able()`, which is not empty, goes on; None to give the execution up."""


class Scheduler:
    """Runs the tasks of a program, and goes on after a bug, so that what else can break is found too.

    A task that met one does nothing more, and keeps its locks.

    Args:
        program: what to run.
        strategy: decides which task goes on.

    Attributes:
        history: what has happened in this execution.
        parts: of its objects.
        outside: what has to stay as it is.
        tasks: of this execution, by number.
        task: the running one; none while the system is set up and while invariants are checked.
        can_go_on: whether that task can do its next operation now.
        prefix: how many events of the last execution come first again.
        depth: how many steps were taken.
        state: what setup has returned.
        found: what broke in this execution.
        error: what is wrong with the program.
        finished: whether all tasks have ended, and none of them by a bug.
        gave_up: whether the strategy did.
    """

    def __init__(self, program: Program[Any], strategy: Strategy) -> None:
        self.program = program
        self.strategy = strategy
        self.history = History()
        self.parts = Parts()
        self.outside = Outside()
        self.tasks: dict[int, Task] = {}
        self._raced: list[Found] = []
        self._notes: list[Any] = []
        self._reset(0)

    def _reset(self, prefix: int) -> None:
        self._release_all()
        self.history.truncate(prefix)
        self.parts.begin()
        self.prefix = 0
        self.depth = 0
        self.tasks = {}
        self.task: Task | None = None
        self._raced = [found for found in self._raced if found.event < prefix]
        self.found = [*self._raced]
        self.error: BaseException | None = None
        self.can_go_on = self.finished = self.gave_up = self._is_ending = False
        self.state: Any = None
        self._starting = True

    @contextmanager
    def _with_greenlets(self) -> Iterator[None]:
        """Let tasks run inside the block."""
        self._main = getcurrent()
        self._idle: list[greenlet] = []
        try:
            yield
        finally:
            self._release_all()
            for each in self._idle:
                each.throw(GreenletExit)

    def _start(self) -> None:
        for number, (name, function) in enumerate(self.program.tasks.items()):
            task = Task(number, name, name, lambda function=function: function(self.state))  # type: ignore[misc]
            self.tasks[number] = task
            self._switch(task)
        self.task = None
        self._starting = False

    def _switch(self, task: Task | None) -> None:
        """Let a task go on or, if there is none, the caller that runs the execution."""
        if task is None:
            self._main.switch()
            return
        self.task = task
        if task.let is None:
            task.let = self._idle.pop() if self._idle else greenlet(self._work, self._main)
        task.let.switch()

    def _work(self) -> None:
        """Run tasks, one after the other: to begin a greenlet takes longer than most tasks."""
        while task := self.task:
            task.let = getcurrent()
            task.done = self._run(task)
            following = self._next() if task.done and not self._starting else None
            if following and following.let is None:
                self.task = following
            else:
                self._idle.append(task.let)
                self._switch(following)

    def _run(self, task: Task) -> bool:
        """Run a task to its end; return whether it came to one, and was not thrown out."""
        try:
            task.told = task.function()
            self._finish(task)
        except BaseException as error:
            self._fail(task, error)
        self._notes.clear()
        return not self._is_ending

    def _finish(self, task: Task) -> None:
        """See to it that a task that has returned leaves nothing open."""
        self._settle(task)
        self.outside.insist_same()
        if isinstance(task.told, Iterator | AsyncIterator | Awaitable):
            kind = type(task.told).__name__
            raise Refused(f"{task.name} returns a {kind}, of which nothing is run: it has to do all when it is called")
        if task.held or task.atomic:
            held = ", ".join(lock.label for lock, _ in task.held) or "the RCU read lock"
            raise LockMisuse(f"{task.name} ends with {held} held: an unlock is missing")

    def _fail(self, task: Task, error: BaseException) -> None:
        """Say what it is that ended a task: what was raised first, even if the task caught that."""
        if self._is_ending or task.crashed or self.error:
            return
        error = self._raised() or error
        if isinstance(error, KernelBug):
            self._crash(task, error)
        elif isinstance(error, AssertionError):
            self._crash(task, Broken(message_of(error) or f"an assertion of {task.name} fails"))
        elif isinstance(error, AttributeError) and "'NoneType' object" in str(error):
            name = str(error).split("'")[3]
            self._crash(task, NullDereference(f"{task.name} follows a null pointer to its {name}"))
        else:
            self.error = error

    def _raised(self) -> Noted | None:
        """Return what was raised since the notes were looked at, if anything was; the rest was only made."""
        return next((each for each in self._notes if isinstance(each, Noted) and each.__traceback__), None)

    def _settle(self, task: Task) -> None:
        """Before a task goes on, see to what it has left behind.

        A failed check ends it, whatever it catches. What an exception has left by ``with`` it gives back now.
        """
        if not self._notes:
            return
        if self._is_ending or task.crashed or self.error:
            self._insist_on_end(task)
        if raised := self._raised():
            self._fail(task, raised)
            raise GreenletExit
        left = [each for each in self._notes if not isinstance(each, Noted)]
        self._notes.clear()
        announced = task.accesses, task.operands, task.lock, task.opener, task.moving, task.ready, task.after, task.wait
        for leave in left:
            leave()
        task.accesses, task.operands, task.lock, task.opener, task.moving, task.ready, task.after, task.wait = announced

    def _insist_on_end(self, task: Task) -> NoReturn:
        """End a task that goes on where it has to end, as a bare ``except`` has it; again and again, not for ever."""
        task.ends += 1
        if task.ends >= ENDS_MAX:
            self.error = ProgramError(
                f"{self.program.name}: {task.name} goes on after its end, since it catches BaseException: catch what"
                " you mean"
            )
            self.abandon()
        raise GreenletExit

    def abandon(self) -> None:
        """End the execution without the task that runs, which does not end."""
        if self.task:
            self.task.done = True
            _UNDEAD.append(getcurrent())
            self._main.switch()

    def _crash(self, task: Task, bug: KernelBug) -> None:
        past = self.history.pasts[task.last] if task.last >= 0 else task.base[0]
        self.found.append(Found(bug, task.last, past))
        task.crashed = True

    def _next(self) -> Task | None:
        """Decide which task does the next step, and enter it into the history; None if the execution is over."""
        if self.error:
            return None
        number = self.depth
        try:
            task = self._replayed(number) if number < self.prefix else self._picked(number)
        except RecursionError:
            # What was being entered may be half of it.
            name = self.task.name if self.task else "the first task"
            self.error = ProgramError(f"{self.program.name}: {name} calls itself so deep that no step can be taken")
            return None
        if task:
            task.last = number
            self.depth = number + 1
        return task

    def _replayed(self, number: int) -> Task | None:
        event = self.history.events[number]
        task = self.tasks.get(event.task)
        if task and not task.done and self.accesses(task) == event.accesses:
            return task
        self.error = ProgramError(
            f"{self.program.name}: step {number} is not what it was when the same was done before: {AGAIN}"
        )
        return None

    def _picked(self, number: int) -> Task | None:
        self.can_go_on = self.task is not None and self.task.can_run
        if not self.can_go_on and not any(task.can_run for task in self.tasks.values()):
            self._end()
            return None
        if number >= STEPS_MAX:
            self.error = ProgramError(f"{self.program.name}: no end after {STEPS_MAX:,} steps. {self._who_spins()}")
            return None
        try:
            task = self.strategy.pick(self)
            self.gave_up = task is None
        except ProgramError as error:
            self.error = error  # not raised here, where the program could catch it
            return None
        if task:
            self._enter(task)
        return task

    def _who_spins(self) -> str:
        numbers = Counter(event.task for event in self.history.events[-STEPS_MAX // 10 :])
        task = self.tasks[max(numbers, key=numbers.__getitem__)]
        frame = sys._getframe() if task is self.task else task.let and task.let.gr_frame
        loop = innermost_loop(frame)
        return (
            f"{task.name} goes on and on{f' ({loop})' if loop else ''}: a loop that waits for somebody else has to call"
            " relax()"
        )

    def able(self) -> list[Task]:
        """Return the tasks whose next operation can be done now."""
        return [task for task in self.tasks.values() if task.can_run]

    def _enter(self, task: Task) -> None:
        """Append what a task is about to do."""
        history = self.history
        before, seen = self.known(task)
        event = Event(
            task.number,
            task.last,
            self.accesses(task),
            task.opener,
            task.lock is not None,
            task.moving is not None,
            task.moving is not None and isinstance(task.moving[1], Several),
            before,
            task.what,
            0 if task.owner is None else number_of(task.owner),
            task.member,
            task.name,
            task.owner,
            task.caller,
            task.fails is not None and task.fails(),
            wakers=task.wakers() if task.wakers else 0,
        )
        races = history.append(event, seen)
        number = len(history.events) - 1
        for bug in data_races(event, races, history.events, self.tasks) if races else ():
            self._raced.append(Found(bug, number, history.pasts[number]))
            self.found.append(self._raced[-1])

    def known(self, task: Task) -> tuple[int, int]:
        """Return bits of the events before a task's next step, whatever that is, and of those synchronised with it."""
        history = self.history
        synchronised = history.ordering.seen
        before, seen = (history.pasts[task.last], synchronised[task.last]) if task.last >= 0 else task.base
        for event in task.after() if task.after else ():
            before |= history.pasts[event]
            seen |= synchronised[event]
        return before, seen

    def accesses(self, task: Task) -> Accesses:
        """Return what a task's next operation would touch now."""
        if task.moving:
            task.accesses = self.parts.touch_moving(*task.moving)
        return task.accesses

    def _end(self) -> None:
        tasks = self.tasks.values()
        self.finished = all(task.done and not task.crashed for task in tasks)
        if bug := stuck(tasks):
            self._find(bug)

    def _find(self, bug: KernelBug) -> None:
        """Enter what is found at the end."""
        number = len(self.history.events)
        self.found.append(Found(bug, number, (1 << number) - 1))

    def _clean_up(self) -> None:
        self._is_ending = True
        self._notes.append(END)
        for task in self.tasks.values():
            if task.let is not None and not task.done:
                self.task = task
                task.let.throw(GreenletExit)
                self._notes.append(END)
        self.task = None
        self._notes.clear()

    def _release_all(self) -> None:
        """Release what tasks hold that never end; until now it says which task waits for which."""
        for task in self.tasks.values():
            for lock, _ in task.held:
                lock._holder = None

    # Points

    def _point(self, task: Task, what: str, owner: Shared | None, member: str) -> None:
        """Let others go on, until it is decided that this task does what it has announced."""
        if self._notes:
            self._settle(task)
        self.outside.insist_same()
        task.what, task.owner, task.member = what, owner, member
        if self._starting:
            self._main.switch()
        else:
            following = self._next()
            if following is not task:
                self._switch(following)
        task.operands, task.result = (), None

    def _again(self, task: Task, what: str, owner: Shared | None, member: str) -> bool:
        """Tell whether a task did this step too when the same was done before, and if so enter it.

        Most steps only lead to where an execution differs from the last: nothing is announced or decided.
        """
        if self._notes:
            self._settle(task)
        if self.depth >= self.prefix:
            return False
        event = self.history.events[self.depth]
        number = owner.__dict__.get("_number") if owner is not None else 0
        if event.task != task.number or event.what != what or event.owner != number or event.member != member:
            return False
        task.last = self.depth
        self.depth += 1
        return True

    def _wait(self, task: Task, what: str, ready: Ready, after: After, wait: Wait | None = None) -> None:
        """Wait for what stays true once it is."""
        task.accesses, task.ready, task.after, task.wait = NOTHING, ready, after, wait
        self._point(task, what, None, "")
        task.ready = task.after = task.wait = None

    def _spawn(self, parent: Task, title: str, run: Callable[[], object]) -> Task:
        number = (parent.number + 1) * CHILDREN_MAX + parent.children
        parent.children += 1
        if parent.children == CHILDREN_MAX:
            raise ProgramError(f"{self.program.name}: {parent.name} has deferred work {CHILDREN_MAX:,} times")
        history = self.history
        base = history.pasts[parent.last], history.ordering.seen[parent.last]
        child = self.tasks[number] = Task(number, title, parent.cpu, run, base)
        child.function = lambda: self._begin(child, run)
        return child

    @staticmethod
    def _begin(task: Task, run: Callable[[], object]) -> None:
        task.ready = task.after = task.wait = None
        task.operands = ()
        run()


def message_of(error: AssertionError) -> str:
    """Return what an assertion says, the same in every execution: pytest adds lines with addresses of objects."""
    return re.sub(" at 0x[0-9a-f]+", "", text_of(error).partition("\n")[0])
