"""Laws that hold in any scenario at any time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.replay.lab import Lab, entries_head_of
from tests.replay.scenarios import seeded_scenario, small_scenario
from tests.replay.stepping import check_all, fork_some, free_some, make_all, run_checked, share_some
from tests.replay.validate import counters, states, validate

from swaplab.replay import Replay, replay
from swaplab.replay.shmem import shmem_truncate_range
from swaplab.replay.state import COMPRESSED, COUNTERS, DIGITS, RESIDENT, STORES_MAX, State
from swaplab.replay.stats import read_stats
from swaplab.replay.unmap import exit_mmap, munmap
from swaplab.scenario.model import Scenario, Workload

# Scenarios in which much happens in few scans: interpreted, a scan takes a thousand times as long.
SEEDS = (4, 6, 8, 9, 10, 11, 14, 16, 17, 18, 19, 20, 24, 25, 29, 35, 38, 49, 54, 57)
# A cgroup is removed that has entries which nobody has looked at.
REMOVED_BEFORE_A_WALK = (64, 78, 313)
STEP = 11
WINDOW = {"window", "missing", "written"}
OF_FILES = [f"workingset_{what}_file" for what in ("refault", "activate", "restore")]


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data(), st.integers(1, 9))
def test_nothing_is_lost_or_counted_twice(data: st.DataObject, step: int) -> None:
    run_checked(small_scenario(lambda bound: data.draw(st.integers(0, bound - 1))), step)


def test_seeded_scenarios_keep_the_laws_and_reach_every_counter() -> None:
    """Laws that nothing exercises would hold of themselves; so all that can happen has to."""
    reached = np.zeros(len(COUNTERS), np.int64)
    machine = dict.fromkeys(("pool_limit_hit", "written_back_pages", "reject_compress_fail"), 0)
    for seed in range(100, 160):
        m = run_checked(seeded_scenario(seed), 3 * STEP).machine
        reached += [int(m.memcgs[name].sum()) for name in COUNTERS]
        for name in machine:
            machine[name] += int(m.zswap[name])
    assert [name for name, count in zip(COUNTERS, reached, strict=True) if not count] == OF_FILES
    assert all(machine.values()), machine


def with_object(scenario: Scenario) -> Scenario:
    """The scenario with a last workload that makes next to no accesses: its pages are those of shared memory."""
    last = Workload(cgroup="", pages=60, accesses=1, content=scenario.workloads[0].content)
    return msgspec.structs.replace(scenario, workloads=(*scenario.workloads, last))


def operate(seed: int) -> tuple[State, Counter[str]]:
    """Run a seed's scenario, in which memory is freed, forked and shared at any time; and what was seen of it."""
    random = np.random.default_rng(seed)
    seen: Counter[str] = Counter()
    choices = (fork_some, fork_some, free_some, free_some, share_some)
    run = Replay(with_object(seeded_scenario(seed)))
    m = run.machine
    m.task_memcg[-1] = -1

    def between(run: Replay) -> None:
        choices[random.integers(len(choices))](run, random)
        shared = states(m)[m.sizes.nr_pages :]
        owners, shmem = m.rmaps["owners"], m.rmaps["shmem"] != 0
        seen["resident"] += int(((shared == RESIDENT) & ~shmem & (owners > 2)).sum())
        seen["in zswap"] += int(((shared == COMPRESSED) & ~shmem & (owners > 1)).sum())
        seen["nobody's"] += int(((shared == RESIDENT) & (owners == 0)).sum())
        seen["shared memory"] += int(((shared == RESIDENT) & shmem & (owners > 2)).sum())
        seen["shared memory in zswap"] += int(((shared == COMPRESSED) & shmem).sum())

    check_all(run, STEP, between)
    return m, seen


def test_what_is_freed_forked_and_shared_at_any_time_is_free_once() -> None:
    """And when all have exited, and shared memory is gone, so is all memory but what is being written."""
    seen: Counter[str] = Counter()
    for seed in range(100, 140):
        m, of_run = operate(seed)
        seen += of_run
        for task in range(len(m.task_memcg) - 1):
            exit_mmap(m, task)
        shmem_truncate_range(m, int(m.task_first[-2]), int(m.task_first[-1]))
        validate(m)
        assert m.memory.free == m.memory.totalram - m.sizes.shared_folios
    assert len(seen) == 5
    assert min(seen.values()) > 50, seen


