"""Executions: every task is a greenlet, every operation on shared state a point where another may go on.

A strategy decides who goes on. The tasks of a program run up to their first operation before anything is decided;
what they defer (work, RCU callbacks) becomes tasks of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import extract_tb
from typing import Any, Protocol, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from swaplab.explore.history import Accesses, History
from swaplab.explore.leaks import find_leaks
from swaplab.explore.lock_order import LockOrders
from swaplab.explore.program import Program, ProgramError
from swaplab.explore.task import CHILDREN_MAX, NOTHING, Task
from swaplab.kernel.sync.bugs import (
    Broken,
    DataRace,
    Deadlock,
    DoubleFree,
    KernelBug,
    ListCorruption,
    LockMisuse,
    NullDereference,
    SleepInAtomic,
    StuckInRetry,
    UseAfterFree,
)
from swaplab.kernel.sync.lists import ListHead, ListNode
from swaplab.kernel.sync.locks import Lock
from swaplab.kernel.sync.runtime import ACQUIRE, COMMUTE, READ, RELEASE, WRITE, install
from swaplab.kernel.sync.shared import Part, Shared, watched
from swaplab.kernel.sync.work import Work, WorkQueue

__all__ = ["LIFE", "STEPS_MAX", "Explorer", "Strategy"]

STEPS_MAX = 20_000
FULL = WRITE | ACQUIRE | RELEASE
LIFE = ""

T = TypeVar("T")


class Strategy(Protocol):
    """Decides who goes on."""

    def pick(self, explorer: Explorer, tasks: list[Task]) -> Task | None:
        """Return who of `tasks`, all of which can, goes on; None to give the execution up."""


class Explorer:
    """Runs a program again and again, and is the runtime meanwhile.

    Args:
        program: what to run.
        strategy: who decides.
        keep_going: whether an execution goes on after a bug. The task that met it is gone then, and keeps its locks.

    Attributes:
        history: what has happened in this execution.
        tasks: of this execution, by number.
        task: who is running; none while the system is set up and while invariants are checked.
        bugs: what broke in this execution.
        error: what is wrong with the program.
        finished: whether all tasks have ended.
        trace: called before every operation with the task that is about to do it.
    """

    def __init__(self, program: Program[Any], strategy: Strategy, keep_going: bool = False) -> None:
        self.program = program
        self.strategy = strategy
        self.keep_going = keep_going
        self.history = History()
        self.trace: Callable[[Task], None] | None = None
        self._raced: list[tuple[int, KernelBug]] = []
        self._reset(0)

    def _reset(self, prefix: int) -> None:
        self.history.truncate(prefix)
        self.prefix = prefix
        self.depth = 0
        self.tasks: dict[int, Task] = {}
        self.task: Task | None = None
        self._raced = [(event, bug) for event, bug in self._raced if event < prefix]
        self.bugs: list[KernelBug] = [bug for _, bug in self._raced]
        self.error: BaseException | None = None
        self.finished = False
        self.state: Any = None
        self._starting = True
        self._lock_orders = LockOrders()
        self._made = 0
        self._objects: list[Shared] = []
        self._deferred: deque[Work] = deque()
        self._queued: dict[WorkQueue, Task] = {}
        self._main = getcurrent()

    # Executions

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Be the runtime inside the block, which is where `execute` may be called."""
        with watched(self._watch, self._make), install(self):
            yield

    def execute(self, prefix: int) -> None:
        """Run the program once.

        Args:
            prefix: how many events of the last execution come first again.

        Raises:
            ProgramError: the program does not do the same again, never ends, or fails.
        """
        self._reset(prefix)
        try:
            self.state = self._set_up()
            self._start()
            if not self._is_over:
                self._go()
            if self.finished:
                self._check()
        finally:
            self._clean_up()
        if self.error:
            raise self._explain(self.error) from self.error

    def _set_up(self) -> object:
        state = self.program.setup()
        self._run_deferred()
        return state

    def _run_deferred(self) -> None:
        while self._deferred:
            self._deferred.popleft().run()

    def _start(self) -> None:
        for number, (name, function) in enumerate(self.program.tasks.items()):
            task = Task(number, name, name, lambda function=function: function(self.state))  # type: ignore[misc]
            self.tasks[number] = task
            task.let = self._greenlet(task)
            self.task = task
            task.let.switch()
        self.task = None
        self._starting = False

    def _greenlet(self, task: Task) -> greenlet:
        return greenlet(lambda *_: self._run(task), self._main)

    def _run(self, task: Task) -> None:
        try:
            task.function()
            if task.held or task.atomic:
                held = ", ".join(lock.label for lock, _ in task.held) or "an RCU read section"
                raise LockMisuse(f"{task.name} ends without leaving {held}")
        except GreenletExit:
            return
        except KernelBug as bug:
            self._crash(task, bug)
        except AssertionError as error:
            self._crash(task, Broken(str(error) or f"an assertion of {task.name} fails"))
        except AttributeError as error:
            if "'NoneType' object" in str(error):
                name = str(error).split("'")[3]
                self._crash(task, NullDereference(f"{task.name} follows a null pointer to its {name}"))
            else:
                self.error = error
        except Exception as error:
            self.error = error
        task.done = True
        if not self._starting and (following := self._next()):
            self.task = following
            getcurrent().parent = self._let(following)

    def _crash(self, task: Task, bug: KernelBug) -> None:
        self.bugs.append(bug)
        task.crashed = True

    def _let(self, task: Task) -> greenlet:
        if task.let is None:
            task.let = self._greenlet(task)
        return task.let

    def _go(self) -> None:
        first = self._next()
        if first:
            self.task = first
            self._let(first).switch()

    @property
    def _is_over(self) -> bool:
        return bool(self.error or (self.bugs and not self.keep_going))

    def _next(self) -> Task | None:
        """Decide who does the next step, and enter it into the history; None if the execution is over."""
        if self._is_over:
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
        if task and not task.done and self._accesses(task) == event.accesses:
            return task
        self.error = ProgramError(
            f"{self.program.name}: step {number} is not what it was when the same was done before. Tasks and setup have"
            " to do the same again: no time, no random numbers, no state that outlives them"
        )
        return None

    def _picked(self, number: int) -> Task | None:
        able = [task for task in self.tasks.values() if not task.done and task.can_run]
        if not able:
            self._end()
            return None
        if number >= STEPS_MAX:
            names = ", ".join(sorted({task.name for task in able}))
            self.error = ProgramError(f"{self.program.name}: no end after {STEPS_MAX:,} steps; still running: {names}")
            return None
        task = self.strategy.pick(self, able)
        return task if task and self._enter(task) else None

    def _enter(self, task: Task) -> bool:
        """Append what a task is about to do; return whether that is no data race."""
        history = self.history
        before, seen = self.known(task)
        accesses = self._accesses(task)
        label = f"{task.name}: {task.what}"
        race = history.append(task.number, accesses, before, seen, task.opener, task.lock is not None, label)
        if race is None:
            return True
        other = self.tasks[history.events[race].task]
        kind = ListCorruption if isinstance(task.subject, ListHead | ListNode) else DataRace
        name = task.subject.label if task.subject else ""
        bug = kind(f"{task.name} and {other.name} access {name} with nothing between them that orders them")
        self._raced.append((len(history.events) - 1, bug))
        self.bugs.append(bug)
        return self.keep_going

    def known(self, task: Task) -> tuple[int, int]:
        """Return bits of the events before a task's next step, whatever that is, and of those synchronised with it."""
        history = self.history
        before, seen = (history.pasts[task.last], history.seen[task.last]) if task.last >= 0 else task.base
        for event in task.after() if task.after else ():
            before |= history.pasts[event]
            seen |= history.seen[event]
        return before, seen

    def _accesses(self, task: Task) -> Accesses:
        if task.part is not None:
            task.accesses = self._touch(task.part, task.mode() if callable(task.mode) else task.mode)
        return task.accesses

    def _end(self) -> None:
        waiting = [task for task in self.tasks.values() if not task.done]
        if any(task.crashed for task in self.tasks.values()):
            return
        if not waiting:
            self.finished = True
        elif any(task.retries for task in waiting):
            names = " and ".join(task.name for task in waiting if task.retries)
            self.bugs.append(StuckInRetry(f"{names} tries again for ever: nobody is left to change what it waits for"))
        else:
            self.bugs.append(Deadlock("; ".join(self._waits(task) for task in waiting)))

    @staticmethod
    def _waits(task: Task) -> str:
        if task.lock is None:
            return f"{task.name} waits for {task.what}"
        holder = task.lock.holder
        return f"{task.name} waits for {task.lock.label}, held by {holder.name if isinstance(holder, Task) else holder}"

    def _check(self) -> None:
        self.task = None
        self.bugs += find_leaks(self.state, self._objects)
        for sentence, check in self.program.invariants.items():
            try:
                if check(self.state) is False:
                    self.bugs.append(Broken(sentence))
            except AssertionError as error:
                self.bugs.append(Broken(f"{sentence}: {error}" if str(error) else sentence))
            except KernelBug as bug:
                self.bugs.append(bug)
            except Exception as error:
                self.error = error
            if self._is_over:
                return

    def _clean_up(self) -> None:
        self.task = None
        for task in self.tasks.values():
            for lock, _ in task.held:
                lock.holder = None
            if task.let is not None and not task.done:
                task.let.throw(GreenletExit)

    def _explain(self, error: BaseException) -> ProgramError:
        if isinstance(error, ProgramError):
            return error
        frame = extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}, line {frame.lineno}, in {frame.name}"
        return ProgramError(f"{self.program.name}: {type(error).__name__} in the program itself: {error} ({where})")

    # Points

    def _point(self, task: Task, what: str, subject: Part | Shared | None) -> None:
        """Let others go on, until it is decided that this task does what it has announced."""
        task.what, task.subject = what, subject
        if self._starting:
            self._main.switch()
        else:
            following = self._next()
            if following is not task:
                if following is None:
                    self._main.switch()
                else:
                    self.task = following
                    self._let(following).switch()
        if self.trace:
            self.trace(task)

    def _wait(self, task: Task, what: str, ready: Callable[[], bool], after: Callable[[], list[int]]) -> None:
        """Wait for what stays true once it is."""
        task.accesses, task.ready, task.after = NOTHING, ready, after
        self._point(task, what, None)
        task.ready = task.after = None

    def _touch(self, part: Part, mode: int) -> Accesses:
        """Return what an operation on a part touches: the part, and the lives of what it is in."""
        owner = part.owner
        if isinstance(part, ListNode) and part.head is not None:
            accesses = self._touch(part.head, mode)
            return (*accesses, ((self._number(owner), LIFE), READ)) if owner is not part.head.owner else accesses
        if owner is None:
            return (((0, part.name), mode),)
        number = self._number(owner)
        return (((number, part.name), mode), ((number, LIFE), READ))

    def _number(self, thing: Shared | None) -> int:
        try:
            return int(thing.__dict__["_number"])
        except KeyError:
            label = thing.label if thing else ""
            raise ProgramError(f"{self.program.name}: {label} was made outside setup and tasks") from None

    @staticmethod
    def _insist_alive(part: Part) -> None:
        owners = [part.owner, part.head.owner] if isinstance(part, ListNode) and part.head else [part.owner]
        for owner in owners:
            if owner is not None and "_freed" in owner.__dict__:
                raise UseAfterFree(f"{part.label} is used after {owner.label} was freed")

    # Shared objects

    def _make(self, kind: type[Shared], *args: Any, **kwargs: Any) -> Shared:
        thing = kind.__new__(kind)
        if self.task:
            self.task.made += 1
            self._objects.append(thing)
            thing.__dict__["_number"] = (self.task.number + 1 << 20) + self.task.made
        else:
            self._made += 1
            thing.__dict__["_number"] = self._made
        kind.__init__(thing, *args, **kwargs)
        thing.__dict__["_made"] = True
        return thing

    def _watch(self, thing: Shared, name: str, mode: int) -> None:
        task = self.task
        if task is None or "_made" not in thing.__dict__:
            return
        number = self._number(thing)
        task.accesses = (((number, name), mode), ((number, LIFE), READ))
        self._point(task, "read" if mode & READ else "write", Part(thing, name))
        if "_freed" in thing.__dict__:
            raise UseAfterFree(f"{thing.label}.{name} is used after it was freed")

    def free(self, thing: Shared) -> None:
        """End the life of an object."""
        task = self.task
        if task:
            task.accesses = (((self._number(thing), LIFE), WRITE),)
            self._point(task, "kfree", thing)
        if "_freed" in thing.__dict__:
            raise DoubleFree(f"{thing.label} is freed twice")
        thing.__dict__["_freed"] = True

    def step(self, part: Part, mode: int | Callable[[], int], what: str, do: Callable[..., T], *args: Any) -> T:
        """Do one atomic operation."""
        task = self.task
        if task is None or (part.owner is not None and "_made" not in part.owner.__dict__):
            return do(*args)
        if callable(mode) or isinstance(part, ListNode):
            task.part, task.mode = part, mode
            self._point(task, what, part)
            task.part = None
        else:
            task.accesses = self._touch(part, mode)
            self._point(task, what, part)
        self._insist_alive(part)
        return do(*args)

    def fails(self, kind: str) -> bool:
        """Nothing fails."""
        return False

    # Locks

    def acquire(self, lock: Lock) -> None:
        """Take a lock."""
        task = self.task
        if task is None:
            lock.holder = self
            return
        if lock.sleeps:
            self.might_sleep(lock.label)
        task.accesses = self._touch(lock, FULL)
        if not lock.sleeps and not task.atomic:
            task.accesses += READER
        task.lock = lock
        self._point(task, "mutex_lock" if lock.sleeps else "spin_lock", lock)
        task.lock = None
        self._insist_alive(lock)
        self._lock_orders.take(task, lock)
        self._hold(task, lock)

    def try_acquire(self, lock: Lock) -> bool:
        """Take a lock if it is free."""
        task = self.task
        if task is None:
            lock.holder = lock.holder or self
            return lock.holder is self
        task.accesses = self._touch(lock, FULL)
        if not lock.sleeps and not task.atomic:
            task.accesses += READER
        self._point(task, "mutex_trylock" if lock.sleeps else "spin_trylock", lock)
        self._insist_alive(lock)
        if lock.holder is not None:
            return False
        self._hold(task, lock)
        return True

    def _hold(self, task: Task, lock: Lock) -> None:
        lock.holder = task
        task.held.append((lock, task.last))
        if not lock.sleeps:
            self._enter_section(task)

    def release(self, lock: Lock) -> None:
        """Give a lock back."""
        task = self.task
        if task is None:
            lock.holder = None
            return
        if lock.holder is not task:
            raise LockMisuse(f"{task.name} releases {lock.label} without holding it")
        held = next(each for each in reversed(task.held) if each[0] is lock)
        task.accesses, task.opener = self._touch(lock, FULL), held[1]
        self._point(task, "mutex_unlock" if lock.sleeps else "spin_unlock", lock)
        task.opener = -1
        self._insist_alive(lock)
        lock.holder = None
        task.held.remove(held)
        if not lock.sleeps:
            self._leave_section(task)

    def abandon(self, lock: Lock | None) -> None:
        """Keep a lock, or stay in a read section: the task crashes, and nobody cleans up after it."""

    def might_sleep(self, what: str) -> None:
        """Insist on a context that may sleep."""
        if self.task and self.task.atomic:
            held = [lock.label for lock, _ in self.task.held if not lock.sleeps]
            raise SleepInAtomic(
                f"{self.task.name} may sleep in {what} inside {', '.join(held) or 'an RCU read section'}"
            )

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
            if not task.atomic:
                task.accesses = READER
                self._point(task, "rcu_read_lock", None)
            self._enter_section(task)

    def rcu_read_unlock(self) -> None:
        """End it. No operation: it orders nothing but what waits for it, which cannot see how long it takes."""
        if self.task:
            self._leave_section(self.task)

    def _grace_period(self) -> tuple[Callable[[], bool], Callable[[], list[int]]]:
        """Return whether all sections that have begun by now are over, and the events then before it."""
        waited = [(task, task.sections) for task in self.tasks.values() if task.sections]
        return (
            lambda: all(len(task.ended) >= sections for task, sections in waited),
            lambda: [task.ended[sections - 1] for task, sections in waited],
        )

    def synchronize_rcu(self) -> None:
        """Wait for a grace period."""
        self.might_sleep("synchronize_rcu")
        task = self.task
        if task:
            task.accesses = GRACE_PERIOD
            self._point(task, "synchronize_rcu", None)
            self._wait(task, "the end of a grace period", *self._grace_period())

    def call_rcu(self, work: Work) -> None:
        """Have work done after a grace period."""
        task = self.task
        if task is None:
            self._deferred.append(work)
            return
        task.accesses = GRACE_PERIOD
        self._point(task, f"call_rcu({work.name})", None)
        child = self._spawn(task, work)
        child.ready, child.after = self._grace_period()

    # Work

    def _spawn(self, parent: Task, work: Work) -> Task:
        number = (parent.number + 1) * CHILDREN_MAX + parent.children
        parent.children += 1
        if parent.children == CHILDREN_MAX:
            raise ProgramError(f"{self.program.name}: {parent.name} has deferred work {CHILDREN_MAX:,} times")
        child = Task(
            number, work.name, parent.cpu, work.run, (self.history.pasts[parent.last], self.history.seen[parent.last])
        )
        child.function = lambda: self._begin(child, work)
        self.tasks[number] = child
        work.token = child
        return child

    @staticmethod
    def _begin(task: Task, work: Work) -> None:
        task.ready = task.after = None
        work.run()

    def queue_work(self, work: Work) -> None:
        """Have work done on its queue, after what was queued there before."""
        task = self.task
        if task is None or work.queue is None:
            self._deferred.append(work)
            return
        task.accesses = self._touch(work.queue, FULL)
        self._point(task, f"queue_work({work.name})", work.queue)
        before = self._queued.get(work.queue)
        child = self._queued[work.queue] = self._spawn(task, work)
        if before:
            child.ready, child.after = (lambda: before.done), (lambda: [before.last] if before.last >= 0 else [])

    def flush_work(self, work: Work) -> None:
        """Wait until work is done."""
        self.might_sleep("flush_work")
        if self.task is None:
            self._run_deferred()
        elif isinstance(worker := work.token, Task):
            self._wait(self.task, f"{work.name} to end", lambda: worker.done, lambda: [worker.last])

    def relax(self) -> None:
        """Wait until something has changed that the task has touched since it was here last."""
        task = self.task
        if task is None:
            self._run_deferred()
            return

        def change() -> int:
            return self.history.first_change(task.number, task.since)

        task.retries = True
        self._wait(task, "cpu_relax", lambda: change() >= 0, lambda: [change()])
        task.retries = False
        task.since = task.last + 1


READER: Accesses = (((0, "rcu"), READ | ACQUIRE),)
GRACE_PERIOD: Accesses = (((0, "rcu"), COMMUTE | RELEASE),)
