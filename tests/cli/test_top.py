"""``swaplab top`` on a machine of files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.widgets import DataTable, Sparkline, Static

from swaplab.cli.screen import Screen
from swaplab.doctor.top import MACHINE, Row, Usage, read_usages, rows
from swaplab.doctor.what_if import read_shares
from swaplab.errors import InputError
from swaplab.report.top import top_report, what_if

CGROUPS = "sys/fs/cgroup"
STAT = "anon {anon}\nfile 5\nzswap {zswap}\nzswapped {zswapped}\nzswpin {zswpin}\nzswpout 8\nzswpwb 2\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    write(tmp_path / "proc/meminfo", "MemTotal: 900 kB\nAnonPages: 300 kB\nZswap: 16 kB\nZswapped: 48 kB\n")
    write(tmp_path / "proc/vmstat", "zswpin 10\nzswpout 20\nzswpwb 3\nworkingset_refault_anon 7\n")
    write(tmp_path / "proc/pressure/memory", "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=9.00\n")
    write(tmp_path / CGROUPS / "cgroup.controllers", "memory\n")
    write(tmp_path / CGROUPS / "memory.stat", "anon 1\n")
    for name, anon in (("a.slice", 4096), ("a.slice/b", 8192)):
        stat = STAT.format(anon=anon, zswap=8192, zswapped=3 * 8192, zswpin=5)
        write(tmp_path / CGROUPS / name / "memory.stat", stat)
    write(tmp_path / CGROUPS / "a.slice/b/memory.pressure", "some avg10=12.25 avg60=0.00 avg300=0.00 total=1\n")
    return tmp_path


def test_a_machine_and_its_cgroups_are_read(machine: Path) -> None:
    found, unread = read_usages(machine)
    assert found == {
        MACHINE: Usage(300 << 10, 48 << 10, 16 << 10, 10, 20, 3, 7, 1.5),
        "a.slice": Usage(4096, 24576, 8192, 5, 8, 2, None, None),
        "a.slice/b": Usage(8192, 24576, 8192, 5, 8, 2, None, 12.25),
    }
    assert unread == []


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    found, unread = read_usages(tmp_path)
    assert set(found[MACHINE]) == {None}
    assert unread == ["/sys/fs/cgroup: no cgroup of version 2 that has the memory controller"]


def test_rates_are_a_second_and_of_what_was_there_before() -> None:
    early = {MACHINE: Usage(1, 2, 3, 10, 10, 10, 10, 0.0), "again": Usage(1, 2, 3, 10, 10, 10, 10, None)}
    late = {MACHINE: Usage(1, 8192, 4096, 14, 10, None, 20, 0.5), "new": early["again"], "again": Usage(*[1] * 8)}
    found = {row.cgroup: row for row in rows(early, late, 2.0)}
    assert found[MACHINE] == Row(MACHINE, 1, 8192, 4096, 2.0, 2.0, 0.0, None, 5.0, 0.5)
    assert found["new"][5:9] == found["again"][5:9] == (None,) * 4
    assert found["new"].ratio is None, "a few bytes tell no ratio"


def names(found: Sequence[Row], sort: str) -> list[str]:
    table = top_report(found, ["x: no"] * 5, sort)[0]
    return [row[0] for row in table.rows if row]  # type: ignore[union-attr]


def test_a_report_is_sorted_below_the_machine(machine: Path) -> None:
    found = rows({}, read_usages(machine)[0], 1.0)
    assert names(found, "resident") == [MACHINE, "a.slice/b", "a.slice"]
    assert names(found, "cgroup") == [MACHINE, "a.slice", "a.slice/b"]
    said = str(top_report(found, ["x: no"] * 5, "resident")[-1])
    assert said.count("not read") == 4
    assert "2 files more" in said


def test_a_profile_says_what_would_be_saved(tmp_path: Path) -> None:
    group = {"cgroup": "/a.slice", "resident_pages": 10, "compressors": {"zstd": {"saved_bytes": {"value": 20480}}}}
    write(tmp_path / "profile.json", json.dumps({"cgroups": [group], "more": 1}))
    shares = read_shares(tmp_path / "profile.json")
    row = Row("a.slice", 1 << 20, *[None] * 8)
    assert what_if(row, shares).endswith("by the profile: zstd 512K.")
    assert what_if(row._replace(cgroup="other"), shares) == ""
    write(tmp_path / "profile.json", "[]")
    with pytest.raises(InputError, match="what swaplab profile --json prints"):
        read_shares(tmp_path / "profile.json")


def test_the_screen_sorts_charts_and_keeps_its_place(machine: Path) -> None:
    async def use() -> None:
        screen = Screen(3600, "resident", {"a.slice": {"zstd": 0.5}}, machine)
        async with screen.run_test(size=(100, 30)) as pilot:
            table = screen.query_one(DataTable)
            assert [table.get_row_at(number)[0].plain for number in range(3)] == [MACHINE, "a.slice/b", "a.slice"]
            await pilot.press("down", "down")
            assert screen.selected == "a.slice"
            assert "zstd 2.00K" in str(screen.query_one("#details", Static).render())
            write(machine / CGROUPS / "a.slice/memory.stat", STAT.format(anon=99999, zswap=1, zswapped=1, zswpin=9))
            screen.look()
            await pilot.pause()
            assert [table.get_row_at(number)[0].plain for number in range(3)] == [MACHINE, "a.slice", "a.slice/b"]
            assert screen.selected == "a.slice"
            assert screen.query_one(Sparkline).data == [1.0]
            await pilot.press("c", "s")
            assert "sorted by compressed; below: in/s of a.slice" in str(screen.query_one("#details", Static).render())
            (machine / CGROUPS / "a.slice/b/memory.stat").unlink()
            screen.look()
            await pilot.pause()
            assert table.row_count == 2
            await pilot.press("q")

    asyncio.run(use())