def test_memory_that_was_freed_is_touched_as_if_for_the_first_time() -> None:
    """All counts, and the time, of a second round are those of the first, whose costs swappiness 200 ignores."""
    lab = Lab(512, memory_max=300, swappiness=200)
    before, rounds = counters(lab.machine), []
    for _ in range(2):
        lab.touch(range(512))
        munmap(lab.machine, 0, 512)
        read_stats(lab.machine)
        validate(lab.machine)
        after = counters(lab.machine)
        rounds.append((after - before).tolist())
        before = after
    assert rounds[0] == rounds[1]
    assert lab.count("zswpout") > 400


def test_the_laws_notice_a_lost_page() -> None:
    m = run_checked(seeded_scenario(100), 50).machine
    m.memory.free += 1
    with pytest.raises(AssertionError, match="free is"):
        validate(m)


def state_of(m: State) -> dict[str, bytes]:
    """All there is, but for what is only there to be fast."""
    m.task.made = m.task.settled = m.task.reclaimed = m.zswap.stores = 0
    on_no_list = np.flatnonzero(~np.isin(states(m), (RESIDENT, COMPRESSED)))
    m.folios["next"][on_no_list] = m.folios["prev"][on_no_list] = 0
    return {name: array.tobytes() for name, array in m.arrays.items() if name not in WINDOW}


def test_a_block_of_accesses_leaves_what_they_leave_one_by_one() -> None:
    """What faults is known a block ahead, and accessed bits are set at its end: nobody may ever see a difference."""
    killed = 0
    for seed in range(100, 160):
        at_once, single = Replay(seeded_scenario(seed)), Replay(seeded_scenario(seed))
        make_all(at_once)
        make_all(single, 1)
        assert state_of(at_once.machine) == state_of(single.machine)
        killed += at_once.machine.memcgs["oom_kill"].sum()
    assert killed


@pytest.mark.parametrize("numbered", [0, DIGITS**2 - 40, STORES_MAX - 40])
def test_entries_that_are_linked_late_are_in_the_order_of_those_linked_at_once(numbered: int) -> None:
    """When somebody looks, at the end, or when all numbers were given out; also where all digits of these change."""
    late = []
    for seed in (*range(100, 160), *REMOVED_BEFORE_A_WALK):
        run, at_once = Replay(seeded_scenario(seed)), Replay(seeded_scenario(seed))
        run.machine.zswap.stores = numbered
        at_once.machine.zswap.entries_linked = 1
        make_all(run)
        make_all(at_once)
        late.append(not run.machine.zswap.entries_linked)
        assert run.machine.zswap.stores <= STORES_MAX
        entries_head_of(run.machine, 0)
        assert state_of(run.machine) == state_of(at_once.machine)
    assert any(late)
    assert not all(late)


RUN_SEEDS = """
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from swaplab.replay import replay
from tests.replay.scenarios import seeded_scenario
for seed in map(int, sys.argv[2:]):
    replay(seeded_scenario(seed)).write(Path(sys.argv[1], f"{seed}.parquet"))
"""


def results_of_process(directory: Path, seeds: Sequence[int], **environment: str) -> list[bytes]:
    """Files that another process writes for the scenarios of some seeds."""
    directory.mkdir()
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", RUN_SEEDS, str(directory), *map(str, seeds)]
    subprocess.run(command, env=os.environ | environment, cwd=root, check=True)  # noqa: S603
    return [(directory / f"{seed}.parquet").read_bytes() for seed in seeds]


def results_here(directory: Path, seeds: Sequence[int]) -> list[bytes]:
    for seed in seeds:
        replay(seeded_scenario(seed)).write(directory / f"{seed}.parquet")
    return [(directory / f"{seed}.parquet").read_bytes() for seed in seeds]


def test_interpreted_and_compiled_agree_byte_for_byte(tmp_path: Path) -> None:
    few = SEEDS[::5]  # interpreted they take long; all are run by make quality
    assert results_of_process(tmp_path / "interpreted", few, NUMBA_DISABLE_JIT="1") == results_here(tmp_path, few)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_same_seed_same_bytes_in_any_process(tmp_path: Path, hash_seed: str) -> None:
    few = range(5)
    assert results_of_process(tmp_path / "other", few, PYTHONHASHSEED=hash_seed) == results_here(tmp_path, few)


def test_another_seed_gives_another_result(tmp_path: Path) -> None:
    first, second, *_ = results_here(tmp_path, range(2))
    assert first != second
