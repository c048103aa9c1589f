"""The guest's files as columns; what is missing is null, and what makes no sense is an error."""

from __future__ import annotations

from typing import Any

import pytest

from swaplab.result import SCHEMA
from swaplab.result.counters import TIMES
from swaplab.vm.guest import LostGuestError, Report
from swaplab.vm.readings import parse, table
from swaplab.vm.script import Watched

STAT = "anon {anon}\nunevictable {locked}\nzswap 7\nzswpout {zswpout}\nfile 12\n"
FILES = {
    ("", "memory.stat"): STAT,
    ("", "vmstat"): "pswpin 3\npswpout 4\noom_kill 1\nnr_free_pages 8\n",
    ("", "meminfo"): "MemFree:  100 kB\nSwapTotal: 64 kB\nSwapFree: 60 kB\nHugePages_Total: 0\n",
    (
        "",
        "zoneinfo",
    ): "Node 0, zone DMA\n    cpu: 0\n              count:    2\n  start_pfn: 1\n              count:    3\n",
    ("", "stored_pages"): "9\n",
    ("a", "memory.stat"): STAT,
    ("a", "memory.current"): "8192\n",
    ("a", "memory.swap.current"): "4096\n",
    ("a", "memory.events"): "low 0\nhigh 1\nmax 2\noom 0\noom_kill 0\n",
    ("a", "memory.swap.events"): "high 0\nmax 5\nfail 0\n",
}
WATCHED = [Watched(cgroup, name, f"/sys/fs/cgroup/{cgroup}/{name}") for cgroup, name in FILES]


def report(access: int, changed: dict[tuple[str, str], str | None] | None = None, **numbers: int) -> Report:
    values = {"anon": 50, "locked": 20, "zswpout": 5} | numbers
    files = {**FILES, **(changed or {})}
    return {"sample": access, "ns": access * 10, "files": [text and text.format(**values) for text in files.values()]}


def rows(*reports: Report) -> list[dict[str, Any]]:
    first, *others = [parse(each, WATCHED, ["a"]) for each in reports]
    found: list[dict[str, Any]] = table(first, others, ["", "a"]).to_pylist()
    return found


def test_events_count_from_the_start_and_levels_are_as_they_are() -> None:
    root, a = rows(report(0), report(6, anon=70, zswpout=9))
    assert (a["access"], a["time_ns"], a["cgroup"]) == (6, 60, "a")
    assert (a["zswpout"], a["anon"], a["zswap"]) == (4, 70, 7)
    assert (a["memory.current"], a["memory.swap.current"]) == (8192, 4096)
    assert (a["memory.events.max"], a["memory.swap.events.max"]) == (0, 0)
    assert root["anon"] == 20, "the runner's own memory is not in it"
    assert root["free"] == 100 * 1024 + 5 * 4096
    assert root["stored_pages"] == 0


def test_the_runners_processes_may_come_and_go() -> None:
    root, _ = rows(report(0, locked=20, anon=50), report(1, locked=5, anon=45))
    assert root["anon"] == 10


def test_what_the_kernel_does_not_count_is_null() -> None:
    samples = table(parse(report(0), WATCHED), [parse(report(1), WATCHED)], ["", "a"])
    assert samples.schema == SCHEMA
    root, a = samples.to_pylist()
    assert {root[name] for name in (*TIMES, "memory.current", "pgscan")} == {None}
    assert {a[name] for name in (*TIMES, "pswpin", "free", "stored_pages")} == {None}


def test_what_newer_kernels_count_passes_through() -> None:
    newer = STAT + "pswpin 6\nzswap_incomp 4096\n"
    changed: dict[tuple[str, str], str | None] = {("a", "memory.stat"): newer}
    _, a = rows(report(0), report(1, changed))
    assert (a["pswpin"], a["zswap_incomp"], a["decompress_fail"]) == (6, 4096, None)


def test_a_removed_cgroup_is_null() -> None:
    gone = report(2, {key: None for key in FILES if key[0] == "a"})
    _, a = rows(report(0), gone)
    assert {value for name, value in a.items() if name not in ("access", "time_ns", "cgroup")} == {None}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({("a", "memory.stat"): None}, "it has no /sys/fs/cgroup/a/memory.stat any more"),
        ({("a", "memory.stat"): "anon many\n"}, "memory.stat has 'anon many"),
        ({("a", "memory.current"): "zswap\n"}, "memory.current has 'zswap"),
    ],
)
def test_files_that_make_no_sense(changed: dict[tuple[str, str], str | None], why: str) -> None:
    with pytest.raises(LostGuestError, match=why):
        parse(report(0, changed), WATCHED)


def test_files_that_are_missing() -> None:
    with pytest.raises(LostGuestError, match="it sampled 10 files, not 9"):
        parse(report(0), WATCHED[1:])


def test_a_counter_that_goes_back() -> None:
    with pytest.raises(LostGuestError, match="zswpout of the root went back, before access 2"):
        rows(report(0), report(1, zswpout=9), report(2, zswpout=8))
