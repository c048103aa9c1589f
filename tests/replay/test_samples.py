"""Samples become the same table however many there are, and however little room they had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swaplab.linux.release import Release
from swaplab.replay import Replay
from swaplab.replay.samples import OF_CGROUPS, Samples
from swaplab.report.run import CGROUPS_MAX, fault_table
from swaplab.result import Result
from swaplab.result.counters import LEVELS, MACHINE
from swaplab.scenario.accesses import Chunk
from swaplab.scenario.load import parse_scenario

TEXT = """
machine.memory = "4M"
zswap.enabled = true
[cgroup.a]
memory.max = "600K"
[cgroup."a/b"]
[cgroup.c]
[[workload]]
cgroup = "a/b"
pages = 200
accesses = 3000
write_fraction = 0.5
content = { ratio = 3.0 }
"""


@pytest.mark.parametrize("room", [1, 2, 7, 100])
def test_a_table_has_every_sample_however_little_room_there_was(room: int) -> None:
    run = Replay(parse_scenario(TEXT, "x.toml", Path()))
    run._samples = Samples(run.machine, run._shown, room, Release(7, 2))
    last = []
    for chunk in np.array_split(next(run.accesses.chunks()).accesses, 10):
        run.access(Chunk(chunk))
        run.sample()
        last.append(run._samples.last())
    result = run.result()
    assert result.cgroups == ["", "a", "a/b", "c"]
    assert len(result.samples) == 40
    for number, path in enumerate(result.cgroups):
        series = result.series(path)
        assert series["access"].to_pylist() == [300 * (i + 1) for i in range(10)]
        for name in OF_CGROUPS:
            assert series[name].to_pylist() == [int(each[name][number]) for each in last], name
        for name in MACHINE:
            assert (series[name].null_count == 0) == (not path)
    below = {path: result.final(path) for path in result.cgroups}
    assert below["a"]["zswpout"] == below["a/b"]["zswpout"] > 0
    assert below["a"]["anon"] == below["a/b"]["anon"] > 0
    assert all(below["c"][name] == 0 for name in LEVELS if name != "memory.current")
    with pytest.raises(KeyError):
        result.final("none")
    assert len(result.series("none")) == 0


def test_of_many_cgroups_the_largest_are_shown() -> None:
    names = [f"c{i}" for i in range(CGROUPS_MAX + 50)]
    text = TEXT.replace("[cgroup.c]", "".join(f"[cgroup.{name}]\n" for name in names)).replace("a/b", "z/b")
    run = Replay(parse_scenario(text.replace("[cgroup.a]", "[cgroup.z]"), "x.toml", Path()))
    run.access(next(run.accesses.chunks()))
    run.sample()
    result: Result = run.result()
    shown = [row[0] for row in fault_table(result).rows if row]
    assert {"z", "z/b"} < set(shown)
    assert shown[-2:] == ["52 more in --json", "machine"]
