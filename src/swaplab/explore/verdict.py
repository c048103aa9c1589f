"""What an exploration says: it holds, something broke, or not everything was looked at."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from swaplab.notebook import Shown

__all__ = [
    "CARRIES_OVER",
    "EVERY_OBSERVATION",
    "EVERY_TRACE",
    "MAY_MATTER",
    "SMALL_PRINT",
    "Bounded",
    "Effort",
    "Holds",
    "Reordering",
    "Schedule",
    "Step",
    "Unsure",
    "Verdict",
    "Violated",
    "Violation",
]

SMALL_PRINT = "Memory is sequentially consistent: weaker memory orders are not explored."
CARRIES_OVER = (
    "Carries over to Linux's memory order: locks, fully ordered operations or RCU order all conflicting accesses."
)
MAY_MATTER = "That may matter for accesses that neither locks nor fully ordered operations nor RCU order:"


class Reordering(msgspec.Struct, frozen=True, order=True):
    """Two operations that were run in both orders."""

    first: str
    second: str


class Unsure(msgspec.Struct, frozen=True, order=True):
    """Two operations that conflict, and whose order weaker memory may not keep."""

    first: str
    second: str


EVERY_TRACE = "every trace"
EVERY_OBSERVATION = "every observation"


class Effort(msgspec.Struct, frozen=True):
    """What was done.

    Attributes:
        executions: run to the end, each different from the others in the order of dependent operations.
        steps: taken in all of them.
        reordered: what was run in both orders.
        search: which executions were run.
    """

    executions: int
    steps: int
    reordered: list[Reordering]
    search: str = EVERY_TRACE


class Step(msgspec.Struct, frozen=True):
    """One operation of an execution.

    Attributes:
        cpu: task of the program that did it, or that deferred the work which did.
        column: its number among the tasks of the program.
        task: its name, the same or that work.
        calls: functions it is in, outermost first, with the objects they are called with.
        begun: how many of them this task was in at its last step already.
        what: the operation.
        subject: what it is done to.
        arguments: what else it is given.
        value: what was read, written or returned; ``waits`` for what a task waits to do at the end; empty if nothing.
        matters: whether it breaks something, is done to what that is about, or another CPU does something that
            depends on it.
    """

    cpu: str
    column: int
    task: str
    calls: list[str]
    begun: int
    what: str
    subject: str
    arguments: list[str]
    value: str
    matters: bool


class Schedule(msgspec.Struct, frozen=True):
    """The task that goes on at each step: this is enough to run an execution again.

    Attributes:
        program: its name.
        choices: numbers of tasks, in turn.
    """

    program: str
    choices: list[int]


class Holds(Shown, msgspec.Struct, frozen=True, tag="holds"):
    """Nothing breaks in any interleaving.

    Attributes:
        unsure: pairs of operations that neither locks nor fully ordered operations nor RCU order. If there are none,
            Linux's memory order allows nothing more, and the verdict carries over to it.
    """

    effort: Effort
    unsure: list[Unsure]
    complete: ClassVar[bool] = True


class Bounded(Shown, msgspec.Struct, frozen=True, tag="bounded"):
    """Nothing broke in the executions that were run, which are not all.

    Attributes:
        limit: what ended the search.
    """

    effort: Effort
    limit: str
    complete: ClassVar[bool] = False


class Violation(msgspec.Struct, frozen=True):
    """One thing that breaks.

    Attributes:
        kind: of bug.
        sentence: what broke, with the names of the objects.
        preemptions: how often a task was interrupted that could have gone on.
        fewest: whether no execution with fewer breaks the same.
        schedule: runs it again, up to where it breaks.
        steps: what happened.
    """

    kind: str
    sentence: str
    preemptions: int
    fewest: bool
    schedule: Schedule
    steps: list[Step]


class Violated(Shown, msgspec.Struct, frozen=True, tag="violated"):
    """Something breaks.

    Attributes:
        effort: what was run.
        violations: everything that was found to break; what takes the fewest interruptions comes first.
        limit: what ended the search, so that more may break; nothing if every interleaving was run.
    """

    effort: Effort
    violations: list[Violation]
    limit: str
    complete: ClassVar[bool] = False


Verdict = Holds | Bounded | Violated
