"""Executions: a program is set up, its tasks run, and what is left is checked, again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from swaplab.explore.again import OTHERWISE, Follow, another_order, insist_same, outcome
from swaplab.explore.deferring import Deferring
from swaplab.explore.found import Found
from swaplab.explore.guard import guarded, where
from swaplab.explore.history import FREE, Event, History, Variable
from swaplab.explore.leaks import find_leaks
from swaplab.explore.objects import insist_held
from swaplab.explore.parts import READER
from swaplab.explore.program import Program, ProgramError, insist_sound, wanted
from swaplab.explore.scheduler import END, Strategy, message_of
from swaplab.explore.shortest import Execution
from swaplab.explore.snapshot import Snapshot
from swaplab.explore.task import CHILDREN_MAX, origin
from swaplab.explore.values import contents, insist_constant
from swaplab.explore.watchdog import COMPUTES, limit, watchdog
from swaplab.kernel.sync.bugs import Broken, KernelBug, Refused, noted_in
from swaplab.kernel.sync.runtime import install
from swaplab.kernel.sync.shared import watched_by
from swaplab.text import text_of

__all__ = ["Explorer"]


class Explorer(Deferring):
    """Runs a program again and again, and is the runtime meanwhile.

    Args:
        program: what to run.
        strategy: decides which task goes on.

    Attributes:
        is_repeating: whether a sample of executions is run twice by itself.
        have_met: whether two tasks have touched the same in any execution.
    """

    is_repeating = True

    def __init__(self, program: Program[Any], strategy: Strategy) -> None:
        insist_sound(program)
        self._executions = 0
        self._is_collecting = False
        self._snapshot: Snapshot | None = None
        self._made: Snapshot | None = None
        self.have_met = False
        self._wanted = {sentence: wanted(check) for sentence, check in program.invariants.items()}
        super().__init__(program, strategy)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Be the runtime inside the block, which is where `execute` may be called."""
        # What an execution makes is garbage at its end, and all of it cycles: those alone are to be looked through, and
        # soon, while they are in the cache.
        gc.freeze()
        self._is_collecting = gc.isenabled()
        try:
            with (
                self._with_greenlets(),
                watchdog(self.progress, self.stop, self.abandon),
                watched_by(self),
                install(self),
                noted_in(self._notes),
                guarded(self),
            ):
                yield
        finally:
            gc.unfreeze()
            if self._is_collecting:
                gc.enable()

    def progress(self) -> object:
        """Return what changes with every step of an execution; None outside of one."""
        return (self._executions, self.depth, self.task, self._doing) if self.is_inside else None

    def stop(self, does: str, line: str) -> None:
        """Let no task go on: the running one does not come to an end."""
        who = self.task.name if self.task else self._doing
        advice = (
            f"{limit():g} s without a step that is watched: have loops end, and those that wait for others call relax()"
            if does == COMPUTES
            else "something that no step of the others brings about: have it wait by what swaplab.kernel.sync has"
        )
        self.error = ProgramError(f"{self.program.name}: {who} {does} for {advice} ({line})")
        self._notes.append(END)

    def execute(self, prefix: int) -> None:
        """Run the program once.

        Args:
            prefix: how many events of the last execution come first again.

        Raises:
            ProgramError: the program does not do the same again, never ends, or fails.
        """
        self._execute(prefix)
        if self.is_repeating:
            self.repeat_sample()

    def repeat_sample(self) -> None:
        """Run an execution again if it is of a sample, and in another order too, to see whether it comes to the same.

        Raises:
            ProgramError: it does not.
        """
        if not self.outside.is_sample or self.gave_up:
            return
        before, otherwise = self.outcome(), self._otherwise()
        self._snapshot = None
        self._execute(len(self.history.events))
        insist_same(self.program.name, before, self.outcome())
        insist_same(self.program.name, before, otherwise, OTHERWISE)

    def _otherwise(self) -> dict[str, object]:
        """Run the execution in another order that should make no difference; return what it comes to."""
        kept = self.strategy, self.history, self._raced, self._told
        self.strategy, self.history, self._raced, self._told = Follow(another_order(self.history)), History(), [], []
        self._snapshot = None
        try:
            self._execute(0)
            return self.outcome()
        finally:
            self.strategy, self.history, self._raced, self._told = kept

    def outcome(self) -> dict[str, object]:
        """Return what the execution comes to.

        Without data races: which additions came first, of those whose order does not matter, may order what it did.
        """
        bugs = (each.bug for each in self.found if each not in self._raced)
        return {
            "what breaks": sorted(f"{bug.title}: {bug}" for bug in bugs),
            "whether all ends": self.finished and not self.gave_up,
            **outcome(self.tasks.values(), self.history.events, self._told),
        }

    def _execute(self, prefix: int) -> None:
        self._reset(prefix)
        self.is_inside = True
        # What is garbage may have something to do at its end, and that would be done in the middle of some step.
        gc.disable()
        try:
            self.state = self._set_up()
            self._start()
            self.prefix = prefix
            if first := self._next():
                self._switch(first)
            if self.finished:
                self._check()
            self._check_lock_orders()
            self.outside.insist_same(is_end=True)
            if self.outside.is_sample:
                for thing in self.objects:
                    insist_held(thing)
        except BaseException as error:
            self.error = self.error or error
        self.have_met = self.have_met or _meet(self.history.events)
        self._clean_up()
        self.is_inside = False
        if self._is_collecting:
            gc.enable()
        if isinstance(self.error, KeyboardInterrupt):
            raise self.error
        if self.error:
            raise self._explain(self.error) from self.error

    def _set_up(self) -> object:
        self._executions += 1
        is_sample = self._executions & self._executions - 1 == 0
        self.outside.begin(is_sample)
        if self._snapshot and not is_sample:
            self._snapshot.restore()
            self.objects = [*self._snapshot.objects]
            self.parts.known = {**self._snapshot.parts}
            return self._snapshot.state
        state = self.program.setup()
        self._run_deferred()
        if raised := self._raised():
            raise raised
        self._notes.clear()
        if is_sample:
            self._insist_state(state)
        else:
            self._snapshot = self._taken(state)
        return state

    def _taken(self, state: object) -> Snapshot:
        """Return a snapshot of what setup has made; it makes the same every time."""
        made = Snapshot(state, self.objects, self.parts.known)
        if self._made and self._made.forms != made.forms:
            insist_same(self.program.name, self._made.told(), made.told())
        self._made = made
        return made

    def _insist_state(self, state: object) -> None:
        """Insist that nothing of what setup has made can change without being seen; it makes the same every time."""
        insist_constant("what setup returns", state)
        for thing in self.objects:
            insist_held(thing)
        parts = self.parts.known.values()
        for part in parts:
            for value in contents(part):
                insist_constant(part.label, value)
        self.outside.end_setup(self.program, self.objects, parts)

    def _check(self) -> None:
        self.task = None
        for leak in find_leaks(self.state, self.objects):
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
                        f'{self.program.name}: the invariant "{sentence}" returns {text_of(found, repr)}:'
                        " it has to return True or False"
                    )
                    return
            except AssertionError as error:
                message = message_of(error)
                self._find(Broken(f"{sentence}: {message}" if message else sentence))
            except KernelBug as bug:
                self._find(bug)
            except BaseException as error:
                self.error = self.error or error
                return
            finally:
                self.is_checking = False

    def _check_lock_orders(self) -> None:
        for bug, events in self.lock_orders.cycles():
            past = 0
            for event in events:
                past |= self.history.pasts[event]
            self.found.append(Found(bug, max(events), past))

    def execution(self) -> Execution:
        """Return what there is to know of the execution, once it has ended."""
        waiting = (task for task in self.tasks.values() if task.lock and not task.done)
        return Execution(self.history, {task.number: task.accesses[0][0] for task in waiting})

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

    def _explain(self, error: BaseException) -> ProgramError:
        if isinstance(error, ProgramError):
            return error
        if isinstance(error, Refused):
            what = str(error)
        elif isinstance(error, KernelBug):
            what = f"{error.title} before any task runs: {error}"
        else:
            what = f"{type(error).__name__} in the program itself: {text_of(error)}"
        return ProgramError(f"{self.program.name}: {what} ({where(error, self.program.setup)})")


def _meet(events: Sequence[Event]) -> bool:
    """Tell whether two tasks of the program, or what they have deferred, have touched the same."""
    users: dict[Variable, set[int]] = {}
    freed: dict[int, set[int]] = {}
    for event in events:
        for variable, mode in event.accesses:
            users.setdefault(variable, set()).add(origin(event.task))
            if mode & FREE:
                freed.setdefault(variable[0], set()).add(origin(event.task))
    users.pop(READER[0][0], None)  # tasks that read under RCU, or do not sleep, do not meet others by that
    return any(len(cpus | freed.get(thing, set())) > 1 for (thing, _), cpus in users.items())
