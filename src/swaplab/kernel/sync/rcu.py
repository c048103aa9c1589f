"""Read-copy-update: read sections, grace periods, and what runs after them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swaplab.kernel.sync.runtime import block, current
from swaplab.kernel.sync.shared import Shared, kfree
from swaplab.kernel.sync.work import Deferred

__all__ = ["call_rcu", "kfree_rcu", "rcu", "rcu_barrier", "synchronize_rcu"]


@block("rcu_block")
class _ReadSection:
    """``with rcu:`` is an RCU read section; they nest."""

    __slots__ = ()

    def __enter__(self) -> None:
        """rcu_read_lock."""

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """rcu_read_unlock, as of a lock."""


rcu = _ReadSection()


def synchronize_rcu() -> None:
    """Wait until all read sections that have begun are over. May sleep."""
    current.runtime.synchronize_rcu()


def call_rcu(function: Callable[..., object], *args: Any) -> None:
    """Call a function, which must not sleep, once all read sections that have begun are over."""
    current.runtime.call_rcu(Deferred(function, args, True))


def kfree_rcu(thing: Shared) -> None:
    """Free an object once no read section can still see it. rcu_barrier() does not wait for that."""
    current.runtime.call_rcu(Deferred(kfree, (thing,), False))


def rcu_barrier() -> None:
    """Wait until all functions have returned that call_rcu() was given by now. May sleep."""
    current.runtime.might_sleep("rcu_barrier")
    current.runtime.rcu_barrier()
