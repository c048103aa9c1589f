"""Results read back what was written, and compute only what they say."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from swaplab.errors import InputError
from swaplab.result import SCHEMA, Guest, Result, Row, RunInfo
from swaplab.result.counters import EVENTS, LEVELS, MACHINE, TIMES
from swaplab.result.result import METADATA_KEY
from swaplab.scenario.content import content_from_toml
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.model import Cgroup, Event, Scenario, Swap, Workload
from swaplab.scenario.patterns import Zipf

CONTENT = [
    "zero",
    {"same_filled": (1 << 64) - 1},
    {"ratio": {"lz4": 2.0, "zstd": 3.0}},
    {"mix": [{"weight": 1, "content": "random"}, {"weight": 2.5, "content": {"file": "heap.bin"}}]},
    {"profile": "a.parquet"},
]
INFO = RunInfo(
    engine="replay",
    release="6.12",
    scenario=Scenario(
        name="s",
        swap=Swap(device="zram"),
        cgroups={"a": Cgroup(memory_max=5 << 20, memory_zswap_writeback=False), "a/b": Cgroup()},
        workloads=tuple(Workload(cgroup="a", content=content_from_toml(each), pattern=Zipf()) for each in CONTENT),
        events=(Event(at=3, cgroup="a", set={"memory_max": None, "memory_zswap_writeback": True}),),
        base=Path("/a/caf\udcc3"),
    ),
    configuration="memcg",
    accesses=20,
    workload_accesses={"a:x": 20},
    cost=DEFAULT_COST,
    guest=Guest("Linux version 6.12.1 (x)", "tcg", 9, 8, 7, {"a": 6}, 0.25, 5),
)


def samples() -> pa.Table:
    """Two samples of three cgroups; every counter tells its column, sample and cgroup."""
    rows = []
    for sample in range(2):
        for k, cgroup in enumerate(["", "a", "a/b"]):
            row: dict[str, Any] = {"access": 10 * (sample + 1), "time_ns": 7 * sample, "cgroup": cgroup}
            row |= {name: 1000 * i + 10 * sample + k for i, name in enumerate((*EVENTS, *LEVELS))}
            row |= {name: None if cgroup else 5 + i + sample for i, name in enumerate(MACHINE)}
            rows.append(row)
    return pa.Table.from_pylist(rows, SCHEMA)


@pytest.fixture
def result() -> Result:
    return Result(INFO, samples())


def test_what_is_written_is_read(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    result.write(path)
    again = Result.read(path)
    assert again.info == INFO
    assert again.samples.equals(result.samples)
    assert [each.name for each in tmp_path.iterdir()] == ["r.parquet"]


def test_a_file_with_other_counters_can_be_read(result: Result, tmp_path: Path) -> None:
    """Of an older swaplab, which has fewer, or of a newer one."""
    path = tmp_path / "r.parquet"
    result.write(path)
    table = pq.read_table(path).drop_columns(["zswpwb", "free"])
    pq.write_table(table.add_column(5, "zswap_cold", pa.array(range(6))), path)
    again = Result.read(path)
    assert again.info == INFO
    assert again.samples.schema.names == [*SCHEMA.names, "zswap_cold"]
    expected = {name: value for name, value in result.final("a").items() if name != "zswpwb"}
    assert again.final("a") == expected | {"zswap_cold": 4}
    assert again.series("a")["zswpwb"].to_pylist() == [None, None]


@pytest.mark.parametrize("name", ["zswpin", "time_ns", "cgroup"])
def test_a_file_with_a_column_twice_or_of_words_is_none(name: str, result: Result, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    result.write(path)
    words = pq.read_table(path)
    pq.write_table(words.append_column("x" if name == "cgroup" else name, words["cgroup"]), path)
    with pytest.raises(InputError, match=f"^{path}: expected "):
        Result.read(path)


def test_series_and_last_samples(result: Result) -> None:
    assert result.cgroups == ["", "a", "a/b"]
    assert result.series("a")["access"].to_pylist() == [10, 20]
    assert result.series()["cgroup"].to_pylist() == ["", ""]
    last = result.final("a/b")
    assert (last["access"], last["cgroup"], last["pgmajfault"]) == (20, "a/b", 1012)
    assert not set(MACHINE) & set(last)
    assert result.final()["free"] == 6
    with pytest.raises(KeyError):
        result.final("b")


@pytest.mark.parametrize("zram", [False, True])
def test_what_follows_from_a_row(zram: bool) -> None:
    values = dict.fromkeys(TIMES, 3) | {"pswpin": 5, "pswpout": 7, "zswpin": 11, "zswapped": 13, "zswap": 17}
    cgroup = Row(values, zram)
    machine = Row(values | {"stored_pages": 19, "pool_total_size": 23}, zram)
    assert cgroup.time_lost == 18
    assert (cgroup.disk_reads, cgroup.disk_writes) == ((0, 0) if zram else (5, 7))
    assert cgroup.compressed_faults == (5 if zram else 11)
    assert (cgroup.compressed_pages, machine.compressed_pages) == ((0, 19 * 4096) if zram else (13, 13))
    assert (cgroup.compressed_bytes, machine.compressed_bytes) == (17, 23)


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "no metadata", "bad metadata", "columns"])
def test_other_files_are_refused(damage: str, result: Result, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    result.write(path)
    data, table = path.read_bytes(), pq.read_table(path)
    if damage in ("text", "empty", "truncated"):
        path.write_bytes({"text": b"hello " * 99, "empty": b"", "truncated": data[:-30]}[damage])
    elif damage == "columns":
        pq.write_table(table.drop_columns(["time_ns"]), path)
    else:
        metadata = {} if damage == "no metadata" else {METADATA_KEY: b'{"engine": 3}'}
        pq.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(InputError, match=f"^{path}: expected .*result"):
        Result.read(path)


def test_a_failed_write_leaves_what_was_there(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    path.write_text("before")
    result.samples = None
    with pytest.raises(AttributeError):
        result.write(path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("r.parquet", "before")]


def test_a_damaged_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    Result(INFO, samples()).write(path)
    good = path.read_bytes()
    for at in range(4, len(good), 97):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        with suppress(InputError):
            Result.read(path)
        path.write_bytes(good[:at])
        with pytest.raises(InputError, match=r"r\.parquet: expected a result"):
            Result.read(path)
