"""The one interface under all shared state: the runner of the system decides what an operation on it is.

`Direct` (one thread, almost free), `Threads` (real threads on real bytes) and the explorer (every operation is a
scheduling point) implement it. The objects of this package call whichever is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, Protocol, TypeVar, cast

__all__ = [
    "ACQUIRE",
    "COMMUTE",
    "FULL",
    "LOCK",
    "PLAIN",
    "RACY",
    "READ",
    "RELEASE",
    "RMW",
    "STRONG",
    "WRITE",
    "Block",
    "Conditional",
    "Mode",
    "Runtime",
    "Several",
    "block",
    "current",
    "install",
    "operation",
    "outside",
    "use",
]

READ = 1
"""Operations that only read do not depend on each other,"""
WRITE = 2
"""one that writes depends on all others,"""
COMMUTE = 4
"""and additions whose result nobody looks at do not depend on each other, but on reads."""
ACQUIRE = 8
"""What another task released here is seen from now on."""
RELEASE = 16
"""A task that acquires here sees all that this task did so far."""
PLAIN = 32
"""Neither atomic nor marked: a data race where nothing else orders it,"""
RACY = 64
"""unless it is said to be known: data_race()."""
RMW = 128
"""Reads and writes at once: acquiring its write also acquires what was released before it."""
STRONG = 256
"""Fully ordered: as if between two smp_mb()."""
LOCK = 512
"""Of a lock, or of RCU."""
FULL = WRITE | RMW | ACQUIRE | RELEASE | STRONG
"""A read-modify-write operation that returns a value."""

F = TypeVar("F", bound=Callable[..., Any])


class Conditional(NamedTuple):
    """The mode of an operation that may fail, and then orders nothing, as a marked read.

    Attributes:
        mode: if it does not.
        fails: called with the part and the arguments when it is done; tells whether it does.
    """

    mode: int | Callable[[Any], int]
    fails: Callable[..., bool]


class Several(NamedTuple):
    """The mode of an operation on several parts: which these are depends on when it is done.

    Attributes:
        parts: called with the part and the arguments when it is done; returns each part with how it is touched, 0 if it
            only has to be alive.
    """

    parts: Callable[..., tuple[tuple[Any, int], ...]]


Mode = int | Conditional | Several | Callable[[Any], int]
"""How an operation touches a part; called with it when the operation is done if that depends on then.

