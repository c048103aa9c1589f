"""The one interface under all shared state: who runs the system decides what an operation on it is.

`Direct` (one thread, almost free), `Threads` (real threads on real bytes) and the explorer (every operation is a
scheduling point) implement it. The objects of this package call whichever is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

__all__ = ["ACQUIRE", "COMMUTE", "PLAIN", "READ", "RELEASE", "WRITE", "Runtime", "current", "install", "operation"]

READ = 1
"""Operations that only read do not depend on each other,"""
WRITE = 2
"""one that writes depends on all others,"""
COMMUTE = 4
"""and additions whose result nobody looks at do not depend on each other, but on reads."""
ACQUIRE = 8
"""What another task released here is seen from now on."""
RELEASE = 16
"""What this task did so far is seen by who acquires here."""
PLAIN = 32
"""Neither atomic nor marked: a data race where nothing else orders it."""

F = TypeVar("F", bound=Callable[..., Any])


class Runtime(Protocol):
    """What shared state needs of who runs it.

    A part is a `shared.Part`, a thing a `shared.Shared`, a lock a `locks.Lock`, work a `work.Work`: they call this, so
    it does not import them.
    """

    @property
    def step(self) -> Callable[..., Any] | None:
        """Called with part, mode, what and do of an `operation`, and its arguments: do it, as ``do(part, *args)``.

        None where it is no step to anybody: then it is just done. An operation on a list is one on the entries and
        lists among its arguments too.
        """

    def acquire(self, lock: Any) -> None:
        """Take a lock, waiting for it."""

    def try_acquire(self, lock: Any) -> bool:
        """Take a lock if it is free."""

    def release(self, lock: Any) -> None:
        """Give a lock back."""

    def abandon(self, lock: Any) -> None:
        """Leave a lock, or an RCU read section for None, because of an exception."""

    def rcu_read_lock(self) -> None:
        """Begin an RCU read section; sections nest."""

    def rcu_read_unlock(self) -> None:
        """End it."""

    def synchronize_rcu(self) -> None:
        """Wait until all RCU read sections that have begun are over."""

    def call_rcu(self, work: Any) -> None:
        """Run `work` once they are, without waiting for it."""

    def queue_work(self, work: Any) -> None:
        """Run `work` some time from now, on its queue."""

    def flush_work(self, work: Any) -> None:
        """Wait until `work` has run."""

    def relax(self) -> None:
        """Let others go on, before a loop tries again what depends on them: cpu_relax(), cond_resched()."""

    def might_sleep(self, what: str) -> None:
        """Insist on a context that may sleep."""

    def free(self, thing: Any) -> None:
        """End the life of an object."""

    def fails(self, kind: str) -> bool:
        """Whether this allocation, compression or device access is made to fail."""


class Installed:
    """Holds the runtime, so that modules which import it see it change."""

    runtime: Runtime


current = Installed()


def _use(runtime: Runtime) -> None:
    current.runtime = runtime
    for each in _operations:
        each.bind(runtime.step)


@contextmanager
def install(runtime: Runtime) -> Iterator[None]:
    """Let `runtime` run what is called inside the block."""
    before = current.runtime
    _use(runtime)
    try:
        yield
    finally:
        _use(before)


# Operations -----------------------------------------------------------------------------------------------------------


class _Operation:
    """A method of a part that is one atomic operation: the method itself, or a step of whoever runs the system."""

    def __init__(self, do: Callable[..., Any], mode: int | Callable[[Any], int], what: str) -> None:
        self.do = do
        self.mode = mode
        self.what = what

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name
        self.bind(None)
        _operations.append(self)

    def bind(self, step: Callable[..., Any] | None) -> None:
        """Be a step from now on, or the method itself."""
        do, mode, what = self.do, self.mode, self.what
        bound = wraps(do)(lambda part, *args: step(part, mode, what, do, *args)) if step else do
        setattr(self.owner, self.name, bound)


_operations: list[_Operation] = []


def operation(mode: int | Callable[[Any], int], what: str) -> Callable[[F], F]:
    """Make a method of a `shared.Part` one atomic operation on it.

    Args:
        mode: how it touches the part; called with the part when it is done if that depends on then.
        what: it is called in texts.
    """

    def make(do: F) -> F:
        return cast(F, _Operation(do, mode, what))

    return make
