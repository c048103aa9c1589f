"""How much memory a guest gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swaplab.vm.memory import MIB, RESERVED, USED, disk_size, min_free_kbytes, sizes_for

memories = st.integers(16, 1 << 16).map(lambda mib: mib * MIB)


@given(memories, st.integers(0, 100), st.integers(0, 300 * MIB), st.integers(0, 1 << 32), st.integers(0, MIB))
def test_the_workloads_memory_is_there_beside_everything_else(
    memory: int, percent: int, files: int, swap: int, short: int
) -> None:
    own, other, pool_percent = sizes_for(memory, percent, files, swap, short)
    assert own % MIB == other % MIB == 0
    assert own >= memory + USED + RESERVED + files + short
    assert other > swap
    assert 0 <= pool_percent <= percent
    assert (pool_percent == 0) == (percent == 0)


@given(st.integers(64, 1 << 16).map(lambda mib: mib * MIB), st.integers(10, 100))
def test_the_pools_limit_is_what_the_scenario_says(memory: int, percent: int) -> None:
    sizes = sizes_for(memory, percent, MIB, 0)
    total = (sizes.ram - RESERVED) * 56 / 57
    pool_percent = sizes.pool_percent
    assert abs(pool_percent * total / (percent * memory) - 1) < 0.09


def test_watermarks_are_those_of_the_scenarios_memory() -> None:
    assert min_free_kbytes(256 * MIB) == 2048
    assert min_free_kbytes(MIB) == 128
    assert min_free_kbytes(1 << 42) == 262144


def test_a_disk_has_room_for_its_header() -> None:
    assert disk_size(16 * MIB) == 17 * MIB
    assert disk_size(16 * MIB - 4096) == 16 * MIB
