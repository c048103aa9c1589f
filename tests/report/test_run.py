"""Tables and sentences from results made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from swaplab.report.charts import miss_charts
from swaplab.report.parts import Part
from swaplab.report.run import (
    comparison,
    comparison_table,
    duration,
    fault_table,
    heading,
    killed,
    memory_table,
)
from swaplab.report.terminal import rendered
from swaplab.result import SCHEMA, Result, RunInfo
from swaplab.result.counters import EVENTS, LEVELS, MACHINE
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.device import DEVICES
from swaplab.scenario.misses import MissCurve
from swaplab.scenario.model import BASELINES, Cgroup, Machine, Scenario, Swap, Workload, Zswap

MS = 1_000_000
MIB = 1 << 20
KILLED: dict[str, Any] = {"memory.events.oom_kill": 1}
LONGEST = "a-slice/of-names"
BIG = 98_765_432


def make(
    configuration: str = "",
    cgroups: dict[str, dict[str, int]] | None = None,
    cost: str = "here",
    of: Scenario | None = None,
    **machine: int,
) -> Result:
    """A result of one sample; counters that are not given are 0. `_ns` alone stands for the time lost."""
    rows = []
    for path, values in {"": machine, **(cgroups or {})}.items():
        row: dict[str, object] = dict.fromkeys((*EVENTS, *LEVELS), 0) | {"access": 100, "time_ns": 5, "cgroup": path}
        row |= dict.fromkeys(MACHINE, None if path else 0)
        rows.append(row | {{"lost": "device_ns"}.get(name, name): value for name, value in values.items()})
    columns = {name: [row.get(name) for row in rows] for name in SCHEMA.names}
    info = RunInfo(
        engine="replay",
        release="6.12",
        scenario=of or scenario(swap=Swap(device="zram" if configuration == "zram" else DEVICES["nvme"])),
        configuration=configuration,
        accesses=100,
        cost=msgspec.structs.replace(DEFAULT_COST, source=cost),
    )
    return Result(info, pa.table(columns, SCHEMA))


def scenario(**parts: object) -> Scenario:
    given = {"machine": Machine(memory=MIB), "zswap": Zswap(enabled=True), "workloads": (Workload(),)} | parts
    return Scenario(**given)  # type: ignore[arg-type]


def lines(part: Part, width: int = 80) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(rendered(part))
    return capture.get().splitlines()


def rows(part: Part) -> dict[str, list[str]]:
    """Cells of a table by the first of the row."""
    return {line.split()[0]: line.split()[1:] for line in lines(part) if line.strip()}


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1500, "1.50 us"),
        (12_345_678, "12.3 ms"),
        (123_456_789, "123 ms"),
        (90 * 10**9, "1.50 min"),
        (100 * 3600 * 10**9, "100 h"),
    ],
)
def test_durations(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"zswap": Zswap()}, "no zswap, "),
        ({"zswap": Zswap(), "swap": Swap(device="zram")}, "zram with lzo, "),
        ({"zswap": Zswap(enabled=True, compressor="zstd")}, "zswap with zstd, pool up to 20%, shrinker off, "),
        (
            {"zswap": Zswap(enabled=True, lru="global", shrinker_enabled=True)},
            "zswap with lzo, pool up to 20%, shrinker on, one LRU for all, ",
        ),
    ],
)
def test_heading(parts: dict[str, object], said: str) -> None:
    assert heading(make(of=scenario(name="shop", **parts))) == (
        f"shop: 100 accesses on 1M of memory, {said}1G of swap. "
        "Replayed by a model of Linux 6.12, not measured on one. Costs: here."
    )


def test_a_trace_that_nobody_saw_is_said_to_be_reconstructed() -> None:
    result = make()
    told = {"a.parquet": "from 9 samples", "b": "from 8", "c": "from 7"}
    info = msgspec.structs.replace(result.info, reconstructed=told)
    end = "a.parquet is reconstructed from 9 samples. b is reconstructed from 8. So are others."
    assert heading(Result(info, result.samples)).endswith(end)
    assert info.summary()["reconstructed"] == told
    assert "reconstructed" not in heading(result)


def test_heading_without_a_name_or_a_source_of_costs() -> None:
    said = heading(make(cost=""))
    assert said.startswith("scenario: 100 accesses")
    assert said.endswith("Costs: their file does not say where they were measured.")


def test_a_source_of_costs_cannot_command_the_terminal() -> None:
    assert heading(make(cost="\x1b[31mred\n")).endswith("Costs: ?[31mred?.")


# Tables ---------------------------------------------------------------------------------------------------------------


def test_memory_of_a_cgroup_is_its_bytes_and_of_the_machine_the_pool() -> None:
    result = make(
        cgroups={"a": {"anon": 3 * MIB, "zswapped": 2 * MIB, "zswap": MIB}, "a/b": {}},
        anon=3 * MIB,
        zswapped=2 * MIB,
        zswap=MIB,
        pool_total_size=MIB + MIB // 2,
        of=scenario(cgroups={"a": Cgroup(memory_max=5 * MIB), "a/b": Cgroup()}),
    )
    found = rows(memory_table(result))
    assert found["a"] == ["5M", "3.00M", "2.00M", "1.00M", "1.00M"]
    assert found["a/b"] == ["-"] * 5
    assert found["machine"] == ["-", "3.00M", "2.00M", "1.50M", "512K"]


def test_a_pool_that_takes_more_than_it_holds_saves_less_than_nothing() -> None:
    found = rows(memory_table(make(zswapped=4096, pool_total_size=8192)))
    assert found["machine"][-1] == "-4.00K"


def test_zram_is_compressed_memory_and_no_disk() -> None:
    cgroups = {"a": {"pswpin": 7, "pswpout": 9, "lost": MS}}
    of = scenario(cgroups={"a": Cgroup()}, swap=Swap(device="zram"))
    result = make("zram", cgroups, of=of, pswpin=7, pswpout=9, lost=MS, stored_pages=512, pool_total_size=MIB)
    memory = rows(memory_table(result))
    assert memory["a"] == ["-"] * 5
    assert memory["machine"] == ["-", "-", "2.00M", "1.00M", "1.00M"]
    assert rows(fault_table(result))["machine"] == ["7", "-", "-", "-", "1.00", "ms"]
    assert rows(comparison_table([result]))["zram"] == ["2.00M", "1.00M", "7", "-", "-", "1.00", "ms"]


def test_faults() -> None:
    counts = {"zswpin": 1234, "pswpin": 5, "zswpwb": 6, "pswpout": 7, "lost": 8 * MS}
    assert rows(fault_table(make(cgroups={"a": counts})))["a"] == ["1,234", "5", "6", "7", "8.00", "ms"]


def test_where_a_workload_was_killed_there_is_no_time() -> None:
    died = make("off", lost=MS, **KILLED)
    assert rows(comparison_table([make(lost=MS), died]))["off"] == ["-", "-", "-", "-", "-", "killed"]


def test_names_mean_what_they_say() -> None:
    name = "[red]a:heart:"
    result = make(cgroups={name: {}}, of=scenario(cgroups={name: Cgroup()}))
    assert name in rows(memory_table(result))
    assert name in rows(fault_table(result))


def test_tables_fit_a_terminal() -> None:
    large: dict[str, Any] = dict.fromkeys(EVENTS, BIG // 100) | dict.fromkeys(LEVELS, BIG * 1000 - 1) | {"zswap": BIG}
    of = scenario(cgroups={LONGEST: Cgroup(memory_max=BIG)})
    result = make("no-writeback", {LONGEST: large}, of=of, **large, pool_total_size=BIG)
    tables = [memory_table(result), fault_table(result), comparison_table([result])]
    for table in tables:
        assert lines(table, 80) == lines(table, 200)


# Sentences ------------------------------------------------------------------------------------------------------------


def killed_in(**paths: int) -> dict[str, dict[str, int]]:
    return {path: {"memory.events.oom_kill": kills} for path, kills in paths.items()}


def test_killed() -> None:
    assert killed(make(cgroups=killed_in(a=0))) == ""
    result = make(cgroups=killed_in(a=1, b=0, c=2), **KILLED | {"memory.events.oom_kill": 3})
    assert killed(result) == "Out of memory: 3 of the workloads killed (1 in a, 2 in c)."
    root = make(cgroups=killed_in(a=0), **KILLED)
    assert killed(root) == "Out of memory: 1 of the workloads killed (in the root)."


def compare(lost: dict[str, int], dead: Sequence[str] = (), written: dict[str, int] | None = None) -> str:
    """What is said of configurations that lose so many milliseconds."""
    return comparison(
        [
            make(name, lost=each * MS, zswpwb=(written or {}).get(name, 0), **(KILLED if name in dead else {}))
            for name, each in lost.items()
        ]
    )


@pytest.mark.parametrize(
    ("off", "memcg", "said"),
    [
        (100, 0, "Without zswap the workloads lose 100 ms; with it, at best (memcg), nothing."),
        (0, 10, "Without zswap the workloads lose nothing; with it, at best (memcg), 10.0 ms."),
        (100, 10, "Without zswap the workloads lose 100 ms; with it, at best (memcg), 10.0 ms, 10 times less."),
        (100, 40, "Without zswap the workloads lose 100 ms; with it, at best (memcg), 40.0 ms, 2.5 times less."),
        (100, 79, "Without zswap the workloads lose 100 ms; with it, at best (memcg), 79.0 ms, 21% less."),
        (100, 96, "Without zswap the workloads lose 100 ms; with it, at best (memcg), 96.0 ms, about as much."),
        (100, 100, "Without zswap the workloads lose 100 ms; with it, at best (memcg), 100 ms, about as much."),
        (100, 130, "Without zswap the workloads lose 100 ms; with it, at best (memcg), 130 ms, 30% more."),
        (100, 210, "Without zswap the workloads lose 100 ms; with it, at best (memcg), 210 ms, 2.1 times as much."),
        (1, 5000, "Without zswap the workloads lose 1.00 ms; with it, at best (memcg), 5.00 s, 5,000 times as much."),
    ],
)
def test_no_zswap_against_the_best(off: int, memcg: int, said: str) -> None:
    assert compare({"off": off, "memcg": memcg}) == said


@pytest.mark.parametrize(
    ("shrinker", "memcg", "said"),
    [
        (5, 5, "shrinker loses as much as memcg."),
        (10, 0, "shrinker loses 10.0 ms where memcg loses nothing."),
        (0, 10, "shrinker loses nothing where memcg loses 10.0 ms."),
        (101, 100, "shrinker loses about as much as memcg."),
        (99, 100, "shrinker loses about as much as memcg."),
        (50, 100, "shrinker loses 2.0 times less than memcg."),
        (75, 100, "shrinker loses 25% less than memcg."),
        (125, 100, "shrinker loses 25% more than memcg."),
        (200, 100, "shrinker loses 2.0 times as much as memcg."),
    ],
)
def test_the_shrinker_against_none(shrinker: int, memcg: int, said: str) -> None:
    assert compare({"off": 1000, "memcg": memcg, "shrinker": shrinker}).partition(". ")[2].endswith(said)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"memcg": 3, "shrinker": 3}, "memcg."),
        ({"shrinker": 1}, "memcg, and writes 1 page back where memcg writes none."),
        ({"shrinker": 1234}, "memcg, and writes 1,234 pages back where memcg writes none."),
        ({"memcg": 1000}, "memcg, and writes no page back where memcg writes 1,000."),
    ],
)
def test_what_the_shrinker_writes_back(written: dict[str, int], said: str) -> None:
    assert compare({"memcg": 5, "shrinker": 5}, written=written).endswith(f"shrinker loses as much as {said}")


def test_settings_that_both_lose_nothing() -> None:
    said = compare({"off": 10, "memcg": 0, "shrinker": 0})
    assert said.endswith("shrinker loses nothing, like memcg.")


def test_of_settings_as_good_the_newer_is_named() -> None:
    assert "at best (memcg), 5.00 ms" in compare({"off": 10, "global-lru": 5, "memcg": 5, "no-writeback": 5})


def test_cgroups_apart_where_several_lose() -> None:
    def one(name: str, a: int, b: int) -> Result:
        parts = {"a": {"lost": a * MS}, "b": {"lost": b * MS}, "idle": {}}
        return make(name, parts, lost=(a + b) * MS)

    assert comparison([one("off", 10, 20), one("memcg", 0, 5)]).endswith(
        "By cgroup: a 10.0 ms and nothing; b 20.0 ms and 5.00 ms."
    )
    assert "By cgroup" not in comparison([one("off", 10, 0), one("memcg", 5, 0)])


def test_memory_to_spare() -> None:
    assert compare(dict.fromkeys(("", *BASELINES), 0)) == "The workloads lose no time under any of these."


def test_killed_under_some() -> None:
    lost = dict.fromkeys(("", *BASELINES), 10)
    said = compare(lost, dead=("", "off", "zram"))
    assert said.startswith(
        "Workloads were killed, for lack of memory or swap, under: as it is, off, zram. "
        "With zswap, at best (memcg), the workloads lose 10.0 ms. memcg loses as much as global-lru. "
    )
    assert "zram loses" not in said


def test_killed_under_some_and_to_spare_under_others() -> None:
    assert compare({"off": 0, "memcg": 0}, dead=["off"]) == (
        "Workloads were killed, for lack of memory or swap, under: off. "
        "The workloads lose no time under any other of these."
    )


def test_killed_under_all() -> None:
    said = compare({"": 10, "off": 10, "memcg": 10}, dead=("", "off", "memcg"))
    assert said == "Workloads were killed, for lack of memory or swap, under: as it is, off, memcg."


def test_zram_names_the_memory_that_no_cgroup_is_charged_for() -> None:
    off = make("off", lost=MS)
    said = comparison([off, make("zram", lost=MS, pool_total_size=MIB)])
    assert said == "zram loses 1.00 ms, but no cgroup is charged for the 1.00M of memory that it ends with."
    assert comparison([off, make("zram", lost=MS)]) == "zram loses 1.00 ms."
    assert comparison([off, make("zram")]) == "zram loses nothing."


def test_curves_of_misses_say_that_they_are_not_linuxs() -> None:
    (chart,) = miss_charts([MissCurve("a", 2, np.array([9, 4, 1, 0]))])
    assert chart.series == {"misses": [(0.0, 9.0), (1 / 256, 4.0), (2 / 256, 1.0), (3 / 256, 0.0)]}
    assert chart.limit == (2 / 256, "memory.max")
    assert "not Linux's" in chart.note
