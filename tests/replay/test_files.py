"""Files in the page cache: the laws, and what is refused. Compiling it, which is done apart, would take longer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.replay.scenarios import seeded_scenario
from tests.replay.stepping import run_checked
from tests.replay.validate import states

from swaplab.errors import UnsupportedError
from swaplab.linux.page import PAGE_SIZE
from swaplab.replay import Replay, replay
from swaplab.replay.build import refuse
from swaplab.replay.state import RESIDENT
from swaplab.scenario.accesses import Chunk
from swaplab.scenario.load import load_scenario, parse_scenario
from swaplab.scenario.model import Event, Machine, Scenario, Swap, Workload

FILE = Workload(pages=4, accesses=1, kind="file", advice="random", cgroup="a")
LOOP = """
machine.memory = "1M"
swap.size = "1M"
[cgroup.a]
memory.max = "256K"
[[workload]]
cgroup = "a"
kind = "file"
advice = "random"
pages = {pages}
accesses = {accesses}
pattern = "{pattern}"
"""
INTERPRETED = "from tests.replay import test_files; import sys; getattr(test_files, sys.argv[1])()"


def interpreted(check: Callable[[], None]) -> Any:
    """What a check of this module writes as JSON, in a process that compiles nothing."""
    command = [sys.executable, "-c", INTERPRETED, check.__name__]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, check=True, stdout=subprocess.PIPE)  # noqa: S603
    return json.loads(done.stdout)


def with_files(seed: int) -> Scenario:
    """A seed's scenario, some of whose workloads read files."""
    scenario, replace = seeded_scenario(seed), msgspec.structs.replace
    chosen = np.random.default_rng(seed).integers(2, size=len(scenario.workloads))
    chosen[0] = 1
    workloads = tuple(
        replace(each, kind="file", advice=("random", "normal")[i % 2], write_fraction=0.0) if is_file else each
        for i, (each, is_file) in enumerate(zip(scenario.workloads, chosen, strict=True))
    )
    readers = {each.cgroup for each in workloads if each.kind == "file"}
    events = tuple(replace(each, exit=False, remove=False) for each in scenario.events if each.cgroup not in readers)
    machine = replace(scenario.machine, kernel="6.12", lru="classic")
    # Of what waits in a batch, up to 30 pages, nothing can be reclaimed.
    cgroups = {
        path: replace(each, memory_max=each.memory_max + 40 * PAGE_SIZE) if each.memory_max else each
        for path, each in scenario.cgroups.items()
    }
    return replace(scenario, machine=machine, cgroups=cgroups, workloads=workloads, events=events)


def keep_the_laws() -> None:
    """Write what seeded scenarios with files have counted."""
    reached: dict[str, int] = {}
    names = ("refault_file", "activate_file", "refault_anon")
    for seed in range(200, 204):
        scenario = with_files(seed)
        if scenario.swap.device == "zram":
            continue
        m = run_checked(scenario, 23).machine
        for name in (*(f"workingset_{name}" for name in names), "pgsteal", "pswpout"):
            reached[name] = reached.get(name, 0) + int(m.memcgs[name].sum())
    sys.stdout.write(json.dumps(reached))


def read_in_order() -> None:
    """Write what files as large as memory, and larger, have counted that are read in order again and again."""
    found = []
    for pages, accesses, pattern in ((50, 300, "scan"), (100, 400, "scan"), (100, 1000, "zipf")):
        run = Replay(parse_scenario(LOOP.format(pages=pages, accesses=accesses, pattern=pattern), "x", Path()))
        for chunk in run.accesses.chunks():
            run.access(chunk)
        m = run.machine
        resident = int((states(m) == RESIDENT).sum())
        found.append([resident, *(int(m.memcgs[name][1]) for name in ("active_file", "workingset_refault_file"))])
    sys.stdout.write(json.dumps(found))


def read_ahead() -> None:
    """Write how many pages of a file are in the cache after each of some reads."""
    run = Replay(
        parse_scenario(LOOP.format(pages=60, accesses=1, pattern="scan").replace("random", "normal"), "x", Path())
    )
    found = []
    for page in (50, 30, 0, 1, 2, 4, 12, 13):
        run.access(Chunk(np.array([page << 1], np.uint32)))
        found.append(int((states(run.machine) == RESIDENT).sum()))
    sys.stdout.write(json.dumps(found))


def test_who_reads_on_has_more_and_more_read_ahead() -> None:
    alone, also_alone, *in_order = interpreted(read_ahead)
    assert (alone, also_alone) == (1, 2)
    # 4 pages, 8 more, 16 more, and 32 more of which two are there and 60 is the end.
    assert in_order == [6, 14, 14, 30, 60, 60]


def test_nothing_is_lost_or_counted_twice() -> None:
    reached = interpreted(keep_the_laws)
    assert all(reached.values()), reached


def test_what_fits_is_read_once_and_what_does_not_is_never_there() -> None:
    fits, loops, skewed = interpreted(read_in_order)
    assert fits == [50, 31, 0], "all is to be active from the second use on, a batch of it is"
    assert loops[2] > 250, "the LRU's worst case"
    assert skewed[2] < 500, "what is used often stays"
    assert skewed[1] > 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"machine": Machine(kernel="7.2")}, "machine.kernel: the replay models file memory of 6.12, found 7.2"),
        ({"machine": Machine(lru="mglru")}, 'machine.lru: .*classic lists, found "mglru"'),
        ({"swap": Swap(device="zram")}, 'swap.device: files need a device, found "zram"'),
        ({"events": (Event(at=1, cgroup="a", exit=True),)}, r"event\[0\]: the replay does not model that"),
        ({"events": (Event(at=1, cgroup="a", remove=True),)}, r"event\[0\]: the replay does not model that"),
    ],
)
def test_what_is_not_modelled_is_refused(changed: dict[str, Any], said: str) -> None:
    refuse(Scenario(workloads=(FILE,)))
    with pytest.raises(UnsupportedError, match=said):
        refuse(Scenario(**{"workloads": (FILE,), **changed}))


def test_the_swap_cache_is_no_memory_of_files() -> None:
    """NR_FILE_PAGES of a cgroup leaves it out (mm/swap_state.c:add_to_swap_cache)."""
    found = replay(load_scenario(Path(__file__).parents[2] / "scenarios/fidelity/zipf.toml")).final()
    assert found["swapcached"] > 0
    assert found["file"] == 0
