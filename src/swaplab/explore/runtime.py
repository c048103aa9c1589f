"""Executions: every task is a greenlet, every operation on shared state a point where another may go on.

A strategy decides who goes on. The tasks of a program run up to their first operation before anything is decided;
what they defer (work, RCU callbacks) becomes tasks of its own.
"""

from __future__ import annotations

import gc
import re
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import CellType, FrameType, FunctionType, MethodType
from typing import Any, NoReturn, Protocol, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from swaplab.explore.event import RCU, WATCH
from swaplab.explore.found import Found
from swaplab.explore.guard import guarded, where
from swaplab.explore.history import FREE, LIFE, Accesses, Event, History, Variable
from swaplab.explore.leaks import find_leaks
from swaplab.explore.lock_order import LockOrders
from swaplab.explore.ordering import OBJECT_SHIFT, Race
from swaplab.explore.program import Program, ProgramError, insist_sound, wanted
from swaplab.explore.reach import Reach
from swaplab.explore.shortest import Execution
from swaplab.explore.spin import innermost_loop
from swaplab.explore.task import CHILDREN_MAX, NOTHING, Task, Wait, origin
from swaplab.explore.values import (
    NEVER_CHANGES,
    cell_contents,
    cells,
    contents,
    holds_more,
    instead_of,
    is_fine,
    mutable_in,
    told,
)
from swaplab.explore.watchdog import limit, watchdog
from swaplab.kernel.sync.bugs import (
    Broken,
    DataRace,
    Deadlock,
    DoubleFree,
    KernelBug,
    ListCorruption,
    LockMisuse,
    Noted,
    NullDereference,
    Refused,
    SleepInAtomic,
    StuckInRetry,
    UseAfterFree,
    noted_in,
)
from swaplab.kernel.sync.locks import Lock
from swaplab.kernel.sync.runtime import (
    ACQUIRE,
    COMMUTE,
    FULL,
    LOCK,
    PLAIN,
    READ,
    RELEASE,
    RMW,
    STRONG,
    WRITE,
    Block,
    Conditional,
    Mode,
    Several,
    install,
)
from swaplab.kernel.sync.shared import Key, Made, Part, Shared, watched_by
from swaplab.kernel.sync.work import Deferred, Work, WorkQueue

__all__ = ["STEPS_MAX", "Explorer", "Strategy"]

STEPS_MAX = 20_000
INSIDE = ("swaplab.explore.", "swaplab.kernel.sync.")
"""Where the functions are that a task's own, and the system's, call to do something."""
TAKE = WRITE | RMW | ACQUIRE | LOCK
QUEUED = WRITE | RMW | LOCK
"""To queue on one queue depends on who was first, but orders nothing besides the work."""
GIVE = WRITE | RELEASE | LOCK
ENDS_MAX = 1000
"""How often a task is told to end that catches it."""
CALLS = (FunctionType, MethodType, partial)
"""What tasks may find in objects, and call."""
AGAIN = "tasks and setup have to do the same again, so no time, no random numbers, and nothing that outlives them"
OUTSIDE = "was made outside setup and tasks, so that it outlives an execution: make it in setup"
END = "the end"
"""Among notes: whoever goes on now is told to end."""
_UNDEAD: list[greenlet] = []
"""What will not end: as long as they are known, nobody tells them again."""

T = TypeVar("T")
Ready = Callable[[], bool]
After = Callable[[], list[int]]


class Strategy(Protocol):
    """Decides who goes on."""

    def pick(self, explorer: Explorer) -> Task | None:
        """Return who of `explorer.able()` goes on, which is somebody; None to give the execution up."""