What it looks at then may be changed by operations that write only; if by others, too, the mode is `Several`.
"""


class Runtime(Protocol):
    """What shared state needs of its runner.

    A part is a `shared.Part`, a thing a `shared.Shared`, a lock a `locks.Lock`, work a `work.Work`: they call this, so
    it does not import them.
    """

    @property
    def step(self) -> Callable[..., Any] | None:
        """Called with part, mode, what and do of an `operation`, and its arguments: do it, as ``do(part, *args)``.

        None where it is a step to no task: then it is just done.
        """

    @property
    def lock_block(self) -> Block:
        """What ``with`` does on a lock."""

    @property
    def rcu_block(self) -> Block:
        """What it does on `rcu.rcu`: an RCU read section; sections nest."""

    def acquire(self, lock: Any) -> None:
        """Take a lock, waiting for it."""

    def try_acquire(self, lock: Any) -> bool:
        """Take a lock if it is free."""

    def release(self, lock: Any) -> None:
        """Give a lock back."""

    def synchronize_rcu(self) -> None:
        """Wait until all RCU read sections that have begun are over."""

    def call_rcu(self, call: Any) -> None:
        """Make a `work.Deferred` call once they are, without waiting for it, where nothing may sleep."""

    def rcu_barrier(self) -> None:
        """Wait until the callbacks that were deferred by now have run."""

    def queue_work(self, queue: Any, work: Any) -> bool:
        """Run `work` some time from now on a queue, after what is there, unless it is pending or disabled."""

    def cancel_work(self, work: Any, disable: bool) -> bool:
        """Let pending work not run, and tell whether it was pending; disable it if asked to."""

    def enable_work(self, work: Any) -> None:
        """Undo that."""

    def flush_work(self, work: Any) -> None:
        """Wait until pending or running `work` has run."""

    def flush_workqueue(self, queue: Any) -> None:
        """Wait until everything has run that is on a queue by now."""

    def barrier(self, what: str) -> None:
        """Make a memory barrier: smp_mb, smp_rmb or smp_wmb."""

    def relax(self) -> None:
        """Let others go on, before a loop tries again what depends on them: cpu_relax(), cond_resched()."""

    def might_sleep(self, what: str) -> None:
        """Insist on a context that may sleep."""

    def peek(self, part: Any) -> None:
        """Note a look at a part without an operation: no task may do it."""

    def poke(self, part: Any) -> None:
        """Note a change of a part without an operation: only setup may do it."""

    def free(self, thing: Any) -> None:
        """End the life of an object."""

    def fails(self, kind: str) -> bool:
        """Whether this allocation, compression or device access is made to fail."""


class Installed:
    """Holds the runtime, so that modules which import it see it change."""

    runtime: Runtime


current = Installed()


def use(runtime: Runtime) -> None:
    """Let `runtime` run what is called from now on."""
    current.runtime = runtime
    for each in _operations:
        each.bind(runtime.step)
    for kind, name in _blocks.items():
        kind.__enter__, kind.__exit__ = getattr(runtime, name)  # type: ignore[attr-defined]


@contextmanager
def install(runtime: Runtime) -> Iterator[None]:
    """Let `runtime` run what is called inside the block."""
    before = current.runtime
    use(runtime)
    try:
        yield
    finally:
        use(before)


# Blocks ---------------------------------------------------------------------------------------------------------------

Block = tuple[Callable[[Any], None], Callable[..., None]]
"""``__enter__`` and ``__exit__`` of a class. Functions, as a bound method is not given the object it is called on."""
_blocks: dict[type, str] = {}
C = TypeVar("C", bound=type)


def block(name: str) -> Callable[[C], C]:
    """Have a runtime's attribute of that name be what ``with`` does on a class."""

    def make(kind: C) -> C:
        _blocks[kind] = name
        return kind

    return make


# Operations -----------------------------------------------------------------------------------------------------------


class _Operation:
    """A method of a part that is one atomic operation: the method itself, or a step of the system's runner."""

    def __init__(self, do: Callable[..., Any], mode: Mode, what: str, at: Callable[[Any, int], Any] | None) -> None:
        self.do = do
        self.mode = mode
        self.what = what
        self.at = at

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name
        self.bind(None)
        _operations.append(self)

    def bind(self, step: Callable[..., Any] | None) -> None:
        """Be a step from now on, or the method itself."""
        setattr(self.owner, self.name, wraps(self.do)(self._as_step(step)) if step else self.do)

    def _as_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        do, mode, what, at = self.do, self.mode, self.what, self.at
        if at:
            return lambda whole, *args: step(at(whole, args[0]), mode, what, lambda _, *args: do(whole, *args), *args)
        return lambda part, *args: step(part, mode, what, do, *args)


_operations: list[_Operation] = []


def outside(name: str) -> Any:
    """Make an attribute, kept as `name`, for looks from outside that are no operation of a task."""

    def get(part: Any) -> Any:
        current.runtime.peek(part)
        return getattr(part, name)

    def change(part: Any, value: Any) -> None:
        current.runtime.poke(part)
        setattr(part, name, value)

    return property(get, change)


def operation(mode: Mode, what: str, at: Callable[[Any, int], Any] | None = None) -> Callable[[F], F]:
    """Make a method of a `shared.Part` one atomic operation on it.

    Args:
        mode: how it touches the part.
        what: it is called in texts.
        at: for an operation on one element, whose index is its first argument: returns the part that this element is.
    """

    def make(do: F) -> F:
        return cast(F, _Operation(do, mode, what, at))

    return make
