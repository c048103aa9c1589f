"""Scenarios on a real kernel, and guests that say what cannot be. Debian's kernel is fetched the first time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from swaplab.errors import SwaplabError, UnsupportedError
from swaplab.result import Result
from swaplab.result.counters import TIMES
from swaplab.scenario.load import parse_scenario
from swaplab.scenario.model import Scenario
from swaplab.scenario.trace import EVENTS, EventKind, Stream, TraceWriter
from swaplab.vm import Kernel, LostGuestError, engine, run_on_kernel
from swaplab.vm.memory import Sizes, sizes_for
from swaplab.vm.script import script_for, watched_files

SCAN = """
name = "scan"
samples = 4
machine.memory = "64M"
zswap = { enabled = true, compressor = "lz4" }
swap.size = "32M"
[cgroup."a"]
memory.max = "4M"
[[workload]]
cgroup = "a"
pages = 2000
accesses = 4000
pattern = { kind = "scan" }
write_fraction = 0.25
content = { ratio = 3.0 }
"""

SIBLINGS = """
samples = 8
machine.memory = "64M"
zswap = { enabled = true, compressor = "zstd" }
swap.size = "32M"
[cgroup."p"]
[cgroup."p/writes back"]
memory.zswap.max = "64K"
memory.max = "2M"
[cgroup."p/control"]
memory.max = "2M"
[cgroup."p/killed"]
memory.max = "1M"
memory.swap.max = 0
[cgroup."p/removed"]
[[workload]]
cgroup = "p/writes back"
pages = 1000
accesses = 3000
content = { ratio = 3.0 }
[[workload]]
cgroup = "p/control"
pages = 1000
accesses = 3000
content = { mix = [{ weight = 1, content = "zero" }, { weight = 4, content = { ratio = 3.0 } }] }
[[workload]]
cgroup = "p/killed"
pages = 500
accesses = 3000
pattern = { kind = "scan" }
[[workload]]
cgroup = "p/removed"
pages = 200
accesses = 3000
content = { ratio = 3.0 }
[[event]]
at = 9000
cgroup = "p/removed"
memory.reclaim = "400K"
[[event]]
at = 10500
cgroup = "p/removed"
remove = true
"""


def load(text: str) -> Scenario:
    return parse_scenario(text, "x.toml", Path())


def falls_nowhere(values: list[int]) -> bool:
    return values == sorted(values)


def test_one_workload_scans_more_than_its_limit(kernel: Kernel) -> None:
    result, again = run_on_kernel([load(SCAN)] * 2, [kernel] * 2)
    guest = result.info.guest
    assert guest is not None
    if guest.accelerator == "tcg":
        assert again.info.guest
        assert again.info.guest.reports == guest.reports, "another run reports the same, to the byte"
    assert result.info.release.startswith("6.12.")
    assert guest.kernel.startswith("Linux version 6.12.")
    assert guest.checked == 1, "its memory was read back, and compared"
    assert guest.footprint == {"a": 0}
    assert abs(guest.free / (64 << 20) - 1) < 0.01
    assert abs(guest.zswap_limit / (0.2 * (64 << 20)) - 1) < 0.05
    assert result.series("a")["access"].to_pylist() == [1000, 2000, 3000, 4000]
    a, root = result.final("a"), result.final()
    # In a scan every page is gone before its turn comes again.
    assert (a["pgfault"], a["pgmajfault"], a["zswpin"]) == (4000, 2000, 2000)
    assert a["anon"] <= a["memory.current"] <= 4 << 20
    stored = a["zswpout"] - a["zswpin"]
    assert a["zswapped"] == stored * 4096 == root["stored_pages"] * 4096
    assert 2.5 < a["zswapped"] / a["zswap"] < 3.5
    assert a["memory.events.max"] > 0
    # Statistics have been flushed: what the machine counts without delay is what the cgroup counts.
    for name in ("pgfault", "pgmajfault", "zswpin", "zswpout", "pgscan", "pgsteal", "anon", "zswap"):
        assert a[name] == root[name], name
    assert root["pswpin"] == root["pswpout"] == 0
    assert not {*TIMES} & {*a}
    for name in ("time_ns", "pgfault", "zswpout", "pgscan"):
        assert falls_nowhere(result.series("a")[name].to_pylist())


FAMILY = """
samples = 1
interleave = "trace"
machine.memory = "64M"
swap.size = "32M"
[cgroup.family]
[cgroup.other]
[cgroup.frees]
[[workload]]
cgroup = "family"
trace = "t.parquet"
streams = ["parent", "child"]
[[workload]]
cgroup = "other"
trace = "t.parquet"
streams = ["other"]
[[workload]]
cgroup = "frees"
trace = "t.parquet"
streams = ["frees"]
"""


def write_family(path: Path) -> None:
    """A parent and its child, who share 100 pages with another process, and one that frees most of what it has."""
    rows: list[tuple[int, ...]] = [(0, page, 1) for page in range(300)]
    rows += [(EventKind.SHARE, 0, 300, 100, 4, 0), *((0, page, 1) for page in range(300, 350))]
    rows += [(EventKind.FORK, 1, 10, 300, 0, 0), (EventKind.SHARE, 1, 310, 100, 4, 0)]
    rows += [(1, page, 1) for page in range(110)] + [(1, page, 0) for page in range(110, 360)]
    rows += [(EventKind.SHARE, 2, 0, 100, 4, 0), *((2, page, 1) for page in range(100))]
    rows += [(0, page, 0) for page in range(400)]
    rows += [(3, page, 1) for page in range(400)]
    rows += [(EventKind.UNMAP, 3, 0, 200, 0, 0), (EventKind.DISCARD, 3, 200, 50, 0, 0)]
    rows += [(3, page, 0) for page in range(190, 210)]
    streams = [Stream("parent", 400), Stream("child", 410, parent=0), Stream("other", 100), Stream("frees", 400)]
    accesses = [row for row in rows if len(row) == 3]
    before = np.cumsum([len(row) == 3 for row in rows])
    events = [(int(at), *row, 0) for at, row in zip(before, rows, strict=True) if len(row) > 3]
    stream, page, write = np.array(accesses).T
    with TraceWriter(path, with_events=True) as writer:
        numbers = stream.astype(np.uint16), page.astype(np.uint32), write.astype(np.bool_)
        writer.append(*numbers, events=np.array(events, EVENTS))
        writer.finish([*streams, Stream("shared", 100, kind="shared")])


def test_processes_fork_share_and_free(kernel: Kernel, tmp_path: Path) -> None:
    write_family(tmp_path / "t.parquet")
    (found,) = run_on_kernel([parse_scenario(FAMILY, "x.toml", tmp_path)], [kernel])
    assert found.info.guest
    assert found.info.guest.checked == 5, "what all four and the shared memory hold was read back, and compared"
    pages = {
        path: {name: each // 4096 for name, each in found.final(path).items() if name in ("anon", "memory.current")}
        for path in ("family", "other", "frees")
    }
    # The child copies 100 of 300 pages, has ten of its own, and some of its stack.
    assert 410 <= pages["family"]["anon"] <= 415
    assert pages["family"]["anon"] + 50 <= pages["family"]["memory.current"] <= pages["family"]["anon"] + 100
    assert pages["other"]["anon"] == 0
    assert 50 <= pages["other"]["memory.current"] <= 55
    assert pages["frees"]["anon"] == 400 - 250 + 20


def test_siblings_and_what_happens_to_them(kernel: Kernel) -> None:
    (result,) = run_on_kernel([load(SIBLINGS)], [kernel])
    writes_back, control = result.final("p/writes back"), result.final("p/control")
    assert writes_back["zswpwb"] > 0
    assert control["zswpwb"] == 0
    assert control["zswpin"] > 0
    # Half way most zero pages are still out. Later, clean, they go out again uncounted, and what came in catches up.
    half = result.series("p/control").slice(3, 1).to_pylist()[0]
    assert half["swpout_zero"] > half["swpin_zero"] > 0
    killed = result.final("p/killed")
    assert killed["memory.events.oom_kill"] == 1
    assert killed["anon"] == 0
    removed = result.series("p/removed")["zswpout"].to_pylist()
    assert removed[:5] == [0] * 5
    assert 50 <= removed[5] <= 200
    assert removed[6:] == [None, None]
    parent = result.final("p")
    assert parent["zswpout"] == sum(each["zswpout"] for each in (writes_back, control)) + removed[5]
    assert result.final()["memory.events.oom_kill"] == 1
    assert result.final()["pswpout"] >= writes_back["zswpwb"]


def test_a_guest_that_panics_is_lost(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def panicking(*arguments: object) -> str:
        script: str = script_for(*arguments)  # type: ignore[arg-type]
        first, access, rest = script.partition("access\t2000\nsample\n")
        assert access
        return f"{first}{access}write\t/proc/sysrq-trigger\tc\n{rest}"

    monkeypatch.setattr(engine, "script_for", panicking)
    told: list[int] = []
    with pytest.raises(LostGuestError, match="it ended before it was done") as error:
        run_on_kernel([load(SCAN.replace("samples = 4", "samples = 2"))], [kernel], [lambda d, _: told.append(d)])
    assert "Kernel panic - not syncing: sysrq triggered crash" in str(error.value)
    assert max(told) == 2000


# Fake guests ----------------------------------------------------------------------------------------------------------

HELLO = {"hello": "Linux version 6.12.0 (me)\n"}
DONE = {"done": True}


def settled(found: int = 70 << 20) -> dict[str, object]:
    return {"settled": 64 << 20, "found": found, "total": 90 << 20}


def sample(access: int) -> dict[str, object]:
    texts = {
        "memory.stat": "anon 0\nunevictable 0\n",
        "vmstat": "oom_kill 0\n",
        "meminfo": "MemFree: 1 kB\nSwapTotal: 1 kB\nSwapFree: 1 kB\n",
        "zoneinfo": "",
    }
    return {
        "sample": access,
        "ns": access,
        "files": [texts.get(each.name, "7\n") for each in watched_files(load(SCAN))],
    }


SAMPLES = [sample(each) for each in (0, 1000, 2000, 3000, 4000)]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """What runs `SCAN` on a guest that says what it is told to, each boot something else."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(engine, "find_accelerator", lambda *_: "kvm")
    qemu = tmp_path / "qemu-system-x86_64"

    def play(*boots: list[dict[str, object]]) -> Result:
        for i, reports in enumerate(boots):
            (tmp_path / f"boot{i}").write_text("".join(json.dumps(each) + "\n" for each in reports))
        qemu.write_text(f"#!/bin/sh\ncd {tmp_path}; set -- boot*; mv $1 now; cat now\n")
        qemu.chmod(0o755)
        (found,) = run_on_kernel([load(SCAN)], [Kernel(tmp_path / "bzImage", {})])
        return found

    return play