class Explorer:
    """Runs a program again and again, and is the runtime meanwhile.

    An execution goes on after a bug, so that what else can break is found too. A task that met one does nothing more,
    and keeps its locks.

    Args:
        program: what to run.
        strategy: who decides.

    Attributes:
        history: what has happened in this execution.
        tasks: of this execution, by number.
        objects: all that were made in it, those of setup first.
        task: who is running; none while the system is set up and while invariants are checked.
        making: number of the outermost object that is being initialised while the system is set up, 0 for none.
        can_go_on: whether that task can do its next operation now.
        found: what broke in this execution.
        error: what is wrong with the program.
        finished: whether all tasks have ended, and none of them by a bug.
        is_inside: whether the program is running: its setup, a task or an invariant.
        is_naming: whether to look at the names of parts that are made: those of setup are the same every time.
        is_repeating: whether a sample of executions is run twice, to see whether they come to the same.
        gave_up: whether the strategy did.
        have_met: whether two tasks have touched the same in any execution.
    """

    is_repeating = True

    def __init__(self, program: Program[Any], strategy: Strategy) -> None:
        self.program = program
        self.strategy = strategy
        self.history = History()
        self.tasks: dict[int, Task] = {}
        self._touched: dict[tuple[int, str, int], Accesses] = {}
        self._raced: list[Found] = []
        insist_sound(program)
        self._executions = 0
        self._told: list[object] = []
        self._reach: Reach | None = None
        self._parts_of_setup: frozenset[Variable] = frozenset()
        self.have_met = False
        self._wanted = {sentence: wanted(check) for sentence, check in program.invariants.items()}
        self._notes: list[Any] = []
        self.lock_block, self.rcu_block = self._blocks()
        self._reset(0)

    def _reset(self, prefix: int) -> None:
        self._release_all()
        self.history.truncate(prefix)
        del self._told[prefix:]
        self.prefix = 0
        self.depth = 0
        self.tasks = {}
        self.task: Task | None = None
        self._raced = [found for found in self._raced if found.event < prefix]
        self.found = [*self._raced]
        self.error: BaseException | None = None
        self.can_go_on = self.finished = self.gave_up = self.is_inside = self._is_ending = False
        self.state: Any = None
        self._starting = True
        self._doing = "setup"
        self._lock_orders = LockOrders()
        self._made = self.making = 0
        self._tallies: dict[tuple[str, type[Shared]], list[int]] = {}
        self.objects: list[Shared] = []
        self._parts: dict[Variable, Part] = {}
        self._deferred: deque[Work | Deferred] = deque()
        self._queued: dict[WorkQueue, list[Task]] = {}
        self._callbacks: list[Task] = []
        self._around: list[tuple[str, CellType, object]] = []
        self.is_checking = False

    def _blocks(self) -> tuple[Block, Block]:
        """What ``with`` does: who crashes keeps its locks, and stays in its read sections.

        Whether somebody catches an exception further out is not known yet. So what it leaves is given back when the
        task goes on.
        """

        def leave_lock(lock: Lock, kind: type[BaseException] | None, *_error: object) -> None:
            if kind is None or not self.task:
                self.release(lock)
            elif not issubclass(kind, KernelBug | GreenletExit):
                self._notes.append(lambda: self.release(lock))

        def leave_rcu(_section: object, kind: type[BaseException] | None, *_error: object) -> None:
            if kind is None:
                self.rcu_read_unlock()
            elif not issubclass(kind, KernelBug | GreenletExit):
                self._notes.append(self.rcu_read_unlock)

        return (lambda lock: self.acquire(lock), leave_lock), (lambda _: self.rcu_read_lock(), leave_rcu)  # noqa: PLW0108

    # Executions

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Be the runtime inside the block, which is where `execute` may be called."""
        self._main = getcurrent()
        self._idle: list[greenlet] = []
        # What an execution makes is garbage at its end, and all of it cycles: those alone are to be looked through, and
        # soon, while they are in the cache.
        gc.freeze()
        try:
            with (
                watchdog(self.progress, self.stop),
                watched_by(self),
                install(self),
                noted_in(self._notes),
                guarded(self),
            ):
                yield
        finally:
            gc.unfreeze()
            self._release_all()
            for each in self._idle:
                each.throw(GreenletExit)

    def progress(self) -> object:
        """Return what changes with every step of an execution; None outside of one."""
        return (self._executions, self.depth, self.task, self._doing) if self.is_inside else None

    def stop(self, line: str) -> None:
        """Let nobody go on: whoever runs does not come to an end."""
        who = self.task.name if self.task else self._doing
        self.error = ProgramError(
            f"{self.program.name}: {who} computes for {limit():g} s without a step that is"
            f" watched: have loops end, and those that wait for others call relax() ({line})"
        )
        self._notes.append(END)

    def execute(self, prefix: int) -> None:
        """Run the program once.

        Args:
            prefix: how many events of the last execution come first again.

        Raises:
            ProgramError: the program does not do the same again, never ends, or fails.
        """
        self._execute(prefix)
        if self.is_repeating and self._is_sample and not self.gave_up:
            before = self._outcome()
            self._execute(len(self.history.events))
            self._insist_same(before, self._outcome())

    def _outcome(self) -> dict[str, object]:
        """Return what an execution comes to."""
        tasks = {f"what {task.name} returns": told(task.told) for task in self.tasks.values()}
        return tasks | {
            "what breaks": sorted(f"{found.bug.title}: {found.bug}" for found in self.found),
            "whether all ends": self.finished,
        }

    def _insist_same(self, before: dict[str, object], after: dict[str, object]) -> None:
        """Insist that an execution that is run again comes to the same.

        Raises:
            ProgramError: it does not.
        """
        for what, was in before.items():
            now = after.get(what)
            if now != was and not _is_nan(now, was):
                raise ProgramError(
                    f"{self.program.name}: {what} is {now!r}, and was {was!r} when the same was done before: {AGAIN}"
                )

    def _execute(self, prefix: int) -> None:
        self._reset(prefix)
        self.is_inside = True
        try:
            self.state = self._set_up()
            self._start()
            self.prefix = prefix
            if first := self._next():
                self._switch(first)
            if self.finished:
                self._check()
            self._check_lock_orders()
            self._insist_outside()
            if self._reach:
                self._reach.insist_same()
        except BaseException as error:
            self.error = self.error or error
        self._clean_up()
        self.is_inside = False
        if isinstance(self.error, KeyboardInterrupt):
            raise self.error
        if self.error:
            raise self._explain(self.error) from self.error

    def _set_up(self) -> object:
        self._executions += 1
        self.is_naming = self._is_sample = self._executions & self._executions - 1 == 0
        state = self.program.setup()
        self._run_deferred()
        if raised := self._raised():
            raise raised
        self._notes.clear()
        if self.is_naming:
            self._insist_state(state)
        self.is_naming = True
        return state

    def _insist_state(self, state: object) -> None:
        """Insist that nothing of what setup has made can change without being seen; it makes the same every time."""
        self._insist_constant("what setup returns", state)
        for thing in self.objects:
            self._insist_held(thing)
        for part in self._parts.values():
            for value in contents(part):
                self._insist_constant(part.label, value)
        self._parts_of_setup = frozenset(self._parts)
        if self._reach is None:
            held = [(thing.label, value) for thing in self.objects for value in thing.__dict__.values()]
            held += [(part.label, value) for part in self._parts.values() for value in contents(part)]
            calls = [(f"{label}, which is called", value) for label, value in held if isinstance(value, CALLS)]
            kinds = dict.fromkeys(type(thing) for thing in (*self.objects, *self._parts.values()))
            roots = [*self.program.tasks.items(), *calls, *(("", kind) for kind in kinds)]
            self._reach = Reach(roots, [*self.objects, *self._parts.values()])

    def _run_deferred(self) -> None:
        while self._deferred:
            self._deferred.popleft().run()

    def _start(self) -> None:
        for number, (name, function) in enumerate(self.program.tasks.items()):
            task = Task(number, name, name, lambda function=function: function(self.state))  # type: ignore[misc]
            self.tasks[number] = task
            self._switch(task)
        self.task = None
        self._starting = False

    def _switch(self, task: Task | None) -> None:
        """Let a task go on, or if there is none who runs the execution."""
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
        self._insist_outside()
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
            self._crash(task, Broken(_message(error) or f"an assertion of {task.name} fails"))
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
            _UNDEAD.append(getcurrent())
            self._main.switch()
        raise GreenletExit

    def _crash(self, task: Task, bug: KernelBug) -> None:
        past = self.history.pasts[task.last] if task.last >= 0 else task.base[0]
        self.found.append(Found(bug, task.last, past))
        task.crashed = True

    def _next(self) -> Task | None:
        """Decide who does the next step, and enter it into the history; None if the execution is over."""
        if self.error:
            return None
        number = self.depth
        task = self._replayed(number) if number < self.prefix else self._picked(number)
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
            self._number(task.owner) if task.owner else 0,
            task.member,
            task.name,
            task.owner,
            task.caller,
            task.fails is not None and task.fails(),
            wakers=task.wakers() if task.wakers else 0,
        )
        races = history.append(event, seen)
        number = len(history.events) - 1
        for bug in {str(bug): bug for bug in (self._race(event, race) for race in races)}.values():
            self._raced.append(Found(bug, number, history.pasts[number]))
            self.found.append(self._raced[-1])

    def _race(self, event: Event, race: Race) -> KernelBug:
        """Say of a data race what KCSAN would: the functions, in alphabetical order, and what they do to what."""
        late = (event.function, _access(event.what, race.mode), event.name)
        if race.event < 0:
            early = ("__init__", "write", self.tasks[race.task].name)
            target = event.target
        else:
            other = self.history.events[race.event]
            early = (other.function, _access(other.what, dict(other.accesses)[race.variable]), other.name)
            targets = [each.target for each in (event, other) if (each.owner, each.member) == race.variable]
            target = min(targets or [event.target, other.target])
        (function, access, task), (function_2, access_2, task_2) = sorted((early, late))
        kind = ListCorruption if access.startswith("list_") and access_2.startswith("list_") else DataRace
        return kind(f"data-race in {function} / {function_2}: {access} by {task}, {access_2} by {task_2}, of {target}")

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
            task.accesses = self._moving(*task.moving)
        return task.accesses

    def _end(self) -> None:
        waiting = sorted((task for task in self.tasks.values() if not task.done), key=lambda task: task.number)
        if any(task.crashed for task in self.tasks.values()):
            # Who waits for a task that is gone is not stuck for a reason of its own.
            waiting = [task for task in waiting if self._waits_for_itself(task)]
            retrying = []
        else:
            self.finished = not waiting
            retrying = [task.name for task in waiting if task.wakers]
        if retrying:
            tries, it = ("tries", "it waits") if len(retrying) == 1 else ("try", "they wait")
            names = " and ".join(retrying)
            self._find(StuckInRetry(f"{names} {tries} again for ever: nobody is left to change what {it} for"))
        elif waiting:
            self._find(Deadlock("; ".join(self._waits(task) for task in waiting)))

    def _find(self, bug: KernelBug) -> None:
        """Enter what is found at the end."""
        number = len(self.history.events)
        self.found.append(Found(bug, number, (1 << number) - 1))

    @staticmethod
    def _waits_for_itself(task: Task) -> bool:
        met: set[object] = set()
        each: object = task
        while isinstance(each, Task) and each not in met:
            met.add(each)
            each = each.lock._holder if each.lock and not each.done else None
        return each is task

    @staticmethod
    def _waits(task: Task) -> str:
        if task.lock is None:
            return f"{task.name} waits for {task.what}"
        holder = task.lock._holder
        return f"{task.name} waits for {task.lock.label}, held by {holder.name if isinstance(holder, Task) else holder}"

    def _check(self) -> None:
        self.task = None
        for leak in find_leaks(self.state, self.objects[self._made :]):
            self._find(leak)
        arguments = self.state, {task.name: task.told for task in self.tasks.values() if task.number < CHILDREN_MAX}
        for sentence, check in self.program.invariants.items():
            self._doing = f'the invariant "{sentence}"'
            self._notes.clear()
            self.is_checking = True
            try:
                found = check(*arguments[: self._wanted[sentence]])
                if raised := self._raised():
                    raise raised
                if found is False:
                    self._find(Broken(sentence))
                elif found is not True:
                    self.error = ProgramError(
                        f'{self.program.name}: the invariant "{sentence}" returns {found!r}: it has to return True or'
                        " False"
                    )
                    return
            except AssertionError as error:
                message = _message(error)
                self._find(Broken(f"{sentence}: {message}" if message else sentence))
            except KernelBug as bug:
                self._find(bug)
            except BaseException as error:
                self.error = self.error or error
                return
            finally:
                self.is_checking = False

    def _check_lock_orders(self) -> None:
        for bug, events in self._lock_orders.cycles():
            past = 0
            for event in events:
                past |= self.history.pasts[event]
            self.found.append(Found(bug, max(events), past))

    def execution(self) -> Execution:
        """Return what there is to know of the execution, once it has ended."""
        waiting = (task for task in self.tasks.values() if task.lock and not task.done)
        return Execution(self.history, {task.number: task.accesses[0][0] for task in waiting})

    def _clean_up(self) -> None:
        self.have_met = self.have_met or self._meet()
        self._is_ending = True
        self._notes.append(END)
        for task in self.tasks.values():
            if task.let is not None and not task.done:
                self.task = task
                task.let.throw(GreenletExit)
                self._notes.append(END)
        self.task = None
        self._notes.clear()

    def _meet(self) -> bool:
        """Tell whether two tasks of the program, or what they have deferred, have touched the same."""
        users: dict[Variable, set[int]] = {}
        freed: dict[int, set[int]] = {}
        for event in self.history.events:
            for variable, mode in event.accesses:
                users.setdefault(variable, set()).add(origin(event.task))
                if mode & FREE:
                    freed.setdefault(variable[0], set()).add(origin(event.task))
        users.pop(READER[0][0], None)  # who reads under RCU, or does not sleep, does not meet others by that
        return any(len(cpus | freed.get(thing, set())) > 1 for (thing, _), cpus in users.items())

    def insist_met(self) -> None:
        """Insist that what several tasks do can depend on each other.

        Raises:
            ProgramError: in no execution have two of them touched the same.
        """
        if len(self.program.tasks) > 1 and not self.have_met:
            raise ProgramError(
                f"{self.program.name}: no two tasks have touched the same, so that no interleaving matters: have them"
                " share what setup makes, in fields and parts of Shared objects"
            )

    def _release_all(self) -> None:
        """Give back what tasks hold that never will; until now it says who waits for whom."""
        for task in self.tasks.values():
            for lock, _ in task.held:
                lock._holder = None

    def _explain(self, error: BaseException) -> ProgramError:
        if isinstance(error, ProgramError):
            return error
        if isinstance(error, Refused):
            what = str(error)
        elif isinstance(error, KernelBug):
            what = f"{error.title} before any task runs: {error}"
        else:
            what = f"{type(error).__name__} in the program itself: {error}"
        return ProgramError(f"{self.program.name}: {what} ({where(error, self.program.setup)})")

    # Points

    def _point(self, task: Task, what: str, owner: Shared | None, member: str) -> None:
        """Let others go on, until it is decided that this task does what it has announced."""
        if self._notes:
            self._settle(task)
        self._insist_outside()
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

        Most steps only lead to where an execution differs from the last: nobody has to announce or decide anything.
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

    def _moving(self, part: Part, mode: Several | Callable[[Any], int], args: tuple[object, ...]) -> Accesses:
        """Return what an operation touches that depends on when it is done."""
        if not isinstance(mode, Several):
            return self._touch(part.owner, part.name, mode(part))
        found: Accesses = ()
        for each, how in mode.parts(part, *args):
            if how:
                found += self._touch(each.owner, each.name, how)
            elif each.owner is not None:
                found += self._touch(each.owner, LIFE, READ)
        return tuple(dict.fromkeys(found))

    def deferred_to(self, member: str) -> frozenset[int]:
        """Return numbers of the tasks that were made for a queue, or for RCU to call back, by the name of that."""
        queued = (tasks for queue, tasks in self._queued.items() if queue.name == member)
        tasks = self._callbacks if member == CALLBACKS else next(queued, [])
        return frozenset([task.number for task in tasks])

    def parts(self, task: Task) -> list[Part]:
        """Return the parts that a task's next operation would touch now."""
        if not task.operands:
            return []
        _, part, *args = task.operands
        if task.moving and isinstance(mode := task.moving[1], Several):
            return [each for each, _ in mode.parts(part, *args)]
        if isinstance(part, WorkQueue):
            return []
        return [part, part.whole] if isinstance(part, Key) else [part]

    def _touch(self, owner: Shared | None, member: str, mode: int) -> Accesses:
        """Return what an operation on a member touches; the same tuple for the same."""
        key = (0 if owner is None else self._number(owner), member, mode)
        accesses = self._touched.get(key)
        if accesses is None:
            if owner is None and key[:2] not in self._parts and key[:2] not in self._parts_of_setup:
                raise Refused(f"{member} {OUTSIDE}")
            accesses = self._touched[key] = (((key[0], member), mode),)
        return accesses

    def _number(self, thing: Shared) -> int:
        try:
            number: int = thing.__dict__["_number"]
        except KeyError:
            raise Refused(f"{thing.label} {OUTSIDE}") from None
        return number

    def _is_made(self, thing: Shared, task: Task) -> bool:
        """Tell whether an object's ``__init__`` has ended; until then its maker's accesses are nobody's business."""
        if self._number(thing) >> OBJECT_SHIFT == task.number + 1:
            return False
        raise Refused(
            f"{task.name} uses {thing.label} before its __init__ has ended: let it be found only when it is made"
        )

    @staticmethod
    def _insist_alive(part: Part) -> None:
        owner = part.owner
        if owner is not None and "_freed" in owner.__dict__:
            raise UseAfterFree(f"{part.label} is used after {owner.label} was freed")

    # Shared objects

    def make(self, kind: type[Shared], args: tuple[Any, ...], names: dict[str, Any]) -> Shared:
        """Make an object."""
        thing = kind.__new__(kind)
        self.objects.append(thing)
        if self.task:
            self.task.made += 1
            number = (self.task.number + 1 << OBJECT_SHIFT) + self.task.made
            thing.__dict__["_number"] = number
            self.history.ordering.births[number] = (self.task.number, self.task.last)
            maker = self.task.name
        else:
            self._made += 1
            thing.__dict__["_number"] = self._made
            maker = ""
        tally = self._tallies.setdefault((maker, kind), [0])
        tally[0] += 1
        made: Made = (tally, tally[0], maker)
        thing.__dict__.update(kind.defaults)
        self._initialise(thing, args, names)
        if self.task:
            self._insist_held(thing)
        thing.__dict__["_made"] = made
        return thing

    def _initialise(self, thing: Shared, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Call ``__init__``; what is made meanwhile is embedded in the object."""
        maker = self.task or self
        whole, number = maker.making, thing.__dict__["_number"]
        if whole:
            self.history.ordering.wholes[number] = whole
        maker.making = whole or number
        try:
            type(thing).__init__(thing, *args, **kwargs)
        finally:
            maker.making = whole

    def define(self, kind: type[Shared]) -> None:
        """Refuse a class, and what is set on one, while the program runs."""
        if self.is_inside:
            raise Refused(
                f"class {kind.__name__} is defined or changed while the program runs, so that it outlives an execution:"
                " define classes beside the tasks, and keep what changes in fields of objects"
            )

    def enter(self, part: Part) -> None:
        """Insist that a part is the only one of its name, since that is how it is known."""
        owner = part.owner
        if owner is not None and not isinstance(owner, Shared):
            raise Refused(f"part {part.name} is of a {type(owner).__name__}: its owner has to be Shared, or none")
        if holds_more(type(part)):
            raise Refused(
                f"{part.label} is a {type(part).__name__}, which has attributes beside what its operations watch: give"
                " the class `__slots__ = ()`, and keep them in fields of a Shared object"
            )
        variable = (0 if owner is None else owner.__dict__.get("_number", 0), part.name)
        if owner is not None and part.name in owner.fields:
            raise Refused(
                f"{part.label} is a {type(part).__name__}, and by its annotation a field: leave that out, or make it"
                " Final"
            )
        if variable in self._parts or (self.task and variable in self._parts_of_setup) or variable in RESERVED:
            raise Refused(f"there is a {part.label} already, and parts are known by their names: give it another")
        self._parts[variable] = part

    def _refuse_change(self, what: str) -> None:
        """Refuse it to invariants to do anything but look."""
        if self.is_checking:
            raise Refused(f"{self._doing} {what}, and those after it would see that: an invariant only looks")

    def change(self, thing: Shared, name: str) -> None:
        """Refuse to change what is no field, once the object is made."""
        task = self.task
        if "_made" in thing.__dict__:
            self._refuse_change(f"sets or deletes {thing.label}.{name}")
        if task is None or ("_made" not in thing.__dict__ and not self._is_made(thing, task)):
            return
        raise Refused(
            f"{task.name} sets or deletes {thing.label}.{name}, which is no field that can be watched: annotate it in"
            f" class {type(thing).__name__} (`{name}: int`), or have the task return what it saw"
        )

    def _insist_held(self, thing: Shared) -> None:
        """Insist that an object's attributes hold what is watched, or never changes."""
        for name, value in thing.__dict__.items():
            if type(value) not in NEVER_CHANGES and name != "_made":
                self._insist_constant(f"{thing.label}.{name}", value)

    @staticmethod
    def _insist_constant(holder: str, value: object) -> None:
        found = mutable_in(value)
        if found is not None:
            raise Refused(
                f"{holder} holds a {type(found).__name__}, whose changes nobody would see: {instead_of(found)}"
            )

    def _insist_given(self, task: Task, holder: Part | str, *values: object) -> None:
        """Insist that a task gives nothing to others that could change unseen."""
        for value in values:
            if not is_fine(value):
                self._insist_published(task, holder if isinstance(holder, str) else holder.label, value)
            if type(value) not in NEVER_CHANGES and not isinstance(value, Shared | Part):
                self._around += [(name, cell, cell_contents(cell)) for name, cell in cells(value)]

    def _insist_outside(self) -> None:
        """Insist that nothing has changed that is in no execution, or in one where nobody would see it.

        Raises:
            Refused: something has.
        """
        for name, cell, was in self._around:
            if cell_contents(cell) is not was:
                raise Refused(f"{name}, is changed while others may use it, unseen: keep it in a field of an object")
        if self._is_sample and self._reach:
            self._reach.insist_same()

    @staticmethod
    def _insist_published(task: Task, holder: str, value: object) -> None:
        """Insist that what a task gives away is watched, or never changes, and that its maker is done with it."""
        thing = value.owner if isinstance(value, Part) else value
        if isinstance(thing, Shared) and "_made" not in thing.__dict__ and "_number" in thing.__dict__:
            raise Refused(
                f"{thing.label} is published by {task.name} before its __init__ has ended: let it be found only when"
                " it is made"
            )
        Explorer._insist_constant(holder, value)

    def read(self, thing: Shared, name: str, mode: int) -> Any:
        """Read a field."""
        is_step = self._access(thing, name, mode, "read")
        try:
            value = thing.__dict__[name]
        except KeyError:
            raise AttributeError(f"{thing.label} has no {name} yet") from None
        if is_step:
            self._tell(self.task, "read", (thing, name), value)
        return value

    def write(self, thing: Shared, name: str, mode: int, value: Any) -> None:
        """Write a field."""
        if self.is_checking and "_made" in thing.__dict__:
            self._refuse_change(f"writes {thing.label}.{name}")
        if self.task and type(value) not in NEVER_CHANGES and "_made" in thing.__dict__:
            self._insist_given(self.task, f"{thing.label}.{name}", value)
        if self._access(thing, name, mode, "write"):
            self._tell(self.task, "write", (thing, name), value)
        thing.__dict__[name] = value

    def look(self, thing: Shared) -> None:
        """Look whether an object is alive."""
        self._access(thing, LIFE, READ, "read")

    def _access(self, thing: Shared, name: str, mode: int, what: str) -> bool:
        """Take a step that touches a field; return whether it was one, and not part of setup or of the making."""
        task = self.task
        if task is None or ("_made" not in thing.__dict__ and not self._is_made(thing, task)):
            return False
        if not self._again(task, what, thing, name):
            task.accesses = self._touch(thing, name, mode)
            task.caller = _caller()
            self._point(task, what, thing, name)
            if mode & READ and (things := _pointed(thing.__dict__.get(name))):
                self.history.ordering.points(task.last, things)
        if "_freed" in thing.__dict__:
            raise UseAfterFree(f"{thing.label}{'.' * bool(name)}{name} is used after it was freed")
        return True

    def _tell(self, task: Task | None, what: str, target: Part | tuple[Shared, str], value: object) -> None:
        """Compare what a task is told, or stores, with what it was when the same was done before."""
        if task is None:
            return
        number, now = task.last, value if type(value) in NEVER_CHANGES else told(value)
        if number >= self.prefix:
            self._told.extend([None] * (number - len(self._told)))
            self._told.append(now)
            return
        before = self._told[number]
        if (before == now and type(before) is type(now)) or _is_nan(before, now):
            return
        name = target.label if isinstance(target, Part) else f"{target[0].label}.{target[1]}"
        raise Refused(
            f"{task.name}: {what} {name} comes to {now!r}, and came to {before!r} when the same was done before:"
            f" {AGAIN}"
        )

    def free(self, thing: Shared) -> None:
        """End the life of an object."""
        task = self.task
        self._refuse_change(f"frees {thing.label}")
        if task:
            task.accesses = self._touch(thing, LIFE, WRITE | FREE)
            self._point(task, "kfree", thing, LIFE)
        if "_freed" in thing.__dict__:
            raise DoubleFree(f"{thing.label} is freed twice")
        thing.__dict__["_freed"] = True

    def step(self, part: Part, mode: Mode, what: str, do: Callable[..., T], *args: Any) -> T:
        """Do one atomic operation."""
        task, owner = self.task, part.owner
        if self.is_checking and _is_change(part, mode, args):
            self._refuse_change(f"does {what} to {part.label}")
        if task is None or (owner is not None and "_made" not in owner.__dict__ and not self._is_made(owner, task)):
            return do(part, *args)
        if args:
            self._insist_given(task, part, *args)
        is_new = not self._again(task, what, owner, part.name)
        if is_new:
            # Those race only with what __init__ has stored, where their own names will do.
            task.caller = what if isinstance(mode, Conditional) or mode == FULL else _caller()
            task.operands = (do, part, *args)
            if isinstance(mode, Conditional):
                mode, fails = mode
                task.fails = lambda: fails(part, *args)
            if not isinstance(mode, int):
                task.moving = (part, mode, args)
                self._point(task, what, owner, part.name)
                task.moving = None
            else:
                task.accesses = self._touch(owner, part.name, mode)
                if mode & WRITE and isinstance(part, Key):
                    task.accesses += self._touch(owner, part.whole.name, COMMUTE | mode & PLAIN)
                self._point(task, what, owner, part.name)
            task.fails = None
        for each in (each for each, _ in mode.parts(part, *args)) if isinstance(mode, Several) else (part,):
            self._insist_alive(each)
        task.result = found = do(part, *args)
        self._tell(task, what, part, (*args, found) if args else found)
        if is_new and (things := _pointed(found)):
            self.history.ordering.points(task.last, things)
        return found

    def peek(self, part: Part) -> None:
        """Refuse it to tasks, since nobody would see it."""
        if self.task:
            raise Refused(f"{self.task.name} looks into {part.label}, or changes it, unseen: use one of its operations")

    def fails(self, kind: str) -> bool:
        """Nothing fails."""
        return False

    # Locks

    def acquire(self, lock: Lock) -> None:
        """Take a lock."""
        task = self.task
        if task is None:
            self._refuse_change(f"takes {lock.label}")
            lock._holder = self
            return
        if lock.sleeps:
            self.might_sleep(lock.label)
        what = "mutex_lock" if lock.sleeps else "spin_lock"
        if not self._again(task, what, lock.owner, lock.name):
            self._announce(task, lock)
            task.lock = lock
            self._point(task, what, lock.owner, lock.name)
            task.lock = None
        self._insist_alive(lock)
        self._lock_orders.take(task, lock)
        self._hold(task, lock)

    def try_acquire(self, lock: Lock) -> bool:
        """Take a lock if it is free."""
        task = self.task
        if task is None:
            self._refuse_change(f"takes {lock.label}")
            lock._holder = lock._holder or self
            return lock._holder is self
        self._settle(task)
        self._announce(task, lock)
        task.fails = lambda: lock._holder is not None
        self._point(task, "mutex_trylock" if lock.sleeps else "spin_trylock", lock.owner, lock.name)
        task.fails = None
        self._insist_alive(lock)
        if lock._holder is not None:
            return False
        self._hold(task, lock)
        task.result = True
        return True

    def _announce(self, task: Task, lock: Lock) -> None:
        task.operands = (None, lock)
        task.accesses = self._touch(lock.owner, lock.name, TAKE)
        if not lock.sleeps and not task.atomic:
            task.accesses += READER

    def _hold(self, task: Task, lock: Lock) -> None:
        lock._holder = task
        task.held.append((lock, task.last))
        if not lock.sleeps:
            self._enter_section(task)

    def release(self, lock: Lock) -> None:
        """Give a lock back."""
        task = self.task
        if task is None:
            self._refuse_change(f"releases {lock.label}")
            lock._holder = None
            return
        self._settle(task)
        what = "mutex_unlock" if lock.sleeps else "spin_unlock"
        if lock._holder is not task:
            self._change(lock, what, FULL)
            raise LockMisuse(f"{task.name} unlocks {lock.label}, which {self._held_by(lock)}")
        held = task.held[-1]
        if held[0] is not lock:
            held = next(each for each in task.held if each[0] is lock)
        if not self._again(task, what, lock.owner, lock.name):
            task.accesses, task.opener = self._touch(lock.owner, lock.name, GIVE), held[1]
            task.operands = (None, lock)
            self._point(task, what, lock.owner, lock.name)
            task.opener = -1
        self._insist_alive(lock)
        lock._holder = None
        task.held.remove(held)
        if not lock.sleeps:
            self._leave_section(task)

    @staticmethod
    def _held_by(lock: Lock) -> str:
        if lock._holder is None:
            return "is not locked"
        return f"{lock._holder.name} holds" if isinstance(lock._holder, Task) else "was locked in setup"

    def might_sleep(self, what: str) -> None:
        """Insist on a context that may sleep."""
        task = self.task
        if task is None:
            return
        self._settle(task)
        if task.atomic:
            held = [lock.label for lock, _ in task.held if not lock.sleeps]
            raise SleepInAtomic(f"{task.name} may sleep in {what} inside {', '.join(held) or 'an RCU read section'}")
        if task.is_callback:
            raise SleepInAtomic(f"{task.name} may sleep in {what}, but RCU calls it back where nothing may")

    # RCU

    @staticmethod
    def _enter_section(task: Task) -> None:
        task.sections += not task.atomic
        task.atomic += 1

    @staticmethod
    def _leave_section(task: Task) -> None:
        task.atomic -= 1
        if not task.atomic:
            task.ended.append(task.last)

    def rcu_read_lock(self) -> None:
        """Begin a read section."""
        task = self.task
        if task:
            self._settle(task)
            if not task.atomic:
                task.accesses = READER
                self._point(task, "rcu_read_lock", None, "")
            self._enter_section(task)

    def rcu_read_unlock(self) -> None:
        """End it. No operation: it orders nothing but what waits for it, which cannot see how long it takes."""
        if self.task:
            self._settle(self.task)
            self._leave_section(self.task)

    def _grace_period(self) -> tuple[Ready, After, Wait]:
        """Return whether all sections that have begun by now are over, and the events then before it."""
        waited = [(task, task.sections) for task in self.tasks.values() if task.sections]
        return (
            lambda: all(len(task.ended) >= sections for task, sections in waited),
            lambda: [task.ended[sections - 1] for task, sections in waited],
            Wait(is_grace_period=True),
        )

    def synchronize_rcu(self) -> None:
        """Wait for a grace period."""
        self.might_sleep("synchronize_rcu")
        task = self.task
        if task:
            task.accesses = GRACE_PERIOD
            self._point(task, "synchronize_rcu", None, "")
            self._wait(task, "the end of a grace period", *self._grace_period())

    def call_rcu(self, call: Deferred) -> None:
        """Make a call after a grace period."""
        task = self.task
        if task is None:
            self._refuse_change(f"defers {call.title}")
            self._deferred.append(call)
            return
        self._settle(task)
        self._insist_given(task, call.title, call.function, *call.args)
        task.accesses = GRACE_PERIOD + CALLED_BACK if call.is_callback else GRACE_PERIOD
        self._point(task, f"call_rcu({call.title})", None, "")
        child = self._spawn(task, call.title, call.run)
        child.is_callback = True
        child.ready, child.after, child.wait = self._grace_period()
        if call.is_callback:
            self._callbacks.append(child)

    def rcu_barrier(self) -> None:
        """Wait until callbacks have run."""
        if self.task is None:
            self._run_deferred()
            return
        self.task.accesses = BARRIER
        self._point(self.task, "rcu_barrier", None, "")
        self._wait(self.task, "the callbacks of RCU", *_ends(self._callbacks))

    # Work

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

    def queue_work(self, queue: WorkQueue, work: Work) -> bool:
        """Have work done on a queue, after what was queued there before."""
        task = self.task
        self._refuse_change(f"queues {work.label}")
        if task:
            self._settle(task)
            self._insist_given(task, work.title, work.function, *work.args)
            task.accesses = self._touch(work.owner, work.name, FULL) + self._touch(None, queue.name, QUEUED)
            task.operands = (None, work)
            self._point(task, f"queue_work({work.title})", work.owner, work.name)
            self._insist_alive(work)
            task.result = work.can_be_queued
        if not work.can_be_queued:
            return False
        work._is_pending = True
        if task is None:
            self._deferred.append(work)
            return True
        before = self._queued.setdefault(queue, [])
        child = self._spawn(task, work.title, lambda: self._run_work(work, child))
        # It begins by not being pending any more, which depends on whoever queues it again or cancels it.
        child.accesses, child.operands = self._touch(work.owner, work.name, FULL), (None, work)
        child.ready, child.after, child.wait = _ends(before)
        before.append(child)
        work.token = (*(work.token or ()), child)
        return True

    def _run_work(self, work: Work, task: Task) -> None:
        task.result = task in work.token
        if task.result:
            self._insist_alive(work)
            work.run()

    def cancel_work(self, work: Work, disable: bool) -> bool:
        """Let pending work not run.

        Who would run it still begins, to find that there is nothing to do: so that it is seen to do so before, too.
        """
        self._change(work, "cancel_work_sync" if disable else "cancel_work", FULL)
        work.disabled += disable
        was_pending, work._is_pending = work._is_pending, False
        if self.task:
            self.task.result = was_pending
        if was_pending and self.task is None:
            self._deferred.remove(work)
        elif was_pending:
            work.token = work.token[:-1]
        return was_pending

    def enable_work(self, work: Work) -> None:
        """Let it be queued again."""
        self._change(work, "enable_work", FULL)
        work.disabled -= 1

    def flush_work(self, work: Work) -> None:
        """Wait until work is done."""
        self._change(work, "flush_work", READ | ACQUIRE | LOCK)
        if self.task is None:
            self._run_deferred()
        else:
            self._wait(self.task, f"{work.title} to end", *_ends((work.token or ())[-1:]))

    def flush_workqueue(self, queue: WorkQueue) -> None:
        """Wait until all work on a queue is done."""
        self._change(queue, "flush_workqueue", READ | ACQUIRE | LOCK)
        if self.task is None:
            self._run_deferred()
        else:
            self._wait(self.task, f"the work on {queue.name} to end", *_ends(self._queued.get(queue, [])))

    def _change(self, part: Part, what: str, mode: int) -> None:
        """Take a step that touches a part."""
        task = self.task
        if mode & WRITE:
            self._refuse_change(f"does {what} to {part.label}")
        if task:
            self._settle(task)
            task.accesses, task.operands = self._touch(part.owner, part.name, mode), (None, part)
            self._point(task, what, part.owner, part.name)
            self._insist_alive(part)

    def barrier(self, what: str) -> None:
        """Enter a memory barrier, which touches nothing."""
        task = self.task
        if task and not self._again(task, what, None, ""):
            task.accesses = NOTHING
            self._point(task, what, None, "")

    def relax(self) -> None:
        """Wait until something has changed that the task has read since its last attempt began.

        To go on it looks at all of that, so it depends on whoever changes it: whichever change comes first is tried.
        """
        task = self.task
        if task is None:
            self._run_deferred()
            return

        def wakers() -> int:
            return self.history.changes(task.number, touched, self.depth)

        touched = self.history.touched(task.number, task.since, self.depth)
        task.accesses = tuple((variable, READ | WATCH) for variable in sorted(touched))
        task.wakers, task.ready = wakers, lambda: wakers() != 0
        self._point(task, "cpu_relax", None, "")
        task.wakers = task.ready = None
        task.since = task.last + 1


def _ends(tasks: Sequence[Task]) -> tuple[Ready, After, Wait]:
    """Return whether tasks that there are by now have ended, and their last events."""
    waited = list(tasks)
    return (
        lambda: all(task.done for task in waited),
        lambda: [task.last for task in waited if task.last >= 0],
        Wait(False, frozenset([task.number for task in waited])),
    )


def _is_nan(before: object, now: object) -> bool:
    """Tell whether two values only differ since they are, or hold, what is no number and unequal to itself."""
    return type(before) is type(now) and isinstance(now, float | tuple) and repr(before) == repr(now)


def _is_change(part: Part, mode: Mode, args: tuple[object, ...]) -> bool:
    """Tell whether an operation changes something, if it is done now."""
    if isinstance(mode, Several):
        return any(how & WRITE for _, how in mode.parts(part, *args))
    if isinstance(mode, Conditional):
        mode = mode.mode
    return bool((mode if isinstance(mode, int) else mode(part)) & (WRITE | COMMUTE))


def _message(error: AssertionError) -> str:
    """Return what an assertion says, the same in every execution: pytest adds lines with addresses of objects."""
    return re.sub(" at 0x[0-9a-f]+", "", str(error).partition("\n")[0])


def _pointed(value: object) -> tuple[int, ...]:
    """Return numbers of the objects that a value points to."""
    if isinstance(value, Shared):
        return (value.__dict__["_number"],)
    if isinstance(value, tuple):
        return tuple(each.__dict__["_number"] for each in value if isinstance(each, Shared))
    return ()


def _access(what: str, mode: int) -> str:
    return what if mode & PLAIN or what not in ("read", "write", "remove") else f"marked {what}"


def _caller() -> str:
    """Return which function of the program or of the system does what is about to be done."""
    frame: FrameType | None = sys._getframe(3)
    while frame and frame.f_globals["__name__"].startswith(INSIDE):
        frame = frame.f_back
    return frame.f_code.co_name if frame else ""


CALLBACKS = "rcu callbacks"
RESERVED = frozenset((RCU, (0, CALLBACKS), (0, LIFE)))
"""Variables that are no part's."""
READER: Accesses = ((RCU, READ | ACQUIRE | LOCK),)
GRACE_PERIOD: Accesses = ((RCU, COMMUTE | RELEASE | STRONG | LOCK),)
CALLED_BACK: Accesses = (((0, CALLBACKS), COMMUTE | LOCK),)
BARRIER: Accesses = (((0, CALLBACKS), READ | LOCK),)
