"""One table says what counters are; here it is said once more, so that no two can be taken for each other."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
import pytest

from swaplab.linux.release import MODELLED, Modelled, Release
from swaplab.replay import replay
from swaplab.replay.build import build, compressed_contents
from swaplab.replay.samples import Samples
from swaplab.replay.state import MEMCG, MEMORY, ZSWAP
from swaplab.result import SCHEMA
from swaplab.result.counters import BY_NAME, COUNTERS, DEBUGFS, EVENTS, JUDGED, JUDGED_OF_FILES, LEVELS, MACHINE, TIMES
from swaplab.scenario.accesses import Accesses
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.load import parse_scenario
from swaplab.vm.readings import parse, table
from swaplab.vm.script import watched_files

SCENARIO = parse_scenario('cgroup.a = {}\n[[workload]]\ncgroup = "a"\npages = 1\naccesses = 1\n', "x.toml", Path())
OF_MEMCG = {
    **{name: name for name in ("pgfault", "pgmajfault", "pgscan", "pgsteal", "pgactivate", "pgdeactivate", "pgrefill")},
    **{f"workingset_{name}_anon": f"workingset_{name}_anon" for name in ("refault", "activate", "restore")},
    **{f"workingset_{name}_file": f"workingset_{name}_file" for name in ("refault", "activate", "restore")},
    **{name: name for name in ("pswpin", "pswpout", "swpin_zero", "swpout_zero", "zswpin", "zswpout", "zswpwb")},
    "memory.events.high": "high",
    "memory.events.max": "max_events",
    "memory.events.oom": "oom",
    "memory.events.oom_kill": "oom_kill",
    "memory.swap.events.max": "swap_max_events",
    **{f"{name}_ns": f"{name}_ns" for name in ("compress", "decompress", "device", "reclaim", "fault", "throttle")},
    "memory.current": "usage",
    "memory.swap.current": "swap",
    "anon": "anon",
    "inactive_anon": "inactive",
    "active_anon": "active",
    "swapcached": "swapcached",
    **{name: name for name in ("file", "inactive_file", "active_file")},
    "zswap": "zswap_bytes",
    "zswapped": "zswapped",
    "zswap_incomp": "incompressible",
}
"""Columns, and the replay's fields that they are of."""
OF_MACHINE = {
    "free": ("memory", "free"),
    "pool_total_size": ("zswap", "pool_pages"),
    **{name: ("zswap", name) for name in ("stored_pages", "pool_limit_hit", "written_back_pages")},
    **{f"reject_{name}_fail": ("zswap", f"reject_{name}_fail") for name in ("reclaim", "alloc", "compress")},
    **{name: ("zswap", name) for name in ("stored_incompressible_pages", "decompress_fail")},
}
NEWER = ("stored_incompressible_pages", "decompress_fail")
IN_PAGES = {*LEVELS, "free", "pool_total_size"} - {"zswap"}


def test_no_two_are_the_same() -> None:
    assert len(BY_NAME) == len(COUNTERS)
    fields = [(each.whose, each.field) for each in COUNTERS if each.field]
    assert len(set(fields)) == len(fields)
    assert [*EVENTS, *LEVELS, *MACHINE] == [*OF_MEMCG, *OF_MACHINE]
    assert SCHEMA.names == ["access", "time_ns", "cgroup", *BY_NAME]


def test_a_replays_field_becomes_its_own_column() -> None:
    """Every field has a number that no other has."""
    accesses = Accesses(SCENARIO)
    m = build(SCENARIO, accesses, DEFAULT_COST, compressed_contents(SCENARIO, accesses))
    for number, name in enumerate(MEMCG.names or ()):
        if name not in ("parent", "end", "online", "unused"):
            m.memcgs[name][1] = 100 + number
            m.memcgs[name][0] = 1000 * (100 + number) if name in ("usage", "swap") else 0
    for base, (dtype, record) in enumerate(((MEMORY, m.memory), (ZSWAP, m.zswap))):
        for number, name in enumerate(dtype.names or ()):
            record[name] = 5000 + 100 * base + number
    samples = Samples(m, [0, 1], 1, Release(7, 2))
    samples.add(7)
    root, a = samples.table(["", "a"]).to_pylist()
    assert (a["access"], a["time_ns"]) == (7, m.task.clock)
    m.memcgs["file"] += m.memcgs["shmem"]
    for name, field in OF_MEMCG.items():
        assert a[name] == m.memcgs[field][1] * (4096 if name in IN_PAGES else 1), name
        below = 1000 if field in ("usage", "swap") else 1
        assert root[name] == a[name] * below, name
    for name, (record, field) in OF_MACHINE.items():
        assert root[name] == getattr(m, record)[field] * (4096 if name in IN_PAGES else 1), name
        assert a[name] is None


