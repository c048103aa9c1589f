"""Everything that touches shared state: locks, RCU, counters, lists, arrays, work, over one small runtime interface."""

from __future__ import annotations

from swaplab.kernel.sync.atomic import Atomic, PercpuRef, Pointer
from swaplab.kernel.sync.barriers import smp_mb, smp_rmb, smp_wmb
from swaplab.kernel.sync.bugs import KernelBug, KernelWarning
from swaplab.kernel.sync.direct import Direct
from swaplab.kernel.sync.elements import Array, Bitmap, Table
from swaplab.kernel.sync.lists import ListHead, ListNode, validate_list
from swaplab.kernel.sync.locks import Lock, Mutex, SpinLock
from swaplab.kernel.sync.rcu import call_rcu, kfree_rcu, rcu, rcu_barrier, synchronize_rcu
from swaplab.kernel.sync.runtime import current, install
from swaplab.kernel.sync.shared import (
    READ_ONCE,
    WRITE_ONCE,
    Part,
    Shared,
    data_race,
    is_freed,
    kfree,
    rcu_assign_pointer,
    rcu_dereference,
    smp_load_acquire,
    smp_store_release,
)
from swaplab.kernel.sync.work import (
    Work,
    WorkQueue,
    cancel_work,
    cancel_work_sync,
    flush_work,
    flush_workqueue,
    queue_work,
)
from swaplab.kernel.sync.xarray import XArray

__all__ = [
    "READ_ONCE",
    "WRITE_ONCE",
    "Array",
    "Atomic",
    "Bitmap",
    "Direct",
    "KernelBug",
    "KernelWarning",
    "ListHead",
    "ListNode",
    "Lock",
    "Mutex",
    "Part",
    "PercpuRef",
    "Pointer",
    "Shared",
    "SpinLock",
    "Table",
    "Work",
    "WorkQueue",
    "XArray",
    "call_rcu",
    "cancel_work",
    "cancel_work_sync",
    "current",
    "data_race",
    "flush_work",
    "flush_workqueue",
    "install",
    "is_freed",
    "kfree",
    "kfree_rcu",
    "queue_work",
    "rcu",
    "rcu_assign_pointer",
    "rcu_barrier",
    "rcu_dereference",
    "relax",
    "smp_load_acquire",
    "smp_mb",
    "smp_rmb",
    "smp_store_release",
    "smp_wmb",
    "synchronize_rcu",
    "validate_list",
]


def relax() -> None:
    """cpu_relax() or cond_resched() in a loop that waits for others: go on once something it has read has changed."""
    current.runtime.relax()
