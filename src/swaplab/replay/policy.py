"""Not the kernel: asking the functions of a policy of one's own, where the model would do what Linux does.

They are called by address, so that the replay is compiled once for all policies and for none. Told what there is in one
record, they write to nothing else.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from swaplab.linux.page import PAGE_SHIFT
from swaplab.replay.jit import jit, wide
from swaplab.replay.state import ENTRY_REFERENCED, State

__all__ = ["accepts_store", "gives_second_chance", "left_alone", "limits_shrinker", "preference"]

INT64 = ir.IntType(64)


def call(told: Any, address: int) -> int:
    """What the function at an address says to what it is `told` (`swaplab.policy.told.POLICY`).

    Raises:
        NotImplementedError: interpreted, there are no addresses.
    """
    raise NotImplementedError


@intrinsic
def call_address(_typing: Any, told: Any, _address: Any) -> Any:
    """Make a call by address."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        told, address = arguments
        pointer = ir.IntType(8).as_pointer()
        function = builder.inttoptr(address, ir.FunctionType(INT64, [pointer]).as_pointer())
        return builder.call(function, [builder.bitcast(told, pointer)])

    return types.int64(told, types.int64), generate


@overload(call, strict=False)
def compiled_call(told: Any, address: Any) -> Any:
    """What `call` compiles to."""
    return lambda told, address: call_address(told, address)  # type: ignore[call-arg]  # noqa: PLW0108


# What they are told ---------------------------------------------------------------------------------------------------


@jit
def tell(m: State, memcg: int) -> None:
    """Write down what there is to know of a cgroup, the pool and the machine."""
    told, zswap, lruvec = m.policy, m.zswap, m.memcgs[memcg]
    clock = wide(m.task.clock)
    told.cgroup_tag = m.rules[memcg].tag
    told.cgroup_entries = lruvec.entries
    told.cgroup_compressed_bytes = lruvec.zswap_bytes
    told.cgroup_usage = wide(lruvec.usage) << PAGE_SHIFT
    told.cgroup_memory_max = wide(lruvec.memory_max) << PAGE_SHIFT
    told.cgroup_zswpin = lruvec.zswpin
    told.cgroup_pswpin = lruvec.pswpin
    told.cgroup_zswpwb = lruvec.zswpwb
    told.cgroup_since_writeback_ns = max(0, clock - wide(m.rules[memcg].written_back_at))
    told.pool_entries = zswap.stored_pages
    told.pool_size = wide(zswap.pool_pages) << PAGE_SHIFT
    told.pool_max_size = wide(zswap.max_pages) << PAGE_SHIFT
    told.pool_accept_size = wide(zswap.accept_pages) << PAGE_SHIFT
    told.pool_free = wide(m.memory.free) << PAGE_SHIFT
    told.pool_clock_ns = clock


@jit
def tell_entry(m: State, page: int) -> None:
    """Write down what there is to know of an entry, and of who pays for it."""
    entry, told = m.folios[page], m.policy
    tell(m, wide(m.memcgs[wide(entry.memcg)].objcg))
    told.entry_length = entry.length
    told.entry_age_ns = max(0, wide(m.task.clock) - wide(m.stored_at[page]))
    told.entry_referenced = 1 if wide(entry.bits) & ENTRY_REFERENCED else 0


# What they are asked --------------------------------------------------------------------------------------------------


@jit
def accepts_store(m: State, page: int, length: int, objcg: int) -> bool:
    """Whether a page that has been compressed is kept."""
    told = m.policy
    m.stored_at[page] = m.task.clock
    if not told.accept_store or told.failed:
        return True
    tell(m, objcg)
    told.entry_length = length
    told.entry_age_ns = told.entry_referenced = 0
    return bool(call(told, wide(told.accept_store)))


@jit
def gives_second_chance(m: State, page: int) -> bool:
    """Whether an entry is passed over this time."""
    told = m.policy
    if told.failed:
        return False
    tell_entry(m, page)
    return bool(call(told, wide(told.second_chance)))


@jit
def left_alone(m: State, page: int) -> bool:
    """Whether an entry, and all that are younger, must stay for now."""
    told = m.policy
    if not told.may_write_back or told.failed:
        return False
    tell_entry(m, page)
    return not call(told, wide(told.may_write_back))


@jit
def limits_shrinker(m: State, memcg: int, count: int) -> int:
    """How many entries the shrinker is told that there are, where Linux says `count`."""
    told = m.policy
    if told.failed:
        return 0
    tell(m, memcg)
    told.linux = count
    answer = call(told, wide(told.shrinker_count))
    return 0 if told.failed else answer


@jit
def preference(m: State, memcg: int) -> int:
    """How much the worker would like to take from a cgroup, 0 for not at all."""
    told = m.policy
    if told.failed:
        return 0
    tell(m, memcg)
    answer = call(told, wide(told.worker_preference))
    return 0 if told.failed else answer