def test_a_kernels_file_becomes_its_own_column() -> None:
    """Every number of every file is one that no other has."""
    watched = watched_files(SCENARIO)
    stat = [name for name in OF_MEMCG if "." not in name and name not in TIMES]
    number = {name: 100 + i for i, name in enumerate(BY_NAME)}

    def text(name: str) -> str:
        if name == "memory.stat":
            return "unevictable 0\n" + "".join(f"{each} {number[each]}\n" for each in stat)
        if name.endswith("events"):
            keys = [each.removeprefix(f"{name}.") for each in OF_MEMCG if each.startswith(f"{name}.")]
            return "".join(f"{key} {number[f'{name}.{key}']}\n" for key in keys)
        known = {
            "vmstat": f"pswpin {number['pswpin']}\npswpout {number['pswpout']}\noom_kill 5\n",
            "meminfo": "MemFree: 3 kB\nSwapTotal: 9 kB\nSwapFree: 2 kB\n",
            "zoneinfo": " count: 1\n",
        }
        return known.get(name) or f"{number[name]}\n"

    files = [text(each.name) for each in watched]
    zeros = ["".join(f"{line.split()[0]} 0\n" for line in each.splitlines()) for each in files]
    zeros = ["0\n" if len(each.split()) == 1 else zero for each, zero in zip(files, zeros, strict=True)]
    first, last = (parse({"sample": i, "ns": i, "files": each}, watched) for i, each in enumerate((zeros, files)))
    root, a = table(first, [last], ["", "a"]).to_pylist()
    for name in (*stat, "memory.current", "memory.swap.current"):
        assert a[name] == number[name], name
    for name in chain(stat, DEBUGFS):
        assert root[name] == number[name], name
    assert (root["free"], root["memory.events.oom_kill"], root["memory.swap.current"]) == (3 * 1024 + 4096, 5, 7 * 1024)
    assert [a[name] for name in OF_MEMCG if "events" in name] == [number[n] for n in OF_MEMCG if "events" in n]
    assert not [name for name in TIMES if a[name] is not None]


def test_what_is_judged() -> None:
    assert set(JUDGED) == {
        *("zswpin", "zswpout", "zswpwb", "pswpin", "pswpout", "pgmajfault"),
        *("zswap", "zswapped", "anon", "memory.current", "pool_total_size"),
    }
    assert set(JUDGED_OF_FILES) == {
        *("file", "inactive_file", "active_file", "workingset_refault_file", "pgscan", "pgsteal"),
    }


@pytest.mark.parametrize(
    ("release", "lacking"),
    [
        ("6.1", {"zswpwb", "swpin_zero", "swpout_zero", "reject_compress_fail", *NEWER, "zswap_incomp"}),
        ("6.12", {*NEWER, "zswap_incomp"}),
        ("6.18", {"zswap_incomp"}),
        ("7.2", set()),
    ],
)
def test_kernels_count_what_was_seen_in_guests(release: str, lacking: set[str]) -> None:
    assert {each.name for each in COUNTERS if not each.is_counted_by(Release.parse(release))} == lacking


@pytest.mark.parametrize("release", MODELLED)
def test_a_replay_has_what_the_release_counts_that_it_models(release: Modelled) -> None:
    machine = msgspec.structs.replace(SCENARIO.machine, kernel=release)
    table = replay(msgspec.structs.replace(SCENARIO, machine=machine)).samples
    found = {name for name in BY_NAME if table.column(name).null_count < len(table)}
    assert found == {each.name for each in COUNTERS if each.is_counted_by(Release.parse(release))}
    assert np.dtype(MEMCG).itemsize == 512