def test_a_guest_with_too_little_memory_boots_with_more_each_time(
    fake: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def sizes_asked(memory: int, percent: int, files: int, swap: int, short: int) -> Sizes:
        asked.append(short)
        return sizes_for(memory, percent, files, swap, short)

    monkeypatch.setattr(engine, "sizes_for", sizes_asked)
    short = [HELLO, settled(60 << 20)]
    result = fake(short, short, [HELLO, settled(), *SAMPLES, DONE])
    assert asked == [0, 8 << 20, 16 << 20]
    assert result.final("a")["access"] == 4000
    assert result.info.guest
    assert (result.info.guest.free, result.info.guest.checked) == (64 << 20, 0)
    with pytest.raises(LostGuestError, match="too little memory in 4 boots, with 33554432 bytes more in the next"):
        fake(short, short, short, short)


def test_a_setting_that_a_kernel_lacks_is_named(fake: Callable[..., Result]) -> None:
    lacks = {"lacks": "/sys/fs/cgroup/a/memory.least", "key": 'cgroup."a".memory.least'}
    said = r'x.toml: cgroup."a".memory.least: Linux 6.12.0 has no /sys/fs/cgroup/a/memory.least'
    with pytest.raises(UnsupportedError, match=said):
        fake([HELLO, lacks])


@pytest.mark.parametrize(
    ("reports", "why"),
    [
        ([HELLO, settled(), *SAMPLES[:3], DONE], "it sampled 3 times, not 5"),
        ([HELLO, settled(), *SAMPLES[:2], SAMPLES[3]], "it sampled after 3000 accesses, not 2000"),
        ([HELLO, settled(), *SAMPLES, sample(4000)], "it sampled after 4000 accesses, not None"),
        ([HELLO, {"settled": 5}], "KeyError"),
        ([HELLO, {"sample": 0, "ns": 0, "files": None}], "TypeError"),
        (
            [HELLO, settled(), *SAMPLES, {"contents": 0, "sum": 1}, DONE],
            "the memory of task 0 is not what was written to it",
        ),
    ],
)
def test_what_cannot_be_is_no_result(reports: list[dict[str, object]], why: str, fake: Callable[..., Result]) -> None:
    with pytest.raises(LostGuestError, match=why):
        fake(reports)


def test_a_directory_that_no_library_is_loaded_from_is_named(
    fake: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a b").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a b"))
    with pytest.raises(SwaplabError, match=r"a b.*set TMPDIR"):
        fake([HELLO, settled(), *SAMPLES, DONE])
